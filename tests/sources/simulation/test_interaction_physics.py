"""Cross-sections, resonances, hadronisation and rescattering against oracles and symmetries."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy.integrate import quad

from nuadapt.events.truth import Current, InteractionMode
from nuadapt.sources.simulation.neutrino import cross_sections as xs
from nuadapt.sources.simulation.neutrino import resonances, tables
from nuadapt.sources.simulation.neutrino.channels import channel_set
from nuadapt.sources.simulation.neutrino.cross_sections import Probe
from nuadapt.sources.simulation.neutrino.deexcitation import deexcite
from nuadapt.sources.simulation.neutrino.hadron_cross_sections import hadron_cross_sections, nucleon_nucleon
from nuadapt.sources.simulation.neutrino.hadronization import hadron_momenta, hadron_species, mean_charged
from nuadapt.sources.simulation.neutrino.interaction import InteractionConfig, interact
from nuadapt.sources.simulation.neutrino.kinematics import boosted, invariant_mass2, three_body, two_body
from nuadapt.sources.simulation.neutrino.masses import (
    M_NUCLEON,
    M_PION,
    NEUTRON,
    PI_PLUS,
    PI_ZERO,
    PROTON,
    charge,
    mass,
)
from nuadapt.sources.simulation.neutrino.nuclear_cascade import Medium, particles_at, rescatter
from nuadapt.sources.simulation.neutrino.nucleus import HBAR_C, draw_position, nucleus, take_nucleon
from nuadapt.sources.simulation.neutrino.resonances import DELTA, isospin_weight, pion_nucleon_state

NU_MU, NUBAR_MU = Probe(True, False, mass(13)), Probe(True, True, mass(13))
NU_E_NC = Probe(False, False, 0.0)


@pytest.mark.parametrize("probe", [NU_MU, NUBAR_MU, NU_E_NC])
@pytest.mark.parametrize("energy", [0.4, 1.0, 6.0])
def test_tabulated_total_is_the_integral(probe: Probe, energy: float) -> None:
    table = tables.build(
        lambda e, _, Q2: xs.quasi_elastic(probe, NEUTRON, e, Q2, 1.0),
        M_NUCLEON,
        probe.lepton_mass,
        (M_NUCLEON, M_NUCLEON),
    )
    low, high, _ = tables.q2_limits(np.array(energy), np.array(M_NUCLEON), M_NUCLEON, probe.lepton_mass)
    oracle, _ = quad(
        lambda Q2: float(xs.quasi_elastic(probe, NEUTRON, np.array(energy), np.array(Q2), 1.0)), low, high, limit=200
    )
    assert tables.total_at(table, energy) == pytest.approx(oracle, rel=0.02)


def test_neutrinos_and_antineutrinos_agree_where_interference_vanishes() -> None:
    """At Q2 = 0 the vector-axial term vanishes, so both have the same quasi-elastic cross-section."""
    Q2 = np.array(0.0)
    a, b = (xs.quasi_elastic(probe, NEUTRON, np.array(50.0), Q2, 1.0) for probe in (NU_MU, NUBAR_MU))
    assert a == pytest.approx(float(b), rel=1e-3)
    # G^2 cos^2 (F1^2 + gA^2) / (2 pi) in the limit of large energy, by hand
    expected = xs.GEV2_TO_1E38_CM2 * xs.G_FERMI**2 * xs.COS2_CABIBBO * (1 + xs.AXIAL_COUPLING**2) / (2 * math.pi)
    assert a == pytest.approx(expected, rel=5e-3)


def test_interference_favours_neutrinos() -> None:
    """Published: about 0.9 against 0.3 to 0.4 (1e-38 cm2) at 1 GeV; the sign of the V-A term decides."""
    neutrino, antineutrino = (
        channel_set(nu, Current.CC, InteractionConfig(target_pdg=hit)).totals[0]
        for nu, hit in ((14, NEUTRON), (-14, PROTON))
    )
    at_1, at_90 = (int(np.searchsorted(tables.ENERGY_GRID, energy)) for energy in (1.0, 90.0))
    assert 0.85 < neutrino[at_1] < 1.15
    assert 0.3 < antineutrino[at_1] / neutrino[at_1] < 0.45
    assert antineutrino[at_90] == pytest.approx(neutrino[at_90], rel=0.05)


def test_neutral_current_elastic() -> None:
    """0.153 +- 0.018 of nu n -> mu p at Q2 of 0.5 to 1 GeV2: L. A. Ahrens et al., Phys. Rev. D 35 (1987) 785."""
    Q2, energy = np.linspace(0.5, 1.0, 51), np.array(1.3)
    elastic = np.trapezoid(xs.quasi_elastic(NU_E_NC, PROTON, energy, Q2, 1.0), Q2)
    charged = np.trapezoid(xs.quasi_elastic(NU_MU, NEUTRON, energy, Q2, 1.0), Q2)
    assert elastic / charged == pytest.approx(0.153, abs=0.025)
    # the weak vector charge of the proton, 1/2 - 2 sin^2(theta_W), nearly vanishes; that of the neutron is -1/2
    forward = [float(xs.quasi_elastic(NU_E_NC, hit, np.array(50.0), np.array(0.0), 1.0)) for hit in (PROTON, NEUTRON)]
    axial = xs.AXIAL_COUPLING**2 / 4
    assert forward[0] / forward[1] == pytest.approx(
        (axial + (0.5 - 2 * xs.SIN2_WEINBERG) ** 2) / (axial + 0.25), rel=1e-2
    )


def test_parton_number_sum_rules() -> None:
    big = np.array(1e6)  # where the K factors are 1

    def number(which: int) -> float:
        # x = t^4 tames the x^-0.5 behaviour at zero
        value, _ = quad(lambda t: 4 / t * float(xs.partons(np.array(t**4), big)[which]), 1e-4, 1, limit=200)
        return value

    assert number(0) == pytest.approx(2, rel=0.02)  # u valence
    assert number(1) == pytest.approx(1, rel=0.02)  # d valence


def test_delta_charge_states() -> None:
    """Clebsch-Gordan: nu p -> pi+ p : nu n -> pi+ n : nu n -> pi0 p = 9 : 1 : 2."""
    strength = {hit: isospin_weight(3, True, False, hit) for hit in (PROTON, NEUTRON)}
    rng = np.random.default_rng(0)
    states = Counter(pion_nucleon_state(3, 1, rng.random()) for _ in range(30_000))
    n_pi_plus, p_pi_zero = (states[state] / 30_000 for state in ((NEUTRON, PI_PLUS), (PROTON, PI_ZERO)))
    assert strength[PROTON] / strength[NEUTRON] == 3
    assert 9 * strength[NEUTRON] * n_pi_plus / strength[PROTON] == pytest.approx(1, abs=0.05)
    assert 9 * strength[NEUTRON] * p_pi_zero / strength[PROTON] == pytest.approx(2, abs=0.05)
    assert {pion_nucleon_state(3, 2, pick) for pick in (0.0, 0.5, 0.99)} == {(PROTON, PI_PLUS)}


def test_delta_states_in_events() -> None:
    """The same ratio from events on free nucleons, below the reach of anything but the Delta and QE."""
    config = InteractionConfig(target_pdg=NEUTRON, higher_half=0.0, higher_three_halves=0.0, dis_scale=0.0)
    rng, seen = np.random.default_rng(1), Counter[tuple[int, ...]]()
    for _ in range(4000):
        made = interact(14, 1.5, Current.CC, rng, config)
        if made.mode == InteractionMode.RES:
            seen[tuple(sorted(int(code) for code in made.pdg[1:]))] += 1
    assert seen[PI_ZERO, PROTON] / seen[PI_PLUS, NEUTRON] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("is_antineutrino", [False, True])
def test_charge_symmetry_of_resonances(is_antineutrino: bool) -> None:
    for twice_isospin in (1, 3):
        mirror = isospin_weight(twice_isospin, True, not is_antineutrino, NEUTRON)
        assert isospin_weight(twice_isospin, True, is_antineutrino, PROTON) == mirror


def test_delta_peaks_at_its_mass() -> None:
    W = np.linspace(1.1, 1.6, 501)
    shape = resonances.resonance_production(NU_MU, DELTA, np.array(2.0), W, np.array(0.3), 1.12)
    assert W[shape.argmax()] == pytest.approx(1.22, abs=0.02)
    assert np.trapezoid(
        resonances.breit_wigner(DELTA, np.linspace(M_NUCLEON + M_PION, 3, 4000)),
        np.linspace(M_NUCLEON + M_PION, 3, 4000),
    ) == pytest.approx(1, rel=1e-3)


def test_cross_sections_rise_from_threshold_and_never_go_negative() -> None:
    for nu, current in ((14, Current.CC), (-12, Current.CC), (14, Current.NC)):
        channels = channel_set(nu, current, InteractionConfig())
        assert (channels.totals >= 0).all()
        assert np.isfinite(channels.totals).all()
    muon = channel_set(14, Current.CC, InteractionConfig())
    pion_threshold = mass(13) + M_PION
    for channel, totals in zip(muon.channels, muon.totals, strict=True):
        if channel.mode in (InteractionMode.RES, InteractionMode.DIS):
            assert (totals[pion_threshold > tables.ENERGY_GRID] == 0).all()


@pytest.mark.parametrize("W", [1.35, 1.8, 3.0, 8.0])
@pytest.mark.parametrize(("hit", "total_charge"), [(PROTON, 2), (NEUTRON, 1), (PROTON, 1), (NEUTRON, 0)])
def test_hadrons_balance(W: float, hit: int, total_charge: int) -> None:
    rng = np.random.default_rng(4)
    q = np.array([0.3, -0.2, 2.0, 1.5])
    system = np.array([0.3, -0.2, 2.0, math.sqrt(W**2 + 0.09 + 0.04 + 4.0)])
    for _ in range(200):
        species = hadron_species(W, False, hit, total_charge, rng)
        masses = np.array([mass(code) for code in species])
        assert sum(charge(code) for code in species) == total_charge
        p4 = hadron_momenta(masses, system, q, rng)
        np.testing.assert_allclose(p4.sum(axis=0), system, atol=1e-9)
        np.testing.assert_allclose(p4[:, 3] ** 2 - (p4[:, :3] ** 2).sum(axis=1), masses**2, atol=1e-8)


def test_baryon_goes_backward_and_transverse_momentum_is_limited() -> None:
    rng = np.random.default_rng(5)
    W, axis = 5.0, np.array([0.0, 0.0, 1.0, 0.0])
    system, baryon, transverse = np.array([0.0, 0.0, 0.0, W]), [], []
    for _ in range(1500):
        masses = np.array([mass(code) for code in hadron_species(W, False, PROTON, 2, rng)])
        p4 = hadron_momenta(masses, system, axis, rng)
        baryon.append(p4[0, 2])
        transverse += np.hypot(p4[1:, 0], p4[1:, 1]).tolist()
    assert np.mean(baryon) < -0.5
    assert 0.2 < np.mean(transverse) < 0.45


def test_mean_multiplicity_grows_with_w() -> None:
    values = [mean_charged(W, False, PROTON) for W in (2.0, 3.0, 5.0, 9.0)]
    assert values == sorted(values)


def test_boost_and_decays_invert() -> None:
    rng = np.random.default_rng(6)
    parent = np.array([0.3, -0.8, 1.7, 2.6])
    back = boosted(boosted(parent, parent, -1.0), parent, 1.0)
    np.testing.assert_allclose(back, parent, atol=1e-12)
    pair = two_body(parent, 0.4, 0.1, np.array([0.0, 0.6, 0.8]))
    np.testing.assert_allclose(pair.sum(axis=0), parent, atol=1e-12)
    triple = three_body(parent, np.array([0.4, 0.1, 0.2]), rng)
    np.testing.assert_allclose(triple.sum(axis=0), parent, atol=1e-12)
    assert invariant_mass2(triple[2]) == pytest.approx(0.04)


def test_density_and_fermi_momentum_of_argon() -> None:
    argon = nucleus(1000180400, 0.251, 0.0295, 0.2)
    r = np.arange(len(argon.density)) * argon.radius_step
    assert np.trapezoid(4 * np.pi * r**2 * argon.density, r) == pytest.approx(40, rel=1e-3)
    central = HBAR_C * (1.5 * math.pi**2 * argon.density[0]) ** (1 / 3)
    assert central == pytest.approx(0.26, abs=0.02)  # near the global Fermi momentum of 0.251 GeV
    rng = np.random.default_rng(0)
    radius = np.array([np.linalg.norm(draw_position(argon, rng)) for _ in range(4000)])
    # charge radius of Ar-40: 3.427 fm (I. Angeli and K. P. Marinova 2013)
    assert math.sqrt(np.mean(radius**2)) == pytest.approx(3.43, abs=0.15)


def test_taking_a_nucleon_never_leaves_less_than_the_ground_state() -> None:
    argon = nucleus(1000180400, 0.251, 0.0295, 0.2)
    whole = np.array([0.0, 0.0, 0.0, argon.masses[18, 40]])
    for p in (0.0, 0.1, 0.25, 0.7):
        possible, taken = take_nucleon(argon, whole, 18, 40, True, np.array([p, 0.0, 0.0]))
        rest = whole - taken
        assert possible
        assert math.sqrt(invariant_mass2(rest)) >= argon.masses[17, 39] - 1e-9
        assert taken[3] <= math.sqrt(p**2 + mass(PROTON) ** 2) - argon.binding + 1e-12
    assert not take_nucleon(argon, whole, 0, 5, True, np.zeros(3))[0]


def test_nucleon_cross_sections() -> None:
    kinetic = np.array([0.05, 0.2, 1.0, 5.0])
    equal, equal_elastic, unequal, unequal_elastic = nucleon_nucleon(kinetic)
    assert (equal_elastic <= equal).all()
    assert (unequal_elastic <= unequal).all()
    assert equal[1] == pytest.approx(24, abs=3)  # PDG plots: about 24 mb at 200 MeV
    assert unequal[1] == pytest.approx(42, abs=5)
    assert equal[2] == pytest.approx(47.5, abs=3)
    for values in hadron_cross_sections():
        assert np.isfinite(values).all()
        assert (values >= 0).all()


def test_unitary_peak_of_the_delta() -> None:
    peak = hadron_cross_sections().pion_3.max()
    assert peak == pytest.approx(200, abs=15)  # pi+ p at the Delta, PDG plots: about 200 mb


def escape_counts(pdg: int, kinetic: float, absorption: float) -> Counter[str]:
    """What becomes of a particle born inside argon."""
    argon = nucleus(1000180400, 0.251, 0.0295, 0.2)
    medium = Medium(argon, hadron_cross_sections(), 0.2, 0.008, 1.0, absorption, 0.85)
    rng, m = np.random.default_rng(8), mass(pdg)
    p4 = np.array([[0.0, 0.0, math.sqrt(kinetic * (kinetic + 2 * m)), kinetic + m]])
    remnant, out = np.array([0.0, 0.0, 0.0, argon.masses[17, 39]]), Counter[str]()
    for _ in range(1500):
        state = particles_at(np.array([pdg]), p4, draw_position(argon, rng), remnant, 17, 39)
        rescatter(state, medium, 0.0, rng)
        n = state.counts[0]
        total = state.p4[:n].sum(axis=0) + state.remnant
        np.testing.assert_allclose(total, p4[0] + remnant, atol=1e-9)
        pions = np.isin(state.pdg[:n], [211, 111, -211]).sum()
        out["free" if state.counts[3] == 0 else "absorbed" if pions == 0 else "scattered"] += 1
    return out


def test_fate_of_pions_and_protons_in_argon() -> None:
    delta = escape_counts(211, 0.2, 1.0)
    assert 0.3 < delta["absorbed"] / 1500 < 0.75
    assert delta["free"] > 0
    assert escape_counts(211, 0.2, 0.0)["absorbed"] == 0
    fast = escape_counts(211, 1.0, 1.0)
    assert fast["absorbed"] < delta["absorbed"]
    protons = escape_counts(2212, 0.3, 1.0)
    assert 0.4 < protons["free"] / 1500 < 0.65  # transparency of argon to protons


@pytest.mark.parametrize("excitation", [0.0, 5e-3, 15e-3, 60e-3])
def test_deexcitation_ends_in_the_ground_state(excitation: float) -> None:
    argon, rng, neutrons = nucleus(1000180400, 0.251, 0.0295, 0.2), np.random.default_rng(9), []
    mass_excited = argon.masses[18, 39] + excitation
    before = np.array([0.1, 0.0, -0.2, math.sqrt(mass_excited**2 + 0.05)])
    for _ in range(200):
        pdg, p4, after, z, a = deexcite(argon, before, 18, 39, rng)
        np.testing.assert_allclose(p4.sum(axis=0) + after, before, atol=1e-9)
        protons = int((pdg == PROTON).sum())
        neutrons.append(int((pdg == NEUTRON).sum()))
        assert (z, a) == (18 - protons, 39 - protons - neutrons[-1])
        assert 0 <= math.sqrt(invariant_mass2(after)) - argon.masses[z, a] + 1e-9 < 2e-4
    # one neutron costs 6.6 MeV in Ar-39, each further one about 10 MeV
    assert (np.mean(neutrons) > 0.5) == (excitation > 0.01)
    assert max(neutrons) <= excitation / 6.5e-3


def test_deexcitation_is_an_option() -> None:
    config = InteractionConfig(rescattering=False, deexcitation=False, tail_fraction=0.0)
    rng = np.random.default_rng(10)
    for _ in range(200):
        made = interact(14, 1.0, Current.CC, rng, config)
        if made.mode == InteractionMode.QE:
            assert made.pdg.tolist() == [13, PROTON]
