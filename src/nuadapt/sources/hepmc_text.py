"""The text of HepMC3 ASCII files: header, event by event, checked line by line, then parsed by pyhepmc.

pyhepmc reports a damaged event as the end of the file, and prints. So the text is cut into events here, each is
checked against the grammar of HepMC3 ASCII (Buckley et al., Comput. Phys. Commun. 260 (2021) 107310, section 3),
and only sound events reach pyhepmc.
"""

from __future__ import annotations

import gzip
import io
import re
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
_MAX_LINE, _MAX_HEADER, _MAX_EVENT = 1 << 20, 1_000_000, 4_000_000  # bytes, lines, lines
_FLOAT = rb"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?"
_ANY_FLOAT = rb"(?:" + _FLOAT + rb"|[-+]?(?:nan|inf|NAN|INF|NaN|Inf))"
_PLACE = rb"(?: @(?: " + _FLOAT + rb"){4})?"
#: Lines of an event, after runs of blanks are made one:
#: E number vertices particles [@ x y z t]; U momentum length; W weights; A id name value;
#: V id status [incoming particles] [@ x y z t]; P id parent pdg px py pz e m status.
_EVENT = re.compile(rb"E (-?[0-9]{1,10}) ([0-9]{1,6}) ([0-9]{1,6})" + _PLACE + rb"\n")
_UNITS = re.compile(rb"U (?:MEV|GEV) (?:MM|CM)\n")
_WEIGHTS = re.compile(rb"W(?: " + _FLOAT + rb")+\n")
_ATTRIBUTE = re.compile(rb"A (-?[0-9]{1,9}) [^ \0\n]+ [^\0\n]*\n")
_VERTEX = re.compile(rb"V (-[0-9]{1,7}) (-?[0-9]{1,10}) \[([0-9]{1,7}(?:,[0-9]{1,7})*)\]" + _PLACE + rb"\n")
_PARTICLE = re.compile(rb"P ([0-9]{1,7}) (-?[0-9]{1,7}) (-?[0-9]{1,10})(?: " + _ANY_FLOAT + rb"){5} (-?[0-9]{1,10})\n")
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
        # A: attribute, name, value; W: names of the weights; T, N: tools and the rest of the run's description.
        if not line.startswith((b"A ", b"W ", b"T ", b"N ")) or (line[:1] == b"A" and len(line.split()) < 3):
            raise InputFileError(
                f"line {len(lines) + 1} is no line of a run's description", where=path, expected=_EXPECTED
            )
        if line[:1] == b"W" and not line.isascii():
            raise InputFileError("a name of a weight that is not ASCII", where=path, expected=_EXPECTED)
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
            block.append(_with_single_blanks(line))
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


def _with_single_blanks(line: bytes) -> bytes:
    """The line with one blank between its words; the text of an attribute is left as it is."""
    if line.startswith(b"A "):
        return line.rstrip(b"\r\n") + b"\n" if line.endswith(b"\n") else line
    return b" ".join(line.split()) + (b"\n" if line.endswith(b"\n") else b"")


def _is_whole(block: Sequence[bytes]) -> bool:
    """Whether the last event before a break in the file is complete: sound, and its last line has an end."""
    return bool(block) and block[-1].endswith(b"\n") and not problem_of(block)


def problem_of(block: Sequence[bytes], n_weights: int | None = None) -> str:
    """What is wrong with the lines of one event of ``n_weights`` (None: any); empty if they follow the grammar.

    The check is strict because pyhepmc writes behind its arrays if an event has more particles or vertices than
    its first line announces, or if a line has two blanks in a row.
    """
    head = _EVENT.fullmatch(block[0])
    if head is None or not _fits(head[1]):
        return "a first line that does not follow the grammar"
    checker = _Structure(int(head[2]), int(head[3]))
    units = False
    for line in block[1:]:
        kind = line[:2]
        if kind == b"P ":
            problem = checker.particle(line)
        elif kind == b"V ":
            problem = checker.vertex(line)
        elif kind == b"U ":
            units, problem = _UNITS.fullmatch(line) is not None, ""
        elif kind == b"W ":
            n_given = len(line.split()) - 1 if _WEIGHTS.fullmatch(line) else -1
            problem = "" if n_given > 0 and n_given == (n_weights or n_given) else "weights that do not fit the run's"
        elif kind == b"A ":
            problem = checker.attribute(line)
        else:
            problem = "a line of unknown kind"
        if problem:
            return problem
    return checker.missing() or ("" if units else "no units MEV or GEV and MM or CM")


