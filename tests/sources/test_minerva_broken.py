"""MINERvA tuples with values that cannot be, in branches of other forms than usual: what it costs, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import InputFileError
from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.final_state import AVAILABLE_ENERGY
from nuadapt.events.schema import FIELDS
from nuadapt.events.truth import InteractionMode, pion_label
from nuadapt.sources.minerva.options import MinervaOptions
from nuadapt.sources.reading import ReadReport

ak = pytest.importorskip("awkward")
pytest.importorskip("uproot")

from nuadapt.sources.minerva import branches, tree  # noqa: E402
from nuadapt.sources.minerva.reader import batch_of  # noqa: E402

OURS = MinervaOptions()


def chunk_of(path: Path) -> tree.Chunk:
    with tree.opened(path) as file:
        events = tree.tree_of(file, "MasterAnaDev", path)
        names = branches.needed(events.keys(recursive=False), truth=True, weight="", where=path)
        return next(tree.chunks(events, names, 1000, path))


@pytest.fixture(scope="module")
def mc(shared_data: Path) -> tree.Chunk:
    return chunk_of(shared_data / "minerva" / "masteranadev_mc.root")


@pytest.fixture(scope="module")
def edge(shared_data: Path) -> tree.Chunk:
    return chunk_of(shared_data / "minerva" / "masteranadev_mc_edge.root")


def read(chunk: tree.Chunk, options: MinervaOptions = OURS) -> tuple[EventBatch, ReadReport]:
    report = ReadReport()
    return batch_of(chunk, Path("a.root"), options, report, truth=True), report


@pytest.fixture(scope="module")
def whole(mc: tree.Chunk) -> tuple[EventBatch, ReadReport]:
    return read(mc)


def changed(chunk: tree.Chunk, **instead: object) -> tree.Chunk:
    return replace(chunk, branches=chunk.branches | instead)


def planted(chunk: tree.Chunk, name: str, event: int, value: float, at: int = 0) -> tree.Chunk:
    """``value`` as number ``at`` of an event in one branch, as a branch of doubles would hold it."""
    branch = chunk[name]
    if isinstance(branch, tree.Ragged):
        values = branch.values.astype(float)
        values[branch.offsets[event] + at] = value
        return changed(chunk, **{name: replace(branch, values=values)})
    values = branch.astype(float)
    values[event] = value
    return changed(chunk, **{name: values})


# ---- truth ----

LEPTON_SIDE = {"q0", "q3", "Q2", "W", "bjorken_x", "inelasticity_y"}
FINAL_STATE = {
    *("n_protons", "n_neutrons", "n_charged_pions", "n_neutral_pions", "n_pi_plus", "n_pi_minus", "W_final_state"),
    *("pion_energy", "pion_angle"),
    *(f"available_energy_{name}" for name in AVAILABLE_ENERGY),
}
#: Branch, which of its values: what is counted, and what is not known of the event any more.
TRUTH = {
    **{
        (f"mc_FSPart{name}", 1): ("generator particle dropped: broken value", FINAL_STATE)
        for name in ("Px", "Py", "Pz", "E", "PDG")
    },
    **{("mc_vtx", i): ("true vertex unknown: broken value", {f"vertex_{a}" for a in "xyz"}) for i in range(3)},
    **{
        ("mc_incomingPartVec", i): (
            "true neutrino momentum unknown: broken value",
            {"nu_energy", "pion_angle", *LEPTON_SIDE},
        )
        for i in range(4)
    },
    **{
        ("mc_primFSLepton", i): ("true lepton momentum unknown: broken value", {"lepton_energy", *LEPTON_SIDE})
        for i in range(4)
    },
    ("mc_w", 0): ("generator's W unknown: broken value", {"W_generator"}),
    ("mc_intType", 0): ("interaction type unknown: broken value", {"mode", "mode_code"}),
    ("mc_current", 0): ("current unknown: broken value", {"current", "lepton_pdg"}),
    ("mc_incoming", 0): ("neutrino unknown: broken value", {"nu_pdg", "lepton_pdg"}),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -9999.0, 1e300])
@pytest.mark.parametrize(("name", "at"), TRUTH)
def test_one_broken_value_of_the_truth(
    mc: tree.Chunk, whole: tuple[EventBatch, ReadReport], name: str, at: int, value: float
) -> None:
    """The event stays, what hangs on the value is unknown, all else is as it was, and it is counted."""
    clean, before = whole
    event = int(np.flatnonzero(np.isfinite(clean["pion_angle"]) & np.isfinite(clean["W_generator"]))[3])
    batch, report = read(planted(mc, name, event, value, at))
    assert problems_of(batch) == []
    assert report.n_read == 600
    what, unknown = TRUTH[name, at]
    if (name, value) == ("mc_w", -9999.0):
        assert report.absent - before.absent == {"generator's W": 1}
        assert report.broken == before.broken
    else:
        assert report.broken - before.broken == {what: 1}
        assert report.absent == before.absent
    for column, values in clean.columns.items():
        expected = values.copy()
        if column in unknown:
            assert values[event] != FIELDS[column].missing(1)[0], f"{column} is not known to begin with"
            expected[event] = FIELDS[column].missing(1)[0]
        np.testing.assert_array_equal(batch[column], expected, err_msg=column)
    lost = np.zeros(600, dtype=int)
    lost[event] = "FSPart" in name
    np.testing.assert_array_equal(np.diff(batch.particles.offsets), np.diff(clean.particles.offsets) - lost)


def test_every_truth_branch_is_planted() -> None:
    keys = {"mc_run", "mc_subrun", "mc_nthEvtInFile"}  # whole numbers that the file counts by
    assert {name for name, _ in TRUTH} == set(branches.TRUTH) - keys


def test_a_lost_pion_is_not_a_class(mc: tree.Chunk, whole: tuple[EventBatch, ReadReport]) -> None:
    labels = pion_label(*(whole[0][name] for name in ("current", "n_charged_pions", "n_neutral_pions")))
    charged = int(np.flatnonzero(labels == 0)[0])
    pdg = mc["mc_FSPartPDG"]
    mine = pdg.values[pdg.offsets[charged] : pdg.offsets[charged + 1]]
    batch, _ = read(planted(mc, "mc_FSPartE", charged, np.nan, int(np.flatnonzero(np.abs(mine) == 211)[0])))
    assert pion_label(*(batch[n] for n in ("current", "n_charged_pions", "n_neutral_pions")))[charged] == -1


@pytest.mark.parametrize("name", ["mc_FSPartPx", "mc_FSPartE", "mc_FSPartPDG"])
def test_particle_branches_of_different_length(mc: tree.Chunk, name: str) -> None:
    """Whichever is short: the event's final state is unknown, all others are as they were."""
    branch, event = mc[name], 7
    offsets = branch.offsets - (np.arange(601) > event)
    shorter = tree.Ragged(offsets, np.delete(branch.values, branch.offsets[event + 1] - 1))
    batch, report = read(changed(mc, **{name: shorter}))
    assert report.broken["branches of generator particles differ in length"] == 1
    assert np.flatnonzero(batch["n_protons"] == -1).tolist() == [event]
    assert np.flatnonzero(np.isnan(batch["available_energy_mat"])).tolist() == [event]
    assert problems_of(batch) == []


