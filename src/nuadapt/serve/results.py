"""How good runs are: what their evaluation folders say, and several side by side on the events that all answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.evaluation.block import metrics_block
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.metrics import SCALARS, Sample
from nuadapt.evaluation.npz import read_npz
from nuadapt.evaluation.physics.energy import ratios, spread
from nuadapt.events.truth import NO_LABEL
from nuadapt.serve.answers import Answers, plain
from nuadapt.serve.places import Run
from nuadapt.serve.problems import NotThere, Unusable

Array = npt.NDArray[Any]
#: Fewer resamples than an evaluation's 500, because somebody waits: the limits are good to some per cent of the width.
_BOOTSTRAP = BootstrapConfig(resamples=100)


def run_page(run: Run) -> dict[str, Any]:
    """Metrics with intervals, confusion, curves and bins of an evaluation.

    Raises:
        NotThere: the run has no evaluation.
        InputFileError: its curves are damaged.
    """
    if not run.metrics or run.folder is None:
        raise NotThere(f"the run '{run.name}' has no evaluation", next_step="Make one with 'nuadapt evaluate'")
    head: dict[str, Any] = {
        "name": run.name,
        "task": run.task.name,
        "kind": run.kind,
        "classes": [{"name": n, "title": t} for n, t in run.titles.items()],
        "n_events": run.metrics.get("n_events", 0),
        "split": run.record.get("config", {}).get("split"),
        "model": run.metrics.get("model"),
        "resolution": run.resolution,
        "temperature": run.temperature,
        "note": run.metrics.get("note"),
        "confusion": None,
        "roc": {},
        "reliability": None,
        "conformal": run.metrics.get("conformal"),
        "definitions": run.metrics.get("definitions", {}),
    }
    return head | (_energy_page(run.metrics) if run.kind == "energy" else _class_page(run))


def _class_page(run: Run) -> dict[str, Any]:
    m = run.metrics
    curves = read_npz(run.folder / "curves.npz") if run.folder is not None else {}
    per_class = m.get("per_class", {})
    return {
        "metrics": {name: _with_limits(m, name) for name in SCALARS if name in m},
        "per_class": {
            c: {name: _with_limits(block, name) for name in block.get("intervals", {})}
            | {"n_events": block["n_events"]}
            for c, block in per_class.items()
        },
        "confusion": {"classes": list(m["classes"]), "counts": m["confusion_counts"]} if m.get("confusion") else None,
        "roc": {
            name: _roc(curves[f"roc_{name}"], per_class.get(name, {}).get("auc_ovr"))
            for name in m["classes"]
            if f"roc_{name}" in curves
        },
        "reliability": _reliability(m.get("reliability") or []),
        "binned": [b for b in (_binned(m, "by_energy"), _binned(m, "by_mode")) if b is not None],
    }


def _with_limits(block: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A value with its interval."""
    low, high = (block.get("intervals") or {}).get(name) or (None, None)
    return {"value": block.get(name), "low": low, "high": high}


def _roc(points: Array, auc: float | None) -> dict[str, Any]:
    return {"fpr": points[:, 0].round(6).tolist(), "tpr": points[:, 1].round(6).tolist(), "auc": auc}


