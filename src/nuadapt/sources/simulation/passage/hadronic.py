"""Hadronic reactions as the transport sees them: cascade, evaporation, gammas, and the energy they leave. GeV.

Whatever of the available energy is not carried by a product stays in the nucleus: separation energies, recoil and
excitation below the first level. It is booked as ``nuclear`` in the ledger, never lost.
"""

from __future__ import annotations

import math
from typing import Final

from numpy.random import Generator

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import material, species
from nuadapt.sources.simulation.passage import species as sp
from nuadapt.sources.simulation.passage.cascade import enter, enter_at_rest, new_inside, run_cascade
from nuadapt.sources.simulation.passage.nucleon_collisions import is_nucleon
from nuadapt.sources.simulation.passage.tracking import (
    CAPTURE,
    HADRONIC,
    INSIDE,
    NEUTRINOS,
    NUCLEAR,
    PRODUCTS,
    State,
    add_product,
    emit_products,
    isotropic,
    products_available,
    turned,
)

_MASS, _REST = species.MASS, species.REST_AVAILABLE
_S: Final = material.SEPARATION_ENERGY
_COMPOUND_BELOW: Final = 0.025  # GeV; slower nucleons form a compound nucleus
_TRIES: Final = 100
_FIRST_LEVEL: Final = 1.461e-3  # GeV, 2+ of 40Ar (NNDC)
_LEVEL_DENSITY: Final = 40.0 / 8.0e-3  # 1/GeV, a = A / 8 MeV of the Fermi gas
#: Charged-particle evaporation: barriers in GeV and shares of proton and alpha emission near A = 40.
_PROTON_BARRIER: Final = 4.0e-3
_ALPHA_BARRIER: Final = 6.0e-3
_PROTON_SHARE: Final = 0.25
_ALPHA_SHARE: Final = 0.08
_MAX_EVAPORATED: Final = 24
#: Energy that turns 40Ar into 40Cl (AME2020 mass difference 7.48 MeV).
_ARGON_TO_CHLORINE: Final = 7.48e-3
#: Excitation after muon capture: about 17 MeV on average (Measday, Phys. Rep. 354 (2001) 243, sec. 5).
_CAPTURE_FLOOR: Final = 5.0e-3
_CAPTURE_SCALE: Final = 6.0e-3


@compiled
def _add_isotropic(state: State, kind: int, kinetic: float, rng: Generator) -> None:
    p, u = math.sqrt(kinetic * (kinetic + 2.0 * _MASS[kind])), isotropic(rng)
    add_product(state, kind, p * u[0], p * u[1], p * u[2])


@compiled
def de_excite(state: State, excitation: float, charged: float, rng: Generator) -> None:
    """Evaporate nucleons and alphas, then emit gammas; ``charged`` scales the charged shares (Weisskopf 1937)."""
    for _ in range(_MAX_EVAPORATED):
        if excitation < _S:
            break
        temperature = math.sqrt(excitation / _LEVEL_DENSITY)
        kind, barrier, chosen = sp.NEUTRON, 0.0, rng.random()
        if chosen < _ALPHA_SHARE * charged:
            kind, barrier = sp.ALPHA, _ALPHA_BARRIER
        elif chosen < (_ALPHA_SHARE + _PROTON_SHARE) * charged:
            kind, barrier = sp.PROTON, _PROTON_BARRIER
        kinetic = barrier + temperature * (rng.standard_exponential() + rng.standard_exponential())
        if kinetic + _S > excitation:
            if kind != sp.NEUTRON:
                continue
            kinetic = (excitation - _S) * rng.random()
        _add_isotropic(state, kind, kinetic, rng)
        excitation -= kinetic + _S
    for _ in range(12):
        if excitation < _FIRST_LEVEL:
            return
        energy = min(excitation, _FIRST_LEVEL + 5.0e-3 * rng.random())
        if excitation - energy < _FIRST_LEVEL and rng.random() < 0.5:
            energy = excitation if excitation < 6.0e-3 else energy
        _add_isotropic(state, sp.PHOTON, energy, rng)
        excitation -= energy


@compiled
def _freed_baryons(state: State) -> int:
    """Baryon number of the noted products."""
    freed = 0
    for k in range(state.counts[PRODUCTS]):
        kind = int(state.products[k].species)
        if is_nucleon(kind) or (kind >= sp.LAMBDA and kind <= sp.SIGMA_MINUS):
            freed += 1
        elif kind == sp.ANTIPROTON or kind == sp.ANTINEUTRON:
            freed -= 1
    return freed


@compiled
def baryon_number(kind: int) -> int:
    """Baryon number of a hadron."""
    if kind == sp.ANTIPROTON or kind == sp.ANTINEUTRON:
        return -1
    return 1 if is_nucleon(kind) or (kind >= sp.LAMBDA and kind <= sp.SIGMA_MINUS) else 0


