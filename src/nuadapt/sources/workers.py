"""Read files in several processes, a bounded number of batches ahead, in the order in which they were given.

Worker ``w`` of ``W`` reads the files w, w + W, ...; each has a short queue of its own, and whoever consumes goes from
file to file. So the events come in the same order as from one process, and memory stays bounded: a worker that is
ahead waits. Processes are spawned, not forked, because libraries that hold threads or open files do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import queue as queues
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nuadapt.errors import InputFileError, NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.sources.reading import ReadReport

#: Reads one file, counting into the report; must be importable by name, as it is sent to other processes.
Reader = Callable[[ReadReport], Iterable[EventBatch]]
_AHEAD = 2  # batches that wait in each queue
_PATIENCE = 1.0  # s between looks whether a silent worker is still alive


class _Abandoned(Exception):
    """The process that consumes is gone."""


def _work(readers: Sequence[Reader], out: Any) -> None:
    """In the worker: for each reader its batches, then its report with the error that ended it, if any."""
    try:
        for reader in readers:
            report, error = ReadReport(), None
            try:
                for batch in reader(report):
                    _put(out, batch)
            except NuadaptError as raised:
                error = (type(raised), raised.what, str(raised.where or ""), raised.expected, raised.next_step)
            _put(out, (report, error))
    except _Abandoned:
        out.cancel_join_thread()  # nobody will take what is waiting


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
    """Worker processes that read ``readers``; they start with the first :meth:`read` and end with this process."""

    def __init__(self, readers: Sequence[Reader], workers: int, report: ReadReport) -> None:
        self._readers, self._report = readers, report
        self._n = max(1, min(workers, len(readers)))
        self._queues: list[Any] = []
        self._processes: list[Any] = []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._queues = [context.Queue(_AHEAD) for _ in range(self._n)]
        for w, out in enumerate(self._queues):
            process = context.Process(target=_work, args=(self._readers[w :: self._n], out), daemon=True)
            process.start()
            self._processes.append(process)

    def _next(self, worker: int) -> Any:
        while True:
            try:
                return self._queues[worker].get(timeout=_PATIENCE)
            except queues.Empty:
                if not self._processes[worker].is_alive():
                    code = self._processes[worker].exitcode
                    raise InputFileError(
                        f"a reading process ended unexpectedly (exit code {code})",
                        next_step="Try again with --workers 1, which shows the reason, or with more memory",
                    ) from None

    def read(self, index: int) -> Iterator[EventBatch]:
        """Batches of reader ``index``; indices must be asked for in order, each once.

        Raises:
            NuadaptError: what the reader raised, after the batches that it had made.
        """
        if not self._queues:
            self._start()
        worker, result = index % self._n, None
        try:
            while isinstance(result := self._next(worker), EventBatch):
                yield result
        finally:
            while isinstance(result, EventBatch):  # the consumer gave up on this file: the next one starts behind it
                result = self._next(worker)
        if index >= len(self._readers) - self._n:  # this worker's last file
            self._processes[worker].join()
        report, error = result
        self._report.add(report)
        if error is not None:
            kind, what, where, expected, next_step = error
            raise kind(what, where=where or None, expected=expected, next_step=next_step)
