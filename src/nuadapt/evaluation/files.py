"""Predictions straight from files: event stores, other tools' images, or generator events through the simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from nuadapt.errors import ConfigError, InputFileError, NuadaptError, listed
from nuadapt.evaluation.calibration import read_calibration
from nuadapt.evaluation.predict import PredictConfig, iter_predictions
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Model, Progress
from nuadapt.events.batch import EventBatch
from nuadapt.events.format import HDF5_MAGIC
from nuadapt.events.store import EventStore

_CHUNK = 64  # events in memory at a time


@dataclass(slots=True)
class FilesReport:
    """How many events were predicted, and which inputs could not be used: (path, reason)."""

    n_inputs: int
    n_events: int = 0
    bad: list[tuple[Path, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One sentence per bad input, with a count first; empty if all went well."""
        if not self.bad:
            return []
        return [f"{len(self.bad)} of {self.n_inputs} inputs could not be used:", *(reason for _, reason in self.bad)]


def predict_files(
    run: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    views: Sequence[str] | None = None,
    seed: int = 1,
    skip_bad: bool = False,
    calibrated: bool = True,
    explain: bool = False,
    progress: Progress | None = None,
) -> FilesReport:
    """Predict all events of ``inputs`` with the run folder ``run`` into a .csv or .parquet table.

    ``views`` name the views of the data that stand for the model's. Every good input is predicted and written
    even if others are bad. NuHepMC events pass through the default simulation with ``seed``. A calibration in the
    run folder is applied if ``calibrated``. With ``explain`` each row has a reason in words.

    Raises:
        OutputError: ``out`` exists or is not writable; nothing was read then.
        InputFileError: no usable run, calibration or input; or, after the table is written, bad inputs without
            ``skip_bad``.
    """
    from nuadapt.models.run import load_run, run_folder
    from nuadapt.sources.ingest import check_output

    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"cannot write a table named '{out.name}'", expected="a name ending in .csv or .parquet")
    check_output(out)
    run = run_folder(run)
    model, report = load_run(run), FilesReport(len(inputs))
    calibration = read_calibration(run, model) if calibrated else None
    if explain and not model.gives_reasons:
        raise ConfigError(
            f"the model {model.id} gives no reasons in words", expected="a vision-language model, such as nuadapt-vlm"
        )
    config = PredictConfig(views=tuple(views) if views else None, explain=explain)
    parts: list[Predictions] = []
    for done, path in enumerate(inputs):
        try:
            for part in _predict_one(model, path, config, seed, _shifted(progress, done, len(inputs))):
                parts.append(part)
        except NuadaptError as error:
            reason = str(error)
            report.bad.append((path, reason if str(path) in reason else f"{path}: {reason}"))
    if not parts:
        raise InputFileError(listed([reason for _, reason in report.bad], limit=3) or "no inputs given")
    table = Predictions.concatenate(parts)
    if calibration is not None:
        table = calibration.applied(table)
    table.write(out)
    report.n_events = len(table)
    if report.bad and not skip_bad:
        raise InputFileError(
            f"{len(report.bad)} of {report.n_inputs} inputs could not be used; the {report.n_events} events of the "
            f"others are written. {listed([reason for _, reason in report.bad], limit=3)}",
            where=out,
            next_step="Repair or remove those inputs, or accept the loss with --skip-bad",
        )
    return report


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    """Progress of one input among several: its events if it is alone, else the number of inputs."""
    if progress is None or total == 1:
        return progress
    progress(done, total)
    return None


def _predict_one(
    model: Model, path: Path, config: PredictConfig, seed: int, progress: Progress | None
) -> Iterator[Predictions]:
    """Predictions of one input, a chunk of events at a time."""
    return iter_predictions(model, open_events(path, seed), config, progress=progress)


def open_events(path: Path, seed: int = 1) -> Iterator[EventBatch]:
    """Events with pixel maps from any file that nuadapt understands, in batches.

    NuHepMC events are placed in the default detector and simulated with ``seed``.

    Raises:
        InputFileError: the file cannot be used.
    """
    from nuadapt.sources.formats import detect_format
    from nuadapt.sources.ingest import read_all

    if _is_hdf5(path):
        with EventStore(path) as store:
            yield from store.batches(_CHUNK)
        return
    if detect_format(path) != "nuhepmc":
        yield from read_all([path])
        return
    from nuadapt.sources.nuhepmc import read_vertices
    from nuadapt.sources.simulation.lartpc import LArTPC, LArTPCConfig

    detector, vertices, first = LArTPC(LArTPCConfig(), seed), read_vertices(path), 0
    while chunk := list(islice(vertices, _CHUNK)):
        yield detector.simulate_vertices(chunk, first, path.name)
        first += len(chunk)


def _is_hdf5(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == HDF5_MAGIC
