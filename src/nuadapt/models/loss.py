"""The losses shared by all models, with event weights: cross-entropy for classes, smooth L1 for energies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, total: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Weighted mean of the cross-entropy: sum(weight * ce) / total, a scalar in float32.

    Args:
        logits: class scores, shape (B, C).
        labels: class indices, shape (B,).
        weight: event weight times class weight, shape (B,); 1 if not given.
        total: what the sum is divided by; the sum of ``weight`` if not given. With gradient accumulation it is
            the sum over all accumulated batches, so that their losses add up to the loss of one large batch.
        smoothing: share of the target spread evenly over all classes (Szegedy et al., arXiv:1512.00567).
    """
    ce = F.cross_entropy(logits.float(), labels.long(), reduction="none", label_smoothing=smoothing)  # (B,)
    return weighted_mean(ce, weight, total)


def log_smooth_l1(energy: Tensor, targets: Tensor, weight: Tensor | None = None, total: Tensor | None = None) -> Tensor:
    """Weighted mean of the smooth L1 distance (Girshick, arXiv:1504.08083) of ln(1 + E / GeV), a scalar in float32.

    Args:
        energy: answers, GeV, shape (B,), not negative.
        targets: true values, GeV, shape (B,), not negative.
        weight, total: as in :func:`weighted_cross_entropy`.
    """
    distance = F.smooth_l1_loss(energy.float().log1p(), targets.float().log1p(), reduction="none")  # (B,)
    return weighted_mean(distance, weight, total)


def weighted_mean(each: Tensor, weight: Tensor | None, total: Tensor | None) -> Tensor:
    """sum(weight * each) / total of losses (B,); arguments as in :func:`weighted_cross_entropy`."""
    weight = torch.ones_like(each) if weight is None else weight.float()
    total = weight.sum() if total is None else total
    # A batch of zero weights has no say: its loss is 0, not 0 / 0.
    return (weight * each).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)
