"""The peak of a stretch of work is its own."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nuadapt.evaluation.memory import forget_peak, peak_memory_mb


@pytest.mark.skipif(sys.platform != "linux", reason="the system keeps one peak for the whole process")
def test_what_was_used_before_is_forgotten() -> None:
    block = np.ones(50_000_000)  # 400 MB
    with_block = peak_memory_mb()
    del block
    forget_peak()
    assert peak_memory_mb() < with_block - 300
    other = np.ones(12_500_000)  # 100 MB
    assert peak_memory_mb() > 100
    assert len(other) == 12_500_000
