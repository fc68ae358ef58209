"""Resonance production: Delta(1232) after Rein and Sehgal, one effective higher resonance, and their decays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.neutrino.cross_sections import (
    COS2_CABIBBO,
    G_FERMI,
    GEV2_TO_1E38_CM2,
    SIN2_WEINBERG,
    Probe,
)
from nuadapt.sources.simulation.neutrino.masses import (
    ETA,
    K_PLUS,
    K_SHORT,
    LAMBDA,
    M_NUCLEON,
    M_PION,
    NEUTRON,
    PI_MINUS,
    PI_PLUS,
    PI_ZERO,
    PROTON,
)

FloatArray = npt.NDArray[np.float64]

OMEGA, Z_AXIAL = 1.05, 0.762  # oscillator constant (GeV^2) and axial renormalisation of the FKR quark model
M_V_RES = 0.84  # GeV, vector mass of the resonance dipole (Rein and Sehgal 1981)


@dataclass(frozen=True, slots=True)
class Resonance:
    """A Breit-Wigner peak: mass and width in GeV, relative angular momentum of the N pi decay."""

    mass: float
    width: float
    angular_momentum: int


DELTA = Resonance(1.232, 0.117, 1)  # PDG 2022, P33(1232)
#: Stands for N(1440), N(1520), N(1535), Delta(1600), their tails and the non-resonant background below the DIS
#: border. Mass near the mean of the second resonance region, width broad enough to fill up to W of 1.7 GeV.
HIGHER = Resonance(1.53, 0.22, 0)


def pion_momentum(W: FloatArray) -> FloatArray:
    """Momentum (GeV) of the pion in the rest frame of a resonance of mass ``W`` (GeV) decaying to N pi."""
    product = (W**2 - (M_NUCLEON + M_PION) ** 2) * (W**2 - (M_NUCLEON - M_PION) ** 2)
    result: FloatArray = np.sqrt(np.maximum(product, 0.0)) / (2 * W)
    return result


def breit_wigner(resonance: Resonance, W: FloatArray) -> FloatArray:
    """Breit-Wigner in W (1/GeV) with a width growing as the phase space of N pi, normalised below W of 3 GeV."""
    grid = np.linspace(M_NUCLEON + M_PION, 3.0, 2000)
    return _peak(resonance, W) / np.trapezoid(_peak(resonance, grid), grid)


def _peak(resonance: Resonance, W: FloatArray) -> FloatArray:
    ratio = pion_momentum(W) / pion_momentum(np.asarray(resonance.mass))
    # The barrier factor stops the P-wave width from growing without limit (radius 1/0.5 GeV).
    barrier = ((0.25 + pion_momentum(np.asarray(resonance.mass)) ** 2) / (0.25 + pion_momentum(W) ** 2)) ** (
        resonance.angular_momentum
    )
    width = resonance.width * ratio ** (2 * resonance.angular_momentum + 1) * barrier
    result: FloatArray = width / ((W - resonance.mass) ** 2 + 0.25 * width**2)
    return result


def resonance_production(
    probe: Probe, resonance: Resonance, energy: FloatArray, W: FloatArray, Q2: FloatArray, m_a: float
) -> FloatArray:
    """d2 sigma / dW dQ2 in 1e-38 cm2/GeV3 for the isospin of nu n -> mu Delta+ (or nu N -> nu Delta in NC).

    D. Rein and L. M. Sehgal, Ann. Phys. 133 (1981) 79: helicity amplitudes of P33(1232) in the FKR quark model.
    The effective higher resonance borrows them at its own W. Charge states multiply by :func:`isospin_weight`.
    """
    nu = (W**2 - M_NUCLEON**2 + Q2) / (2 * M_NUCLEON)
    q3_squared = nu**2 + Q2
    q3 = np.sqrt(q3_squared)
    lepton = np.maximum(energy - nu, 0.0)
    u, v = (energy + lepton + q3) / (2 * energy), (energy + lepton - q3) / (2 * energy)
    plus, minus, scalar = _helicity_strengths(probe, W, Q2, q3, m_a)
    transverse, longitudinal = W / M_NUCLEON, M_NUCLEON / W * q3_squared / np.maximum(Q2, 1e-9)
    if probe.is_antineutrino:
        u, v = v, u
    sum_ = transverse * (u**2 * plus + v**2 * minus) + 2 * u * v * longitudinal * scalar
    flux = G_FERMI**2 / (8 * np.pi) * Q2 / q3_squared * W / M_NUCLEON
    coupling = COS2_CABIBBO if probe.is_cc else 1.0
    return GEV2_TO_1E38_CM2 * coupling * flux * np.maximum(sum_, 0.0) * breit_wigner(resonance, W)


def _helicity_strengths(
    probe: Probe, W: FloatArray, Q2: FloatArray, q3: FloatArray, m_a: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Squared amplitudes for the two photon helicities and the scalar one; the first is favoured by neutrinos."""
    dipole_range = np.sqrt(1 + Q2 / (4 * M_NUCLEON**2))
    g_v = dipole_range * (1 + Q2 / M_V_RES**2) ** -2
    g_a = dipole_range * (1 + Q2 / m_a**2) ** -2
    plus_squared = (W + M_NUCLEON) ** 2 + Q2
    r_v = np.sqrt(2) * M_NUCLEON / W * (W + M_NUCLEON) * q3 / plus_squared * g_v
    r_a = np.sqrt(2) / 6 * Z_AXIAL / W * (W + M_NUCLEON) * g_a  # no oscillator quantum for the ground 56-plet
    c = Z_AXIAL / (6 * q3) * (W**2 - M_NUCLEON**2) / M_NUCLEON * g_a
    vector = 1.0 if probe.is_cc else 1 - 2 * SIN2_WEINBERG
    r_favoured, r_other = vector * r_v + r_a, vector * r_v - r_a
    return 8 * r_favoured**2, 8 * r_other**2, 16 * c**2  # 8 = sqrt(2)^2 + sqrt(6)^2, 16 = 2 (2 sqrt 2)^2


