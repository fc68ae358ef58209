"""From a hadronic system of mass W to hadrons: multiplicities, species and momenta (before nuclear rescattering).

Simplified from the AGKY model, T. Yang et al., arXiv:0904.4043: charged multiplicity from KNO scaling, baryon
mostly backward, transverse momenta limited. Differences: the charged multiplicity is drawn directly (AGKY draws all
hadrons, then charges), and mesons fill a longitudinal phase space rather than a reweighted isotropic one.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.neutrino.kinematics import around, boosted, invariant_mass2, momentum, two_body
from nuadapt.sources.simulation.neutrino.masses import (
    ETA,
    K_LONG,
    K_MINUS,
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
    SIGMA_MINUS,
    SIGMA_PLUS,
    SIGMA_ZERO,
    mass,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

#: <n_ch> = a + b ln(W^2/GeV^2) and Levy parameter c, by antineutrino and proton target; arXiv:0904.4043 tables 1 and 2.
CHARGED_MULTIPLICITY: dict[tuple[bool, bool], tuple[float, float, float]] = {
    (False, True): (0.40, 1.42, 7.93),
    (False, False): (-0.20, 1.42, 5.22),
    (True, True): (0.02, 1.28, 5.22),
    (True, False): (0.80, 0.95, 7.93),
}
NEUTRAL_PER_CHARGED = 0.5  # <n_pi0> = <n_ch> / 2, arXiv:0904.4043
PROTON_SHARE_NU_P = 2 / 3  # of baryons from nu p; 1/3 from nu n. arXiv:0904.4043
STRANGE_PAIR = 0.05  # a pion pair is a kaon pair instead, arXiv:0904.4043
ETA_PER_PI_ZERO = (
    0.06  # eta over pi0 in neutrino interactions, rounded; W. Wittek et al. (BEBC), Z. Phys. C 44 (1989) 175
)
#: Associated production of a strange baryon: a + b ln(W^2), arXiv:0904.4043.
HYPERON = (0.022, 0.042)
SIGMA_SHARE = 0.3  # of strange baryons, assumed: half as many Sigma as Lambda, over three charges
PT2_SLOPE_BARYON = 6.625  # 1/GeV^2, exp(-6.625 pT^2): arXiv:0904.4043
XF_MEAN, XF_VARIANCE = -0.385, 0.131  # Gaussian in Feynman x of the baryon: arXiv:0904.4043
PT_MEAN_MESON = 0.32  # GeV, limited transverse momentum; Bonn/BEBC data as shown in arXiv:0904.4043
MAX_CHARGED = 40
W_GRID = np.linspace(1.0, 16.0, 151)  # GeV


def mean_charged(W: float, is_antineutrino: bool, hit: int) -> float:
    """Mean number of charged hadrons at ``W`` (GeV)."""
    a, b, _ = CHARGED_MULTIPLICITY[is_antineutrino, hit == PROTON]
    return a + b * math.log(W**2)


@cache
def _charged_cumulative(is_antineutrino: bool, is_proton: bool, total_charge: int) -> FloatArray:
    """Cumulative probability of n_ch, shape (W, MAX_CHARGED + 1): KNO with the Levy function on legal n_ch.

    psi(z) = 2 exp(-c) c^(c z + 1) / Gamma(c z + 1). Truncation at the smallest and largest possible n_ch would shift
    the mean, so the scale of z is solved for, at each W, such that the mean is the published one.
    """
    a, b, c = CHARGED_MULTIPLICITY[is_antineutrino, is_proton]
    n = np.arange(MAX_CHARGED + 1)
    rows = []
    for W in W_GRID:
        legal = (n % 2 == total_charge % 2) & (n >= abs(total_charge))
        legal &= n <= max((W - M_NUCLEON) / M_PION, abs(total_charge))
        wanted, low, high = max(a + b * math.log(W**2), 0.05), 0.02, 60.0
        for _ in range(50):
            scale = math.sqrt(low * high)
            weight = np.where(legal, _levy(n / scale, c), 0.0)
            mean = (n * weight).sum() / weight.sum()
            low, high = (scale, high) if mean < wanted else (low, scale)
        rows.append(np.cumsum(weight) / weight.sum())
    return np.asarray(rows)


def _levy(z: FloatArray, c: float) -> FloatArray:
    result: FloatArray = 2 * np.exp(-c + (c * z + 1) * math.log(c) - gammaln(c * z + 1)) + 1e-300
    return result


def hadron_species(W: float, is_antineutrino: bool, hit: int, total_charge: int, rng: np.random.Generator) -> list[int]:
    """PDG codes of the hadrons, baryon first, with the given total charge and a mass sum below ``W`` (GeV)."""
    for _ in range(50):
        species = _draw_species(W, is_antineutrino, hit, total_charge, rng)
        if sum(mass(code) for code in species) < W - 0.01:
            return species
    # Just above threshold: the lightest state of this charge.
    light = {2: (PROTON, PI_PLUS), 1: (PROTON, PI_ZERO), 0: (NEUTRON, PI_ZERO), -1: (NEUTRON, PI_MINUS)}
    return list(light[total_charge])


def _draw_species(W: float, is_antineutrino: bool, hit: int, total_charge: int, rng: np.random.Generator) -> list[int]:
    baryon, n_plus, n_minus = _draw_charged(W, is_antineutrino, hit, total_charge, rng)
    mean_neutral = NEUTRAL_PER_CHARGED * max(mean_charged(W, is_antineutrino, hit), 0.5)
    n_zero = int(rng.poisson(mean_neutral))
    room = W - mass(baryon) - (n_plus + n_minus) * M_PION
    n_zero = min(n_zero, max(int(room / M_PION), 0))
    if n_plus + n_minus + n_zero == 0:
        n_zero = 1
    hyperon_probability = HYPERON[0] + HYPERON[1] * math.log(W**2)
    mesons = [PI_PLUS] * n_plus + [PI_MINUS] * n_minus + [PI_ZERO] * n_zero
    if rng.random() < hyperon_probability:
        baryon, mesons = _make_strange(baryon, mesons, rng)
    return [baryon, *_replace_mesons(mesons, rng)]


def _draw_charged(
    W: float, is_antineutrino: bool, hit: int, total_charge: int, rng: np.random.Generator
) -> tuple[int, int, int]:
    """Baryon and numbers of positive and negative mesons with the drawn charged multiplicity."""
    cumulative = _charged_cumulative(is_antineutrino, hit == PROTON, total_charge)
    row = cumulative[min(max(round((W - W_GRID[0]) / (W_GRID[1] - W_GRID[0])), 0), len(W_GRID) - 1)]
    n_charged = int(np.searchsorted(row, rng.random(), side="right"))
    proton_share = PROTON_SHARE_NU_P if total_charge >= 1 and hit == PROTON else 1 - PROTON_SHARE_NU_P
    is_proton = rng.random() < proton_share
    for baryon_charge in (int(is_proton), int(not is_proton)):
        n_mesons, net = n_charged - baryon_charge, total_charge - baryon_charge
        if n_mesons >= abs(net) and (n_mesons + net) % 2 == 0:
            return (PROTON if baryon_charge else NEUTRON), (n_mesons + net) // 2, (n_mesons - net) // 2
    raise ValueError(f"no {n_charged} charged hadrons of total charge {total_charge}")


def _make_strange(baryon: int, mesons: list[int], rng: np.random.Generator) -> tuple[int, list[int]]:
    """Turn the nucleon and one pion into a strange baryon and a kaon of the same two charges, where possible."""
    neutral_kaon = K_SHORT if rng.random() < 0.5 else K_LONG
    wants_sigma = rng.random() < SIGMA_SHARE
    to_lambda = {(PROTON, PI_ZERO): K_PLUS, (NEUTRON, PI_PLUS): K_PLUS, (NEUTRON, PI_ZERO): neutral_kaon}
    to_sigma = {
        (PROTON, PI_ZERO): (SIGMA_PLUS, neutral_kaon),
        (PROTON, PI_PLUS): (SIGMA_PLUS, K_PLUS),
        (NEUTRON, PI_PLUS): (SIGMA_ZERO, K_PLUS),
        (NEUTRON, PI_ZERO): (SIGMA_MINUS, K_PLUS),
    }
    for position, meson in enumerate(mesons):
        rest = mesons[:position] + mesons[position + 1 :]
        if (wants_sigma or meson == PI_PLUS) and (baryon, meson) in to_sigma:
            strange, kaon = to_sigma[baryon, meson]
            return strange, [kaon, *rest]
        if (baryon, meson) in to_lambda:
            return LAMBDA, [to_lambda[baryon, meson], *rest]
    return baryon, mesons


def _replace_mesons(mesons: list[int], rng: np.random.Generator) -> list[int]:
    """Turn some pion pairs into kaon pairs and some neutral pions into eta; charges stay."""
    out = list(mesons)
    if PI_PLUS in out and PI_MINUS in out and rng.random() < STRANGE_PAIR:
        out[out.index(PI_PLUS)], out[out.index(PI_MINUS)] = K_PLUS, K_MINUS
    if out.count(PI_ZERO) >= 2 and rng.random() < STRANGE_PAIR:
        for _ in range(2):
            out[out.index(PI_ZERO)] = K_SHORT if rng.random() < 0.5 else K_LONG
    return [ETA if m == PI_ZERO and rng.random() < ETA_PER_PI_ZERO else m for m in out]


def hadron_momenta(masses: FloatArray, system: FloatArray, q: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Four-momenta (n, 4) in GeV of hadrons of ``masses`` (n,), baryon first.

    ``system`` (4,) is the hadronic system, ``q`` (4,) the momentum transfer: its direction in the system's rest frame
    is the axis along which momenta are long and to which they are transverse.
    """
    return _fragment(masses, system, boosted(q, system, -1.0)[:3].copy(), rng)


