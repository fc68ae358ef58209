"""Ingest: formats are told apart by content, bad inputs are listed and good ones kept, splits are stable."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from nuadapt.errors import ConfigError, DataError, InputFileError, MissingExtraError, NuadaptError, OutputError
from nuadapt.events.store import EventStore, EventWriter
from nuadapt.sources import ingest as module
from nuadapt.sources import png_pairs
from nuadapt.sources.formats import FORMATS, ReadOptions, detect_format
from nuadapt.sources.ingest import BadInputs, ingest, read_all


@pytest.fixture
def cvn(shared_data: Path, tmp_path: Path) -> Path:
    """A writable copy of the ten DUNE events with their labels."""
    folder = tmp_path / "cvn"
    folder.mkdir()
    for path in (shared_data / "dune_cvn").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def hepmc(shared_data: Path) -> Path:
    return shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three events as PNG pairs."""
    root = tmp_path / "pairs"
    for i, label in enumerate(("nuecc", "numucc", "nc")):
        folder = root / str(i)
        folder.mkdir(parents=True)
        for view in ("xz", "yz"):
            png_pairs.write_grey(folder / f"{i}_{view}.png", np.full((4, 5), 10 * i + 1, dtype=np.uint8))
        (folder / f"{i}_pid.txt").write_text(label)
    return root


def test_formats_are_recognised_by_content(cvn: Path, hepmc: Path, pairs: Path, tmp_path: Path) -> None:
    assert [detect_format(p) for p in (cvn, cvn / "event3.gz", hepmc, hepmc.parent, pairs, pairs / "1")] == [
        "dune-cvn", "dune-cvn", "nuhepmc", "nuhepmc", "png-pairs", "png-pairs"
    ]  # fmt: skip
    misnamed = tmp_path / "looks_like_cvn.gz"
    misnamed.write_bytes(gzip.decompress(hepmc.read_bytes()))
    assert detect_format(misnamed) == "nuhepmc"


