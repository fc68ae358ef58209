"""A training process that is killed by SIGKILL at a chosen moment. Imported by child processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NoReturn

from nuadapt.training import engine, fit
from nuadapt.training.config import TrainingConfig
from nuadapt.training.folder import RunFolder


def die(*_: Any, **__: Any) -> NoReturn:
    """End this process as the batch system or the kernel would, with no chance to clean up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


class Nth:
    """Call ``then`` at the ``n``-th call, ``before`` at the others and, if ``after``, also first at the n-th."""

    def __init__(self, before: Any, n: int, *, after: bool) -> None:
        self.before, self.left, self.after = before, n, after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            die()
        result = self.before(*args, **kwargs)
        if self.left == 0:
            die()
        return result

    def __get__(self, instance: Any, _kind: Any) -> Any:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)


def train_until(config: TrainingConfig, data: Path, out: Path, moment: str, n: int) -> None:
    """Train, and die at the ``n``-th of the named moment (``never``: live)."""

    def at_step(done: int, _total: int) -> None:
        if moment == "step" and done == n:
            die()

    if moment == "best written":
        engine.save_weights = Nth(engine.save_weights, n, after=True)
    elif moment == "best half written":
        engine.save_file = Nth(engine.save_file, n, after=True)
    elif moment == "checkpoint has weights only":
        engine.Engine._save = Nth(engine.Engine._save, n, after=True)  # type: ignore[method-assign]
    elif moment == "checkpoint not marked":
        RunFolder.mark = Nth(RunFolder.mark, n, after=False)  # type: ignore[method-assign]
    elif moment == "older checkpoint not removed":
        RunFolder.mark = Nth(RunFolder.mark, n, after=True)  # type: ignore[method-assign]
    elif moment == "validated, not saved":
        engine.Engine._save_checkpoint = Nth(engine.Engine._save_checkpoint, n, after=False)  # type: ignore[method-assign]
    elif moment == "record not written":
        fit.model_card = Nth(fit.model_card, n, after=False)
    fit.train(config, data, out, progress=at_step)
