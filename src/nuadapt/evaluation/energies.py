"""A model that answers with an energy, on a store: a table of answers, and how they spread around the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, require
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.physics.cuts import CALORIMETRIC_SCALE, calorimetric, fitted_scale
from nuadapt.evaluation.physics.energy import MULTIPLICITY_EDGES, Intervals, histograms, in_bins, ratios, spread
from nuadapt.evaluation.protocol import Progress
from nuadapt.events.store import EventStore
from nuadapt.models.run import LoadedModel
from nuadapt.record import write_json

Array = npt.NDArray[Any]
_KEY = ("run", "subrun", "event", "entry")
_CALORIMETER = ("blob_recoil_energy",)
_HADRONS = ("n_protons", "n_charged_pions", "n_neutral_pions")


@dataclass(frozen=True, slots=True)
class Energies:
    """Answers of one model for N events: key columns, ``weight``, ``energy`` and ``truth`` (N,) in GeV, NaN unknown."""

    model: str
    key: dict[str, Array]
    weight: npt.NDArray[np.float64]
    energy: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write as ``.parquet``; a previous file is replaced at once or not at all."""
        pa = require("pyarrow", "training")
        table = {**self.key, "weight": self.weight, "energy": self.energy, "truth": self.truth}
        columns = {name: pa.array(column, from_pandas=True) for name, column in table.items()}
        columns["model"] = pa.array([self.model] * len(self.energy))
        beside = path.with_name(f".{path.name}")
        require("pyarrow.parquet", "training").write_table(pa.table(columns), beside, compression="zstd")
        beside.replace(path)


def answers(
    model: LoadedModel, store: EventStore, rows: Array, batch_size: int, progress: Progress | None = None
) -> tuple[Energies, float]:
    """Energies of the events ``rows`` of a store, and the time of an event in ms.

    Raises:
        DataError: no clouds, or not such as the model reads.
    """
    clouds: Any = model.input
    found, seconds = [], 0.0
    for start in range(0, len(rows), batch_size):
        batch = store.read(rows[start : start + batch_size])
        began = time.perf_counter()
        found.append(model.energy(clouds.arrays(batch)))
        seconds += time.perf_counter() - began
        if progress is not None:
            progress(min(start + batch_size, len(rows)), len(rows))
    known = [name for name in _KEY if name in store.layout.columns]
    truth = np.full(len(rows), np.nan)
    if store.layout.has_truth:
        truth = model.task.target({c: store.column(c)[rows] for c in model.task.columns}).astype(np.float64)
    made = Energies(
        model.id,
        {name: store.column(name)[rows] for name in known},
        store.column("weight")[rows].astype(np.float64),
        np.concatenate(found) if found else np.zeros(0),
        truth,
    )
    return made, 1e3 * seconds / max(len(rows), 1)


def evaluate_energies(
    model: LoadedModel,
    data: Path,
    out: Path,
    *,
    split: str,
    batch_size: int,
    bootstrap: BootstrapConfig,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write record.json, energies.parquet and metrics.json into ``out``; gives the content of metrics.json.

    Beside the model stand the calorimetric estimate with its published scale, and with one that was fitted to the
    validation events of the same file.

    Raises:
        DataError: no events in this split, no clouds, or not such as the model reads.
        InputFileError: ``data`` is not a store.
        OutputError: ``out`` holds something else.
    """
    from nuadapt.evaluation.evaluate import EvaluationConfig, evaluation_record, prepared, usable_rows
    from nuadapt.evaluation.predict import PredictConfig
    from nuadapt.record import read_json

    config = EvaluationConfig(split, PredictConfig(batch_size=batch_size), bootstrap)
    with EventStore(data) as store:
        rows = usable_rows(store, model, config)
        if prepared(out, evaluation_record(model, store, rows, config)) and (out / "metrics.json").is_file():
            return dict(read_json(out / "metrics.json"))
        table, ms_per_event = answers(model, store, rows, batch_size, progress)
        table.write(out / "energies.parquet")
        metrics: dict[str, Any] = {
            "model": model.id,
            "task": model.task.name,
            "energy": model.task.energy,
            "n_predictions": len(table.energy),
            "n_events": int(np.isfinite(table.truth).sum()),
            "ms_per_event": ms_per_event,
            "bootstrap": {"resamples": bootstrap.resamples, "level": bootstrap.level, "seed": bootstrap.seed},
        }
        if metrics["n_events"]:
            metrics["estimates"] = _estimates(table, store, rows, model, bootstrap)
            metrics["intervals"] = _intervals(table, store, rows, model, batch_size)
        else:
            metrics["note"] = "no event has a true energy (recorded data): answers are written, nothing can be scored"
    write_json(out / "metrics.json", metrics)
    return metrics


def _estimates(
    table: Energies, store: EventStore, rows: Array, model: LoadedModel, bootstrap: BootstrapConfig
) -> dict[str, Any]:
    """Spread of every estimate over truth, in all and in bins of true q3."""
    q3 = store.column("q3")[rows]
    hadrons = np.sum([np.maximum(store.column(name)[rows], 0) for name in _HADRONS], axis=0)
    estimates: dict[str, tuple[Array, float | None]] = {"model": (table.energy, None)}
    if all(name in store.layout.columns for name in _CALORIMETER):
        raw = {name: store.column(name)[rows] for name in _CALORIMETER}
        estimates["calorimetric"] = (calorimetric(raw), CALORIMETRIC_SCALE)
        scale = _scale(store, model)
        if scale is not None:
            estimates["calorimetric_fitted"] = (calorimetric(raw, scale), scale)
    found = {}
    for name, (energy, scale) in estimates.items():
        ratio, counts = ratios(energy, table.truth)
        found[name] = {
            **({"scale": scale} if scale is not None else {}),
            "all": spread(ratio, table.weight[counts], bootstrap).as_dict(),
            "by_q3": in_bins(energy, table.truth, q3, table.weight, bootstrap),
            "by_multiplicity": in_bins(energy, table.truth, hadrons, table.weight, bootstrap, MULTIPLICITY_EDGES),
            "histograms": histograms(energy, table.truth, q3, table.weight),
        }
    return found


def _intervals(
    table: Energies, store: EventStore, rows: Array, model: LoadedModel, batch_size: int
) -> dict[str, Any] | None:
    """Conformal intervals fitted to the validation events, and how many of these events they hold; None without any."""
    val = store.rows_of("val")
    if not len(val) or np.isin(val, rows).any():  # what is evaluated must have no part in the fit
        return None
    fitted, _ = answers(model, store, val, batch_size)
    made = Intervals.fit(fitted.energy, fitted.truth)
    return made.coverage(table.energy, table.truth, store.column("q3")[rows], table.weight) if made else None


def _scale(store: EventStore, model: LoadedModel) -> float | None:
    """The calorimetric scale that fits the validation events; None without any."""
    rows = store.rows_of("val")
    columns: Sequence[str] = (*model.task.columns, *_CALORIMETER, "weight")
    given = {name: store.column(name)[rows] for name in columns}
    try:
        return fitted_scale(given, model.task.target(given), given["weight"])
    except DataError:
        return None
