"""Electromagnetic cascades followed particle by particle: photons, electrons and positrons. GeV and cm.

Photons convert, Compton scatter or are absorbed; electrons and positrons ionise (soft collisions with
straggling, hard ones as delta rays), scatter and radiate. Below ``electron_cut`` an electron, and below
``photon_cut`` a photon, deposits its energy where it is. Left out: annihilation in flight, coherent
scattering of photons, photonuclear reactions (each below 2 % of the rates that matter).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import material, species
from nuadapt.sources.simulation.passage.energy_loss import lerp, locate, mean_after, straggle
from nuadapt.sources.simulation.passage.shower_tables import QUANTILES
from nuadapt.sources.simulation.passage.tracking import (
    Knobs,
    Record,
    State,
    Tables,
    advance,
    deposit,
    deposit_here,
    finish,
    isotropic,
    push,
    scatter,
    to_wall,
    turned,
)

Array = npt.NDArray[np.float64]

_ME: Final = material.ELECTRON_MASS
_X0: Final = material.RADIATION_LENGTH
_XI: Final = material.XI_PER_CM
_ELECTRON, _POSITRON, _PHOTON = species.ELECTRON, species.POSITRON, species.PHOTON
#: Moller's cross-section is at most 2.25 times Rutherford's (at equal sharing, high energy).
_MOLLER_MAX: Final = 2.25
_HBARC_CM: Final = 1.97327e-14  # GeV cm
_THOMAS_FERMI: Final = 0.885 * 0.529177e-8 * material.ATOMIC_NUMBER ** (-1 / 3)  # cm
_ALPHA_Z: Final = material.FINE_STRUCTURE * material.ATOMIC_NUMBER
#: Moliere's screening parameter A of 1/(1 - cos + 2A)^2 times p^2, GeV^2.
_SCREENING: Final = (_HBARC_CM / (2 * _THOMAS_FERMI)) ** 2 * (1.13 + 3.76 * _ALPHA_Z**2)
#: Transport logarithm that gives Highland's constant: (13.6 MeV)^2 / X0 over 2 pi N Z(Z+1) (r_e m_e)^2.
_HIGHLAND_LOG: Final = (material.HIGHLAND**2 / material.RADIATION_LENGTH) / (
    2 * math.pi * material.ATOM_DENSITY * material.ATOMIC_NUMBER * (material.ATOMIC_NUMBER + 1)
    * (material.ELECTRON_RADIUS * material.ELECTRON_MASS) ** 2
)  # fmt: skip
_WIDEST: Final = 0.6  # rad; steps of slow electrons are shortened to about this scattering angle
_RANGE_SHARE: Final = 0.2  # largest step as a share of the remaining range


@compiled
def draw_quantile(table: Array, row: int, rng: Generator) -> float:
    """A value from row ``row`` of a table of QUANTILES equal steps of probability."""
    place = rng.random() * (QUANTILES - 1)
    index = int(place)
    low: float = table[row, index]
    return float(low + (place - index) * (table[row, index + 1] - low))


@compiled
def near_row(index: int, fraction: float, rng: Generator) -> int:
    """One of the two grid rows about an energy, the nearer more often: interpolation by chance."""
    return index + 1 if rng.random() < fraction else index


@compiled
def lepton_angle(energy: float, rng: Generator) -> float:
    """Cosine of the angle of order m/E between photon and lepton (Tsai's distribution, two exponentials)."""
    slope = 0.625 if rng.random() < 0.25 else 1.875
    u = (rng.standard_exponential() + rng.standard_exponential()) / slope
    return math.cos(min(u * _ME / energy, math.pi))


@compiled
def pair(state: State, tables: Tables, rng: Generator) -> None:
    """The photon being followed becomes an electron and a positron."""
    now = state.now[0]
    index, fraction = locate(now.kinetic)
    share = draw_quantile(tables.pair_quantile, near_row(index, fraction, rng), rng)
    share = min(max(share, _ME / now.kinetic), 0.5)
    if rng.random() < 0.5:
        share = 1.0 - share
    axis, azimuth = (now.ux, now.uy, now.uz), 2.0 * math.pi * rng.random()
    electron, positron = share * now.kinetic, (1.0 - share) * now.kinetic
    direction = turned(axis, lepton_angle(electron, rng), azimuth)
    push(state, _ELECTRON, now.row, max(electron - _ME, 0.0), direction)
    direction = turned(axis, lepton_angle(positron, rng), azimuth + math.pi)
    push(state, _POSITRON, now.row, max(positron - _ME, 0.0), direction)


@compiled
def compton_share(energy: float, rng: Generator) -> float:
    """Share of its energy that a photon keeps in Compton scattering (Klein-Nishina; Butcher and Messel 1960)."""
    lowest = 1.0 / (1.0 + 2.0 * energy / _ME)
    first, second = -math.log(lowest), 0.5 * (1.0 - lowest * lowest)
    while True:
        if rng.random() * (first + second) < first:
            share = math.exp(-first * rng.random())
        else:
            share = math.sqrt(lowest * lowest + (1.0 - lowest * lowest) * rng.random())
        t = _ME * (1.0 - share) / (energy * share)
        sine2 = t * (2.0 - t)
        if rng.random() < 1.0 - share * sine2 / (1.0 + share * share):
            return share


@compiled
def compton(state: State, knobs: Knobs, rng: Generator) -> None:
    """The photon being followed scatters on an electron and goes on with less energy."""
    now = state.now[0]
    energy = now.kinetic
    share = compton_share(energy, rng)
    kept, given = share * energy, (1.0 - share) * energy
    cosine = 1.0 - _ME * (1.0 - share) / (energy * share)
    axis, azimuth = (now.ux, now.uy, now.uz), 2.0 * math.pi * rng.random()
    if given > knobs.electron_cut:
        momentum = math.sqrt(given * (given + 2.0 * _ME))
        direction = turned(axis, (energy - kept * cosine) / momentum, azimuth + math.pi)
        push(state, _ELECTRON, now.row, given, direction)
    else:
        deposit_here(state, given)
    now.kinetic = kept
    now.ux, now.uy, now.uz = turned(axis, cosine, azimuth)


@compiled
def follow_photon(state: State, tables: Tables, knobs: Knobs, rng: Generator) -> None:
    """Follow a photon until it converts, is absorbed, falls below the cut or leaves."""
    now = state.now[0]
    while now.kinetic > knobs.photon_cut:
        index, fraction = locate(now.kinetic)
        total = lerp(tables.photon_rate, 0, index, fraction)
        path, wall = rng.standard_exponential() / total, to_wall(now, knobs)
        if path >= wall:
            advance(now, wall)
            finish(state, True)
            return
        advance(now, path)
        chosen = rng.random() * total
        if chosen < lerp(tables.photon_rate, 1, index, fraction):
            compton(state, knobs, rng)
        elif chosen < lerp(tables.photon_rate, 2, index, fraction) and now.kinetic > 2.0 * _ME:
            pair(state, tables, rng)
            return
        elif now.kinetic > knobs.electron_cut:
            push(state, _ELECTRON, now.row, now.kinetic, (now.ux, now.uy, now.uz))
            return
        else:
            break
    deposit_here(state, now.kinetic)


@compiled
def radiate(state: State, tables: Tables, knobs: Knobs, rng: Generator) -> None:
    """The electron being followed emits a photon above the photon cut."""
    now = state.now[0]
    index, fraction = locate(now.kinetic)
    share = draw_quantile(tables.brems_quantile, near_row(index, fraction, rng), rng)
    photon = min(knobs.photon_cut * (now.kinetic / knobs.photon_cut) ** share, now.kinetic)
    axis, azimuth = (now.ux, now.uy, now.uz), 2.0 * math.pi * rng.random()
    push(state, _PHOTON, now.row, photon, turned(axis, lepton_angle(now.kinetic + _ME, rng), azimuth))
    now.kinetic -= photon


@compiled
def knock_on(state: State, knobs: Knobs, rng: Generator) -> None:
    """A hard collision of the e+- being followed; candidates come at the ceiling rate, see ``electron_rates``."""
    now = state.now[0]
    kinetic, cut = now.kinetic, knobs.electron_cut
    is_positron = now.species == _POSITRON
    largest = kinetic if is_positron else 0.5 * kinetic
    if largest <= cut:
        return
    transfer = 1.0 / (1.0 / cut - rng.random() * (1.0 / cut - 1.0 / largest))
    if not is_positron:
        x, gamma = transfer / kinetic, 1.0 + kinetic / _ME
        g2 = gamma * gamma
        ratio = 1.0 + x * x * ((gamma - 1.0) ** 2 / g2 + (1.0 - x) ** -2.0)
        ratio -= x * (2.0 * gamma - 1.0) / (g2 * (1.0 - x))
        if rng.random() * _MOLLER_MAX > ratio:
            return
    axis, azimuth = (now.ux, now.uy, now.uz), 2.0 * math.pi * rng.random()
    # Scattering on an electron at rest: cos = sqrt(T (E + m) / (E_k (T + 2 m))) for each outgoing energy T.
    cosine = math.sqrt(transfer * (kinetic + 2.0 * _ME) / (kinetic * (transfer + 2.0 * _ME)))
    push(state, _ELECTRON, now.row, transfer, turned(axis, cosine, azimuth))
    left = kinetic - transfer
    cosine = math.sqrt(left * (kinetic + 2.0 * _ME) / (kinetic * (left + 2.0 * _ME)))
    now.ux, now.uy, now.uz = turned(axis, min(cosine, 1.0), azimuth + math.pi)
    now.kinetic = left


@compiled
def knock_on_rate(now: Record, knobs: Knobs) -> float:
    """Ceiling of the rate of hard collisions, 1/cm."""
    is_positron = now.species == _POSITRON
    largest = now.kinetic if is_positron else 0.5 * now.kinetic
    if largest <= knobs.electron_cut:
        return 0.0
    factor = 1.0 if is_positron else _MOLLER_MAX
    gamma = 1.0 + now.kinetic / _ME
    return float(factor * _XI / (1.0 - gamma**-2.0) * (1.0 / knobs.electron_cut - 1.0 / largest))


@compiled
def plane_angle(momentum2: float, energy: float, path: float) -> float:
    """RMS plane angle of multiple scattering of electrons, radians.

    Highland's without its logarithm (as for one radiation length, so that steps add in quadrature). Below
    10 MeV the atom screens more of the Rutherford tail: the logarithm of the transport cross-section of the
    screened Coulomb field (Moliere 1947), relative to its value at Highland's 13.6 MeV, takes over.
    """
    logarithm = math.log(1.0 + momentum2 / _SCREENING) - 1.0
    width = material.HIGHLAND * energy / momentum2 * math.sqrt(path / _X0)
    return width * math.sqrt(min(max(logarithm, 1.0) / _HIGHLAND_LOG, 1.0))


@compiled
def lose_and_scatter(state: State, tables: Tables, knobs: Knobs, path: float, rng: Generator) -> None:
    """One step of continuous loss of the e+- being followed: move, deposit, turn."""
    now = state.now[0]
    kinetic, charge_row = now.kinetic, int(now.species)
    momentum2 = kinetic * (kinetic + 2.0 * _ME)
    total = kinetic + _ME
    lost = kinetic - mean_after(tables.electron_loss, charge_row, kinetic, path)
    if knobs.straggling != 0.0:
        beta2 = momentum2 / (total * total)
        largest = kinetic if charge_row == _POSITRON else 0.5 * kinetic
        lost = straggle(lost, _XI / beta2 * path, beta2, largest, knobs.electron_cut, rng)
    lost = min(lost, kinetic)
    x, y, z = now.x, now.y, now.z
    advance(now, path)
    deposit(state, lost, x, y, z)
    now.kinetic = kinetic - lost
    if knobs.scattering != 0.0:
        scatter(now, plane_angle(momentum2, total, path), rng)


@compiled
def electron_step(now: Record, tables: Tables, knobs: Knobs, index: int, fraction: float) -> float:
    """Longest step in cm: by the knob, by the remaining range and by the scattering angle."""
    reach = lerp(tables.electron_reach, int(now.species), index, fraction)
    beta_p = now.kinetic * (now.kinetic + 2.0 * _ME) / (now.kinetic + _ME)
    by_angle = _X0 * (_WIDEST * beta_p / material.HIGHLAND) ** 2
    return float(min(knobs.max_step, max(min(_RANGE_SHARE * reach, by_angle), 0.05)))


@compiled
def follow_electron(state: State, tables: Tables, knobs: Knobs, rng: Generator) -> None:
    """Follow an electron or positron to rest or out of the box, leaving photons and delta rays on the stack."""
    now = state.now[0]
    while now.kinetic > knobs.electron_cut:
        index, fraction = locate(now.kinetic)
        step = electron_step(now, tables, knobs, index, fraction)
        brems = lerp(tables.brems_rate, 0, index, fraction)
        rate = brems + knock_on_rate(now, knobs)
        path, wall = rng.standard_exponential() / max(rate, 1e-30), to_wall(now, knobs)
        length = min(step, path, wall)
        lose_and_scatter(state, tables, knobs, length, rng)
        if length == wall:
            finish(state, True)
            return
        if length == path and now.kinetic > knobs.electron_cut:
            if rng.random() * rate < brems:
                radiate(state, tables, knobs, rng)
            else:
                knock_on(state, knobs, rng)
    deposit_here(state, now.kinetic)
    now.kinetic = 0.0
    if now.species == _POSITRON:
        direction = isotropic(rng)
        push(state, _PHOTON, now.row, _ME, direction)
        push(state, _PHOTON, now.row, _ME, (-direction[0], -direction[1], -direction[2]))
    finish(state, False)
