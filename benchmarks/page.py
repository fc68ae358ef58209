"""The page of the service in a real browser: seconds until it shows something, from its first request on.

    python benchmarks/page.py [RUN or EVALUATION ...] --data events.h5 [--loads 6]

Each load is a browser context of its own, so nothing is cached. Prints the median and the worst of: first rows of the
list, the list in another order, the next page of it, and an event with its pictures drawn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from serve import free_port, wait_for

CHROMIUM = "/usr/bin/chromium"
ROWS = ".list tr[data-index]"


def main() -> None:
    """Parse, start the service, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--loads", type=int, default=6)
    given = parser.parse_args()
    port = free_port()
    command = [sys.executable, "-m", "nuadapt.cli", "serve", *given.places, "--data", str(given.data)]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    times: dict[str, list[float]] = defaultdict(list)
    try:
        wait_for(port, server)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            for _ in range(given.loads):
                context = browser.new_context(viewport={"width": 1280, "height": 900})
                look(context.new_page(), f"http://127.0.0.1:{port}/", times)
                context.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    for what, seconds in times.items():
        print(f"{what:28s} median {np.median(seconds):5.2f} s, worst {max(seconds):5.2f} s")


def look(page: Page, address: str, times: dict[str, list[float]]) -> None:
    """One visit."""

    def timed(what: str, act: Callable[[], Any], selector: str) -> None:
        began = time.perf_counter()
        act()
        page.wait_for_selector(selector)
        times[what].append(time.perf_counter() - began)

    status = ".pager [role=status]"
    timed("first rows", lambda: page.goto(address), ROWS)
    timed("sorted by energy", lambda: page.click("button[data-sort=energy]"), "th[aria-sort] [data-sort=energy]")
    timed("the next page", lambda: page.click("[aria-label='Next page']"), f"{status}:text-matches('^51')")
    timed("an event with its pictures", lambda: page.locator(f"{ROWS} a").first.click(), "canvas[data-drawn]")


if __name__ == "__main__":
    main()
