"""A picture of one view for programs and notebooks: charge on axes in cm, with the final state drawn over it."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.report.event_display import event_colours
from nuadapt.serve.display import particles_of, vertex_of

#: Unit of the stored pixels -> (words, factor, lowest value of a logarithmic scale).
_SCALES: dict[str, tuple[str, float, float]] = {
    "GeV": ("energy [MeV]", 1e3, 0.1),
    "ke": ("charge [ke]", 1.0, 1.0),
    "grey": ("grey level", 1.0, 1.0),
}
_OUTSIDE = 0.005  # share of the charge that may lie beyond each side of the window
_MARGIN = 0.15  # of that window
_MOST_PIXELS = 240  # per side: about what a picture of this size resolves
_SMALLEST = 32  # pixels a side of that window
_MOST_NAMED = 8  # particles that are drawn, by kinetic energy
_DPI = 110
_LINE = "#2b7a78"
Array = npt.NDArray[Any]


def draw_view(batch: EventBatch, maps: PixelMaps, view: int, *, scale: str = "log", truth: bool = False) -> bytes:
    """A PNG of one view of the only event of ``batch``; ``scale`` is log or linear.

    With ``truth`` the vertex and the most energetic final-state particles are drawn, each along its direction in this
    projection, with its name; the length of a line is no range.
    """
    spec, at = maps.spec, maps.view_slice(0, view)
    words, factor, lowest = _SCALES[spec.value_unit]
    image = np.zeros(spec.shape)
    image[maps.row[at], maps.col[at]] = factor * maps.value[at]
    start = np.nan_to_num(maps.origin[0, view].astype(np.float64))  # (2,)
    rows, cols = _window(image.sum(axis=1)), _window(image.sum(axis=0))
    figure = Figure(figsize=(5.6, 4.6), dpi=_DPI, layout="tight")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    top = max(float(image.max(initial=0.0)), 2 * lowest)
    norm = LogNorm(lowest, top, clip=True) if scale == "log" else Normalize(0.0, top)
    shown, step = _joined(image[rows, cols])
    extent = _extent(spec, start, (rows.start, cols.start), (shown.shape[0] * step, shown.shape[1] * step))
    picture = ax.imshow(
        np.ma.masked_where(shown <= 0, shown), origin="lower", extent=extent, norm=norm, cmap=event_colours(),
        interpolation="nearest", aspect="equal" if spec.axis_unit == "cm" else "auto",
    )  # fmt: skip
    figure.colorbar(picture, ax=ax, label=words)
    across, along = spec.axes[view]
    unit = f" [{spec.axis_unit}]" if spec.axis_unit == "cm" else ""
    ax.set(xlabel=f"{along}{unit}", ylabel=f"{across}{unit}", title=f"view {spec.views[view]}")
    if truth:
        _draw_truth(ax, batch, spec.axes[view], extent)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _window(profile: Array) -> slice:
    """The rows or columns that hold all but the outermost charge of a profile, with a margin."""
    total, size = profile.cumsum(), len(profile)
    if not total[-1] > 0:
        return slice(0, size)
    first, last = np.searchsorted(total, [_OUTSIDE * total[-1], (1 - _OUTSIDE) * total[-1]])
    margin = max(math.ceil(_MARGIN * (last - first)), (_SMALLEST - (last - first) + 1) // 2, 1)
    return slice(max(int(first) - margin, 0), min(int(last) + 1 + margin, size))


def _joined(window: Array) -> tuple[Array, int]:
    """The largest value of each block of pixels, and the side of a block: a line one pixel wide stays a line."""
    step = math.ceil(max(window.shape) / _MOST_PIXELS)
    rows, cols = (-(-side // step) for side in window.shape)
    padded = np.zeros((rows * step, cols * step))
    padded[: window.shape[0], : window.shape[1]] = window
    return padded.reshape(rows, step, cols, step).max(axis=(1, 3)), step


def _extent(
    spec: MapSpec, start: npt.NDArray[np.float64], first: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Left, right, bottom, top in the axis unit of ``size`` (rows, columns) pixels from ``first`` on."""
    low = start + np.array(first) * spec.pitch
    high = low + np.array(size) * spec.pitch
    return (float(low[1]), float(high[1]), float(low[0]), float(high[0]))


def _draw_truth(ax: Any, batch: EventBatch, axes: tuple[str, str], extent: tuple[float, float, float, float]) -> None:
    """Vertex and directions in a projection whose axes are x, y or z; nothing where there is no truth."""
    vertex = vertex_of(batch)
    if vertex is None or not set(axes) <= set("xyz"):
        return
    across, along = ("xyz".index(name) for name in axes)
    left, right, bottom, top = extent
    ax.plot(vertex[along], vertex[across], marker="o", markersize=9, markerfacecolor="none", color=_LINE)
    seen = sorted(particles_of(batch), key=lambda p: -(p["kinetic_GeV"] or 0.0))[:_MOST_NAMED]
    reach = 0.35 * min(right - left, top - bottom)
    for particle in seen:
        momentum = [float(p or 0.0) for p in particle["momentum_GeV"]]
        size = math.hypot(*momentum)
        if size <= 0:
            continue
        z, x = (vertex[i] + reach * momentum[i] / size for i in (along, across))
        ax.plot([vertex[along], z], [vertex[across], x], color=_LINE, lw=1.0, alpha=0.8)
        ax.annotate(particle["name"], (z, x), fontsize=8, color=_LINE, clip_on=True, annotation_clip=True)
    ax.set(xlim=(left, right), ylim=(bottom, top))
