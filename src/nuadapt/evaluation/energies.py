"""A model that answers with an energy: the table of its answers, and how they spread around the truth of a store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.physics.cuts import fitted_scale
from nuadapt.evaluation.physics.energy import Intervals
from nuadapt.evaluation.physics.estimates import CALORIMETER, COLUMNS, estimates
from nuadapt.evaluation.predict import PredictConfig, Stopwatch, cloud_arrays, pieces
from nuadapt.evaluation.protocol import EnergyModel, Progress
from nuadapt.evaluation.reading import remarks
from nuadapt.evaluation.table_files import FLOAT, INTEGER, TEXT, write_table
from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore
from nuadapt.record import write_json

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
_NUMBERS = ("run", "subrun", "event", "entry")


@dataclass(frozen=True, slots=True)
class Energies:
    """Answers of one model for N events.

    ``key`` are columns (N,): ``source`` as a name, ``run``, ``subrun``, ``event``, and ``entry``, the row in the
    source, where it is known. ``weight``, ``energy`` and ``truth`` (N,) in GeV, NaN unknown; ``low`` and ``high`` (N,)
    in GeV are the conformal interval, None where none was fitted.
    """

    model: str
    key: dict[str, Array]
    weight: FloatArray
    energy: FloatArray
    truth: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.energy)

    @classmethod
    def of_batch(cls, batch: EventBatch, energy: FloatArray, model: EnergyModel) -> Energies:
        """Rows for the events of ``batch`` with their ``energy`` (N,) in GeV.

        Raises:
            DataError: an energy is not finite.
        """
        if not np.isfinite(energy).all():
            raise DataError(f"the model {model.id} gave an energy that is not finite")
        names = np.array(batch.sources or ("",), dtype=object)
        key = {"source": names[batch["source"]]} | {n: batch[n] for n in _NUMBERS if n in batch.columns}
        truth = model.task.target(batch.columns) if batch.has_truth else np.full(len(batch), np.nan)
        return cls(model.id, key, batch["weight"].astype(np.float64), energy, truth.astype(np.float64))

    @staticmethod
    def concatenate(parts: Sequence[Energies]) -> Energies:
        """All rows of ``parts``, which are of one model, in order.

        Raises:
            DataError: no parts.
        """
        if not parts:
            raise DataError("no events: there is nothing to predict")
        key = {name: np.concatenate([p.key[name] for p in parts]) for name in parts[0].key}
        names = [f.name for f in fields(Energies) if isinstance(getattr(parts[0], f.name), np.ndarray)]
        joined: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
        return replace(parts[0], key=key, **joined)

    def with_intervals(self, made: Intervals | None) -> Energies:
        """With the limits of ``made`` as columns."""
        if made is None:
            return self
        low, high = made.limits(self.energy)
        return replace(self, low=low, high=high)

    def columns(self) -> dict[str, Any]:
        """The table as it is written."""
        numbers = {n: getattr(self, n) for n in ("weight", "energy", "low", "high", "truth")}
        return {**self.key, **{n: c for n, c in numbers.items() if c is not None}, "model": [self.model] * len(self)}

    def write(self, path: Path) -> None:
        """Write as ``.parquet`` or ``.csv``; a previous file is replaced at once or not at all.

        Raises:
            OutputError: unknown ending, or the place is not writable.
        """
        table = self.columns()
        kinds = (
            dict.fromkeys(table, FLOAT) | dict.fromkeys(_NUMBERS, INTEGER) | dict.fromkeys(("source", "model"), TEXT)
        )
        write_table(table, kinds, path)


def iter_energies(
    model: EnergyModel,
    batches: Iterable[EventBatch],
    config: PredictConfig | None = None,
    *,
    total: int = 0,
    stopwatch: Stopwatch | None = None,
    progress: Progress | None = None,
) -> Iterator[Energies]:
    """Rows of each model batch as soon as they are known; arguments as in :func:`predict.iter_predictions`.

    Raises:
        DataError: no clouds, or not such as the model reads; clouds cannot be coarsened, and have no views.
    """
    config, done = config or PredictConfig(), 0
    for piece in pieces(batches, config.batch_size):
        arrays = cloud_arrays(model, piece, config)
        began = time.perf_counter()
        energy = model.energy(arrays)
        if stopwatch is not None:
            stopwatch.seconds.append(time.perf_counter() - began)
            stopwatch.events.append(len(piece))
        yield Energies.of_batch(piece, energy, model)
        done += len(piece)
        if progress is not None:
            progress(done, max(total, done))


def evaluate_energies(
    model: EnergyModel,
    data: Path,
    out: Path,
    *,
    split: str,
    batch_size: int,
    bootstrap: BootstrapConfig,
    csv: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write record.json, energies.parquet (and .csv) and metrics.json into ``out``; gives the content of metrics.json.

    Beside the model stand the calorimetric estimate with its published scale, and with one that was fitted to the
    validation events of the same file.

    Raises:
        DataError: no events in this split, no clouds, or not such as the model reads.
        InputFileError: ``data`` is not a store.
        OutputError: ``out`` holds something else.
    """
    from nuadapt.evaluation.evaluate import EvaluationConfig, batches_of, evaluation_record, prepared, usable_rows
    from nuadapt.record import read_json

    config = EvaluationConfig(split, PredictConfig(batch_size=batch_size), bootstrap, csv=csv)
    with EventStore(data) as store:
        rows = usable_rows(store, model, config)
        if prepared(out, evaluation_record(model, store, rows, config)) and (out / "metrics.json").is_file():
            return dict(read_json(out / "metrics.json"))

        def answers(mine: Array, **how: Any) -> Energies:
            found = iter_energies(model, batches_of(store, mine, config), config.predict, total=len(mine), **how)
            return Energies.concatenate(list(found))

        stopwatch = Stopwatch()
        table = answers(rows, stopwatch=stopwatch, progress=progress)
        val = store.rows_of("val")
        apart = len(val) > 0 and not np.isin(val, rows).any()  # what is evaluated must have no part in the fit
        fitted = answers(val) if apart and store.layout.has_truth else None
        made = Intervals.fit(fitted.energy, fitted.truth, fitted.weight) if fitted else None
        table = table.with_intervals(made)
        scored = _scored(model, store, rows, table, made, bootstrap)
        about = remarks(model.record, store.record)
    for ending in (".parquet", ".csv")[: 1 + csv]:
        table.write(out / f"energies{ending}")
    metrics = _head(model, table, stopwatch, bootstrap) | scored | about
    write_json(out / "metrics.json", metrics)
    return metrics


