"""The ratio of estimate to truth: quantiles by hand, known distributions, what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.physics.energy import in_q3, most_probable, ratios, spread, weighted_quantiles

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
    rows = in_q3(truth * rng.normal(1, 0.1 + 0.2 * (q3 > 0.6)), truth, q3, np.ones(500), FEW)
    assert sum(row["n_events"] for row in rows) == 500
    assert rows[0]["iqr"] < rows[1]["iqr"]
    assert [row["iqr"] for row in rows[2:]] == [None] * 4
    json.dumps(rows)
