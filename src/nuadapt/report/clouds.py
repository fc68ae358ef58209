"""What the page says of models of particle clouds: selections beside the cuts, energies beside the calorimeter.

Trainings of one preset that differ by their seed are drawn as one: the mean over seeds, with a band from the lowest to
the highest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nuadapt.record import read_json
from nuadapt.report import transfer
from nuadapt.report.loading import EnergyEvaluation, Evaluation, Training
from nuadapt.report.style import RUN_LOOKS, add_label, new_figure, styled, title

Floats = npt.NDArray[np.float64]

SIGNAL_COLUMNS = ("purity of the cuts", "their efficiency", "model at their background", "gates failed", "AUPRC")
ENERGY_COLUMNS = ("events", "median of estimate / truth", "interquartile range", "most probable value")
_QUANTITIES = {
    "W": ("true W [GeV]", (0.9, 3.6)),
    "pion_energy": ("true pion energy [GeV]", None),
    "pion_angle": ("true pion angle [rad]", None),
}
_ESTIMATES = {"calorimetric": "recoil x 1.17", "calorimetric_fitted": "recoil x fitted scale"}


def preset_of(model: str) -> str:
    """``pet2-small`` of ``pet2-small-1a2b3c4d``."""
    return model.rpartition("-")[0] or model


def is_stand_in(record: Mapping[str, Any]) -> bool:
    """Whether the events are those of the MINERvA-like simulation."""
    return bool(record.get("data", {}).get("record", {}).get("stage") == "simulate minerva")


def with_physics(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, dict[str, Any]]]:
    """Evaluations that were compared with cut-based selections, with the content of physics.json."""
    return [(e, dict(read_json(e.path / "physics.json"))) for e in evaluations if (e.path / "physics.json").is_file()]


def signal_rows(found: Sequence[tuple[Evaluation, dict[str, Any]]]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """By signal: a row per evaluation with the SIGNAL_COLUMNS."""
    signals = list(dict.fromkeys(name for _, physics in found for name in physics))
    groups = []
    for signal in signals:
        rows = [(e.name, _signal_cells(physics[signal])) for e, physics in found if physics.get(signal)]
        if rows:
            groups.append((title(signal), rows))
    return groups


def _signal_cells(of: Mapping[str, Any]) -> list[str]:
    gates = ", ".join(f"{g['quantity']} {g['low']:.3g} to {g['high']:.3g}" for g in of["gates_failed"])
    return [
        _number(of["cuts"]["purity"]),
        _number(of["cuts"]["efficiency"]),
        _number(of["model"]["efficiency"]),
        gates or "none",
        f"{_number(of['average_precision'])} (random {_number(of['random_precision'])})",
    ]


def energy_rows(evaluations: Sequence[EnergyEvaluation]) -> list[tuple[str, list[str]]]:
    """A row per model and per calorimetric estimate (once) with the ENERGY_COLUMNS."""
    rows = [(e.name, _energy_cells(e.metrics["estimates"]["model"]["all"])) for e in evaluations]
    if evaluations:
        others = evaluations[0].metrics["estimates"]
        rows += [
            (f"{words} ({others[name]['scale']:.3f})", _energy_cells(others[name]["all"]))
            for name, words in _ESTIMATES.items()
            if name in others
        ]
    return rows


def _energy_cells(of: Mapping[str, Any]) -> list[str]:
    low, high = of["iqr_interval"]
    interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return [str(of["n_events"]), _number(of["median"]), _number(of["iqr"]) + interval, _number(of["most_probable"])]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def markdown(loaded: Sequence[Evaluation], energies: Sequence[EnergyEvaluation]) -> str:
    """The tables of this module in Markdown; empty without any."""
    text, found = "", with_physics(loaded)
    arms = transfer.arms_of(found)
    compared = {arm.evaluation.path for arm in arms}
    if groups := signal_rows([(e, physics) for e, physics in found if e.path not in compared]):
        rows = [[signal, model, *cells] for signal, of in groups for model, cells in of]
        text += "\n" + _table(("signal", "model", *SIGNAL_COLUMNS), rows)
    if rows := [[name, *cells] for name, cells in energy_rows([e for e in energies if "estimates" in e.metrics])]:
        text += "\n" + _table(("estimate", *ENERGY_COLUMNS), rows)
    if rows := [[name, *cells] for name, cells in transfer.rows(arms)]:
        text += "\n" + _table(("pretraining", *transfer.COLUMNS), rows)
    return text


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@styled
def efficiency(signal: str, found: Sequence[tuple[Evaluation, dict[str, Any]]]) -> Figure:
    """Efficiency for a signal in bins of true quantities: cuts, and models at the cuts' background."""
    shown = [(preset_of(str(e.metrics["model"])), physics[signal]) for e, physics in found if physics.get(signal)]
    presets = list(dict.fromkeys(name for name, _ in shown))
    quantities = [b["quantity"] for b in shown[0][1]["bins"]]
    figure = new_figure(4.3 * len(quantities), 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(quantities), sharey=True))
    for ax, quantity in zip(axes, quantities, strict=True):
        of = [
            (name, next(b for b in physics["bins"] if b["quantity"] == quantity))
            for name, physics in shown
            if any(b["quantity"] == quantity for b in physics["bins"])
        ]
        words, window = _QUANTITIES[quantity]
        edges = _clipped(np.array(of[0][1]["edges"], dtype=float), window)
        _steps(ax, edges, [of[0][1]["cuts"]], [of[0][1]["cuts_interval"]], "cuts", ("#94a4a2", "o"), 0.0)
        for index, preset in enumerate(presets):
            mine = [b for name, b in of if name == preset]
            aside = 0.08 * (index + 1 - (len(presets) + 1) / 2)
            _steps(
                ax, edges, [b["model"] for b in mine], [b["model_interval"] for b in mine], preset,
                RUN_LOOKS[index % len(RUN_LOOKS)], aside,
            )  # fmt: skip
        ax.set(xlabel=words, xlim=(edges[0], edges[-1]))
        add_label(ax, simulated=True)
    axes[0].set_ylabel(f"efficiency for {title(signal)}")
    axes[0].set_ylim(0, 1.25)
    axes[0].legend(loc="upper left", ncols=2, fontsize=9)
    return figure