def test_what_is_no_known_format(tmp_path: Path, cvn: Path, hepmc: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.gz").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["segments"] = np.zeros(3)
    for name, says in (("notes.txt", "known format"), ("empty.gz", "empty"), ("nothing", "no events of a known"),
                       ("missing", "no such file"), ("s.h5", "--segments")):  # fmt: skip
        with pytest.raises(InputFileError, match=says):
            detect_format(tmp_path / name)
    shutil.copy(hepmc, cvn)
    with pytest.raises(DataError, match="several formats: dune-cvn, nuhepmc"):
        detect_format(cvn)


def test_dune_events_in_a_store(cvn: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = ingest([cvn], tmp_path / "a.h5", progress=lambda done, total: seen.append((done, total)))
    assert (report.format, report.n_inputs, report.n_events, report.bad, report.lines()) == ("dune-cvn", 10, 10, [], [])
    assert seen == [(i, 10) for i in range(1, 11)]
    with EventStore(tmp_path / "a.h5") as store:
        assert store.complete
        assert store.problems() == []
        assert store.column("event").tolist() == list(range(10))
        assert set(store.column("split").tolist()) <= {0, 1, 2}
        assert store.record["config"]["format"] == "dune-cvn"
        assert store.read(slice(None)).label.tolist() == [0, 2, 1, 1, 2, 0, 0, 0, 0, 0]


def test_order_of_inputs_does_not_change_splits(cvn: Path, tmp_path: Path) -> None:
    files = sorted(cvn.glob("*.gz"))
    ingest(files, tmp_path / "a.h5")
    ingest(files[::-1], tmp_path / "b.h5")
    with EventStore(tmp_path / "a.h5") as a, EventStore(tmp_path / "b.h5") as b:
        assert a.fingerprint() == b.fingerprint()


def test_nuhepmc_truth_in_a_store(hepmc: Path, tmp_path: Path) -> None:
    assert ingest([hepmc], tmp_path / "a.h5").n_events == 300
    with EventStore(tmp_path / "a.h5") as store:
        assert store.problems() == []
        assert store.layout.has_particles
        assert store.layout.map_spec is None
        assert np.bincount(store.column("split")).tolist() == [240, 30, 30]


def test_png_pairs_in_a_store(pairs: Path, tmp_path: Path) -> None:
    ingest([pairs], tmp_path / "a.h5", reading=ReadOptions(invert=True))
    with EventStore(tmp_path / "a.h5") as store:
        batch = store.read(slice(None))
    assert batch.label.tolist() == [0, 1, 2]
    assert batch.pixelmap is not None
    assert [float(batch.pixelmap.dense(i).max()) for i in range(3)] == [254, 244, 234]


def test_bad_inputs_are_listed_and_good_ones_kept(cvn: Path, tmp_path: Path) -> None:
    (cvn / "event3.gz").write_bytes((cvn / "event3.gz").read_bytes()[:500])
    (cvn / "event6.gz").write_bytes(b"")
    (cvn / "event8.gz").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadInputs) as caught:
        ingest([cvn], tmp_path / "a.h5")
    message = str(caught.value)
    assert "3 of 10 inputs" in message
    assert "\n" not in message
    for part in ("event3.gz: the file is truncated", "event6.gz: the file is empty", "event8.gz: this is not a zlib"):
        assert part in message
    assert [path.name for path, _ in caught.value.report.bad] == ["event3.gz", "event6.gz", "event8.gz"]
    assert len(json.loads((tmp_path / "a.h5.bad.json").read_text())) == 3
    with EventStore(tmp_path / "a.h5") as store:
        assert store.column("event").tolist() == [0, 1, 2, 4, 5, 7, 9]
        assert not store.complete
        assert set(store.column("split").tolist()) == {255}


def test_skip_bad_accepts_the_loss(cvn: Path, tmp_path: Path) -> None:
    (cvn / "event3.gz").write_bytes(b"x")
    report = ingest([cvn], tmp_path / "a.h5", skip_bad=True)
    assert (report.n_events, len(report.bad)) == (9, 1)
    assert "1 of 10 inputs could not be used" in report.lines()[0]
    with EventStore(tmp_path / "a.h5") as store:
        assert store.complete


def test_inputs_that_are_not_there_are_bad_ones(cvn: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputs, match=r"1 of 3 inputs"):
        ingest([cvn / "event1.gz", tmp_path / "missing.gz", cvn / "event2.gz"], tmp_path / "a.h5")
    with pytest.raises(BadInputs, match=r"1 of 2 inputs"):
        ingest([cvn / "event1.gz", tmp_path], tmp_path / "b.h5", "dune-cvn")
    with pytest.raises(InputFileError, match="no such file"):
        ingest([tmp_path / "missing"], tmp_path / "c.h5")


def test_one_bad_input_is_that_error(cvn: Path, tmp_path: Path) -> None:
    (cvn / "event3.gz").write_bytes((cvn / "event3.gz").read_bytes()[:500])
    with pytest.raises(InputFileError, match="truncated") as caught:
        ingest([cvn / "event3.gz"], tmp_path / "a.h5")
    assert not isinstance(caught.value, BadInputs)
    assert not (tmp_path / "a.h5").exists()
    with pytest.raises(InputFileError, match="no events"):
        ingest([cvn / "event3.gz"], tmp_path / "a.h5", skip_bad=True)


def test_bad_labels_stop_the_whole_folder(cvn: Path, tmp_path: Path) -> None:
    labels = cvn / "labels.csv"
    labels.write_text(labels.read_text().replace("nue_cc", "nue_xx"))
    with pytest.raises(BadInputs, match="unknown flavour 'nue_xx'"):
        ingest([cvn], tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_an_event_given_twice_is_refused(cvn: Path, tmp_path: Path) -> None:
    shutil.copy(cvn / "event1.gz", cvn / "event01.gz")
    with pytest.raises(BadInputs, match="was read before"):
        ingest([cvn], tmp_path / "a.h5")
    assert ingest([cvn / "event1.gz", cvn / "event1.gz"], tmp_path / "b.h5").n_events == 1


def test_events_of_another_size_are_bad(pairs: Path, tmp_path: Path) -> None:
    for view in ("xz", "yz"):
        png_pairs.write_grey(pairs / "1" / f"1_{view}.png", np.ones((7, 5), dtype=np.uint8))
    with pytest.raises(BadInputs, match="unlike the ones before"):
        ingest([pairs], tmp_path / "a.h5")
    with EventStore(tmp_path / "a.h5") as store:
        assert store.column("event").tolist() == [0, 2]


def test_events_before_a_break_are_kept(hepmc: Path, tmp_path: Path) -> None:
    broken = tmp_path / "cut.hepmc"
    content = gzip.decompress(hepmc.read_bytes())
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInputs, match="148 events that were read are kept"):
        ingest([broken], tmp_path / "a.h5")
    with EventStore(tmp_path / "a.h5") as store:
        assert len(store) == 148


def test_settings_that_are_refused(cvn: Path, hepmc: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'dune-cvn'"):
        ingest([cvn], tmp_path / "a.h5", "dune_cvn")
    with pytest.raises(ConfigError, match="no inputs"):
        ingest([], tmp_path / "a.h5")
    with pytest.raises(DataError, match="different formats"):
        ingest([cvn, hepmc], tmp_path / "a.h5")
    for name in FORMATS:
        with pytest.raises(NuadaptError):
            ingest([tmp_path], tmp_path / "a.h5", name)
    assert not (tmp_path / "a.h5").exists()


def test_output_is_refused_before_anything_is_read(cvn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "detect_format", lambda _: pytest.fail("an input was looked at"))
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        ingest([cvn], tmp_path / "a.h5")
    with pytest.raises(OutputError, match="cannot write here"):
        ingest([cvn], tmp_path / "a.h5" / "b.h5")
    assert (tmp_path / "a.h5").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_folder_without_permission(cvn: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot write here"):
        ingest([cvn], tmp_path / "locked" / "a.h5")


def test_a_full_disk_keeps_what_was_written(hepmc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, calls = EventWriter.append, []

    def failing(writer: EventWriter, batch: object) -> None:
        calls.append(batch)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        append(writer, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(EventWriter, "append", failing)
    content = gzip.decompress(hepmc.read_bytes())
    second = tmp_path / "second.hepmc"
    second.write_bytes(content)
    with pytest.raises(OutputError, match="No space left"):
        ingest([hepmc, second], tmp_path / "a.h5")
    with EventStore(tmp_path / "a.h5") as store:
        assert (len(store), store.complete) == (300, False)


def test_interrupted_run_keeps_what_was_read(cvn: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest([cvn], tmp_path / "a.h5", progress=stop)
    with EventStore(tmp_path / "a.h5") as store:
        assert (len(store), store.complete) == (4, False)


def test_a_missing_library_is_not_a_bad_file(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtraError("this step needs the Python package 'PIL'")

    monkeypatch.setattr(png_pairs, "require", missing)
    with pytest.raises(MissingExtraError):
        ingest([pairs], tmp_path / "a.h5")


def test_reading_without_a_store(cvn: Path) -> None:
    assert sum(len(batch) for batch in read_all([cvn])) == 10
    (cvn / "event3.gz").write_bytes(b"x")
    with pytest.raises(InputFileError, match=r"event3\.gz"):
        list(read_all([cvn]))
