"""Intranuclear cascade: a hadron enters argon, collides with bound nucleons, and what escapes is noted. GeV, fm.

The nucleus is a sphere of uniform density holding a Fermi gas in a well of depth V = T_F + S. Hadrons fly straight;
collisions that put a nucleon into the Fermi sea are blocked (Pauli). Energy is kept at every collision, so
the excitation left behind follows from the balance. After Bertini, Phys. Rev. 131 (1963) 1801.
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
from nuadapt.sources.simulation.passage.nucleon_collisions import (
    boost_all,
    centre,
    draw_charges,
    elastic_share,
    energy_of,
    fermi,
    is_antinucleon,
    is_nucleon,
    is_pion,
    like_total,
    mean_total,
    pion_nucleon,
    pion_of,
    rescale,
    spread,
    two_to_two,
    unlike_total,
)
from nuadapt.sources.simulation.passage.tracking import INSIDE, Record, State, add_product

_MASS, _CHARGE = species.MASS, species.CHARGE
_PF: Final = material.FERMI_MOMENTUM
_TF: Final = math.sqrt(_PF**2 + material.PROTON_MASS**2) - material.PROTON_MASS
WELL: Final = _TF + material.SEPARATION_ENERGY
_R: Final = material.NUCLEAR_RADIUS
_DENSITY: Final = 40.0 / (4.0 / 3.0 * math.pi * _R**3)  # nucleons/fm3
_FM2_PER_MB: Final = 0.1
_PROTON_SHARE: Final = 18.0 / 40.0
_BARRIER: Final = 4.0e-3  # GeV, Coulomb barrier of protons leaving (1.44 MeV fm Z / R, halved for tunnelling)
_DELTA_ENDS: Final = 0.5  # GeV; pion-nucleon charges follow the Delta (isospin 3/2) below
_MAX_COLLISIONS: Final = 300
Target = tuple[int, float, float, float]
_KAONS: Final[npt.NDArray[np.int64]] = np.array([sp.KAON_SHORT, sp.KAON_LONG])


@compiled
def _kinetic(h: Record) -> float:
    p2 = h.px * h.px + h.py * h.py + h.pz * h.pz
    mass = _MASS[h.species]
    return float(math.sqrt(p2 + mass * mass) - mass)


@compiled
def _to_surface(h: Record) -> float:
    """Distance in fm along the momentum to the surface of the nucleus."""
    p = max(math.sqrt(h.px * h.px + h.py * h.py + h.pz * h.pz), 1e-12)
    along = (h.x * h.px + h.y * h.py + h.z * h.pz) / p
    r2 = h.x * h.x + h.y * h.y + h.z * h.z
    return float(-along + math.sqrt(max(along * along + _R * _R - r2, 0.0)))


@compiled
def _move(h: Record, path: float) -> None:
    p = max(math.sqrt(h.px * h.px + h.py * h.py + h.pz * h.pz), 1e-12)
    h.x, h.y, h.z = h.x + path * h.px / p, h.y + path * h.py / p, h.z + path * h.pz / p


@compiled
def _leave(state: State, h: Record) -> None:
    """A hadron reaches the surface: nucleons climb out of the well or stay as excitation."""
    kind, kinetic = int(h.species), _kinetic(h)
    scale = 1.0
    if is_nucleon(kind):
        outside = kinetic - WELL
        if outside <= (_BARRIER if kind == sp.PROTON else 0.0):
            return
        mass = _MASS[kind]
        scale = math.sqrt(outside * (outside + 2.0 * mass) / (kinetic * (kinetic + 2.0 * mass)))
    add_product(state, kind, scale * h.px, scale * h.py, scale * h.pz)


@compiled
def _target(h: Record, rng: Generator) -> Target:
    """A bound nucleon; slow charged pions meet the like-charged side of the Delta three times as often."""
    share = _PROTON_SHARE
    if is_pion(int(h.species)) and _kinetic(h) < _DELTA_ENDS:
        weight = 3.0 ** _CHARGE[h.species]
        share = share * weight / (share * weight + 1.0 - share)
    kind = sp.PROTON if rng.random() < share else sp.NEUTRON
    p = fermi(rng)
    return kind, p[0], p[1], p[2]


@compiled
def _nucleon_channel(state: State, h: Record, target: Target, rng: Generator) -> bool:
    kind = int(h.species)
    p, like = math.sqrt(h.px**2 + h.py**2 + h.pz**2), kind == target[0]
    mean = 0.5 * (like_total(p) + unlike_total(p))
    sigma = like_total(p) if like else unlike_total(p)
    if rng.random() * max(mean, sigma) > sigma:
        return False
    if rng.random() < elastic_share(p, like):
        swap = not like and rng.random() < 0.4
        out = (target[0], kind) if swap else (kind, target[0])
        return two_to_two(state, h, target, out, rng)
    return produce(state, h, target, rng)


@compiled
def absorb(state: State, h: Record, target: Target, rng: Generator) -> bool:
    """Pion absorption on ``target`` and a second nucleon, mostly of the other kind (quasi-deuteron)."""
    charge = int(_CHARGE[h.species])
    second = sp.NEUTRON if target[0] == sp.PROTON else sp.PROTON
    if rng.random() < 0.2 or abs(charge + (target[0] == sp.PROTON) + (second == sp.PROTON) - 1) > 1:
        second = target[0]
    total = charge + int(target[0] == sp.PROTON) + int(second == sp.PROTON)
    if total < 0 or total > 2:
        return False
    one = sp.PROTON if total >= 1 else sp.NEUTRON
    two = sp.PROTON if total == 2 else sp.NEUTRON
    q = fermi(rng)
    # The second nucleon joins the pion as one body of their invariant mass, which then meets the target.
    e = energy_of(int(h.species), (h.px, h.py, h.pz)) + energy_of(second, q)
    total_p = (h.px + q[0] + target[1], h.py + q[1] + target[2], h.pz + q[2] + target[3])
    e += energy_of(target[0], (target[1], target[2], target[3]))
    mass, axis, gamma = centre(e, total_p)
    first = state.counts[INSIDE]
    spread(state, one, h, 0.0, rng)
    spread(state, two, h, 0.0, rng)
    if not rescale(state, first, mass):
        return False
    boost_all(state, first, axis, gamma)
    state.inside[first].formation, state.inside[first + 1].formation = 0.0, 0.0
    return True


@compiled
def _pion_channel(state: State, h: Record, target: Target, rng: Generator) -> bool:
    kind, kinetic = int(h.species), _kinetic(h)
    elastic, making = pion_nucleon(kinetic, 1), pion_nucleon(kinetic, 2)
    chosen = rng.random() * (elastic + making + pion_nucleon(kinetic, 3))
    if chosen >= elastic + making:
        return absorb(state, h, target, rng)
    if chosen >= elastic:
        return produce(state, h, target, rng)
    charge, is_proton = int(_CHARGE[kind]), target[0] == sp.PROTON
    slow = kinetic < _DELTA_ENDS
    exchange = 0.0
    if charge == 0:
        exchange = 1.0 / 3.0 if slow else 0.2
    elif (charge > 0) != is_proton:
        exchange = 2.0 / 3.0 if slow else 0.3
    if rng.random() >= exchange:
        return two_to_two(state, h, target, (kind, target[0]), rng)
    new = (charge + 1 if is_proton else charge - 1) if charge == 0 else 0
    return two_to_two(state, h, target, (pion_of(new), sp.NEUTRON if is_proton else sp.PROTON), rng)


@compiled
def strangeness_exchange(state: State, h: Record, target: Target, charge: int, rng: Generator) -> bool:
    """Anti-kaon (of a charge) and nucleon become a Lambda or Sigma and a pion."""
    total = charge + int(target[0] == sp.PROTON)
    if rng.random() < 0.4:
        return two_to_two(state, h, target, (sp.LAMBDA, pion_of(total)), rng)
    sigma = min(int(3.0 * rng.random()), 2) - 1
    if abs(total - sigma) > 1:
        sigma = 0
    kind = sp.SIGMA_ZERO
    if sigma != 0:
        kind = sp.SIGMA_PLUS if sigma > 0 else sp.SIGMA_MINUS
    return two_to_two(state, h, target, (kind, pion_of(total - sigma)), rng)


@compiled
def _kaon_channel(state: State, h: Record, target: Target, rng: Generator) -> bool:
    """Neutral kaons act as K0 or anti-K0 with equal chance."""
    kind, kinetic = int(h.species), _kinetic(h)
    neutral = kind == sp.KAON_LONG or kind == sp.KAON_SHORT
    anti = kind == sp.KAON_MINUS or (neutral and rng.random() < 0.5)
    if anti and rng.random() < (0.6 if kinetic < 0.3 else 0.25):
        return strangeness_exchange(state, h, target, 0 if neutral else -1, rng)
    if kinetic > 0.8 and rng.random() < 0.5:
        return produce(state, h, target, rng)
    out = sp.PROTON if target[0] == sp.NEUTRON else sp.NEUTRON
    some_neutral = _KAONS[int(2.0 * rng.random())]
    if not neutral and rng.random() < 0.3 and (kind == sp.KAON_MINUS) == (target[0] == sp.PROTON):
        return two_to_two(state, h, target, (some_neutral, out), rng)
    return two_to_two(state, h, target, (some_neutral if neutral else kind, target[0]), rng)


@compiled
def _count_pions(spare: float, annihilates: bool, rng: Generator) -> int:
    """Number of pions made with ``spare`` GeV above threshold, to follow measured pp and pi p multiplicities."""
    n, mean = 1, 0.75 * max(spare - 0.4, 0.0)
    if annihilates:
        n, mean = 3, 2.0  # about five pions in annihilation at rest (Amsler, RMP 70 (1998) 1293)
    left = math.exp(-mean)
    product = rng.random()
    while product > left:
        n, product = n + 1, product * rng.random()
    most = int(spare / (1.1 * material.PION_MASS))
    return max(min(n, most, 12), 2 if annihilates else 1)


@compiled
def produce(state: State, h: Record, target: Target, rng: Generator) -> bool:
    """Collision with pion production: the projectile leads, the target recoils, pions fill the middle.

    Longitudinal-phase-space model: limited transverse momenta, then one common factor to meet the energy.
    Antinucleons annihilate with the target into pions alone.
    """
    kind, first = int(h.species), state.counts[INSIDE]
    annihilates = is_antinucleon(kind)
    pa, pb = (h.px, h.py, h.pz), (target[1], target[2], target[3])
    energy = energy_of(kind, pa) + energy_of(target[0], pb)
    mass, axis, gamma = centre(energy, (pa[0] + pb[0], pa[1] + pb[1], pa[2] + pb[2]))
    spare = mass if annihilates else mass - _MASS[kind] - _MASS[target[0]]
    pions = _count_pions(spare, annihilates, rng)
    charge = int(_CHARGE[kind]) + int(target[0] == sp.PROTON)
    wide = 0.35 * mass
    for _ in range(pions):
        spread(state, sp.PION_ZERO, h, 0.4 * wide * rng.standard_normal(), rng)
    if not annihilates:
        lead, out = _leading(kind, charge, rng)
        charge -= int(_CHARGE[lead]) + int(out == sp.PROTON)
        spread(state, lead, h, wide * (0.3 + 0.7 * rng.random()), rng)
        spread(state, out, h, -wide * (0.3 + 0.7 * rng.random()), rng)
    if not draw_charges(state, first, pions, charge, rng) or not rescale(state, first, mass):
        return False
    boost_all(state, first, axis, gamma)
    return True


@compiled
def _leading(kind: int, charge: int, rng: Generator) -> tuple[int, int]:
    """Species of the leading hadron and of the struck nucleon after a production; charges go to the pions."""
    out = sp.PROTON if rng.random() < 0.5 else sp.NEUTRON
    if is_nucleon(kind):
        return (kind if rng.random() < 0.67 else 27 - kind), out  # 27 - proton = neutron
    if is_pion(kind) and rng.random() < 0.4:
        return pion_of(min(int(3.0 * rng.random()), 2) - 1), out
    return kind, out


@compiled
def collide(state: State, h: Record, rng: Generator) -> bool:
    """One collision inside the nucleus; False if it cannot happen (threshold, Pauli)."""
    first = state.counts[INSIDE]
    kind, target = int(h.species), _target(h, rng)
    if is_nucleon(kind):
        done = _nucleon_channel(state, h, target, rng)
    elif is_pion(kind):
        done = _pion_channel(state, h, target, rng)
    elif is_antinucleon(kind):
        done = produce(state, h, target, rng)
    elif kind == sp.LAMBDA or kind == sp.SIGMA_PLUS or kind == sp.SIGMA_MINUS or kind == sp.SIGMA_ZERO:
        done = two_to_two(state, h, target, (kind, target[0]), rng)
    else:
        done = _kaon_channel(state, h, target, rng)
    if done and not _blocked(state, first):
        return True
    state.counts[INSIDE] = first
    return False


@compiled
def _blocked(state: State, first: int) -> bool:
    for k in range(first, state.counts[INSIDE]):
        h = state.inside[k]
        if is_nucleon(int(h.species)) and h.px * h.px + h.py * h.py + h.pz * h.pz < _PF * _PF:
            return True
    return False


@compiled
def run_cascade(state: State, flying: Record, rng: Generator) -> None:
    """Follow all hadrons inside the nucleus until they leave or come to rest in it."""
    collisions = 0
    while state.counts[INSIDE] > 0:
        top = state.counts[INSIDE] - 1
        state.counts[INSIDE] = top
        h = state.inside[top]
        flying.species, flying.formation = h.species, h.formation
        flying.px, flying.py, flying.pz = h.px, h.py, h.pz
        flying.x, flying.y, flying.z = h.x, h.y, h.z
        while True:
            surface = _to_surface(flying)
            p = math.sqrt(flying.px**2 + flying.py**2 + flying.pz**2)
            rate = _DENSITY * _FM2_PER_MB * mean_total(int(flying.species), p)
            path = flying.formation + rng.standard_exponential() / rate
            if path >= surface or collisions > _MAX_COLLISIONS:
                _leave(state, flying)
                break
            _move(flying, path)
            flying.formation = 0.0
            collisions += 1
            if collide(state, flying, rng):
                break


@compiled
def enter(state: State, kind: int, kinetic: float, flying: Record, rng: Generator) -> bool:
    """Place a projectile moving along z at its first collision and carry that out; False if it was blocked."""
    inside = kinetic + (WELL if is_nucleon(kind) else 0.0)
    p = math.sqrt(inside * (inside + 2.0 * _MASS[kind]))
    rate = _DENSITY * _FM2_PER_MB * mean_total(kind, p)
    b2 = _R * _R * rng.random()
    half = math.sqrt(_R * _R - b2)
    seen = 1.0 - math.exp(-2.0 * half * rate)
    if rng.random() > seen:
        return False
    azimuth = 2.0 * math.pi * rng.random()
    flying.species, flying.formation = kind, 0.0
    flying.x, flying.y = math.sqrt(b2) * math.cos(azimuth), math.sqrt(b2) * math.sin(azimuth)
    flying.z = -half - math.log(1.0 - rng.random() * seen) / rate
    flying.px, flying.py, flying.pz = 0.0, 0.0, p
    return collide(state, flying, rng)


@compiled
def enter_at_rest(state: State, kind: int, flying: Record, rng: Generator) -> bool:
    """Absorb a stopped negative hadron in the outer part of the nucleus; False if the try was blocked."""
    flying.species, flying.formation = kind, 0.0
    flying.x, flying.y, flying.z = 0.0, 0.0, _R * (0.6 + 0.4 * rng.random()) * (1.0 if rng.random() < 0.5 else -1.0)
    flying.px, flying.py, flying.pz = 0.0, 0.0, 1e-6
    target = _target(flying, rng)
    first = state.counts[INSIDE]
    if is_pion(kind):
        done = absorb(state, flying, target, rng)
    elif is_antinucleon(kind):
        done = produce(state, flying, target, rng)
    else:
        done = strangeness_exchange(state, flying, target, -1, rng)
    if done and not _blocked(state, first):
        return True
    state.counts[INSIDE] = first
    return False


@compiled
def new_inside(state: State) -> Record:
    """The working record of the cascade: the last place of the list."""
    return state.inside[state.inside.shape[0] - 1]
