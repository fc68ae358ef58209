"""Ionisation of charged particles in liquid argon: mean loss, range and straggling. GeV and cm.

Collisions that give an electron more than ``cut`` are made one by one by the transport (delta rays); the
tables hold the mean loss below ``cut`` (restricted loss). Without a cut they hold the full loss of the
continuous-slowing-down approximation (CSDA).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import material, species

Array = npt.NDArray[np.float64]

#: One grid of kinetic energy for every table: 1 keV to 1 TeV, 40 points a decade.
GRID_LOW: Final = 1.0e-6
GRID_PER_DECADE: Final = 40
GRID_SIZE: Final = 9 * GRID_PER_DECADE + 1
GRID: Final[Array] = np.logspace(-6, 3, GRID_SIZE)
_LOG_LOW: Final = math.log(GRID_LOW)
_PER_LOG: Final = GRID_PER_DECADE / math.log(10.0)
#: Soft collisions below xi / _COLLISIONS are summed as a Gaussian; those above are drawn one by one.
_COLLISIONS: Final = 6.0
_SOFTEST: Final = 1.0e-6  # GeV; well above the mean excitation energy, so collisions are free
_XI: Final = material.XI_PER_CM


def density_effect(beta_gamma: Array) -> Array:
    """Sternheimer's density correction delta (PDG RPP eq. 34.7); zero below x0 as argon is an insulator."""
    x = np.log10(beta_gamma)
    delta = 2 * math.log(10) * x - material.STERNHEIMER_C
    bend = material.STERNHEIMER_A * np.maximum(material.STERNHEIMER_X1 - x, 0.0) ** material.STERNHEIMER_M
    return np.asarray(np.where(x < material.STERNHEIMER_X0, 0.0, delta + bend))


def shell_correction(beta_gamma: Array) -> Array:
    """C/Z of Barkas and Berger, NASA SP-3013 (1964); valid above beta gamma = 0.13 and held below."""
    eta2 = np.maximum(beta_gamma, 0.13) ** -2.0
    excitation_eV = material.MEAN_EXCITATION * 1e9
    quadratic = (0.422377 + (0.0304043 - 0.00038106 * eta2) * eta2) * eta2 * 1e-6 * excitation_eV**2
    cubic = (3.858019 + (-0.1667989 + 0.00157955 * eta2) * eta2) * eta2 * 1e-9 * excitation_eV**3
    return np.asarray((quadratic + cubic) / material.ATOMIC_NUMBER)


def max_transfer(beta_gamma: Array, mass: float) -> Array:
    """Largest energy given to a free electron, GeV (PDG RPP eq. 34.4)."""
    gamma, ratio = np.sqrt(1 + beta_gamma**2), material.ELECTRON_MASS / mass
    return np.asarray(2 * material.ELECTRON_MASS * beta_gamma**2 / (1 + 2 * gamma * ratio + ratio**2))


def bethe(kinetic: Array, mass: float, charge: float = 1.0, cut: float = math.inf) -> Array:
    """Mean energy loss in GeV/cm by collisions that transfer less than ``cut`` GeV (PDG RPP eqs. 34.5, 34.15).

    Below 2 MeV per proton mass Bethe's theory ends; the loss then follows T^-0.6 up to its maximum near
    0.1 MeV and sqrt(T) below (Lindhard), which moves no range by more than 0.05 mm.
    """
    bethe_ends, maximum = 2.0e-3 * mass / material.PROTON_MASS, 1.0e-4 * mass / material.PROTON_MASS
    held = np.maximum(kinetic, bethe_ends)
    gamma = 1 + held / mass
    beta_gamma2 = gamma**2 - 1
    beta2, beta_gamma = beta_gamma2 / gamma**2, np.sqrt(beta_gamma2)
    largest = max_transfer(beta_gamma, mass)
    upper = np.minimum(largest, cut)
    bracket = (
        0.5 * np.log(2 * material.ELECTRON_MASS * beta_gamma2 * upper / material.MEAN_EXCITATION**2)
        - 0.5 * beta2 * (1 + upper / largest)
        - 0.5 * density_effect(beta_gamma)
        - shell_correction(beta_gamma)
    )
    loss = 2 * _XI * charge**2 / beta2 * bracket
    slow = np.clip(kinetic, maximum, bethe_ends)
    return np.asarray(loss * (slow / bethe_ends) ** -0.6 * np.sqrt(np.minimum(kinetic / maximum, 1.0)))


def muon_radiative(kinetic: Array) -> Array:
    """Radiative loss of muons, GeV/cm: b(E) E with b through PDG table 289 (about 1 % of the loss at 10 GeV)."""
    b_cm2_g = 1e-6 * np.interp(np.log10(kinetic), [-1.0, 0.0, 1.0, 2.0, 3.0], [0.9, 1.5, 2.4, 3.1, 3.4])
    return np.asarray(b_cm2_g * material.DENSITY * kinetic)


def moller(fraction: Array, gamma: float) -> Array:
    """Ratio of Moller's cross-section to Rutherford's at an energy ``fraction`` <= 1/2 (PDG RPP 34.2.1)."""
    g2 = gamma**2
    rest = fraction**2 * ((gamma - 1) ** 2 / g2 + (1 - fraction) ** -2.0)
    return np.asarray(1 + rest - fraction * (2 * gamma - 1) / (g2 * (1 - fraction)))


