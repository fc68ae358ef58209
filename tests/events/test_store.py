"""The event store: what goes in comes out, whatever the order of reading, and whenever the writer dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, DataError, InputFileError, NuadaptError, OutputError
from nuadapt.events.store import EventStore, EventWriter, Layout

N_BATCHES = 10
KINDS = [
    pytest.param({}, id="all"),
    pytest.param({"truth": False}, id="recorded"),
    pytest.param({"maps": False}, id="no-maps"),
    pytest.param({"truth": False, "maps": False, "particles": False}, id="keys-only"),
]


@pytest.fixture(scope="module")
def store_path(making: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return making.write_store(tmp_path_factory.mktemp("store") / "events.h5", N_BATCHES)


@pytest.fixture
def n(making: SimpleNamespace) -> int:
    return N_BATCHES * making.BATCH


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_appended_is_read(making: SimpleNamespace, tmp_path: Path, kind: dict[str, bool]) -> None:
    path = making.write_store(tmp_path / "e.h5", N_BATCHES, **kind)
    whole = making.make_batch(0, N_BATCHES * making.BATCH, **kind)
    whole.columns["split"][:] = 0
    with EventStore(path) as store:
        assert store.complete
        assert store.record == making.RECORD
        assert store.layout == Layout.of(whole)
        assert Layout.from_json(store.layout.to_json()) == store.layout
        assert making.differences(store.read(slice(None)), whole) == []
        assert store.problems() == []
        for batch, start in zip(store.batches(9), range(0, len(store), 9), strict=True):
            assert making.differences(batch, whole.select(np.arange(start, min(start + 9, len(whole))))) == []


def test_pieces_of_a_store_equal_pieces_of_the_whole(making: SimpleNamespace, store_path: Path, n: int) -> None:
    with EventStore(store_path) as store:
        whole = store.read(slice(0, n))

        @given(rows=st.lists(st.integers(0, n - 1), max_size=12))
        @settings(max_examples=40)
        def any_rows(rows: list[int]) -> None:
            index = np.array(rows, dtype=np.int64)
            assert making.differences(store.read(index), whole.select(index)) == []

        @given(cut=st.slices(n))
        @settings(max_examples=40)
        def any_slice(cut: slice) -> None:
            assert making.differences(store.read(cut), whole.select(np.arange(n)[cut])) == []

        any_rows()
        any_slice()
        for row in range(0, n, 4):
            np.testing.assert_array_equal(store.maps(row).dense(0), whole.pixelmap.dense(row))


def test_rows_that_are_not_there(store_path: Path, n: int) -> None:
    with EventStore(store_path) as store:
        for rows in ([-1], [n], [0, n + 5]):
            with pytest.raises(DataError, match=f"row {rows[-1]}"):
                store.read(np.array(rows))
        with pytest.raises(DataError, match=f"row {n}"):
            store.maps(n)
        with pytest.raises(DataError, match="did you mean 'nu_energy'"):
            store.column("nu_enrgy")


def test_splits_are_stored(making: SimpleNamespace, tmp_path: Path) -> None:
    batch = making.make_batch(0, 10)
    split = np.array([0, 1, 2, 0, 0, 1, 2, 0, 0, 0], dtype="u1")
    with EventWriter.create(tmp_path / "e.h5", Layout.of(batch), {}) as writer:
        writer.append(batch)
        with pytest.raises(DataError, match="10 events"):
            writer.finish(split=split[:1])
        writer.finish(split=split)
    with EventStore(tmp_path / "e.h5") as store:
        assert store.rows_of("val").tolist() == [1, 5]
        assert store.rows_of("test").tolist() == [2, 6]
        assert sorted([*store.rows_of("train"), 1, 5, 2, 6]) == store.rows_of("all").tolist() == list(range(10))
        with pytest.raises(ConfigError, match="did you mean 'test'"):
            store.rows_of("tset")


def test_store_of_no_events(making: SimpleNamespace, tmp_path: Path) -> None:
    path = making.write_store(tmp_path / "e.h5", 0)
    with EventStore(path) as store:
        assert len(store) == 0
        assert store.complete
        assert len(store.read(slice(None))) == len(store.read(np.array([], dtype=int))) == 0
        assert list(store.batches(4)) == store.problems() == []
        assert len(store.rows_of("train")) == 0
        assert store.fingerprint()


def test_writer_refuses(making: SimpleNamespace, tmp_path: Path, store_path: Path) -> None:
    batch = making.make_batch(0, 3)
    with pytest.raises(OutputError, match="exists"):
        EventWriter.create(store_path, Layout.of(batch), {})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        EventWriter.create(tmp_path / "file" / "e.h5", Layout.of(batch), {})
    with EventWriter.create(tmp_path / "e.h5", Layout.of(batch), {}) as writer:
        with pytest.raises(DataError, match="does not fit"):
            writer.append(making.make_batch(0, 3, particles=False))
        writer.append(batch)
        assert writer.n_events == 3
    with EventStore(tmp_path / "e.h5") as store:
        assert len(store) == 3
        assert store.problems() == ["the writer did not finish: 3 events are stored"]


def test_long_and_foreign_source_names(making: SimpleNamespace, tmp_path: Path) -> None:
    batch = making.make_batch(0, 3)
    with EventWriter.create(tmp_path / "e.h5", Layout.of(batch), {}) as writer:
        object.__setattr__(batch, "sources", ("ν" * 257,))
        with pytest.raises(DataError, match="512"):
            writer.append(batch)
        object.__setattr__(batch, "sources", ("ν" * 256,))
        writer.append(batch)
    assert EventStore(tmp_path / "e.h5").sources == ("ν" * 256,)


def test_fingerprint_sees_every_part(making: SimpleNamespace, tmp_path: Path) -> None:
    def fingerprint(name: str, **change: object) -> str:
        batch = making.make_batch(0, 12)
        for part, edit in change.items():
            edit(batch)  # type: ignore[operator]
            del part
        with EventWriter.create(tmp_path / name, Layout.of(batch), {}) as writer:
            writer.append(batch)
        with EventStore(tmp_path / name) as store:
            return store.fingerprint()

    def move_a_particle(batch: object) -> None:  # from event 2 to event 1
        batch.particles.offsets[2] += 1  # type: ignore[attr-defined]

    edits = {
        "energy": lambda b: b["nu_energy"].__setitem__(3, 1.0),
        "weight": lambda b: b["weight"].__setitem__(3, 9.0),
        "pdg": lambda b: b.particles.columns["pdg"].__setitem__(0, 321),
        "particle": move_a_particle,
        "pixel": lambda b: b.pixelmap.value.__setitem__(5, 0.3),
        "origin": lambda b: b.pixelmap.origin.__setitem__((2, 1, 0), 0.3),
    }
    found = {fingerprint(f"{name}.h5", edit=edit) for name, edit in edits.items()}
    plain = fingerprint("plain.h5")
    assert fingerprint("again.h5") == plain
    assert len(found | {plain}) == len(edits) + 1


def test_problems_name_repeated_keys(making: SimpleNamespace, tmp_path: Path) -> None:
    batch = making.make_batch(0, 4)
    with EventWriter.create(tmp_path / "e.h5", Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.append(batch.select(np.array([1, 2])))
        writer.finish()
    with EventStore(tmp_path / "e.h5") as store:
        assert store.problems() == ["2 events share their key with another event"]


# A writer that dies


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.11, 0.26])
def test_killed_writer_leaves_whole_batches_and_resumes(making: SimpleNamespace, tmp_path: Path, delay: float) -> None:
    path, n = tmp_path / "e.h5", 0
    for attempt in range(2):  # the second kill hits a resumed writer
        _kill_writer(making, path, delay * (attempt + 1))
        with EventStore(path) as store:
            n = len(store)
            assert not store.complete
            assert n % making.BATCH == 0
            assert making.differences(store.read(slice(None)), making.make_batch(0, n)) == []
    batches = n // making.BATCH + 5
    making.go_on(path, batches, 0)
    assert making.write_store(tmp_path / "undisturbed.h5", batches).exists()
    assert EventStore(path).fingerprint() == EventStore(tmp_path / "undisturbed.h5").fingerprint()
    assert EventStore(path).complete
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.h5", "undisturbed.h5"]


def _kill_writer(making: SimpleNamespace, path: Path, delay: float) -> None:
    """Start a writer of endless batches, and kill it ``delay`` seconds after it has stored something."""
    before = path.stat().st_ino if path.exists() else None
    writer = subprocess.Popen([sys.executable, str(making.script), str(path), "100000", "0.001"])
    try:
        give_up = time.monotonic() + 60
        while not (path.exists() and path.stat().st_ino != before and _length(path)):
            assert writer.poll() is None
            assert time.monotonic() < give_up, "the writer stores nothing that can be read"
            time.sleep(0.005)
        time.sleep(delay)
    finally:
        writer.kill()
        writer.wait()


def _length(path: Path) -> int:
    try:
        with EventStore(path) as store:
            return len(store)
    except InputFileError:  # the writer has not got so far
        return 0


def test_store_is_read_while_it_is_written(making: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    with EventWriter.create(path, Layout.of(making.make_batch(0, 1)), {}) as writer:
        for i in range(4):
            writer.append(making.make_batch(i * 7, 7))
            code = (
                "import sys; from pathlib import Path; from nuadapt.events.store import EventStore; "
                f"s = EventStore({str(path)!r}); assert len(s) == len(s.read(slice(None))) == {7 * (i + 1)}; "
                "assert not s.complete"
            )
            assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
            with EventStore(path) as store:  # in the writer's own process, too
                assert making.differences(store.read(slice(None)), making.make_batch(0, 7 * (i + 1))) == []


# Workers


def test_pickled_store_opens_in_a_spawned_worker(store_path: Path) -> None:
    with EventStore(store_path) as store:
        assert pickle.loads(pickle.dumps(store)).fingerprint() == store.fingerprint()
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            found = pool.map(store.column, ["event", "run", "nu_energy"])
        for name, column in zip(("event", "run", "nu_energy"), found, strict=True):
            assert column.tobytes() == store.column(name).tobytes()


def test_forked_workers_read_at_the_same_time(store_path: Path) -> None:
    # In a process of its own: forking the test process with its threads would be another test.
    code = f"""
