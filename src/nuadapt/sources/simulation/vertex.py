"""One neutrino interaction as it enters the detector simulation, from whichever generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from nuadapt.events.truth import CodeScheme
from nuadapt.sources.simulation.neutrino.interaction import Interaction


@dataclass(frozen=True, slots=True)
class ExternalVertex:
    """An interaction with its generator's own code, weight and number; ``lab_pos`` (3,) in cm or None."""

    interaction: Interaction
    mode_code: int
    mode_scheme: CodeScheme
    weight: float
    event_number: int
    lab_pos: npt.NDArray[Any] | None = None

    @classmethod
    def builtin(cls, interaction: Interaction, number: int) -> ExternalVertex:
        """From nuadapt's own generator, whose codes are nuadapt's modes."""
        return cls(interaction, int(interaction.mode), CodeScheme.NUADAPT, 1.0, number)
