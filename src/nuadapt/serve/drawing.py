"""A picture of one view for programs and notebooks: charge on axes in cm, with the final state drawn over it.

Drawn pixel by pixel, because a service draws many: a figure of matplotlib took about twenty times as long.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.report.event_display import event_colours
from nuadapt.serve.display import particles_of, vertex_of

Array = npt.NDArray[Any]
#: Unit of the stored pixels -> (words, factor, lowest value of a logarithmic scale).
_SCALES: dict[str, tuple[str, float, float]] = {
    "GeV": ("energy [MeV]", 1e3, 0.1),
    "ke": ("charge [ke]", 1.0, 1.0),
    "grey": ("grey level", 1.0, 1.0),
}
_OUTSIDE = 0.005  # share of the charge that may lie beyond each side of the window
_MARGIN = 0.15  # of that window
_SMALLEST, _LARGEST = 32, 480  # pixels a side of the window; more are joined
_MOST_NAMED = 8  # particles that are drawn, by kinetic energy
_REACH = 0.35  # length of the line of a particle, of the shorter side of the window
# The picture, in its own pixels: the largest frame, and the room around it.
_FRAME, _LEFT, _RIGHT, _TOP, _BOTTOM, _BAR = (560, 440), 66, 96, 30, 50, 16
_INK, _LINE, _TICK = "#222222", "#2b7a78", 5


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the window lies in the picture: its size there, and its limits (left, right, bottom, top) on the axes."""

    width: int
    height: int
    limits: tuple[float, float, float, float]

    def at(self, along: float, across: float) -> tuple[float, float]:
        """A point of the axes in the picture."""
        left, right, bottom, top = self.limits
        x = _LEFT + (along - left) / (right - left) * self.width
        return x, _TOP + (top - across) / (top - bottom) * self.height


