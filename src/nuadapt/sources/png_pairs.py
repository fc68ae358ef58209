"""Read and write one event as a folder of grey-level pictures: ``<id>/<id>_xz.png``, ``_yz.png``, ``_pid.txt``.

This is the layout of the sample of Sagar et al., arXiv:2509.08461. A picture shows row 0 of a map at the
bottom, so rows are flipped on reading and on writing. A grey level of zero is an empty pixel. What the other levels
stand for is told by the manifest of an export, or by whoever reads (:mod:`nuadapt.sources.grey_scale`).
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, InputFileError, NuadaptError, nearest, require
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import GreyTransform, MapSpec, PixelMaps
from nuadapt.events.truth import Current
from nuadapt.sources.grey_scale import GreyScale, energies
from nuadapt.sources.reading import InputItem, ReadReport, folder_entries, read_bytes, read_text

Grey = npt.NDArray[np.uint8]

#: Text of a _pid.txt -> (PDG of the neutrino, current). The layout does not tell antineutrinos from neutrinos.
PIDS: dict[str, tuple[int, Current]] = {"nuecc": (12, Current.CC), "numucc": (14, Current.CC), "nc": (0, Current.NC)}
VIEWS = ("xz", "yz")
MANIFEST = "manifest.json"
MANIFEST_FORMAT = "nuadapt-png-pairs"
#: Pixel size of the published sample (arXiv:2509.08461, section 3), taken where there is no manifest.
PAPER_PITCH = (0.5, 0.5)  # cm
PAPER_MAPS = MapSpec(views=VIEWS, pitch=PAPER_PITCH, value_unit="grey")

_MAX_SIDE = 8192  # pixels; larger pictures are refused before anything is decompressed
_MAX_FILE, _MAX_PID, _MAX_MANIFEST = 256 * 1024 * 1024, 4096, 1024 * 1024 * 1024
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk, which is always empty, with its checksum
_KEYED_NAME = re.compile(r"(?:f[0-9]+_)?r(-?[0-9]{1,10})_s(-?[0-9]{1,10})_e(-?[0-9]{1,19})")
_NUMBER_NAME = re.compile(r"[0-9]{1,18}")

#: What damaged or foreign JSON may raise on its way into typed fields.
_BAD_JSON = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
Key = tuple[int, int, int]


@dataclass(slots=True)
class PngOptions:
    """How to read. ``invert``: the pictures are dark on white, as the published source pictures are.

    ``scale``: what grey levels stand for, whatever a manifest says.
    """

    invert: bool = False
    report: ReadReport = field(default_factory=ReadReport)
    scale: GreyScale = field(default_factory=GreyScale)


@dataclass(frozen=True, slots=True)
class Pair:
    """One event's folder, its key and source, and whether a label belongs to it.

    ``grey`` made levels of energies; none: nobody knows what they stand for.
    """

    folder: Path
    key: Key
    source: str
    has_truth: bool
    spec: MapSpec
    grey: GreyTransform | None

    def file(self, ending: str) -> Path:
        """``<id>/<id>_<ending>``."""
        return self.folder / f"{self.folder.name}_{ending}"


def read_grey(path: Path) -> Grey:
    """Grey levels of one PNG, shape (rows, columns), row 0 at the bottom of the picture.

    Raises:
        InputFileError: not a PNG, truncated, damaged, too large, or not 8-bit grey.
    """
    expected = "an 8-bit greyscale PNG"
    content = read_bytes(path, _MAX_FILE, expected)
    if not content.startswith(_PNG_MAGIC):
        raise InputFileError("this is not a PNG file", where=path, expected=expected)
    if _PNG_END not in content:
        raise InputFileError("the file is truncated", where=path, expected=expected, next_step="Copy it again")
    if len(content) < 26:
        raise InputFileError("the PNG has no header", where=path, expected=expected)
    width, height, depth = struct.unpack(">IIB", content[16:25])
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise InputFileError(
            f"a picture of {width} x {height} pixels", where=path, expected=f"up to {_MAX_SIDE} a side"
        )
    if depth > 8:
        raise InputFileError(f"a {depth}-bit PNG", where=path, expected=expected, next_step="Convert it to 8 bits")
    return np.ascontiguousarray(_to_grey(_decode(content, path), path, expected)[::-1])


def _decode(content: bytes, path: Path) -> npt.NDArray[np.uint8]:
    """All channels of a PNG after a check of every chunk's checksum, shape (rows, columns[, channels])."""
    image_module: ModuleType = require("PIL.Image", "readers")
    try:
        with image_module.open(io.BytesIO(content), formats=("PNG",)) as picture:
            picture.verify()
        with image_module.open(io.BytesIO(content), formats=("PNG",)) as picture:
            if picture.mode not in ("L", "RGB", "1"):
                raise InputFileError(f"a PNG of mode {picture.mode}", where=path, expected="greyscale (L) or grey RGB")
            grey = picture.convert("L") if picture.mode == "1" else picture
            return np.asarray(grey, dtype=np.uint8)
    except NuadaptError:
        raise
    except Exception as error:  # a damaged file may raise anything inside Pillow, SyntaxError included
        raise InputFileError(
            f"the PNG is truncated or damaged ({error})", where=path, next_step="Copy or make it again"
        ) from error


