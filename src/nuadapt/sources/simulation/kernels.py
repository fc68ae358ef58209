"""One decorator for the compiled kernels of the simulation, with a cache on disk that notices every change.

numba's cache looks at the file of a function alone, so a kernel would keep running with the old version of what
it calls from other files. Here the folder of the cache is named by a digest of all files of the simulation, since
kernels take in constants from files without kernels too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def fingerprint() -> str:
    """Digest of every file of the simulation but those that only compare it with published values."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    for path in sorted(here.rglob("*.py")):
        if "validation" not in path.relative_to(here).parts:
            digest.update(path.relative_to(here).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where kernels are kept: the user's cache, or the temporary folder where that cannot be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    for parent in (home, Path(tempfile.gettempdir())):
        folder = parent / "nuadapt" / "kernels" / fingerprint()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="nuadapt-kernels-"))


_FOLDER = os.environ.get("NUMBA_CACHE_DIR") or str(cache_folder())


def compiled(function: _Function) -> _Function:
    """``numba.njit`` with the cache of :func:`cache_folder`; other users of numba keep their own."""
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = _FOLDER
    try:
        return cast(_Function, numba.njit(cache=True)(function))
    finally:
        settings.CACHE_DIR = before
