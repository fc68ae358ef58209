"""Bring events from files of other tools into one event store.

Every good input is read to its end even if others are bad; the bad ones are listed and counted. Without
``skip_bad`` a run with bad inputs ends in :class:`BadInputs`, and its store is left marked as unfinished: it opens,
holds all good events, but has no splits. With ``skip_bad`` the store is finished. Either way the list of bad
inputs is written beside the store as ``<store>.bad.json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, InputFileError, NuadaptError, OutputError, listed, nearest
from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.schema import FIELDS, KEY_NAMES
from nuadapt.events.splits import assign_splits, hash_keys
from nuadapt.events.store import EventWriter, Layout, replace_record
from nuadapt.record import make_record, write_json
from nuadapt.sources.formats import FORMATS, ReadOptions, check_settings, detect_format
from nuadapt.sources.reading import InputItem, Progress, ReadReport, tally

Array = npt.NDArray[Any]
_MAX_SOURCE_NAME = 512  # bytes that the store keeps of a source's name
_BATCH = 256  # events written at a time: one-event batches of the picture formats are joined


@dataclass(slots=True)
class IngestReport:
    """What came in and what did not; ``bad`` holds (path, reason)."""

    out: Path
    format: str
    n_inputs: int = 0
    n_events: int = 0
    bad: list[tuple[Path, str]] = field(default_factory=list)
    reading: ReadReport = field(default_factory=ReadReport)

    def note_bad(self, path: Path, error: NuadaptError) -> None:
        """Remember why one input is not used."""
        reason = str(error)
        said = error.where is not None or str(path) in reason
        self.bad.append((path, reason if said else f"{path}: {reason}"))

    def lines(self) -> list[str]:
        """What a user should know beyond the number of events, a sentence each; empty if all went well."""
        found = list(self.reading.notes)
        if self.reading.broken:
            found.append(f"Broken values in events that were kept: {tally(self.reading.broken)}.")
        if self.reading.absent:
            found.append(f"Not there in events that were kept: {tally(self.reading.absent)}.")
        if self.reading.n_left_out:
            found.append(f"{self.reading.n_left_out} events were left out ({self.reading.reasons()}).")
        if self.bad:
            found.append(f"{len(self.bad)} of {self.n_inputs} inputs could not be used:")
        return found + [reason for _, reason in self.bad]


class BadInputs(InputFileError):
    """Some inputs could not be read; ``report`` says which, and the events of the others are stored."""

    def __init__(self, report: IngestReport, beside: Path) -> None:
        self.report = report
        kept = "No events were read."
        if report.n_events:
            kept = (
                f"The {report.n_events} events that were read are kept there, marked as unfinished and without splits."
            )
        super().__init__(
            f"{len(report.bad)} of {report.n_inputs} inputs could not be used. {kept} "
            f"All reasons are in {beside.name}: " + listed([reason for _, reason in report.bad], limit=3),
            where=report.out,
            next_step="Repair or remove those inputs, or accept the loss with --skip-bad, and give a new output name",
        )


def ingest(
    inputs: Sequence[Path],
    out: Path,
    format: str = "auto",
    *,
    skip_bad: bool = False,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Read ``inputs`` (files or folders of one format) into a new store at ``out``.

    Raises:
        ConfigError: unknown format.
        DataError: inputs of different formats.
        OutputError: ``out`` exists or is not writable; nothing was read then.
        BadInputs: some inputs were bad and ``skip_bad`` is not set.
        InputFileError: no input at all could be read.
    """
    reading, out = reading or ReadOptions(), Path(out)
    check_format(format)
    check_output(out)
    report = IngestReport(out, format, reading=reading.report)
    items = _items([Path(path) for path in inputs], reading, report)
    record = make_record("ingest", _config(report, skip_bad, reading), n_inputs=report.n_inputs)
    _write_store(items, record, report, skip_bad=skip_bad, progress=progress)
    if report.bad and not report.n_events and report.n_inputs == 1:
        raise InputFileError(report.bad[0][1])
    if report.bad:
        beside = out.with_name(out.name + ".bad.json")
        write_json(beside, [{"input": str(path), "reason": reason} for path, reason in report.bad])
        if not skip_bad:
            raise BadInputs(report, beside)
    return report


