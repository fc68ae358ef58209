"""The transfer question on the page: which run is which arm, what it cost, and what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nuadapt.report import transfer
from nuadapt.report.loading import Evaluation, Training
from nuadapt.report.transfer import FROZEN, LOW_RANK, OPERATIONS, PRETRAINED, STEPS

SIGNALS = {"cc_1pi_charged": 0.1, "cc_1pi0": 0.05}


def record(events: int, epochs: int, *, pretrained: float = 0.0, seed: int = 1, **config: Any) -> dict[str, Any]:
    """Of a training whose events cost 3 operations each."""
    found: dict[str, Any] = {
        "preset": "pet2-small",
        "config": {"preset": "pet2-small", "train_events": events, "epochs": epochs, "seed": seed, "workers": 1}
        | {"pretrained": {"checkpoint": "jets" if pretrained else ""}}
        | config,
        "data": {"events": {"train": {"a": events - 1, "b": 1}}},
        "flops_per_event": {"forward": 1.0, "backward": 2.0},
        "epochs": float(epochs),
    }
    return found | ({"pretrained": {"flops": pretrained}} if pretrained else {})


def given(name: str, of: dict[str, Any], precision: float) -> tuple[Evaluation, dict[str, Any]]:
    metrics = {"model": name, "accuracy": precision / 2}
    evaluation = Evaluation(Path(name), name, metrics, {"model": {"record": of}}, {}, None)
    physics = {s: {"average_precision": precision, "random_precision": level} for s, level in SIGNALS.items()}
    return evaluation, physics | {"without_signal": None}


@pytest.fixture
def found() -> list[tuple[Evaluation, dict[str, Any]]]:
    """Two sizes; the pretraining of 600 operations buys 2 further epochs of 100 events, or 20 of 10."""
    return [
        given("other", record(100, 4, batch_size=7), 0.9),  # the same preset and size with other settings
        given("many-long", record(100, 6), 0.7),
        given("few-long", record(10, 60), 0.3),
        given("many", record(100, 4), 0.6),
        given("few", record(10, 40), 0.2),
        given("few-tuned-1", record(10, 40, pretrained=600.0, seed=1), 0.4),
        given("few-tuned-2", record(10, 40, pretrained=600.0, seed=2), 0.6),
        given("many-tuned", record(100, 4, pretrained=600.0), 0.8),
    ]


def test_arms_follow_from_the_records(found: list[tuple[Evaluation, dict[str, Any]]]) -> None:
    arms = transfer.arms_of(found)
    assert [(arm.name, arm.evaluation.name) for arm in arms] == [
        (PRETRAINED, "few-tuned-1"),
        (PRETRAINED, "few-tuned-2"),
        (PRETRAINED, "many-tuned"),
        (STEPS, "few"),
        (STEPS, "many"),
        (OPERATIONS, "few-long"),
        (OPERATIONS, "many-long"),
    ]
    cost = {arm.evaluation.name: arm.operations for arm in arms}
    assert cost["few"] == 3 * 10 * 40
    assert cost["few-tuned-1"] == cost["few-long"] == cost["few"] + 600
    assert cost["many-tuned"] == cost["many-long"] == 3 * 100 * 4 + 600


@pytest.mark.parametrize(("mode", "arm"), [("full", PRETRAINED), ("frozen", FROZEN), ("lora", LOW_RANK)])
def test_what_is_trained_of_a_pretrained_model_makes_the_arm(mode: str, arm: str) -> None:
    tuned = record(10, 40, pretrained=600.0)
    tuned["config"]["pretrained"]["mode"] = mode
    arms = transfer.arms_of([given("tuned", tuned, 0.4), given("plain", record(10, 40), 0.3)])
    assert {a.name for a in arms} == {arm, STEPS}
    assert transfer.figure(arms).axes[0].lines[0].get_label() in {arm, STEPS}


def test_without_a_pretraining_there_is_nothing_to_compare(found: list[tuple[Evaluation, dict[str, Any]]]) -> None:
    assert transfer.arms_of(found[:5]) == []
    fetched = record(10, 40)
    fetched["pretrained"] = {"sha256": "published weights, of unknown cost"}
    assert transfer.arms_of([*found[:5], given("fetched", fetched, 0.5)]) == []
    assert transfer.arms_of([(Evaluation(Path("e"), "e", {}, {}, {}, None), {})]) == []


def test_a_row_for_each_arm_and_size(found: list[tuple[Evaluation, dict[str, Any]]]) -> None:
    rows = transfer.rows(transfer.arms_of(found))
    assert [(name, cells[0]) for name, cells in rows] == [
        (name, events) for name in (PRETRAINED, STEPS, OPERATIONS) for events in ("10", "100")
    ]
    assert all(len(cells) == len(transfer.COLUMNS) for _, cells in rows)
    tuned = dict(zip(transfer.COLUMNS, rows[0][1], strict=True))
    assert (tuned["operations"], tuned["of these in pretraining"], tuned["accuracy"]) == ("1.80e+03", "33%", "0.250")
    assert "0.500" in tuned["average precision"]  # the mean over both seeds
    assert rows[2][1][3] == "0%"


def test_the_figure_shows_what_the_files_say(found: list[tuple[Evaluation, dict[str, Any]]]) -> None:
    figure = transfer.figure(transfer.arms_of(found))
    assert len(figure.axes) == len(SIGNALS)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines[PRETRAINED].get_xydata(), [[10, 0.5], [100, 0.8]])
    np.testing.assert_allclose(lines[STEPS].get_xydata(), [[10, 0.2], [100, 0.6]])
    np.testing.assert_allclose(lines[OPERATIONS].get_xydata(), [[10, 0.3], [100, 0.7]])
    np.testing.assert_allclose(lines["guessing"].get_ydata(), SIGNALS["cc_1pi_charged"])


def test_a_signal_without_events_is_left_open() -> None:
    of = [given("tuned", record(10, 4, pretrained=9.0), 0.5), given("plain", record(10, 4), 0.4)]
    of[1][1]["cc_1pi0"]["average_precision"] = None
    rows = transfer.rows(transfer.arms_of(of))
    assert "nan" in rows[1][1][-1]
    transfer.figure(transfer.arms_of(of))


def test_other_trainings_are_shown_elsewhere(found: list[tuple[Evaluation, dict[str, Any]]]) -> None:
    runs = [Training(e.name, [], e.record["model"]["record"]) for e, _ in found]
    assert [run.name for run in transfer.without_arms([*runs, Training("unfinished", [], {})])] == [
        "other",
        "unfinished",
    ]
