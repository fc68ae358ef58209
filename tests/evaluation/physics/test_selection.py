"""A model beside the cuts: thresholds at equal false positives, efficiencies by bin, gates."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, DataError
from nuadapt.evaluation.physics.cuts import rates
from nuadapt.evaluation.physics.selection import binned_quantities, compare, equal_edges, in_bins, threshold_at


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 6))
def test_no_more_false_positives_than_asked_and_no_lower_threshold(seed: int, rate: float, levels: int) -> None:
    """By brute force over all thresholds; few levels of score give many ties."""
    rng = np.random.default_rng(seed)
    score = rng.integers(0, levels, 60) / levels
    signal, weight = rng.random(60) < 0.3, rng.uniform(0.1, 2, 60)
    if signal.all():
        signal[0] = False
    threshold = threshold_at(score, signal, weight, rate)
    assert rates(score >= threshold, signal, weight).false_positive_rate <= rate + 1e-9
    lower = [t for t in np.unique(score) if t < threshold]
    assert all(rates(score >= t, signal, weight).false_positive_rate > rate for t in lower)


def test_a_better_score_keeps_more_signal_at_equal_background() -> None:
    rng = np.random.default_rng(1)
    n = 20_000
    signal = rng.random(n) < 0.2
    cuts = rng.random(n) < np.where(signal, 0.4, 0.1)
    score = np.where(signal, rng.normal(2, 1, n), rng.normal(0, 1, n))
    of_cuts, of_model, kept = compare(score, cuts, signal, np.ones(n))
    assert of_model.false_positive_rate <= of_cuts.false_positive_rate
    assert of_model.false_positive_rate == pytest.approx(of_cuts.false_positive_rate, abs=1e-3)
    # Normal distributions two widths apart: 1 - Phi(z - 2) of the signal lies above z with Phi(z) = 0.9.
    assert of_model.efficiency == pytest.approx(0.764, abs=0.02)
    assert kept.sum() > cuts.sum()


def test_bins_add_up_and_gates_flag_what_is_worse() -> None:
    rng = np.random.default_rng(2)
    n = 6000
    values, signal, weight = rng.uniform(0, 3, n), rng.random(n) < 0.5, rng.uniform(0.5, 1.5, n)
    cuts = rng.random(n) < 0.5
    model = rng.random(n) < np.where(values > 2, 0.2, 0.8)
    found = in_bins("W", values, [0.0, 1.0, 2.0, 3.0, 4.0], signal, cuts, model, weight)
    assert found.n_signal.sum() == signal.sum()
    total = [weight[signal & (values >= low) & (values < low + 1)].sum() for low in range(3)]
    whole = np.average(found.cuts[:3], weights=total)
    assert whole == pytest.approx(rates(cuts, signal, weight).efficiency)
    assert found.below.tolist() == found.significantly_below.tolist() == [False, False, True, False]
    assert found.gates_failed() == [{"quantity": "W", "low": 2.0, "high": 3.0, "significant": True}]
    assert np.all(found.model_interval[:3, 0] < found.model[:3])
    assert json.loads(json.dumps(found.as_dict()))["model"][3] is None


def test_a_gate_fails_by_chance_or_significantly() -> None:
    """48 of 100 events where the cuts keep 50 may be chance, 480 of 1000 beside 560 is not."""
    few, many = np.arange(100), np.arange(1000)
    for at, of_model, of_cuts, significant in ((few, 48, 50, False), (many, 480, 560, True)):
        n, signal = len(at), np.ones(len(at), dtype=bool)
        found = in_bins("q3", np.zeros(n), [0.0, 1.0], signal, at < of_cuts, at < of_model, np.ones(n))
        assert [gate["significant"] for gate in found.gates_failed()] == [significant]
        json.dumps(found.gates_failed())
    equal = in_bins("q3", np.zeros(100), [0.0, 1.0], few >= 0, few < 50, few >= 50, np.ones(100))
    assert equal.gates_failed() == []


def test_edges_hold_equal_shares() -> None:
    values = np.random.default_rng(3).exponential(1, 600)
    edges = equal_edges(np.append(values, np.nan))
    assert np.histogram(values, edges)[0].tolist() == [100] * 6
    with pytest.raises(ConfigError, match="do not fill 6 bins"):
        equal_edges(np.ones(50))
    columns = {"W": np.ones(9), "q3": np.ones(9), "pion_energy": np.full(9, np.nan), "pion_angle": np.linspace(0, 3, 9)}
    assert list(binned_quantities(columns, np.ones(9, dtype=bool))) == ["W", "q3", "pion_angle"]


def test_no_background_no_threshold() -> None:
    with pytest.raises(DataError, match="no background"):
        threshold_at(np.ones(3), np.ones(3, dtype=bool), np.ones(3), 0.1)
