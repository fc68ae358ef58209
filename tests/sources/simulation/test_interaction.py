"""Conservation laws and limits of the interaction generator, over every flavour, current and mode."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuadapt.errors import ConfigError
from nuadapt.events.truth import Current, InteractionMode
from nuadapt.sources.simulation.neutrino.interaction import Interaction, InteractionConfig, channel_shares, interact
from nuadapt.sources.simulation.neutrino.masses import (
    NEUTRON,
    PROTON,
    baryon_number,
    charge,
    mass,
    nuclear_mass_table,
    nucleus_z_a,
)
from nuadapt.sources.simulation.validation.interactions import checks, four_momentum_imbalance, remnant_excitation

ARGON = InteractionConfig()
SPECIES = [(nu, current) for nu in (12, 14, -12, -14) for current in (Current.CC, Current.NC)]
SPECIES += [(16, Current.NC), (-16, Current.NC)]
TRANSPORTED = {11, 12, 13, 14, 16, 22, 111, 130, 211, 310, 321, 2112, 2212, 3112, 3122, 3222}
#: strangeness by code; neutral kaons are mixtures and are checked apart
STRANGENESS = {321: 1, -321: -1, 3122: -1, 3222: -1, 3112: -1}


def remnant_z_a(made: Interaction) -> tuple[int, int]:
    return nucleus_z_a(made.remnant_pdg) if made.remnant_pdg else (0, 0)


def sample(
    nu: int, current: Current, events: int, config: InteractionConfig = ARGON, seed: int = 7, low: float = 0.2
) -> list[Interaction]:
    rng = np.random.default_rng(seed)
    return [interact(nu, float(rng.uniform(low, 10.0)), current, rng, config) for _ in range(events)]


@pytest.mark.parametrize(("nu", "current"), SPECIES)
def test_conservation_laws(nu: int, current: Current) -> None:
    for made in sample(nu, current, 400):
        z, a = remnant_z_a(made)
        assert four_momentum_imbalance(made) < 1e-6
        assert sum(charge(int(code)) for code in made.pdg) + z == 18
        assert sum(baryon_number(int(code)) for code in made.pdg) + a == 40
        assert remnant_excitation(made) > -1e-6
        leptons = [int(code) for code in made.pdg if 11 <= abs(code) <= 16]
        assert leptons == [nu if current == Current.NC else int(math.copysign(abs(nu) - 1, nu))]
        assert int(made.pdg[0]) == leptons[0]


@pytest.mark.parametrize(("nu", "current"), SPECIES[:4])
def test_particles_are_on_shell_and_transportable(nu: int, current: Current) -> None:
    for made in sample(nu, current, 300):
        assert {abs(int(code)) for code in made.pdg} <= TRANSPORTED
        squared = made.p4[:, 3] ** 2 - (made.p4[:, :3] ** 2).sum(axis=1)
        expected = np.array([mass(int(code)) for code in made.pdg])
        np.testing.assert_allclose(squared, expected**2, atol=1e-6 * made.nu_energy**2)


def test_strangeness_comes_in_pairs() -> None:
    rng, found = np.random.default_rng(3), 0
    for _ in range(3000):
        made = interact(14, 8.0, Current.CC, rng, ARGON)
        codes = [int(code) for code in made.pdg]
        total, neutral = sum(STRANGENESS.get(code, 0) for code in codes), sum(code in (130, 310) for code in codes)
        assert abs(total) <= neutral
        assert (total + neutral) % 2 == 0
        found += total != 0 or neutral > 0 or 321 in codes
    assert found > 30


@given(
    energy=st.floats(0.2, 100.0),
    seed=st.integers(0, 2**32 - 1),
    species=st.sampled_from(SPECIES),
)
@settings(max_examples=150, deadline=None)
def test_lepton_side(energy: float, seed: int, species: tuple[int, Current]) -> None:
    made = interact(species[0], energy, species[1], np.random.default_rng(seed), ARGON)
    lepton = made.p4[0]
    q = np.array([0, 0, energy, energy]) - lepton
    assert made.q0 == pytest.approx(q[3])
    assert made.q3 == pytest.approx(math.sqrt(q[:3] @ q[:3]))
    assert pytest.approx(q[:3] @ q[:3] - q[3] ** 2, abs=1e-9 * energy**2) == made.Q2
    assert 0 <= made.Q2 <= 4 * energy * lepton[3]  # 4 E E' sin^2, massless upper bound
    assert made.y == pytest.approx(made.q0 / energy)
    assert np.isfinite(made.p4).all()
    assert math.isfinite(made.W)
    assert math.isfinite(made.x)


def test_same_seed_gives_the_same_event() -> None:
    first, second = (sample(14, Current.CC, 50, seed=11) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.pdg, b.pdg)
        np.testing.assert_array_equal(a.p4, b.p4)
    other = sample(14, Current.CC, 50, seed=12)
    assert any(a.nu_energy != b.nu_energy for a, b in zip(first, other, strict=True))


def test_events_follow_the_channel_shares() -> None:
    rng = np.random.default_rng(2)
    modes = np.array([interact(14, 3.0, Current.CC, rng, ARGON).mode for _ in range(3000)])
    shares = channel_shares(14, 3.0, Current.CC, ARGON)
    assert sum(shares.values()) == pytest.approx(1.0)
    for mode, share in shares.items():
        error = math.sqrt(share * (1 - share) / len(modes)) + 1e-9
        assert abs((modes == mode).mean() - share) < 4 * error


def test_pauli_blocking() -> None:
    config = InteractionConfig(rescattering=False)
    free = InteractionConfig(rescattering=False, pauli_blocking=False)

    def slowest(chosen: InteractionConfig) -> float:
        made = [m for m in sample(14, Current.CC, 600, chosen) if m.mode == InteractionMode.QE]
        return min(float(np.sqrt((m.p4[1, :3] ** 2).sum())) for m in made)

    assert slowest(config) >= config.fermi_momentum
    assert slowest(free) < config.fermi_momentum


def test_closed_channels_and_low_energy_end_quickly() -> None:
    rng = np.random.default_rng(0)
    for nu, current in SPECIES:
        for _ in range(20):
            assert interact(nu, 0.2, current, rng, ARGON).mode in (InteractionMode.QE, InteractionMode.MEC)
    # An antineutrino finds no proton, and pion production is closed.
    with pytest.raises(ConfigError, match="no interaction of this current"):
        interact(-14, 0.2, Current.CC, rng, InteractionConfig(target_pdg=NEUTRON))


@pytest.mark.parametrize("hit", [PROTON, NEUTRON])
@pytest.mark.parametrize(("nu", "current"), SPECIES[:4])
def test_free_nucleon_targets(hit: int, nu: int, current: Current) -> None:
    for made in sample(nu, current, 100, InteractionConfig(target_pdg=hit), low=0.6):  # pion production is open
        assert made.remnant_pdg == 0
        assert four_momentum_imbalance(made) < 1e-6
        assert sum(charge(int(code)) for code in made.pdg) == int(hit == PROTON)
        assert made.mode not in (InteractionMode.MEC, InteractionMode.COH)


@pytest.mark.parametrize("target", [1000060120, 1000200400, 1000260560, 1000822080])
def test_other_nuclei(target: int) -> None:
    z, a = nucleus_z_a(target)
    for made in sample(14, Current.CC, 60, InteractionConfig(target_pdg=target)):
        left_z, left_a = remnant_z_a(made)
        assert four_momentum_imbalance(made) < 1e-6
        assert sum(charge(int(code)) for code in made.pdg) + left_z == z
        assert sum(baryon_number(int(code)) for code in made.pdg) + left_a == a


@pytest.mark.parametrize(
    ("nu", "energy", "current", "message"),
    [
        (16, 5.0, Current.CC, "tau"),
        (13, 5.0, Current.CC, "neutrino 13"),
        (14, 5.0, Current.UNKNOWN, "current"),
        (14, 0.01, Current.CC, "0.01 GeV"),
        (14, math.nan, Current.CC, "nan GeV"),
        (14, 1e4, Current.CC, "10000.0 GeV"),
    ],
)
def test_impossible_requests_are_explained(nu: int, energy: float, current: Current, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        interact(nu, energy, current, np.random.default_rng(0), ARGON)


@pytest.mark.parametrize(
    "wrong",
    [
        {"binding": math.nan},
        {"dis_scale": -1.0},
        {"cascade_step": 0.0},
        {"w_dis_start": 2.0, "w_dis_full": 1.9},
        {"fermi_momentum": 2.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        InteractionConfig(**wrong)  # type: ignore[arg-type]


def test_a_target_that_is_no_nucleus_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a target"):
        interact(14, 1.0, Current.CC, np.random.default_rng(0), InteractionConfig(target_pdg=211))


def test_no_nucleus_outweighs_its_pieces() -> None:
    table = nuclear_mass_table()
    assert (table[1:, 1:] <= table[:-1, :-1] + mass(PROTON) + 1e-9).all()
    assert (table[:, 1:] <= table[:, :-1] + mass(NEUTRON) + 1e-9).all()
    assert table[18, 40] == pytest.approx(37.2247, abs=1e-4)  # AME 2020


def test_quick_validation_passes() -> None:
    failed = [f"{row.quantity} {row.condition}: {row.measured}" for row in checks(quick=True) if not row.passed]
    assert not failed
