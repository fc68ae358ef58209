"""The formats that can be ingested: how each is recognised by content, and what there is to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nuadapt.errors import ConfigError, DataError, InputFileError, NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.sources import dune_cvn, hepmc_text, larnd, omnilearned, png_pairs
from nuadapt.sources.minerva import tree as minerva_tree
from nuadapt.sources.minerva.options import options_from
from nuadapt.sources.reading import InputItem, ReadReport, existing_file, folder_entries, items_of

_MAX_LOOKED_AT = 100  # entries of a folder that are looked at to recognise its format


@dataclass(slots=True)
class ReadOptions:
    """What a format may need to know, and the report that collects what was left out.

    ``settings`` are those of the format itself. A format writes into ``facts`` what belongs into the record.
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
    setting = dune_cvn.CvnOptions(labels=options.labels, report=options.report)
    setting.truth = dune_cvn.set_has_truth(files, setting)

    def read(path: Path, index: int) -> tuple[EventBatch]:
        return (dune_cvn.read(path, setting, index=index),)

    return [InputItem(path, partial(read, path, index)) for path, index in dune_cvn.numbered(files)]


def _png_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    setting = png_pairs.PngOptions(options.invert, options.report)
    return [item for path in paths for item in png_pairs.items(path, setting)]


def _nuhepmc_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    from nuadapt.sources import nuhepmc  # brings the particle tables; only needed here

    def read(path: Path) -> Iterable[EventBatch]:
        return nuhepmc.truth_batches(path, options.report, max_bad_fraction=options.max_bad_fraction)

    return items_of(_files(paths, hepmc_text.looks_like), read)


def _minerva_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    from nuadapt.sources.minerva.reader import read
    from nuadapt.sources.workers import Team

    setting, files = options_from(options.settings), _files(paths, minerva_tree.looks_like)
    options.facts["minerva"] = asdict(setting)
    options.facts["pot_used"] = _exposure(files)
    if options.workers == 1 or len(files) == 1:
        return [InputItem(path, partial(read, path, setting, options.report)) for path in files]
    team = Team([partial(read, path, setting) for path in files], options.workers, options.report)
    return [InputItem(path, partial(team.read, index)) for index, path in enumerate(files)]


def _omnilearned_items(paths: Sequence[Path], options: ReadOptions) -> list[InputItem]:
    def read(path: Path) -> Iterable[EventBatch]:
        return omnilearned.read(path, options.report)

    return items_of(_files(paths, omnilearned.looks_like), read)


def _exposure(files: Sequence[Path]) -> dict[str, float]:
    """Protons on target of each file that states them. What is wrong with a file is said when it is read."""
    found = {}
    for path in files:
        try:
            with minerva_tree.opened(path) as file:
                pot = minerva_tree.pot_used(file, path)
        except NuadaptError:
            continue
        if pot is not None:
            found[minerva_tree.url_of(path)] = pot
    return found


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
        FileFormat("dune-cvn", "DUNE CVN pixel maps (event<N>.gz)", _looks_like_cvn, _cvn_items),
        FileFormat("png-pairs", "folders of PNG pairs", png_pairs.looks_like_pair, _png_items),
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
        step = "Name the format with --format if the file is one of these"
        raise InputFileError(_what_it_is(path), where=path, expected=expected, next_step=step)
    return found[0]


def _of_file(path: Path) -> list[str]:
    return [name for name, f in FORMATS.items() if path.is_file() and f.is_one(path)]


def _of_folder(path: Path) -> list[str]:
    """Formats of a folder or of its first entries, in the order of FORMATS."""
    if png_pairs.looks_like_pair(path):
        return ["png-pairs"]
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
