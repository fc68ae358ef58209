"""Events per second of the MINERvA reader against a plain event-by-event loop, on a large file.

The file is the sample with its events repeated: each branch gets ten baskets of REPEAT times the sample's entries. (No
library here can write a ROOT tree with vectors of vectors.) Both sides read it in the same run; the loop does what a
script does that builds one event at a time from the same branches. Then the file is brought into a store by one process
and by two, alone and as one of four.

``python benchmarks/ingest_minerva.py SAMPLE.root [REPEAT]``
"""

from __future__ import annotations

import multiprocessing
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import uproot

from nuadapt.sources.formats import ReadOptions
from nuadapt.sources.ingest import ingest
from nuadapt.sources.minerva import branches
from nuadapt.sources.minerva.options import PRESETS
from nuadapt.sources.minerva.reader import read
from nuadapt.sources.reading import ReadReport

LISTED = 10  # slots for baskets that ROOT gives a branch from the beginning


def compressed(content: bytes) -> bytes:
    """ROOT's blocks of at most 16 MB, zlib."""
    out = b""
    for at in range(0, len(content), 0xFFFFFF):
        block = content[at : at + 0xFFFFFF]
        packed = zlib.compress(block, 1)
        sizes = (len(packed).to_bytes(3, "little"), len(block).to_bytes(3, "little"))
        out += b"ZL\x08" + b"".join(sizes) + packed
    return out


def repeated(branch: uproot.TBranch, repeat: int) -> tuple[bytes, bytes, int]:
    """Content of a basket with all entries ``repeat`` times, their offsets (b"" for fixed size), and entries."""
    data, ends, fixed = [], [], True
    for i in range(branch.num_baskets):
        basket = branch.basket(i)
        data.append(basket.data.tobytes())
        if basket.byte_offsets is not None:
            fixed = False
            ends.append(np.diff(basket.byte_offsets))
    one = b"".join(data)
    if fixed:
        return one * repeat, b"", branch.num_entries * repeat
    lengths = np.tile(np.concatenate(ends), repeat)
    return one * repeat, np.concatenate([[0], np.cumsum(lengths)]), branch.num_entries * repeat


def basket_key(branch: uproot.TBranch, repeat: int, seek: int, directory: int) -> tuple[bytes, int]:
    """A whole TBasket with its TKey (ROOT file format, TKey version 1004) at ``seek``; its size."""
    content, offsets, entries = repeated(branch, repeat)
    strings = b"".join(bytes([len(s)]) + s for s in (b"TBasket", branch.name.encode()[:250], b"MasterAnaDev"))
    key_length = 4 + 2 + 4 + 4 + 2 + 2 + 8 + 8 + len(strings) + 2 + 4 + 4 + 4 + 4 + 1
    body = content
    if len(offsets):
        table = np.append(offsets[:-1] + key_length, 0).astype(">i4")  # ROOT counts from the start of the key
        body += struct.pack(">i", len(table)) + table.tobytes()
    packed = compressed(body)
    head = struct.pack(">ihiIhhqq", key_length + len(packed), 1004, len(body), 0, key_length, 1, seek, directory)
    tail = struct.pack(">hiiiib", 3, 64_000_000, 1000 if len(offsets) else 0, entries, key_length + len(content), 0)
    return head + strings + tail + packed, entries


def patched(
    buffer: bytearray, entries: dict[str, tuple[uproot.TBranch, list[int], int, int]], n: int, old: int
) -> bytearray:
    """The serialised tree with the new baskets of each branch: (branch, seeks, bytes, entries of one basket)."""
    first = len(buffer)
    for branch, seeks, size, per_basket in entries.values():
        member = branch.member
        arrays = [(member("fBasketBytes"), ">i4"), (member("fBasketEntry"), ">i8"), (member("fBasketSeek"), ">i8")]
        was = b"".join(b"\x01" + values.astype(kind).tobytes() for values, kind in arrays)
        now = [np.full(LISTED, size), per_basket * np.arange(LISTED), np.array(seeks)]
        at = buffer.index(was)
        buffer[at : at + len(was)] = b"".join(
            b"\x01" + v.astype(k).tobytes() for v, (_, k) in zip(now, arrays, strict=True)
        )
        numbers = ("fCompress", "fBasketSize", "fEntryOffsetLen", "fWriteBasket", "fEntryNumber")
        head = struct.pack(">4iq", *(member(name) for name in numbers))
        head_at = buffer.rindex(head, 0, at)
        buffer[head_at : head_at + len(head)] = struct.pack(">4iq", *(member(m) for m in numbers[:3]), LISTED, n)
        tail = struct.pack(">2q", member("fEntries"), member("fFirstEntry"))
        tail_at = buffer.index(tail, head_at + len(head), at)
        buffer[tail_at : tail_at + 8] = struct.pack(">q", n)
        first = min(first, head_at)
    at = buffer.index(struct.pack(">q", old), 0, first)
    buffer[at : at + 8] = struct.pack(">q", n)
    return buffer


