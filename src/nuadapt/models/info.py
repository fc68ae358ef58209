"""What ``nuadapt model-info`` tells of a preset: parameters by part and what is trained, without any weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from nuadapt.errors import ConfigError
from nuadapt.events.truth import FLAVOUR_CLASSES
from nuadapt.models.registry import build_model, count_parameters, load_preset
from nuadapt.models.vlm.adapters import Scope, adapt, adapted_layers, count_by_tower
from nuadapt.models.vlm.backbones import BackbonePreset, backbone_preset, meta_model

#: A table for a person: title, names of columns, rows.
Section = tuple[str, list[str], list[list[str]]]


def model_info(preset: str, *, scope: Scope | None = None, rank: int | None = None) -> list[Section]:
    """Tables about a preset, or about a YAML file of family ``vlm``.

    Args:
        scope, rank: of the adapters, if not those of the preset.

    Raises:
        ConfigError: no such preset, a scope or rank for a model without adapters, impossible values.
        InputFileError: the YAML file cannot be read.
    """
    if preset.endswith((".yaml", ".yml")) or load_preset(preset).get("family") == "vlm":
        return _by_tower(backbone_preset(preset), scope, rank)
    if scope is not None or rank is not None:
        raise ConfigError(f"preset '{preset}' trains all its parameters", expected="no scope and no rank")
    return _by_part(preset)


def _by_part(preset: str) -> list[Section]:
    with torch.device("meta"):
        model = build_model(load_preset(preset), n_views=2, classes=FLAVOUR_CLASSES)
    title = f"{preset}, with 2 views and {len(FLAVOUR_CLASSES)} classes"
    return [(title, ["part", "parameters"], [[name, f"{n:,}"] for name, n in count_parameters(model).items()])]


def _by_tower(preset: BackbonePreset, scope: Scope | None, rank: int | None) -> list[Section]:
    config = replace(preset.adapter, scope=scope or preset.adapter.scope, r=preset.adapter.r if rank is None else rank)
    model = adapt(meta_model(preset), config)
    facts = [
        ["weights", preset.hub or "come with nuadapt"],
        ["revision", preset.revision or "newest"],
        ["type of weights", preset.dtype],
        ["views shown as", " or ".join([f"{preset.view_modes[0]} (default)", *preset.view_modes[1:]])],
        ["adapters", f"scope {config.scope}, rank {config.r}, alpha {config.alpha}, dropout {config.dropout:g}"],
    ]
    counts = [[tower, f"{n.parameters:,}", f"{n.trainable:,}"] for tower, n in count_by_tower(model).items()]
    layers = [[name, str(n)] for name, n in adapted_layers(model).items()]
    return [
        (preset.name, ["", ""], facts),
        ("Parameters", ["tower", "of the model", "trainable in adapters"], counts),
        ("Adapted layers", ["name", "number"], layers),
    ]
