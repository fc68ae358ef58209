"""Adapters on disk: the layout of PEFT, and beside it ``nuadapt.json`` with what the adapter stands on and answers.

What is read was written elsewhere: it is JSON and safetensors only, it is checked before the model is touched, and
nothing of it reaches PEFT but numbers of the expected shapes.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from nuadapt.errors import ConfigError, InputFileError, OutputError, listed, require
from nuadapt.models.run import check_fit, read_tensors
from nuadapt.models.vlm.adapters import AdapterConfig, adapt
from nuadapt.models.vlm.backbones import Base, ViewMode
from nuadapt.record import read_json, write_json
from nuadapt.settings import build

RECORD, PEFT_CONFIG, WEIGHTS = "nuadapt.json", "adapter_config.json", "adapter_model.safetensors"
_STEP = f"Give a folder with {RECORD}, {PEFT_CONFIG} and {WEIGHTS}, as 'nuadapt train' leaves it"
#: Entries of PEFT's file that do not change what the adapter computes.
_NOTES = frozenset({"peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping"})


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """What must be known to use an adapter as it was trained."""

    base: Base
    adapter: AdapterConfig
    prompt: str  # name of the prompt
    view_mode: ViewMode
    labels: tuple[str, ...]  # class labels as the model says them


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """A model with a trained adapter, ready to answer."""

    model: Any  # peft.PeftModel
    record: AdapterRecord
    notes: tuple[str, ...]  # sentences for the user: what is not as it was in training


def save_adapter(model: Any, folder: Path, record: AdapterRecord) -> None:
    """Write an adapter; ``PeftModel.from_pretrained`` reads the folder, too. Equal adapters give equal files.

    Args:
        model: as :func:`nuadapt.models.vlm.adapters.adapt` returns it.

    Raises:
        OutputError: the place is not writable.
    """
    write_json(folder / RECORD, asdict(record))
    write_json(folder / PEFT_CONFIG, _peft_config(model, record))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _state(model).items()}
    beside = folder / f".{WEIGHTS}.{os.getpid()}"
    try:
        save_file(tensors, beside, metadata={"format": "pt"})
        os.replace(beside, folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"cannot write here ({error})", where=folder / WEIGHTS) from error


def load_adapter(model: Any, folder: Path, base: Base, labels: tuple[str, ...] | None = None) -> LoadedAdapter:
    """Put a trained adapter on a base model.

    Args:
        model: the base model without adapters; unchanged if the adapter is refused.
        base: what ``model`` is (:attr:`nuadapt.models.vlm.backbones.Backbone.base`).
        labels: class labels to be answered, in any order; none: those of the adapter.

    Raises:
        InputFileError: missing, damaged or contradictory files; an adapter for another base or other labels.
        MissingExtraError: peft is not installed.
    """
    folder = Path(folder)
    record = read_record(folder)
    _check_use(record, base, labels, folder)
    given = _read_weights(folder)
    written = _read_mapping(folder / PEFT_CONFIG)
    try:
        adapted = adapt(model, record.adapter)
    except ConfigError as error:
        raise InputFileError(f"the adapter does not fit the model: {error}", where=folder) from error
    try:
        _check_peft_config(written, _peft_config(adapted, record), folder / PEFT_CONFIG)
        check_fit(_state(adapted), given, folder / WEIGHTS, described_by=PEFT_CONFIG)
    except InputFileError:
        adapted.unload()
        raise
    require("peft", "vlm").set_peft_model_state_dict(adapted, given)
    adapted.requires_grad_(False)
    return LoadedAdapter(adapted.eval(), record, _notes(record.base, base))


def read_record(folder: Path) -> AdapterRecord:
    """The record of an adapter folder.

    Raises:
        InputFileError: no such folder, or no sound record in it.
    """
    if not folder.is_dir():
        what = "this is not a folder" if folder.exists() else "no such folder"
        raise InputFileError(what, where=folder, next_step=_STEP)
    path = folder / RECORD
    content = _read_mapping(path)
    missing = [name for name in AdapterRecord.__dataclass_fields__ if name not in content]
    if missing:
        raise InputFileError(f"the record lacks {listed(missing)}", where=path, next_step=_STEP)
    try:
        record = build(AdapterRecord, content, where=path)
    except (ConfigError, TypeError) as error:
        raise InputFileError(f"this is not the record of an adapter ({error})", where=path, next_step=_STEP) from error
    if len(set(record.labels)) != len(record.labels) or len(record.labels) < 2:
        raise InputFileError(
            f"the labels are {listed(record.labels)}", where=path, expected="at least two, all different"
        )
    return record


def _check_use(record: AdapterRecord, base: Base, labels: tuple[str, ...] | None, folder: Path) -> None:
    if record.base.name != base.name:
        raise InputFileError(
            f"this adapter was trained on '{record.base.name}', the model loaded is '{base.name}'",
            where=folder,
            next_step=f"Load the base '{record.base.name}', or an adapter for '{base.name}'",
        )
    if labels is not None and sorted(labels) != sorted(record.labels):
        raise InputFileError(
            f"this adapter answers with the labels {listed(record.labels, 20)}",
            where=folder,
            expected=listed(labels, 20),
            next_step="Train an adapter on these labels (docs/adapting.md)",
        )


def _notes(trained: Base, loaded: Base) -> tuple[str, ...]:
    notes = []
    if trained.precision != loaded.precision:
        notes.append(
            f"The adapter was trained on {trained.precision} weights and now stands on {loaded.precision}: "
            "answers can differ from those it was validated with."
        )
    if trained.revision != loaded.revision:
        there, here = (base.revision or "an unknown revision" for base in (trained, loaded))
        notes.append(f"The adapter was trained on {there} of {trained.name} and now stands on {here}.")
    return tuple(notes)


def _read_mapping(path: Path) -> dict[str, Any]:
    content = read_json(path, next_step=_STEP)
    if not isinstance(content, dict):
        raise InputFileError("this JSON is not a mapping of names to values", where=path, next_step=_STEP)
    return content


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    pickled = [p.name for p in folder.glob("*.bin")]
    if pickled and not path.exists():
        raise InputFileError(
            f"the weights are pickles ({listed(pickled)}), which can run any code when they are opened",
            where=folder,
            expected=WEIGHTS,
        )
    tensors = read_tensors(path, next_step=_STEP)
    bad = [name for name, tensor in tensors.items() if not tensor.is_floating_point() or not tensor.isfinite().all()]
    if bad:
        raise InputFileError(f"{listed(bad)}: not finite numbers", where=path, next_step=_STEP)
    return tensors


def _state(model: Any) -> dict[str, torch.Tensor]:
    """Tensors of the adapter under PEFT's names."""
    state: dict[str, torch.Tensor] = require("peft", "vlm").get_peft_model_state_dict(
        model, save_embedding_layers=False
    )
    return state


def _peft_config(model: Any, record: AdapterRecord) -> dict[str, Any]:
    """PEFT's own file, without paths of this machine."""
    named = {"base_model_name_or_path": record.base.name, "revision": record.base.revision or None}
    content = {**model.peft_config["default"].to_dict(), **named, "inference_mode": True}
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def _check_peft_config(given: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raise if the two files of a folder disagree; keys that another version of PEFT has more or less do not count."""
    missing = [key for key in ("peft_type", "r", "lora_alpha", "target_modules") if key not in given]
    other = [key for key in wanted if key in given and key not in _NOTES and given[key] != wanted[key]]
    if missing or other:
        raise InputFileError(
            f"this disagrees with {RECORD} in {listed([*missing, *other])}", where=path, next_step=_STEP
        )
