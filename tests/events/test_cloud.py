"""Clouds: round trips, explicit mask, kinematics and inputs against slow oracles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, DataError, InputFileError
from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.cloud import (
    EVENT_INPUTS,
    PAPER_EVENT_INPUTS,
    TOKEN_INPUTS,
    Clouds,
    CloudSpec,
    TokenType,
    event_inputs,
    features_of_tokens,
    kinematics,
    minerva_spec,
    token_inputs,
)
from nuadapt.events.schema import FIELDS, TOKEN_FIELDS
from nuadapt.events.store import EventStore, EventWriter, Layout

SPEC = minerva_spec("beam")


def make_clouds(first: int, n: int) -> Clouds:
    """Event i has i % 5 tokens; it is the same whatever batch it is made in."""
    counts = np.arange(first, first + n) % 5
    rows = [np.random.default_rng(i).normal(size=(c, 9)) for i, c in zip(range(first, first + n), counts, strict=True)]
    flat = np.concatenate([*rows, np.empty((0, 9))])
    names = [name for name in SPEC.columns if name != "type"]
    columns = {name: flat[:, i] for i, name in enumerate(names)}
    columns["type"] = 1 + (np.abs(flat[:, 0]) * 100).astype(int) % 9
    columns["dedx"] = np.where(columns["dedx"] < -0.5, np.nan, columns["dedx"])
    return Clouds.make(SPEC, np.concatenate([[0], np.cumsum(counts)]), columns)


def make_batch(first: int, n: int, *, truth: bool = True) -> EventBatch:
    numbers = np.arange(first, first + n)
    columns = {"run": numbers * 0, "subrun": numbers * 0, "event": numbers % 3, "source": numbers * 0, "entry": numbers}
    columns |= {"current": np.ones(n), "n_charged_pions": numbers % 3, "n_neutral_pions": numbers * 0} if truth else {}
    return EventBatch.make(columns, ["a.root"], cloud=make_clouds(first, n), has_truth=truth)


def same(one: EventBatch, other: EventBatch) -> bool:
    columns = [(one[name], other[name]) for name in one.columns]
    columns += [(one.cloud.offsets, other.cloud.offsets)]
    columns += [(one.cloud.columns[name], other.cloud.columns[name]) for name in SPEC.columns]
    return one.cloud.spec == other.cloud.spec and all(a.tobytes() == b.tobytes() for a, b in columns)


def write(path: Path, batches: list[EventBatch], *, finish: bool = True) -> Path:
    with EventWriter.create(path, Layout.of(batches[0]), {}) as writer:
        for batch in batches:
            writer.append(batch)
        if finish:
            writer.finish()
    return path


@pytest.mark.parametrize("truth", [True, False])
def test_store_returns_what_was_written(tmp_path: Path, truth: bool) -> None:
    path = write(tmp_path / "c.h5", [make_batch(0, 11, truth=truth), make_batch(11, 7, truth=truth)])
    with EventStore(path) as store:
        assert store.layout.cloud_spec == SPEC
        assert same(store.read(slice(None)), make_batch(0, 18, truth=truth))
        rows = np.array([17, 3, 3, 0, 12])
        assert same(store.read(rows), make_batch(0, 18, truth=truth).select(rows))
        assert store.problems() == []  # keys repeat here; the entry tells the events apart


def test_unfinished_file_opens_with_its_batches_and_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "c.h5", [make_batch(0, 11)], finish=False)
    with EventWriter.resume(path, 4) as writer:
        assert writer.n_events == 11
        writer.append(make_batch(11, 7))
        writer.finish()
    with EventStore(path) as store, EventStore(write(tmp_path / "d.h5", [make_batch(0, 18)])) as whole:
        assert same(store.read(slice(None)), make_batch(0, 18))
        assert store.fingerprint() == whole.fingerprint()


def test_tokens_that_the_commit_does_not_bear_out_are_damage(tmp_path: Path) -> None:
    import h5py

    path = write(tmp_path / "c.h5", [make_batch(0, 11)])
    with h5py.File(path, "r+") as file:
        file["cloud/offsets"][11] += 1
    with pytest.raises(InputFileError, match="cloud/offsets ends at"):
        EventStore(path)


def test_a_file_without_clouds_says_so_by_silence() -> None:
    """Files written before there were clouds and files without clouds are the same."""
    plain = Layout(True, True, None)
    assert "cloud" not in plain.to_json()
    assert Layout.from_json('{"has_truth": true, "has_particles": true, "map_spec": null}') == plain
    assert plain.n_counts == 5
    with_cloud = Layout(True, True, None, SPEC)
    assert Layout.from_json(with_cloud.to_json()) == with_cloud


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(0, 3))
def test_dense_is_flat_with_a_mask(counts: list[int], spare: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    columns = {name: np.ones(offsets[-1]) for name in SPEC.columns}
    columns["log_pt"] = np.zeros(offsets[-1])  # pT = 1 GeV: a value of 0 is a token, not padding
    clouds = Clouds.make(SPEC, offsets, columns)
    values = np.stack([clouds.columns["log_pt"], np.arange(offsets[-1])], axis=1)
    length = max(counts, default=0) + spare
    padded, mask = clouds.dense(values, length)
    assert padded.shape == (len(counts), length, 2)
    assert mask.sum(axis=1).tolist() == counts if counts else mask.size == 0
    np.testing.assert_array_equal(padded[mask], values)
    assert not padded[~mask].any()
    if counts and max(counts):
        with pytest.raises(DataError, match="at most"):
            clouds.dense(values, max(counts) - 1)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50))
def test_kinematics_against_the_textbook(px: float, py: float, pz: float) -> None:
    found = kinematics(np.array([[px, py, pz]]), np.array([60.0]))
    p, pt = math.sqrt(px**2 + py**2 + pz**2), math.hypot(px, py)
    assert found["log_pt"][0] == pytest.approx(math.log(pt + 1e-9), abs=1e-4)
    assert abs(found["eta"][0]) <= 10
    if pt > max(1e-3 * p, 1e-9):
        eta = -math.log(math.tan(math.acos(pz / p) / 2))
        assert found["eta"][0] == pytest.approx(eta, abs=1e-3)
        assert found["phi"][0] == pytest.approx(math.atan2(py, px), abs=1e-6)
    elif px == py == pz == 0:
        assert found["eta"][0] == 0


def test_token_inputs_token_by_token() -> None:
    clouds = make_clouds(0, 30)
    inputs = token_inputs(clouds)
    for i in range(len(inputs)):
        c = {name: float(column[i]) for name, column in clouds.columns.items()}
        known = 0.0 if math.isnan(c["dedx"]) else min(abs(c["dedx"]) * 1e3, 100.0)
        has_dedx = c["type"] in (2, 4, 5, 6, 8, 9)
        expected = [c["eta"], c["phi"], c["log_pt"], c["log_e"], math.log(known + 0.1) if has_dedx else 0]
        expected += [c["x"] / 1e3, c["y"] / 1e3, c["z"] / 1e3, c["time"] / 1e4]
        np.testing.assert_allclose(inputs[i], expected, rtol=1e-5, atol=1e-6)
    shift = token_inputs(clouds, "MeV") - inputs
    np.testing.assert_allclose(shift[:, 2:4], math.log(1000), rtol=1e-5)
    assert not shift[:, [0, 1, *range(4, len(TOKEN_INPUTS))]].any()
    with pytest.raises(ConfigError, match="GeV or MeV"):
        token_inputs(clouds, "TeV")


def test_event_inputs_take_unknown_for_zero() -> None:
    columns = {name: FIELDS[name].missing(2) for name in SPEC.features}
    columns["passive_recoil_id"] = np.array([5.0, np.nan])
    found = event_inputs(columns, EVENT_INPUTS)
    assert found.shape == (2, 16)
    at = EVENT_INPUTS.index
    np.testing.assert_allclose(found[:, at("log_passive_recoil")], np.log([0.501, 0.001]), rtol=1e-6)
    np.testing.assert_allclose(found[:, at("log_muon_fuzz_energy")], math.log(1e-5), rtol=1e-6)
    assert not found[:, at("n_muons")].any()
    assert len(PAPER_EVENT_INPUTS) == 15
    with pytest.raises(ConfigError, match="did you mean 'n_muons'"):
        event_inputs(columns, ["n_muon"])


def test_features_that_follow_from_tokens() -> None:
    clouds = make_clouds(0, 40)
    found = features_of_tokens(clouds)
    for event in range(40):
        at = slice(clouds.offsets[event], clouds.offsets[event + 1])
        kind, energy = clouds.columns["type"][at], np.exp(clouds.columns["log_e"][at])
        assert found["n_muons"][event] == (kind == TokenType.MUON).sum()
        assert found["blob_energy"][event] == pytest.approx(energy[kind == TokenType.BLOB].sum(), rel=1e-5)


def test_padding_is_no_type() -> None:
    assert SPEC.types[TokenType.MUON - 1] == "muon"
    clouds = make_clouds(0, 6)
    batch = make_batch(0, 6)
    assert problems_of(batch) == []
    clouds.columns["type"][0] = TokenType.PADDING
    bad = EventBatch(batch.columns, batch.sources, cloud=clouds)
    assert problems_of(bad) == ["token types outside 1 to 9"]
    clouds.columns["type"][0] = 1
    clouds.columns["log_pt"][1] = -np.inf
    assert problems_of(bad) == ["token column log_pt: 1 values are not finite"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": "lab"}, "unknown frame"),
        ({"extras": ("dedxx",)}, "did you mean 'dedx'"),
        ({"extras": ("eta",)}, "unknown token column"),
        ({"features": ("nu_energy",)}, "unknown event feature"),
        ({"types": ("t",) * 256}, "at most 255"),
    ],
)
def test_impossible_specs(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CloudSpec(**({"frame": "beam", "types": ("a",)} | change))  # type: ignore[arg-type]


def test_columns_that_do_not_belong() -> None:
    with pytest.raises(DataError, match="not in the spec"):
        Clouds.make(CloudSpec("jet", ("a",)), np.array([0]), {n: np.empty(0) for n in TOKEN_FIELDS})
    with pytest.raises(DataError, match="do not fit"):
        Clouds.make(CloudSpec("jet", ("a",)), np.array([0, 2]), {n: np.zeros(1) for n in list(TOKEN_FIELDS)[:5]})
    key = {name: [0] for name in ("run", "subrun", "event", "source")}
    with pytest.raises(DataError, match="does not belong"):
        EventBatch.make({**key, "n_muons": [1]}, ["a"])
    with pytest.raises(DataError, match="does not belong"):
        EventBatch.make({**key, "nu_energy": [1]}, ["a"], has_truth=False)
    with pytest.raises(DataError, match="different specs"):
        Clouds.concatenate(
            [make_clouds(0, 2), Clouds(minerva_spec("detector"), *((c := make_clouds(0, 2)).offsets, c.columns))]
        )
