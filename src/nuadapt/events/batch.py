"""EventBatch: the only thing that crosses from the sources to the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, nearest
from nuadapt.events import flat
from nuadapt.events.cloud import Clouds, CloudSpec
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.schema import FIELDS, KEY_NAMES, PARTICLE_FIELDS, truth_names
from nuadapt.events.truth import NO_LABEL, flavour_label, pion_label

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles leaving the nucleus of N events: ``offsets`` (N + 1,), flat columns of PARTICLE_FIELDS."""

    offsets: npt.NDArray[np.int64]
    columns: dict[str, Array]

    def __post_init__(self) -> None:
        if set(self.columns) != set(PARTICLE_FIELDS):
            raise DataError(f"particle columns are {sorted(self.columns)}", expected=str(list(PARTICLE_FIELDS)))
        flat.check_fit("particle", self.offsets, self.columns)

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
        joined = np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1, 4) for p in p4] or [np.empty((0, 4))])
        codes = np.concatenate([np.asarray(p, dtype=np.int64) for p in pdg] or [np.empty(0, dtype=np.int64)])
        columns: dict[str, Array] = {"pdg": codes.astype(np.int32)}
        columns |= {name: joined[:, i].astype(np.float32) for i, name in enumerate(("px", "py", "pz", "E"))}
        return cls(flat.offsets_of(np.array(counts)), columns)

    def select(self, index: Array) -> Particles:
        """Particles of the events ``index`` (integers), in that order."""
        return Particles(*flat.select(self.offsets, self.columns, index))

    @staticmethod
    def concatenate(parts: Sequence[Particles]) -> Particles:
        """All events of ``parts`` in order."""
        return Particles(*flat.join([(p.offsets, p.columns) for p in parts]))


def column_names(*, has_truth: bool, maps: bool, cloud: CloudSpec | None) -> tuple[str, ...]:
    """Names of the per-event columns of events with these representations, in storage order."""
    truth = truth_names(maps=maps, cloud=cloud is not None) if has_truth else ()
    there = {*KEY_NAMES, "weight", "split", *truth, *(cloud.features if cloud else ())}
    return tuple(name for name in FIELDS if name in there)


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
    """Columns over N events, with optional particles, pixel maps and clouds.

    ``columns`` holds schema columns of shape (N,): the key always, ``weight`` always (1 if not given), the truth
    columns that go with the representations either all or none (recorded data has none), and the features of the
    cloud. ``sources`` are the names that the ``source`` column points to.
    """

    columns: dict[str, Array]
    sources: tuple[str, ...]
    particles: Particles | None = None
    pixelmap: PixelMaps | None = None
    cloud: Clouds | None = None

    @classmethod
    def make(
        cls,
        given: Mapping[str, Any],
        sources: Sequence[str],
        particles: Particles | None = None,
        pixelmap: PixelMaps | None = None,
        cloud: Clouds | None = None,
        *,
        has_truth: bool = True,
    ) -> EventBatch:
        """Check and complete columns: types of the schema, sentinels for what the source does not know.

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
        spec = cloud.spec if cloud is not None else None
        names = column_names(has_truth=has_truth, maps=pixelmap is not None, cloud=spec)
        misplaced = [name for name in columns if name not in names]
        if misplaced:
            raise DataError(
                f"column '{misplaced[0]}' does not belong to these events",
                expected="no truth without has_truth, and only columns that go with the representation",
            )
        for name in names:
            columns.setdefault(name, FIELDS[name].missing(n))
        batch = cls({name: columns[name] for name in names}, tuple(sources), particles, pixelmap, cloud)
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
        for part in (self.particles, self.pixelmap, self.cloud):
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

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that tell every event from every other: the key, and the row in the source where it is stored.

        A spill of the beam may hold several interactions, so an experiment's own key can repeat.
        """
        return (*KEY_NAMES, "entry") if "entry" in self.columns else KEY_NAMES

    @property
    def stratum(self) -> npt.NDArray[np.int64]:
        """What splits are balanced in, (N,): the flavour label; with a cloud also pion label and interaction mode."""
        if self.cloud is None or not self.has_truth:
            return self.label.astype(np.int64)
        return cloud_strata(self.columns)

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
            cloud=self.cloud.select(index) if self.cloud is not None else None,
        )

    @staticmethod
    def concatenate(parts: Sequence[EventBatch]) -> EventBatch:
        """All events in order; the tables of sources are merged.

        Raises:
            DataError: no parts, or parts with different columns or representations.
        """
        if not parts:
            raise DataError("no events to join")
        layouts = [(set(p.columns), p.particles is None, p.pixelmap is None, p.cloud is None) for p in parts]
        if any(layout != layouts[0] for layout in layouts):
            raise DataError("batches with different columns or representations cannot be joined")
        sources = list(dict.fromkeys(name for p in parts for name in p.sources))
        columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns}
        moved = [np.array([sources.index(s) for s in p.sources], dtype="i2")[p["source"]] for p in parts]
        columns["source"] = np.concatenate(moved)
        particles = [p.particles for p in parts if p.particles is not None]
        maps = [p.pixelmap for p in parts if p.pixelmap is not None]
        clouds = [p.cloud for p in parts if p.cloud is not None]
        return EventBatch(
            columns,
            tuple(sources),
            Particles.concatenate(particles) if particles else None,
            PixelMaps.concatenate(maps) if maps else None,
            Clouds.concatenate(clouds) if clouds else None,
        )


#: Columns that the strata of clouds are made of.
STRATUM_COLUMNS = ("nu_pdg", "current", "n_charged_pions", "n_neutral_pions", "mode")


def cloud_strata(columns: Mapping[str, Array]) -> npt.NDArray[np.int64]:
    """What splits of clouds are balanced in, (N,), from the STRATUM_COLUMNS: flavour, pions and interaction mode."""
    label = flavour_label(columns["nu_pdg"], columns["current"]).astype(np.int64)
    pions = pion_label(columns["current"], columns["n_charged_pions"], columns["n_neutral_pions"])
    strata: npt.NDArray[np.int64] = (label * 16 + pions) * 16 + columns["mode"]
    return strata
