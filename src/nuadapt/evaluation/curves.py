"""ROC curves and score distributions, thinned so that a page needs no table of events."""

from __future__ import annotations

import numpy as np

from nuadapt.evaluation.metrics import Array, Floats, Sample

MAX_POINTS = 200
N_SCORE_BINS = 20


def roc(score: Array, is_signal: Array, weight: Floats) -> Floats:
    """Points (false positive rate, true positive rate, threshold), shape (n, 3), from (0, 0) to (1, 1).

    An event is called signal if its score is at least the threshold; equal scores move together. Shape (0, 3)
    if either side has no weight.
    """
    order = np.argsort(-score, kind="stable")
    ranked, sorted_weight, signal = score[order], weight[order], is_signal[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, len(ranked) > 0))  # last event of each equal score
    passed = np.cumsum(sorted_weight * signal)[last]
    failed = np.cumsum(sorted_weight * ~signal)[last]
    if not len(last) or passed[-1] <= 0 or failed[-1] <= 0:
        return np.empty((0, 3))
    points = np.stack([failed / failed[-1], passed / passed[-1], ranked[last]], axis=1)
    return np.concatenate([[[0.0, 0.0, np.inf]], points])


def thinned(points: Floats, limit: int = MAX_POINTS) -> Floats:
    """At most ``limit`` of the points, evenly along the curve, with both ends."""
    if len(points) <= limit:
        return points
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(points[:, :2], axis=0)).sum(axis=1))])
    at = np.searchsorted(length, np.linspace(0, length[-1], limit - 1))
    return np.asarray(points[np.unique([0, *at, len(points) - 1])])


def curves_of(sample: Sample) -> dict[str, Array]:
    """Arrays of curves.npz: per class ``roc_<class>`` (n, 3), ``scores_<class>`` (C, bins): weight by true class."""
    edges = np.linspace(0, 1, N_SCORE_BINS + 1)
    found: dict[str, Array] = {"score_edges": edges}
    for index, name in enumerate(sample.classes):
        score = sample.probability[:, index]
        found[f"roc_{name}"] = thinned(roc(score, sample.truth == index, sample.weight))
        by_truth = [
            np.histogram(np.clip(score[sample.truth == t], 0, 1), edges, weights=sample.weight[sample.truth == t])[0]
            for t in range(len(sample.classes))
        ]
        found[f"scores_{name}"] = np.stack(by_truth)
    return found
