"""Read DUNE CVN pixel maps: one zlib stream of three 500 x 500 views per event.

Format: public release github.com/DUNE/dune-cvn (B. Abi et al., Phys. Rev. D 102, 092003 (2020), arXiv:2006.15052)
and, for names and ``.info`` files, DUNE/dunereco. Bytes are charge scaled to 0..255 and are kept exactly, unless the
reader is told which energies they stand for (:mod:`nuadapt.sources.grey_scale`).
"""

from __future__ import annotations

import csv
import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import InputFileError, NuadaptError, nearest
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.truth import CodeScheme, Current, InteractionMode, mode_from_code
from nuadapt.sources.grey_scale import GreyScale, energies
from nuadapt.sources.reading import ReadReport, natural_key, read_bytes, read_text

#: Views, planes (wires), time bins of one event in the release.
RAW_SHAPE = (3, 500, 500)
N_BYTES = math.prod(RAW_SHAPE)
#: zlib adds at most about 0.1% and 11 bytes to data that does not compress (RFC 1950/1951).
_MAX_FILE = N_BYTES + N_BYTES // 500 + 1024
_MAX_LABELS, _MAX_INFO = 256 * 1024 * 1024, 64 * 1024
LABELS_FILE = "labels.csv"

#: Row is time (the drift), column is the wire number: transverse against along the detector, as in all maps here.
MAP_SPEC = MapSpec(
    views=("view0", "view1", "view2"),
    shape=(500, 500),
    pitch=(1.0, 1.0),
    axes=(("time", "wire"),) * 3,
    axis_unit="bin",
    value_unit="grey",
)
#: flavour in labels.csv -> (|PDG| of the neutrino or 0 for unknown, current).
FLAVOURS: dict[str, tuple[int, Current]] = {
    "numu_cc": (14, Current.CC),
    "nue_cc": (12, Current.CC),
    "nutau_cc": (16, Current.CC),
    "nc": (0, Current.NC),
}
#: interaction in labels.csv -> code of the release's partition file; empty where the release gives none (NC).
INTERACTIONS: dict[str, int] = {"QE": 0, "RES": 1, "DIS": 2, "other": 3}
#: count in labels.csv -> stored count; 3 stands for "more than 2", -1 for "not given".
COUNTS: dict[str, int] = {"0": 0, "1": 1, "2": 2, ">2": 3, "": -1}
COUNT_COLUMNS = ("n_protons", "n_charged_pions", "n_neutral_pions", "n_neutrons")
_LABEL_COLUMNS = ("event", "is_antineutrino", "flavour", "interaction", *COUNT_COLUMNS)
#: The 16 lines of an .info file (DUNE/dunereco, CVN zlib maker).
INFO_LINES = (
    "interaction", "nu_energy", "lepton_energy", "reco_nue_energy", "reco_numu_energy", "reco_nutau_energy",
    "weight", "nu_pdg", *COUNT_COLUMNS, "topology", "topology_alt", "total_hits", "lepton_angle",
)  # fmt: skip

Truth = dict[str, Any]
_RELEASE_NAME = re.compile(r"event(\d{1,18})\.gz")
_DUNERECO_NAME = re.compile(r"event_r(\d{1,9})_s(\d{1,9})_e(\d{1,18})_h.*\.gz")


@dataclass(slots=True)
class CvnOptions:
    """How to read a set of files. ``truth``: True asks for it, False ignores it, None takes it if it is there.

    ``scale``: what the bytes stand for.
    """

    labels: Path | None = None
    truth: bool | None = None
    report: ReadReport = field(default_factory=ReadReport)
    scale: GreyScale = field(default_factory=GreyScale)
    _tables: dict[Path, dict[int, Truth]] = field(default_factory=dict)

    def table(self, path: Path) -> dict[int, Truth] | None:
        """Truth by event number for a map file, from the given labels or labels.csv beside it; None without."""
        labels = self.labels or path.with_name(LABELS_FILE)
        if self.labels is None and not labels.exists():
            return None
        if labels not in self._tables:
            self._tables[labels] = read_labels(labels)
        return self._tables[labels]


