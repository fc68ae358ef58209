"""Scores of reasons, against counts made by hand and simulated habits of speech."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nuadapt.errors import DataError
from nuadapt.evaluation.explain.faithfulness import compare_controls, score_claims, wilson
from nuadapt.models.reasons.claims import CLAIM_TYPES, Claims, Multiplicity, Presence, ShowerGap, TrackLength

YES, NO = Presence.PRESENT, Presence.ABSENT
ELECTRON = Claims(muon_track=NO, shower=YES, shower_gap=ShowerGap.ATTACHED, tracks=Multiplicity.FEW)
MUON = Claims(muon_track=YES, track_length=TrackLength.LONG, shower=NO, tracks=Multiplicity.FEW)
NOTHING = Claims(muon_track=NO, shower=NO, tracks=Multiplicity.ONE)
TYPICAL = {"nue_cc": ELECTRON, "numu_cc": MUON, "nc": NOTHING}


def test_perfect_reasons() -> None:
    truth = [ELECTRON, MUON, NOTHING]
    score = score_claims(truth, truth, ["nue_cc", "numu_cc", "nc"])
    assert score["overall"]["precision"]["value"] == score["overall"]["recall"]["value"] == 1.0
    assert score["overall"]["n_stated"] == score["overall"]["n_true"] == 11
    assert score["any_claim"] == {"value": 1.0, "interval": wilson(3, 3), "n": 3}
    assert score["contradiction_rate"]["value"] == 0.0
    assert json.loads(json.dumps(score)) == score


def test_counts_by_hand() -> None:
    truth = [ELECTRON, MUON, MUON, NOTHING, Claims(tracks=Multiplicity.MANY)]
    stated = [
        Claims(shower=YES, shower_gap=ShowerGap.DISPLACED),  # gap wrong
        Claims(shower=YES, shower_gap=ShowerGap.ATTACHED),  # shower wrong, so is its gap
        Claims(muon_track=YES),
        Claims(conflicts=("shower",)),
        Claims(shower=NO),  # the truth does not decide
    ]
    score = score_claims(stated, truth, ["nue_cc", "numu_cc", "numu_cc", "nc", "nue_cc"])
    shower, gap = score["per_type"]["shower"], score["per_type"]["shower_gap"]
    assert (shower["n_stated"], shower["n_undecided"], shower["n_right"], shower["n_true"]) == (3, 1, 1, 4)
    assert shower["precision"]["value"] == 0.5
    assert shower["recall"]["value"] == 0.25
    assert shower["values"]["present"] == {"n_stated": 2, "n_right": 1, "n_true": 1}
    assert (gap["n_stated"], gap["n_undecided"], gap["n_right"]) == (2, 0, 0)
    assert score["per_type"]["muon_track"]["recall"]["value"] == 0.25
    assert score["any_claim"]["value"] == 0.8
    assert score["claims_per_event"] == 6 / 5
    assert score["conflict_rate"]["value"] == 0.2
    # A displaced shower and NuE CC; no shower and NuE CC. An attached shower alone does not contradict NuMu CC.
    assert score["contradiction_rate"]["value"] == 2 / 4


def test_baseline_is_the_most_frequent_value_where_claims_are_judged() -> None:
    truth = [Claims(shower=YES)] * 6 + [Claims(shower=NO)] * 3 + [Claims()]
    stated = [Claims(shower=NO)] * 10
    block = score_claims(stated, truth, ["nc"] * 10)["per_type"]["shower"]
    assert block["baseline_precision"]["value"] == 6 / 9
    assert block["precision"]["value"] == 3 / 9


@pytest.mark.parametrize(
    ("right", "n", "expected"), [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611))]
)
def test_wilson_against_published_values(right: int, n: int, expected: tuple[float, float]) -> None:
    """Newcombe, Stat. Med. 17 (1998) 857, method 3."""
    assert wilson(right, n) == pytest.approx(expected, abs=2e-4)


def test_wilson_covers() -> None:
    """A share of 0.9 in 50 events is inside its interval in about 95% of experiments."""
    drawn = np.random.default_rng(1).binomial(50, 0.9, 4000)
    inside = [low <= 0.9 <= high for low, high in (wilson(int(k), 50) or [0, 0] for k in drawn)]
    assert 0.93 < np.mean(inside) < 0.98


def test_no_events() -> None:
    score = score_claims([], [], [])
    assert score["overall"]["precision"] == {"value": None, "interval": None, "n": 0}
    assert score["claims_per_event"] is None
    assert json.loads(json.dumps(score)) == score


def control_drops(says: Any) -> tuple[float, float]:
    """Loss of precision with shuffled images and forced labels for a speaker ``says(true class, label)``."""
    classes = list(TYPICAL)
    truth = [classes[i % 3] for i in range(60)]
    wrong = [classes[(i + 1) % 3] for i in range(60)]
    result = compare_controls(
        [says(t, t) for t in truth],
        [says(w, t) for w, t in zip(wrong, truth, strict=True)],
        [says(t, w) for w, t in zip(wrong, truth, strict=True)],
        [TYPICAL[t] for t in truth],
        truth,
        wrong,
    )
    drop = result["precision_drop"]
    assert set(drop["forced_label"]) == {"overall", *CLAIM_TYPES}
    return drop["shuffled_images"]["overall"], drop["forced_label"]["overall"]


def test_controls_tell_a_reader_of_pictures_from_a_repeater_of_labels() -> None:
    shuffled, forced = control_drops(lambda seen, _: TYPICAL[seen])
    assert shuffled > 0.5
    assert forced == 0.0
    shuffled, forced = control_drops(lambda _, label: TYPICAL[label])
    assert shuffled == 0.0
    assert forced > 0.5


def test_lists_must_fit() -> None:
    with pytest.raises(DataError, match="2 reasons for 1 events"):
        score_claims([MUON, MUON], [MUON], ["nc", "nc"])
    with pytest.raises(DataError, match="1 forced labels equal"):
        compare_controls([MUON], [MUON], [MUON], [MUON], ["nc"], ["nc"])