def test_a_broken_target_is_unknown(mc: tree.Chunk) -> None:
    z, a, nucleon = np.full(600, 6.0), np.full(600, 12.0), np.full(600, 2212.0)
    z[1], a[2], nucleon[3], nucleon[4] = np.nan, -9999, np.inf, -999
    batch, _ = read(changed(mc, mc_targetZ=z, mc_targetA=a, mc_targetNucleon=nucleon))
    assert batch["target_pdg"][:4].tolist() == [1000060120, 0, 0, 1000060120]
    assert batch["hit_nucleon_pdg"][:5].tolist() == [2212, 2212, 2212, 0, 0]


def test_an_event_of_unknown_weight_weighs_nothing(mc: tree.Chunk) -> None:
    weight = np.linspace(0.5, 1.5, 600)
    weight[[3, 5, 7, 9]] = np.nan, np.inf, -9999, 1e300
    batch, report = read(changed(mc, w=weight), MinervaOptions(weight="w"))
    unknown = np.isin(np.arange(600), [3, 5, 7, 9])
    np.testing.assert_allclose(batch["weight"], np.where(unknown, 0, weight), rtol=1e-6)
    assert report.broken["weight unknown, so it is 0: broken value"] == 4


# ---- what is counted of reconstruction ----


def test_what_is_absent_is_counted_apart_from_what_is_broken(edge: tree.Chunk) -> None:
    """The edge file's sentinels, counted here once more from the branches themselves."""
    batch, report = read(edge)
    absent = report.absent
    p4 = edge["muon_corrected_p"].values.reshape(60, 4)
    assert absent["matched muon"] == ((p4[:, 0] == -999) | (p4[:, 1] == -999)).sum()
    for i in (1, 2):
        assert absent[f"photon {i}"] == (edge[f"gamma{i}_E"] == -9999).sum()
    assert absent["hadron_recoil_energy"] == (edge["MasterAnaDev_hadron_recoil"] == -9999).sum()
    assert absent["any object"] == (np.diff(batch.cloud.offsets) == 0).sum() == 1
    assert absent["prong dE/dx"] >= 1
    assert not set(absent) & set(report.broken)


@pytest.mark.parametrize("branch", ["MasterAnaDev_hadron_recoil", "blob_recoil_E"])
def test_a_negative_energy_is_broken_and_a_sentinel_is_not(
    mc: tree.Chunk, whole: tuple[EventBatch, ReadReport], branch: str
) -> None:
    ours = {"MasterAnaDev_hadron_recoil": "hadron_recoil_energy", "blob_recoil_E": "blob_recoil_energy"}[branch]
    event = int(np.flatnonzero(mc[branch] > 0)[0])
    for value, broken, absent in (
        (-5.0, {f"{ours} unknown: negative": 1}, {}),
        (-9999.0, {}, {ours: 1}),
        (np.nan, {f"{ours} unknown: broken value": 1}, {}),
    ):
        batch, report = read(planted(mc, branch, event, value))
        assert np.isnan(batch[ours][event])
        assert report.broken - whole[1].broken == broken
        assert report.absent - whole[1].absent == absent


