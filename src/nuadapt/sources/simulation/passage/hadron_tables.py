"""Cross-sections of hadrons on argon nuclei and on nucleons, as tables on the energy grid. mb and GeV.

Nucleons: Letaw, Silberberg, Tsao, ApJS 51 (1983) 271, scaled to the PDG interaction length. Pions: the Delta
region of Ashery et al., PRC 23 (1981) 2173, between their aluminium and iron with A^0.75, above it towards the PDG
interaction length. Kaons, antinucleons, hyperons: shares of these that follow their cross-section on nucleons.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.passage import material, species
from nuadapt.sources.simulation.passage.energy_loss import GRID
from nuadapt.sources.simulation.passage.species import (
    ANTINEUTRON,
    ANTIPROTON,
    KAON_LONG,
    KAON_MINUS,
    KAON_PLUS,
    LAMBDA,
    NEUTRON,
    PION_MINUS,
    PION_PLUS,
    PROTON,
    SIGMA_MINUS,
    SIGMA_PLUS,
)

Array = npt.NDArray[np.float64]

_PER_MB: Final = material.ATOM_DENSITY * material.MILLIBARN  # 1/cm per mb
_NUCLEON_MB: Final = 1 / (material.NUCLEAR_INTERACTION_LENGTH * _PER_MB)
_PION_MB: Final = 1 / (material.PION_INTERACTION_LENGTH * _PER_MB)

#: Inelastic neutrons on argon below 100 MeV (GeV, mb), from the first level of 40Ar (1.46 MeV); after ENDF/B-VIII.0.
_SLOW_NEUTRON: Final[Array] = np.array(
    [(1.5e-3, 0), (2e-3, 350), (3e-3, 700), (5e-3, 1000), (1e-2, 1100), (2e-2, 1050), (4e-2, 800), (8e-2, 600)]
)
#: Elastic neutrons on argon (GeV, mb), resonances averaged (ENDF/B-VIII.0), diffraction above 50 MeV.
_ELASTIC_NEUTRON: Final[Array] = np.array(
    [(1e-4, 1500), (1e-3, 2800), (3e-3, 2600), (6e-3, 1700), (1.4e-2, 1000), (3e-2, 1100), (6e-2, 800), (0.1, 400)]
)
#: Reaction cross-section of charged pions on argon (GeV kinetic, mb).
_PION: Final[Array] = np.array(
    [
        *((0.005, 120), (0.02, 220), (0.05, 400), (0.085, 570), (0.125, 720), (0.165, 775), (0.205, 750)),
        *((0.245, 690), (0.315, 600), (0.4, 540), (0.6, 490), (0.9, 485), (1.3, 465), (2.5, _PION_MB)),
    ]
)


def _interpolated(table: Array) -> Array:
    return np.interp(np.log(GRID), np.log(table[:, 0]), table[:, 1])


def letaw() -> Array:
    """Inelastic nucleon cross-section on argon, mb, scaled to the PDG length at high energy (valid above 10 MeV)."""
    mev = GRID * 1e3
    return np.asarray(_NUCLEON_MB * (1 - 0.62 * np.exp(-mev / 200) * np.sin(10.9 * np.maximum(mev, 10.0) ** -0.28)))


def _proton() -> Array:
    """Protons: the Coulomb barrier of argon (about 5 MeV) closes the reaction."""
    return np.asarray(letaw() * np.clip((GRID - 5e-3) / 7e-3, 0, 1))


def _neutron() -> Array:
    slow = np.where(_SLOW_NEUTRON[0, 0] > GRID, 0.0, _interpolated(_SLOW_NEUTRON))
    share = np.clip(np.log(GRID / 0.03) / np.log(0.1 / 0.03), 0, 1)
    return np.asarray((1 - share) * slow + share * letaw())


def inelastic_mb() -> Array:
    """(species, grid) inelastic cross-sections on argon, mb; zero for what only decays or ionises."""
    table = np.zeros((species.COUNT, GRID.size))
    table[PROTON], table[NEUTRON] = _proton(), _neutron()
    table[PION_PLUS] = table[PION_MINUS] = _interpolated(_PION)
    # K+ N is 12 mb at low and 18 mb at high energy; K- N about twice that at low energy (PDG cross-section plots).
    table[KAON_PLUS] = np.interp(np.log(GRID), np.log([0.05, 0.8, 2.0]), [230, 300, 380])
    table[KAON_MINUS] = np.interp(np.log(GRID), np.log([0.02, 0.1, 0.5, 2.0]), [900, 650, 500, 400])
    table[KAON_LONG] = 0.5 * (table[KAON_PLUS] + table[KAON_MINUS])
    for hyperon in (LAMBDA, SIGMA_PLUS, SIGMA_MINUS):
        table[hyperon] = np.interp(np.log(GRID), np.log([0.01, 0.1, 1.0]), [300, 450, _NUCLEON_MB])
    for anti in (ANTIPROTON, ANTINEUTRON):
        table[anti] = np.interp(np.log(GRID), np.log([0.001, 0.05, 0.5, 5.0]), [1800, 1200, 850, 650])
    return table


def elastic_mb() -> Array:
    """(species, grid) elastic cross-sections on argon, mb: slow neutrons from data, else 45 % of inelastic."""
    inelastic = inelastic_mb()
    table = 0.45 * inelastic
    slow = _interpolated(_ELASTIC_NEUTRON)
    share = np.clip(np.log(GRID / 0.03) / np.log(0.1 / 0.03), 0, 1)
    table[NEUTRON] = (1 - share) * slow + share * table[NEUTRON]
    return table


def hadron_tables() -> tuple[Array, Array]:
    """Inelastic and elastic rates in 1/cm, each (species, grid)."""
    return inelastic_mb() * _PER_MB, elastic_mb() * _PER_MB
