"""Which results are drawn as one: trainings that differ by their seed alone, asked about the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from nuadapt.report.loading import EnergyEvaluation, Evaluation, made_by_us

#: Settings of a training without influence on its result, and the one whose spread is shown.
_FREE = ("seed", "workers", "log_every", "checkpoint_minutes", "checkpoint_steps")
_MODES = {"full": "fine-tuned", "frozen": "frozen", "lora": "low-rank updates"}

AnyEvaluation = Evaluation | EnergyEvaluation
T = TypeVar("T")
E = TypeVar("E", Evaluation, EnergyEvaluation)


@dataclass(frozen=True, slots=True)
class Line(Generic[T]):
    """Results of trainings with equal settings; ``name`` tells them from the others in a figure."""

    name: str
    members: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Scene(Generic[T]):
    """Evaluations whose numbers may stand in one figure: the same events, asked the same question.

    ``name`` says which; it is empty if there are no others. ``simulated``: nuadapt's own simulation made the events.
    ``order``: names of all lines of the page, see :func:`places`.
    """

    name: str
    members: tuple[T, ...]
    simulated: bool
    order: tuple[str, ...] = ()


def scenes(evaluations: Sequence[E]) -> list[Scene[E]]:
    """Evaluations by their events, in order; bins and cuts of one scene are the same."""
    groups = _grouped(evaluations, _question)
    names = _unlike([_words(of[0].record, of[0].metrics) for of in groups])
    return [
        Scene(name if len(groups) > 1 else "", tuple(of), all(made_by_us(e.record) for e in of))
        for name, of in zip(names, groups, strict=True)
    ]


def lines_of_evaluations(evaluations: Sequence[E]) -> list[Line[E]]:
    """Evaluations of one scene by the settings of their models; each model counts once."""
    known: list[E] = list({(e.metrics["model"], _is_calibrated(e)): e for e in evaluations}.values())
    return _lines(known, lambda e: settings_of(training_of(e), str(e.metrics["model"]), calibrated=_is_calibrated(e)))


def lines_of_records(members: Sequence[T], record: Callable[[T], Mapping[str, Any]]) -> list[Line[T]]:
    """Members by the settings of the trainings that their records tell of."""
    return _lines(members, lambda member: settings_of(record(member), ""))


def places(lines: Sequence[Line[Any]], order: Sequence[str] = ()) -> list[int]:
    """Which look each line has: the one of its name on the whole page, if that is known for all, else in turn."""
    names = [line.name for line in lines]
    return [order.index(name) for name in names] if set(names) <= set(order) else list(range(len(names)))


def training_of(evaluation: AnyEvaluation) -> dict[str, Any]:
    """The record of the training of the model; empty for models without."""
    found: dict[str, Any] = evaluation.record.get("model", {}).get("record", {})
    return found


def settings_of(record: Mapping[str, Any], model: str, *, calibrated: bool = False) -> dict[str, Any]:
    """All that a result depends on but the seed, as ``group.key``; of a record without settings, the model itself."""
    if not record.get("config"):
        return {"preset": model.rpartition("-")[0] or model, "model": model}
    given = {name: value for name, value in record["config"].items() if name not in _FREE}
    events = str(record.get("data", {}).get("fingerprint", ""))[:8]
    return _flat(given) | {"preset": record["preset"], "training data": events, "calibrated": calibrated}


def adaptation(settings: Mapping[str, Any]) -> str:
    """How pretrained weights were adapted and where they are from; empty for random weights."""
    place = Path(str(settings.get("pretrained.checkpoint") or ""))
    if place == Path():
        return ""
    origin = place.parent.name if place.name == "model.safetensors" else place.name
    mode = str(settings.get("pretrained.mode", "full"))
    return f"{_MODES.get(mode, mode)}, from {origin}"


def _lines(members: Sequence[T], settings: Callable[[T], dict[str, Any]]) -> list[Line[T]]:
    groups = _grouped(members, lambda member: repr(sorted(settings(member).items())))
    names = _names([settings(of[0]) for of in groups])
    return [Line(name, tuple(of)) for name, of in zip(names, groups, strict=True)]


def _names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of lines: the preset, how it was pretrained if any of this preset was, and what else differs."""
    tuned = {of["preset"] for of in settings if adaptation(of)}
    names = []
    for of in settings:
        how = adaptation(of) or ("random weights" if of["preset"] in tuned else "")
        names.append(f"{of['preset']}, {how}" if how else str(of["preset"]))
    same = {name: [of for of, n in zip(settings, names, strict=True) if n == name] for name in names}
    return [
        ", ".join([name, *(f"{key}={of.get(key)}" for key in _differing(same[name]))])
        for name, of in zip(names, settings, strict=True)
    ]


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for of in settings for key in of)
    return [key for key in keys if len({repr(of.get(key)) for of in settings}) > 1]


def _flat(given: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return found


def _grouped(members: Iterable[T], key: Callable[[T], Any]) -> list[list[T]]:
    groups: dict[Any, list[T]] = {}
    for member in members:
        groups.setdefault(key(member), []).append(member)
    return list(groups.values())


def _question(evaluation: AnyEvaluation) -> tuple[Any, ...]:
    data, config = evaluation.record.get("data", {}), evaluation.record.get("config", {})
    asked = (config.get("split"), config.get("pi0_window"), evaluation.metrics.get("energy"))
    return (data.get("key_fingerprint"), *asked)


def _words(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """What tells the events and the question of an evaluation from others, for people."""
    data, config = record.get("data", {}), record.get("config", {})
    window = config.get("pi0_window")
    return {
        "file": str(data.get("file", "unknown events")),
        "split": f"split {config.get('split', '?')}",
        "window": f"pi0 window {window:g} GeV" if window else "",
        "energy": str(metrics.get("energy", "")),
        "fingerprint": str(data.get("key_fingerprint", ""))[:8],
    }


def _unlike(words: Sequence[Mapping[str, str]]) -> list[str]:
    """The file of each, and what differs among all."""
    shown = ["file", *(key for key in _differing(words) if key not in ("file", "fingerprint"))]
    names = [", ".join(of[key] for key in shown if of[key]) for of in words]
    return [
        f"{name}, {of['fingerprint']}" if names.count(name) > 1 else name for name, of in zip(names, words, strict=True)
    ]


def _is_calibrated(evaluation: AnyEvaluation) -> bool:
    return "calibration" in evaluation.record.get("model", {})
