"""From the particles leaving the nucleus to reconstructed objects: tracks, photons, blobs, Michel tags, recoil sums.

All events of a chunk at once; every array has one row per particle (or per object), with the event that it belongs to.
GeV, cm, ns, detector axes; the objects that come out are those of the MINERvA reader (MeV, mm, ns), and become tokens
by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.batch import Particles
from nuadapt.events.cloud import TokenType
from nuadapt.events.final_state import CHARGED_PION_MASS
from nuadapt.events.flat import owners
from nuadapt.sources.minerva.objects import CHARGED_HYPOTHESES, Objects
from nuadapt.sources.simulation.minerva.config import ResponseConfig
from nuadapt.sources.simulation.minerva.passage import (
    MUON_MASS,
    FloatArray,
    Passage,
    energy_of,
    follow,
    masses,
    photons_of,
    smeared,
    way_out,
)

Array = npt.NDArray[Any]
_TO_MEV, _TO_MM = 1e3, 10.0
#: Mass (GeV) that goes with each hypothesis, as in the tuples: muon, pion, none.
HYPOTHESES = {3: MUON_MASS, 8: CHARGED_PION_MASS, 13: 1e-3}
_TYPES = {3: TokenType.PRONG_3, 8: TokenType.PRONG_8, 13: TokenType.PRONG_13}
_HADRONS = (211, 321, 2212)
_SPECIES = {13: "muon", 211: "pion", 321: "pion", 2212: "proton", 11: "electron"}


@dataclass(frozen=True, slots=True)
class Rows:
    """Particles of some events: ``event`` and ``pdg`` (n,), ``p4`` (n, 4) px, py, pz, E."""

    event: npt.NDArray[np.int64]
    pdg: npt.NDArray[np.int64]
    p4: FloatArray

    def take(self, index: Array) -> Rows:
        """The rows ``index`` (integers or a mask)."""
        return Rows(self.event[index], self.pdg[index], self.p4[index])

    @property
    def kinetic(self) -> FloatArray:
        """(n,) GeV, from the momentum and the mass of the four-momentum."""
        square = np.maximum(self.p4[:, 3] ** 2 - np.sum(self.p4[:, :3] ** 2, axis=1), 0.0)
        return np.asarray(np.maximum(self.p4[:, 3] - np.sqrt(square), 0.0))

    @property
    def direction(self) -> FloatArray:
        """Unit vectors (n, 3)."""
        length = np.linalg.norm(self.p4[:, :3], axis=1, keepdims=True)
        return np.asarray(np.where(length > 0, self.p4[:, :3] / np.maximum(length, 1e-12), [0.0, 0.0, 1.0]))


@dataclass(frozen=True, slots=True)
class Deposits:
    """Visible energy that is in no track: ``event`` (n,), ``energy`` (n,) GeV, ``place`` (n, 3) cm, ``outside`` (n,)
    the inner detector."""

    event: npt.NDArray[np.int64]
    energy: FloatArray
    place: FloatArray
    outside: npt.NDArray[np.bool_]

    @staticmethod
    def join(parts: list[Deposits]) -> Deposits:
        """All of them."""
        names = ("event", "energy", "place", "outside")
        return Deposits(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """``objects`` of the events, the hypothesis of each prong as ``prong_event`` and ``hypothesis``, and event-level
    ``columns`` (N,) in GeV."""

    muons: Objects
    photons: Objects
    blobs: Objects
    prongs: Objects
    hypothesis: npt.NDArray[np.int64]
    columns: dict[str, Array]


def reconstruct(
    particles: Particles, vertex: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> Reconstructed:
    """What the detector makes of ``particles`` (momenta along detector axes, GeV) from ``vertex`` (N, 3) cm."""
    n = len(particles)
    columns = particles.columns
    p4 = np.stack([columns[a].astype(np.float64) for a in ("px", "py", "pz", "E")], axis=1)
    rows = Rows(owners(particles.offsets), columns["pdg"].astype(np.int64), p4)
    time = rng.uniform(0.0, config.gate, n)
    code = np.abs(rows.pdg)
    muon_rows, hadron_rows = rows.take(code == 13), rows.take(np.isin(code, _HADRONS))
    muons, muon_tracks, stopped = _muons(muon_rows, vertex, time, config, rng)
    hadron_tracks, left, decaying = _hadrons(hadron_rows, vertex, time, config, rng)
    photons, unseen = _photons(rows, vertex, time, config, rng)
    electrons = _electrons(rows.take(code == 11), vertex, time, config, rng)
    neutrons = _neutrons(rows.take(code == 2112), vertex, config, rng)
    noise = _noise(n, config, rng)
    loose = Deposits.join([left, unseen, neutrons, noise])
    tracks = [muon_tracks, hadron_tracks, electrons]
    prongs = Objects.join([t.objects for t in tracks])
    order = np.argsort(np.concatenate([t.objects.event for t in tracks]), kind="stable")
    hypothesis = np.concatenate([t.hypothesis for t in tracks])[order]
    sums = _sums([hadron_tracks, electrons], photons, loose, muons, n, config, rng)
    sums |= _muon_surroundings(muons, n, rng)
    michels = np.bincount(np.concatenate([stopped, decaying]), minlength=n)
    tags = rng.binomial(michels, config.michel_efficiency) + (rng.random(n) < config.michel_fakes)
    charged = np.bincount(prongs.event[np.isin(hypothesis, CHARGED_HYPOTHESES)], minlength=n)
    found: dict[str, Array] = {"n_michel_tags": tags, "n_charged_prongs": charged, "n_charged_prongs_found": charged}
    found["n_muons_found"] = np.bincount(muons.event, minlength=n)
    reco = vertex + config.vertex_resolution * rng.standard_normal((n, 3))
    found |= {f"reco_vertex_{axis}": reco[:, i] for i, axis in enumerate("xyz")}
    return Reconstructed(muons, photons, _blobs(loose, reco, time, config, rng), prongs, hypothesis, found | sums)


@dataclass(frozen=True, slots=True)
class _Tracks:
    """Prongs with their hypothesis, and the visible energy (GeV) that the particles left along them."""

    objects: Objects
    hypothesis: npt.NDArray[np.int64]
    visible: FloatArray


def _objects(
    event: Array,
    p3: FloatArray,
    energy: FloatArray,
    kind: Array | TokenType,
    time: FloatArray,
    *,
    dedx: FloatArray | None = None,
    place: FloatArray | None = None,
) -> Objects:
    """Objects of the reader (MeV, mm, MeV/cm) from GeV and cm."""
    n = len(event)
    return Objects(
        np.asarray(event, dtype=np.int64),
        p3 * _TO_MEV,
        energy * _TO_MEV,
        np.broadcast_to(np.asarray(kind, dtype=np.uint8), (n,)),
        np.full(n, np.nan) if dedx is None else dedx * _TO_MEV,
        np.full((n, 3), np.nan) if place is None else place * _TO_MM,
        time,
    )


def _muons(
    rows: Rows, vertex: FloatArray, time: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> tuple[Objects, _Tracks, Array]:
    """MINOS-matched muons, the tracks that muons leave, and the events of muons that decay inside."""
    start, direction = vertex[rows.event], rows.direction
    free = np.full(len(rows.event), np.inf)
    passed = follow(start, direction, rows.kinetic, masses(np.full(len(free), 13)), free, config, rng)
    matched = _reaches_minos(rows, start, direction, passed, config) & (rng.random(len(free)) < config.muon_efficiency)
    momentum = np.linalg.norm(rows.p4[:, :3], axis=1)
    momentum = momentum * np.exp(config.muon_resolution * rng.standard_normal(len(free)))
    measured = smeared(direction, config.muon_angle, rng)
    energy = np.sqrt(momentum**2 + MUON_MASS**2)
    muons = _objects(
        rows.event[matched],
        (momentum[:, None] * measured)[matched],
        energy[matched],
        TokenType.MUON,
        time[rows.event][matched],
    )
    # Without MINOS only the path inside says how much energy a muon had.
    by_range = energy_of(passed.length, np.full(len(free), MUON_MASS), config.minimum_dedx)
    kinetic = np.where(matched, energy - MUON_MASS, by_range)
    tracks, _ = _tracks(rows, passed, kinetic, vertex, time, config, rng)
    decays = passed.stopped & ((rows.pdg < 0) | (rng.random(len(free)) >= config.muon_capture))
    return muons, tracks, rows.event[decays]


def _reaches_minos(
    rows: Rows, start: FloatArray, direction: FloatArray, passed: Passage, config: ResponseConfig
) -> Array:
    """Whether muons have a track in MINOS, (n,): forward, with enough energy, and arriving inside the aperture."""
    forward = direction[:, 2] > 0.5
    way = np.where(forward, (config.minos_z - start[:, 2]) / np.maximum(direction[:, 2], 0.5), np.inf)
    there = np.where(forward[:, None], start + np.where(forward, way, 0.0)[:, None] * direction, np.inf)
    inside = (np.abs(there[:, :2]) < config.minos_half_width).all(axis=1)
    lost = passed.left + config.loss_before_minos
    return np.asarray(forward & inside & ~passed.stopped & (rows.kinetic - lost > config.minos_least_energy))


def _hadrons(
    rows: Rows, vertex: FloatArray, time: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> tuple[_Tracks, Deposits, Array]:
    """Tracks of charged hadrons, the energy beside tracks, and the events of pi+ (and K+) that decay at rest."""
    code = np.abs(rows.pdg)
    free = np.where(code == 2212, config.interaction_length, config.pion_length)
    passed = follow(vertex[rows.event], rows.direction, rows.kinetic, masses(code), free, config, rng)
    measured = energy_of(passed.length, masses(code), config.minimum_dedx)
    tracks, is_track = _tracks(rows, passed, measured, vertex, time, config, rng)
    beside = np.where(is_track, 0.0, passed.left)
    beside = beside + np.where(passed.interacted, config.visible_of_interacting * passed.remaining, 0.0)
    leaving = ~passed.interacted & ~passed.stopped
    beside = beside + np.where(leaving, config.outer_share * passed.remaining, 0.0)
    # A track's energy belongs to it; what is beside lies where it ends.
    deposits = Deposits(rows.event, beside, passed.end, leaving & is_track)
    decays = passed.stopped & ((rows.pdg == 211) | ((rows.pdg == 321) & (rng.random(len(free)) < 0.636)))
    return tracks, deposits, rows.event[decays]


def _tracks(
    rows: Rows,
    passed: Passage,
    kinetic: FloatArray,
    vertex: FloatArray,
    time: FloatArray,
    config: ResponseConfig,
    rng: np.random.Generator,
) -> tuple[_Tracks, Array]:
    """Prongs of the particles whose path crosses enough planes, and which rows these are (n,).

    A prong's energy follows from its ``kinetic`` energy, measured by range under the true mass, by translating the
    range to the mass of its hypothesis.
    """
    n = len(rows.event)
    crossed = passed.length * np.abs(rows.direction[:, 2])
    is_track = (crossed > config.least_track_z) & (rng.random(n) < config.track_efficiency)
    mine = rows.take(is_track)
    hypothesis = _hypotheses(mine, config, rng)
    mass = np.choose(np.searchsorted(list(HYPOTHESES), hypothesis), list(HYPOTHESES.values()))
    kinetic, length = kinetic[is_track], passed.length[is_track]
    as_muon_or_pion = energy_of(length, mass, config.minimum_dedx)
    # Hypothesis 13 carries no particle's mass: its energy is calorimetric. A matched muon keeps what MINOS measured.
    kinetic = np.where((hypothesis == 13) | (np.abs(mine.pdg) == 13), kinetic, as_muon_or_pion)
    kinetic = kinetic * np.exp(config.range_resolution * rng.standard_normal(len(kinetic)))
    energy = kinetic + mass
    p3 = np.sqrt(np.maximum(energy**2 - mass**2, 0.0))[:, None] * smeared(mine.direction, config.track_angle, rng)
    dedx = passed.left[is_track] / np.maximum(length, 1e-6)
    dedx = dedx * np.exp(config.dedx_resolution * rng.standard_normal(len(dedx)))
    kind = np.choose(np.searchsorted(list(_TYPES), hypothesis), list(_TYPES.values()))
    place = vertex[mine.event] + config.vertex_resolution * rng.standard_normal((len(kinetic), 3))
    objects = _objects(mine.event, p3, energy, kind, time[mine.event], dedx=dedx, place=place)
    return _Tracks(objects, hypothesis, passed.left[is_track]), is_track


def _hypotheses(rows: Rows, config: ResponseConfig, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The hypothesis (n,) that the reconstruction picks for each particle."""
    draw = rng.random(len(rows.event))
    names = np.array(list(HYPOTHESES))
    found = np.full(len(draw), names[-1])
    for code, species in _SPECIES.items():
        mine = np.abs(rows.pdg) == code
        edges = np.cumsum(config.hypotheses[species])[:-1]
        found[mine] = names[np.searchsorted(edges, draw[mine], side="right")]
    return found


