"""The table of predictions: one row per event, in input order. Every metric, figure and page starts here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, InputFileError, nearest
from nuadapt.evaluation.table_files import FLOAT, INTEGER, TEXT, read_table, write_table
from nuadapt.events.batch import EventBatch
from nuadapt.events.splits import hash_keys
from nuadapt.events.tasks import Task
from nuadapt.events.truth import NO_LABEL, Current, InteractionMode

Array = npt.NDArray[Any]
#: Rows of class probabilities must add up to 1 within this.
SUM_TOLERANCE = 1e-6
_PREFIX = "p_"
_REASON, _CLAIMS = "reason", "claims"
_SET, _BETWEEN = "set", "|"  # column of the conformal sets, as in nue_cc|nc
_INTEGERS = ("run", "subrun", "event")
_ENTRY = "entry"  # row in the source, of events whose key may repeat
_PLAIN = ("source", *_INTEGERS, "weight")
_AFTER = ("label", "truth", "nu_energy", "mode", "current", "representation", "model")


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of one model for N events and C classes.

    ``source`` (N,) file or generator name, ``run``, ``subrun``, ``event`` (N,) int64, ``weight`` (N,) float64,
    ``probability`` (N, C), ``label`` and ``truth`` (N,) indices into ``classes`` (``truth`` is NO_LABEL where
    the event belongs to none, or nothing is known), ``nu_energy`` (N,) GeV, NaN where unknown, ``mode`` and
    ``current`` (N,) codes of InteractionMode and Current. ``sets`` (N, C) says which classes are in the conformal
    set; None for predictions that are not calibrated. ``reason`` (N,) is what the model says about its label; None if
    it was not asked. ``claims`` (N,) are those that the reason makes, each as ``claim=value: verdict``, checked against
    features of the image. ``entry`` (N,) is the row of the event in its source, where several interactions may share
    one key (a spill of the beam); None where the key is enough.
    """

    classes: tuple[str, ...]
    representation: str
    model: str
    source: Array
    run: Array
    subrun: Array
    event: Array
    weight: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    label: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    nu_energy: npt.NDArray[np.float64]
    mode: npt.NDArray[np.int64]
    current: npt.NDArray[np.int64]
    sets: npt.NDArray[np.bool_] | None = None
    reason: Array | None = None
    claims: Array | None = None
    entry: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.event)

    @property
    def has_label(self) -> npt.NDArray[np.bool_]:
        """True where the true class is known, shape (N,)."""
        return np.asarray(self.truth != NO_LABEL)

    def hashes(self) -> npt.NDArray[np.uint64]:
        """64-bit hash of each event key, shape (N,)."""
        names, source = np.unique(self.source.astype(str), return_inverse=True)
        return hash_keys(self.run, self.subrun, self.event, source, [str(n) for n in names])

    def problems(self) -> list[str]:
        """What is wrong with the numbers, one sentence each; empty for a sound table."""
        found = []
        if not np.isfinite(self.probability).all():
            found.append(f"{int((~np.isfinite(self.probability)).any(axis=1).sum())} rows have no finite probability")
        elif len(self):
            if self.probability.min() < 0 or self.probability.max() > 1 + SUM_TOLERANCE:
                found.append("a class probability is outside 0..1")
            off = np.abs(self.probability.sum(axis=1) - 1)
            if off.max() > SUM_TOLERANCE:
                row = int(np.argmax(off))
                total = self.probability[row].sum()
                found.append(f"the class probabilities of row {row} add up to {total:.6g}, not to 1")
        if not np.isfinite(self.weight).all():
            found.append("an event weight is not finite")
        if np.isinf(self.nu_energy).any() or (self.nu_energy < 0).any():
            found.append("a neutrino energy is negative or infinite")
        return found

    def select(self, index: Array) -> Predictions:
        """The rows ``index`` (integers or a boolean mask), in that order."""
        return replace(self, **{name: getattr(self, name)[index] for name in self._arrays()})

    def _arrays(self) -> list[str]:
        """Names of the columns that this table has."""
        return [f.name for f in fields(self) if f.name not in _CONSTANTS and getattr(self, f.name) is not None]

    @classmethod
    def of_batch(
        cls, batch: EventBatch, probability: Array, task: Task, model: str, representation: str = "pixelmap"
    ) -> Predictions:
        """Rows for the events of ``batch`` with their ``probability`` (N, C); the label is the largest one.

        Raises:
            DataError: the probabilities have another shape, are not finite or do not add up to 1; truth without a
                column that the task needs.
        """
        n, probability = len(batch), np.asarray(probability, dtype=np.float64)
        if probability.shape != (n, len(task.classes)):
            raise DataError(f"the model gave probabilities of shape {probability.shape}", expected=f"({n}, classes)")
        known = batch.has_truth
        zeros = np.zeros(n, dtype=np.int64)
        made = cls(
            classes=task.classes,
            representation=representation,
            model=model,
            source=np.array(batch.sources or ("",), dtype=object)[batch["source"]],
            run=batch["run"].astype(np.int64),
            subrun=batch["subrun"].astype(np.int64),
            event=batch["event"].astype(np.int64),
            weight=batch["weight"].astype(np.float64),
            probability=probability,
            label=probability.argmax(axis=1) if n else zeros,
            truth=truth_of(batch, task),
            nu_energy=batch["nu_energy"].astype(np.float64) if known else np.full(n, np.nan),
            mode=batch["mode"].astype(np.int64) if known else zeros,
            current=batch["current"].astype(np.int64) if known else zeros,
            entry=batch[_ENTRY].astype(np.int64) if _ENTRY in batch.columns else None,
        )
        if problems := made.problems():
            raise DataError(f"the predictions of {model} cannot be used: {problems[0]}")
        return made

    @staticmethod
    def concatenate(parts: Sequence[Predictions]) -> Predictions:
        """All rows of ``parts`` in order.

        Raises:
            DataError: no parts, or parts of different models or classes, or only some with sets, reasons or entries.
        """
        if not parts:
            raise DataError("no events: there is nothing to predict")
        kinds = [(*(getattr(p, n) for n in _CONSTANTS), *p._arrays()) for p in parts]
        if any(kind != kinds[0] for kind in kinds):
            raise DataError("predictions of different models or classes, or with different columns, cannot be joined")
        names = parts[0]._arrays()
        joined: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
        return replace(parts[0], **joined)

    def columns(self) -> dict[str, Any]:
        """The table as it is written: plain columns in order, names for codes, None where unknown."""
        names = np.array([*self.classes, None], dtype=object)  # NO_LABEL is -1: the None
        key = _PLAIN if self.entry is None else (*_PLAIN[:-1], _ENTRY, _PLAIN[-1])
        table: dict[str, Any] = {name: getattr(self, name) for name in key}
        table |= {_PREFIX + c: self.probability[:, i] for i, c in enumerate(self.classes)}
        table["label"], table["truth"] = names[self.label], names[self.truth]
        if self.sets is not None:
            table[_SET] = [_BETWEEN.join(c for c, i in zip(self.classes, row, strict=True) if i) for row in self.sets]
        if self.reason is not None:
            table[_REASON] = [str(text) for text in self.reason]
        if self.claims is not None:
            table[_CLAIMS] = [str(text) for text in self.claims]
        table["nu_energy"] = [None if np.isnan(e) else float(e) for e in self.nu_energy]
        table["mode"] = [InteractionMode(m).name for m in self.mode]
        table["current"] = [Current(c).name for c in self.current]
        table["representation"], table["model"] = [self.representation] * len(self), [self.model] * len(self)
        return table

    def write(self, path: Path) -> None:
        """Write as ``.parquet`` or ``.csv``, by the name's ending; a previous file is replaced at once or not at all.

        Raises:
            OutputError: unknown ending, or the place is not writable.
        """
        table = self.columns()
        write_table(table, _kinds(table), path)

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read a ``.parquet`` or ``.csv`` table and check it.

        Raises:
            InputFileError: not such a table; columns missing; probabilities not finite or not adding up to 1.
        """
        table = read_table(path, _kinds((*_PLAIN, _ENTRY, *_AFTER, _SET, _REASON, _CLAIMS)), "predictions")
        names = list(table.column_names)
        classes = tuple(n.removeprefix(_PREFIX) for n in names if n.startswith(_PREFIX))
        missing = [n for n in (*_PLAIN, *_AFTER) if n not in names]
        if missing or not classes:
            lost = missing[0] if missing else "p_<class>"
            raise InputFileError(f"the table has no column '{lost}'", where=path, expected=nearest(lost, names))
        columns = {n: table.column(n).to_pylist() for n in (*_PLAIN, *_AFTER)}
        try:
            made = cls(
                classes=classes,
                representation=_constant(columns["representation"], "representation"),
                model=_constant(columns["model"], "model"),
                source=np.array([s or "" for s in columns["source"]], dtype=object),
                run=np.array(columns["run"], dtype=np.int64),
                subrun=np.array(columns["subrun"], dtype=np.int64),
                event=np.array(columns["event"], dtype=np.int64),
                weight=_floats(columns["weight"]),
                probability=_stacked([_floats(table.column(_PREFIX + c).to_pylist()) for c in classes]),
                label=_codes(columns["label"], {c: i for i, c in enumerate(classes)}, "label"),
                truth=_codes(columns["truth"], {c: i for i, c in enumerate(classes)} | {None: NO_LABEL}, "truth"),
                nu_energy=_floats(columns["nu_energy"]),
                mode=_codes(columns["mode"], {m.name: int(m) for m in InteractionMode}, "mode"),
                current=_codes(columns["current"], {c.name: int(c) for c in Current}, "current"),
                sets=_sets(table.column(_SET).to_pylist(), classes) if _SET in names else None,
                reason=np.array(table.column(_REASON).to_pylist(), dtype=object) if _REASON in names else None,
                claims=np.array(table.column(_CLAIMS).to_pylist(), dtype=object) if _CLAIMS in names else None,
                entry=np.array(table.column(_ENTRY).to_pylist(), dtype=np.int64) if _ENTRY in names else None,
            )
        except (ValueError, TypeError) as error:
            raise InputFileError(f"this is not a table of predictions ({error})", where=path) from error
        if problems := made.problems():
            raise InputFileError(problems[0], where=path, next_step="Make the predictions again")
        return made


_CONSTANTS = ("classes", "representation", "model")


def truth_of(batch: EventBatch, task: Task) -> npt.NDArray[np.int64]:
    """True class of each event as an index into the classes of ``task``, shape (N,); NO_LABEL where there is none."""
    if not batch.has_truth:
        return np.full(len(batch), NO_LABEL, dtype=np.int64)
    return task.label(batch.columns, len(batch))


def _constant(values: Sequence[Any], name: str) -> str:
    distinct = set(values)
    if len(distinct) > 1:
        raise ValueError(f"the column '{name}' has several values: {sorted(map(str, distinct))}")
    return str(next(iter(distinct))) if distinct else ""


def _floats(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _stacked(columns: Sequence[Array]) -> npt.NDArray[np.float64]:
    return np.stack(columns, axis=1)


def _codes(values: Sequence[Any], table: dict[Any, int], name: str) -> npt.NDArray[np.int64]:
    unknown = next((v for v in values if v not in table), 0)
    if unknown != 0:
        legal = nearest(str(unknown), [k for k in table if k])
        raise ValueError(f"the column '{name}' has the value {unknown!r}; {legal}")
    return np.array([table[v] for v in values], dtype=np.int64)


def _sets(values: Sequence[str | None], classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Sets of class names as booleans (N, C); an empty cell is an empty set."""
    named = [set(v.split(_BETWEEN)) if v else set() for v in values]
    unknown = sorted(set().union(*named) - set(classes))
    if unknown:
        raise ValueError(f"the column '{_SET}' has the class {unknown[0]!r}; {nearest(unknown[0], classes)}")
    return np.array([[c in names for c in classes] for names in named], dtype=bool).reshape(-1, len(classes))


def _kinds(names: Iterable[str]) -> dict[str, str]:
    """Type of each column as it is stored."""
    numbers = {n: FLOAT for n in names if n.startswith(_PREFIX) or n in ("weight", "nu_energy")}
    return {n: INTEGER if n in (*_INTEGERS, _ENTRY) else numbers.get(n, TEXT) for n in names}
