"""Read files in several processes, step by step, in the order in which they were given.

Every file is read by all workers, each taking every W-th step of it, so that also one large file is read by all. A file
begins with the worker behind the one that began the file before, so that many files of one step are shared out, too.
Each worker has a short queue of its own, and whoever consumes takes a step from each in turn. So the events come in the
same order as from one process, and memory stays bounded: a worker that is ahead waits. Processes are spawned, not
forked, because libraries that hold threads or open files do not survive a fork.
"""

from __future__ import annotations

import itertools
import multiprocessing
import queue as queues
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nuadapt.errors import NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.sources.reading import ReadReport

Step = tuple[ReadReport, EventBatch]
#: Reads those steps of one file that the slice selects; must be importable by name, as it is sent to other processes.
Reader = Callable[[slice], Iterable[Step]]
_AHEAD = 1  # steps that wait in each queue
_PATIENCE = 1.0  # s between looks whether a silent worker is still alive


@dataclass(frozen=True, slots=True)
class _End:
    """A worker has no further step of a file, because of an error or because there is none.

    ``error`` holds kind and parts of a NuadaptError; ``fault`` the traceback of any other, which is a fault of nuadapt.
    """

    error: tuple[type[NuadaptError], str, str, str, str] | None = None
    fault: str = ""

    def check(self) -> None:
        """Raise the error here, if there was one."""
        if self.fault:
            raise RuntimeError(f"a reading process failed:\n{self.fault}")
        if self.error is not None:
            kind, what, where, expected, next_step = self.error
            raise kind(what, where=where or None, expected=expected, next_step=next_step)


class WorkerGone(NuadaptError):
    """A reading process was killed, and with it is lost what it had to read: not an error of one file."""


class _Abandoned(Exception):
    """The process that consumes is gone."""


def _work(readers: Sequence[Reader], worker: int, workers: int, out: Any) -> None:
    """In worker number ``worker``: of each file its steps, then an _End."""
    try:
        for index, reader in enumerate(readers):
            _put_file(reader, slice((worker - index) % workers, None, workers), out)
    except _Abandoned:
        out.cancel_join_thread()  # nobody will take what is waiting


def _put_file(reader: Reader, turn: slice, out: Any) -> None:
    end = _End()
    try:
        for step in reader(turn):
            _put(out, step)
    except NuadaptError as raised:
        where = str(raised.where) if raised.where is not None else ""
        end = _End((type(raised), raised.what, where, raised.expected, raised.next_step))
    except _Abandoned:
        raise
    except Exception:  # to be raised where it is seen
        end = _End(fault=traceback.format_exc())
    _put(out, end)


def _put(out: Any, item: object) -> None:
    """Wait for a place in the queue, but not for a consumer that was killed.

    Raises:
        _Abandoned: it was.
    """
    parent = multiprocessing.parent_process()
    while True:
        try:
            out.put(item, timeout=_PATIENCE)
            return
        except queues.Full:
            if parent is not None and not parent.is_alive():
                raise _Abandoned from None


class Team:
    """Worker processes that read ``readers``; they start with the first :meth:`steps` and end with this process."""

    def __init__(self, readers: Sequence[Reader], workers: int) -> None:
        self._readers, self._n = readers, workers
        self._queues: list[Any] = []
        self._processes: list[Any] = []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._queues = [context.Queue(_AHEAD) for _ in range(self._n)]
        for worker, out in enumerate(self._queues):
            arguments = (self._readers, worker, self._n, out)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            self._processes.append(process)

    def _next(self, worker: int) -> Step | _End:
        """What a worker says next.

        Raises:
            WorkerGone: it ended.
        """
        while True:
            try:
                said: Step | _End = self._queues[worker].get(timeout=_PATIENCE)
                return said
            except queues.Empty:
                if not self._processes[worker].is_alive():
                    code = self._processes[worker].exitcode
                    raise WorkerGone(
                        f"a reading process ended unexpectedly (exit code {code})",
                        next_step="Try again with --workers 1, or with more memory",
                    ) from None

    def steps(self, index: int) -> Iterator[Step]:
        """The steps of reader ``index`` in order; indices must be asked for in order, each once.

        Raises:
            NuadaptError: what the reader raised, after the steps before.
            WorkerGone: a worker ended; there is no going on.
            RuntimeError: any other error of a reader; there is no going on.
        """
        if not self._processes:
            self._start()
        behind = [(index + i) % self._n for i in range(self._n)]  # those that did not say that they are at the end
        try:
            for worker in itertools.cycle(tuple(behind)):
                said = self._next(worker)
                if isinstance(said, _End):  # steps come in order: if there is none in this turn, there are no more
                    behind.remove(worker)
                    said.check()
                    return
                yield said
        except (WorkerGone, RuntimeError, KeyboardInterrupt):
            behind.clear()
            for process in self._processes:
                process.terminate()
            raise
        finally:
            self._skip(behind)
            if index == len(self._readers) - 1:
                for process in self._processes:
                    process.join()

    def _skip(self, workers: Sequence[int]) -> None:
        """What is left of a file that is not wanted any more: the next one starts behind it."""
        for worker in workers:
            with suppress(WorkerGone):
                while not isinstance(self._next(worker), _End):
                    continue
