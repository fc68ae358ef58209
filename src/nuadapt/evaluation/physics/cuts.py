"""What models are compared with: selections by cuts, and calorimetric estimates of the available energy.

The selections are those of MINERvA's pion analyses in the form that arXiv:2604.12364 compares with. They look at
event-level columns only, so they run on simulated events and on data alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, nearest
from nuadapt.events.truth import PION_CLASSES

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

PI0_MASS = 0.1349768  # GeV, Phys. Rev. D 110 (2024) 030001
#: Half-width (GeV) of the window around the pi0 mass in the public code of arXiv:2604.12364: the mass itself, so that
#: nothing is cut below it. Narrower windows are an option (:func:`scan_window`).
PUBLIC_WINDOW = 0.134977
#: Factor from ``blob_recoil_E`` to the available energy in arXiv:2604.12364.
CALORIMETRIC_SCALE = 1.17

#: Signal -> classes of the pion task that belong to it. A CC Npi signal is that with one charged pion or more, as in
#: MINERvA's analyses (B. Eberly et al., arXiv:1406.6415); the task's class of that name begins at two.
SIGNALS: dict[str, tuple[str, ...]] = {
    "cc_1pi_charged": ("cc_1pi_charged",),
    "cc_npi_charged": ("cc_1pi_charged", "cc_npi_charged"),
    "cc_1pi0": ("cc_1pi0",),
}
_NEEDED = ("n_muons", "n_charged_prongs", "n_michel_tags", "diphoton_mass")


def one_charged(columns: Mapping[str, Array], window: float) -> BoolArray:
    """CC 1pi+-: a matched muon, exactly one charged prong, exactly one Michel electron."""
    return _all(columns["n_muons"] == 1, columns["n_charged_prongs"] == 1, columns["n_michel_tags"] == 1)


def some_charged(columns: Mapping[str, Array], window: float) -> BoolArray:
    """CC Npi+-: a matched muon, at least one charged prong, at least one Michel electron."""
    return _all(columns["n_muons"] == 1, columns["n_charged_prongs"] >= 1, columns["n_michel_tags"] >= 1)


def one_neutral(columns: Mapping[str, Array], window: float) -> BoolArray:
    """CC 1pi0: a matched muon, two photons whose mass is within ``window`` (GeV) of a pi0, no Michel electron."""
    mass = np.asarray(columns["diphoton_mass"], dtype=np.float64)
    near = np.abs(np.nan_to_num(mass, nan=np.inf) - PI0_MASS) < window  # no pair: the mass is NaN
    return _all(columns["n_muons"] == 1, near, columns["n_michel_tags"] == 0)


CUTS: dict[str, Callable[[Mapping[str, Array], float], BoolArray]] = {
    "cc_1pi_charged": one_charged,
    "cc_npi_charged": some_charged,
    "cc_1pi0": one_neutral,
}


def selected(signal: str, columns: Mapping[str, Array], *, window: float = PUBLIC_WINDOW) -> BoolArray:
    """Which events the cuts of a signal keep, (N,).

    Raises:
        DataError: no such signal, or a column that the cuts need is missing.
    """
    if signal not in CUTS:
        raise DataError(f"no signal '{signal}'", expected=nearest(signal, CUTS))
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise DataError(f"these events have no column '{missing[0]}'", expected="MINERvA events, read or simulated")
    return CUTS[signal](columns, window)


def is_signal(signal: str, label: Array) -> BoolArray:
    """Which labels of the pion task (N,) belong to a signal, (N,)."""
    return np.isin(label, [PION_CLASSES.index(name) for name in SIGNALS[signal]])


def score(signal: str, probability: Array) -> npt.NDArray[np.float64]:
    """Probability (N,) of a signal from those of the classes of the pion task (N, 5)."""
    picked: npt.NDArray[np.float64] = probability[:, [PION_CLASSES.index(name) for name in SIGNALS[signal]]].sum(axis=1)
    return picked


@dataclass(frozen=True, slots=True)
class Rates:
    """Weighted counts of a selection: of the signal selected and missed, of the background selected and left out."""

    true_positive: float
    false_negative: float
    false_positive: float
    true_negative: float

    @property
    def efficiency(self) -> float:
        """Share of the signal that is selected, the true-positive rate; NaN without signal."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def false_positive_rate(self) -> float:
        """Share of the background that is selected; NaN without background."""
        return _ratio(self.false_positive, self.false_positive + self.true_negative)

    @property
    def purity(self) -> float:
        """Share of the selected that is signal, the precision; NaN if nothing is selected."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)


def rates(kept: BoolArray, signal: BoolArray, weight: Array) -> Rates:
    """Rates of a selection ``kept`` (N,) of events that are ``signal`` (N,) or not."""

    def total(mask: BoolArray) -> float:
        return float(weight[mask].sum())

    return Rates(total(kept & signal), total(~kept & signal), total(kept & ~signal), total(~kept & ~signal))


def scan_window(
    columns: Mapping[str, Array], signal: BoolArray, weight: Array, windows: Array
) -> list[dict[str, float]]:
    """Efficiency, purity and their product for half-widths ``windows`` (GeV) of the CC 1pi0 selection."""
    found = []
    for window in np.asarray(windows, dtype=float):
        of = rates(one_neutral(columns, float(window)), signal, weight)
        found.append(
            {
                "window": float(window),
                "efficiency": of.efficiency,
                "purity": of.purity,
                "product": of.efficiency * of.purity,
            }
        )
    return found


def best_window(scan: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """The row of a scan with the highest product of efficiency and purity; None where none has one."""
    known = [row for row in scan if np.isfinite(row["product"])]
    return dict(max(known, key=lambda row: row["product"])) if known else None


def calorimetric(columns: Mapping[str, Array], scale: float = CALORIMETRIC_SCALE) -> npt.NDArray[np.float64]:
    """Available energy (N,) in GeV from the recoil in blobs; unknown recoil counts as 0."""
    return scale * np.nan_to_num(np.asarray(columns["blob_recoil_energy"], dtype=np.float64))


def fitted_scale(columns: Mapping[str, Array], energy: Array, weight: Array) -> float:
    """The scale with which the median of estimate over true ``energy`` (N,) is 1, from events with both above 0.

    Raises:
        DataError: there are no such events.
    """
    raw = calorimetric(columns, 1.0)
    mine = (raw > 0) & (energy > 0) & (weight > 0)
    if not mine.any():
        raise DataError("no event with a recoil and a true energy to fit the calorimetric scale to")
    ratio = np.asarray(energy, dtype=np.float64)[mine] / raw[mine]
    order = np.argsort(ratio)
    below = np.cumsum(np.asarray(weight, dtype=np.float64)[mine][order])
    return float(ratio[order][np.searchsorted(below, 0.5 * below[-1])])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _all(*masks: Array) -> BoolArray:
    return np.asarray(np.logical_and.reduce(masks), dtype=bool)
