"""What is asked about events: classes, and which events belong to each. Data in ``tasks.yaml``, or a file of one's own.

A run records the whole definition, so a model is always compared with the truth that it was trained for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.events.schema import FIELDS
from nuadapt.events.truth import NO_LABEL, CodeScheme, Current, InteractionMode

Array = npt.NDArray[Any]
#: How the name of a task ends that is a file of one's own.
TASK_FILES = (".yaml", ".yml")
#: Columns of codes, whose names may stand for their numbers.
_CODES: dict[str, type[IntEnum]] = {"current": Current, "mode": InteractionMode, "mode_scheme": CodeScheme}
_LIMITS = ("min", "max")


@dataclass(frozen=True, slots=True)
class Condition:
    """What holds for one column: it is one of ``values``, or without any it lies from ``low`` to ``high``."""

    column: str
    values: tuple[float, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def holds(self, column: Array) -> npt.NDArray[np.bool_]:
        """Where it does, shape (N,); never where the column is NaN."""
        if self.values:
            return np.isin(column, self.values)
        return np.asarray((column >= self.low) & (column <= self.high))

    @classmethod
    def of(cls, column: str, given: Any, where: object) -> Condition:
        """From a value, a list of values, or a mapping with ``min``, ``max``.

        Raises:
            ConfigError: no such column, or none of these.
        """
        if column not in FIELDS or FIELDS[column].group in ("key", "weight"):
            known = [name for name, field in FIELDS.items() if field.group not in ("key", "weight")]
            raise ConfigError(f"no column '{column}' to tell classes by", where=where, expected=nearest(column, known))
        if isinstance(given, dict):
            unknown = [key for key in given if key not in _LIMITS]
            if unknown or not given:
                raise ConfigError(f"the range {given} of '{column}'", where=where, expected="{min: .., max: ..}")
            limits = {key: _number(column, value, where) for key, value in given.items()}
            return cls(column, low=limits.get("min", -math.inf), high=limits.get("max", math.inf))
        several = given if isinstance(given, list) else [given]
        if not several:
            raise ConfigError(f"no value for '{column}'", where=where, expected="a value, a list, or a range")
        return cls(column, tuple(_number(column, value, where) for value in several))

    def plain(self) -> Any:
        """Inverse of :meth:`of`."""
        if self.values:
            return list(self.values)
        limits = dict(zip(_LIMITS, (self.low, self.high), strict=True))
        return {name: value for name, value in limits.items() if math.isfinite(value)}


def _number(column: str, given: Any, where: object) -> float:
    codes = _CODES.get(column)
    if codes is not None and isinstance(given, str):
        if given not in codes.__members__:
            raise ConfigError(f"no {column} '{given}'", where=where, expected=nearest(given, codes.__members__))
        return int(codes[given])
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise ConfigError(f"'{given}' is no value of '{column}'", where=where, expected="a number")
    return given


@dataclass(frozen=True, slots=True)
class Task:
    """A question about events.

    ``classes`` are in label order (the index is the label), ``titles`` what people call them, ``conditions`` what all
    holds for the events of each. Without classes, the question is how much the column ``energy`` (GeV) is.
    """

    name: str
    classes: tuple[str, ...]
    titles: tuple[str, ...]
    conditions: tuple[tuple[Condition, ...], ...]
    energy: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the answer follows from."""
        if self.energy:
            return (self.energy,)
        return tuple(dict.fromkeys(c.column for conditions in self.conditions for c in conditions))

    def label(self, columns: Mapping[str, Array], n: int) -> npt.NDArray[np.int64]:
        """Label of ``n`` events, shape (n,): the first class of which everything holds, else NO_LABEL.

        ``columns`` are arrays of shape (n,) by name.

        Raises:
            DataError: a column is missing.
        """
        self._check(columns)
        label = np.full(n, NO_LABEL, dtype=np.int64)
        for index, conditions in enumerate(self.conditions):
            mine = label == NO_LABEL
            for condition in conditions:
                mine &= condition.holds(np.asarray(columns[condition.column]))
            label[mine] = index
        return label

    def target(self, columns: Mapping[str, Array]) -> npt.NDArray[np.float32]:
        """True energy (n,) in GeV, NaN where it is not known.

        Raises:
            DataError: the column is missing.
        """
        self._check(columns)
        return np.asarray(columns[self.energy], dtype=np.float32)

    def _check(self, columns: Mapping[str, Array]) -> None:
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise DataError(
                f"these events have no column '{missing[0]}', which the task '{self.name}' needs",
                expected=nearest(missing[0], columns),
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record."""
        if self.energy:
            return {"name": self.name, "energy": self.energy}
        classes = {
            name: {"title": title, "where": {c.column: c.plain() for c in conditions}}
            for name, title, conditions in zip(self.classes, self.titles, self.conditions, strict=True)
        }
        return {"name": self.name, "classes": classes}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], where: object = "task") -> Task:
        """Inverse of :meth:`as_dict`; also the form of a file.

        Raises:
            ConfigError: another form, fewer than two classes, classes of one title, impossible conditions.
        """
        if isinstance(given, Mapping) and "energy" in given and "classes" not in given:
            energy = str(given["energy"])
            known = [name for name, field in FIELDS.items() if field.unit == "GeV" and field.group not in ("feature",)]
            if energy not in known:
                raise ConfigError(f"no true energy '{energy}'", where=where, expected=nearest(energy, known))
            return cls(str(given.get("name", "")), (), (), (), energy)
        classes = given.get("classes") if isinstance(given, Mapping) else None
        if not isinstance(classes, dict) or len(classes) < 2:
            raise ConfigError("a task needs classes", where=where, expected="two or more under 'classes'")
        conditions, titles = [], []
        for name, content in classes.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ConfigError(f"'{name}' cannot name a class", where=where, expected="letters, digits and _")
            if not isinstance(content, dict) or not isinstance(content.get("where"), dict) or not content["where"]:
                raise ConfigError(
                    f"the class '{name}' does not say which events it has", where=where, expected="where: {column: ..}"
                )
            titles.append(str(content.get("title", name)))
            conditions.append(tuple(Condition.of(str(c), v, where) for c, v in content["where"].items()))
        if len(set(titles)) < len(titles):
            raise ConfigError(f"titles {titles} do not tell classes apart", where=where, expected="different titles")
        return cls(str(given.get("name", "")), tuple(classes), tuple(titles), tuple(conditions))


def task_names() -> tuple[str, ...]:
    """Tasks that come with nuadapt."""
    return tuple(_built_in())


def load_task(task: str) -> Task:
    """A task by name, or from a YAML file.

    Raises:
        ConfigError: no task of that name, or a file that defines none.
        InputFileError: the file cannot be read.

    >>> load_task("flavour").classes
    ('nue_cc', 'numu_cc', 'nc')
    """
    if task.endswith(TASK_FILES):
        from nuadapt.settings import read_yaml  # settings need pydantic, which events do without

        given = read_yaml(Path(task))
        return Task.from_dict({"name": Path(task).stem, **given}, where=task)
    tasks = _built_in()
    if task not in tasks:
        raise ConfigError(f"no task '{task}'", expected=nearest(task, tasks), next_step="Or give a YAML file")
    return Task.from_dict({"name": task, **tasks[task]}, where=f"task {task}")


def _built_in() -> dict[str, Any]:
    text = (resources.files("nuadapt.events") / "tasks.yaml").read_text(encoding="utf-8")
    tasks: dict[str, Any] = yaml.safe_load(text)
    return tasks


def titles_of(classes: Sequence[str], task: Mapping[str, Any]) -> dict[str, str]:
    """Titles of ``classes`` by a task's record."""
    given = task.get("classes", {})
    return {name: str(given.get(name, {}).get("title", name)) for name in classes}
