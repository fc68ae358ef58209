"""Made-up events, and runs that answer about them: small, quick to make, and with everything that a page can show.

Also a program: ``python made_up.py FOLDER`` makes both folders there, to look at the page by hand.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from nuadapt.evaluation.calibrate import calibrate
from nuadapt.evaluation.evaluate import evaluate
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.models.reasons.claims import claims_of_truth
from nuadapt.models.reasons.writer import write_reason
from nuadapt.record import read_json, write_json
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.run import SimulationPlan, simulate
from nuadapt.training.config import load_recipe
from nuadapt.training.fit import train

SPEC = MapSpec(shape=(256, 256), pitch=(0.5, 0.5))
MASS = {13: 0.10566, 11: 0.000511, 22: 0.0, 2212: 0.93827, 211: 0.13957}  # GeV, rounded: these events are made up
MIP = 0.001  # GeV in a pixel of 5 mm
CM_PER_GEV = {13: 200.0, 211: 110.0, 2212: 45.0}  # about the length of a track
VERTEX = (6.0, -12.0, 240.0)  # cm
ORIGIN = ((-58.0, 200.0), (-76.0, 200.0))  # of the views xz and yz
PIXEL_RECIPE = """
preset: siamese-cnn-small
input: {coarsen: 4}
optimizer: {lr: 2.0e-3, warmup_epochs: 0.1}
epochs: 2
batch_size: 16
patience: 2
workers: 0
"""
TINY_CLOUDS = ["preset=mlp-global", "epochs=2", "batch_size=64", "workers=0", "log_every=1", "precision=float32"]


def particles_of(label: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """PDG codes (n,) and four-momenta (n, 4), GeV, of a nu_e CC (0), a nu_mu CC (1) or an NC (2) event."""
    pdg = [[11, 2212], [13, 2212], [22, 22, 2212]][label] + ([211] if rng.random() < 0.3 else [])
    p4 = []
    for code in pdg:
        kinetic = rng.uniform(0.04, 0.3) if code == 2212 else rng.uniform(0.15, 0.7)
        energy = kinetic + MASS[code]
        cosine, phi = rng.uniform(0.55, 1), rng.uniform(-np.pi, np.pi)
        sine, p = np.sqrt(1 - cosine**2), np.sqrt(energy**2 - MASS[code] ** 2)
        p4.append([p * sine * np.cos(phi), p * sine * np.sin(phi), p * cosine, energy])
    return np.array(pdg), np.array(p4)


def deposits(code: int, p4: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points and energies (n, 4): x, y, z from the vertex in cm and GeV, every quarter of a centimetre or so."""
    along = p4[:3] / np.linalg.norm(p4[:3])
    kinetic = p4[3] - MASS[code]
    if code in CM_PER_GEV:
        path = np.arange(0, CM_PER_GEV[code] * kinetic, 0.25)
        loss = rng.gamma(6, MIP / 12, len(path)) * (1 + 3 * np.exp((path - path[-1]) / 2)) if len(path) else path
        return np.column_stack([path[:, None] * along, loss])
    gap = rng.exponential(18) if code == 22 else 0.0
    n = int(kinetic / 0.0006)
    depth = rng.gamma(3, 9, n)  # cm, about a shower in argon
    aside = rng.normal(0, 0.5 + 0.05 * depth[:, None], (n, 3))
    return np.column_stack([(gap + depth)[:, None] * along + aside, rng.gamma(2, 0.0003, n)])


def draw(points: np.ndarray) -> np.ndarray:
    """Both views (2, rows, columns) in GeV of points (n, 4)."""
    image = np.zeros((2, *SPEC.shape))
    for view, axis in enumerate((0, 1)):
        row = np.floor((VERTEX[axis] + points[:, axis] - ORIGIN[view][0]) / SPEC.pitch[0]).astype(int)
        col = np.floor((VERTEX[2] + points[:, 2] - ORIGIN[view][1]) / SPEC.pitch[1]).astype(int)
        inside = (row >= 0) & (col >= 0) & (row < SPEC.shape[0]) & (col < SPEC.shape[1])
        np.add.at(image[view], (row[inside], col[inside]), points[inside, 3])
    return image * (image > 5e-5)


