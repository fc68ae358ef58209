"""How figures look: one HEP style, one set of colours, one way to save."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nuadapt.errors import OutputError
from nuadapt.events.truth import FLAVOUR_TITLES, PION_TITLES

P = ParamSpec("P")
R = TypeVar("R")

#: Colours that people with any colour vision tell apart: Petroff, arXiv:2107.02270, the set of ten.
_PETROFF = {
    "blue": "#3f90da",
    "orange": "#ffa90e",
    "red": "#bd1f01",
    "grey": "#94a4a2",
    "violet": "#832db6",
    "brown": "#a96b59",
    "dark orange": "#e76300",
    "olive": "#b9ac70",
    "slate": "#717581",
    "cyan": "#92dadd",
}
#: A class has the same colour in every figure.
CLASS_COLOURS: dict[str, str] = {
    "nue_cc": _PETROFF["blue"],
    "numu_cc": _PETROFF["dark orange"],
    "nc": _PETROFF["violet"],
}
CLASS_LINES: dict[str, str] = {"nue_cc": "-", "numu_cc": "--", "nc": "-."}
#: Short names inside figures.
CLASS_SYMBOLS: dict[str, str] = {"nue_cc": r"$\nu_e$ CC", "numu_cc": r"$\nu_\mu$ CC", "nc": "NC"}
#: Runs side by side: colour and marker together, so that one of the two is enough.
RUN_LOOKS: tuple[tuple[str, str], ...] = (
    ("#1a1a1a", "o"),
    (_PETROFF["red"], "s"),
    (_PETROFF["blue"], "^"),
    (_PETROFF["brown"], "D"),
    (_PETROFF["violet"], "v"),
    (_PETROFF["slate"], "P"),
)
#: What models are compared with, apart from them in every figure.
BASELINE_LOOKS: tuple[tuple[str, str], ...] = ((_PETROFF["grey"], "o"), (_PETROFF["olive"], "X"))
_DPI = 160

#: The ROOT look of mplhep, from its page-filling size down to that of a figure in a text.
_SIZES: dict[str, Any] = {
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10,
    "axes.linewidth": 1.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "xtick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.major.size": 6,
    "ytick.minor.size": 3,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "figure.figsize": (5.4, 4.5),
    "figure.constrained_layout.use": True,
    "savefig.dpi": _DPI,
    "figure.dpi": _DPI,
}


@contextmanager
def hep_style() -> Iterator[None]:
    """The style inside a block; the settings of the caller come back afterwards."""
    with matplotlib.rc_context():
        # Given as rc settings and not through mplhep.style.use, which would stay behind.
        settings: Any = {**mplhep.style.ROOT, **_SIZES}
        matplotlib.rcParams.update(settings)
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A drawing function that works in :func:`hep_style`."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with hep_style():
            return draw(*args, **kwargs)

    return inside


def run_look(index: int) -> dict[str, Any]:
    """Colour and marker of a run; from the second round through RUN_LOOKS on, the markers are open."""
    ink, marker = RUN_LOOKS[index % len(RUN_LOOKS)]
    return {"color": ink, "marker": marker, "markerfacecolor": ink if index < len(RUN_LOOKS) else "white"}


def run_line(index: int) -> dict[str, Any]:
    """Colour of a run as in :func:`run_look`, for curves without markers; dashed from the second round on."""
    return {"color": RUN_LOOKS[index % len(RUN_LOOKS)][0], "linestyle": "-" if index < len(RUN_LOOKS) else "--"}


def baseline_look(index: int) -> dict[str, Any]:
    """Colour and marker of what models are compared with."""
    ink, marker = BASELINE_LOOKS[index]
    return {"color": ink, "marker": marker, "markerfacecolor": ink}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size (inches), belonging to no global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def add_label(ax: Axes, right: str = "", *, simulated: bool = True) -> None:
    """``nuadapt simulation`` small above the axes, and what is shown at the right."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "baseline"}
    ax.annotate("nuadapt", (0, 1), xytext=(0, 4), fontsize=11, fontweight="bold", **place)
    if simulated:
        ax.annotate("simulation", (0, 1), xytext=(51, 4), fontsize=11, fontstyle="italic", **place)
    if right:
        ax.annotate(right, (1, 1), xytext=(0, 4), ha="right", fontsize=10, **place)


def symbol(name: str) -> str:
    """Class name inside a figure."""
    return CLASS_SYMBOLS.get(name, name)


def title(name: str) -> str:
    """Class name on a page."""
    return FLAVOUR_TITLES.get(name, PION_TITLES.get(name, name))


def colour(name: str, index: int) -> str:
    """Colour of a class."""
    return CLASS_COLOURS.get(name, list(_PETROFF.values())[index % len(_PETROFF)])


def line(name: str) -> str:
    """Line style of a class."""
    return CLASS_LINES.get(name, "-")


@styled
def save(figure: Figure, place: Path) -> Path:
    """Write ``place``.png and ``place``.pdf; gives the PNG.

    Raises:
        OutputError: the place is not writable.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out now; not once more per format
        # Without dates and versions, so that equal results give equal files.
        figure.savefig(place.with_name(place.name + ".pdf"), metadata={"CreationDate": None, "Producer": None})
        png = place.with_name(place.name + ".png")
        figure.savefig(png, metadata={"Software": None})
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=place) from error
    return png


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure on the page."""

    title: str
    caption: str
    image: str


def picture(figure: Figure, place: Path, heading: str, caption: str) -> Picture:
    """A figure for the page, written as ``place``.png and ``place``.pdf, too."""
    return Picture(heading, caption, embedded(save(figure, place).read_bytes()))


def embedded(png: bytes) -> str:
    """A data address that puts a PNG into a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG."""
    with hep_style():
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue()