def _fits(number: bytes) -> bool:
    """Whether an integer fits the 32 bits that HepMC3 has for it."""
    return abs(int(number)) < 2**31


class _Structure:
    """Particles and vertices of one event must be numbered and connected as its first line announces.

    Particles count up from 1, vertices down from -1. The parent of a particle is 0 (none), a vertex with a line
    of its own, or an earlier particle, which stands for a vertex that has no line.
    """

    def __init__(self, n_vertices: int, n_particles: int) -> None:
        self.n_vertices, self.n_particles = n_vertices, n_particles
        self.seen = 0
        self.vertices: set[int] = set()
        self.parents: set[int] = set()

    def particle(self, line: bytes) -> str:
        """Take a P line; the problem with it, or nothing."""
        match = _PARTICLE.fullmatch(line)
        if match is None or not all(_fits(match[i]) for i in range(1, 5)):
            return "a particle that does not follow the grammar"
        self.seen += 1
        own, parent = int(match[1]), int(match[2])
        known = parent in self.vertices if parent < 0 else parent < own
        if own != self.seen or not known:
            return "a particle with a wrong number or parent"
        if parent > 0:
            self.parents.add(parent)
        return ""

    def vertex(self, line: bytes) -> str:
        """Take a V line; the problem with it, or nothing."""
        match = _VERTEX.fullmatch(line)
        if match is None or not all(_fits(match[i]) for i in (1, 2)):
            return "a vertex that does not follow the grammar"
        own, incoming = int(match[1]), [int(part) for part in match[3].split(b",")]
        if own in self.vertices or not -self.n_vertices <= own < 0 or max(incoming) > self.n_particles:
            return "a vertex with a wrong number or particle"
        self.vertices.add(own)
        return ""

    def attribute(self, line: bytes) -> str:
        """Take an A line; the problem with it, or nothing. Id 0 is the event, -n a vertex, n a particle."""
        match = _ATTRIBUTE.fullmatch(line)
        if match is None:
            return "an attribute without id, name and value"
        fits = -self.n_vertices <= int(match[1]) <= self.n_particles
        return "" if fits else "an attribute of nothing in the event"

    def missing(self) -> str:
        """What the first line announced and did not come."""
        if self.seen != self.n_particles:
            return "another number of particles than announced"
        if len(self.vertices) + len(self.parents) != self.n_vertices:
            return "another number of vertices than announced"
        return ""


def events_of(stream: IO[bytes], path: Path, report: ReadReport) -> Iterator[EventText]:
    """All events in file order, unusable ones with their problem.

    Raises:
        InputFileError: not NuHepMC; or, after the complete events, a truncated or damaged file.
    """
    header, line = _header(stream, path)
    _check_version(header, path, report)
    failure = None
    group: list[list[bytes]] = []
    try:
        for block in _blocks(stream, path, line):
            group.append(block)
            if len(group) == _GROUP:
                yield from _parsed(header, group)
                group = []
    except InputFileError as error:
        failure = error
    yield from _parsed(header, group)
    if failure is not None:
        raise failure


def _parsed(header: Sequence[bytes], blocks: Sequence[Sequence[bytes]]) -> Iterator[EventText]:
    """Events of the blocks in order: all together, or one by one if pyhepmc stumbles over any of them."""
    start, n_weights = b"".join(header), _count_weights(header)
    problems = [problem_of(block, n_weights) for block in blocks]
    sound = [block for block, problem in zip(blocks, problems, strict=True) if not problem]
    events: list[Any] = _parse(start, sound) if sound else []
    if len(events) != len(sound):
        events = [next(iter(_parse(start, [block])), None) for block in sound]
    following = iter(events)
    for problem in problems:
        event = None if problem else next(following)
        yield EventText(event, problem or ("" if event is not None else "pyhepmc cannot parse it"))


def _count_weights(header: Sequence[bytes]) -> int | None:
    """How many weights the run names; None if it names none. A break between names is written as backslash, bar."""
    named = [line[2:].replace(b"\\|", b" ").split() for line in header if line.startswith(b"W ")]
    return sum(len(names) for names in named) or None


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
    before = setup.print_errors, setup.print_warnings, setup.debug_level
    setup.print_errors, setup.print_warnings, setup.debug_level = False, False, 0
    try:
        yield
    finally:
        setup.print_errors, setup.print_warnings, setup.debug_level = before
