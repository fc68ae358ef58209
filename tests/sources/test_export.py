"""Export to PNG pairs: grey levels, labels and keys survive the round trip."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nuadapt.errors import DataError, InputFileError, OutputError
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import KE_PER_GEV, GreyTransform, MapSpec, PixelMaps
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.sources import export
from nuadapt.sources.export import export_png_pairs
from nuadapt.sources.ingest import ingest
from nuadapt.sources.png_pairs import read_folder
from nuadapt.sources.reading import ReadReport

LABELS = {"nu_pdg": [12, -12, 14, 0, 16], "current": [1, 1, 1, 2, 1]}  # nue, nuebar, numu, NC, nutau CC
SPEC = MapSpec(shape=(9, 11))


def stored(path: Path, batch: EventBatch) -> EventStore:
    with EventWriter.create(path, Layout.of(batch), {}) as writer:
        writer.append(batch)
        writer.finish()
    return EventStore(path)


def events(images: np.ndarray, spec: MapSpec, *, has_truth: bool = True, **columns: object) -> EventBatch:
    n = len(images)
    given_columns = {"run": [0] * n, "subrun": [0] * n, "event": list(range(n)), "source": [0] * n} | columns
    if has_truth:
        given_columns |= {name: values[:n] for name, values in LABELS.items()}
    names = [f"sample{i}" for i in range(int(np.max(given_columns["source"])) + 1)]
    return EventBatch.make(given_columns, names, pixelmap=PixelMaps.from_dense(images, spec), has_truth=has_truth)


def random_images(n: int, spec: MapSpec = SPEC, scale: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(n)
    shape = (n, spec.n_views, *spec.shape)
    return rng.random(shape) * scale * (rng.random(shape) < 0.3)


@pytest.mark.parametrize("kind", ["linear", "log"])
@pytest.mark.parametrize("unit", ["GeV", "ke"])
def test_energies_become_grey_levels_and_energies_again(tmp_path: Path, kind: str, unit: str) -> None:
    """Within half a level, and what is brighter than the brightest level comes back as that."""
    spec, grey = replace(SPEC, value_unit=unit), GreyTransform(kind=kind, full=0.015)
    batch = events(random_images(4) * (KE_PER_GEV if unit == "ke" else 1), spec)
    with stored(tmp_path / "a.h5", batch) as store:
        report = export_png_pairs(store, tmp_path / "out", grey)
    assert (report.n_written, report.n_skipped) == (4, 0)
    told = ReadReport()
    back = EventBatch.concatenate(list(read_folder(tmp_path / "out", report=told)))
    assert any(f"energies ({kind}, full 0.015 GeV" in note for note in told.notes)
    assert batch.pixelmap is not None
    assert back.pixelmap is not None
    assert back.pixelmap.spec == spec
    for i in range(4):
        shown, returned = (grey(maps.dense(i), unit) for maps in (batch.pixelmap, back.pixelmap))
        np.testing.assert_allclose(returned, shown, atol=0.5 / 255 + 1e-6)
        assert (shown == 1).any()
    np.testing.assert_array_equal(back.label, batch.label)
    assert back.sources == batch.sources  # from the manifest, so an event keeps its key
    picture = np.asarray(Image.open(tmp_path / "out" / "0" / "0_xz.png"))
    expected = np.rint(255 * grey(batch.pixelmap.dense(0)[0], unit))
    np.testing.assert_array_equal(picture[::-1], expected)
    with stored(tmp_path / "b.h5", back) as store:
        export_png_pairs(store, tmp_path / "again", grey)
    for name in ("0_xz.png", "0_yz.png"):
        assert (tmp_path / "again" / "0" / name).read_bytes() == (tmp_path / "out" / "0" / name).read_bytes()


@pytest.mark.parametrize("wrong", [{"full": "much"}, {"full": float("nan")}, {"kind": "cubic"}, {"colour": 1}])
def test_a_manifest_with_an_impossible_grey_scale_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with stored(tmp_path / "a.h5", events(random_images(1), SPEC)) as store:
        export_png_pairs(store, tmp_path / "out")
    place = tmp_path / "out" / "manifest.json"
    given = json.loads(place.read_text())
    place.write_text(json.dumps(given | {"grey": given["grey"] | wrong}))
    with pytest.raises(InputFileError, match=r"manifest\.json"):
        list(read_folder(tmp_path / "out"))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_grey_levels_and_labels_survive(data: st.DataObject) -> None:
    n, rows, cols = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    spec = MapSpec(shape=(rows, cols), value_unit="grey")
    size = n * 2 * rows * cols
    levels = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8).reshape(n, 2, rows, cols)
    has_truth = data.draw(st.booleans())
    number = st.integers(-(2**31), 2**31 - 1)
    keys = {name: data.draw(st.lists(number, min_size=n, max_size=n)) for name in ("run", "subrun")}
    keys["event"] = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n, unique=True))
    keys["source"] = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    batch = events(levels, spec, has_truth=has_truth, **keys)
    with tempfile.TemporaryDirectory() as folder:
        with stored(Path(folder) / "a.h5", batch) as store:
            export_png_pairs(store, Path(folder) / "out")
        ingest([Path(folder) / "out"], Path(folder) / "b.h5")
        with EventStore(Path(folder) / "b.h5") as store:
            back = store.read(slice(None))
    assert back.has_truth == has_truth
    at = {int(event): i for i, event in enumerate(back["event"])}
    assert batch.pixelmap is not None
    assert back.pixelmap is not None
    for i, event in enumerate(batch["event"]):
        j = at[int(event)]
        np.testing.assert_array_equal(back.pixelmap.dense(j), batch.pixelmap.dense(i))
        assert (back.label[j], back["run"][j], back["subrun"][j]) == (
            batch.label[i],
            batch["run"][i],
            batch["subrun"][i],
        )
        assert back.sources[back["source"][j]] == batch.sources[batch["source"][i]]


def test_events_without_a_class_are_skipped_and_counted(tmp_path: Path) -> None:
    with stored(tmp_path / "a.h5", events(random_images(5), SPEC)) as store:
        report = export_png_pairs(store, tmp_path / "out")
    assert (report.n_written, report.n_skipped) == (4, 1)
    assert "1 events outside" in str(report)
    assert not (tmp_path / "out" / "4").exists()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped"] == 1


def test_recorded_data_has_no_labels(tmp_path: Path) -> None:
    with stored(tmp_path / "a.h5", events(random_images(2), SPEC, has_truth=False)) as store:
        assert export_png_pairs(store, tmp_path / "out").n_written == 2
    assert sorted(p.name for p in (tmp_path / "out" / "1").iterdir()) == ["1_xz.png", "1_yz.png"]


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    other = MapSpec(views=("u", "v"), shape=(9, 11))
    with (
        stored(tmp_path / "a.h5", events(random_images(1, other), other)) as store,
        pytest.raises(DataError, match="views"),
    ):
        export_png_pairs(store, tmp_path / "out")
    twice = events(random_images(2), SPEC, event=[3, 3])
    with stored(tmp_path / "b.h5", twice) as store, pytest.raises(DataError, match="share their key"):
        export_png_pairs(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    bare = EventBatch.make({"run": [0], "subrun": [0], "event": [0], "source": [0]}, ["s"])
    with stored(tmp_path / "c.h5", bare) as store, pytest.raises(DataError, match="no pixel maps"):
        export_png_pairs(store, tmp_path / "out")


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    with stored(tmp_path / "a.h5", events(random_images(1), SPEC)) as store:
        (tmp_path / "out").mkdir()
        with pytest.raises(OutputError, match="exists already"):
            export_png_pairs(store, tmp_path / "out")
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputError, match="cannot write here"):
            export_png_pairs(store, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "x"


def test_a_broken_export_keeps_whole_events_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = export._write_event

    def failing(out: Path, name: str, levels: np.ndarray, pid: str | None) -> None:
        if name == "2":
            monkeypatch.setattr(export.png_pairs, "write_grey", _disk_full)
        written(out, name, levels, pid)

    monkeypatch.setattr(export, "_write_event", failing)
    with (
        stored(tmp_path / "a.h5", events(random_images(4), SPEC)) as store,
        pytest.raises(OutputError, match="No space"),
    ):
        export_png_pairs(store, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0", "1"]


def _disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")
