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
from nuadapt.events import flat
from nuadapt.sources.minerva import branches
from nuadapt.sources.reading import existing_file

Array = npt.NDArray[Any]
ROOT_MAGIC = b"root"
_EXPECTED = "a ROOT file with a MasterAnaDev tree"
SENTINELS = (-999.0, -9999.0)


def is_sentinel(values: Array) -> npt.NDArray[np.bool_]:
    """Whether values stand for 'not there'."""
    return np.isin(values, SENTINELS)


@dataclass(frozen=True, slots=True)
class Ragged:
    """One branch with any number of values an event: ``offsets`` (n + 1,), flat ``values``."""

    offsets: npt.NDArray[np.int64]
    values: Array

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Values of each event, (n,)."""
        return np.diff(self.offsets)

    def along(self, offsets: npt.NDArray[np.int64]) -> Array:
        """One value in float64 of each object that ``offsets`` counts, (n,); NaN where an event has fewer."""
        return _along(self.offsets, self.values, offsets)


@dataclass(frozen=True, slots=True)
class Nested:
    """A vector of vectors an event: event i has vectors offsets[i] to offsets[i + 1], vector j has inner[j] values."""

    offsets: npt.NDArray[np.int64]
    inner: npt.NDArray[np.int64]
    values: Array

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Vectors of each event, (n,)."""
        return np.diff(self.offsets)

    def column(self, i: int) -> Array:
        """Value ``i`` of each vector, NaN where the vector is too short, shape (vectors,)."""
        if len(self.values) == 4 * len(self.inner) and (self.inner == 4).all():  # as it should be
            return self.values.reshape(-1, 4)[:, i]
        start = np.cumsum(self.inner) - self.inner
        found = np.full(len(self.inner), np.nan)
        long = self.inner > i
        found[long] = self.values[start[long] + i]
        return found

    def along(self, offsets: npt.NDArray[np.int64]) -> Array:
        """Four values in float64 of each object that ``offsets`` counts, (n, 4); NaN where there are fewer."""
        return np.stack([_along(self.offsets, self.column(i), offsets) for i in range(4)], axis=1)


def _along(of_branch: npt.NDArray[np.int64], values: Array, offsets: npt.NDArray[np.int64]) -> Array:
    if np.array_equal(offsets, of_branch):
        return np.asarray(values, dtype=np.float64)
    event = flat.owners(offsets)
    at = np.arange(offsets[-1]) - offsets[event] + of_branch[event]
    there = at < of_branch[event + 1]
    found = np.full(len(at), np.nan)
    found[there] = values[at[there]]
    return found


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive events of a tree: plain arrays (n,), Ragged and Nested branches by name."""

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

    def four(self, name: str) -> Array:
        """A branch of four values an event in float64, (n, 4); NaN where an event has fewer."""
        branch, one_each = self.branches[name], np.arange(self.n + 1)
        return Nested(one_each, branch.counts, branch.values).along(one_each)

    def whole(self, name: str, unknown: int) -> npt.NDArray[np.int64]:
        """A branch of one whole number an event, (n,); ``unknown`` for sentinels and what is no number."""
        values = self.floats(name)
        known = (np.abs(values) < 2**31) & ~is_sentinel(values)  # False for NaN
        return np.where(known, values, unknown).astype(np.int64)


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
    """Turn what uproot says about a damaged file, or one that a server does not give, into one kind of error."""
    try:
        yield
    except NuadaptError:
        raise
    except OSError as error:  # also a time that is out
        if not is_remote(path):
            raise _damage(path, error) from error
        raise InputFileError(
            f"the file could not be read from its server ({_said(error)})",
            where=url_of(path),
            next_step="Check address, network and the right to read it; if others are read, this one is broken there",
        ) from error
    except Exception as error:  # uproot's own classes, and any that a damaged length or offset leads to
        raise _damage(path, error) from error


def _damage(path: Path, error: Exception) -> InputFileError:
    what = f"the ROOT file cannot be read; it is truncated or damaged ({_said(error)})"
    return InputFileError(what, where=url_of(path), next_step="Copy it again")


def _said(error: Exception) -> str:
    """Class and message of another library's error, on one line."""
    message = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


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
        file = uproot.open(url_of(path), array_cache=None)  # else it keeps 100 MB of arrays that are read once only
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


def chunks(tree: Any, names: Sequence[str], step: int, path: Path, turn: slice = slice(None)) -> Iterator[Chunk]:
    """The branches ``names`` of all events, ``step`` events at a time; of these steps those that ``turn`` selects.

    Raises:
        InputFileError: damage, or a branch of another form than expected.
    """
    n = int(tree.num_entries)
    for first in range(0, n, step)[turn]:
        stop = min(first + step, n)
        with damage_explained(path):
            arrays = tree.arrays(list(names), entry_start=first, entry_stop=stop, library="ak", how=dict)
            found = {name: _plain(arrays[name], name, path) for name in names}
        yield Chunk(first, stop - first, found)


def _plain(array: Any, name: str, path: Path) -> Any:
    """NumPy arrays of an awkward array of the dimensions that the branch should have.

    Raises:
        InputFileError: it has others, or does not hold numbers.
    """
    ak = require("awkward", "readers")
    wanted = branches.dimensions(name)
    values = np.asarray(ak.to_numpy(ak.flatten(array, axis=None)))
    if array.ndim != wanted or values.dtype.kind not in "biuf":
        kind = str(array.type).split(" * ", 1)[-1]
        raise InputFileError(f"branch '{name}' is of type '{kind}'", where=path, expected=branches.FORMS[wanted])
    if wanted == 1:
        return values
    offsets = flat.offsets_of(ak.to_numpy(ak.num(array)))
    if wanted == 2:
        return Ragged(offsets, values)
    return Nested(offsets, np.asarray(ak.to_numpy(ak.flatten(ak.num(array, axis=2)))), values)


def pot_used(file: Any, path: Path) -> float | None:
    """Protons on target of a file, the sum of ``POT_Used`` of its ``Meta`` tree; None without a number there."""
    with damage_explained(path):
        if "Meta" not in file.keys(cycle=False) or "POT_Used" not in file["Meta"].keys():  # noqa: SIM118
            return None
        pot = float(np.sum(file["Meta"]["POT_Used"].array(library="np")))
    return pot if np.isfinite(pot) and pot >= 0 else None
