"""Largest memory of a stretch of work: on a GPU that of the GPU, as published figures are; else that of the process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

#: What the number in metrics.json means; written beside it.
MEMORY_MEANS = (
    "largest memory while the events were predicted: allocated on the GPU if there is one, else resident memory of the "
    "whole process, with all libraries loaded and what earlier work of the process still holds"
)


def forget_peak() -> None:
    """What was used before does not count any more, where the system can do that (Linux since 4.0, and CUDA)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()


def peak_memory_mb() -> float:
    """Largest memory since :func:`forget_peak`, or since the start of the process, MB (1e6 bytes)."""
    cuda = _cuda()
    if cuda is not None:
        return float(cuda.max_memory_allocated()) / 1e6
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # getrusage(2): kilobytes of 1024 bytes, on macOS bytes.
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _cuda() -> Any:
    """``torch.cuda`` if it is in use; a process without torch does not load it for this."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
