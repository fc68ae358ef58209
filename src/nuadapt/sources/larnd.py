"""Read energy deposits (``segments``) of edep-sim events in the HDF5 layout of larnd-sim.

Two generations of field names exist (converters of DUNE/larnd-sim and DUNE/2x2_sim): snake_case in ``segments``
(event_id, traj_id, pdg_id) and camelCase in ``tracks`` or ``segments`` (eventID, trackID, pdgId). Both are read;
each field is looked up under all its known names. In the file: cm, microseconds, MeV; here: cm and GeV.
Coordinates stay as they are in the file unless the caller permutes them with ``axes``, because the files do not
say which axis is the drift.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, InputFileError, NuadaptError
from nuadapt.events.truth import CodeScheme, Current, InteractionMode
from nuadapt.sources.reading import ReadReport, existing_file

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MEV = 1e-3  # GeV

#: Names of the dataset of deposits, of the interaction table and of the vertex table, newest first.
SEGMENT_SETS = ("segments", "tracks", "mc_truth/segments/data")
HEADER_SETS = ("mc_hdr", "genie_hdr", "mc_truth/interactions/data")
VERTEX_SETS = ("vertices",)
#: Our name -> names in the two generations.
NAMES: dict[str, tuple[str, ...]] = {
    "event_id": ("event_id", "eventID", "spillID", "vertexID"),
    "track_id": ("traj_id", "trackID"),
    "pdg": ("pdg_id", "pdgId", "pdgID"),
    "energy": ("dE",),
    **{f"{axis}_{end}": (f"{axis}_{end}",) for end in ("start", "end") for axis in "xyz"},
    "nu_pdg": ("nu_pdg",),
    "nu_energy": ("Enu",),
    "target_pdg": ("target",),
    "lepton_pdg": ("lep_pdg",),
    "lepton_energy": ("Elep",),
    "Q2": ("Q2",),
    "q0": ("q0",),
    "q3": ("q3",),
    "bjorken_x": ("x",),
    "inelasticity_y": ("y",),
}
_SEGMENT_FIELDS = (
    "event_id", "track_id", "pdg", "energy", "x_start", "y_start", "z_start", "x_end", "y_end", "z_end",
)  # fmt: skip
_WHOLE = ("event_id", "track_id", "pdg")
#: Truth columns taken from the interaction table, with the factor to GeV powers.
_TRUTH_FACTORS: dict[str, float] = {
    "nu_energy": _MEV,
    "lepton_energy": _MEV,
    "q0": _MEV,
    "q3": _MEV,
    "Q2": _MEV * _MEV,
    "bjorken_x": 1.0,
    "inelasticity_y": 1.0,
}
#: Flags of the interaction table; the first that is set gives the mode.
_MODE_FLAGS = (
    ("isQES", InteractionMode.QE),
    ("isMEC", InteractionMode.MEC),
    ("isRES", InteractionMode.RES),
    ("isDIS", InteractionMode.DIS),
    ("isCOH", InteractionMode.COH),
)
_BLOCK = 200_000  # segments read at a time, about 10 MB


@dataclass(frozen=True, slots=True)
class SegmentEvent:
    """Deposits of one event.

    ``start``, ``end`` (n, 3) cm; ``energy`` (n,) GeV; ``track_id``, ``pdg`` (n,). ``vertex`` (3,) cm and
    ``truth`` (schema columns) where the file has exactly one interaction for the event, else None and empty.
    """

    event_id: int
    start: FloatArray
    end: FloatArray
    energy: FloatArray
    track_id: npt.NDArray[np.int64]
    pdg: npt.NDArray[np.int64]
    vertex: FloatArray | None = None
    truth: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.energy)


def looks_like(path: Path) -> bool:
    """Whether a file is HDF5 with a table of deposits."""
    try:
        with h5py.File(path, "r") as file:
            return any(name in file for name in SEGMENT_SETS)
    except (OSError, RuntimeError, ValueError, KeyError):
        return False


def read_segments(
    path: Path,
    *,
    axes: tuple[int, int, int] = (0, 1, 2),
    report: ReadReport | None = None,
    max_bad_fraction: float = 0.01,
) -> Iterator[SegmentEvent]:
    """Events of a file in order of their event number.

    ``axes`` says which file axis becomes our x (drift), y (vertical), z (beam): (2, 1, 0) swaps x and z. An
    event with a deposit that is not finite, or negative, is left out and counted in ``report``; more than
    ``max_bad_fraction`` of them is an error after the last event.

    Raises:
        ConfigError: ``axes`` is not a permutation of 0, 1, 2.
        InputFileError: not HDF5, no deposits, missing fields, truncated or damaged.
    """
    if sorted(axes) != [0, 1, 2]:
        raise ConfigError(f"axes {axes} is not a permutation", expected="0, 1 and 2 in some order")
    path, report = Path(path), report or ReadReport()
    _check_magic(path)
    try:
        with h5py.File(path, "r") as file:
            yield from _events(file, path, axes, report)
    except NuadaptError:
        raise
    # h5py turns damage into any of these, depending on which part of the file is hit.
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise InputFileError(
            f"HDF5 cannot read the file; it is truncated or damaged ({error})", where=path, next_step="Copy it again"
        ) from error
    report.check_limit(path, max_bad_fraction)


def _check_magic(path: Path) -> None:
    expected = f"HDF5 with a dataset {' or '.join(SEGMENT_SETS[:2])}"
    try:
        with existing_file(path, expected).open("rb") as raw:
            magic = raw.read(len(HDF5_MAGIC))
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=path, expected=expected) from error
    if magic != HDF5_MAGIC:
        raise InputFileError("this is not an HDF5 file", where=path, expected=expected)


def _find(file: Any, names: Sequence[str]) -> Any:
    """The first dataset of those names that is a table of named columns; None without."""
    found = (file[name] for name in names if name in file)
    return next((table for table in found if isinstance(table, h5py.Dataset) and table.dtype.names), None)


def _field_names(table: Any, wanted: Sequence[str], path: Path) -> dict[str, str]:
    """Our name -> the name in this table.

    Raises:
        InputFileError: a field is missing under all its names, or does not hold numbers.
    """
    there = table.dtype.names
    found = {}
    for ours in wanted:
        match = next((name for name in NAMES[ours] if name in there), None)
        if match is None:
            raise InputFileError(
                f"no field '{NAMES[ours][0]}' in '{table.name}'",
                where=path,
                expected=f"one of: {', '.join(NAMES[ours])}; the table has {', '.join(there)}",
            )
        kind = table.dtype[match].kind  # "V" for a nested field
        if kind not in ("iu" if ours in _WHOLE else "iuf"):
            raise InputFileError(f"field '{match}' of '{table.name}' holds {table.dtype[match]}", where=path)
        found[ours] = match
    return found


def _events(file: Any, path: Path, axes: tuple[int, int, int], report: ReadReport) -> Iterator[SegmentEvent]:
    table = _find(file, SEGMENT_SETS)
    if table is None:
        raise InputFileError("no table of deposits in this file", where=path, expected=" or ".join(SEGMENT_SETS))
    if table.ndim != 1 or not len(table):
        raise InputFileError(f"'{table.name}' holds no deposits", where=path, expected="at least one")
    names = _field_names(table, _SEGMENT_FIELDS, path)
    headers = _Headers(file, path, axes)
    for event_id, rows in _grouped(table, names):
        reason = _problem(rows)
        if reason:
            report.left_out[reason] += 1
            continue
        vertex, truth = headers.of(event_id)
        report.n_read += 1
        order = np.array(axes)
        start, end = (np.stack([rows[f"{a}_{e}"] for a in "xyz"], axis=1)[:, order] for e in ("start", "end"))
        energy = rows["energy"] * _MEV
        yield SegmentEvent(event_id, start, end, energy, rows["track_id"], rows["pdg"], vertex, truth)


def _grouped(table: Any, names: dict[str, str]) -> Iterator[tuple[int, dict[str, Array]]]:
    """(event number, columns) for each event; deposits keep their order in the file."""
    event_ids = table.fields(names["event_id"])[:].astype(np.int64)
    if np.any(np.diff(event_ids) < 0):  # not sorted: the file is read as a whole
        order = np.argsort(event_ids, kind="stable")
        columns = {ours: column[order] for ours, column in _columns(table, names, 0, len(table)).items()}
        for start, stop in _runs(event_ids[order]):
            yield int(event_ids[order[start]]), {ours: column[start:stop] for ours, column in columns.items()}
        return
    loaded, first, last = {}, 0, 0
    for start, stop in _runs(event_ids):
        if stop > last:  # the next block, and at least this whole event
            first, last = start, max(stop, min(start + _BLOCK, len(table)))
            loaded = _columns(table, names, first, last)
        yield int(event_ids[start]), {ours: column[start - first : stop - first] for ours, column in loaded.items()}


def _columns(table: Any, names: dict[str, str], start: int, stop: int) -> dict[str, Array]:
    rows = table.fields(list(names.values()))[start:stop]
    with np.errstate(invalid="ignore"):  # a damaged float may be a signalling NaN; it is found by _problem
        return {ours: rows[theirs].astype(np.int64 if ours in _WHOLE else np.float64) for ours, theirs in names.items()}


def _runs(sorted_ids: Array) -> list[tuple[int, int]]:
    """(start, stop) of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(sorted_ids)) + 1).tolist(), len(sorted_ids)]
    return list(itertools.pairwise(edges))


