"""Two long trainings at once, in a process that a test ends: ``STORE OUT [WORDS]``; prints their numbers."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

from nuadapt.training.config import load_recipe
from nuadapt.training.side_by_side import Job, train_all


def tell(done: int, planned: int) -> None:
    sys.stdout.write(" ".join(str(process.pid) for process in multiprocessing.active_children()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    store, out = map(Path, sys.argv[1:3])
    words = ["preset=siamese-cnn-small", "input.coarsen=1", "batch_size=16", "workers=0", "epochs=4000", *sys.argv[3:]]
    train_all([Job(load_recipe("cnn-smoke", words), store, out / name) for name in "ab"], progress=tell)
