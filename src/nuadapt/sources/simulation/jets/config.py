"""Settings of the jet simulation and the processes that its classes come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nuadapt.errors import ConfigError, nearest

#: Class -> subprocesses of Pythia 6 (ISUB of Sjostrand, Mrenna, Skands, hep-ph/0603175, table 3). Both outgoing partons
#: of each are of the class: q q -> q q, q qbar -> q qbar, g g -> q qbar; q qbar -> g g, g g -> g g; q qbar -> W+ W-;
#: q qbar -> Z Z; q qbar -> t tbar, g g -> t tbar. W and Z, also those of tops, decay to quarks.
PROCESSES: dict[str, tuple[int, ...]] = {
    "quark": (11, 12, 53),
    "gluon": (13, 68),
    "w": (25,),
    "z": (22,),
    "top": (81, 82),
}


@dataclass(frozen=True, slots=True)
class JetsConfig:
    """Which jets. Energies in GeV, resolutions in mm.

    Collisions, algorithm and acceptance are those of JetClass (Qu, Li, Qian, arXiv:2202.03772).
    """

    classes: tuple[str, ...] = tuple(PROCESSES)  # in equal numbers; the position is the stored class number
    collision_energy: float = 13_000.0  # of two protons
    radius: float = 0.8  # of anti-kt jets (Cacciari, Salam, Soyez, arXiv:0802.1189)
    least_pt: float = 500.0
    most_pt: float = 1000.0
    most_eta: float = 2.0  # of the axis, either way
    # Softer particles are not seen, as by the tracker of CMS in Delphes (arXiv:1307.6346), which made JetClass.
    least_particle_pt: float = 0.1
    # Impact parameters are smeared by (constant, at 1 GeV / pT), added in quadrature: so that it is 90 um at 1 GeV and
    # 25 um at 10 GeV transverse, 150 um and 45 um longitudinal, CMS tracks in the barrel (arXiv:1405.6569, abstract).
    d0_resolution: tuple[float, float] = (0.0234, 0.0869)
    dz_resolution: tuple[float, float] = (0.0426, 0.1438)

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in PROCESSES]
        if unknown or not self.classes or len(set(self.classes)) < len(self.classes):
            raise ConfigError(
                f"classes of jets {list(self.classes)}",
                expected=nearest(unknown[0], PROCESSES) if unknown else "one or more, each once",
            )
        if not (0 < self.least_pt < self.most_pt < self.collision_energy / 4):
            raise ConfigError(
                f"jets with pT from {self.least_pt} to {self.most_pt} GeV at {self.collision_energy} GeV",
                expected="a rising range above 0 and below a quarter of the collision energy",
            )
        if not (0 < self.radius <= 1.5 and 0 < self.most_eta <= 5 and 0 < self.least_particle_pt < self.least_pt):
            raise ConfigError(
                f"radius {self.radius}, most_eta {self.most_eta}, least_particle_pt {self.least_particle_pt}",
                expected="above 0; radius to 1.5, eta to 5, particles softer than jets",
            )
        if min(*self.d0_resolution, *self.dz_resolution) <= 0:
            raise ConfigError("resolutions of impact parameters", expected="positive lengths in mm")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record."""
        return asdict(self)
