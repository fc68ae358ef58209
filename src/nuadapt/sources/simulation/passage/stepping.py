"""Steps of muons, hadrons and ions through the argon: loss, scattering, and the choice of what ends a step. GeV, cm."""

from __future__ import annotations

import math
from typing import Final

from numpy.random import Generator

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import material, species
from nuadapt.sources.simulation.passage.energy_loss import lerp, locate, mean_after, straggle
from nuadapt.sources.simulation.passage.hadronic import absorb_at_rest, elastic, inelastic
from nuadapt.sources.simulation.passage.particle_decays import decay
from nuadapt.sources.simulation.passage.tracking import (
    NUCLEAR,
    REST_MASS,
    Knobs,
    Record,
    State,
    Tables,
    advance,
    deposit,
    deposit_here,
    finish,
    push,
    scatter,
    to_wall,
    turned,
)

_MASS, _CHARGE, _CTAU, _REST = species.MASS, species.CHARGE, species.CTAU, species.REST_AVAILABLE
_ME: Final = material.ELECTRON_MASS
_XI: Final = material.XI_PER_CM
_X0: Final = material.RADIATION_LENGTH
_RANGE_SHARE: Final = 0.2  # largest step as a share of the remaining range
_SHORTEST: Final = 0.02  # cm; a track with less range than this ends in one step
#: What ends a step.
_GOES_ON: Final = 0
_DELTA: Final = 1
_DECAYS: Final = 2
_INELASTIC: Final = 3
_ELASTIC: Final = 4


@compiled
def largest_transfer(mass: float, gamma: float) -> float:
    """Largest energy given to an electron, GeV (PDG RPP eq. 34.4)."""
    ratio = _ME / mass
    return 2.0 * _ME * (gamma * gamma - 1.0) / (1.0 + 2.0 * gamma * ratio + ratio * ratio)


@compiled
def highland_width(mass: float, kinetic: float, charge: float, path: float) -> float:
    """RMS plane angle of multiple scattering over ``path`` cm, radians.

    Highland's logarithm is not additive over steps, so it is held at its value for one radiation length (zero
    for beta = 1): the widths of steps add in quadrature to Highland's for paths of about 14 cm.
    """
    momentum2 = kinetic * (kinetic + 2.0 * mass)
    beta_p = momentum2 / (kinetic + mass)
    beta2 = momentum2 / (kinetic + mass) ** 2
    logarithm = max(1.0 + 0.038 * math.log(charge * charge / beta2), 0.0)
    return material.HIGHLAND * abs(charge) / beta_p * math.sqrt(path / _X0) * logarithm


@compiled
def rates(now: Record, tables: Tables, knobs: Knobs, index: int, fraction: float) -> tuple[float, float, float, float]:
    """Rates in 1/cm of delta rays, decay, inelastic and elastic hadronic interactions."""
    kind = int(now.species)
    mass, gamma = _MASS[kind], 1.0 + now.kinetic / _MASS[kind]
    beta_gamma2 = max(gamma * gamma - 1.0, 1e-12)
    delta, decays, hit, bounce = 0.0, 0.0, 0.0, 0.0
    if knobs.straggling != 0.0 and _CHARGE[kind] != 0.0:
        largest = largest_transfer(mass, gamma)
        if largest > knobs.electron_cut:
            xi = _XI * _CHARGE[kind] ** 2 * gamma * gamma / beta_gamma2
            delta = xi * (1.0 / knobs.electron_cut - 1.0 / largest)
    if knobs.decays != 0.0:
        decays = 1.0 / (_CTAU[kind] * math.sqrt(beta_gamma2))
    if knobs.hadronic != 0.0:
        hit = lerp(tables.inelastic, kind, index, fraction)
        bounce = lerp(tables.elastic, kind, index, fraction)
    return delta, decays, hit, bounce


@compiled
def choose(chosen: float, rate: tuple[float, float, float, float]) -> int:
    """Which of the four rates a number below their sum falls upon."""
    for k in range(4):
        chosen -= rate[k]
        if chosen < 0.0:
            return k + 1
    return _GOES_ON


@compiled
def ionise(state: State, tables: Tables, knobs: Knobs, path: float, rng: Generator) -> None:
    """Move a charged particle by ``path`` cm with its loss and scattering."""
    now = state.now[0]
    kind, kinetic = int(now.species), now.kinetic
    mass, charge = _MASS[kind], _CHARGE[kind]
    lost = kinetic - mean_after(tables.loss, tables.loss_row[kind], kinetic, path)
    if knobs.straggling != 0.0:
        gamma = 1.0 + kinetic / mass
        beta2 = 1.0 - 1.0 / (gamma * gamma)
        xi, largest = _XI * charge * charge / beta2 * path, largest_transfer(mass, gamma)
        lost = straggle(lost, xi, beta2, largest, knobs.electron_cut, rng)
    lost = min(lost, kinetic)
    x, y, z = now.x, now.y, now.z
    advance(now, path)
    deposit(state, lost, x, y, z)
    now.kinetic = kinetic - lost
    if knobs.scattering != 0.0 and now.kinetic > 0.0:
        scatter(now, highland_width(mass, kinetic, charge, path), rng)