@compiled
def _fragment(masses: FloatArray, system: FloatArray, axis: FloatArray, rng: np.random.Generator) -> FloatArray:
    W = math.sqrt(invariant_mass2(system))
    n = len(masses)
    out = np.empty((n, 4))
    if n == 2:
        cos = _baryon_cosine(rng)
        out[:] = two_body(system, masses[0], masses[1], around(axis, cos, 2 * math.pi * rng.random()))
        return out
    baryon = _draw_baryon(masses, W, rng)
    rest = -baryon
    rest[3] = W - baryon[3]
    along_z = np.empty((n, 4))
    along_z[0] = baryon
    _longitudinal(masses[1:], rest, along_z[1:], rng)
    length = math.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
    phi = 2 * math.pi * rng.random()
    for i in range(n):
        p = momentum(along_z[i])
        hadron = along_z[i].copy()
        if p > 0 and length > 0:
            angle = math.atan2(along_z[i, 1], along_z[i, 0]) + phi
            direction = around(axis, along_z[i, 2] / p, angle)
            for k in range(3):
                hadron[k] = p * direction[k]
        out[i] = boosted(hadron, system, 1.0)
    return out


@compiled
def _baryon_cosine(rng: np.random.Generator) -> float:
    """Cosine of the baryon to the axis in a two-body state: Gaussian in Feynman x, its scale taken as the cosine."""
    for _ in range(100):
        cos = XF_MEAN + math.sqrt(XF_VARIANCE) * rng.normal()
        if -1 <= cos <= 1:
            return float(cos)
    return -0.4


