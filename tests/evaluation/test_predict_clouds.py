"""MINERvA tuples straight through ``nuadapt predict``, recorded ones above all, for both kinds of answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("uproot")
pq = pytest.importorskip("pyarrow.parquet")

from nuadapt.cli import app  # noqa: E402
from nuadapt.errors import ConfigError  # noqa: E402
from nuadapt.evaluation.evaluate import evaluate  # noqa: E402
from nuadapt.evaluation.files import open_events, predict_files  # noqa: E402
from nuadapt.evaluation.predictions import Predictions  # noqa: E402
from nuadapt.events.batch import EventBatch  # noqa: E402
from nuadapt.models.inputs import CloudInput  # noqa: E402
from nuadapt.models.run import load_run  # noqa: E402
from nuadapt.sources.formats import ReadOptions  # noqa: E402
from nuadapt.sources.simulation.minerva.config import MinervaConfig  # noqa: E402
from nuadapt.sources.simulation.run import SimulationPlan, simulate  # noqa: E402
from nuadapt.training.config import load_recipe  # noqa: E402
from nuadapt.training.fit import train  # noqa: E402

WORDS = ["preset=transformer-xsmall", "epochs=1", "batch_size=32", "train_events=32", "val_events=32", "workers=0"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("minerva") / "events.h5"
    simulate(SimulationPlan(MinervaConfig(), seed=4, events=300), path)
    return path


@pytest.fixture(scope="module")
def runs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of every task, hardly trained."""
    base = tmp_path_factory.mktemp("runs")
    words = [*WORDS, "precision=float32"]
    return {task: train(load_recipe(f"{task}-smoke", words), store, base / task) for task in ("pion", "energy")}


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Path:
    return shared_data / "minerva" / "masteranadev_data.root"