def isospin_weight(twice_isospin: int, is_cc: bool, is_antineutrino: bool, hit: int) -> float:
    """Strength relative to :func:`resonance_production` of an isospin 3/2 or 1/2 state on a proton or neutron.

    Clebsch-Gordan: the W raises p to Delta++ three times as strongly as n to Delta+, and makes isospin 1/2 of n
    only. The Z makes isospin 1/2 a quarter as strongly as the W.

    >>> isospin_weight(3, True, False, 2212), isospin_weight(1, True, False, 2212)
    (3.0, 0.0)
    """
    if not is_cc:
        return 1.0 if twice_isospin == 3 else 0.25
    extreme = (hit == PROTON) != is_antineutrino  # nu p and nubar n reach the isospin 3/2 state of extreme charge
    if twice_isospin == 3:
        return 3.0 if extreme else 1.0
    return 0.0 if extreme else 1.0


def pion_nucleon_state(twice_isospin: int, total_charge: int, pick: float) -> tuple[int, int]:
    """Nucleon and pion PDG codes of the decay to N pi, by Clebsch-Gordan; ``pick`` is uniform in [0, 1)."""
    if total_charge == 2:
        return PROTON, PI_PLUS
    if total_charge == -1:
        return NEUTRON, PI_MINUS
    neutral_pion = 2 / 3 if twice_isospin == 3 else 1 / 3
    if pick < neutral_pion:
        return (PROTON if total_charge == 1 else NEUTRON), PI_ZERO
    return (NEUTRON, PI_PLUS) if total_charge == 1 else (PROTON, PI_MINUS)


#: N pi pi charge states by total charge (nucleon, pion, pion) with weights of an isotropic mix of Delta pi and N rho.
_TWO_PION_STATES: dict[int, tuple[tuple[float, tuple[int, int, int]], ...]] = {
    2: ((0.75, (PROTON, PI_PLUS, PI_ZERO)), (0.25, (NEUTRON, PI_PLUS, PI_PLUS))),
    1: (
        (0.55, (PROTON, PI_PLUS, PI_MINUS)),
        (0.30, (NEUTRON, PI_PLUS, PI_ZERO)),
        (0.15, (PROTON, PI_ZERO, PI_ZERO)),
    ),
    0: (
        (0.55, (NEUTRON, PI_PLUS, PI_MINUS)),
        (0.30, (PROTON, PI_MINUS, PI_ZERO)),
        (0.15, (NEUTRON, PI_ZERO, PI_ZERO)),
    ),
    -1: ((0.75, (NEUTRON, PI_MINUS, PI_ZERO)), (0.25, (PROTON, PI_MINUS, PI_MINUS))),
}
#: Branching fractions of the effective resonance: N pi about 60 %, N eta 5 %, Lambda K 1 %, the rest N pi pi
#: (PDG 2022 summary of N(1440) to N(1650), rounded).
_N_PI, _N_ETA, _LAMBDA_K = 0.60, 0.05, 0.01


def decay_products(
    resonance: Resonance, twice_isospin: int, total_charge: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """PDG codes of one decay channel of a resonance of the given charge; thresholds are the caller's concern."""
    draw, pick = rng.random(), rng.random()
    if resonance is DELTA or draw < _N_PI:
        return pion_nucleon_state(twice_isospin, total_charge, pick)
    if draw < _N_PI + _N_ETA and twice_isospin == 1:
        return (PROTON if total_charge == 1 else NEUTRON), ETA
    if draw < _N_PI + _N_ETA + _LAMBDA_K and twice_isospin == 1:
        return LAMBDA, (K_PLUS if total_charge == 1 else K_SHORT)
    states = _TWO_PION_STATES[total_charge]
    for weight, state in states:
        pick -= weight
        if pick < 0:
            return state
    return states[0][1]