def _to_grey(pixels: npt.NDArray[np.uint8], path: Path, expected: str) -> Grey:
    if pixels.ndim == 2:
        return pixels
    if not (np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])):
        raise InputFileError("a colour picture", where=path, expected=f"{expected}, or RGB with equal channels")
    return pixels[..., 0]


def write_grey(path: Path, grey: Grey) -> None:
    """Write grey levels of shape (rows, columns) as an 8-bit PNG with row 0 at the bottom."""
    image_module = require("PIL.Image", "readers")
    image_module.fromarray(np.ascontiguousarray(grey[::-1])).save(path, format="PNG")


def read_pid(path: Path) -> tuple[int, Current]:
    """(neutrino PDG, current) of a ``_pid.txt``.

    Raises:
        InputFileError: the label is unknown.
    """
    text = read_text(path, _MAX_PID, f"one of: {', '.join(PIDS)}").strip()
    if text not in PIDS:
        raise InputFileError(f"unknown label '{text[:40]}'", where=path, expected=nearest(text[:40], PIDS))
    return PIDS[text]


def looks_like_pair(folder: Path) -> bool:
    """Whether a folder holds at least one file that belongs to the layout."""
    return folder.is_dir() and any(
        (folder / f"{folder.name}_{ending}").exists() for ending in ("xz.png", "yz.png", "pid.txt")
    )


def find_pairs(root: Path, options: PngOptions | None = None) -> list[Pair]:
    """The events below ``root`` in natural order of their ids, or the one event whose folder it is.

    Raises:
        InputFileError: no event folders there, or a damaged manifest.
    """
    root, options = Path(root), options or PngOptions()
    report = options.report
    if looks_like_pair(root):
        root, entries = root.parent, [root]
    else:
        entries = folder_entries(root)
    folders = [entry for entry in entries if looks_like_pair(entry)]
    for entry in entries:
        if entry.is_dir() and not looks_like_pair(entry):
            report.note(f"{entry}: not an event folder, skipped")
    if not folders:
        raise InputFileError(
            "no event folders here", where=root, expected="folders <id> with <id>_xz.png, <id>_yz.png, <id>_pid.txt"
        )
    told = _read_manifest(root)
    if options.scale.transform is not None:
        told = replace(told, spec=replace(told.spec, value_unit="GeV"), grey=options.scale.transform)
    if told.grey is not None:
        knee = f", knee {told.grey.knee:g} GeV" if told.grey.kind == "log" else ""
        report.note(f"{root}: grey levels are read as energies ({told.grey.kind}, full {told.grey.full:g} GeV{knee})")
    return list(_with_keys(folders, root, told, report))


def _with_keys(folders: list[Path], root: Path, told: _Manifest, report: ReadReport) -> Iterator[Pair]:
    """Keys from the manifest, else from the id, else a number behind the largest one."""
    has_truth = any((folder / f"{folder.name}_pid.txt").exists() for folder in folders)
    keys = {folder.name: key_of(folder.name) for folder in folders}
    following = max((key[2] for key in keys.values() if key), default=-1) + 1
    for folder in folders:
        key, source = told.known.get(folder.name, (keys[folder.name], root.as_posix()))
        if key is None:
            key = (0, 0, following)
            following += 1
            report.note(f"{root}: ids that are not numbers got event numbers from {key[2]} on, in order of their names")
        yield Pair(folder, key, source, has_truth, told.spec, told.grey)


def key_of(name: str) -> Key | None:
    """(run, subrun, event) of an id, or None.

    >>> key_of("12"), key_of("r1_s0_e7"), key_of("f2_r1_s0_e7"), key_of("abc")
    ((0, 0, 12), (1, 0, 7), (1, 0, 7), None)
    """
    if match := _KEYED_NAME.fullmatch(name):
        key = (int(match[1]), int(match[2]), int(match[3]))
        return key if _is_storable(key) else None
    return (0, 0, int(name)) if _NUMBER_NAME.fullmatch(name) else None


