"""A browser, and two services that it looks at: one of pixel maps, one of clouds."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 240  # seconds until a start or an answer is given up; generous, because the machine may be busy
TOKEN = "a-token-of-the-tests"


def _loaded(path: Path) -> ModuleType:
    name = f"nuadapt_tests_browser_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def made_up() -> ModuleType:
    """``made_up.py``: events, answers, models."""
    return _loaded(Path(__file__).with_name("made_up.py"))


@pytest.fixture(scope="session")
def folder(made_up: ModuleType, making: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`made_up.make_place`."""
    place: Path = made_up.make_place(tmp_path_factory.mktemp("browser"), making)
    return place


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Start ``nuadapt serve`` with these words on a free port; gives its address."""
    started = []

    def start(*words: object) -> str:
        port, log = free_port(), tmp_path_factory.mktemp("service") / "log"
        command = [sys.executable, "-m", "nuadapt.cli", "serve", *map(str, words), "--port", str(port)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"})
        started.append(process)
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=10).close()
                return address
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the service did not start: {log.read_text()}")

    yield start
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def pixels(service: Callable[..., str], folder: Path) -> str:
    """Address of a service of pixel maps."""
    place = folder / "pixels"
    return service(place / "cnn", place / "vlm", place / "untrained", "--data", place / "events.h5")


@pytest.fixture(scope="session")
def clouds(service: Callable[..., str], folder: Path) -> str:
    """Address of a service of clouds."""
    place = folder / "clouds"
    return service(place / "pion", place / "recoil", place / "untrained", "--data", place / "events.h5")


@pytest.fixture(scope="session")
def guarded(service: Callable[..., str], folder: Path) -> str:
    """Address of a service that asks for a token."""
    place = folder / "pixels"
    return service(place / "cnn", "--data", place / "events.h5", "--token", TOKEN, "--no-model")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; tests skip where it is absent or does not start."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}; apt-get install chromium")
    driver = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright (extra 'dev')")
    with driver.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a new tab: ``open_page(address, width=1280, scheme="light")``.

    Fails at the end if a script failed, the content policy refused something, or another server was asked.
    """
    contexts, wrong = [], []

    def begin(address: str, width: int = 1280, height: int = 900, scheme: str = "light", **how: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **how)
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("console", lambda said: wrong.append(said.text) if _is_wrong(said) else None)
        page.on("request", lambda asked: wrong.append(asked.url) if _is_foreign(asked.url) else None)
        page.goto(address)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert wrong == []


def _is_wrong(said: Any) -> bool:
    # Answers with an error status are told by the browser, too; tests of errors look at the page instead.
    return said.type in ("error", "warning") and "Failed to load resource" not in said.text


def _is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


@pytest.fixture(scope="session")
def ask() -> Callable[[str], Any]:
    """The JSON answer of an address."""

    def get(address: str) -> Any:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return json.load(answer)

    return get


@pytest.fixture
def picture() -> Callable[..., str]:
    """What a canvas shows, as a data address, after the next frame has been drawn."""

    def look(page: Any, selector: str) -> str:
        page.wait_for_selector(f"{selector}[data-drawn]")
        script = """(canvas) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
            () => done(canvas.toDataURL()))))"""
        return str(page.eval_on_selector(selector, script))

    return look
