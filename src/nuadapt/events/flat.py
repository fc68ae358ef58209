"""Columns of things of which an event has any number: flat arrays with offsets, never a list per event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError

Array = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]
Columns = dict[str, Array]


def offsets_of(counts: Array) -> Offsets:
    """Offsets (N + 1,) of events with ``counts`` (N,) things each.

    >>> offsets_of(np.array([2, 0, 1])).tolist()
    [0, 2, 2, 3]
    """
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def owners(offsets: Offsets) -> Offsets:
    """Event of each thing, shape (things,)."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def check_fit(what: str, offsets: Offsets, columns: Columns) -> None:
    """Offsets start at 0, never fall, and end where every column ends.

    Raises:
        DataError: they do not.
    """
    ordered = offsets[0] == 0 and not np.any(np.diff(offsets) < 0)
    if not ordered or any(column.shape != (offsets[-1],) for column in columns.values()):
        raise DataError(f"{what} columns do not fit their offsets")


def select(offsets: Offsets, columns: Columns, index: Array) -> tuple[Offsets, Columns]:
    """Offsets and columns of the events ``index`` (integers), in that order."""
    index = np.asarray(index, dtype=np.int64)
    counts = offsets[index + 1] - offsets[index]
    new = offsets_of(counts)
    take = np.arange(new[-1]) + np.repeat(offsets[index] - new[:-1], counts)
    return new, {name: column[take] for name, column in columns.items()}


def join(parts: Sequence[tuple[Offsets, Columns]]) -> tuple[Offsets, Columns]:
    """Offsets and columns of all events of ``parts`` in order."""
    counts = np.concatenate([np.diff(offsets) for offsets, _ in parts])
    return offsets_of(counts), {name: np.concatenate([columns[name] for _, columns in parts]) for name in parts[0][1]}
