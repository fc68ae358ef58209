"""A model on a store: predictions, metrics, curves, a gallery and a record, in one folder.

Predictions are kept in parts while the model runs, so that an interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError, nearest
from nuadapt.evaluation.binned import ENERGY_EDGES, by_energy, by_mode
from nuadapt.evaluation.block import metrics_block, reliability
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.calibration import DEFINITIONS as CALIBRATION_DEFINITIONS
from nuadapt.evaluation.calibration import Calibration, calibration_metrics, read_calibration
from nuadapt.evaluation.curves import curves_of
from nuadapt.evaluation.gallery import Gallery, choose, describe, vertices, write_gallery
from nuadapt.evaluation.memory import MEMORY_MEANS, forget_peak, peak_memory_mb
from nuadapt.evaluation.metrics import DEFINITIONS, Sample
from nuadapt.evaluation.npz import write_npz
from nuadapt.evaluation.physics.cuts import PUBLIC_WINDOW
from nuadapt.evaluation.physics.stage import COLUMNS, selections, signal_curves
from nuadapt.evaluation.predict import (
    TIME_MEANS,
    PredictConfig,
    Stopwatch,
    chosen_views,
    image_input,
    predict_batches,
    reads_clouds,
)
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Model, Progress
from nuadapt.evaluation.reading import remarks
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore
from nuadapt.events.truth import PION_CLASSES
from nuadapt.record import make_record, read_json, write_json

if TYPE_CHECKING:
    from nuadapt.evaluation.explain.stage import ExplainConfig

FILES = ("record.json", "predictions.parquet", "metrics.json", "curves.npz", "gallery.npz")
_PARTS = "parts"  # folder of finished parts while the model runs
_EVENTS_PER_PART = 512


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What to evaluate and how. ``split`` is train, val, test or all; ``pi0_window`` (GeV) that of the pi0 cuts."""

    split: str = "test"
    predict: PredictConfig = field(default_factory=PredictConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    energy_edges: tuple[float, ...] = ENERGY_EDGES
    csv: bool = False
    pi0_window: float = PUBLIC_WINDOW

    def __post_init__(self) -> None:
        legal = (*SPLITS, "all")
        if not self.pi0_window > 0:
            raise ConfigError(f"the window of the pi0 mass is {self.pi0_window:g} GeV", expected="above 0")
        if self.split not in legal:
            raise ConfigError(f"no split '{self.split}'", expected=nearest(self.split, legal))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the record."""
        given: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if self.pi0_window == PUBLIC_WINDOW:
            del given["pi0_window"]  # records of before there was a choice stay equal
        return given


def evaluate(
    run: Path,
    data: Path,
    out: Path,
    *,
    split: str = "test",
    coarsen: int = 1,
    coarsen_how: str | None = None,
    batch_size: int = 64,
    views: tuple[str, ...] | None = None,
    resamples: int = 500,
    seed: int = 1,
    csv: bool = False,
    pi0_window: float = PUBLIC_WINDOW,
    calibrated: bool = True,
    confidence: str = "sum",
    explained: ExplainConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate the run folder ``run`` on the store ``data`` into the folder ``out``; see :func:`evaluate_model`.

    ``pi0_window`` (GeV) is the half-width of the cuts around the pi0 mass, for models of the pion task. A calibration
    in the run folder is applied if ``calibrated``, and ``confidence`` is the exact one that it was made for; the others
    are those of :func:`nuadapt.models.run.load_run`. With ``explained`` the folder also gets the reasons
    and the evidence of :mod:`nuadapt.evaluation.explain.stage`.
    """
    from nuadapt.evaluation.explain.stage import explain
    from nuadapt.models.run import EXACT, load_run, run_folder

    predict = PredictConfig(coarsen, coarsen_how, batch_size, views)
    config = EvaluationConfig(split, predict, BootstrapConfig(resamples, seed), csv=csv, pi0_window=pi0_window)
    run = run_folder(run)
    model = load_run(run, confidence=confidence)
    if model.task.energy:
        from nuadapt.evaluation.energies import evaluate_energies

        if explained is not None or coarsen != 1 or views is not None:
            raise ConfigError(f"the model {model.id} reads clouds", expected="no --explain, no --coarsen")
        boot = config.bootstrap
        return evaluate_energies(
            model, data, out, split=split, batch_size=batch_size, bootstrap=boot, csv=csv, progress=progress
        )
    calibration = read_calibration(run, model) if calibrated and confidence == EXACT else None
    metrics = evaluate_model(model, data, out, config, calibration=calibration, progress=progress)
    if explained is not None:
        with EventStore(data) as store:
            rows = usable_rows(store, model, config)
        explain(model, data, out, explained, predict, rows=rows, progress=progress)
    return metrics


def evaluate_model(
    model: Model,
    data: Path,
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write record.json, predictions.parquet (and .csv), metrics.json, curves.npz and gallery.npz into ``out``.

    Of models of the pion task also physics.json, the comparison with cut-based selections. Gives the content of
    metrics.json. On a finished folder it returns at once, on an unfinished one it goes on.
    With a ``calibration`` all results are of calibrated probabilities, and metrics.json tells the others, too.

    Raises:
        OutputError: ``out`` holds something else.
        DataError: no events in this split, no pixel maps, a view is missing, truth without a column of the task.
        InputFileError: ``data`` is not a store.
    """
    config = config or EvaluationConfig()
    with EventStore(data) as store:
        rows = usable_rows(store, model, config)
        record = evaluation_record(model, store, rows, config, calibration)
        files = [name for name in FILES if not (name == "gallery.npz" and reads_clouds(model))]  # pictures of maps
        if prepared(out, record) and all((out / name).is_file() for name in files):
            return dict(read_json(out / "metrics.json"))
        raw, stopwatch = _predicted(model, store, rows, config, out, progress)
        predictions = raw if calibration is None else calibration.applied(raw)
        predictions.write(out / "predictions.parquet")
        if config.csv:
            predictions.write(out / "predictions.csv")
        if not reads_clouds(model):
            write_gallery(out / "gallery.npz", _gallery(predictions, store, rows, model, config))
        physics = _physics_columns(model, store, rows)
        about = remarks(model.record, store.record, store.layout.map_spec)
    curves = curves_of(Sample.of(predictions))
    write_npz(out / "curves.npz", curves | (signal_curves(predictions) if physics is not None else {}))
    metrics = all_metrics(predictions, config, stopwatch) | about
    if calibration is not None:
        metrics |= calibration_metrics(raw, calibration, config.bootstrap)
        metrics["independent_of_calibration"] = not calibration.data.overlaps(
            record["data"]["key_fingerprint"], config.split
        )
        metrics["definitions"] = metrics["definitions"] | CALIBRATION_DEFINITIONS
    if physics is not None:
        write_json(out / "physics.json", selections(predictions, physics, config.pi0_window))
    write_json(out / "metrics.json", metrics)
    shutil.rmtree(out / _PARTS, ignore_errors=True)
    return metrics


def all_metrics(
    predictions: Predictions, config: EvaluationConfig, stopwatch: Stopwatch | None = None
) -> dict[str, Any]:
    """The content of metrics.json: plain JSON values, null where undefined."""
    sample, bootstrap = Sample.of(predictions), config.bootstrap
    head: dict[str, Any] = {
        "model": predictions.model,
        "classes": list(predictions.classes),
        "has_truth": bool(len(sample)),
        "n_predictions": len(predictions),
        "n_without_label": int((~predictions.has_label).sum()),
    }
    if not len(sample):
        head["note"] = "no event has a true class (recorded data): predictions are written, nothing can be scored"
    block = metrics_block(sample, bootstrap, "all")
    block |= _resources(stopwatch, bootstrap)
    scored = bool(len(sample)) and sample.weight.sum() > 0
    block["reliability"] = reliability(sample, bootstrap) if scored else []
    block["by_energy"] = by_energy(predictions, bootstrap, config.energy_edges)
    block["by_mode"] = by_mode(predictions, bootstrap)
    labels = np.bincount(predictions.label, weights=predictions.weight, minlength=len(predictions.classes))
    block["predicted_weight"] = {c: float(w) for c, w in zip(predictions.classes, labels, strict=True)}
    return {
        **head,
        **block,
        "interval_level": bootstrap.level,
        "bootstrap": asdict(bootstrap),
        "definitions": DEFINITIONS,
    }


def _resources(stopwatch: Stopwatch | None, config: BootstrapConfig) -> dict[str, Any]:
    """Time and memory, marked as not reproducible."""
    measured = stopwatch is not None and bool(stopwatch.events)
    found: dict[str, Any] = {
        "ms_per_event": stopwatch.ms_per_event if stopwatch is not None and measured else None,
        "ms_per_event_interval": _time_interval(stopwatch, config) if stopwatch is not None and measured else None,
        "peak_memory_MB": peak_memory_mb() if measured else None,
    }
    found["not_reproducible"] = {"ms_per_event": TIME_MEANS, "peak_memory_MB": MEMORY_MEANS}
    return found


def _time_interval(stopwatch: Stopwatch, config: BootstrapConfig) -> list[float] | None:
    """Interval of ms_per_event by resampling the measured batches; a single one has none."""
    if len(stopwatch.events) < 2:
        return None
    events, seconds = np.array(stopwatch.events), np.array(stopwatch.seconds)
    drawn = np.random.default_rng(config.seed).integers(0, len(events), size=(config.resamples, len(events)))
    per_event = 1e3 * seconds[drawn].sum(axis=1) / events[drawn].sum(axis=1)
    low, high = np.percentile(per_event, [50 * (1 - config.level), 50 * (1 + config.level)])
    return [float(low), float(high)]


def evaluation_record(
    model: Model,
    store: EventStore,
    rows: npt.NDArray[np.int64],
    config: EvaluationConfig,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Which model saw which events how; equal records mean equal predictions."""
    data = {
        "file": store.path.name,
        "record": store.record,
        "layout": json.loads(store.layout.to_json()),
        "key_fingerprint": key_fingerprint(store),
        "n_events": len(rows),
        "n_events_in_file": len(store),
        "complete": store.complete,
    }
    about = {"id": model.id, "classes": list(model.classes), "input": model.input.as_dict(), "record": model.record}
    if calibration is not None:
        about["calibration"] = calibration.as_dict()
    plain: dict[str, Any] = json.loads(json.dumps({"model": about, "data": data}))
    return make_record("evaluate", config.as_dict(), **plain)


def key_fingerprint(store: EventStore) -> str:
    """SHA-256 over the record and the key, weight and split columns: cheap, blind to changed pixels."""
    digest = hashlib.sha256(json.dumps([store.record, store.layout.to_json(), store.sources]).encode())
    for name in ("run", "subrun", "event", "source", "weight", "split"):
        digest.update(np.ascontiguousarray(store.column(name)).tobytes())
    return digest.hexdigest()


def usable_rows(store: EventStore, model: Model, config: EvaluationConfig) -> npt.NDArray[np.int64]:
    """Rows of the split, after a look at whether the model can read them.

    Raises:
        DataError: no events in the split, no pixel maps, a view is missing, truth without a column of the task.
    """
    rows = store.rows_of(config.split)
    if not len(rows):
        raise DataError(
            f"no events in the split '{config.split}' of {len(store)} events",
            where=store.path,
            next_step="Choose another split, or 'all' for a file without splits",
        )
    _check_views(store, model, config)
    return rows


def _check_views(store: EventStore, model: Model, config: EvaluationConfig) -> None:
    """Find out about missing views, or clouds of another kind, before the first event is read."""
    if reads_clouds(model):
        clouds: Any = model.input
        if store.layout.cloud_spec is None:
            raise DataError("these events have no particle clouds", where=store.path)
        clouds.check(store.layout.cloud_spec)
        return
    views = image_input(model).views
    spec = store.layout.map_spec
    if spec is None:
        raise DataError("these events have no pixel maps", where=store.path, expected=", ".join(views))
    empty = np.empty(0)
    maps = PixelMaps(spec, np.zeros(1, np.int64), *(empty,) * 3, np.empty((0, spec.n_views, 2)))  # type: ignore[arg-type]
    chosen_views(maps, views, config.predict.views)


def prepared(out: Path, record: dict[str, Any]) -> bool:
    """Make ``out`` with its record; True if it was there already with the same one."""
    place = out / "record.json"
    if place.is_file():
        stored = read_json(place)
        same = isinstance(stored, dict) and all(
            stored.get(k) == record[k] for k in ("stage", "config", "model", "data")
        )
        if not same:
            raise OutputError(
                "this folder holds another evaluation", where=out, next_step="Choose another folder or remove it first"
            )
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(
            "this place is not empty and holds no evaluation", where=out, next_step="Choose another folder"
        )
    write_json(place, record)
    return False


def _predicted(
    model: Model,
    store: EventStore,
    rows: npt.NDArray[np.int64],
    config: EvaluationConfig,
    out: Path,
    progress: Progress | None,
) -> tuple[Predictions, Stopwatch]:
    """Predictions of all rows, from finished parts where there are any."""
    stopwatch, parts = Stopwatch(), []
    forget_peak()
    size = max(1, _EVENTS_PER_PART // config.predict.batch_size) * config.predict.batch_size
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        place = out / _PARTS / f"{start:09d}.parquet"
        part = _finished_part(place, len(chunk), stopwatch)
        if part is None:
            mine = Stopwatch()
            part = predict_batches(model, batches_of(store, chunk, config), config.predict, stopwatch=mine)
            part.write(place)
            write_json(place.with_suffix(".json"), {"events": mine.events, "seconds": mine.seconds})
            stopwatch.events += mine.events
            stopwatch.seconds += mine.seconds
        parts.append(part)
        if progress is not None:
            progress(min(start + size, len(rows)), len(rows))
    return Predictions.concatenate(parts), stopwatch


def batches_of(store: EventStore, rows: npt.NDArray[np.int64], config: EvaluationConfig) -> Iterator[EventBatch]:
    """The events ``rows`` of a store, as many at a time as the model gets."""
    for start in range(0, len(rows), config.predict.batch_size):
        yield store.read(rows[start : start + config.predict.batch_size])


def _finished_part(place: Path, n: int, stopwatch: Stopwatch) -> Predictions | None:
    """A part of an earlier, interrupted call, with its times; None if it is missing or unusable."""
    try:
        part, times = Predictions.read(place), read_json(place.with_suffix(".json"))
    except InputFileError:
        return None
    if len(part) != n:
        return None
    stopwatch.events += times["events"]
    stopwatch.seconds += times["seconds"]
    return part


def _physics_columns(
    model: Model, store: EventStore, rows: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]] | None:
    """What the comparison with cut-based selections looks at; None where there is nothing to compare."""
    if model.classes != PION_CLASSES or not set(COLUMNS) <= set(store.layout.columns):
        return None
    return {name: store.column(name)[rows] for name in COLUMNS}


def _gallery(
    predictions: Predictions, store: EventStore, rows: npt.NDArray[np.int64], model: Model, config: EvaluationConfig
) -> Gallery:
    chosen = choose(predictions)
    batch = store.read(rows[[c.row for c in chosen]])
    if batch.pixelmap is None:
        raise DataError("these events have no pixel maps", where=store.path)
    maps = batch.pixelmap.select_views(config.predict.views or image_input(model).views)
    maps = maps.coarsen(config.predict.coarsen, config.predict.coarsen_how)
    at = vertices(batch)
    events = [describe(predictions, choice, at[i]) for i, choice in enumerate(chosen)]
    return Gallery(maps, events, predictions.classes)
