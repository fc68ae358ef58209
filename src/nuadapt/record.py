"""Run records: what was run, with which settings, on which data, by which version.

Every stage writes one; the next stage reads it. A record holds nothing that changes between two equal runs
except where it says so (``started``), so that equal runs can be compared.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nuadapt.errors import InputFileError, OutputError

_LIBRARIES = ("nuadapt", "numpy", "h5py", "numba", "torch", "transformers", "pyhepmc", "particle")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that can change a result, of those installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def make_record(stage: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A record for one stage: its name, settings, versions, and what the caller adds (seed, data, counts)."""
    record: dict[str, Any] = {
        "stage": stage,
        "config": config,
        "versions": library_versions(),
        "python": platform.python_version(),
        **more,
    }
    # As it will be read back (lists for tuples, text for number keys), so that records compare equal.
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of it.

    Raises:
        OutputError: the place is not writable.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n", encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise OutputError(f"cannot write here ({error})", where=path) from error


def read_json(path: Path, *, next_step: str = "") -> Any:
    """Read JSON.

    Raises:
        InputFileError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=path, next_step=next_step) from error
    except (ValueError, RecursionError) as error:
        raise InputFileError(f"this is not valid JSON ({error})", where=path, next_step=next_step) from error


def flat(record: Any, prefix: str = "") -> list[list[str]]:
    """Rows ``a.b.c``, value of nested mappings."""
    if not isinstance(record, dict):
        return [[prefix, str(record)]]
    return [row for key, value in record.items() for row in flat(value, f"{prefix}.{key}" if prefix else str(key))]
