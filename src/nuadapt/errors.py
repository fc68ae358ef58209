"""Errors that a user can act on: what was given, where, what was expected, what to do next.

The command line turns every :class:`NuadaptError` into one paragraph and exit code 2, without a traceback.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType


class NuadaptError(Exception):
    """Base of all errors raised for a user. The message is one paragraph; ``exit_code`` that of the command."""

    exit_code = 2

    def __init__(self, what: str, *, where: object = None, expected: str = "", next_step: str = "") -> None:
        self.what, self.where, self.expected, self.next_step = what, where, expected, next_step
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """All parts as one paragraph of plain sentences."""
        place = f"{self.where}: " if self.where is not None else ""
        parts = [f"{place}{self.what}"]
        if self.expected:
            parts.append(f"Expected: {self.expected}")
        if self.next_step:
            parts.append(self.next_step)
        return " ".join(p if p.endswith((".", "?", "!")) else p + "." for p in parts)


class InputFileError(NuadaptError):
    """A file from outside cannot be used: truncated, wrong kind, wrong version, impossible values."""


class OutputError(NuadaptError):
    """A result cannot be written: the place exists already, or is not writable."""


class ConfigError(NuadaptError):
    """A setting has an unknown name or an impossible value."""


class DataError(NuadaptError):
    """Events are readable but do not fit the request (missing representation, unknown label, no events)."""


class StoppedEarly(NuadaptError):
    """A long step was asked to stop, saved what it had, and can go on. Exit code 75: a job scheduler may requeue it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class MissingExtraError(NuadaptError):
    """An optional library is not installed."""


def nearest(name: str, legal: Iterable[str]) -> str:
    """A hint with the nearest legal name and all of them, for the end of an error message."""
    names = sorted(legal)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}one of: {', '.join(names)}"


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library, or explain which extra of nuadapt brings it.

    Raises:
        MissingExtraError: the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"this step needs the Python package '{module.split('.')[0]}', which is not installed",
            next_step=f"Install it with: pip install 'nuadapt[{extra}]'",
        ) from error


def refuse_existing(path: Path, *, next_step: str = "Choose another name or remove it first") -> None:
    """Raise if ``path`` already exists.

    Raises:
        OutputError: the path exists.
    """
    if path.exists():
        raise OutputError("this output exists already and is not overwritten", where=path, next_step=next_step)


def listed(items: Sequence[object], limit: int = 5) -> str:
    """``a, b, c and 12 more``."""
    shown = ", ".join(str(item) for item in items[:limit])
    return f"{shown} and {len(items) - limit} more" if len(items) > limit else shown
