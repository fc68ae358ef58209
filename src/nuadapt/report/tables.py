"""Numbers as tables: rows for the page, and Markdown for documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nuadapt.report.loading import Evaluation, published, resolution
from nuadapt.report.style import title

#: Column of the table of runs -> (heading, decimals).
RUN_COLUMNS: dict[str, tuple[str, int]] = {
    "accuracy": ("accuracy", 3),
    "macro_precision": ("precision (macro)", 3),
    "macro_recall": ("recall (macro)", 3),
    "auc_ovr_macro": ("AUC (macro, one vs rest)", 3),
    "ece": ("ECE", 3),
    "ece_calibrated": ("ECE, calibrated", 3),
    "ms_per_event": ("ms per event", 1),
    "peak_memory_MB": ("peak memory [MB]", 0),
}
CLASS_COLUMNS: dict[str, str] = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "auc_ovr": "AUC",
    "accuracy_ovr": "accuracy, one vs rest",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and its interval as text; ``interval`` is empty where there is none."""

    text: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; ``published`` lines are other people's numbers from another dataset."""

    name: str
    events: str
    cells: tuple[Cell, ...]
    published: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of one resolution."""

    title: str
    ours: tuple[Row, ...]
    published: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All lines, ours first."""
        return (*self.ours, *self.published)


def cell(value: Any, interval: Any = None, decimals: int = 3) -> Cell:
    """A number with its interval; a dash where it is unknown.

    >>> cell(0.87654, [0.86, 0.89])
    Cell(text='0.877', interval='0.860 – 0.890')
    """
    if value is None or not math.isfinite(value):
        return Cell("–")
    limits = ""
    if interval and None not in interval:
        limits = f"{interval[0]:.{decimals}f} – {interval[1]:.{decimals}f}"
    return Cell(f"{value:.{decimals}f}", limits)


def run_groups(evaluations: Sequence[Evaluation]) -> list[Group]:
    """Our runs, then the published rows, per resolution."""
    known = published()["by_coarsen"] if any(e.sees_images for e in evaluations) else {}
    factors = sorted({e.coarsen for e in evaluations} | ({int(k) for k in known} if evaluations else set()))
    groups = []
    for factor in factors:
        ours = [_run_row(e) for e in evaluations if e.coarsen == factor]
        theirs = [_published_row(r) for r in known.get(str(factor), {"rows": []})["rows"]]
        if ours or theirs:
            groups.append(Group(resolution(factor), tuple(ours), tuple(theirs)))
    return groups


def _run_row(evaluation: Evaluation) -> Row:
    metrics = evaluation.metrics
    own = metrics.get("uncalibrated", metrics)  # the model's own probabilities, so that runs can be compared
    values = metrics | {"ece": own.get("ece")}
    limits = metrics["intervals"] | {
        "ece": own["intervals"].get("ece"),
        "ms_per_event": metrics.get("ms_per_event_interval"),
    }
    if "uncalibrated" in metrics:
        values["ece_calibrated"], limits["ece_calibrated"] = metrics["ece"], metrics["intervals"]["ece"]
    cells = tuple(cell(values.get(k), limits.get(k), d) for k, (_, d) in RUN_COLUMNS.items())
    return Row(evaluation.name, str(metrics["n_events"]), cells)


def _published_row(given: Mapping[str, Any]) -> Row:
    # The publication prints shares with two digits; no digit is added here.
    cells = tuple(cell(given.get(k), None, 2 if d == 3 else 0) for k, (_, d) in RUN_COLUMNS.items())
    return Row(str(given["model"]), str(published()["test_events"]), cells, published=True)


#: Headings of the table of :func:`resolution_rows`.
RESOLUTION_COLUMNS = ("accuracy, full", "accuracy, lower", "loss", "AUC, full", "AUC, lower")


def resolution_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """Each evaluation at lower resolution beside the one of the same model and events at full resolution.

    Below them the published pairs at half resolution; nothing if we have no pair.
    """
    full = {_of_same_events(e): e for e in evaluations if e.coarsen == 1}
    pairs = [(full[_of_same_events(e)], e) for e in evaluations if e.coarsen > 1 and _of_same_events(e) in full]
    if not pairs:
        return []
    rows = [
        Row(low.name, str(low.metrics["n_events"]), _resolution_cells(high.metrics, low.metrics, 3))
        for high, low in pairs
        if high.has_truth
    ]
    known = published()["by_coarsen"] if any(e.sees_images for e in evaluations) else {}
    theirs = {r["model"]: r for r in known["1"]["rows"]}
    events = str(published()["test_events"])
    both = [(theirs[r["model"]], r) for r in known["2"]["rows"] if r["model"] in theirs]
    rows += [Row(low["model"], events, _resolution_cells(high, low, 2), published=True) for high, low in both]
    return rows


