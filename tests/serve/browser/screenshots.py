"""The pictures of docs/serve.md: ``python screenshots.py OUT``.

Two services must run, with F made by ``made_up.py F``:
``nuadapt serve F/pixels/{cnn,vlm,untrained} --data F/pixels/events.h5 --port 8021`` and
``nuadapt serve F/clouds/{pion,recoil,untrained} --data F/clouds/events.h5 --port 8022``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PIXELS, CLOUDS = "http://127.0.0.1:8021", "http://127.0.0.1:8022"
#: Name -> (address, selector to wait for, width, height, colour scheme).
PICTURES = {
    "serve-event": (f"{PIXELS}/#/events/34?overlay=truth", ".display canvas[data-drawn]", 1280, 900, "light"),
    "serve-evidence": (f"{PIXELS}/#/events/4?evidence=cnn&run=vlm", ".evidence-bar", 1280, 900, "dark"),
    "serve-cloud": (f"{CLOUDS}/#/events/34", ".cloud canvas[data-drawn]", 1280, 900, "light"),
    "serve-run": (f"{PIXELS}/#/runs/cnn", ".confusion", 1280, 1180, "light"),
    "serve-narrow": (f"{PIXELS}/#/events/34?overlay=truth", ".display canvas[data-drawn]", 390, 844, "dark"),
}


def main(out: Path) -> None:
    """Write all pictures."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        for name, (address, selector, width, height, scheme) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(address)
            page.wait_for_selector(selector, timeout=240_000)
            page.wait_for_timeout(1000)
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").save(out / f"{name}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
