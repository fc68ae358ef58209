"""The table of predictions: round trips, and refusal of what is not one."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError
from nuadapt.evaluation.predict import PredictConfig, Stopwatch, predict_batches
from nuadapt.evaluation.predictions import Predictions, truth_of
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec
from nuadapt.events.tasks import Task
from nuadapt.events.truth import NO_LABEL

SPEC = MapSpec(shape=(64, 64))


@pytest.fixture
def table(synthetic: ModuleType) -> Predictions:
    batch = synthetic.make_batch(20, 1, SPEC)
    batch["nu_pdg"][3], batch["current"][3] = 16, 1  # nu_tau CC belongs to no class
    batch["nu_energy"][4] = np.nan
    return predict_batches(synthetic.ToyModel(), [batch])


def assert_equal(a: Predictions, b: Predictions) -> None:
    for field in fields(a):
        one, two = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray) and one.dtype != object:
            np.testing.assert_array_equal(one, two, err_msg=field.name)
        elif one is None:
            assert two is None, field.name
        else:
            assert list(one) == list(two), field.name


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_round_trip_is_exact(table: Predictions, tmp_path: Path, name: str) -> None:
    table.write(tmp_path / name)
    assert_equal(Predictions.read(tmp_path / name), table)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert table.truth[3] == NO_LABEL
    assert np.isnan(table.nu_energy[4])


def test_columns_are_the_agreed_ones(table: Predictions) -> None:
    assert list(table.columns()) == [
        *("source", "run", "subrun", "event", "weight", "p_nue_cc", "p_numu_cc", "p_nc"),
        *("label", "truth", "nu_energy", "mode", "current", "representation", "model"),
    ]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_the_row_in_the_source_is_kept_where_it_is_known(table: Predictions, tmp_path: Path, name: str) -> None:
    spill = replace(table, event=np.zeros(len(table), dtype=np.int64), entry=np.arange(len(table)))
    spill.write(tmp_path / name)
    assert_equal(Predictions.read(tmp_path / name), spill)
    assert list(spill.columns())[:6] == ["source", "run", "subrun", "event", "entry", "weight"]
    assert_equal(Predictions.concatenate([spill.select([0]), spill.select([1])]), spill.select([0, 1]))
    with pytest.raises(DataError, match="different columns"):
        Predictions.concatenate([table, spill])


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_conformal_sets_are_a_column_of_names(table: Predictions, tmp_path: Path, name: str) -> None:
    sets = np.array([[bool(i & 1), bool(i & 2), bool(i & 4)] for i in range(len(table))])  # empty ones, too
    with_sets = replace(table, sets=sets)
    with_sets.write(tmp_path / name)
    assert_equal(Predictions.read(tmp_path / name), with_sets)
    assert with_sets.columns()["set"][:6] == ["", "nue_cc", "numu_cc", "nue_cc|numu_cc", "nc", "nue_cc|nc"]
    both = Predictions.concatenate([with_sets.select(np.arange(5)), with_sets.select(np.arange(5, len(table)))])
    assert_equal(both, with_sets)
    with pytest.raises(DataError, match="different columns"):
        Predictions.concatenate([table, with_sets])


def test_sets_of_unknown_classes_are_refused(table: Predictions, tmp_path: Path) -> None:
    replace(table, sets=np.ones((len(table), 3), dtype=bool)).write(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace("numu_cc|nc", "nutau_cc|nc"))
    with pytest.raises(InputFileError, match="has the class 'nutau_cc'"):
        Predictions.read(tmp_path / "t.csv")


def test_recorded_data_have_no_truth(synthetic: ModuleType, tmp_path: Path) -> None:
    batch = synthetic.make_batch(4, 1, SPEC, has_truth=False)
    table = predict_batches(synthetic.ToyModel(), [batch])
    table.write(tmp_path / "t.csv")
    again = Predictions.read(tmp_path / "t.csv")
    assert not again.has_label.any()
    assert np.isnan(again.nu_energy).all()


def broken(table: Predictions, place: Path, **change: object) -> Path:
    replace(table, **change).write(place)
    return place


def test_bad_tables_are_refused(table: Predictions, tmp_path: Path) -> None:
    p = table.probability.copy()
    p[7] *= 1.01
    with pytest.raises(InputFileError, match=r"row 7 add up to 1\.01"):
        Predictions.read(broken(table, tmp_path / "a.parquet", probability=p))
    p[7] = np.nan
    with pytest.raises(InputFileError, match="1 rows have no finite"):
        Predictions.read(broken(table, tmp_path / "b.csv", probability=p))
    with pytest.raises(InputFileError, match="no such file"):
        Predictions.read(tmp_path / "absent.csv")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputFileError, match="not a table of predictions"):
        Predictions.read(tmp_path / "c.parquet")
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputFileError, match="no column 'source'"):
        Predictions.read(tmp_path / "d.csv")
    table.write(tmp_path / "e.csv")
    text = (tmp_path / "e.csv").read_text().replace('"DIS"', '"DYS"')
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(InputFileError, match="did you mean 'DIS'"):
        Predictions.read(tmp_path / "e.csv")
    with pytest.raises(OutputError, match=r"no table format for '\.txt'"):
        table.write(tmp_path / "t.txt")


def test_batches_of_any_size_give_the_same_rows(synthetic: ModuleType) -> None:
    batch, model = synthetic.make_batch(30, 2, SPEC), synthetic.ToyModel()
    whole = predict_batches(model, [batch])
    pieces = [batch.select(np.arange(a, b)) for a, b in ((0, 7), (7, 7), (7, 30))]
    watch, seen = Stopwatch(), []
    again = predict_batches(
        model, pieces, PredictConfig(batch_size=4), total=30, stopwatch=watch, progress=lambda d, t: seen.append((d, t))
    )
    assert_equal(whole, again)
    assert sum(watch.events) == 30
    assert watch.ms_per_event > 0
    assert seen[-1] == (30, 30)


def test_views_are_found_by_name_or_by_request(synthetic: ModuleType) -> None:
    model = synthetic.ToyModel()
    swapped = MapSpec(views=("yz", "other", "xz"), axes=(("y", "z"),) * 3, shape=(64, 64))
    batch = synthetic.make_batch(3, 1, swapped)
    by_name = predict_batches(model, [batch])
    explicit = predict_batches(model, [batch], PredictConfig(views=("xz", "yz")))
    np.testing.assert_array_equal(by_name.probability, explicit.probability)
    other = predict_batches(model, [batch], PredictConfig(views=("other", "yz")))
    assert not np.array_equal(by_name.probability, other.probability)
    with pytest.raises(DataError, match="no view 'uz'"):
        predict_batches(model, [batch], PredictConfig(views=("uz", "yz")))
    with pytest.raises(DataError, match="1 views"):
        predict_batches(model, [batch], PredictConfig(views=("xz",)))


def test_what_cannot_be_predicted_is_refused(synthetic: ModuleType) -> None:
    batch = synthetic.make_batch(3, 1, SPEC)
    bare = EventBatch(batch.columns, batch.sources)
    with pytest.raises(DataError, match="no pixel maps"):
        predict_batches(synthetic.ToyModel(), [bare])
    with pytest.raises(DataError, match="nothing to predict"):
        predict_batches(synthetic.ToyModel(), [])
    energies = {"low": {"where": {"W_generator": {"max": 1}}}, "high": {"where": {"W_generator": {"min": 1}}}}
    with pytest.raises(DataError, match="no column 'W_generator'"):
        truth_of(batch, Task.from_dict({"name": "energies", "classes": energies}))
    with pytest.raises(ConfigError):
        PredictConfig(coarsen=0)

    class Broken(synthetic.ToyModel):  # type: ignore[misc]
        def posterior(self, images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 3), 0.4)

    with pytest.raises(DataError, match=r"add up to 1\.2"):
        predict_batches(Broken(), [batch])


def test_coarsen_reaches_the_model(synthetic: ModuleType) -> None:
    seen = []

    class Looking(synthetic.ToyModel):  # type: ignore[misc]
        def posterior(self, images: np.ndarray) -> np.ndarray:
            seen.append((images.shape[2:], round(float(images.sum()), 6)))
            return super().posterior(images)

    batch = synthetic.make_batch(3, 1, SPEC)
    for config in (PredictConfig(coarsen=2), PredictConfig(coarsen=2, coarsen_how="sum"), PredictConfig(2, "mean")):
        predict_batches(Looking(), [batch], config)
    assert {shape for shape, _ in seen} == {(32, 32)}
    assert seen[1] == seen[3] != seen[5]
