"""Batches: checked on entry, selected and joined like lists of events."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.errors import DataError
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.schema import FIELDS, KEY_NAMES, truth_names
from nuadapt.events.truth import NO_LABEL

KEY = {"run": [1, 1], "subrun": [0, 0], "event": [7, 8], "source": [0, 0]}


def test_columns_get_the_types_and_sentinels_of_the_schema() -> None:
    batch = EventBatch.make({**KEY, "nu_energy": [1, 2], "n_protons": [3.0, -1.0]}, ["a"])
    assert list(batch.columns) == [f for f in FIELDS if f in batch.columns]
    assert set(batch.columns) == {*KEY_NAMES, "weight", "split", *truth_names(maps=True, cloud=False)}
    for name, column in batch.columns.items():
        assert column.dtype == np.dtype(FIELDS[name].dtype)
        if name not in {*KEY, "weight", "nu_energy", "n_protons"}:
            np.testing.assert_array_equal(column, FIELDS[name].missing(2))
    assert batch["weight"].tolist() == [1, 1]
    assert batch["n_protons"].tolist() == [3, -1]


def test_recorded_data_has_no_truth() -> None:
    batch = EventBatch.make(KEY, ["a"], has_truth=False)
    assert not batch.has_truth
    assert not set(batch.columns) & set(truth_names(maps=True, cloud=False))
    assert batch.label.tolist() == [NO_LABEL, NO_LABEL]
    with pytest.raises(DataError, match="no column 'nu_pdg'"):
        batch["nu_pdg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nu_enrgy": [1, 2]}, "did you mean 'nu_energy'"),
        ({"weight": [1, np.nan]}, "weight is not finite"),
        ({"weight": [1, 2, 3]}, "shape"),
        ({"source": [0, 1]}, "table of sources"),
        ({"source": [0, -1]}, "table of sources"),
        ({"run": [2**31, 0]}, "cannot hold 2147483648"),
        ({"run": np.array([0, 2**31], dtype="u4")}, "cannot hold 2147483648"),
        ({"n_protons": np.array([40000, 1])}, "cannot hold 40000"),
        ({"n_protons": np.array([1.5, 1])}, "cannot hold 1.5"),
        ({"current": np.array([np.nan, 1])}, "cannot hold nan"),
        ({"current": np.array([-1, 1])}, "cannot hold -1"),
        ({"event": np.array([2**63, 1], dtype="u8")}, "cannot hold 9223372036854775808"),
        ({"nu_energy": ["a", "b"]}, "expected: numbers"),
    ],
)
def test_impossible_columns(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=f"(?i){message}"):
        EventBatch.make({**KEY, **change}, ["a"])


def test_keys_are_needed() -> None:
    with pytest.raises(DataError, match="subrun"):
        EventBatch.make({k: v for k, v in KEY.items() if k != "subrun"}, ["a"])


def test_representations_must_have_as_many_events(making: SimpleNamespace) -> None:
    three = making.make_batch(0, 3)
    for part in ({"particles": three.particles}, {"pixelmap": three.pixelmap}):
        with pytest.raises(DataError, match="3 events"):
            EventBatch.make(KEY, ["a"], **part)


def test_particles_are_checked(making: SimpleNamespace) -> None:
    particles = making.make_batch(0, 8).particles
    with pytest.raises(DataError, match="particle columns are"):
        Particles(particles.offsets, {"pdg": particles.columns["pdg"]})
    for offsets in (particles.offsets + 1, particles.offsets[:-2], particles.offsets[[0, 4, 3, *range(3, 9)]]):
        with pytest.raises(DataError, match="do not fit"):
            Particles(offsets, particles.columns)


def test_particles_from_lists_and_back() -> None:
    pdg = [np.array([13, 2212]), np.array([], dtype=int), np.array([111])]
    p4 = [np.arange(8.0).reshape(2, 4), np.empty((0, 4)), np.ones((1, 4))]
    particles = Particles.from_lists(pdg, p4)
    assert len(particles) == 3
    for i in range(3):
        found = particles.of(i)
        assert found["pdg"].tolist() == pdg[i].tolist()
        assert np.stack([found[n] for n in ("px", "py", "pz", "E")], axis=1).tolist() == p4[i].tolist()
    assert len(Particles.from_lists([], [])) == 0


@given(st.lists(st.integers(0, 19), max_size=8))
def test_selecting_equals_making_each_event(making: SimpleNamespace, rows: list[int]) -> None:
    picked = making.make_batch(0, 20).select(np.array(rows))
    parts = [making.make_batch(i, 1) for i in rows]
    if parts:
        assert making.differences(picked, EventBatch.concatenate(parts)) == []
    assert len(picked) == len(rows)
    for row, event in enumerate(rows):
        expected = making.make_batch(event, 1)
        assert picked["event"][row] == event
        assert {n: c.tolist() for n, c in picked.particles.of(row).items()} == {
            n: c.tolist() for n, c in expected.particles.of(0).items()
        }
        np.testing.assert_array_equal(picked.pixelmap.dense(row), expected.pixelmap.dense(0))


def test_selecting_by_mask_equals_selecting_by_number(making: SimpleNamespace) -> None:
    batch = making.make_batch(0, 9)
    mask = batch.label == 2
    assert 0 < mask.sum() < 9
    assert making.differences(batch.select(mask), batch.select(np.flatnonzero(mask))) == []
    with pytest.raises(DataError, match="mask"):
        batch.select(mask[:-1])


def test_joining_merges_the_tables_of_sources(making: SimpleNamespace) -> None:
    whole = making.make_batch(0, 30)  # three sources
    parts = [whole.select(np.arange(20, 30)), whole.select(np.arange(20))]
    parts[0] = replace(
        parts[0], sources=whole.sources[::-1], columns=parts[0].columns | {"source": 2 - parts[0]["source"]}
    )
    joined = EventBatch.concatenate(parts)
    assert len(joined.sources) == 3
    assert joined.sources != whole.sources
    assert joined["source"].dtype == np.int16
    assert making.differences(joined.select(np.r_[10:30, 0:10]), whole) == []


def test_what_cannot_be_joined(making: SimpleNamespace) -> None:
    with pytest.raises(DataError, match="no events"):
        EventBatch.concatenate([])
    whole = making.make_batch(0, 3)
    for kind in ("truth", "particles", "maps"):
        with pytest.raises(DataError, match="cannot be joined"):
            EventBatch.concatenate([whole, making.make_batch(0, 3, **{kind: False})])
