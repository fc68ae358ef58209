"""Four-bit weights on the CPU: counted, trained through adapters (QLoRA), and what merging does to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nuadapt.models.vlm.adapters import AdapterConfig, adapt, count_by_tower
from nuadapt.models.vlm.backbones import BackbonePreset, load_backbone, meta_model
from nuadapt.models.vlm.quantisation import merge_difference, nf4


@pytest.fixture
def packed(preset: BackbonePreset, saved: Path) -> Any:
    return load_backbone(preset, saved, precision="nf4")


def test_settings_are_those_published() -> None:
    settings = nf4().to_dict()
    assert settings["load_in_4bit"] is True
    assert settings["bnb_4bit_quant_type"] == "nf4"
    assert settings["bnb_4bit_use_double_quant"] is True
    assert settings["bnb_4bit_compute_dtype"] == "bfloat16"


def test_weights_are_packed_and_close_to_what_they_were(packed: Any, model: Any) -> None:
    import bitsandbytes

    assert packed.base.precision == "nf4"
    plain = dict(model.named_modules())
    layers = {n: m for n, m in packed.model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert set(layers) == {n for n, m in plain.items() if isinstance(m, nn.Linear)} - {"lm_head"}
    for name, layer in layers.items():
        assert layer.weight.dtype == torch.uint8
        unpacked = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        exact = plain[name].weight
        assert not torch.equal(unpacked, exact)
        # The levels of NF4 are at most 0.304 apart in units of the block's largest value (arXiv:2305.14314, app. E).
        assert (unpacked - exact).abs().max() <= 0.16 * exact.abs().max()


def test_counts_do_not_depend_on_packing(packed: Any, preset: BackbonePreset) -> None:
    assert count_by_tower(adapt(packed.model, AdapterConfig())) == count_by_tower(
        adapt(meta_model(preset), AdapterConfig())
    )


def test_qlora_learns_on_a_cpu(packed: Any, inputs: Any) -> None:
    """One of two answers at the end of a conversation, to be learnt through the adapters of both towers."""
    torch.manual_seed(1)
    model = adapt(packed.model, AdapterConfig(dropout=0.0)).train()
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, -1] = torch.tensor([20, 30, 20, 30])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for _ in range(15):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    changed = [n for n, p in model.named_parameters() if ".lora_B." in n and p.abs().sum() > 0]
    assert any("vision" in n for n in changed)
    assert any("language" in n for n in changed)


def loud(model: Any) -> Any:
    """A model whose adapters say a lot."""
    torch.manual_seed(5)
    adapted = adapt(model, AdapterConfig(r=2))
    with torch.no_grad():
        for name, tensor in adapted.named_parameters():
            if ".lora_" in name:
                tensor.normal_(std=0.1)
    return adapted


def test_merging_into_float_weights_is_exact(model: Any, inputs: Any) -> None:
    adapted = loud(model)
    found = merge_difference(adapted, inputs)
    assert found.largest < 1e-4
    assert found.same_choice == 1


def test_merging_into_packed_weights_is_not(packed: Any, inputs: Any) -> None:
    adapted = loud(packed.model)
    with torch.inference_mode():
        before = adapted.eval()(**inputs).logits
    adapted.train()
    found = merge_difference(adapted, inputs)
    assert found.largest > 100 * 1e-4
    assert 0 < found.typical < found.largest
    assert adapted.training
    # Not by its state: on some processors the library rounds the scales of 4-bit weights anew when it is asked for it.
    with torch.inference_mode():
        assert torch.equal(adapted.eval()(**inputs).logits, before)
