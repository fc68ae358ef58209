"""Transport: energy is never lost, the same seed gives the same event, nothing lies outside the box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, DataError
from nuadapt.sources.simulation.passage import material, species, transport
from nuadapt.sources.simulation.passage.transport import Box, Process, TransportConfig, Transported

BOX = Box((-60, -60, -20), (60, 60, 150))
ORIGIN = np.zeros(3)
KNOWN = (*species.PDG, *species.NEUTRINO_PDG, *species.NEUTRAL_KAON_PDG)


def shoot(pdg: int, kinetic: float, seed: int = 0, config: TransportConfig | None = None) -> Transported:
    known = species.species_of(pdg)
    mass = float(species.MASS[known]) if known >= 0 else 0.4976 if abs(pdg) == 311 else 0.5
    momentum = np.sqrt(kinetic * (kinetic + 2 * mass))
    direction = np.array([0.6, 0.0, 0.8])
    p4 = np.concatenate([momentum * direction, [kinetic + mass]])[None, :]
    rng = np.random.default_rng(seed)
    return transport.transport(np.array([pdg], dtype=np.int32), p4, ORIGIN, BOX, rng, config)


@pytest.mark.parametrize("pdg", KNOWN)
@pytest.mark.parametrize("kinetic", [0.0, 1e-4, 0.02, 0.3, 3.0])
def test_every_particle_balances(pdg: int, kinetic: float) -> None:
    for seed in range(4):
        event = shoot(pdg, kinetic, seed)
        ledger = event.ledger
        assert abs(ledger.balance) <= 1e-9 * max(ledger.total_in, 1e-3)
        assert min(ledger.deposited, ledger.escaped, ledger.neutrinos) >= 0
        assert ledger.nuclear >= -1e-12
        assert event.energy.sum(dtype=float) == pytest.approx(ledger.deposited, rel=1e-5, abs=1e-12)
        per_track = np.bincount(event.track, weights=event.energy.astype(float), minlength=event.pdg.size)
        np.testing.assert_allclose(per_track, event.deposited, rtol=1e-4, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    pdg=st.sampled_from([11, -11, 22, 13, -13, 211, -211, 321, -321, 130, 2212, 2112, -2212, 3122, 3112]),
    kinetic=st.floats(1e-5, 3.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_energy_balances_inside_the_box(pdg: int, kinetic: float, seed: int) -> None:
    event = shoot(pdg, kinetic, seed)
    assert abs(event.ledger.balance) <= 1e-9 * max(event.ledger.total_in, 1e-3)
    for points in (event.start, event.end):
        assert np.all(points >= np.array(BOX.low) - 1e-3)
        assert np.all(points <= np.array(BOX.high) + 1e-3)
    assert np.all(event.energy > 0)


def test_same_seed_same_event_and_buffers_that_grow() -> None:
    first, second, other = shoot(-211, 2.0, 7), shoot(-211, 2.0, 7), shoot(-211, 2.0, 8)
    np.testing.assert_array_equal(first.energy, second.energy)
    np.testing.assert_array_equal(first.end_point, second.end_point)
    assert not np.array_equal(first.energy, other.energy)


def test_a_full_buffer_repeats_the_same_event(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shoot(11, 1.0, 9)
    real = transport.new_state
    asked: list[int] = []

    def small(particles: int, tracks: int, deposits: int) -> object:
        asked.append(deposits)
        return real(particles, tracks, deposits // 100)

    monkeypatch.setattr(transport, "new_state", small)
    again = shoot(11, 1.0, 9)
    assert len(asked) > 1
    np.testing.assert_array_equal(whole.energy, again.energy)


def test_track_table_is_a_forest() -> None:
    event = shoot(211, 2.0, 3)
    rows = np.arange(event.pdg.size)
    assert np.all(event.parent < rows)
    assert event.process[0] == Process.PRIMARY
    assert event.parent[0] == -1
    assert np.all(event.primary == 0)
    child = event.parent >= 0
    shower = np.isin(event.pdg[event.parent], (11, -11, 22))
    assert not np.any(child & shower)  # a shower is one row: it has no children
    ends = event.end_point[event.parent[child]]
    np.testing.assert_allclose(event.start_point[child], ends, atol=1e-9)  # born where the parent ended


def test_gamma_is_seen_where_it_converts() -> None:
    event = shoot(22, 0.5, 1)
    gap = np.linalg.norm(event.first_deposit_point[0] - event.start_point[0])
    assert gap > 0.1
    assert np.isnan(shoot(14, 1.0).first_deposit_point[0]).all()


def test_muon_chain() -> None:
    """mu+ always ends in a positron of at most 52.3 MeV; about a quarter of mu- do, the rest are captured."""
    for seed in range(20):
        event = shoot(-13, 0.1, seed)
        assert event.stopped[0]
        positron = (event.pdg == -11) & (event.process == Process.DECAY)
        assert positron.sum() == 1
        assert event.kinetic_start[positron][0] <= 0.0524
    captured = [not np.any(shoot(13, 0.0, seed).process == Process.DECAY) for seed in range(1500)]
    assert np.mean(captured) == pytest.approx(0.74, abs=0.04)


def test_pion_chain_and_absorption() -> None:
    stopped = shoot(211, 0.0, 2)
    assert stopped.pdg.tolist() == [211, -13, -11]  # pi+ -> mu+ -> e+
    assert stopped.kinetic_start[1] * 1e3 == pytest.approx(4.12, abs=0.01)  # PDG: mu+ of 4.12 MeV
    absorbed = shoot(-211, 0.0, 2)
    assert np.all(absorbed.process[1:] != Process.DECAY)
    assert np.isin(absorbed.pdg, (2212, 2112)).any()


def test_switches() -> None:
    calm = TransportConfig(straggling=False, scattering=False, hadronic=False, decays=False)
    event = shoot(211, 0.3, 0, calm)
    assert event.pdg.size == 1
    offset = np.abs(event.end[:, 0] / 0.6 - event.end[:, 2] / 0.8)
    assert offset.max() < 1e-3  # straight
    np.testing.assert_array_equal(event.energy, shoot(211, 0.3, 5, calm).energy)


def test_no_primaries() -> None:
    empty = np.empty(0, dtype=np.int32)
    event = transport.transport(empty, np.empty((0, 4)), ORIGIN, BOX, np.random.default_rng(0))
    assert event.energy.size == event.pdg.size == 0
    assert event.ledger.total_in == event.ledger.balance == 0


def test_a_vertex_outside_the_box_deposits_nothing() -> None:
    p4 = np.array([[0.0, 0.0, 1.0, np.hypot(1.0, material.MUON_MASS)]])
    far = np.array([0.0, 0.0, 200.0])
    event = transport.transport(np.array([13], dtype=np.int32), p4, far, BOX, np.random.default_rng(0))
    assert event.energy.size == 0
    assert event.escaped[0]
    assert event.ledger.escaped == pytest.approx(event.ledger.total_in)


@pytest.mark.parametrize("pdg", [4122, 3334, 15, 99])
def test_unknown_particles_are_booked(pdg: int) -> None:
    event = shoot(pdg, 1.0)
    assert event.ledger.unknown == pytest.approx(0.5)
    assert event.ledger.deposited == pytest.approx(1.0, rel=1e-6)
    assert event.ledger.balance == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("pdg", [1000180390, 2000000002])
def test_remnants_are_ignored_but_keep_their_row(pdg: int) -> None:
    event = shoot(pdg, 0.1)
    assert event.pdg.tolist() == [pdg]
    assert event.ledger.total_in == 0
    assert event.energy.size == 0


def test_bad_input_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="shapes"):
        transport.transport(np.array([13], dtype=np.int32), np.zeros((2, 4)), ORIGIN, BOX, rng)
    with pytest.raises(DataError, match="finite"):
        transport.transport(np.array([13], dtype=np.int32), np.full((1, 4), np.nan), ORIGIN, BOX, rng)
    with pytest.raises(ConfigError, match="empty"):
        Box((0, 0, 0), (1, 0, 1))
    with pytest.raises(ConfigError, match="max_step"):
        TransportConfig(max_step=0.0)