def _problem(rows: dict[str, Array]) -> str:
    """Why an event cannot be used; empty if it can."""
    for name in _SEGMENT_FIELDS[3:]:
        if not np.isfinite(rows[name]).all():
            return f"{name} is not finite"
    return "negative deposited energy" if (rows["energy"] < 0).any() else ""


class _Headers:
    """Vertex and truth by event number, from the tables that the file has."""

    def __init__(self, file: Any, path: Path, axes: tuple[int, int, int]) -> None:
        self._axes = np.array(axes)
        self._truth = self._by_event(_find(file, HEADER_SETS), path)
        vertices = _find(file, VERTEX_SETS)
        # The camelCase converters wrote the positions of this table in mm, the others in cm: only cm is used.
        in_cm = vertices is not None and "event_id" in vertices.dtype.names
        self._vertex = self._by_event(vertices, path) if in_cm else {}

    @staticmethod
    def _by_event(table: Any, path: Path) -> dict[int, list[Any]]:
        if table is None:
            return {}
        name = _field_names(table, ("event_id",), path)["event_id"]
        rows: dict[int, list[Any]] = {}
        for row in table[:]:
            rows.setdefault(int(row[name]), []).append(row)
        return rows

    def of(self, event_id: int) -> tuple[FloatArray | None, dict[str, Any]]:
        """Vertex (3,) cm or None, and truth columns; only where there is exactly one interaction."""
        headers, vertices = self._truth.get(event_id, []), self._vertex.get(event_id, [])
        if len(headers) > 1 or len(vertices) > 1:
            return None, {}
        positions = (self._position(row) for row in (*headers, *vertices))
        vertex = next((position for position in positions if position is not None), None)
        return vertex, _truth_columns(headers[0]) if headers else {}

    def _position(self, row: Any) -> FloatArray | None:
        """Interaction point (3,) cm in the caller's axes: fields x_vert, y_vert, z_vert, or the older vertex[4]."""
        names, there = [f"{axis}_vert" for axis in "xyz"], row.dtype.names
        if all(name in there for name in names):
            position = np.array([float(row[name]) for name in names])
        elif "vertex" in there and np.shape(row["vertex"]) == (4,):
            position = np.array([float(value) for value in row["vertex"][:3]])
        else:
            return None
        return position[self._axes] if np.isfinite(position).all() else None


