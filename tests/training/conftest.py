"""A small store of synthetic events that a network can tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.store import EventWriter, Layout


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_events(n: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 2, side, side) in GeV and classes (n,): 0 a blob at the vertex, 1 a long track, 2 a blob apart."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, n)
    images = np.zeros((n, 2, side, side))
    middle, reach = side // 2, side // 4
    for i, kind in enumerate(label):
        for view in range(2):
            if kind == 1:
                slope = random.uniform(-0.4, 0.4)
                z = np.arange(2, side - 2)
                images[i, view, (middle + slope * (z - middle)).astype(int), z] = random.gamma(4, 0.0005, len(z))
            else:
                z0 = 2 if kind == 0 else middle
                at = random.normal(np.array([middle, z0 + reach / 2]), reach / 4, (40, 2))
                at = np.clip(at, 0, side - 1).astype(int)
                np.add.at(images[i, view], (at[:, 0], at[:, 1]), random.gamma(4, 0.001, 40))
    return images, label


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a store: ``make_store(n=..., side=..., seed=..., unlabelled=...)``."""

    def make(n: int = 240, side: int = 32, seed: int = 1, unlabelled: int = 0) -> Path:
        path = tmp_path_factory.mktemp("store") / "events.h5"
        images, label = draw_events(n, side, seed)
        nu_pdg = np.choose(label, [12, 14, 14])
        nu_pdg[:unlabelled] = 16
        current = np.choose(label, [1, 1, 2])
        current[:unlabelled] = 1
        maps = PixelMaps.from_dense(images, MapSpec(shape=(side, side)))
        given = {
            "run": np.full(n, seed),
            "subrun": np.zeros(n),
            "event": np.arange(n),
            "source": np.zeros(n),
            "weight": np.random.default_rng(seed + 1).uniform(0.5, 1.5, n),
            "nu_pdg": nu_pdg,
            "current": current,
        }
        batch = EventBatch.make(given, ["synthetic"], pixelmap=maps)
        with EventWriter.create(path, Layout.of(batch), {"synthetic": {"n": n, "side": side, "seed": seed}}) as writer:
            writer.append(batch)
            writer.finish(split=(np.arange(n) % 5 == 4).astype("u1"))
        return path

    return make
