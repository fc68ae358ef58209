"""Presets by name (data in ``presets/*.yaml``) and the family that builds each.

A family is a module with ``build(preset, *, n_views, classes, label_smoothing) -> nn.Module``. Its model's
``forward(pixels=..., labels=..., weight=..., total=...)`` returns ``{"loss", "logits"}`` with class scores (B, C)
as logits; that is all that training and inference ask of a model. A family whose runs are more than one file of
weights also has ``save(network, weights, folder)`` and ``load(folder, record) -> nn.Module``; one that can start from
other things than a run of the same architecture has ``start(network, folder)``.
"""

from __future__ import annotations

import importlib
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from torch import nn

from nuadapt.errors import ConfigError, nearest
from nuadapt.settings import read_yaml

#: Family -> module that builds it; imported only when used.
FAMILIES: dict[str, str] = {
    "siamese-cnn": "nuadapt.models.siamese_cnn",
    "vit": "nuadapt.models.vit",
    "hub-vit": "nuadapt.models.hub_vit",
    "vlm": "nuadapt.models.vlm.family",
}


#: How the name of a preset ends that is a file of one's own.
PRESET_FILES = (".yaml", ".yml")


def preset_names() -> tuple[str, ...]:
    """All presets that come with nuadapt."""
    folder = resources.files("nuadapt.models") / "presets"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_preset(name: str) -> dict[str, Any]:
    """The content of a preset: of nuadapt's own by name, or of a YAML file.

    Raises:
        ConfigError: no preset of that name.
        InputFileError: the file cannot be read.
    """
    if name.endswith(PRESET_FILES):
        return read_yaml(Path(name))
    if name not in preset_names():
        raise ConfigError(f"no preset '{name}'", expected=nearest(name, preset_names()))
    text = (resources.files("nuadapt.models") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    preset: dict[str, Any] = yaml.safe_load(text)
    return preset


def build_model(
    preset: dict[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """A model with fresh weights.

    Raises:
        ConfigError: the preset's family is unknown, or cannot be built so.
    """
    model: nn.Module = family_of(preset).build(
        preset, n_views=n_views, classes=classes, label_smoothing=label_smoothing
    )
    return model


def family_of(preset: dict[str, Any]) -> ModuleType:
    """The module that builds the models of this preset's family.

    Raises:
        ConfigError: the preset's family is unknown.
    """
    family = str(preset.get("family"))
    if family not in FAMILIES:
        raise ConfigError(f"unknown model family '{family}'", expected=nearest(family, FAMILIES))
    return importlib.import_module(FAMILIES[family])


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Number of parameters by top-level part, with ``total`` and ``trainable``."""
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {**{name: n for name, n in parts.items() if n}, "total": total, "trainable": trainable}
