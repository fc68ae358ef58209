"""The driver: what it writes, what it refuses, and that it goes on after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError
from nuadapt.evaluation import evaluate as module
from nuadapt.evaluation.binned import by_energy, by_mode
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.evaluate import FILES, EvaluationConfig, all_metrics, evaluate_model
from nuadapt.evaluation.gallery import choose, read_gallery
from nuadapt.evaluation.npz import read_npz
from nuadapt.evaluation.predict import PredictConfig, predict_batches
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.pixelmap import MapSpec
from nuadapt.events.store import EventStore

QUICK = EvaluationConfig(bootstrap=BootstrapConfig(resamples=20), predict=PredictConfig(batch_size=8))


@pytest.fixture(scope="module")
def store(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make_store(tmp_path_factory.mktemp("store") / "d.h5", 80)


def test_writes_all_results(synthetic: ModuleType, store: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    metrics = evaluate_model(synthetic.ToyModel(), store, tmp_path, QUICK, progress=lambda d, t: seen.append((d, t)))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    table = Predictions.read(tmp_path / "predictions.parquet")
    with EventStore(store) as events:
        rows = events.rows_of("test")
        np.testing.assert_array_equal(table.event, events.column("event")[rows])
        np.testing.assert_array_equal(table.weight, events.column("weight")[rows])
    right = table.label == table.truth
    assert metrics["accuracy"] == pytest.approx(np.average(right, weights=table.weight))
    assert metrics["n_events"] == len(rows)
    assert seen[-1] == (len(rows), len(rows))
    for needed in ("macro_precision", "macro_recall", "auc_ovr_macro", "ece", "ms_per_event", "peak_memory_MB"):
        assert metrics[needed] > 0
    for block in (*metrics["by_energy"], *metrics["by_mode"]):
        assert {"accuracy", "confusion", "intervals", "per_class", "auc_ovr_macro"} <= set(block)
    for parts in (metrics["by_energy"], metrics["by_mode"]):
        assert sum(b["n_events"] for b in parts) == metrics["n_events"]
        assert sum(b["sum_of_weights"] for b in parts) == pytest.approx(metrics["sum_of_weights"])
    assert set(metrics["not_reproducible"]) == {"ms_per_event", "peak_memory_MB"}
    curves = read_npz(tmp_path / "curves.npz")
    assert all(len(curves[f"roc_{c}"]) <= 200 for c in table.classes)


def test_same_call_twice_is_free_and_another_one_is_refused(synthetic: ModuleType, store: Path, tmp_path: Path) -> None:
    first = evaluate_model(synthetic.ToyModel(), store, tmp_path, QUICK)
    again = synthetic.ToyModel()
    assert evaluate_model(again, store, tmp_path, QUICK) == first
    assert again.calls == 0
    with pytest.raises(OutputError, match="another evaluation"):
        evaluate_model(synthetic.ToyModel(id="other"), store, tmp_path, QUICK)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        evaluate_model(synthetic.ToyModel(), store, tmp_path / "x", QUICK)


def test_goes_on_after_an_interruption(
    synthetic: ModuleType, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVENTS_PER_PART", 8)
    whole = evaluate_model(synthetic.ToyModel(), store, tmp_path / "whole", QUICK)

    class Dying(synthetic.ToyModel):  # type: ignore[misc]
        def posterior(self, images: np.ndarray) -> np.ndarray:
            if self.calls >= 5:
                raise KeyboardInterrupt
            return super().posterior(images)

    with pytest.raises(KeyboardInterrupt):
        evaluate_model(Dying(), store, tmp_path / "cut", QUICK)
    assert not (tmp_path / "cut" / "metrics.json").exists()
    rest = synthetic.ToyModel()
    resumed = evaluate_model(rest, store, tmp_path / "cut", QUICK)
    times = ("ms_per_event", "ms_per_event_interval", "peak_memory_MB")
    assert {k: v for k, v in resumed.items() if k not in times} == {k: v for k, v in whole.items() if k not in times}
    assert 0 < rest.calls < 2 * 32 / 8
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == sorted(FILES)
    one, two = ((tmp_path / f / "predictions.parquet").read_bytes() for f in ("whole", "cut"))
    assert one == two


def test_the_time_of_a_single_batch_has_no_interval(synthetic: ModuleType, store: Path, tmp_path: Path) -> None:
    one, many = (
        evaluate_model(
            synthetic.ToyModel(), store, tmp_path / str(size), replace(QUICK, predict=PredictConfig(batch_size=size))
        )
        for size in (512, 4)
    )
    assert one["ms_per_event"] > 0
    assert one["ms_per_event_interval"] is None
    low, high = many["ms_per_event_interval"]
    assert low < high


def test_recorded_data_are_predicted_and_not_scored(synthetic: ModuleType, tmp_path: Path) -> None:
    store = synthetic.make_store(tmp_path / "d.h5", 20, has_truth=False)
    metrics = evaluate_model(synthetic.ToyModel(), store, tmp_path / "out", EvaluationConfig(split="all"))
    assert metrics["n_events"] == 0
    assert metrics["n_predictions"] == metrics["n_without_label"] == 20
    assert "recorded data" in metrics["note"]
    assert metrics["accuracy"] is None
    assert len(read_gallery(tmp_path / "out" / "gallery.npz")) > 0


def test_unusable_requests_are_refused_before_anything_is_written(
    synthetic: ModuleType, store: Path, tmp_path: Path
) -> None:
    model, out = synthetic.ToyModel(), tmp_path / "out"
    views = MapSpec(views=("uz", "vz"), shape=(64, 64))
    other = synthetic.make_store(tmp_path / "uv.h5", 12, spec=views)
    with pytest.raises(DataError, match="no view 'xz'"):
        evaluate_model(model, other, out, QUICK)
    with pytest.raises(InputFileError):
        evaluate_model(model, tmp_path / "absent.h5", out, QUICK)
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        EvaluationConfig(split="tset")
    assert not out.exists()
    standing_in = EvaluationConfig(split="all", predict=PredictConfig(views=("uz", "vz")))
    assert evaluate_model(model, other, out, standing_in)["n_events"] == 12


def test_events_without_a_class_are_counted_and_left_out(synthetic: ModuleType) -> None:
    batch = synthetic.make_batch(30, 3, MapSpec(shape=(64, 64)))
    clean = predict_batches(synthetic.ToyModel(), [batch.select(np.arange(5, 30))])
    batch["nu_pdg"][:5], batch["current"][:5] = 16, 1
    metrics = all_metrics(predict_batches(synthetic.ToyModel(), [batch]), QUICK)
    assert metrics["n_without_label"] == 5
    assert metrics["accuracy"] == all_metrics(clean, QUICK)["accuracy"]


def test_energy_bins_are_half_open_and_unknown_is_apart(synthetic: ModuleType) -> None:
    batch = synthetic.make_batch(8, 3, MapSpec(shape=(64, 64)))
    batch["nu_energy"][:] = [0, 1, 1.999, 2, 10, 50, np.nan, np.nan]
    table = predict_batches(synthetic.ToyModel(), [batch])
    found = {b["bin"]: b["n_events"] for b in by_energy(table, BootstrapConfig(resamples=5))}
    assert found == {"0-1": 1, "1-2": 2, "2-3": 1, ">10": 2, "unknown": 2}
    assert sum(b["n_events"] for b in by_mode(table, BootstrapConfig(resamples=5))) == 8
    with pytest.raises(ConfigError, match="do not rise"):
        by_energy(table, BootstrapConfig(), (0, 2, 1))


def test_gallery_shows_right_and_wrong_events_once(synthetic: ModuleType, store: Path, tmp_path: Path) -> None:
    model = synthetic.ToyModel()
    evaluate_model(model, store, tmp_path, QUICK)
    table, gallery = Predictions.read(tmp_path / "predictions.parquet"), read_gallery(tmp_path / "gallery.npz")
    chosen = choose(table)
    assert len({c.row for c in chosen}) == len(chosen) == len(gallery) <= 12
    for choice, shown in zip(chosen, gallery.events, strict=True):
        assert shown["reason"].split(",")[0] == ("right" if shown["truth"] == shown["label"] else "wrong")
        assert shown["key"][3] == table.event[choice.row]
    best = [c for c in chosen if c.reason == "right, most confident"]
    for choice in best:
        mine = (table.truth == table.truth[choice.row]) & (table.label == table.truth)
        assert table.probability[choice.row].max() == table.probability[mine].max(axis=1).max()
    with EventStore(store) as events:
        row = int(events.rows_of("test")[chosen[0].row])
        np.testing.assert_array_equal(gallery.maps.dense(0), events.maps(row).dense(0))
    order = np.random.default_rng(1).permutation(len(table))
    again = {int(table.select(order).event[c.row]) for c in choose(table.select(order))}
    assert again == {int(table.event[c.row]) for c in chosen}


def test_damaged_gallery_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "gallery.npz"
    for content in (b"", b"PK\x03\x04 no zip", b"text"):
        place.write_bytes(content)
        with pytest.raises(InputFileError):
            read_gallery(place)
    np.savez(place, other=np.zeros(3))
    with pytest.raises(InputFileError, match="not a gallery"):
        read_gallery(place)
    np.savez(place, about=np.array([{"a": 1}], dtype=object))  # pickled content is never loaded
    with pytest.raises(InputFileError, match="not a file of arrays"):
        read_gallery(place)