def _clipped(edges: Floats, window: tuple[float, float] | None) -> Floats:
    """Edges as they are drawn: an open first or last bin ends at the window."""
    return edges if window is None else np.clip(edges, *window)


def _steps(
    ax: Axes,
    edges: Floats,
    values: Sequence[Sequence[float | None]],
    intervals: Sequence[Sequence[Sequence[float | None]]],
    name: str,
    look: tuple[str, str],
    aside: float,
) -> None:
    """Mean over seeds at the middle of each bin, with the mean binomial interval and a band over the seeds."""
    ink, marker = look
    table = np.array(values, dtype=float)  # (seeds, bins); None is NaN
    limits = np.array(intervals, dtype=float)  # (seeds, bins, 2)
    width = np.diff(edges)
    at = 0.5 * (edges[1:] + edges[:-1]) + aside * width
    mean = table.mean(axis=0)
    error = np.stack([mean - limits[..., 0].mean(axis=0), limits[..., 1].mean(axis=0) - mean])
    known = np.isfinite(mean)
    ax.errorbar(
        at[known], mean[known], yerr=np.maximum(error[:, known], 0), fmt=marker, color=ink, label=name, linewidth=1.2
    )
    if len(table) > 1:
        for bin_ in np.flatnonzero(known):
            ax.fill_between(edges[bin_ : bin_ + 2], table[:, bin_].min(), table[:, bin_].max(), color=ink, alpha=0.2)