@compiled
def react(state: State, kind: int, kinetic: float, at_rest: bool, rng: Generator) -> bool:
    """Note the products of a reaction on argon in the frame of the projectile; False if none was possible."""
    available = kinetic + _REST[kind]
    flying = new_inside(state)
    for _ in range(_TRIES):
        state.counts[PRODUCTS], state.counts[INSIDE] = 0, 0
        entered = enter_at_rest(state, kind, flying, rng) if at_rest else enter(state, kind, kinetic, flying, rng)
        if not entered:
            continue
        run_cascade(state, flying, rng)
        freed = _freed_baryons(state) - baryon_number(kind)
        excitation = available - products_available(state) - _S * freed
        if excitation >= 0.0:
            de_excite(state, excitation, 1.0, rng)
            return True
    state.counts[PRODUCTS] = 0
    return False


@compiled
def compound(state: State, kind: int, kinetic: float, rng: Generator) -> None:
    """A slow nucleon shares its energy with the whole nucleus: (n, n' gamma), (n, p), (n, 2n) and the like."""
    state.counts[PRODUCTS] = 0
    if kind == sp.NEUTRON and kinetic < _S:
        # Inelastic scattering to one or more levels: the neutron keeps what the gammas do not take.
        given = min(_FIRST_LEVEL + (kinetic - _FIRST_LEVEL) * rng.random() ** 2, kinetic)
        if given >= _FIRST_LEVEL:
            de_excite(state, given, 0.0, rng)
        left = kinetic - products_available(state)
        _add_isotropic(state, kind, 0.98 * left, rng)
        return
    de_excite(state, kinetic + _S, 1.0 if kinetic > 0.006 else 0.0, rng)


@compiled
def inelastic(state: State, rng: Generator) -> None:
    """The particle being followed reacts with a nucleus where it is."""
    now = state.now[0]
    kind, kinetic = int(now.species), now.kinetic
    done = False
    if not (is_nucleon(kind) and kinetic < _COMPOUND_BELOW):
        done = react(state, kind, kinetic, False, rng)
    if not done:
        if is_nucleon(kind):
            compound(state, kind, kinetic, rng)
        else:
            # No reaction found (rare, slow projectiles): it goes on in another direction.
            _add_isotropic(state, kind, kinetic, rng)
    state.ledger[NUCLEAR] += kinetic + _REST[kind] - products_available(state)
    emit_products(state, HADRONIC)


@compiled
def elastic(state: State, rng: Generator) -> None:
    """Elastic scattering of the particle being followed on an argon nucleus; the recoil is booked as nuclear.

    Diffraction with slope b = 14.5 A^0.66 per GeV^2, which turns isotropic for slow neutrons.
    """
    now = state.now[0]
    mass, target = _MASS[now.species], material.ARGON40_MASS
    momentum2 = now.kinetic * (now.kinetic + 2.0 * mass)
    energy = now.kinetic + mass
    invariant2 = mass * mass + target * target + 2.0 * target * energy
    star2 = momentum2 * target * target / invariant2
    steep = 2.0 * 14.5 * 40.0**0.66 * star2
    if steep < 1e-3:
        cosine = 2.0 * rng.random() - 1.0
    else:
        cosine = 1.0 + math.log(1.0 - rng.random() * (1.0 - math.exp(-2.0 * steep))) / steep
    recoil = min(star2 * (1.0 - cosine) / target, now.kinetic)  # |t| / 2M
    left = now.kinetic - recoil
    after = math.sqrt(left * (left + 2.0 * mass))
    # Laboratory angle from |t| = 2 M T: 2 p p' cos = p^2 + p'^2 - p_recoil^2.
    recoil2 = recoil * (recoil + 2.0 * target)
    product = 2.0 * math.sqrt(momentum2) * after
    lab = (momentum2 + after * after - recoil2) / product if product > 0.0 else 1.0
    axis = (now.ux, now.uy, now.uz)
    now.ux, now.uy, now.uz = turned(axis, min(max(lab, -1.0), 1.0), 2.0 * math.pi * rng.random())
    now.kinetic = left
    state.ledger[NUCLEAR] += recoil


@compiled
def capture_muon(state: State, rng: Generator) -> None:
    """Nuclear capture of a stopped mu-: a neutrino, and an excited 40Cl that sheds neutrons and gammas."""
    available = _REST[sp.MUON_MINUS]
    excitation = _CAPTURE_FLOOR + _CAPTURE_SCALE * (rng.standard_exponential() + rng.standard_exponential())
    excitation = min(excitation, 0.08)
    state.counts[PRODUCTS] = 0
    de_excite(state, excitation, 0.3, rng)
    neutrino = available - _ARGON_TO_CHLORINE - excitation
    state.ledger[NEUTRINOS] += neutrino
    state.ledger[NUCLEAR] += available - neutrino - products_available(state)
    emit_products(state, CAPTURE)


@compiled
def absorb_at_rest(state: State, rng: Generator) -> bool:
    """What a nucleus does to a stopped negative particle; False if nothing (it decays or stays)."""
    now = state.now[0]
    kind = int(now.species)
    if kind == sp.MUON_MINUS:
        if rng.random() >= material.MUON_CAPTURE_FRACTION:
            return False
        capture_muon(state, rng)
        return True
    if kind != sp.PION_MINUS and kind != sp.KAON_MINUS and kind != sp.ANTIPROTON:
        return False
    if not react(state, kind, 0.0, True, rng):
        return False
    state.ledger[NUCLEAR] += _REST[kind] - products_available(state)
    emit_products(state, CAPTURE)
    return True
