"""The channels open to a neutrino, with tabulated cross-sections on the configured target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.events.truth import Current, InteractionMode
from nuadapt.sources.simulation.neutrino import cross_sections as xs
from nuadapt.sources.simulation.neutrino import tables
from nuadapt.sources.simulation.neutrino.cross_sections import Probe
from nuadapt.sources.simulation.neutrino.hadron_cross_sections import pion_inelastic_share, pion_nucleon
from nuadapt.sources.simulation.neutrino.interaction_config import InteractionConfig
from nuadapt.sources.simulation.neutrino.masses import M_NUCLEON, M_PION, NEUTRON, PROTON, mass, nucleus_z_a
from nuadapt.sources.simulation.neutrino.resonances import (
    DELTA,
    HIGHER,
    Resonance,
    isospin_weight,
    resonance_production,
)
from nuadapt.sources.simulation.neutrino.tables import KinematicTable

FloatArray = npt.NDArray[np.float64]
MIN_INCOHERENT = 0.6  # chosen; see _coherent
MEC_REFERENCE_ENERGY = 5.0  # GeV, where mec_scale holds


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to interact: ``hit`` is the struck nucleon (0: the whole nucleus), ``weight`` multiplies the table."""

    mode: InteractionMode
    hit: int
    table: KinematicTable
    weight: float
    resonance: Resonance | None = None
    twice_isospin: int = 0


@dataclass(frozen=True, slots=True)
class ChannelSet:
    """All channels of one neutrino, current and configuration."""

    probe: Probe
    channels: tuple[Channel, ...]
    totals: FloatArray  # (channel, energy) 1e-38 cm2 on the whole target

    def cross_sections(self, energy: float) -> FloatArray:
        """Cross-sections (1e-38 cm2 per target) of the channels at ``energy`` (GeV), shape (channel,)."""
        grid = tables.ENERGY_GRID
        i = min(max(int(np.searchsorted(grid, energy)), 1), len(grid) - 1)
        part = min(max((energy - grid[i - 1]) / (grid[i] - grid[i - 1]), 0.0), 1.0)
        result: FloatArray = self.totals[:, i - 1] * (1 - part) + self.totals[:, i] * part
        return result


@lru_cache(maxsize=64)
def channel_set(nu_pdg: int, current: Current, config: InteractionConfig) -> ChannelSet:
    """Channels of a neutrino on ``config.target_pdg``; tables are built on first use.

    Raises:
        ConfigError: not a neutrino, or a charged-current tau neutrino.
    """
    probe = _probe(nu_pdg, current)
    protons, neutrons = _nucleons(config.target_pdg)
    channels = [
        *_quasi_elastic(probe, config),
        *_two_nucleon(probe, config, protons, neutrons),
        *_resonant(probe, config),
        *_deep_inelastic(probe, config),
        *_coherent(probe, config),
    ]
    numbers = {PROTON: protons, NEUTRON: neutrons, 0: 1}
    channels = [c for c in channels if c.weight * numbers[c.hit] > 0]
    totals = np.asarray([c.table.total * c.weight * numbers[c.hit] for c in channels])
    return ChannelSet(probe, tuple(channels), totals)


def _probe(nu_pdg: int, current: Current) -> Probe:
    if abs(nu_pdg) not in (12, 14, 16) or current not in (Current.CC, Current.NC):
        raise ConfigError(
            f"cannot simulate neutrino {nu_pdg} with current {current}",
            where="interaction",
            expected="PDG code +-12, +-14 or +-16 and current CC or NC",
        )
    if abs(nu_pdg) == 16 and current == Current.CC:
        raise ConfigError(
            "charged-current tau neutrinos are not simulated (no tau decay)",
            where="interaction",
            expected="current NC for PDG code +-16",
        )
    lepton_mass = mass(abs(nu_pdg) - 1) if current == Current.CC else 0.0
    return Probe(current == Current.CC, nu_pdg < 0, lepton_mass)


def _nucleons(target_pdg: int) -> tuple[int, int]:
    if target_pdg in (PROTON, NEUTRON):
        return int(target_pdg == PROTON), int(target_pdg == NEUTRON)
    z, a = nucleus_z_a(target_pdg)
    return z, a - z


def _struck(probe: Probe) -> tuple[int, ...]:
    """Nucleons whose charge lets them scatter quasi-elastically."""
    if not probe.is_cc:
        return PROTON, NEUTRON
    return (PROTON,) if probe.is_antineutrino else (NEUTRON,)


@lru_cache(maxsize=64)
def _quasi_elastic_table(probe: Probe, hit: int, m_a: float) -> KinematicTable:
    return tables.build(
        lambda energy, _, Q2: xs.quasi_elastic(probe, hit, energy, Q2, m_a),
        M_NUCLEON,
        probe.lepton_mass,
        (M_NUCLEON, M_NUCLEON),
    )


