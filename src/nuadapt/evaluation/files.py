"""Predictions straight from files: event stores, other tools' images and tuples, or generator events simulated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, InputFileError, NuadaptError, listed
from nuadapt.evaluation.calibration import read_calibration
from nuadapt.evaluation.energies import Energies, iter_energies
from nuadapt.evaluation.predict import PredictConfig, iter_predictions, maps_for, reads_clouds
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import EnergyModel, Model, Progress
from nuadapt.evaluation.reading import differences, other_maps, settings_of_training
from nuadapt.evaluation.table_files import ENDINGS
from nuadapt.events.batch import EventBatch
from nuadapt.events.format import HDF5_MAGIC
from nuadapt.events.store import EventStore

if TYPE_CHECKING:
    from nuadapt.sources.formats import ReadOptions
    from nuadapt.sources.ingest import IngestReport
    from nuadapt.sources.reading import InputItem

_CHUNK = 64  # events in memory at a time


def predict_files(
    run: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    skip_bad: bool = False,
    **how: Any,
) -> IngestReport:
    """Predict all events of ``inputs`` with the run folder ``run`` into a .csv or .parquet table.

    Every good input is predicted and written even if others are bad. ``how``: as :func:`answer_files` has it. Gives
    what came in, what did not, and what the readers found broken.

    Raises:
        OutputError: ``out`` exists or is not writable; nothing was read then.
        ConfigError: another ending; as :func:`answer_files`.
        InputFileError: as :func:`answer_files`; or, after the table is written, bad inputs without ``skip_bad``.
    """
    from nuadapt.sources.ingest import check_output

    if out.suffix not in ENDINGS:
        raise ConfigError(f"cannot write a table named '{out.name}'", expected="a name ending in .csv or .parquet")
    check_output(out)
    table, report = answer_files(run, inputs, **how)
    table.write(out)
    if not skip_bad:
        refuse_bad(report, f"the {report.n_events} events of the others are written", out)
    return report


def answer_files(
    run: Path,
    inputs: Sequence[Path],
    *,
    views: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    calibrated: bool = True,
    explain: bool = False,
    progress: Progress | None = None,
) -> tuple[Predictions | Energies, IngestReport]:
    """The table of the answers to all events of ``inputs``, and what came in.

    ``views`` name the views of the data that stand for the model's. ``settings`` are those of the reader; it is set
    as for the events of the training where the run's record tells how (:mod:`nuadapt.evaluation.reading`). NuHepMC
    events pass through the default simulation with ``seed``. A calibration in the run folder is applied if
    ``calibrated``. With ``explain`` each row has a reason in words and what features of the image say of its claims.

    Raises:
        ConfigError: reasons from a model that gives none, settings that a format does not have.
        InputFileError: no usable run or calibration, or no usable input.
    """
    from nuadapt.models.run import load_run, run_folder
    from nuadapt.sources.ingest import IngestReport

    run = run_folder(run)
    model, report = load_run(run), IngestReport(Path(), "auto", len(inputs))
    if explain and not model.gives_reasons:
        raise ConfigError(
            f"the model {model.id} gives no reasons in words", expected="a vision-language model, such as nuadapt-vlm"
        )
    config = PredictConfig(views=tuple(views) if views else None, explain=explain)
    parts: list[Any] = []
    for done, path in enumerate(inputs):
        try:
            items = items_of(path, seed, _reading(model, path, settings or {}, report))
            report.n_inputs += len(items) - 1
            events = _good(items, model, config, report)
            parts += answers(model, events, config, _shifted(progress, done, len(inputs)))
        except NuadaptError as error:
            report.note_bad(path, error)
    if not parts:
        raise InputFileError(listed([reason for _, reason in report.bad], limit=3) or "no inputs given")
    table = type(parts[0]).concatenate(parts)
    calibration = read_calibration(run, model) if calibrated and not model.task.energy else None
    report.n_events = len(table)
    return (table if calibration is None else calibration.applied(table)), report


def refuse_bad(report: IngestReport, kept: str, where: Path | None = None) -> None:
    """Raise if there were bad inputs; ``kept`` says what became of the others.

    Raises:
        InputFileError: as said.
    """
    if report.bad:
        raise InputFileError(
            f"{len(report.bad)} of {report.n_inputs} inputs could not be used; {kept}. "
            f"{listed([reason for _, reason in report.bad], limit=3)}",
            where=where,
            next_step="Repair or remove those inputs, or accept the loss with --skip-bad",
        )


def _good(
    items: Iterable[InputItem], model: Model, config: PredictConfig, report: IngestReport
) -> Iterator[EventBatch]:
    """Events of all items that the model can answer; the other items are noted as bad.

    A picture of another tool in which nothing is to be seen cannot be answered. An event of a store can be one that
    left no charge, which is noted only.
    """
    for item in items:
        foreign = not is_store(item.path)
        try:
            for batch in item.read():
                if foreign and not reads_clouds(model):
                    seen = maps_for(model, batch, config).spec  # raises for this item alone
                    for sentence in other_maps(model.record, seen):
                        report.reading.note(sentence)
                charged = _charged(batch)
                if foreign and not charged.all():
                    report.note_bad(item.path, DataError("its maps are empty: no pixel holds charge"))
                elif not charged.all():
                    report.reading.note("Events without charge in any view are answered, but nothing is seen of them.")
                kept = batch.select(np.flatnonzero(charged)) if foreign else batch
                if len(kept):
                    yield kept
        except NuadaptError as error:
            report.note_bad(item.path, error)


def _charged(batch: EventBatch) -> npt.NDArray[np.bool_]:
    """Which events have a pixel that is not zero, (N,); clouds are not looked at."""
    maps = batch.pixelmap
    if maps is None:
        return np.ones(len(batch), dtype=bool)
    event = np.repeat(np.arange(len(batch)), np.diff(maps.offsets[:: maps.spec.n_views]))
    return np.bincount(event[maps.value != 0], minlength=len(batch)) > 0


def answers(
    model: EnergyModel, events: Iterator[EventBatch], config: PredictConfig, progress: Progress | None = None
) -> Iterator[Predictions] | Iterator[Energies]:
    """Rows of a table, a chunk of events at a time: class probabilities, or energies of a model that gives those."""
    if model.task.energy:
        return iter_energies(model, events, config, progress=progress)
    return iter_predictions(model, events, config, progress=progress)


def _reading(model: Model, path: Path, settings: Mapping[str, Any], report: IngestReport) -> ReadOptions:
    """How one input is read for this model; what a user should know about it goes into the report."""
    from nuadapt.sources.formats import ReadOptions, detect_format

    given = dict(settings)
    if is_store(path):
        with EventStore(path) as store:
            seen = None if reads_clouds(model) else store.layout.map_spec
            for sentence in (*differences(model.record, store.record), *other_maps(model.record, seen)):
                report.reading.note(f"{path.name}: {sentence}")
        if given:
            report.reading.note(f"{path.name} is a store: its events are as they were read, and --set does not apply.")
    elif detect_format(path) == "minerva" and reads_clouds(model) and "preset" not in given:
        clouds: Any = model.input
        told = settings_of_training(model.record)
        if told is None and not given:
            report.reading.note(
                f"{model.id} does not say how the reader was set for the events of its training: angles are in its "
                f"{clouds.frame} frame, all else as by default. --set names other settings."
            )
        given = (told or {"frame": clouds.frame}) | given
    return ReadOptions(settings=given, report=report.reading)


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    """Progress of one input among several: its events if it is alone, else the number of inputs."""
    if progress is None or total == 1:
        return progress
    progress(done, total)
    return None


def open_events(path: Path, seed: int = 1, reading: ReadOptions | None = None) -> Iterator[EventBatch]:
    """Events from any file that nuadapt understands, in batches; see :func:`items_of`.

    Raises:
        ConfigError: settings that the format does not have.
        InputFileError: the file cannot be used.
    """
    for item in items_of(path, seed, reading):
        yield from item.read()


def items_of(path: Path, seed: int = 1, reading: ReadOptions | None = None) -> list[InputItem]:
    """What is to be read of any file or folder that nuadapt understands, piece by piece.

    Files of other tools are read as ``reading`` says. NuHepMC events are placed in the default detector and simulated
    with ``seed``.

    Raises:
        ConfigError: settings that the format does not have.
        InputFileError: the file cannot be used.
    """
    from nuadapt.sources.formats import check_settings, detect_format
    from nuadapt.sources.ingest import items_to_read
    from nuadapt.sources.reading import InputItem

    if is_store(path):
        return [InputItem(path, partial(_stored, path))]
    if detect_format(path) != "nuhepmc":
        return items_to_read([path], reading=reading)
    check_settings("nuhepmc", reading.settings if reading is not None else {})
    return [InputItem(path, partial(_simulated, path, seed))]


def _stored(path: Path) -> Iterator[EventBatch]:
    with EventStore(path) as store:
        yield from store.batches(_CHUNK)


def _simulated(path: Path, seed: int) -> Iterator[EventBatch]:
    """Generator events in the default detector."""
    from nuadapt.sources.nuhepmc import read_vertices
    from nuadapt.sources.simulation.lartpc import LArTPC, LArTPCConfig

    detector, vertices, first = LArTPC(LArTPCConfig(), seed), read_vertices(path), 0
    while chunk := list(islice(vertices, _CHUNK)):
        yield detector.simulate_vertices(chunk, first, path.name)
        first += len(chunk)


def is_store(path: Path) -> bool:
    """Whether a path is an HDF5 file, as event stores are."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == HDF5_MAGIC
