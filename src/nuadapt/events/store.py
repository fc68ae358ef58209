"""The one on-disk format: an HDF5 file that explains itself and survives a killed writer.

The writer works in HDF5's single-writer mode, in which the file is consistent at every moment, and counts a
batch as stored (``/commit``) only after all its columns are on disk. A reader believes that count and nothing
behind it, so a file whose writer was killed opens with every completed batch.

Layout: ``/columns/<name>`` (N,), ``/sources`` (S,), ``/particles/{offsets,<name>}``,
``/pixelmap/{offsets,row,col,value,origin}``, ``/cloud/{offsets,<name>}``,
``/commit`` = (events, sources, particles, pixels, complete[, tokens]).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, OutputError, nearest, refuse_existing
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.cloud import Clouds
from nuadapt.events.format import FORMAT_NAME, PIXEL_COLUMNS, Content, Layout, damage_explained, open_checked
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.schema import FIELDS, PARTICLE_FIELDS, SCHEMA_VERSION, TOKEN_FIELDS
from nuadapt.events.splits import SPLITS

__all__ = ["EventStore", "EventWriter", "Layout"]

Array = npt.NDArray[Any]
_CHUNK = 16384  # elements; about six events' pixels, small enough for random access
_NEAR = 32  # events; over a gap up to this, reading what lies between costs less than another call for each column
_SOURCE_DTYPE = "S512"


class EventWriter:
    """Append batches to a new store. Use as a context manager, and call :meth:`finish` after the last batch.

    Leaving the block without :meth:`finish` leaves a readable, incomplete file.
    """

    def __init__(self, path: Path, layout: Layout, record: dict[str, Any]) -> None:
        self.path, self.layout = path, layout
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = h5py.File(path, "w", libver="latest")
        except OSError as error:
            raise OutputError(
                f"cannot write here ({error})", where=path, next_step="Choose a folder that you may write to"
            ) from error
        self._sources: list[str] = []
        self._counts = np.zeros(layout.n_counts, dtype="i8")  # events, sources, particles, pixels, complete[, tokens]
        self._create(record)
        self._file.swmr_mode = True  # from here on the file is consistent at every moment

    @classmethod
    def create(cls, path: Path, layout: Layout, record: dict[str, Any]) -> EventWriter:
        """A writer on a file that does not exist yet.

        Raises:
            OutputError: the path exists or is not writable.
        """
        refuse_existing(path)
        return cls(path, layout, record)

    @classmethod
    def resume(cls, path: Path, batch_size: int) -> EventWriter:
        """A writer that goes on behind the last completed batch of an unfinished file.

        The completed events are copied in batches of ``batch_size`` to a new file that then takes the old
        one's name, because what a killed writer left behind the last commit must go.
        """
        beside = path.with_name(path.name + ".resuming")
        with EventStore(path) as old:
            writer = cls(beside, old.layout, old.record)
            for start in range(0, len(old), batch_size):
                writer.append(old.read(slice(start, min(start + batch_size, len(old)))))
        os.replace(beside, path)
        writer.path = path
        return writer

    @property
    def n_events(self) -> int:
        """Events stored so far."""
        return int(self._counts[0])

    def _dataset(self, name: str, dtype: str, tail: tuple[int, ...] = (), *, compress: bool = True) -> None:
        # Columns are small and rewritten in place (split), so they stay uncompressed.
        chunk = (_CHUNK if not tail else 1024, *tail)
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compress else {}
        self._file.create_dataset(
            name, shape=(0, *tail), maxshape=(None, *tail), dtype=dtype, chunks=chunk, track_times=False, **options
        )

    def _create(self, record: dict[str, Any]) -> None:
        attributes = self._file.attrs
        attributes["format"], attributes["schema_version"] = FORMAT_NAME, SCHEMA_VERSION
        attributes["layout"], attributes["record"] = self.layout.to_json(), json.dumps(record, sort_keys=True)
        self._file.create_dataset("commit", data=self._counts, track_times=False)
        self._file.create_dataset(
            "sources", shape=(0,), maxshape=(None,), dtype=_SOURCE_DTYPE, chunks=(64,), track_times=False
        )
        for name in self.layout.columns:
            self._dataset(f"columns/{name}", FIELDS[name].dtype, compress=False)
        if self.layout.has_particles:
            self._dataset("particles/offsets", "i8", compress=False)
            for name, field in PARTICLE_FIELDS.items():
                self._dataset(f"particles/{name}", field.dtype)
        if self.layout.map_spec:
            self._dataset("pixelmap/offsets", "i8", compress=False)
            self._dataset("pixelmap/origin", "f4", (self.layout.map_spec.n_views, 2))
            for name, dtype in PIXEL_COLUMNS.items():
                self._dataset(f"pixelmap/{name}", dtype)
        if self.layout.cloud_spec:
            self._dataset("cloud/offsets", "i8", compress=False)
            for name in self.layout.cloud_spec.columns:
                self._dataset(f"cloud/{name}", TOKEN_FIELDS[name].dtype)
        for group in ("particles", "pixelmap", "cloud"):
            if group in self._file:
                self._extend(f"{group}/offsets", np.zeros(1, dtype="i8"), 0)

    def _extend(self, name: str, values: Array, at: int) -> None:
        dataset = self._file[name]
        dataset.resize(at + len(values), axis=0)
        dataset[at:] = values

    def append(self, batch: EventBatch) -> None:
        """Store a batch; it counts once this returns.

        Raises:
            DataError: the batch has another layout than the file, or a source name is too long.
        """
        if Layout.of(batch) != self.layout:
            raise DataError(
                f"a batch with {Layout.of(batch).to_json()} does not fit this file",
                where=self.path,
                expected=self.layout.to_json(),
            )
        events, _, particles, pixels, _, *tokens = (int(c) for c in self._counts)
        source = self._register_sources(batch)
        for name in self.layout.columns:
            self._extend(f"columns/{name}", source if name == "source" else batch[name], events)
        if batch.particles is not None:
            particles = self._extend_flat("particles", batch.particles, events, particles)
        if batch.pixelmap is not None:
            maps, n_views = batch.pixelmap, batch.pixelmap.spec.n_views
            self._extend("pixelmap/offsets", maps.offsets[1:] + pixels, events * n_views + 1)
            self._extend("pixelmap/origin", maps.origin, events)
            for name in PIXEL_COLUMNS:
                self._extend(f"pixelmap/{name}", getattr(maps, name), pixels)
            pixels += len(maps.value)
        if batch.cloud is not None:
            tokens = [self._extend_flat("cloud", batch.cloud, events, tokens[0])]
        self._file.flush()
        self._commit(events + len(batch), len(self._sources), particles, pixels, 0, *tokens)

    def _extend_flat(self, group: str, part: Particles | Clouds, events: int, things: int) -> int:
        """Append offsets and columns behind ``events`` events that have ``things`` things; the new number of things."""
        self._extend(f"{group}/offsets", part.offsets[1:] + things, events + 1)
        for name, column in part.columns.items():
            self._extend(f"{group}/{name}", column, things)
        return things + int(part.offsets[-1])

    def _register_sources(self, batch: EventBatch) -> Array:
        """Source column of the batch in this file's table of names."""
        new = [name for name in batch.sources if name not in self._sources]
        encoded = [name.encode() for name in new]
        if any(len(name) > 512 for name in encoded):
            raise DataError("a source name is longer than 512 bytes", where=self.path)
        if new:
            self._extend("sources", np.array(encoded, dtype=_SOURCE_DTYPE), len(self._sources))
            self._sources += new
        moved = np.array([self._sources.index(s) for s in batch.sources], dtype="i2")
        return moved[batch["source"]] if len(batch.sources) else batch["source"]

    def _commit(self, *counts: int) -> None:
        self._counts[:] = counts
        self._file["commit"][...] = self._counts
        self._file.flush()

    def finish(self, split: Array | None = None) -> None:
        """Write the split column if given, shape (N,), and mark the file as complete.

        Raises:
            DataError: the split column has another length than the file.
        """
        if split is not None:
            if np.shape(split) != (self.n_events,):
                raise DataError(f"{len(split)} split numbers for {self.n_events} events", where=self.path)
            self._extend("columns/split", np.asarray(split, dtype=FIELDS["split"].dtype), 0)
            self._file.flush()
        counts = [int(c) for c in self._counts]
        self._commit(*counts[:4], 1, *counts[5:])

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def replace_record(store: Path, record: Mapping[str, Any]) -> None:
    """Put another record in the place of the one that a closed store was begun with: what is known at the end only.

    Raises:
        OutputError: the disk is full or gone.
    """
    try:
        with h5py.File(store, "r+", libver="latest") as file:
            file.attrs["record"] = json.dumps(record, sort_keys=True)
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=store) from error


