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
_MARGIN = 0.06  # of the window around the charge
_SMALLEST = 32  # pixels a side of that window
_MOST_NAMED = 8  # particles that are drawn, by kinetic energy
_DPI = 110
_LINE = "#2b7a78"


def draw_view(batch: EventBatch, maps: PixelMaps, view: int, *, scale: str = "log", truth: bool = False) -> bytes:
    """A PNG of one view of the only event of ``batch``; ``scale`` is log or linear.

    With ``truth`` the vertex and the most energetic final-state particles are drawn, each along its direction in this
    projection, with its name; the length of a line is no range.
    """
    spec, at = maps.spec, maps.view_slice(0, view)
    image = np.zeros(spec.shape)
    image[maps.row[at], maps.col[at]] = maps.value[at]
    words, factor, lowest = _SCALES[spec.value_unit]
    image *= factor
    start = np.nan_to_num(maps.origin[0, view].astype(np.float64))  # (2,)
    rows, cols = _window(maps.row[at], spec.shape[0]), _window(maps.col[at], spec.shape[1])
    figure = Figure(figsize=(5.6, 4.6), dpi=_DPI, layout="tight")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    top = max(float(image.max(initial=0.0)), 2 * lowest)
    norm = LogNorm(lowest, top, clip=True) if scale == "log" else Normalize(0.0, top)
    extent = _extent(spec, start, rows, cols)
    shown = image[rows, cols]
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


def _window(positions: npt.NDArray[Any], size: int) -> slice:
    """The rows or columns that hold charge, with a margin."""
    if not len(positions):
        return slice(0, size)
    first, last = int(positions.min()), int(positions.max()) + 1
    margin = max(math.ceil(_MARGIN * (last - first)), (_SMALLEST - (last - first) + 1) // 2, 1)
    return slice(max(first - margin, 0), min(last + margin, size))


def _extent(spec: MapSpec, start: npt.NDArray[np.float64], rows: slice, cols: slice) -> tuple[float, ...]:
    """Left, right, bottom, top of a window in the axis unit."""
    (pitch_row, pitch_col), (row0, col0) = spec.pitch, start
    return (
        col0 + cols.start * pitch_col,
        col0 + cols.stop * pitch_col,
        row0 + rows.start * pitch_row,
        row0 + rows.stop * pitch_row,
    )


def _draw_truth(ax: Any, batch: EventBatch, axes: tuple[str, str], extent: tuple[float, ...]) -> None:
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
