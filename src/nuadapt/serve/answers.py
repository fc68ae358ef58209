"""What runs answered about the events of a store, as columns in memory: a row for each event of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import InputFileError, require
from nuadapt.evaluation.explain.files import EXPLAINED, REASONS, Explained, read_explained
from nuadapt.evaluation.physics.energy import Intervals
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore
from nuadapt.events.truth import NO_LABEL
from nuadapt.serve.places import Run

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
PREDICTIONS, ENERGIES = "predictions.parquet", "energies.parquet"
_KEY = ("run", "subrun", "event")


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of one run about N events.

    ``known`` (N,): whether there is one. Of classes: ``label`` and ``truth`` (N,) indices, NO_LABEL unknown,
    ``probability`` (N, C), ``sets`` (N, C) or None. Of energies: ``energy`` and ``truth_energy`` (N,) in GeV, NaN
    unknown. ``reasons``: words by row. ``explained`` and ``explained_rows``: events of the gallery with evidence.
    """

    run: Run
    known: npt.NDArray[np.bool_]
    label: npt.NDArray[np.int16]
    truth: npt.NDArray[np.int16]
    probability: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]
    truth_energy: npt.NDArray[np.float32]
    sets: npt.NDArray[np.bool_] | None = None
    reasons: dict[int, str] = field(default_factory=dict)
    explained: Explained | None = None
    explained_rows: dict[int, int] = field(default_factory=dict)
    n_elsewhere: int = 0  # answers about events that the store does not have

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """Probability of the label (N,), NaN without an answer."""
        picked = np.take_along_axis(self.probability, np.maximum(self.label, 0)[:, None].astype(np.int64), axis=1)
        return np.where(self.known, picked[:, 0], np.nan).astype(np.float32)

    def row(self, index: int) -> dict[str, Any] | None:
        """The answer about one event as in a list; None without."""
        if not self.known[index]:
            return None
        if self.run.kind == "energy":
            return {"energy": plain(self.energy[index]), "true_energy_GeV": plain(self.truth_energy[index])}
        return class_answer(self.run, int(self.label[index]), self.probability[index], int(self.truth[index]))

    def details(self, index: int) -> dict[str, Any] | None:
        """The answer about one event with all that is known about it."""
        found = self.row(index)
        if found is None:
            return None
        if self.run.kind == "energy":
            return found | energy_details(self.run, float(self.energy[index]))
        return found | class_details(self.run, None if self.sets is None else self.sets[index])


def class_answer(run: Run, label: int, probability: Array, truth: int) -> dict[str, Any]:
    """An answer with classes; ``probability`` (C,)."""
    return {
        "label": run.task.classes[label],
        "p": [round(float(p), 6) for p in probability],
        "correct": None if truth == NO_LABEL else label == truth,
    }


def class_details(run: Run, inside: Array | None) -> dict[str, Any]:
    """The conformal set of an answer and what its probabilities were calibrated with; ``inside`` (C,)."""
    named = None if inside is None else [c for c, i in zip(run.task.classes, inside, strict=True) if i]
    return {"set": named, "coverage": run.coverage, "temperature": run.temperature}


def energy_details(run: Run, energy: float) -> dict[str, Any]:
    """The conformal interval of an energy in GeV."""
    if run.half_width is None or not np.isfinite(energy):
        return {"interval_GeV": None, "coverage": run.coverage}
    low, high = Intervals(run.level or 0.0, run.half_width).limits(np.array([energy]))
    return {"interval_GeV": [float(low[0]), float(high[0])], "coverage": run.coverage}


