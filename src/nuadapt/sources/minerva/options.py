"""How MINERvA tuples are read. Defaults are what nuadapt holds to be right; ``minerva-ml`` is what was published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from nuadapt.errors import ConfigError, nearest
from nuadapt.settings import build

#: Rotation about x that turns detector axes into beam axes; MINERvA, Nucl. Instrum. Meth. A 743 (2014) 130.
BEAM_ANGLE = -0.05887  # rad


@dataclass(frozen=True, slots=True)
class MinervaOptions:
    """Settings of the reader.

    Raises:
        ConfigError: fewer than 2 tokens of a kind (one is the merged one), no events a step.
    """

    tree: str = "MasterAnaDev"
    # The beam points 3.3 degrees below the detector axis; angles to the neutrino are what interactions depend on.
    frame: Literal["beam", "detector"] = "beam"
    # A blob is a place with energy. Its direction is that from the interaction; the public code takes the one from the
    # origin of the detector's coordinates, metres upstream.
    blob_direction: Literal["vertex", "detector-origin"] = "vertex"
    # Position, time and dE/dx of a merged token: the mean of its objects by energy, or by number.
    merging: Literal["energy", "number"] = "energy"
    # drop: what cannot be a measurement is not used, object by object. minerva-ml: muons fall to any of 15 quantities
    # above 1e6, unknown values count as 0, other large values are used.
    broken: Literal["drop", "minerva-ml"] = "drop"
    max_blobs: int = 20
    max_prongs: int = 10
    interaction_types: tuple[int, ...] = ()  # mc_intType values to keep; none: all. The paper keeps 1, 2, 3, 4, 8
    weight: str = ""  # branch of event weights; none: 1
    truth: Literal["auto", "none"] = "auto"  # none: read simulation as if it were recorded
    step: int = 20_000  # events held in memory at a time, about 5 kB each

    def __post_init__(self) -> None:
        if min(self.max_blobs, self.max_prongs) < 2:
            raise ConfigError("max_blobs and max_prongs are at least 2: one object and one merged token")
        if self.step < 1:
            raise ConfigError(f"step = {self.step}", expected="at least 1")


PRESETS: dict[str, MinervaOptions] = {
    "nuadapt": MinervaOptions(),
    "minerva-ml": MinervaOptions(
        frame="detector", blob_direction="detector-origin", merging="number", broken="minerva-ml"
    ),
}
#: Interaction types that arXiv:2604.12364 keeps.
PAPER_TYPES = (1, 2, 3, 4, 8)


def options_from(given: dict[str, Any]) -> MinervaOptions:
    """Options from plain values; ``preset`` chooses the starting point.

    Raises:
        ConfigError: an unknown preset or setting, or a value that does not fit.
    """
    given = dict(given)
    name = str(given.pop("preset", "nuadapt"))
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'", expected=nearest(name, PRESETS))
    made = build(MinervaOptions, given, where="MINERvA settings")
    return replace(PRESETS[name], **{key: getattr(made, key) for key in given})
