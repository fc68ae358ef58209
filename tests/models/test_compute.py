"""Floating-point operations, against counts by hand."""

from __future__ import annotations

import torch
from torch import nn

from nuadapt.models.cloud import KINEMATICS, CloudShape
from nuadapt.models.compute import step_flops
from nuadapt.models.registry import build_model, load_preset

SHAPE = CloudShape(KINEMATICS, n_types=2, n_globals=15)
B = 4


def clouds(tokens: int, padding: int = 0) -> dict[str, torch.Tensor]:
    mask = torch.arange(tokens + padding).expand(B, -1) < tokens
    return {
        "tokens": torch.randn(B, tokens + padding, 4),
        "type": torch.ones(B, tokens + padding, dtype=torch.long),
        "mask": mask,
        "globals": torch.randn(B, 15),
        "labels": torch.arange(B) % 2,
    }


def model(preset: str, **changes: int) -> nn.Module:
    return build_model(load_preset(preset) | changes, cloud=SHAPE, classes=("a", "b"))


def products(network: nn.Module, rows: int = B) -> list[int]:
    """Operations of each linear layer in order: 2 for every weight and row."""
    return [2 * rows * m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear)]


def test_mlp_by_hand() -> None:
    """Backward is a product for the weights and one for the input; the input of the first layer needs none."""
    network = model("mlp-global")
    layers = products(network)
    flops = step_flops(network, clouds(3))
    assert flops.forward == sum(layers)
    assert flops.backward == 2 * sum(layers) - layers[0]
    assert flops.total == flops.forward + flops.backward
    assert all(p.grad is None for p in network.parameters())


def test_frozen_parts_have_no_backward() -> None:
    network = model("mlp-global")
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith(("head.1.", "head.3."))
    *below, first, last = products(network)
    flops = step_flops(network, clouds(3))
    assert flops.forward == sum(below) + first + last
    assert flops.backward == 2 * last + first


def test_attention_is_counted_and_padding_is_free() -> None:
    network = model("transformer-xsmall", depth=1)
    short, long, padded = (step_flops(network, clouds(*n)).forward for n in ((5,), (6,), (5, 20)))
    assert padded == short
    width, rows = 128, 5 + 2  # class token and event token
    block = network.blocks[0]
    linear = 2 * B * rows * block.attn.in_proj_weight.numel() + sum(products(block, B * rows))
    of_tokens = sum(products(network.embed, B * 5)) + sum(products(network.position, B * 5))
    of_events = sum(products(network.event)) + sum(products(network.head))
    attention = 2 * 2 * B * rows**2 * width  # scores, and their mixing of values
    assert short == linear + of_tokens + of_events + attention
    assert long > short
