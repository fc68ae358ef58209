"""The primary vertex: one neutrino on one nucleon, a pair, or the whole nucleus, before rescattering."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nuadapt.events.truth import InteractionMode
from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.neutrino import hadronization, resonances
from nuadapt.sources.simulation.neutrino.channels import Channel
from nuadapt.sources.simulation.neutrino.cross_sections import Probe, coherent_slope
from nuadapt.sources.simulation.neutrino.kinematics import (
    around,
    boosted,
    invariant_mass2,
    isotropic,
    momentum,
    pair_momentum,
    three_body,
    two_body,
)
from nuadapt.sources.simulation.neutrino.masses import (
    K_LONG,
    K_SHORT,
    M_NEUTRON,
    M_PROTON,
    NEUTRON,
    PI_MINUS,
    PI_PLUS,
    PI_ZERO,
    PROTON,
    mass,
)
from nuadapt.sources.simulation.neutrino.nucleus import (
    NP_SHARE,
    PAIR_MOTION,
    Nucleus,
    sphere_momentum,
    tail_momentum,
    take_nucleon,
)
from nuadapt.sources.simulation.neutrino.tables import KinematicTable, q2_at, sample_positions

FloatArray = npt.NDArray[np.float64]

NP_PAIR_SHARE_MEC = 0.8  # of struck pairs in 2p2h; T. Katori, arXiv:1304.6014


@dataclass(frozen=True, slots=True)
class Vertex:
    """What leaves the primary vertex. Four-momenta in GeV; they sum to neutrino plus target."""

    lepton: FloatArray  # (4,)
    pdg: list[int]  # hadrons
    p4: FloatArray  # (n, 4)
    W: float  # true mass of the hadronic system, GeV
    remnant: FloatArray  # (4,)
    z: int
    a: int


@compiled
def _strike(target: Nucleus, wants_proton: bool, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """A moving nucleon of the nucleus: possible?, its four-momentum, its partner's kind (0 none, 1 n, 2 p) and
    four-momentum, the remnant's four-momentum, Z and A."""
    whole, none = np.zeros(4), np.zeros(4)
    whole[3] = target.masses[target.z, target.a]
    z = target.z - int(wants_proton)
    if rng.random() >= target.tail_fraction:
        p3 = sphere_momentum(target.fermi_momentum, rng)
        ok, hit = take_nucleon(target, whole, target.z, target.a, wants_proton, p3)
        return ok, hit, 0, none, whole - hit, z, target.a - 1
    # A correlated pair: opposite large momenta on a slow pair. The partner leaves on its mass shell.
    relative, slow = tail_momentum(target, rng), np.zeros(3)
    for k in range(3):
        slow[k] = 0.5 * PAIR_MOTION * rng.normal()
    partner_is_proton = wants_proton != (rng.random() < NP_SHARE)
    ok, first = take_nucleon(target, whole, target.z, target.a, wants_proton, slow + relative)
    if not ok:
        return False, whole, 0, none, none, 0, 0
    ok, second = take_nucleon(target, whole - first, z, target.a - 1, partner_is_proton, slow - relative)
    partner = second.copy()
    m = M_PROTON if partner_is_proton else M_NEUTRON
    partner[3] = math.sqrt(m * m + momentum(second) ** 2)
    pair = first + second
    return (
        ok,
        pair - partner,
        1 + int(partner_is_proton),
        partner,
        whole - pair,
        z - int(partner_is_proton),
        target.a - 2,
    )


