"""Studies and trials: a tiny study runs from events to page, goes on where it was, and refuses what does not fit."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from nuadapt.errors import ConfigError, OutputError
from nuadapt.recipes import study as module
from nuadapt.recipes.study import Study, load_study, run_study
from nuadapt.recipes.trials import Trial, summarise

RECIPE = """
preset: siamese-cnn-small
input: {coarsen: 8}
epochs: 1
batch_size: 16
workers: 0
"""


@contextmanager
def silent(_: str):
    yield lambda done, total: None


def test_the_studies_that_come_with_nuadapt_can_be_loaded():
    sizes = {scale: load_study("cnn", scale).events for scale in ("smoke", "laptop", "paper")}
    assert sizes == {"smoke": 1200, "laptop": 20000, "paper": 190000}
    with pytest.raises(ConfigError, match="cnn"):
        load_study("cnm", "smoke")
    with pytest.raises(ConfigError, match="laptop"):
        load_study("cnn", "lapdop")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[Path, Study]:
    folder = tmp_path_factory.mktemp("study")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder, Study("cnn", "A tiny study", "smoke", 96, str(folder / "recipe.yaml"), 2, ((1, None), (2, "mean")))


def run(tiny, monkeypatch, trials=()) -> Path:
    folder, given = tiny
    monkeypatch.setattr(module, "load_study", lambda name, scale: given)
    return run_study("cnn", "smoke", folder / "out", trials=trials, workers=1, progress_bar=silent)


def test_a_study_ends_with_a_page_and_is_not_done_twice(tiny, monkeypatch):
    page = run(tiny, monkeypatch)
    assert "A tiny study (smoke scale, 96 events)" in page.read_text()
    weights = tiny[0] / "out" / "run" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    run(tiny, monkeypatch)
    assert weights.stat().st_mtime_ns == before
    for name in ("coarsen1", "coarsen2-mean"):
        assert (tiny[0] / "out" / f"evaluation-{name}" / "metrics.json").is_file()
    assert "half resolution, mean of pixels" in page.read_text()


def test_a_study_is_tried_on_other_events(tiny, monkeypatch, shared_data):
    dune = f"{shared_data / 'dune_cvn'}:view2,view0"
    page = run(tiny, monkeypatch, trials=[dune])
    summaries = {p.parent.name: json.loads(p.read_text()) for p in (tiny[0] / "out" / "trials").rglob("summary.json")}
    assert set(summaries) == {"dune_cvn-view2-view0", "dune_cvn-view2-view0-scaled"}
    for summary in summaries.values():
        assert summary["n_events"] == 10
        assert sum(summary["truth"].values()) == summary["n_with_label"] == 10
        assert sum(summary["mean_probability"].values()) == pytest.approx(1)
    assert "dune_cvn-view2-view0" in page.read_text()


def test_events_of_other_settings_are_not_reused(tiny, monkeypatch, tmp_path):
    folder, given = tiny
    run(tiny, monkeypatch)
    other = Study(given.name, given.title, given.scale, given.events, given.train, 3, given.resolutions)
    with pytest.raises(OutputError, match="other settings"):
        run((folder, other), monkeypatch)


def test_trials_are_parsed_from_words(tmp_path):
    assert Trial.parse(str(tmp_path)) == Trial(tmp_path)
    assert Trial.parse(f"{tmp_path}:view2,view0") == Trial(tmp_path, ("view2", "view0"))
    assert Trial(Path("a/achilles.hepmc.gz")).name == "achilles"
    with pytest.raises(ConfigError, match="no such file"):
        Trial.parse(str(tmp_path / "none"))


def test_a_summary_counts_by_class_and_weight(tiny, monkeypatch):
    from nuadapt.evaluation.predictions import Predictions

    run(tiny, monkeypatch)
    table = Predictions.read(tiny[0] / "out" / "evaluation-coarsen1" / "predictions.parquet")
    summary = summarise(table)
    assert sum(summary["predicted"].values()) == len(table)
    assert summary["accuracy"] == pytest.approx((table.label == table.truth).mean())