import contextlib
import multiprocessing
from nuadapt.events.store import EventStore
store = EventStore({str(store_path)!r})
expected = store.fingerprint()
def work(_):
    return store.fingerprint()
with multiprocessing.get_context("fork").Pool(3) as pool:
    found = pool.map(work, range(12), chunksize=1)
assert set(found) == {{expected, store.fingerprint()}} and len(set(found)) == 1
"""
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# Files that are not event stores


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    with pytest.raises(InputFileError, match="no such file"):
        EventStore(path)
    with pytest.raises(InputFileError, match="not a file"):
        EventStore(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InputFileError, match="empty"):
        EventStore(path)
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(InputFileError, match="not an HDF5 file"):
        EventStore(path)
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(InputFileError, match="not an event store"):
        EventStore(path)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("schema_version", 99, "schema version 99"),
        ("format", "other", "not an event store"),
        ("layout", "{", "damaged"),
        ("layout", "[]", "damaged"),
        ("layout", "{}", "damaged"),
        ("record", "?", "damaged"),
    ],
)
def test_impossible_headers(store_path: Path, tmp_path: Path, attribute: str, value: object, message: str) -> None:
    path = _copy(store_path, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = value
    with pytest.raises(InputFileError, match=message):
        EventStore(path)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("by", [-1, 1, 10**12, -(10**12)])
def test_wrong_commits_are_noticed(store_path: Path, tmp_path: Path, place: int, by: int) -> None:
    path = _copy(store_path, tmp_path)
    with h5py.File(path, "r+") as file:
        file["commit"][place] += by
    with pytest.raises(NuadaptError), EventStore(path) as store:
        store.read(slice(None))


@pytest.mark.parametrize("name", ["commit", "sources", "columns/W", "particles/offsets", "particles/E", "pixelmap/row"])
def test_missing_parts(store_path: Path, tmp_path: Path, name: str) -> None:
    path = _copy(store_path, tmp_path)
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(InputFileError, match="damaged"), EventStore(path) as store:
        store.read(slice(None))


@pytest.mark.parametrize("finished", [True, False])
def test_truncated_at_any_length(making: SimpleNamespace, store_path: Path, tmp_path: Path, finished: bool) -> None:
    content, path = store_path.read_bytes(), tmp_path / "e.h5"
    if not finished:
        _kill_writer(making, tmp_path / "killed.h5", 0.05)
        content = (tmp_path / "killed.h5").read_bytes()
        end = int.from_bytes(content[28:36], "little")  # behind it are only events that were never counted
        assert len(content) >= end > 10_000
        content = content[:end]
    for length in {*range(0, 200, 13), *range(200, len(content), max(1, len(content) // 60)), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(InputFileError), EventStore(path) as store:
            store.fingerprint()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bits_never_give_another_kind_of_error(
    store_path: Path, tmp_path: Path, place: float, bit: int
) -> None:
    content = bytearray(store_path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path = tmp_path / "e.h5"
    path.write_bytes(content)
    with contextlib.suppress(NuadaptError), EventStore(path) as store:
        store.fingerprint()
        store.problems()


def _copy(path: Path, folder: Path) -> Path:
    (folder / "copy.h5").write_bytes(path.read_bytes())
    return folder / "copy.h5"
