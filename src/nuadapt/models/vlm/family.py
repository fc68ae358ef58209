"""The family ``vlm`` for training, run folders and inference: building, saving, loading.

The architecture in a run's record is the preset with a part ``language``: prompt, views, how they are shown, source and
precision of the weights.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from nuadapt.errors import ConfigError
from nuadapt.models.run import check_fit, read_tensors
from nuadapt.models.vlm.adapter_files import AdapterRecord, load_adapter, save_adapter
from nuadapt.models.vlm.adapters import adapt
from nuadapt.models.vlm.backbones import BackbonePreset, load_backbone
from nuadapt.models.vlm.chat import ChatClassifier
from nuadapt.models.vlm.classifier import VLMClassifier
from nuadapt.models.vlm.prompts import Prompt
from nuadapt.models.vlm.sparse import SparseClassifier
from nuadapt.settings import build as build_settings

#: Folder of the adapters in a run folder.
ADAPTER = "adapter"
WEIGHTS = "model.safetensors"
_STEP = "Give the folder of a finished 'nuadapt train' run"


def build(
    preset: Mapping[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``vlm`` with its ``language`` part, adapters fresh.

    Raises:
        ConfigError: unknown settings, settings that the offline model does not have, or labels smoothed: answers are
            words.
        InputFileError: weights of a foreign backbone that are not there or cannot be used.
        MissingExtraError: the language model or peft is not installed.
    """
    if label_smoothing:
        raise ConfigError("labels of a language model cannot be smoothed", expected="label_smoothing=0")
    if _is_offline(preset):
        for setting, only in (("precision", "float32"), ("view_mode", "multi")):
            if (given := preset["language"][setting]) not in ("", only):
                raise ConfigError(
                    f"{preset['name']} cannot have language.{setting}={given}", expected=f"language.{setting}={only}"
                )
    return _classifier(preset)


def _is_offline(given: Mapping[str, Any]) -> bool:
    """Whether the language model is that of a package, and no weights of a backbone are named."""
    return not given.get("hub") and not given["language"]["source"]


def _classifier(given: Mapping[str, Any], adapter: Path | None = None) -> VLMClassifier:
    plain = dict(given)
    language = plain.pop("language")
    preset = build_settings(BackbonePreset, plain, where="preset")
    prompt, views = Prompt.from_dict(language["prompt"]), language["views"]
    weight, examples = float(language["reason_weight"]), language["examples"]
    if _is_offline(given):
        return SparseClassifier(preset, prompt, views, reason_weight=weight, examples=examples, adapter=adapter)
    backbone = load_backbone(preset, language["source"] or None, precision=language["precision"] or None)
    if adapter is None:
        adapted = adapt(backbone.model, preset.adapter)
    else:
        loaded = load_adapter(backbone.model, adapter, backbone.base, prompt.labels)
        adapted = loaded.model
        for note in loaded.notes:
            logging.getLogger("nuadapt").warning(note)
    return ChatClassifier(
        backbone,
        adapted,
        prompt,
        views,
        view_mode=language["view_mode"] or None,
        reason_weight=weight,
        examples=examples,
    )


def load_tower(model: VLMClassifier, run: Path) -> None:
    """Take the vision tower of a finished run of preset ``vit``.

    Raises:
        ConfigError: a model that has a vision tower of its own.
        InputFileError: no such run, or a tower of another shape.
    """
    if not isinstance(model, SparseClassifier):
        raise ConfigError(f"{model.preset.name} has a trained vision tower of its own", expected="no language.tower")
    weights = run / WEIGHTS
    given = read_tensors(weights, next_step=_STEP)
    tower = {name.removeprefix("tower."): tensor for name, tensor in given.items() if name.startswith("tower.")}
    # Adapters stand around the layers that they adapt.
    state = model.model.model.vision_model.state_dict()
    mine = {name.replace(".base_layer.", "."): tensor for name, tensor in state.items() if "lora_" not in name}
    check_fit(mine, tower, weights, described_by="the vision tower of the preset")
    for name, tensor in mine.items():
        tensor.copy_(tower[name])


def start(model: VLMClassifier, run: Path) -> None:
    """Take tower, connector and adapters of a finished run of the same backbone and rank.

    Raises:
        InputFileError: no such run, or one of another shape.
    """
    adapters = read_tensors(run / ADAPTER / "adapter_model.safetensors", next_step=_STEP)
    given = read_tensors(run / WEIGHTS, next_step=_STEP)
    wanted = {name: tensor for name, tensor in model.state_dict().items() if name not in model.example_names()}
    # PEFT's files leave the name of the adapter out.
    given |= {f"adapted.{n.replace('.weight', '.default.weight')}": t for n, t in adapters.items()}
    check_fit(wanted, given, run, described_by="the settings")
    model.load_state_dict(given)


def save(network: VLMClassifier, weights: Path, folder: Path) -> None:
    """The run's files: ``adapter/`` in PEFT layout, everything else of its own in ``model.safetensors``.

    ``weights`` are the best ones, which ``network`` holds already.
    """
    parts = {n: t for n, t in read_tensors(weights, next_step=_STEP).items() if "lora_" not in n}
    save_file(parts, folder / WEIGHTS, metadata={"format": "pt"})
    record = AdapterRecord(
        network.base, network.preset.adapter, network.prompt.name, network.view_mode, network.prompt.labels
    )
    save_adapter(network.adapted, folder / ADAPTER, record)


def load(folder: Path, record: Mapping[str, Any]) -> nn.Module:
    """The model of a run folder, adapters merged into the weights where this rounds nothing.

    Raises:
        InputFileError: files missing, damaged, or of another model.
    """
    network = _classifier(record["architecture"], folder / ADAPTER)
    parts = read_tensors(folder / WEIGHTS, next_step=_STEP)
    wanted = {name: tensor for name, tensor in network.state_dict().items() if "lora_" not in name}
    check_fit(wanted, parts, folder / WEIGHTS, described_by="record.json")
    network.load_state_dict(parts)
    if network.base.precision == "float32":  # a coarser sum would be rounded once more (peft#2321)
        network.adapted.merge_adapter()
    return network
