"""Read uploaded files in a process of its own, which may take so much memory and time and no more.

The process writes what it read as an event store, and what there is to say as JSON; nothing else comes back.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import resource
import signal
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from nuadapt.errors import NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.store import EventWriter, Layout
from nuadapt.record import make_record, read_json, write_json
from nuadapt.serve.problems import ServiceError, TooLarge, Unusable, problem, status_of
from nuadapt.serve.settings import Limits
from nuadapt.sources.formats import ReadOptions, check_settings, detect_format
from nuadapt.sources.ingest import read_all

#: What the process leaves in its folder, where the uploaded files are, and the settings of their reader.
STORE, REPORT, INPUTS, SETTINGS = "events.h5", "report.json", "in", "settings.json"
PNG_MAGIC, GZIP_MAGIC = b"\x89PNG\r\n\x1a\n", b"\x1f\x8b"
ACCEPTED = "DUNE .gz maps, PNG pairs, NuHepMC text (plain or gzip), MINERvA .root tuples"
_STEP = 1 << 20  # bytes decompressed at a time
_CHUNK = 16  # interactions simulated at a time
_SEED = 1  # of the simulation of uploaded interactions, so that equal files give equal pictures


def parse(folder: Path, limits: Limits) -> None:
    """Entry of the process: confine itself, read everything in ``folder``/in, write the store and the report."""
    confine(limits)
    os.chdir(folder)  # so that no message and no event tells where that is
    folder = Path()
    try:
        report = _parsed(folder, limits)
    except NuadaptError as error:
        report = _refusal(error)
    except MemoryError:
        most = f"at most {limits.parse_memory:,} bytes"
        report = _refusal(TooLarge("reading these files takes too much memory", expected=most))
    except Exception as unexpected:  # damaged files find ways that readers do not foresee
        what = f"these files cannot be read ({type(unexpected).__name__})"
        report = _refusal(Unusable(what, expected=ACCEPTED))
    write_json(folder / REPORT, report)


def _refusal(error: NuadaptError) -> dict[str, Any]:
    """The report of an error; what readers find wrong is the fault of the files."""
    return {"status": status_of(error) if isinstance(error, ServiceError) else Unusable.status, **problem(error)}


def warm_up() -> None:
    """Compile the kernels of the simulation into the cache on disk, so that the first upload need not wait for it.

    Once for each version of the simulation, by one process of this machine, behind everything else that it does.
    """
    with suppress(NuadaptError, ImportError, OSError):
        done = _compiled()
        if done.exists():
            return
        with done.with_suffix(".lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: another process is at it
            os.nice(19)
            _simulate(20)
            done.touch()


def load_kernels() -> None:
    """Load the kernels if they are compiled, for all processes that are forked from this one: it takes seconds."""
    with suppress(NuadaptError, ImportError, OSError):
        if _compiled().exists():
            _simulate(1)


def _compiled() -> Path:
    """What says that all kernels of this version are in the cache."""
    from nuadapt.sources.simulation.kernels import cache_folder

    return cache_folder() / "compiled"


def _simulate(events: int) -> None:
    from nuadapt.sources.simulation.lartpc import LArTPC, LArTPCConfig

    LArTPC(LArTPCConfig(), _SEED).simulate(range(events), "warm-up")


def confine(limits: Limits) -> None:
    """Limit this process for good: address space, processor time, wall time, size of what it writes.

    The wall time also ends it if whoever started it was killed.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who waits decides; a signal to the whole group is not for us
    seconds = max(1, int(limits.parse_seconds))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds + 5)
    for what, most in (
        (resource.RLIMIT_AS, _address_space() + limits.parse_memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits.unpacked_bytes + _STEP),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a limit that is lower already stays
            resource.setrlimit(what, (most, most))


def _address_space() -> int:
    """Bytes of address space that this process has with its libraries (proc(5): statm, first number, pages)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 4 << 30
    return pages * resource.getpagesize()


def _parsed(folder: Path, limits: Limits) -> dict[str, Any]:
    """Write the store; gives format, what was left out, and notes."""
    paths, kind = inputs_in(folder / INPUTS, limits)
    reading = ReadOptions(max_bad_fraction=1.0, settings=read_json(folder / SETTINGS))
    check_settings(kind, reading.settings)
    writer: EventWriter | None = None
    count = 0
    try:
        for batch in _batches(paths, kind, reading, limits):
            count += len(batch)
            if count > limits.upload_events:
                raise TooLarge("too many events", expected=f"at most {limits.upload_events} in one request")
            if problems := problems_of(batch):
                raise Unusable(problems[0], expected="possible values")
            writer = writer or EventWriter.create(
                folder / STORE, Layout.of(batch), make_record("upload", {"format": kind})
            )
            writer.append(batch)
        if writer is None or not count:
            raise Unusable("there are no events in these files", expected=ACCEPTED)
        writer.finish()
    finally:
        if writer is not None:
            writer.close()
    return {"format": kind, "left_out": dict(reading.report.left_out), "notes": reading.report.notes[:20]}


def inputs_in(folder: Path, limits: Limits) -> tuple[list[Path], str]:
    """What to read, and of which format; gzip text is unpacked on the way, up to the limit.

    Raises:
        TooLarge: more than that.
        Unusable: no known format, or several.
    """
    budget = limits.unpacked_bytes
    paths = sorted(folder.iterdir(), key=lambda entry: (len(entry.name), entry.name))
    for path in paths:
        budget -= _unpacked(path, budget)
    kinds = {detect_format(path) for path in paths}
    if len(kinds) != 1:
        raise Unusable(f"files of several formats: {', '.join(sorted(kinds))}", next_step="Send them one by one")
    return paths, kinds.pop()


def _unpacked(path: Path, budget: int) -> int:
    """Bytes that a file takes when unpacked. A gzip file is replaced by its content; of a picture the header tells.

    Raises:
        TooLarge: more than ``budget``.
    """
    if path.is_dir():
        return sum(_unpacked(inside, budget) for inside in path.iterdir())
    with path.open("rb") as file:
        head = file.read(24)
    if head.startswith(PNG_MAGIC) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
        size = 4 * width * height  # channels of a byte
    elif head.startswith(GZIP_MAGIC):
        size = _gunzip(path, budget)
    else:
        size = path.stat().st_size
    if size > budget:
        raise TooLarge("these files hold too much when unpacked")
    return int(size)


def _gunzip(path: Path, budget: int) -> int:
    """Replace a gzip file by its content, up to the budget; a damaged end keeps what came before it."""
    size, beside = 0, path.with_suffix(".unpacking")
    with gzip.open(path) as packed, beside.open("wb") as out, suppress(EOFError, OSError, zlib.error):
        while piece := packed.read(_STEP):
            size += len(piece)
            if size > budget:
                break
            out.write(piece)
    if 0 < size <= budget:
        beside.replace(path)
    else:
        beside.unlink()
    return size


def _batches(paths: list[Path], kind: str, reading: ReadOptions, limits: Limits) -> Iterator[EventBatch]:
    """Events of the files; interactions pass through the default liquid-argon detector."""
    if kind != "nuhepmc":
        yield from read_all(paths, kind, reading=reading)
        return
    from nuadapt.sources.nuhepmc import read_vertices
    from nuadapt.sources.simulation.lartpc import LArTPC, LArTPCConfig

    detector, first = LArTPC(LArTPCConfig(), _SEED), 0
    for path in paths:
        vertices = read_vertices(path, reading.report, max_bad_fraction=reading.max_bad_fraction)
        while chunk := list(islice(vertices, min(_CHUNK, limits.upload_events + 1))):
            yield detector.simulate_vertices(chunk, first, path.name)
            first += len(chunk)
