"""EventBatch: the only thing that crosses from the sources to the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, nearest
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.schema import FIELDS, KEY_NAMES, PARTICLE_FIELDS, TRUTH_NAMES
from nuadapt.events.truth import NO_LABEL, flavour_label

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles leaving the nucleus of N events: ``offsets`` (N + 1,), flat columns of PARTICLE_FIELDS."""

    offsets: npt.NDArray[np.int64]
    columns: dict[str, Array]

    def __post_init__(self) -> None:
        if set(self.columns) != set(PARTICLE_FIELDS):
            raise DataError(f"particle columns are {sorted(self.columns)}", expected=str(list(PARTICLE_FIELDS)))
        ordered = self.offsets[0] == 0 and not np.any(np.diff(self.offsets) < 0)
        if not ordered or any(len(c) != self.offsets[-1] for c in self.columns.values()):
            raise DataError("particle columns do not fit their offsets")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, event: int) -> dict[str, Array]:
        """Columns of the particles of one event."""
        at = slice(int(self.offsets[event]), int(self.offsets[event + 1]))
        return {name: column[at] for name, column in self.columns.items()}

    @classmethod
    def from_lists(cls, pdg: Sequence[Array], p4: Sequence[Array]) -> Particles:
        """From one (n,) code array and one (n, 4) px, py, pz, E array (GeV) per event."""
        counts = [len(p) for p in pdg]
        flat = np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1, 4) for p in p4] or [np.empty((0, 4))])
        codes = np.concatenate([np.asarray(p, dtype=np.int64) for p in pdg] or [np.empty(0, dtype=np.int64)])
        columns: dict[str, Array] = {"pdg": codes.astype(np.int32)}
        columns |= {name: flat[:, i].astype(np.float32) for i, name in enumerate(("px", "py", "pz", "E"))}
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), columns)

    def select(self, index: Array) -> Particles:
        """Particles of the events ``index`` (integers), in that order."""
        index = np.asarray(index, dtype=np.int64)
        counts = self.offsets[index + 1] - self.offsets[index]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        take = np.arange(offsets[-1]) + np.repeat(self.offsets[index] - offsets[:-1], counts)
        return Particles(offsets, {name: column[take] for name, column in self.columns.items()})

    @staticmethod
    def concatenate(parts: Sequence[Particles]) -> Particles:
        """All events of ``parts`` in order."""
        counts = np.concatenate([np.diff(p.offsets) for p in parts])
        columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in PARTICLE_FIELDS}
        return Particles(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), columns)


