"""A model of clouds in physics terms, beside what needs no model: the content of ``physics.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from nuadapt.evaluation.curves import roc, thinned
from nuadapt.evaluation.physics.cuts import (
    CUTS,
    PUBLIC_WINDOW,
    BoolArray,
    Rates,
    best_window,
    is_signal,
    scan_window,
    score,
    selected,
)
from nuadapt.evaluation.physics.selection import binned_quantities, compare, in_bins
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.truth import NO_LABEL

Array = npt.NDArray[Any]

#: Columns that the selections and their bins look at.
COLUMNS = ("n_muons", "n_charged_prongs", "n_michel_tags", "diphoton_mass", "W", "q3", "pion_energy", "pion_angle")
#: Half-widths (GeV) of the scanned window around the pi0 mass.
WINDOWS = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, PUBLIC_WINDOW)


def selections(predictions: Predictions, columns: Mapping[str, Array], window: float = PUBLIC_WINDOW) -> dict[str, Any]:
    """For each signal of the pion task: cuts and model at equal false positives, in all and by bin, as plain values.

    ``columns`` are COLUMNS of the same events (N,), ``window`` (GeV) is that of the pi0 cuts. Events without true class
    are left out. A signal that is not there, or that is all there is, is null.
    """
    known = predictions.truth != NO_LABEL
    table = predictions.select(known)
    given = {name: np.asarray(columns[name])[known] for name in COLUMNS}
    return {signal: _selection(signal, table, given, window) for signal in CUTS}


def signal_curves(predictions: Predictions) -> dict[str, Array]:
    """By ``signal_<signal>`` the points (n, 3) of the ROC curve of each signal of the pion task."""
    table = predictions.select(predictions.truth != NO_LABEL)
    return {
        f"signal_{signal}": thinned(roc(score(signal, table.probability), is_signal(signal, table.truth), table.weight))
        for signal in CUTS
    }


def _selection(signal: str, table: Predictions, columns: Mapping[str, Array], window: float) -> dict[str, Any] | None:
    true, weight = is_signal(signal, table.truth), table.weight
    if not (weight[true].sum() > 0 and weight[~true].sum() > 0):
        return None
    values = score(signal, table.probability)
    by_cuts = selected(signal, columns, window=window)
    of_cuts, of_model, kept = compare(values, by_cuts, true, weight)
    bins = [
        in_bins(name, of, edges, true, by_cuts, kept, weight)
        for name, (of, edges) in binned_quantities(columns, true).items()
    ]
    return {
        "n_signal": int(true.sum()),
        "cuts": _plain(of_cuts),
        "model": _plain(of_model),
        "average_precision": float(average_precision_score(true, values, sample_weight=weight)),
        "random_precision": float(weight[true].sum() / weight.sum()),
        "bins": [found.as_dict() for found in bins],
        "gates_failed": [gate for found in bins for gate in found.gates_failed()],
        **(dict(_windows(columns, true, weight, window)) if signal == "cc_1pi0" else {}),
    }


def _windows(columns: Mapping[str, Array], true: BoolArray, weight: Array, window: float) -> Iterator[tuple[str, Any]]:
    """The window of the cuts (GeV), those that were tried, and the best of them."""
    scan = scan_window(columns, true, weight, np.array(sorted({*WINDOWS, window})))
    best = best_window(scan)
    yield "window", window
    yield "window_scan", [_null(row) for row in scan]
    yield "window_best", None if best is None else _null(best)


def _plain(of: Rates) -> dict[str, float | None]:
    names = ("efficiency", "purity", "false_positive_rate")
    return _null({name: getattr(of, name) for name in names})


def _null(row: dict[str, float]) -> dict[str, float | None]:
    """NaN is null in JSON."""
    return {name: value if np.isfinite(value) else None for name, value in row.items()}
