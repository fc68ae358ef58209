"""Processes that belong to another one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def leave_with_parent(number: signal.Signals) -> None:
    """Send this process the signal ``number`` once the one that started it is gone, killed or not.

    Processes of ``multiprocessing`` are told to end by a parent that ends, but not by one that is killed.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), number)

    threading.Thread(target=watch, daemon=True, name="watch of the parent").start()
