"""How well an available energy is estimated: the ratio of estimate to truth, in bins of three-momentum transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.evaluation.bootstrap import BootstrapConfig

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

#: Constants of arXiv:2604.12364: edges of q3 in GeV; estimates below LEAST_ESTIMATE GeV count as 0; events with less
#: than LEAST_TRUTH GeV are left out of ratios; the most probable value is that of a histogram of so many bins.
Q3_EDGES = (0.0, 0.6, 1.2, 1.8, 2.4, 3.0, 100.0)
LEAST_ESTIMATE, LEAST_TRUTH = 0.01, 0.05
RATIO_BINS, RATIO_RANGE = 50, (0.0, 2.0)
_FEWEST = 20


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


def in_q3(
    estimate: Array,
    truth: Array,
    q3: Array,
    weight: Array,
    config: BootstrapConfig,
    edges: tuple[float, ...] = Q3_EDGES,
) -> list[dict[str, Any]]:
    """The spread of the ratio in each bin of true q3 (GeV), as plain values."""
    ratio, counts = ratios(estimate, truth)
    where = np.digitize(np.asarray(q3, dtype=np.float64)[counts], edges) - 1
    kept = np.asarray(weight, dtype=np.float64)[counts]
    return [
        {
            "low": edges[index],
            "high": edges[index + 1],
            **spread(ratio[where == index], kept[where == index], config).as_dict(),
        }
        for index in range(len(edges) - 1)
    ]
