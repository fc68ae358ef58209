"""Decays conserve four-momentum and charge exactly and follow their spectra."""

from __future__ import annotations

import numpy as np
import pytest

from nuadapt.sources.simulation.passage import material, particle_decays, species
from nuadapt.sources.simulation.passage.tracking import PRODUCTS, new_state

UNSTABLE = [
    kind
    for kind in range(species.COUNT)
    if kind in particle_decays._MODES or kind in (species.MUON_MINUS, species.MUON_PLUS)
]


@pytest.mark.parametrize("kind", UNSTABLE, ids=lambda kind: str(species.PDG[kind]))
@pytest.mark.parametrize("kinetic", [0.0, 0.1, 5.0])
def test_four_momentum_and_charge(kind: int, kinetic: float) -> None:
    state, rng = new_state(10, 10, 10), np.random.default_rng(3)
    state.now["species"], state.now["kinetic"] = kind, kinetic
    mass = species.MASS[kind]
    energy, momentum = kinetic + mass, np.sqrt(kinetic * (kinetic + 2 * mass))
    for _ in range(200):
        particle_decays.decay_products(state, state.now[0], rng)
        made = state.products[: state.counts[PRODUCTS]]
        p = np.stack([made["px"], made["py"], made["pz"]], axis=1)
        np.testing.assert_allclose(p.sum(axis=0), [0, 0, momentum], atol=1e-12 * max(energy, 1))
        assert (made["kinetic"] + species.MASS[made["species"]]).sum() == pytest.approx(energy, rel=1e-12)
        assert species.CHARGE[made["species"]].sum() == pytest.approx(species.CHARGE[kind])


def test_branching_fractions() -> None:
    rng = np.random.default_rng(4)
    modes = np.array([particle_decays.choose_mode(species.KAON_PLUS, rng) for _ in range(20_000)])
    two_body = particle_decays._BODIES[modes, 0] == species.MUON_PLUS
    assert two_body.mean() == pytest.approx(0.6356, abs=0.015)  # K+ -> mu+ nu


def test_michel_spectrum() -> None:
    rng = np.random.default_rng(5)
    energy = np.array([particle_decays.michel_energy(rng) for _ in range(50_000)])
    assert energy.max() * 1e3 == pytest.approx(52.8, abs=0.1)
    assert energy.mean() == pytest.approx(0.7 * particle_decays.MICHEL_ENDPOINT, rel=0.01)  # of x^2 (3 - 2x)


def test_stable_particles_have_no_mode() -> None:
    rng = np.random.default_rng(6)
    assert particle_decays.choose_mode(species.PROTON, rng) == -1


def test_break_up_momentum_of_the_pion() -> None:
    """29.79 MeV (PDG RPP, charged pion)."""
    momentum = particle_decays.break_up(material.PION_MASS, material.MUON_MASS, 0.0)
    assert momentum * 1e3 == pytest.approx(29.79, abs=0.01)
