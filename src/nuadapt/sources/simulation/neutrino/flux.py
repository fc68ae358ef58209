"""Energy spectra of neutrinos: uniform, of one energy, shaped like known beams, or from a histogram file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from nuadapt.errors import ConfigError, InputFileError, nearest

FloatArray = npt.NDArray[np.float64]

#: Default bounds in GeV of the uniform spectrum: from where interactions are simulated to the requirement's 10 GeV.
UNIFORM_BOUNDS = (0.2, 10.0)
#: Energies (GeV) and cumulative shares of the MINERvA medium-energy beam: its 5/25/50/75/95 % quantiles, with ends.
_MINERVA_ME = ((0.5, 2.4, 4.1, 5.6, 6.9, 9.9, 20.0), (0.0, 0.05, 0.25, 0.50, 0.75, 0.95, 1.0))
#: Log-normal peak (GeV) and width of a broad on-axis beam. Only the peak position is sourced (2.5 GeV, DUNE TDR
#: arXiv:2002.03005); the shape is an approximation and is not the collaboration's flux.
_DUNE_PEAK, _DUNE_WIDTH, _DUNE_END = 2.5, 0.55, 20.0


@dataclass(frozen=True)
class Spectrum:
    """A piecewise-linear cumulative distribution of neutrino energy."""

    name: str
    energies: FloatArray  # (n,) GeV, rising
    cumulative: FloatArray  # (n,) 0 to 1, not falling

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Energies in GeV, shape (size,)."""
        return np.asarray(np.interp(rng.random(size), self.cumulative, self.energies))

    def quantile(self, share: float) -> float:
        """Energy in GeV below which ``share`` of the neutrinos lie."""
        return float(np.interp(share, self.cumulative, self.energies))


def uniform(low: float = UNIFORM_BOUNDS[0], high: float = UNIFORM_BOUNDS[1]) -> Spectrum:
    """Flat between ``low`` and ``high`` GeV.

    Raises:
        ConfigError: bounds are not 0 < low < high.
    """
    if not (math.isfinite(high) and 0 < low < high):
        raise ConfigError(f"bounds {low} and {high} GeV", where="uniform spectrum", expected="0 < low < high")
    return Spectrum("uniform", np.array([low, high]), np.array([0.0, 1.0]))


def mono(energy: float) -> Spectrum:
    """Every neutrino at ``energy`` GeV.

    Raises:
        ConfigError: the energy is not positive and finite.
    """
    if not (math.isfinite(energy) and energy > 0):
        raise ConfigError(f"energy {energy} GeV", where="mono spectrum", expected="a positive number")
    return Spectrum(f"mono:{energy:g}", np.array([energy, energy]), np.array([0.0, 1.0]))


def minerva_me() -> Spectrum:
    """Shaped like the MINERvA medium-energy beam: a smooth, monotone curve through its quantiles."""
    energies, shares = (np.asarray(column) for column in _MINERVA_ME)
    grid = np.linspace(energies[0], energies[-1], 400)
    return Spectrum("minerva-me", grid, np.clip(PchipInterpolator(energies, shares)(grid), 0.0, 1.0))


def dune_nd() -> Spectrum:
    """Broad, peaked at 2.5 GeV: an approximate shape of an on-axis near-detector beam."""
    edges = np.linspace(UNIFORM_BOUNDS[0], _DUNE_END, 400)
    centres = 0.5 * (edges[1:] + edges[:-1])
    content = np.exp(-0.5 * (np.log(centres / _DUNE_PEAK) / _DUNE_WIDTH) ** 2)
    return _from_histogram("dune-nd", edges, content)


NAMED = {"uniform": uniform, "minerva-me": minerva_me, "dune-nd": dune_nd}


def spectrum_from(name_or_path: str | Path, *, low: float | None = None, high: float | None = None) -> Spectrum:
    """A spectrum by name (``uniform``, ``minerva-me``, ``dune-nd``, ``mono:E``) or from a histogram file.

    ``low`` and ``high`` (GeV) are the bounds of ``uniform`` and cut every other spectrum.

    Raises:
        ConfigError: unknown name, or impossible energy or bounds.
        InputFileError: the file cannot be read as a histogram.

    >>> spectrum_from("mono:2.5").sample(np.random.default_rng(0), 2).tolist()
    [2.5, 2.5]
    """
    name = str(name_or_path)
    if name == "uniform":
        bounds = UNIFORM_BOUNDS
        return uniform(bounds[0] if low is None else low, bounds[1] if high is None else high)
    if name in NAMED:
        return _cut(NAMED[name](), low, high)
    if name.startswith("mono:"):
        return mono(_number(name.removeprefix("mono:")))
    path = Path(name_or_path)
    if path.is_file():
        return _cut(read_histogram(path), low, high)
    raise ConfigError(
        f"no spectrum or file is called '{name}'", where="spectrum", expected=nearest(name, [*NAMED, "mono:2.5"])
    )


