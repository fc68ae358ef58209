"""Is reading the bottleneck of training? Loader events/s over model events/s, measured in one process.

    python benchmarks/loader.py [--data EVENTS.h5] [--workers 1] [--threads 2] [--coarsen 4]

Without ``--data`` a store of synthetic events is made, with as many pixels as a liquid-argon event has. The loader is
measured alone over a whole epoch, with the shuffling and mirror images of training; the model is measured alone on a
batch in memory, forward, backward and update. The ratio must be at least 3. Exit code 1 if it is not.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.store import EventWriter, Layout
from nuadapt.models.inputs import PixelInput
from nuadapt.models.registry import build_model, load_preset
from nuadapt.models.run import use_bf16
from nuadapt.training.config import TrainingConfig
from nuadapt.training.data import BlockShuffle, PixelDataset, as_batch, prepare

REQUIRED = 3.0
PIXELS = 1500  # per view; measured 700 to 2500 in simulated events of 0.5 to 5 GeV


def synthetic_store(path: Path, n: int, side: int = 512) -> Path:
    """``n`` events of random pixels; what they show does not matter for speed."""
    random = np.random.default_rng(1)
    spec = MapSpec(shape=(side, side))
    layout = None
    for start in range(0, n, 256):
        m = min(256, n - start)
        flat = np.sort(random.integers(0, side * side, (m * 2, PIXELS)), axis=1).ravel()
        offsets = np.arange(m * 2 + 1, dtype=np.int64) * PIXELS
        row, col = (flat // side).astype("u2"), (flat % side).astype("u2")
        value = random.gamma(2, 0.0005, len(flat)).astype("f4")
        maps = PixelMaps(spec, offsets, row, col, value, np.zeros((m, 2, 2), dtype="f4"))
        given = {"run": [1] * m, "subrun": [0] * m, "event": np.arange(start, start + m), "source": [0] * m}
        truth = {"nu_pdg": random.choice([12, 14], m), "current": random.integers(1, 3, m)}
        batch = EventBatch.make({k: np.asarray(v) for k, v in (given | truth).items()}, ["synthetic"], pixelmap=maps)
        if layout is None:
            layout = Layout.of(batch)
            writer = EventWriter.create(path, layout, {"benchmark": "loader"})
        writer.append(batch)
    writer.finish(split=(np.arange(n) % 10 == 9).astype("u1"))
    writer.close()
    return path


def loader_speed(data: Path, config: TrainingConfig, workers: int) -> float:
    """Events/s of one epoch without a model."""
    offered = prepare(data, config)
    reads = PixelInput(offered.spec.views, config.input.coarsen, config.input.grey)
    dataset = PixelDataset(data, offered.train, reads, flip_seed=1)
    sampler = BlockShuffle(offered.train.rows, 1)
    loader = DataLoader(dataset, config.batch_size, sampler=sampler, collate_fn=as_batch, num_workers=workers)
    began = time.perf_counter()
    n = sum(len(batch["labels"]) for batch in loader)
    return n / (time.perf_counter() - began)


def model_speed(side: int, config: TrainingConfig, *, bf16: bool, batches: int = 6) -> float:
    """Events/s of forward, backward and update; the best of ``batches``."""
    torch.manual_seed(1)
    model = build_model(load_preset(config.preset), n_views=2, classes=("a", "b", "c")).train()
    update = torch.optim.AdamW(model.parameters(), config.optimizer.lr)
    pixels = torch.rand(config.batch_size, 2, side, side) * (torch.rand(config.batch_size, 2, side, side) > 0.95)
    labels = torch.randint(0, 3, (config.batch_size,))
    best = float("inf")
    for _ in range(batches):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(pixels, labels=labels)["loss"]
        loss.backward()
        update.step()
        update.zero_grad()
        best = min(best, time.perf_counter() - began)
    return config.batch_size / best


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--events", type=int, default=4000, help="size of the synthetic store")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--coarsen", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = TrainingConfig(batch_size=given.batch, workers=given.workers)
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or synthetic_store(Path(folder) / "events.h5", given.events)
        offered = prepare(data, config)
        reads = PixelInput(offered.spec.views, given.coarsen)
        config = TrainingConfig(
            batch_size=given.batch, input=type(config.input)(reads.views, given.coarsen), workers=given.workers
        )
        side = -(-offered.spec.shape[0] // given.coarsen)
        print(f"{side} x {side} pixels, 2 views, batch {given.batch}, {given.threads} threads")
        print(f"load average at start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        loader = {workers: loader_speed(data, config, workers) for workers in sorted({0, given.workers})}
        for workers, speed in loader.items():
            print(f"loader, {workers} reader processes: {speed:8.0f} events/s")
        model = {name: model_speed(side, config, bf16=bf16) for name, bf16 in (("float32", False), ("bf16", True))}
        for name, speed in model.items():
            print(f"model, {name:8}:             {speed:8.0f} events/s")
    used = model["bf16" if use_bf16("auto") else "float32"]
    ratio = loader[given.workers] / used
    print(f"ratio loader / model as trained here: {ratio:.1f} (required {REQUIRED:.0f})")
    return 0 if ratio >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
