"""Small stores, untrained models as run folders, and their evaluations: all that a service is started with.

As a script, ``making.py FOLDER`` makes them, for a service of its own process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from nuadapt.evaluation.evaluate import evaluate
from nuadapt.evaluation.explain.files import Explained, write_explained
from nuadapt.evaluation.gallery import read_gallery
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.cloud import Clouds, CloudSpec, kinematics, minerva_spec
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.store import EventWriter, Layout
from nuadapt.events.tasks import load_task
from nuadapt.models.inputs import CloudInput, PixelInput, Reads, offers
from nuadapt.models.registry import build_model, load_preset
from nuadapt.record import make_record, write_json

SIDE, N = 32, 60
SPEC = MapSpec(shape=(SIDE, SIDE))
REASON = "There is a long muon-like track and no shower."


def pixel_batch(n: int = N, seed: int = 1) -> EventBatch:
    """Events with maps, truth, visible truth and particles; the last one has no class, the one before no energy."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    images = np.where(rng.random((n, 2, SIDE, SIDE)) < 0.05, rng.exponential(0.002, (n, 2, SIDE, SIDE)), 0.0)
    nu_pdg = np.choose(label, [12, -14, 14])
    nu_pdg[-1] = 16
    current = np.choose(label, [1, 1, 2])
    current[-1] = 1
    energy = rng.uniform(0.2, 10, n)
    energy[-2] = np.nan
    given: dict[str, Any] = {
        "run": np.full(n, seed),
        "subrun": np.arange(n) // 20,
        "event": rng.permutation(n),
        "source": np.zeros(n),
        "weight": rng.uniform(0.5, 2, n),
        "nu_pdg": nu_pdg,
        "current": current,
        "mode": rng.integers(1, 5, n),
        "nu_energy": energy,
        "q3": rng.uniform(0, 2, n),
        "vertex_x": np.full(n, 8.0),
        "vertex_y": np.full(n, 7.0),
        "vertex_z": np.full(n, 4.0),
        "n_tracks": rng.integers(1, 4, n),
        "n_showers": np.zeros(n),
        "muon_track_length": np.where(label == 1, 150.0, np.nan),
        "deposited_energy": energy / 2,
        "map_fraction": np.ones(n),
    }
    momenta = [np.array([[0.1, 0.2, 1.0, 1.1], [0.0, 0.0, 0.5, 1.06]])] * n
    particles = Particles.from_lists([np.array([13, 2212])] * n, momenta)
    maps = PixelMaps.from_dense(images, SPEC, np.zeros((n, 2, 2)))
    return EventBatch.make(given, ["toy.h5"], particles, maps)


def cloud_batch(n: int = 80, seed: int = 2) -> EventBatch:
    """Events with clouds, pions and available energy. Keys repeat, as in spills with several interactions."""
    rng = np.random.default_rng(seed)
    spec = minerva_spec("beam")
    counts = rng.integers(1, 6, n)
    total = int(counts.sum())
    p3 = rng.normal(0, 0.3, (total, 3)) + np.array([0, 0, 1.0])
    columns = kinematics(p3, np.linalg.norm(p3, axis=1) + 0.1) | {"type": rng.integers(1, 9, total)}
    columns |= {name: rng.uniform(0.001, 0.01, total) for name in ("dedx", "x", "y", "z", "time")}
    clouds = Clouds.make(spec, np.concatenate([[0], np.cumsum(counts)]), columns)
    number = np.arange(n)
    given: dict[str, Any] = {
        "run": np.full(n, 7),
        "subrun": np.zeros(n),
        "event": number // 2,
        "source": np.zeros(n),
        "entry": number,
        "nu_pdg": np.full(n, 14),
        "current": rng.integers(1, 3, n),
        "mode": rng.integers(1, 5, n),
        "n_charged_pions": rng.integers(0, 3, n),
        "n_neutral_pions": rng.integers(0, 2, n),
        "n_protons": rng.integers(0, 3, n),
        "nu_energy": rng.uniform(1, 10, n),
        "q3": rng.uniform(0, 2, n),
        "available_energy_minerva_ml": rng.uniform(0.1, 3, n),
        **{name: rng.uniform(0, 1, n) for name in _energies(spec)},
    }
    return EventBatch.make(given, ["toy.root"], cloud=clouds)


