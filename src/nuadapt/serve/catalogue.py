"""The events of one store as columns in memory: filtered, sorted and paged here, so that a page holds a page.

100,000 events take a few megabytes; what a list shows never touches the file.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import nearest
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore
from nuadapt.events.tasks import load_task
from nuadapt.events.truth import NO_LABEL, InteractionMode
from nuadapt.serve.answers import Answers, plain
from nuadapt.serve.problems import NotThere, Unusable

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
ENERGY = "nu_energy"
MODES = {mode.name.lower(): int(mode) for mode in InteractionMode}
#: What a list can be sorted by beside columns of the store.
SORTS = ("index", "energy", "probability", "answer", "ratio", "disagreement")
#: Columns of the store that a list can be sorted by where they are known.
MORE_SORTS = ("W", "q3", "Q2", "deposited_energy")
_KEY = re.compile(r"\s*(-?[0-9]{1,10})\s*/\s*(-?[0-9]{1,10})\s*/\s*(-?[0-9]{1,18})\s*")
_EVENT = re.compile(r"\s*(-?[0-9]{1,18})\s*")
_KEPT = 32  # orders of queries that are kept


@dataclass(frozen=True, slots=True)
class Query:
    """Which events, in which order. ``run``: whose answers ``label``, ``correct`` and probabilities are of."""

    sort: str = "index"
    order: str = "asc"
    run: str | None = None
    label: str | None = None
    truth: str | None = None
    correct: bool | None = None
    min_p: float | None = None
    max_p: float | None = None
    min_energy: float | None = None
    max_energy: float | None = None
    mode: str | None = None
    split: str | None = None
    disagree: bool | None = None
    find: str | None = None


class Catalogue:
    """Columns of all events of ``store`` with the ``answers`` of all runs.

    ``energy`` (N,) is that of the neutrino in GeV, ``truth`` (N,) the class of the first run with classes.
    """

    def __init__(self, store: EventStore, answers: Sequence[Answers]) -> None:
        self.n = len(store)
        self.answers: dict[str, Answers] = {a.run.name: a for a in answers}
        self.key: dict[str, Array] = {name: store.column(name) for name in ("run", "subrun", "event", "source")}
        self.split, self.columns = store.column("split"), _sortable_columns(store)
        self.energy = self.columns.get(ENERGY, np.full(self.n, np.nan, dtype=np.float32))
        has_mode = "mode" in store.layout.columns
        self.mode = store.column("mode") if has_mode else np.zeros(self.n, dtype=np.uint8)
        self._classifiers = [a for a in answers if a.run.kind == "classes"]
        self.classes, self.labels = self._true_classes(store)
        self.distance, self.differs = disagreement(self._classifiers, self.n)
        self._orders: OrderedDict[Query, Rows] = OrderedDict()
        self._lock = Lock()

    def _true_classes(self, store: EventStore) -> tuple[dict[str, str], Array]:
        """Classes with their titles, and the true one of each event (N,), where no run is named.

        Those of the first run that has any; without one, of the question that is asked about such events most often.
        """
        if self._classifiers:
            return self._classifiers[0].run.titles, self._classifiers[0].truth
        task = load_task("flavour" if store.layout.cloud_spec is None else "pion")
        if not set(task.columns) <= set(store.layout.columns):
            return {}, np.full(self.n, NO_LABEL, dtype=np.int16)
        label = task.label({name: store.column(name) for name in task.columns}, self.n)
        return dict(zip(task.classes, task.titles, strict=True)), label

    @property
    def sortable(self) -> list[str]:
        """What a list can be sorted by."""
        there = {"index": True, "energy": bool(np.isfinite(self.energy).any())}
        there["probability"] = bool(self._classifiers)
        there["answer"] = there["ratio"] = len(self.answers) > len(self._classifiers)
        there["disagreement"] = len({a.run.task.classes for a in self._classifiers}) < len(self._classifiers)
        return [name for name in SORTS if there[name]] + [n for n in MORE_SORTS if n in self.columns]

    @property
    def modes(self) -> list[str]:
        """Interaction modes that occur."""
        found = set(np.unique(self.mode).tolist())
        return [name for name, code in MODES.items() if code in found and code != InteractionMode.UNKNOWN]

    @property
    def splits(self) -> list[str]:
        """Splits that occur."""
        found = set(np.unique(self.split).tolist())
        return [name for code, name in enumerate(SPLITS) if code in found]

    def check(self, index: int) -> int:
        """The index itself.

        Raises:
            NotThere: no such event.
        """
        if not 0 <= index < self.n:
            raise NotThere(f"no event {str(index)[:20]}", expected=f"0 to {self.n - 1}" if self.n else "no events here")
        return index

    def chosen(self, name: str | None) -> Answers | None:
        """The answers of a run by name; of the first one without a name, None if there are no runs.

        Raises:
            NotThere: no run of this name.
        """
        if name is None:
            return next(iter(self.answers.values()), None)
        if name not in self.answers:
            expected = nearest(name[:60], self.answers) if self.answers else "none: there are no runs"
            raise NotThere(f"no run '{name[:60]}'", expected=expected)
        return self.answers[name]

    def rows(self, query: Query) -> Rows:
        """The events of a query in its order.

        Raises:
            NotThere: no such run.
            Unusable: a class, mode, split or order that there is not.
        """
        with self._lock:
            if query in self._orders:
                self._orders.move_to_end(query)
                return self._orders[query]
        rows = np.flatnonzero(self._mask(query))
        if query.sort != "index":
            rows = rows[_ranked(self._values(query)[rows], descending=query.order == "desc")]
        elif query.order == "desc":
            rows = rows[::-1]
        with self._lock:
            self._orders[query] = rows
            while len(self._orders) > _KEPT:
                self._orders.popitem(last=False)
        return rows

    def _values(self, query: Query) -> Array:
        """What is sorted by, (N,)."""
        if query.sort not in self.sortable:
            raise Unusable(f"cannot sort by '{query.sort[:40]}'", expected=nearest(query.sort[:40], self.sortable))
        if query.sort in self.columns:
            return self.columns[query.sort]
        if query.sort == "energy":
            return self.energy
        if query.sort == "disagreement":
            return self.distance
        found = self._of_kind(query, "classes" if query.sort == "probability" else "energy")
        if query.sort == "probability":
            return found.confidence
        with np.errstate(divide="ignore", invalid="ignore"):
            return found.energy if query.sort == "answer" else found.energy / found.truth_energy

    def _of_kind(self, query: Query, kind: str) -> Answers:
        """The run of a query, which must answer with ``kind``; without a name the first that does."""
        found = self.chosen(query.run) if query.run else None
        found = found or next((a for a in self.answers.values() if a.run.kind == kind), None)
        if found is None or found.run.kind != kind:
            raise Unusable(f"the run '{query.run}' does not answer with {kind}", expected=f"a run that gives {kind}")
        return found

    def _mask(self, query: Query) -> npt.NDArray[np.bool_]:
        """Which events are meant, (N,)."""
        mask = np.ones(self.n, dtype=bool)
        self.chosen(query.run)  # an unknown run is an error even where it does not matter
        if query.mode is not None:
            mask &= self.mode == _code(query.mode, MODES, "mode")
        if query.split is not None:
            mask &= self.split == _code(query.split, {s: i for i, s in enumerate(SPLITS)}, "split")
        mask &= _between(self.energy, query.min_energy, query.max_energy)
        if query.disagree is not None:
            mask &= self.differs == query.disagree
        if query.find:
            mask &= self._found(query.find)
        if query.truth is not None and not self._classifiers:
            mask &= self.labels == _code(query.truth, {c: i for i, c in enumerate(self.classes)}, "class")
            query = replace(query, truth=None)
        asked = (query.label, query.truth, query.correct, query.min_p, query.max_p)
        return mask if all(value is None for value in asked) else mask & self._answer_mask(query)

    def _answer_mask(self, query: Query) -> npt.NDArray[np.bool_]:
        found, mask = self._of_kind(query, "classes"), np.ones(self.n, dtype=bool)
        classes = {name: i for i, name in enumerate(found.run.task.classes)}
        if query.label is not None:
            mask &= found.known & (found.label == _code(query.label, classes, "class"))
        if query.truth is not None:
            mask &= found.truth == _code(query.truth, classes, "class")
        if query.correct is not None:
            mask &= found.known & (found.truth != NO_LABEL) & ((found.label == found.truth) == query.correct)
        return mask & _between(found.confidence, query.min_p, query.max_p)

    def _found(self, text: str) -> npt.NDArray[np.bool_]:
        """Events of the key RUN/SUBRUN/EVENT, or of an event number alone."""
        if match := _KEY.fullmatch(text):
            parts = zip(("run", "subrun", "event"), match.groups(), strict=True)
            same = [self.key[name].astype(np.int64) == int(part) for name, part in parts]
            return np.asarray(same[0] & same[1] & same[2])
        if match := _EVENT.fullmatch(text):
            return np.asarray(self.key["event"] == int(match[1]))
        raise Unusable(f"'{text[:40]}' is no key of an event", where="find", expected="RUN/SUBRUN/EVENT, or EVENT")

    def row(self, index: int, run: str | None = None) -> dict[str, Any]:
        """One event as in a list; ``run`` is whose classes the truth is named by."""
        split = int(self.split[index])
        mode = InteractionMode(int(self.mode[index]))
        found = {name: a.row(index) for name, a in self.answers.items()}
        return {
            "index": index,
            "key": "/".join(str(int(self.key[name][index])) for name in ("run", "subrun", "event")),
            "truth": self.truth(index, run),
            "mode": None if mode == InteractionMode.UNKNOWN else mode.name.lower(),
            "energy": plain(self.energy[index]),
            "split": SPLITS[split] if split < len(SPLITS) else None,
            "answers": {name: answer for name, answer in found.items() if answer is not None},
        }

    def truth(self, index: int, run: str | None = None) -> str | None:
        """Name of the true class, by the run's classes or by those of the first run that has any."""
        found = self.answers.get(run) if run else None
        if found is not None and found.run.kind == "classes":
            classes, label = found.run.task.classes, int(found.truth[index])
        else:
            classes, label = tuple(self.classes), int(self.labels[index])
        return None if label == NO_LABEL else classes[label]


