"""Weighted metrics of a classifier, for many weightings of the same events at once.

Every quantity is a function of sums of event weights. :func:`measure` therefore takes weights of shape (B, N),
one row per weighting, and answers for all rows together: row 0 with the true weights gives the value, rows of
resampled weights give its bootstrap distribution. Undefined quantities are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError
from nuadapt.evaluation.predictions import Predictions

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
#: Equal bins of confidence for the calibration error, as in Guo et al., arXiv:1706.04599.
N_CONFIDENCE_BINS = 15
#: Probabilities below this count as this in the log-likelihood, which would else be infinite.
SMALLEST_PROBABILITY = 1e-12

#: One number per weighting.
SCALARS = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "auc_ovr_macro",
    "ece",
    "nll",
    "brier",
)
#: One number per weighting and class.
PER_CLASS = ("precision", "recall", "f1", "auc_ovr", "accuracy_ovr")

DEFINITIONS = {
    "accuracy": "share of event weight with the right label",
    "precision": "right share of the weight with this label; 0 if the class has events and is never answered",
    "recall": "share of the weight of this true class with the right label",
    "f1": "harmonic mean of precision and recall",
    "accuracy_ovr": "share of the weight rightly put in or out of this class",
    "macro_*": "plain mean over the classes; null if a class has no events",
    "auc_ovr": "area under the ROC curve of the class probability, this class against the rest; ties count half "
    "(Mann and Whitney 1947)",
    "ece": f"expected calibration error: mean over {N_CONFIDENCE_BINS} equal bins of the probability of the label of "
    "|accuracy - mean probability|, by weight (Guo et al., arXiv:1706.04599)",
    "nll": f"mean of -ln(probability of the true class), probabilities not below {SMALLEST_PROBABILITY:g}",
    "brier": "mean over events of the summed squared difference between probabilities and truth, 0 to 2 (Brier 1950)",
    "confusion": "sums of event weight; rows are the true class, columns the label",
    "intervals": "central percentiles over events resampled with replacement (Efron 1979), within each group; "
    "a share of exactly 0 or 1 gets no width, and the interval of ece lies high because resampling adds scatter",
    "effective_events": "(sum w)^2 / sum w^2: unweighted events of the same statistical power (Kish 1965)",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Events with known class: ``probability`` (N, C), ``truth`` and ``label`` (N,) class indices, ``weight`` (N,)."""

    classes: tuple[str, ...]
    probability: Floats
    truth: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    weight: Floats

    @classmethod
    def of(cls, predictions: Predictions) -> Sample:
        """The events of ``predictions`` that have a true class.

        Raises:
            DataError: a negative weight, with which shares and curves lose their meaning.
        """
        known = predictions.select(predictions.has_label)
        if (known.weight < 0).any():
            raise DataError(
                f"{int((known.weight < 0).sum())} events have a negative weight",
                expected="weights >= 0",
                next_step="Leave these events out or unweight the sample",
            )
        return cls(known.classes, known.probability, known.truth, known.label, known.weight)

    def __len__(self) -> int:
        return len(self.truth)

    def select(self, index: Array) -> Sample:
        """The events ``index`` (integers or a boolean mask)."""
        return Sample(self.classes, self.probability[index], self.truth[index], self.label[index], self.weight[index])

    @property
    def confidence(self) -> Floats:
        """Probability of the label, shape (N,)."""
        return np.take_along_axis(self.probability, self.label[:, None], axis=1)[:, 0]


def effective_events(weight: Floats) -> float:
    """(sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965); 0 without weight."""
    squared = float((weight**2).sum())
    return float(weight.sum() ** 2) / squared if squared > 0 else 0.0


def measure(sample: Sample, weights: Floats) -> dict[str, Floats]:
    """All metrics for each row of ``weights`` (B, N).

    Gives SCALARS of shape (B,), PER_CLASS of shape (B, C), ``confusion`` (B, C, C), ``bin_weight``,
    ``bin_confidence`` and ``bin_accuracy`` (B, 15).
    """
    confusion = _confusion(sample, weights)
    found = _counting(confusion)
    found["auc_ovr"] = np.stack([auc(p, sample.truth == c, weights) for c, p in enumerate(sample.probability.T)], 1)
    found["auc_ovr_macro"] = found["auc_ovr"].mean(axis=1)
    found |= _calibration(sample, weights)
    total = weights.sum(axis=1)
    true_probability = np.take_along_axis(sample.probability, sample.truth[:, None], axis=1)[:, 0]
    found["nll"] = ratio(weights @ -np.log(np.maximum(true_probability, SMALLEST_PROBABILITY)), total)
    distance = sample.probability - np.eye(len(sample.classes))[sample.truth]  # (N, C)
    found["brier"] = ratio(weights @ (distance**2).sum(axis=1), total)
    found["confusion"] = confusion
    return found