@styled
def energy_spread(evaluations: Sequence[EnergyEvaluation]) -> Figure:
    """Interquartile range and most probable value of estimate over truth in bins of true q3."""
    figure = new_figure(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    presets = list(dict.fromkeys(preset_of(str(e.metrics["model"])) for e in evaluations))
    lines: list[tuple[str, tuple[str, str], list[list[dict[str, Any]]]]] = []
    for name, look in (("calorimetric", ("#94a4a2", "o")), ("calorimetric_fitted", ("#b9ac70", "X"))):
        of = evaluations[0].metrics["estimates"].get(name)
        if of:
            lines.append((_ESTIMATES[name], look, [of["by_q3"]]))
    for index, preset in enumerate(presets):
        rows = [
            e.metrics["estimates"]["model"]["by_q3"]
            for e in evaluations
            if preset_of(str(e.metrics["model"])) == preset
        ]
        lines.append((preset, RUN_LOOKS[index % len(RUN_LOOKS)], rows))
    edges = np.clip([row["low"] for row in lines[0][2][0]] + [lines[0][2][0][-1]["high"]], 0, 4.2)
    for index, (name, look, seeds) in enumerate(lines):
        aside = 0.08 * (index - (len(lines) - 1) / 2)
        iqr = [[row["iqr"] for row in rows] for rows in seeds]
        _steps(left, edges, iqr, [[row["iqr_interval"] for row in rows] for rows in seeds], name, look, aside)
        peak = [[row["most_probable"] for row in rows] for rows in seeds]
        _steps(right, edges, peak, [[[v, v] for v in row] for row in peak], name, look, aside)
    left.set(ylabel="interquartile range of estimate / truth", ylim=(0, None))
    left.set_ylim(top=1.35 * left.get_ylim()[1])
    right.set(ylabel="most probable value of estimate / truth")
    right.axhline(1, color="#d5dae0", linewidth=0.8, zorder=0)
    for ax in (left, right):
        ax.set(xlabel="true q3 [GeV]", xlim=(0, 4.2))
        add_label(ax, simulated=True)
    left.legend(loc="upper right", ncols=2, fontsize=9)
    return figure


def with_cost(trainings: Sequence[Training]) -> dict[str, list[Training]]:
    """Trainings that say what they cost, by the name of their task."""
    found: dict[str, list[Training]] = {}
    for run in trainings:
        if run.record.get("flops_per_event"):
            found.setdefault(str(run.record["task"]["name"]), []).append(run)
    return found


@styled
def loss_by_compute(trainings: Sequence[Training]) -> Figure:
    """Validation loss against updates, and against the floating-point operations spent in training."""
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    presets = list(dict.fromkeys(str(run.record["preset"]) for run in trainings))
    for run in trainings:
        preset = str(run.record["preset"])
        ink, marker = RUN_LOOKS[presets.index(preset) % len(RUN_LOOKS)]
        lines = [line for line in run.lines if "val_loss" in line]
        events = sum(run.record["data"]["events"]["train"].values())
        flops = sum(run.record["flops_per_event"].values())
        loss = [line["val_loss"] for line in lines]
        first = next(r for r in trainings if r.record["preset"] == preset) is run
        look = {"color": ink, "marker": marker, "linewidth": 1.2, "markersize": 5}
        left.plot([line["step"] for line in lines], loss, label=preset if first else None, **look)
        right.plot([line["epoch"] * events * flops for line in lines], loss, **look)
    left.set(xlabel="updates", ylabel="validation loss", xscale="log")
    right.set(xlabel="floating-point operations in training", xscale="log")
    left.legend(fontsize=9)
    for ax in (left, right):
        add_label(ax, simulated=True)
    return figure


@styled
def energy_histograms(evaluations: Sequence[EnergyEvaluation]) -> Figure:
    """Distribution of estimate over truth in four bins of true q3, as shares of the bin: calorimeter and models."""
    figure = new_figure(10.4, 6.8)
    axes = figure.subplots(2, 2, sharex=True)
    first = evaluations[0].metrics["estimates"]
    shown = [("recoil x 1.17", "#94a4a2", first["calorimetric"])] if "calorimetric" in first else []
    presets = list(dict.fromkeys(preset_of(str(e.metrics["model"])) for e in evaluations))
    for index, preset in enumerate(presets):
        one = next(e for e in evaluations if preset_of(str(e.metrics["model"])) == preset)
        shown.append((preset, RUN_LOOKS[index % len(RUN_LOOKS)][0], one.metrics["estimates"]["model"]))
    for at, ax in enumerate(axes.flat):
        for name, ink, estimate in shown:
            of = estimate["histograms"][at]
            content = np.array(of["weight"])
            edges = np.linspace(0, 2, len(content) + 1)
            if of["total"] > 0:
                ax.stairs(content / of["total"], edges, color=ink, label=name, linewidth=1.3)
        limits = first["model"]["histograms"][at]
        words = (
            f"{limits['low']:g} to {limits['high']:g} GeV" if limits["high"] < 50 else f"above {limits['low']:g} GeV"
        )
        add_label(ax, f"q3 {words}", simulated=True)
        ax.axvline(1, color="#d5dae0", linewidth=0.8, zorder=0)
        ax.set(xlim=(0, 2))
        ax.set_ylim(top=1.25 * ax.get_ylim()[1])
    for ax in axes[1]:
        ax.set_xlabel("estimate / truth")
    for ax in axes[:, 0]:
        ax.set_ylabel("share of events")
    axes[0, 0].legend(loc="upper right", fontsize=9)
    return figure


def coverage_words(evaluations: Sequence[EnergyEvaluation]) -> list[str]:
    """A sentence on the conformal intervals of each model that has them."""
    found = []
    for e in evaluations:
        if of := e.metrics.get("intervals"):
            bins = [row["coverage"] for row in of["by_q3"] if row["coverage"] is not None]
            found.append(
                f"{e.name}: intervals wanted to hold {100 * of['level']:g}% of events hold "
                f"{100 * of['coverage']:.1f}%, and from {100 * min(bins):.1f}% to {100 * max(bins):.1f}% in bins of q3."
            )
    return found
