"""Pictures of single events: every view with its axes, and what a model says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure

from nuadapt.errors import DataError
from nuadapt.evaluation.metrics import Array, Floats
from nuadapt.events.pixelmap import MapSpec
from nuadapt.report.style import colour, new_figure, styled, symbol

#: Unit of the stored pixels -> (unit shown, factor, lowest and highest value of the colour scale). A minimum
#: ionising particle leaves about 1 MeV in a 5 mm pixel of argon (2.1 MeV/cm, PDG 2024 atomic and nuclear properties).
_SCALES: dict[str, tuple[str, float, float, float]] = {
    "GeV": ("energy [MeV]", 1e3, 0.1, 30.0),
    "ke": ("charge [ke]", 1.0, 1.0, 1000.0),
    "grey": ("grey level", 1.0, 0.0, 255.0),
}
_KEPT = 0.99  # share of the signal that the shown window holds along each axis
_SMALLEST_WINDOW = 32  # pixels
_MOST_PIXELS = 240  # per side: about what the paper and the screen resolve
#: Petroff, arXiv:2107.02270 (blue and dark orange of the set of ten).
_AGAINST, _FOR = "#3f90da", "#e76300"
#: (row, column) of a point in a view.
Mark = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands beside a picture: class probabilities, the label, and the true class if known."""

    probability: Mapping[str, float]
    label: str
    truth: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a class and what against it: signed ``pixels`` (V, rows, columns) in log-odds of ``target``."""

    pixels: Array
    target: str


@styled
def draw_event(
    views: Array,
    spec: MapSpec,
    *,
    origin: Array | None = None,
    vertex: Sequence[float | None] | None = None,
    answer: Answer | None = None,
    evidence: Evidence | None = None,
    title: str = "",
    zoom: bool = True,
) -> Figure:
    """Draw all views of one event side by side at one scale.

    ``views`` has shape (V, rows, columns), in the value unit of ``spec``. ``origin`` (V, 2) is the lower edge of
    pixel (0, 0) along (rows, columns), in the axis unit; where it is unknown the axes start at 0. ``vertex`` (x, y, z)
    in cm is marked if the axes are in cm. ``zoom`` shows the window that holds 99% of the signal along each axis.

    ``evidence`` is drawn in colours over the charge, which then is grey. It has the shape of ``views``: the evidence of
    a model that reads coarser maps belongs over those.

    Raises:
        DataError: evidence of another shape than the views, or not finite.
    """
    views = np.asarray(views, dtype=np.float64)
    beside = answer is not None
    width = 2.75 * len(views) + 0.65 + (1.35 if beside else 0) + (0.75 if evidence is not None else 0)
    figure = new_figure(width, 2.9 if title else 2.6)
    ratios = [1.0] * len(views) + ([0.5] if beside else [])
    axes = np.atleast_1d(figure.subplots(1, len(ratios), width_ratios=ratios))
    starts = np.full((len(views), 2), np.nan) if origin is None else np.asarray(origin, dtype=np.float64)
    marks = [_vertex_pixel(spec, index, starts[index], vertex) for index in range(len(views))]
    windows = _windows(views, marks, zoom)
    picture, colours = None, event_colours(below_evidence=evidence is not None)
    for index, ax in enumerate(axes[: len(views)]):
        known = bool(np.isfinite(starts[index]).all())
        start = np.nan_to_num(starts[index])
        picture = _draw_view(ax, views[index], spec, windows[index], start, marks[index], colours=colours)
        _name_axes(ax, spec, index, known)
    shown = list(axes[: len(views)])
    _add_bar(figure, picture, shown, _SCALES[spec.value_unit][0])
    if evidence is not None:
        _draw_evidence(figure, shown, evidence, views, windows)
    if answer is not None:
        _draw_answer(axes[-1], answer)
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def event_colours(below_evidence: bool = False) -> Colormap:
    """White where nothing is, then from light to dark: readable in print and by any colour vision (part of magma).

    Light greys below the colours of evidence.
    """
    name, first, last = ("Greys", 0.25, 0.6) if below_evidence else ("magma_r", 0.22, 1.0)
    part = matplotlib.colormaps[name](np.linspace(first, last, 256))
    return LinearSegmentedColormap.from_list("event", part).with_extremes(bad="white")


def evidence_colours() -> Colormap:
    """Blue against, orange for, told apart by any colour vision; the weaker, the more of the charge shines through."""
    strength = np.linspace(-1, 1, 257)
    colours = np.where(strength[:, None] < 0, to_rgb(_AGAINST), to_rgb(_FOR))  # (257, 3)
    return ListedColormap(np.column_stack([colours, np.sqrt(np.abs(strength))]), "evidence")


def _vertex_pixel(spec: MapSpec, index: int, start: Floats, vertex: Sequence[float | None] | None) -> Mark:
    """Where the vertex (x, y, z; cm) lies in a view, as (row, column); None if unknown or outside the map."""
    if vertex is None or spec.axis_unit != "cm":
        return None
    place = dict(zip("xyz", vertex, strict=False))
    found = [math.nan if place.get(name) is None else float(place[name] or 0.0) for name in spec.axes[index]]
    at = (np.array(found) - start) / np.array(spec.pitch)
    inside = bool(np.all((at >= 0) & (at < np.array(spec.shape))))  # False for NaN
    return (float(at[0]), float(at[1])) if inside else None


def _windows(views: Floats, marks: Sequence[Mark], zoom: bool) -> list[tuple[slice, slice]]:
    """Rows and columns to show of each view: equally large squares around signal and vertex, inside the map."""
    rows, cols = views.shape[1:]
    if not zoom:
        return [(slice(0, rows), slice(0, cols))] * len(views)
    spans = []
    for view, mark in zip(views, marks, strict=True):
        row, col = mark if mark is not None else (None, None)
        spans.append((_span(view.sum(axis=1), row), _span(view.sum(axis=0), col)))
    z_span = (min(s[1][0] for s in spans), max(s[1][1] for s in spans))  # columns are one axis in all views
    widest = max([s[0][1] - s[0][0] for s in spans] + [z_span[1] - z_span[0], _SMALLEST_WINDOW])
    side = math.ceil(1.2 * widest)
    return [(_around(s[0], side, rows), _around(z_span, side, cols)) for s in spans]


def _span(profile: Floats, mark: float | None) -> tuple[int, int]:
    """First and one past the last bin that hold the middle 99% of a profile, and the mark if there is one."""
    total = np.abs(profile).cumsum()
    if not len(total) or total[-1] <= 0:
        return len(profile) // 2, len(profile) // 2
    cut = (1 - _KEPT) / 2
    first, last = np.searchsorted(total, [cut * total[-1], (1 - cut) * total[-1]])
    if mark is not None:
        first, last = min(first, int(mark)), max(last, int(mark))
    return int(first), int(last) + 1


def _around(span: tuple[int, int], side: int, size: int) -> slice:
    side = min(side, size)
    start = min(max((span[0] + span[1] - side) // 2, 0), size - side)
    return slice(start, start + side)


def _add_bar(figure: Figure, picture: Any, axes: list[Axes], label: str) -> None:
    bar = figure.colorbar(picture, ax=axes, pad=0.015, fraction=0.045, aspect=28)
    bar.set_label(label, fontsize=10.5)
    bar.ax.tick_params(labelsize=9)


def _draw_evidence(
    figure: Figure, axes: list[Axes], evidence: Evidence, views: Floats, windows: Sequence[tuple[slice, slice]]
) -> None:
    """Evidence over the charge of all views at one scale, which ends where 1% of the shown pixels lie beyond."""
    pixels = np.asarray(evidence.pixels, dtype=np.float64)
    if pixels.shape != views.shape or not np.isfinite(pixels).all():
        raise DataError(
            f"the evidence has shape {pixels.shape} and {np.count_nonzero(~np.isfinite(pixels))} undefined values",
            expected=f"one finite value per pixel of the views, which have shape {views.shape}",
        )
    pixels = np.where(views > 0, pixels, 0.0)
    parts = [_joined(view[window], np.sum) for view, window in zip(pixels, windows, strict=True)]
    strength = np.abs(np.concatenate([part[part != 0] for part in parts]))
    limit = float(np.quantile(strength, 0.99)) if len(strength) else 1.0
    picture: Any = None
    for ax, part in zip(axes, parts, strict=True):
        picture = ax.imshow(
            part, origin="lower", extent=ax.get_images()[0].get_extent(), norm=Normalize(-limit, limit),
            cmap=evidence_colours(), interpolation="nearest", aspect=ax.get_aspect(),
        )  # fmt: skip
    _add_bar(figure, picture, axes, f"evidence for {symbol(evidence.target)} [log-odds]")


def _draw_view(
    ax: Axes, view: Floats, spec: MapSpec, window: tuple[slice, slice], start: Floats, mark: Mark, *, colours: Colormap
) -> Any:
    _, factor, low, high = _SCALES[spec.value_unit]
    shown = _joined(view[window] * factor, np.max)
    norm: Normalize = Normalize(low, high) if spec.value_unit == "grey" else LogNorm(low, high, clip=True)
    (r0, r1), (c0, c1) = ((w.start, w.stop) for w in window)
    step = math.ceil(max(r1 - r0, c1 - c0) / _MOST_PIXELS)
    drawn = (shown.shape[0] * step, shown.shape[1] * step)  # a last partial block reaches beyond the window
    low_edge = start + np.array([r0, c0]) * spec.pitch
    high_edge, end = low_edge + np.array(drawn) * spec.pitch, start + np.array([r1, c1]) * spec.pitch
    extent = (low_edge[1], high_edge[1], low_edge[0], high_edge[0])
    picture = ax.imshow(
        np.ma.masked_where(shown <= 0, shown), origin="lower", extent=extent, norm=norm, cmap=colours,
        interpolation="nearest", aspect="equal" if spec.axis_unit == "cm" else "auto",
    )  # fmt: skip
    if mark is not None:
        row, col = mark
        at = (start[1] + col * spec.pitch[1], start[0] + row * spec.pitch[0])
        ax.plot(*at, marker="o", markersize=11, markerfacecolor="none", markeredgecolor="#2b7a78", mew=1.2)
    ax.set(xlim=(low_edge[1], end[1]), ylim=(low_edge[0], end[0]))
    return picture


def _joined(view: Floats, how: Callable[..., Any]) -> Floats:
    """One value for each block of pixels, with few enough blocks to see each.

    The largest value (``np.max``) keeps a line one pixel wide a line; the sum is for what adds up.
    """
    step = math.ceil(max(view.shape) / _MOST_PIXELS)
    rows, cols = (-(-side // step) * step for side in view.shape)
    padded = np.zeros((rows, cols))
    padded[: view.shape[0], : view.shape[1]] = view
    blocks: Floats = how(padded.reshape(rows // step, step, cols // step, step), axis=(1, 3))
    return blocks


def _name_axes(ax: Axes, spec: MapSpec, index: int, known: bool) -> None:
    across, along = spec.axes[index]
    # A tick or a wire is counted, a centimetre is measured: only the latter goes in brackets.
    unit = f" [{spec.axis_unit}]" if spec.axis_unit == "cm" else ""
    from_edge = "" if known or spec.axis_unit != "cm" else ", from the edge of the map"
    ax.set_xlabel(f"{along}{unit}{from_edge}")
    ax.set_ylabel(f"{across}{unit}")
    ax.tick_params(labelsize=9.5)
    ax.minorticks_off()
    ax.text(
        0.03,
        0.965,
        name if (name := spec.views[index]).startswith("view") else f"view {name}",
        transform=ax.transAxes,
        va="top",
        fontsize=10,
        color="#444444",
    )


def _draw_answer(ax: Axes, answer: Answer) -> None:
    """Probabilities as bars; the true class is framed."""
    names = list(answer.probability)
    values = [answer.probability[n] for n in names]
    at = np.arange(len(names))[::-1]
    ax.barh(at, values, height=0.5, color=[colour(n, i) for i, n in enumerate(names)], alpha=0.85)
    for y, name, value in zip(at, names, values, strict=True):
        words = symbol(name) + ("  (truth)" if name == answer.truth else "")
        ax.text(0, y + 0.32, words, va="bottom", fontsize=10, fontweight="bold" if name == answer.label else "normal")
        ax.text(min(value, 0.66) + 0.03, y, f"{value:.2f}", va="center", fontsize=10, color="#222222")
    ax.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.2))
    ax.set_title("probability", fontsize=10.5, loc="left")
    ax.set_yticks([])
    ax.set_xticks([])
    ax.minorticks_off()
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
