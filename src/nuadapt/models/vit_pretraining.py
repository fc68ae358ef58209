"""Masked-patch pretraining of the vision transformer: hide most of the charge, and fill it in from the rest.

A masked autoencoder (He et al., arXiv:2111.06377) for maps that are nearly empty: patches are hidden among the occupied
ones alone, the tower sees what is left, and a small transformer, the filler, is told where something is hidden and says
what. No class takes part in what the tower learns. The class head reads its features without a way back into it, so
that the accuracy in validation is that of a head on a frozen tower, and shows what the tower has come to see.

A run is what ``start_from`` of a ``vit`` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nuadapt.errors import ConfigError
from nuadapt.models.loss import weighted_mean
from nuadapt.models.vision_tower import encode, groups, occupied, on_grid, resized
from nuadapt.models.vit import ViT

#: Of the draws in validation, so that the loss of one state is one number.
_VALIDATION_SEED = 1


class Filler(nn.Module):
    """Pixels of hidden patches from the features of those that are seen."""

    def __init__(self, shape: Mapping[str, Any], features: int, places: int, pixels: int) -> None:
        super().__init__()
        width = int(shape["width"])
        self.enter = nn.Linear(features, width)
        self.unknown = nn.Parameter(torch.randn(width) * 0.02)
        self.place = nn.Parameter(torch.randn(places, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, int(shape["heads"]), 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(int(shape["depth"]))
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))

    def forward(self, features: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """Pixels (H, patch * patch) of the H patches ``hidden`` (n, P), image by image in row order.

        ``features`` (K, D) are those of the patches ``seen`` (n, P).
        """
        there = seen | hidden
        grid = on_grid(self.enter(features), seen) + hidden[..., None] * self.unknown + self.place  # (n, P, W)
        filled = torch.zeros_like(grid)
        for rows, valid in groups(there):
            # The T places of each image that are there come first, in their order.
            places = there[rows].int().argsort(dim=1, descending=True, stable=True)[:, : valid.shape[1]]  # (g, T)
            at = (rows[:, None], places)
            x = grid[at]
            for layer in self.layers:
                x = layer(x, src_key_padding_mask=~valid)
            filled = filled.index_put(at, x.to(filled.dtype))  # layers may answer in the precision of autocast
        pixels: Tensor = self.out(filled[hidden])
        return pixels


class ViTPretraining(ViT):
    """The vision transformer with a filler. Without labels it answers as a ViT does."""

    def __init__(self, shape: Mapping[str, Any], n_views: int, n_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__(shape, n_views, n_classes, label_smoothing)
        self.hidden_share = float(shape["hidden_share"])
        if not 0 < self.hidden_share < 1:
            raise ConfigError(f"a share of {self.hidden_share:g} of the patches is hidden", expected="between 0 and 1")
        places = (self.side // self.patch) ** 2
        self.filler = Filler(shape["filler"], int(shape["vision"]["hidden_size"]), places, self.patch**2)

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
        targets: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As :meth:`ViT.forward`; with labels also ``filling`` (B,), which is part of the loss.

        That is the squared distance of grey levels, summed over the pixels of a hidden patch, as the mean over the
        hidden patches of an event. An event without any has 0.
        """
        if labels is None:
            return super().forward(pixels, shown=shown)
        self.check(pixels)
        images = resized(pixels.flatten(0, 1), self.side)  # (B * V, side, side)
        there = occupied(images, self.patch, self.occupied_above)  # (B * V, P)
        hidden = self.draw(there)
        seen = there & ~hidden
        patches = _patches(images, self.patch)  # (B * V, P, patch * patch)
        features = encode(self.tower, _joined(patches * ~hidden[..., None], self.side), seen)
        off = (self.filler(features, seen, hidden).float() - patches[hidden]).square().sum(1)  # (H,)
        event = hidden.nonzero(as_tuple=True)[0] // self.n_views
        counts = hidden.reshape(len(pixels), -1).sum(1).clamp_min(1)
        filling = off.new_zeros(len(pixels)).index_add(0, event, off) / counts  # (B,)
        found = self.answer(self.summary(features.detach(), seen), labels, weight, total, targets)
        return {**found, "loss": found["loss"] + weighted_mean(filling, weight, total), "filling": filling}

    def draw(self, there: Tensor) -> Tensor:
        """Which of the patches ``there`` (n, P) are hidden: of each image its share, rounded down, so never all.

        In validation the same each time.
        """
        source = None if self.training else torch.Generator(there.device).manual_seed(_VALIDATION_SEED)
        score = torch.rand(there.shape, device=there.device, generator=source).masked_fill(~there, 2.0)
        rank = score.argsort(dim=1).argsort(dim=1)  # those that are there come first
        return rank < (there.sum(dim=1, keepdim=True) * self.hidden_share).long()


def _patches(images: Tensor, patch: int) -> Tensor:
    """(n, side, side) -> (n, P, patch * patch), patches in row order."""
    n, side = len(images), images.shape[-1] // patch
    return images.reshape(n, side, patch, side, patch).transpose(2, 3).reshape(n, side * side, patch * patch)


def _joined(patches: Tensor, side: int) -> Tensor:
    """Inverse of :func:`_patches`."""
    n, patch = len(patches), round(patches.shape[-1] ** 0.5)
    per_side = side // patch
    return patches.reshape(n, per_side, per_side, patch, patch).transpose(2, 3).reshape(n, side, side)


def build(
    preset: Mapping[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``vit-pretraining``.

    Raises:
        ConfigError: impossible numbers of views or classes, or an impossible share.
    """
    return ViTPretraining(preset, n_views, len(classes), label_smoothing)