@compiled
def delta_ray(state: State, knobs: Knobs, rng: Generator) -> None:
    """A collision above the electron cut: the electron belongs to the track of its parent."""
    now = state.now[0]
    mass, gamma = _MASS[now.species], 1.0 + now.kinetic / _MASS[now.species]
    largest, cut = largest_transfer(mass, gamma), knobs.electron_cut
    if largest <= cut:
        return
    transfer = 1.0 / (1.0 / cut - rng.random() * (1.0 / cut - 1.0 / largest))
    beta2 = 1.0 - 1.0 / (gamma * gamma)
    if rng.random() < beta2 * transfer / largest or transfer > now.kinetic:
        return
    momentum = math.sqrt(transfer * (transfer + 2.0 * _ME))
    top = math.sqrt(largest * (largest + 2.0 * _ME))
    cosine = min(transfer * top / (largest * momentum), 1.0)  # PDG RPP sec. 34.2.4
    direction = turned((now.ux, now.uy, now.uz), cosine, 2.0 * math.pi * rng.random())
    push(state, species.ELECTRON, now.row, transfer, direction)
    now.kinetic -= transfer


@compiled
def come_to_rest(state: State, knobs: Knobs, rng: Generator) -> None:
    """The end of a charged particle that has lost its energy: it stays, decays or is captured."""
    now = state.now[0]
    now.kinetic = 0.0
    finish(state, False)
    kind = int(now.species)
    if knobs.hadronic != 0.0 and absorb_at_rest(state, rng):
        return
    if knobs.decays != 0.0 and _CTAU[kind] < species.CTAU_STABLE:
        decay(state, rng)
        return
    state.ledger[REST_MASS] += _REST[kind]


@compiled
def follow_charged(state: State, tables: Tables, knobs: Knobs, rng: Generator) -> None:
    """Follow a muon, charged hadron or ion until it stops, ends in a reaction or leaves."""
    now = state.now[0]
    row = tables.loss_row[now.species]
    while True:
        index, fraction = locate(now.kinetic)
        reach = lerp(tables.reach, row, index, fraction)
        if reach < _SHORTEST or now.kinetic <= 0.0:
            deposit_here(state, now.kinetic)
            come_to_rest(state, knobs, rng)
            return
        rate = rates(now, tables, knobs, index, fraction)
        total = rate[0] + rate[1] + rate[2] + rate[3]
        path = rng.standard_exponential() / max(total, 1e-30)
        wall = to_wall(now, knobs)
        length = min(min(knobs.max_step, max(_RANGE_SHARE * reach, _SHORTEST)), path, wall)
        ionise(state, tables, knobs, length, rng)
        if length == wall:
            finish(state, True)
            return
        if length == path and now.kinetic > 0.0:
            what = choose(rng.random() * total, rate)
            if what == _DELTA:
                delta_ray(state, knobs, rng)
            elif end_of_flight(state, what, rng):
                return


@compiled
def end_of_flight(state: State, what: int, rng: Generator) -> bool:
    """Carry out a decay or hadronic interaction; True if the particle is gone."""
    if what == _ELASTIC:
        elastic(state, rng)
        return False
    finish(state, False)
    if what == _DECAYS:
        decay(state, rng)
    else:
        inelastic(state, rng)
    return True


@compiled
def follow_neutral(state: State, tables: Tables, knobs: Knobs, rng: Generator) -> None:
    """Follow a neutron, neutral kaon or hyperon from interaction to interaction."""
    now = state.now[0]
    while True:
        if now.species == species.NEUTRON and now.kinetic < knobs.neutron_cut:
            state.ledger[NUCLEAR] += now.kinetic
            now.kinetic = 0.0
            finish(state, False)
            return
        index, fraction = locate(now.kinetic)
        rate = rates(now, tables, knobs, index, fraction)
        total = rate[1] + rate[2] + rate[3]
        path, wall = rng.standard_exponential() / max(total, 1e-30), to_wall(now, knobs)
        advance(now, min(path, wall))
        if path >= wall:
            finish(state, True)
            return
        if end_of_flight(state, choose(rng.random() * total, rate), rng):
            return
