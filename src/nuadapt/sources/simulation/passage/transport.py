"""Transport of particles through a box of liquid argon: from four-momenta to ionisation and tracks.

One call follows all particles of an event with everything they make. Energies GeV, lengths cm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from nuadapt.errors import ConfigError, DataError
from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.passage import energy_loss, species, tracking
from nuadapt.sources.simulation.passage.hadron_tables import hadron_tables
from nuadapt.sources.simulation.passage.particle_decays import decay
from nuadapt.sources.simulation.passage.shower import follow_electron, follow_photon
from nuadapt.sources.simulation.passage.shower_tables import brems_tables, electron_tables, photon_tables
from nuadapt.sources.simulation.passage.stepping import follow_charged, follow_neutral
from nuadapt.sources.simulation.passage.tracking import (
    DEPOSITS,
    ESCAPED,
    FULL,
    NEUTRINOS,
    PRIMARY,
    STACK,
    TRACKS,
    Knobs,
    State,
    Tables,
    deposit_here,
    finish,
    new_state,
    new_track,
    push,
)

_MASS, _CHARGE, _CTAU = species.MASS, species.CHARGE, species.CTAU
_PROMPT_CTAU: Final = 0.1  # cm; shorter-lived neutral particles (pi0, eta, Sigma0) decay where they are made


class Process(IntEnum):
    """How a track began."""

    PRIMARY = tracking.PRIMARY
    DECAY = tracking.DECAY
    CAPTURE = tracking.CAPTURE  # mu- capture, absorption of pi-, K-, antiprotons at rest
    HADRONIC = tracking.HADRONIC  # product of an inelastic reaction in flight


@dataclass(frozen=True, slots=True)
class Box:
    """The liquid argon, corners in cm. Particles that leave it escape."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ConfigError(f"the box from {self.low} to {self.high} cm is empty", expected="low < high on each axis")


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Switches and cuts of the transport."""

    straggling: bool = True  # fluctuations of the loss and delta rays; off: the CSDA mean
    scattering: bool = True  # multiple scattering
    hadronic: bool = True  # reactions with nuclei in flight and at rest
    decays: bool = True  # in flight and at rest
    electron_cut: float = 1.0e-3  # GeV kinetic; an electron below (range 4 mm, one wire) deposits at a point
    photon_cut: float = 1.0e-4  # GeV; below, photons are absorbed within about a centimetre
    neutron_cut: float = 1.5e-3  # GeV; near the first level of 40Ar (1.46 MeV): slower neutrons only recoil
    max_step: float = 0.3  # cm; below the wire pitch of about 0.5 cm

    def __post_init__(self) -> None:
        for item in ("electron_cut", "photon_cut", "neutron_cut", "max_step"):
            value = getattr(self, item)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"transport setting '{item}' is {value}", expected="a positive number")


@dataclass(frozen=True, slots=True)
class EnergyLedger:
    """Where the available energy of an event went, GeV; ``total_in`` is the sum of the others.

    Available energy (see :mod:`species`) is total energy, except kinetic energy for e-, nucleons and ions,
    plus twice the rest mass for e+ and antinucleons. ``rest_mass`` is what decays turn into the rest mass of stable
    matter (e-), negative where they set it free (the e+ of mu+ annihilates with an electron of the argon).
    ``unknown`` is the rest mass of particles that transport does not know; their kinetic energy is deposited.
    """

    total_in: float
    deposited: float
    escaped: float
    neutrinos: float
    nuclear: float  # separation energies, nuclear recoils, neutrons below the cut
    rest_mass: float
    unknown: float

    @property
    def balance(self) -> float:
        """Energy that is not accounted for, GeV; zero up to rounding."""
        booked = (self.deposited, self.escaped, self.neutrinos, self.nuclear, self.rest_mass, self.unknown)
        return self.total_in - math.fsum(booked)


Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Transported:
    """Ionisation and tracks of one event: n deposits, t tracks, GeV and cm.

    A track is one particle outside electromagnetic showers; an e+- or photon that starts a shower is one
    row to which all deposits of the shower belong. Delta rays belong to the track of their parent.
    """

    start: Singles  # (n, 3)
    end: Singles  # (n, 3); equal to start for a point deposit
    energy: Singles  # (n,) ionisation along the segment
    track: Ints  # (n,) row of the track table
    pdg: Ints  # (t,)
    parent: Ints  # (t,) row, -1 for primaries
    primary: Ints  # (t,) row of the primary it descends from
    process: Ints  # (t,) Process
    start_point: Floats  # (t, 3)
    end_point: Floats  # (t, 3); for showers the deposit farthest from the start
    kinetic_start: Floats  # (t,)
    kinetic_end: Floats  # (t,) when it stopped, reacted, decayed or left; 0 for showers
    deposited: Floats  # (t,)
    first_deposit_point: Floats  # (t, 3) where it becomes visible (photons: conversion); NaN if never
    stopped: Flags  # (t,) came to rest, decayed or reacted inside
    escaped: Flags  # (t,) left the box; for showers any part of it
    ledger: EnergyLedger


@lru_cache(maxsize=8)
def build_tables(electron_cut: float, photon_cut: float, restricted: bool) -> Tables:
    """Tables for given cuts in GeV; ``restricted`` leaves delta rays out of the loss of heavy particles."""
    loss, loss_row = energy_loss.loss_tables(electron_cut if restricted else math.inf)
    photon_rate, pair_quantile = photon_tables()
    brems_rate, brems_quantile, soft = brems_tables(photon_cut)
    electron_loss, electron_reach = electron_tables(electron_cut, soft)
    inelastic, elastic = hadron_tables()
    return Tables(
        loss=loss,
        reach=np.stack([energy_loss.csda_range(row) for row in loss]),
        loss_row=loss_row,
        electron_loss=electron_loss,
        electron_reach=electron_reach,
        brems_rate=brems_rate,
        brems_quantile=brems_quantile,
        photon_rate=photon_rate,
        pair_quantile=pair_quantile,
        inelastic=inelastic,
        elastic=elastic,
    )


@compiled
def _follow(state: State, tables: Tables, knobs: Knobs, rng: Generator) -> None:
    """Follow the particle in ``state.now`` by the code of its kind."""
    now = state.now[0]
    kind = int(now.species)
    if kind == species.PHOTON:
        follow_photon(state, tables, knobs, rng)
    elif kind <= species.POSITRON:
        follow_electron(state, tables, knobs, rng)
    elif _CTAU[kind] < _PROMPT_CTAU and _CHARGE[kind] == 0.0:
        finish(state, knobs.decays == 0.0)
        if knobs.decays != 0.0:
            decay(state, rng)
    elif _CHARGE[kind] == 0.0:
        follow_neutral(state, tables, knobs, rng)
    else:
        follow_charged(state, tables, knobs, rng)


class _Primaries(NamedTuple):
    """Primaries of one event as the kernel reads them; species -1 unknown, -2 nuclear remnant (ignored)."""

    kinds: npt.NDArray[np.int64]  # (n,)
    momentum: Floats  # (n, 3) GeV
    kinetic: Floats  # (n,) GeV
    vertex: Floats  # (3,) cm


@compiled
def _open(state: State, primaries: _Primaries, item: int, inside: bool) -> None:
    """Open the track of a primary. Outside the box it has escaped; an unknown one deposits at the vertex."""
    now, kind, kinetic = state.now[0], primaries.kinds[item], primaries.kinetic[item]
    now.row, now.kinetic, now.species = new_track(state, kind, -1, PRIMARY, kinetic), kinetic, kind
    if kind == -2:
        return
    if kind == -1:
        if inside:
            deposit_here(state, kinetic)
        else:
            state.ledger[ESCAPED] += kinetic
    elif kind == species.NEUTRINO:
        state.ledger[NEUTRINOS] += kinetic
        state.tracks[now.row].escaped = 1
    elif not inside:
        finish(state, True)
    else:
        p = primaries.momentum[item]
        size = math.sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2])
        direction = (p[0] / size, p[1] / size, p[2] / size) if size > 0.0 else (0.0, 0.0, 1.0)
        push(state, kind, now.row, kinetic, direction)


@compiled
def _run(state: State, tables: Tables, knobs: Knobs, primaries: _Primaries, rng: Generator) -> None:
    """Open all primaries, then follow particles until the stack is empty or a buffer is full."""
    now, vertex = state.now[0], primaries.vertex
    now.x, now.y, now.z = vertex[0], vertex[1], vertex[2]
    inside = True
    for k in range(3):
        inside = inside and knobs.low[k] <= vertex[k] <= knobs.high[k]
    for item in range(primaries.kinds.shape[0]):
        _open(state, primaries, item, inside)
    while state.counts[STACK] > 0 and state.counts[FULL] == 0:
        top = state.counts[STACK] - 1
        state.counts[STACK] = top
        new = state.stack[top]
        now.species, now.row, now.kinetic = new.species, new.row, new.kinetic
        now.x, now.y, now.z = new.x, new.y, new.z
        now.ux, now.uy, now.uz = new.ux, new.uy, new.uz
        _follow(state, tables, knobs, rng)


def _knobs(box: Box, config: TransportConfig) -> Knobs:
    values = {item.name: float(getattr(config, item.name)) for item in fields(config)}
    return Knobs(**values, low=np.array(box.low, dtype=float), high=np.array(box.high, dtype=float))


def _classify(pdg: Ints, rng: Generator) -> npt.NDArray[np.int64]:
    """Species of each primary; -1 unknown, -2 nuclear remnant. K0 and anti-K0 become K0S or K0L by chance."""
    kinds = np.array([species.species_of(int(code)) for code in pdg], dtype=np.int64)
    neutral = np.isin(pdg, species.NEUTRAL_KAON_PDG)
    if neutral.any():
        short = rng.random(int(neutral.sum())) < 0.5
        kinds[neutral] = np.where(short, species.KAON_SHORT, species.KAON_LONG)
    kinds[(kinds == -1) & (pdg > species.REMNANT_ABOVE)] = -2
    return kinds


def _check(pdg: Ints, p4: Floats, vertex: Floats) -> None:
    if p4.shape != (pdg.size, 4) or vertex.shape != (3,):
        raise DataError(
            f"primaries have shapes pdg {pdg.shape}, p4 {p4.shape}, vertex {vertex.shape}",
            expected="(n,), (n, 4) and (3,)",
        )
    if not (np.isfinite(p4).all() and np.isfinite(vertex).all()):
        raise DataError("a primary has a four-momentum or vertex that is not finite", expected="finite GeV, cm")


def _prepare(pdg: Ints, p4: Floats, vertex: Floats, rng: Generator) -> tuple[_Primaries, float, float]:
    """Primaries for the kernel, their available energy and the rest mass of unknown ones, GeV."""
    kinds = _classify(pdg, rng)
    known = kinds >= 0
    p2 = (p4[:, :3] ** 2).sum(axis=1)
    mass = np.where(known, _MASS[np.maximum(kinds, 0)], np.sqrt(np.maximum(p4[:, 3] ** 2 - p2, 0.0)))
    # From the momentum, on shell: E - m cancels for slow particles.
    kinetic = np.divide(p2, np.sqrt(p2 + mass**2) + mass, out=np.zeros_like(p2), where=p2 > 0)
    rest = np.where(known, species.REST_AVAILABLE[np.maximum(kinds, 0)], mass)
    total_in = float((kinetic + rest)[kinds != -2].sum())
    primaries = _Primaries(kinds, np.ascontiguousarray(p4[:, :3]), kinetic, vertex)
    return primaries, total_in, float(mass[kinds == -1].sum())


def _collect(state: State, pdg: Ints, total_in: float, unknown: float) -> Transported:
    """Columns of the filled part of the buffers."""
    deposits, tracks = state.deposits[: state.counts[DEPOSITS]], state.tracks[: state.counts[TRACKS]]
    codes = np.asarray(species.PDG, dtype=np.int32)[np.maximum(tracks["species"], 0)]
    codes[: pdg.size] = pdg
    is_shower = (tracks["species"] >= 0) & (tracks["species"] <= species.PHOTON)
    escaped = tracks["escaped"] != 0
    deposited, gone, neutrinos, nuclear, rest_mass = (float(entry) for entry in state.ledger)
    return Transported(
        **{name: np.ascontiguousarray(deposits[name]) for name in ("start", "end", "energy", "track")},
        pdg=codes,
        **{name: np.ascontiguousarray(tracks[name]) for name in ("parent", "primary", "process")},
        start_point=np.ascontiguousarray(tracks["start"]),
        end_point=np.ascontiguousarray(tracks["end"]),
        kinetic_start=np.ascontiguousarray(tracks["kinetic_start"]),
        kinetic_end=np.ascontiguousarray(tracks["kinetic_end"]),
        deposited=np.ascontiguousarray(tracks["deposited"]),
        first_deposit_point=np.ascontiguousarray(tracks["first"]),
        stopped=np.where(is_shower, ~escaped, tracks["stopped"] != 0),
        escaped=escaped,
        ledger=EnergyLedger(total_in, deposited, gone, neutrinos, nuclear, rest_mass, unknown),
    )


def transport(
    pdg: Ints, p4: Floats, vertex: Floats, box: Box, rng: Generator, config: TransportConfig | None = None
) -> Transported:
    """Follow the primaries of one event, and all they make, through liquid argon.

    Args:
        pdg: (n,) codes. Neutrinos leave; nuclei heavier than alpha and generator pseudo-particles above 10^9 are
            ignored; other unknown codes deposit their kinetic energy at the vertex. Row i of the track table
            is primary i.
        p4: (n, 4) px, py, pz, E in GeV; known particles are put on their mass shell by their momentum.
        vertex: (3,) cm. Outside the box everything has escaped.
        rng: the only source of randomness; the same state gives the same event in any process.

    Raises:
        DataError: shapes do not agree or a number is not finite.
    """
    config = config if config is not None else TransportConfig()
    pdg = np.atleast_1d(np.asarray(pdg, dtype=np.int32))
    p4 = np.asarray(p4, dtype=np.float64).reshape(-1, 4) if np.size(p4) == 0 else np.asarray(p4, dtype=np.float64)
    vertex = np.asarray(vertex, dtype=np.float64)
    _check(pdg, p4, vertex)
    primaries, total_in, unknown = _prepare(pdg, p4, vertex, rng)
    tables = build_tables(config.electron_cut, config.photon_cut, config.straggling)
    size, before = 1, rng.bit_generator.state
    while True:
        state = new_state(20_000 * size, 4_000 * size + pdg.size, 60_000 * size)
        _run(state, tables, _knobs(box, config), primaries, rng)
        if state.counts[FULL] == 0:
            return _collect(state, pdg, total_in, unknown)
        size, rng.bit_generator.state = 4 * size, before
