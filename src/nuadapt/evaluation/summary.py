"""What ``nuadapt info`` says about a run folder, as tables of plain text: first what one asks first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nuadapt.errors import InputFileError
from nuadapt.record import flat, read_json

Rows = list[list[str]]
Tables = list[tuple[str, Rows]]

#: Metrics of an evaluation that are shown, with their titles.
_METRICS = {
    "n_events": "events with truth",
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "auc_ovr_macro": "macro AUC",
    "ece": "expected calibration error",
    "nll": "negative log-likelihood",
    "ms_per_event": "ms per event",
    "peak_memory_MB": "peak memory (MB)",
}


def run_named(path: Path) -> Path | None:
    """The run folder that a path or the name of a shipped model means; none: it is a file, or nothing at all."""
    if path.exists():
        return path if path.is_dir() else None
    from nuadapt.models.run import run_folder

    try:
        return run_folder(path)
    except InputFileError:
        return None


def describe_run(folder: Path, *, everything: bool = False) -> Tables:
    """Titled tables of (name, value) rows; with ``everything`` all values of the record instead.

    Raises:
        InputFileError: no record there, or a damaged one.
    """
    if not (folder / "record.json").is_file():
        raise InputFileError(
            "this folder holds no record.json", where=folder, expected="an event store or a run folder"
        )
    record = read_json(folder / "record.json")
    about = {"train": _trained, "evaluate": _evaluated}.get(str(_at(record, "stage")))
    if everything or about is None:
        return [(f"{folder} (run folder)", flat(record))]
    return about(folder, record)


def _at(record: Any, path: str) -> Any:
    """The value at ``a.b.c``; None if any of it is missing."""
    for name in path.split("."):
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def _known(rows: list[tuple[str, Any]]) -> Rows:
    """Rows whose value is known."""
    return [[name, _text(value)] for name, value in rows if value not in (None, "", [], {})]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _trained(folder: Path, record: Any) -> Tables:
    """A training run: what it answers, from what it was made, how good it was on validation events."""
    best, data = _at(record, "best") or {}, _at(record, "data") or {}
    rows = [
        ("status", _at(record, "status")),
        ("preset", _at(record, "preset")),
        ("answers", _answers(_at(record, "task"))),
        ("reads", _reads(record)),
        ("parameters", _parameters(_at(record, "parameters"))),
        ("trained on", _events(_at(data, "events.train"))),
        ("validated on", _events(_at(data, "events.val"))),
        ("epochs", _at(record, "epochs")),
        *((f"best {name}", value) for name, value in best.items()),
        *_calibration(folder),
        ("began from", _at(record, "config.start_from")),
        ("seed", _at(record, "seed")),
        ("wall time", _duration(_at(record, "not_reproducible.wall_time_s"))),
        ("made with nuadapt", _at(record, "versions.nuadapt")),
    ]
    return [(f"{folder} (trained model)", _known(rows))]


def _answers(task: Any) -> str:
    classes = _at(task, "classes")
    if isinstance(classes, Mapping):
        return ", ".join(str(_at(about, "title") or name) for name, about in classes.items())
    return str(_at(task, "name") or "")


def _reads(record: Any) -> str:
    reads, spec = _at(record, "input") or {}, _at(record, "spec") or {}
    if "types" in reads:
        return f"clouds in the {reads.get('frame')} frame of {_text(reads['types'])}"
    factor = reads.get("coarsen", 1)
    joined = f", {factor} x {factor} pixels joined" if factor != 1 else ""
    size = ""
    if {"shape", "pitch", "axis_unit", "value_unit"} <= set(spec):
        shape, pitch = (" x ".join(map(_text, spec[name])) for name in ("shape", "pitch"))
        size = f"; {shape} pixels of {pitch} {spec['axis_unit']} in {spec['value_unit']}"
    return f"views {_text(reads.get('views', ()))}{size}{joined}"


def _parameters(given: Any) -> str:
    total, trained = (_at(given, name) for name in ("total", "trainable"))
    if not isinstance(total, int):
        return _text(given) if isinstance(given, int) else ""
    return f"{total:,}" + (f", {trained:,} of them trained" if isinstance(trained, int) and trained != total else "")


def _events(given: Any) -> str:
    """Events by class, or their number."""
    if isinstance(given, Mapping):
        return f"{sum(given.values()):,} events ({', '.join(f'{n:,} {name}' for name, n in given.items())})"
    return f"{given:,} events" if isinstance(given, int) else ""


def _calibration(folder: Path) -> list[tuple[str, Any]]:
    """Temperature, and what it did to held-out events."""
    if not (folder / "calibration.json").is_file():
        return [("calibrated", "no")]
    given = read_json(folder / "calibration.json")
    before, after = _at(given, "held_out.ece") or (None, None)
    return [
        ("temperature", _at(given, "temperature")),
        ("coverage of sets", _at(given, "conformal.coverage")),
        ("ECE of held-out events", f"{_text(before)} before, {_text(after)} after" if before is not None else None),
    ]


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{seconds / 60:.1f} min"


def _evaluated(folder: Path, record: Any) -> Tables:
    """An evaluation: of which model on which events, and its main numbers."""
    coarsen = _at(record, "config.predict.coarsen")
    rows = [
        ("model", _at(record, "model.id")),
        ("events of", _at(record, "data.file")),
        ("split", _at(record, "config.split")),
        ("pixels joined further", f"{coarsen} x {coarsen}" if coarsen not in (None, 1) else None),
    ]
    tables = [(f"{folder} (evaluation)", _known(rows))]
    if not (folder / "metrics.json").is_file():
        return [*tables, ("Metrics", [["unfinished", "give the same 'nuadapt evaluate' command again"]])]
    metrics = read_json(folder / "metrics.json")
    shown = [(title, _with_limits(metrics.get(k), _at(metrics, f"intervals.{k}"))) for k, title in _METRICS.items()]
    shown += [("remark", text) for text in metrics.get("remarks", [])]
    level = _at(metrics, "interval_level")
    title = f"Metrics, with {level:.0%} intervals" if isinstance(level, float) else "Metrics"
    return [*tables, (title, _known([*shown, *_energies(_at(metrics, "estimates"))]))]


def _energies(estimates: Any) -> list[tuple[str, Any]]:
    """Of each estimate of the energy: the ratio to the true one, its median and width."""
    rows: list[tuple[str, Any]] = []
    for name in estimates or {}:
        found = _at(estimates, f"{name}.all") or {}
        rows.append((f"{name}: median of estimate over truth", found.get("median")))
        rows.append((f"{name}: its interquartile range", _with_limits(found.get("iqr"), found.get("iqr_interval"))))
    return rows


def _with_limits(value: Any, limits: Any) -> Any:
    if not isinstance(value, int | float) or not isinstance(limits, list) or None in limits:
        return value
    return f"{value:.4g} ({limits[0]:.4g} to {limits[1]:.4g})"