def plain(value: Any) -> float | None:
    """A number for JSON; None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def read_answers(run: Run, store: EventStore, folder: Path | None = None) -> Answers:
    """What is in the evaluation ``folder`` (else that of the run), in the rows of ``store``, found by event key.

    Raises:
        InputFileError: damaged files.
    """
    place, n = folder or run.folder, len(store)
    if place is None:
        return _aligned(run, store, np.empty(0, dtype=np.int64), n)
    if run.kind == "energy":
        table = _read_energies(place / ENERGIES)
        names = [n for n in (*_KEY, "entry") if n in table and n in store.layout.columns]
        rows = matched(store_keys(store, names), _stack(table, names))
        return _aligned(run, store, rows, n, energies=table)
    predictions = Predictions.read(place / PREDICTIONS)
    if predictions.classes != run.task.classes:
        raise InputFileError(f"predictions of the classes {predictions.classes}", where=place)
    keys = {name: getattr(predictions, name) for name in (*_KEY, "source")}
    rows = matched(store_keys(store, ("source",)), keys_of(keys, store.sources))
    return _explained(_aligned(run, store, rows, n, predictions=predictions), place, store)


def store_keys(store: EventStore, known: Sequence[str]) -> Rows:
    """Keys of the events of a store, (N, 3 or 4), with those of ``source`` and ``entry`` that the table has, too."""
    names = [*_KEY, *(n for n in ("source", "entry") if n in known and n in store.layout.columns)]
    return _stack({name: store.column(name) for name in names}, names)


def keys_of(columns: Mapping[str, Array], sources: Sequence[str]) -> Rows:
    """Keys of a table whose ``source`` is a name, with the number of the name in ``sources``, -1 for others."""
    number = {name: i for i, name in enumerate(sources)}
    names, inverse = np.unique(np.asarray(columns["source"], dtype=str), return_inverse=True)
    source = np.array([number.get(str(name), -1) for name in names], dtype=np.int64)[inverse]
    return _stack({**columns, "source": source}, [*_KEY, "source"])


def _stack(columns: Mapping[str, Array], names: Sequence[str]) -> Rows:
    return np.stack([np.asarray(columns[name], dtype=np.int64) for name in names], axis=1)


def matched(ours: Rows, theirs: Rows) -> Rows:
    """For each key of ``theirs`` (M, k) the row of ``ours`` (N, k) with the same key, -1 where there is none.

    Keys that repeat (interactions of one spill) are told apart by their order, which is the same in both.
    """
    _, code = np.unique(np.concatenate([ours, theirs]), axis=0, return_inverse=True)
    mine, other = (_with_occurrence(part) for part in np.split(code.reshape(-1), [len(ours)]))
    order = np.argsort(mine, kind="stable")
    at = np.searchsorted(mine[order], other)
    at = np.minimum(at, max(len(ours) - 1, 0))
    if not len(ours):
        return np.full(len(theirs), -1, dtype=np.int64)
    return np.where(mine[order][at] == other, order[at], -1)


def _with_occurrence(code: Rows) -> Rows:
    """Codes (N,) made unique: how often the code occurred before is part of the number."""
    order = np.argsort(code, kind="stable")
    ranked = code[order]
    first = np.searchsorted(ranked, ranked, side="left")
    times = np.empty_like(code)
    times[order] = np.arange(len(code)) - first
    return np.asarray(code * (1 << 24) + times)


def _aligned(
    run: Run,
    store: EventStore,
    rows: Rows,
    n: int,
    *,
    predictions: Predictions | None = None,
    energies: Mapping[str, Array] | None = None,
) -> Answers:
    """Columns of N rows from a table whose row i is about the event ``rows[i]``."""
    here = rows >= 0
    at = rows[here]
    known = np.zeros(n, dtype=bool)
    known[at] = True
    n_classes = len(run.task.classes)
    label, truth = np.full(n, NO_LABEL, dtype=np.int16), _truth(run, store)
    probability = np.zeros((n, n_classes), dtype=np.float32)
    energy, sets = np.full(n, np.nan, dtype=np.float32), None
    reasons: dict[int, str] = {}
    if predictions is not None:
        label[at], probability[at] = predictions.label[here], predictions.probability[here]
        if (truth == NO_LABEL).all():
            truth[at] = predictions.truth[here]
        if predictions.sets is not None:
            sets = np.zeros((n, n_classes), dtype=bool)
            sets[at] = predictions.sets[here]
        if predictions.reason is not None:
            reasons = dict(zip(at.tolist(), map(str, predictions.reason[here]), strict=True))
    if energies is not None:
        energy[at] = energies["energy"][here]
    elsewhere = int((~here).sum())
    truth_energy = _truth_energy(run, store)
    return Answers(run, known, label, truth, probability, energy, truth_energy, sets, reasons, n_elsewhere=elsewhere)


def _truth(run: Run, store: EventStore) -> npt.NDArray[np.int16]:
    """True classes by the run's own definition; NO_LABEL where the store cannot tell."""
    n = len(store)
    if run.kind == "energy" or not set(run.task.columns) <= set(store.layout.columns):
        return np.full(n, NO_LABEL, dtype=np.int16)
    return run.task.label({name: store.column(name) for name in run.task.columns}, n).astype(np.int16)


