"""Collider jets from Pythia 6: conserved momentum, masses of what decayed, the same file for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from particle import Particle

from nuadapt.errors import ConfigError
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import JET_EXTRAS
from nuadapt.events.flat import owners
from nuadapt.events.store import EventStore
from nuadapt.settings import build
from nuadapt.sources.simulation.jets.config import PROCESSES, JetsConfig
from nuadapt.sources.simulation.jets.detector import PARTICLE_TYPES, Jets, charge_of, types_of
from nuadapt.sources.simulation.jets.generator import Collision, _quarks_of
from nuadapt.sources.simulation.run import SimulationPlan, simulate

WHY = "jets need chromo and fastjet: pip install 'nuadapt[jets]'"
CLASSES = tuple(PROCESSES)
EVENTS = 620  # a whole chunk and a part of one


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("chromo", reason=WHY)
    pytest.importorskip("fastjet", reason=WHY)
    made = tmp_path_factory.mktemp("jets") / "jets.h5"
    simulate(SimulationPlan(JetsConfig(), seed=3, events=EVENTS), made)
    return made


@pytest.fixture(scope="module")
def jets(path: Path) -> EventBatch:
    with EventStore(path) as store:
        assert store.complete
        assert store.problems() == []
        return store.read(slice(0, EVENTS))


def momenta(jets: EventBatch) -> tuple[np.ndarray, np.ndarray]:
    """Four-momenta px, py, pz, E (tokens, 4) of all particles in the detector's axes, and their event."""
    assert jets.cloud is not None
    columns, event = {n: c.astype(float) for n, c in jets.cloud.columns.items()}, owners(jets.cloud.offsets)
    pt, energy = np.exp(columns["log_pt"]), np.exp(columns["log_e"])
    eta, phi = columns["eta"] + jets["jet_eta"][event], columns["phi"] + jets["jet_phi"][event]
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=1), event


def test_particles_add_up_to_the_jet(jets: EventBatch) -> None:
    p4, event = momenta(jets)
    total = np.stack([np.bincount(event, p4[:, i]) for i in range(4)], axis=1)
    pt = np.hypot(total[:, 0], total[:, 1])
    np.testing.assert_allclose(pt, jets["jet_pt"], rtol=1e-5)
    np.testing.assert_allclose(np.arcsinh(total[:, 2] / pt), jets["jet_eta"], atol=1e-5)
    mass = np.sqrt(total[:, 3] ** 2 - pt**2 - total[:, 2] ** 2)
    np.testing.assert_allclose(mass, jets["jet_mass"], rtol=5e-3)  # a difference of large numbers in float32


def test_acceptance(jets: EventBatch) -> None:
    config = JetsConfig()
    assert jets["jet_pt"].min() >= config.least_pt
    assert jets["jet_pt"].max() <= config.most_pt
    assert np.abs(jets["jet_eta"]).max() <= config.most_eta
    assert np.exp(jets.cloud.columns["log_pt"]).min() >= config.least_particle_pt * (1 - 1e-6)
    assert np.abs(jets.cloud.columns["phi"]).max() < 1.5 * config.radius  # nearly cones, about the hardest particles


def test_classes_come_in_turn(jets: EventBatch) -> None:
    np.testing.assert_array_equal(jets["class_id"], np.arange(EVENTS) % len(CLASSES))
    np.testing.assert_array_equal(jets["event"], np.arange(EVENTS))


@pytest.mark.parametrize(("kind", "code"), [("w", 24), ("z", 23), ("top", 6)])
def test_masses_are_those_of_what_decayed(jets: EventBatch, kind: str, code: int) -> None:
    """The lower half of a mass peak is the particle's; the rest of the collision only adds to a jet."""
    mass = jets["jet_mass"][jets["class_id"] == CLASSES.index(kind)]
    true = Particle.from_pdgid(code).mass * 1e-3  # GeV
    assert true - 5 < np.median(mass) < true + 15
    assert np.mean(np.abs(mass - true) < 0.2 * true) > 0.7


def test_quarks_and_gluons_have_no_peak_and_gluons_have_more_particles(jets: EventBatch) -> None:
    """The colour charge of a gluon is 9/4 that of a quark, so it radiates more."""
    number = np.diff(jets.cloud.offsets)
    of = {kind: jets["class_id"] == CLASSES.index(kind) for kind in ("quark", "gluon")}
    assert 1.2 < number[of["gluon"]].mean() / number[of["quark"]].mean() < 9 / 4
    assert np.median(jets["jet_mass"][of["gluon"]]) > np.median(jets["jet_mass"][of["quark"]])
    low, high = np.quantile(jets["jet_mass"][of["quark"]], [0.1, 0.9])
    assert high > 3 * low


