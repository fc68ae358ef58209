"""All checks of the simulation, in one table, with the curves behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nuadapt.record import library_versions
from nuadapt.sources.simulation.validation import curves, interactions, passage, readout
from nuadapt.sources.simulation.validation.check import Check


@dataclass(frozen=True, slots=True)
class Validation:
    """Rows of the table, and curves for plots."""

    checks: tuple[Check, ...]
    curves: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        checks = [check.as_dict() for check in self.checks]
        return {"checks": checks, "curves": self.curves, "versions": library_versions()}


def validate(*, quick: bool = False, progress: Callable[[int, int], None] | None = None) -> Validation:
    """Run every check; ``quick`` with fewer events and no curves."""
    stages: list[Callable[[], list[Check]]] = [
        lambda: interactions.checks(quick=quick),
        lambda: passage.checks(quick=quick),
        readout.checks,
    ]
    checks: list[Check] = []
    for done, stage in enumerate(stages):
        checks += stage()
        if progress:
            progress(done + 1, len(stages) + 1)
    drawn = {} if quick else curves.all_curves()
    if progress:
        progress(len(stages) + 1, len(stages) + 1)
    return Validation(tuple(checks), drawn)
