"""Intervals of shares."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(count: float, n: float, level: float = 0.95) -> list[float] | None:
    """Score interval of a share of ``count`` in ``n`` (Wilson, J. Am. Stat. Assoc. 22 (1927) 209); None without events.

    Of weighted events the effective numbers, which need not be whole.

    >>> [round(limit, 4) for limit in wilson(9, 10)]
    [0.5958, 0.9821]
    """
    if not n:
        return None
    z, share = NormalDist().inv_cdf((1 + level) / 2), count / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding would leave the limit of an exact 0 or 1 an ulp off.
    return [0.0 if count == 0 else centre - half, 1.0 if count == n else centre + half]
