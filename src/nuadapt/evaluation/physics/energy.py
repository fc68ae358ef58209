"""How well an available energy is estimated: the ratio of estimate to truth, in bins of three-momentum transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.intervals import wilson
from nuadapt.evaluation.metrics import effective_events

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

#: Constants of arXiv:2604.12364: edges of q3 in GeV; estimates below LEAST_ESTIMATE GeV count as 0; events with less
#: than LEAST_TRUTH GeV are left out of ratios; the most probable value is that of a histogram of so many bins.
Q3_EDGES = (0.0, 0.6, 1.2, 1.8, 2.4, 3.0, 100.0)
LEAST_ESTIMATE, LEAST_TRUTH = 0.01, 0.05
RATIO_BINS, RATIO_RANGE = 50, (0.0, 2.0)
_FEWEST = 20
#: Four bins of q3 (GeV) whose whole distributions are shown.
HISTOGRAM_EDGES = (0.0, 0.6, 1.2, 2.4, 100.0)
#: Bins of the number of protons and pions leaving the nucleus.
MULTIPLICITY_EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 100.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """The ratio of estimate to truth in one bin. Intervals are of a bootstrap; NaN for fewer than 20 events."""

    n_events: int
    median: float
    iqr: float  # interquartile range, the resolution
    iqr_interval: tuple[float, float]
    most_probable: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def plain(value: float) -> float | None:
            return float(value) if np.isfinite(value) else None

        return {
            "n_events": self.n_events,
            "median": plain(self.median),
            "iqr": plain(self.iqr),
            "iqr_interval": [plain(v) for v in self.iqr_interval],
            "most_probable": plain(self.most_probable),
        }


def ratios(estimate: Array, truth: Array) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Estimate over truth (n,) of the events that count, and which those are (N,)."""
    estimate, truth = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    counts = np.isfinite(truth) & (truth >= LEAST_TRUTH) & np.isfinite(estimate)
    return np.where(estimate < LEAST_ESTIMATE, 0.0, estimate)[counts] / truth[counts], counts


def spread(ratio: FloatArray, weight: Array, config: BootstrapConfig) -> Spread:
    """Median, interquartile range with interval, and most probable value of ratios (n,) with ``weight`` (n,)."""
    n, weight = len(ratio), np.asarray(weight, dtype=np.float64)
    nan = float("nan")
    if n == 0 or not weight.sum() > 0:
        return Spread(n, nan, nan, (nan, nan), nan)
    low, median, high = weighted_quantiles(ratio, weight, (0.25, 0.5, 0.75))
    limits = (nan, nan)
    if n >= _FEWEST:
        rng, drawn = np.random.default_rng([config.seed, n]), []
        for _ in range(config.resamples):
            rows = rng.integers(0, n, n)
            first, _, last = weighted_quantiles(ratio[rows], weight[rows], (0.25, 0.5, 0.75))
            drawn.append(last - first)
        bounds = np.percentile(drawn, [50 * (1 - config.level), 50 * (1 + config.level)])
        limits = (float(bounds[0]), float(bounds[1]))
    return Spread(n, median, high - low, limits, most_probable(ratio, weight))


