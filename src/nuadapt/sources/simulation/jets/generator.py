"""Pythia 6 through chromo: hard collisions of chosen processes, showered, hadronised and decayed.

The library is one block of Fortran memory per process, so there is one generator per process. It is initialised anew
for every batch with a random stream of its own: what a batch holds is a function of the settings and the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import require
from nuadapt.sources.simulation.jets.config import PROCESSES, JetsConfig

Floats = npt.NDArray[np.float64]

_GEV, _QUIET_UNIT, _TOP = 1.0, 77, 6  # chromo counts in GeV; a unit of Fortran that is free; flavour of ISUB 81, 82
_FINAL, _DOCUMENTATION = 1, 3  # status codes of HEPEVT
#: Rows of the event record in Pythia 6 (hep-ph/0603175, section 5): two beams, four incoming, two outgoing partons.
_OUTGOING = (6, 7)
_RESONANCES = (6, 23, 24)  # t, Z, W
_NEUTRINOS = (12, 14, 16)
_LEPTONS = range(11, 19)


@dataclass(frozen=True, slots=True)
class Collision:
    """Particles that a detector could see, and the partons that jets are matched to.

    ``p4`` (n, 4) px, py, pz, E in GeV; ``origin`` (n, 3) in mm from the collision; ``partons``: for each of the two
    outgoing partons the directions (m, 3) of it, or of the quarks that it decays to.
    """

    pdg: npt.NDArray[np.int64]
    p4: Floats
    origin: Floats
    partons: tuple[Floats, Floats]


class JetGenerator:
    """Collisions of one class at a time."""

    def __init__(self, config: JetsConfig) -> None:
        self.config, self._pythia = config, _pythia()

    def start(self, kind: str, rng: np.random.Generator) -> None:
        """Choose the class ``kind`` and the random stream."""
        self._pythia.random_state = np.random.default_rng(rng.integers(2**63)).bit_generator.state
        lib, config = self._pythia._lib, self.config
        lib.pysubs.msub[:] = 0
        for process in PROCESSES[kind]:
            lib.pysubs.msub[process - 1] = 1
        # pT of the hard process: jets lose some of it to radiation outside their radius, and win some.
        lib.pysubs.ckin[2:4] = 0.9 * config.least_pt, 1.2 * config.most_pt
        lib.pyinit("CMS", "p", "p", config.collision_energy)

    def collision(self) -> Collision:
        """The next one."""
        self._pythia._generate()
        record = self._pythia._lib.hepevt
        n = int(record.nhep)
        pdg = np.array(record.idhep[:n], dtype=np.int64)
        p4 = np.array(record.phep[:4, :n], dtype=np.float64).T  # (n, 4)
        final = (record.isthep[:n] == _FINAL) & ~np.isin(np.abs(pdg), _NEUTRINOS)
        final &= np.hypot(p4[:, 0], p4[:, 1]) >= self.config.least_particle_pt
        origin = np.array(record.vhep[:3, :n], dtype=np.float64).T
        hard = int(np.argmin(record.isthep[:n] == _DOCUMENTATION))  # rows before the first that is not of the hard part
        mother = np.array(record.jmohep[0, :hard], dtype=np.int64) - 1
        first, second = (p4[_quarks_of(row, pdg[:hard], mother), :3] for row in _OUTGOING)
        return Collision(pdg[final], p4[final], origin[final], (first, second))


def _quarks_of(row: int, pdg: npt.NDArray[np.int64], mother: npt.NDArray[np.int64]) -> list[int]:
    """Rows of the quarks that a parton decays to; itself if it does not."""
    if abs(pdg[row]) not in _RESONANCES:
        return [row]
    daughters = [int(other) for other in np.flatnonzero(mother == row) if other > row]
    return [quark for daughter in daughters for quark in _quarks_of(daughter, pdg, mother)]


@lru_cache(maxsize=1)
def _pythia() -> Any:
    """The generator of this process, silent, with top quarks as the heavy flavour and W and Z that decay to quarks.

    Raises:
        MissingExtraError: chromo is not installed.
    """
    models = require("chromo.models", "jets")
    kinematics = require("chromo.kinematics", "jets")

    class Quiet(models.Pythia6):  # type: ignore[misc, name-defined]
        """Writes nothing, and is initialised once the processes are known."""

        def _set_kinematics(self, kin: Any) -> None:
            self._frame = kin.frame
            self._lib.chromo_openlogfile("/dev/null", _QUIET_UNIT)
            self._lib.pydat1.mstu[10] = _QUIET_UNIT

    made = Quiet(kinematics.CenterOfMass(1000 * _GEV, "proton", "proton"), seed=1)
    lib = made._lib
    lib.pypars.mstp[6] = _TOP
    for resonance in (23, 24):
        first, count = lib.pydat3.mdcy[resonance - 1, 1:3]
        for channel in range(first - 1, first - 1 + count):
            if abs(int(lib.pydat3.kfdp[channel, 0])) in _LEPTONS:
                lib.pydat3.mdme[channel, 0] = 0
    return made
