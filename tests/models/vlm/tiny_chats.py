"""Tiny foreign chat models of three makes, each with a processor of its own kind: random weights, made on the spot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import Qwen2_5_VLProcessor

from nuadapt.models.vlm.adapters import AdapterConfig
from nuadapt.models.vlm.backbones import Backbone, BackbonePreset, Base, architecture

from .conftest import TINY, WORDS, tiny_model, tiny_processor

#: One picture per mark; every message is words of the tiny vocabulary.
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|image|>{% else %} {{ c['text'] }}{% endif %}{% endfor %} w9 {% endfor %}"
)
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SMOL = ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
_QWEN = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
#: Four tokens a picture: 4 x 4 patches, joined 2 x 2.
IDEFICS3 = BackbonePreset(
    name="tiny-idefics3",
    hub="nobody/tiny-idefics3",
    view_modes=("multi", "channels"),
    dtype="float32",
    adapter=AdapterConfig(r=2, dropout=0.0, targets=("q_proj", "v_proj", "out_proj", "down_proj")),
    architecture={
        "model_type": "idefics3",
        "image_token_id": len(WORDS),
        "scale_factor": 2,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 7,
        },
        "text_config": {"model_type": "llama", "vocab_size": len(WORDS) + len(_SMOL), **_TEXT},
    },
)
QWEN = BackbonePreset(
    name="tiny-qwen",
    hub="nobody/tiny-qwen",
    view_modes=("multi", "stitch"),
    dtype="float32",
    adapter=AdapterConfig(r=2, dropout=0.0, targets=("q_proj", "v_proj", "attn.qkv", "down_proj")),
    architecture={
        "model_type": "qwen2_5_vl",
        "image_token_id": len(WORDS),
        "video_token_id": len(WORDS) + 1,
        "vision_start_token_id": len(WORDS) + 2,
        "vision_end_token_id": len(WORDS) + 3,
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 7,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 28,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
        "text_config": {
            "vocab_size": len(WORDS) + len(_QWEN),
            **_TEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
    },
)
PRESETS = {
    "mllama": replace(TINY, adapter=replace(TINY.adapter, r=2, dropout=0.0)),
    "idefics3": IDEFICS3,
    "qwen2.5-vl": QWEN,
}


class StillsOnly(Qwen2_5_VLProcessor):
    """Qwen's processor without the part that reads videos, which asks for torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template)


def _smol() -> Any:
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor

    side = {"longest_edge": 28}
    pictures = Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False)
    template = TEMPLATE.replace("<|image|>", "<image>")
    return Idefics3Processor(pictures, _words(_SMOL), image_seq_len=4, chat_template=template)


def _qwen() -> Any:
    from transformers import Qwen2VLImageProcessorPil

    least = 28 * 28
    pictures = Qwen2VLImageProcessorPil(
        patch_size=7, merge_size=2, temporal_patch_size=2, min_pixels=least, max_pixels=4 * least
    )
    return StillsOnly(
        pictures, _words(_QWEN), TEMPLATE.replace("<|image|>", "<|vision_start|><|image_pad|><|vision_end|>")
    )


def _words(special: tuple[str, ...]) -> Any:
    """The vocabulary of the tiny Mllama with other special tokens behind it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    words.add_tokens(list(special), special_tokens=True)
    return words


def backbone(kind: str) -> Backbone:
    """A model of one of PRESETS with its processor."""
    preset = PRESETS[kind]
    processor = {"mllama": tiny_processor, "idefics3": _smol, "qwen2.5-vl": _qwen}[kind]()
    if kind == "mllama":
        processor.chat_template = TEMPLATE
    return Backbone(_model(preset), processor, preset, Base(preset.hub, "", "float32"))


def _model(preset: BackbonePreset) -> Any:
    """Random weights, the same every time; images have a say in what comes out."""
    from transformers import AutoModelForImageTextToText

    if preset.name == TINY.name:
        return tiny_model()
    torch.manual_seed(7)
    model = AutoModelForImageTextToText.from_config(architecture(preset))
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim > 1:
                tensor.mul_(5)  # fresh weights hardly prefer any word
    return model.eval()
