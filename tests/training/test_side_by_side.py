"""Several trainings at once: the same results as one after the other, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nuadapt.errors import ConfigError, StoppedEarly
from nuadapt.training.config import load_recipe
from nuadapt.training.fit import train
from nuadapt.training.folder import RunFolder
from nuadapt.training.side_by_side import Job, train_all

TINY = ["preset=siamese-cnn-small", "input.coarsen=1", "batch_size=16", "precision=float32", "workers=0", "epochs=3"]


@pytest.fixture(scope="module")
def store(make_store: Callable[..., Path]) -> Path:
    return make_store(n=120, side=16)


@pytest.fixture(autouse=True)
def _two_threads_to_share() -> None:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def jobs_in(folder: Path, store: Path, *words: Sequence[str]) -> list[Job]:
    return [
        Job(replace(load_recipe("cnn-smoke", [*TINY, *more]), seed=at), store, folder / f"seed{at}")
        for at, more in enumerate(words, start=1)
    ]


def test_results_are_those_of_trainings_one_after_the_other(store: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    together = jobs_in(tmp_path / "together", store, [], [])
    train_all(together, progress=lambda done, planned: steps.append((done, planned)))
    torch.set_num_threads(1)
    for job in jobs_in(tmp_path / "alone", store, [], []):
        train(job.config, job.data, job.out)
        alone, beside = (
            load_file(tmp_path / how / job.out.name / "model.safetensors") for how in ("alone", "together")
        )
        assert all(np.array_equal(alone[name], beside[name]) for name in alone)
    assert all(done <= planned for done, planned in steps)


def test_one_that_fails_does_not_stop_the_others(store: Path, tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, store, ["optimizer.lr=1e30"], [])
    with pytest.raises(ConfigError, match="not a finite number"):
        train_all(jobs)
    assert RunFolder(jobs[1].out).finished


def test_asked_to_stop_all_stop_and_go_on_later(store: Path, tmp_path: Path) -> None:
    more = ["epochs=400", "workers=1"]
    jobs = jobs_in(tmp_path, store, more, more)

    def end_of_time(done: int, planned: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedEarly, match="seed2"):
        train_all(jobs, progress=end_of_time)
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not any(RunFolder(job.out).finished for job in jobs)
    assert any(RunFolder(job.out).latest() for job in jobs)


def test_stopped_they_leave_nothing_for_python_to_complain_of(store: Path, tmp_path: Path) -> None:
    place = Path(__file__).parent
    child = subprocess.Popen(
        [sys.executable, place / "side_by_side_child.py", store, tmp_path, "workers=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()  # they are at work
        child.terminate()
        said = child.stderr.read()
    assert "trainings were asked to stop" in said
    assert "Warning" not in said  # of semaphores that a process left, which Python prints at its end


def test_a_killed_command_leaves_no_training_behind(store: Path, tmp_path: Path) -> None:
    place = Path(__file__).parent
    child = subprocess.Popen(
        [sys.executable, place / "side_by_side_child.py", store, tmp_path], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        trainings = [int(word) for word in child.stdout.readline().split()]
        assert len(trainings) == 2
        child.kill()
    end = time.monotonic() + 30
    while any(lives(process) for process in trainings) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(lives(process) for process in trainings)


def lives(process: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
