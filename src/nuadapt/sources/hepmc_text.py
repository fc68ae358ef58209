"""The text of HepMC3 ASCII files: header, event by event, checked line by line, then parsed by pyhepmc.

pyhepmc reports a damaged event as the end of the file, and prints. So the text is cut into events here, each is
checked against the grammar of HepMC3 ASCII (Buckley et al., Comput. Phys. Commun. 260 (2021) 107310, section 3),
and only sound events reach pyhepmc.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from nuadapt.errors import InputFileError, require
from nuadapt.sources.reading import ReadReport, existing_file

VERSION_LINE, START = b"HepMC::Version", b"HepMC::Asciiv3-START_EVENT_LISTING"
END = b"HepMC::Asciiv3-END_EVENT_LISTING"
_EXPECTED = "NuHepMC: HepMC3 ASCII text, plain or gzip"
_OLD = (b"HepMC::IO_GenEvent", b"HepMC::Asciiv2")
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_LINE, _MAX_HEADER, _MAX_EVENT = 1 << 20, 1_000_000, 1_000_000  # bytes, lines, lines
_GROUP = 64  # events parsed at a time
#: NuHepMC versions whose process numbers and status codes are read here; 0.9 had them as drafts.
_VERSIONS = ((1, None), (0, 9))


@dataclass(frozen=True, slots=True)
class EventText:
    """One event: pyhepmc's ``event`` (a GenEvent), or the ``problem`` for which it cannot be parsed."""

    event: Any = None
    problem: str = ""


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of a plain or gzip file, told apart by content, not by name.

    Raises:
        InputFileError: missing, empty or unreadable.
    """
    existing_file(path, _EXPECTED)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=path, expected=_EXPECTED) from error
    with raw:
        packed = raw.peek(2)[:2] == _GZIP_MAGIC
        yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw


def looks_like(path: Path) -> bool:
    """Whether a file begins as HepMC text, plain or in gzip."""
    try:
        with open_text(path) as stream:
            return stream.read(len(b"HepMC::")) == b"HepMC::"
    except (InputFileError, OSError, EOFError, zlib.error):
        return False


def _line(stream: IO[bytes], path: Path) -> bytes:
    """The next line with its end; empty at the end of the file.

    Raises:
        InputFileError: the gzip stream is truncated or damaged, or a line has no end.
    """
    try:
        line = stream.readline(_MAX_LINE)
    except EOFError as error:
        raise _truncated(path) from error
    except (OSError, zlib.error) as error:
        raise InputFileError(f"the file is damaged ({error})", where=path, expected=_EXPECTED) from error
    if len(line) == _MAX_LINE:
        raise InputFileError(f"a line longer than {_MAX_LINE:,} bytes", where=path, expected=_EXPECTED)
    return line


def _truncated(path: Path) -> InputFileError:
    return InputFileError(
        "the file ends before the end of its event listing; it is truncated or half written",
        where=path,
        expected=f"a last line {END.decode()}",
        next_step="Copy it again; the complete events before the break were read",
    )


def _header(stream: IO[bytes], path: Path) -> tuple[list[bytes], bytes]:
    """The run's lines, and the first line behind them (of an event, the end, or nothing).

    Raises:
        InputFileError: not HepMC3 ASCII.
    """
    first = _line(stream, path)
    second = _line(stream, path) if first.startswith(VERSION_LINE) else b""
    if first.startswith(_OLD) or second.startswith(_OLD):
        raise InputFileError("this is HepMC2 text", where=path, expected=_EXPECTED, next_step="Convert it to HepMC3")
    if not second.startswith(START):
        raise InputFileError("this is not HepMC3 ASCII", where=path, expected=_EXPECTED)
    lines = [first, second]
    while line := _line(stream, path):
        if line.startswith((b"E ", END)):
            return lines, line
        lines.append(line)
        if len(lines) > _MAX_HEADER:
            raise InputFileError("no event in the first million lines", where=path, expected=_EXPECTED)
    raise _truncated(path)


def _check_version(header: Sequence[bytes], path: Path, report: ReadReport) -> None:
    """NuHepMC must be declared in the run's attributes, in a version whose codes are known.

    Raises:
        InputFileError: plain HepMC3, or another version.
    """
    given: dict[str, str] = {}
    for line in header:
        parts = line.decode("latin-1").split()
        if len(parts) == 3 and parts[0] == "A" and parts[1].startswith("NuHepMC.Version."):
            given[parts[1].rsplit(".", 1)[1]] = parts[2]
    if not {"Major", "Minor"} <= set(given):
        raise InputFileError(
            "HepMC3 without NuHepMC.Version: the file does not follow the neutrino conventions",
            where=path,
            expected="run attributes NuHepMC.Version.Major, .Minor, .Patch",
            next_step="Write the events with a NuHepMC output of the generator",
        )
    shown = ".".join(given.get(part, "?") for part in ("Major", "Minor", "Patch"))
    if not any(given["Major"] == str(a) and (b is None or given["Minor"] == str(b)) for a, b in _VERSIONS):
        raise InputFileError(f"NuHepMC version {shown}", where=path, expected="version 1.x (0.9 is read with care)")
    if given["Major"] == "0":
        report.note(f"{path.name} declares NuHepMC {shown}, a draft; codes are taken as in version 1.0")


def _blocks(stream: IO[bytes], path: Path, line: bytes) -> Iterator[list[bytes]]:
    """The lines of each complete event.

    Raises:
        InputFileError: after the last complete event of a truncated file, or content behind the end.
    """
    block: list[bytes] = []
    try:
        while line and not line.startswith(END):
            if line.startswith(b"E ") and block:
                yield block
                block = []
            block.append(line)
            if len(block) > _MAX_EVENT:
                raise InputFileError(f"an event of more than {_MAX_EVENT:,} lines", where=path, expected=_EXPECTED)
            line = _line(stream, path)
    except InputFileError:
        if _is_whole(block):
            yield block
        raise
    if line:
        if block:
            yield block
        if _line(stream, path).strip():
            raise InputFileError(
                "more content behind the end of the event listing", where=path, next_step="Give joined files one by one"
            )
        return
    if _is_whole(block):
        yield block
    raise _truncated(path)


def _is_whole(block: Sequence[bytes]) -> bool:
    """Whether the last event before a break in the file is complete: sound, and its last line has an end."""
    return bool(block) and block[-1].endswith(b"\n") and not problem_of(block)


def problem_of(block: Sequence[bytes]) -> str:
    """What is wrong with the lines of one event; empty if they follow the grammar.

    Event: ``E number vertices particles [@ x y z t]``, ``U momentum length``, ``W weights``, ``A id name value``,
    ``V id status [particles] [@ x y z t]``, ``P id parent pdg px py pz e m status``.
    """
    try:
        head = block[0].split()
        n_vertices, n_particles = int(head[2]), int(head[3])
        int(head[1])
        _floats(head[5:], expect=0 if len(head) == 4 else 4)
        if not (0 <= n_vertices <= n_particles < _MAX_EVENT):
            return "impossible numbers of vertices and particles"
        seen, units = 0, False
        for line in block[1:]:
            kind, parts = line[:2], line.split()
            if kind == b"P ":
                seen += 1
                _check_particle(parts, seen, n_vertices)
            elif kind == b"V ":
                _check_vertex(line, n_vertices, n_particles)
            elif kind == b"U ":
                units = parts[1] in (b"MEV", b"GEV") and parts[2] in (b"MM", b"CM")
            elif kind == b"W ":
                _floats(parts[1:])
            elif kind != b"A " or len(parts) < 3:
                return "a line of unknown kind"
    except (ValueError, IndexError, OverflowError):
        return "a line that does not follow the HepMC3 grammar"
    if seen != n_particles:
        return "another number of particles than announced"
    return "" if units else "no units MEV or GEV and MM or CM"


def _floats(parts: Sequence[bytes], expect: int | None = None) -> None:
    if expect is not None and len(parts) != expect:
        raise ValueError
    for part in parts:
        float(part)


def _check_particle(parts: Sequence[bytes], number: int, n_vertices: int) -> None:
    """Ids count from 1; the parent is 0, an earlier particle, or a vertex; codes fit 32 bits."""
    own, parent, pdg, status = int(parts[1]), int(parts[2]), int(parts[3]), int(parts[9])
    _floats(parts[4:9], expect=5)
    if own != number or not -n_vertices <= parent < own or max(abs(pdg), abs(status)) >= 2**31 or len(parts) != 10:
        raise ValueError


def _check_vertex(line: bytes, n_vertices: int, n_particles: int) -> None:
    """Ids count down from -1; the list names existing particles."""
    before, rest = line.split(b"[", 1)
    inside, behind = rest.split(b"]", 1)
    own, status = (int(part) for part in before.split()[1:])
    incoming = [int(part) for part in inside.split(b",")] if inside.strip() else []
    position = behind.split()
    _floats(position[1:], expect=0 if not position else 4)
    if not -n_vertices <= own < 0 or abs(status) >= 2**31 or (position and position[0] != b"@"):
        raise ValueError
    if any(not 1 <= particle <= n_particles for particle in incoming):
        raise ValueError


def events_of(stream: IO[bytes], path: Path, report: ReadReport) -> Iterator[EventText]:
    """All events in file order, unusable ones with their problem.

    Raises:
        InputFileError: not NuHepMC; or, after the complete events, a truncated or damaged file.
    """
    header, line = _header(stream, path)
    _check_version(header, path, report)
    start, failure = b"".join(header), None
    group: list[list[bytes]] = []
    try:
        for block in _blocks(stream, path, line):
            group.append(block)
            if len(group) == _GROUP:
                yield from _parsed(start, group)
                group = []
    except InputFileError as error:
        failure = error
    yield from _parsed(start, group)
    if failure is not None:
        raise failure


def _parsed(start: bytes, blocks: Sequence[Sequence[bytes]]) -> Iterator[EventText]:
    """Events of the blocks in order: all together, or one by one if pyhepmc stumbles over any of them."""
    problems = [problem_of(block) for block in blocks]
    sound = [block for block, problem in zip(blocks, problems, strict=True) if not problem]
    events: list[Any] = _parse(start, sound) if sound else []
    if len(events) != len(sound):
        events = [next(iter(_parse(start, [block])), None) for block in sound]
    following = iter(events)
    for problem in problems:
        event = None if problem else next(following)
        yield EventText(event, problem or ("" if event is not None else "pyhepmc cannot parse it"))


def _parse(start: bytes, blocks: Sequence[Sequence[bytes]]) -> list[Any]:
    """pyhepmc's events, up to the first that it cannot parse."""
    hepmc, hepmc_io = require("pyhepmc", "readers"), require("pyhepmc.io", "readers")
    text = b"".join([start, *(line for block in blocks for line in block), END, b"\n"])
    with _quiet(hepmc.Setup):
        try:
            return list(hepmc_io.ReaderAscii(hepmc_io.pyiostream(io.BytesIO(text))))
        except (RuntimeError, OSError, ValueError):
            return []


@contextmanager
def _quiet(setup: Any) -> Iterator[None]:
    """Keep the C++ library from writing to the terminal; every problem is reported by our own errors."""
    before = setup.print_errors, setup.print_warnings
    setup.print_errors = setup.print_warnings = False
    try:
        yield
    finally:
        setup.print_errors, setup.print_warnings = before