def ratio(above: Array, below: Array) -> Floats:
    """``above / below``, NaN where ``below`` is zero."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _confusion(sample: Sample, weights: Floats) -> Floats:
    """Weight by true class and label, shape (B, C, C)."""
    n_classes = len(sample.classes)
    cell = np.eye(n_classes * n_classes)[sample.truth * n_classes + sample.label]  # (N, C * C)
    return np.asarray(weights @ cell).reshape(len(weights), n_classes, n_classes)


def _counting(confusion: Floats) -> dict[str, Floats]:
    """Metrics of the labels alone, from the confusion matrices (B, C, C)."""
    right = np.diagonal(confusion, axis1=1, axis2=2)  # (B, C)
    of_truth, of_label = confusion.sum(axis=2), confusion.sum(axis=1)  # (B, C)
    total = of_truth.sum(axis=1)  # (B,)
    recall = ratio(right, of_truth)
    precision = np.where(of_label > 0, ratio(right, of_label), 0.0)
    precision = np.where(of_truth > 0, precision, np.nan)
    f1 = np.where(of_truth > 0, ratio(2 * right, of_truth + of_label), np.nan)
    return {
        "accuracy": ratio(right.sum(axis=1), total),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "accuracy_ovr": ratio(total[:, None] - of_truth - of_label + 2 * right, total[:, None]),
        "macro_precision": precision.mean(axis=1),
        "macro_recall": recall.mean(axis=1),
        "macro_f1": f1.mean(axis=1),
    }


def auc(score: Array, is_signal: Array, weights: Floats) -> Floats:
    """Probability that a signal event scores above a background event, ties counted half; shape (B,).

    ``score`` and ``is_signal`` have shape (N,), ``weights`` (B, N). NaN where either side has no weight. One
    sort serves all weightings (weighted Mann-Whitney U).
    """
    order = np.argsort(score, kind="stable")
    signal, ranked = is_signal[order], score[order]
    sorted_weights = weights[:, order]  # (B, N)
    background = np.zeros((len(weights), len(order) + 1))
    np.cumsum(sorted_weights * ~signal, axis=1, out=background[:, 1:])  # background below position i
    first = np.searchsorted(ranked, ranked[signal], side="left")  # (signal events,)
    last = np.searchsorted(ranked, ranked[signal], side="right")
    above = sorted_weights[:, signal]  # (B, signal events)
    wins = np.einsum("bs,bs->b", above, background[:, first] + background[:, last]) / 2
    # Rounding of long sums can pass 1 by an ulp.
    return np.minimum(ratio(wins, above.sum(axis=1) * background[:, -1]), 1.0)


def confidence_bin(confidence: Array) -> npt.NDArray[np.int64]:
    """Bin of each confidence among N_CONFIDENCE_BINS equal ones over 0..1, upper edge inclusive (arXiv:1706.04599)."""
    upper = np.ceil(confidence * N_CONFIDENCE_BINS).astype(np.int64)
    return np.asarray(np.clip(upper - 1, 0, N_CONFIDENCE_BINS - 1))


def _calibration(sample: Sample, weights: Floats) -> dict[str, Floats]:
    """Calibration error (B,) and the bins behind it (B, 15)."""
    confidence = sample.confidence
    inside = np.eye(N_CONFIDENCE_BINS)[confidence_bin(confidence)]  # (N, 15)
    weight = weights @ inside
    summed_confidence = weights @ (inside * confidence[:, None])
    summed_right = weights @ (inside * (sample.label == sample.truth)[:, None])
    gap = np.abs(summed_right - summed_confidence).sum(axis=1)
    return {
        "ece": ratio(gap, weights.sum(axis=1)),
        "bin_weight": weight,
        "bin_confidence": ratio(summed_confidence, weight),
        "bin_accuracy": ratio(summed_right, weight),
    }
