"""What an event file says about itself, and how damage in it is found and explained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from nuadapt.errors import InputFileError
from nuadapt.events.batch import EventBatch, column_names
from nuadapt.events.cloud import CloudSpec
from nuadapt.events.pixelmap import MapSpec
from nuadapt.events.schema import SCHEMA_VERSION

FORMAT_NAME = "nuadapt-events"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = 48  # bytes
PIXEL_COLUMNS = {"row": "u2", "col": "u2", "value": "f4"}
_GIVE_A_STORE = "Give a file made by 'nuadapt simulate' or 'nuadapt ingest'"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the events of one file have: truth, particles, pixel maps and clouds of one spec. Stored as JSON."""

    has_truth: bool
    has_particles: bool
    map_spec: MapSpec | None
    cloud_spec: CloudSpec | None = None

    @classmethod
    def of(cls, batch: EventBatch) -> Layout:
        """The layout of a batch."""
        spec = batch.pixelmap.spec if batch.pixelmap is not None else None
        cloud_spec = batch.cloud.spec if batch.cloud is not None else None
        return cls(batch.has_truth, batch.particles is not None, spec, cloud_spec)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the per-event columns in storage order."""
        return column_names(has_truth=self.has_truth, maps=self.map_spec is not None, cloud=self.cloud_spec)

    @property
    def n_counts(self) -> int:
        """Length of ``/commit``: the number of tokens stands last, in files with clouds only."""
        return 6 if self.cloud_spec else 5

    def to_json(self) -> str:
        """As stored in the file; a representation that was added to the format later is named only if it is there."""
        spec = self.map_spec.as_dict() if self.map_spec else None
        given = {"has_truth": self.has_truth, "has_particles": self.has_particles, "map_spec": spec}
        return json.dumps(given | ({"cloud_spec": self.cloud_spec.as_dict()} if self.cloud_spec else {}))

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Inverse of :meth:`to_json`."""
        given = json.loads(text)
        spec = MapSpec.from_dict(given["map_spec"]) if given["map_spec"] else None
        cloud_spec = CloudSpec.from_dict(given["cloud_spec"]) if "cloud_spec" in given else None
        return cls(bool(given["has_truth"]), bool(given["has_particles"]), spec, cloud_spec)


@dataclass(frozen=True, slots=True)
class Content:
    """An open file and what it held when it was opened."""

    file: Any
    layout: Layout
    record: dict[str, Any]
    events: int
    complete: bool
    sources: tuple[str, ...]

    @classmethod
    def of(cls, file: Any) -> Content:
        """Read the header and the commit; ValueError where the columns do not bear the commit out."""
        layout, record = Layout.from_json(file.attrs["layout"]), json.loads(file.attrs["record"])
        counts = [int(c) for c in file["commit"][...]]
        if len(counts) != layout.n_counts:
            raise ValueError(f"the commit has {len(counts)} numbers instead of {layout.n_counts}")
        events, n_sources, particles, pixels, complete = counts[:5]
        names = file["sources"][:n_sources]
        ends = [("sources", len(names), n_sources)]
        ends += [(f"columns/{name}", min(len(file[f"columns/{name}"]), events), events) for name in layout.columns]
        if layout.has_particles:
            ends.append(("particles/offsets", int(file["particles/offsets"][events]), particles))
        if layout.map_spec:
            ends.append(("pixelmap/offsets", int(file["pixelmap/offsets"][events * layout.map_spec.n_views]), pixels))
        if layout.cloud_spec:
            ends.append(("cloud/offsets", int(file["cloud/offsets"][events]), counts[5]))
        for name, found, expected in ends:
            if found != expected or expected < 0:
                raise ValueError(f"{name} ends at {found} instead of {expected}")
        return cls(file, layout, record, events, complete == 1, tuple(name.decode() for name in names))


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn what h5py and NumPy say about damaged content into one kind of error."""
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError, AttributeError, OverflowError) as error:
        raise InputFileError(f"the event store is damaged ({error})", where=path, next_step=_GIVE_A_STORE) from error


def _unfinished(head: bytes, size: int) -> bool:
    """Whether a writer is at work on the file, or was killed.

    Only then is single-writer mode (SWMR) asked for: in it HDF5 takes a truncated file for one that is about to
    grow, and waits for half a minute. Positions are those of superblock version 3 (HDF5 File Format
    Specification 3.0, section II.A): byte 11 holds the consistency flags, bytes 28 to 35 the end of file address.

    Raises:
        OSError: the file is shorter than its writer left it.
    """
    if len(head) < _SUPERBLOCK or head[8] != 3 or not head[11] & 0x04:
        return False
    end = int.from_bytes(head[28:36], "little")
    if size < end:
        raise OSError(f"{size} of {end} bytes are there")
    return True


def open_checked(path: Path) -> Content:
    """Open a store for reading, or say in one paragraph what is wrong with the file."""
    step, expected = _GIVE_A_STORE, "an HDF5 event store"
    if not path.is_file():
        raise InputFileError("no such file" if not path.exists() else "this is not a file", where=path, next_step=step)
    try:
        with path.open("rb") as raw:
            head = raw.read(_SUPERBLOCK)
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=path) from error
    if not head:
        raise InputFileError("the file is empty", where=path, expected=expected, next_step=step)
    if not head.startswith(HDF5_MAGIC):
        raise InputFileError("this is not an HDF5 file", where=path, expected=expected, next_step=step)
    try:
        file = h5py.File(path, "r", libver="latest", swmr=_unfinished(head, path.stat().st_size))
    except (OSError, RuntimeError) as error:
        raise InputFileError(
            f"HDF5 cannot open the file; it is truncated or damaged ({error})", where=path, next_step=step
        ) from error
    try:
        with damage_explained(path):
            _check_format(file, path)
            return Content.of(file)
    except BaseException:
        file.close()
        raise


def _check_format(file: Any, path: Path) -> None:
    if file.attrs.get("format") != FORMAT_NAME:
        raise InputFileError(
            "an HDF5 file, but not an event store",
            where=path,
            expected=f"format = {FORMAT_NAME}",
            next_step=_GIVE_A_STORE,
        )
    version = file.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputFileError(
            f"the file has schema version {version}",
            where=path,
            expected=f"version {SCHEMA_VERSION}",
            next_step="Make the file again with this version of nuadapt, or use the version that wrote it",
        )
