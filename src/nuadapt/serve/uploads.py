"""Uploaded files: written under names of our own, read by a confined process, kept for a while as a store."""

from __future__ import annotations

import multiprocessing
import re
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from nuadapt.errors import InputFileError
from nuadapt.events.store import EventStore
from nuadapt.record import read_json, write_json
from nuadapt.serve.answers import read_answers
from nuadapt.serve.collection import Collection
from nuadapt.serve.desk import Desk
from nuadapt.serve.parse_worker import ACCEPTED, GZIP_MAGIC, INPUTS, PNG_MAGIC, REPORT, SETTINGS, STORE, parse, warm_up
from nuadapt.serve.places import Run
from nuadapt.serve.problems import NotThere, ServiceError, TimedOut, TooLarge, Unusable, shown
from nuadapt.serve.settings import Limits

_RUN = "run.json"
_NAME = re.compile(r"[0-9a-f]{32}")
_HEAD = 16  # bytes that tell formats apart
#: What the process that others are forked from loads; the main module, because each would load it by itself else.
_PRELOAD = ["__main__", "nuadapt.serve.parse_libraries"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the reading process said: format, counts of what was left out, notes."""

    format: str
    left_out: dict[str, int]
    notes: list[str]


class ReadingFailed(ServiceError):
    """The reading process refused the files, with the status that it chose."""

    def __init__(self, report: dict[str, Any], names: dict[str, str]) -> None:
        given = {key: str(value) for key, value in report.get("error", {}).items()}
        for own, name in names.items():  # people know their files by their own names
            given = {key: value.replace(own, name) for key, value in given.items()}
        self.status = int(report.get("status", Unusable.status))
        super().__init__(
            given.get("what", "the files cannot be read"),
            where=given.get("where") or None,
            expected=given.get("expected", ""),
            next_step=given.get("next_step", ""),
        )


class Uploads:
    """All uploads of a service; the folder is shared by its processes."""

    def __init__(self, folder: Path, runs: Sequence[Run], limits: Limits) -> None:
        self.folder, self.limits = folder / "uploads", limits
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._runs = {run.name: run for run in runs}
        self._open: OrderedDict[str, Collection] = OrderedDict()
        self._lock = Lock()
        self._starting = Lock()
        self._context = multiprocessing.get_context("forkserver")
        self.desk = Desk(
            "reading uploads",
            lambda folders: [self._parse(*folders)],
            waiting=limits.waiting,
            threads=limits.parsers,
            retry_seconds=limits.retry_seconds,
        )

    def start(self, *, warm: bool) -> None:
        """Start the process that reading processes are forked from: clean, without threads, with all libraries."""
        self._context.set_forkserver_preload(_PRELOAD)
        forkserver.ensure_running()
        if warm:
            self._context.Process(target=warm_up, daemon=True).start()

    def new(self) -> Path:
        """A folder for an upload that is being made; its name becomes visible with :meth:`done`."""
        self._sweep()
        folder = self.folder / f".{secrets.token_hex(16)}"
        (folder / INPUTS).mkdir(parents=True, mode=0o700)
        return folder

    def done(self, folder: Path, run: str | None) -> str:
        """Make an upload visible; gives its name."""
        write_json(folder / _RUN, {"run": run})
        shutil.rmtree(folder / INPUTS, ignore_errors=True)
        name = folder.name.removeprefix(".")
        folder.rename(self.folder / name)
        return name

    def discard(self, folder: Path) -> None:
        """Remove an upload that came to nothing."""
        shutil.rmtree(folder, ignore_errors=True)

    def read(self, folder: Path) -> Future[Parsed]:
        """Have the files in ``folder``/in read.

        Raises:
            Busy: too many uploads wait.
        """
        return self.desk.submit(folder)

    def _parse(self, folder: Path) -> Parsed:
        process = self._context.Process(target=parse, args=(folder, self.limits), daemon=True)
        with self._starting:
            process.start()
        process.join(self.limits.parse_seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimedOut("reading these files took too long", expected=f"at most {self.limits.parse_seconds:g} s")
        code = process.exitcode
        process.close()
        try:
            report = read_json(folder / REPORT)
        except InputFileError as error:
            what = f"reading these files failed (the process ended with {code})"
            raise Unusable(what, expected=ACCEPTED) from error
        if "error" in report:
            raise ReadingFailed(report, read_json(folder / "names.json"))
        left_out = {shown(reason): int(n) for reason, n in report["left_out"].items()}
        return Parsed(str(report["format"]), left_out, [shown(note) for note in report["notes"]])

    def open(self, name: str) -> Collection:
        """The events of an upload.

        Raises:
            NotThere: no such upload, or it is gone.
        """
        place = self.folder / name
        if not _NAME.fullmatch(name) or not place.is_dir():
            raise NotThere("no such upload, or it is no longer kept", next_step="Upload the files again")
        with self._lock:
            if name not in self._open:
                run = self._runs.get(str(read_json(place / _RUN)["run"]))
                store = EventStore(place / STORE)
                found = [read_answers(run, store, place)] if run is not None else []
                self._open[name] = Collection(store, found, "upload")
            self._open.move_to_end(name)
            while len(self._open) > self.limits.uploads_kept:
                self._open.popitem(last=False)[1].close()
            return self._open[name]

    def _sweep(self) -> None:
        """Remove uploads that are old, and the oldest ones beyond the number that is kept."""
        ages = sorted((age, path) for path in self.folder.iterdir() if (age := _age(path)) is not None)
        visible = [(age, path) for age, path in ages if not path.name.startswith(".")]
        old = [path for age, path in ages if age > self.limits.upload_seconds]
        old += [path for _, path in visible[self.limits.uploads_kept - 1 :]]
        with self._lock:
            for path in old:
                gone = self._open.pop(path.name, None)
                if gone is not None:
                    gone.close()
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Finish what was accepted and close all files."""
        self.desk.close()
        with self._lock:
            for collection in self._open.values():
                collection.close()
            self._open.clear()


def _age(path: Path) -> float | None:
    """Seconds since a folder was made; None if it is gone, as another process sweeps, too."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None


def store_files(
    folder: Path,
    files: Sequence[tuple[str, BinaryIO]],
    limits: Limits,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write uploaded ``files`` (their names and contents) into ``folder``/in under names of our own.

    ``settings`` of the reader go beside them.

    What a file is called never becomes a path: it only tells the two pictures of a pair apart. The names are kept to
    speak of files in errors.

    Raises:
        TooLarge: too many files.
        Unusable: none, or pictures that are no pairs.
    """
    if not files:
        raise Unusable("no files came", where="files", expected=ACCEPTED)
    if len(files) > limits.upload_files:
        raise TooLarge(f"{len(files)} files", expected=f"at most {limits.upload_files}")
    heads = []
    for _, file in files:
        heads.append(file.read(_HEAD))
        file.seek(0)
    pictures = [i for i, head in enumerate(heads) if head.startswith(PNG_MAGIC)]
    if pictures and len(pictures) < len(files):
        raise Unusable("pictures and other files", next_step="Send them one by one")
    named = _pairs([name for name, _ in files]) if pictures else [_own_name(i, head) for i, head in enumerate(heads)]
    for own, (_, file) in zip(named, files, strict=True):
        place = folder / INPUTS / own
        place.parent.mkdir(exist_ok=True, mode=0o700)
        with place.open("xb") as out:
            shutil.copyfileobj(file, out)
    shown = {f"{INPUTS}/{own}": _printable(name) for own, (name, _) in zip(named, files, strict=True)}
    write_json(folder / "names.json", shown)
    write_json(folder / SETTINGS, dict(settings or {}))


def _own_name(number: int, head: bytes) -> str:
    """A name by content; readers ask for some endings, and RFC 1950 for multiples of 31 at the start of zlib."""
    if head.startswith(b"root"):
        return f"file{number}.root"
    if head.startswith(GZIP_MAGIC):
        return f"file{number}.hepmc.gz"
    if len(head) > 1 and head[0] & 0x0F == 8 and not int.from_bytes(head[:2], "big") % 31:
        return f"event{number}.gz"
    return f"file{number}.hepmc"


def _pairs(names: Sequence[str]) -> list[str]:
    """Names for pictures, two by two: ``<pair>/<pair>_xz.png`` and ``_yz.png``, by what they are called or by order.

    Raises:
        Unusable: an odd number, or two pictures of one view.
    """
    if len(names) % 2:
        raise Unusable(f"{len(names)} pictures are no pairs", expected="two for each event: view xz and view yz")
    order = sorted(range(len(names)), key=lambda i: (re.sub("[xy]z", "", names[i].lower()), i))
    own = [""] * len(names)
    for number, (first, second) in enumerate(zip(order[::2], order[1::2], strict=True)):
        views = [_view_named(names[i].lower()) for i in (first, second)]
        if views[0] == views[1] and views[0]:
            raise Unusable(f"two pictures of the view {views[0]}", where=_printable(names[second]))
        swapped = views[0] == "yz" or views[1] == "xz"
        for index, view in zip((first, second), ("yz", "xz") if swapped else ("xz", "yz"), strict=True):
            own[index] = f"{number}/{number}_{view}.png"
    return own


def _view_named(name: str) -> str:
    """The view that a name speaks of, else nothing."""
    return next((view for view in ("yz", "xz") if view in name), "")


def _printable(name: str) -> str:
    """A file name as text for people: no paths, no control characters, not long."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:80] or "a file"
