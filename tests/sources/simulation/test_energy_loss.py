"""Ionisation: published ranges, the restricted split, and the straggling sampler against Landau's theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nuadapt.sources.simulation.passage import energy_loss, material, species
from nuadapt.sources.simulation.validation import passage
from nuadapt.sources.simulation.validation import passage_measurements as measure


@pytest.mark.parametrize(
    ("pdg", "table", "share"), [(13, passage.PDG_MUON_RANGE, 0.02), (2212, passage.PSTAR_PROTON_RANGE, 0.03)]
)
def test_ranges_are_the_published_ones(pdg: int, table: tuple[tuple[float, float], ...], share: float) -> None:
    rng = np.random.default_rng(0)
    for kinetic_MeV, grams in table:
        expected = grams / material.DENSITY
        assert measure.table_range(pdg, kinetic_MeV / 1e3) == pytest.approx(expected, rel=share)
        assert measure.stepped_range(pdg, kinetic_MeV / 1e3, rng) == pytest.approx(expected, rel=share)


def test_minimum_ionisation() -> None:
    grid = energy_loss.GRID[(energy_loss.GRID > 0.05) & (energy_loss.GRID < 2)]
    assert energy_loss.bethe(grid, material.MUON_MASS).min() == pytest.approx(material.MINIMUM_LOSS, rel=0.02)


def test_collision_loss_at_the_critical_energy_is_one_critical_energy_per_radiation_length() -> None:
    loss = energy_loss.electron_collision(np.array([material.CRITICAL_ENERGY]), positron=False)[0]
    assert loss * material.RADIATION_LENGTH == pytest.approx(material.CRITICAL_ENERGY, rel=0.01)


@pytest.mark.parametrize("cut", [1e-4, 1e-3, 1e-2])
def test_restricted_and_hard_loss_add_up(cut: float) -> None:
    kinetic = np.geomspace(0.01, 10, 7)
    mass = material.MUON_MASS
    beta_gamma = np.sqrt((1 + kinetic / mass) ** 2 - 1)
    beta2, largest = beta_gamma**2 / (1 + beta_gamma**2), energy_loss.max_transfer(beta_gamma, mass)
    hard = np.where(largest > cut, np.log(largest / cut) - beta2 * (1 - cut / largest), 0.0)
    total = energy_loss.bethe(kinetic, mass, 1.0, cut) + material.XI_PER_CM / beta2 * hard
    np.testing.assert_allclose(total, energy_loss.bethe(kinetic, mass), rtol=1e-12)


def test_range_is_the_inverse_of_the_loss() -> None:
    loss, row_of = energy_loss.loss_tables(math.inf)
    row = loss[row_of[species.PROTON]]
    reach = energy_loss.csda_range(row)
    inside = slice(82, -1)  # off the breaks of the loss at low energy, where finite differences fail
    slope = np.gradient(energy_loss.GRID, reach)
    np.testing.assert_allclose(slope[inside], row[inside], rtol=0.01)


@pytest.mark.parametrize(("xi", "beta2", "largest"), [(3e-5, 0.99, 0.5), (3e-4, 0.3, 1e-3), (1e-3, 0.05, 1.2e-4)])
def test_straggling_keeps_the_mean_and_the_variance_of_vavilov(xi: float, beta2: float, largest: float) -> None:
    rng, cut = np.random.default_rng(1), 1e-3
    mean = 20 * xi
    upper = min(cut, largest)
    drawn = np.array([energy_loss.straggle(mean, xi, beta2, largest, cut, rng) for _ in range(40_000)])
    width = math.sqrt(xi * upper * (1 - 0.5 * beta2 * upper / largest))
    assert drawn.mean() == pytest.approx(mean, abs=5 * width / math.sqrt(drawn.size))
    assert drawn.std() == pytest.approx(width, rel=0.06)
    assert drawn.min() >= 0


def test_most_probable_loss_is_landaus() -> None:
    loss = measure.mean_loss(13, 1.0, 0.6, 4000, np.random.default_rng(2)) * 0.6
    expected = measure.expected_mode(material.MUON_MASS, 1.0, 0.6)
    assert measure.landau_mode(loss) == pytest.approx(expected, rel=0.04)
    assert loss.mean() > 1.1 * measure.landau_mode(loss)  # a Landau tail, not a Gaussian


def test_unknown_masses_are_refused() -> None:
    from nuadapt.errors import ConfigError

    with pytest.raises(ConfigError, match="no mass"):
        material.mass_of(12)