@compiled
def _draw_baryon(masses: FloatArray, W: float, rng: np.random.Generator) -> FloatArray:
    """Four-momentum (4,) of the baryon in the rest frame, axis z; leaves enough mass for the mesons."""
    out = np.zeros(4)
    others, m = masses[1:].sum(), masses[0]
    limit = math.sqrt(max((W * W - (m + others) ** 2) * (W * W - (m - others) ** 2), 0.0)) / (2 * W)
    for _ in range(200):
        x_f = XF_MEAN + math.sqrt(XF_VARIANCE) * rng.normal()
        pt = math.sqrt(-math.log(1 - rng.random()) / PT2_SLOPE_BARYON)
        pz = x_f * W / 2
        if pz * pz + pt * pt < limit * limit:
            out[0], out[2] = pt, pz
            break
    out[3] = math.sqrt(out[0] ** 2 + out[2] ** 2 + m * m)
    return out


@compiled
def _longitudinal(masses: FloatArray, parent: FloatArray, out: FloatArray, rng: np.random.Generator) -> None:
    """Share ``parent`` (4,) among mesons uniform in rapidity along z with limited pT; fills ``out`` (n, 4).

    Rapidities are Y xi_i + c with xi uniform; Y and c follow exactly from energy and momentum conservation, so
    nothing is rejected (the idea of S. Jadach, Comput. Phys. Commun. 9 (1975) 297).
    """
    n = len(masses)
    total = math.sqrt(invariant_mass2(parent))
    px, py, xi, mt = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    width = PT_MEAN_MESON * math.sqrt(2 / math.pi)
    for i in range(n):
        px[i], py[i], xi[i] = width * rng.normal(), width * rng.normal(), rng.random()
    px -= px.mean()
    py -= py.mean()
    xi = (xi - xi.min()) / (xi.max() - xi.min() + 1e-12)  # the span is Y by definition
    for _ in range(60):  # shrink transverse momenta until the longitudinal ones have room
        mt[:] = np.sqrt(masses**2 + px**2 + py**2)
        if mt.sum() < 0.98 * total or masses.sum() >= 0.98 * total:
            break
        px *= 0.8
        py *= 0.8
    if mt.sum() >= total:
        px[:], py[:] = 0.0, 0.0
        mt[:] = masses
    low, high = 0.0, 60.0
    for _ in range(80):
        spread = 0.5 * (low + high)
        product = (mt * np.exp(spread * xi)).sum() * (mt * np.exp(-spread * xi)).sum()
        if product < total * total:
            low = spread
        else:
            high = spread
    spread = 0.5 * (low + high)
    centre = 0.5 * math.log((mt * np.exp(-spread * xi)).sum() / (mt * np.exp(spread * xi)).sum())
    for i in range(n):
        rapidity = spread * xi[i] + centre
        meson = np.array([px[i], py[i], mt[i] * math.sinh(rapidity), mt[i] * math.cosh(rapidity)])
        out[i] = boosted(meson, parent, 1.0)
