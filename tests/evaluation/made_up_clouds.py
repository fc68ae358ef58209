"""Made-up answers of models of clouds, and evaluation folders of them as ``nuadapt evaluate`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.curves import curves_of
from nuadapt.evaluation.energies import Energies
from nuadapt.evaluation.evaluate import EvaluationConfig, all_metrics
from nuadapt.evaluation.metrics import Sample
from nuadapt.evaluation.npz import write_npz
from nuadapt.evaluation.physics.energy import Intervals
from nuadapt.evaluation.physics.estimates import estimates
from nuadapt.evaluation.physics.stage import selections, signal_curves
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.reading import remarks
from nuadapt.events.truth import PION_CLASSES
from nuadapt.record import write_json

FEW = BootstrapConfig(resamples=10)
#: The record of a store of the MINERvA-like simulation.
STAND_IN = {"stage": "simulate minerva", "seed": 1}


def pions(n: int, seed: int = 1, skill: float = 1.0, model: str = "toy-1") -> tuple[Predictions, dict[str, Any]]:
    """Answers of a model that knows the class the better the larger ``skill``, and the columns that cuts look at."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, n)
    score = skill * rng.normal(1, 0.3, n)[:, None] * np.eye(5)[truth] + rng.normal(0, 1, (n, 5))
    probability = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    zeros, charged = np.zeros(n, dtype=np.int64), truth < 2
    made = Predictions(
        classes=PION_CLASSES,
        representation="cloud",
        model=model,
        source=np.array(["events.h5"] * n, dtype=object),
        run=zeros + seed,
        subrun=zeros,
        event=np.arange(n),
        weight=rng.uniform(0.5, 1.5, n),
        probability=probability,
        label=probability.argmax(axis=1),
        truth=truth,
        nu_energy=rng.uniform(2, 9, n),
        mode=zeros + 1,
        current=np.where(truth == 4, 2, 1),
        entry=np.arange(n),
    )
    mass = np.where(rng.random(n) < np.where(truth == 2, 0.6, 0.15), rng.normal(0.135, 0.03, n), np.nan)
    columns = {
        "n_muons": (rng.random(n) < np.where(truth == 4, 0.1, 0.8)).astype(int),
        "n_charged_prongs": rng.integers(0, 2, n) + charged,
        "n_michel_tags": (rng.random(n) < np.where(charged, 0.6, 0.1)).astype(int),
        "diphoton_mass": np.where(rng.random(n) < 0.2, 0.03, mass),
        "W": rng.uniform(0.95, 3.5, n),
        "q3": rng.uniform(0, 4, n),
        "pion_energy": np.where(truth < 3, rng.exponential(0.4, n) + 0.14, np.nan),
        "pion_angle": np.where(truth < 3, rng.uniform(0, 3, n), np.nan),
    }
    return made, columns


def energies(n: int, seed: int = 1, spread: float = 0.2, model: str = "toy-1") -> tuple[Energies, dict[str, Any]]:
    """Answers of a model within a share ``spread`` of the truth, and what the bins and the calorimeter look at."""
    rng = np.random.default_rng(seed)
    truth = rng.exponential(0.8, n) + 0.1
    key = {"source": np.array(["events.h5"] * n, dtype=object)} | {"run": np.full(n, seed), "subrun": np.zeros(n, int)}
    key |= {"event": np.arange(n), "entry": np.arange(n)}
    energy = truth * np.exp(spread * rng.normal(size=n))
    columns = {"q3": truth + rng.exponential(0.4, n), "blob_recoil_energy": truth / 1.3 * rng.normal(1, 0.3, n)}
    columns |= {name: rng.integers(0, 3, n) for name in ("n_protons", "n_charged_pions", "n_neutral_pions")}
    return Energies(model, key, rng.uniform(0.5, 1.5, n), energy, truth), columns


def training(preset: str, seed: int, **config: Any) -> dict[str, Any]:
    """The record of a training."""
    given = {"preset": preset, "seed": seed, "workers": 1, "train_events": 0, "pretrained": {"checkpoint": ""}} | config
    return {
        "stage": "train",
        "status": "finished",
        "preset": preset,
        "config": given,
        "task": {"name": "pion"},
        "data": {"fingerprint": "f" * 64, "events": {"train": {"a": 60, "b": 40}}},
        "flops_per_event": {"forward": 100.0, "backward": 200.0},
    }


def record(of: dict[str, Any], *, store: str = "events.h5", made: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record of an evaluation on a store whose own record is ``made``."""
    return {
        "stage": "evaluate",
        "config": {"split": "test"},
        "model": {"record": of, "input": {"types": ["muon"]}},
        "data": {"file": store, "record": STAND_IN if made is None else made, "key_fingerprint": store},
    }


def write_pions(folder: Path, about: dict[str, Any], table: Predictions, columns: dict[str, Any]) -> Path:
    """An evaluation of a classifier."""
    write_json(folder / "record.json", about)
    write_json(folder / "physics.json", selections(table, columns))
    write_npz(folder / "curves.npz", curves_of(Sample.of(table)) | signal_curves(table))
    found = all_metrics(table, EvaluationConfig(bootstrap=FEW))
    write_json(folder / "metrics.json", found | remarks(about["model"]["record"], about["data"]["record"]))
    return folder


def write_energies(folder: Path, about: dict[str, Any], table: Energies, columns: dict[str, Any]) -> Path:
    """An evaluation of a regression; its intervals are fitted to the first half."""
    half = np.arange(len(table)) < len(table) // 2
    made = Intervals.fit(table.energy[half], table.truth[half], table.weight[half])
    assert made is not None
    write_json(folder / "record.json", about)
    found = estimates(table.energy, table.truth, table.weight, columns, 1.3, FEW)
    found |= {"intervals": made.coverage(table.energy, table.truth, columns["q3"], table.weight)}
    found |= {"model": table.model, "task": "available_energy", "energy": "available_energy_minerva_ml"}
    found |= {"n_predictions": len(table), "n_events": len(table)}
    write_json(folder / "metrics.json", found | remarks(about["model"]["record"], about["data"]["record"]))
    table.with_intervals(made).write(folder / "energies.parquet")
    return folder
