"""The folders that the service was started with: which models can answer, which answers are there already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nuadapt.errors import InputFileError
from nuadapt.evaluation.calibration import FILE as CALIBRATION
from nuadapt.events.tasks import Task, titles_of
from nuadapt.record import read_json

_STEP = "Give a folder made by 'nuadapt train' or 'nuadapt evaluate', or the name of a model that comes with nuadapt"


@dataclass(frozen=True, slots=True)
class Run:
    """One entry of the list of runs: a model, an evaluation of one, or both.

    ``model`` is the folder of the model, ``folder`` that of the evaluation, ``record`` and ``metrics`` are those of the
    evaluation, ``trained`` is the record of the model.
    """

    name: str
    task: Task
    trained: dict[str, Any]
    model: Path | None = None
    folder: Path | None = None
    record: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What it answers with."""
        return "energy" if self.task.energy else "classes"

    @property
    def reads(self) -> str:
        """The representation that the model reads."""
        return "cloud" if "types" in self.trained.get("input", {}) else "pixelmap"

    @property
    def titles(self) -> dict[str, str]:
        """What people call the classes."""
        return titles_of(self.task.classes, self.task.as_dict())

    @property
    def coverage(self) -> float | None:
        """The coverage that sets of classes, or intervals of energy, were made for; None without any."""
        given = self.calibration.get("conformal", {}).get("coverage") if self.kind == "classes" else self.level
        return float(given) if given is not None else None

    @property
    def temperature(self) -> float | None:
        """By what log-probabilities were divided; None without a calibration."""
        given = self.calibration.get("temperature")
        return float(given) if given is not None else None

    @property
    def level(self) -> float | None:
        """Coverage of the intervals of an energy."""
        return self._interval("level")

    @property
    def half_width(self) -> float | None:
        """Half width of these intervals, in ln(1 + E / GeV)."""
        return self._interval("half_width")

    def _interval(self, name: str) -> float | None:
        """A number of the conformal intervals of an energy; None without them."""
        given = (self.metrics.get("intervals") or {}).get(name) if self.task.energy else None
        return float(given) if given is not None else None

    @property
    def resolution(self) -> int:
        """By how much the pixels were joined beyond what the model does; 1: as trained."""
        return int(self.record.get("config", {}).get("predict", {}).get("coarsen", 1))


def open_places(places: Sequence[str], *, models: bool = True) -> list[Run]:
    """The runs of all ``places``, named by their folders. Without ``models`` no model is to be asked.

    A run folder that belongs to an evaluation, given itself or lying beside it, gives that evaluation its model.

    Raises:
        InputFileError: a place that is neither a finished run, nor an evaluation, nor the name of a model.
    """
    runs, evaluations = [], []
    for place in places:
        folder = _folder(place).resolve()
        record = _record(folder)
        if record["stage"] == "train":
            runs.append((folder, record))
        else:
            evaluations.append(_evaluation(folder, record))
    found, used = [], set()
    for run in evaluations:
        model = next((f for f, r in (*runs, *_beside(run.folder)) if r == run.trained), None)
        used.add(model)
        found.append(run if model is None or not models else _with_model(run, model))
    found += [_trained(folder, record, models) for folder, record in runs if folder not in used]
    return _named(found)


def _folder(place: str) -> Path:
    """The folder of a place: a path, or a model that comes with nuadapt."""
    if Path(place).exists():
        return Path(place)
    from nuadapt.models.run import run_folder  # brings torch, without which a service starts at once

    return run_folder(place)


def _record(folder: Path) -> dict[str, Any]:
    """The record of a finished training or an evaluation."""
    record = read_json(folder / "record.json", next_step=_STEP)
    stage = record.get("stage") if isinstance(record, dict) else None
    if stage not in ("train", "evaluate"):
        raise InputFileError(f"this is the record of the stage '{stage}'", where=folder, next_step=_STEP)
    if stage == "train" and record.get("status") != "finished":
        raise InputFileError("this run is not finished", where=folder, next_step="Go on with 'nuadapt train'")
    return dict(record)


def _evaluation(folder: Path, record: dict[str, Any]) -> Run:
    step = "Finish it with the same 'nuadapt evaluate' command"
    metrics = read_json(folder / "metrics.json", next_step=step)
    try:
        about = record["model"]
        trained = dict(about["record"])
        task = Task.from_dict(trained["task"], where=folder / "record.json")
    except (KeyError, TypeError, ValueError) as error:
        raise InputFileError(f"this is not the record of an evaluation ({error!r})", where=folder) from error
    calibration = about.get("calibration") or {}
    return Run(folder.name, task, trained, None, folder, record, dict(metrics), dict(calibration))


def _trained(folder: Path, record: dict[str, Any], models: bool) -> Run:
    task = Task.from_dict(record.get("task", {}), where=folder / "record.json")
    return _with_model(Run(folder.name, task, record), folder if models else None)


def _with_model(run: Run, folder: Path | None) -> Run:
    """A run with its model, and the model's calibration where the evaluation has none."""
    if folder is None or run.calibration or not (folder / CALIBRATION).is_file():
        return replace(run, model=folder)
    return replace(run, model=folder, calibration={} if run.folder else dict(read_json(folder / CALIBRATION)))


def _beside(folder: Path | None) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Run folders beside an evaluation, with their records."""
    if folder is None:
        return
    for place in (folder.parent, *sorted(folder.parent.iterdir())):
        if (place / "log.jsonl").is_file() and (place / "record.json").is_file():
            record = read_json(place / "record.json")
            if isinstance(record, dict) and record.get("stage") == "train":
                yield place, record


def _named(runs: list[Run]) -> list[Run]:
    """Names made unique by a number behind them."""
    taken: set[str] = set()
    named = []
    for run in runs:
        name, number = run.name, 2
        while name in taken:
            name, number = f"{run.name}-{number}", number + 1
        taken.add(name)
        named.append(replace(run, name=name))
    return named
