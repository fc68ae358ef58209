"""What the simulated MINERvA-like events look like, as curves for figures, beside those of other events if given.

There is no tolerance here: a stand-in is not validated by looking like itself. The figures show what was simulated, and
with events of MINERvA's own tuples beside it, where it differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import TokenType
from nuadapt.events.flat import owners

Array = npt.NDArray[Any]
Curve = dict[str, Any]
#: Columns whose distribution is shown: title, axis, range.
_COLUMNS: dict[str, tuple[str, str, tuple[float, float]]] = {
    "nu_energy": ("Neutrino energy", "true neutrino energy [GeV]", (0, 20)),
    "W": ("Hadronic mass", "true W [GeV]", (0.8, 4)),
    "q3": ("Three-momentum transfer", "true q3 [GeV]", (0, 8)),
    "available_energy_minerva_ml": ("Available energy", "true available energy [GeV]", (0, 8)),
    "blob_recoil_energy": ("Recoil in blobs", "recoil in blobs [GeV]", (0, 8)),
    "passive_recoil_id": ("Passive-corrected recoil", "recoil, inner detector [GeV]", (0, 8)),
    "diphoton_mass": ("Pairs of photons", "mass of the two photons [GeV]", (0, 0.5)),
}
_COUNTS: dict[str, tuple[str, int]] = {
    "n_michel_tags": ("Michel electrons", 5),
    "n_charged_prongs": ("Charged prongs", 8),
    "n_charged_pions": ("Charged pions leaving the nucleus", 8),
}
_BINS = 40


def distributions(named: Sequence[tuple[str, EventBatch]]) -> dict[str, Curve]:
    """Curves by name, each normalised to one; the first of ``named`` is drawn as a line, the others as references.

    Raises:
        DataError: events without clouds.
    """
    for name, events in named:
        if events.cloud is None:
            raise DataError(f"the events of {name} have no particle clouds", expected="MINERvA events")
    curves: dict[str, Curve] = {}
    for column, (title, axis, limits) in _COLUMNS.items():
        values = [(n, e.columns.get(column)) for n, e in named]
        curves[f"column-{column}"] = _histogram(title, axis, limits, values)
    for column, (title, most) in _COUNTS.items():
        values = [(n, e.columns.get(column)) for n, e in named]
        curves[f"column-{column}"] = _histogram(title, "number", (-0.5, most + 0.5), values, most + 1)
    for kind in (TokenType.MUON, TokenType.PHOTON, TokenType.BLOB, TokenType.PRONG_3, TokenType.PRONG_8):
        of = [(n, _token_energy(e, kind)) for n, e in named]
        words = kind.name.lower().replace("_", " ")
        curves[f"energy-{kind.name.lower()}"] = _histogram(
            f"Energy of tokens: {words}", "log10(E / GeV)", (-3, 1.5), [(n, np.log10(v)) for n, v in of]
        )
    curves["tokens"] = _tokens(named)
    curves["calorimetry"] = _histogram(
        "Calorimetric estimate over available energy",
        "1.17 x recoil in blobs / available energy",
        (0, 2),
        [(n, _ratio(e)) for n, e in named],
    )
    return {name: curve for name, curve in curves.items() if curve["series"]}


def _histogram(
    title: str, axis: str, limits: tuple[float, float], values: Sequence[tuple[str, Array | None]], bins: int = _BINS
) -> Curve:
    """Shares of the events in bins; who does not have the quantity is left out."""
    edges = np.linspace(*limits, bins + 1)
    series = []
    for index, (name, given) in enumerate(values):
        known = np.zeros(0) if given is None else np.asarray(given, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not len(known):
            continue
        share = np.histogram(known, edges)[0] / len(known)
        if index == 0:
            series.append({"name": name, "kind": "histogram", "x": edges.tolist(), "y": share.tolist()})
        else:
            middle = 0.5 * (edges[1:] + edges[:-1])
            error = np.sqrt(share * (1 - share) / len(known))
            series.append(
                {
                    "name": name,
                    "kind": "reference",
                    "x": middle.tolist(),
                    "y": share.tolist(),
                    "error": error.tolist(),
                }
            )
    return {"title": title, "x": axis, "y": "share of events", "series": series}


def _token_energy(events: EventBatch, kind: TokenType) -> Array:
    """Energies (n,) in GeV of all tokens of a type."""
    if events.cloud is None:
        return np.zeros(0)
    mine = events.cloud.columns["type"] == kind
    return np.asarray(np.exp(events.cloud.columns["log_e"][mine].astype(np.float64)))


def _tokens(named: Sequence[tuple[str, EventBatch]]) -> Curve:
    """Number of tokens of an event."""
    counts: list[tuple[str, Array | None]] = []
    for name, events in named:
        if events.cloud is not None:
            counts.append((name, np.bincount(owners(events.cloud.offsets), minlength=len(events))))
    return _histogram("Tokens of an event", "number of tokens", (-0.5, 40.5), counts, 41)


def _ratio(events: EventBatch) -> Array | None:
    """Calorimetric estimate over truth of events with at least 0.05 GeV."""
    truth = events.columns.get("available_energy_minerva_ml")
    if truth is None:
        return None
    known = truth >= 0.05
    return np.asarray(1.17 * events["blob_recoil_energy"][known] / truth[known])