def is_cvn_name(name: str) -> bool:
    """Whether a file name follows the release or dunereco."""
    return bool(_RELEASE_NAME.fullmatch(name) or _DUNERECO_NAME.fullmatch(name))


def key_of(path: Path) -> tuple[int, int, int] | None:
    """(run, subrun, event) from the file name; None if the name says nothing.

    >>> key_of(Path("event7.gz")), key_of(Path("event_r5_s2_e31_h4500.gz")), key_of(Path("map.gz"))
    ((0, 0, 7), (5, 2, 31), None)
    """
    if match := _DUNERECO_NAME.fullmatch(path.name):
        run, subrun, event = (int(number) for number in match.groups())
        return (run, subrun, event)
    match = _RELEASE_NAME.fullmatch(path.name)
    return (0, 0, int(match[1])) if match else None


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """The stored bytes of one event, shape (3 views, 500 planes, 500 time bins).

    Raises:
        InputFileError: not a zlib stream, truncated, damaged, or not 750,000 bytes inside.
    """
    expected = f"a zlib stream of {N_BYTES:,} bytes (three views of 500 x 500)"
    packed = read_bytes(path, _MAX_FILE, expected)
    if packed[:2] == b"\x1f\x8b":
        raise InputFileError("this is a gzip file; DUNE CVN maps are zlib", where=path, expected=expected)
    # RFC 1950: method 8 in the low bits, and the first two bytes are a multiple of 31.
    if len(packed) < 2 or packed[0] & 0x0F != 8 or int.from_bytes(packed[:2], "big") % 31:
        raise InputFileError("this is not a zlib stream", where=path, expected=expected)
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(packed, N_BYTES + 1)  # never inflate more than one byte too many
    except zlib.error as error:
        raise InputFileError(f"the zlib stream is damaged ({error})", where=path, expected=expected) from error
    if len(raw) > N_BYTES:
        raise InputFileError(f"more than {N_BYTES:,} bytes inside", where=path, expected=expected)
    if not stream.eof:
        raise InputFileError("the file is truncated", where=path, expected=expected, next_step="Copy it again")
    if len(raw) != N_BYTES or stream.unused_data:
        what = f"{len(raw):,} bytes inside" if len(raw) != N_BYTES else "there is more data behind the stream"
        raise InputFileError(what, where=path, expected=expected)
    return np.frombuffer(raw, dtype=np.uint8).reshape(RAW_SHAPE)