def _energies(spec: CloudSpec) -> list[str]:
    """Event-level energies of these clouds."""
    from nuadapt.events.schema import fields_of

    return [f.name for f in fields_of("feature") if f.unit == "GeV" and f.name in spec.features]


def write_store(path: Path, batch: EventBatch) -> Path:
    """A finished store, split 50 : 25 : 25 in turn."""
    split = np.array([0, 0, 1, 2], dtype="u1")[np.arange(len(batch)) % 4]
    with EventWriter.create(path, Layout.of(batch), {"stage": "toy"}) as writer:
        writer.append(batch)
        writer.finish(split)
    return path


def write_run(folder: Path, preset: str, task: str, reads: Reads, seed: int = 1) -> Path:
    """A run folder of a model with random weights, as training leaves it."""
    torch.manual_seed(seed)
    question, architecture = load_task(task), load_preset(preset)
    network = build_model(architecture, classes=question.classes, **offers(reads))
    with torch.no_grad():
        for weights in network.parameters():  # fresh ones may give all events the same answer
            weights += 0.1 * torch.randn(weights.shape)
    folder.mkdir(parents=True)
    save_file({n: t.contiguous() for n, t in network.state_dict().items()}, folder / "model.safetensors")
    about = {"architecture": architecture, "task": question.as_dict(), "input": reads.as_dict(), "seed": seed}
    if isinstance(reads, PixelInput):
        about["spec"] = SPEC.as_dict()
    write_json(folder / "record.json", make_record("train", {}, preset=preset, status="finished", **about))
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    return folder


def add_reasons(evaluation: Path) -> None:
    """Explained events as a model that gives reasons leaves them: evidence of known values, one sentence for all."""
    gallery = read_gallery(evaluation / "gallery.npz")
    shape = (len(gallery), 2, SIDE // 2, SIDE // 2)
    evidence = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 1000
    events = [{"key": e["key"], "target": e["label"], "reason": REASON} for e in gallery.events]
    write_explained(evaluation / "explained.npz", Explained(evidence, 2, events, "visible truth"))


def make_place(folder: Path) -> Path:
    """``maps.h5`` with runs ``cnn``, ``other`` and their evaluations; ``clouds.h5`` with ``pion`` and ``energy``."""
    maps = write_store(folder / "maps.h5", pixel_batch())
    clouds = write_store(folder / "clouds.h5", cloud_batch())
    pixels = PixelInput(("xz", "yz"), coarsen=2)
    for seed, name in enumerate(("cnn", "other"), start=1):
        run = write_run(folder / "runs" / name, "siamese-cnn-small", "flavour", pixels, seed)
        split = "all" if name == "cnn" else "test"
        evaluate(run, maps, folder / "evaluations" / f"{name}-{split}", split=split, resamples=20)
    add_reasons(folder / "evaluations" / "cnn-all")
    spec = minerva_spec("beam")
    tokens = CloudInput(spec.types, spec.frame)
    for task, name in (("pion", "pion"), ("available_energy", "energy")):
        run = write_run(folder / "runs" / name, "mlp-global", task, tokens)
        split = "all" if name == "pion" else "test"
        evaluate(run, clouds, folder / "evaluations" / name, split=split, resamples=20)
    return folder


def map_places(place: Path) -> tuple[str, ...]:
    """What a service of pixel maps is started with."""
    names = ("runs/cnn", "runs/other", "evaluations/cnn-all", "evaluations/other-test")
    return tuple(str(place / name) for name in names)


def cloud_places(place: Path) -> tuple[str, ...]:
    """What a service of clouds is started with."""
    names = ("runs/pion", "runs/energy", "evaluations/pion", "evaluations/energy")
    return tuple(str(place / name) for name in names)


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_place(Path(sys.argv[1]))
