"""Presets by name (data in ``presets/*.yaml``) and the family that builds each.

A family is a module with ``build(preset, *, <what it reads>, classes, label_smoothing) -> nn.Module``. What it reads
goes with the preset's ``representation``: ``n_views`` for ``pixelmap``, ``cloud`` (a
:class:`~nuadapt.models.cloud.CloudShape`) for ``cloud``. Its model's ``forward(<inputs>, labels=..., weight=...,
total=...)`` returns ``{"loss", "logits"}`` with class scores (B, C) as logits; that is all that training and
inference ask of a model. The inputs are ``pixels``, or ``tokens, type, mask, globals``. A model of clouds that is
built for no classes takes ``targets`` instead of labels and returns ``energy`` (B,). What a model returns beyond these
are further terms of the loss for each event (B,). A family whose runs are more than one file of weights also has
``save(network, weights, folder)`` and ``load(folder, record) -> nn.Module``; one that can start from other things than
a run of the same architecture has ``start(network, folder)``; one that is not trained by gradient descent has
``fit(network, preset, train, val, seed)``. One that has to know something of the events before its model is built has
``measured(cloud, batch)``, whose values are added to the preset.
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
    "vit-pretraining": "nuadapt.models.vit_pretraining",
    "hub-vit": "nuadapt.models.hub_vit",
    "vlm": "nuadapt.models.vlm.family",
    "mlp-global": "nuadapt.models.mlp",
    "transformer": "nuadapt.models.transformer",
    "pet2": "nuadapt.models.pet2",
    "pet2-pretraining": "nuadapt.models.pet2_generator",
    "gbdt": "nuadapt.models.gbdt",
}
#: How the name of a family ends whose models learn beyond what they are asked, for others to begin from.
PRETRAINING = "-pretraining"
#: Representation -> name of the argument of ``build`` that describes it.
READS: dict[str, str] = {"pixelmap": "n_views", "cloud": "cloud"}
#: How the name of a preset ends that is a file of one's own.
PRESET_FILES = (".yaml", ".yml")


def preset_names() -> tuple[str, ...]:
    """All presets that come with nuadapt."""
    folder = resources.files("nuadapt.models") / "presets"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_preset(name: str) -> dict[str, Any]:
    """The content of a preset: of nuadapt's own by name, or of a YAML file.

    A preset that names another as its ``base`` has its values, and its own on top.

    Raises:
        ConfigError: no preset of that name, or it is its own base.
        InputFileError: the file cannot be read.
    """
    content, seen = _content(name), [name]
    while "base" in content:
        base = str(content.pop("base"))
        if base in seen:
            raise ConfigError(f"the preset '{base}' is its own base", where=name)
        seen.append(base)
        content = {**_content(base), **content}
    return content


def _content(name: str) -> dict[str, Any]:
    """What stands in the file of a preset."""
    if name.endswith(PRESET_FILES):
        return read_yaml(Path(name))
    if name not in preset_names():
        raise ConfigError(f"no preset '{name}'", expected=nearest(name, preset_names()))
    text = (resources.files("nuadapt.models") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    preset: dict[str, Any] = yaml.safe_load(text)
    return preset


def build_model(
    preset: dict[str, Any], *, classes: tuple[str, ...], label_smoothing: float = 0.0, **reads: Any
) -> nn.Module:
    """A model with fresh weights.

    Args:
        preset: content of a preset.
        classes: names of the classes; none for an energy.
        label_smoothing: see :func:`nuadapt.models.loss.weighted_cross_entropy`.
        reads: what the model reads: ``n_views`` or ``cloud``, as the preset's representation asks.

    Raises:
        ConfigError: the preset's family is unknown, or cannot be built so.
    """
    representation = str(preset.get("representation"))
    family = family_of(preset)
    if set(reads) != {READS.get(representation)}:
        raise ConfigError(
            f"a model of {representation}s cannot be built from {', '.join(reads) or 'nothing'}",
            expected=" or ".join(f"{name} for {kind}" for kind, name in READS.items()),
        )
    model: nn.Module = family.build(preset, classes=classes, label_smoothing=label_smoothing, **reads)
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
