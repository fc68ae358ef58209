"""Residual MLP on event-level features alone: what a model reaches that never sees a particle.

Baseline of arXiv:2604.12364 (table 1): width 128, 4 residual blocks, SiLU, 284 k parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from nuadapt.errors import ConfigError
from nuadapt.models.cloud import CloudModel, CloudShape


class ResidualBlock(nn.Module):
    """x + an MLP of the normalised x."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        y: Tensor = x + self.layers(x)
        return y


class GlobalMLP(CloudModel):
    """Scores from event-level features; tokens are not looked at."""

    def __init__(
        self, preset: Mapping[str, Any], cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
    ) -> None:
        super().__init__(cloud, classes, label_smoothing)
        if not cloud.n_globals:
            raise ConfigError("the cloud has no event-level features", expected="at least one for an MLP of them")
        width, hidden = int(preset["width"]), int(preset["hidden"])
        self.embed = nn.Linear(cloud.n_globals, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, hidden) for _ in range(int(preset["depth"]))))
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, self.n_scores)
        )

    def scores(self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor) -> Tensor:
        """Scores (B, n_scores)."""
        scores: Tensor = self.head(self.blocks(self.embed(globals)))
        return scores


def build(
    preset: Mapping[str, Any], *, cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``mlp-global``.

    Raises:
        ConfigError: a cloud without event-level features, an impossible number of classes.
    """
    return GlobalMLP(preset, cloud, classes, label_smoothing)