def _head(model: EnergyModel, table: Energies, stopwatch: Stopwatch, bootstrap: BootstrapConfig) -> dict[str, Any]:
    """What metrics.json says of every evaluation of an energy."""
    return {
        "model": model.id,
        "task": model.task.name,
        "energy": model.task.energy,
        "n_predictions": len(table),
        "n_events": int(np.isfinite(table.truth).sum()),
        "ms_per_event": stopwatch.ms_per_event,
        "bootstrap": {"resamples": bootstrap.resamples, "level": bootstrap.level, "seed": bootstrap.seed},
    }


def _scored(
    model: EnergyModel,
    store: EventStore,
    rows: Array,
    table: Energies,
    made: Intervals | None,
    bootstrap: BootstrapConfig,
) -> dict[str, Any]:
    """How the answers spread around the truth, beside the calorimeter, and what their intervals hold."""
    if not np.isfinite(table.truth).any():
        return {"note": "no event has a true energy (recorded data): answers are written, nothing can be scored"}
    there = [name for name in (*COLUMNS, *CALORIMETER) if name in store.layout.columns]
    columns = {name: store.column(name)[rows] for name in there}
    scale = _scale(store, model) if set(CALORIMETER) <= set(there) else None
    found = estimates(table.energy, table.truth, table.weight, columns, scale, bootstrap)
    coverage = made.coverage(table.energy, table.truth, columns["q3"], table.weight) if made else None
    return {**found, "intervals": coverage}


def _scale(store: EventStore, model: EnergyModel) -> float | None:
    """The calorimetric scale that fits the validation events; None without any."""
    rows = store.rows_of("val")
    columns: Sequence[str] = (*model.task.columns, *CALORIMETER, "weight")
    given = {name: store.column(name)[rows] for name in columns}
    try:
        return fitted_scale(given, model.task.target(given), given["weight"])
    except DataError:
        return None
