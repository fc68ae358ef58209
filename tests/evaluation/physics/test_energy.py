"""The ratio of estimate to truth: quantiles by hand, known distributions, what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.physics.energy import (
    Intervals,
    histograms,
    in_bins,
    most_probable,
    ratios,
    spread,
    weighted_quantiles,
)

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
    made = Intervals.fit(estimate[:4000], truth[:4000], 0.9)
    assert made is not None
    found = made.coverage(estimate[4000:], truth[4000:], q3[4000:], np.ones(4000))
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    assert sum(row["n_events"] for row in found["by_q3"]) == 4000
    low, high = made.limits(np.array([0.0, 1.0]))
    assert (low[0], bool(np.all(low < high))) == (0.0, True)
    assert Intervals.fit(estimate[:5], truth[:5], 0.9) is None
    json.dumps(found)