def weighted_quantiles(values: FloatArray, weight: FloatArray, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Values below which ``shares`` of the weight lie; with equal weights those of the middle of each event's step."""
    order = np.argsort(values, kind="stable")
    w = weight[order]
    middle = (np.cumsum(w) - 0.5 * w) / w.sum()
    return tuple(float(v) for v in np.interp(shares, middle, values[order]))


def most_probable(ratio: FloatArray, weight: Array) -> float:
    """Place of the histogram's highest bin, refined by a parabola through it and its neighbours; NaN for few events."""
    counts, edges = np.histogram(ratio, RATIO_BINS, RATIO_RANGE, weights=np.asarray(weight, dtype=np.float64))
    if len(ratio) < _FEWEST or not counts.sum() > 0:
        return float("nan")
    top = int(counts.argmax())
    centre, width = 0.5 * (edges[top] + edges[top + 1]), edges[1] - edges[0]
    if 0 < top < RATIO_BINS - 1:
        left, peak, right = counts[top - 1 : top + 2]
        curvature = left - 2 * peak + right
        centre += 0.5 * width * (left - right) / curvature if curvature < 0 else 0.0
    return float(centre)


def in_bins(
    estimate: Array,
    truth: Array,
    quantity: Array,
    weight: Array,
    config: BootstrapConfig,
    edges: tuple[float, ...] = Q3_EDGES,
) -> list[dict[str, Any]]:
    """The spread of the ratio in each bin of a true ``quantity`` (N,), q3 in GeV by default, as plain values."""
    ratio, counts = ratios(estimate, truth)
    where = np.digitize(np.asarray(quantity, dtype=np.float64)[counts], edges) - 1
    kept = np.asarray(weight, dtype=np.float64)[counts]
    return [
        {
            "low": edges[index],
            "high": edges[index + 1],
            **spread(ratio[where == index], kept[where == index], config).as_dict(),
        }
        for index in range(len(edges) - 1)
    ]


def gates_failed(model: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bins of :func:`in_bins` in which the model's ratio spreads more than another estimate's, as plain values.

    It does so significantly where the model's whole interval of the interquartile range lies above.
    """
    return [
        {"quantity": "q3", "low": row["low"], "high": row["high"], "significant": row["iqr_interval"][0] > than["iqr"]}
        for row, than in zip(model, other, strict=True)
        if row["iqr"] is not None
        and row["iqr_interval"][0] is not None
        and than["iqr"] is not None
        and row["iqr"] > than["iqr"]
    ]


def histograms(estimate: Array, truth: Array, q3: Array, weight: Array) -> list[dict[str, Any]]:
    """Histogram of the ratio in four bins of true q3: limits in GeV, weight (50,) from 0 to 2, and in all."""
    ratio, counts = ratios(estimate, truth)
    where = np.digitize(np.asarray(q3, dtype=np.float64)[counts], HISTOGRAM_EDGES) - 1
    kept = np.asarray(weight, dtype=np.float64)[counts]
    found = []
    for index in range(len(HISTOGRAM_EDGES) - 1):
        mine = where == index
        content = np.histogram(ratio[mine], RATIO_BINS, RATIO_RANGE, weights=kept[mine])[0]
        found.append(
            {
                "low": HISTOGRAM_EDGES[index],
                "high": HISTOGRAM_EDGES[index + 1],
                "weight": content.tolist(),
                "total": float(kept[mine].sum()),
            }
        )
    return found


@dataclass(frozen=True, slots=True)
class Intervals:
    """Split-conformal intervals of an energy (Lei et al., arXiv:1604.04173), of one width in ln(1 + E / GeV).

    ``level`` of events like those of the fit lie inside, whatever their distribution; no promise for single bins.
    """

    level: float
    half_width: float

    @classmethod
    def fit(cls, estimate: Array, truth: Array, weight: Array, level: float = 0.9) -> Intervals | None:
        """From events without part in the gradients, such as validation events; None for too few for this level.

        The quantile counts events by their ``weight`` (N,), as the coverage does. The event to come is one
        more of the effective events (with equal weights: rank (n + 1) level, as published).
        """
        weight = np.asarray(weight, dtype=np.float64)
        known = np.isfinite(truth) & np.isfinite(estimate) & (weight > 0)
        off = np.abs(np.log1p(np.asarray(estimate)[known]) - np.log1p(np.asarray(truth)[known]))
        order = np.argsort(off, kind="stable")
        share = np.cumsum(weight[known][order]) / max(weight[known].sum(), 1e-300)
        wanted = level * (1 + 1 / max(effective_events(weight[known]), 1e-300))
        enough = np.flatnonzero(share >= wanted - 1e-9)
        return cls(level, float(off[order][enough[0]])) if len(enough) else None

    def limits(self, estimate: Array) -> tuple[FloatArray, FloatArray]:
        """Lower and upper limit (N,) in GeV; none is below 0."""
        middle = np.log1p(np.asarray(estimate, dtype=np.float64))
        return np.maximum(np.expm1(middle - self.half_width), 0.0), np.expm1(middle + self.half_width)

    def coverage(self, estimate: Array, truth: Array, q3: Array, weight: Array) -> dict[str, Any]:
        """Share of weight inside, in all and in bins of true q3 (GeV), with 95% intervals, as plain values."""
        low, high = self.limits(estimate)
        truth, weight = np.asarray(truth, dtype=np.float64), np.asarray(weight, dtype=np.float64)
        known = np.isfinite(truth)
        inside = (truth >= low) & (truth <= high)
        where = np.digitize(np.asarray(q3, dtype=np.float64), Q3_EDGES) - 1
        rows = [
            {"low": Q3_EDGES[i], "high": Q3_EDGES[i + 1], **_share(inside, weight, known & (where == i))}
            for i in range(len(Q3_EDGES) - 1)
        ]
        whole = {"level": self.level, "half_width": self.half_width, **_share(inside, weight, known)}
        return {**whole, "by_q3": rows}


def _share(inside: Array, weight: FloatArray, mine: Array) -> dict[str, Any]:
    """Weighted share of ``mine`` that is inside, with its interval; null without events."""
    total, effective = float(weight[mine].sum()), effective_events(weight[mine])
    if not total > 0:
        return {"n_events": int(mine.sum()), "coverage": None, "interval": None}
    share = float(weight[mine & inside].sum()) / total
    return {"n_events": int(mine.sum()), "coverage": share, "interval": wilson(share * effective, effective)}
