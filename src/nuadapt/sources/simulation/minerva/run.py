"""Events for a look at the MINERvA-like simulation: some simulated ones, and others beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore
from nuadapt.sources.ingest import read_all
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.minerva.detector import MinervaLike
from nuadapt.sources.simulation.minerva.distributions import distributions

#: Batches of other events that are looked at.
_MOST_BATCHES = 20


def look(
    events: int, seed: int, beside: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Curves (:func:`distributions`) of so many simulated events, and of those of a store or tuple beside them.

    Raises:
        InputFileError: the file cannot be read.
        DataError: its events have no clouds.
    """
    detector, parts = MinervaLike(MinervaConfig(), seed), []
    for first in range(0, events, detector.chunk):
        parts.append(detector.simulate(range(first, min(first + detector.chunk, events)), detector.source))
        if progress is not None:
            progress(min(first + detector.chunk, events), events)
    named = [("stand-in", EventBatch.concatenate(parts))]
    if beside is not None:
        named.append((beside.name, EventBatch.concatenate(list(islice(_events(beside), _MOST_BATCHES)))))
    return distributions(named)


def _events(path: Path) -> Iterator[EventBatch]:
    """Batches of a store, or of a tuple."""
    if path.suffix == ".root":
        yield from read_all([path])
        return
    with EventStore(path) as store:
        yield from store.batches(1000)
