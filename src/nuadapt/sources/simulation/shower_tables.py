"""Cross-sections of photons, electrons and positrons in liquid argon as tables on the energy grid. GeV, cm.

Pair production and bremsstrahlung follow Bethe and Heitler with Thomas-Fermi screening and the Coulomb
correction (Butcher and Messel 1960; Tsai, RMP 46 (1974) 815; EGS4, SLAC-265, sec. 2.7); their common scale is set so
that pair production reaches 7/9 per radiation length. Below 20 MeV photon attenuation is that of NIST.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation import energy_loss, material
from nuadapt.sources.simulation.energy_loss import GRID, GRID_SIZE

Array = npt.NDArray[np.float64]

QUANTILES: Final = 65
_ME: Final = material.ELECTRON_MASS
_Z: Final = material.ATOMIC_NUMBER
_COULOMB_FROM: Final = 0.050  # GeV; the Coulomb correction applies above (EGS4, SLAC-265, eq. 2.7.11)

#: Mass attenuation of argon with coherent scattering: energy in MeV, cm2/g (NIST SRD 126, Hubbell and Seltzer).
NIST_ATTENUATION: Final[Array] = np.array(
    [
        (0.030, 2.697), (0.040, 1.228), (0.050, 0.7012), (0.060, 0.4664), (0.080, 0.2760), (0.100, 0.2043),
        (0.150, 0.1427), (0.200, 0.1205), (0.300, 0.09953), (0.400, 0.08776), (0.500, 0.07958),
        (0.600, 0.07335), (0.800, 0.06419), (1.000, 0.05762), (1.250, 0.05150), (1.500, 0.04695),
        (2.000, 0.04074), (3.000, 0.03384), (4.000, 0.03019), (5.000, 0.02802), (6.000, 0.02667),
        (8.000, 0.02517), (10.00, 0.02451), (15.00, 0.02418), (20.00, 0.02453),
    ]
)  # fmt: skip


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
    """d sigma / d fraction of pair production, arbitrary common scale; fraction of ``energy`` on one lepton."""
    product = fraction * (1 - fraction)
    delta = 136 * _Z ** (-1 / 3) * _ME / (energy * product)
    first, second = _screening(delta, energy)
    return np.asarray((1 - 2 * product) * first + 2 / 3 * product * second)


def brems_density(photon: Array, energy: float) -> Array:
    """k d sigma / dk of bremsstrahlung on the scale of :func:`pair_density`; total lepton ``energy``."""
    left = energy - photon
    delta = 136 * _Z ** (-1 / 3) * _ME * photon / (energy * left)
    first, second = _screening(delta, energy)
    ratio = left / energy
    return np.asarray((1 + ratio**2) * first - 2 / 3 * ratio * second)


def _scale() -> float:
    """1/cm that makes pair production reach 7/9 per radiation length at very high energy."""
    fraction = np.linspace(1e-6, 1 - 1e-6, 4001)
    limit = np.trapezoid(pair_density(fraction, 1e6), fraction)
    return float(7 / 9 / material.RADIATION_LENGTH / limit)


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


def _pair_rate() -> tuple[Array, Array]:
    """Pair production per cm and the quantiles of the smaller energy fraction, per grid energy."""
    rate, quantile = np.zeros(GRID_SIZE), np.full((GRID_SIZE, QUANTILES), 0.5)
    scale = _scale()
    for i, energy in enumerate(GRID):
        if energy <= 2.05 * _ME:
            continue
        fraction = np.linspace(_ME / energy, 0.5, 400)
        density = pair_density(fraction, float(energy))
        rate[i] = 2 * scale * np.trapezoid(density, fraction)
        quantile[i] = _quantiles(fraction, density)
    nist_MeV, nist = NIST_ATTENUATION[:, 0], NIST_ATTENUATION[:, 1] * material.DENSITY
    compton = klein_nishina(nist_MeV / 1e3)
    low = (nist_MeV >= 2.0) & (nist_MeV <= 20.0)
    ratio = (nist - compton)[low] / np.interp(nist_MeV[low] / 1e3, GRID, rate)
    factor = np.interp(np.log(GRID), np.log(np.append(nist_MeV[low], 60.0) / 1e3), np.append(ratio, 1.0))
    return rate * factor, quantile


def _quantiles(values: Array, density: Array) -> Array:
    """Inverse cumulative distribution of ``density`` at QUANTILES equal steps of probability."""
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(values))])
    if cumulative[-1] <= 0:
        return np.full(QUANTILES, values[-1])
    return np.interp(np.linspace(0, 1, QUANTILES), cumulative / cumulative[-1], values)


def photon_tables() -> tuple[Array, Array]:
    """Rates per cm (total, Compton, Compton + pair) on the grid, and the pair quantiles."""
    compton, photo = klein_nishina(GRID), photoelectric(GRID)
    pair, quantile = _pair_rate()
    return np.stack([compton + pair + photo, compton, compton + pair]), quantile


def brems_tables(cut: float) -> tuple[Array, Array, Array]:
    """Bremsstrahlung of e+- : photons above ``cut`` per cm, quantiles of log(k/cut)/log(T/cut), soft loss GeV/cm.

    The soft loss is that to photons below ``cut``, or to all photons where the kinetic energy is below it.
    """
    rate, soft = np.zeros(GRID_SIZE), np.zeros(GRID_SIZE)
    quantile = np.full((GRID_SIZE, QUANTILES), 1.0)
    scale = _scale()
    for i, kinetic in enumerate(GRID):
        energy = float(kinetic) + _ME
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
