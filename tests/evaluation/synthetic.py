"""Made-up events and a made-up model for the tests of evaluation and report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import GreyTransform, MapSpec, PixelMaps
from nuadapt.events.splits import assign_splits, hash_keys
from nuadapt.events.store import EventWriter, Layout
from nuadapt.events.tasks import Task, load_task

SIDE = 64


def tracks(rng: np.random.Generator, label: int, spec: MapSpec) -> np.ndarray:
    """A toy event, shape (V, rows, columns): a long track (1), a shower (0), or two stubs (2), GeV."""
    rows, cols = spec.shape
    image = np.zeros((spec.n_views, rows, cols), dtype=np.float32)
    length = {0: cols // 2, 1: (3 * cols) // 4, 2: cols // 5}[label]
    for view in range(spec.n_views):
        slope, start = rng.normal(0, 0.3), rows // 2
        for step in range(length):
            width = 1 + step // 6 if label == 0 and step > 4 else 1
            row = start + slope * step + rng.normal(0, width / 2, size=width)
            at = np.clip(np.round(row), 0, rows - 1).astype(int)
            np.add.at(image[view], (at, cols // 6 + step), rng.gamma(8, 0.0013 / 8, size=width))
    return image


def make_batch(n: int, seed: int, spec: MapSpec, *, has_truth: bool = True, origin: bool = True) -> EventBatch:
    """``n`` toy events with unequal weights."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    truth = {
        "nu_pdg": np.choose(label, [12, 14, 14]),
        "current": np.choose(label, [1, 1, 2]),
        "mode": rng.choice([1, 2, 3, 4], n),
        "nu_energy": rng.uniform(0.2, 10, n),
        "vertex_x": np.full(n, spec.shape[0] / 2 * spec.pitch[0]),
        "vertex_y": np.full(n, spec.shape[0] / 2 * spec.pitch[0]),
        "vertex_z": np.full(n, spec.shape[1] // 6 * spec.pitch[1]),
    }
    key = {"run": np.full(n, seed), "subrun": np.zeros(n), "event": np.arange(n), "source": np.zeros(n)}
    images = np.stack([tracks(rng, int(c), spec) for c in label]) if n else np.empty((0, spec.n_views, *spec.shape))
    if spec.value_unit == "grey":
        images = np.clip(images * 2e4, 0, 255).round()
    where = np.zeros((n, spec.n_views, 2)) if origin else None
    maps = PixelMaps.from_dense(images, spec, where)
    given: dict[str, Any] = key | {"weight": rng.uniform(0.5, 2, n)} | (truth if has_truth else {})
    return EventBatch.make(given, ["toy.h5"], pixelmap=maps, has_truth=has_truth)


def make_store(path: Path, n: int = 60, seed: int = 1, *, spec: MapSpec | None = None, **how: Any) -> Path:
    """A store of toy events, split 50 : 10 : 40."""
    batch = make_batch(n, seed, spec or MapSpec(shape=(SIDE, SIDE)), **how)
    hashes = hash_keys(batch["run"], batch["subrun"], batch["event"], batch["source"], batch.sources)
    with EventWriter.create(path, Layout.of(batch), {"stage": "toy", "seed": seed}) as writer:
        writer.append(batch)
        writer.finish(assign_splits(hashes, batch.label, (0.5, 0.1, 0.4)))
    return path


@dataclass(frozen=True)
class ToyInput:
    """Reads two views as they are."""

    views: tuple[str, ...] = ("xz", "yz")
    grey: GreyTransform = field(default_factory=GreyTransform)

    def images(self, maps: PixelMaps, extra_coarsen: int = 1) -> np.ndarray:
        maps = maps.coarsen(extra_coarsen)
        return np.stack([self.grey(maps.dense(i), maps.spec.value_unit) for i in range(len(maps))])

    def as_dict(self) -> dict[str, Any]:
        return {"views": list(self.views), "coarsen": 1}


@dataclass
class ToyModel:
    """Softmax of two hand-made numbers of the picture: how long it is and how much light it has."""

    id: str = "toy"
    sharpness: float = 1.0
    task: Task = field(default_factory=lambda: load_task("flavour"))
    input: ToyInput = field(default_factory=ToyInput)
    record: dict[str, Any] = field(default_factory=lambda: {"stage": "train", "seed": 1})
    calls: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return self.task.classes

    def posterior(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        hit = images > 0
        columns = hit.any(axis=2).sum(axis=2).mean(axis=1) / images.shape[3]  # (B,)
        width = hit.sum(axis=(1, 2, 3)) / np.maximum(hit.any(axis=2).sum(axis=(1, 2)), 1)
        noise = np.sin(1e4 * images.sum(axis=(1, 2, 3)))  # deterministic confusion
        score = np.stack([width - 2, 8 * (columns - 0.55), 8 * (0.4 - columns)], axis=1) + 3.5 * noise[:, None] * [
            1,
            -1,
            0.5,
        ]
        score = self.sharpness * score
        p = np.exp(score - score.max(axis=1, keepdims=True))
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float64)
