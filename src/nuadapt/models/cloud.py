"""What a model of particle clouds reads and returns; the families differ only in how they reach their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.models.loss import log_smooth_l1, weighted_cross_entropy

#: Columns that every token has: pseudorapidity, azimuth (rad), ln(pT / GeV), ln(E / GeV).
KINEMATICS = ("eta", "phi", "log_pt", "log_e")


@dataclass(frozen=True, slots=True)
class CloudShape:
    """What a cloud offers: names of the token columns, number of types (1..n; 0 is padding), event-level features.

    A cloud of 0 types has none; what is given as type is then not looked at.
    """

    columns: tuple[str, ...]
    n_types: int
    n_globals: int = 0

    def __post_init__(self) -> None:
        if self.n_types < 0 or self.n_globals < 0:
            raise ConfigError(
                f"a cloud of {self.n_types} types and {self.n_globals} event-level features",
                expected="no negative number",
            )

    def indices(self, *names: str) -> list[int]:
        """Where columns of these names stand.

        Raises:
            ConfigError: no such column.
        """
        for name in names:
            if name not in self.columns:
                raise ConfigError(f"the cloud has no column '{name}'", expected=nearest(name, self.columns))
        return [self.columns.index(name) for name in names]

    @property
    def further(self) -> list[int]:
        """Where the columns stand that are not kinematic, in their order."""
        return [i for i, name in enumerate(self.columns) if name not in KINEMATICS]


class CloudModel(nn.Module):
    """Base of all models of particle clouds: checks of the input, and loss and answer from the scores.

    A model of no classes gives one energy. ``backbone`` names the part that can be pretrained, if there is one.
    """

    backbone: ClassVar[str | None] = None

    def __init__(self, cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0) -> None:
        super().__init__()
        if len(classes) == 1:
            raise ConfigError("a model of one class", expected="at least 2 classes, or none for an energy")
        self.cloud, self.label_smoothing = cloud, label_smoothing
        self.gives_energy = not classes
        self.n_scores = len(classes) or 1

    def scores(self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor) -> Tensor:
        """Scores (B, n_scores) of a checked batch; arguments as in :meth:`forward`."""
        raise NotImplementedError

    def energy_of(self, scores: Tensor) -> Tensor:
        """Energy (B,) in GeV, positive, from the scores (B, 1) of a model of no classes."""
        return F.softplus(scores[:, 0])

    def forward(
        self,
        tokens: Tensor,
        type: Tensor,
        mask: Tensor,
        globals: Tensor,
        labels: Tensor | None = None,
        targets: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Answer for a batch of events; what stands in padded places never matters.

        Args:
            tokens: (B, N, F), columns as in ``cloud.columns``.
            type: (B, N), 1..n_types for real tokens.
            mask: (B, N), true for real tokens, wherever they stand; an event may have none.
            globals: (B, G), event-level features.
            labels: class indices (B,); with them the loss of a classifier is returned too.
            targets: energies (B,) in GeV; with them the loss of a regression is returned too.
            weight, total: see :func:`nuadapt.models.loss.weighted_cross_entropy`.

        Returns:
            ``logits`` (B, classes), or ``energy`` (B,) in GeV, in float32, and ``loss`` if it was asked for.

        Raises:
            DataError: shapes other than the model was built for, a real token of type 0 or an unknown type.
        """
        self._check(tokens, type, mask, globals)
        scores = self.scores(tokens, type, mask, globals).float()
        if self.gives_energy:
            energy = self.energy_of(scores)  # (B,)
            if targets is None:
                return {"energy": energy}
            return {"loss": log_smooth_l1(energy, targets, weight, total), "energy": energy}
        if labels is None:
            return {"logits": scores}
        smoothing = self.label_smoothing if self.training else 0.0
        return {"loss": weighted_cross_entropy(scores, labels, weight, total, smoothing), "logits": scores}

    def _check(self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor) -> None:
        events = len(tokens)
        wanted: dict[str, Any] = {
            "tokens": (*tokens.shape[:2], len(self.cloud.columns)),
            "type": tokens.shape[:2],
            "mask": tokens.shape[:2],
            "globals": (events, self.cloud.n_globals),
        }
        given = {"tokens": tokens.shape, "type": type.shape, "mask": mask.shape, "globals": globals.shape}
        for name, shape in given.items():
            if tuple(shape) != tuple(wanted[name]) or not events:
                raise DataError(f"{name} have shape {tuple(shape)}", expected=f"{tuple(wanted[name])}, of some events")
        if mask.dtype != torch.bool:
            raise DataError(f"the mask is {mask.dtype}", expected="bool, true for real tokens")
        real = type[mask]
        if self.cloud.n_types and len(real) and not 1 <= int(real.min()) <= int(real.max()) <= self.cloud.n_types:
            raise DataError(
                f"types of real tokens go from {int(real.min())} to {int(real.max())}",
                expected=f"1 to {self.cloud.n_types}; 0 is padding",
            )
