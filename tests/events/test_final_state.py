"""Truth from particles: definitions against event-by-event sums, pions, lepton side, the partition of classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.events import final_state
from nuadapt.events.batch import Particles
from nuadapt.events.final_state import AVAILABLE_ENERGY, available_energy, final_state_columns, lepton_side
from nuadapt.events.truth import NO_LABEL, PION_CLASSES, PION_TITLES, pion_label

P, PI = final_state.PROTON_MASS, final_state.CHARGED_PION_MASS
CODES = [2212, -2212, 2112, -2112, 211, -211, 111, 22, 11, -11, 13, 14, 321, -321, 130, 311, 221, 3122, -3122, 3222,
         3312, -3312, 1000060120, 2000000101]  # fmt: skip


def oracle(pdg: int, energy: float, name: str) -> float:
    """What one particle contributes, written out."""
    if name == "minerva_ml":
        if abs(pdg) == 2212:
            return energy - P
        return energy if abs(pdg) in (22, 11, 111, 211, 321) else 0.0
    if name == "mat":
        mass = {2212: 0.93827, 211: 0.135, -211: 0.135, 22: 0.0, 111: 0.0}
        return energy - mass[pdg] if pdg in mass else 0.0
    if pdg == 2212:
        return energy - P
    if abs(pdg) == 211:
        return energy - PI
    if pdg in (111, 22):
        return energy
    if abs(pdg) == 11:
        return energy
    if name == "rodrigues2016" or abs(pdg) in (2112, 13, 14) or abs(pdg) > 1e9:
        return 0.0
    return energy - (P if pdg in (3122, 3222, 3312) else 0)


def particles(events: list[list[int]], energy: float = 2.0) -> Particles:
    p4 = [np.array([[0.3, 0.4, 1.0 + 0.1 * i, energy] for i in range(len(e))]).reshape(-1, 4) for e in events]
    return Particles.from_lists([np.array(e, dtype=int) for e in events], p4)


@pytest.mark.parametrize("name", AVAILABLE_ENERGY)
@given(events=st.lists(st.lists(st.sampled_from(CODES), max_size=6), max_size=4))
def test_available_energy_is_the_sum_of_its_rule(name: str, events: list[list[int]]) -> None:
    found = available_energy(particles(events), name)
    expected = [max(0.0, sum(oracle(pdg, 2.0, name) for pdg in event)) for event in events]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_definitions_differ_by_what_they_say() -> None:
    """One pi+ is worth its mass more in minerva_ml; a kaon, a Lambda and an electron count in some."""
    energies = {n: available_energy(particles([[211], [321], [3122], [11]]), n) for n in AVAILABLE_ENERGY}
    np.testing.assert_allclose(energies["minerva_ml"] - energies["rodrigues2016"], [PI, 2, 0, 0], atol=1e-6)
    np.testing.assert_allclose(energies["ascencio2022"] - energies["rodrigues2016"], [0, 2, 2 - P, 0], atol=1e-6)
    np.testing.assert_allclose(energies["mat"] - energies["rodrigues2016"], [PI - 0.135, 0, 0, -2], atol=1e-6)


def test_a_negative_sum_is_zero() -> None:
    assert available_energy(particles([[2212]], energy=0.5), "minerva_ml").tolist() == [0.0]


def test_masses_are_those_of_the_particle_data_group() -> None:
    particle = pytest.importorskip("particle")
    masses = {pdg: particle.Particle.from_pdgid(pdg).mass / 1e3 for pdg in (2212, 2112, 211)}
    assert pytest.approx(masses[2212], rel=1e-6) == P
    assert pytest.approx(masses[211], rel=1e-6) == PI
    assert pytest.approx((masses[2212] + masses[2112]) / 2, rel=1e-6) == final_state.NUCLEON_MASS


@given(st.integers(0, 2), st.integers(-1, 4), st.integers(-1, 4))
def test_pion_classes_are_a_partition(current: int, charged: int, neutral: int) -> None:
    """Every event is in exactly one class, each of which is written out here; unknown truth is in none."""
    known = charged >= 0 and neutral >= 0
    is_cc = current == 1 and known
    members = [
        is_cc and charged == 1,
        is_cc and charged >= 2,
        is_cc and charged == 0 and neutral == 1,
        is_cc and charged == 0 and neutral != 1,
        current == 2,
    ]
    label = int(pion_label(np.array([current]), np.array([charged]), np.array([neutral]))[0])
    assert sum(members) == (label != NO_LABEL)
    assert label == (members.index(True) if any(members) else NO_LABEL)
    assert set(PION_TITLES) == set(PION_CLASSES)


def test_both_charges_count_as_one_charged_pion_each() -> None:
    columns = final_state_columns(
        particles([[211], [-211], [211, -211], [111], [111, 211], [13], [211, 211, 111]]), np.tile([0, 0, 1.0], (7, 1))
    )
    labels = pion_label(np.ones(7), columns["n_charged_pions"], columns["n_neutral_pions"])
    assert [PION_CLASSES[i] for i in labels] == [
        "cc_1pi_charged", "cc_1pi_charged", "cc_npi_charged", "cc_1pi0", "cc_1pi_charged", "cc_other", "cc_npi_charged"
    ]  # fmt: skip
    assert np.isnan(columns["pion_energy"]).tolist() == [False, False, True, False, False, True, True]
    np.testing.assert_allclose(columns["pion_angle"][0], math.atan2(0.5, 1.0), rtol=1e-6)


def test_angle_keeps_its_precision_along_the_beam() -> None:
    tiny = Particles.from_lists([np.array([211])], [np.array([[1e-5, 0, 1.0, 1.0097]])])
    found = final_state_columns(tiny, np.array([[0, 0, 7.0]]))
    assert found["pion_angle"][0] == pytest.approx(1e-5, rel=1e-5)


def test_mass_of_the_hadrons() -> None:
    found = final_state_columns(particles([[13], [13, 22], [22, 22], []]), np.tile([0, 0, 1.0], (4, 1)))[
        "W_final_state"
    ]
    assert np.isnan(found[[0, 3]]).all()
    one = 2.0**2 - 0.3**2 - 0.4**2 - 1.1**2
    two = 4.0**2 - 0.6**2 - 0.8**2 - 2.1**2
    np.testing.assert_allclose(found[[1, 2]], np.sqrt([one, two]), rtol=1e-5)


def test_lepton_side_of_elastic_scattering() -> None:
    """On a nucleon at rest, elastic scattering has W = M and x = 1."""
    mass, energy, q2 = final_state.NUCLEON_MASS, 3.0, 0.5
    q0 = q2 / (2 * mass)
    out = energy - q0
    cos = 1 - q2 / (2 * energy * out)
    p_lepton = [out * math.sqrt(1 - cos**2), 0, out * cos, out]
    found = lepton_side(np.array([[0, 0, energy, energy]]), np.array([p_lepton]))
    assert found["Q2"][0] == pytest.approx(q2)
    assert found["W"][0] == pytest.approx(mass)
    assert found["bjorken_x"][0] == pytest.approx(1)
    assert found["inelasticity_y"][0] == pytest.approx(q0 / energy)
    assert found["q3"][0] ** 2 == pytest.approx(q2 + q0**2)
