"""The queue before a model: together what fits, refused what does not, finished what was accepted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

import pytest

from nuadapt.serve.desk import Desk, Job
from nuadapt.serve.problems import Busy, Unavailable


class Gate:
    """Notes what is done together; waits before each time until it is opened."""

    def __init__(self) -> None:
        self.open, self.entered, self.calls = threading.Event(), threading.Event(), []

    def __call__(self, payloads: Sequence[Any]) -> list[Any]:
        self.entered.set()
        self.open.wait()
        self.calls.append(list(payloads))
        if any(p == "poison" for p in payloads):
            raise ValueError("poison")
        return [f"done {p}" for p in payloads]


def held(**how: Any) -> tuple[Gate, Desk]:
    """A desk that is busy with its first job."""
    gate = Gate()
    desk = Desk("test", gate, **how)
    desk.submit("first")
    gate.entered.wait()
    return gate, desk


def test_waiting_jobs_of_a_group_are_done_together_and_in_order() -> None:
    gate, desk = held(waiting=20, batch=3)
    futures = [
        desk.submit(name, group) for name, group in (("a", 1), ("b", 2), ("c", 1), ("d", 1), ("e", 1), ("f", None))
    ]
    gate.open.set()
    desk.close()
    assert gate.calls == [["first"], ["a", "c", "d"], ["b"], ["e"], ["f"]]
    assert [f.result() for f in futures] == [f"done {x}" for x in "abcdef"]


def test_sizes_count() -> None:
    gate, desk = held(waiting=20, batch=10)
    for name, size in (("a", 6), ("b", 5), ("c", 4)):
        desk.submit(name, "g", size)
    gate.open.set()
    desk.close()
    assert gate.calls[1:] == [["a", "c"], ["b"]]


def test_a_full_desk_refuses_and_says_when_to_come_back() -> None:
    gate, desk = held(waiting=2, retry_seconds=7)
    accepted = [desk.submit(i) for i in range(2)]
    with pytest.raises(Busy) as refused:
        desk.submit(3)
    assert refused.value.retry_after == 7
    assert refused.value.status == 429
    gate.open.set()
    desk.close()
    assert [f.result() for f in accepted] == ["done 0", "done 1"]


def test_all_or_none_of_several() -> None:
    gate, desk = held(waiting=3)
    desk.submit("a")
    with pytest.raises(Busy):
        desk.submit_all([Job(i) for i in range(3)])
    assert desk.waiting == 1
    gate.open.set()
    desk.close()


def test_closing_finishes_what_waits_and_refuses_the_rest() -> None:
    gate, desk = held(waiting=50)
    futures = [desk.submit(i) for i in range(30)]
    threading.Timer(0.05, gate.open.set).start()
    desk.close()
    assert wait(futures, timeout=0).not_done == set()
    with pytest.raises(Unavailable):
        desk.submit("late")


def test_what_fails_fails_alone() -> None:
    gate, desk = held(waiting=10, batch=10)
    good, bad, other = (desk.submit(name, "g") for name in ("a", "poison", "b"))
    gate.open.set()
    desk.close()
    assert good.result() == "done a"
    assert other.result() == "done b"
    with pytest.raises(ValueError, match="poison"):
        bad.result()


def test_several_threads_share_the_work() -> None:
    together = threading.Barrier(3, timeout=30)
    desk = Desk("test", lambda payloads: [together.wait() for _ in payloads], waiting=10, threads=3)
    futures = [desk.submit(i) for i in range(3)]
    assert sorted(f.result() for f in futures) == [0, 1, 2]
    desk.close()
