"""The particles that transport knows: one small integer each, and their properties as arrays.

Available energy is what the energy ledger counts: the energy a particle can still give to the detector, to
neutrinos or to a nucleus. It is the total energy except that stable matter counts as kinetic energy only:
e-, nucleons and ions without their rest mass; e+ and antinucleons with twice theirs (annihilation);
hyperons above the nucleon they end as. So pair production, annihilation and decays balance.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from particle import Particle

from nuadapt.sources.simulation.passage.material import ELECTRON_MASS, NEUTRON_MASS, PROTON_MASS, mass_of

ELECTRON: Final = 0
POSITRON: Final = 1
PHOTON: Final = 2
NEUTRINO: Final = 3
MUON_MINUS: Final = 4
MUON_PLUS: Final = 5
PION_PLUS: Final = 6
PION_MINUS: Final = 7
PION_ZERO: Final = 8
KAON_PLUS: Final = 9
KAON_MINUS: Final = 10
KAON_LONG: Final = 11
KAON_SHORT: Final = 12
PROTON: Final = 13
NEUTRON: Final = 14
ANTIPROTON: Final = 15
ANTINEUTRON: Final = 16
LAMBDA: Final = 17
SIGMA_PLUS: Final = 18
SIGMA_ZERO: Final = 19
SIGMA_MINUS: Final = 20
ETA: Final = 21
DEUTERON: Final = 22
TRITON: Final = 23
HELIUM3: Final = 24
ALPHA: Final = 25

#: PDG code of each species, in order; ``NEUTRINO`` stands for all six.
PDG: Final[tuple[int, ...]] = (
    *(11, -11, 22, 12, 13, -13, 211, -211, 111, 321, -321, 130, 310),
    *(2212, 2112, -2212, -2112, 3122, 3222, 3212, 3112, 221),
    *(1000010020, 1000010030, 1000020030, 1000020040),
)
COUNT: Final = len(PDG)
NEUTRINO_PDG: Final = (12, 14, 16, -12, -14, -16)
#: K0 and anti-K0 are taken as K0S or K0L with equal chance when they enter.
NEUTRAL_KAON_PDG: Final = (311, -311)
#: The nuclear remnant codes of generators (10-digit ions heavier than alpha, GENIE bindinos 2000000000+).
REMNANT_ABOVE: Final = 1000020040

CTAU_STABLE: Final = 1.0e30  # cm, stands for particles that do not decay inside a detector
_LONG_LIVED: Final = (2112, -2112)  # free neutron decay (880 s) never matters


def _ctau_cm(pdg: int) -> float:
    ctau_mm = Particle.from_pdgid(pdg).ctau
    if ctau_mm is None or not np.isfinite(ctau_mm) or pdg in _LONG_LIVED:
        return CTAU_STABLE
    return float(ctau_mm) / 10.0


def _rest_available(pdg: int, mass: float) -> float:
    """Available energy of one particle at rest, GeV (see the module docstring)."""
    special = {
        11: 0.0,
        -11: 2 * ELECTRON_MASS,
        2212: 0.0,
        2112: 0.0,
        -2212: 2 * PROTON_MASS,
        -2112: 2 * NEUTRON_MASS,
        3122: mass - NEUTRON_MASS,
        3222: mass - PROTON_MASS,
        3212: mass - NEUTRON_MASS,
        3112: mass - NEUTRON_MASS,
    }
    return special.get(pdg, 0.0 if pdg > 1000000000 else mass)


MASS: Final[npt.NDArray[np.float64]] = np.array([0.0 if p in (12, 22) else mass_of(p) for p in PDG])
CHARGE: Final[npt.NDArray[np.float64]] = np.array([float(Particle.from_pdgid(p).charge or 0) for p in PDG])
CTAU: Final[npt.NDArray[np.float64]] = np.array([_ctau_cm(p) for p in PDG])  # cm
REST_AVAILABLE: Final[npt.NDArray[np.float64]] = np.array(
    [_rest_available(p, m) for p, m in zip(PDG, MASS, strict=True)]
)
_INDEX: Final = {pdg: i for i, pdg in enumerate(PDG)} | dict.fromkeys(NEUTRINO_PDG, NEUTRINO)


def species_of(pdg: int) -> int:
    """Species of a PDG code, -1 if transport does not know it.

    >>> species_of(-14) == NEUTRINO, species_of(13) == MUON_MINUS, species_of(4122)
    (True, True, -1)
    """
    return _INDEX.get(pdg, -1)
