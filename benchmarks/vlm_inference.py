"""Time per event of the vision-language classifier: the published procedure and ours, on one model and the same events.

Published (Sagar et al., arXiv:2509.08461): constrained generation with two beams, at most ten tokens, one event at a
time. Ours: one pass over an event's own tokens and the tree of all labels, the common beginning evaluated once.

    python benchmarks/vlm_inference.py nuadapt-vlm --data events.h5 [--events 200] [--threads 2] [--batch 16]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nuadapt.evaluation.memory import forget_peak, peak_memory_mb
from nuadapt.events.store import EventStore
from nuadapt.models.run import LoadedModel, load_run
from nuadapt.models.vlm.constrained import Form, label_form


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--reasons", type=int, default=20, help="events that are also asked for a reason, one by one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_run(given.run)
    with EventStore(given.data) as store:
        maps = store.read(store.rows_of("test")[: given.events]).pixelmap
    if maps is None:
        raise SystemExit("these events have no pixel maps")
    images = model.input.images(maps)

    # Both procedures are warm when their time is taken, and each has its own peak of memory.
    in_batches(model, images[: given.batch], 1)
    forget_peak()
    single, one_by_one = timed(lambda: in_batches(model, images, 1), len(images))
    memory = {"ours, one at a time": peak_memory_mb()}
    in_batches(model, images[: given.batch], given.batch)
    forget_peak()
    ours, posterior = timed(lambda: in_batches(model, images, given.batch), len(images))
    memory[f"ours, {given.batch} at once"] = peak_memory_mb()
    generate(model, images[:2])
    forget_peak()
    published, generated = timed(lambda: generate(model, images), len(images))
    memory["published"] = peak_memory_mb()
    labels = posterior.argmax(axis=1)
    few = images[: given.reasons]
    reasons, _ = timed(lambda: [model.reasons(few[i : i + 1], labels[i : i + 1]) for i in range(len(few))], len(few))
    precision = "bfloat16" if model.bf16 else "float32"
    print(f"{model.id}, {len(images)} events, {given.threads} threads, {precision}")
    print(f"published procedure        {published:8.1f} ms/event")
    print(f"ours, {given.batch:3d} events at once   {ours:8.1f} ms/event   {published / ours:5.1f} times faster")
    print(f"ours, one at a time        {single:8.1f} ms/event   {published / single:5.1f} times faster")
    print(f"with a reason (+)          {reasons:8.1f} ms/event")
    print(f"equal labels               {100 * np.mean(labels == generated):8.2f} % of {len(images)}")
    print(f"largest difference of probabilities between batch sizes {np.abs(posterior - one_by_one).max():.1e}")
    print("peak memory: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in memory.items()))


def timed(work: Callable[[], Any], n: int) -> tuple[float, Any]:
    """Milliseconds per event, and what came out."""
    began = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - began) / n, result


def in_batches(model: LoadedModel, images: np.ndarray, size: int) -> np.ndarray:
    """Class probabilities, (N, C)."""
    return np.concatenate([model.posterior(images[i : i + size]) for i in range(0, len(images), size)])


def generate(model: LoadedModel, images: np.ndarray) -> np.ndarray:
    """Labels by the published procedure, (N,): two beams, the fixed words and one label, one event at a time."""
    network = model.network
    endings = network.endings
    form: Form = label_form(network.tokenizer, network.prompt, free=False)
    begin = len(form.parts[0].options[0])
    found = []
    for image in torch.from_numpy(images):
        # Ten tokens are the published limit; here the fixed words are six of them.
        said = network.say(image[None], form, beams=2, longest=begin + max(map(len, endings)))[0]
        found.append(endings.index(said[begin:]))
    return np.array(found)


if __name__ == "__main__":
    main()