def test_a_broken_vertex_is_counted_without_blobs_too(edge: tree.Chunk) -> None:
    _, before = read(edge)
    for event in (2, 5):  # no blobs; nothing at all
        batch, report = read(planted(edge, "vtx", event, np.nan, 1))
        assert np.isnan([batch[f"reco_vertex_{a}"][event] for a in "xyz"]).all()
        assert report.broken - before.broken == {"reconstructed vertex unknown: broken value": 1}


# ---- forms of branches ----


def same(one: EventBatch, two: EventBatch) -> None:
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, two[name], err_msg=name)
    for name, column in one.cloud.columns.items():
        np.testing.assert_array_equal(column, two.cloud.columns[name], err_msg=name)


def test_whole_numbers_as_doubles_read_the_same(edge: tree.Chunk) -> None:
    whole_numbers = [name for name, b in edge.branches.items() if isinstance(b, np.ndarray) and b.dtype.kind == "i"]
    assert "muon_fuzz_energy" in whole_numbers
    same(read(edge)[0], read(changed(edge, **{name: edge[name].astype(float) for name in whole_numbers}))[0])


def test_a_count_that_is_no_number_is_unknown(edge: tree.Chunk) -> None:
    batch, _ = read(planted(edge, "improved_nmichel", 4, np.nan))
    assert batch["n_michel_tags"][4] == -1


def test_vectors_of_fixed_and_of_counted_length() -> None:
    values = np.arange(12.0).reshape(3, 4)
    fixed, counted = (tree._plain(a, "vtx", Path("a")) for a in (ak.Array(values), ak.Array(values.tolist())))
    for branch in (fixed, counted):
        np.testing.assert_array_equal(tree.Chunk(0, 3, {"vtx": branch}).four("vtx"), values)
    short = tree._plain(ak.Array([[1.0, 2, 3, 4], [5.0], []]), "vtx", Path("a"))
    four = tree.Chunk(0, 3, {"vtx": short}).four("vtx")
    np.testing.assert_array_equal(four, [[1, 2, 3, 4], [5, *[np.nan] * 3], [np.nan] * 4])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("muon_theta", [[1.0], [2.0, 3.0]], r"'muon_theta' is of type 'var \* float64'.*one number for each event"),
        ("vtx", [1.0, 2.0], r"'vtx' is of type 'float64'.*a list of numbers"),
        ("MasterAnaDev_BlobX", [1, 2], r"'MasterAnaDev_BlobX' is of type 'int64'.*a list of numbers"),
        ("prong_part_E", [[1.0], [2.0]], r"'prong_part_E' is of type 'var \* float64'.*a list of vectors"),
        ("mc_FSPartPDG", [[[1]], [[2]]], r"'mc_FSPartPDG' is of type 'var \* var \* int64'.*a list of numbers"),
        ("ev_run", ["a", "b"], r"'ev_run' is of type 'string'.*one number"),
        ("my_weight", [[1.0, 2.0], [1.0, 2.0]], r"'my_weight'.*one number for each event"),
    ],
)
def test_a_branch_of_another_form_is_named(name: str, array: list[object], message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        tree._plain(ak.Array(array), name, Path("a.root"))


def test_nested_vectors_keep_their_lengths() -> None:
    found = tree._plain(ak.Array([[[1.0, 2, 3, 4], []], [], [[5.0]]]), "prong_part_E", Path("a"))
    assert (found.offsets.tolist(), found.inner.tolist()) == ([0, 2, 2, 3], [4, 0, 1])
    np.testing.assert_array_equal(found.column(0), [1, np.nan, 5])


def test_branches_of_one_object_that_differ_in_length_cost_values_only(mc: tree.Chunk) -> None:
    whole_x = mc["MasterAnaDev_BlobX"]
    event = int(np.flatnonzero(whole_x.counts > 2)[0])
    offsets = whole_x.offsets - (np.arange(len(whole_x.offsets)) > event)
    shorter = tree.Ragged(offsets, np.delete(whole_x.values, whole_x.offsets[event + 1] - 1))
    batch, report = read(changed(mc, MasterAnaDev_BlobX=shorter))
    assert report.broken["branches of one object differ in length"] == 1
    assert report.broken["blob position unknown: broken value"] == 2  # and one that is planted
    assert len(batch) == 600


def test_fewer_prong_vectors_than_prongs_are_counted_once(mc: tree.Chunk) -> None:
    p4 = mc["prong_part_E"]
    event = int(np.flatnonzero(p4.counts > 1)[0])
    last = p4.offsets[event + 1] - 1
    offsets = p4.offsets - (np.arange(len(p4.offsets)) > event)
    batch, report = read(
        changed(
            mc,
            prong_part_E=tree.Nested(offsets, np.delete(p4.inner, last), np.delete(p4.values, 4 * last + np.arange(4))),
        )
    )
    assert report.broken["branches of one object differ in length"] == 1
    assert problems_of(batch) == []
    assert batch["mode"][event] != InteractionMode.UNKNOWN
