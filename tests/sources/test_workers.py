"""Several processes that read: order, memory, errors of a file, faults of the program, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from nuadapt.errors import InputFileError, NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.sources.formats import ReadOptions
from nuadapt.sources.ingest import ingest
from nuadapt.sources.reading import ReadReport
from nuadapt.sources.workers import Team, WorkerGone, _End, _put_file

pytest.importorskip("uproot")

from nuadapt.sources.minerva.options import MinervaOptions
from nuadapt.sources.minerva.reader import steps


@pytest.fixture(scope="module")
def mc(shared_data: Path) -> Path:
    return shared_data / "minerva" / "masteranadev_mc.root"


class Listed:
    """A queue without an end."""

    def __init__(self) -> None:
        self.items: list[object] = []

    def put(self, item: object, timeout: float) -> None:
        self.items.append(item)


def entries(batch: EventBatch) -> tuple[int, int]:
    return int(batch["entry"][0]), int(batch["entry"][-1])


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_steps_are_dealt_out_in_turn(mc: Path, workers: int) -> None:
    """What each worker has to read, without processes: neighbours in the file go to different workers."""
    reader = partial(steps, mc, MinervaOptions(step=100))
    dealt = []
    for worker in range(workers):
        out = Listed()
        _put_file(reader, slice(worker, None, workers), out)
        *made, end = out.items
        assert end == _End()
        dealt.append([entries(batch) for _, batch in made])
    assert [dealt[k % workers][k // workers] for k in range(6)] == [(100 * k, 100 * k + 99) for k in range(6)]
    assert sum(len(d) for d in dealt) == 6


def test_files_in_order_from_processes(mc: Path) -> None:
    """Two files of 5 steps each: the second begins with the other worker, and one that is given up is skipped."""
    team = Team([partial(steps, mc, MinervaOptions(step=130))] * 3, 2)
    whole = [entries(batch) for _, batch in team.steps(0)]
    assert whole == [(0, 129), (130, 259), (260, 389), (390, 519), (520, 599)]
    given_up = team.steps(1)
    assert entries(next(given_up)[1]) == (0, 129)
    given_up.close()
    assert [entries(batch) for _, batch in team.steps(2)] == whole
    assert not any(process.is_alive() for process in team._processes)
    assert [process.exitcode for process in team._processes] == [0, 0]


def test_a_worker_that_is_ahead_waits(mc: Path) -> None:
    team = Team([partial(steps, mc, MinervaOptions(step=10))], 2)
    made = team.steps(0)
    next(made)
    until = time.monotonic() + 60
    while time.monotonic() < until and not all(out.full() for out in team._queues):
        time.sleep(0.05)
    time.sleep(0.5)  # a worker that does not wait would have made more by now
    assert [process.is_alive() for process in team._processes] == [True, True]
    assert all(out.full() for out in team._queues)
    assert sum(1 for _ in made) == 59


def test_an_error_of_a_file_is_that_of_one_process(mc: Path, tmp_path: Path) -> None:
    team = Team([partial(steps, tmp_path / "none.root", MinervaOptions()), partial(steps, mc, MinervaOptions())], 2)
    with pytest.raises(InputFileError, match="no such file") as alone:
        list(steps(tmp_path / "none.root", MinervaOptions()))
    with pytest.raises(InputFileError) as caught:
        list(team.steps(0))
    assert str(caught.value) == str(alone.value)
    assert len(list(team.steps(1))) == 1


def test_a_fault_of_the_program_stays_visible(mc: Path) -> None:
    """It is no error of a file, and it is not lost in a process that nobody sees."""
    team = Team([partial(steps, mc, "no options")] * 2, 2)
    with pytest.raises(RuntimeError, match=r"(?s)a reading process failed:.*AttributeError: 'str' object"):
        list(team.steps(0))
    for process in team._processes:
        process.join(30)
        assert not process.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_killed_worker_ends_the_reading(mc: Path) -> None:
    team = Team([partial(steps, mc, MinervaOptions(step=10))] * 2, 2)
    made = team.steps(0)
    next(made)
    os.kill(team._processes[1].pid, signal.SIGKILL)
    with pytest.raises(WorkerGone, match=r"ended unexpectedly \(exit code -9\)"):
        list(made)
    assert issubclass(WorkerGone, NuadaptError)
    assert not issubclass(WorkerGone, InputFileError)  # else each later file would be called bad


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_store(mc: Path, tmp_path: Path, workers: int) -> None:
    files = [mc.with_name("masteranadev_mc_edge.root"), mc]
    given = [ReadOptions(workers=w, settings={"step": 120, "interaction_types": [4, 8]}) for w in (1, workers)]
    reports = [ingest(files, tmp_path / f"{i}.h5", reading=reading) for i, reading in enumerate(given)]
    assert reports[0].lines() == reports[1].lines()
    assert reports[0].n_events == reports[1].n_events > 0


def test_small_files_start_no_processes(mc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nuadapt.sources import formats, workers

    started: list[int] = []

    class Counted(Team):
        def __init__(self, readers: object, n: int) -> None:
            started.append(n)
            super().__init__(readers, n)

    monkeypatch.setattr(workers, "Team", Counted)
    monkeypatch.setattr(formats.os, "cpu_count", lambda: 2)
    assert ingest([mc], tmp_path / "a.h5", reading=ReadOptions(workers=0)).n_events == 600
    assert started == []
    monkeypatch.setattr(formats, "_WORTH_PROCESSES", 1000)
    assert ingest([mc], tmp_path / "b.h5", reading=ReadOptions(workers=0)).n_events == 600
    assert started == [2]
    monkeypatch.setattr(formats.os, "cpu_count", lambda: 64)
    assert formats._useful_workers([mc]) == 4
    assert formats._useful_workers([Path("root://door.example.org//a.root")]) == 4


def test_what_was_counted_comes_with_each_step(mc: Path) -> None:
    alone = ReadReport()
    for counted, _ in steps(mc, MinervaOptions()):
        alone.add(counted)
    in_steps = ReadReport()
    for counted, _ in Team([partial(steps, mc, MinervaOptions(step=77))], 2).steps(0):
        in_steps.add(counted)
    assert alone == in_steps
