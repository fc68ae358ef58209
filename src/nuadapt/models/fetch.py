"""Published checkpoints by name: downloaded once into nuadapt's cache, with their hash written down."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nuadapt.errors import ConfigError, InputFileError, OutputError, nearest
from nuadapt.models.weights import read_checkpoint
from nuadapt.record import read_json, write_json

#: Name -> address. Those of OmniLearned (arXiv:2510.24066) are where its package 0.2.0 fetches them.
CHECKPOINTS: dict[str, str] = {
    "omnilearned-small": "https://portal.nersc.gov/cfs/m4567/checkpoints/best_model_pretrain_s.pt",
    "omnilearned-medium": "https://portal.nersc.gov/cfs/m4567/checkpoints/best_model_pretrain_m.pt",
}
_TIMEOUT = 30.0  # s without an answer
_PIECE = 1 << 20  # bytes
_LARGEST = 4 << 30  # bytes: more than any of them, less than a full disk
Progress = Callable[[int, int], None]


def cache_folder() -> Path:
    """Where fetched and unpacked weights are kept: ``NUADAPT_CACHE``, or ``nuadapt`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NUADAPT_CACHE") or Path(base) / "nuadapt")


def place_of(name: str) -> Path:
    """Where a checkpoint is, once it has been fetched.

    Raises:
        ConfigError: no checkpoint of that name is known.
    """
    if name not in CHECKPOINTS:
        raise ConfigError(f"no checkpoint '{name}'", expected=nearest(name, CHECKPOINTS))
    return cache_folder() / "checkpoints" / CHECKPOINTS[name].rpartition("/")[2]


def checkpoint(given: str) -> Path:
    """The file of a checkpoint: a path, or one that was fetched, whose hash is still the one written down.

    Raises:
        InputFileError: no such file, not fetched yet, or changed since.
    """
    if given not in CHECKPOINTS:
        if not Path(given).is_file():
            raise InputFileError(
                "no such checkpoint", where=given, expected=f"a file, a run folder, or one of {', '.join(CHECKPOINTS)}"
            )
        return Path(given)
    place = place_of(given)
    if not place.is_file():
        raise InputFileError(f"{given} is not on this machine", where=place, next_step=f"nuadapt fetch {given}")
    noted = read_json(_note(place)).get("sha256")
    if _digest(place) != noted:
        raise InputFileError(
            f"{given} is not the file that was fetched", where=place, next_step="Remove it and fetch it again"
        )
    return place


def fetch(name: str, *, progress: Progress | None = None) -> dict[str, Any]:
    """Download a checkpoint, check that it is one, and write its hash beside it. What is there already stays.

    Returns:
        ``path``, ``url``, ``sha256``, ``bytes``.

    Raises:
        ConfigError: no checkpoint of that name is known.
        InputFileError: no network, the server refuses, or what came is no checkpoint of tensors.
        OutputError: the cache folder cannot be written.
    """
    place, url = place_of(name), CHECKPOINTS[name]
    if place.is_file() and _note(place).is_file():
        return {"path": str(place), **read_json(_note(place))}
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        size = _download(url, beside, progress)
        read_checkpoint(beside)
        note = {"url": url, "sha256": _digest(beside), "bytes": size}
        beside.replace(place)
        write_json(_note(place), note)
    except (urllib.error.URLError, TimeoutError) as error:
        raise InputFileError(
            f"{name} cannot be downloaded ({getattr(error, 'reason', error)})",
            where=url,
            next_step="Fetch the file on a machine with a network, and give its path in place of the name",
        ) from error
    except OSError as error:
        raise OutputError(
            f"the checkpoint cannot be written ({error})",
            where=place.parent,
            next_step="Name a folder that you may write to in the environment variable NUADAPT_CACHE",
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return {"path": str(place), **note}


def _download(url: str, place: Path, progress: Progress | None) -> int:
    """Number of bytes written."""
    done = 0
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, place.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(_PIECE):
            done += len(piece)
            if done > _LARGEST:
                raise InputFileError(f"more than {_LARGEST >> 30} GB came", where=url)
            file.write(piece)
            if progress is not None:
                progress(done, max(total, done))
    if total and done != total:
        raise InputFileError(f"only {done} of {total} bytes came", where=url, next_step="Try again")
    return done


def _note(place: Path) -> Path:
    return place.with_suffix(".json")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
