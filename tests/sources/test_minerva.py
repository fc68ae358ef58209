"""MINERvA tuples: parity with the public code, every intended difference, all edge events, recorded data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import ConfigError
from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.cloud import EVENT_INPUTS, TokenType, event_inputs, minerva_spec, token_inputs
from nuadapt.events.schema import fields_of
from nuadapt.events.truth import PION_CLASSES, CodeScheme, InteractionMode, pion_label

uproot = pytest.importorskip("uproot")
pytest.importorskip("awkward")

from nuadapt.sources.minerva.options import PAPER_TYPES, PRESETS, MinervaOptions, options_from  # noqa: E402
from nuadapt.sources.minerva.reader import read  # noqa: E402
from nuadapt.sources.reading import ReadReport  # noqa: E402

PEER = PRESETS["minerva-ml"]


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "minerva"


@pytest.fixture(scope="module")
def mc(folder: Path) -> Path:
    return folder / "masteranadev_mc.root"


@pytest.fixture(scope="module")
def edge(folder: Path) -> Path:
    return folder / "masteranadev_mc_edge.root"


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "expected_minerva_ml.npz") as arrays:
        return dict(arrays)


def whole(path: Path, options: MinervaOptions = PRESETS["nuadapt"], report: ReadReport | None = None) -> EventBatch:
    return EventBatch.concatenate(list(read(path, options, report or ReadReport())))


@pytest.fixture(scope="module")
def peer(mc: Path) -> EventBatch:
    return whole(mc, PEER)


@pytest.fixture(scope="module")
def ours(mc: Path) -> EventBatch:
    return whole(mc)


def pions(batch: EventBatch) -> np.ndarray:
    return pion_label(batch["current"], batch["n_charged_pions"], batch["n_neutral_pions"])


# ---- parity with the public code ----


def test_tokens_are_those_of_the_public_code(peer: EventBatch, expected: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(peer.cloud.offsets, expected["offsets"])
    np.testing.assert_array_equal(peer.cloud.columns["type"] - 1, expected["tokens"][:, 4])  # theirs begin at 0
    inputs, theirs = token_inputs(peer.cloud, "MeV"), np.delete(expected["tokens"], 4, axis=1)
    np.testing.assert_allclose(inputs[:, 0], theirs[:, 0], rtol=0, atol=0.01)  # forward blobs lose digits in p - pz
    np.testing.assert_allclose(inputs[:, 1:], theirs[:, 1:], rtol=2e-7, atol=1e-6)


def test_event_features_are_those_of_the_public_code(peer: EventBatch, expected: dict[str, np.ndarray]) -> None:
    inputs, theirs = event_inputs(peer.columns, EVENT_INPUTS), expected["global_features"]
    mass = EVENT_INPUTS.index("diphoton_mass")
    rest = [i for i in range(len(EVENT_INPUTS)) if i != mass]
    np.testing.assert_allclose(inputs[:, rest], theirs[:, rest], rtol=1e-7, atol=2e-6)
    np.testing.assert_allclose(inputs[:, mass], theirs[:, mass], rtol=2e-7, atol=0.1)


def test_labels_are_those_of_the_public_code(peer: EventBatch, expected: dict[str, np.ndarray]) -> None:
    truth = expected["truth_labels"]
    np.testing.assert_array_equal(pions(peer), expected["Pi_labels_v2"])
    for name, column in (
        ("mode_code", 1),
        ("current", 3),
        ("n_pi_plus", 5),
        ("n_pi_minus", 6),
        ("n_neutral_pions", 10),
    ):
        np.testing.assert_array_equal(peer[name], truth[:, column], err_msg=name)
    np.testing.assert_allclose(peer["nu_energy"] * 1e3, truth[:, 0], rtol=1e-6)
    np.testing.assert_allclose(peer["available_energy_minerva_ml"] * 1e3, truth[:, 9], rtol=1e-5, atol=2e-3)
    w = expected["mc_true_hadronic_W_GeV"]
    np.testing.assert_allclose(peer["W_final_state"], np.where(w == -1, np.nan, w), rtol=1e-6, atol=1e-5)


def test_inputs_of_the_cut_baseline_are_those_of_the_public_code(
    peer: EventBatch, ours: EventBatch, expected: dict[str, np.ndarray]
) -> None:
    for batch in (peer, ours):  # the counts before any check do not depend on the options
        np.testing.assert_array_equal(batch["n_muons_found"], expected["n_muons"])
        np.testing.assert_array_equal(batch["n_charged_prongs_found"], expected["n_charged_prongs"])
        np.testing.assert_array_equal(batch["n_michel_tags"], expected["improved_nmichel"])
    np.testing.assert_allclose(peer["blob_recoil_energy"] * 1e3, expected["blob_recoil_E"], rtol=1e-6)


def test_the_single_pion_is_that_of_the_public_code(peer: EventBatch, expected: dict[str, np.ndarray]) -> None:
    p4 = expected["pion_four_vectors"]
    there = p4[:, 3] > 0
    single = np.isin(pions(peer), [0, 2])
    np.testing.assert_array_equal(single, there)
    np.testing.assert_allclose(peer["pion_energy"][there] * 1e3, p4[there, 3], rtol=1e-5)
    beam = np.array([0, -np.sin(0.05887), np.cos(0.05887)])  # detector axes
    angle = np.arccos(p4[there, :3] @ beam / np.linalg.norm(p4[there, :3], axis=1))
    np.testing.assert_allclose(peer["pion_angle"][there], angle, atol=2e-5)


# ---- what is meant to differ, one option at a time ----


def test_default_frame_is_the_beam(mc: Path, ours: EventBatch) -> None:
    detector = whole(mc, MinervaOptions(frame="detector"))
    assert (ours.cloud.spec, detector.cloud.spec) == (minerva_spec("beam"), minerva_spec("detector"))
    for name in ("log_e", "type", "dedx", "x", "y", "z", "time"):  # only directions turn
        np.testing.assert_array_equal(ours.cloud.columns[name], detector.cloud.columns[name])
    assert np.abs(ours.cloud.columns["eta"] - detector.cloud.columns["eta"]).max() > 0.1

    def momentum(batch: EventBatch) -> np.ndarray:
        c = {k: v.astype(float) for k, v in batch.cloud.columns.items()}
        pt = np.exp(c["log_pt"])
        return np.stack([pt * np.cos(c["phi"]), pt * np.sin(c["phi"]), pt * np.sinh(c["eta"])])

    cos, sin = np.cos(-0.05887), np.sin(-0.05887)
    turned = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ momentum(detector)
    inside = np.abs(ours.cloud.columns["eta"]) < 8
    np.testing.assert_allclose(momentum(ours)[:, inside], turned[:, inside], rtol=1e-3, atol=1e-4)


def test_the_neutrino_is_along_z_in_the_beam_frame(ours: EventBatch) -> None:
    """Closure on generator truth: the particles' momentum is the neutrino's but for the struck nucleus."""
    across = [
        np.bincount(np.repeat(np.arange(600), np.diff(ours.particles.offsets)), ours.particles.columns[a])
        for a in ("px", "py")
    ]
    assert abs(np.mean(across[1])) < 0.05
    assert abs(np.mean(across[0])) < 0.05


def test_blobs_point_from_the_vertex(mc: Path, ours: EventBatch) -> None:
    origin = whole(mc, MinervaOptions(blob_direction="detector-origin"))
    blob = ours.cloud.columns["type"] == TokenType.BLOB
    np.testing.assert_array_equal(
        ours.cloud.columns["eta"][~blob & (ours.cloud.columns["type"] != 7)],
        origin.cloud.columns["eta"][~blob & (ours.cloud.columns["type"] != 7)],
    )
    # From the detector's origin, metres upstream, all blobs seem to go forward.
    assert (origin.cloud.columns["eta"][blob] > 0).mean() > 0.99
    assert (ours.cloud.columns["eta"][blob] > 0).mean() < 0.95


def test_merged_tokens_are_weighted_by_energy_and_lose_none(mc: Path, ours: EventBatch) -> None:
    number, unmerged = (
        whole(mc, MinervaOptions(merging="number")),
        whole(mc, MinervaOptions(max_blobs=999, max_prongs=99)),
    )
    merged = np.isin(ours.cloud.columns["type"], (TokenType.MERGED_BLOBS, TokenType.MERGED_PRONGS))
    assert merged.sum() == 118
    for name in ("eta", "log_e"):
        np.testing.assert_array_equal(ours.cloud.columns[name], number.cloud.columns[name])
    assert (ours.cloud.columns["z"][merged] != number.cloud.columns["z"][merged]).mean() > 0.9

    def total(batch: EventBatch) -> np.ndarray:
        events = np.repeat(np.arange(len(batch)), np.diff(batch.cloud.offsets))
        return np.bincount(events, np.exp(batch.cloud.columns["log_e"].astype(float)), len(batch))

    np.testing.assert_allclose(total(ours), total(unmerged), rtol=1e-5)
    assert np.diff(unmerged.cloud.offsets).max() > np.diff(ours.cloud.offsets).max()


def test_broken_values_cost_the_object_or_the_value_only(mc: Path, ours: EventBatch) -> None:
    """The anomalies that are planted in the sample, by entry."""
    report = ReadReport()
    strict = whole(mc, MinervaOptions(), report)
    lenient = whole(mc, MinervaOptions(broken="minerva-ml"))
    has_muon = [batch["n_muons"].astype(bool) for batch in (strict, lenient)]
    # 51: muon pz; 102: an isolated blob's energy; 159: another muon estimate. The muon itself is broken in 51 only.
    assert [[bool(h[i]) for i in (51, 102, 159)] for h in has_muon] == [[False, True, True], [False, False, False]]
    assert np.isnan(strict["muon_iso_blobs_energy"][102])
    assert report.broken == {
        "muon dropped: broken four-momentum": 1,
        "photon dropped: broken energy": 1,
        "blob position unknown: broken value": 1,
        "blob time unknown: broken value": 1,
        "prong dropped: no hypothesis": 38,
        "prong dropped: no usable energy": 23,
        "prong dE/dx unknown: broken value": 1,
        "prong position unknown: broken value": 2,
        "muon_iso_blobs_energy unknown: broken value": 1,
    }
    counts = [np.diff(batch.cloud.offsets) for batch in (strict, lenient)]
    assert counts[0][431] == counts[1][431] - 1  # gamma1 of 1.5 TeV
    tokens = strict.select(np.array([210, 264])).cloud
    assert np.isnan(tokens.columns["x"][tokens.columns["type"] == TokenType.BLOB]).any()
    assert np.isnan(tokens.columns["time"]).any()


def test_interaction_types_are_chosen_by_option_and_counted(edge: Path) -> None:
    report = ReadReport()
    batch = whole(edge, MinervaOptions(interaction_types=PAPER_TYPES), report)
    assert (len(batch), report.n_read) == (58, 58)
    assert report.left_out == {"interaction type not 1, 2, 3, 4, 8": 2}
    assert not {43, 44} & set(batch["entry"].tolist())


def test_modes_keep_their_scheme(ours: EventBatch) -> None:
    assert set(ours["mode_scheme"]) == {CodeScheme.MINERVA}
    pairs = set(zip(ours["mode_code"].tolist(), ours["mode"].tolist(), strict=True))
    M = InteractionMode
    assert pairs == {(1, M.QE), (2, M.RES), (3, M.DIS), (4, M.COH), (8, M.MEC)}


def test_lepton_side_agrees_with_the_generator(mc: Path, ours: EventBatch) -> None:
    with uproot.open(mc) as file:
        q2 = file["MasterAnaDev"]["mc_Q2"].array(library="np")
    np.testing.assert_allclose(ours["Q2"], q2 * 1e-6, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours["q3"] ** 2 - ours["q0"] ** 2, ours["Q2"], rtol=1e-3, atol=1e-3)


def test_the_lepton_is_among_the_particles(ours: EventBatch) -> None:
    for event in range(200):
        particles = ours.particles.of(event)
        mine = particles["pdg"] == ours["lepton_pdg"][event]
        assert np.isclose(particles["E"][mine], ours["lepton_energy"][event], rtol=1e-5).any()


def test_every_class_occurs(ours: EventBatch) -> None:
    assert set(pions(ours).tolist()) == set(range(len(PION_CLASSES)))


# ---- recorded data, steps ----


def test_recorded_data_has_no_truth(folder: Path) -> None:
    batch = whole(folder / "masteranadev_data.root")
    assert len(batch) == 200
    assert not batch.has_truth
    assert batch.particles is None
    assert problems_of(batch) == []
    with uproot.open(folder / "masteranadev_data.root") as file:
        np.testing.assert_array_equal(batch["event"], file["MasterAnaDev"]["ev_gate"].array(library="np"))
    assert set(batch.columns) == {
        *("run", "subrun", "event", "source", "weight", "split"),
        *minerva_spec("beam").features,
    }


def test_simulation_can_be_read_as_recorded(mc: Path, ours: EventBatch) -> None:
    blind = whole(mc, MinervaOptions(truth="none"))
    assert not blind.has_truth
    np.testing.assert_array_equal(blind.cloud.columns["eta"], ours.cloud.columns["eta"])


def test_steps_do_not_matter(mc: Path, ours: EventBatch) -> None:
    parts = list(read(mc, MinervaOptions(step=113), ReadReport()))
    assert [len(p) for p in parts] == [113] * 5 + [35]
    joined = EventBatch.concatenate(parts)
    for name, column in ours.columns.items():
        np.testing.assert_array_equal(joined[name], column)
    for name, column in ours.cloud.columns.items():
        np.testing.assert_array_equal(joined.cloud.columns[name], column)


def test_features_are_those_of_the_schema() -> None:
    of_others = {"class_id", "jet_pt", "jet_eta", "jet_phi", "jet_mass"}  # collider jets
    assert set(minerva_spec("beam").features) == {f.name for f in fields_of("feature")} - of_others


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "minerva"}, "did you mean 'minerva-ml'"),
        ({"fram": "beam"}, "did you mean 'frame'"),
        ({"frame": "neutrino"}, "does not fit"),
        ({"max_blobs": 1}, "at least 2"),
        ({"step": 0}, "at least 1"),
    ],
)
def test_settings_that_do_not_fit(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_from(given)


def test_settings_change_a_preset() -> None:
    assert options_from({"preset": "minerva-ml", "frame": "beam"}) == replace(PEER, frame="beam")
    assert options_from({"interaction_types": [1, 2]}).interaction_types == (1, 2)
