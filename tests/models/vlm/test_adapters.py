"""Adapters: only the layers of the chosen towers, as many parameters as published, no change before training."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nuadapt.errors import ConfigError
from nuadapt.models.vlm.adapters import AdapterConfig, adapt, adapted_layers, count_by_tower
from nuadapt.models.vlm.backbones import BackbonePreset, backbone_preset, meta_model

#: Published layer names, without the numbers, by which the adapted layers of each preset can be told apart.
TEXT = {
    "llama-3.2-11b-vision": r"model\.language_model\.layers\.\d+\.((self|cross)_attn|mlp)\.(q|k|v|o|gate|up|down)_proj",
    "smolvlm-256m": r"model\.text_model\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj",
    "qwen2.5-vl-3b": r"model\.language_model\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj",
}
VISION = {
    "llama-3.2-11b-vision": r"model\.vision_model\.(global_)?transformer\.layers\.\d+\.self_attn\.(q|k|v|o)_proj",
    "smolvlm-256m": r"model\.vision_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj",
    "qwen2.5-vl-3b": r"model\.visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(gate|up|down)_proj)",
}


def adapted_names(model: Any) -> set[str]:
    return {
        name.partition(".lora_A.")[0] for name, _ in model.get_base_model().named_parameters() if ".lora_A." in name
    }


@pytest.mark.parametrize(("scope", "text", "vision"), [("both", 1, 1), ("text", 1, 0), ("vision", 0, 1)])
def test_llama_trains_as_many_parameters_as_published(scope: str, text: int, vision: int) -> None:
    """29.5 million in arXiv:2509.08461; by tower from the layer widths: r (in + out) for every layer."""
    per_text_layer = 8 * (4 * 4096 + 2 * (4096 + 4096 // 4) + 3 * (4096 + 14336))
    per_vision_layer = 8 * 4 * (1280 + 1280)
    assert (40 * per_text_layer, 40 * per_vision_layer) == (26_214_400, 3_276_800)
    model = adapt(meta_model(backbone_preset("llama-3.2-11b-vision")), AdapterConfig(scope=scope))  # type: ignore[arg-type]
    counts = count_by_tower(model)
    assert counts["text"].trainable == text * 26_214_400
    assert counts["vision"].trainable == vision * 3_276_800
    assert counts["connector"].trainable == 0
    assert counts["total"].trainable == text * 26_214_400 + vision * 3_276_800
    assert counts["total"].parameters == 10_670_220_835
    assert "other" not in counts


@pytest.mark.parametrize("name", ["smolvlm-256m", "qwen2.5-vl-3b"])
@pytest.mark.parametrize("scope", ["text", "vision", "both"])
def test_scope_decides_by_tower(name: str, scope: str) -> None:
    preset = backbone_preset(name)
    plain = meta_model(preset)
    patterns = [pattern[name] for pattern, own in ((TEXT, "text"), (VISION, "vision")) if scope in (own, "both")]
    wanted = {n for n, _ in plain.named_modules() if any(re.fullmatch(p, n) for p in patterns)}
    adapted = adapt(plain, replace(preset.adapter, scope=scope))  # type: ignore[arg-type]
    assert adapted_names(adapted) == wanted
    assert sum(adapted_layers(adapted).values()) == len(wanted)


def test_names_of_llama_layers_say_where_they_are() -> None:
    layers = adapted_layers(adapt(meta_model(backbone_preset("llama-3.2-11b-vision")), AdapterConfig()))
    assert layers["model.language_model.layers.*.cross_attn.q_proj"] == 8
    assert layers["model.language_model.layers.*.mlp.up_proj"] == 40
    assert layers["model.vision_model.global_transformer.layers.*.self_attn.q_proj"] == 8
    assert sum(layers.values()) == 40 * 7 + 40 * 4
    assert not [name for name in layers if "lm_head" in name or "projector" in name]


@pytest.mark.parametrize("rank", [1, 3, 64])
def test_parameters_grow_with_the_rank(model: Any, rank: int) -> None:
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    adapted = adapt(model, AdapterConfig(r=rank))
    total = rank * sum(linear[n].in_features + linear[n].out_features for n in adapted_names(adapted))
    assert count_by_tower(adapted)["total"].trainable == total > 0


@pytest.mark.parametrize(("given", "said"), [(None, "rank 8, alpha 16"), (32, "rank 32, alpha 64")])
def test_another_rank_is_scaled_as_in_training(given: int | None, said: str) -> None:
    from nuadapt.models.info import model_info

    facts = dict(model_info("smolvlm-256m", rank=given)[0][2])
    assert said in facts["adapters"]


def test_fresh_adapters_change_nothing(model: Any, inputs: Any) -> None:
    with torch.inference_mode():
        before = model(**inputs).logits
        after = adapt(model, AdapterConfig()).eval()(**inputs).logits
    assert torch.equal(before, after)


def test_both_towers_learn_and_nothing_else(model: Any, inputs: Any) -> None:
    adapted = adapt(model, AdapterConfig()).train()
    adapted(**inputs, labels=inputs["input_ids"].clamp(max=120)).loss.backward()
    for name, tensor in adapted.named_parameters():
        assert tensor.requires_grad == (".lora_" in name)
        assert (tensor.grad is not None) == (".lora_" in name), name
    moved = [n for n, p in adapted.named_parameters() if ".lora_B." in n and p.grad.abs().sum() > 0]
    assert {"vision_model", "language_model"} == {"vision_model" if "vision" in n else "language_model" for n in moved}


def test_shared_embeddings_count_once() -> None:
    counts = count_by_tower(meta_model(backbone_preset("qwen2.5-vl-3b")))
    assert counts["total"].parameters == 3_754_622_976
    assert sum(c.parameters for tower, c in counts.items() if tower != "total") == counts["total"].parameters
    assert counts["connector"].parameters == 5120 * 5120 + 5120 + 5120 * 2048 + 2048 + 1280  # two layers and a norm


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AdapterConfig(targets=("query",)), "text tower ends in query"),
        (AdapterConfig(targets=("up_proj",), scope="vision"), r"vision tower ends in up_proj.*mlp\.fc1"),
        (AdapterConfig(targets=("up_proj",), scope="both"), "vision tower"),
        (AdapterConfig(targets=("proj",), scope="text"), "text tower"),  # whole words only: not every ..._proj
    ],
)
def test_targets_that_are_nowhere(model: Any, config: AdapterConfig, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        adapt(model, config)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]


@pytest.mark.parametrize(
    "wrong", [{"r": 0}, {"alpha": 0}, {"dropout": float("nan")}, {"dropout": 1.0}, {"dropout": -0.1}, {"targets": ()}]
)
def test_impossible_adapters(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AdapterConfig(**wrong)


def test_a_model_without_a_vision_tower() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "vocab_size": 9,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
    }
    with pytest.raises(ConfigError, match="LlamaForCausalLM has no"):
        adapt(LlamaForCausalLM(LlamaConfig(**shape)), AdapterConfig())


def test_image_layers_with_the_same_name_are_left_alone(preset: BackbonePreset) -> None:
    """The defect of LLaVA#1380 and others: adapters by name suffix land in the vision tower, too."""
    adapted = adapt(meta_model(preset), AdapterConfig(scope="text"))
    assert not [name for name in adapted_names(adapted) if "vision" in name]
    assert [n for n, _ in adapted.named_modules() if "vision_model" in n and n.endswith("q_proj")]