class EventStore:
    """Read events. Opens the file on first use in each process, so it may be handed to loader workers.

    What counts is what was committed when the file was opened: a store that is still being written does not
    grow under its reader. Open it again to see more.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._content: Content | None = None
        self._process = -1
        self._open()

    def _open(self) -> Content:
        if self._content is None or self._process != os.getpid():
            self._content, self._process = open_checked(self.path), os.getpid()
        return self._content

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_content": None, "_process": -1}

    def __enter__(self) -> EventStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it opens again on the next read."""
        if self._content is not None and self._process == os.getpid():
            self._content.file.close()
        self._content = None

    def __len__(self) -> int:
        return self._open().events

    @property
    def complete(self) -> bool:
        """False if the writer had not finished when the file was opened."""
        return self._open().complete

    @property
    def layout(self) -> Layout:
        """What the events of this file have."""
        return self._open().layout

    @property
    def record(self) -> dict[str, Any]:
        """How the file was made: the configuration that the writer stored."""
        return dict(self._open().record)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names that the ``source`` column points to."""
        return self._open().sources

    def column(self, name: str) -> Array:
        """One column of all events, shape (N,).

        Raises:
            DataError: the file does not have it.
        """
        if name not in self.layout.columns:
            raise DataError(
                f"no column '{name}' in this file", where=self.path, expected=nearest(name, self.layout.columns)
            )
        with damage_explained(self.path):
            values: Array = self._open().file[f"columns/{name}"][: len(self)]
        return values

    def rows_of(self, split: str) -> npt.NDArray[np.int64]:
        """Row numbers of the events in ``train``, ``val``, ``test`` or ``all``.

        Raises:
            ConfigError: another name.
        """
        if split == "all":
            return np.arange(len(self))
        if split not in SPLITS:
            raise ConfigError(f"unknown split '{split}'", expected=nearest(split, (*SPLITS, "all")))
        return np.flatnonzero(self.column("split") == SPLITS.index(split))

    def read(self, rows: slice | Array) -> EventBatch:
        """Events of a slice or of integer ``rows`` (any order, repeats allowed).

        Raises:
            DataError: a row that the file does not have.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._read_range(start, max(start, stop))
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            return self._read_range(0, 0)
        self._check_rows(rows)
        unique, where = np.unique(rows, return_inverse=True)
        runs = np.split(unique, np.flatnonzero(np.diff(unique) > _NEAR) + 1)
        parts = [self._read_range(int(run[0]), int(run[-1]) + 1).select(run - run[0]) for run in runs]
        return EventBatch.concatenate(parts).select(where)

    def _check_rows(self, rows: npt.NDArray[np.int64]) -> None:
        outside = rows[(rows < 0) | (rows >= len(self))]
        if len(outside):
            raise DataError(f"no event in row {outside[0]}", where=self.path, expected=f"0 to {len(self) - 1}")

    def _read_range(self, start: int, stop: int) -> EventBatch:
        file, layout, particles = self._open().file, self.layout, None
        with damage_explained(self.path):
            columns = {name: file[f"columns/{name}"][start:stop] for name in layout.columns}
            if layout.has_particles:
                particles = Particles(*_read_flat(file["particles"], tuple(PARTICLE_FIELDS), start, stop))
            cloud = None
            if layout.cloud_spec:
                spec = layout.cloud_spec
                cloud = Clouds(spec, *_read_flat(file["cloud"], spec.columns, start, stop))
            maps = self._read_maps(start, stop) if layout.map_spec else None
            batch = EventBatch(columns, self.sources, particles, maps, cloud)
            batch.check()
        return batch

    def _read_maps(self, start: int, stop: int) -> PixelMaps:
        file, spec = self._open().file, self.layout.map_spec
        if spec is None:
            raise DataError("this file has no pixel maps", where=self.path)
        with damage_explained(self.path):
            offsets = file["pixelmap/offsets"][start * spec.n_views : stop * spec.n_views + 1]
            at = slice(int(offsets[0]), int(offsets[-1]))
            row, col, value = (file[f"pixelmap/{name}"][at] for name in PIXEL_COLUMNS)
            return PixelMaps(spec, offsets - offsets[0], row, col, value, file["pixelmap/origin"][start:stop])

    def maps(self, row: int) -> PixelMaps:
        """Pixel maps of one event.

        Raises:
            DataError: the file has no pixel maps, or no such row.
        """
        self._check_rows(np.array([row]))
        return self._read_maps(row, row + 1)

    def batches(self, size: int) -> Iterator[EventBatch]:
        """All events in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))

    def fingerprint(self) -> str:
        """SHA-256 over every stored value and the record; equal files hold equal events."""
        digest = hashlib.sha256(json.dumps([self.record, self.layout.to_json(), self.sources]).encode())
        for batch in self.batches(512):
            for column in batch.columns.values():
                digest.update(np.ascontiguousarray(column).tobytes())
            parts: list[Array] = []
            if batch.particles is not None:
                parts += [np.diff(batch.particles.offsets), *(batch.particles.columns[n] for n in PARTICLE_FIELDS)]
            if batch.pixelmap is not None:
                maps = batch.pixelmap
                parts += [np.diff(maps.offsets), maps.origin, *(getattr(maps, n) for n in PIXEL_COLUMNS)]
            if batch.cloud is not None:
                parts += [np.diff(batch.cloud.offsets), *(batch.cloud.columns[n] for n in batch.cloud.spec.columns)]
            for part in parts:
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def problems(self) -> list[str]:
        """Everything that is wrong with the stored events, one sentence each; empty for a sound file."""
        from nuadapt.events.checks import problems_of

        found: list[str] = [] if self.complete else [f"the writer did not finish: {len(self)} events are stored"]
        keys: list[Array] = []
        for batch in self.batches(1024):
            found += problems_of(batch)
            keys.append(np.stack([batch[name].astype(np.int64) for name in batch.identity], axis=1))
        if keys:
            unique = np.unique(np.concatenate(keys), axis=0)
            if len(unique) < len(self):
                found.append(f"{len(self) - len(unique)} events share their key with another event")
        return found


def _read_flat(group: Any, names: tuple[str, ...], start: int, stop: int) -> tuple[Array, dict[str, Array]]:
    """Offsets and columns of the events ``start`` to ``stop``."""
    offsets = group["offsets"][start : stop + 1]
    at = slice(int(offsets[0]), int(offsets[-1]))
    return offsets - offsets[0], {name: group[name][at] for name in names}
