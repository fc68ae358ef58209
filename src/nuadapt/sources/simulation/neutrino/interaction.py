"""Neutrino interactions on a nucleus: choose a channel, make the vertex, let the hadrons rescatter.

The border of this module: a neutrino along +z goes in, an :class:`Interaction` comes out, whose four-momentum, charge,
baryon number and lepton flavour balance including the remnant nucleus. All randomness comes from the generator given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.events.truth import Current, InteractionMode
from nuadapt.sources.simulation.neutrino import primary_vertex as vertices
from nuadapt.sources.simulation.neutrino.channels import Channel, ChannelSet, channel_set
from nuadapt.sources.simulation.neutrino.deexcitation import deexcite
from nuadapt.sources.simulation.neutrino.hadron_cross_sections import hadron_cross_sections
from nuadapt.sources.simulation.neutrino.interaction_config import InteractionConfig
from nuadapt.sources.simulation.neutrino.masses import M_NUCLEON, NEUTRON, PROTON, nucleus_pdg
from nuadapt.sources.simulation.neutrino.nuclear_cascade import Medium, particles_at, rescatter
from nuadapt.sources.simulation.neutrino.nucleus import Nucleus, draw_position, nucleus
from nuadapt.sources.simulation.neutrino.primary_vertex import Vertex
from nuadapt.sources.simulation.neutrino.short_lived import decay_short_lived

__all__ = ["Interaction", "InteractionConfig", "channel_shares", "interact"]

MIN_ENERGY, MAX_ENERGY = 0.12, 105.0  # GeV: just above the muon threshold, end of the tables
TRIES_PER_CHANNEL = 400  # a channel that never succeeds in as many draws counts as closed


@dataclass(frozen=True, slots=True)
class Interaction:
    """One interaction. Energies in GeV, z along the neutrino."""

    nu_pdg: int
    nu_energy: float
    current: Current
    mode: InteractionMode
    target_pdg: int
    hit_nucleon_pdg: int  # 0 for coherent; the first of the struck pair for 2p2h
    Q2: float  # -q^2 of the lepton vertex, GeV^2
    W: float  # sqrt(M^2 + 2 M q0 - Q2), GeV: as if the nucleon had been at rest; 0 where that is negative
    q0: float  # energy transfer
    q3: float  # three-momentum transfer
    x: float  # Q2 / (2 M q0)
    y: float  # q0 / E
    pdg: npt.NDArray[np.int32]  # (n,) particles leaving the nucleus, outgoing lepton first
    p4: npt.NDArray[np.float64]  # (n, 4) px, py, pz, E
    remnant_pdg: int  # 10LZZZAAAI of what stays, excited or in its ground state; 0 if nothing does
    remnant_p4: npt.NDArray[np.float64]  # (4,)


def interact(
    nu_pdg: int, energy: float, current: Current, rng: np.random.Generator, config: InteractionConfig
) -> Interaction:
    """Simulate one interaction of a neutrino of ``energy`` (GeV) on ``config.target_pdg`` at rest.

    Raises:
        ConfigError: impossible neutrino or energy, or no channel of this current is open.
    """
    if not MIN_ENERGY <= energy <= MAX_ENERGY:
        raise ConfigError(
            f"a neutrino energy of {energy} GeV is outside the range of the generator",
            where="interaction",
            expected=f"{MIN_ENERGY} to {MAX_ENERGY} GeV",
        )
    channels = channel_set(nu_pdg, current, config)
    target = nucleus(config.target_pdg, config.fermi_momentum, config.binding, config.tail_fraction)
    channel, vertex = _draw_vertex(channels, energy, target, config, rng)
    pdg, p4 = vertices.settled_kaons(vertex.pdg, rng), vertex.p4
    remnant, z, a = vertex.remnant, vertex.z, vertex.a
    if config.rescattering and a > 1 and channel.mode != InteractionMode.COH:
        pdg, p4, remnant, z, a = _rescatter(pdg, vertex, channel, target, config, rng)
    if config.deexcitation and a > 1:
        extra_pdg, extra_p4, remnant, z, a = deexcite(target, remnant, z, a, rng)
        pdg, p4 = [*pdg, *extra_pdg.tolist()], np.vstack([p4, extra_p4])
    pdg, p4 = decay_short_lived(pdg, p4, rng)
    lepton_pdg = int(math.copysign(abs(nu_pdg) - int(current == Current.CC), nu_pdg))
    q0, q3, Q2 = _transfer(energy, vertex.lepton)
    return Interaction(
        nu_pdg=nu_pdg,
        nu_energy=energy,
        current=current,
        mode=channel.mode,
        target_pdg=config.target_pdg,
        hit_nucleon_pdg=channel.hit,
        Q2=Q2,
        W=math.sqrt(max(M_NUCLEON**2 + 2 * M_NUCLEON * q0 - Q2, 0.0)),
        q0=q0,
        q3=q3,
        x=Q2 / (2 * M_NUCLEON * q0) if q0 > 0 else 0.0,
        y=q0 / energy,
        pdg=np.asarray([lepton_pdg, *pdg], dtype=np.int32),
        p4=np.vstack([vertex.lepton, p4]),
        remnant_pdg=nucleus_pdg(z, a),
        remnant_p4=remnant,
    )


def channel_shares(
    nu_pdg: int, energy: float, current: Current, config: InteractionConfig
) -> dict[InteractionMode, float]:
    """Share of each mode in the total cross-section on ``config.target_pdg``; they sum to 1.

    The same numbers choose the channel in :func:`interact`.
    """
    channels = channel_set(nu_pdg, current, config)
    sections = channels.cross_sections(energy)
    shares = dict.fromkeys(InteractionMode, 0.0)
    for channel, section in zip(channels.channels, sections, strict=True):
        shares[channel.mode] += float(section / sections.sum())
    return shares


def total_cross_section(nu_pdg: int, energy: float, current: Current, config: InteractionConfig) -> float:
    """Total cross-section on the whole target in 1e-38 cm2."""
    return float(channel_set(nu_pdg, current, config).cross_sections(energy).sum())


def _draw_vertex(
    channels: ChannelSet, energy: float, target: Nucleus, config: InteractionConfig, rng: np.random.Generator
) -> tuple[Channel, Vertex]:
    """A channel by cross-section and a vertex of it; a channel found closed by nuclear effects is struck off."""
    weights = channels.cross_sections(energy).copy()
    while weights.sum() > 0:
        index = int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), side="right"))
        channel = channels.channels[min(index, len(weights) - 1)]
        for _ in range(TRIES_PER_CHANNEL):
            vertex = _try_vertex(channel, channels, energy, target, rng)
            if vertex is not None and not (config.pauli_blocking and _is_blocked(vertex, channel, target)):
                return channel, vertex
        weights[index] = 0.0
    raise ConfigError(
        f"no interaction of this current is possible at {energy:.3f} GeV on target {config.target_pdg}",
        where="interaction",
        next_step="Raise the neutrino energy or choose another current",
    )


def _try_vertex(
    channel: Channel, channels: ChannelSet, energy: float, target: Nucleus, rng: np.random.Generator
) -> Vertex | None:
    if channel.mode == InteractionMode.COH:
        return vertices.coherent_vertex(channel, channels.probe, energy, target, rng)
    if channel.mode == InteractionMode.MEC:
        return vertices.pair_vertex(channel, channels.probe, energy, target, rng)
    return vertices.nucleon_vertex(channel, channels.probe, energy, target, rng)


def _is_blocked(vertex: Vertex, channel: Channel, target: Nucleus) -> bool:
    """Whether a nucleon of the vertex would land in the occupied Fermi sphere."""
    if target.a == 1 or channel.mode == InteractionMode.COH:
        return False
    return any(
        code in (PROTON, NEUTRON) and float(p @ p) < target.fermi_momentum**2
        for code, p in zip(vertex.pdg, vertex.p4[:, :3], strict=True)
    )


def _rescatter(
    pdg: list[int],
    vertex: Vertex,
    channel: Channel,
    target: Nucleus,
    config: InteractionConfig,
    rng: np.random.Generator,
) -> tuple[list[int], npt.NDArray[np.float64], npt.NDArray[np.float64], int, int]:
    """Hadrons and remnant after the intranuclear cascade."""
    medium = Medium(
        target,
        hadron_cross_sections(),
        config.cascade_step,
        config.escape_energy,
        config.pion_scale,
        config.absorption_scale,
        config.nucleon_scale,
    )
    where = draw_position(target, rng)
    state = particles_at(np.asarray(pdg), vertex.p4, where, vertex.remnant, vertex.z, vertex.a)
    formation_time = config.formation_time if channel.mode == InteractionMode.DIS else 0.0
    rescatter(state, medium, formation_time, rng)
    n, z, a = (int(count) for count in state.counts[:3])
    return state.pdg[:n].tolist(), state.p4[:n].copy(), state.remnant, z, a


def _transfer(energy: float, lepton: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """q0, q3 (GeV) and Q2 (GeV2) of the lepton vertex."""
    q = np.array([-lepton[0], -lepton[1], energy - lepton[2]])
    q0, q3 = energy - float(lepton[3]), float(np.sqrt(q @ q))
    return q0, q3, max(q3**2 - q0**2, 0.0)


def _remnant_pdg(z: int, a: int) -> int:
    return nucleus_pdg(z, a)
