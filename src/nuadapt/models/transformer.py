"""Plain transformer on particle clouds, after the baselines of arXiv:2604.12364 (table 1).

Tokens are embedded by their features, their type and where they are in (eta, phi); a class token, and one token of the
event-level features, stand beside them. Blocks normalise first (Xiong et al., arXiv:2002.04745).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nuadapt.models.cloud import CloudModel, CloudShape
from nuadapt.models.ragged import Attention, Groups, Packing, detach_front, prepend


def _mlp(dim: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, out))


class FourierFeatures(nn.Module):
    """Sines and cosines of coordinates (R, C) at evenly spaced frequencies up to ``highest`` (1 / unit), (R, 2 C F)."""

    frequencies: Tensor

    def __init__(self, bands: int, highest: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(highest / bands, highest, bands), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C) -> (R, 2 * C * bands)."""
        angle = (x.unsqueeze(-1) * self.frequencies).flatten(1)  # (R, C * F)
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class Block(nn.Module):
    """Attention among the rows of an event, then an MLP on every row; each is added to what was there."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.mlp = _mlp(width, ratio * width, width)

    def forward(self, rows: Tensor, groups: Groups) -> Tensor:
        """(R, D) -> (R, D)."""
        rows = rows + self.attn(self.norm1(rows), groups)
        mixed: Tensor = rows + self.mlp(self.norm2(rows))
        return mixed


class Transformer(CloudModel):
    """Scores from the class token and the event token after all blocks."""

    def __init__(
        self, preset: Mapping[str, Any], cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
    ) -> None:
        super().__init__(cloud, classes, label_smoothing)
        width, hidden, features = int(preset["width"]), int(preset["hidden"]), len(cloud.columns)
        self.place = cloud.indices("eta", "phi")
        self.embed = nn.Sequential(nn.LayerNorm(features), _mlp(features, hidden, width))
        self.type_embed = nn.Embedding(cloud.n_types + 1, width, padding_idx=0) if cloud.n_types else None
        bands = int(preset["bands"])
        self.position = nn.Sequential(
            FourierFeatures(bands, float(preset["highest"])), _mlp(2 * len(self.place) * bands, hidden, width)
        )
        self.class_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.event = _mlp(cloud.n_globals, hidden, width) if cloud.n_globals else None
        self.blocks = nn.ModuleList(
            Block(width, int(preset["heads"]), int(preset["mlp_ratio"])) for _ in range(int(preset["depth"]))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width * (2 if cloud.n_globals else 1), self.n_scores)

    def scores(self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor) -> Tensor:
        """Scores (B, n_scores)."""
        packing = Packing.of(mask)
        x = packing.pack(tokens)  # (R, F)
        rows = self.embed(x) + self.position(x[:, self.place])
        if self.type_embed is not None:
            rows = rows + self.type_embed(packing.pack(type))
        front = self.class_token.expand(len(tokens), -1, -1)
        if self.event is not None:
            front = torch.cat([front, self.event(globals[packing.order]).unsqueeze(1)], dim=1)
        rows, groups = prepend(front, rows, packing.groups)
        for block in self.blocks:
            rows = block(rows, groups)
        answer, _, _ = detach_front(rows, groups, front.shape[1])  # (B, 2, D)
        return packing.restore(self.head(self.norm(answer).flatten(1)))


def build(
    preset: Mapping[str, Any], *, cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``transformer``.

    Raises:
        ConfigError: a cloud without eta and phi, an impossible number of classes.
    """
    return Transformer(preset, cloud, classes, label_smoothing)
