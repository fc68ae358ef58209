"""Small files of named arrays, never pickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import InputFileError, OutputError

Array = npt.NDArray[Any]


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays so that the file is complete or absent.

    Raises:
        OutputError: the place is not writable.
    """
    beside = path.with_name(f".{path.stem}.writing.npz")
    try:
        with beside.open("wb") as out:
            np.savez_compressed(out, allow_pickle=False, **dict(arrays))
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=path) from error


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays of a file.

    Raises:
        InputFileError: missing, damaged, or with pickled content.
    """
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise InputFileError(f"this is not a file of arrays ({error})", where=path) from error