def test_content_of_jets(jets: EventBatch) -> None:
    """Isospin: a third of all pions are neutral and give two photons each; charges balance."""
    kinds = np.bincount(jets.cloud.columns["type"], minlength=len(PARTICLE_TYPES) + 1)
    share = dict(zip(("padding", *PARTICLE_TYPES), kinds / kinds.sum(), strict=True))
    assert share["padding"] == 0
    assert 0.35 < share["photon"] < 0.5
    assert share["hadron_plus"] == pytest.approx(share["hadron_minus"], rel=0.05)
    assert share["hadron_plus"] + share["hadron_minus"] > 3 * share["hadron_neutral"]
    assert 0 < share["electron"] + share["positron"] + share["muon"] + share["antimuon"] < 0.02


def test_only_charged_particles_have_impact_parameters(jets: EventBatch) -> None:
    columns = jets.cloud.columns
    neutral = np.isin(columns["type"], [PARTICLE_TYPES.index(n) + 1 for n in ("hadron_neutral", "photon")])
    for name in JET_EXTRAS:
        np.testing.assert_array_equal(np.isnan(columns[name]), neutral)
    pull = np.arctanh(np.clip(columns["tanh_d0"], -0.999, 0.999))[~neutral] / columns["d0_error"][~neutral]
    core = np.quantile(pull, [0.16, 0.84])
    assert -1.3 < core[0] < -0.9  # most come from the collision, so their pulls are of unit width
    assert 0.9 < core[1] < 1.3
    with_b = np.isin(owners(jets.cloud.offsets), np.flatnonzero(jets["class_id"] == CLASSES.index("top")))[~neutral]
    assert np.mean(np.abs(pull[with_b]) > 5) > 1.5 * np.mean(np.abs(pull[~with_b]) > 5)


def test_the_same_seed_gives_the_same_jets_wherever_they_are_made(path: Path, jets: EventBatch) -> None:
    """The second chunk alone, after another class, as a worker or a resumed run makes it."""
    second = np.arange(Jets.chunk, EVENTS)
    detector = Jets(JetsConfig(), 3)
    detector.generator.start("top", np.random.default_rng(1))
    detector.generator.collision()
    alone = detector.simulate(second, Jets.source)
    expected = jets.select(second)
    for name, column in expected.columns.items():
        if name != "split":
            np.testing.assert_array_equal(alone[name], column, err_msg=name)
    for name, column in expected.cloud.columns.items():
        np.testing.assert_array_equal(alone.cloud.columns[name], column, err_msg=name)
    other = Jets(JetsConfig(), 4).simulate(second[:5], Jets.source)
    assert not np.isin(other["jet_mass"], jets["jet_mass"]).any()


def test_clusters_are_those_of_the_definition() -> None:
    """Anti-kt by hand: two near particles make one jet, a third beyond the radius its own."""
    pytest.importorskip("fastjet", reason=WHY)
    pytest.importorskip("chromo", reason=WHY)

    def massless(pt: float, eta: float, phi: float) -> list[float]:
        return [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]

    p4 = np.array([massless(400, 0.0, 0.0), massless(300, 0.5, 0.1), massless(600, 0.0, 2.0)])
    nothing = np.zeros((3, 3))
    found = Jets(JetsConfig(), 1).jets(Collision(np.array([211, 211, 22]), p4, nothing, (p4[:1, :3], p4[2:, :3])))
    assert [jet.members.tolist() for jet in found] == [[0, 1], [2]]
    np.testing.assert_allclose(found[0].p4, p4[0] + p4[1])


def test_quarks_of_a_decay() -> None:
    """t -> b W -> b q qbar gives three, a light quark itself."""
    pdg = np.array([2212, 2212, 21, 21, 21, 21, 6, 1, 24, 5, 2, -1])
    mother = np.array([-1, -1, 0, 1, 2, 3, 4, 4, 6, 6, 8, 8])
    assert sorted(_quarks_of(6, pdg, mother)) == [9, 10, 11]
    assert _quarks_of(7, pdg, mother) == [7]


def test_types_of_particles() -> None:
    pdg = np.array([211, -211, 130, 22, 11, -11, 13, -13, 2212, -3112, 310])
    assert types_of(pdg).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 3]
    assert charge_of(pdg).tolist() == [1, -1, 0, 0, -1, 1, -1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "given",
    [
        {"classes": ["quark", "higgs"]},
        {"classes": []},
        {"classes": ["top", "top"]},
        {"least_pt": 2000.0},
        {"most_eta": 0.0},
        {"least_particle_pt": 0.0},
        {"d0_resolution": [0.0, 0.1]},
        {"radus": 0.4},
    ],
)
def test_impossible_settings(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build(JetsConfig, given)


def test_no_jet_in_range_is_an_error_and_not_an_endless_search(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("chromo", reason=WHY)
    pytest.importorskip("fastjet", reason=WHY)
    monkeypatch.setattr("nuadapt.sources.simulation.jets.detector._PATIENCE", 3)
    with pytest.raises(ConfigError, match="no jet in range"):
        Jets(JetsConfig(most_eta=1e-6), 1).simulate([0], Jets.source)
