"""The OmniLearned layout: its own loader reads our files, and we read its datasets."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError
from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of
from nuadapt.events.cloud import JET_EXTRAS, Clouds, event_inputs, minerva_spec, token_inputs
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.events.truth import pion_label
from nuadapt.sources import omnilearned
from nuadapt.sources.formats import detect_format
from nuadapt.sources.ingest import ingest
from nuadapt.sources.reading import ReadReport
from nuadapt.sources.simulation.jets.detector import SPEC


def make_store(path: Path, n: int = 40, *, split: bool = True) -> Path:
    """Events with 0 to 6 tokens, the first token of event 3 with pT of exactly 1 GeV."""
    rng, counts = np.random.default_rng(4), np.arange(n) % 7
    offsets = np.concatenate([[0], np.cumsum(counts)])
    spec = minerva_spec("beam")
    columns = {name: rng.uniform(0.1, 2, offsets[-1]) for name in spec.columns}
    columns["dedx"] *= 1e-3
    columns["type"] = rng.integers(1, 10, offsets[-1])
    columns["log_pt"][offsets[3]] = 0.0
    numbers = np.arange(n)
    key = {"run": numbers * 0, "subrun": numbers * 0, "event": numbers, "source": numbers * 0, "entry": numbers}
    truth = {"current": 1 + numbers % 2, "n_charged_pions": numbers % 3, "n_neutral_pions": numbers % 2}
    truth["current"] = np.where(numbers == 11, 0, truth["current"])  # no label
    batch = EventBatch.make(key | truth, ["a.root"], cloud=Clouds.make(spec, offsets, columns))
    with EventWriter.create(path, Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.finish(numbers % 3 if split else None)
    return path


@pytest.fixture
def exported(tmp_path: Path) -> tuple[EventStore, Path]:
    store = EventStore(make_store(tmp_path / "s.h5"))
    assert omnilearned.export(store, tmp_path / "custom") == {"no label": 1}
    return store, tmp_path / "custom"


def test_files_hold_what_they_should(exported: tuple[EventStore, Path]) -> None:
    store, folder = exported
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero((np.arange(40) % 3 == number) & (np.arange(40) != 11))
        batch = store.read(rows)
        inputs, mask = batch.cloud.dense(token_inputs(batch.cloud), 17)
        with h5py.File(folder / split / "events.h5") as file:
            assert {name: file[name].shape for name in file} == {
                "data": (len(rows), 17, 10), "global": (len(rows), 16), "pid": (len(rows),)
            }  # fmt: skip
            data, conditions = file["data"][:], file["global"][:]
            labels = pion_label(batch["current"], batch["n_charged_pions"], batch["n_neutral_pions"])
            np.testing.assert_array_equal(file["pid"][:], labels)
        np.testing.assert_array_equal((data != 0).any(axis=2), mask)
        np.testing.assert_array_equal(data[:, :, 2] != 0, mask)  # how the package tells padding: pT = 1 GeV stays
        np.testing.assert_array_equal(data[:, :, 4], batch.cloud.dense(batch.cloud.columns["type"], 17)[0])
        np.testing.assert_allclose(np.delete(data, 4, axis=2), inputs, atol=1.1e-6)
        np.testing.assert_array_equal(conditions[:, :15], event_inputs(batch.columns))
        generated = (100 * conditions[:, 15]).astype(int)  # as omnilearned 0.2.0 does it (diffusion.py)
        np.testing.assert_array_equal(generated, mask.sum(axis=1))


def test_the_package_s_own_loader_reads_them(exported: tuple[EventStore, Path], tmp_path: Path) -> None:
    loader = pytest.importorskip("omnilearned.dataloader", reason="the omnilearned package is not installed")
    options = {"batch": 8, "distributed": False, "num_workers": 0, "shuffle": False}
    batches = list(
        loader.load_data(
            "custom",
            str(tmp_path),
            dataset_type="train",
            use_cond=True,
            use_pid=True,
            use_add=True,
            num_add=5,
            **options,
        )
    )
    first = batches[0]
    assert sum(len(b["y"]) for b in batches) == 14
    assert {k: tuple(v.shape) for k, v in first.items() if v is not None} == {
        "X": (8, 17, 4), "y": (8,), "cond": (8, 16), "pid": (8, 17), "add_info": (8, 17, 5)
    }  # fmt: skip
    store, _ = exported
    one = store.read(np.arange(0, 24, 3))
    np.testing.assert_array_equal(first["pid"].numpy(), one.cloud.dense(one.cloud.columns["type"], 17)[0])


def test_our_files_come_back(exported: tuple[EventStore, Path]) -> None:
    store, folder = exported
    assert detect_format(folder / "train") == "omnilearned"
    report = ReadReport()
    (back,) = omnilearned.read(folder / "train" / "events.h5", report)
    rows = np.arange(0, 40, 3)
    there = store.read(rows).cloud
    np.testing.assert_array_equal(back.cloud.offsets, there.offsets)
    assert back.cloud.spec.frame == "beam"
    for name in there.spec.columns:
        known = np.isfinite(back.cloud.columns[name])
        np.testing.assert_allclose(back.cloud.columns[name][known], there.columns[name][known], rtol=1e-5, atol=1.1e-6)
    assert problems_of(back) == []
    assert not back.has_truth


def jets(path: Path, width: int, *, label: object = None) -> np.ndarray:
    rng = np.random.default_rng(width)
    data = rng.normal(size=(5, 7, width)).astype("f4")
    if width in (5, 9):
        data[:, :, 4] = rng.integers(0, 9, (5, 7))
    data[np.arange(7) >= np.array([[7], [0], [3], [1], [5]])] = 0
    data[0, 2, 2] = 0  # pT = 1 GeV is a particle
    with h5py.File(path, "w") as file:
        file["data"], file["pid"] = data, np.arange(5) if label is None else label
        file["global"] = np.ones((5, 4), dtype="f4")
    return data


@pytest.mark.parametrize("width", [4, 5, 8, 9])
def test_jets(tmp_path: Path, width: int) -> None:
    data = jets(tmp_path / "j.h5", width)
    report = ReadReport()
    (batch,) = omnilearned.read(tmp_path / "j.h5", report)
    assert np.diff(batch.cloud.offsets).tolist() == [7, 0, 3, 1, 5]
    assert batch["class_id"].tolist() == [0, 1, 2, 3, 4]
    assert batch.cloud.spec.frame == "jet"
    assert problems_of(batch) == []
    flat = data[(data != 0).any(axis=2)]
    for i, name in enumerate(("eta", "phi", "log_pt", "log_e")):
        np.testing.assert_array_equal(batch.cloud.columns[name], flat[:, i])
    if width in (5, 9):
        np.testing.assert_array_equal(batch.cloud.columns["type"], flat[:, 4] + 1)
    if width > 5:
        np.testing.assert_array_equal(batch.cloud.columns["dz_error"], flat[:, -1])
    assert report.notes == ["Event-level inputs ('global') of OmniLearned files are not kept."]


def test_jets_into_a_store(tmp_path: Path) -> None:
    jets(tmp_path / "j.h5", 9)
    assert ingest([tmp_path / "j.h5"], tmp_path / "s.h5").n_events == 5
    with EventStore(tmp_path / "s.h5") as store:
        assert store.problems() == []
        assert store.column("class_id").tolist() == [0, 1, 2, 3, 4]


def test_broken_tokens_are_dropped_and_counted(tmp_path: Path) -> None:
    jets(tmp_path / "j.h5", 5)
    with h5py.File(tmp_path / "j.h5", "r+") as file:
        file["data"][0, 0, 1], file["data"][0, 1, 3], file["data"][0, 3, 0] = np.nan, -np.inf, 11
    report = ReadReport()
    (batch,) = omnilearned.read(tmp_path / "j.h5", report)
    assert np.diff(batch.cloud.offsets)[0] == 4
    assert report.broken == {"token dropped: broken value": 3}


def test_bad_files(tmp_path: Path) -> None:
    jets(tmp_path / "w.h5", 7)
    jets(tmp_path / "t.h5", 9)
    content = (tmp_path / "t.h5").read_bytes()
    (tmp_path / "t.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "e.h5").touch()
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["data"] = np.zeros((3, 2))
    for name, message in (
        ("w", "7 columns"),
        ("t", "no OmniLearned data"),
        ("e", "empty"),
        ("o", "no OmniLearned data"),
    ):
        with pytest.raises(InputFileError, match=message):
            list(omnilearned.read(tmp_path / f"{name}.h5", ReadReport()))


def test_a_type_that_is_no_number_costs_its_token(tmp_path: Path) -> None:
    jets(tmp_path / "j.h5", 5)
    with h5py.File(tmp_path / "j.h5", "r+") as file:
        file["data"][0, 1, 4], file["data"][4, 0, 4] = np.nan, np.inf
    report = ReadReport()
    (batch,) = omnilearned.read(tmp_path / "j.h5", report)
    assert np.diff(batch.cloud.offsets).tolist() == [6, 0, 3, 1, 4]
    assert report.broken == {"token dropped: broken value": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [(1e9, "particle type 1e[+]09.*0 to 253"), (2.5, "not a whole number"), (-1, "outside the range")],
)
def test_types_that_cannot_be(tmp_path: Path, value: float, message: str) -> None:
    jets(tmp_path / "j.h5", 9)
    with h5py.File(tmp_path / "j.h5", "r+") as file:
        file["data"][0, 1, 4] = value
    with pytest.raises(InputFileError, match=message):
        list(omnilearned.read(tmp_path / "j.h5", ReadReport()))


def test_a_dataset_keeps_its_splits(tmp_path: Path) -> None:
    """The folder with train, val and test; one file more beside it is split by its keys."""
    store = EventStore(make_jets(tmp_path / "jets.h5"))
    omnilearned.export(store, tmp_path / "set")
    (tmp_path / "set" / "train" / "file_index.npy").touch()  # the package's own cache
    assert detect_format(tmp_path / "set") == "omnilearned"
    assert ingest([tmp_path / "set"], tmp_path / "k.h5").n_events == 30
    with EventStore(tmp_path / "k.h5") as again:
        assert again.complete
        assert again.column("split").tolist() == [0] * 10 + [1] * 10 + [2] * 10
        for number, split in enumerate(SPLITS):
            rows = again.rows_of(split)
            np.testing.assert_array_equal(again.column("class_id")[rows], np.arange(number, 30, 3) % 5)
    (tmp_path / "set" / "val" / "events.h5").rename(tmp_path / "alone.h5")
    with pytest.raises(InputFileError, match="no files of this format in this folder"):
        ingest([tmp_path / "set"], tmp_path / "n.h5")
    (tmp_path / "set" / "val").rmdir()
    assert ingest([tmp_path / "set", tmp_path / "alone.h5"], tmp_path / "m.h5").n_events == 30
    with EventStore(tmp_path / "m.h5") as mixed:
        assert mixed.column("split")[:20].tolist() == [0] * 10 + [2] * 10
        assert set(mixed.column("split")[20:].tolist()) >= {0}
        assert set(mixed.column("split")[20:].tolist()) <= {0, 1, 2}


def test_classes_of_tokens_are_left_out_with_a_note(tmp_path: Path) -> None:
    jets(tmp_path / "j.h5", 4)
    with h5py.File(tmp_path / "j.h5", "r+") as file:
        file["data_pid"] = np.zeros((5, 7))
    report = ReadReport()
    list(omnilearned.read(tmp_path / "j.h5", report))
    assert "Classes of single tokens ('data_pid') of OmniLearned files are not kept." in report.notes


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    store = EventStore(make_store(tmp_path / "s.h5"))
    with pytest.raises(ConfigError, match="did you mean 'pion'"):
        omnilearned.export(store, tmp_path / "o", "pions")
    (tmp_path / "o").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        omnilearned.export(store, tmp_path / "o")
    with pytest.raises(DataError, match="in a split"):
        omnilearned.export(EventStore(make_store(tmp_path / "n.h5", split=False)), tmp_path / "p")
    recorded = EventStore(make_recorded(tmp_path / "r.h5"))
    for task in ("", "class_id", "pion"):
        with pytest.raises(DataError, match="no truth or class numbers"):
            omnilearned.export(recorded, tmp_path / "q", task)
    with pytest.raises(DataError, match="no truth or class numbers"):
        omnilearned.export(store, tmp_path / "q", "class_id")


def make_recorded(path: Path) -> Path:
    """Two events of a detector without truth."""
    spec, numbers = minerva_spec("beam"), np.arange(2)
    columns = {name: np.ones(2) for name in spec.columns}
    key = {"run": numbers * 0, "subrun": numbers * 0, "event": numbers, "source": numbers * 0, "entry": numbers}
    cloud = Clouds.make(spec, np.arange(3), columns)
    batch = EventBatch.make(key, ["a.root"], cloud=cloud, has_truth=False)
    with EventWriter.create(path, Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.finish(numbers)
    return path


def make_jets(path: Path, n: int = 30) -> Path:
    """Jets as `nuadapt simulate jets` stores them, of 1 to 60 particles, neutral ones without impact parameters."""
    rng, counts = np.random.default_rng(6), 1 + 2 * np.arange(n)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    columns = {name: rng.normal(0, 0.3, offsets[-1]) for name in SPEC.columns}
    columns["type"] = rng.integers(1, 9, offsets[-1])
    for name in JET_EXTRAS:
        columns[name][np.isin(columns["type"], [3, 4])] = np.nan
    numbers = np.arange(n)
    given = {"run": numbers * 0, "subrun": numbers * 0, "event": numbers, "source": numbers * 0, "entry": numbers}
    given |= {
        "class_id": numbers % 5,
        "jet_pt": 500.0 + numbers,
        "jet_eta": numbers / n,
        "jet_mass": 80.0 * (numbers > 0),
    }
    batch = EventBatch.make(given, ["jets"], cloud=Clouds.make(SPEC, offsets, columns), has_truth=False)
    with EventWriter.create(path, Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.finish(numbers % 3)
    return path


def test_simulated_jets_are_written_and_come_back(tmp_path: Path) -> None:
    store = EventStore(make_jets(tmp_path / "jets.h5"))
    assert omnilearned.export(store, tmp_path / "custom") == {}
    rows = np.arange(0, 30, 3)
    there, jets_there = store.read(rows).cloud, store.read(rows)
    with h5py.File(tmp_path / "custom" / "train" / "events.h5") as file:
        np.testing.assert_array_equal(file["pid"][:], rows % 5)
        assert file["data"].shape == (10, 59, 9)
        conditions = file["global"][:]
    np.testing.assert_allclose(np.exp(conditions[:, 0]), jets_there["jet_pt"], rtol=1e-5)
    np.testing.assert_allclose(np.exp(conditions[1:, 2]), 80.0, rtol=1e-5)
    assert np.isfinite(conditions).all()
    (back,) = omnilearned.read(tmp_path / "custom" / "train" / "events.h5", ReadReport())
    assert (back.cloud.spec.types, back.cloud.spec.frame) == (SPEC.types, "jet")
    np.testing.assert_array_equal(back["class_id"], rows % 5)
    np.testing.assert_array_equal(back.cloud.offsets, there.offsets)
    for name in there.spec.columns:
        np.testing.assert_allclose(back.cloud.columns[name], np.nan_to_num(there.columns[name]), atol=1e-6)


def test_the_package_s_own_loader_reads_jets(tmp_path: Path) -> None:
    """Nine kinds with padding and four further inputs, as its command line expects; its generator reads how many."""
    loader = pytest.importorskip("omnilearned.dataloader", reason="the omnilearned package is not installed")
    omnilearned.export(EventStore(make_jets(tmp_path / "jets.h5")), tmp_path / "custom")
    options = {"batch": 10, "distributed": False, "num_workers": 0, "shuffle": False}
    options |= {"use_cond": True, "use_pid": True, "use_add": True, "num_add": 4}
    (batch,) = loader.load_data("custom", str(tmp_path), dataset_type="train", **options)
    assert {k: tuple(v.shape) for k, v in batch.items() if v is not None} == {
        "X": (10, 59, 4), "y": (10,), "cond": (10, 4), "pid": (10, 59), "add_info": (10, 59, 4)
    }  # fmt: skip
    np.testing.assert_array_equal((100 * batch["cond"][:, -1]).int().numpy(), 1 + 2 * np.arange(0, 30, 3))
    assert 1 <= int(batch["pid"][batch["X"][..., 2] != 0].min()) <= int(batch["pid"].max()) <= 8


def test_foreign_jets_are_written_with_their_classes(tmp_path: Path) -> None:
    jets(tmp_path / "j.h5", 5)
    ingest([tmp_path / "j.h5"], tmp_path / "k.h5")
    store = EventStore(tmp_path / "k.h5")
    omnilearned.export(store, tmp_path / "custom")
    found = []
    for split in SPLITS:
        with h5py.File(tmp_path / "custom" / split / "events.h5") as file:
            found += file["pid"][:].tolist() if "pid" in file else []
    assert sorted(found) == [0, 1, 2, 3, 4]
