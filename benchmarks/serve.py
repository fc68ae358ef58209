"""The service under load: clients that list, look, ask a model and upload for a while, and what they waited.

    python benchmarks/serve.py RUN [EVALUATION ...] --data events.h5 [--clients 50] [--seconds 60]
    python benchmarks/serve.py --listing 100000        # filter, sort and page so many events, without a server

Prints median and 99th percentile of the latency of each kind of request, statuses, and the memory of the server (this
process and its children) after the first answers and at the end. Exit code 1 if anything but 200 and 429 came.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

Latencies = dict[str, list[float]]
#: Kinds of requests and how often each is chosen.
MIX = {"list": 4, "image": 3, "predict": 2, "upload": 1}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--listing", type=int, metavar="N", help="events of a made-up store")
    given = parser.parse_args()
    if given.listing:
        listing(given.listing)
        return
    if given.data is None or not given.places:
        parser.error("a place and --data are needed")
    port = free_port()
    command = [sys.executable, "-m", "nuadapt.cli", "serve", *given.places, "--data", str(given.data)]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        Load(port, server.pid).run(given.clients, given.seconds)
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Until the service answers."""
    while server.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def picture(side: int = 128) -> bytes:
    """A grey PNG with a line."""
    from PIL import Image

    grey = np.zeros((side, side), dtype=np.uint8)
    grey[np.arange(side), np.arange(side)] = 120
    out = io.BytesIO()
    Image.fromarray(grey).save(out, format="PNG")
    return out.getvalue()


def form(files: dict[str, bytes]) -> bytes:
    """A multipart body with the boundary ``b`` (RFC 7578)."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files.items()
    ]
    return b"".join(parts) + b"--b--\r\n"


class Load:
    """Clients in threads, each with a connection of its own and the next request as soon as the last is answered."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.server = port, psutil.Process(pid)
        self.times: Latencies = defaultdict(list)
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        data = json.loads(self.ask(self.connect(), "GET", "/api/data")[1])
        self.n = int(data["n_events"])
        self.views = [view["name"] for view in data["views"]]
        self.run_name = next(run["name"] for run in data["runs"] if run["has_model"])
        self.upload = form({"1_xz.png": picture(), "1_yz.png": picture()})

    def connect(self) -> http.client.HTTPConnection:
        """A connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        headers = {"Content-Type": "multipart/form-data; boundary=b"} if body else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def request(self, kind: str, draw: random.Random) -> tuple[str, str, bytes | None]:
        """Method, path and body of a request about random events."""
        index = draw.randrange(self.n)
        if kind == "list":
            sort = draw.choice(["index", "energy", "probability"])
            return "GET", f"/api/events?sort={sort}&order=desc&offset={draw.randrange(self.n)}&limit=50", None
        if kind == "image" and self.views:
            return "GET", f"/api/events/{index}/views/{draw.choice(self.views)}.png", None
        if kind == "image":
            return "GET", f"/api/events/{index}/cloud", None
        if kind == "predict":
            return "POST", f"/api/events/{index}/predict?run={self.run_name}", None
        return "POST", f"/api/predict?run={self.run_name}", self.upload

    def client(self, seed: int, end: float) -> None:
        """One client until ``end``; a client that is told to come back later waits a moment."""
        draw, connection = random.Random(seed), self.connect()
        while time.monotonic() < end:
            kind = draw.choices(list(MIX), list(MIX.values()))[0]
            began = time.perf_counter()
            status, _ = self.ask(connection, *self.request(kind, draw))
            self.times[kind].append(time.perf_counter() - began)
            self.statuses[kind][status] += 1
            if status == 429:
                time.sleep(0.5)

    def memory(self) -> float:
        """Resident memory of the server and its children, MB (1e6 bytes)."""
        total = 0
        for process in (self.server, *self.server.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:  # a reading process that has ended meanwhile
                continue
        return total / 1e6

    def run(self, clients: int, seconds: float) -> None:
        """Warm up, then all clients together; print."""
        for kind in MIX:  # loads the model, starts what reads uploads
            self.ask(self.connect(), *self.request(kind, random.Random(0)))
        memory = [self.memory()]
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self.client, args=(i, end)) for i in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            memory.append(self.memory())
        time.sleep(2)  # processes that read uploads end
        memory.append(self.memory())
        self.show(clients, seconds, memory)

    def show(self, clients: int, seconds: float, memory: list[float]) -> None:
        """A line for each kind."""
        print(f"{clients} clients, {seconds:g} s")
        for kind in MIX:
            times = np.array(self.times[kind] or [np.nan])
            median, late = np.percentile(times, [50, 99]) * 1e3
            statuses = ", ".join(f"{status}: {n}" for status, n in sorted(self.statuses[kind].items()))
            print(f"{kind:8s} median {median:7.0f} ms, 99% below {late:7.0f} ms; {statuses}")
        quarter = max(len(memory) // 4, 1)
        early, later = np.median(memory[1 : 1 + quarter]), np.median(memory[-quarter:])
        print(f"memory: {memory[0]:.0f} MB at the start, {memory[-1]:.0f} at the end, at most {max(memory):.0f};")
        print(f"  median of the first quarter {early:.0f} MB, of the last {later:.0f}")
        wrong = {status for counter in self.statuses.values() for status in counter} - {200, 429}
        if wrong:
            raise SystemExit(f"statuses {sorted(wrong)}")


def listing(n: int) -> None:
    """Time of pages of ``n`` made-up events with truth and one run."""
    from nuadapt.events.batch import EventBatch
    from nuadapt.events.store import EventStore, EventWriter, Layout
    from nuadapt.serve.catalogue import Query
    from nuadapt.serve.collection import Collection

    rng, number = np.random.default_rng(1), np.arange(n)
    given = {"run": number * 0 + 1, "subrun": number // 1000, "event": number, "source": number * 0}
    given |= {"nu_pdg": rng.choice([12, 14], n), "current": rng.choice([1, 2], n), "mode": rng.integers(1, 5, n)}
    given |= {"nu_energy": rng.uniform(0.2, 10, n)}
    batch = EventBatch.make(given, ["made-up"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.h5"
        with EventWriter.create(path, Layout.of(batch), {}) as writer:
            writer.append(batch)
            writer.finish((number % 3).astype("u1"))
        began = time.perf_counter()
        events = Collection(EventStore(path), [], "made-up")
        print(f"{n} events: opened in {1e3 * (time.perf_counter() - began):.0f} ms")
        for words, query in (
            ("as stored", Query()),
            ("sorted by energy", Query(sort="energy", order="desc")),
            (
                "one class and mode, 2 to 4 GeV",
                Query(truth="nc", mode="res", min_energy=2, max_energy=4, sort="energy"),
            ),
        ):
            first = timed(lambda query=query: events.page(query, 0, 50))  # type: ignore[misc]
            later = timed(lambda query=query: events.page(query, 20_000, 50))  # type: ignore[misc]
            print(f"{words}: first page {first:.1f} ms, a later one {later:.1f} ms")


def timed(what: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    what()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
