"""One decorator for the compiled kernels of the transport, with a cache on disk that notices every change.

numba's cache looks at the file of a function alone, so a kernel would keep running with the old version of what
it calls from other files. Here the folder of the cache is named by a digest of all files with kernels.
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
_MARK = "simulation.kernels import compiled"


def fingerprint() -> str:
    """Digest of every file of this folder that holds kernels, or constants that they take in when compiled."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        if _MARK.encode() in source or path.stem in ("material", "species", "shower_tables", "kernels"):
            digest.update(path.name.encode() + source)
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