def _config(report: IngestReport, skip_bad: bool, reading: ReadOptions) -> dict[str, Any]:
    """The settings of a run, for its record."""
    return {
        "format": report.format,
        "skip_bad": skip_bad,
        "invert": reading.invert,
        "max_bad_fraction": reading.max_bad_fraction,
        "labels": str(reading.labels) if reading.labels else None,
        **reading.facts,
    }


def check_format(name: str) -> None:
    """Refuse a format that cannot be ingested.

    Raises:
        ConfigError: with the nearest legal name.
    """
    if name != "auto" and name not in FORMATS:
        raise ConfigError(f"unknown format '{name}'", expected=nearest(name, ("auto", *FORMATS)))


def check_output(out: Path) -> None:
    """Refuse an output that exists or cannot be written, before anything is read.

    Raises:
        OutputError: as said.
    """
    step = "Choose another name or remove it first"
    if out.exists():
        raise OutputError("this output exists already and is not overwritten", where=out, next_step=step)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.with_name(f".{out.name}.{os.getpid()}")
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write here ({error})", where=out, next_step="Choose a folder that you may write to"
        ) from error


def _items(inputs: Sequence[Path], reading: ReadOptions, report: IngestReport) -> list[InputItem]:
    """Everything to read, in order. Inputs that cannot even be looked at are noted as bad.

    Raises:
        ConfigError: no inputs.
        DataError: inputs of different formats.
        InputFileError: the only input is bad.
    """
    if not inputs:
        raise ConfigError("no inputs given", expected="files or folders to read")
    by_format: dict[str, list[Path]] = {}
    for path in inputs:
        try:
            name = detect_format(path) if report.format == "auto" else report.format
            by_format.setdefault(name, []).append(path)
        except NuadaptError as error:
            if len(inputs) == 1:
                raise
            report.note_bad(path, error)
    if len(by_format) > 1:
        shown = "; ".join(f"{name}: {listed([str(p) for p in paths], 3)}" for name, paths in by_format.items())
        raise DataError(f"inputs of different formats ({shown})", next_step="Ingest each format into its own store")
    items: list[InputItem] = []
    for name, paths in by_format.items():
        report.format = name
        check_settings(name, reading.settings)
        items = _expand(partial(_items_of, name, reading), paths, report, only=len(inputs) == 1)
    report.n_inputs = len(report.bad) + len(items)
    return items


def _items_of(name: str, reading: ReadOptions, paths: Sequence[Path]) -> list[InputItem]:
    return FORMATS[name].items(paths, reading)


def _expand(
    items_of: Callable[[Sequence[Path]], list[InputItem]], paths: Sequence[Path], report: IngestReport, *, only: bool
) -> list[InputItem]:
    """Items of all paths together; if that fails, of those that work alone."""
    try:
        return items_of(paths)
    except NuadaptError:
        if only:
            raise
    good = []
    for path in paths:
        try:
            items_of([path])
            good.append(path)
        except NuadaptError as error:
            report.note_bad(path, error)
    return items_of(good) if good else []


def _write_store(
    items: Sequence[InputItem],
    record: dict[str, Any],
    report: IngestReport,
    *,
    skip_bad: bool,
    progress: Progress | None,
) -> None:
    """Write every good event; finish the store if nothing was bad or the loss is accepted.

    Raises:
        InputFileError: there was nothing to write.
    """
    sink = _Sink(report.out, record)
    try:
        for done, item in enumerate(items, start=1):
            try:
                for batch in item.read():
                    sink.add(batch)
            except (InputFileError, DataError) as error:
                report.note_bad(item.path, error)
            if progress is not None:
                progress(done, len(items))
        sink.flush()
        report.n_events = sink.n_events
        if skip_bad or not report.bad:
            sink.finish()
    finally:
        sink.close()
    if sink.n_events and report.reading.exposure:
        replace_record(report.out, record | {"pot_used": report.reading.exposure})
    if not sink.n_events and (skip_bad or not report.bad):
        reasons = listed([reason for _, reason in report.bad], limit=3)
        raise InputFileError(f"no events in {report.n_inputs} inputs. {reasons}".strip(), where=report.out)


