"""One row of the validation table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A measured quantity beside its published value.

    ``tolerance`` is absolute and in ``unit``; a relative tolerance is multiplied out by whoever makes the
    check. ``source`` cites where ``expected`` comes from. ``error`` is the statistical error of ``measured``.
    """

    group: str
    quantity: str
    condition: str
    measured: float
    expected: float
    tolerance: float
    unit: str
    source: str
    error: float = 0.0

    @property
    def passed(self) -> bool:
        """True within tolerance; a NaN never passes."""
        return bool(math.isfinite(self.measured) and abs(self.measured - self.expected) <= self.tolerance)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "passed": self.passed}