def _stored(name: str, given: Any) -> Array:
    """A column in the type of the schema; an integer that would wrap around or lose its fraction is an error."""
    values, dtype = np.asarray(given), np.dtype(FIELDS[name].dtype)
    if values.dtype.kind not in "biuf":
        raise DataError(f"column '{name}' holds {values.dtype}", expected="numbers")
    if dtype.kind in "iu" and values.dtype != dtype:
        limits = np.iinfo(dtype)
        fits = (values >= limits.min) & (values <= limits.max)
        if values.dtype.kind == "f":
            fits &= values == np.trunc(values)
        if not fits.all():
            first = values[~fits].flat[0]
            raise DataError(f"column '{name}' cannot hold {first}", expected=f"integers {limits.min} to {limits.max}")
    return values.astype(dtype, copy=False)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Columns over N events, with optional particles and pixel maps.

    ``columns`` holds schema columns of shape (N,): the key always, ``weight`` always (1 if not given), truth
    columns either all or none (recorded data has none). ``sources`` are the names that the ``source`` column
    points to.
    """

    columns: dict[str, Array]
    sources: tuple[str, ...]
    particles: Particles | None = None
    pixelmap: PixelMaps | None = None

    @classmethod
    def make(
        cls,
        given: Mapping[str, Any],
        sources: Sequence[str],
        particles: Particles | None = None,
        pixelmap: PixelMaps | None = None,
        *,
        has_truth: bool = True,
    ) -> EventBatch:
        """Check and complete columns: types of the schema, sentinels for truth that the source does not know.

        Raises:
            DataError: unknown or missing columns, values that the stored type cannot hold, different lengths,
                non-finite weights.
        """
        unknown = [name for name in given if name not in FIELDS]
        if unknown:
            raise DataError(f"unknown column '{unknown[0]}'", expected=nearest(unknown[0], FIELDS))
        missing = [name for name in KEY_NAMES if name not in given]
        if missing:
            raise DataError(f"events without the key columns {missing}")
        n = len(np.asarray(given["event"]))
        columns = {name: _stored(name, given[name]) for name in FIELDS if name in given}
        columns.setdefault("weight", np.ones(n, dtype="f4"))
        columns.setdefault("split", FIELDS["split"].missing(n))
        if has_truth:
            for name in TRUTH_NAMES:
                columns.setdefault(name, FIELDS[name].missing(n))
        batch = cls({name: columns[name] for name in FIELDS if name in columns}, tuple(sources), particles, pixelmap)
        batch.check()
        return batch

    def check(self) -> None:
        """Lengths fit, sources exist, weights are finite.

        Raises:
            DataError: the first thing that does not fit.
        """
        n = len(self)
        wrong = [name for name, column in self.columns.items() if column.shape != (n,)]
        if wrong:
            raise DataError(f"column '{wrong[0]}' has shape {self.columns[wrong[0]].shape}", expected=f"({n},)")
        for part in (self.particles, self.pixelmap):
            if part is not None and len(part) != n:
                raise DataError(f"{type(part).__name__} of {len(part)} events beside columns of {n}")
        source = self.columns["source"]
        if n and (source.min() < 0 or source.max() >= len(self.sources)):
            raise DataError("an event points to a source that is not in the table of sources")
        if not np.all(np.isfinite(self.columns["weight"])):
            raise DataError("an event weight is not finite")

    def __len__(self) -> int:
        return len(self.columns["event"])

    def __getitem__(self, name: str) -> Array:
        """One column by name.

        Raises:
            DataError: these events do not have it.
        """
        if name not in self.columns:
            raise DataError(f"these events have no column '{name}'", expected=nearest(name, self.columns))
        return self.columns[name]

    @property
    def has_truth(self) -> bool:
        """False for recorded data."""
        return "nu_pdg" in self.columns

    @property
    def label(self) -> npt.NDArray[np.int8]:
        """Label of the flavour task, shape (N,); NO_LABEL everywhere without truth."""
        if not self.has_truth:
            return np.full(len(self), NO_LABEL, dtype=np.int8)
        return flavour_label(self["nu_pdg"], self["current"])

    def select(self, index: Array) -> EventBatch:
        """The events ``index`` (integers or a boolean mask), in that order.

        Raises:
            DataError: a mask of another length.
        """
        index = np.asarray(index)
        if index.dtype == bool and index.shape != (len(self),):
            raise DataError(f"a mask of {len(index)} for {len(self)} events")
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        return replace(
            self,
            columns={name: column[index] for name, column in self.columns.items()},
            particles=self.particles.select(index) if self.particles is not None else None,
            pixelmap=self.pixelmap.select(index) if self.pixelmap is not None else None,
        )

    @staticmethod
    def concatenate(parts: Sequence[EventBatch]) -> EventBatch:
        """All events in order; the tables of sources are merged.

        Raises:
            DataError: no parts, or parts with different columns or representations.
        """
        if not parts:
            raise DataError("no events to join")
        layout = (set(parts[0].columns), parts[0].particles is None, parts[0].pixelmap is None)
        if any((set(p.columns), p.particles is None, p.pixelmap is None) != layout for p in parts):
            raise DataError("batches with different columns or representations cannot be joined")
        sources = list(dict.fromkeys(name for p in parts for name in p.sources))
        columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns}
        moved = [np.array([sources.index(s) for s in p.sources], dtype="i2")[p["source"]] for p in parts]
        columns["source"] = np.concatenate(moved)
        particles = [p.particles for p in parts if p.particles is not None]
        maps = [p.pixelmap for p in parts if p.pixelmap is not None]
        return EventBatch(
            columns,
            tuple(sources),
            Particles.concatenate(particles) if particles else None,
            PixelMaps.concatenate(maps) if maps else None,
        )