class _Sink:
    """Joins small batches, refuses what does not fit the first or repeats a key, and writes."""

    def __init__(self, out: Path, record: dict[str, Any]) -> None:
        self.out, self.record = out, record
        self.writer: EventWriter | None = None
        self.n_events = 0
        self._layout: Layout | None = None
        self._keys: set[tuple[Any, ...]] = set()
        self._last_entry: dict[str, int] = {}
        self._hashes: list[Array] = []
        self._labels: list[Array] = []
        self._splits: list[Array] = []
        self._waiting: list[EventBatch] = []
        self._n_waiting = 0

    def add(self, batch: EventBatch) -> None:
        """Take a batch.

        Raises:
            DataError: impossible values, other columns or maps than the events before, or a key that is there already.
        """
        problems = problems_of(batch)
        if any(len(name.encode()) > _MAX_SOURCE_NAME for name in batch.sources):
            problems.append(f"a path longer than {_MAX_SOURCE_NAME} bytes")
        if problems:
            raise DataError("; ".join(problems))
        layout = Layout.of(batch)
        if self._layout is None:
            self._layout = layout
        if layout != self._layout:
            raise DataError(
                f"these events have {layout.to_json()}, unlike the ones before",
                expected=self._layout.to_json(),
                next_step="Ingest them into a store of their own",
            )
        self._check_keys(batch)
        self._waiting.append(batch)
        self._n_waiting += len(batch)
        if self._n_waiting >= _BATCH:
            self.flush()

    def _check_keys(self, batch: EventBatch) -> None:
        names = [batch.sources[s] for s in batch["source"]]
        if "entry" in batch.identity:
            self._check_entries(names, batch["entry"])
            return
        numbers = (batch[name].tolist() for name in KEY_NAMES if name != "source")
        keys = list(zip(names, *numbers, strict=True))
        new = set(keys)
        if len(new) < len(keys) or new & self._keys:
            again = next(key for i, key in enumerate(keys) if key in self._keys or key in keys[:i])
            raise DataError(f"event {again[1:]} (run, subrun, event) of {again[0]} was read before")
        self._keys |= new

    def _check_entries(self, names: list[str], entries: Array) -> None:
        """Rows of a source come in order, so that no set of all keys is needed for the many events of such files.

        Raises:
            DataError: a row comes again.
        """
        for name in dict.fromkeys(names):
            mine = entries[[n == name for n in names]]
            if not (np.diff(mine, prepend=self._last_entry.get(name, -1)) > 0).all():
                raise DataError(f"an event of {name} was read before")
            self._last_entry[name] = int(mine[-1])

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            OutputError: the disk is full or gone.
        """
        if not self._waiting or self._layout is None:
            return
        joined = EventBatch.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        if self.writer is None:
            self.writer = EventWriter.create(self.out, self._layout, self.record)
        try:
            self.writer.append(joined)
        except (OSError, RuntimeError) as error:  # h5py raises either when a write fails
            raise OutputError(f"cannot write here ({error})", where=self.out, next_step="Free some space") from error
        self.n_events += len(joined)
        self._hashes.append(_hashes(joined))
        self._labels.append(joined.stratum)
        self._splits.append(joined["split"])

    def finish(self) -> None:
        """Assign the splits, but to events that have one already, and mark the store as complete."""
        if self.writer is None:
            return
        split, hashes, labels = (np.concatenate(parts) for parts in (self._splits, self._hashes, self._labels))
        free = split == FIELDS["split"].sentinel
        split[free] = assign_splits(hashes[free], labels[free])
        self.writer.finish(split)

    def close(self) -> None:
        """Write what is waiting and close, also after an error: nothing that was read is lost."""
        try:
            self.flush()
        finally:
            if self.writer is not None:
                self.writer.close()


def _hashes(batch: EventBatch) -> Array:
    return hash_keys(batch["run"], batch["subrun"], batch["event"], batch["source"], batch.sources)


def read_all(
    inputs: Sequence[Path], format: str = "auto", *, reading: ReadOptions | None = None
) -> Iterator[EventBatch]:
    """Events of ``inputs`` without a store, for prediction straight from files of other tools.

    Raises:
        NuadaptError: the first input that cannot be used.
    """
    for item in items_to_read(inputs, format, reading=reading):
        yield from item.read()


def items_to_read(
    inputs: Sequence[Path], format: str = "auto", *, reading: ReadOptions | None = None
) -> list[InputItem]:
    """What :func:`read_all` reads, piece by piece: a folder of images has one for each event.

    Raises:
        NuadaptError: the first input that cannot be looked at.
    """
    check_format(format)
    report = IngestReport(Path(), format)
    items = _items([Path(path) for path in inputs], reading or ReadOptions(), report)
    if report.bad:
        raise InputFileError(report.bad[0][1])
    return items
