"""The content of physics.json, from a table of predictions and event-level columns."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest

from nuadapt.errors import ConfigError
from nuadapt.evaluation.evaluate import EvaluationConfig
from nuadapt.evaluation.physics.cuts import CUTS, PUBLIC_WINDOW, is_signal, rates, score, selected
from nuadapt.evaluation.physics.stage import selections, signal_curves


def test_cuts_and_model_of_each_signal(made_up: ModuleType) -> None:
    table, columns = made_up.pions(3000, seed=1)
    found = selections(table, columns)
    assert set(found) == set(CUTS)
    for signal, of in found.items():
        assert [b["quantity"] for b in of["bins"]] == ["W", "q3", "pion_energy", "pion_angle"]
        assert of["model"]["false_positive_rate"] <= of["cuts"]["false_positive_rate"]
        assert sum(of["bins"][1]["n_signal"]) == of["n_signal"] == is_signal(signal, table.truth).sum()
    json.dumps(found, allow_nan=False)


def test_a_model_that_is_blind_at_low_q3_fails_that_gate(made_up: ModuleType) -> None:
    table, columns = made_up.pions(4000, seed=2)
    low = columns["q3"] < 0.6
    table.probability[low] = [0.001, 0.001, 0.001, 0.001, 0.996]
    failed = selections(table, columns)["cc_1pi_charged"]["gates_failed"]
    assert {"quantity": "q3", "low": 0.0, "high": 0.6, "significant": True} in failed
    assert all(gate["low"] == 0 for gate in failed if gate["quantity"] == "q3")


def test_the_window_is_that_of_the_pi0_cuts_only(made_up: ModuleType) -> None:
    table, columns = made_up.pions(3000, seed=3)
    wide, narrow = (selections(table, columns, window)["cc_1pi0"] for window in (PUBLIC_WINDOW, 0.033))
    true = is_signal("cc_1pi0", table.truth)
    for found, window in ((wide, PUBLIC_WINDOW), (narrow, 0.033)):
        expected = rates(selected("cc_1pi0", columns, window=window), true, table.weight)
        assert (found["window"], found["cuts"]["efficiency"]) == (window, pytest.approx(expected.efficiency))
        assert window in [row["window"] for row in found["window_scan"]]
        assert found["window_best"]["product"] == max(row["product"] for row in found["window_scan"])
    assert narrow["cuts"]["efficiency"] < wide["cuts"]["efficiency"]
    assert selections(table, columns, 0.033)["cc_1pi_charged"] == selections(table, columns)["cc_1pi_charged"]


def test_curves_pass_through_the_point_of_equal_background(made_up: ModuleType) -> None:
    table, columns = made_up.pions(3000, seed=4)
    curves, found = signal_curves(table), selections(table, columns)
    for signal in CUTS:
        points, of = curves[f"signal_{signal}"], found[signal]
        assert points[0, :2].tolist() == [0, 0]
        assert points[-1, :2].tolist() == [1, 1]
        at = np.interp(of["model"]["false_positive_rate"], points[:, 0], points[:, 1])
        assert at == pytest.approx(of["model"]["efficiency"], abs=0.03)  # curves are thinned
        # The area under the curve is the share of pairs in the right order.
        values, true = score(signal, table.probability), is_signal(signal, table.truth)
        right = values[true][:, None] > values[~true][None]
        pairs = table.weight[true] @ right @ table.weight[~true] / table.weight[true].sum() / table.weight[~true].sum()
        assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(pairs, abs=0.01)


def test_signals_that_are_not_there_are_null(made_up: ModuleType) -> None:
    table, columns = made_up.pions(300, seed=5)
    kept = table.truth == 4
    found = selections(table.select(kept), {name: of[kept] for name, of in columns.items()})
    assert found == dict.fromkeys(CUTS)
    assert all(len(points) == 0 for points in signal_curves(table.select(kept)).values())


def test_an_impossible_window_is_refused_and_the_published_one_leaves_records_as_they_were() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        EvaluationConfig(pi0_window=0)
    assert "pi0_window" not in EvaluationConfig().as_dict()
    assert EvaluationConfig(pi0_window=0.03).as_dict()["pi0_window"] == 0.03
