"""Rescattering in the struck nucleus: pions and nucleons made inside step out through it and may collide.

A particle moves in steps; each step may end in a collision with a nucleon of the local Fermi gas (elastic, charge
exchange, pion production) or, for pions, in absorption on a nucleon pair. A collision is undone if it would put a
nucleon into an occupied state. Other hadrons (kaons, hyperons, eta) leave untouched, which is a simplification. Every
collision conserves four-momentum, charge and baryon number together with the remnant.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.neutrino.hadron_cross_sections import LOG_T_FIRST, LOG_T_STEP, HadronCrossSections
from nuadapt.sources.simulation.neutrino.kinematics import (
    around,
    boosted,
    invariant_mass2,
    isotropic,
    momentum,
    three_body,
    two_body,
)
from nuadapt.sources.simulation.neutrino.masses import M_NEUTRON, M_PION, M_PION_ZERO, M_PROTON
from nuadapt.sources.simulation.neutrino.nucleus import (
    Nucleus,
    density_at,
    local_fermi_momentum,
    sphere_momentum,
    take_nucleon,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CAPACITY = 256  # particles that one cascade may hold; far above what 40 nucleons and 10 GeV make
MB_TO_FM2 = 0.1
CENTRAL_DENSITY = 0.17  # 1/fm^3, nuclear matter, the scale of two-nucleon absorption
MAX_STEPS = 2000  # per particle: 400 fm, forty times the nucleus
NP_ABSORPTION = (
    0.9  # of absorbing pairs are n p; D. Ashery and J. P. Schiffer, Ann. Rev. Nucl. Part. Sci. 36 (1986) 207
)


class Medium(NamedTuple):
    """What a particle moves through, in the form that compiled kernels take."""

    target: Nucleus
    tables: HadronCrossSections
    step: float  # fm
    escape_energy: float  # GeV of kinetic energy below which a nucleon stays in the remnant
    pion_scale: float  # factor on pion-nucleon cross-sections
    absorption_scale: float  # factor on pion absorption
    nucleon_scale: float  # factor on nucleon-nucleon cross-sections


class Particles(NamedTuple):
    """Particles under way and the remnant; arrays are changed in place."""

    pdg: IntArray  # (CAPACITY,)
    p4: FloatArray  # (CAPACITY, 4)
    position: FloatArray  # (CAPACITY, 3) fm
    counts: IntArray  # (4,): particles, remnant Z, remnant A, collisions
    remnant: FloatArray  # (4,)


@compiled
def particles_at(pdg: IntArray, p4: FloatArray, where: FloatArray, remnant: FloatArray, z: int, a: int) -> Particles:
    """Particles (n,) at one point (3,) of a remnant of charge z and mass number a."""
    position, counts = np.zeros((CAPACITY, 3)), np.zeros(4, np.int64)
    all_pdg, all_p4 = np.zeros(CAPACITY, np.int64), np.zeros((CAPACITY, 4))
    n = len(pdg)
    all_pdg[:n], all_p4[:n] = pdg, p4
    position[:n] = where
    counts[0], counts[1], counts[2] = n, z, a
    return Particles(all_pdg, all_p4, position, counts, remnant.copy())


@compiled
def rescatter(state: Particles, medium: Medium, formation_time: float, rng: np.random.Generator) -> None:
    """Follow every pion and nucleon until it leaves or is absorbed; ``state`` then holds what left.

    ``formation_time`` (fm/c, proper): the particles first fly freely that long; zero except for DIS.
    """
    if formation_time > 0:
        for i in range(state.counts[0]):
            m = math.sqrt(max(invariant_mass2(state.p4[i]), 1e-6))
            state.position[i] += state.p4[i, :3] / m * formation_time  # boost factor times velocity is p / m
    i = 0
    while i < state.counts[0]:
        if _leaves(i, state, medium, rng):
            i += 1
        else:
            _drop(state, i)  # its products stand at the end of the list


@compiled
def _drop(state: Particles, i: int) -> None:
    last = state.counts[0] - 1
    state.pdg[i] = state.pdg[last]
    state.p4[i] = state.p4[last]
    state.position[i] = state.position[last]
    state.counts[0] = last


@compiled
def _push(state: Particles, pdg: int, p4: FloatArray, i: int) -> None:
    """Add a particle at the place of particle ``i``."""
    n = state.counts[0]
    state.pdg[n] = pdg
    state.p4[n] = p4
    state.position[n] = state.position[i]
    state.counts[0] = n + 1


@compiled
def _is_pion(pdg: int) -> bool:
    return pdg == 211 or pdg == 111 or pdg == -211


@compiled
def _is_nucleon(pdg: int) -> bool:
    return pdg == 2212 or pdg == 2112


@compiled
def _mass(pdg: int) -> float:
    if pdg == 2212:
        return M_PROTON
    if pdg == 2112:
        return M_NEUTRON
    return M_PION_ZERO if pdg == 111 else M_PION


@compiled
def _charge(pdg: int) -> int:
    if pdg == 2212 or pdg == 211:
        return 1
    return -1 if pdg == -211 else 0


@compiled
def _look_up(values: FloatArray, kinetic: float) -> float:
    position = (math.log(max(kinetic, 1e-3)) - LOG_T_FIRST) / LOG_T_STEP
    i = min(max(int(position), 0), len(values) - 2)
    part = min(max(position - i, 0.0), 1.0)
    return float(values[i] * (1 - part) + values[i + 1] * part)


@compiled
def _leaves(i: int, state: Particles, medium: Medium, rng: np.random.Generator) -> bool:
    """Move particle ``i``; True if it leaves the nucleus, False if it stays in or turned into others."""
    pdg = state.pdg[i]
    if not (_is_pion(pdg) or _is_nucleon(pdg)):
        return True
    p4 = state.p4[i]
    kinetic = p4[3] - _mass(pdg)
    if _is_nucleon(pdg) and kinetic < medium.escape_energy:
        return not _stay(i, state)
    p = max(momentum(p4), 1e-9)
    per_proton, per_neutron, pair = _cross_sections(pdg, kinetic, medium)
    for _ in range(MAX_STEPS):
        state.position[i] += p4[:3] / p * medium.step
        x = state.position[i]
        density = density_at(medium.target, math.sqrt(x[0] ** 2 + x[1] ** 2 + x[2] ** 2))
        if density <= 0.0:
            break
        each = density / medium.target.a  # density of one nucleon; those knocked out are gone
        on_proton = each * state.counts[1] * per_proton
        on_any = on_proton + each * (state.counts[2] - state.counts[1]) * per_neutron
        rate = on_any + each * state.counts[2] * pair * density / CENTRAL_DENSITY
        if rng.random() < 1 - math.exp(-rate * MB_TO_FM2 * medium.step):
            draw = rng.random() * rate
            fermi = local_fermi_momentum(density)
            if draw < on_any:
                done = _collide(i, draw < on_proton, state, medium, fermi, rng)
            else:
                done = _absorb(i, state, medium.target, fermi, rng)
            if done:
                state.counts[3] += 1
                return False
    return True


@compiled
def _cross_sections(pdg: int, kinetic: float, medium: Medium) -> tuple[float, float, float]:
    """mb on a proton, on a neutron, and of absorption per nucleon at central density."""
    tables = medium.tables
    if _is_nucleon(pdg):
        equal = _look_up(tables.equal, kinetic) * medium.nucleon_scale
        unequal = _look_up(tables.unequal, kinetic) * medium.nucleon_scale
        return (equal, unequal, 0.0) if pdg == 2212 else (unequal, equal, 0.0)
    i3 = _look_up(tables.pion_3, kinetic) * medium.pion_scale
    i1 = _look_up(tables.pion_1, kinetic) * medium.pion_scale
    absorption = _look_up(tables.pion_absorption, kinetic) * medium.absorption_scale
    if pdg == 111:
        return (2 * i3 + i1) / 3, (2 * i3 + i1) / 3, absorption
    if pdg == 211:
        return i3, (i3 + 2 * i1) / 3, absorption
    return (i3 + 2 * i1) / 3, i3, absorption


@compiled
def _stay(i: int, state: Particles) -> bool:
    """Put a slow nucleon back into the remnant (always physical: two bodies outweigh their bound state)."""
    if state.counts[2] < 1:
        return False
    state.remnant[:] += state.p4[i]
    state.counts[1] += _charge(state.pdg[i])
    state.counts[2] += 1
    return True


@compiled
def _collide(i: int, on_proton: bool, state: Particles, medium: Medium, fermi: float, rng: np.random.Generator) -> bool:
    """Scatter particle ``i`` on a nucleon of the local Fermi sphere of radius ``fermi`` (GeV); False if impossible."""
    p3 = sphere_momentum(fermi, rng)
    possible, nucleon = take_nucleon(medium.target, state.remnant, state.counts[1], state.counts[2], on_proton, p3)
    if not possible:
        return False
    total = state.p4[i] + nucleon
    projectile = state.pdg[i]
    kinetic = state.p4[i, 3] - _mass(projectile)
    pdgs, n = _choose_products(projectile, 2212 if on_proton else 2112, kinetic, medium.tables, rng)
    masses = np.zeros(n)
    for k in range(n):
        masses[k] = _mass(pdgs[k])
    if invariant_mass2(total) <= (masses.sum() + 1e-4) ** 2:
        return False
    if n == 3:
        products = three_body(total, masses, rng)
    else:
        products = _two_to_two(state.p4[i], total, masses, _is_pion(projectile), rng)
    return _commit(i, state, pdgs[:n], products, fermi, (nucleon, int(on_proton), 1))


@compiled
def _commit(
    i: int,
    state: Particles,
    pdgs: IntArray,
    products: FloatArray,
    fermi: float,
    taken: tuple[FloatArray, int, int],
) -> bool:
    """Make the products real unless Pauli forbids; ``taken``: four-momentum, protons, nucleons out of the remnant."""
    n = len(pdgs)
    if state.counts[0] + n > CAPACITY:
        return False
    for k in range(n):
        if _is_nucleon(pdgs[k]) and momentum(products[k]) < fermi:
            return False
    state.remnant[:] -= taken[0]
    state.counts[1] -= taken[1]
    state.counts[2] -= taken[2]
    for k in range(n):
        _push(state, pdgs[k], products[k], i)
    return True


@compiled
def _two_to_two(
    projectile: FloatArray, total: FloatArray, masses: FloatArray, is_pion: bool, rng: np.random.Generator
) -> FloatArray:
    """Two-body scattering in the centre of mass about the projectile's direction, shape (2, 4).

    Pions: 1 + 3 cos^2 in the Delta region. Above, and for nucleons, exp(B t); B for N N of Cugnon et al. (1996) in
    the laboratory momentum p (GeV/c), 8/GeV^2 for pi N (PDG elastic slopes of a few GeV/c).
    """
    axis = boosted(projectile, total, -1.0)
    cos = 2 * rng.random() - 1
    if is_pion and invariant_mass2(total) < 1.45**2:
        while rng.random() * 4 > 1 + 3 * cos * cos:
            cos = 2 * rng.random() - 1
    else:
        p = momentum(projectile)
        slope = 8.0
        if not is_pion:
            slope = 5.5 * p**8 / (7.7 + p**8) if p < 2 else 5.334 + 0.67 * (p - 2)
        extent = 4 * momentum(axis) ** 2 * slope  # B times the range of t
        if extent > 1e-3:
            cos = 1 + 2 * math.log(1 - rng.random() * (1 - math.exp(-extent))) / extent
    return two_body(total, masses[0], masses[1], around(axis[:3], max(cos, -1.0), 2 * math.pi * rng.random()))


@compiled
def _choose_products(  # type: ignore[no-untyped-def]
    pdg: int, struck: int, kinetic: float, tables: HadronCrossSections, rng: np.random.Generator
):
    """Codes of what comes out of a collision (first n of three), projectile-like first."""
    out = np.array([pdg, struck, 0])
    if _is_nucleon(pdg):
        shares = tables.equal_inelastic if pdg == struck else tables.unequal_inelastic
        if rng.random() < _look_up(shares, kinetic):
            return _pion_production(pdg, struck, rng), 3
        return out, 2
    if rng.random() < _look_up(tables.pion_inelastic, kinetic):
        return _second_pion(pdg, struck, rng), 3
    if rng.random() < _exchange_share(pdg, struck, kinetic, tables):
        if pdg == 111:
            return (np.array([211, 2112, 0]) if struck == 2212 else np.array([-211, 2212, 0])), 2
        return np.array([111, 2212 if _charge(pdg) + _charge(struck) == 1 else 2112, 0]), 2
    return out, 2


@compiled
def _exchange_share(pdg: int, struck: int, kinetic: float, tables: HadronCrossSections) -> float:
    """Share of charge exchange among two-body pi N collisions.

    Clebsch-Gordan: 2/9 of the isospin 3/2 plus 2/9 of the isospin 1/2 cross-section, their interference neglected:
    2/3 of pi- p and 1/3 of pi0 N at the Delta.
    """
    if pdg != 111 and (pdg == 211) == (struck == 2212):
        return 0.0
    i3, i1 = _look_up(tables.pion_3, kinetic), _look_up(tables.pion_1, kinetic)
    total = (2 * i3 + i1) / 3 if pdg == 111 else (i3 + 2 * i1) / 3
    return 2 / 9 * (i3 + i1) / total


@compiled
def _pion_production(pdg: int, struck: int, rng: np.random.Generator) -> IntArray:
    """N N -> N N pi through one Delta (Clebsch-Gordan).

    p p -> p n pi+ : p p pi0 = 5 : 1; n p -> n p pi0 : p p pi- : n n pi+ = 4 : 1 : 1.
    """
    draw = rng.random() * 6
    if pdg != struck:
        if draw < 4:
            return np.array([pdg, struck, 111])
        return np.array([2212, 2212, -211]) if draw < 5 else np.array([2112, 2112, 211])
    if draw < 1:
        return np.array([pdg, struck, 111])
    return np.array([2212, 2112, 211]) if pdg == 2212 else np.array([2212, 2112, -211])


@compiled
def _second_pion(pdg: int, struck: int, rng: np.random.Generator) -> IntArray:
    """pi N -> pi pi N with rounded charge shares: half with a charged pair, where the charge allows it."""
    charge = _charge(pdg) + _charge(struck)
    draw = rng.random()
    if charge == 2:
        return np.array([211, 2212, 111]) if draw < 0.6 else np.array([211, 2112, 211])
    if charge == -1:
        return np.array([-211, 2112, 111]) if draw < 0.6 else np.array([-211, 2212, -211])
    same, other, pion = (2212, 2112, 211) if charge == 1 else (2112, 2212, -211)
    if draw < 0.5:
        return np.array([211, same, -211])
    return np.array([pion, other, 111]) if draw < 0.8 else np.array([111, same, 111])


@compiled
def _absorb(i: int, state: Particles, target: Nucleus, fermi: float, rng: np.random.Generator) -> bool:
    """pi N N -> N N on a pair drawn from the remnant, mostly neutron-proton (quasi-deuteron)."""
    z, a = state.counts[1], state.counts[2]
    if a < 3:
        return False
    charge = _charge(state.pdg[i])
    unlike = rng.random() < NP_ABSORPTION
    first_is_proton = unlike or charge < 0 or (charge == 0 and rng.random() < 0.5)
    second_is_proton = (not unlike) and first_is_proton
    possible, first = take_nucleon(target, state.remnant, z, a, first_is_proton, sphere_momentum(fermi, rng))
    if not possible:
        return False
    rest = state.remnant - first
    p3 = sphere_momentum(fermi, rng)
    possible, second = take_nucleon(target, rest, z - int(first_is_proton), a - 1, second_is_proton, p3)
    if not possible:
        return False
    protons = int(first_is_proton) + int(second_is_proton)
    after = protons + charge  # 0 to 2 by the choice of pair
    out = np.array([2212 if after > 0 else 2112, 2212 if after > 1 else 2112])
    total = state.p4[i] + first + second
    if invariant_mass2(total) <= (_mass(out[0]) + _mass(out[1]) + 1e-4) ** 2:
        return False
    products = two_body(total, _mass(out[0]), _mass(out[1]), isotropic(rng))
    return _commit(i, state, out, products, fermi, (first + second, protons, 2))
