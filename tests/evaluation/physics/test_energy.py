"""The ratio of estimate to truth: quantiles by hand, known distributions, what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.physics.energy import (
    Intervals,
    gates_failed,
    histograms,
    in_bins,
    most_probable,
    ratios,
    spread,
    weighted_quantiles,
)
from nuadapt.evaluation.physics.estimates import estimates

FEW = BootstrapConfig(resamples=60)


def test_small_truths_are_left_out_and_small_estimates_are_nothing() -> None:
    ratio, counts = ratios([0.005, 0.5, 0.2, 0.3, np.nan], [1.0, 1.0, 0.04, np.nan, 1.0])
    assert counts.tolist() == [True, True, False, False, False]
    assert ratio.tolist() == [0.0, 0.5]


def test_weights_are_events_that_are_there_more_often() -> None:
    values, times = np.random.default_rng(1).normal(size=200), np.arange(200) % 3 + 1
    shares = (0.25, 0.5, 0.75)
    weighted = weighted_quantiles(values, times.astype(float), shares)
    repeated = weighted_quantiles(np.repeat(values, times), np.ones(times.sum()), shares)
    np.testing.assert_allclose(weighted, repeated, atol=0.02)


def test_a_normal_ratio_has_the_spread_of_a_normal_distribution() -> None:
    ratio = np.random.default_rng(2).normal(0.9, 0.1, 20_000)
    found = spread(ratio, np.ones(20_000), FEW)
    assert found.iqr == pytest.approx(2 * 0.6745 * 0.1, rel=0.03)
    assert found.median == pytest.approx(0.9, abs=0.003)
    assert found.most_probable == pytest.approx(0.9, abs=0.03)
    low, high = found.iqr_interval
    assert low < found.iqr < high
    assert (high - low) / found.iqr < 0.06


def test_the_most_probable_value_is_not_the_median() -> None:
    ratio = np.random.default_rng(3).exponential(0.3, 20_000) + 0.5
    assert np.median(ratio) == pytest.approx(0.708, abs=0.01)
    assert most_probable(ratio, np.ones(20_000)) == pytest.approx(0.53, abs=0.04)  # a bin is 0.04 wide
    assert np.isnan(most_probable(ratio[:10], np.ones(10)))


def test_bins_hold_their_events_and_empty_ones_are_null() -> None:
    rng = np.random.default_rng(4)
    truth, q3 = rng.uniform(0.1, 2, 500), rng.uniform(0, 1.2, 500)
    rows = in_bins(truth * rng.normal(1, 0.1 + 0.2 * (q3 > 0.6)), truth, q3, np.ones(500), FEW)
    assert sum(row["n_events"] for row in rows) == 500
    assert rows[0]["iqr"] < rows[1]["iqr"]
    assert [row["iqr"] for row in rows[2:]] == [None] * 4
    json.dumps(rows)


def test_histograms_hold_what_is_in_range() -> None:
    truth, q3 = np.ones(90), np.repeat([0.1, 0.7, 5.0], 30)
    estimate = np.tile([0.5, 1.0, 9.0], 30)
    found = histograms(estimate, truth, q3, np.full(90, 2.0))
    assert [sum(row["weight"]) for row in found] == [40, 40, 0, 40]
    assert [row["total"] for row in found] == [60, 60, 0, 60]
    assert np.flatnonzero(found[0]["weight"]).tolist() == [12, 25]


def test_conformal_intervals_hold_what_they_promise() -> None:
    rng = np.random.default_rng(5)
    truth = rng.exponential(1.5, 8000)
    estimate = truth * np.exp(0.3 * rng.standard_t(3, 8000))  # heavy tails: no normal distribution would do
    q3 = truth + 0.2
    made = Intervals.fit(estimate[:4000], truth[:4000], np.ones(4000), 0.9)
    assert made is not None
    found = made.coverage(estimate[4000:], truth[4000:], q3[4000:], np.ones(4000))
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    assert sum(row["n_events"] for row in found["by_q3"]) == 4000
    low, high = made.limits(np.array([0.0, 1.0]))
    assert (low[0], bool(np.all(low < high))) == (0.0, True)
    assert Intervals.fit(estimate[:5], truth[:5], np.ones(5), 0.9) is None
    json.dumps(found)


def test_equal_weights_give_the_published_rank() -> None:
    off = np.random.default_rng(6).permutation(np.linspace(0.01, 1, 100))
    made = Intervals.fit(np.expm1(1 + off), np.full(100, np.expm1(1)), np.full(100, 0.3), 0.9)
    assert made is not None
    assert made.half_width == pytest.approx(np.sort(off)[int(np.ceil(101 * 0.9)) - 1])


def test_intervals_hold_their_share_of_weight() -> None:
    """Events with large errors weigh ten times: by counts they would be too rare to widen the interval."""
    rng = np.random.default_rng(7)
    wild = rng.random(20_000) < 0.05
    truth, weight = rng.exponential(1.5, 20_000), np.where(wild, 10.0, 1.0)
    estimate = truth * np.exp(rng.normal(0, np.where(wild, 0.8, 0.1)))
    half = np.arange(20_000) < 10_000
    made = Intervals.fit(estimate[half], truth[half], weight[half], 0.9)
    assert made is not None
    found = made.coverage(estimate[~half], truth[~half], truth[~half], weight[~half])
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    blind = Intervals.fit(estimate[half], truth[half], np.ones(10_000), 0.9)
    assert blind is not None
    assert blind.coverage(estimate[~half], truth[~half], truth[~half], weight[~half])["coverage"] < 0.85


def test_an_estimate_that_spreads_more_fails_its_gate() -> None:
    rng = np.random.default_rng(8)
    truth, q3 = rng.uniform(0.5, 2, 4000), rng.uniform(0, 1.8, 4000)
    wide, narrow = (truth * (1 + sigma * rng.normal(size=4000)) for sigma in (0.3, 0.1))
    mixed = np.where(q3 < 0.6, wide, narrow)  # worse at low q3 only
    rows, than = (
        in_bins(estimate, truth, q3, np.ones(4000), FEW) for estimate in (mixed, truth + (narrow - truth) * 1.5)
    )
    assert gates_failed(rows, than) == [{"quantity": "q3", "low": 0.0, "high": 0.6, "significant": True}]
    assert gates_failed(rows, rows) == []


def test_estimates_stand_beside_the_calorimeter() -> None:
    rng = np.random.default_rng(9)
    truth, q3 = rng.uniform(0.5, 2, 900), rng.uniform(0, 1.8, 900)
    columns = {"q3": q3, "n_protons": np.ones(900, int), "n_charged_pions": rng.integers(0, 2, 900)}
    columns |= {"n_neutral_pions": np.full(900, -1), "blob_recoil_energy": truth / 2 * rng.normal(1, 0.05, 900)}
    found = estimates(truth * rng.normal(1, 0.3, 900), truth, np.ones(900), columns, 2.0, FEW)
    assert set(found["estimates"]) == {"model", "calorimetric", "calorimetric_fitted"}
    assert found["estimates"]["calorimetric_fitted"]["all"]["median"] == pytest.approx(1, abs=0.02)
    assert found["estimates"]["calorimetric"]["all"]["median"] == pytest.approx(1.17 / 2, abs=0.02)
    assert [row["n_events"] > 0 for row in found["estimates"]["model"]["by_multiplicity"]] == [
        False,
        True,
        True,
        *[False] * 3,
    ]
    assert [gate["low"] for gate in found["gates_failed"]] == [0.0, 0.6, 1.2]
    del columns["blob_recoil_energy"]
    alone = estimates(truth, truth, np.ones(900), columns, None, FEW)
    assert (set(alone["estimates"]), alone["gates_failed"]) == ({"model"}, [])
