"""Each of the 60 events of MINERvA's edge file comes through with what its README says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.cloud import EVENT_INPUTS, TokenType, event_inputs, token_inputs
from nuadapt.events.final_state import AVAILABLE_ENERGY, CHARGED_PION_MASS
from nuadapt.events.truth import PION_CLASSES, InteractionMode, pion_label

uproot = pytest.importorskip("uproot")
pytest.importorskip("awkward")

from nuadapt.sources.minerva.options import PRESETS, MinervaOptions  # noqa: E402
from nuadapt.sources.minerva.reader import read, steps  # noqa: E402
from nuadapt.sources.reading import ReadReport  # noqa: E402

PEER = PRESETS["minerva-ml"]


@pytest.fixture(scope="module")
def edge(shared_data: Path) -> Path:
    return shared_data / "minerva" / "masteranadev_mc_edge.root"


def whole(path: Path, options: MinervaOptions = PRESETS["nuadapt"], report: ReadReport | None = None) -> EventBatch:
    return EventBatch.concatenate(list(read(path, options, report or ReadReport())))


def pions(batch: EventBatch) -> np.ndarray:
    return pion_label(batch["current"], batch["n_charged_pions"], batch["n_neutral_pions"])


#: Entry: tokens with the options of the public code, and with ours. Where the public code reads the event, its number
#: is the README's (17 apart, where it makes non-finite tokens); elsewhere its file is lost, and the number here is
#: what the text says: the broken object is gone and the others stay.
EDGE_TOKENS = [
    9, 8, 3, 6, 5, 0, 1, 8, 8, 8, 9, 6, 6, 11, 9, 9, 9, 8, 7, 5, 9, 8, 6, 5, 8, 5, 7, 25, 15, 33, 23, 23, 18, 18, 24,
    18, 8, 7, 5, 10, 7, 5, 5, 9, 7, 7, 11, 7, 8, 5, (5, 6), (12, 11), 9, 9, 9, 10, 8, 6, 10, 8,
]  # fmt: skip


def test_all_edge_events_come_through(edge: Path) -> None:
    expected = [e if isinstance(e, tuple) else (e, e) for e in EDGE_TOKENS]
    report = ReadReport()
    for which, options in enumerate((PEER, MinervaOptions())):
        batch = whole(edge, options, report)
        assert np.diff(batch.cloud.offsets).tolist() == [e[which] for e in expected]
        assert problems_of(batch) == []
        assert batch["entry"].tolist() == list(range(60))
        assert np.isfinite(token_inputs(batch.cloud)).all()
        assert np.isfinite(event_inputs(batch.columns, EVENT_INPUTS)).all()
    assert report.notes == [
        "masteranadev_mc_edge.root: 2 events share run, subrun and event number with an earlier one of the file; the "
        "column 'entry' tells them apart."
    ]


def types(batch: EventBatch, entry: int) -> list[int]:
    return batch.cloud.select(np.array([entry])).columns["type"].tolist()


def values(batch: EventBatch, entry: int, name: str, kind: TokenType) -> np.ndarray:
    columns = batch.cloud.select(np.array([entry])).columns
    return columns[name][columns["type"] == kind]


@pytest.fixture(scope="module")
def edges(edge: Path) -> EventBatch:
    return whole(edge)


T = TokenType
#: Entry: number of tokens of each kind that the entry is about.
EDGE_KINDS: dict[int, dict[TokenType, int]] = {
    2: {T.BLOB: 0},
    3: {T.PHOTON: 0},
    4: {T.MUON: 0},
    6: {T.MUON: 1},
    7: {T.PHOTON: 1},
    8: {T.PHOTON: 1},
    22: {T.PRONG_OTHER: 1},
    26: {T.PRONG_OTHER: 1},
    25: {T.PRONG_3: 0, T.PRONG_8: 0, T.PRONG_13: 0, T.PRONG_OTHER: 0},
    27: {T.BLOB: 19, T.MERGED_BLOBS: 1},
    28: {T.MERGED_PRONGS: 1},
    29: {T.MUON: 1, T.PHOTON: 2, T.BLOB: 19, T.MERGED_BLOBS: 1, T.MERGED_PRONGS: 1},
    30: {T.BLOB: 20, T.MERGED_BLOBS: 0},
    31: {T.BLOB: 19, T.MERGED_BLOBS: 1},
    32: {T.MERGED_PRONGS: 0},
    33: {T.MERGED_PRONGS: 1},
    34: {T.BLOB: 19, T.MERGED_BLOBS: 1},
    35: {T.MERGED_PRONGS: 1},
    48: {T.MUON: 0},
    49: {T.MUON: 0},
    50: {T.MUON: 1},
    51: {T.MUON: 0},
    52: {T.MUON: 0},
    53: {T.MUON: 1},
}


@pytest.mark.parametrize("entry", EDGE_KINDS)
def test_edge_event_has_the_kinds_of_tokens_it_should(edges: EventBatch, entry: int) -> None:
    found = Counter(types(edges, entry))
    assert {kind: found[kind] for kind in EDGE_KINDS[entry]} == EDGE_KINDS[entry]


NAN = float("nan")
#: Entry: dE/dx in MeV/cm of the tokens of each kind that the entry is about. A negative one is no measurement.
EDGE_DEDX: dict[int, dict[TokenType, list[float]]] = {
    9: {T.PRONG_3: [NAN, 9.848957], T.PRONG_8: [4.121171]},
    10: {T.PRONG_3: [NAN], T.PRONG_13: [10.252860]},
    11: {T.PRONG_3: [NAN], T.PRONG_13: [9.683826]},
    12: {T.PRONG_3: [NAN], T.PRONG_8: [NAN]},
    13: {T.PRONG_8: [100], T.PRONG_13: [100.0001], T.PRONG_3: [NAN]},
    14: {T.PHOTON: [NAN, 2.615289]},
    15: {T.PHOTON: [NAN, NAN]},
    39: {T.PRONG_3: [2.256996, 2.874378]},
}
#: Entry: energy in MeV of the tokens of each kind that the entry is about.
EDGE_ENERGY: dict[int, dict[TokenType, list[float]]] = {
    36: {T.PRONG_3: [], T.PRONG_8: [547.405426]},
    37: {T.PRONG_3: [], T.PRONG_13: [687.490910]},
    38: {T.PRONG_8: [215.791624]},
    39: {T.PRONG_3: [6817.867770, 270.810194], T.PRONG_8: []},
    40: {T.PRONG_3: [], T.PRONG_8: [219.189661]},
    41: {T.PRONG_3: [548.620326]},
    42: {T.PRONG_3: [], T.PRONG_13: [706.434257]},
    55: {T.PHOTON: [2e-5]},
}
NO_BLOB = {"blob dropped: no usable energy": 1}
OTHER = {"prong of another hypothesis than 3, 8 and 13": 1}
NO_HYPOTHESIS = {"prong dropped: no hypothesis": 1}
NO_ENERGY = {"prong dropped: no usable energy": 1}
SHORT = {"prong four-momentum with other than 4 values": 1}
PRONG_DEDX, PHOTON_DEDX = ({f"{what} dE/dx unknown: broken value": 1} for what in ("prong", "photon"))
MUON = {"muon dropped: broken four-momentum": 1}
#: Entry: what is counted as broken in it; nothing in the others.
EDGE_BROKEN: dict[int, dict[str, int]] = {
    **dict.fromkeys((9, 10, 11, 13), PRONG_DEDX),
    **dict.fromkeys((14, 15), PHOTON_DEDX),
    **dict.fromkeys(range(16, 21), NO_BLOB),
    **dict.fromkeys((22, 26), OTHER),
    **dict.fromkeys((23, 24), NO_HYPOTHESIS),
    25: {"prong dropped: no hypothesis": 2},
    **dict.fromkeys((36, 37), SHORT | NO_ENERGY),
    38: dict.fromkeys(SHORT | NO_ENERGY, 2),
    **dict.fromkeys(range(39, 43), NO_ENERGY),
    **dict.fromkeys((48, 49, 51, 52), MUON),
    50: {"muon_iso_blobs_energy unknown: broken value": 1},
    55: {"photon dropped: broken energy": 1},
    57: {"truth without particles: final state unknown": 1},
}
#: Entry: some of what is counted as absent in it.
EDGE_ABSENT: dict[int, dict[str, int]] = {
    0: {"photon 1": 0, "photon 2": 0, "matched muon": 0, "any object": 0},
    4: {"matched muon": 1, "any object": 0},
    5: {"matched muon": 1, "photon 1": 1, "photon 2": 1, "any object": 1},
    6: {"matched muon": 0, "photon 1": 1, "photon 2": 1, "any object": 0},
    7: {"photon 1": 0, "photon 2": 1},
    8: {"photon 1": 1, "photon 2": 0},
    12: {"prong dE/dx": 2},
    15: {"photon dE/dx": 1},
    56: {"hadron_recoil_energy": 1, "passive_recoil_id": 1, "passive_recoil_od": 1, "muon_fuzz_energy": 1},
}


@pytest.mark.parametrize("entry", EDGE_DEDX)
def test_edge_dedx(edges: EventBatch, entry: int) -> None:
    for kind, expected in EDGE_DEDX[entry].items():
        np.testing.assert_allclose(values(edges, entry, "dedx", kind) * 1e3, expected, rtol=1e-6)


@pytest.mark.parametrize("entry", EDGE_ENERGY)
def test_edge_energies(edges: EventBatch, entry: int) -> None:
    for kind, expected in EDGE_ENERGY[entry].items():
        energy = (np.exp(values(edges, entry, "log_e", kind).astype(float)) - 1e-9) * 1e3
        np.testing.assert_allclose(energy, expected, rtol=2e-5)


@pytest.mark.parametrize("entry", range(16, 21))
def test_the_blob_without_energy_is_gone_and_the_others_stay(edge: Path, edges: EventBatch, entry: int) -> None:
    with uproot.open(edge) as file:
        first, *others = file["MasterAnaDev"]["MasterAnaDev_BlobTotalE"].array(library="np")[entry]
    assert not (np.isfinite(first) and first > 1e-5)
    energy = np.exp(values(edges, entry, "log_e", T.BLOB).astype(float)) * 1e3
    np.testing.assert_allclose(energy, others, rtol=1e-5)
    assert edges["blob_energy"][entry] * 1e3 == pytest.approx(sum(others), rel=1e-5)


def test_a_blob_at_the_origin_has_its_energy_and_from_there_no_direction(edge: Path, edges: EventBatch) -> None:
    for batch, directed in ((edges, True), (whole(edge, PEER), False)):
        assert [values(batch, 21, axis, T.BLOB)[0] for axis in "xyz"] == [0, 0, 0]
        assert np.exp(float(values(batch, 21, "log_e", T.BLOB)[0])) * 1e3 == pytest.approx(4.951662, rel=1e-5)
        assert (np.exp(float(values(batch, 21, "log_pt", T.BLOB)[0])) > 1e-8) == directed


def test_a_prong_without_energy_counts_before_the_checks_only(edges: EventBatch) -> None:
    assert (edges["n_charged_prongs_found"][39], edges["n_charged_prongs"][39]) == (1, 0)
    assert (edges["n_charged_prongs_found"][38], edges["n_charged_prongs"][38]) == (3, 1)


def test_edge_counters(edge: Path) -> None:
    reports = [report for report, _ in steps(edge, MinervaOptions(step=1))]
    assert {i: dict(r.broken) for i, r in enumerate(reports) if r.broken} == EDGE_BROKEN
    for entry, expected in EDGE_ABSENT.items():
        assert {kind: reports[entry].absent[kind] for kind in expected} == expected, entry


def test_edge_values_are_marked_and_not_guessed(edge: Path, edges: EventBatch) -> None:
    for entry in (14, 15):  # NaN; +inf and the sentinel
        assert np.isnan(values(edges, entry, "dedx", T.PHOTON)).any()
    detector = whole(edge, MinervaOptions(frame="detector"))  # the entries are about its axis
    np.testing.assert_array_equal(values(detector, 53, "eta", T.MUON), [10])
    assert -10 in values(detector, 54, "eta", T.PHOTON)
    np.testing.assert_allclose(values(edges, 53, "eta", T.MUON), -np.log(np.tan(0.05887 / 2)), rtol=1e-5)
    assert np.isnan(edges["muon_iso_blobs_energy"][50])
    assert np.isnan(edges["muon_fuzz_energy"][56])
    assert edges["mode"][[43, 44]].tolist() == [InteractionMode.OTHER] * 2
    assert edges["mode_code"][[43, 44]].tolist() == [5, 99]


def test_edge_duplicates_share_their_key_and_nothing_else(edges: EventBatch) -> None:
    keys = np.stack([edges[name] for name in ("run", "subrun", "event")], axis=1)
    assert (keys[45] == keys[46]).all()
    assert (keys[45] == keys[47]).all()
    assert len(np.unique(keys, axis=0)) == 58


def test_edge_truth(edges: EventBatch) -> None:
    labels = pions(edges)
    assert labels[57] == -1  # no list of particles: the final state is not known
    assert edges["n_charged_pions"][57] == -1
    assert np.isnan(edges["available_energy_mat"][57])
    assert PION_CLASSES[labels[58]] == "cc_other"
    assert edges["available_energy_minerva_ml"][58] == 0  # a muon and remnants
    assert PION_CLASSES[labels[59]] == "cc_npi_charged"
    found = {name: edges[f"available_energy_{name}"][59] for name in AVAILABLE_ENERGY}
    assert found["rodrigues2016"] < found["minerva_ml"] < found["ascencio2022"]
    lighter = CHARGED_PION_MASS - 0.135  # what the toolkit takes less off each pion
    assert found["mat"] == pytest.approx(found["rodrigues2016"] + edges["n_charged_pions"][59] * lighter, abs=1e-6)


def test_edge_events_lose_no_energy_by_merging(edge: Path, edges: EventBatch) -> None:
    events = (27, 28, 29, 31, 33, 34, 35)
    unmerged = whole(edge, MinervaOptions(max_blobs=99, max_prongs=99))
    for batch_energy, all_energy in zip(
        *(
            [np.exp(b.cloud.select(np.array([e])).columns["log_e"].astype(float)).sum() for e in events]
            for b in (edges, unmerged)
        ),
        strict=True,
    ):
        assert batch_energy == pytest.approx(all_energy, rel=1e-5)
