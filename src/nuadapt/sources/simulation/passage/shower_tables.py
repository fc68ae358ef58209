"""Cross-sections of photons, electrons and positrons in liquid argon as tables on the energy grid. GeV, cm.

Rates of pair production are NIST's XCOM, those of bremsstrahlung are scaled to NIST's ESTAR. The energy sharing in both
follows Bethe and Heitler with Thomas-Fermi screening and the Coulomb correction (Butcher and Messel 1960; Tsai,
RMP 46 (1974) 815; EGS4, SLAC-265, sec. 2.7). Compton scattering is that of free electrons.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.passage import energy_loss, material
from nuadapt.sources.simulation.passage.energy_loss import GRID, GRID_SIZE

Array = npt.NDArray[np.float64]

QUANTILES: Final = 65
_ME: Final = material.ELECTRON_MASS
_Z: Final = material.ATOMIC_NUMBER
_COULOMB_FROM: Final = 0.050  # GeV; the Coulomb correction applies above (EGS4, SLAC-265, eq. 2.7.11)

#: Pair production on argon nuclei and electrons: energy in MeV, barn per atom (NIST XCOM, SRD 8).
XCOM_PAIR: Final[Array] = np.array(
    [
        *((1.25, 0.002826), (1.5, 0.01507), (2, 0.0588), (3, 0.1665), (4, 0.27), (5, 0.3627), (6, 0.4462)),
        *((8, 0.5882), (10, 0.7049), (15, 0.9226), (20, 1.08), (30, 1.301), (50, 1.568), (80, 1.791)),
        *((100, 1.887), (200, 2.139), (300, 2.253), (500, 2.364), (1000, 2.467), (2000, 2.53), (5000, 2.576)),
        *((10000, 2.594), (100000, 2.615)),
    ]
)
#: Radiative stopping power of argon for electrons: kinetic energy in MeV, MeV cm2/g (NIST ESTAR, SRD 124).
ESTAR_RADIATIVE: Final[Array] = np.array(
    [
        *((1, 0.02748), (2, 0.05581), (5, 0.1600), (10, 0.3595), (20, 0.7949), (50, 2.192), (100, 4.614)),
        *((200, 9.573), (500, 24.69), (1000, 50.07), (2000, 101.0), (5000, 254.2), (10000, 509.8)),
    ]
)


def coulomb_correction() -> float:
    """f(Z) of Davies, Bethe and Maximon (PDG RPP eq. 34.27)."""
    a2 = (material.FINE_STRUCTURE * _Z) ** 2
    return a2 * (1 / (1 + a2) + 0.20206 - 0.0369 * a2 + 0.0083 * a2**2 - 0.002 * a2**3)


def _screening(delta: Array, energy: float) -> tuple[Array, Array]:
    """The two screening functions less the Coulomb terms, not below zero (Butcher and Messel)."""
    far = 21.12 - 4.184 * np.log(delta + 0.952)
    first = np.where(delta <= 1, 20.867 - 3.242 * delta + 0.625 * delta**2, far)
    second = np.where(delta <= 1, 20.209 - 1.930 * delta - 0.086 * delta**2, far)
    less = 4 / 3 * math.log(_Z) + (4 * coulomb_correction() if energy >= _COULOMB_FROM else 0.0)
    return np.maximum(first - less, 0.0), np.maximum(second - less, 0.0)


def pair_density(fraction: Array, energy: float) -> Array:
    """Density of the energy sharing of pair production, arbitrary scale; ``fraction`` of ``energy`` on one lepton."""
    product = fraction * (1 - fraction)
    delta = 136 * _Z ** (-1 / 3) * _ME / (energy * product)
    first, second = _screening(delta, energy)
    return np.asarray((1 - 2 * product) * first + 2 / 3 * product * second)


def brems_density(photon: Array, energy: float) -> Array:
    """k d sigma / dk of bremsstrahlung, arbitrary scale; ``energy`` is the total energy of the lepton."""
    left = energy - photon
    delta = 136 * _Z ** (-1 / 3) * _ME * photon / (energy * left)
    first, second = _screening(delta, energy)
    ratio = left / energy
    return np.asarray((1 + ratio**2) * first - 2 / 3 * ratio * second)


def _scale(kinetic: float) -> float:
    """1/cm that brings the radiative loss of an electron of ``kinetic`` GeV to that of ESTAR (a change below 2 %)."""
    energy = kinetic + _ME
    photon = np.linspace(0, kinetic, 300)
    loss = np.trapezoid(brems_density(photon, energy), photon) / kinetic
    per_MeV = ESTAR_RADIATIVE[:, 1] / ESTAR_RADIATIVE[:, 0]
    wanted = np.interp(math.log(kinetic * 1e3), np.log(ESTAR_RADIATIVE[:, 0]), per_MeV) * material.DENSITY
    return float(wanted / loss)


def klein_nishina(energy: Array) -> Array:
    """Compton scattering per cm, free electrons (PDG RPP, Klein and Nishina 1929)."""
    k = energy / _ME
    log = np.log1p(2 * k)
    shape = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k) + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    per_electron = 2 * math.pi * material.ELECTRON_RADIUS**2 * shape
    return np.asarray(per_electron * material.ATOM_DENSITY * _Z)


def photoelectric(energy: Array) -> Array:
    """Photoelectric absorption per cm: E^-3.1 through the NIST value at 0.1 MeV, E^-1 above 0.7 MeV."""
    at_100keV = 0.0556 * material.DENSITY
    steep = (1e-4 / np.minimum(energy, 7e-4)) ** 3.1
    return np.asarray(at_100keV * steep * np.minimum(7e-4 / energy, 1.0))


def pair_rate(energy: Array) -> Array:
    """Pair production per cm on nuclei and electrons: XCOM, interpolated in the logarithm of the energy."""
    barn = np.interp(np.log(energy), np.log(XCOM_PAIR[:, 0] / 1e3), XCOM_PAIR[:, 1], left=0.0)
    return np.asarray(barn * 1e3 * material.MILLIBARN * material.ATOM_DENSITY)


def _pair_quantiles() -> Array:
    """Quantiles of the smaller energy fraction of a pair, per grid energy."""
    quantile = np.full((GRID_SIZE, QUANTILES), 0.5)
    for i, energy in enumerate(GRID):
        if energy > 2.05 * _ME:
            fraction = np.linspace(_ME / energy, 0.5, 400)
            quantile[i] = _quantiles(fraction, pair_density(fraction, float(energy)))
    return quantile


def _quantiles(values: Array, density: Array) -> Array:
    """Inverse cumulative distribution of ``density`` at QUANTILES equal steps of probability."""
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(values))])
    if cumulative[-1] <= 0:
        return np.full(QUANTILES, values[-1])
    return np.interp(np.linspace(0, 1, QUANTILES), cumulative / cumulative[-1], values)


def photon_tables() -> tuple[Array, Array]:
    """Rates per cm (total, Compton, Compton + pair) on the grid, and the pair quantiles."""
    compton, pair, photo = klein_nishina(GRID), pair_rate(GRID), photoelectric(GRID)
    return np.stack([compton + pair + photo, compton, compton + pair]), _pair_quantiles()


def brems_tables(cut: float) -> tuple[Array, Array, Array]:
    """Bremsstrahlung of e+- : photons above ``cut`` per cm, quantiles of log(k/cut)/log(T/cut), soft loss GeV/cm.

    The soft loss is that to photons below ``cut``, or to all photons where the kinetic energy is below it.
    """
    rate, soft = np.zeros(GRID_SIZE), np.zeros(GRID_SIZE)
    quantile = np.full((GRID_SIZE, QUANTILES), 1.0)
    for i, kinetic in enumerate(GRID):
        energy, scale = float(kinetic) + _ME, _scale(float(kinetic))
        below = np.linspace(0, min(cut, kinetic), 60)
        soft[i] = scale * np.trapezoid(brems_density(below, energy), below)
        if kinetic <= 1.02 * cut:
            continue
        share = np.linspace(0, 1, 300)
        photon = cut * np.exp(share * math.log(kinetic / cut))
        density = brems_density(photon, energy)
        rate[i] = scale * math.log(kinetic / cut) * np.trapezoid(density, share)
        quantile[i] = _quantiles(share, density)
    return rate[None, :], quantile, soft


def electron_tables(delta_cut: float, soft_brems: Array) -> tuple[Array, Array]:
    """Continuous loss in GeV/cm and range in cm of e- and e+, each (2, grid)."""
    losses = []
    for positron in (False, True):
        loss = energy_loss.electron_collision(GRID, positron)
        loss = loss - energy_loss.hard_loss(GRID, positron, delta_cut) + soft_brems
        losses.append(np.maximum(loss, 0.3 * material.MINIMUM_LOSS))
    return np.stack(losses), np.stack([energy_loss.csda_range(loss) for loss in losses])
