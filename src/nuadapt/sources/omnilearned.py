"""Point clouds in the HDF5 layout of the OmniLearned package (0.2.0): read its datasets, write ours for its loader.

A file holds ``data`` (N, M, F) float32, zero-padded: eta, phi (in jets relative to the axis), ln(pT / GeV),
ln(E / GeV), then the particle type if F is 5 or more, then additional inputs; ``pid`` (N,), the class of each event or
the target of a regression; ``global`` (N, G), event-level inputs. A dataset is a folder with ``train``, ``val`` and
``test``. The layout names neither its columns nor its types.

The package takes ln pT = 0 for padding, and its type 0 is both padding and a particle. What is written here keeps 0 for
padding, counts types from 1 and moves a ln pT of exactly 0 by 1e-6.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError, nearest, refuse_existing
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import (
    DEDX_TYPES,
    JET_EXTRAS,
    JET_FEATURES,
    MAX_ETA,
    OBJECT_EXTRAS,
    PAPER_EVENT_INPUTS,
    Clouds,
    CloudSpec,
    event_columns,
    event_inputs,
    token_inputs,
)
from nuadapt.events.flat import offsets_of
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore
from nuadapt.events.truth import NO_LABEL, flavour_label, pion_label
from nuadapt.sources.reading import Progress, ReadReport, existing_file

Array = npt.NDArray[Any]
_KINEMATICS = ("eta", "phi", "log_pt", "log_e")
#: Additional inputs of our own files of reconstructed objects, as scaled by ``token_inputs``.
_OWN_EXTRAS = ("log_dedx", "x", "y", "z", "time")
_OWN_SPEC = "nuadapt_cloud_spec"
_STEP = 4096  # events; jets have up to 150 tokens
_LAST_TYPE = 253  # stored one higher, in a byte
_NOT_PADDING = 1e-6
_LEAST_MASS = 1e-3  # GeV inside the logarithm: a jet of one massless particle
CLASS_NUMBERS = "class_id"
TASKS = ("pion", "flavour", "available_energy_minerva_ml", CLASS_NUMBERS)


def looks_like(path: Path) -> bool:
    """Whether a file is HDF5 with the datasets of this layout."""
    try:
        with h5py.File(path, "r") as file:
            there = [isinstance(file.get(name), h5py.Dataset) for name in ("data", "pid")]
            return all(there) and file["data"].ndim == 3
    except (OSError, RuntimeError, ValueError, KeyError):
        return False


def parts_of(path: Path) -> list[tuple[Path, str]]:
    """A path with the split of its events, "" if it has none; of a dataset its folders, each of one split."""
    return [(path / split, split) for split in SPLITS if (path / split).is_dir()] or [(path, "")]


def read(path: Path, report: ReadReport, split: str = "") -> Iterator[EventBatch]:
    """Events of one file, without truth; the class of each is in ``class_id``. They are of ``split``, if that is named.

    Tokens with a value that is not finite, or a pseudorapidity beyond 10, are dropped and counted.

    Raises:
        InputFileError: not this layout, damaged, or a number of columns that the layout does not explain.
    """
    existing_file(path, "HDF5 with 'data' and 'pid'")
    if not looks_like(path):
        raise InputFileError("no OmniLearned data in this file", where=path, expected="HDF5 with 'data' and 'pid'")
    try:
        with h5py.File(path, "r") as file:
            spec = _spec(file, path)
            if "global" in file:
                report.note("Event-level inputs ('global') of OmniLearned files are not kept.")
            if "data_pid" in file:
                report.note("Classes of single tokens ('data_pid') of OmniLearned files are not kept.")
            for start in range(0, len(file["data"]), _STEP):
                batch = _batch(file, slice(start, start + _STEP), spec, path, report)
                if split:
                    number = np.full(len(batch), SPLITS.index(split), dtype="u1")
                    batch = replace(batch, columns=batch.columns | {"split": number})
                yield batch
    except (OSError, RuntimeError, KeyError) as error:
        raise InputFileError(f"HDF5 cannot read the file; it is truncated or damaged ({error})", where=path) from error


def _spec(file: Any, path: Path) -> CloudSpec:
    """What the columns are: as our own attribute says, or by their number."""
    features = ("entry", "class_id")
    if _OWN_SPEC in file.attrs:
        own = CloudSpec.from_dict(json.loads(file.attrs[_OWN_SPEC]))
        return CloudSpec(own.frame, own.types, own.extras, features)
    width = file["data"].shape[2]
    if width not in (4, 5, 8, 9):
        raise InputFileError(
            f"{width} columns in 'data'",
            where=path,
            expected="4 kinematic columns, with or without a type, with or without 4 impact parameters",
        )
    if width not in (5, 9):
        types: tuple[str, ...] = ("particle",)
    else:
        given = file["data"][:_STEP, :, 4]
        last = given[np.isfinite(given)].max(initial=0)  # tokens of a type that is no number are dropped
        if last > _LAST_TYPE:
            raise InputFileError(f"the particle type {last:g}", where=path, expected=f"numbers 0 to {_LAST_TYPE}")
        types = tuple(f"pid_{i}" for i in range(max(int(last) + 1, 9)))
    return CloudSpec("jet", types, JET_EXTRAS if width > 5 else (), features)


def _batch(file: Any, at: slice, spec: CloudSpec, path: Path, report: ReadReport) -> EventBatch:
    data = file["data"][at].astype(np.float32)  # (n, M, F)
    own = _OWN_SPEC in file.attrs
    token = (data != 0).any(axis=2)
    good = token & np.isfinite(data).all(axis=2) & (np.abs(data[:, :, 0]) <= MAX_ETA)
    if (token & ~good).any():
        report.broken["token dropped: broken value"] += int((token & ~good).sum())
    rows = data[good]
    columns: dict[str, Array] = {name: rows[:, i] for i, name in enumerate(_KINEMATICS)}
    has_type = data.shape[2] in (5, 9) or own
    if has_type and (rows[:, 4] != np.trunc(rows[:, 4])).any():
        raise InputFileError("a particle type that is not a whole number", where=path, expected="types as column 4")
    columns["type"] = rows[:, 4].astype(np.int64) + (not own) if has_type else np.ones(len(rows), dtype=np.int64)
    if columns["type"].max(initial=1) > len(spec.types) or columns["type"].min(initial=1) < 1:
        raise InputFileError("a particle type outside the range of the file's first events", where=path)
    extras = rows[:, data.shape[2] - len(spec.extras) :]
    scaled = own and spec.extras == OBJECT_EXTRAS
    columns |= _unscaled(extras, columns["type"]) if scaled else dict(zip(spec.extras, extras.T, strict=True))
    cloud = Clouds.make(spec, offsets_of(good.sum(axis=1)), columns)
    n, zeros = len(data), np.zeros(len(data), dtype=np.int64)
    entry = at.start + np.arange(n)
    labels = file["pid"][at]
    is_class = labels.dtype.kind in "iu" or bool((labels == np.round(labels)).all())
    if not is_class:
        report.note("The 'pid' of OmniLearned files is no class number here and is not kept.")
    given = {"run": zeros, "subrun": zeros, "event": entry, "source": zeros, "entry": entry}
    report.n_read += n
    labels = labels.reshape(n, -1)[:, 0] if is_class else zeros - 1
    return EventBatch.make(given | {"class_id": labels}, (str(path),), cloud=cloud, has_truth=False)


def _unscaled(values: Array, kind: Array) -> dict[str, Array]:
    """Our own token columns back from the inputs of ``token_inputs``; what was unknown there stays 0."""
    dedx = np.where(np.isin(kind, DEDX_TYPES), (np.exp(values[:, 0]) - 0.1) * 1e-3, np.nan)
    scaled = zip(_OWN_EXTRAS[1:], (1e3, 1e3, 1e3, 1e4), strict=True)
    return {"dedx": dedx} | {name: values[:, i + 1] * scale for i, (name, scale) in enumerate(scaled)}


def export(store: EventStore, out: Path, task: str = "", *, progress: Progress | None = None) -> dict[str, int]:
    """Write a store of clouds as ``out/{train,val,test}/events.h5``; events left out, by reason.

    ``data`` has the kinematics, the type (1 and up) and the additional inputs of :func:`token_inputs`, ``global`` the
    event-level ones and last a hundredth of the number of tokens, ``pid`` the class of the task or the target energy in
    GeV. Without a task this is the class number, where the events have one, else the pion class. The package's loader
    finds the files as dataset "custom" under the folder that holds ``out``, if that is named custom.

    Raises:
        ConfigError: an unknown task.
        DataError: no clouds, no truth, or no splits in the store.
        OutputError: ``out`` exists or is not writable.
    """
    spec = store.layout.cloud_spec
    task = task or (CLASS_NUMBERS if CLASS_NUMBERS in store.layout.columns else "pion")
    if task not in TASKS:
        raise ConfigError(f"unknown task '{task}'", expected=nearest(task, TASKS))
    answered = CLASS_NUMBERS in store.layout.columns if task == CLASS_NUMBERS else store.layout.has_truth
    if spec is None or not answered:
        raise DataError("these events have no clouds, or no truth or class numbers", where=store.path)
    out = Path(out)
    refuse_existing(out)
    left_out: dict[str, int] = {}
    # The package's loader cuts `global` to as many columns as there are places for tokens: have more places.
    length = max(int(np.diff(_offsets(store)).max(initial=1)), len(PAPER_EVENT_INPUTS) + 2)
    done = 0
    for split in SPLITS:
        rows = store.rows_of(split)
        _write(store, rows, out / split / "events.h5", task, length, left_out)
        done += len(rows)
        if progress is not None:
            progress(done, len(store))
    if not done:
        raise DataError("no event of this store is in a split", where=store.path)
    return left_out


def _offsets(store: EventStore) -> Array:
    """Offsets of the tokens of all events."""
    counts = [np.diff(batch.cloud.offsets) for batch in store.batches(_STEP) if batch.cloud is not None]
    return offsets_of(np.concatenate(counts or [np.empty(0)]))


def _write(store: EventStore, rows: Array, path: Path, task: str, length: int, left_out: dict[str, int]) -> None:
    """One file of the events ``rows``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            for start in range(0, len(rows), _STEP):
                batch = store.read(rows[start : start + _STEP])
                label = _labels(batch, task)
                known = label != NO_LABEL if label.dtype.kind == "i" else np.isfinite(label)
                if not known.all():
                    left_out["no label"] = left_out.get("no label", 0) + int((~known).sum())
                batch, label = batch.select(known), label[known]
                _append(file, {**_arrays(batch, length), "pid": label})
            if store.layout.cloud_spec is not None:
                file.attrs[_OWN_SPEC] = json.dumps(store.layout.cloud_spec.as_dict())
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=path) from error


