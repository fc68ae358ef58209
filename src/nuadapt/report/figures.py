"""Figures of an evaluation and of several side by side, drawn from their result files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nuadapt.evaluation.metrics import Array, Floats
from nuadapt.report.loading import Evaluation, Training
from nuadapt.report.style import RUN_LOOKS, add_label, colour, line, new_figure, styled, symbol


@styled
def training(run: Training) -> Figure:
    """Loss and score of validation against epochs, with the epoch whose weights were kept."""
    score, words = ("val_accuracy", "accuracy")
    if not run.column(score)[0] and run.column("val_spread")[0]:
        score, words = "val_spread", "interquartile range of answer / truth"
    figure = new_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2)
    left.plot(*run.column("loss"), color="#94a4a2", linewidth=1, label="training")
    left.plot(*run.column("val_loss"), color="#1a1a1a", marker="o", label="validation")
    right.plot(*run.column(score), color="#1a1a1a", marker="o", label="validation")
    best = run.record.get("best", {}).get("epoch")
    for ax, quantity in ((left, "loss"), (right, words)):
        if best is not None:
            ax.axvline(best, color="#bd1f01", linestyle=":", linewidth=1.2, label="kept")
        ax.set(xlabel="epoch", ylabel=quantity)
        ax.legend(loc="best")
        add_label(ax, simulated=False)
    return figure


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _errors(values: Sequence[Any], intervals: Sequence[Any]) -> tuple[Floats, Floats]:
    """Values (n,) and their distances to both limits (2, n); NaN where unknown."""
    center = np.array([_number(v) for v in values])
    limits = np.array([[_number(x) for x in (i or (None, None))] for i in intervals]).reshape(-1, 2)
    # A percentile interval of a share near 0 or 1 can end just beside the value.
    low, high = np.maximum(center - limits[:, 0], 0), np.maximum(limits[:, 1] - center, 0)
    return center, np.nan_to_num(np.stack([low, high]))


def _about(evaluation: Evaluation) -> str:
    return f"{evaluation.metrics['n_events']} events"


@styled
def confusion(evaluation: Evaluation) -> Figure:
    """Two matrices: weight normalised by truth, and by prediction, with the raw counts."""
    weight = np.array(evaluation.metrics["confusion"], dtype=float)
    counts = np.array(evaluation.metrics["confusion_counts"])
    figure = new_figure(8.6, 4.3)
    axes = figure.subplots(1, 2)
    for ax, axis, words in zip(axes, (1, 0), ("rows add up to 1", "columns add up to 1"), strict=True):
        total = weight.sum(axis=axis, keepdims=True)
        share = np.divide(weight, total, out=np.full_like(weight, np.nan), where=total > 0)
        _matrix(ax, share, counts, [symbol(c) for c in evaluation.classes])
        add_label(ax, words, simulated=evaluation.simulated)
    return figure


def _matrix(ax: Axes, share: Floats, counts: Array, names: list[str]) -> None:
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (truth, label), value in np.ndenumerate(share):
        text = "–" if np.isnan(value) else f"{100 * value:.1f}%"
        ink = "white" if value > 0.55 else "#222222"
        ax.text(label, truth - 0.06, text, ha="center", va="center", color=ink, fontsize=13)
        ax.text(label, truth + 0.22, f"{counts[truth, label]}", ha="center", va="center", color=ink, fontsize=9)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(which="both", length=0)
    ax.minorticks_off()
    ax.set_xlabel("prediction")
    ax.set_ylabel("truth")


@styled
def roc(evaluation: Evaluation) -> Figure:
    """Signal against background efficiency of each class, and the same as background rejection."""
    figure = new_figure(8.8, 4.2)
    plain, rejection = figure.subplots(1, 2)
    for index, name in enumerate(evaluation.classes):
        points = evaluation.curves.get(f"roc_{name}", np.empty((0, 3)))
        found = evaluation.metrics["per_class"][name]["auc_ovr"]
        if not len(points) or found is None:
            continue
        look: dict[str, Any] = {"color": colour(name, index), "linestyle": line(name)}
        plain.plot(points[:, 0], points[:, 1], label=f"{symbol(name)}   AUC {found:.3f}", **look)
        some = points[:, 0] > 0
        rejection.plot(points[some, 1], 1 / points[some, 0], label=symbol(name), **look)
    plain.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    plain.set(xlabel="background efficiency", ylabel="signal efficiency", xlim=(0, 1), ylim=(0, 1.02))
    plain.legend(loc="lower right", title="one against the rest")
    rejection.set(xlabel="signal efficiency", ylabel="background rejection 1/efficiency", xlim=(0, 1), yscale="log")
    rejection.set_ylim(bottom=1)
    add_label(plain, simulated=evaluation.simulated)
    add_label(rejection, _about(evaluation), simulated=evaluation.simulated)
    return figure


@styled
def reliability(evaluation: Evaluation) -> Figure:
    """Accuracy against the probability of the label, with the share of events per bin below.

    Of a calibrated evaluation the model's own probabilities are shown, too, as open circles.
    """
    metrics = evaluation.metrics
    bins, before = metrics["reliability"], metrics.get("uncalibrated")
    figure = new_figure(5.2, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    if before:
        look: dict[str, Any] = {"color": "#bd1f01", "markerfacecolor": "white"}
        _accuracies(above, before["reliability"], "as trained", before["ece"], **look)
    _accuracies(above, bins, "calibrated" if before else "", metrics["ece"], color="#1a1a1a")
    above.set(ylabel="accuracy", ylim=(0, 1.05))
    above.legend(loc="upper left")
    edges, share = _shares(bins)
    mplhep.histplot(share, edges, ax=below, histtype="fill", color="#3f90da", alpha=0.75, flow="none")
    if before:
        mplhep.histplot(_shares(before["reliability"])[1], edges, ax=below, color="#bd1f01", flow="none", linewidth=1.2)
    below.set(xlabel="probability of the label", ylabel="share", xlim=(0, 1.02))
    below.set_ylim(bottom=0)
    add_label(above, _about(evaluation), simulated=evaluation.simulated)
    figure.align_ylabels([above, below])
    return figure


def _accuracies(ax: Axes, bins: list[dict[str, Any]], name: str, ece: float | None, **look: Any) -> None:
    """Accuracy in the bins that have events, at their mean probability, named with the calibration error."""
    used = [b for b in bins if b["accuracy"] is not None]
    value, error = _errors([b["accuracy"] for b in used], [b["interval"] for b in used])
    label = f"{name}  ECE {_number(ece):.3f}".strip()
    ax.errorbar([b["mean_confidence"] for b in used], value, yerr=error, fmt="o", label=label, **look)


def _shares(bins: list[dict[str, Any]]) -> tuple[Floats, Floats]:
    """Edges (n + 1,) of the bins of probability and the share of event weight in each (n,)."""
    weight = np.array([b["weight"] for b in bins])
    return np.array([b["low"] for b in bins] + [1.0]), weight / max(weight.sum(), 1e-300)


@styled
def scores(evaluation: Evaluation) -> Figure:
    """Distribution of each class probability for each true class, each of unit area."""
    edges = evaluation.curves["score_edges"]
    names = evaluation.classes
    figure = new_figure(4.1 * len(names), 3.7)
    axes = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    for ax, scored in zip(axes, names, strict=True):
        for index, truth in enumerate(names):
            weight = evaluation.curves[f"scores_{scored}"][index]
            if weight.sum() > 0:
                mplhep.histplot(
                    weight / weight.sum(), edges, ax=ax, flow="none", color=colour(truth, index), linestyle=line(truth),
                    label=f"true {symbol(truth)}", linewidth=1.5, edges=False,
                )  # fmt: skip
        ax.set(xlabel=f"probability of {symbol(scored)}", xlim=(0, 1), yscale="log")
        ax.set_xticks([0, 0.2, 0.4, 0.6, 0.8])  # no label at 1, where the next panel begins
        add_label(ax, simulated=evaluation.simulated)
    axes[0].set_ylabel("share of events")
    axes[0].set_ylim(top=4)  # room for the legend above the peaks at 0 and 1
    axes[0].legend(loc="upper center", ncols=len(names), columnspacing=0.8, fontsize=9)
    return figure


def _energy_points(blocks: list[dict[str, Any]]) -> tuple[Floats, Floats]:
    """Mean energy (n,) and distances to the bin edges (2, n), GeV; the open last bin ends at its mean."""
    mean = np.array([b["mean_energy"] for b in blocks])
    low = np.array([b["low"] for b in blocks])
    high = np.array([b["mean_energy"] if b["high"] is None else b["high"] for b in blocks])
    return mean, np.stack([mean - low, high - mean])


def _energy_blocks(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [b for b in evaluation.metrics["by_energy"] if b["low"] is not None and b["accuracy"] is not None]


def _points(
    ax: Axes, x: Floats, y: Floats, errors: tuple[Floats, Floats], look: tuple[str, str, str], aside: float
) -> None:
    """Points with intervals at ``x + aside``, over the pale width of their bins; ``look``: colour, marker, name."""
    (width, error), (ink, marker, name) = errors, look
    ax.errorbar(x, y, xerr=width, fmt="none", color=ink, alpha=0.35, linewidth=1)
    ax.errorbar(x + aside, y, yerr=error, fmt=marker, color=ink, label=name, linewidth=1.3)


def _beside(index: int, n: int) -> float:
    """Small step aside (GeV) for the points of run ``index`` of ``n``, so that they do not hide each other."""
    return 0.09 * (index - (n - 1) / 2)


def _names(evaluations: Sequence[Evaluation]) -> tuple[list[str], str]:
    """Names for a legend, and what stands above the axes: there the resolution if it is not full and that of all."""
    said = {e.resolution if e.coarsen > 1 else "" for e in evaluations}
    if len(said) > 1 or said <= {""}:
        return [e.name for e in evaluations], "95% intervals"
    return [e.name.replace(f", {e.resolution}", "") for e in evaluations], f"{said.pop()}, 95% intervals"


@styled
def accuracy_by_energy(evaluations: Sequence[Evaluation]) -> Figure:
    """Accuracy against true neutrino energy of all runs."""
    figure = new_figure(6.2, 4.3)
    ax = figure.subplots()
    shown = [e for e in evaluations if _energy_blocks(e)]
    names, words = _names(shown)
    for index, (evaluation, name) in enumerate(zip(shown, names, strict=True)):
        blocks = _energy_blocks(evaluation)
        mean, width = _energy_points(blocks)
        value, error = _errors([b["accuracy"] for b in blocks], [b["intervals"]["accuracy"] for b in blocks])
        look = (*RUN_LOOKS[index % len(RUN_LOOKS)], name)
        _points(ax, mean, value, (width, error), look, _beside(index, len(shown)))
    ax.set(xlabel="true neutrino energy [GeV]", ylabel="accuracy")
    ax.set_xlim(left=0)
    _shares_with_legend(ax)
    add_label(ax, words, simulated=all(e.simulated for e in shown))
    return figure


def _shares_with_legend(ax: Axes) -> None:
    """A y axis from 0 to 1, with room above for the legend."""
    lines = len(ax.get_legend_handles_labels()[0])
    ax.set_ylim(0, 1.08 + 0.085 * lines)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.axhline(1, color="#d5dae0", linewidth=0.8, zorder=0)
    if lines:
        ax.legend(loc="upper left", labelspacing=0.3)


@styled
def recall_by_energy(evaluation: Evaluation) -> Figure:
    """Share of each true class with the right label, against true neutrino energy."""
    figure = new_figure(6.2, 4.3)
    ax = figure.subplots()
    for index, name in enumerate(evaluation.classes):
        blocks = [b for b in _energy_blocks(evaluation) if b["per_class"][name]["recall"] is not None]
        if not blocks:
            continue
        mine = [b["per_class"][name] for b in blocks]
        mean, width = _energy_points(blocks)
        value, error = _errors([m["recall"] for m in mine], [m["intervals"]["recall"] for m in mine])
        look = (colour(name, index), RUN_LOOKS[index % len(RUN_LOOKS)][1], symbol(name))
        _points(ax, mean, value, (width, error), look, _beside(index, len(evaluation.classes)))
    ax.set(xlabel="true neutrino energy [GeV]", ylabel="recall")
    ax.set_xlim(left=0)
    _shares_with_legend(ax)
    add_label(ax, "95% intervals", simulated=evaluation.simulated)
    return figure


@styled
def accuracy_by_mode(evaluations: Sequence[Evaluation]) -> Figure:
    """Accuracy of all runs for each interaction mode, with the number of events."""
    modes = list(dict.fromkeys(b["mode"] for e in evaluations for b in e.metrics["by_mode"]))
    figure = new_figure(6.2, 4.3)
    ax = figure.subplots()
    shift = np.linspace(-0.2, 0.2, len(evaluations)) if len(evaluations) > 1 else [0.0]
    names, words = _names(evaluations)
    for index, (evaluation, name) in enumerate(zip(evaluations, names, strict=True)):
        blocks = [b for b in evaluation.metrics["by_mode"] if b["accuracy"] is not None]
        value, error = _errors([b["accuracy"] for b in blocks], [b["intervals"]["accuracy"] for b in blocks])
        ink, marker = RUN_LOOKS[index % len(RUN_LOOKS)]
        at = [modes.index(b["mode"]) + shift[index] for b in blocks]
        ax.errorbar(at, value, yerr=error, fmt=marker, color=ink, label=name, linewidth=1.2)
    largest = {
        m: max(b["n_events"] for e in evaluations for b in e.metrics["by_mode"] if b["mode"] == m) for m in modes
    }
    ax.set_xticks(range(len(modes)), [f"{m}\n{largest[m]} events" for m in modes])
    ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    ax.set(ylabel="accuracy", xlim=(-0.6, len(modes) - 0.4))
    _shares_with_legend(ax)
    add_label(ax, words, simulated=all(e.simulated for e in evaluations))
    return figure


#: Colour, line and words of each order in which pixels are taken away or put back.
_ORDER_LOOKS: dict[str, tuple[str, str, str]] = {
    "gradient": ("#1a1a1a", "-", "evidence by gradient"),
    "occlusion": ("#bd1f01", "--", "evidence by occlusion"),
    "brightest": ("#3f90da", "-.", "brightest first"),
    "random": ("#94a4a2", ":", "random order"),
}


@styled
def evidence(evaluation: Evaluation) -> Figure:
    """Probability of the model's answer while charged pixels are taken away, and while they are put back."""
    numbers, curves = evaluation.metrics["evidence"], evaluation.curves
    share = curves["evidence_share"]
    figure = new_figure(8.8, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, curve, does in zip(axes, ("deletion", "insertion"), ("taken away", "put back"), strict=True):
        for order, (ink, style, words) in _ORDER_LOOKS.items():
            if order not in numbers[curve]:
                continue
            mean, low, high = curves[f"evidence_{curve}_{order}"].T
            ax.fill_between(share, low, high, color=ink, alpha=0.15, linewidth=0)
            area = numbers[curve][order]["area"]
            ax.plot(share, mean, color=ink, linestyle=style, label=f"{words}   {area:.3f}")
        ax.set(xlabel=f"share of charged pixels {does}", xlim=(0, 1), ylim=(0, 1.02))
        ax.legend(loc="best" if curve == "deletion" else "lower right", title="area under the curve")
    axes[0].set_ylabel("probability of the model's answer")
    add_label(axes[0], simulated=evaluation.simulated)
    add_label(axes[1], f"{numbers['n_events']} events, {_level(numbers)} intervals", simulated=evaluation.simulated)
    return figure


def _level(numbers: dict[str, Any]) -> str:
    return f"{100 * numbers['config']['bootstrap']['level']:g}%"
