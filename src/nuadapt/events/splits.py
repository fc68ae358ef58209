"""Train, validation and test by hashed event key, stratified by class.

Whether an event is a test event depends on its key and on the keys of its class in the same file, never on
the order of files or on a random state: every model sees the same test events.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError

Array = npt.NDArray[Any]
SPLITS: tuple[str, ...] = ("train", "val", "test")
FRACTIONS: tuple[float, float, float] = (0.8, 0.1, 0.1)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64 finaliser (Steele, Lea, Flood, OOPSLA 2014): every input bit reaches every output bit."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def hash_keys(run: Array, subrun: Array, event: Array, source: Array, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """64-bit hash of each event key, shape (N,). Of a source only the file name counts, not its folder."""
    name_hash = np.array([zlib.crc32(PurePath(n).name.encode()) for n in names] or [0], dtype=np.uint64)
    state = _mix(name_hash[np.asarray(source, dtype=np.int64)] + np.uint64(0x9E3779B97F4A7C15))
    for part in (run, subrun, event):
        state = _mix(state ^ np.asarray(part).astype(np.int64).view(np.uint64))
    return state


def assign_splits(
    hashes: Array, labels: Array, fractions: tuple[float, float, float] = FRACTIONS
) -> npt.NDArray[np.uint8]:
    """Split number of each event, shape (N,): within each label the hash order is cut at ``fractions``.

    Raises:
        ConfigError: the fractions are negative or do not add up to 1.
    """
    if not (min(fractions) >= 0 and abs(sum(fractions) - 1) <= 1e-9):  # written so that NaN is refused, too
        raise ConfigError(f"split fractions {fractions} are impossible", expected="three shares that add up to 1")
    split = np.zeros(len(hashes), dtype=np.uint8)
    edges = np.cumsum(fractions)[:2]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rank = np.empty(len(rows))
        rank[np.argsort(hashes[rows], kind="stable")] = (np.arange(len(rows)) + 0.5) / len(rows)
        split[rows] = np.searchsorted(edges, rank, side="right")
    return split