def _truth_energy(run: Run, store: EventStore) -> npt.NDArray[np.float32]:
    if run.kind != "energy" or run.task.energy not in store.layout.columns:
        return np.full(len(store), np.nan, dtype=np.float32)
    return run.task.target({run.task.energy: store.column(run.task.energy)})


def _read_energies(path: Path) -> dict[str, Array]:
    """The table of energies of an evaluation."""
    pa = require("pyarrow", "training")
    try:
        table = require("pyarrow.parquet", "training").read_table(path)
        columns = {name: table.column(name).to_numpy() for name in table.column_names if name != "model"}
    except (pa.ArrowException, OSError) as error:
        raise InputFileError(f"this is not a table of energies ({error})", where=path) from error
    missing = [name for name in (*_KEY, "energy") if name not in columns]
    if missing:
        raise InputFileError(f"the table has no column '{missing[0]}'", where=path)
    return columns


def write_energies(path: Path, batch: EventBatch, energy: Array) -> None:
    """A table of energies (N,) in GeV of the events of ``batch``, as an evaluation writes it."""
    from nuadapt.evaluation.energies import Energies  # brings torch

    names = [name for name in (*_KEY, "entry") if name in batch.columns]
    key = {name: batch[name] for name in names}
    unknown = np.full(len(batch), np.nan)
    Energies("", key, batch["weight"].astype(np.float64), np.asarray(energy, dtype=np.float64), unknown).write(path)


def _explained(answers: Answers, place: Path, store: EventStore) -> Answers:
    """With the reasons and the evidence that an explained evaluation holds."""
    if (place / REASONS).is_file():
        told = Predictions.read(place / REASONS)
        keys = {name: getattr(told, name) for name in (*_KEY, "source")}
        rows = matched(store_keys(store, ("source",)), keys_of(keys, store.sources))
        for row, text in zip(rows.tolist(), told.reason if told.reason is not None else (), strict=False):
            if row >= 0:
                answers.reasons[row] = str(text)
    if not (place / EXPLAINED).is_file():
        return answers
    explained = read_explained(place / EXPLAINED)
    if not explained.events:
        return answers
    try:
        source, *numbers = zip(*(event["key"] for event in explained.events), strict=True)
        columns = dict(zip(_KEY, (np.array(c, dtype=np.int64) for c in numbers), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise InputFileError(f"the explained events have no keys ({error!r})", where=place / EXPLAINED) from error
    rows = matched(store_keys(store, ("source",)), keys_of({**columns, "source": np.array(source)}, store.sources))
    at = {int(row): i for i, row in enumerate(rows) if row >= 0}
    said = {row: explained.events[i].get("reason") for row, i in at.items()}
    answers.reasons.update({row: str(text) for row, text in said.items() if text is not None})
    return replace(answers, explained=explained, explained_rows=at)
