"""A bounded queue before a thread that does the work: what is full says so, what is accepted is finished."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from nuadapt.serve.problems import Busy, Unavailable

#: Takes the payloads of jobs of one group, gives one result for each.
Serve = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(slots=True, eq=False)  # a job is only equal to itself
class Job:
    """A piece of work. Jobs of equal ``group`` may be done together as long as their ``size`` fits; None: alone."""

    payload: Any
    group: Hashable = None
    size: int = 1
    future: Future[Any] = field(default_factory=Future)


class Desk:
    """``threads`` threads that do jobs in the order in which they came; at most ``waiting`` jobs wait."""

    def __init__(
        self, name: str, serve: Serve, *, waiting: int, batch: int = 1, threads: int = 1, retry_seconds: int = 2
    ) -> None:
        self.name, self.limit = name, waiting
        self._serve, self._batch, self._retry = serve, batch, retry_seconds
        self._jobs: deque[Job] = deque()
        self._changed, self._open = Condition(), True
        self._threads = [Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that nobody works on yet."""
        with self._changed:
            return len(self._jobs)

    def submit(self, payload: Any, group: Hashable = None, size: int = 1) -> Future[Any]:
        """Accept a job.

        Raises:
            Busy: too many wait.
            Unavailable: the service is stopping.
        """
        return self.submit_all([Job(payload, group, size)])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[Future[Any]]:
        """Accept all of these jobs or none; see :meth:`submit`. More than the limit are accepted while none wait."""
        with self._changed:
            if not self._open:
                raise Unavailable("the service is stopping")
            if self._jobs and len(self._jobs) + len(jobs) > self.limit:
                raise Busy(f"{len(self._jobs)} requests wait for {self.name} already", self._retry)
            self._jobs.extend(jobs)
            self._changed.notify()
        return [job.future for job in jobs]

    def close(self, seconds: float | None = None) -> None:
        """Accept nothing more and wait until what was accepted is done."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if end is None else max(end - time.monotonic(), 0))

    def _take(self) -> list[Job]:
        """The first job and those behind it that can be done with it; none when the desk is closed and empty."""
        with self._changed:
            while not self._jobs:
                if not self._open:
                    return []
                self._changed.wait()
            taken = [self._jobs.popleft()]
            size, group = taken[0].size, taken[0].group
            for job in list(self._jobs) if group is not None else []:
                if job.group == group and size + job.size <= self._batch:
                    self._jobs.remove(job)
                    taken.append(job)
                    size += job.size
            if self._jobs:
                self._changed.notify()
            return taken

    def _work(self) -> None:
        while jobs := self._take():
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            self._do(jobs)

    def _do(self, jobs: Sequence[Job]) -> None:
        """Do jobs together; if that fails, one by one, so that only those fail that must."""
        if not jobs:
            return
        try:
            results = self._serve([job.payload for job in jobs])
        except Exception as error:  # whatever it is, it belongs to whoever waits for the job
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:
                self._do([job])
            return
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