def read_histogram(path: Path) -> Spectrum:
    """A spectrum from a text file of two columns (low edge, content) or three (low edge, high edge, content).

    Edges in GeV, adjoining and rising; ``#`` starts a comment. With two columns the last line gives the
    upper edge of the last bin, its content being left aside.

    Raises:
        InputFileError: a line is not such a bin (the line is named), or the file holds no neutrinos.
    """
    rows: list[tuple[int, list[float]]] = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"cannot be read as text: {error}", where=path) from error
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("#")[0].replace(",", " ").split()
        if fields:
            rows.append((number, _values(fields, path, number)))
    if len(rows) < 1 or (len(rows[0][1]) == 2 and len(rows) < 2):
        raise InputFileError("no bins", where=path, expected="lines of low edge, high edge, content")
    edges, content = _bins(rows, path)
    if content.sum() <= 0:
        raise InputFileError("all contents are zero", where=path, expected="at least one filled bin")
    return _from_histogram(path.name, edges, content)


def _values(fields: list[str], path: Path, number: int) -> list[float]:
    where = f"{path}, line {number}"
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise InputFileError(f"not numbers: {' '.join(fields)}", where=where) from None
    if len(values) not in (2, 3):
        raise InputFileError(f"{len(values)} columns", where=where, expected="two or three numbers")
    if not all(math.isfinite(value) for value in values):
        raise InputFileError("a value is not finite", where=where)
    if min(values) < 0:
        raise InputFileError("a value is negative", where=where, expected="energies and contents from zero up")
    return values


def _bins(rows: list[tuple[int, list[float]]], path: Path) -> tuple[FloatArray, FloatArray]:
    """Edges (n + 1,) and contents (n,), checked to rise and adjoin."""
    columns = len(rows[0][1])
    edges = [rows[0][1][0]]
    for position, (number, values) in enumerate(rows):
        where = f"{path}, line {number}"
        if len(values) != columns:
            raise InputFileError(f"{len(values)} columns after lines of {columns}", where=where)
        if columns == 3 and values[0] != edges[-1]:
            raise InputFileError(f"low edge {values[0]:g}", where=where, expected=f"the last high edge {edges[-1]:g}")
        upper = values[1] if columns == 3 else values[0]
        if columns == 2 and position == 0:
            continue
        if upper <= edges[-1]:
            raise InputFileError(f"edge {upper:g} does not rise", where=where, expected=f"more than {edges[-1]:g}")
        edges.append(upper)
    content = [values[-1] for _, values in rows]
    return np.asarray(edges), np.asarray(content if columns == 3 else content[:-1])


def _from_histogram(name: str, edges: FloatArray, content: FloatArray) -> Spectrum:
    cumulative = np.concatenate([[0.0], np.cumsum(content)])
    return Spectrum(name, edges, cumulative / cumulative[-1])


def _cut(spectrum: Spectrum, low: float | None, high: float | None) -> Spectrum:
    """The part between ``low`` and ``high`` GeV."""
    first = spectrum.energies[0] if low is None else max(low, spectrum.energies[0])
    last = spectrum.energies[-1] if high is None else min(high, spectrum.energies[-1])
    shares = np.interp([first, last], spectrum.energies, spectrum.cumulative)
    if not (first < last and shares[1] > shares[0]):
        raise ConfigError(
            f"no neutrinos between {low} and {high} GeV",
            where=f"spectrum {spectrum.name}",
            expected=f"bounds within {spectrum.energies[0]:g} to {spectrum.energies[-1]:g} GeV",
        )
    inside = (spectrum.energies > first) & (spectrum.energies < last)
    energies = np.concatenate([[first], spectrum.energies[inside], [last]])
    cumulative = np.interp(energies, spectrum.energies, spectrum.cumulative)
    return Spectrum(spectrum.name, energies, (cumulative - shares[0]) / (shares[1] - shares[0]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"'{text}' is not an energy", where="spectrum mono:E", expected="for example mono:2.5"
        ) from None
