"""Try a trained model on events of another generator or another detector, and draw what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.evaluation.files import open_events
from nuadapt.evaluation.predict import PredictConfig, chosen_views, image_input, predict_batches
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import ADDITIVE_UNITS, PixelMaps
from nuadapt.events.store import EventStore
from nuadapt.models.run import LoadedModel, load_run
from nuadapt.record import read_json, write_json
from nuadapt.report.event_display import Answer, draw_event
from nuadapt.report.style import save

Array = npt.NDArray[Any]
_SHOWN = 4  # events drawn per trial
#: (title, caption, PNG) for the report.
ExtraFigure = tuple[str, str, Path]


@dataclass(frozen=True, slots=True)
class Trial:
    """One input: ``PATH`` or ``PATH:view,view`` with the views that stand for the model's."""

    path: Path
    views: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, word: str) -> Trial:
        """From the command line.

        Raises:
            ConfigError: the path does not exist.
        """
        path, colon, views = word.rpartition(":")
        trial = cls(Path(path), tuple(views.split(","))) if colon and not Path(word).exists() else cls(Path(word))
        if not trial.path.exists():
            raise ConfigError("no such file or folder to try the model on", where=trial.path)
        return trial

    @property
    def name(self) -> str:
        """Folder name of the results."""
        return "-".join([self.path.name.split(".")[0], *(self.views or ())])

    def identity(self) -> dict[str, Any]:
        """What tells this trial from another one of the same name: names and sizes of its files, and the views."""
        folder = self.path.is_dir()
        files = sorted(p for p in self.path.rglob("*") if p.is_file()) if folder else [self.path]
        sizes = {(p.relative_to(self.path).as_posix() if folder else p.name): p.stat().st_size for p in files}
        return {"files": sizes, "views": list(self.views or ())}


def run_trial(
    run: Path, trial: Trial, training_data: Path, out: Path, progress: Callable[[int, int], None]
) -> list[ExtraFigure]:
    """Predict all events of a trial and draw some; writes table, summary and pictures below ``out``.

    Images in grey levels carry no energy scale. They are predicted as they are, and once more scaled so that
    the median of their filled pixels equals that of the training events (``-scaled``): a rough calibration,
    good enough to tell a difference of detectors from a difference of gains. A trial that is done is not done again.
    """
    done, identity = out / f"{trial.name}.json", trial.identity()
    if done.is_file() and (record := read_json(done))["trial"] == identity:
        return [(title, caption, out / png) for title, caption, png in record["figures"]]
    model = load_run(run)
    batch = EventBatch.concatenate(list(open_events(trial.path)))
    variants = {"": batch}
    if batch.pixelmap is not None and batch.pixelmap.spec.value_unit not in ADDITIVE_UNITS:
        variants["-scaled"] = replace(batch, pixelmap=_scaled(batch.pixelmap, training_data))
    figures: list[ExtraFigure] = []
    for ending, events in variants.items():
        figures += _answered(model, trial, events, out / (trial.name + ending), progress)
    named = [[title, caption, png.relative_to(out).as_posix()] for title, caption, png in figures]
    write_json(done, {"trial": identity, "figures": named})
    return figures


def _answered(
    model: LoadedModel, trial: Trial, events: EventBatch, folder: Path, progress: Callable[[int, int], None]
) -> list[ExtraFigure]:
    """Predictions, summary and pictures of the events in a folder."""
    table = predict_batches(model, [events], PredictConfig(views=trial.views), progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "predictions.csv").unlink(missing_ok=True)
    table.write(folder / "predictions.csv")
    summary = summarise(table)
    write_json(folder / "summary.json", summary)
    if events.pixelmap is None:
        return []
    maps = chosen_views(events.pixelmap, image_input(model).views, trial.views)
    named = replace(maps.spec, views=trial.views or maps.spec.views, axes=_axes(events, trial))
    shown = replace(events, pixelmap=replace(maps, spec=named))  # drawn under the names of the data
    return _draw(table, shown, folder, folder.name, sentence(summary))


def _axes(events: EventBatch, trial: Trial) -> tuple[tuple[str, str], ...]:
    """Axis names of the views that were used."""
    maps = events.pixelmap
    if maps is None:
        return ()
    names = trial.views or maps.spec.views
    return tuple(maps.spec.axes[maps.spec.views.index(name)] for name in names)


def _scaled(maps: PixelMaps, training_data: Path) -> PixelMaps:
    """Grey maps as energy: their median filled pixel set to that of the first training events."""
    with EventStore(training_data) as store:
        known = store.read(store.rows_of("train")[:300]).pixelmap
    if known is None or not len(maps.value):
        return maps
    factor = np.median(known.value) / np.median(maps.value)
    spec = replace(maps.spec, value_unit=known.spec.value_unit)
    return replace(maps, spec=spec, value=(maps.value * np.float32(factor)).astype(np.float32))


def summarise(table: Predictions) -> dict[str, Any]:
    """Counts of labels and truths, weighted accuracy, mean probability of each class."""
    names, known = table.classes, table.has_label
    right = table.label == table.truth
    weight = table.weight / table.weight.sum() if len(table) and table.weight.sum() > 0 else table.weight
    return {
        "n_events": len(table),
        "n_with_label": int(known.sum()),
        "accuracy": float(np.average(right[known], weights=table.weight[known])) if known.any() else None,
        "predicted": {name: int((table.label == i).sum()) for i, name in enumerate(names)},
        "truth": {name: int((table.truth == i).sum()) for i, name in enumerate(names)},
        "mean_probability": {name: float((weight * table.probability[:, i]).sum()) for i, name in enumerate(names)},
    }


def sentence(summary: dict[str, Any]) -> str:
    """The summary for a caption."""
    predicted = ", ".join(f"{n} {name}" for name, n in summary["predicted"].items())
    truth = ", ".join(f"{n} {name}" for name, n in summary["truth"].items() if n)
    accuracy = f"; accuracy {summary['accuracy']:.3f}" if summary["accuracy"] is not None else ""
    return f"{summary['n_events']} events predicted as {predicted}; truth: {truth or 'unknown'}{accuracy}."


def _draw(table: Predictions, events: EventBatch, folder: Path, name: str, caption: str) -> list[ExtraFigure]:
    """Pictures of the first events, each with the model's answer."""
    maps, figures = events.pixelmap, []
    if maps is None:
        return []
    for i in range(min(_SHOWN, len(events))):
        known = bool(table.has_label[i])
        truth = table.classes[table.truth[i]] if known else None
        probability = dict(zip(table.classes, map(float, table.probability[i]), strict=True))
        figure = draw_event(
            maps.dense(i),
            maps.spec,
            origin=maps.origin[i],
            answer=Answer(probability, table.classes[table.label[i]], truth),
            title=f"{name}: event {table.event[i]}",
        )
        place = save(figure, folder / f"event{i}")
        figures.append((f"{name}, event {table.event[i]}", caption, place.with_suffix(".png")))
    return figures