def make_large(sample: Path, out: Path, repeat: int) -> int:
    """Write the sample with each event LISTED x ``repeat`` times; the number of events."""
    content = bytearray(sample.read_bytes())
    with uproot.open(sample) as file:
        events, key = file["MasterAnaDev"], file.key("MasterAnaDev")
        directory, placed = 100, {}
        for branch in events.branches:
            seeks = []
            for _ in range(LISTED):  # each at a place of its own: uproot waits for ever for a range asked for twice
                seeks.append(len(content))
                basket, entries = basket_key(branch, repeat, len(content), directory)
                content += basket
            placed[branch.name] = (branch, seeks, len(basket), entries)
        chunk, cursor = key.get_uncompressed_chunk_cursor()
        start = cursor.index
        raw = bytearray(chunk.raw_data[start : start + key.data_uncompressed_bytes].tobytes())
        n = LISTED * events.num_entries * repeat
        new_tree = patched(raw, placed, n, events.num_entries)
        old = bytes(content[key.fSeekKey : key.fSeekKey + key.fKeylen])
        small = key.fVersion < 1000
        seek = struct.pack(">i" if small else ">q", len(content))
        new = struct.pack(">i", key.fKeylen + len(new_tree)) + old[4:18] + seek + old[18 + len(seek) :]
        listed = content.index(old, key.fSeekKey + 1)
        content[listed : listed + len(old)] = new
        content += new + new_tree
    out.write_bytes(content)
    return n


def one_by_one(path: Path, limit: int) -> Iterator[list[tuple[float, ...]]]:
    """Tokens of each event, made one event at a time: the plain script that the reader is compared with."""
    names = [*branches.MUON, *branches.PHOTONS, *branches.BLOBS, *branches.PRONGS, *branches.EVENT, *branches.TRUTH]
    with uproot.open(path) as file:
        for arrays in file["MasterAnaDev"].iterate(names, step_size=2000, entry_stop=limit, library="ak"):
            for event in arrays.tolist():
                yield tokens_of(event)


def kinematic(px: float, py: float, pz: float, energy: float) -> tuple[float, ...]:
    p = np.sqrt(px * px + py * py + pz * pz)
    pt = np.hypot(px, py)
    eta = 0.5 * np.log((p + pz) / (p - pz)) if min(p, p + pz, p - pz) > 1e-6 else 0.0
    return eta, np.arctan2(py, px), np.log(pt + 1e-6), np.log(energy + 1e-6)


def tokens_of(event: dict[str, object]) -> list[tuple[float, ...]]:
    """Muon, photons, blobs and prongs of one event, without merging or any check of values."""
    tokens = []
    if event["muon_corrected_p"][0] != -999:
        tokens.append(kinematic(*event["muon_corrected_p"]))
    for i in (1, 2):
        if event[f"gamma{i}_E"] > 1e-5:
            tokens.append(kinematic(*(event[f"gamma{i}_{a}"] for a in ("px", "py", "pz", "E"))))
    places = zip(*(event[f"MasterAnaDev_Blob{a}"] for a in ("X", "Y", "Z", "TotalE")), strict=True)
    for x, y, z, energy in places:
        r = np.sqrt(x * x + y * y + z * z)
        tokens.append(kinematic(energy * x / r, energy * y / r, energy * z / r, energy))
    for p4, pid in zip(event["prong_part_E"], event["prong_part_pid"], strict=True):
        if pid not in (-999, 0) and p4[3] > 1e-6:
            tokens.append(kinematic(*p4))
    sum(e - 938.272 if abs(c) == 2212 else e for e, c in zip(event["mc_FSPartE"], event["mc_FSPartPDG"], strict=True))
    return tokens


def main(sample: Path, repeat: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.root"
        n = make_large(sample, path, repeat)
        print(f"{n} events, {path.stat().st_size / 1e6:.0f} MB")
        next(iter(read(path, PRESETS["nuadapt"], ReadReport())))  # compiles what uproot compiles once
        rates = {}
        for preset in PRESETS:
            start, cpu = time.perf_counter(), time.process_time()
            seen = sum(len(batch) for batch in read(path, PRESETS[preset], ReadReport()))
            rates[preset] = seen / (time.process_time() - cpu)
            wall = seen / (time.perf_counter() - start)
            print(f"reader, {preset}: {wall:,.0f} events/s, {rates[preset]:,.0f} a CPU second")
        limit, cpu = min(n, 6000), time.process_time()
        loop = sum(1 for _ in one_by_one(path, limit)) / (time.process_time() - cpu)
        print(f"event by event: {loop:,.0f} events a CPU second; ratio {rates['nuadapt'] / loop:.1f}")
        compare_workers(path, Path(folder), 2 * n // LISTED)


def compare_workers(path: Path, folder: Path, step: int) -> None:
    """Print how much faster two processes read one large file and four of them, with the store written.

    ``step`` is two baskets, so that none is read in parts by two processes; those of an experiment are much smaller.
    """
    files = [path, *(folder / f"copy{i}.root" for i in range(1, 4))]
    for copy in files[1:]:
        copy.symlink_to(path)
    for given in (files[:1], files):
        took = []
        for workers in (1, 2):
            out = folder / f"{len(given)}_{workers}.h5"
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # so that memory is its own
                events, seconds, busy, own, child = fresh.submit(measured, given, out, workers, step).result()
            took.append(seconds)
            print(
                f"ingest of {len(given)} files, {workers} workers: {events / seconds:,.0f} events/s, "
                f"{events / busy:,.0f} a CPU second, {out.stat().st_size / events:.0f} bytes an event, "
                f"at most {own:.0f} MB and {child:.0f} MB in each of the others, "
                f"{own + (workers if workers > 1 else 0) * child:.0f} MB together"
            )
        print(f"ratio of two workers to one: {took[0] / took[1]:.2f}")


def measured(files: list[Path], out: Path, workers: int, step: int) -> tuple[int, float, float, float, float]:
    """Events, seconds, CPU seconds, and the largest memory (MB) of this process and of any that it started."""
    start, cpu = time.perf_counter(), cpu_time()
    report = ingest(files, out, "minerva", reading=ReadOptions(workers=workers, settings={"step": step}))
    took, busy = time.perf_counter() - start, cpu_time() - cpu
    # Not ru_maxrss, which a process takes over from the one that started it.
    own = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    return report.n_events, took, busy, own, child


def cpu_time() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10)
