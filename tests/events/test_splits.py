"""Splits: exact shares in each class, the same for the same events in any order, no pattern in the hash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.errors import ConfigError
from nuadapt.events.splits import FRACTIONS, SPLITS, assign_splits, hash_keys


def keys(n: int) -> dict[str, np.ndarray]:
    i = np.arange(n)
    return {"run": i // 50, "subrun": i % 7, "event": i, "source": i % 2}


def hashes_of(columns: dict[str, np.ndarray], names: tuple[str, ...] = ("a/x.root", "a/y.root")) -> np.ndarray:
    return hash_keys(columns["run"], columns["subrun"], columns["event"], columns["source"], names)


@given(
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=4),
    cuts=st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted),
    seed=st.integers(0, 2**32 - 1),
)
def test_shares_are_exact_in_each_class(sizes: list[int], cuts: list[int], seed: int) -> None:
    fractions = (cuts[0] / 20, (cuts[1] - cuts[0]) / 20, 1 - cuts[1] / 20)
    labels = np.repeat(np.arange(len(sizes)) - 1, sizes)
    hashes = np.random.default_rng(seed).integers(0, 2**63, len(labels)).astype(np.uint64)
    split = assign_splits(hashes, labels, fractions)
    for label, size in enumerate(sizes, start=-1):
        counts = np.bincount(split[labels == label], minlength=3)
        assert counts.sum() == size
        assert np.all(np.abs(counts - np.array(fractions) * size) <= 1)


def test_order_of_events_does_not_matter() -> None:
    columns, order = keys(1000), np.random.default_rng(1).permutation(1000)
    labels = columns["event"] % 3
    split = assign_splits(hashes_of(columns), labels)
    shuffled = {name: column[order] for name, column in columns.items()}
    np.testing.assert_array_equal(assign_splits(hashes_of(shuffled), labels[order]), split[order])


def test_only_the_file_name_of_a_source_counts() -> None:
    columns = keys(100)
    here = hashes_of(columns)
    np.testing.assert_array_equal(hashes_of(columns, ("/data/x.root", "/other/y.root")), here)
    renumbered = columns | {"source": 1 - columns["source"]}  # the table of sources in another order
    np.testing.assert_array_equal(hashes_of(renumbered, ("a/y.root", "a/x.root")), here)
    assert not np.any(hashes_of(columns, ("a/z.root", "a/w.root")) == here)


def test_hashes_stay_what_they_are() -> None:
    # A change would move events between training and test sets of files made before.
    found = hash_keys(np.array([1, 2]), np.array([0, 3]), np.array([7, -1]), np.array([0, 0]), ("sim",))
    assert [hex(h) for h in found] == ["0xc26696e2606118e0", "0xb49e2465b0c01ad4"]
    assert SPLITS == ("train", "val", "test")


@pytest.mark.parametrize("name", ["run", "subrun", "event"])
def test_each_bit_of_a_key_changes_half_of_the_hash(name: str) -> None:
    columns = keys(500)
    before = hashes_of(columns)
    for bit in range(24):
        flipped = hashes_of(columns | {name: columns[name] ^ (1 << bit)})
        share = np.unpackbits((before ^ flipped).view(np.uint8)).mean()
        assert share == pytest.approx(0.5, abs=0.02)  # 500 x 64 fair coins: sigma 0.003


def test_hashes_of_neighbours_do_not_collide() -> None:
    run, subrun, event = np.meshgrid(np.arange(20), np.arange(20), np.arange(50), indexing="ij")
    found = hash_keys(run.ravel(), subrun.ravel(), event.ravel(), np.zeros(run.size, dtype=int), ("s",))
    assert len(np.unique(found)) == run.size


@pytest.mark.parametrize("bad", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), (0.0, 0.0, 0.0)])
def test_impossible_fractions(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="add up to 1"):
        assign_splits(np.arange(3, dtype=np.uint64), np.zeros(3), bad)


def test_no_events() -> None:
    empty = np.array([], dtype=np.int64)
    assert len(assign_splits(hash_keys(empty, empty, empty, empty, ()), empty, FRACTIONS)) == 0
