"""Auxiliary targets: visible truth that a vision tower learns beside the class.

A class label is 1.6 bits an event; how long the muon is or how far a shower starts from the vertex says much more
about what to look at. Every target is scaled to be of order one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.batch import EventBatch

Array = npt.NDArray[Any]


def _length(name: str, scale: float) -> Callable[[EventBatch], Array]:
    """log(1 + value / scale): fine differences between short ones, coarse between long ones; NaN where unknown."""
    return lambda batch: np.log1p(np.maximum(batch[name], 0) / scale)


def _number(name: str, most: int) -> Callable[[EventBatch], Array]:
    """A count up to ``most``, scaled to 0..1; NaN where unknown (stored as -1)."""
    return lambda batch: np.where(batch[name] < 0, np.nan, np.minimum(batch[name], most) / most)


def _or_zero(target: Callable[[EventBatch], Array]) -> Callable[[EventBatch], Array]:
    """None of it counts as zero: an event without a muon has a muon track of no length."""
    return lambda batch: np.nan_to_num(target(batch), nan=0.0)


#: Target -> how it follows from the columns of a batch, shape (N,).
TARGETS: dict[str, Callable[[EventBatch], Array]] = {
    "muon_track_length": _or_zero(_length("muon_track_length", 10.0)),  # cm
    "muon_contained": _number("muon_contained", 1),
    "shower_energy": _or_zero(_length("shower_energy", 0.1)),  # GeV
    "shower_gap": _length("shower_gap", 2.0),  # cm
    "deposited_energy": _length("deposited_energy", 0.3),  # GeV
    "n_tracks": _number("n_tracks", 6),
    "n_showers": _number("n_showers", 4),
    "n_michel": _number("n_michel", 1),
    "n_protons": _number("n_protons", 3),
    "n_charged_pions": _number("n_charged_pions", 2),
    "n_neutral_pions": _number("n_neutral_pions", 2),
    "inelasticity_y": lambda batch: batch["inelasticity_y"],
}
TARGET_NAMES: tuple[str, ...] = tuple(TARGETS)


def auxiliary_targets(batch: EventBatch) -> npt.NDArray[np.float32]:
    """All targets of a batch, shape (N, len(TARGETS)), NaN where unknown."""
    return np.stack([target(batch) for target in TARGETS.values()], axis=1).astype(np.float32)