def pixel_batch(n: int, seed: int) -> EventBatch:
    """``n`` events with pixel maps, particles and visible truth."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    states = [particles_of(int(kind), rng) for kind in label]
    images = np.stack(
        [
            draw(np.concatenate([deposits(int(c), p, rng) for c, p in zip(pdg, p4, strict=True)]))
            for pdg, p4 in states
        ]
    )
    leading = np.array([p4[0, 3] - MASS[int(pdg[0])] for pdg, p4 in states])
    muon, electron = label == 1, label == 0
    unknown = np.full(n, np.nan)
    given = {
        "run": np.full(n, seed),
        "subrun": np.zeros(n),
        "event": np.arange(n),
        "source": np.zeros(n),
        "nu_pdg": np.choose(label, [12, 14, 14]),
        "current": np.choose(label, [1, 1, 2]),
        "mode": rng.choice([1, 2, 3, 4], n),
        "nu_energy": np.array([p4[:, 3].sum() for _, p4 in states]) + rng.uniform(0, 0.3, n),
        **{f"vertex_{axis}": np.full(n, VERTEX[i]) for i, axis in enumerate("xyz")},
        "deposited_energy": images.sum(axis=(1, 2, 3)) / 2,
        "muon_track_length": np.where(muon, CM_PER_GEV[13] * leading, unknown),
        "muon_contained": np.where(muon, 1, -1),
        "shower_energy": np.where(muon, unknown, leading),
        "shower_gap": np.where(muon, unknown, np.where(electron, 0.0, 15.0)),
        "n_tracks": np.where(muon, 2, 1),
        "n_showers": np.where(muon, 0, np.where(electron, 1, 2)),
        "n_michel": np.where(muon, 1, 0),
    }
    maps = PixelMaps.from_dense(images, SPEC, np.broadcast_to(np.array(ORIGIN), (n, 2, 2)))
    particles = Particles.from_lists([pdg for pdg, _ in states], [p4 for _, p4 in states])
    return EventBatch.make(given, ["made up"], particles, maps)


def pixel_store(path: Path, n: int = 240, seed: int = 5) -> Path:
    """A store of such events, split train, validation, test."""
    batch = pixel_batch(n, seed)
    with EventWriter.create(path, Layout.of(batch), {"stage": "simulate made-up", "seed": seed}) as writer:
        writer.append(batch)
        writer.finish((np.arange(n) % 5 // 2).astype("u1"))
    return path


def told(table: Predictions, batch: EventBatch) -> Predictions:
    """The table with reasons: of every third event those of its neighbour, so that some claims are wrong."""
    claims, rng = claims_of_truth(batch), np.random.default_rng(3)
    chosen = [claims[(i + 1) % len(claims)] if i % 3 == 0 else claims[i] for i in range(len(claims))]
    labels = [table.classes[label] for label in table.label]
    words = [write_reason(c, label, rng) if c.stated() else "" for c, label in zip(chosen, labels, strict=True)]
    return replace(table, reason=np.array(words))


def second_run(first: Path, out: Path, store: Path) -> None:
    """An evaluation like ``first`` with less certain answers, other labels for some events, reasons, and no model."""
    table, rng = Predictions.read(first / "predictions.parquet"), np.random.default_rng(8)
    p = table.probability * 0.8 + rng.dirichlet([0.6] * len(table.classes), len(table)) * 0.2
    probability = p / p.sum(axis=1, keepdims=True)
    with EventStore(store) as events:
        batch = events.read(np.arange(len(table)))
    changed = replace(table, probability=probability, label=probability.argmax(axis=1), sets=None, model="other")
    record = read_json(first / "record.json")
    record["model"] = {**record["model"], "id": "other", "record": {**record["model"]["record"], "seed": 2}}
    record["model"].pop("calibration", None)
    write_json(out / "record.json", record)
    for name in ("metrics.json",):
        write_json(out / name, read_json(first / name))
    (out / "curves.npz").write_bytes((first / "curves.npz").read_bytes())
    told(changed, batch).write(out / "predictions.parquet")


def pixel_folder(folder: Path) -> Path:
    """``folder`` with events.h5, the run model, and the evaluations cnn (of it) and other."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(PIXEL_RECIPE)
    store = pixel_store(folder / "events.h5")
    run = train(load_recipe(folder / "recipe.yaml", []), store, folder / "model")
    calibrate(run, store)
    evaluate(run, store, folder / "cnn", split="all", resamples=50)
    second_run(folder / "cnn", folder / "other", store)
    return folder


def cloud_folder(folder: Path, events: int = 400) -> Path:
    """``folder`` with events.h5 of clouds, and the evaluations pion (classes) and energy with their models."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "events.h5"
    simulate(SimulationPlan(MinervaConfig(), seed=2, events=events), store)
    for name in ("pion", "energy"):
        run = train(load_recipe(f"{name}-smoke", TINY_CLOUDS), store, folder / f"{name}-model")
        if name == "pion":
            calibrate(run, store)
        evaluate(run, store, folder / name, split="test", resamples=50)
    return folder


if __name__ == "__main__":
    place = Path(sys.argv[1])
    pixel_folder(place / "pixels")
    cloud_folder(place / "clouds")