def read_labels(path: Path) -> dict[int, Truth]:
    """Truth columns by event number from a ``labels.csv``.

    Raises:
        InputFileError: missing columns, an event twice, or an unknown flavour, interaction or count.
    """
    rows = csv.DictReader(io.StringIO(read_text(path, _MAX_LABELS, "a CSV table of labels"), newline=""))
    table: dict[int, Truth] = {}
    try:
        missing = [name for name in _LABEL_COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise InputFileError(f"no column '{missing[0]}'", where=path, expected=f"columns {list(_LABEL_COLUMNS)}")
        for row in rows:
            where = f"{path} line {rows.line_num}"
            event = _legal_event(row["event"], where)
            if event in table:
                raise InputFileError(f"event {event} appears twice", where=where, expected="one line per event")
            table[event] = _truth_of_row(row, where)
    except csv.Error as error:
        raise InputFileError(f"this is not a CSV table ({error})", where=path) from error
    return table


def _legal_event(text: str | None, where: str) -> int:
    if text is None or not re.fullmatch(r"[0-9]{1,18}", text):
        raise InputFileError(f"event number '{text}' is not a whole number", where=where)
    return int(text)


def _choose(name: str, text: str | None, legal: dict[str, Any], where: str) -> Any:
    if text not in legal:
        raise InputFileError(
            f"unknown {name} '{text}'", where=where, expected=nearest(str(text), (k or "(empty)" for k in legal))
        )
    return legal[text]


def _truth_of_row(row: dict[str, Any], where: str) -> Truth:
    flavour, current = _choose("flavour", row["flavour"], FLAVOURS, where)
    sign = _choose("is_antineutrino", row["is_antineutrino"], {"0": 1, "1": -1, "": 0}, where)
    code = _choose("interaction", row["interaction"], INTERACTIONS | {"": -1}, where)
    if current == Current.CC and sign == 0:
        raise InputFileError("is_antineutrino is empty for a charged current", where=where, expected="0 or 1")
    truth: Truth = {"nu_pdg": sign * flavour, "current": int(current)} | _code_columns(code)
    if current == Current.CC:
        truth["lepton_pdg"] = sign * (flavour - 1)  # the charged partner's PDG code is one below
    return truth | {name: _choose(name, row[name], COUNTS, where) for name in COUNT_COLUMNS}


def _code_columns(code: int) -> Truth:
    known = code >= 0
    scheme = CodeScheme.DUNE_CVN if known else CodeScheme.NONE
    return {"mode_code": code, "mode_scheme": int(scheme), "mode": int(mode_from_code(code, scheme))}


def read_info(path: Path) -> Truth:
    """Truth columns and weight from a dunereco ``.info`` file.

    The three reconstructed energies are not used: without a nu_e label the file holds other numbers there.

    Raises:
        InputFileError: not 16 numbers, or impossible ones.
    """
    lines = read_text(path, _MAX_INFO, "16 lines of numbers").split()
    if len(lines) != len(INFO_LINES):
        raise InputFileError(f"{len(lines)} lines", where=path, expected=f"{len(INFO_LINES)}: {', '.join(INFO_LINES)}")
    values: dict[str, float] = {}
    for name, text in zip(INFO_LINES, lines, strict=True):
        try:
            values[name] = float(text)
        except ValueError as error:
            raise InputFileError(f"{name} is '{text}'", where=path, expected="a number on each line") from error
    return _truth_of_info(values, path)


def _truth_of_info(values: dict[str, float], path: Path) -> Truth:
    """Columns from the named numbers of an .info file; codes are those of cvn::InteractionType (dunereco)."""
    for name in ("interaction", "nu_pdg", *COUNT_COLUMNS):
        if not (math.isfinite(values[name]) and values[name] == int(values[name]) and abs(values[name]) < 2**15):
            raise InputFileError(f"{name} is {values[name]}", where=path, expected="a whole number")
    for name in ("nu_energy", "lepton_energy", "weight"):
        if not math.isfinite(values[name]) or (name != "weight" and values[name] < 0):
            raise InputFileError(f"{name} is {values[name]}", where=path, expected="a finite number, energies >= 0")
    code, nu_pdg = int(values["interaction"]), int(values["nu_pdg"])
    if not 0 <= code <= 15:
        raise InputFileError(f"unknown interaction {code}", where=path, expected="cvn::InteractionType, 0 to 15")
    truth: Truth = {"nu_pdg": nu_pdg, "current": int(Current.UNKNOWN)} | _code_columns(-1)
    if code < 12:  # numu 0-3, nue 4-7, nutau 8-11; within each QE, RES, DIS, other
        flavour = (14, 12, 16)[code // 4]
        if abs(nu_pdg) != flavour:
            raise InputFileError(f"interaction {code} with neutrino {nu_pdg}", where=path, expected=f"+-{flavour}")
        lepton = int(math.copysign(flavour - 1, nu_pdg))
        truth |= {"current": int(Current.CC), "lepton_pdg": lepton} | _code_columns(code % 4)
    elif code == 12:
        truth["mode"] = int(InteractionMode.NU_E)
    elif code == 13:
        truth["current"] = int(Current.NC)
    truth |= {name: values[name] for name in ("nu_energy", "lepton_energy", "weight")}
    return truth | {name: max(int(values[name]), -1) for name in COUNT_COLUMNS}


def truth_of(path: Path, key: tuple[int, int, int], options: CvnOptions) -> Truth | None:
    """Truth for one map file: from labels.csv if there is one, else from its .info file, else None.

    Raises:
        InputFileError: truth is asked for (``options.truth``) and absent, or unusable.
    """
    if options.truth is False:
        return None
    table, info = options.table(path), path.with_suffix(".info")
    if table is not None and key[2] in table:
        return table[key[2]]
    if info.exists():
        return read_info(info)
    if table is not None or options.truth:
        raise InputFileError(
            f"no truth for event {key[2]}",
            where=path,
            expected=f"its line in {options.labels or LABELS_FILE}, or {info.name}",
            next_step="Add its label, or leave the file out",
        )
    return None


def read(path: Path, options: CvnOptions | None = None, *, index: int | None = None) -> EventBatch:
    """One event, grey levels 0..255 or energies, rows = time, columns = wire, source = the folder.

    ``index`` is the event number to take if the file name has none.

    Raises:
        InputFileError: the map or its truth cannot be used.
    """
    path, options = Path(path), options or CvnOptions()
    key = key_of(path)
    if key is None:
        key = (0, 0, index or 0)
        options.report.note(f"{path.name}: the name has no event number, so event {key[2]} was given")
    image = read_pixels(path).transpose(0, 2, 1)[None]  # (1, 3, time, wire)
    truth = truth_of(path, key, options)
    columns: dict[str, Any] = dict(zip(("run", "subrun", "event"), ([k] for k in key), strict=True))
    columns |= {"source": [0]} | {name: [value] for name, value in (truth or {}).items()}
    grey = options.scale.transform
    if grey is None:
        maps = PixelMaps.from_dense(image, MAP_SPEC)
    else:
        maps = PixelMaps.from_dense(energies(image, grey, "GeV"), replace(MAP_SPEC, value_unit="GeV"))
    batch = EventBatch.make(columns, (path.parent.as_posix(),), pixelmap=maps, has_truth=truth is not None)
    options.report.n_read += 1
    return batch


def numbered(paths: Sequence[Path]) -> list[tuple[Path, int]]:
    """Files in natural order, each with an event number for the case that its name has none.

    The numbers go on behind the largest one in the names, in the order of the names.
    """
    ordered = sorted(paths, key=lambda path: (natural_key(path.parent.as_posix()), natural_key(path.name)))
    keys = [key_of(path) for path in ordered]
    following = count(max((key[2] for key in keys if key), default=-1) + 1)
    return [(path, key[2] if key else next(following)) for path, key in zip(ordered, keys, strict=True)]


def set_has_truth(paths: Sequence[Path], options: CvnOptions) -> bool:
    """Whether any file of the set comes with truth; then all of them must (one layout per set)."""
    if options.truth is not None:
        return options.truth
    if options.labels is not None:
        return True
    folders = {path.parent for path in paths}
    return any((folder / LABELS_FILE).exists() for folder in folders) or any(
        path.with_suffix(".info").exists() for path in paths
    )


def read_folder(paths: Sequence[Path], labels: Path | None = None) -> EventBatch:
    """All events of ``paths`` in natural order, with the truth of ``labels`` or of what stands beside the files.

    Raises:
        InputFileError: any of them cannot be used.
        NuadaptError: there are none.
    """
    return EventBatch.concatenate(list(iterate(paths, CvnOptions(labels=labels))))


def iterate(paths: Sequence[Path], options: CvnOptions) -> Iterator[EventBatch]:
    """One batch per file; see :func:`read_folder`."""
    if not paths:
        raise NuadaptError("no DUNE CVN files given", expected="files named event<N>.gz")
    options.truth = set_has_truth(paths, options)
    for path, index in numbered(paths):
        yield read(path, options, index=index)