def call(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def test_recorded_events_get_classes(runs: dict[str, Path], recorded: Path, tmp_path: Path) -> None:
    said = call("predict", runs["pion"], recorded, "--out", tmp_path / "t.parquet").output
    table = Predictions.read(tmp_path / "t.parquet")
    assert (len(table), table.has_label.any(), table.representation) == (200, False, "cloud")
    assert table.entry is not None
    assert table.entry.tolist() == list(range(200))
    assert "200 events in" in said


def test_recorded_events_get_energies(runs: dict[str, Path], recorded: Path, tmp_path: Path) -> None:
    call("predict", runs["energy"], recorded, "--out", tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet").to_pydict()
    assert list(table) == ["source", "run", "subrun", "event", "entry", "weight", "energy", "truth", "model"]
    assert table["entry"] == list(range(200))
    assert set(table["truth"]) == {None}
    assert {Path(name).name for name in table["source"]} == {recorded.name}
    model = load_run(runs["energy"])
    assert isinstance(model.input, CloudInput)
    batch = EventBatch.concatenate(list(open_events(recorded)))
    np.testing.assert_allclose(table["energy"], model.energy(model.input.arrays(batch)), rtol=1e-5)


@pytest.mark.parametrize("task", ["pion", "energy"])
def test_broken_values_are_counted_and_interactions_of_a_spill_told_apart(
    task: str, runs: dict[str, Path], shared_data: Path, tmp_path: Path
) -> None:
    edge = shared_data / "minerva" / "masteranadev_mc_edge.root"
    report = predict_files(runs[task], [edge], tmp_path / "t.csv")
    lines = " ".join(report.lines())
    assert report.n_events == 60
    assert report.reading.broken
    assert all(kind in lines for kind in report.reading.broken)
    rows = [line.split(",") for line in (tmp_path / "t.csv").read_text().splitlines()]
    at = [rows[0].index(f'"{name}"') for name in ("run", "subrun", "event", "entry")]
    keys = [tuple(row[i] for i in at) for row in rows[1:]]
    assert len({key[:3] for key in keys}) < 60  # the key of the experiment repeats
    assert len(set(keys)) == 60


def test_energies_of_a_store_are_those_of_its_evaluation(runs: dict[str, Path], store: Path, tmp_path: Path) -> None:
    call("predict", runs["energy"], store, "--out", tmp_path / "t.parquet")
    metrics = evaluate(runs["energy"], store, tmp_path / "out", resamples=5, csv=True)
    ours, theirs = (pq.read_table(p).to_pydict() for p in (tmp_path / "t.parquet", tmp_path / "out/energies.parquet"))
    energy = dict(zip(ours["entry"], ours["energy"], strict=True))
    np.testing.assert_allclose([energy[e] for e in theirs["entry"]], theirs["energy"], rtol=1e-5)
    assert (tmp_path / "out" / "energies.csv").is_file()
    inside = np.array(theirs["low"]) <= theirs["truth"]
    inside &= np.array(theirs["high"]) >= theirs["truth"]
    assert np.average(inside, weights=theirs["weight"]) == pytest.approx(metrics["intervals"]["coverage"])
    assert "stand-in for MINERvA" in metrics["remarks"][0]
    assert {gate["quantity"] for gate in metrics["gates_failed"]} <= {"q3"}


def test_settings_are_not_taken_in_silence(
    runs: dict[str, Path], store: Path, shared_data: Path, tmp_path: Path
) -> None:
    (line,) = predict_files(runs["energy"], [store], tmp_path / "t.csv", settings={"frame": "detector"}).lines()
    assert "events.h5 is a store" in line
    vertices = shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz"
    with pytest.raises(ConfigError, match="nuhepmc has no settings"):
        next(open_events(vertices, reading=ReadOptions(settings={"frame": "beam"})))


def test_the_window_of_the_cuts_is_an_option(runs: dict[str, Path], store: Path, tmp_path: Path) -> None:
    given = ["evaluate", runs["pion"], "--data", store, "--split", "all", "--out", tmp_path / "out"]
    call(*given, "--pi0-window", "0.03")
    found = json.loads((tmp_path / "out" / "physics.json").read_text())["cc_1pi0"]
    assert found["window"] == 0.03
    (row,) = [row for row in found["window_scan"] if row["window"] == 0.03]
    assert row["efficiency"] == found["cuts"]["efficiency"]
    with np.load(tmp_path / "out" / "curves.npz") as curves:
        assert {"signal_cc_1pi_charged", "signal_cc_npi_charged", "signal_cc_1pi0"} <= set(curves.files)
    refused = CliRunner().invoke(app, [str(word) for word in given])
    assert "another evaluation" in str(refused.exception)  # with the published window


def told(run: Path, to: Path, **settings: object) -> Path:
    """A copy of a run whose record tells how the reader was set."""
    shutil.copytree(run, to)
    record = json.loads((to / "record.json").read_text())
    record["data"]["reading"] = {"minerva": settings}
    (to / "record.json").write_text(json.dumps(record))
    return to


def test_tuples_are_read_as_for_the_training(runs: dict[str, Path], recorded: Path, tmp_path: Path) -> None:
    settings = {"merging": "number", "max_blobs": 3, "step": 50, "frame": "beam"}
    run = told(runs["energy"], tmp_path / "run", **settings)
    given = {"a.parquet": run, "b.parquet": runs["energy"]}
    lines = {name: predict_files(of, [recorded], tmp_path / name).lines() for name, of in given.items()}
    energy = {name: np.array(pq.read_table(tmp_path / name)["energy"]) for name in lines}
    assert np.abs(energy["a.parquet"] - energy["b.parquet"]).max() > 1e-4
    assert not any("does not say how the reader was set" in line for line in lines["a.parquet"])
    assert any("does not say how the reader was set" in line for line in lines["b.parquet"])
    words = [f"--set={name}={value}" for name, value in settings.items()]
    call("predict", runs["energy"], recorded, "--out", tmp_path / "c.parquet", *words)
    np.testing.assert_allclose(
        energy["a.parquet"], np.array(pq.read_table(tmp_path / "c.parquet")["energy"]), rtol=1e-5
    )
    batch = EventBatch.concatenate(list(open_events(recorded, reading=ReadOptions(settings=settings))))
    model = load_run(run)
    assert isinstance(model.input, CloudInput)
    np.testing.assert_allclose(energy["a.parquet"], model.energy(model.input.arrays(batch)), rtol=1e-5)


def test_what_does_not_fit_is_refused(runs: dict[str, Path], recorded: Path, tmp_path: Path) -> None:
    for words, message in (
        (["--set", "frame=detector"], "in the beam frame"),
        (["--set", "mergin=number"], "did you mean 'merging'"),
        (["--views", "xz,yz"], "no views"),
        (["--explain"], "gives no reasons"),
    ):
        given = ["predict", runs["energy"], recorded, "--out", tmp_path / "t.csv", *words]
        result = CliRunner().invoke(app, [str(word) for word in given])
        assert result.exit_code != 0
        assert message in str(result.exception), words
        assert not (tmp_path / "t.csv").exists()
