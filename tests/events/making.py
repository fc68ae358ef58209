"""Made-up events for the tests; as a script, a writer that a test kills.

``making.py STORE BATCHES PAUSE`` writes a store, or goes on with an unfinished one, and sleeps PAUSE seconds a batch.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.schema import FIELDS, PARTICLE_FIELDS
from nuadapt.events.store import EventWriter, Layout

SPEC = MapSpec(shape=(24, 20))
BATCH = 7
RECORD = {"stage": "test", "seed": 3}


def make_batch(first: int, n: int, *, truth: bool = True, particles: bool = True, maps: bool = True) -> EventBatch:
    """Events ``first`` to ``first + n``; event i is the same whatever batch it is made in."""
    numbers = np.arange(first, first + n)
    streams = [np.random.default_rng(int(i)) for i in numbers]
    columns = {"run": numbers // 5, "subrun": numbers % 3, "event": numbers, "weight": 0.5 + numbers % 2}
    source = numbers // 11  # a new source now and then
    names = tuple(f"folder/file_{i}.root" for i in range(int(source.max()) + 1)) if n else ()
    if truth:
        columns |= {
            "nu_pdg": np.array([12, -14, 14, 16, -12])[numbers % 5],
            "current": np.array([1, 1, 2])[numbers % 3],
            "mode": numbers % 8,
            "nu_energy": np.array([r.uniform(0.1, 10) for r in streams]),
        }
    counts = numbers % 4  # events without any particle occur
    momenta = [r.normal(size=(int(c), 4)) for r, c in zip(streams, counts, strict=True)]
    codes = [r.choice([2212, 211, -13], int(c)) for r, c in zip(streams, counts, strict=True)]
    images = np.zeros((n, SPEC.n_views, *SPEC.shape), dtype=np.float32)
    for image, stream, number in zip(images, streams, numbers, strict=True):
        lit = stream.random(image.shape) < (0.04 if number % 6 else 0)  # events without any pixel occur
        image[lit] = stream.exponential(0.001, int(lit.sum()))
    origin = np.array([r.normal(size=(SPEC.n_views, 2)) for r in streams]).reshape(n, SPEC.n_views, 2)
    return EventBatch.make(
        {**columns, "source": source},
        names,
        Particles.from_lists(codes, momenta) if particles else None,
        PixelMaps.from_dense(images, SPEC, origin) if maps else None,
        has_truth=truth,
    )


def differences(one: EventBatch, other: EventBatch) -> list[str]:
    """Names of all parts in which two batches differ, byte by byte (so NaN equals NaN); sources by name."""
    found = [n for n in FIELDS if (n in one.columns) != (n in other.columns)]
    for name in set(one.columns) & set(other.columns) - {"source"}:
        if one[name].dtype != other[name].dtype or one[name].tobytes() != other[name].tobytes():
            found.append(name)
    if [one.sources[i] for i in one["source"]] != [other.sources[i] for i in other["source"]]:
        found.append("source")
    if (one.particles is None) != (other.particles is None) or (one.pixelmap is None) != (other.pixelmap is None):
        return [*found, "representations"]
    if one.particles is not None and other.particles is not None:
        pairs = [("offsets", one.particles.offsets, other.particles.offsets)]
        pairs += [(n, one.particles.columns[n], other.particles.columns[n]) for n in PARTICLE_FIELDS]
        found += [f"particles/{n}" for n, a, b in pairs if a.tobytes() != b.tobytes()]
    if one.pixelmap is not None and other.pixelmap is not None:
        parts = ("offsets", "row", "col", "value", "origin")
        found += [n for n in parts if getattr(one.pixelmap, n).tobytes() != getattr(other.pixelmap, n).tobytes()]
        found += [] if one.pixelmap.spec == other.pixelmap.spec else ["spec"]
    return found


def write_store(path: Path, batches: int, **kind: bool) -> Path:
    """A complete store of ``batches`` batches, all in the training split."""
    layout = Layout.of(make_batch(0, 1, **kind))
    with EventWriter.create(path, layout, RECORD) as writer:
        for i in range(batches):
            writer.append(make_batch(i * BATCH, BATCH, **kind))
        writer.finish(split=np.zeros(batches * BATCH, dtype="u1"))
    return path


def go_on(path: Path, batches: int, pause: float) -> None:
    """Write or resume a store of ``batches`` batches, as a long job would."""
    if path.exists():
        writer = EventWriter.resume(path, BATCH)
    else:
        writer = EventWriter.create(path, Layout.of(make_batch(0, 1)), RECORD)
    with writer:
        for i in range(writer.n_events // BATCH, batches):
            writer.append(make_batch(i * BATCH, BATCH))
            time.sleep(pause)
        writer.finish(split=np.zeros(batches * BATCH, dtype="u1"))


if __name__ == "__main__":
    go_on(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
