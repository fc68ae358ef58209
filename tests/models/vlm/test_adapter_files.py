"""Adapters on disk: equal answers after a round trip, PEFT reads them, and nothing hostile gets through."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nuadapt.errors import InputFileError, OutputError
from nuadapt.models.vlm.adapter_files import (
    PEFT_CONFIG,
    RECORD,
    WEIGHTS,
    AdapterRecord,
    load_adapter,
    read_record,
    save_adapter,
)
from nuadapt.models.vlm.adapters import AdapterConfig, adapt
from nuadapt.models.vlm.backbones import Base

BASE = Base("nobody/tiny-mllama", "a" * 40, "nf4")
LABELS = ("NuE CC", "NuMu CC", "Neutral Current")
TRAINED = AdapterRecord(BASE, AdapterConfig(r=2), "full", "stitch", LABELS)


def trained(model: Any, record: AdapterRecord = TRAINED) -> Any:
    """A model whose adapters say something."""
    adapted = adapt(model, record.adapter).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, tensor in adapted.named_parameters():
            if ".lora_" in name:
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    return adapted


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    """A saved adapter; ``model`` is given back without it."""
    adapted = trained(model)
    save_adapter(adapted, tmp_path / "adapter", TRAINED)
    adapted.unload()
    return tmp_path / "adapter"


def logits(model: Any, inputs: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs).logits


def refused(model: Any, folder: Path, base: Base = BASE, labels: tuple[str, ...] | None = LABELS) -> str:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputFileError) as caught:
        load_adapter(model, folder, base, labels)
    assert "\n" not in str(caught.value)
    after = model.state_dict()
    assert list(after) == list(before), "a refused adapter leaves the model as it was"
    assert all(torch.equal(after[name], before[name]) for name in before)
    return str(caught.value)


def test_round_trip(model: Any, inputs: Any, tmp_path: Path) -> None:
    adapted = trained(model)
    plain, want = logits(model.eval(), inputs), logits(adapted, inputs)
    with adapted.disable_adapter():
        plain = logits(adapted, inputs)
    assert not torch.allclose(plain, want)
    save_adapter(adapted, tmp_path, TRAINED)
    loaded = load_adapter(adapted.unload(), tmp_path, BASE, LABELS[::-1])
    assert torch.equal(logits(loaded.model, inputs), want)
    assert loaded.record == TRAINED
    assert loaded.notes == ()
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_peft_reads_the_folder(model: Any, inputs: Any, folder: Path) -> None:
    from peft import PeftModel

    ours = load_adapter(model, folder, BASE)
    want = logits(ours.model, inputs)
    theirs = PeftModel.from_pretrained(ours.model.unload(), str(folder))
    assert torch.equal(logits(theirs.eval(), inputs), want)


def test_equal_adapters_give_equal_files(model: Any, folder: Path, tmp_path: Path) -> None:
    save_adapter(trained(model), tmp_path / "again", TRAINED)
    files = sorted(p.name for p in folder.iterdir())
    assert files == sorted([RECORD, PEFT_CONFIG, WEIGHTS])
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_record_says_what_was_trained(folder: Path) -> None:
    assert read_record(folder) == TRAINED
    content = json.loads((folder / RECORD).read_text())
    assert content["base"] == {"name": BASE.name, "revision": "a" * 40, "precision": "nf4"}
    assert content["labels"] == list(LABELS)
    assert (content["prompt"], content["view_mode"]) == ("full", "stitch")
    assert json.loads((folder / PEFT_CONFIG).read_text())["base_model_name_or_path"] == BASE.name


def test_another_base_is_refused_and_both_are_named(model: Any, folder: Path) -> None:
    message = refused(model, folder, replace(BASE, name="nuadapt-vlm"))
    assert "'nuadapt-vlm'" in message
    assert f"'{BASE.name}'" in message


@pytest.mark.parametrize("labels", [LABELS[:2], (*LABELS, "cosmic"), ("NuE CC", "NuMu CC", "NC")])
def test_another_label_set_is_refused(model: Any, folder: Path, labels: tuple[str, ...]) -> None:
    message = refused(model, folder, labels=labels)
    assert "Neutral Current" in message
    assert all(label in message for label in labels)


def test_another_precision_is_noted(model: Any, folder: Path) -> None:
    """The published study trained on 4-bit weights and evaluated on 16-bit ones, and nothing said so."""
    loaded = load_adapter(model, folder, replace(BASE, precision="float32"))
    assert len(loaded.notes) == 1
    assert "nf4" in loaded.notes[0]
    assert "float32" in loaded.notes[0]


def test_another_revision_is_noted(model: Any, folder: Path) -> None:
    (note,) = load_adapter(model, folder, replace(BASE, revision="")).notes
    assert "unknown revision" in note


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        kept = {key: value for key, value in {**content, **changes}.items() if value is not ...}
        (folder / name).write_text(json.dumps(kept))

    return change


def put(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return change


def retensor(change: Callable[[dict[str, torch.Tensor], str], object]) -> Callable[[Path], None]:
    """Change the tensors of the file, given with the name of the first."""

    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors, sorted(tensors)[0])
        save_file(tensors, folder / WEIGHTS)

    return rewrite


def truncate(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-50])


HOSTILE = {
    "no record": (put(RECORD, None), RECORD),
    "no peft config": (put(PEFT_CONFIG, None), PEFT_CONFIG),
    "no weights": (put(WEIGHTS, None), "weights file is missing"),
    "record is a list": (put(RECORD, b"[1, 2]"), "not a mapping"),
    "peft config is a list": (put(PEFT_CONFIG, b"[]"), "not a mapping"),
    "record is no JSON": (put(RECORD, b"{"), "not valid JSON"),
    "record is no text": (put(RECORD, b"\xff\xfe\x00"), "not valid JSON"),
    "record nests for ever": (put(RECORD, b"[" * 100_000), "not valid JSON"),
    "record lacks labels": (edit(RECORD, labels=...), "lacks labels"),
    "record has more": (edit(RECORD, label=1), "did you mean 'labels'"),
    "labels are text": (edit(RECORD, labels="NuE CC"), "labels"),
    "one label": (edit(RECORD, labels=["NuE CC"]), "at least two"),
    "a label twice": (edit(RECORD, labels=["NuE CC", "NuE CC"]), "all different"),
    "base is text": (edit(RECORD, base="llama"), "base"),
    "base lacks a precision": (edit(RECORD, base={"name": "x", "revision": ""}), "precision"),
    "unknown view mode": (edit(RECORD, view_mode="mosaic"), "view_mode"),
    "impossible rank": (edit(RECORD, adapter={"r": 0}), "impossible"),
    "other rank": (edit(RECORD, adapter={"r": 3}), "disagrees with nuadapt.json in r"),
    "targets nowhere": (edit(RECORD, adapter={"targets": ["query"]}), "does not fit the model"),
    "peft config of another kind": (edit(PEFT_CONFIG, peft_type="LOHA"), "peft_type"),
    "peft config does more": (edit(PEFT_CONFIG, use_dora=True), "use_dora"),
    "peft config runs code": (edit(PEFT_CONFIG, megatron_core="os", megatron_config={"a": 1}), "megatron_c"),
    "peft config has no targets": (edit(PEFT_CONFIG, target_modules=...), "target_modules"),
    "weights are truncated": (truncate, "not a sound safetensors file"),
    "weights are empty": (put(WEIGHTS, b""), "not a sound safetensors file"),
    "a tensor is missing": (retensor(lambda t, first: t.pop(first)), "1 are missing"),
    "a tensor too many": (retensor(lambda t, first: t.update(more=torch.zeros(2))), "more (2,)"),
    "wrong shape": (retensor(lambda t, first: t.update({first: torch.zeros(5, 5)})), "(5, 5) where the model has"),
    "not a number": (retensor(lambda t, first: t[first].fill_(float("nan"))), "not finite"),
    "whole numbers": (retensor(lambda t, first: t.update({first: t[first].long()})), "not finite numbers"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_damaged_and_hostile_folders_get_one_paragraph(model: Any, folder: Path, what: str) -> None:
    change, expected = HOSTILE[what]
    change(folder)
    message = refused(model, folder)
    assert expected in message
    assert str(folder) in message


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_never_opened(model: Any, folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    message = refused(model, folder)
    assert "adapter_model.bin" in message
    assert "pickle" in message
    assert not (tmp_path / "sprung").exists()


def test_no_folder(model: Any, tmp_path: Path) -> None:
    assert "no such folder" in refused(model, tmp_path / "none")
    (tmp_path / "file").touch()
    assert "not a folder" in refused(model, tmp_path / "file")


def test_an_unwritable_place(model: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        save_adapter(trained(model), tmp_path / "file" / "adapter", TRAINED)
