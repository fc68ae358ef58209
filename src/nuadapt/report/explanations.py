"""Explanations on the page: how far reasons can be trusted, and what is said about single events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nuadapt.report.event_display import Evidence
from nuadapt.report.loading import Evaluation
from nuadapt.report.style import title
from nuadapt.report.tables import Row, cell

#: What a reason can speak of, for people.
CLAIM_TITLES: dict[str, str] = {
    "muon_track": "muon-like track",
    "track_length": "length of that track",
    "track_end": "end of that track",
    "shower": "shower",
    "shower_size": "size of the shower",
    "shower_gap": "gap before the shower",
    "michel": "Michel electron",
    "tracks": "number of tracks",
}
#: Verdict -> (symbol, words). Told apart by shape, so that colour is not needed.
VERDICTS: dict[str, tuple[str, str]] = {
    "supported": ("✓", "supported"),
    "contradicted": ("✗", "contradicted"),
    "undecided": ("?", "undecided"),
}
SCORE_COLUMNS = (
    "precision",
    "recall",
    "precision of guessing",
    "precision, images shuffled",
    "precision, label forced",
)
HABIT_COLUMNS = (
    "reasons with a claim",
    "claims per reason",
    "contradict their label",
    "truth contradicts that label",
    "state a claim both ways",
)
_KINDS = {"run": "as asked", "shuffled_images": "images shuffled", "forced_label": "label forced"}
_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim on the page."""

    symbol: str
    verdict: str
    words: str


@dataclass(frozen=True, slots=True)
class Reason:
    """What a model says about one event; ``remark`` is empty if the claims agree with the label."""

    text: str
    claims: list[Claim]
    remark: str


@dataclass(frozen=True, slots=True)
class Reasons:
    """The scores of all reasons of an evaluation."""

    words: str
    score_rows: list[Row]
    habit_rows: list[Row]
    examples: list[list[str]]  # true class, answer, reason, the reason with shuffled images, with a forced label


def reasons_of(evaluation: Evaluation) -> Reasons | None:
    """Tables about the reasons of an evaluation; None where none were scored."""
    found = evaluation.faithfulness
    if found is None:
        return None
    words = (
        f"Reasons for {found['n_events']} events, read back as claims and compared with {found['checked_against']}. "
        "Guessing is to state always the most frequent value. Images shuffled: each event is shown another one's "
        "images; reasons that come from the picture lose precision. Label forced: the right images, but the model is "
        "made to answer a wrong class; reasons that only repeat the label lose precision."
    )
    per_type = found["run"]["per_type"]
    rows = [_score_row(found, name) for name in per_type if per_type[name]["n_stated"] or per_type[name]["n_true"]]
    habits = [_habit_row(words, found[kind]) for kind, words in _KINDS.items()]
    examples = [_example(given) for given in found["examples"][:_EXAMPLES]]
    return Reasons(words, [*rows, _score_row(found, None)], habits, examples)


def _score_row(found: Mapping[str, Any], name: str | None) -> Row:
    """One claim type, or all of them together."""
    run, shuffled, forced = (
        found[kind]["overall"] if name is None else found[kind]["per_type"][name] for kind in _KINDS
    )
    shares = (run["precision"], run["recall"], run["baseline_precision"], shuffled["precision"], forced["precision"])
    cells = tuple(cell(share["value"], share["interval"]) for share in shares)
    return Row("all claims" if name is None else CLAIM_TITLES.get(name, name), str(run["n_stated"]), cells)


def _habit_row(words: str, scores: Mapping[str, Any]) -> Row:
    names = ("any_claim", None, "contradiction_rate", "truth_contradiction_rate", "conflict_rate")
    cells = tuple(
        cell(scores["claims_per_event"], decimals=2)
        if name is None
        else cell(scores[name]["value"], scores[name]["interval"])
        for name in names
    )
    return Row(words, str(scores["n_events"]), cells)


def _example(given: Mapping[str, Any]) -> list[str]:
    truth = "unknown" if given["truth"] is None else title(given["truth"])
    forced = f"{given['forced_label']} (forced: {title(given['forced'])})"
    return [truth, title(given["label"]), given["run"], given["shuffled_images"], forced]


def reason_on_card(evaluation: Evaluation, index: int) -> Reason | None:
    """The reason for one event of the gallery; None without one."""
    if evaluation.explained is None or "reason" not in evaluation.explained.events[index]:
        return None
    event = evaluation.explained.events[index]
    claims = [
        Claim(*VERDICTS[given["verdict"]], f"{CLAIM_TITLES.get(given['claim'], given['claim'])}: {given['value']}")
        for given in event["claims"]
    ]
    against = f"These claims speak against {title(event['target'])}." if event["contradicts_label"] else ""
    return Reason(event["reason"] or "(no words)", claims, against)


def evidence_on_card(evaluation: Evaluation, index: int) -> Evidence | None:
    """The evidence for the answer about one event of the gallery, at the model's resolution; None without it."""
    found = evaluation.explained
    return None if found is None else Evidence(found.evidence[index], found.events[index]["target"])


def gallery_note(evaluation: Evaluation) -> str:
    """How to read the explained pictures."""
    found = evaluation.explained
    if found is None:
        return ""
    words = "Colours: evidence of each pixel for the answer, orange for and blue against it, over the charge in grey."
    if not any("reason" in event for event in found.events):
        return words
    legend = ", ".join(f"{mark} {verdict}" for mark, verdict in VERDICTS.values())
    return f"{words} Claims of a reason compared with {found.judged_by}: {legend}."
