"""The formats that can be ingested: how each is recognised by content, and what there is to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from nuadapt.errors import ConfigError, DataError, InputFileError
from nuadapt.events.batch import EventBatch
from nuadapt.sources import dune_cvn, hepmc_text, larnd, omnilearned, png_pairs
from nuadapt.sources.grey_scale import grey_scale_from
from nuadapt.sources.minerva import tree as minerva_tree
from nuadapt.sources.minerva.options import options_from
from nuadapt.sources.reading import InputItem, ReadReport, existing_file, folder_entries, items_of

_WORTH_PROCESSES = 150_000_000  # bytes of MINERvA tuples; on less, starting processes takes longer than it saves
_MOST_WORKERS = 4  # the one process that writes keeps up with about so many, and all stay below 1 GB together
_MAX_LOOKED_AT = 100  # entries of a folder that are looked at to recognise its format


@dataclass(slots=True)
class ReadOptions:
    """What a format may need to know, and the report that collects what was left out.

    ``settings`` are those of the format itself. A format writes into ``facts`` what belongs into the record. MINERvA
    tuples are read by ``workers`` processes; 0: one a core, as far as that is of use.
    """

    invert: bool = False
    max_bad_fraction: float = 0.01
    labels: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    report: ReadReport = field(default_factory=ReadReport)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One format. ``is_one`` recognises a file or folder; ``items`` lists what is to be read in given paths.

    ``check_settings`` refuses settings that do not fit; a format without it takes none.
    """

    name: str
    title: str
    is_one: Callable[[Path], bool]
    items: Callable[[Sequence[Path], ReadOptions], list[InputItem]]
    check_settings: Callable[[dict[str, Any]], object] | None = None