def _truth_columns(row: Any) -> dict[str, Any]:
    """Schema columns of one row of the interaction table.

    The table's own ``reaction`` number is not kept: its scheme depends on the generator and is not stated in
    the file. The mode comes from the flags and is stored in nuadapt's own scheme.
    """
    there = row.dtype.names
    truth: dict[str, Any] = {}
    for ours in ("nu_pdg", "target_pdg", "lepton_pdg"):
        theirs = NAMES[ours][0]
        # "target" is a nucleus' PDG code in some files and a bare Z in others; a Z is no PDG code and is not kept.
        if theirs in there and (ours != "target_pdg" or 1_000_000_000 < int(row[theirs]) < 2**31):
            truth[ours] = int(row[theirs])
    for ours, factor in _TRUTH_FACTORS.items():
        if (theirs := NAMES[ours][0]) in there and np.isfinite(row[theirs]):
            truth[ours] = float(row[theirs]) * factor
    if "isCC" in there:
        truth["current"] = int(Current.CC if row["isCC"] else Current.NC)
    if any(flag in there for flag, _ in _MODE_FLAGS):
        mode = next((m for flag, m in _MODE_FLAGS if flag in there and row[flag]), InteractionMode.OTHER)
        truth |= {"mode": int(mode), "mode_code": int(mode), "mode_scheme": int(CodeScheme.NUADAPT)}
    return truth
