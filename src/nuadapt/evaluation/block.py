"""One block of metrics.json: all metrics with their intervals for a group of events."""

from __future__ import annotations

from typing import Any

import numpy as np

from nuadapt.evaluation.bootstrap import BootstrapConfig, distribution, interval
from nuadapt.evaluation.metrics import (
    N_CONFIDENCE_BINS,
    PER_CLASS,
    SCALARS,
    Array,
    Floats,
    Sample,
    confidence_bin,
    effective_events,
    measure,
)

#: Below this, resampled events repeat so much that the interval is far too short; it is null then.
FEWEST_EVENTS = 10


def metrics_block(sample: Sample, config: BootstrapConfig, name: str) -> dict[str, Any]:
    """All metrics of ``sample`` as plain JSON values; null where undefined, with the reason in ``undefined``."""
    counts = np.zeros((len(sample.classes),) * 2, dtype=np.int64)
    np.add.at(counts, (sample.truth, sample.label), 1)
    block: dict[str, Any] = {
        "n_events": len(sample),
        "sum_of_weights": float(sample.weight.sum()),
        "effective_events": effective_events(sample.weight),
    }
    has_weight = len(sample) > 0 and sample.weight.sum() > 0
    values = {k: v[0] for k, v in measure(sample, sample.weight[None]).items()} if has_weight else {}
    spread = distribution(sample, config, name) if has_weight and len(sample) >= FEWEST_EVENTS else {}
    limits = {k: interval(v, config.level) for k, v in spread.items()}
    block |= {k: plain(values.get(k)) for k in SCALARS}
    block["confusion"] = plain(values.get("confusion"))
    block["confusion_counts"] = counts.tolist()
    block["per_class"] = {c: _class_block(sample, i, values, limits) for i, c in enumerate(sample.classes)}
    block["intervals"] = {k: plain(limits.get(k)) for k in (*SCALARS, "confusion")}
    block["undefined"] = _reasons(sample)
    return block


def reliability(sample: Sample, config: BootstrapConfig) -> list[dict[str, Any]]:
    """The bins of the reliability diagram: edges, events, weight, mean confidence, accuracy with its interval."""
    values = {k: v[0] for k, v in measure(sample, sample.weight[None]).items()}
    accuracy_limits = interval(distribution(sample, config, "reliability")["bin_accuracy"], config.level)
    edges = np.linspace(0, 1, N_CONFIDENCE_BINS + 1)
    counts = np.bincount(confidence_bin(sample.confidence), minlength=N_CONFIDENCE_BINS)
    return [
        {
            "low": float(edges[i]),
            "high": float(edges[i + 1]),
            "n_events": int(counts[i]),
            "weight": float(values["bin_weight"][i]),
            "mean_confidence": plain(values["bin_confidence"][i]),
            "accuracy": plain(values["bin_accuracy"][i]),
            "interval": plain(accuracy_limits[i]),
        }
        for i in range(N_CONFIDENCE_BINS)
    ]


def _class_block(sample: Sample, index: int, values: dict[str, Floats], limits: dict[str, Floats]) -> dict[str, Any]:
    mine = sample.truth == index
    return {
        "n_events": int(mine.sum()),
        "sum_of_weights": float(sample.weight[mine].sum()),
        "n_labelled": int((sample.label == index).sum()),
        **{k: plain(values[k][index]) if values else None for k in PER_CLASS},
        "intervals": {k: plain(limits[k][index]) if limits else None for k in PER_CLASS},
    }


def _reasons(sample: Sample) -> list[str]:
    """Why some values of the block are null; empty if all are defined."""
    if not len(sample):
        return ["no events"]
    if not sample.weight.sum() > 0:
        return ["the weights add up to zero"]
    reasons = []
    for index, name in enumerate(sample.classes):
        weight = sample.weight[sample.truth == index].sum()
        if not weight > 0:
            reasons.append(f"no event of true class {name}: its metrics and all means over classes are null")
        elif weight == sample.weight.sum():
            reasons.append(f"only events of true class {name}: its AUC is null")
    if len(sample) < FEWEST_EVENTS:
        reasons.append(f"fewer than {FEWEST_EVENTS} events: all intervals are null")
    return reasons


def plain(value: Array | float | None) -> Any:
    """Numbers and nested lists for JSON; None for what is not finite, because JSON has no NaN."""
    if value is None:
        return None
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        return float(array) if np.isfinite(array) else None
    return [plain(item) for item in array]