def _reliability(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Bins of confidence that hold events."""
    there = [b for b in bins if b["n_events"]]
    if not there:
        return None
    limits = [b.get("interval") or (None, None) for b in there]
    return {
        "confidence": [b["mean_confidence"] for b in there],
        "accuracy": [b["accuracy"] for b in there],
        "low": [low for low, _ in limits],
        "high": [high for _, high in limits],
        "count": [b["n_events"] for b in there],
        "edges": [[b["low"], b["high"]] for b in there],
    }


def _binned(metrics: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Accuracy in bins of energy, or by mode; events of unknown energy are left out."""
    blocks = [b for b in metrics.get(name) or [] if name != "by_energy" or b.get("low") is not None]
    if not blocks:
        return None
    cells = [_with_limits(b, "accuracy") for b in blocks]
    found = {
        "name": "accuracy",
        "value": [c["value"] for c in cells],
        "low": [c["low"] for c in cells],
        "high": [c["high"] for c in cells],
        "count": [b["n_events"] for b in blocks],
    }
    if name == "by_mode":
        return found | {"by": "mode", "unit": "", "labels": [b["mode"].lower() for b in blocks], "edges": []}
    # Bins without events are not in the blocks, so each keeps both of its edges; the last one has no upper edge.
    return found | {
        "by": "energy",
        "unit": "GeV",
        "labels": [b["bin"] for b in blocks],
        "edges": [[b["low"], b["high"]] for b in blocks],
    }


def _energy_page(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Spread of the ratio of estimate to truth, of the model and of the estimates beside it."""
    estimates = metrics.get("estimates") or {}
    model = estimates.get("model", {}).get("all", {})
    low, high = model.get("iqr_interval") or (None, None)
    found: dict[str, dict[str, Any]] = {}
    if model:
        found["resolution"] = {"value": model["iqr"], "low": low, "high": high}
        found["median_ratio"] = {"value": model["median"], "low": None, "high": None}
        found["most_probable_ratio"] = {"value": model["most_probable"], "low": None, "high": None}
    if intervals := metrics.get("intervals"):
        low, high = intervals.get("interval") or (None, None)
        found["coverage"] = {"value": intervals.get("coverage"), "low": low, "high": high}
    binned = [_spread_in_bins(name, by, unit, e[key]) for name, e in estimates.items() for by, unit, key in _BINS]
    return {"metrics": found, "binned": binned, "per_class": {}}


_BINS = (("q3", "GeV", "by_q3"), ("protons and pions", "", "by_multiplicity"))


def _spread_in_bins(estimate: str, by: str, unit: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    limits = [row.get("iqr_interval") or (None, None) for row in rows]
    return {
        "name": "resolution",
        "estimate": estimate,
        "by": by,
        "unit": unit,
        "labels": [f"{row['low']:g}-{row['high']:g}" for row in rows],
        "edges": [[row["low"], row["high"]] for row in rows],
        "value": [row["iqr"] for row in rows],
        "median": [row["median"] for row in rows],
        "low": [low for low, _ in limits],
        "high": [high for _, high in limits],
        "count": [row["n_events"] for row in rows],
    }


def compare(answers: Sequence[Answers], weight: Array) -> dict[str, Any]:
    """Runs on the events that all of them answered about; ``weight`` (N,) of the store's events.

    ``agreement``: share of these events in which two runs give the same class; null between runs of other classes, and
    for energies.

    Raises:
        Unusable: fewer than two runs, or runs of which some answer with classes and some with energies.
    """
    if len(answers) < 2 or len({a.run.name for a in answers}) < len(answers):
        raise Unusable("a comparison needs two different runs or more", where="runs", expected="runs=NAME,NAME")
    if len({a.run.kind for a in answers}) > 1:
        raise Unusable("classes and energies cannot be compared", expected="runs of one kind")
    common = np.flatnonzero(np.logical_and.reduce([a.known for a in answers]))
    columns = [_measured(a, common, np.asarray(weight, dtype=np.float64)) for a in answers]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [{"name": n, "values": {a.run.name: c.get(n) for a, c in zip(answers, columns, strict=True)}} for n in names]
    agreement = [[_agreement(one, other, common) for other in answers] for one in answers]
    runs = [a.run.name for a in answers]
    return {"runs": runs, "n_common": len(common), "rows": rows, "agreement": agreement}


def _measured(answers: Answers, common: Array, weight: Array) -> dict[str, dict[str, Any]]:
    """Metrics of one run on the ``common`` events that have truth; of all its events as its evaluation says them."""
    if answers.run.kind == "energy":
        ratio, counts = ratios(answers.energy[common], answers.truth_energy[common])
        found = spread(ratio, weight[common][counts], _BOOTSTRAP).as_dict()
        low, high = found["iqr_interval"]
        return {
            "resolution": {"value": found["iqr"], "low": low, "high": high},
            "median_ratio": {"value": found["median"], "low": None, "high": None},
        }
    if len(common) == int(answers.known.sum()) == answers.run.metrics.get("n_predictions") and not answers.n_elsewhere:
        return {name: _with_limits(answers.run.metrics, name) for name in SCALARS}
    rows = common[answers.truth[common] != NO_LABEL]
    probability = answers.probability[rows].astype(np.float64)
    sample = Sample(
        answers.run.task.classes,
        probability / probability.sum(axis=1, keepdims=True),
        answers.truth[rows].astype(np.int64),
        answers.label[rows].astype(np.int64),
        weight[rows],
    )
    block = metrics_block(sample, _BOOTSTRAP, "all")
    return {name: _with_limits(block, name) for name in SCALARS}


def _agreement(one: Answers, other: Answers, common: Array) -> float | None:
    if one.run.kind == "energy" or one.run.task.classes != other.run.task.classes or not len(common):
        return None
    return plain((one.label[common] == other.label[common]).mean())
