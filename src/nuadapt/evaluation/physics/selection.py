"""A classifier beside the cuts: how much of a signal it keeps at the cuts' rate of false positives, bin by bin.

One threshold on the score of all events, never one per bin: a selection is a single rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError
from nuadapt.evaluation.intervals import wilson
from nuadapt.evaluation.metrics import effective_events
from nuadapt.evaluation.physics.cuts import BoolArray, Rates, rates
from nuadapt.evaluation.physics.energy import Q3_EDGES

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

#: Edges of true W (GeV): quasi-elastic and Delta region, higher resonances, and beyond.
W_EDGES = (0.0, 1.1, 1.4, 1.8, 2.2, 3.0, 100.0)
#: Bins of pion energy and angle hold equal shares of the signal, as in arXiv:2604.12364.
N_BINS = 6


@dataclass(frozen=True, slots=True)
class BinnedRates:
    """Efficiencies in the bins of one quantity: ``edges`` (K + 1,), and for cuts and model (K,) each with its interval.

    A gate fails where ``below`` (K,) is true, the model's efficiency lies under that of the cuts; it fails
    ``significantly_below`` (K,) where the model's whole interval does.
    """

    quantity: str
    edges: FloatArray
    n_signal: npt.NDArray[np.int64]
    cuts: FloatArray
    cuts_interval: FloatArray  # (K, 2)
    model: FloatArray
    model_interval: FloatArray  # (K, 2)
    below: BoolArray
    significantly_below: BoolArray

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not defined is null."""

        def plain(values: Array) -> list[Any]:
            return [plain(v) if np.ndim(v) else (v.item() if np.isfinite(v) else None) for v in values]

        return {"quantity": self.quantity, **{name: plain(getattr(self, name)) for name in _COLUMNS}}

    def gates_failed(self) -> list[dict[str, Any]]:
        """The bins in which the model is below the cuts, as plain values."""
        return [
            {
                "quantity": self.quantity,
                "low": float(self.edges[i]),
                "high": float(self.edges[i + 1]),
                "significant": bool(self.significantly_below[i]),
            }
            for i in np.flatnonzero(self.below)
        ]


_COLUMNS = tuple(f.name for f in fields(BinnedRates) if f.name != "quantity")


def threshold_at(score: FloatArray, signal: BoolArray, weight: Array, false_positive_rate: float) -> float:
    """The lowest threshold t for which ``score >= t`` keeps at most this share of the background.

    Equal scores are kept or left out together.

    Raises:
        DataError: no background.
    """
    background, w = score[~signal], np.asarray(weight, dtype=np.float64)[~signal]
    if not w.sum() > 0:
        raise DataError("no background to fix a rate of false positives with")
    order = np.argsort(-background, kind="stable")
    values, kept = background[order], np.cumsum(w[order]) / w.sum()
    last = np.append(values[1:] != values[:-1], True)  # where a group of equal scores ends
    fine = last & (kept <= false_positive_rate + 1e-12)
    return float(values[fine][-1]) if fine.any() else float(np.nextafter(values[0], np.inf))


def compare(
    score: FloatArray, kept_by_cuts: BoolArray, signal: BoolArray, weight: Array
) -> tuple[Rates, Rates, BoolArray]:
    """Rates of the cuts, of the model at no more false positives, and what the model keeps (N,)."""
    of_cuts = rates(kept_by_cuts, signal, weight)
    kept = score >= threshold_at(score, signal, weight, of_cuts.false_positive_rate)
    return of_cuts, rates(kept, signal, weight), kept


def equal_edges(values: FloatArray, bins: int = N_BINS) -> FloatArray:
    """Edges (bins + 1,) between which equal numbers of ``values`` lie; the last one is included.

    Raises:
        ConfigError: fewer different values than bins.
    """
    known = values[np.isfinite(values)]
    edges = np.quantile(known, np.linspace(0, 1, bins + 1)) if len(known) else np.zeros(0)
    if len(np.unique(edges)) < bins + 1:
        raise ConfigError(f"{len(np.unique(known))} different values do not fill {bins} bins")
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return np.asarray(edges)


def in_bins(
    quantity: str,
    values: FloatArray,
    edges: Array,
    signal: BoolArray,
    kept_by_cuts: BoolArray,
    kept_by_model: BoolArray,
    weight: Array,
) -> BinnedRates:
    """Efficiency of both selections for the signal in each bin of ``values`` (N,), with binomial intervals (95%).

    Weighted events count as the number of unweighted ones with the same precision.
    """
    edges = np.asarray(edges, dtype=np.float64)
    where = np.digitize(values, edges) - 1
    weight = np.asarray(weight, dtype=np.float64)
    rows: dict[str, list[Any]] = {name: [] for name in ("n", "cuts", "cuts_in", "model", "model_in")}
    for index in range(len(edges) - 1):
        mine = signal & (where == index)
        total, effective = weight[mine].sum(), effective_events(weight[mine])
        rows["n"].append(int(mine.sum()))
        for name, kept in (("cuts", kept_by_cuts), ("model", kept_by_model)):
            share = weight[mine & kept].sum() / total if total > 0 else np.nan
            rows[name].append(share)
            rows[f"{name}_in"].append(wilson(share * effective, effective) or [np.nan, np.nan])
    made = {name: np.asarray(column, dtype=np.float64) for name, column in rows.items()}
    with np.errstate(invalid="ignore"):
        below = made["model"] < made["cuts"]
        significantly = made["model_in"][:, 1] < made["cuts"]
    return BinnedRates(
        quantity,
        edges,
        made["n"].astype(np.int64),
        made["cuts"],
        made["cuts_in"],
        made["model"],
        made["model_in"],
        below,
        significantly,
    )


def binned_quantities(columns: Mapping[str, Array], signal: BoolArray) -> dict[str, tuple[FloatArray, FloatArray]]:
    """True quantities (N,) with the edges of their bins: W, q3, and energy and angle of the pion.

    A quantity that the signal does not have in enough different values is left out.
    """
    fixed = {"W": W_EDGES, "q3": Q3_EDGES}
    found = {name: (np.asarray(columns[name], dtype=np.float64), np.asarray(edges)) for name, edges in fixed.items()}
    for name in ("pion_energy", "pion_angle"):
        values = np.asarray(columns[name], dtype=np.float64)
        try:
            found[name] = (values, equal_edges(values[signal]))
        except ConfigError:
            continue
    return found
