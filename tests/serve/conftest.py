"""A service of pixel maps and one of clouds, in this process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from nuadapt.serve.app import create_app
from nuadapt.serve.settings import Limits, ServeSettings

ADDRESS = "http://127.0.0.1:8000"


def _load(path: Path) -> ModuleType:
    name = f"nuadapt_tests_serve_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def making() -> ModuleType:
    """``making.py``: stores, runs, evaluations."""
    return _load(Path(__file__).with_name("making.py"))


@pytest.fixture(scope="session")
def mutating() -> ModuleType:
    """``mutating.py``: files of all formats that are accepted, and damaged ones."""
    return _load(Path(__file__).with_name("mutating.py"))


@pytest.fixture(scope="session")
def place(making: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`making.make_place`."""
    folder: Path = making.make_place(tmp_path_factory.mktemp("serve"))
    return folder


@pytest.fixture(scope="session")
def map_settings(place: Path, making: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    """A service of pixel maps with small limits."""
    temporary = tmp_path_factory.mktemp("uploads")
    limits = Limits(upload_bytes=4_000_000, upload_events=200, parse_seconds=300)  # the machine may be busy
    data = str(place / "maps.h5")
    return ServeSettings(data, making.map_places(place), temporary=str(temporary), warm_up=False, limits=limits)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TestClient]:
    """A client of a new service; use it in a ``with``."""

    def begin(settings: ServeSettings, **changed: Any) -> TestClient:
        new = replace(settings, temporary=str(tmp_path_factory.mktemp("uploads")), **changed)
        return TestClient(create_app(new), base_url=ADDRESS, raise_server_exceptions=False)

    return begin


@pytest.fixture(scope="session")
def maps(map_settings: ServeSettings, start: Callable[..., TestClient]) -> Iterator[TestClient]:
    """A service of pixel maps."""
    with start(map_settings) as client:
        yield client


@pytest.fixture(scope="session")
def clouds(
    map_settings: ServeSettings, place: Path, making: ModuleType, start: Callable[..., TestClient]
) -> Iterator[TestClient]:
    """A service of clouds."""
    with start(map_settings, data=str(place / "clouds.h5"), places=making.cloud_places(place)) as client:
        yield client
