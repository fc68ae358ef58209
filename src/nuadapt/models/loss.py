"""The classification loss shared by all models: cross-entropy with event weights."""

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
    weight = torch.ones_like(ce) if weight is None else weight.float()
    total = weight.sum() if total is None else total
    # A batch of zero weights has no say: its loss is 0, not 0 / 0.
    return (weight * ce).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)