def _of_same_events(evaluation: Evaluation) -> tuple[str, ...]:
    record = evaluation.record
    about = (record.get("data", {}).get("key_fingerprint"), record.get("config", {}).get("split"))
    return (str(evaluation.metrics["model"]), *map(str, about))


def _resolution_cells(high: Mapping[str, Any], low: Mapping[str, Any], decimals: int) -> tuple[Cell, ...]:
    """Both accuracies, their difference, and both AUC."""

    def one(metrics: Mapping[str, Any], name: str) -> Cell:
        return cell(metrics.get(name), metrics.get("intervals", {}).get(name), decimals)

    loss = cell(high["accuracy"] - low["accuracy"], decimals=decimals)
    auc = "auc_ovr_macro"
    return (one(high, "accuracy"), one(low, "accuracy"), loss, one(high, auc), one(low, auc))


def class_rows(evaluation: Evaluation) -> list[Row]:
    """Per-class metrics of one evaluation."""
    rows = []
    for name in evaluation.classes:
        mine = evaluation.metrics["per_class"][name]
        cells = tuple(cell(mine[k], mine["intervals"][k]) for k in CLASS_COLUMNS)
        rows.append(Row(title(name), str(mine["n_events"]), cells))
    return rows


def set_columns(evaluation: Evaluation) -> list[str]:
    """Headings of the table of conformal sets."""
    sizes = [f"{n} class{'es' * (n > 1)}" for n in range(1, len(evaluation.classes) + 1)]
    return ["coverage", "mean set size", "no class", *sizes]


def set_rows(evaluation: Evaluation) -> list[Row]:
    """Coverage and sizes of the conformal sets, of all events and by true class; empty without calibration."""
    found = evaluation.metrics.get("conformal")
    if found is None:
        return []
    parts = [("all events", found), *((title(c), found["per_class"][c]) for c in evaluation.classes)]
    return [_set_row(name, part) for name, part in parts if part["mean_size"] is not None]


def _set_row(name: str, part: Mapping[str, Any]) -> Row:
    cells = (cell(part["coverage"], part["interval"]), cell(part["mean_size"], decimals=2), *map(cell, part["sizes"]))
    return Row(name, str(part["n_events"]), cells)


def metrics_markdown(evaluations: Sequence[Evaluation]) -> str:
    """The table of runs beside the published rows, as Markdown."""
    source = published()["short"]
    heads = ["model", "resolution", "events", *(h for h, _ in RUN_COLUMNS.values())]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for group in run_groups(evaluations):
        for row in group.rows:
            name = f"{row.name} (published, another dataset: {source})" if row.published else f"**{row.name}**"
            cells = [f"{c.text} ({c.interval})" if c.interval else c.text for c in row.cells]
            lines.append(_line([name, group.title, row.events, *cells]))
    return "\n".join(lines) + "\n"


def checks_rows(checks: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the simulation's validation; ``checks`` are ``Check.as_dict()``, the source comes last."""
    header = ["", "quantity", "at", "measured", "published", "tolerance", "unit", "within", "source"]
    rows = []
    for check in checks:
        error = check.get("error") or 0.0
        measured = f"{check['measured']:.4g}" + (f" ± {error:.2g}" if error else "")
        numbers = [measured, f"{check['expected']:.4g}", f"{check['tolerance']:.2g}"]
        names = [str(check[name]) for name in ("group", "quantity", "condition")]
        rows.append(
            [*names, *numbers, str(check["unit"]), "yes" if check["passed"] else "**no**", str(check["source"])]
        )
    return header, rows


def checks_markdown(checks: Sequence[Mapping[str, Any]]) -> str:
    """The validation of the simulation as a Markdown table."""
    header, rows = checks_rows(checks)
    return "\n".join([_line(header), _line(["---"] * len(header)), *map(_line, rows)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"
