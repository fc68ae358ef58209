"""Figures of the validation of the simulation, from the JSON that ``nuadapt validate simulation --out`` writes.

``checks`` are rows of the table. ``curves`` are figures as data: name -> ``title``, ``x`` and ``y`` (axis labels with
units), optional ``log`` (``x``, ``y`` or ``xy``), optional ``source`` (citation of the reference), and ``series``, each
with ``name``, ``x``, ``y``, optional ``error`` (of y) and ``kind``:

* ``line``: a curve;
* ``points``: measured points;
* ``reference``: published points or a published curve;
* ``histogram``: ``x`` are the bin edges, one more than ``y``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nuadapt.errors import InputFileError, nearest
from nuadapt.record import read_json
from nuadapt.report.style import RUN_LOOKS, add_label, new_figure, save, styled

#: Title, caption and PNG of a figure, as make_report takes them.
Shown = tuple[str, str, Path]
_KINDS = ("line", "points", "reference", "histogram")
_STEP = "Write it with 'nuadapt validate simulation --out FILE'"


def validation_figures(validation_json: Path, out: Path) -> list[Shown]:
    """Draw all curves and an overview of the checks into ``out`` as PNG and PDF; gives what make_report takes.

    Raises:
        InputFileError: not such a file, or a curve that is not built as it should be.
        OutputError: ``out`` is not writable.
    """
    content = read_json(validation_json, next_step=_STEP)
    if not isinstance(content, dict) or "checks" not in content:
        raise InputFileError("this is not a validation of the simulation", where=validation_json, next_step=_STEP)
    shown: list[Shown] = []
    for name, curve in content.get("curves", {}).items():
        _check(curve, name, validation_json)
        png = save(draw_curve(curve), out / f"validation-{name}")
        source = f"Reference: {curve['source']}." if curve.get("source") else "Simulation alone."
        shown.append((str(curve["title"]), source, png))
    checks = content["checks"]
    if checks:
        passed = sum(bool(c["passed"]) for c in checks)
        words = (
            f"Difference between simulation and published value in units of the tolerance for {len(checks)} checks, "
            f"{passed} of them inside; numbers and sources stand in the table of checks."
        )
        shown.append(("All checks", words, save(draw_checks(checks), out / "validation-checks")))
    return shown


def stand_in_page(curves: Mapping[str, Mapping[str, Any]], out: Path) -> Path:
    """Draw the curves of the MINERvA-like simulation into ``out``, with a page README.md; gives the page.

    Raises:
        OutputError: ``out`` is not writable.
    """
    words = "Distributions of `nuadapt simulate minerva`, normalised to one: parametrised, not the experiment's own "
    words += "simulation. Drawn by `nuadapt validate minerva`."
    lines = ["# What the stand-in for MINERvA looks like", "", words, ""]
    for name, curve in curves.items():
        png = save(draw_curve(dict(curve)), out / f"validation-{name}")
        lines += [f"![{curve['title']}]({png.name})", ""]
    page = out / "README.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def _check(curve: Any, name: str, where: Path) -> None:
    missing = [k for k in ("title", "x", "y", "series") if k not in curve] if isinstance(curve, dict) else ["title"]
    if missing:
        raise InputFileError(f"the curve '{name}' has no '{missing[0]}'", where=where)
    for series in curve["series"]:
        kind = series.get("kind", "line")
        if kind not in _KINDS:
            raise InputFileError(f"curve '{name}': unknown kind '{kind}'", where=where, expected=nearest(kind, _KINDS))
        if "x" not in series or "y" not in series or len(series["x"]) - len(series["y"]) != (kind == "histogram"):
            raise InputFileError(f"curve '{name}': the lengths of x and y do not fit a {kind}", where=where)


@styled
def draw_curve(curve: Mapping[str, Any]) -> Figure:
    """One figure of curves, points and references."""
    figure = new_figure(5.6, 4.3)
    ax = figure.subplots()
    numbers = {"reference": 0, "other": 0}
    for series in curve["series"]:
        group = "reference" if series.get("kind") == "reference" else "other"
        _draw_series(ax, series, numbers[group])
        numbers[group] += 1
    ax.set(xlabel=curve["x"], ylabel=curve["y"])
    log = curve.get("log", "")
    ax.set_xscale("log" if "x" in log else "linear")
    ax.set_yscale("log" if "y" in log else "linear")
    if "y" not in log and all(min(s["y"], default=0) >= 0 for s in curve["series"]):
        ax.set_ylim(bottom=0, top=1.18 * ax.get_ylim()[1])  # room for the legend
    ax.legend(loc="best")
    add_label(ax)
    return figure


def _draw_series(ax: Axes, series: Mapping[str, Any], index: int) -> None:
    kind, x, y = series.get("kind", "line"), np.array(series["x"], float), np.array(series["y"], float)
    error, name = series.get("error"), str(series.get("name", ""))
    ink, marker = RUN_LOOKS[index % len(RUN_LOOKS)]  # points of a reference: the colour of what they belong to
    if kind == "histogram":
        mplhep.histplot(y, x, ax=ax, yerr=error, color=ink, label=name, flow="none", linewidth=1.5)
    elif kind == "line":
        ax.plot(x, y, color=ink, label=name, linestyle=("-", "--", "-.", ":")[index % 4])
        if error is not None:
            ax.fill_between(x, y - np.array(error), y + np.array(error), color=ink, alpha=0.2, linewidth=0)
    elif kind == "reference" and len(x) > 40:  # a published curve
        ax.plot(x, y, color=RUN_LOOKS[(index + 1) % len(RUN_LOOKS)][0], label=name, linestyle="--", linewidth=1.3)
    else:
        face = "none" if kind == "reference" else ink
        ax.errorbar(x, y, yerr=error, fmt=marker, color=ink, markerfacecolor=face, label=name, linewidth=1.2)


@styled
def draw_checks(checks: Sequence[Mapping[str, Any]]) -> Figure:
    """Every check as a point at (measured - published) / tolerance; the band is what is accepted."""
    lines: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for check in checks:
        lines.setdefault((str(check["group"]), str(check["quantity"])), []).append(check)
    figure = new_figure(7.2, 0.24 * len(lines) + 1.1)
    ax = figure.subplots()
    ax.axvspan(-1, 1, color="#e8eef4", linewidth=0)
    ax.axvline(0, color="#94a4a2", linewidth=1)
    for row, group in enumerate(lines.values()):
        scaled = [np.clip(_pull(c), -_FARTHEST, _FARTHEST) for c in group]
        ink = ["#1a1a1a" if c["passed"] else "#bd1f01" for c in group]
        spread = row + np.linspace(-0.22, 0.22, len(group)) if len(group) > 1 else [row]
        ax.scatter(scaled, spread, s=12, c=ink, zorder=3)
    ax.set_yticks(range(len(lines)), [f"{group}: {quantity}" for group, quantity in lines], fontsize=9)
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.set(xlabel="(simulation − published) / tolerance", xlim=(-1.15 * _FARTHEST, 1.15 * _FARTHEST))
    ax.set_ylim(len(lines) - 0.4, -0.6)
    add_label(ax, f"{len(checks)} checks")
    return figure


_FARTHEST = 2.0  # in tolerances; what is farther off is drawn here


def _pull(check: Mapping[str, Any]) -> float:
    difference = float(check["measured"]) - float(check["expected"])
    tolerance = float(check["tolerance"])
    if not np.isfinite(difference):
        return _FARTHEST
    return difference / tolerance if tolerance > 0 else np.sign(difference) * _FARTHEST * (difference != 0)
