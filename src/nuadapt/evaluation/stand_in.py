"""What is said wherever results on simulated MINERvA events are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAND_IN = (
    "The events are a stand-in for MINERvA, parametrised by nuadapt: they show how models compare, not how the "
    "experiment would do."
)


def is_stand_in(made: Mapping[str, Any]) -> bool:
    """Whether the record of a store says that its events are those of the MINERvA-like simulation."""
    return made.get("stage") == "simulate minerva"
