"""The whole path through the command line: simulate, train, evaluate, report, predict on files of all kinds."""

from __future__ import annotations

import csv
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from nuadapt.cli import main
from nuadapt.events.store import EventStore

RECIPE = """
preset: siamese-cnn-small
input: {coarsen: 2}
optimizer: {lr: 2.0e-3, warmup_epochs: 0.1}
epochs: 2
batch_size: 16
patience: 2
workers: 0
"""


def call(*words: object) -> None:
    """Run a command line that must succeed."""
    sys.argv = ["nuadapt", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert (stopped.value.code or 0) == 0, words


def fail(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command line that must end with exit code 2 and one paragraph, which is returned."""
    sys.argv = ["nuadapt", *map(str, words)]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main()
    text = capsys.readouterr().err
    assert stopped.value.code == 2, words
    assert "Traceback" not in text
    return text


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with events, a trained run and two evaluations."""
    folder, argv = tmp_path_factory.mktemp("pipeline"), sys.argv
    (folder / "recipe.yaml").write_text(RECIPE)
    settings = ("readout.crop=96", "beam.energy_max=2")
    call("simulate", "lartpc", "--events", 160, "--seed", 3, "--workers", 1, "--out", folder / "e.h5", *settings)
    call("train", folder / "recipe.yaml", "--data", folder / "e.h5", "--out", folder / "run")
    call("evaluate", folder / "run", "--data", folder / "e.h5", "--out", folder / "full", "--split", "all")
    call(
        *("evaluate", folder / "run", "--data", folder / "e.h5", "--out", folder / "half"),
        *("--split", "all", "--coarsen", 2),
    )
    sys.argv = argv
    return folder


def table(path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


def test_metrics_are_complete(place):
    metrics = json.loads((place / "full" / "metrics.json").read_text())
    for name in ("n_events", "accuracy", "macro_precision", "macro_recall", "auc_ovr_macro", "confusion", "ece"):
        assert metrics[name] is not None
    assert metrics["n_events"] == 160
    assert {"ms_per_event", "peak_memory_MB", "by_energy", "by_mode", "per_class", "intervals"} <= set(metrics)
    assert json.loads((place / "half" / "record.json").read_text())["config"]["predict"]["coarsen"] == 2


def test_the_report_is_one_page_without_the_network(place, tmp_path):
    call("report", place / "full", place / "half", "--out", tmp_path / "page", "--title", "a test")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "a test" in page
    assert 'src="http' not in page
    assert list((tmp_path / "page" / "figures").rglob("*.pdf"))


def test_prediction_agrees_with_evaluation(place, tmp_path):
    call("predict", place / "run", place / "e.h5", "--out", tmp_path / "t.csv")
    rows = table(tmp_path / "t.csv")
    assert len(rows) == 160
    assert all(abs(float(r["p_nue_cc"]) + float(r["p_numu_cc"]) + float(r["p_nc"]) - 1) < 1e-6 for r in rows)
    right = sum(r["label"] == r["truth"] for r in rows) / 160
    assert right == pytest.approx(json.loads((place / "full" / "metrics.json").read_text())["accuracy"])


def test_png_pairs_written_by_us_can_be_predicted(place, tmp_path):
    call("export", place / "e.h5", "--format", "png-pairs", "--out", tmp_path / "images")
    call("ingest", tmp_path / "images", "--out", tmp_path / "i.h5")
    call("predict", place / "run", tmp_path / "images", "--out", tmp_path / "t.csv", "--skip-bad")
    truth = {(r["run"], r["event"]): r["truth"] for r in table(tmp_path / "t.csv")}
    call("predict", place / "run", place / "e.h5", "--out", tmp_path / "original.csv")
    original = {(r["run"], r["event"]): r["truth"] for r in table(tmp_path / "original.csv")}
    with EventStore(tmp_path / "i.h5") as store:
        batch = store.read(slice(0, 160))
        empty = [str(e) for e, n in zip(batch["event"], np.diff(batch.pixelmap.offsets[::2]), strict=True) if not n]
    assert len(empty) < 10
    # Pictures of events that left no charge hold nothing to answer.
    assert truth == {key: label for key, label in original.items() if key[1] not in empty}


def test_the_other_pictures_of_a_folder_are_answered(place, tmp_path, capsys):
    call("export", place / "e.h5", "--format", "png-pairs", "--out", tmp_path / "images")
    names = sorted(p.name for p in (tmp_path / "images").iterdir() if p.is_dir())
    for name in names[5:]:
        shutil.rmtree(tmp_path / "images" / name)
    missing, blank, wide = (sorted((tmp_path / "images" / name).glob("*.png")) for name in names[1:4])
    missing[0].unlink()
    for path in blank:
        Image.new("L", (96, 96)).save(path)
    for path in wide:
        Image.new("L", (96, 48), 200).save(path)
    text = fail(capsys, "predict", place / "run", tmp_path / "images", "--out", tmp_path / "t.csv")
    assert "3 of 5 inputs could not be used" in text
    assert all(word in text for word in ("no such file", "no pixel holds charge", "stretched"))
    assert len(table(tmp_path / "t.csv")) == 2
    call("predict", place / "run", tmp_path / "images", "--out", tmp_path / "u.csv", "--skip-bad")


def test_without_a_file_the_answers_are_shown(place, capsys):
    call("predict", place / "run", place / "e.h5")
    said = capsys.readouterr().out
    assert "160 events, the first 20" in said
    assert all(word in said for word in ("p_nue_cc", "label", "truth"))


def test_real_dune_events_can_be_predicted(place, shared_data, tmp_path, capsys):
    dune = sorted((shared_data / "dune_cvn").glob("event*.gz"))
    call("predict", place / "run", *dune, "--views", "view2,view0", "--out", tmp_path / "t.csv")
    rows = table(tmp_path / "t.csv")
    assert [int(r["event"]) for r in rows] == list(range(10))
    assert "view0" in fail(capsys, "predict", place / "run", dune[0], "--out", tmp_path / "u.csv")


def test_generator_events_can_be_predicted(place, shared_data, tmp_path):
    vertices = shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz"
    call("predict", place / "run", vertices, "--out", tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size > 1000


def test_bad_inputs_are_listed_and_the_others_kept(place, tmp_path, capsys):
    bad = tmp_path / "bad.h5"
    bad.write_bytes((place / "e.h5").read_bytes()[:5000])
    words = ("predict", place / "run", bad, place / "e.h5", "--out")
    text = fail(capsys, *words, tmp_path / "t.csv")
    assert "1 of 2 inputs could not be used" in text
    assert len(table(tmp_path / "t.csv")) == 160
    call(*words, tmp_path / "u.csv", "--skip-bad")
    assert "exists already" in fail(capsys, *words, tmp_path / "u.csv")


def test_wrong_models_and_recipes(place, tmp_path, capsys):
    assert "no such" in fail(capsys, "predict", tmp_path / "none", place / "e.h5", "--out", tmp_path / "t.csv")
    assert "cnn-laptop" in fail(capsys, "train", "cnn-lapto", "--data", place / "e.h5", "--out", tmp_path / "r")
    text = fail(capsys, "train", place / "recipe.yaml", "--data", place / "e.h5", "--out", tmp_path / "r", "epoch=3")
    assert "did you mean 'epochs'" in text
    assert ".csv or .parquet" in fail(capsys, "predict", place / "run", place / "e.h5", "--out", tmp_path / "t.txt")


def test_deposits_of_another_simulation(tmp_path):
    h5py, np = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    names = [f"{axis}_{end}" for end in ("start", "end") for axis in "xyz"]
    kind = np.dtype(
        [("event_id", "u4"), ("traj_id", "u4"), ("pdg_id", "i4"), ("dE", "f4")] + [(n, "f4") for n in names]
    )
    rows = np.zeros(40, dtype=kind)
    rows["event_id"], rows["pdg_id"], rows["dE"] = np.repeat([3, 8], 20), 13, 1.0  # MeV
    rows["x_start"] = rows["x_end"] = 10.0
    rows["z_start"] = 300 + 0.5 * np.tile(np.arange(20), 2)
    rows["z_end"] = rows["z_start"] + 0.5
    with h5py.File(tmp_path / "edep.h5", "w") as file:
        file["segments"] = rows
    call("simulate", "lartpc", "--segments", tmp_path / "edep.h5", "--out", tmp_path / "s.h5", "--workers", 1)
    from nuadapt.events.store import EventStore

    with EventStore(tmp_path / "s.h5") as store:
        batch = store.read(slice(0, 2))
        assert batch["event"].tolist() == [3, 8]
        assert batch["deposited_energy"] == pytest.approx(0.020, rel=1e-3)
        assert batch.pixelmap.dense(0).sum(axis=(1, 2)) == pytest.approx(0.020, rel=1e-2)
