"""Calibration: known temperatures come back, sets are MAPIE's and cover what they promise, bad files are refused."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from nuadapt.cli import main
from nuadapt.errors import ConfigError, DataError, InputFileError
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.calibrate import (
    calibrate_model,
    fit_calibration,
    fit_conformal,
    fit_temperature,
    mapie_classifier,
)
from nuadapt.evaluation.calibration import (
    SCORES,
    Calibration,
    Conformal,
    Origin,
    calibration_metrics,
    read_calibration,
    tempered,
    wilson,
)
from nuadapt.evaluation.evaluate import EvaluationConfig, all_metrics, evaluate_model
from nuadapt.evaluation.metrics import Sample, measure
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.store import EventStore
from nuadapt.events.truth import FLAVOUR_CLASSES, NO_LABEL
from nuadapt.record import write_json

ORIGIN = Origin("d.h5", "f" * 64, "val")
FEW = BootstrapConfig(resamples=10)


def sample_of(n: int, seed: int, temperature: float = 1.0, weight: np.ndarray | None = None) -> Sample:
    """Events whose truth is drawn from p, told by a model that says softmax(``temperature`` * log p)."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet([0.6] * 3, n)
    truth = (honest.cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    said = softmax(temperature * np.log(honest), axis=1)
    return Sample(FLAVOUR_CLASSES, said, truth, said.argmax(axis=1), np.ones(n) if weight is None else weight)


def predictions_of(sample: Sample, model: str = "toy", run: int = 1) -> Predictions:
    n = len(sample)
    zeros = np.zeros(n, dtype=np.int64)
    return Predictions(
        classes=sample.classes,
        representation="pixelmap",
        model=model,
        source=np.array(["toy.h5"] * n, dtype=object),
        run=zeros + run,
        subrun=zeros,
        event=np.arange(n),
        weight=sample.weight,
        probability=sample.probability,
        label=sample.label,
        truth=sample.truth,
        nu_energy=np.full(n, 1.0),
        mode=zeros,
        current=zeros,
    )


def calibration_of(sample: Sample, **how: Any) -> Calibration:
    return fit_calibration(predictions_of(sample), ORIGIN, how.pop("coverage", 0.9), **how)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_comes_back(temperature: float) -> None:
    # sqrt(n) times the error of ln T is below 2 for these events: 0.03 is three standard deviations.
    assert fit_temperature(sample_of(40_000, 1, temperature)) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_the_minimum_of_a_scan() -> None:
    sample = sample_of(500, 2, 1.7, np.random.default_rng(3).uniform(0, 3, 500))
    scan = np.linspace(0.5, 4, 3501)
    true = np.arange(len(sample)), sample.truth
    losses = [
        np.average(-np.log(softmax(np.log(sample.probability) / t, axis=1)[true]), weights=sample.weight) for t in scan
    ]
    assert fit_temperature(sample) == pytest.approx(scan[np.argmin(losses)], abs=1.1e-3)


def test_weights_are_honoured() -> None:
    certain, honest = sample_of(4000, 4, 3.0), sample_of(4000, 5, 1.0)
    whole = Sample(
        FLAVOUR_CLASSES,
        *(np.concatenate([getattr(s, k) for s in (certain, honest)]) for k in ("probability", "truth", "label")),
        np.repeat([1.0, 0.0], 4000),
    )
    assert fit_temperature(whole) == pytest.approx(fit_temperature(certain), rel=1e-5)
    turned = replace(whole, weight=1 - whole.weight)
    assert fit_temperature(turned) == pytest.approx(fit_temperature(honest), rel=1e-5)
    twice = sample_of(300, 6, 2.0, np.repeat([1.0, 2.0], 150))
    repeated = twice.select(np.concatenate([np.arange(300), np.arange(150, 300)]))
    repeated = replace(repeated, weight=np.ones(450))
    assert fit_temperature(twice) == pytest.approx(fit_temperature(repeated), rel=1e-5)


@given(st.integers(0, 10_000), st.floats(0.05, 20))
def test_tempering_keeps_labels_and_is_undone_by_its_inverse(seed: int, temperature: float) -> None:
    said = sample_of(20, seed).probability
    cooled = tempered(said, temperature)
    assert np.allclose(cooled.sum(axis=1), 1, atol=1e-12)
    # Equal numbers after rounding are no other order: probabilities of a very cool model saturate at 1.
    ordered = np.take_along_axis(cooled, np.argsort(said, axis=1), axis=1)
    assert (np.diff(ordered, axis=1) >= 0).all()
    if 0.5 <= temperature <= 2:
        assert tempered(cooled, 1 / temperature) == pytest.approx(said, rel=1e-6, abs=1e-12)


def test_zero_probabilities_stay_finite() -> None:
    said = np.array([[1.0, 0, 0], [0, 0.5, 0.5]])
    assert tempered(said, 2.0) == pytest.approx(said, abs=1e-100)
    assert np.isfinite(tempered(said, 20)).all()


def test_calibration_lowers_the_error_and_changes_no_label() -> None:
    calibration, fresh = calibration_of(sample_of(4000, 7, 2.5)), predictions_of(sample_of(8000, 8, 2.5))
    assert calibration.temperature == pytest.approx(2.5, rel=0.1)
    assert calibration.held_out.ece[1] < 0.4 * calibration.held_out.ece[0]
    assert calibration.held_out.nll[1] < calibration.held_out.nll[0]
    applied = calibration.applied(fresh)
    np.testing.assert_array_equal(applied.label, fresh.label)
    np.testing.assert_array_equal(applied.probability.argmax(axis=1), fresh.label)
    before, after = (measure(s, s.weight[None]) for s in (Sample.of(fresh), Sample.of(applied)))
    assert after["accuracy"] == before["accuracy"]
    assert after["ece"] < 0.3 * before["ece"]
    assert after["ece"] < 0.02
    metrics = calibration_metrics(fresh, calibration, FEW)
    assert metrics["uncalibrated"]["ece"] == pytest.approx(before["ece"][0])
    assert metrics["uncalibrated"]["nll"] == pytest.approx(before["nll"][0])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("coverage", [0.3, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("sharpness", [1.0, 6.0])
def test_sets_are_those_of_mapie(score: Any, coverage: float, sharpness: float) -> None:
    fitted, fresh = sample_of(400, 9, sharpness), sample_of(2000, 10, sharpness)
    ours = fit_conformal(fitted, coverage, score)
    classifier, _ = mapie_classifier(fitted, coverage, score)
    np.testing.assert_array_equal(ours.sets(fresh.probability), classifier.predict_set(fresh.probability)[1][:, :, 0])


@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_the_quantile_is_the_order_statistic_of_the_theory(coverage: float) -> None:
    sample = sample_of(99, 11)
    scores = np.sort(1 - sample.probability[np.arange(99), sample.truth])
    assert fit_conformal(sample, coverage).quantile == scores[int(np.ceil(100 * coverage)) - 1]


def test_lac_sets_on_fresh_events_cover_as_promised() -> None:
    """Over 60 calibrations the mean coverage is the wanted one, and its spread is that of the Beta distribution."""
    fresh, found = sample_of(20_000, 12, 2.0), []
    for seed in range(60):
        conformal = fit_conformal(sample_of(300, 100 + seed, 2.0), 0.9)
        sets = conformal.sets(fresh.probability)
        found.append(sets[np.arange(len(fresh)), fresh.truth].mean())
    spread = conformal.coverage_spread
    assert spread == pytest.approx(np.sqrt(0.9 * 0.1 / 302), rel=0.02)
    # A finite calibration covers (n + 1 - l)/(n + 1) = 271/301 on average; the fresh sample scatters, too.
    assert abs(np.mean(found) - 271 / 301) < 3 * np.hypot(spread / np.sqrt(60), np.sqrt(0.09 / 20_000))
    assert np.std(found) == pytest.approx(spread, rel=0.3)


def test_aps_sets_are_never_empty_and_cover_at_least_as_promised() -> None:
    fresh = sample_of(5000, 13)
    sets = fit_conformal(sample_of(2000, 14), 0.6, "aps").sets(fresh.probability)
    assert sets.any(axis=1).all()
    assert sets[np.arange(5000), fresh.truth].mean() > 0.6
    lac = fit_conformal(sample_of(2000, 14), 0.6).sets(fresh.probability)
    assert not lac.any(axis=1).all()  # less is asked for than the accuracy, so some sets hold nothing


def test_the_two_halves_depend_on_keys_alone() -> None:
    sample = sample_of(400, 15, 2.0)
    table = predictions_of(sample)
    one = fit_calibration(table, ORIGIN, 0.9)
    order = np.random.default_rng(1).permutation(400)
    two = fit_calibration(table.select(order), ORIGIN, 0.9)
    assert two.temperature == pytest.approx(one.temperature, rel=1e-6)
    assert two.conformal.quantile == pytest.approx(one.conformal.quantile, rel=1e-6)
    assert one.n_events + one.conformal.n_events == 400
    assert 150 < one.n_events < 250
    # The temperature does not see the half of the sets, and the other way round only through the temperature.
    half = (table.hashes() & np.uint64(1)).astype(bool)
    spoiled = replace(table, truth=np.where(half, (table.truth + 1) % 3, table.truth))
    assert fit_calibration(spoiled, ORIGIN, 0.9).temperature == one.temperature
    unlabelled = replace(table, truth=np.where(half, table.truth, NO_LABEL))
    with pytest.raises(DataError, match="add up to zero"):
        fit_calibration(unlabelled, ORIGIN, 0.9)


def test_what_cannot_be_fitted_is_refused() -> None:
    sample = sample_of(40, 16)
    with pytest.raises(DataError, match=r"too few .* coverage 0.99"):
        calibration_of(sample, coverage=0.99)
    with pytest.raises(DataError, match="too few"):
        calibration_of(sample.select(np.arange(0)))
    for impossible in (0.0, 1.0, -1, 90, float("nan")):
        with pytest.raises(ConfigError, match="impossible"):
            calibration_of(sample, coverage=impossible)
    with pytest.raises(ConfigError, match="did you mean 'lac'"):
        calibration_of(sample, score="lak")
    right = sample_of(400, 17)
    with pytest.raises(DataError, match="all answers are right"):
        calibration_of(replace(right, truth=right.label))
    with pytest.raises(DataError, match="say nothing"):
        calibration_of(replace(right, truth=(right.label + 1) % 3))
    with pytest.raises(DataError, match="negative weight"):
        calibration_of(replace(right, weight=-right.weight))


def test_a_class_without_events_is_refused() -> None:
    sample = sample_of(2000, 18, 2.0)
    with pytest.raises(DataError, match="of the class numu_cc"):
        calibration_of(sample.select(sample.truth != 1))


def test_metrics_of_sets_agree_with_counting() -> None:
    weight = np.random.default_rng(19).uniform(0.1, 2, 900)
    calibration = calibration_of(sample_of(2000, 20, 2.0))
    raw = predictions_of(sample_of(900, 21, 2.0, weight))
    raw = replace(raw, truth=np.where(np.arange(900) < 100, NO_LABEL, raw.truth))
    found, sets = calibration_metrics(raw, calibration, FEW)["conformal"], calibration.applied(raw).sets
    assert sets is not None
    covered = np.array([sets[i, t] for i, t in enumerate(raw.truth)])[100:]
    assert found["n_events"] == 800
    assert found["coverage"] == pytest.approx(covered.mean())
    assert found["coverage_by_weight"] == pytest.approx(np.average(covered, weights=weight[100:]))
    assert found["interval"][0] < found["coverage"] < found["interval"][1]
    assert found["mean_size"] == pytest.approx(sets.sum(axis=1).mean())
    assert sum(k * share for k, share in enumerate(found["sizes"])) == pytest.approx(found["mean_size"])
    parts = found["per_class"].values()
    assert sum(p["n_events"] for p in parts) == 800
    assert sum(p["n_events"] * p["coverage"] for p in parts) == pytest.approx(covered.sum())
    recorded = replace(raw, truth=np.full(900, NO_LABEL))
    blind = calibration_metrics(recorded, calibration, FEW)
    assert blind["conformal"]["coverage"] is blind["uncalibrated"]["ece"] is None
    assert blind["conformal"]["mean_size"] == found["mean_size"]


@given(st.integers(1, 500), st.data())
def test_wilson_limits_solve_their_equation(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    limits = wilson(count, n, 0.95)
    assert limits is not None
    for limit in limits:  # |p - k/n| = z sqrt(p (1 - p) / n)
        assert abs(limit - count / n) == pytest.approx(1.959963984540054 * np.sqrt(limit * (1 - limit) / n), abs=1e-7)
    assert wilson(0, 0, 0.95) is None


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good() -> Calibration:
    return calibration_of(sample_of(1000, 22, 2.0))


def test_the_file_gives_back_what_was_fitted(good: Calibration, synthetic: ModuleType, tmp_path: Path) -> None:
    assert read_calibration(tmp_path, synthetic.ToyModel()) is None
    good.write(tmp_path)
    assert read_calibration(tmp_path, synthetic.ToyModel()) == good
    assert [p.name for p in tmp_path.iterdir()] == ["calibration.json"]
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert content["stage"] == "calibrate"
    assert "numpy" in content["versions"]


def change(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy of ``content`` with one value replaced, or removed if it is None."""
    changed = json.loads(json.dumps(content))
    *groups, last = place.split(".")
    target = changed
    for group in groups:
        target = target[group]
    target[last] = value
    if value is None:
        del target[last]
    return changed


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("temperature", v) for v in (float("nan"), float("inf"), -1.0, 0, 1e9, "2", True, [1], None)),
        *(("conformal.quantile", v) for v in (float("nan"), -0.1, 1.5, "x", None)),
        *(("conformal.coverage", v) for v in (0, 1, float("nan"), float("-inf"), None)),
        *(("conformal.score", v) for v in ("raps", 3, None)),
        *(("conformal.n_events", v) for v in (0, -3, 1.5, None)),
        *(("classes", v) for v in ("nue_cc", ["nue_cc"], ["nc", "numu_cc", "nue_cc"], [1, 2, 3], None)),
        *(("model", v) for v in ("toy-other", 3, None)),
        *(("data", v) for v in ("d.h5", {"file": "d.h5"}, None)),
        ("held_out.ece", [0.1]),
    ],
)
def test_hostile_files_are_refused(
    good: Calibration, synthetic: ModuleType, tmp_path: Path, place: str, value: Any
) -> None:
    good.write(tmp_path)
    file = tmp_path / "calibration.json"
    write_json(file, change(json.loads(file.read_text()), place, value))
    with pytest.raises(InputFileError, match=r"calibration\.json.*'nuadapt calibrate' again") as caught:
        read_calibration(tmp_path, synthetic.ToyModel())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"temperature": 1}'])
def test_files_that_are_no_calibration_are_refused(synthetic: ModuleType, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "calibration.json").write_bytes(content)
    with pytest.raises(InputFileError, match="not a calibration"):
        read_calibration(tmp_path, synthetic.ToyModel())
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "calibration.json").mkdir()
    with pytest.raises(InputFileError, match="cannot read"):
        read_calibration(tmp_path / "x", synthetic.ToyModel())


def test_a_calibration_serves_its_own_model_only(good: Calibration) -> None:
    with pytest.raises(DataError, match="cannot serve predictions of other"):
        good.applied(predictions_of(sample_of(5, 1), model="other"))


# --- with a model and a store --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make_store(tmp_path_factory.mktemp("store") / "d.h5", 400)


def test_an_evaluation_is_calibrated_and_says_what_was_before(
    synthetic: ModuleType, store: Path, tmp_path: Path
) -> None:
    model = synthetic.ToyModel(sharpness=2.0)
    calibration = calibrate_model(model, store, EvaluationConfig(split="val"), 0.75, "lac")
    config = EvaluationConfig(split="test", bootstrap=FEW)
    plain = evaluate_model(model, store, tmp_path / "plain", config)
    metrics = evaluate_model(model, store, tmp_path / "calibrated", config, calibration=calibration)
    assert metrics["accuracy"] == plain["accuracy"]
    assert {k: metrics["uncalibrated"][k] for k in ("ece", "nll", "reliability")} == {
        k: plain[k] for k in ("ece", "nll", "reliability")
    }
    table = Predictions.read(tmp_path / "calibrated" / "predictions.parquet")
    raw = Predictions.read(tmp_path / "plain" / "predictions.parquet")
    np.testing.assert_array_equal(table.probability, tempered(raw.probability, calibration.temperature))
    np.testing.assert_array_equal(table.sets, calibration.conformal.sets(table.probability))
    assert raw.sets is None
    assert metrics["nll"] == pytest.approx(all_metrics(table, config)["nll"])
    assert metrics["temperature"] == calibration.temperature
    assert metrics["conformal"]["coverage_wanted"] == 0.75
    assert metrics["independent_of_calibration"]
    assert {"uncalibrated", "conformal"} <= set(metrics["definitions"])
    assert json.loads((tmp_path / "calibrated" / "metrics.json").read_text()) == metrics
    record = json.loads((tmp_path / "calibrated" / "record.json").read_text())
    assert record["model"]["calibration"]["temperature"] == calibration.temperature
    for split in ("val", "all"):
        again = evaluate_model(model, store, tmp_path / split, replace(config, split=split), calibration=calibration)
        assert not again["independent_of_calibration"]
    with pytest.raises(Exception, match="another evaluation"):
        evaluate_model(model, store, tmp_path / "calibrated", config)


@pytest.fixture
def run(synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run folder whose model is the toy one."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr("nuadapt.models.run.load_run", lambda _path, **_: synthetic.ToyModel(sharpness=2.0))
    return folder


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    """Exit code and all output of a command line."""
    monkeypatch.setattr(sys, "argv", ["nuadapt", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    return int(stopped.value.code or 0), shown.out + shown.err


def test_the_command_line(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def do(*words: object) -> str:
        code, text = call(capsys, monkeypatch, *words)
        assert code == 0, text
        return text

    assert "temperature" in do("calibrate", run, "--data", store, "--coverage", 0.8, "--score", "aps")
    made = json.loads((run / "calibration.json").read_text())
    assert made["conformal"]["score"] == "aps"
    assert made["data"]["split"] == "val"
    with EventStore(store) as events:
        assert made["n_events"] + made["conformal"]["n_events"] == len(events.rows_of("val"))
    do("evaluate", run, "--data", store, "--out", tmp_path / "e")
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["temperature"] == made["temperature"]
    do("evaluate", run, "--data", store, "--out", tmp_path / "u", "--uncalibrated")
    assert "uncalibrated" not in json.loads((tmp_path / "u" / "metrics.json").read_text())
    do("predict", run, store, "--out", tmp_path / "t.csv")
    do("predict", run, store, "--out", tmp_path / "u.csv", "--uncalibrated")
    tables = []
    for name in ("t", "u"):
        with (tmp_path / f"{name}.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    assert all(set(r["set"].split("|")) <= {*FLAVOUR_CLASSES} for r in tables[0])
    assert "set" not in tables[1][0]
    assert [r["label"] for r in tables[0]] == [r["label"] for r in tables[1]]
    assert [r["p_nc"] for r in tables[0]] != [r["p_nc"] for r in tables[1]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--split", "test"], "no longer be independent"),
        (["--split", "train"], "the model knows them"),
        (["--split", "vall"], "did you mean 'val'"),
        (["--coverage", 1.5], "share between 0 and 1"),
        (["--coverage", 0.999], "too few"),
        (["--score", "raps"], "lac"),
    ],
)
def test_unusable_requests_get_one_paragraph(
    run: Path,
    store: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[object],
    expected: str,
) -> None:
    code, text = call(capsys, monkeypatch, "calibrate", run, "--data", store, *words)
    assert code == 2
    assert expected in text
    assert "Traceback" not in text
    assert not (run / "calibration.json").exists()


def test_a_calibration_of_other_weights_is_refused(
    good: Calibration,
    run: Path,
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(good, model="cnn-0badcafe").write(run)
    for words in (
        ["evaluate", run, "--data", store, "--out", tmp_path / "e"],
        ["predict", run, store, "--out", tmp_path / "t.csv"],
    ):
        code, text = call(capsys, monkeypatch, *words)
        assert code == 2
        assert "fitted for the weights cnn-0badcafe" in text
        assert call(capsys, monkeypatch, *words, "--uncalibrated")[0] == 0


def test_recorded_data_cannot_calibrate(synthetic: ModuleType, tmp_path: Path) -> None:
    store = synthetic.make_store(tmp_path / "d.h5", 30, has_truth=False)
    with pytest.raises(DataError, match=r"0 events are too few"):
        calibrate_model(synthetic.ToyModel(), store, EvaluationConfig(split="all"), 0.9, "lac")


def test_spread_of_a_single_conformal_event_is_finite() -> None:
    assert 0 < Conformal("lac", 0.5, 0.5, 1).coverage_spread < 1
