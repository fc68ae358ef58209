"""What evaluation needs of a model: the border between models and evaluation, as types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import CloudSpec
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.tasks import Task

#: Called with (done, total) during a long step.
Progress = Callable[[int, int], None]


class Input(Protocol):
    """How a model wants its events: which views, at which resolution, in which grey levels."""

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views, in the model's order."""

    def images(self, maps: PixelMaps, extra_coarsen: int = 1) -> npt.NDArray[np.float32]:
        """Images of shape (N, V, H, W), 0..1."""

    def as_dict(self) -> dict[str, Any]:
        """For the record."""


class CloudInput(Protocol):
    """How a model of particle clouds wants its events."""

    def arrays(self, events: EventBatch) -> dict[str, npt.NDArray[Any]]:
        """The arrays that it reads, by name."""

    def check(self, spec: CloudSpec) -> None:
        """Raises DataError for clouds that it cannot read."""

    def as_dict(self) -> dict[str, Any]:
        """For the record."""


#: What a model reads of a batch: grey images (B, V, H, W), or the arrays of its clouds by name.
Inputs = npt.NDArray[np.float32] | dict[str, npt.NDArray[Any]]


class Model(Protocol):
    """A model that is ready to answer."""

    @property
    def id(self) -> str:
        """Name that goes into the ``model`` column."""

    @property
    def task(self) -> Task:
        """What the model answers."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the index is the label."""

    @property
    def input(self) -> Input | CloudInput:
        """What the model reads."""

    @property
    def record(self) -> dict[str, Any]:
        """How the model was made."""

    def posterior(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Class probabilities, shape (B, C), for images of shape (B, V, H, W) or the arrays of clouds."""

    @property
    def gives_reasons(self) -> bool:
        """Whether the model can say why."""

    def reasons(self, images: npt.NDArray[np.float32], labels: npt.NDArray[Any]) -> list[str]:
        """A reason in words per event, given the class that is answered (B,)."""


class EnergyModel(Model, Protocol):
    """A model whose task is an energy."""

    def energy(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Energies (B,) in GeV for the arrays of clouds."""
