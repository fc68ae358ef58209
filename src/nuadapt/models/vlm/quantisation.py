"""Four-bit weights (NF4, Dettmers et al., arXiv:2305.14314) on GPU and CPU, and what merging adapters costs."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch

from nuadapt.errors import require

Precision = Literal["float32", "bfloat16", "float16", "nf4"]


def nf4(compute: str = "bfloat16") -> Any:
    """Four-bit normal-float weights with quantised scales, as published for Llama 3.2 in arXiv:2509.08461.

    Args:
        compute: the type in which products are made; weights are unpacked to it layer by layer.

    Returns:
        The ``quantization_config`` of ``from_pretrained``. Every linear layer but the output embedding is packed.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    require("bitsandbytes", "vlm")
    return require("transformers", "vlm").BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,  # scales of the blocks in 8 bits: 4.13 instead of 4.5 bits per weight
        bnb_4bit_compute_dtype=getattr(torch, compute),
    )


@dataclass(frozen=True, slots=True)
class MergeDifference:
    """What merging adapters into the weights changes in the answers to one batch."""

    largest: float  # largest change of a logit
    typical: float  # root mean square change of the logits
    same_choice: float  # fraction of positions with the same most probable token


def merge_difference(adapted: Any, inputs: dict[str, Any]) -> MergeDifference:
    """Compare logits with adapters beside the weights and merged into a copy of them.

    Exact up to rounding on float32. Merging into 4-bit weights rounds the sum again and can spoil a model
    (peft#2321), so look at this before merged weights are passed on.

    Args:
        adapted: a ``PeftModel``; it is not changed, and a copy of it must fit in memory.
        inputs: what its forward takes, without labels.
    """
    was_training = adapted.training
    adapted.eval()
    with torch.inference_mode():
        beside = adapted(**inputs).logits.float()  # (B, T, vocabulary)
        with warnings.catch_warnings():
            # The rounding that PEFT warns of is what is measured here.
            warnings.filterwarnings("ignore", message="Merge lora module to 4-bit linear", category=UserWarning)
            merged_model = copy.deepcopy(adapted).merge_and_unload()
        merged = merged_model(**inputs).logits.float()
    adapted.train(was_training)
    change = (merged - beside).double()
    same = (merged.argmax(-1) == beside.argmax(-1)).double()
    return MergeDifference(float(change.abs().max()), float(change.square().mean().sqrt()), float(same.mean()))