def _quasi_elastic(probe: Probe, config: InteractionConfig) -> list[Channel]:
    return [
        Channel(InteractionMode.QE, hit, _quasi_elastic_table(probe, hit, config.m_a_qe), 1.0) for hit in _struck(probe)
    ]


def _two_nucleon(probe: Probe, config: InteractionConfig, protons: int, neutrons: int) -> list[Channel]:
    if protons + neutrons < 4:
        return []
    table = tables.build(
        lambda energy, W, Q2: xs.two_nucleon_shape(energy, W, Q2, config.mec_mass, config.mec_width),
        2 * M_NUCLEON,
        probe.lepton_mass,
        (max(2 * M_NUCLEON + 0.01, config.mec_mass - 3 * config.mec_width), config.mec_mass + 3 * config.mec_width),
    )
    norm = tables.total_at(table, MEC_REFERENCE_ENERGY)
    out = []
    for hit in _struck(probe):
        elastic = tables.total_at(_quasi_elastic_table(probe, hit, config.m_a_qe), MEC_REFERENCE_ENERGY)
        out.append(Channel(InteractionMode.MEC, hit, table, config.mec_scale * elastic / norm))
    return out


def _resonant(probe: Probe, config: InteractionConfig) -> list[Channel]:
    out = []
    for resonance, strengths in (
        (DELTA, {3: 1.0}),
        (HIGHER, {1: config.higher_half, 3: config.higher_three_halves}),
    ):
        table = tables.build(
            lambda energy, W, Q2, resonance=resonance: resonance_production(  # type: ignore[misc]
                probe, resonance, energy, W, Q2, config.m_a_res
            ),
            M_NUCLEON,
            probe.lepton_mass,
            (M_NUCLEON + M_PION + 0.005, config.w_resonance_end),
        )
        for twice_isospin, strength in strengths.items():
            for hit in (PROTON, NEUTRON):
                weight = strength * isospin_weight(twice_isospin, probe.is_cc, probe.is_antineutrino, hit)
                out.append(Channel(InteractionMode.RES, hit, table, weight, resonance, twice_isospin))
    return out


def _deep_inelastic(probe: Probe, config: InteractionConfig) -> list[Channel]:
    def fade_in(W: FloatArray) -> FloatArray:
        part = np.clip((W - config.w_dis_start) / (config.w_dis_full - config.w_dis_start), 0, 1)
        return np.asarray(part * part * (3 - 2 * part))

    def table(hit: int) -> KinematicTable:
        return tables.build(
            lambda energy, W, Q2: fade_in(W) * xs.deep_inelastic(probe, hit, energy, W, Q2),
            M_NUCLEON,
            probe.lepton_mass,
            (config.w_dis_start, math.inf),
            w_power=2,  # dense near threshold, where the structure is
        )

    return [Channel(InteractionMode.DIS, hit, table(hit), config.dis_scale) for hit in (PROTON, NEUTRON)]


def _coherent(probe: Probe, config: InteractionConfig) -> list[Channel]:
    if config.target_pdg in (PROTON, NEUTRON) or config.coherent_scale == 0:
        return []
    a = nucleus_z_a(config.target_pdg)[1]

    def differential(energy: FloatArray, y: FloatArray, Q2: FloatArray) -> FloatArray:
        kinetic = np.maximum(y * energy - M_PION, 1e-3)
        isospin_3, isospin_1 = pion_nucleon(kinetic)
        total = (2 * isospin_3 + isospin_1) / 3  # mean over proton and neutron
        # In the Delta region elastic scattering off single nucleons, charge exchange and absorption on pairs take the
        # pion out of the coherent wave too, so at least this share of the cross-section counts as inelastic.
        lost = np.maximum(pion_inelastic_share(kinetic), MIN_INCOHERENT)
        return xs.coherent(probe, a, energy, y, Q2, (total, total * lost))

    table = tables.build(differential, mass(config.target_pdg), probe.lepton_mass, (1e-3, 0.999), coherent_limits, 3)
    return [Channel(InteractionMode.COH, 0, table, config.coherent_scale)]


def coherent_limits(
    energy: FloatArray, y: FloatArray, target_mass: float, lepton_mass: float
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Limits of Q2 (GeV2) at given y, and whether y is reachable: a pion must be made. The nucleus takes no energy."""
    lepton = energy * (1 - y)
    is_open = (lepton > lepton_mass) & (y * energy > M_PION * (1 + M_PION / target_mass))
    p = np.sqrt(np.maximum(lepton**2 - lepton_mass**2, 0.0))
    low = np.maximum(2 * energy * (lepton - p) - lepton_mass**2, 0.0)
    high = np.maximum(2 * energy * (lepton + p) - lepton_mass**2, low + 1e-9)
    return low, high, is_open
