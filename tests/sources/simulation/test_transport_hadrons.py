"""Hadronic reactions: conservation inside the nucleus, published lengths, plausible final states."""

from __future__ import annotations

import numpy as np
import pytest

from nuadapt.sources.simulation.passage import cascade, hadronic, material, species
from nuadapt.sources.simulation.passage import nucleon_collisions as collisions
from nuadapt.sources.simulation.passage import species as sp
from nuadapt.sources.simulation.passage.tracking import INSIDE, PRODUCTS, State, new_state, products_available
from nuadapt.sources.simulation.validation import passage_measurements as measure


def _four_momentum(state: State, first: int) -> np.ndarray:
    made = state.inside[first : state.counts[INSIDE]]
    p = np.stack([made["px"], made["py"], made["pz"]], axis=1)
    energy = np.sqrt((p**2).sum(axis=1) + species.MASS[made["species"]] ** 2)
    return np.append(p.sum(axis=0), energy.sum())


@pytest.mark.parametrize("kind", [sp.PROTON, sp.NEUTRON, sp.PION_PLUS, sp.PION_MINUS, sp.PION_ZERO, sp.ANTIPROTON])
@pytest.mark.parametrize("kinetic", [0.8, 3.0])
def test_production_conserves_four_momentum_and_charge(kind: int, kinetic: float) -> None:
    state, rng = new_state(10, 10, 10), np.random.default_rng(1)
    flying = cascade.new_inside(state)
    done = 0
    for _ in range(300):
        state.counts[INSIDE] = 0
        mass = species.MASS[kind]
        flying["species"], flying["px"], flying["py"] = kind, 0.0, 0.1
        flying["pz"] = np.sqrt(kinetic * (kinetic + 2 * mass))
        target = (sp.PROTON, 0.05, -0.1, 0.15)
        if not cascade.produce(state, flying, target, rng):
            continue
        done += 1
        before = np.array([0.05, 0.0, flying["pz"] + 0.15, 0.0])
        before[3] = np.sqrt(0.01 + flying["pz"] ** 2 + mass**2)
        before[3] += np.sqrt(0.05**2 + 0.1**2 + 0.15**2 + material.PROTON_MASS**2)
        np.testing.assert_allclose(_four_momentum(state, 0), before, atol=1e-8)
        made = state.inside[: state.counts[INSIDE]]["species"]
        assert species.CHARGE[made].sum() == pytest.approx(species.CHARGE[kind] + 1)
    assert done > 150


@pytest.mark.parametrize("kind", [sp.PROTON, sp.PION_PLUS, sp.KAON_MINUS, sp.LAMBDA])
def test_elastic_collisions_conserve_four_momentum(kind: int) -> None:
    state, rng = new_state(10, 10, 10), np.random.default_rng(2)
    flying = cascade.new_inside(state)
    flying["species"], flying["px"], flying["py"], flying["pz"] = kind, 0.1, 0.2, 0.5
    start = np.array([0.1, 0.2, 0.5])
    target = (sp.NEUTRON, 0.1, 0.0, -0.2)
    energy = np.sqrt((start**2).sum() + species.MASS[kind] ** 2) + np.sqrt(0.05 + material.NEUTRON_MASS**2)
    for _ in range(100):
        state.counts[INSIDE] = 0
        assert collisions.two_to_two(state, flying, target, (kind, sp.NEUTRON), rng)
        np.testing.assert_allclose(_four_momentum(state, 0), [0.2, 0.2, 0.3, energy], atol=1e-10)


@pytest.mark.parametrize("kind", [sp.PROTON, sp.NEUTRON, sp.PION_MINUS, sp.KAON_PLUS, sp.ANTIPROTON, sp.LAMBDA])
@pytest.mark.parametrize("kinetic", [0.05, 0.3, 2.0])
def test_a_reaction_never_makes_energy(kind: int, kinetic: float) -> None:
    state, rng = new_state(10, 10, 10), np.random.default_rng(3)
    for _ in range(60):
        if hadronic.react(state, kind, kinetic, False, rng):
            left = kinetic + species.REST_AVAILABLE[kind] - products_available(state)
            freed = hadronic._freed_baryons(state) - hadronic.baryon_number(kind)
            assert left >= material.SEPARATION_ENERGY * freed - 1e-9
            assert state.counts[PRODUCTS] < 100


@pytest.mark.parametrize(
    ("pdg", "expected"),
    [
        (2212, material.NUCLEAR_INTERACTION_LENGTH),
        (2112, material.NUCLEAR_INTERACTION_LENGTH),
        (211, material.PION_INTERACTION_LENGTH),
    ],
)
def test_interaction_lengths(pdg: int, expected: float) -> None:
    length, error = measure.interaction_length(pdg, 5.0, 1500, np.random.default_rng(4))
    assert length == pytest.approx(expected, abs=0.05 * expected + 2 * error)


def test_pions_in_the_delta_region_are_absorbed_or_scatter() -> None:
    """About a third of pi+ reactions near 165 MeV on argon end without a pion (Ashery et al. 1981)."""
    state, rng = new_state(10, 10, 10), np.random.default_rng(5)
    pions = []
    for _ in range(1500):
        assert hadronic.react(state, sp.PION_PLUS, 0.165, False, rng)
        made = state.products[: state.counts[PRODUCTS]]["species"]
        pions.append(np.isin(made, (sp.PION_PLUS, sp.PION_MINUS, sp.PION_ZERO)).sum())
    assert 0.2 < np.mean(np.array(pions) == 0) < 0.55
    assert max(pions) == 1  # below the threshold for a second pion


def test_fast_protons_make_pions_and_knock_out_nucleons() -> None:
    state, rng = new_state(10, 10, 10), np.random.default_rng(6)
    pions, nucleons = 0.0, 0.0
    for _ in range(400):
        assert hadronic.react(state, sp.PROTON, 3.0, False, rng)
        made = state.products[: state.counts[PRODUCTS]]["species"]
        pions += np.isin(made, (sp.PION_PLUS, sp.PION_MINUS, sp.PION_ZERO)).mean() * made.size
        nucleons += np.isin(made, (sp.PROTON, sp.NEUTRON)).sum()
    assert 0.8 < pions / 400 < 3.5
    assert 3 < nucleons / 400 < 16