@compiled
def _strike_pair(target: Nucleus, first_is_proton: bool, second_is_proton: bool, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """Two nucleons of the Fermi gas for 2p2h: possible?, their four-momentum and the remnant's."""
    whole = np.zeros(4)
    whole[3] = target.masses[target.z, target.a]
    ok, first = take_nucleon(
        target, whole, target.z, target.a, first_is_proton, sphere_momentum(target.fermi_momentum, rng)
    )
    if not ok:
        return False, whole, whole
    z = target.z - int(first_is_proton)
    p3 = sphere_momentum(target.fermi_momentum, rng)
    ok, second = take_nucleon(target, whole - first, z, target.a - 1, second_is_proton, p3)
    return ok, first + second, whole - first - second


@compiled
def _scatter_lepton(  # type: ignore[no-untyped-def]
    neutrino_energy: float, hit: FloatArray, table: KinematicTable, fixed_W: float, rng: np.random.Generator
):
    """Draw (W, Q2) and place the lepton: possible?, W, the lepton's four-momentum.

    The struck nucleon is off its mass shell: kinematics are drawn at the beam energy that gives a free nucleon at
    rest the same s, and realised in the centre of mass of what is really there.
    """
    lepton = np.zeros(4)
    neutrino = np.array([0.0, 0.0, neutrino_energy, neutrino_energy])
    total = neutrino + hit
    s, m_l, m_t = invariant_mass2(total), table.lepton_mass, table.target_mass
    energy = (s - m_t * m_t) / (2 * m_t)
    if energy <= 0.0:
        return False, 0.0, lepton
    root_s = math.sqrt(s)
    w_position, q_position = sample_positions(table, energy, rng)
    W = fixed_W
    if fixed_W <= 0.0:
        w_high = min(table.w_high, root_s - m_l) if table.w_high > 1e9 else table.w_high
        W = table.w_low + (w_high - table.w_low) * w_position**table.w_power
    if W + m_l >= root_s or table.w_low - 0.01 > W:
        return False, 0.0, lepton
    lepton_energy = (s + m_l * m_l - W * W) / (2 * root_s)
    p = math.sqrt(max(lepton_energy**2 - m_l * m_l, 0.0))
    k_free = (s - m_t * m_t) / (2 * root_s)
    low = max(2 * k_free * (lepton_energy - p) - m_l * m_l, 0.0)
    Q2 = q2_at(q_position, low, max(2 * k_free * (lepton_energy + p) - m_l * m_l, low))
    axis = boosted(neutrino, total, -1.0)
    k = axis[3]
    cos = (2 * k * lepton_energy - m_l * m_l - Q2) / max(2 * k * p, 1e-12)
    if abs(cos) > 1.0:
        return False, 0.0, lepton
    direction = around(axis[:3], cos, 2 * math.pi * rng.random())
    for i in range(3):
        lepton[i] = p * direction[i]
    lepton[3] = lepton_energy
    return True, W, boosted(lepton, total, 1.0)


def nucleon_vertex(
    channel: Channel, probe: Probe, energy: float, target: Nucleus, rng: np.random.Generator
) -> Vertex | None:
    """One try at QE, RES or DIS on a nucleon of ``target``; None if the draw was not possible."""
    hit_is_proton = channel.hit == PROTON
    if target.a == 1:
        hit, partner_kind, partner = np.array([0.0, 0.0, 0.0, mass(channel.hit)]), 0, np.zeros(4)
        remnant, z, a = np.zeros(4), 0, 0
    else:
        ok, hit, partner_kind, partner, remnant, z, a = _strike(target, hit_is_proton, rng)
        if not ok:
            return None
    total_charge = int(hit_is_proton) + charge_transfer(probe)
    fixed_W = mass(PROTON if total_charge == 1 else NEUTRON) if channel.mode == InteractionMode.QE else 0.0
    ok, W, lepton = _scatter_lepton(energy, hit, channel.table, fixed_W, rng)
    if not ok:
        return None
    system = hit - lepton
    system[2:] += energy
    made = _hadrons(channel, probe, system, (W, total_charge, energy), lepton, rng)
    if made is None:
        return None
    pdg, p4 = made
    if partner_kind:
        pdg, p4 = [*pdg, PROTON if partner_kind == 2 else NEUTRON], np.vstack([p4, partner])
    return Vertex(lepton, pdg, p4, W, remnant, int(z), int(a))


def charge_transfer(probe: Probe) -> int:
    """Charge that the hadrons gain: +1 for a CC neutrino, -1 for a CC antineutrino."""
    if not probe.is_cc:
        return 0
    return -1 if probe.is_antineutrino else 1


def _hadrons(
    channel: Channel,
    probe: Probe,
    system: FloatArray,
    about: tuple[float, int, float],
    lepton: FloatArray,
    rng: np.random.Generator,
) -> tuple[list[int], FloatArray] | None:
    """Hadrons of a system of four-momentum ``system``; ``about``: W, total charge, neutrino energy."""
    W, total_charge, energy = about
    if channel.mode == InteractionMode.QE:
        return [PROTON if total_charge == 1 else NEUTRON], system[None, :]
    if channel.mode == InteractionMode.DIS:
        species = hadronization.hadron_species(W, probe.is_antineutrino, channel.hit, total_charge, rng)
        masses = np.array([mass(code) for code in species])
        if masses.sum() >= W - 1e-4:
            return None
        q = -lepton
        q[2:] += energy
        return species, hadronization.hadron_momenta(masses, system, q, rng)
    if channel.resonance is None:
        raise ValueError(f"a channel of mode {channel.mode.name} has no resonance")
    for _ in range(20):
        products = resonances.decay_products(channel.resonance, channel.twice_isospin, total_charge, rng)
        masses = np.array([mass(code) for code in products])
        if masses.sum() < W - 1e-3:
            if len(products) == 3:
                return list(products), three_body(system, masses, rng)
            return list(products), two_body(system, masses[0], masses[1], isotropic(rng))
    return None


def pair_vertex(
    channel: Channel, probe: Probe, energy: float, target: Nucleus, rng: np.random.Generator
) -> Vertex | None:
    """One try at 2p2h; the pair's mass is W of the vertex."""
    first = channel.hit == PROTON
    second = first != (rng.random() < NP_PAIR_SHARE_MEC)
    ok, pair, remnant = _strike_pair(target, first, second, rng)
    if not ok:
        return None
    ok, W, lepton = _scatter_lepton(energy, pair, channel.table, 0.0, rng)
    protons = int(first) + int(second) + charge_transfer(probe)
    masses = [M_PROTON if i < protons else M_NEUTRON for i in range(2)]
    if not ok or sum(masses) >= W:
        return None
    system = pair - lepton
    system[2:] += energy
    p4 = two_body(system, masses[0], masses[1], isotropic(rng))
    pdg = [PROTON if i < protons else NEUTRON for i in range(2)]
    return Vertex(lepton, pdg, p4, W, remnant, target.z - int(first) - int(second), target.a - 2)


def coherent_vertex(
    channel: Channel, probe: Probe, energy: float, target: Nucleus, rng: np.random.Generator
) -> Vertex | None:
    """One try at coherent pion production; the remnant is the nucleus itself, recoiling."""
    y, q_position = sample_positions(channel.table, energy, rng)
    y = channel.table.w_low + (channel.table.w_high - channel.table.w_low) * y**channel.table.w_power
    m_l, m_a = probe.lepton_mass, channel.table.target_mass
    pion = PI_ZERO if not probe.is_cc else (PI_MINUS if probe.is_antineutrino else PI_PLUS)
    lepton_energy = energy * (1 - y)
    if lepton_energy <= m_l:
        return None
    p = math.sqrt(lepton_energy**2 - m_l**2)
    low = max(2 * energy * (lepton_energy - p) - m_l**2, 0.0)
    Q2 = q2_at(q_position, low, 2 * energy * (lepton_energy + p) - m_l**2)
    cos = (2 * energy * lepton_energy - m_l**2 - Q2) / (2 * energy * p)
    if abs(cos) > 1:
        return None
    direction = around(np.array([0.0, 0.0, 1.0]), cos, 2 * math.pi * rng.random())
    lepton = np.append(p * direction, lepton_energy)
    q = -lepton
    q[2:] += energy
    total = q + np.array([0.0, 0.0, 0.0, m_a])
    root_s = math.sqrt(max(invariant_mass2(total), 0.0))
    if root_s <= m_a + mass(pion):
        return None
    p4 = _coherent_pion(q, total, (mass(pion), m_a), coherent_slope(target.a), rng)
    return Vertex(lepton, [pion], p4[:1], root_s, p4[1], target.z, target.a)


@compiled
def _coherent_pion(
    q: FloatArray, total: FloatArray, masses: tuple[float, float], slope: float, rng: np.random.Generator
) -> FloatArray:
    """Pion and nucleus (2, 4) with exp(-slope |t|) between the kinematic limits of t = (q - pion)^2."""
    root_s = math.sqrt(invariant_mass2(total))
    q_cm = boosted(q, total, -1.0)
    p = pair_momentum(root_s, masses[0], masses[1])
    extent = 4 * momentum(q_cm) * p * slope  # slope times the range of t
    drop = math.log(1 - rng.random() * (1 - math.exp(-extent))) if extent > 1e-9 else 0.0
    cos = 1 + 2 * drop / extent if extent > 1e-9 else 1.0
    return two_body(total, masses[0], masses[1], around(q_cm[:3], max(cos, -1.0), 2 * math.pi * rng.random()))


def settled_kaons(pdg: list[int], rng: np.random.Generator) -> list[int]:
    """Neutral kaons as K-short or K-long with equal chance."""
    return [(K_SHORT if rng.random() < 0.5 else K_LONG) if code in (K_SHORT, K_LONG) else code for code in pdg]