def disagreement(answers: Sequence[Answers], n: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """How far runs of the same classes are apart in each event, and whether their labels differ, both (N,).

    The distance is the largest total variation, half the sum of |p - q|, of any two runs; 0 where fewer than two
    answered.
    """
    distance, differs = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=bool)
    for i, one in enumerate(answers):
        for other in answers[:i]:
            if one.run.task.classes != other.run.task.classes:
                continue
            both = one.known & other.known
            apart = 0.5 * np.abs(one.probability - other.probability).sum(axis=1)
            distance = np.where(both, np.maximum(distance, apart), distance).astype(np.float32)
            differs |= both & (one.label != other.label)
    return distance, differs


def _sortable_columns(store: EventStore) -> dict[str, Array]:
    """Energy and further columns of which some value is known."""
    there = {n: store.column(n) for n in (ENERGY, *MORE_SORTS) if n in store.layout.columns}
    return {name: column for name, column in there.items() if np.isfinite(column).any()}


def _ranked(values: Array, *, descending: bool) -> Rows:
    """Order of values; equal ones stay in order, what is not finite comes last either way."""
    finite = np.isfinite(values)
    known = np.flatnonzero(finite)
    keyed = -values[known] if descending else values[known]
    return np.concatenate([known[np.argsort(keyed, kind="stable")], np.flatnonzero(~finite)])


def _between(values: Array, low: float | None, high: float | None) -> npt.NDArray[np.bool_]:
    """Where values lie between limits that are given; never where they are NaN."""
    mask = np.ones(len(values), dtype=bool)
    values = values.astype(np.float64)  # limits need not be numbers that float32 has
    if low is not None:
        mask &= values >= low
    if high is not None:
        mask &= values <= high
    return mask


def _code(name: str, legal: Mapping[str, int], what: str) -> int:
    if name not in legal:
        raise Unusable(f"no {what} '{name[:40]}'", where=what, expected=nearest(name[:40], legal))
    return legal[name]
