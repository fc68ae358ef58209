"""How a pretrained model is adapted: the choices, what each trains, and at which rate.

A model says which part of it is its backbone (``model.backbone``, the beginning of names). What was not loaded from a
checkpoint, such as embeddings of features that the backbone has never seen, is new wherever it stands: it always
trains, and at the full rate, since random values in a frozen network would only scramble its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from nuadapt.errors import ConfigError, require


@dataclass(frozen=True, slots=True)
class Adaptation:
    """One choice. ``full`` trains everything, ``frozen`` what is new, ``lora`` that and low-rank updates."""

    mode: Literal["full", "frozen", "lora"] = "full"
    backbone_lr: float = 0.1  # times the rate of new parts; large steps early on would undo what was learned before
    rank: int = 8  # of the updates (Hu et al., arXiv:2106.09685)
    alpha: float = 16  # the update is scaled by alpha / rank

    def __post_init__(self) -> None:
        if not (0 < self.backbone_lr <= 1 and self.rank >= 1 and self.alpha > 0):
            raise ConfigError(
                f"adaptation with backbone_lr={self.backbone_lr}, rank={self.rank}, alpha={self.alpha} is impossible",
                expected="backbone_lr above 0 and at most 1, rank of at least 1, positive alpha",
            )


def adapt(model: nn.Module, choice: Adaptation, fresh: Sequence[str] = ()) -> nn.Module:
    """The model as it is to be trained: ``requires_grad`` is set, and for ``lora`` it is wrapped in a ``PeftModel``.

    Args:
        model: with a backbone.
        choice: what to train.
        fresh: names of parameters that no checkpoint gave (``LoadReport.fresh``).

    Raises:
        ConfigError: the model has no backbone.
        MissingExtraError: peft is not installed.
    """
    backbone = _backbone(model)
    if choice.mode == "lora":
        return _with_lora(model, choice, fresh)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = choice.mode == "full" or not name.startswith(backbone) or name in fresh
    return model


def _backbone(model: nn.Module) -> str:
    name = getattr(model, "backbone", None)
    if not name:
        raise ConfigError(f"{type(model).__name__} has no pretrained backbone", expected="a model such as pet2-small")
    return f"{name}."


def _with_lora(model: nn.Module, choice: Adaptation, fresh: Sequence[str]) -> nn.Module:
    peft: Any = require("peft", "vlm")
    backbone = _backbone(model)
    new = {name.rpartition(".")[0] for name in fresh if name.startswith(backbone)}
    heads = [name for name, _ in model.named_children() if not backbone.startswith(f"{name}.")]
    # PEFT adapts no layer that it is to save whole, so those of ``new`` may stand in both lists.
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and name.startswith(backbone)]
    config = peft.LoraConfig(
        r=choice.rank, lora_alpha=choice.alpha, target_modules=linear, modules_to_save=[*heads, *sorted(new)]
    )
    wrapped: nn.Module = peft.get_peft_model(model, config)
    return wrapped


def lr_factors(choice: Adaptation, backbone: str, fresh: Sequence[str] = ()) -> dict[str, float]:
    """Learning rates of an adapted model relative to that of the settings, by part of name; the first that fits counts.

    What is trained of a backbone as it was loaded learns ``choice.backbone_lr`` times as fast as the rest. Low-rank
    updates begin at zero, and beside them only what is new is trained: all of it learns at the full rate.

    Args:
        choice: as given to :func:`adapt`.
        backbone: beginning of the names of the backbone, ``model.backbone``.
        fresh: as given to :func:`adapt`.
    """
    if choice.mode == "lora":
        return {}
    return {**dict.fromkeys(fresh, 1.0), f"{backbone}.": choice.backbone_lr}