def _labels(batch: EventBatch, task: str) -> Array:
    if task == CLASS_NUMBERS:
        return batch[CLASS_NUMBERS].astype(np.int64)
    if task == "pion":
        return pion_label(batch["current"], batch["n_charged_pions"], batch["n_neutral_pions"]).astype(np.int64)
    if task == "flavour":
        return flavour_label(batch["nu_pdg"], batch["current"]).astype(np.int64)
    return batch[task].astype(np.float32)


def _arrays(batch: EventBatch, length: int) -> dict[str, Array]:
    """``data`` (N, length, F) and ``global`` (N, G) of a batch."""
    if batch.cloud is None:
        raise DataError("these events have no clouds")
    inputs, kind = token_inputs(batch.cloud), batch.cloud.columns["type"].astype(np.float32)
    values = np.column_stack([inputs[:, :4], kind, inputs[:, 4:]])
    values[:, 2] = np.where(values[:, 2] == 0, _NOT_PADDING, values[:, 2])
    return {"data": batch.cloud.dense(values, length)[0], "global": _conditions(batch, np.diff(batch.cloud.offsets))}


def _conditions(batch: EventBatch, multiplicity: Array) -> Array:
    """Event-level inputs (N, G), the number of tokens last.

    Of jets they are ln(pT / GeV), pseudorapidity and ln(m / GeV). The number of tokens is divided by 100, because the
    package's generator multiplies it by 100 and cuts that to a whole number; half a token is added for the cut.
    """
    scaled = (multiplicity + 0.5) / 100
    if set(JET_FEATURES) <= set(batch.columns):
        mass = np.maximum(batch["jet_mass"], _LEAST_MASS)
        values = [np.log(batch["jet_pt"]), batch["jet_eta"], np.log(mass), scaled]
    elif set(event_columns()) <= set(batch.columns):
        values = [event_inputs(batch.columns), scaled]
    else:
        values = [scaled]
    return np.column_stack(values).astype(np.float32)


def _append(file: Any, arrays: dict[str, Array]) -> None:
    for name, values in arrays.items():
        if name not in file:
            shape = (None, *values.shape[1:])
            file.create_dataset(name, data=values, maxshape=shape, chunks=(1024, *values.shape[1:]), compression=1)
            continue
        at = len(file[name])
        file[name].resize(at + len(values), axis=0)
        file[name][at:] = values
