"""What the transport kernels share: the stack of particles in flight, the track table, deposits and the ledger.

Records have named fields. Buffers have a fixed size while a kernel runs; one that overflows raises the ``FULL``
flag and :func:`nuadapt.sources.simulation.passage.transport.transport` repeats the event with larger buffers and
the same random numbers. GeV and cm.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import species

Array = npt.NDArray[np.float64]
Record = Any  # one element of a structured array inside a kernel

#: A particle in flight. ``row`` is its track; ``shower`` is 1 for e+- and photons within the shower of that row.
PARTICLE: Final = np.dtype(
    [("species", "i8"), ("row", "i8"), ("kinetic", "f8")] + [(name, "f8") for name in ("x", "y", "z", "ux", "uy", "uz")]
)
#: A hadron made in a nucleus: momentum relative to the axis of the projectile.
PRODUCT: Final = np.dtype([("species", "i8"), ("px", "f8"), ("py", "f8"), ("pz", "f8"), ("kinetic", "f8")])
#: A hadron inside a nucleus, GeV and fm; it cannot interact within its formation length.
INTRANUCLEAR: Final = np.dtype(
    [("species", "i8"), *((k, "f8") for k in ("formation", "px", "py", "pz", "x", "y", "z"))]
)
DEPOSIT: Final = np.dtype([("start", "f4", 3), ("end", "f4", 3), ("energy", "f4"), ("track", "i4")])
TRACK: Final = np.dtype(
    [
        *((name, "i4") for name in ("species", "parent", "primary", "process", "stopped", "escaped", "visible")),
        *((name, "f8", 3) for name in ("start", "end", "first")),
        *((name, "f8") for name in ("reach2", "kinetic_start", "kinetic_end", "deposited")),
    ]
)

# Counters of State.counts.
STACK: Final = 0
DEPOSITS: Final = 1
TRACKS: Final = 2
PRODUCTS: Final = 3
FULL: Final = 4
INSIDE: Final = 5
# Ledger entries, GeV.
DEPOSITED: Final = 0
ESCAPED: Final = 1
NEUTRINOS: Final = 2
NUCLEAR: Final = 3
REST_MASS: Final = 4

# How a track began; mirrored by nuadapt.sources.simulation.passage.transport.Process.
PRIMARY: Final = 0
DECAY: Final = 1
CAPTURE: Final = 2
HADRONIC: Final = 3

_MAX_PRODUCTS: Final = 400
_MASS, _REST = species.MASS, species.REST_AVAILABLE
_PHOTON, _NEUTRINO = species.PHOTON, species.NEUTRINO


class State(NamedTuple):
    """Everything a kernel writes."""

    stack: npt.NDArray[Any]
    now: npt.NDArray[Any]  # (1,) the particle being followed
    products: npt.NDArray[Any]
    inside: npt.NDArray[Any]  # hadrons still inside the struck nucleus
    tracks: npt.NDArray[Any]
    deposits: npt.NDArray[Any]
    counts: npt.NDArray[np.int64]
    ledger: Array


class Knobs(NamedTuple):
    """Numbers of TransportConfig and of the Box as the kernels read them; switches are 0.0 or 1.0."""

    straggling: float
    scattering: float
    hadronic: float
    decays: float
    electron_cut: float
    photon_cut: float
    neutron_cut: float
    max_step: float
    low: Array
    high: Array


class Tables(NamedTuple):
    """Tables on the energy grid of :mod:`energy_loss`; rates in 1/cm, losses in GeV/cm, ranges in cm."""

    loss: Array  # (charged species, grid)
    reach: Array  # (charged species, grid)
    loss_row: npt.NDArray[np.int64]  # (species,)
    electron_loss: Array  # (2, grid) e-, e+
    electron_reach: Array  # (2, grid)
    brems_rate: Array  # (1, grid)
    brems_quantile: Array  # (grid, quantiles)
    photon_rate: Array  # (3, grid) total, Compton, Compton + pair
    pair_quantile: Array  # (grid, quantiles)
    inelastic: Array  # (species, grid)
    elastic: Array  # (species, grid)


def new_state(particles: int, tracks: int, deposits: int) -> State:
    """Empty buffers of the given sizes."""
    return State(
        stack=np.empty(particles, dtype=PARTICLE),
        now=np.zeros(1, dtype=PARTICLE),
        products=np.empty(_MAX_PRODUCTS, dtype=PRODUCT),
        inside=np.empty(_MAX_PRODUCTS, dtype=INTRANUCLEAR),
        tracks=np.empty(tracks, dtype=TRACK),
        deposits=np.empty(deposits, dtype=DEPOSIT),
        counts=np.zeros(6, dtype=np.int64),
        ledger=np.zeros(5, dtype=np.float64),
    )


@compiled
def is_shower(kind: int) -> bool:
    """True for e-, e+ and photons, whose descendants share one track."""
    return kind <= _PHOTON


@compiled
def push(state: State, kind: int, row: int, kinetic: float, direction: tuple[float, float, float]) -> None:
    """Put a particle on the stack at the place of the particle being followed."""
    top = state.counts[STACK]
    if top >= state.stack.shape[0]:
        state.counts[FULL] = 1
        return
    new, now = state.stack[top], state.now[0]
    new.species, new.row, new.kinetic = kind, row, kinetic
    new.x, new.y, new.z = now.x, now.y, now.z
    new.ux, new.uy, new.uz = direction
    state.counts[STACK] = top + 1


@compiled
def new_track(state: State, kind: int, parent: int, process: int, kinetic: float) -> int:
    """Open a row of the track table at the place of the particle being followed; returns the row."""
    row: int = state.counts[TRACKS]
    if row >= state.tracks.shape[0]:
        state.counts[FULL] = 1
        return 0
    state.counts[TRACKS] = row + 1
    track, now = state.tracks[row], state.now[0]
    track.species, track.parent, track.process = kind, parent, process
    track.primary = row if parent < 0 else state.tracks[parent].primary
    track.stopped, track.escaped, track.visible = 0, 0, 0
    track.kinetic_start, track.kinetic_end, track.deposited, track.reach2 = kinetic, 0.0, 0.0, 0.0
    track.start[0], track.start[1], track.start[2] = now.x, now.y, now.z
    for k in range(3):
        track.end[k] = track.start[k]
        track.first[k] = math.nan
    return row


@compiled
def emit(state: State, kind: int, process: int, kinetic: float, direction: tuple[float, float, float]) -> None:
    """A particle born from the one being followed by a decay or in a nucleus: a track of its own."""
    if kind == _NEUTRINO:
        state.ledger[NEUTRINOS] += kinetic
        return
    row = new_track(state, kind, state.now[0].row, process, kinetic)
    push(state, kind, row, kinetic, direction)


@compiled
def deposit(state: State, energy: float, x: float, y: float, z: float) -> None:
    """Ionisation of ``energy`` GeV from (x, y, z) to the place of the particle being followed."""
    if energy <= 0.0:
        return
    index, now = state.counts[DEPOSITS], state.now[0]
    if index >= state.deposits.shape[0]:
        state.counts[FULL] = 1
        return
    state.counts[DEPOSITS] = index + 1
    item, track = state.deposits[index], state.tracks[now.row]
    item.start[0], item.start[1], item.start[2] = x, y, z
    item.end[0], item.end[1], item.end[2] = now.x, now.y, now.z
    item.energy, item.track = energy, now.row
    state.ledger[DEPOSITED] += energy
    track.deposited += energy
    if track.visible == 0:
        track.visible = 1
        track.first[0], track.first[1], track.first[2] = x, y, z
    if is_shower(track.species):
        _extend(track, now)


@compiled
def _extend(track: Record, now: Record) -> None:
    """The end of a shower is its deposit farthest from the start."""
    dx, dy, dz = now.x - track.start[0], now.y - track.start[1], now.z - track.start[2]
    distance2 = dx * dx + dy * dy + dz * dz
    if distance2 > track.reach2:
        track.reach2 = distance2
        track.end[0], track.end[1], track.end[2] = now.x, now.y, now.z


@compiled
def deposit_here(state: State, energy: float) -> None:
    """Ionisation at a point."""
    now = state.now[0]
    deposit(state, energy, now.x, now.y, now.z)


@compiled
def finish(state: State, escaped: bool) -> None:
    """The particle being followed ends where it is; members of a shower do not close their track."""
    now = state.now[0]
    track = state.tracks[now.row]
    if escaped:
        state.ledger[ESCAPED] += now.kinetic + _REST[now.species]
    if is_shower(now.species):
        if escaped and is_shower(track.species):
            track.escaped = 1
        return
    track.end[0], track.end[1], track.end[2] = now.x, now.y, now.z
    track.kinetic_end = now.kinetic
    track.escaped = 1 if escaped else 0
    track.stopped = 0 if escaped else 1


@compiled
def advance(now: Record, path: float) -> None:
    """Move along the direction of flight, cm."""
    now.x += path * now.ux
    now.y += path * now.uy
    now.z += path * now.uz


@compiled
def to_wall(now: Record, knobs: Knobs) -> float:
    """Distance in cm along the direction of flight to the wall of the box, from inside."""
    best = 1.0e30
    if now.ux != 0.0:
        best = min(best, ((knobs.high[0] if now.ux > 0 else knobs.low[0]) - now.x) / now.ux)
    if now.uy != 0.0:
        best = min(best, ((knobs.high[1] if now.uy > 0 else knobs.low[1]) - now.y) / now.uy)
    if now.uz != 0.0:
        best = min(best, ((knobs.high[2] if now.uz > 0 else knobs.low[2]) - now.z) / now.uz)
    return max(best, 0.0)


@compiled
def turned(axis: tuple[float, float, float], cosine: float, azimuth: float) -> tuple[float, float, float]:
    """The direction at a polar angle (its cosine) and azimuth about a unit ``axis``."""
    sine = math.sqrt(max(1.0 - cosine * cosine, 0.0))
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    x, y, z = axis
    # Branch-free orthonormal basis (Duff et al., JCGT 6 (2017) 1).
    sign = math.copysign(1.0, z)
    f = -1.0 / (sign + z)
    g = x * y * f
    vx = a * (1.0 + sign * x * x * f) + b * g + cosine * x
    vy = a * sign * g + b * (sign + y * y * f) + cosine * y
    vz = -a * sign * x - b * y + cosine * z
    norm = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
    return vx * norm, vy * norm, vz * norm


@compiled
def isotropic(rng: Generator) -> tuple[float, float, float]:
    """A random direction."""
    cosine, azimuth = 2.0 * rng.random() - 1.0, 2.0 * math.pi * rng.random()
    sine = math.sqrt(1.0 - cosine * cosine)
    return sine * math.cos(azimuth), sine * math.sin(azimuth), cosine


@compiled
def scatter(now: Record, width: float, rng: Generator) -> None:
    """Turn the direction of flight by Gaussian angles of ``width`` radians in two planes."""
    angle = width * math.sqrt(2.0 * rng.standard_exponential())
    axis = (now.ux, now.uy, now.uz)
    now.ux, now.uy, now.uz = turned(axis, math.cos(min(angle, math.pi)), 2.0 * math.pi * rng.random())


@compiled
def add_product(state: State, kind: int, px: float, py: float, pz: float) -> None:
    """Note a product with momentum in GeV in the frame whose z axis is the flight of its parent."""
    index = state.counts[PRODUCTS]
    if index >= state.products.shape[0]:
        return
    state.counts[PRODUCTS] = index + 1
    product, mass = state.products[index], _MASS[kind]
    p2 = px * px + py * py + pz * pz
    product.species, product.px, product.py, product.pz = kind, px, py, pz
    product.kinetic = p2 / (math.sqrt(p2 + mass * mass) + mass) if p2 > 0.0 else 0.0


@compiled
def products_available(state: State) -> float:
    """Sum of the available energies of the noted products, GeV."""
    total = 0.0
    for k in range(state.counts[PRODUCTS]):
        total += state.products[k].kinetic + _REST[state.products[k].species]
    return total


@compiled
def emit_products(state: State, process: int) -> None:
    """Send all noted products out as tracks, turned to the flight of the particle being followed."""
    now = state.now[0]
    axis = (now.ux, now.uy, now.uz)
    for k in range(state.counts[PRODUCTS]):
        item = state.products[k]
        p = math.sqrt(item.px * item.px + item.py * item.py + item.pz * item.pz)
        cosine = item.pz / p if p > 0.0 else 1.0
        direction = turned(axis, min(max(cosine, -1.0), 1.0), math.atan2(item.py, item.px))
        emit(state, item.species, process, item.kinetic, direction)
    state.counts[PRODUCTS] = 0
