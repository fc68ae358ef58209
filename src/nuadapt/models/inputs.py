"""From stored events to what a model reads. Part of a model's record: a model always sees the same numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import (
    EVENT_INPUTS,
    OBJECT_EXTRAS,
    PAPER_EVENT_INPUTS,
    CloudSpec,
    event_columns,
    event_inputs,
    token_input_names,
    token_inputs,
)
from nuadapt.events.pixelmap import ADDITIVE_UNITS, GreyTransform, PixelMaps


@dataclass(frozen=True, slots=True)
class PixelInput:
    """Which views a model reads, how many stored pixels it joins (per side), and how values become grey levels."""

    views: tuple[str, ...]
    coarsen: int = 1
    grey: GreyTransform = field(default_factory=GreyTransform)

    def __post_init__(self) -> None:
        if not self.views or self.coarsen < 1:
            raise ConfigError(
                f"pixel input with views {self.views}, coarsen {self.coarsen}",
                expected="at least one view, coarsen >= 1",
            )

    def images(self, maps: PixelMaps, extra_coarsen: int = 1) -> npt.NDArray[np.float32]:
        """Grey levels 0..1 of all events, shape (N, V, H, W).

        ``extra_coarsen`` joins that many more pixels per side, to ask what lower resolution costs. Energies and
        charges are added, grey levels averaged. Equal to ``maps.coarsen(..).dense(..)`` followed by the grey
        transform, in one pass.

        Raises:
            DataError: the maps lack one of the views.
            ConfigError: ``extra_coarsen`` below 1.
        """
        if extra_coarsen < 1:
            raise ConfigError(f"cannot coarsen by {extra_coarsen}", expected="extra_coarsen >= 1")
        if maps.spec.views != self.views:
            maps = maps.select_views(self.views)
        factor, unit = self.coarsen * extra_coarsen, maps.spec.value_unit
        height, width = (math.ceil(side / factor) for side in maps.spec.shape)
        slots = len(maps) * len(self.views)  # N * V images
        slot = np.repeat(np.arange(slots), np.diff(maps.offsets))
        pixel = (slot * height + maps.row // factor) * width + maps.col // factor  # (pixels,) flat position
        image = np.zeros(slots * height * width, dtype=np.float32)
        value = maps.value
        if factor > 1:
            value = np.bincount(pixel, weights=value, minlength=len(image))[pixel]  # sum of the pixel's whole block
            if unit not in ADDITIVE_UNITS:
                value = value / factor**2
        image[pixel] = self.grey(value, unit)  # members of one block write the same value
        return image.reshape(len(maps), len(self.views), height, width)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        return {"views": list(self.views), "coarsen": self.coarsen, "grey": asdict(self.grey)}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> PixelInput:
        """Inverse of :meth:`as_dict`."""
        views = tuple(str(v) for v in given["views"])
        return cls(views=views, coarsen=int(given["coarsen"]), grey=GreyTransform(**given["grey"]))


#: Settings of a CloudInput that are lists of names.
_LISTS = ("types", "globals", "extras")


@dataclass(frozen=True, slots=True)
class CloudInput:
    """What a model of clouds reads: all tokens of an event scaled as published, and event-level features.

    ``types`` are those of the cloud, ``frame`` that of its angles, ``extras`` its token columns beyond the kinematic
    four, ``unit`` that of pT and energy in logarithms.
    """

    types: tuple[str, ...]
    frame: str
    globals: tuple[str, ...] = PAPER_EVENT_INPUTS
    unit: str = "GeV"
    extras: tuple[str, ...] = OBJECT_EXTRAS

    def __post_init__(self) -> None:
        unknown = [name for name in self.globals if name not in EVENT_INPUTS]
        if unknown:
            raise ConfigError(f"unknown event input '{unknown[0]}'", expected=nearest(unknown[0], EVENT_INPUTS))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the token inputs."""
        return token_input_names(self.extras)

    @classmethod
    def of(cls, spec: CloudSpec, unit: str = "GeV") -> CloudInput:
        """All that clouds of ``spec`` offer a model; the published event-level inputs where the clouds have them."""
        there = set(event_columns()) <= set(spec.features)
        return cls(spec.types, spec.frame, PAPER_EVENT_INPUTS if there else (), unit, spec.extras)

    def arrays(self, events: EventBatch) -> dict[str, npt.NDArray[Any]]:
        """``tokens`` (N, M, 9) float32, ``type`` (N, M), ``mask`` (N, M), ``globals`` (N, G) float32.

        Raises:
            DataError: events without clouds, or clouds of other types or another frame.
        """
        if events.cloud is None:
            raise DataError("these events have no particle clouds", expected=f"tokens in the {self.frame} frame")
        self.check(events.cloud.spec)
        tokens, mask = events.cloud.dense(token_inputs(events.cloud, self.unit))
        kinds, _ = events.cloud.dense(events.cloud.columns["type"].astype(np.int64))
        of_events = event_inputs(events.columns, self.globals) if self.globals else np.empty((len(events), 0), "f4")
        return {"tokens": tokens, "type": kinds, "mask": mask, "globals": of_events}

    def check(self, spec: CloudSpec) -> None:
        """Whether clouds of ``spec`` can be read.

        Raises:
            DataError: they cannot: other types, another frame, or columns missing.
        """
        if (spec.types, spec.frame) != (self.types, self.frame):
            raise DataError(
                f"these clouds have the types {', '.join(spec.types)} in the {spec.frame} frame",
                expected=f"{', '.join(self.types)} in the {self.frame} frame, as in training",
            )
        missing = [name for name in self.extras if name not in spec.extras]
        if missing:
            raise DataError(f"these tokens have no column '{missing[0]}'", expected=", ".join(self.columns))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        return {"frame": self.frame, "unit": self.unit, **lists}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> CloudInput:
        """Inverse of :meth:`as_dict`."""
        lists = {name: tuple(str(v) for v in given[name]) for name in _LISTS}
        return cls(frame=str(given["frame"]), unit=str(given["unit"]), **lists)


Reads = PixelInput | CloudInput


def input_from(given: dict[str, Any]) -> Reads:
    """The input of a record: that of clouds names types of tokens, that of pixel maps views."""
    return CloudInput.from_dict(given) if "types" in given else PixelInput.from_dict(given)


def offers(reads: Reads) -> dict[str, Any]:
    """What a model that reads this is built from, beside its preset and classes: ``n_views`` or ``cloud``."""
    if isinstance(reads, PixelInput):
        return {"n_views": len(reads.views)}
    from nuadapt.models.cloud import CloudShape

    return {"cloud": CloudShape(reads.columns, len(reads.types), len(reads.globals))}
