"""What ``nuadapt model-info`` tells of a preset: parameters by part and what is trained, without any weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nuadapt.errors import ConfigError
from nuadapt.events.cloud import PAPER_EVENT_INPUTS, TOKEN_INPUTS, minerva_spec
from nuadapt.events.truth import FLAVOUR_CLASSES, PION_CLASSES
from nuadapt.models.cloud import CloudShape
from nuadapt.models.registry import build_model, count_parameters, load_preset
from nuadapt.models.vlm.adapters import Scope, adapt, adapted_layers, count_by_tower
from nuadapt.models.vlm.backbones import BackbonePreset, backbone_preset, meta_model
from nuadapt.models.vlm.offline import empty

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
    content = load_preset(preset)
    if content["representation"] == "cloud":
        spec = minerva_spec("beam")
        shape = CloudShape(TOKEN_INPUTS, len(spec.types), len(PAPER_EVENT_INPUTS))
        reads: dict[str, Any] = {"cloud": shape}
        classes, of = PION_CLASSES, f"{shape.n_globals} event-level features, {len(shape.columns)} token columns"
    else:
        reads, classes, of = {"n_views": 2}, FLAVOUR_CLASSES, "2 views"
    with torch.device("meta"):
        model = build_model(content, classes=classes, **reads)
    title = f"{preset}, with {of} and {len(classes)} classes"
    return [(title, ["part", "parameters"], [[name, f"{n:,}"] for name, n in count_parameters(model).items()])]


def _by_tower(preset: BackbonePreset, scope: Scope | None, rank: int | None) -> list[Section]:
    config = preset.adapter if rank is None else preset.adapter.of_rank(rank)
    config = replace(config, scope=scope or config.scope)
    model = adapt(meta_model(preset) if preset.hub else empty(preset), config)
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
