"""Models of particle clouds from events to scores: training, resuming, evaluation, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from nuadapt.cli import app
from nuadapt.errors import ConfigError, DataError, StoppedEarly
from nuadapt.evaluation.evaluate import evaluate
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.reading import settings_of_training
from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.models.inputs import CloudInput
from nuadapt.models.run import load_run
from nuadapt.sources.formats import ReadOptions
from nuadapt.sources.ingest import ingest
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.run import SimulationPlan, simulate
from nuadapt.training.config import TrainingConfig, load_recipe
from nuadapt.training.fit import train

TINY = ["preset=mlp-global", "epochs=2", "batch_size=64", "workers=0", "log_every=1", "precision=float32"]


def tiny(recipe: str, *words: str) -> TrainingConfig:
    return load_recipe(recipe, [*TINY, *words])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("minerva") / "events.h5"
    simulate(SimulationPlan(MinervaConfig(), seed=2, events=700), path)
    return path


@pytest.fixture(scope="module")
def classifier(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny("pion-smoke"), store, tmp_path_factory.mktemp("runs") / "pion")


@pytest.fixture(scope="module")
def regression(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny("energy-smoke"), store, tmp_path_factory.mktemp("runs") / "energy")


@pytest.mark.parametrize("preset", ["mlp-global", "gbdt-global", "transformer-xsmall", "pet2-small"])
def test_every_family_learns(preset: str, store: Path, tmp_path: Path) -> None:
    config = tiny("pion-smoke", f"preset={preset}", "train_events=128", "epochs=1")
    run = train(config, store, tmp_path / "run")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["val_accuracy"] > 0
    assert load_run(run).classes == ("cc_1pi_charged", "cc_npi_charged", "cc_1pi0", "cc_other", "nc")


def test_a_run_tells_how_its_tuples_were_read(shared_data: Path, tmp_path: Path) -> None:
    ingest(
        [shared_data / "minerva" / "masteranadev_mc.root"],
        tmp_path / "e.h5",
        reading=ReadOptions(settings={"merging": "number"}),
    )
    run = train(tiny("pion-smoke", "epochs=1"), tmp_path / "e.h5", tmp_path / "run")
    told = settings_of_training(json.loads((run / "record.json").read_text()))
    assert told is not None
    assert told["merging"] == "number"


def test_a_classifier_is_evaluated_beside_the_cuts(classifier: Path, store: Path, tmp_path: Path) -> None:
    metrics = evaluate(classifier, store, tmp_path / "out", resamples=20)
    table = Predictions.read(tmp_path / "out" / "predictions.parquet")
    assert (table.representation, metrics["n_events"]) == ("cloud", len(table))
    assert metrics["accuracy"] > 0.3  # five classes, after two passes
    physics = json.loads((tmp_path / "out" / "physics.json").read_text())
    assert set(physics) == {"cc_1pi_charged", "cc_npi_charged", "cc_1pi0"}
    found = physics["cc_npi_charged"]
    assert found["model"]["false_positive_rate"] <= found["cuts"]["false_positive_rate"]
    assert found["n_signal"] == np.isin(table.truth, [0, 1]).sum()
    before = (tmp_path / "out" / "metrics.json").stat().st_mtime_ns
    evaluate(classifier, store, tmp_path / "out", resamples=20)
    assert (tmp_path / "out" / "metrics.json").stat().st_mtime_ns == before


def test_an_energy_is_evaluated_beside_the_calorimeter(regression: Path, store: Path, tmp_path: Path) -> None:
    metrics = evaluate(regression, store, tmp_path / "out", resamples=20)
    estimates = metrics["estimates"]
    small = metrics["n_events"] - estimates["model"]["all"]["n_events"]  # below 0.05 GeV
    assert set(estimates) == {"model", "calorimetric", "calorimetric_fitted"}
    assert abs(estimates["model"]["all"]["median"] - 1) < 0.5
    assert estimates["calorimetric"]["scale"] == 1.17
    assert sum(row["n_events"] for row in estimates["model"]["by_q3"]) == estimates["model"]["all"]["n_events"]
    assert sum(row["n_events"] for row in estimates["model"]["by_multiplicity"]) == metrics["n_events"] - small
    assert 0.6 < metrics["intervals"]["coverage"] <= 1
    model = load_run(regression)
    with EventStore(store) as events:
        batch = events.read(events.rows_of("test"))
    assert isinstance(model.input, CloudInput)
    np.testing.assert_array_less(0, model.energy(model.input.arrays(batch)))
    with pytest.raises(ConfigError, match="no --coarsen"):
        evaluate(regression, store, tmp_path / "half", coarsen=2)


def test_stopped_in_the_middle_ends_the_same(store: Path, tmp_path: Path) -> None:
    config = tiny("energy-smoke", "epochs=1")
    whole = train(config, store, tmp_path / "whole")

    def end_of_time(done: int, _: int) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedEarly):
        train(config, store, tmp_path / "stopped", progress=end_of_time)
    stopped = train(config, store, tmp_path / "stopped")
    ours, theirs = (load_file(run / "model.safetensors") for run in (whole, stopped))
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_padding_and_batches_change_nothing(classifier: Path, store: Path) -> None:
    model = load_run(classifier)
    assert isinstance(model.input, CloudInput)
    with EventStore(store) as events:
        batch = events.read(slice(0, 20))
    whole = model.posterior(model.input.arrays(batch))
    single = np.concatenate([model.posterior(model.input.arrays(batch.select([i]))) for i in range(20)])
    np.testing.assert_allclose(whole, single, atol=1e-6)


def test_recorded_events_are_answered_and_not_scored(regression: Path, store: Path, tmp_path: Path) -> None:
    with EventStore(store) as events:
        batch = events.read(slice(0, 30))
    names = [name for name in batch.columns if name not in truth_columns(batch)]
    given = {name: batch.columns[name] for name in names}
    recorded = EventBatch.make(given, batch.sources, cloud=batch.cloud, has_truth=False)
    with EventWriter.create(tmp_path / "data.h5", Layout.of(recorded), {"recorded": 1}) as writer:
        writer.append(recorded)
        writer.finish(split=np.full(30, 2, dtype="u1"))
    metrics = evaluate(regression, tmp_path / "data.h5", tmp_path / "out", split="all", resamples=20)
    assert (metrics["n_predictions"], metrics["n_events"]) == (30, 0)
    assert "recorded data" in metrics["note"]
    with pytest.raises(DataError, match="no truth"):
        train(tiny("energy-smoke"), tmp_path / "data.h5", tmp_path / "run")


def truth_columns(batch: EventBatch) -> set[str]:
    from nuadapt.events.schema import truth_names

    return set(truth_names(maps=False, cloud=batch.cloud is not None))


def test_what_does_not_go_together_is_refused(store: Path, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pixel maps"):
        train(load_recipe("cnn-smoke"), store, tmp_path / "cnn")
    given = {"few": {"where": {"n_tracks": {"max": 1}}}, "many": {"where": {"n_tracks": {"min": 2}}}}
    (tmp_path / "tracks.yaml").write_text(json.dumps({"classes": given}))
    with pytest.raises(DataError, match="no column 'n_tracks'"):
        train(tiny("pion-smoke", f"task={tmp_path / 'tracks.yaml'}"), store, tmp_path / "tracks")
    model = load_run(classifier)
    with pytest.raises(DataError, match="reads particle clouds"):
        model.posterior(np.zeros((1, 2, 8, 8), dtype=np.float32))
    other = replace(model.input, frame="detector")
    with EventStore(store) as events, pytest.raises(DataError, match="in the beam frame"):
        other.arrays(events.read(slice(0, 2)))


@pytest.mark.parametrize("mode", ["frozen", "full", "lora"])
def test_pretrained_weights_are_adapted(mode: str, store: Path, tmp_path: Path, own: Path) -> None:
    words = [f"pretrained={{checkpoint: '{own}', layout: nuadapt, mode: {mode}, rank: 2}}", "train_events=64"]
    run = train(tiny("energy-smoke", *WORDS, *words), store, tmp_path / mode)
    before, after = load_file(own), load_file(run / "model.safetensors")
    body = [name for name in after if name.startswith("body.")]
    assert [name for name in after if "lora_" in name] == []
    same = [bool((before[name] == after[name]).all()) for name in body]
    assert all(same) == (mode == "frozen")
    assert any((before[n] != after[n]).any() for n in after if n.startswith("classifier.") and n in before)
    record = json.loads((run / "record.json").read_text())
    assert record["pretrained"]["fraction"] > 0.9
    load_run(run)


WORDS = ["preset=pet2-small", "epochs=1", "batch_size=16"]


@pytest.fixture(scope="module")
def own(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an earlier training."""
    config = tiny("energy-smoke", *WORDS, "train_events=16", "val_events=16")
    return train(config, store, tmp_path_factory.mktemp("runs") / "own") / "model.safetensors"


def test_weights_without_a_backbone_are_refused(store: Path, tmp_path: Path, own: Path) -> None:
    with pytest.raises(ConfigError, match="no pretrained backbone"):
        train(tiny("energy-smoke", f"pretrained.checkpoint='{own}'"), store, tmp_path / "run")


def test_several_seeds_are_several_runs(store: Path, tmp_path: Path) -> None:
    words = [*TINY, "epochs=1", "train_events=64", "val_events=32"]
    given = ["train", "energy-smoke", *words, "--data", str(store), "--out", str(tmp_path / "runs"), "--seeds", "2"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    weights = [load_file(tmp_path / "runs" / name / "model.safetensors") for name in ("seed1", "seed2")]
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])
