"""Vision transformer on the views of an event: the vision tower of the language model, with a class head.

Every view passes through the same tower; each is summed up by the mean and the maximum over its occupied patches, and
a small head reads the summaries of all views together. In training a second head learns visible truth from the same
summaries (:mod:`nuadapt.models.targets`), where the events have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.loss import weighted_cross_entropy
from nuadapt.models.run import check_fit, read_tensors
from nuadapt.models.targets import TARGET_NAMES
from nuadapt.models.vision_tower import encode, new_tower, occupied, resized, tower_config

#: How the names of tensors begin that only pretraining has (:mod:`nuadapt.models.vit_pretraining`).
FILLER = "filler."


class ViT(nn.Module):
    """Class scores from the views of an event. ``shape`` is the preset."""

    #: ``forward`` takes ``shown``, since patches without charge are not looked at.
    gated = True

    def __init__(self, shape: Mapping[str, Any], n_views: int, n_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if n_views < 1 or n_classes < 2:
            raise ConfigError(f"{n_views} views and {n_classes} classes", expected="at least 1 view and 2 classes")
        self.n_views, self.label_smoothing = n_views, label_smoothing
        self.side, self.patch = int(shape["vision"]["image_size"]), int(shape["vision"]["patch_size"])
        self.occupied_above = float(shape["occupied_above"])
        self.auxiliary_weight = float(shape["auxiliary_weight"])
        self.tower = new_tower(tower_config(shape["vision"]))
        width, hidden = 2 * n_views * int(shape["vision"]["hidden_size"]), int(shape["head_width"])
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(float(shape["dropout"]))
        )
        self.classifier = nn.Linear(hidden, n_classes)
        self.auxiliary = nn.Linear(hidden, len(TARGET_NAMES))

    def features(self, pixels: Tensor, shown: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features of the K occupied patches (K, D), and which those are (B * V, P), views of an event in a row.

        Raises:
            DataError: other number of views than the model was built for.
        """
        self.check(pixels)
        images = resized(pixels.flatten(0, 1), self.side)  # (B * V, side, side)
        seen = images if shown is None else resized(shown.flatten(0, 1), self.side)
        keep = occupied(seen, self.patch, self.occupied_above)
        return encode(self.tower, images, keep), keep

    def check(self, pixels: Tensor) -> None:
        """Whether these are views of events.

        Raises:
            DataError: other number of views than the model was built for.
        """
        if pixels.ndim != 4 or pixels.shape[1] != self.n_views:
            raise DataError(f"pixels have shape {tuple(pixels.shape)}", expected=f"(events, {self.n_views}, H, W)")

    def summary(self, features: Tensor, keep: Tensor) -> Tensor:
        """Joint summary of all views (B, head_width) from what :meth:`features` gives."""
        image = keep.nonzero(as_tuple=True)[0]  # (K,)
        blank = features.new_zeros(len(keep), features.shape[1])
        mean = blank.index_add(0, image, features) / keep.sum(dim=1, keepdim=True)  # (B * V, D)
        largest = blank.scatter_reduce(0, image[:, None].expand_as(features), features, "amax", include_self=False)
        joined: Tensor = self.head(torch.cat([mean, largest], dim=1).reshape(len(keep) // self.n_views, -1))
        return joined

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
        targets: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scores of grey levels 0..1.

        Args:
            pixels: (B, V, H, W).
            labels: class indices (B,); with them the loss is returned too.
            weight, total: see :func:`nuadapt.models.loss.weighted_cross_entropy`.
            targets: auxiliary targets (B, T), NaN where unknown; used in training only.
            shown: images (B, V, H, W) that decide which patches are looked at; none: ``pixels`` themselves.

        Returns:
            ``logits`` (B, classes) in float32, and ``loss`` if there are labels.

        Raises:
            DataError: other number of views than the model was built for.
        """
        return self.answer(self.summary(*self.features(pixels, shown)), labels, weight, total, targets)

    def answer(
        self,
        summary: Tensor,
        labels: Tensor | None,
        weight: Tensor | None,
        total: Tensor | None,
        targets: Tensor | None,
    ) -> dict[str, Tensor]:
        """What :meth:`forward` gives, from the summaries (B, head_width)."""
        logits: Tensor = self.classifier(summary).float()
        if labels is None:
            return {"logits": logits}
        smoothing = self.label_smoothing if self.training else 0.0
        loss = weighted_cross_entropy(logits, labels, weight, total, smoothing)
        if self.training and targets is not None:
            loss = loss + self.auxiliary_weight * auxiliary_loss(self.auxiliary(summary), targets, weight, total)
        return {"loss": loss, "logits": logits}


def auxiliary_loss(given: Tensor, targets: Tensor, weight: Tensor | None, total: Tensor | None) -> Tensor:
    """Smooth L1 over the known targets of each event (B, T), weighted over events as the class loss is."""
    known = ~targets.isnan()
    off = F.smooth_l1_loss(given.float(), torch.where(known, targets, given.detach().float()), reduction="none")
    each = off.sum(dim=1) / known.sum(dim=1).clamp_min(1)  # (B,)
    weight = torch.ones_like(each) if weight is None else weight.float()
    total = weight.sum() if total is None else total
    return (weight * each).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)


def build(
    preset: Mapping[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``vit``.

    Raises:
        ConfigError: impossible numbers of views or classes.
    """
    return ViT(preset, n_views, len(classes), label_smoothing)


def start(model: ViT, run: Path) -> None:
    """Take the weights of a finished run of the same architecture, or of one that pretrained it.

    Raises:
        InputFileError: no such run, or one of another shape.
    """
    weights = run / "model.safetensors"
    given = read_tensors(weights, next_step="Give the folder of a finished 'nuadapt train' or 'nuadapt pretrain' run")
    mine = {name: tensor for name, tensor in given.items() if not name.startswith(FILLER)}
    check_fit(model.state_dict(), mine, weights, described_by="the preset")
    model.load_state_dict(mine)
