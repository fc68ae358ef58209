"""The made-up events of ``making.py`` as a fixture."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def making() -> SimpleNamespace:
    """Functions and constants of ``making.py``, and its path as ``script``."""
    script = Path(__file__).with_name("making.py")
    return SimpleNamespace(script=script, **{k: v for k, v in runpy.run_path(str(script)).items() if k[0] != "_"})
