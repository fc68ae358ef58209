"""A tiny model of the kind of ``nuadapt-vlm``: random weights, a tokenizer made on the spot, nothing installed."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, SmolVLMForConditionalGeneration

from nuadapt.events.tasks import load_task
from nuadapt.models.vision_tower import new_tower
from nuadapt.models.vlm import sparse
from nuadapt.models.vlm.backbones import BackbonePreset, architecture
from nuadapt.models.vlm.prompts import Prompt, load_prompt
from nuadapt.models.vlm.sparse import SparseClassifier
from nuadapt.settings import build

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(merges: int = 300) -> Any:
    """A byte-level tokenizer trained on what the prompts say; with few ``merges`` labels are many tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    prompt = load_prompt("full", load_task("flavour"))
    texts = [prompt.system, prompt.user, prompt.answer, *prompt.endings] * 3
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = len(SPECIAL) + len(alphabet) + merges
    raw.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[2], unk_token=SPECIAL[0]
    )
    made.chat_template = TEMPLATE
    return made


def preset(vocabulary: int) -> BackbonePreset:
    """Two layers of 32 channels in both towers; images of 32 pixels with patches of 8."""
    vision = {"num_channels": 1, "image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 64}
    vision |= {"stem": [[4, 0], [8, 0], [8, 1]], "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"model_type": "llama", "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    shape = {"model_type": "smolvlm", "image_token_id": 3, "scale_factor": 2, "vision_config": vision}
    shape |= {"text_config": text, "tie_word_embeddings": True}
    adapter = {"r": 2, "alpha": 4, "dropout": 0.0, "scope": "text"}
    values = {"architecture": shape, "adapter": adapter, "occupied_above": 0.05, "dtype": "float32"}
    return build(BackbonePreset, {"view_modes": ["multi"], "name": "tiny", **values})


def assemble(given: BackbonePreset) -> Any:
    """As :func:`nuadapt.models.vlm.offline.assemble`, with random weights large enough to tell labels apart."""
    torch.manual_seed(3)
    model = SmolVLMForConditionalGeneration(architecture(given))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.25)
    model.model.vision_model = new_tower(model.config.vision_config)
    return model.eval()


def make(monkeypatch: Any, merges: int = 300, prompt: Prompt | None = None, shots: int = 0) -> SparseClassifier:
    """A tiny classifier, with ``shots`` examples per class; the language model's package is not asked."""
    words = tokenizer(merges)
    monkeypatch.setattr(sparse, "assemble", assemble)
    monkeypatch.setattr(sparse, "tokenizer", lambda: words)
    prompt = prompt or load_prompt("full", load_task("flavour"))
    shown = pixels(3 * shots, seed=9) if shots else None
    made = SparseClassifier(preset(len(words)), prompt, ("xz", "yz"), examples=() if shown is None else shown.shape)
    if made.examples is not None and shown is not None:
        made.examples.copy_(shown)
    torch.manual_seed(4)
    for name, parameter in made.named_parameters():
        if "lora_" in name:  # fresh adapters change nothing, and could not be seen
            nn.init.normal_(parameter, std=0.2)
    return made.eval()


def pixels(events: int = 5, seed: int = 0) -> torch.Tensor:
    """Sparse grey images (events, 2, 32, 32) with different numbers of occupied patches."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(events, 2, 32, 32, generator=random)
    full = torch.rand(events, 2, 4, 4, generator=random) < torch.linspace(0.15, 0.9, events)[:, None, None, None]
    return images * full.repeat_interleave(8, 2).repeat_interleave(8, 3)
