"""What a model costs: floating-point operations of answering and of a training step, counted as they are executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Floating-point operations of one training step on one batch; a multiplication and an addition are two.

    Matrix products, convolutions and attention are counted, which are nearly all; element-wise steps are not.
    """

    forward: int
    backward: int

    @property
    def total(self) -> int:
        """Both directions."""
        return self.forward + self.backward


def training_flops(record: Mapping[str, Any]) -> float | None:
    """Operations of the training that a run's record tells of, with those of the pretraining that it began from.

    None if the record does not say what an event costs.
    """
    if not record.get("flops_per_event"):
        return None
    events = float(record["epochs"]) * sum(record["data"]["events"]["train"].values())
    own: float = events * sum(record["flops_per_event"].values())
    return own + float(record.get("pretrained", {}).get("flops", 0.0))


def step_flops(model: nn.Module, batch: Mapping[str, Tensor]) -> StepFlops:
    """Operations of a training step of this batch, which must carry its labels or targets.

    Nothing is estimated: what training leaves out of the backward pass, such as a frozen backbone below trained heads,
    is not executed, so not counted, and models without padding are charged for the tokens that the events have.
    Gradients of the model are cleared.
    """
    # The plain kernels of attention are matrix products that the counter knows; it misses fused ones on CPUs.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss: Tensor = model(**batch)["loss"]
        with FlopCounterMode(display=False) as backward:
            torch.autograd.backward(loss)
    model.zero_grad(set_to_none=True)
    return StepFlops(forward.get_total_flops(), backward.get_total_flops())
