"""What a batch holds: a function of seed, epoch and step, whoever reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from nuadapt.errors import DataError
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.models.inputs import PixelInput
from nuadapt.training.config import LanguageConfig, TrainingConfig
from nuadapt.training.data import (
    BLOCK,
    POOL,
    BlockShuffle,
    Draw,
    InOrder,
    PixelDataset,
    Sample,
    as_batch,
    class_weights,
    flip_bits,
    mirror,
    prepare,
)

MakeStore = Callable[..., Path]


@given(n=st.integers(1, 5000), seed=st.integers(0, 5), epoch=st.integers(0, 50), data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_event_once_an_epoch(n: int, seed: int, epoch: int, data: st.DataObject) -> None:
    rows = np.flatnonzero(np.random.default_rng(n).random(2 * n) < 0.5)
    if not len(rows):
        return
    order = BlockShuffle(rows, seed).order(epoch)
    assert np.array_equal(np.sort(order), np.arange(len(rows)))


def test_orders_differ_by_epoch_and_seed_and_repeat() -> None:
    rows = np.arange(1000)
    one = BlockShuffle(rows, 1).order(0)
    assert np.array_equal(one, BlockShuffle(rows, 1).order(0))
    assert not np.array_equal(one, BlockShuffle(rows, 1).order(1))
    assert not np.array_equal(one, BlockShuffle(rows, 2).order(0))


def test_batches_mix_blocks_but_stay_within_a_pool() -> None:
    """Reading stays cheap: while a pool is in use, no block outside it is asked for."""
    rows = np.arange(4 * POOL * BLOCK)
    blocks = rows[BlockShuffle(rows, 1).order(0)] // BLOCK
    per_pool = blocks.reshape(4, -1)
    assert all(len(np.unique(pool)) == POOL for pool in per_pool)
    assert len(np.unique(blocks[:64])) > POOL // 2


def test_mirror_flips_rows_of_chosen_events() -> None:
    images = np.random.default_rng(1).random((4, 2, 5, 3)).astype(np.float32)
    flip = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    got = images.copy()
    mirror(got, [("x", "z"), ("y", "z")], flip)
    for i in range(4):
        for view in range(2):
            expected = images[i, view, ::-1] if flip[i, view] else images[i, view]
            np.testing.assert_array_equal(got[i, view], expected)


def test_mirror_never_turns_the_beam_and_knows_columns() -> None:
    images = np.random.default_rng(1).random((2, 1, 4, 6)).astype(np.float32)
    got = images.copy()
    mirror(got, [("wire", "z")], np.ones((2, 2), dtype=bool))
    np.testing.assert_array_equal(got, images)
    mirror(got, [("z", "x")], np.ones((2, 2), dtype=bool))
    np.testing.assert_array_equal(got, images[:, :, :, ::-1])


def test_flip_bits_are_fair_and_depend_on_everything() -> None:
    rows = np.arange(4000)
    bits = flip_bits(1, np.zeros(4000, dtype=int), rows)
    assert bits.shape == (4000, 2)
    assert np.all(np.abs(bits.mean(axis=0) - 0.5) < 0.04)
    assert abs(np.corrcoef(bits.T)[0, 1]) < 0.06
    for other in (flip_bits(2, np.zeros(4000, dtype=int), rows), flip_bits(1, np.ones(4000, dtype=int), rows)):
        assert 0.4 < np.mean(bits == other) < 0.6
    one = flip_bits(1, np.zeros(1, dtype=int), rows[7:8])
    np.testing.assert_array_equal(one[0], bits[7])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_readers_change_nothing(make_store: MakeStore, context: str) -> None:
    path = make_store(n=300, side=16)
    offered = prepare(path, TrainingConfig())

    def batches(workers: int) -> list[dict[str, torch.Tensor]]:
        dataset = PixelDataset(path, offered.train, PixelInput(("xz", "yz")), flip_seed=3)
        sampler = BlockShuffle(offered.train.rows, 3)
        sampler.set_epoch(2)
        how = {"multiprocessing_context": context} if workers else {}
        loader = DataLoader(dataset, 32, sampler=sampler, collate_fn=as_batch, num_workers=workers, **how)
        return list(loader)

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) == -(-len(offered.train.rows) // 32)
    for one, other in zip(alone, shared, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("pixels", "labels", "weight"))


def test_batch_holds_the_events_asked_for(make_store: MakeStore) -> None:
    """Against reading each event by itself; also over the border of a block."""
    path = make_store(n=300, side=16)
    offered, reads = prepare(path, TrainingConfig()), PixelInput(("xz", "yz"), 2)
    at = np.random.default_rng(5).permutation(len(offered.train.rows))[:50]
    batch = PixelDataset(path, offered.train, reads).__getitems__([Draw(int(i), 0) for i in at])
    with EventStore(path) as store:
        for i, position in enumerate(at):
            row = int(offered.train.rows[position])
            np.testing.assert_array_equal(batch["pixels"][i].numpy(), reads.images(store.maps(row))[0])
            event = store.read(slice(row, row + 1))
            assert batch["labels"][i] == event.label[0]
            assert batch["weight"][i] == event["weight"][0]


def test_a_share_of_the_batches_is_at_half_resolution(make_store: MakeStore) -> None:
    path = make_store(n=300, side=16)
    offered, reads = prepare(path, TrainingConfig()), PixelInput(("xz", "yz"), 2)
    dataset, found = PixelDataset(path, offered.train, reads, coarser=0.5), Counter[str]()
    with EventStore(path) as store:
        for at in range(60):
            maps = store.maps(int(offered.train.rows[at]))
            images = {"full": maps, "sum": maps.coarsen(2, "sum"), "mean": maps.coarsen(2, "mean")}
            given = dataset.__getitems__([Draw(at, 0)])["pixels"][0].numpy()
            (kind,) = (name for name, one in images.items() if np.array_equal(reads.images(one)[0], given))
            found[kind] += 1
    assert 20 <= found["full"] <= 40
    assert min(found["sum"], found["mean"]) >= 6


def test_validation_is_never_mirrored(make_store: MakeStore) -> None:
    path = make_store(n=100, side=16)
    offered = prepare(path, TrainingConfig())
    plain, flipping = (PixelDataset(path, offered.val, PixelInput(("xz", "yz")), flip_seed=s) for s in (None, 1))
    draws = list(InOrder(len(offered.val.rows)))
    assert torch.equal(plain.__getitems__(draws)["pixels"], flipping.__getitems__(draws)["pixels"])
    in_training = [Draw(d.at, 0) for d in draws]
    assert not torch.equal(plain.__getitems__(in_training)["pixels"], flipping.__getitems__(in_training)["pixels"])


def test_events_without_label_are_left_out_and_counted(make_store: MakeStore) -> None:
    offered = prepare(make_store(n=100, side=16, unlabelled=10), TrainingConfig())
    assert offered.counts["without_label"] == {"train": 8, "val": 2}
    assert offered.train.rows.min() >= 10
    assert sum(offered.counts["train"].values()) == len(offered.train.rows) == 72


def test_class_weights_balance_and_keep_the_sum() -> None:
    sample = Sample(np.arange(6), np.array([0, 0, 0, 0, 1, 1]), np.array([1, 1, 1, 1, 2, 4], dtype=np.float32))
    np.testing.assert_array_equal(class_weights(sample, "none", 3), [1, 1, 1])
    factor = class_weights(sample, "balanced", 3)
    total = np.bincount(sample.label, weights=sample.weight * factor[sample.label])
    np.testing.assert_allclose(total, [5, 5])
    assert factor[2] == 1


def test_balanced_weights_of_training_apply_to_validation(make_store: MakeStore) -> None:
    path = make_store(n=200, side=16)
    plain, balanced = (prepare(path, TrainingConfig(class_weights=k)) for k in ("none", "balanced"))
    factor = class_weights(plain.train, "balanced", 3)
    np.testing.assert_allclose(balanced.val.weight, plain.val.weight * factor[plain.val.label])


def test_fingerprint_tells_stores_apart(make_store: MakeStore) -> None:
    config = TrainingConfig()
    one, again, other = (prepare(make_store(n=40, side=16, seed=s), config).fingerprint for s in (1, 1, 2))
    assert one == again != other


def store_with(tmp_path: Path, **columns: object) -> Path:
    """Ten events without maps or with impossible columns."""
    given_columns = {"run": [1] * 10, "subrun": [0] * 10, "event": range(10), "source": [0] * 10, **columns}
    batch = EventBatch.make({k: np.array(list(v)) for k, v in given_columns.items()}, ["s"])  # type: ignore[call-overload]
    path = tmp_path / "bad.h5"
    with EventWriter.create(path, Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.finish(split=np.zeros(10, dtype="u1"))
    return path


def maps_with_tracks(path: Path, n_tracks: Sequence[int]) -> Path:
    """Empty maps of events with so many tracks; -1: nothing is known of what is seen."""
    n = len(n_tracks)
    given = {"run": np.ones(n), "subrun": np.zeros(n), "event": np.arange(n), "source": np.zeros(n)}
    given |= {"nu_pdg": np.full(n, 14), "current": np.ones(n), "n_tracks": np.array(n_tracks)}
    batch = EventBatch.make(
        given, ["s"], pixelmap=PixelMaps.from_dense(np.zeros((n, 2, 16, 16)), MapSpec(shape=(16, 16)))
    )
    with EventWriter.create(path, Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.finish(split=(np.arange(n) % 4 == 3).astype("u1"))
    return path


def test_events_of_which_nothing_is_seen_get_no_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two files as one; of a third of the training events nothing is known."""
    files = [
        maps_with_tracks(tmp_path / "one.h5", [2, -1, 2, 2] * 2),
        maps_with_tracks(tmp_path / "two.h5", [-1, 1, 1, 1] * 2),
    ]
    config = TrainingConfig(preset="nuadapt-vlm")
    offered = prepare(files, config)
    assert "33.3% of the training events" in caplog.text
    dataset = PixelDataset(files, offered.train, PixelInput(("xz", "yz")), reasons=1.0, classes=offered.task.classes)
    reasons = dataset.__getitems__([Draw(at, 0) for at in range(12)])["reasons"]
    assert [bool(reason) for reason in reasons] == [True, False, True] * 2 + [False, True, True] * 2
    caplog.clear()
    prepare(maps_with_tracks(tmp_path / "all.h5", [2] * 8), config)
    assert not caplog.messages


def test_reasons_of_which_none_can_be_written_are_refused(tmp_path: Path) -> None:
    unseen = maps_with_tracks(tmp_path / "unseen.h5", [-1] * 8)
    with pytest.raises(DataError, match=r"no visible truth.*language\.reasons=0"):
        prepare(unseen, TrainingConfig(preset="nuadapt-vlm"))
    for words in (LanguageConfig(reasons=0), LanguageConfig(shots=2)):
        prepare(unseen, TrainingConfig(preset="nuadapt-vlm", language=words))
    prepare(unseen, TrainingConfig(preset="vit"))


def test_stores_that_cannot_train_are_refused(make_store: MakeStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pixel maps"):
        prepare(store_with(tmp_path), TrainingConfig())
    with pytest.raises(DataError, match="no labelled events in the split 'train'"):
        prepare(make_store(n=10, side=16, unlabelled=10), TrainingConfig())
