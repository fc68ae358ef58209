"""A service of its own process: stopped politely it finishes, killed under load it leaves all files as they were."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

httpx = pytest.importorskip("httpx")

_PATIENCE = 300.0  # s; the machine may be busy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(*words: object, port: int | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``nuadapt serve`` in a process; yields it and its address once it answers."""
    port = port or free_port()
    command = [sys.executable, "-m", "nuadapt.cli", "serve", *map(str, words), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < end
            try:
                if httpx.get(f"{address}/health", timeout=30).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def fingerprint(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def load(address: str, files: list[tuple[str, bytes]], stop: threading.Event, n: int = 6) -> list[threading.Thread]:
    """Clients that list, look, ask and upload until told to stop; what fails then does not matter."""

    def work(number: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while not stop.is_set():
                try:
                    client.get("/api/events?sort=energy")
                    client.get(f"/api/events/{number}/views/xz.png")
                    client.post(f"/api/events/{number}/predict?run=cnn-all")
                    client.post("/api/predict?run=cnn-all", files=[("files", f) for f in files])
                except httpx.HTTPError:
                    return

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    return threads


def words_for(place: Path, making: ModuleType) -> tuple[object, ...]:
    return ("--data", place / "maps.h5", *making.map_places(place))


@pytest.mark.slow
def test_killed_under_load_it_leaves_store_and_runs_as_they_were(
    place: Path, making: ModuleType, mutating: ModuleType
) -> None:
    before, stop = fingerprint(place), threading.Event()
    with served(*words_for(place, making)) as (process, address):
        threads = load(address, mutating.png_pair(), stop)
        answer = httpx.post(f"{address}/api/events/0/predict?run=cnn-all", timeout=_PATIENCE)  # it is at work
        assert answer.status_code == 200
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=_PATIENCE)
        stop.set()
        for thread in threads:
            thread.join(timeout=_PATIENCE)
    assert fingerprint(place) == before


@pytest.mark.slow
def test_asked_to_stop_it_finishes_what_it_accepted(place: Path, making: ModuleType, mutating: ModuleType) -> None:
    before, answers = fingerprint(place), []

    def ask(address: str, index: int) -> None:
        answer = httpx.post(f"{address}/api/events/{index}/predict?run=cnn-all", timeout=_PATIENCE)
        answers.append((answer.status_code, answer.json()["answer"]["label"]))

    with served(*words_for(place, making)) as (process, address):
        threads = [threading.Thread(target=ask, args=(address, i)) for i in range(8)]
        for thread in threads:
            thread.start()
        while httpx.get(f"{address}/health", timeout=_PATIENCE).json()["queue"]["waiting"] == 0 and len(answers) < 8:
            time.sleep(0.01)  # the model is being loaded while they wait
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(timeout=_PATIENCE)
        process.wait(timeout=_PATIENCE)
        assert process.returncode == 0
    assert len(answers) == 8
    assert {status for status, _ in answers} == {200}
    assert fingerprint(place) == before


@pytest.mark.slow
def test_several_processes_share_uploads(place: Path, making: ModuleType, mutating: ModuleType) -> None:
    with served(*words_for(place, making), "--workers", 2) as (_, address):
        found = httpx.post(
            f"{address}/api/predict", files=[("files", f) for f in mutating.png_pair()], timeout=_PATIENCE
        ).json()
        for _ in range(12):  # new connections, of which both processes take some
            answer = httpx.get(f"{address}/api/uploads/{found['upload']}/events/0", timeout=_PATIENCE)
            assert answer.status_code == 200


def processes_of(parent: int) -> list[int]:
    """Processes that ``parent`` started, and those that they started."""
    mine = [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return mine + [further for process in mine for further in processes_of(process)]


def lives(process: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_killed_it_leaves_no_process_behind(place: Path, making: ModuleType) -> None:
    with served(*words_for(place, making), "--workers", 2) as (process, _):
        started = processes_of(process.pid)
        assert len(started) >= 2
        process.kill()
    end = time.monotonic() + _PATIENCE
    while any(map(lives, started)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(lives, started))


def test_a_taken_port_is_said(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = call("--data", place / "maps.h5", "--port", taken.getsockname()[1])
    assert result.returncode == 2
    assert "cannot listen" in result.stderr


def call(*words: object) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "nuadapt.cli", "serve", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "none.h5"], "no such file"),
        (["--data", "{maps}", "{place}"], "record.json"),
        (["--data", "{maps}", "no-such-model"], "no such folder"),
        (["--data", "{maps}", "--set", "upload_event=3"], "did you mean 'upload_events'"),
        (["--data", "{maps}", "--host", "0.0.0.0", "--token", "short"], "16 printable"),
    ],
)
def test_wrong_starts_get_one_paragraph(words: list[str], expected: str, place: Path) -> None:
    result = call(*(word.format(maps=place / "maps.h5", place=place) for word in words))
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
