"""Faithfulness: do the claims of reasons agree with what the maps show, and does it need the right picture?

A stated claim is judged where the truth decides it. Claims about a track or a shower that the truth says is absent
are wrong. Where the truth leaves a claim open (see ``models/reasons/claims.py``) it is counted and not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from nuadapt.errors import DataError
from nuadapt.evaluation.intervals import wilson
from nuadapt.models.reasons.claims import CLAIM_TYPES, PARENT, Claims, Presence
from nuadapt.models.reasons.verdict import contradicts

DEFINITIONS = {
    "precision": "share of the stated claims, among those that the truth decides, that are right",
    "recall": "share of the claims that the truth supports that are stated and right",
    "baseline_precision": "precision of stating the most frequent true value in the same events: what guessing earns",
    "interval": "95% score interval of a share (Wilson 1927); null without events",
    "contradiction_rate": "share of the reasons with a claim that contradict their own label "
    "(table in models/reasons/verdict.py)",
    "truth_contradiction_rate": "the same for the claims of the truth and the same labels: what honest reasons have",
    "conflict_rate": "share of the reasons that state a claim both ways",
}


def score_claims(stated: Sequence[Claims], truth: Sequence[Claims], labels: Sequence[str]) -> dict[str, Any]:
    """Precision and recall of each claim type, and how often reasons contradict their label, as plain JSON values.

    ``stated``: claims of the reasons. ``truth``: claims of the truth (or of the images). ``labels``: the class that
    each reason was given for, names of FLAVOUR_CLASSES. One entry per event in all three.

    Raises:
        DataError: different lengths.
        ConfigError: a label that is no class.
    """
    if not len(stated) == len(truth) == len(labels):
        raise DataError(f"{len(stated)} reasons for {len(truth)} events with {len(labels)} labels")
    speaking = [bool(c.stated()) for c in stated]
    against = [contradicts(c, label) for c, label in zip(stated, labels, strict=True)]
    true_against = [contradicts(c, label) for c, label in zip(truth, labels, strict=True)]
    return {
        "n_events": len(stated),
        "any_claim": _share(sum(speaking), len(stated)),
        "claims_per_event": sum(len(c.stated()) for c in stated) / len(stated) if stated else None,
        "contradiction_rate": _share(sum(against), sum(speaking)),
        "truth_contradiction_rate": _share(sum(true_against), sum(bool(c.stated()) for c in truth)),
        "conflict_rate": _share(sum(bool(c.conflicts) for c in stated), len(stated)),
        "overall": _block([_judged(name, stated, truth) for name in CLAIM_TYPES]),
        "per_type": {name: _block([_judged(name, stated, truth)]) for name in CLAIM_TYPES},
        "definitions": DEFINITIONS,
    }


#: Per event: what is stated, what is true, and whether the truth decides.
_Judged = list[tuple[StrEnum | None, StrEnum | None, bool]]


def _judged(name: str, stated: Sequence[Claims], truth: Sequence[Claims]) -> _Judged:
    parent = PARENT.get(name)
    return [
        (
            getattr(said, name),
            getattr(true, name),
            getattr(true, name) is not None
            or (parent is not None and getattr(true, parent) is Presence.ABSENT),  # a detail of what is not there
        )
        for said, true in zip(stated, truth, strict=True)
    ]


def verdicts(stated: Claims, truth: Claims) -> list[dict[str, str]]:
    """Each claim of one reason as ``claim``, ``value`` and ``verdict``: supported, contradicted or undecided.

    The same rules as in :func:`score_claims`. A claim that is stated both ways has the value ``both ways`` and stays
    undecided.
    """
    found = []
    for name, value in stated.stated().items():
        [(said, true, decided)] = _judged(name, [stated], [truth])
        verdict = "undecided" if not decided else "supported" if said == true else "contradicted"
        found.append({"claim": name, "value": str(value), "verdict": verdict})
    return found + [{"claim": name, "value": "both ways", "verdict": "undecided"} for name in stated.conflicts]


def _share(right: int, n: int) -> dict[str, Any]:
    return {"value": right / n if n else None, "interval": wilson(right, n), "n": n}


def _block(types: list[_Judged]) -> dict[str, Any]:
    """Scores of one or more claim types together; the baseline guesses within each type."""
    stated = [(said, true, decided) for judged in types for said, true, decided in judged if said is not None]
    decided = [(said, true) for said, true, is_decided in stated if is_decided]
    right = sum(said == true for said, true in decided)
    supported = sum(true is not None for judged in types for _, true, _ in judged)
    return {
        "n_stated": len(stated),
        "n_undecided": len(stated) - len(decided),
        "n_true": supported,
        "n_right": right,
        "precision": _share(right, len(decided)),
        "recall": _share(right, supported),
        "baseline_precision": _share(*_guessed(types)),
        "values": {
            str(value): {
                "n_stated": sum(said == value for said, _ in decided),
                "n_right": sum(said == true == value for said, true in decided),
                "n_true": sum(true == value for judged in types for _, true, _ in judged),
            }
            for value in sorted({str(said) for said, _ in decided} | {str(t) for j in types for _, t, _ in j if t})
        }
        if len(types) == 1
        else None,
    }


def _guessed(types: list[_Judged]) -> tuple[int, int]:
    """Right and all guesses of stating each type's most frequent true value wherever that type is stated and judged."""
    right = n = 0
    for judged in types:
        frequent = Counter(true for _, true, _ in judged if true is not None).most_common(1)
        there = [true for said, true, decided in judged if said is not None and decided]
        right += sum(true == frequent[0][0] for true in there) if frequent else 0
        n += len(there)
    return right, n


def compare_controls(
    reasons: Sequence[Claims],
    shuffled: Sequence[Claims],
    forced: Sequence[Claims],
    truth: Sequence[Claims],
    labels: Sequence[str],
    forced_labels: Sequence[str],
) -> dict[str, Any]:
    """A run beside its two controls, all judged by the same truth.

    ``reasons``: the run, for ``labels``. ``shuffled``: the reasons given when each event is shown the images of
    another one, for the same ``labels``. ``forced``: the reasons for the right images after the wrong class
    ``forced_labels``. Reasons that come from the picture lose precision when images are shuffled and keep it when
    the label is forced; reasons that only repeat the label do the opposite. ``precision_drop`` gives both
    differences, run minus control, over all types and per type; null where either side is undefined.

    Raises:
        DataError: different lengths, or a forced label that equals the label of the run.
    """
    same = sum(a == b for a, b in zip(labels, forced_labels, strict=False))
    if same:
        raise DataError(f"{same} forced labels equal the label of the run", expected="a wrong class for every event")
    scores = {
        "run": score_claims(reasons, truth, labels),
        "shuffled_images": score_claims(shuffled, truth, labels),
        "forced_label": score_claims(forced, truth, forced_labels),
    }
    drops = {
        control: {
            "overall": _drop(scores["run"]["overall"], scores[control]["overall"]),
            **{n: _drop(scores["run"]["per_type"][n], scores[control]["per_type"][n]) for n in CLAIM_TYPES},
        }
        for control in ("shuffled_images", "forced_label")
    }
    return {**scores, "precision_drop": drops}


def _drop(run: dict[str, Any], control: dict[str, Any]) -> float | None:
    before, after = run["precision"]["value"], control["precision"]["value"]
    return None if before is None or after is None else before - after
