"""Open a tuple and read its branches in steps, as flat NumPy arrays with offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import InputFileError, NuadaptError, listed, nearest, require
from nuadapt.sources.reading import existing_file

Array = npt.NDArray[Any]
ROOT_MAGIC = b"root"
_EXPECTED = "a ROOT file with a MasterAnaDev tree"


@dataclass(frozen=True, slots=True)
class Ragged:
    """One branch with any number of values an event: ``offsets`` (n + 1,), flat ``values``."""

    offsets: npt.NDArray[np.int64]
    values: Array

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Values of each event, (n,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Nested:
    """A vector of vectors an event: event i has vectors offsets[i] to offsets[i + 1], vector j has inner[j] values."""

    offsets: npt.NDArray[np.int64]
    inner: npt.NDArray[np.int64]
    values: Array

    def column(self, i: int) -> Array:
        """Value ``i`` of each vector, NaN where the vector is too short, shape (vectors,)."""
        if len(self.values) == 4 * len(self.inner) and (self.inner == 4).all():  # as it should be
            return self.values.reshape(-1, 4)[:, i]
        start = np.cumsum(self.inner) - self.inner
        found = np.full(len(self.inner), np.nan)
        long = self.inner > i
        found[long] = self.values[start[long] + i]
        return found


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive events of a tree: plain arrays (n,) or (n, 4), Ragged and Nested branches by name."""

    first: int
    n: int
    branches: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.branches[name]

    def __contains__(self, name: str) -> bool:
        return name in self.branches

    def floats(self, name: str) -> Array:
        """A branch of one value an event in float64, whatever its type in the file, (n,)."""
        return np.asarray(self.branches[name], dtype=np.float64)


def is_remote(path: Path) -> bool:
    """Whether a path was an XRootD address (``root://host//path``) before Path took a slash from it."""
    return path.parts[:1] == ("root:",)


def url_of(path: Path) -> str:
    """What uproot opens.

    >>> url_of(Path("root://door.example.org//store/a.root"))
    'root://door.example.org//store/a.root'
    """
    return f"root://{path.parts[1]}//{'/'.join(path.parts[2:])}" if is_remote(path) else str(path)


def looks_like(path: Path) -> bool:
    """Whether a file begins as ROOT files do. An XRootD address is taken for one."""
    if is_remote(path):
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == ROOT_MAGIC
    except OSError:
        return False


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn what uproot says about a damaged file into one kind of error."""
    try:
        yield
    except NuadaptError:
        raise
    except Exception as error:  # uproot's own classes, and any that a damaged length or offset leads to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputFileError(
            f"the ROOT file cannot be read; it is truncated or damaged ({type(error).__name__}: {reason})",
            where=path,
            next_step="Copy it again",
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open ROOT file.

    Raises:
        InputFileError: missing, empty, not ROOT, damaged.
        MissingExtraError: uproot, or for a remote file XRootD, is not installed.
    """
    uproot = require("uproot", "readers")
    if is_remote(path):
        require("fsspec_xrootd", "xrootd")
    elif not looks_like(existing_file(path, _EXPECTED)):
        raise InputFileError("this is not a ROOT file", where=path, expected=_EXPECTED)
    with damage_explained(path):
        file = uproot.open(url_of(path))
    try:
        yield file
    finally:
        file.close()


def tree_of(file: Any, name: str, path: Path) -> Any:
    """The tree ``name`` of an open file.

    Raises:
        InputFileError: there is none; says which trees there are.
    """
    with damage_explained(path):
        classes = file.classnames(recursive=True, cycle=False)
        trees = [key for key, kind in classes.items() if "Tree" in kind or "RNTuple" in kind]
        if name in trees:
            return file[name]
    found = f"the trees {listed(trees)}" if trees else f"no trees, but {listed(list(classes)) or 'nothing'}"
    raise InputFileError(
        f"no tree '{name}' in this file; it has {found}",
        where=path,
        expected=nearest(name, trees) if trees else _EXPECTED,
        next_step="Name another tree with --set tree=NAME if it is of the same kind",
    )


def chunks(tree: Any, names: Sequence[str], step: int, path: Path) -> Iterator[Chunk]:
    """The branches ``names`` of all events, ``step`` events at a time.

    Raises:
        InputFileError: damage, or a branch of another kind than expected.
    """
    n = int(tree.num_entries)
    for first in range(0, n, step):
        stop = min(first + step, n)
        with damage_explained(path):
            arrays = tree.arrays(list(names), entry_start=first, entry_stop=stop, library="ak", how=dict)
            branches = {name: _plain(arrays[name], name, path) for name in names}
        yield Chunk(first, stop - first, branches)


def _plain(array: Any, name: str, path: Path) -> Any:
    """NumPy arrays of an awkward array of depth 1 to 3."""
    ak = require("awkward", "readers")
    depth = array.ndim
    if depth == 1 or (depth == 2 and isinstance(array.layout, ak.contents.RegularArray | ak.contents.NumpyArray)):
        return np.asarray(ak.to_numpy(array))
    if depth not in (2, 3):
        raise InputFileError(f"branch '{name}' is of type {array.type}", where=path)
    layout = array.layout.to_ListOffsetArray64(True)
    offsets, content = np.asarray(layout.offsets), layout.content[: layout.offsets[-1]]
    if depth == 2:
        return Ragged(offsets, np.asarray(ak.to_numpy(content)))
    inner = content.to_ListOffsetArray64(True)
    values = np.asarray(ak.to_numpy(inner.content[: inner.offsets[-1]]))
    return Nested(offsets, np.diff(np.asarray(inner.offsets)), values)


def pot_used(file: Any, path: Path) -> float | None:
    """Protons on target of a file, the sum of ``POT_Used`` of its ``Meta`` tree; None without one."""
    with damage_explained(path):
        if "Meta" not in file.keys(cycle=False) or "POT_Used" not in file["Meta"].keys():  # noqa: SIM118
            return None
        return float(np.sum(file["Meta"]["POT_Used"].array(library="np")))