def draw_view(batch: EventBatch, maps: PixelMaps, view: int, *, scale: str = "log", truth: bool = False) -> bytes:
    """A PNG of one view of the only event of ``batch``; ``scale`` is log or linear.

    With ``truth`` the vertex and the most energetic final-state particles are drawn, each along its direction in this
    projection, with its name; the length of a line is no range.
    """
    spec, at = maps.spec, maps.view_slice(0, view)
    words, factor, lowest = _SCALES[spec.value_unit]
    image = np.zeros(spec.shape)
    image[maps.row[at], maps.col[at]] = factor * maps.value[at]
    rows, cols = _window(image.sum(axis=1)), _window(image.sum(axis=0))
    shown, step = _joined(image[rows, cols])
    low = np.nan_to_num(maps.origin[0, view].astype(np.float64)) + np.array([rows.start, cols.start]) * spec.pitch
    high = low + np.array(shown.shape) * step * spec.pitch
    size = np.array(shown.shape) * (spec.pitch if spec.axis_unit == "cm" else (1, 1))
    zoom = min(_FRAME[1] / size[0], _FRAME[0] / size[1])
    limits = (float(low[1]), float(high[1]), float(low[0]), float(high[0]))
    frame = _Frame(max(int(zoom * size[1]), 60), max(int(zoom * size[0]), 60), limits)
    top = max(float(image.max(initial=0.0)), 2 * lowest)
    canvas = Image.new("RGB", (_LEFT + frame.width + _RIGHT, _TOP + frame.height + _BOTTOM), "white")
    picture = Image.fromarray(_coloured(shown[::-1], scale, lowest, top))
    canvas.paste(picture.resize((frame.width, frame.height), Image.Resampling.NEAREST), (_LEFT, _TOP))
    draw = ImageDraw.Draw(canvas)
    unit = f" [{spec.axis_unit}]" if spec.axis_unit == "cm" else ""
    across, along = spec.axes[view]
    _draw_axes(draw, frame, f"{along}{unit}", f"{across}{unit}", f"view {spec.views[view]}")
    _draw_bar(canvas, draw, frame, words, (scale, lowest, top))
    if truth:
        _draw_truth(draw, frame, batch, spec.axes[view])
    out = io.BytesIO()
    canvas.save(out, format="PNG", compress_level=4)
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
    step = math.ceil(max(window.shape) / _LARGEST)
    rows, cols = (-(-side // step) for side in window.shape)
    padded = np.zeros((rows * step, cols * step))
    padded[: window.shape[0], : window.shape[1]] = window
    return padded.reshape(rows, step, cols, step).max(axis=(1, 3)), step


@lru_cache(maxsize=1)
def _palette() -> npt.NDArray[np.uint8]:
    """256 colours of the event displays, shape (256, 3)."""
    return np.asarray(event_colours()(np.linspace(0, 1, 256))[:, :3] * 255, dtype=np.uint8)


def _coloured(values: Array, scale: str, lowest: float, top: float) -> npt.NDArray[np.uint8]:
    """Colours (rows, columns, 3) of values; white where there is nothing."""
    is_log = scale == "log"
    level = np.log(np.maximum(values, lowest) / lowest) / math.log(top / lowest) if is_log else values / top
    colours = _palette()[np.clip(np.round(255 * level), 0, 255).astype(np.uint8)]
    colours[values <= 0] = 255
    return colours


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from ``low`` to ``high``."""
    return [float(t) for t in MaxNLocator(most).tick_values(low, high) if low <= t <= high]


def _draw_axes(draw: ImageDraw.ImageDraw, frame: _Frame, along: str, across: str, title: str) -> None:
    """Frame, ticks with their numbers, names of the axes, title."""
    left, right, bottom, top = frame.limits
    end_x, end_y = _LEFT + frame.width, _TOP + frame.height
    draw.rectangle((_LEFT - 1, _TOP - 1, end_x, end_y), outline=_INK)
    for value in _ticks(left, right, max(frame.width // 80, 2)):
        x, _ = frame.at(value, bottom)
        draw.line((x, end_y, x, end_y + _TICK), fill=_INK)
        draw.text((x, end_y + _TICK + 2), f"{value:g}", fill=_INK, font=_font(12), anchor="ma")
    for value in _ticks(bottom, top, max(frame.height // 60, 2)):
        _, y = frame.at(left, value)
        draw.line((_LEFT - 1 - _TICK, y, _LEFT - 1, y), fill=_INK)
        draw.text((_LEFT - _TICK - 4, y), f"{value:g}", fill=_INK, font=_font(12), anchor="rm")
    draw.text((_LEFT + frame.width / 2, end_y + _BOTTOM - 6), along, fill=_INK, font=_font(13), anchor="mb")
    draw.text((4, _TOP - 8), across, fill=_INK, font=_font(13), anchor="lb")
    draw.text((_LEFT + frame.width / 2, _TOP - 8), title, fill=_INK, font=_font(13), anchor="mb")


def _draw_bar(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, frame: _Frame, words: str, colours: tuple[str, float, float]
) -> None:
    """The colours with some of their values."""
    scale, lowest, top = colours
    share = np.linspace(1, 0, frame.height)[:, None]
    values = lowest * (top / lowest) ** share if scale == "log" else np.maximum(share * top, 1e-9)
    bar = Image.fromarray(_coloured(np.repeat(values, _BAR, axis=1), scale, lowest, top))
    x = _LEFT + frame.width + 16
    canvas.paste(bar, (x, _TOP))
    decades = [10.0**k for k in range(math.ceil(math.log10(lowest) - 1e-9), math.floor(math.log10(top)) + 1)]
    for value in decades if scale == "log" else _ticks(0, top, 5):
        level = math.log(value / lowest) / math.log(top / lowest) if scale == "log" else value / top
        y = _TOP + (1 - level) * (frame.height - 1)
        draw.line((x + _BAR, y, x + _BAR + _TICK, y), fill=_INK)
        draw.text((x + _BAR + _TICK + 3, y), f"{value:g}", fill=_INK, font=_font(12), anchor="lm")
    draw.text((_LEFT + frame.width + _RIGHT - 4, _TOP - 8), words, fill=_INK, font=_font(12), anchor="rb")


def _draw_truth(draw: ImageDraw.ImageDraw, frame: _Frame, batch: EventBatch, axes: tuple[str, str]) -> None:
    """Vertex and directions in a projection whose axes are x, y or z; nothing where there is no truth."""
    vertex = vertex_of(batch)
    if vertex is None or not set(axes) <= set("xyz"):
        return
    across, along = ("xyz".index(name) for name in axes)
    left, right, bottom, top = frame.limits
    reach = _REACH * min(right - left, top - bottom)
    x, y = frame.at(vertex[along], vertex[across])
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=_LINE, width=2)
    for particle in sorted(particles_of(batch), key=lambda p: -(p["kinetic_GeV"] or 0.0))[:_MOST_NAMED]:
        momentum = [float(p or 0.0) for p in particle["momentum_GeV"]]
        size = math.hypot(*momentum)
        if size > 0:
            end = frame.at(*(vertex[i] + reach * momentum[i] / size for i in (along, across)))
            draw.line((x, y, *end), fill=_LINE)
            draw.text(end, particle["name"], fill=_LINE, font=_font(12), anchor="lm")
