"""Several trainings at once, each in a process of its own with its share of the cores.

Small networks do not keep many cores busy: two of them with one thread each end sooner than one after the other with
two. Results are those of a training with as many threads; GPUs are shared by all.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from nuadapt.errors import NuadaptError, StoppedEarly
from nuadapt.processes import leave_with_parent
from nuadapt.training.config import TrainingConfig
from nuadapt.training.data import Data
from nuadapt.training.engine import Progress
from nuadapt.training.fit import train

_LOOK = 0.5  # seconds between looks at how far they are


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of one :func:`train`."""

    config: TrainingConfig
    data: Data
    out: Path


def train_all(jobs: Sequence[Job], *, progress: Progress | None = None) -> None:
    """Train all ``jobs`` at once, a single one here. The same call goes on with those that were interrupted.

    ``progress`` is called with (updates done, updates planned) of all together.

    Raises:
        What :func:`train` raises for one of the jobs; the others are finished before.
    """
    if len(jobs) > 1:
        _in_processes(jobs, progress)
    for job in jobs:  # a finished one returns at once; one that failed fails here again, with its message
        train(job.config, job.data, job.out, progress=progress)


def _in_processes(jobs: Sequence[Job], progress: Progress | None) -> None:
    """Train each in a process; which of them failed is seen by what they leave."""
    context = multiprocessing.get_context("spawn")
    counts: Any = context.Array("q", 2 * len(jobs), lock=False)  # updates done and planned of each job in turn
    threads = max(1, torch.get_num_threads() // len(jobs))
    processes = [context.Process(target=_train, args=(job, threads, counts, at)) for at, job in enumerate(jobs)]
    with _looked_after(processes) as asked_to_stop:
        for process in processes:
            if not asked_to_stop:
                process.start()
        while living := [process.sentinel for process in processes if process.is_alive()]:
            wait(living, timeout=_LOOK)
            if progress is not None and sum(counts[1::2]):
                progress(sum(counts[::2]), sum(counts[1::2]))
    if asked_to_stop:
        raise StoppedEarly(
            "trainings were asked to stop and did; what they had is saved",
            where=", ".join(str(job.out) for job in jobs),
            next_step="Give the same command again to go on",
        )


def _train(job: Job, threads: int, counts: Any, at: int) -> None:
    """One training, in its process. Its errors are left to the parent, which asks again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal to all: the parent passes it on as a request to stop
    leave_with_parent(signal.SIGKILL)  # it must not write where the next call goes on
    torch.set_num_threads(threads)
    # With a core for each training a process that reads for one takes it from another.
    own = threads == 1 and not torch.cuda.is_available()
    config = replace(job.config, workers=0) if own else job.config

    def progress(done: int, planned: int) -> None:
        counts[2 * at], counts[2 * at + 1] = done, planned

    try:
        train(config, job.data, job.out, progress=progress)
    except NuadaptError:
        _end_readers()


def _end_readers() -> None:
    """Kill the reader processes of this one, which leave requests to stop to it: its end would wait for them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the loader takes a killed reader for an error
    for reader in multiprocessing.active_children():
        reader.kill()


@contextmanager
def _looked_after(processes: Sequence[BaseProcess]) -> Iterator[list[int]]:
    """Pass requests to stop on to ``processes``, and leave none behind; gives the signals that came."""
    came: list[int] = []

    def stop(number: int, _: Any) -> None:
        came.append(number)
        _stop(processes)

    mine = threading.current_thread() is threading.main_thread()  # only it may set handlers
    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGUSR1)} if mine else {}
    try:
        yield came
    finally:
        _stop(processes)
        for process in processes:
            if process.pid is not None:
                process.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
