"""Decays with exact kinematics: two and three bodies by phase space, muons with the Michel spectrum. GeV.

Branching fractions: PDG Review of Particle Physics (2024), renormalised to the modes listed.
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
from nuadapt.sources.simulation.passage.tracking import (
    DECAY,
    PRODUCTS,
    REST_MASS,
    Record,
    State,
    add_product,
    emit_products,
    isotropic,
    products_available,
)

Vector = tuple[float, float, float]

_MODES: Final[dict[int, tuple[tuple[float, tuple[int, ...]], ...]]] = {
    sp.PION_PLUS: ((1.0, (sp.MUON_PLUS, sp.NEUTRINO)),),
    sp.PION_MINUS: ((1.0, (sp.MUON_MINUS, sp.NEUTRINO)),),
    sp.PION_ZERO: (
        (0.98823, (sp.PHOTON, sp.PHOTON)),
        (0.01174, (sp.ELECTRON, sp.POSITRON, sp.PHOTON)),
    ),
    sp.KAON_PLUS: (
        (0.6356, (sp.MUON_PLUS, sp.NEUTRINO)),
        (0.2067, (sp.PION_PLUS, sp.PION_ZERO)),
        (0.05583, (sp.PION_PLUS, sp.PION_PLUS, sp.PION_MINUS)),
        (0.0507, (sp.PION_ZERO, sp.POSITRON, sp.NEUTRINO)),
        (0.03352, (sp.PION_ZERO, sp.MUON_PLUS, sp.NEUTRINO)),
        (0.01760, (sp.PION_PLUS, sp.PION_ZERO, sp.PION_ZERO)),
    ),
    sp.KAON_MINUS: (
        (0.6356, (sp.MUON_MINUS, sp.NEUTRINO)),
        (0.2067, (sp.PION_MINUS, sp.PION_ZERO)),
        (0.05583, (sp.PION_MINUS, sp.PION_MINUS, sp.PION_PLUS)),
        (0.0507, (sp.PION_ZERO, sp.ELECTRON, sp.NEUTRINO)),
        (0.03352, (sp.PION_ZERO, sp.MUON_MINUS, sp.NEUTRINO)),
        (0.01760, (sp.PION_MINUS, sp.PION_ZERO, sp.PION_ZERO)),
    ),
    sp.KAON_SHORT: ((0.6920, (sp.PION_PLUS, sp.PION_MINUS)), (0.3069, (sp.PION_ZERO, sp.PION_ZERO))),
    sp.KAON_LONG: (
        (0.20275, (sp.PION_PLUS, sp.ELECTRON, sp.NEUTRINO)),
        (0.20275, (sp.PION_MINUS, sp.POSITRON, sp.NEUTRINO)),
        (0.1352, (sp.PION_PLUS, sp.MUON_MINUS, sp.NEUTRINO)),
        (0.1352, (sp.PION_MINUS, sp.MUON_PLUS, sp.NEUTRINO)),
        (0.1952, (sp.PION_ZERO, sp.PION_ZERO, sp.PION_ZERO)),
        (0.1254, (sp.PION_PLUS, sp.PION_MINUS, sp.PION_ZERO)),
    ),
    sp.LAMBDA: ((0.641, (sp.PROTON, sp.PION_MINUS)), (0.359, (sp.NEUTRON, sp.PION_ZERO))),
    sp.SIGMA_PLUS: ((0.5147, (sp.PROTON, sp.PION_ZERO)), (0.4843, (sp.NEUTRON, sp.PION_PLUS))),
    sp.SIGMA_ZERO: ((1.0, (sp.LAMBDA, sp.PHOTON)),),
    sp.SIGMA_MINUS: ((1.0, (sp.NEUTRON, sp.PION_MINUS)),),
    sp.ETA: (
        (0.3936, (sp.PHOTON, sp.PHOTON)),
        (0.3257, (sp.PION_ZERO, sp.PION_ZERO, sp.PION_ZERO)),
        (0.2302, (sp.PION_PLUS, sp.PION_MINUS, sp.PION_ZERO)),
        (0.0428, (sp.PION_PLUS, sp.PION_MINUS, sp.PHOTON)),
    ),
}
_LIST: Final = [(kind, share, bodies) for kind, modes in _MODES.items() for share, bodies in modes]
_PARENT: Final[npt.NDArray[np.int64]] = np.array([kind for kind, _, _ in _LIST], dtype=np.int64)
_SHARE: Final[npt.NDArray[np.float64]] = np.array([share / sum(s for s, _ in _MODES[kind]) for kind, share, _ in _LIST])
_BODIES: Final[npt.NDArray[np.int64]] = np.array(
    [(*bodies, -1)[:3] for _, _, bodies in _LIST], dtype=np.int64
)  # (modes, 3); -1 where a mode has two bodies
_MASS, _REST = species.MASS, species.REST_AVAILABLE
_ME: Final = material.ELECTRON_MASS
_MMU: Final = material.MUON_MASS
#: Largest total energy of the electron of muon decay at rest, 52.83 MeV.
MICHEL_ENDPOINT: Final = (_MMU**2 + _ME**2) / (2 * _MMU)


@compiled
def break_up(mass: float, first: float, second: float) -> float:
    """Momentum of the two bodies of a decay at rest, GeV (PDG RPP eq. 49.16)."""
    inside = (mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2)
    return math.sqrt(max(inside, 0.0)) / (2.0 * mass)


@compiled
def boost(p: Vector, energy: float, axis: Vector, gamma: float) -> Vector:
    """Momentum after a boost along the unit vector ``axis`` with Lorentz factor ``gamma``."""
    along = p[0] * axis[0] + p[1] * axis[1] + p[2] * axis[2]
    shift = (gamma - 1.0) * along + math.sqrt(max(gamma * gamma - 1.0, 0.0)) * energy
    return p[0] + shift * axis[0], p[1] + shift * axis[1], p[2] + shift * axis[2]


@compiled
def _add_boosted(state: State, kind: int, p: Vector, gamma: float) -> None:
    mass = _MASS[kind]
    energy = math.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2 + mass * mass)
    q = boost(p, energy, (0.0, 0.0, 1.0), gamma)
    add_product(state, kind, q[0], q[1], q[2])


@compiled
def two_body(state: State, mode: int, mass: float, gamma: float, rng: Generator) -> None:
    """Products of a two-body decay of a particle moving along z."""
    first, second = _BODIES[mode, 0], _BODIES[mode, 1]
    p, u = break_up(mass, _MASS[first], _MASS[second]), isotropic(rng)
    _add_boosted(state, first, (p * u[0], p * u[1], p * u[2]), gamma)
    _add_boosted(state, second, (-p * u[0], -p * u[1], -p * u[2]), gamma)


@compiled
def _dalitz_mass(mass: float, low: float, rng: Generator) -> float:
    """Mass of the e+e- pair of a Dalitz decay: dm/m (1 - m^2/M^2)^3 (Kroll and Wada, PR 98 (1955) 1355)."""
    while True:
        m = low * math.exp(rng.random() * math.log(mass / low))
        if rng.random() <= (1.0 - (m / mass) ** 2) ** 3 * math.sqrt(max(1.0 - (low / m) ** 2, 0.0)):
            return m


@compiled
def _phase_space_mass(mass: float, a: float, b: float, c: float, rng: Generator) -> float:
    """Invariant mass of bodies a and b of a three-body decay by phase space (PDG RPP eq. 49.20)."""
    low, high = a + b, mass - c
    ceiling = break_up(high, a, b) * break_up(mass, low, c)
    while True:
        m = low + (high - low) * rng.random()
        if rng.random() * ceiling <= break_up(m, a, b) * break_up(mass, m, c):
            return m


@compiled
def three_body(state: State, mode: int, mass: float, gamma: float, rng: Generator) -> None:
    """Products of a three-body decay of a particle moving along z: as (a b) c, then a b."""
    a, b, c = _BODIES[mode, 0], _BODIES[mode, 1], _BODIES[mode, 2]
    if a == sp.ELECTRON and b == sp.POSITRON:
        pair = _dalitz_mass(mass, _MASS[a] + _MASS[b], rng)
    else:
        pair = _phase_space_mass(mass, _MASS[a], _MASS[b], _MASS[c], rng)
    p, u = break_up(mass, pair, _MASS[c]), isotropic(rng)
    _add_boosted(state, c, (-p * u[0], -p * u[1], -p * u[2]), gamma)
    q, v = break_up(pair, _MASS[a], _MASS[b]), isotropic(rng)
    pair_gamma = math.sqrt(1.0 + (p / pair) ** 2)
    k = (q * v[0], q * v[1], q * v[2])
    _add_boosted(state, a, boost(k, math.sqrt(q * q + _MASS[a] ** 2), u, pair_gamma), gamma)
    k = (-k[0], -k[1], -k[2])
    _add_boosted(state, b, boost(k, math.sqrt(q * q + _MASS[b] ** 2), u, pair_gamma), gamma)


@compiled
def michel_energy(rng: Generator) -> float:
    """Total energy in GeV of the electron of an unpolarised muon at rest: x^2 (3 - 2x) (PDG RPP, muon decay)."""
    while True:
        x = rng.random()
        if rng.random() < x * x * (3.0 - 2.0 * x) and x * MICHEL_ENDPOINT > _ME:
            return x * MICHEL_ENDPOINT


@compiled
def muon_decay(state: State, electron: int, gamma: float, rng: Generator) -> None:
    """Electron and neutrinos of a muon moving along z; the two neutrinos are emitted along one line.

    The neutrino pair recoils with the momentum of the electron; how its members share that is not sampled, as
    only their energy matters to a detector.
    """
    energy, u = michel_energy(rng), isotropic(rng)
    p = math.sqrt(energy * energy - _ME * _ME)
    _add_boosted(state, electron, (p * u[0], p * u[1], p * u[2]), gamma)
    # Neutrinos of energies (E_pair +- p)/2 on one line carry the energy and the recoil exactly.
    pair = _MMU - energy
    ahead, back = 0.5 * (pair + p), 0.5 * (pair - p)
    _add_boosted(state, sp.NEUTRINO, (-ahead * u[0], -ahead * u[1], -ahead * u[2]), gamma)
    _add_boosted(state, sp.NEUTRINO, (back * u[0], back * u[1], back * u[2]), gamma)


@compiled
def choose_mode(kind: int, rng: Generator) -> int:
    """Index of a decay mode of a species, by branching fraction; -1 if it has none."""
    left, chosen = rng.random(), -1
    for mode in range(_PARENT.shape[0]):
        if _PARENT[mode] == kind:
            chosen = mode
            left -= _SHARE[mode]
            if left < 0.0:
                break
    return chosen


@compiled
def decay_products(state: State, now: Record, rng: Generator) -> None:
    """Note the products of the decay of the particle ``now``, in the frame of its flight."""
    kind = int(now.species)
    mass = _MASS[kind]
    gamma = 1.0 + now.kinetic / mass
    state.counts[PRODUCTS] = 0
    if kind == sp.MUON_MINUS or kind == sp.MUON_PLUS:
        muon_decay(state, sp.ELECTRON if kind == sp.MUON_MINUS else sp.POSITRON, gamma, rng)
        return
    mode = choose_mode(kind, rng)
    if mode < 0:
        return
    if _BODIES[mode, 2] < 0:
        two_body(state, mode, mass, gamma, rng)
    else:
        three_body(state, mode, mass, gamma, rng)


@compiled
def decay(state: State, rng: Generator) -> None:
    """The particle being followed decays where it is; rest masses that become stable matter are booked."""
    now = state.now[0]
    decay_products(state, now, rng)
    before = now.kinetic + _REST[now.species]
    state.ledger[REST_MASS] += before - products_available(state)
    emit_products(state, DECAY)
