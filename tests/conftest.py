"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SHARED = Path(os.environ.get("NUADAPT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and schema-faithful sample files; tests that need it skip where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip(f"sample files not found at {_SHARED}; set NUADAPT_SHARED_DATA to their folder")
    return _SHARED