def _looks_like_cvn(path: Path) -> bool:
    """A file whose first bytes are a zlib header (RFC 1950) and whose name ends in .gz."""
    if path.suffix != ".gz":
        return False
    with path.open("rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] & 0x0F == 8 and not int.from_bytes(head, "big") % 31


def _files(paths: Iterable[Path], wanted: Callable[[Path], bool]) -> list[Path]:
    """The files themselves, and of folders the entries that are ``wanted``.

    Raises:
        InputFileError: a folder without any.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [entry for entry in folder_entries(path) if entry.is_file() and wanted(entry)]
        if not inside:
            raise InputFileError("no files of this format in this folder", where=path)
        found += inside
    return list(dict.fromkeys(found))


def _cvn_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    files = _files(paths, lambda entry: dune_cvn.is_cvn_name(entry.name) or _looks_like_cvn(entry))
    scale = grey_scale_from(options.settings)
    setting = dune_cvn.CvnOptions(labels=options.labels, report=options.report, scale=scale)
    options.facts["dune-cvn"] = asdict(scale)
    setting.truth = dune_cvn.set_has_truth(files, setting)

    def read(path: Path, index: int) -> tuple[EventBatch]:
        return (dune_cvn.read(path, setting, index=index),)

    return [InputItem(path, partial(read, path, index)) for path, index in dune_cvn.numbered(files)]


def _png_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    setting = png_pairs.PngOptions(options.invert, options.report, grey_scale_from(options.settings))
    options.facts["png-pairs"] = asdict(setting.scale)
    return [item for path in paths for item in png_pairs.items(path, setting)]


def _nuhepmc_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    from nuadapt.sources import nuhepmc  # brings the particle tables; only needed here

    def read(path: Path) -> Iterable[EventBatch]:
        return nuhepmc.truth_batches(path, options.report, max_bad_fraction=options.max_bad_fraction)

    return items_of(_files(paths, hepmc_text.looks_like), read)


def _minerva_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    from nuadapt.sources.minerva.reader import gathered, read, steps
    from nuadapt.sources.workers import Team

    setting, files = options_from(options.settings), _files(paths, minerva_tree.looks_like)
    options.facts["minerva"] = asdict(setting)
    workers = options.workers or _useful_workers(files)
    if workers == 1:
        return [InputItem(path, partial(read, path, setting, options.report)) for path in files]
    # All that are at work hold together about as many events as one process alone would.
    shorter = replace(setting, step=max(setting.step // workers, 1))
    team = Team([partial(steps, path, shorter) for path in files], workers)

    def read_by_team(index: int) -> Iterable[EventBatch]:
        return gathered(team.steps(index), files[index], options.report)

    return [InputItem(path, partial(read_by_team, index)) for index, path in enumerate(files)]


def _useful_workers(files: Sequence[Path]) -> int:
    """One process a core, but no more than are of use; 1 where reading takes no longer than to start the others."""
    local = [path for path in files if path.is_file()]
    small = len(local) == len(files) and sum(path.stat().st_size for path in local) < _WORTH_PROCESSES
    return 1 if small else min(os.cpu_count() or 1, _MOST_WORKERS)


def _omnilearned_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    split_of = {
        file: split
        for path in paths
        for part, split in omnilearned.parts_of(path)
        for file in _files([part], omnilearned.looks_like)
    }
    return [InputItem(file, partial(omnilearned.read, file, options.report, split)) for file, split in split_of.items()]


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Refuse settings that a format does not have.

    Raises:
        ConfigError: an unknown setting, an impossible value, or a format without settings.
    """
    check = FORMATS[name].check_settings
    if check is not None:
        check(settings)
    elif settings:
        raise ConfigError(f"the format {name} has no settings, but {', '.join(settings)} was given")


#: Every format that ``nuadapt ingest`` reads, by name.
FORMATS: dict[str, FileFormat] = {
    f.name: f
    for f in (
        FileFormat("dune-cvn", "DUNE CVN pixel maps (event<N>.gz)", _looks_like_cvn, _cvn_items, grey_scale_from),
        FileFormat("png-pairs", "folders of PNG pairs", png_pairs.looks_like_pair, _png_items, grey_scale_from),
        FileFormat("nuhepmc", "NuHepMC events (truth only)", hepmc_text.looks_like, _nuhepmc_items),
        FileFormat("minerva", "MINERvA tuples (.root)", minerva_tree.looks_like, _minerva_items, options_from),
        FileFormat("omnilearned", "OmniLearned point clouds (.h5)", omnilearned.looks_like, _omnilearned_items),
    )
}


def detect_format(path: Path) -> str:
    """Name of the format of a file or folder, by its content.

    Raises:
        InputFileError: missing, empty, or of no known format.
        DataError: a folder with files of several formats.
    """
    path, expected = Path(path), "; ".join(f"{f.name}: {f.title}" for f in FORMATS.values())
    if minerva_tree.is_remote(path):
        return "minerva"
    if not path.is_dir():
        existing_file(path, expected)
    try:
        found = _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise InputFileError(f"cannot look at it ({error})", where=path) from error
    if len(found) > 1:
        raise DataError(f"files of several formats: {', '.join(found)}", where=path, next_step="Give them one by one")
    if not found:
        step = "If it is one of these, read it with nuadapt ingest and --format NAME"
        raise InputFileError(_what_it_is(path), where=path, expected=expected, next_step=step)
    return found[0]


def _of_file(path: Path) -> list[str]:
    return [name for name, f in FORMATS.items() if path.is_file() and f.is_one(path)]


def _of_folder(path: Path) -> list[str]:
    """Formats of a folder or of its first entries, in the order of FORMATS."""
    if png_pairs.looks_like_pair(path):
        return ["png-pairs"]
    of_dataset = [entry for part, split in omnilearned.parts_of(path) if split for entry in folder_entries(part)]
    if any(omnilearned.looks_like(entry) for entry in of_dataset[:_MAX_LOOKED_AT]):
        return ["omnilearned"]
    entries = [entry for entry in folder_entries(path) if not entry.name.startswith(".")][:_MAX_LOOKED_AT]
    there = {
        name
        for entry in entries
        for name, f in FORMATS.items()
        if (entry.is_file() or name == "png-pairs") and f.is_one(entry)
    }
    return [name for name in FORMATS if name in there]


def _what_it_is(path: Path) -> str:
    """What an unknown input is, as far as one can tell."""
    if path.is_dir():
        return "no events of a known format in this folder"
    if larnd.looks_like(path):
        return "energy deposits of edep-sim, which pass the detector first: nuadapt simulate lartpc --segments FILE"
    return "not a file of a known format"
