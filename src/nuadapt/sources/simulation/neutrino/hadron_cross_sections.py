"""Cross-sections of pions and nucleons on free nucleons, in mb, tabulated once for the intranuclear cascade."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.neutrino.masses import M_NUCLEON, M_PION
from nuadapt.sources.simulation.neutrino.resonances import DELTA, pion_momentum

FloatArray = npt.NDArray[np.float64]

GEV2_MB = 0.3893794  # (hbar c)^2 in GeV^2 mb, PDG 2022
LOG_T_FIRST, LOG_T_STEP, NODES = float(np.log(1e-3)), 0.05, 240  # kinetic energy from 1 MeV to 155 GeV


class HadronCrossSections(NamedTuple):
    """mb at kinetic energies exp(LOG_T_FIRST + i LOG_T_STEP) GeV of the projectile, nucleon at rest; each (NODES,)."""

    pion_3: FloatArray  # pi N with total isospin 3/2
    pion_1: FloatArray  # pi N with total isospin 1/2
    pion_inelastic: FloatArray  # share of pi N collisions that make a further pion
    pion_absorption: FloatArray  # effective, per nucleon at central density, on nucleon pairs
    equal: FloatArray  # p p and n n, total
    unequal: FloatArray  # n p, total
    equal_inelastic: FloatArray  # share with pion production
    unequal_inelastic: FloatArray


@cache
def hadron_cross_sections() -> HadronCrossSections:
    """The tables."""
    kinetic = np.exp(LOG_T_FIRST + LOG_T_STEP * np.arange(NODES))
    pion_3, pion_1 = pion_nucleon(kinetic)
    equal, equal_elastic, unequal, unequal_elastic = nucleon_nucleon(kinetic)
    return HadronCrossSections(
        pion_3,
        pion_1,
        pion_inelastic_share(kinetic),
        pion_absorption(kinetic),
        equal,
        unequal,
        1 - equal_elastic / equal,
        1 - unequal_elastic / unequal,
    )


def pion_nucleon(kinetic: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Total cross-sections (mb) of isospin 3/2 and 1/2 at pion ``kinetic`` energy (GeV).

    Isospin 3/2: unitary Breit-Wigner of the Delta, 8 pi / k^2, energy-dependent width, plus a smooth part. Isospin 1/2:
    peaks at N(1520) and N(1680) on a smooth part. Peak heights and the high-energy level (about 28 mb, falling to 25)
    are read from the pi+- p plots of the PDG review of cross-section data.
    """
    W = _pion_w(kinetic)
    k = pion_momentum(W)
    k0 = pion_momentum(np.asarray(DELTA.mass))
    width = DELTA.width * (k / k0) ** 3 * (0.04 + k0**2) / (0.04 + k**2)
    breit_wigner = 0.25 * width**2 / ((W - DELTA.mass) ** 2 + 0.25 * width**2)
    delta = 8 * np.pi / np.maximum(k, 1e-3) ** 2 * breit_wigner * GEV2_MB
    high = 24 + 20 / np.maximum(kinetic, 0.5)
    rise = 1 / (1 + np.exp(-(W - 1.50) / 0.06))
    fade = 1 / (1 + np.exp((W - 1.45) / 0.06))
    bump_3 = 18 * np.exp(-0.5 * ((W - 1.91) / 0.11) ** 2)
    bumps_1 = 25 * np.exp(-0.5 * ((W - 1.51) / 0.05) ** 2) + 35 * np.exp(-0.5 * ((W - 1.68) / 0.06) ** 2)
    isospin_3 = delta * fade + (high - 12 * np.exp(-0.5 * ((W - 1.62) / 0.1) ** 2)) * rise + bump_3
    isospin_1 = 6.0 * fade + bumps_1 + high * rise
    return isospin_3, isospin_1


def _pion_w(kinetic: FloatArray) -> FloatArray:
    result: FloatArray = np.sqrt(M_NUCLEON**2 + M_PION**2 + 2 * M_NUCLEON * (kinetic + M_PION))
    return result


def pion_inelastic_share(kinetic: FloatArray) -> FloatArray:
    """Share of pi N collisions with pion production: opens above W of 1.3 GeV, tends to 0.75.

    Shape assumed between threshold and the ratio of elastic to total at 2 GeV/c (about 0.3, PDG cross-section plots).
    """
    return 0.75 / (1 + np.exp(-(_pion_w(kinetic) - 1.52) / 0.05))


def pion_absorption(kinetic: FloatArray) -> FloatArray:
    """Effective absorption cross-section per nucleon at central density (mb); it scales with density squared.

    A Delta peak on an S-wave floor. Its height is tuned so that pi+ absorption on nuclei follows D. Ashery et al.,
    Phys. Rev. C 23 (1981) 2173: a third to a half of the reaction cross-section near the Delta, falling above.
    """
    W = _pion_w(kinetic)
    peak = (1 + ((W - 1.21) / 0.055) ** 2) ** -1.5
    return 6.0 * np.exp(-kinetic / 0.3) + 150.0 * peak


def nucleon_nucleon(kinetic: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Total and elastic p p, total and elastic n p cross-sections (mb) at nucleon ``kinetic`` energy (GeV).

    J. Cugnon, J. Vandermeulen, D. L'Hote, Nucl. Instrum. Meth. B 111 (1996) 215, in the laboratory momentum p (GeV/c).
    """
    p = np.sqrt(kinetic * (kinetic + 2 * M_NUCLEON))
    equal = np.select(
        [p < 0.44, p < 0.8, p < 1.5],
        [
            34 * (p / 0.4) ** -2.104,
            23.5 + 1000 * (p - 0.7) ** 4,
            23.5 + 24.6 / (1 + np.exp(-10 * (p - 1.2))),
        ],
        41 + 60 * (p - 0.9) * np.exp(-1.2 * p),
    )
    unequal = np.select(
        [p < 0.446, p < 1.0, p < 2.0],
        [
            6.3555 * p**-3.2481 * np.exp(-0.377 * np.log(p) ** 2),
            33 + 196 * np.abs(p - 0.95) ** 2.5,
            24.2 + 8.9 * p,
        ],
        42.0,
    )
    equal_elastic = np.select([p < 0.8, p < 2.0], [equal, 1250 / (p + 50) - 4 * (p - 1.3) ** 2], 77 / (p + 1.5))
    unequal_elastic = np.select([p < 0.8, p < 2.0], [unequal, 31 / np.sqrt(p)], 77 / (p + 1.5))
    return equal, np.minimum(equal, equal_elastic), unequal, np.minimum(unequal, unequal_elastic)