def _photons(
    rows: Rows, vertex: FloatArray, time: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> tuple[Objects, Deposits]:
    """Up to two photons of the events with at least two detected, and what other photons leave."""
    pions = rows.take(rows.pdg == 111)
    direct = rows.take(rows.pdg == 22)
    p4 = np.concatenate([photons_of(pions.p4, rng), direct.p4])
    event = np.concatenate([pions.event, pions.event, direct.event])
    every = Rows(event, np.full(len(event), 22), p4)
    direction, energy = every.direction, p4[:, 3]
    # A photon converts after 9/7 of a radiation length on average.
    way = rng.exponential(9 / 7 * config.radiation_length, len(event))
    out = way_out(vertex[event], direction, config)
    inside = way < out
    place = vertex[event] + np.minimum(way, out)[:, None] * direction
    measured = energy * np.maximum(
        1 + config.photon_resolution * rng.standard_normal(len(event)) / np.sqrt(energy), 0.1
    )
    seen = inside & (energy > config.least_photon) & (rng.random(len(event)) < config.photon_efficiency)
    order = np.lexsort((-measured, event))
    order = order[seen[order]]
    rank = _rank(event[order])
    pairs = np.bincount(event[order], minlength=len(vertex)) >= 2
    taken = order[(rank < 2) & pairs[event[order]]]
    is_photon = np.zeros(len(event), dtype=bool)
    is_photon[taken] = True
    # Near its beginning a photon's shower is two minimum ionising particles.
    dedx = 2 * config.minimum_dedx * np.exp(0.25 * rng.standard_normal(len(taken)))
    photons = _objects(
        event[taken],
        measured[taken, None] * smeared(direction[taken], config.photon_angle, rng),
        measured[taken],
        TokenType.PHOTON,
        time[event[taken]],
        dedx=dedx,
    )
    left = np.where(is_photon, 0.0, np.where(inside, measured, config.outer_share * energy))
    return photons, Deposits(event, left, place, ~inside)


def _rank(event: Array) -> Array:
    """Position of each row within its event, (n,), for rows ordered by event."""
    _, first, group = np.unique(event, return_index=True, return_inverse=True)
    return np.arange(len(event)) - first[group]


def _electrons(
    rows: Rows, vertex: FloatArray, time: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> _Tracks:
    """Showers of electrons: prongs with a calorimetric energy."""
    mine = rows.take(rows.p4[:, 3] > config.least_photon)
    energy = mine.p4[:, 3]
    energy = energy * np.maximum(1 + config.photon_resolution * rng.standard_normal(len(energy)) / np.sqrt(energy), 0.1)
    hypothesis = _hypotheses(mine, config, rng)
    kind = np.choose(np.searchsorted(list(_TYPES), hypothesis), list(_TYPES.values()))
    dedx = config.minimum_dedx * np.exp(0.25 * rng.standard_normal(len(energy)))
    p3 = energy[:, None] * smeared(mine.direction, config.track_angle, rng)
    objects = _objects(mine.event, p3, energy, kind, time[mine.event], dedx=dedx, place=vertex[mine.event])
    return _Tracks(objects, hypothesis, energy)


def _neutrons(rows: Rows, vertex: FloatArray, config: ResponseConfig, rng: np.random.Generator) -> Deposits:
    """What neutrons leave where they interact: a part of their kinetic energy between nothing and twice the mean."""
    way = rng.exponential(config.interaction_length, len(rows.event))
    inside = way < way_out(vertex[rows.event], rows.direction, config)
    part = 2 * config.visible_of_neutrons * rng.random(len(way))
    place = vertex[rows.event] + way[:, None] * rows.direction
    return Deposits(rows.event, np.where(inside, part * rows.kinetic, 0.0), place, ~inside)


def _noise(n: int, config: ResponseConfig, rng: np.random.Generator) -> Deposits:
    """Activity of the spill that does not belong to the interaction."""
    event = np.repeat(np.arange(n), rng.poisson(config.noise_blobs, n))
    low, high = np.array([-80.0, -80.0, 600.0]), np.array([80.0, 80.0, config.tracker_end])
    place = low + rng.random((len(event), 3)) * (high - low)
    return Deposits(event, rng.exponential(config.noise_energy, len(event)), place, np.zeros(len(event), dtype=bool))


def _blobs(
    loose: Deposits, vertex: FloatArray, time: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> Objects:
    """Blobs of the deposits inside: energetic ones fall apart into several. They point away from the vertex (N, 3)."""
    mine = np.flatnonzero((loose.energy > config.least_blob) & ~loose.outside)
    pieces = 1 + rng.poisson(loose.energy[mine] / config.energy_per_blob)
    whole = np.repeat(np.arange(len(mine)), pieces)
    share = rng.exponential(1.0, len(whole))
    total = np.bincount(whole, share, len(mine))
    energy = loose.energy[mine][whole] * share / total[whole]
    place = loose.place[mine][whole] + config.blob_spread * rng.standard_normal((len(whole), 3))
    event = loose.event[mine][whole]
    keep = energy > config.least_blob
    event, energy, place = event[keep], energy[keep], place[keep]
    order = np.argsort(event, kind="stable")
    event, energy, place = event[order], energy[order], place[order]
    way = place - vertex[event]
    p3 = energy[:, None] * way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    return _objects(event, p3, energy, TokenType.BLOB, time[event], place=place)


def _sums(
    tracks: list[_Tracks],
    photons: Objects,
    loose: Deposits,
    muons: Objects,
    n: int,
    config: ResponseConfig,
    rng: np.random.Generator,
) -> dict[str, Array]:
    """Calorimetric sums (N,) GeV of all that is not the muon."""
    inner = sum((np.bincount(t.objects.event, t.visible, n) for t in tracks), np.zeros(n))
    inner = inner + np.bincount(photons.event, photons.energy / _TO_MEV, n)
    inner = inner + np.bincount(loose.event, np.where(loose.outside, 0.0, loose.energy), n)
    beyond = np.bincount(loose.event, np.where(loose.outside, loose.energy, 0.0), n)

    def measured(energy: FloatArray) -> FloatArray:
        spread = config.calorimetric_resolution * rng.standard_normal(n) * np.sqrt(energy)
        return np.asarray(config.calorimetric_constant * np.maximum(energy + spread, 0.0))

    inside, outside = measured(np.asarray(inner, dtype=np.float64)), measured(np.asarray(beyond, dtype=np.float64))
    has_muon = np.bincount(muons.event, minlength=n) > 0
    blob = (inside + outside) / config.calorimetric_scale
    return {
        "passive_recoil_id": inside,
        "passive_recoil_od": outside,
        "blob_recoil_energy": blob,
        "hadron_recoil_energy": np.where(has_muon, config.calorimetric_scale * blob, np.nan),
    }


def _muon_surroundings(muons: Objects, n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Energy near the muon track: delta rays and radiation grow slowly with its energy; assumption."""
    has_muon = np.bincount(muons.event, minlength=n) > 0
    fuzz = rng.exponential(0.03, n)
    isolated = np.where(rng.random(n) < 0.7, rng.exponential(0.04, n), 0.0)
    return {"muon_fuzz_energy": np.where(has_muon, fuzz, np.nan), "muon_iso_blobs_energy": isolated}
