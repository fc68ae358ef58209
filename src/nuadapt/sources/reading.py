"""What all readers share: counting what was left out and why, names in natural order, bounded reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from nuadapt.errors import InputFileError
from nuadapt.events.batch import EventBatch

#: Told (done, total) as a long step advances.
Progress = Callable[[int, int], None]


def tally(counter: Counter[str]) -> str:
    """``3 x this, 1 x that``; equal numbers by name, as their order must not depend on who counted.

    >>> tally(Counter({"b": 1, "a": 1, "c": 2}))
    '2 x c, 1 x a, 1 x b'
    """
    return ", ".join(f"{n} x {what}" for what, n in sorted(counter.items(), key=lambda item: (-item[1], item[0])))


@dataclass(slots=True)
class ReadReport:
    """How many events were read, how many were left out for which reason, and what else a user should know.

    Of the events that stay, ``broken`` counts values and objects that were dropped or marked, and ``absent`` those that
    the file itself says are not there, both by kind. ``exposure`` has the protons on target that the events which were
    read stand for, by file.
    """

    n_read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    exposure: dict[str, float] = field(default_factory=dict)

    @property
    def n_left_out(self) -> int:
        """Events left out for any reason."""
        return self.left_out.total()

    def note(self, sentence: str) -> None:
        """Keep a sentence for the user, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def add(self, other: ReadReport) -> None:
        """Take in what another reader counted."""
        self.n_read += other.n_read
        self.left_out.update(other.left_out)
        self.broken.update(other.broken)
        self.absent.update(other.absent)
        for name, pot in other.exposure.items():
            self.exposure[name] = self.exposure.get(name, 0.0) + pot
        for sentence in other.notes:
            self.note(sentence)

    def reasons(self) -> str:
        """``3 x this, 1 x that``."""
        return tally(self.left_out)

    def check_limit(self, where: Path, limit: float, *, unit: str = "events") -> None:
        """Raise if more than the fraction ``limit`` was left out.

        Raises:
            InputFileError: too much was left out.
        """
        total = self.n_read + self.n_left_out
        if self.n_left_out > limit * total:
            raise InputFileError(
                f"{self.n_left_out} of {total} {unit} had to be left out ({self.reasons()})",
                where=where,
                expected=f"at most {limit:.2%} unusable {unit}",
                next_step="Look at how the file was made, or raise the limit if the loss is understood",
            )


@dataclass(frozen=True, slots=True)
class InputItem:
    """One thing to read, with its place for messages; ``read`` may raise a NuadaptError for this one alone."""

    path: Path
    read: Callable[[], Iterable[EventBatch]]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which event2 comes before event10.

    >>> sorted(["event10", "event2"], key=natural_key)
    ['event2', 'event10']
    """
    # isdecimal, not isdigit: int() refuses the superscripts that isdigit accepts.
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p)


def existing_file(path: Path, expected: str) -> Path:
    """The path itself if it is a file with content.

    Raises:
        InputFileError: missing, a folder, empty or unreadable.
    """
    try:
        if not path.exists():
            raise InputFileError("no such file or folder", where=path, expected=expected)
        if not path.is_file():
            raise InputFileError("this is not a file", where=path, expected=expected)
        if path.stat().st_size == 0:
            raise InputFileError("the file is empty", where=path, expected=expected, next_step="Copy it again")
    except OSError as error:
        raise InputFileError(f"cannot look at this file ({error})", where=path, expected=expected) from error
    return path


def read_bytes(path: Path, limit: int, expected: str) -> bytes:
    """Content of a file of at most ``limit`` bytes.

    Raises:
        InputFileError: missing, empty, too large or unreadable.
    """
    existing_file(path, expected)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=path, expected=expected) from error
    if len(content) > limit:
        raise InputFileError(f"the file is larger than {limit} bytes", where=path, expected=expected)
    return content


def read_text(path: Path, limit: int, expected: str) -> str:
    """Content of a small UTF-8 text file of at most ``limit`` bytes.

    Raises:
        InputFileError: as :func:`read_bytes`, or not text.
    """
    try:
        return read_bytes(path, limit, expected).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError("this is not a text file", where=path, expected=expected) from error


def folder_entries(path: Path) -> list[Path]:
    """Entries of a folder in natural order of their names.

    Raises:
        InputFileError: the folder cannot be listed.
    """
    try:
        return sorted(path.iterdir(), key=lambda entry: natural_key(entry.name))
    except OSError as error:
        raise InputFileError(f"cannot list this folder ({error})", where=path) from error


def items_of(paths: Iterable[Path], read: Callable[[Path], Iterable[EventBatch]]) -> list[InputItem]:
    """One item per path, each read by the same function."""
    return [InputItem(path, partial(read, path)) for path in paths]
