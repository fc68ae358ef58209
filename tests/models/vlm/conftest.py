"""A tiny Mllama with tokenizer and processor, as files and in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nuadapt.models.vlm.backbones import BackbonePreset, architecture

WORDS = ("<pad>", "<s>", "</s>", "<unk>", *(f"w{i}" for i in range(122)))
IMAGE = "<|image|>"

TINY = BackbonePreset(
    name="tiny-mllama",
    hub="nobody/tiny-mllama",
    view_modes=("stitch", "multi"),
    dtype="float32",
    architecture={
        "model_type": "mllama",
        "image_token_index": len(WORDS),
        "vision_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "max_num_tiles": 1,
            "supported_aspect_ratios": [[1, 1]],
            "intermediate_layers_indices": [0, 1],
            "vision_output_dim": 192,
        },
        "text_config": {
            "vocab_size": len(WORDS),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "cross_attention_layers": [1, 3],
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    },
)


def tiny_model() -> Any:
    """Random weights, the same every time; images have a say in what comes out."""
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(7)
    model = AutoModelForImageTextToText.from_config(architecture(TINY))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "gate" in name and tensor.numel() == 1:
                tensor.fill_(0.8)  # a fresh Mllama does not look at images at all: its gates are shut
        model.lm_head.weight.mul_(10)  # and its frozen output layer can hardly prefer any word
    return model.eval()


def tiny_processor() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import MllamaImageProcessorPil, MllamaProcessor, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    images = MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=1)
    return MllamaProcessor(images, tokenizer, chat_template="{{ messages }}")


def batch(n: int = 4) -> dict[str, torch.Tensor]:
    """One image and six tokens for each of ``n`` events; the token after the fourth depends on the event."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.tensor([[len(WORDS), 1, 5, 6, 0, 8]]).repeat(n, 1)
    ids[:, 4] = 10 + 7 * torch.arange(n)
    ones = torch.ones(n, 6, dtype=torch.long)
    return {
        "input_ids": ids,
        "attention_mask": ones,
        "pixel_values": torch.randn(n, 1, 1, 3, 28, 28, generator=generator),
        "aspect_ratio_ids": torch.ones(n, 1, dtype=torch.long),
        "aspect_ratio_mask": torch.ones(n, 1, 1, dtype=torch.long),
        "cross_attention_mask": ones[:, :, None, None],
    }


@pytest.fixture
def model() -> Any:
    return tiny_model()


@pytest.fixture
def preset() -> BackbonePreset:
    return replace(TINY)


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    return batch()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a folder of transformers; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("tiny-mllama")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder
