"""Simulate many events into one store: on several cores, resumable, the same file for the same seed."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError
from nuadapt.events.batch import STRATUM_COLUMNS, EventBatch, cloud_strata
from nuadapt.events.splits import assign_splits, hash_keys
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.events.truth import flavour_label
from nuadapt.record import make_record
from nuadapt.sources.larnd import SegmentEvent, read_segments
from nuadapt.sources.nuhepmc import read_vertices
from nuadapt.sources.reading import ReadReport
from nuadapt.sources.simulation.jets.config import JetsConfig
from nuadapt.sources.simulation.jets.detector import Jets
from nuadapt.sources.simulation.lartpc import LArTPC, LArTPCConfig
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.minerva.detector import MinervaLike
from nuadapt.sources.simulation.vertex import ExternalVertex

Progress = Callable[[int, int], None]


class Detector(Protocol):
    """A simulation: turns event numbers into events.

    ``name`` goes into the record, ``source`` into the keys. ``chunk`` events make a task and a stored batch; resuming
    counts in these.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    chunk: ClassVar[int]

    @property
    def layout(self) -> Layout:
        """What its events have."""

    def simulate(self, numbers: Sequence[int], source: str) -> EventBatch:
        """Events with these numbers."""


#: One task: (first event number, number of events, what another tool made of them or None).
Given = list[ExternalVertex] | list[SegmentEvent] | None
Task = tuple[int, int, Given]


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """What to simulate. ``events`` None means all of ``vertices`` (NuHepMC) or ``segments`` (edep-sim deposits), which
    the LArTPC takes."""

    config: LArTPCConfig | MinervaConfig | JetsConfig
    seed: int = 1
    events: int | None = None
    vertices: Path | None = None
    segments: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.vertices and self.segments:
            raise ConfigError("vertices and segments both say what happens; give one of them")
        if self.input is not None and not isinstance(self.config, LArTPCConfig):
            raise ConfigError("this simulation makes its own interactions", expected="no vertices and no segments")
        if self.events is None and self.input is None:
            raise ConfigError("how many events?", next_step="Give --events N")
        if self.events is not None and self.events < 1:
            raise ConfigError(f"cannot simulate {self.events} events", expected="at least 1")
        if not 0 <= self.seed < 2**31 or self.workers < 1:
            raise ConfigError(
                f"seed {self.seed} with {self.workers} workers", expected="seed 0 to 2^31 - 1, workers >= 1"
            )

    def record(self) -> dict[str, Any]:
        """What decides the content of the file; the number of workers does not."""
        given = {"file": self.input.name, "sha256": _sha256(self.input)} if self.input else None
        return make_record(
            self.kind.name,
            self.config.as_dict(),
            seed=self.seed,
            events=self.events,
            input=given,
            **({"tools": Jets.tools()} if isinstance(self.config, JetsConfig) else {}),
        )

    @property
    def kind(self) -> type[Detector]:
        """The simulation that takes these settings."""
        if isinstance(self.config, JetsConfig):
            return Jets
        return LArTPC if isinstance(self.config, LArTPCConfig) else MinervaLike

    def detector(self) -> Detector:
        """The simulation itself.

        Raises:
            ConfigError: impossible settings.
            MissingExtraError: a library that this simulation needs is not installed.
        """
        if isinstance(self.config, LArTPCConfig):
            return LArTPC(self.config, self.seed)
        if isinstance(self.config, JetsConfig):
            return Jets(self.config, self.seed)
        return MinervaLike(self.config, self.seed)

    @property
    def input(self) -> Path | None:
        """The other tool's file, if any."""
        return self.vertices or self.segments

    @property
    def source(self) -> str:
        """Source name in the event keys."""
        return self.input.name if self.input else self.kind.source