def electron_collision(kinetic: Array, positron: bool) -> Array:
    """Full collision loss of e- or e+, GeV/cm (Berger and Seltzer; ICRU Report 37, eq. 2.18)."""
    tau = kinetic / material.ELECTRON_MASS
    beta_gamma = np.sqrt(tau * (tau + 2))
    beta2 = tau * (tau + 2) / (tau + 1) ** 2
    if positron:
        series = 23 + 14 / (tau + 2) + 10 / (tau + 2) ** 2 + 4 / (tau + 2) ** 3
        shape = 2 * math.log(2) - beta2 / 12 * series
    else:
        shape = (1 - beta2) * (1 + tau**2 / 8 - (2 * tau + 1) * math.log(2))
    logarithm = 2 * np.log(kinetic / material.MEAN_EXCITATION) + np.log(1 + tau / 2)
    return np.asarray(_XI / beta2 * (logarithm + shape - density_effect(beta_gamma)))


def hard_loss(kinetic: Array, positron: bool, cut: float) -> Array:
    """Mean loss of e- (Moller) or e+ (Rutherford) to electrons above ``cut``, GeV/cm, one row per energy."""
    result = np.zeros_like(kinetic)
    for i, energy in enumerate(kinetic):
        largest = energy if positron else 0.5 * energy
        if largest <= cut:
            continue
        log_transfer = np.linspace(math.log(cut), math.log(largest), 200)
        gamma = 1 + energy / material.ELECTRON_MASS
        ratio = np.ones_like(log_transfer) if positron else moller(np.exp(log_transfer) / energy, gamma)
        result[i] = _XI / (1 - gamma**-2) * np.trapezoid(ratio, log_transfer)
    return result


def csda_range(loss: Array) -> Array:
    """Range in cm on :data:`GRID` of a loss in GeV/cm: the integral of dT/loss, trapezoids in log T."""
    steps = np.diff(np.log(GRID)) * 0.5 * (GRID[1:] / loss[1:] + GRID[:-1] / loss[:-1])
    return np.asarray(np.concatenate([[0.0], np.cumsum(steps)]) + 2 * GRID[0] / loss[0])


def loss_tables(cut: float) -> tuple[Array, npt.NDArray[np.int64]]:
    """Mean loss in GeV/cm below ``cut`` of each charged species but e-+ on :data:`GRID`.

    Returns:
        (table, GRID_SIZE) losses, and (species,) the row of each species, -1 for neutral ones and e-+.
    """
    rows: list[Array] = []
    row_of: npt.NDArray[np.int64] = np.full(species.COUNT, -1, dtype=np.int64)
    for index, (mass, charge) in enumerate(zip(species.MASS, species.CHARGE, strict=True)):
        if charge == 0 or index in (species.ELECTRON, species.POSITRON):
            continue
        loss = bethe(GRID, float(mass), float(charge), cut)
        if index in (species.MUON_MINUS, species.MUON_PLUS):
            loss = loss + muon_radiative(GRID)
        row_of[index] = len(rows)
        rows.append(loss)
    return np.stack(rows), row_of


@compiled
def locate(kinetic: float) -> tuple[int, float]:
    """Grid interval and fraction within it of a kinetic energy in GeV, held at the ends of the grid."""
    place = (math.log(max(kinetic, 1.0e-9)) - _LOG_LOW) * _PER_LOG
    index = min(max(int(place), 0), GRID_SIZE - 2)
    return index, min(max(place - index, 0.0), 1.0)


@compiled
def lerp(table: Array, row: int, index: int, fraction: float) -> float:
    """Linear interpolation in row ``row`` of a (rows, GRID_SIZE) table."""
    low: float = table[row, index]
    return float(low + fraction * (table[row, index + 1] - low))


@compiled
def mean_after(loss: Array, row: int, kinetic: float, path: float) -> float:
    """Kinetic energy in GeV after ``path`` cm of mean loss (midpoint rule; path is at most 0.2 range)."""
    index, fraction = locate(kinetic)
    lost = lerp(loss, row, index, fraction) * path
    if lost > 0.01 * kinetic:
        index, fraction = locate(max(kinetic - 0.5 * lost, GRID_LOW))
        lost = lerp(loss, row, index, fraction) * path
    return max(kinetic - lost, 0.0)


@compiled
def straggle(mean: float, xi: float, beta2: float, largest: float, cut: float, rng: Generator) -> float:
    """One loss in GeV of a step whose mean loss is ``mean`` and whose Rutherford scale is ``xi`` (both GeV).

    Vavilov's theory is a Poisson process of collisions with density xi/T^2 (1 - beta^2 T/Tmax). In u = xi/T its
    rate is one, so collisions come in falling order of T by adding exponentials to u, each kept with the
    bracket as probability. Those below xi/6 are many and enter as a Gaussian. The mean is kept exactly and
    no collision exceeds Tmax or ``cut``; ``largest`` is Tmax.
    """
    upper = min(largest, cut)
    soft = max(xi / _COLLISIONS, _SOFTEST)
    if soft >= upper:
        width = math.sqrt(xi * upper * (1.0 - 0.5 * beta2 * upper / largest))
        return max(mean + width * rng.standard_normal(), 0.0)
    loss = mean - xi * (math.log(upper / soft) - beta2 * (upper - soft) / largest)
    loss += math.sqrt(xi * soft) * rng.standard_normal()
    u, last = xi / upper, xi / soft
    while True:
        u += rng.standard_exponential()
        if u > last:
            return max(loss, 0.0)
        transfer = xi / u
        spin = beta2 * transfer / largest
        if spin < 1e-3 or rng.random() >= spin:
            loss += transfer
