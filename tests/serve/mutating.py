"""Files of every format that an upload may have, small, and ways to damage them."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Files = list[tuple[str, bytes]]
_INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"nan",
    b"-1",
)


def dune(seed: int = 1) -> Files:
    """One DUNE event: three views of 500 x 500 bytes in zlib."""
    image = np.zeros(3 * 500 * 500, dtype=np.uint8)
    rng = np.random.default_rng(seed)
    image[rng.integers(0, len(image), 900)] = rng.integers(1, 255, 900)
    return [("event7.gz", zlib.compress(image.tobytes()))]


def png_pair(seed: int = 1, side: int = 32) -> Files:
    """One event as two grey pictures."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    files = []
    for view in ("xz", "yz"):
        grey = np.where(rng.random((side, side)) < 0.1, rng.integers(1, 255, (side, side)), 0).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(grey).save(out, format="PNG")
        files.append((f"12_{view}.png", out.getvalue()))
    return files


def nuhepmc(shared: Path, events: int = 2) -> Files:
    """The first events of a generator's file, as plain text."""
    text = gzip.decompress((shared / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz").read_bytes())
    head, *rest = text.split(b"\nE ")
    return [
        (
            "a.hepmc",
            head + b"".join(b"\nE " + event for event in rest[:events]) + b"\nHepMC::Asciiv3-END_EVENT_LISTING\n",
        )
    ]


def root(shared: Path) -> Files:
    """A small MINERvA tuple."""
    return [("a.root", (shared / "minerva" / "masteranadev_mc_edge.root").read_bytes())]


def samples(shared: Path) -> dict[str, Files]:
    """All formats by name."""
    return {"dune-cvn": dune(), "png-pairs": png_pair(), "nuhepmc": nuhepmc(shared), "minerva": root(shared)}


def mutations(files: Files, n: int, seed: int = 1) -> Iterator[Files]:
    """``n`` damaged copies: bytes flipped, set, cut, repeated, moved; files cut short, doubled, renamed."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        copies = list(files)
        at = int(rng.integers(len(copies)))
        name, content = copies[at]
        for _ in range(int(rng.integers(1, 6))):
            content = _damaged(content, rng)
        copies[at] = (_renamed(name, rng), content)
        if rng.random() < 0.05:
            copies.append(copies[at])
        yield copies


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One change. Half of them lie in the first kilobyte, where headers are."""
    size = len(content)
    if not size:
        return bytes(rng.integers(0, 256, 20, dtype=np.uint8))
    reach = min(size, 1024) if rng.random() < 0.5 else size
    at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
    kind = int(rng.integers(8))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at + length :]
    if kind == 2:
        return content[:at] + content[at : at + length] * int(rng.integers(2, 50)) + content[at + length :]
    if kind == 3:
        return content[:at] + bytes(rng.integers(0, 256, length, dtype=np.uint8)) + content[at + length :]
    if kind == 4:
        word = _INTERESTING[int(rng.integers(len(_INTERESTING)))]
        return content[:at] + word + content[at + len(word) :]
    if kind == 5:
        other = int(rng.integers(size))
        return content[:at] + content[other : other + length] + content[at:]
    flipped = bytearray(content)
    flipped[at] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def _renamed(name: str, rng: np.random.Generator) -> str:
    """Mostly the name itself, at times one that would be dangerous as a path."""
    if rng.random() < 0.9:
        return name
    odd = ("../../etc/passwd", "/etc/passwd", "a\x01b.gz", "x" * 300, "..", "C:\\a.png", "event99999999999999999999.gz")
    return odd[int(rng.integers(len(odd)))]
