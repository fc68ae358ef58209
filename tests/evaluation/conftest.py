"""Made-up events and a made-up model as a fixture."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(path: Path) -> ModuleType:
    """A Python file beside the tests as a module."""
    name = f"nuadapt_tests_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """``synthetic.py``: make_store, make_batch, ToyModel."""
    return load(Path(__file__).with_name("synthetic.py"))


@pytest.fixture(scope="session")
def made_up() -> ModuleType:
    """``made_up_clouds.py``: answers of models of clouds, and folders of them."""
    return load(Path(__file__).with_name("made_up_clouds.py"))
