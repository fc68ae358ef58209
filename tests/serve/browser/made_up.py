"""Made-up events and answers about them: quick to make, no model needed, and with everything that a page can show.

Also a program: ``python made_up.py FOLDER`` makes both folders there, to look at the page by hand.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.curves import curves_of
from nuadapt.evaluation.energies import evaluate_energies
from nuadapt.evaluation.evaluate import EvaluationConfig, all_metrics, evaluation_record
from nuadapt.evaluation.explain.files import EXPLAINED, Explained, write_explained
from nuadapt.evaluation.metrics import Sample
from nuadapt.evaluation.npz import write_npz
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.cloud import Clouds, kinematics, minerva_spec
from nuadapt.events.flat import offsets_of
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.events.tasks import Task, load_task
from nuadapt.models.reasons.claims import claims_of_truth
from nuadapt.models.reasons.writer import write_reason
from nuadapt.record import write_json

SPEC = MapSpec(shape=(256, 256), pitch=(0.5, 0.5))
MASS = {13: 0.10566, 11: 0.000511, 22: 0.0, 2212: 0.93827, 211: 0.13957}  # GeV, rounded: these events are made up
MIP = 0.001  # GeV in a pixel of 5 mm
CM_PER_GEV = {13: 200.0, 211: 110.0, 2212: 45.0}  # about the length of a track
VERTEX = (6.0, -12.0, 240.0)  # cm
ORIGIN = ((-58.0, 200.0), (-76.0, 200.0))  # of the views xz and yz


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
        [draw(np.concatenate([deposits(int(c), p, rng) for c, p in zip(pdg, p4, strict=True)])) for pdg, p4 in states]
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


def guesses(label: np.ndarray, n_classes: int, sharpness: float, seed: int) -> np.ndarray:
    """Class probabilities (N, C) that are right more often than not."""
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1, (len(label), n_classes))
    score[np.arange(len(label)), label] += sharpness
    p = np.exp(1.5 * score)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def maker(name: str, task: Task, reads: str) -> Any:
    """What an evaluation notes about a model, without the model."""
    about = {"types": ["muon"]} if reads == "cloud" else {"views": list(SPEC.views), "coarsen": 4}
    record = {"stage": "train", "seed": 1, "name": name, "task": task.as_dict(), "input": about}
    reader = SimpleNamespace(as_dict=lambda: about, views=SPEC.views)
    return SimpleNamespace(id=name, classes=task.classes, task=task, input=reader, record=record)


def write_answers(out: Path, store: Path, table: Predictions, model: Any, *, calibrated: bool = False) -> Path:
    """The folder that ``nuadapt evaluate`` would write for the answers ``table`` about all events of ``store``."""
    config = EvaluationConfig("all", bootstrap=BootstrapConfig(50))
    with EventStore(store) as events:
        record = evaluation_record(model, events, np.arange(len(events)), config)
    if calibrated:
        record["model"]["calibration"] = {"temperature": 1.21, "conformal": {"coverage": 0.9}}
    write_json(out / "record.json", record)
    table.write(out / "predictions.parquet")
    write_npz(out / "curves.npz", curves_of(Sample.of(table)))
    write_json(out / "metrics.json", all_metrics(table, config))
    return out


def with_reasons(table: Predictions, batch: EventBatch) -> Predictions:
    """The table with reasons: of every third event those of its neighbour, so that some claims are wrong."""
    claims, rng = claims_of_truth(batch), np.random.default_rng(3)
    chosen = [claims[(i + 1) % len(claims)] if i % 3 == 0 else claims[i] for i in range(len(claims))]
    labels = [table.classes[label] for label in table.label]
    words = [write_reason(c, label, rng) if c.stated() else "" for c, label in zip(chosen, labels, strict=True)]
    return replace(table, reason=np.array(words))


def evidence_for(batch: EventBatch, table: Predictions, n: int) -> Explained:
    """Evidence of the first ``n`` events: for the label where much was deposited, against it elsewhere."""
    assert batch.pixelmap is not None
    coarse = batch.pixelmap.coarsen(4)
    images = np.stack([coarse.dense(i) for i in range(n)])  # (n, V, 64, 64)
    signs = np.where(images > np.quantile(images[images > 0], 0.4), 1.0, -0.6)
    told = [
        {"key": ["made up", int(table.run[i]), 0, int(table.event[i])], "target": table.classes[table.label[i]]}
        for i in range(n)
    ]
    return Explained(np.sqrt(images) * signs, 4, told, "truth")


def pixel_folder(folder: Path, n: int = 120) -> Path:
    """``folder`` with events.h5 and two evaluations: ``cnn`` with sets and evidence, ``vlm`` with reasons."""
    folder.mkdir(parents=True, exist_ok=True)
    store, batch, task = folder / "events.h5", pixel_batch(n, 5), load_task("flavour")
    with EventWriter.create(store, Layout.of(batch), {"stage": "simulate made-up", "seed": 5}) as writer:
        writer.append(batch)
        writer.finish((np.arange(n) % 5 // 2).astype("u1"))
    p = guesses(batch.label, 3, 2.5, 1)
    table = Predictions.of_batch(batch, p, task, "cnn")
    sets = np.where(p.max(axis=1, keepdims=True) > 0.9, p == p.max(axis=1, keepdims=True), p > 0.08)
    write_answers(folder / "cnn", store, replace(table, sets=sets), maker("cnn", task, "pixelmap"), calibrated=True)
    write_explained(folder / "cnn" / EXPLAINED, evidence_for(batch, table, 12))
    other = Predictions.of_batch(batch, guesses(batch.label, 3, 1.6, 2), task, "vlm")
    write_answers(folder / "vlm", store, with_reasons(other, batch), maker("vlm", task, "pixelmap"))
    return folder


def picture_pair(folder: Path) -> list[Path]:
    """One event as two grey pictures, as they are uploaded."""
    from PIL import Image

    maps = pixel_batch(1, 9).pixelmap
    assert maps is not None
    grey = np.clip(maps.dense(0) * 2e4, 0, 255).astype(np.uint8)
    files = [folder / f"12_{view}.png" for view in SPEC.views]
    for file, view in zip(files, grey, strict=True):
        Image.fromarray(view).save(file)
    return files


def cloud_batch(n: int, seed: int) -> EventBatch:
    """``n`` events with tokens in the frame of the beam."""
    rng, spec = np.random.default_rng(seed), minerva_spec("beam")
    counts = rng.integers(2, 9, n)
    total = int(counts.sum())
    first = np.zeros(total, dtype=bool)
    first[offsets_of(counts)[:-1]] = True
    energy = np.where(first, rng.uniform(1.5, 6, total), rng.gamma(1.2, 0.25, total) + 0.02)
    cosine, phi = np.where(first, 0.98, rng.uniform(-0.3, 1, total)), rng.uniform(-np.pi, np.pi, total)
    sine = np.sqrt(1 - cosine**2)
    p3 = energy[:, None] * np.column_stack([sine * np.cos(phi), sine * np.sin(phi), cosine])
    kind = np.where(first, 1, rng.integers(2, 8, total)).astype("u1")
    far = rng.gamma(2, 20, (total, 1))
    place = np.column_stack([np.zeros(total), np.zeros(total), np.full(total, 600.0)]) + far * p3 / energy[:, None]
    further = {"dedx": rng.gamma(3, 0.001, total), "time": rng.normal(3000, 5, total)}
    place[first] = (0, 0, 600)
    further |= {axis: place[:, i] for i, axis in enumerate("xyz")}
    columns = kinematics(p3, energy) | {"type": kind} | {k: v.astype("f4") for k, v in further.items()}
    recoil = np.bincount(np.repeat(np.arange(n), counts), np.where(first, 0, energy), n)
    given = {
        "run": np.full(n, seed),
        "subrun": np.zeros(n),
        "event": np.arange(n),
        "source": np.zeros(n),
        "nu_pdg": np.full(n, 14),
        "mode": rng.choice([1, 3, 4], n),
        "current": np.where(rng.random(n) < 0.8, 1, 2),
        "nu_energy": recoil + 4,
        "q3": rng.uniform(0.1, 2.5, n),
        "n_charged_pions": rng.integers(0, 3, n),
        "n_neutral_pions": rng.integers(0, 2, n),
        "n_protons": rng.integers(0, 3, n),
        "available_energy_minerva_ml": recoil * 0.9,
    }
    return EventBatch.make(given, ["made up"], cloud=Clouds(spec, offsets_of(counts), columns))


def cloud_folder(folder: Path, n: int = 120) -> Path:
    """``folder`` with events.h5 of clouds and two evaluations: ``pion`` of classes, ``recoil`` of energies."""
    folder.mkdir(parents=True, exist_ok=True)
    store, batch, task = folder / "events.h5", cloud_batch(n, 6), load_task("pion")
    with EventWriter.create(store, Layout.of(batch), {"stage": "simulate made-up", "seed": 6}) as writer:
        writer.append(batch)
        writer.finish((np.arange(n) % 5 // 2).astype("u1"))
    truth = task.label({name: batch[name] for name in task.columns}, n)
    table = Predictions.of_batch(batch, guesses(truth, 5, 2.0, 4), task, "pion", "cloud")
    write_answers(folder / "pion", store, table, maker("pion", task, "cloud"))
    made = maker("recoil", load_task("available_energy"), "cloud")
    rng = np.random.default_rng(7)
    made.input.arrays = lambda events: events["available_energy_minerva_ml"]
    made.input.check = lambda spec: None
    made.energy = lambda energy: np.asarray(energy, dtype=np.float64) * rng.lognormal(0.02, 0.2, len(energy))
    evaluate_energies(made, store, folder / "recoil", split="test", batch_size=64, bootstrap=BootstrapConfig(50))
    return folder


def add_models(place: Path, making: Any) -> None:
    """Models with random weights beside the evaluations; ``making`` is the module of the tests of the service."""
    from nuadapt.models.inputs import CloudInput, PixelInput

    spec = minerva_spec("beam")
    making.write_run(place / "pixels" / "untrained", "siamese-cnn-small", "flavour", PixelInput(SPEC.views, coarsen=4))
    tokens = CloudInput(spec.types, spec.frame)
    making.write_run(place / "clouds" / "untrained", "mlp-global", "available_energy", tokens)


def make_place(place: Path, making: Any) -> Path:
    """Both folders with models."""
    pixel_folder(place / "pixels")
    cloud_folder(place / "clouds")
    add_models(place, making)
    return place


def loaded(path: Path) -> Any:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(f"nuadapt_tests_serve_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    make_place(Path(sys.argv[1]), loaded(Path(__file__).parents[1] / "making.py"))
