"""Collisions of one hadron with one bound nucleon: cross-sections, channels, charges and kinematics. GeV, mb, fm.

Products go to the list of hadrons inside the nucleus. Nucleon-nucleon cross-sections: Cugnon, L'Hote,
Vandermeulen, NIM B111 (1996) 215. Pion-nucleon: isospin averages of the PDG data; absorption on pairs as an
effective cross-section per nucleon that gives the absorption measured by LADS and Ashery et al. (1981).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import material, species
from nuadapt.sources.simulation.passage import species as sp
from nuadapt.sources.simulation.passage.particle_decays import boost, break_up
from nuadapt.sources.simulation.passage.tracking import INSIDE, Record, State, isotropic, turned

Array = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

_MASS, _CHARGE = species.MASS, species.CHARGE
_PF: Final = material.FERMI_MOMENTUM
#: Pion kinetic energy, then mb: elastic with charge exchange, pion production, absorption.
_PION_NUCLEON: Final[Array] = np.array(
    [
        *((0.01, 5.0, 0.0, 9.0), (0.05, 12.0, 0.0, 6.0), (0.10, 32.0, 0.0, 6.5), (0.15, 55.0, 0.0, 7.5)),
        *((0.19, 62.0, 0.0, 7.0), (0.25, 48.0, 0.5, 4.5), (0.30, 36.0, 1.0, 3.0), (0.40, 25.0, 4.0, 1.5)),
        *((0.60, 18.0, 12.0, 0.8), (0.80, 20.0, 18.0, 0.5), (1.00, 18.0, 22.0, 0.3), (1.50, 14.0, 22.0, 0.1)),
        *((2.0, 11.0, 22.0, 0.0), (5.0, 7.0, 20.0, 0.0), (20.0, 5.0, 19.0, 0.0)),
    ]
)
_FORMATION: Final = 0.342  # fm; formation length is this times p/m (SKAT; Baranov et al. 1984)
_TRIES: Final = 60


@compiled
def is_nucleon(kind: int) -> bool:
    """True for protons and neutrons."""
    return kind == sp.PROTON or kind == sp.NEUTRON


@compiled
def is_pion(kind: int) -> bool:
    """True for pions of any charge."""
    return kind == sp.PION_PLUS or kind == sp.PION_MINUS or kind == sp.PION_ZERO


@compiled
def is_antinucleon(kind: int) -> bool:
    """True for antiprotons and antineutrons."""
    return kind == sp.ANTIPROTON or kind == sp.ANTINEUTRON


@compiled
def pion_of(charge: int) -> int:
    """Pion species of a charge."""
    if charge > 0:
        return sp.PION_PLUS
    return sp.PION_MINUS if charge < 0 else sp.PION_ZERO


@compiled
def pion_nucleon(kinetic: float, column: int) -> float:
    """A column of the pion-nucleon table at a kinetic energy, mb, linear in log T."""
    last = _PION_NUCLEON.shape[0] - 1
    if kinetic <= _PION_NUCLEON[0, 0]:
        return float(_PION_NUCLEON[0, column])
    for k in range(last):
        low, high = _PION_NUCLEON[k, 0], _PION_NUCLEON[k + 1, 0]
        if kinetic < high:
            share = math.log(kinetic / low) / math.log(high / low)
            return float(_PION_NUCLEON[k, column] * (1.0 - share) + _PION_NUCLEON[k + 1, column] * share)
    return float(_PION_NUCLEON[last, column])


@compiled
def like_total(p: float) -> float:
    """Total pp (= nn) cross-section in mb at laboratory momentum ``p`` (Cugnon et al. 1996)."""
    if p < 0.4:
        return float(34.0 * (max(p, 0.15) / 0.4) ** -2.104)
    if p < 0.8:
        return 23.5 + 1000.0 * (p - 0.7) ** 4
    if p < 1.5:
        return 23.5 + 24.6 / (1.0 + math.exp(-(p - 1.2) / 0.1))
    return 41.0 + 60.0 * (p - 0.9) * math.exp(-1.2 * p)


@compiled
def unlike_total(p: float) -> float:
    """Total pn cross-section in mb at laboratory momentum ``p`` (Cugnon et al. 1996)."""
    if p < 0.4:
        q = max(p, 0.15)
        return float(6.3555 * q**-3.2481 * math.exp(-0.377 * math.log(q) ** 2))
    if p < 0.8:
        return float(33.0 + 196.0 * abs(p - 0.95) ** 2.5)
    if p < 2.0:
        return 24.2 + 8.9 * p
    return 42.0


@compiled
def elastic_share(p: float, like: bool) -> float:
    """Share of elastic collisions of nucleons at laboratory momentum ``p`` (Cugnon et al. 1996)."""
    if p < 0.8:
        return 1.0
    if p > 2.0:
        part = 77.0 / (p + 1.5)
    elif like:
        part = 1250.0 / (p + 50.0) - 4.0 * (p - 1.3) ** 2
    else:
        part = 31.0 / math.sqrt(p)
    return min(part / (like_total(p) if like else unlike_total(p)), 1.0)


@compiled
def mean_total(kind: int, p: float) -> float:
    """Cross-section on an average nucleon of argon, mb, with pion absorption; ``p`` is the momentum."""
    kinetic = math.sqrt(p * p + _MASS[kind] ** 2) - _MASS[kind]
    if is_nucleon(kind):
        return 0.5 * (like_total(p) + unlike_total(p))
    if is_pion(kind):
        return pion_nucleon(kinetic, 1) + pion_nucleon(kinetic, 2) + pion_nucleon(kinetic, 3)
    if is_antinucleon(kind):
        return 60.0 + 30.0 / max(p, 0.2)
    if kind == sp.KAON_PLUS:
        return 12.0 if p < 1.0 else 17.0
    return 30.0  # K-, K0, hyperons: about 20 to 40 mb (PDG cross-section plots)


@compiled
def add_inside(state: State, kind: int, p: Vector, at: Record, formed: bool) -> None:
    """A hadron inside the nucleus at the place of ``at``; one not yet formed gets a formation length."""
    index = state.counts[INSIDE]
    if index >= state.inside.shape[0]:
        return
    state.counts[INSIDE] = index + 1
    new = state.inside[index]
    x, y, z = at.x, at.y, at.z
    new.species, new.x, new.y, new.z = kind, x, y, z
    new.px, new.py, new.pz = p
    size = math.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
    new.formation = 0.0 if formed else _FORMATION * size / _MASS[kind]


@compiled
def energy_of(kind: int, p: Vector) -> float:
    """Total energy in GeV."""
    return math.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2 + _MASS[kind] ** 2)


@compiled
def fermi(rng: Generator) -> Vector:
    """Momentum of a bound nucleon: uniform in the Fermi sphere."""
    size, u = _PF * rng.random() ** (1.0 / 3.0), isotropic(rng)
    return size * u[0], size * u[1], size * u[2]


@compiled
def centre(energy: float, total: Vector) -> tuple[float, Vector, float]:
    """Invariant mass, direction and Lorentz factor of a system."""
    p = math.sqrt(total[0] ** 2 + total[1] ** 2 + total[2] ** 2)
    mass = math.sqrt(max(energy * energy - p * p, 1e-12))
    if p < 1e-12:
        return mass, (0.0, 0.0, 1.0), 1.0
    return mass, (total[0] / p, total[1] / p, total[2] / p), energy / mass


@compiled
def t_slope(kind: int, p: float) -> float:
    """Slope of exp(B t) of elastic scattering, 1/GeV^2 (nucleons: Cugnon et al. 1996; pions: PDG data)."""
    if is_nucleon(kind):
        return 5.5 * p**8 / (7.7 + p**8) if p < 2.0 else 5.334 + 0.67 * (p - 2.0)
    return 7.0 if p > 0.6 else 0.0


@compiled
def scattering_cosine(kind: int, p: float, star: float, rng: Generator) -> float:
    """Cosine of the scattering angle in the centre of mass; slow pions follow 1 + 3 cos^2 (the Delta)."""
    steep = 2.0 * t_slope(kind, p) * star * star
    if steep > 1e-3:
        return 1.0 + math.log(1.0 - rng.random() * (1.0 - math.exp(-2.0 * steep))) / steep
    while True:
        cosine = 2.0 * rng.random() - 1.0
        if not is_pion(kind) or 4.0 * rng.random() < 1.0 + 3.0 * cosine * cosine:
            return cosine


@compiled
def two_to_two(
    state: State, at: Record, target: tuple[int, float, float, float], out: tuple[int, int], rng: Generator
) -> bool:
    """Scatter ``at`` on ``target`` (species and momentum) into the species ``out``; False below threshold."""
    kind, pa, pb = int(at.species), (at.px, at.py, at.pz), (target[1], target[2], target[3])
    energy = energy_of(kind, pa) + energy_of(target[0], pb)
    mass, axis, gamma = centre(energy, (pa[0] + pb[0], pa[1] + pb[1], pa[2] + pb[2]))
    if mass <= _MASS[out[0]] + _MASS[out[1]]:
        return False
    back = (-axis[0], -axis[1], -axis[2])
    a = boost(pa, energy_of(kind, pa), back, gamma)
    size = math.sqrt(a[0] ** 2 + a[1] ** 2 + a[2] ** 2)
    star = break_up(mass, _MASS[out[0]], _MASS[out[1]])
    along = (a[0] / size, a[1] / size, a[2] / size) if size > 1e-12 else (0.0, 0.0, 1.0)
    lab = math.sqrt(pa[0] ** 2 + pa[1] ** 2 + pa[2] ** 2)
    cosine = scattering_cosine(kind, lab, star, rng)
    u = turned(along, cosine, 2.0 * math.pi * rng.random())
    for k in range(2):
        sign = 1.0 - 2.0 * k
        c = (sign * star * u[0], sign * star * u[1], sign * star * u[2])
        add_inside(state, out[k], boost(c, energy_of(out[k], c), axis, gamma), at, True)
    return True


@compiled
def draw_charges(state: State, first: int, pions: int, charge: int, rng: Generator) -> bool:
    """Give ``pions`` hadrons from ``first`` on pion charges that sum to ``charge``; False if not found."""
    for _ in range(_TRIES):
        total = 0
        for k in range(pions):
            one = min(int(3.0 * rng.random()), 2) - 1
            total += one
            state.inside[first + k].species = pion_of(one)
        if total == charge:
            return True
    return False


@compiled
def rescale(state: State, first: int, mass: float) -> bool:
    """Make the hadrons from ``first`` on a system at rest of invariant mass ``mass`` by shift and common factor."""
    last = state.counts[INSIDE]
    sx, sy, sz, rest = 0.0, 0.0, 0.0, 0.0
    for k in range(first, last):
        h = state.inside[k]
        sx, sy, sz, rest = sx + h.px, sy + h.py, sz + h.pz, rest + _MASS[h.species]
    if rest >= mass:
        return False
    n = last - first
    for k in range(first, last):
        h = state.inside[k]
        h.px, h.py, h.pz = h.px - sx / n, h.py - sy / n, h.pz - sz / n
    factor = 1.0
    for _ in range(30):  # Newton for sum sqrt(m^2 + f^2 p^2) = mass, convex and rising in f
        total, slope = -mass, 1e-300
        for k in range(first, last):
            h = state.inside[k]
            p2 = h.px * h.px + h.py * h.py + h.pz * h.pz
            e = math.sqrt(_MASS[h.species] ** 2 + factor * factor * p2)
            total, slope = total + e, slope + factor * p2 / e
        step = total / slope
        factor = max(factor - step, 0.05 * factor)
        if abs(step) < 1e-13 * factor:
            break
    for k in range(first, last):
        h = state.inside[k]
        h.px, h.py, h.pz = factor * h.px, factor * h.py, factor * h.pz
    return True


@compiled
def boost_all(state: State, first: int, axis: Vector, gamma: float) -> None:
    """Take the hadrons from ``first`` on out of their rest frame, and give them formation lengths."""
    for k in range(first, state.counts[INSIDE]):
        h = state.inside[k]
        p = (h.px, h.py, h.pz)
        q = boost(p, energy_of(h.species, p), axis, gamma)
        h.px, h.py, h.pz = q
        h.formation = _FORMATION * math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2) / _MASS[h.species]


@compiled
def spread(state: State, kind: int, at: Record, ahead: float, rng: Generator) -> None:
    """Add a hadron of a multi-body final state: transverse momentum 0.3 GeV, ``ahead`` along ``at``."""
    p = (at.px, at.py, at.pz)
    size = max(math.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2), 1e-12)
    u = isotropic(rng)
    wide = 0.3 * math.sqrt(2.0 * rng.standard_exponential())
    q = (
        wide * u[0] + ahead * p[0] / size,
        wide * u[1] + ahead * p[1] / size,
        wide * u[2] + ahead * p[2] / size,
    )
    add_inside(state, kind, q, at, False)
