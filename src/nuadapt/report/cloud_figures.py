"""Figures of models of particle clouds: selections beside the cuts, energies beside the calorimeter, loss and cost.

Trainings that differ by their seed alone are one line: the mean over seeds, with a band from the lowest to the highest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from nuadapt.report.lines import Line, Scene, lines_of_evaluations, lines_of_records, places
from nuadapt.report.loading import EnergyEvaluation, Evaluation, Training
from nuadapt.report.style import add_label, baseline_look, new_figure, run_line, run_look, styled, title

Floats = npt.NDArray[np.float64]
#: Content of physics.json by the folder of an evaluation.
PhysicsOf = Mapping[Any, Mapping[str, Any]]

_QUANTITIES: dict[str, tuple[str, tuple[float, float] | None]] = {
    "W": ("true W [GeV]", (0.9, 3.6)),
    "q3": ("true q3 [GeV]", (0, 4.2)),
    "pion_energy": ("true pion energy [GeV]", None),
    "pion_angle": ("true pion angle [rad]", None),
}
#: Binnings of the ratio of estimate to truth: label, and where an open last bin ends.
SPREADS = {
    "by_q3": ("true q3 [GeV]", 4.2),
    "by_multiplicity": ("protons and pions leaving the nucleus", 8.0),
}
_SLOT = 0.08  # share of a bin's width that one line has
ESTIMATES = {"calorimetric": "recoil x 1.17", "calorimetric_fitted": "recoil x fitted scale"}


@styled
def efficiency(signal: str, scene: Scene[Evaluation], physics: PhysicsOf) -> Figure:
    """Efficiency for a signal in bins of true quantities: cuts, and models at the cuts' background."""
    lines = _lines_with(signal, scene, physics)
    first = physics[lines[0].members[0].path][signal]
    all_bins = [physics[e.path][signal]["bins"] for line in lines for e in line.members]
    there = [{b["quantity"] for b in bins} for bins in all_bins]
    quantities = [b["quantity"] for b in first["bins"] if all(b["quantity"] in names for names in there)]
    asides = _asides(1 + len(lines))
    rows = -(-len(quantities) // 2)
    figure = new_figure(9.6, 3.9 * rows)
    panels = figure.subplots(rows, 2, sharey=True, squeeze=False).flat
    for ax, quantity in zip(panels, quantities, strict=False):
        words, window = _QUANTITIES[quantity]
        cuts = _bins_of(first, quantity)
        edges = _clipped(np.array(cuts["edges"], dtype=float), window)
        _steps(ax, edges, [cuts["cuts"]], [cuts["cuts_interval"]], "cuts", baseline_look(0), asides[0])
        for index, (look, line) in enumerate(zip(places(lines, scene.order), lines, strict=True)):
            mine = [_bins_of(physics[e.path][signal], quantity) for e in line.members]
            intervals = [b["model_interval"] for b in mine]
            _steps(ax, edges, [b["model"] for b in mine], intervals, line.name, run_look(look), asides[index + 1])
        ax.set(xlabel=words, xlim=(edges[0], edges[-1]))
        add_label(ax, simulated=scene.simulated)
    for ax in list(figure.axes)[len(quantities) :]:
        ax.set_visible(False)
    figure.axes[0].set_ylim(0, min(1.05, figure.axes[0].get_ylim()[1]))  # all panels share it
    for ax in figure.axes[::2]:
        ax.set_ylabel(f"efficiency for {title(signal)}")
    _legend_below(figure)
    return figure


@styled
def signal_roc(scene: Scene[Evaluation], physics: PhysicsOf) -> Figure:
    """Efficiency for each signal against the share of background that is kept, with the cuts as a point."""
    signals = [s for s in physics[scene.members[0].path] if any(physics[e.path].get(s) for e in scene.members)]
    figure = new_figure(4.3 * len(signals), 4.4)
    at = np.concatenate([[0], np.geomspace(1e-4, 1, 200)])
    for ax, signal in zip(figure.subplots(1, len(signals), squeeze=False)[0], signals, strict=True):
        lines = _lines_with(signal, scene, physics)
        for index, line in zip(places(lines, scene.order), lines, strict=True):
            points = [e.curves.get(f"signal_{signal}", np.empty((0, 3))) for e in line.members]
            seeds = np.array([np.interp(at, p[:, 0], p[:, 1]) for p in points if len(p)])
            if len(seeds):
                look = run_line(index)
                ax.plot(at, seeds.mean(axis=0), linewidth=1.3, label=line.name, **look)
                ax.fill_between(at, seeds.min(axis=0), seeds.max(axis=0), color=look["color"], alpha=0.2)
        cuts = physics[lines[0].members[0].path][signal]["cuts"]
        ax.plot(
            [cuts["false_positive_rate"]], [cuts["efficiency"]], linestyle="", markersize=9, markeredgecolor="#1a1a1a",
            marker="*", color="#ffa90e", label="cuts", zorder=5,
        )  # fmt: skip
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
        ax.set(xlabel="share of background kept", ylabel=f"efficiency for {title(signal)}", xlim=(0, 1), ylim=(0, 1.02))
        add_label(ax, simulated=scene.simulated)
    _legend_below(figure)
    return figure


@styled
def window_scan(of: Mapping[str, Any], *, simulated: bool) -> Figure:
    """Precision and recall of the CC 1pi0 cuts against the half-width of their window around the pi0 mass."""
    figure = new_figure(5.6, 4.0)
    ax = figure.subplots()
    scan = of["window_scan"]
    at = [row["window"] for row in scan]
    shown = (("efficiency", "efficiency (recall)"), ("purity", "purity (precision)"), ("product", "product"))
    for index, (key, words) in enumerate(shown):
        ax.plot(at, np.array([row[key] for row in scan], dtype=float), **run_look(index), label=words)
    best = of.get("window_best")
    if of.get("window") is not None:
        ax.axvline(of["window"], color="#94a4a2", linestyle="--", linewidth=1.2, label=f"used: {of['window']:g} GeV")
    if best is not None:
        ax.axvline(best["window"], color="#94a4a2", linestyle=":", linewidth=1.6, label=f"best: {best['window']:g} GeV")
    ax.set(xlabel="half-width of the window [GeV]", ylabel="share", ylim=(0, None))
    ax.set_ylim(top=1.5 * ax.get_ylim()[1])
    ax.legend(loc="upper left", ncols=2, fontsize=9)
    add_label(ax, simulated=simulated)
    return figure


@styled
def energy_spread(scene: Scene[EnergyEvaluation], bins: str = "by_q3") -> Figure:
    """Interquartile range and most probable value of estimate over truth in bins of a true quantity of SPREADS."""
    figure = new_figure(9.6, 4.8)
    left, right = figure.subplots(1, 2)
    others = scene.members[0].metrics["estimates"]
    models = lines_of_evaluations(scene.members)
    lines = [
        (words, baseline_look(index), [others[name][bins]])
        for index, (name, words) in enumerate(ESTIMATES.items())
        if name in others
    ]
    lines += [
        (line.name, run_look(look), [e.metrics["estimates"]["model"][bins] for e in line.members])
        for look, line in zip(places(models, scene.order), models, strict=True)
    ]
    asides = _asides(len(lines))
    label, end = SPREADS[bins]
    rows = lines[0][2][0]
    edges = np.clip([row["low"] for row in rows] + [rows[-1]["high"]], 0, end)
    for index, (name, look, seeds) in enumerate(lines):
        aside = asides[index]
        iqr = [[row["iqr"] for row in rows] for rows in seeds]
        _steps(left, edges, iqr, [[row["iqr_interval"] for row in rows] for rows in seeds], name, look, aside)
        peak = [[row["most_probable"] for row in rows] for rows in seeds]
        _steps(right, edges, peak, [[[v, v] for v in row] for row in peak], "", look, aside)
    left.set(ylabel="interquartile range of estimate / truth", ylim=(0, None))
    right.set(ylabel="most probable value of estimate / truth")
    right.axhline(1, color="#d5dae0", linewidth=0.8, zorder=0)
    for ax in (left, right):
        ax.set(xlabel=label, xlim=(0, end))
        add_label(ax, simulated=scene.simulated)
    _legend_below(figure)
    return figure


@styled
def energy_histograms(scene: Scene[EnergyEvaluation]) -> Figure:
    """Distribution of estimate over truth in four bins of true q3, as shares of the bin: calorimeter and models."""
    figure = new_figure(10.4, 7.2)
    axes = figure.subplots(2, 2, sharex=True)
    first = scene.members[0].metrics["estimates"]
    grey = {"color": baseline_look(0)["color"], "linestyle": "-"}
    models = lines_of_evaluations(scene.members)
    shown = [(ESTIMATES["calorimetric"], grey, [first["calorimetric"]])] if "calorimetric" in first else []
    shown += [
        (line.name, run_line(look), [e.metrics["estimates"]["model"] for e in line.members])
        for look, line in zip(places(models, scene.order), models, strict=True)
    ]
    for at, ax in enumerate(axes.flat):
        for name, look, seeds in shown:
            _shares(ax, [of["histograms"][at] for of in seeds], name if at == 0 else "", look)
        limits = first["model"]["histograms"][at]
        words = (
            f"{limits['low']:g} to {limits['high']:g} GeV" if limits["high"] < 50 else f"above {limits['low']:g} GeV"
        )
        add_label(ax, f"q3 {words}", simulated=scene.simulated)
        ax.axvline(1, color="#d5dae0", linewidth=0.8, zorder=0)
        ax.set(xlim=(0, 2))
    for ax in axes[1]:
        ax.set_xlabel("estimate / truth")
    for ax in axes[:, 0]:
        ax.set_ylabel("share of events")
    _legend_below(figure)
    return figure


def with_cost(trainings: Sequence[Training]) -> dict[str, list[Training]]:
    """Trainings that say what they cost, by the name of their task, and by their events if there are several."""
    found: dict[tuple[str, str], list[Training]] = {}
    for run in trainings:
        if run.record.get("flops_per_event"):
            fingerprint = str(run.record["data"].get("fingerprint", ""))[:8]
            found.setdefault((str(run.record["task"]["name"]), fingerprint), []).append(run)
    tasks = [task for task, _ in found]
    return {
        task if tasks.count(task) == 1 else f"{task}, training data {events}": of
        for (task, events), of in found.items()
    }


@styled
def loss_by_compute(trainings: Sequence[Training], order: Sequence[str] = ()) -> Figure:
    """Validation loss against updates, and against the floating-point operations spent in training.

    ``order``: names of all lines of the page, see :func:`nuadapt.report.lines.places`.
    """
    figure = new_figure(9.6, 4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    lines = lines_of_records(trainings, lambda run: run.record)
    for index, line in zip(places(lines, order), lines, strict=True):
        look = run_look(index) | {"linewidth": 1.2, "markersize": 5}
        for run in line.members:
            rows = [row for row in run.lines if "val_loss" in row]
            events = sum(run.record["data"]["events"]["train"].values())
            flops = sum(run.record["flops_per_event"].values())
            loss = [row["val_loss"] for row in rows]
            label = line.name if run is line.members[0] else None
            left.plot([row["step"] for row in rows], loss, label=label, **look)
            right.plot([row["epoch"] * events * flops for row in rows], loss, **look)
    left.set(xlabel="updates", ylabel="validation loss", xscale="log")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # runs often stay within one decade
    left.xaxis.set_major_formatter("{x:,.0f}")
    right.set(xlabel="floating-point operations in training", xscale="log")
    for ax in (left, right):
        ax.xaxis.set_minor_formatter(NullFormatter())  # within one decade its labels would run into each other
        add_label(ax, simulated=False)
    _legend_below(figure)
    return figure


def _lines_with(signal: str, scene: Scene[Evaluation], physics: PhysicsOf) -> list[Line[Evaluation]]:
    """Lines of the evaluations that have this signal."""
    return lines_of_evaluations([e for e in scene.members if physics[e.path].get(signal)])


def _bins_of(of: Mapping[str, Any], quantity: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(b for b in of["bins"] if b["quantity"] == quantity)
    return found


def _clipped(edges: Floats, window: tuple[float, float] | None) -> Floats:
    """Edges as they are drawn: an open first or last bin ends at the window.

    Without one, the last bin of equal shares ends where the rarest event is; it is at most twice as wide as the one
    before, so that the others can be seen.
    """
    return np.clip(edges, *(window or (edges[0], 3 * edges[-2] - 2 * edges[-3])))


def _asides(n: int) -> Floats:
    """Where in a bin each of ``n`` lines has its points, in widths from the middle."""
    step = min(_SLOT, 0.9 / n)
    return np.asarray(step * (np.arange(n) - (n - 1) / 2))


def _legend_below(figure: Figure) -> None:
    """One legend for all panels, where no curve can be under it."""
    seen: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    figure.legend(list(seen.values()), list(seen), loc="outside lower center", ncols=min(len(seen), 4), fontsize=9)


def _shares(ax: Axes, seeds: Sequence[Mapping[str, Any]], name: str, look: Mapping[str, Any]) -> None:
    """Histogram of each seed as shares of its bin: their mean, and a band from the lowest to the highest."""
    shares = np.array([np.array(of["weight"]) / of["total"] for of in seeds if of["total"] > 0])
    if not len(shares):
        return
    edges = np.linspace(0, 2, shares.shape[1] + 1)
    ax.stairs(shares.mean(axis=0), edges, label=name or None, linewidth=1.3, **look)
    if len(shares) > 1:
        ax.stairs(shares.max(axis=0), edges, baseline=shares.min(axis=0), color=look["color"], alpha=0.2, fill=True)


def _steps(
    ax: Axes,
    edges: Floats,
    values: Sequence[Sequence[float | None]],
    intervals: Sequence[Sequence[Sequence[float | None]]],
    name: str,
    look: Mapping[str, Any],
    aside: float,
) -> None:
    """Mean over seeds beside the middle of each bin, with the mean interval and a narrow band over the seeds.

    ``aside`` is in widths of a bin.
    """
    table = np.array(values, dtype=float)  # (seeds, bins); None is NaN
    limits = np.array(intervals, dtype=float)  # (seeds, bins, 2)
    width = np.diff(edges)
    at = 0.5 * (edges[1:] + edges[:-1]) + aside * width
    mean = table.mean(axis=0)
    error = np.stack([mean - limits[..., 0].mean(axis=0), limits[..., 1].mean(axis=0) - mean])
    known = np.isfinite(mean)
    errors = np.nan_to_num(np.maximum(error[:, known], 0))
    ax.errorbar(at[known], mean[known], yerr=errors, linestyle="", label=name or None, linewidth=1.2, **look)
    if len(table) > 1:
        for bin_ in np.flatnonzero(known):
            low, high = table[:, bin_].min(), table[:, bin_].max()
            slot = at[bin_] + 0.5 * _SLOT * width[bin_] * np.array([-1, 1])
            ax.fill_between(slot, low, high, color=look["color"], alpha=0.25)