def _sha256(path: Path) -> str:
    """Content hash, so that a resumed run cannot mix two files of one name."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=path) from error


_detector: Detector | None = None


def _start_worker(plan: SimulationPlan) -> None:
    global _detector
    _detector = plan.detector()


def _work(task: Task, source: str) -> EventBatch:
    if _detector is None:
        raise DataError("a simulation worker was used before it was started")
    return _run_task(_detector, task, source)


def _run_task(detector: Detector, task: Task, source: str) -> EventBatch:
    first, count, given = task
    if given is None:
        return detector.simulate(range(first, first + count), source)
    if not isinstance(detector, LArTPC):
        raise DataError("only the LArTPC takes vertices or segments")
    segments = [event for event in given if isinstance(event, SegmentEvent)]
    if segments:
        return detector.simulate_segments(segments, source)
    return detector.simulate_vertices([event for event in given if isinstance(event, ExternalVertex)], first, source)


def _tasks(plan: SimulationPlan, done: int, report: ReadReport) -> Iterator[Task]:
    """Chunks of events that are still to do."""
    if plan.input is None:
        total = plan.events or 0
        for first in range(done, total, plan.kind.chunk):
            yield first, min(plan.kind.chunk, total - first), None
        return
    given: Iterator[Any] = (
        read_vertices(plan.vertices, report) if plan.vertices else read_segments(plan.input, report=report)
    )
    first = done
    for chunk in _chunks(itertools.islice(given, done, plan.events), plan.kind.chunk):
        yield first, len(chunk), chunk
        first += len(chunk)


def _chunks(given: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """``size`` at a time; what was read before a damaged file raises is delivered first."""
    chunk: list[Any] = []
    try:
        for item in given:
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except InputFileError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _results(plan: SimulationPlan, tasks: Iterable[Task]) -> Iterator[EventBatch]:
    """Batches in task order, from this process or from ``plan.workers`` others."""
    if plan.workers == 1:
        detector = plan.detector()
        for task in tasks:
            yield _run_task(detector, task, plan.source)
        return
    context = multiprocessing.get_context("spawn")  # forked HDF5 and numba state is not safe
    with ProcessPoolExecutor(plan.workers, context, _start_worker, (plan,)) as pool:
        waiting: deque[Future[EventBatch]] = deque()
        damage: InputFileError | None = None
        try:
            for task in tasks:
                waiting.append(pool.submit(_work, task, plan.source))
                if len(waiting) > 2 * plan.workers:  # enough to keep all busy, not enough to fill the memory
                    yield waiting.popleft().result()
        except InputFileError as error:
            damage = error  # raised once everything that was read before it is stored
        while waiting:
            yield waiting.popleft().result()
        if damage:
            raise damage


def simulate(plan: SimulationPlan, out: Path, progress: Progress | None = None) -> ReadReport:
    """Simulate into ``out``; goes on where an interrupted run with the same plan stopped.

    Returns how many events are in the file (``n_read``), and what of the input was left out and why.

    Raises:
        OutputError: ``out`` is a finished file, or an unfinished one of another plan.
        InputFileError: the vertices file cannot be read.
    """
    detector = plan.detector()  # refuses impossible settings before anything is written
    record, report = plan.record(), ReadReport()
    writer = _open_writer(out, detector.layout, record, plan.kind.chunk)
    done = writer.n_events
    try:
        with writer:
            for batch in _results(plan, _tasks(plan, done, report)):
                writer.append(batch)
                done += len(batch)
                if progress:
                    progress(done, plan.events or 0)
            if not done:
                raise DataError("no events to simulate", where=plan.input)
            writer.finish(_splits(out))
    except (InputFileError, DataError):
        if not done:
            out.unlink(missing_ok=True)  # nothing was read: no empty file stands in the way of the next try
        raise
    report.n_read = done
    return report


def _open_writer(out: Path, layout: Layout, record: dict[str, Any], chunk: int) -> EventWriter:
    """A new writer, or one that resumes an unfinished file of the same plan."""
    if not out.exists():
        return EventWriter.create(out, layout, record)
    with EventStore(out) as old:
        if old.complete:
            raise OutputError("this file is finished already", where=out, next_step="Choose another name or remove it")
        if old.record != record:
            raise OutputError(
                "this file is the unfinished result of another simulation (other settings, seed, number or version)",
                where=out,
                next_step="Repeat the command that began it, choose another name, or remove it",
            )
    return EventWriter.resume(out, chunk)


def _splits(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Split numbers for all events of an open store."""
    with EventStore(path) as store:
        run, subrun, event, source = (store.column(n) for n in ("run", "subrun", "event", "source"))
        hashes = hash_keys(run, subrun, event, source, store.sources)
        if not store.layout.has_truth:
            return assign_splits(hashes, store.column("class_id"))
        columns = {name: store.column(name) for name in STRATUM_COLUMNS}
        if store.layout.cloud_spec is not None:
            return assign_splits(hashes, cloud_strata(columns))
        return assign_splits(hashes, flavour_label(columns["nu_pdg"], columns["current"]))