def _is_storable(key: Key) -> bool:
    """Whether run and subrun fit 32 bits and the event number 64 bits."""
    return all(-(2 ** (bits - 1)) <= part < 2 ** (bits - 1) for part, bits in zip(key, (32, 32, 64), strict=True))


@dataclass(frozen=True, slots=True)
class _Manifest:
    """Map layout, what grey levels stand for, and (key, source) by id. Without a file: the paper's pixels, nothing."""

    spec: MapSpec = PAPER_MAPS
    grey: GreyTransform | None = None
    known: dict[str, tuple[Key, str]] = field(default_factory=dict)


def _read_manifest(root: Path) -> _Manifest:
    """What manifest.json tells, if there is one."""
    path = root / MANIFEST
    if not path.exists():
        return _Manifest()
    step = "Make the export again, or remove the manifest to read the pictures alone"
    text = read_text(path, _MAX_MANIFEST, "the manifest of an export")
    try:
        given = json.loads(text)
        if given["format"] != MANIFEST_FORMAT or given["version"] != 1:
            raise InputFileError("this manifest has another format or version", where=path, next_step=step)
        spec = MapSpec.from_dict(given["spec"])
        grey = None if spec.value_unit == "grey" else GreyTransform(**given["grey"])
        known = {str(e["id"]): _manifest_key(e, given["sources"]) for e in given["events"]}
    except (ConfigError, *_BAD_JSON) as error:
        raise InputFileError(f"the manifest is damaged ({error!r})", where=path, next_step=step) from error
    if spec.views != VIEWS:
        raise InputFileError(f"views {spec.views}", where=path, expected=f"{VIEWS}", next_step=step)
    return _Manifest(spec, grey, known)


def _manifest_key(event: dict[str, Any], sources: list[str]) -> tuple[Key, str]:
    key = (int(event["run"]), int(event["subrun"]), int(event["event"]))
    if not _is_storable(key):
        raise ValueError(f"impossible key {key}")
    return key, str(sources[event["source"]])


def read_pair(pair: Pair, options: PngOptions | None = None) -> EventBatch:
    """One event with row 0 at the lowest coordinate: energies where levels stand for them, else grey levels 0..255.

    Raises:
        InputFileError: a picture or the label is missing or cannot be used, or the pictures differ in size.
    """
    options = options or PngOptions()
    xz, yz = (read_grey(pair.file(f"{view}.png")) for view in VIEWS)
    if xz.shape != yz.shape:
        raise InputFileError(f"pictures of {xz.shape} and {yz.shape} pixels", where=pair.folder, expected="equal sizes")
    image = np.stack([xz, yz])[None]  # (1, 2, rows, columns)
    image = 255 - image if options.invert else image
    if not options.invert and np.count_nonzero(image == 255) > image.size // 2:
        options.report.note(f"{pair.folder}: most of the picture is white; if it is dark on white, read it with invert")
    columns: dict[str, Any] = dict(zip(("run", "subrun", "event"), ([k] for k in pair.key), strict=True))
    columns["source"] = [0]
    if pair.has_truth:
        nu_pdg, current = read_pid(pair.file("pid.txt"))
        columns |= {"nu_pdg": [nu_pdg], "current": [int(current)]}
    values = image if pair.grey is None else energies(image, pair.grey, pair.spec.value_unit)
    maps = PixelMaps.from_dense(values, replace(pair.spec, shape=xz.shape))
    batch = EventBatch.make(columns, (pair.source,), pixelmap=maps, has_truth=pair.has_truth)
    options.report.n_read += 1
    return batch


def items(root: Path, options: PngOptions) -> list[InputItem]:
    """One item per event folder."""
    return [InputItem(pair.folder, partial(_read_one, pair, options)) for pair in find_pairs(root, options)]


def _read_one(pair: Pair, options: PngOptions) -> tuple[EventBatch]:
    return (read_pair(pair, options),)


def read_folder(root: Path, *, invert: bool = False, report: ReadReport | None = None) -> Iterator[EventBatch]:
    """Events below ``root`` one by one in natural order of their ids.

    Events have truth if any of them has a ``_pid.txt``; then all must have one.

    Raises:
        InputFileError: see :func:`find_pairs` and :func:`read_pair`.
    """
    options = PngOptions(invert, report or ReadReport())
    for pair in find_pairs(root, options):
        yield read_pair(pair, options)
