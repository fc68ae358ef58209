"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, and no limit of time for one: the machine may be busy.
settings.register_profile("nuadapt", derandomize=True, deadline=None)
settings.load_profile("nuadapt")

_SHARED = Path(os.environ.get("NUADAPT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and schema-faithful sample files; tests that need it skip where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip(f"sample files not found at {_SHARED}; set NUADAPT_SHARED_DATA to their folder")
    return _SHARED
