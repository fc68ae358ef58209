"""The MINERvA-like simulation: ranges, decays, columns of the reader, the same file whatever the interruptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nuadapt.cli import app
from nuadapt.errors import ConfigError
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import TokenType, event_inputs, token_inputs
from nuadapt.events.store import EventStore
from nuadapt.settings import build
from nuadapt.sources.minerva.options import BEAM_ANGLE
from nuadapt.sources.simulation.minerva.config import (
    FIDUCIAL_APOTHEM,
    FIDUCIAL_Z,
    HYDROGEN,
    MinervaConfig,
    ResponseConfig,
)
from nuadapt.sources.simulation.minerva.detector import MinervaLike, cross_sections
from nuadapt.sources.simulation.minerva.passage import energy_of, follow, photons_of, range_of, way_out
from nuadapt.sources.simulation.run import SimulationPlan, simulate

RESPONSE = ResponseConfig()


@pytest.fixture(scope="module")
def events() -> EventBatch:
    """Two chunks."""
    detector = MinervaLike(MinervaConfig(), 3)
    size = MinervaLike.chunk
    return EventBatch.concatenate(
        [detector.simulate(range(first, first + size), "nuadapt-minerva") for first in (0, size)]
    )


def of_type(events: EventBatch, kind: TokenType) -> tuple[np.ndarray, np.ndarray]:
    """Event and energy (GeV) of the tokens of a type."""
    assert events.cloud is not None
    mine = events.cloud.columns["type"] == kind
    event = np.repeat(np.arange(len(events)), np.diff(events.cloud.offsets))
    return event[mine], np.exp(events.cloud.columns["log_e"][mine].astype(float))


def test_proton_ranges_are_those_of_the_tables() -> None:
    """PSTAR (NIST): 7.72 g/cm2 in water at 100 MeV, 25.96 at 200 MeV; plastic of the same mass stops within 5%."""
    mass, tables = np.full(2, 0.938272), np.array([7.718, 25.96])
    np.testing.assert_allclose(range_of(np.array([0.1, 0.2]), mass, 2.05e-3) * 1.06, tables, rtol=0.05)


@pytest.mark.parametrize("mass", [0.105658, 0.139570, 0.938272])
def test_range_and_energy_are_inverse(mass: float) -> None:
    kinetic = np.geomspace(1e-3, 20.0, 60)
    length = range_of(kinetic, np.full(60, mass), 2.05e-3)
    np.testing.assert_allclose(energy_of(length, np.full(60, mass), 2.05e-3), kinetic, rtol=1e-9)
    assert (np.diff(length) > 0).all()
    loss = np.diff(kinetic) / np.diff(length)
    assert (loss > 0.999 * 2.05e-3).all()  # nothing loses less than a minimum ionising particle


def test_photons_of_a_pion_conserve_its_four_momentum() -> None:
    rng = np.random.default_rng(1)
    p3 = rng.normal(0, 1, (2000, 3))
    p4 = np.column_stack([p3, np.sqrt(0.1349768**2 + (p3**2).sum(axis=1))])
    made = photons_of(p4, rng)
    np.testing.assert_allclose(made[:2000] + made[2000:], p4, atol=1e-12)
    np.testing.assert_allclose(made[:, 3], np.linalg.norm(made[:, :3], axis=1), atol=1e-12)
    # Isotropic at rest: the share of one photon's energy is flat between the limits that the pion's speed sets.
    momentum = np.linalg.norm(p3, axis=1)
    share = (2 * made[:2000, 3] / p4[:, 3] - 1) / (momentum / p4[:, 3])
    assert abs(share.mean()) < 0.05
    assert abs((share**2).mean() - 1 / 3) < 0.03


def test_particles_end_inside_or_leave() -> None:
    rng, n = np.random.default_rng(2), 3000
    start = np.column_stack([rng.uniform(-70, 70, (n, 2)), rng.uniform(*FIDUCIAL_Z, n)])
    direction = rng.normal(0, 1, (n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    kinetic, mass = rng.exponential(0.5, n), np.full(n, 0.13957)
    passed = follow(start, direction, kinetic, mass, np.full(n, 107.0), RESPONSE, rng)
    np.testing.assert_allclose(passed.left + passed.remaining, kinetic, atol=1e-12)
    assert not (passed.interacted & passed.stopped).any()
    assert (passed.remaining[passed.stopped] < 1e-9).all()
    leaving = ~passed.interacted & ~passed.stopped
    assert 0.05 < leaving.mean() < 0.7
    np.testing.assert_allclose(way_out(passed.end[leaving], direction[leaving], RESPONSE), 0, atol=1e-6)
    free = follow(start, direction, kinetic, mass, np.full(n, np.inf), RESPONSE, rng)
    assert not free.interacted.any()


def test_truth_is_that_of_the_generator(events: EventBatch) -> None:
    """Four-momenta of lepton and neutrino give q0, q3, Q2; the pion task is a partition; targets are C and H."""
    assert events.particles is not None
    first = events.particles.offsets[:-1]
    lepton = np.stack([events.particles.columns[a][first] for a in ("px", "py", "pz", "E")], axis=1).astype(float)
    q = np.column_stack([np.zeros((len(events), 2)), events["nu_energy"], events["nu_energy"]]) - lepton
    np.testing.assert_allclose(q[:, 3], events["q0"], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(q[:, :3], axis=1), events["q3"], atol=1e-5)
    assert set(np.unique(events["target_pdg"])) == {HYDROGEN, 1_000_060_120}
    assert (events["lepton_pdg"][events["current"] == 1] == 13).all()
    assert (events["available_energy_minerva_ml"] <= events["nu_energy"] + 1e-4).all()


def test_currents_and_targets_are_drawn_by_cross_section(events: EventBatch) -> None:
    config = MinervaConfig().interaction
    hydrogen = replace(config, target_pdg=HYDROGEN)
    grid = np.geomspace(0.3, 100.0, 60)
    sections = {
        (current, target): np.interp(events["nu_energy"], grid, cross_sections(14, current, settings))
        for current in (1, 2)
        for target, settings in ((config.target_pdg, config), (HYDROGEN, hydrogen))
    }
    total = sum(sections.values())
    for (current, target), section in sections.items():
        expected, n = (section / total).mean(), len(events)
        found = ((events["current"] == current) & (events["target_pdg"] == target)).mean()
        assert abs(found - expected) < 4 * np.sqrt(expected / n)


def test_muons_are_forward_and_measured(events: EventBatch) -> None:
    event, energy = of_type(events, TokenType.MUON)
    assert (events["current"][event] == 1).all()
    assert 0.4 < len(event) / (events["current"] == 1).sum() < 0.8
    ratio = energy / events["lepton_energy"][event]
    assert abs(np.median(ratio) - 1) < 0.02
    assert 0.04 < np.std(ratio) < 0.08
    assert events["lepton_energy"][event].min() > RESPONSE.minos_least_energy + RESPONSE.loss_before_minos
    # The frame of the tokens is the beam's: the mean direction is along the neutrinos, not 3.4 degrees off.
    assert events.cloud is not None
    muon = events.cloud.columns["type"] == TokenType.MUON
    pt, phi = np.exp(events.cloud.columns["log_pt"][muon]), events.cloud.columns["phi"][muon]
    slope = np.mean(pt * np.sin(phi)) / np.mean(energy)
    assert abs(slope) < abs(BEAM_ANGLE) / 3


def test_pairs_of_photons_peak_at_the_pion(events: EventBatch) -> None:
    single = (events["n_neutral_pions"] == 1) & np.isfinite(events["diphoton_mass"])
    assert single.sum() > 50
    assert abs(np.median(events["diphoton_mass"][single]) - 0.135) < 0.02


def test_michel_tags_come_from_decays(events: EventBatch) -> None:
    matched = events["n_muons"] > 0
    plus = matched & (events["n_pi_plus"] > 0)
    none = matched & (events["n_charged_pions"] == 0)
    assert events["n_michel_tags"][plus].mean() > max(0.1, 5 * events["n_michel_tags"][none].mean())


def test_the_calorimetric_estimate_is_right_in_the_median(events: EventBatch) -> None:
    mine = (events["available_energy_minerva_ml"] > 0.2) & (events["current"] == 1)
    ratio = 1.17 * events["blob_recoil_energy"][mine] / events["available_energy_minerva_ml"][mine]
    assert abs(np.median(ratio) - 1) < 0.06
    assert np.isnan(events["hadron_recoil_energy"]).sum() == (events["n_muons"] == 0).sum()


def test_what_models_read_is_finite_and_within_the_limits_of_the_reader(events: EventBatch) -> None:
    assert events.cloud is not None
    assert np.isfinite(token_inputs(events.cloud)).all()
    assert np.isfinite(event_inputs(events.columns)).all()
    for types, most in (((TokenType.BLOB, TokenType.MERGED_BLOBS), 20), ((3 + 1, 5, 6, 8), 10)):
        mine = np.isin(events.cloud.columns["type"], types)
        event = np.repeat(np.arange(len(events)), np.diff(events.cloud.offsets))
        assert np.bincount(event[mine]).max() <= most
    xy = np.stack([events["vertex_x"], events["vertex_y"]], axis=1)
    assert np.linalg.norm(xy, axis=1).max() < FIDUCIAL_APOTHEM * 2 / np.sqrt(3)
    assert np.all((events["vertex_z"] >= FIDUCIAL_Z[0]) & (events["vertex_z"] <= FIDUCIAL_Z[1]))


def test_columns_are_those_of_the_reader(events: EventBatch, shared_data: Path) -> None:
    from nuadapt.sources.minerva.options import MinervaOptions
    from nuadapt.sources.minerva.reader import read
    from nuadapt.sources.reading import ReadReport

    path = shared_data / "minerva" / "masteranadev_mc.root"
    theirs = next(iter(read(path, MinervaOptions(step=50), ReadReport())))
    assert theirs.cloud is not None
    assert events.cloud is not None
    assert list(events.columns) == list(theirs.columns)
    assert events.cloud.spec == theirs.cloud.spec
    EventBatch.concatenate([events, theirs])


def test_workers_and_interruptions_change_nothing(tmp_path: Path) -> None:
    plan = SimulationPlan(MinervaConfig(), seed=5, events=MinervaLike.chunk + 40)
    simulate(plan, tmp_path / "one.h5")
    simulate(replace(plan, workers=2), tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()

    class Stop(Exception):
        pass

    def stop(done: int, _: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        simulate(plan, tmp_path / "cut.h5", stop)
    simulate(plan, tmp_path / "cut.h5")
    with EventStore(tmp_path / "cut.h5") as cut, EventStore(tmp_path / "one.h5") as one:
        assert cut.problems() == []
        assert cut.fingerprint() == one.fingerprint()
        assert set(np.unique(one.column("split"))) == {0, 1, 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam": {"flavours": {16: 1.0}}}, "no interactions of PDG 16"),
        ({"response": {"muon_efficiency": 1.2}}, "muon_efficiency"),
        ({"response": {"hypotheses": {"muon": [0.5, 0.2, 0.2]}}}, "do not add up to 1"),
        ({"respons": {}}, "did you mean 'response'"),
    ],
)
def test_impossible_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(MinervaConfig, given)


def test_the_command_says_that_it_is_a_stand_in(tmp_path: Path) -> None:
    given = ["simulate", "minerva", "--events", "20", "--workers", "1", "--out", str(tmp_path / "m.h5")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "stand-in" in result.output
    vertices = SimulationPlan
    with pytest.raises(ConfigError, match="makes its own interactions"):
        vertices(MinervaConfig(), vertices=tmp_path / "v.hepmc3")
