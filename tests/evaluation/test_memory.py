"""The peak of a stretch of work is its own."""

from __future__ import annotations

import mmap
import sys

import pytest

from nuadapt.evaluation.memory import forget_peak, peak_memory_mb


def taken(megabytes: int) -> mmap.mmap:
    """Memory of its own that is in use; an array may come from what the C library holds from earlier work."""
    block = mmap.mmap(-1, megabytes * 1_000_000)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    return block


@pytest.mark.skipif(sys.platform != "linux", reason="the system keeps one peak for the whole process")
def test_what_was_used_before_is_forgotten() -> None:
    block = taken(400)
    with_block = peak_memory_mb()
    block.close()
    forget_peak()
    without = peak_memory_mb()
    assert without < with_block - 300
    other = taken(100)
    assert peak_memory_mb() > without + 90
    other.close()
