"""PNG pairs: what is read, what is refused, and the round trip through an export."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nuadapt.errors import ConfigError, InputFileError, NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore
from nuadapt.sources.formats import ReadOptions
from nuadapt.sources.ingest import ingest
from nuadapt.sources.png_pairs import PngOptions, find_pairs, key_of, read_folder, read_grey, read_pair, write_grey


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """What a reader returns, or the error meant for a user; any other error goes through."""
    try:
        return read(path)
    except NuadaptError as error:
        return error


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    """A PNG of pixels as they are seen, row 0 on top."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, format="PNG")
    return buffer.getvalue()


def pair(root: Path, name: str, seed: int = 0, pid: str | None = "nc", shape: tuple[int, int] = (6, 8)) -> Path:
    """One event folder of random pictures."""
    rng, folder = np.random.default_rng(seed), root / name
    folder.mkdir(parents=True)
    for view in ("xz", "yz"):
        levels = rng.integers(0, 256, shape).astype(np.uint8) * (rng.random(shape) < 0.3)
        (folder / f"{name}_{view}.png").write_bytes(png(levels))
    if pid is not None:
        (folder / f"{name}_pid.txt").write_text(pid)
    return folder


def read_all(root: Path, *, invert: bool = False) -> EventBatch:
    return EventBatch.concatenate(list(read_folder(root, invert=invert)))


def test_top_of_the_picture_is_the_last_row(tmp_path: Path) -> None:
    folder = pair(tmp_path, "1")
    levels = np.zeros((6, 8), dtype=np.uint8)
    levels[0, 3] = 200  # top of the picture
    (folder / "1_xz.png").write_bytes(png(levels))
    maps = read_all(tmp_path).pixelmap
    assert maps is not None
    assert maps.spec.value_unit == "grey"
    at = maps.view_slice(0, 0)
    assert (maps.row[at].tolist(), maps.col[at].tolist(), maps.value[at].tolist()) == ([5], [3], [200.0])


def test_labels_keys_and_order(tmp_path: Path) -> None:
    for name, pid in (("10", "nuecc\n"), ("9", "numucc"), ("r1_s2_e3", "nc"), ("f1_r7_s2_e3", " nc ")):
        pair(tmp_path, name, pid=pid)
    batch = read_all(tmp_path)
    assert list(zip(batch["run"], batch["subrun"], batch["event"], batch.label, strict=True)) == [
        (0, 0, 9, 1), (0, 0, 10, 0), (7, 2, 3, 2), (1, 2, 3, 2)
    ]  # fmt: skip
    assert batch.sources == (tmp_path.as_posix(),)


def test_ids_that_are_no_numbers_get_the_next_ones(tmp_path: Path) -> None:
    for name in ("b", "a", "5"):
        pair(tmp_path, name)
    options = PngOptions()
    assert [(p.folder.name, p.key[2]) for p in find_pairs(tmp_path, options)] == [("5", 5), ("a", 6), ("b", 7)]
    assert len(options.report.notes) == 2 or "ids that are not numbers" in options.report.notes[0]
    assert key_of("12") == (0, 0, 12)
    assert key_of("½") is None


def test_inverted_pictures(tmp_path: Path) -> None:
    pair(tmp_path, "1", pid=None)
    plain = read_all(tmp_path).pixelmap
    for path in tmp_path.glob("1/*.png"):
        path.write_bytes(png(255 - np.asarray(Image.open(io.BytesIO(path.read_bytes())))))
    turned = read_all(tmp_path, invert=True).pixelmap
    assert plain is not None
    assert turned is not None
    np.testing.assert_array_equal(plain.dense(0), turned.dense(0))
    options = PngOptions()
    read_pair(find_pairs(tmp_path, options)[0], options)
    assert "dark on white" in options.report.notes[0]


def test_without_any_label_it_is_recorded_data(tmp_path: Path) -> None:
    pair(tmp_path, "1", pid=None)
    pair(tmp_path, "2", pid=None)
    assert not read_all(tmp_path).has_truth
    pair(tmp_path, "3", pid="nc")
    with pytest.raises(InputFileError, match=r"1_pid\.txt"):
        read_all(tmp_path)


def test_grey_rgb_and_bits_are_accepted(tmp_path: Path) -> None:
    levels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    path = tmp_path / "a.png"
    path.write_bytes(png(np.repeat(levels[:, :, None], 3, axis=2)))
    np.testing.assert_array_equal(read_grey(path), levels[::-1])
    path.write_bytes(png((levels > 20).astype(np.uint8) * 255, "1"))
    np.testing.assert_array_equal(read_grey(path), (levels > 20)[::-1] * 255)
    colour = np.repeat(levels[:, :, None], 3, axis=2)
    colour[0, 0, 1] = 99
    for content, says in ((png(colour), "colour"), (png(levels, "RGBA"), "mode RGBA"), (png(levels, "P"), "mode P")):
        path.write_bytes(content)
        with pytest.raises(InputFileError, match=says):
            read_grey(path)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(np.arange(48, dtype=np.uint16).reshape(6, 8)))
    with pytest.raises(InputFileError, match="16-bit"):
        read_grey(path)


def test_a_bomb_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82")
    with pytest.raises(InputFileError, match="60000 x 60000"):
        read_grey(path)


def test_unusable_events(tmp_path: Path) -> None:
    folder = pair(tmp_path, "1", pid="nuec")
    with pytest.raises(InputFileError, match="did you mean 'nuecc'"):
        read_all(tmp_path)
    (folder / "1_pid.txt").write_text("nc")
    (folder / "1_xz.png").write_bytes(png(np.zeros((5, 8), dtype=np.uint8)))
    with pytest.raises(InputFileError, match="equal sizes"):
        read_all(tmp_path)
    (folder / "1_xz.png").unlink()
    with pytest.raises(InputFileError, match=r"1_xz\.png: no such file"):
        read_all(tmp_path)


def test_a_folder_without_events(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no event folders"):
        read_all(tmp_path)
    with pytest.raises(InputFileError, match="cannot list"):
        read_all(tmp_path / "missing")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": "other", "version": 1}', '{"format": "nuadapt-png-pairs", "version": 2}',
     '{"format": "nuadapt-png-pairs", "version": 1, "spec": null, "events": [], "sources": []}'],
)  # fmt: skip
def test_damaged_manifest(tmp_path: Path, text: str) -> None:
    pair(tmp_path, "1")
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputFileError, match=r"manifest\.json"):
        read_all(tmp_path)


def test_who_reads_can_say_what_grey_levels_stand_for(tmp_path: Path) -> None:
    pair(tmp_path / "in", "1")
    levels = read_all(tmp_path / "in").pixelmap
    ingest([tmp_path / "in"], tmp_path / "a.h5", reading=ReadOptions(settings={"scale": "linear", "full": 0.05}))
    with EventStore(tmp_path / "a.h5") as store:
        maps = store.read(slice(None)).pixelmap
        assert store.record["config"]["png-pairs"] == {"scale": "linear", "full": 0.05, "knee": 0.0005}
    assert levels is not None
    assert maps is not None
    assert maps.spec.value_unit == "GeV"
    np.testing.assert_allclose(maps.dense(0), 0.05 * levels.dense(0) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"scale": "cubic"}, "scale"),
        ({"scal": "log"}, "did you mean 'scale'"),
        ({"full": 0.1}, "no scale yet"),
        ({"scale": "log", "knee": 0}, "impossible"),
        ({"scale": "log", "full": float("inf")}, "impossible"),
    ],
)
def test_impossible_grey_scales(tmp_path: Path, wrong: dict[str, object], says: str) -> None:
    pair(tmp_path / "in", "1")
    with pytest.raises(ConfigError, match=says):
        ingest([tmp_path / "in"], tmp_path / "a.h5", reading=ReadOptions(settings=dict(wrong)))
    assert not (tmp_path / "a.h5").exists()


def test_manifest_with_impossible_values(tmp_path: Path) -> None:
    from nuadapt.events.pixelmap import MapSpec

    pair(tmp_path, "1")
    event = {"id": "1", "run": 0, "subrun": 0, "event": 1, "source": 0}
    good = {"format": "nuadapt-png-pairs", "version": 1, "spec": MapSpec().as_dict(), "sources": ["s"], "grey": {}}
    for events, change in (
        ([event | {"run": 2**40}], {}),
        ([event | {"event": 2**70}], {}),
        ([event | {"source": 4}], {}),
        ([event | {"event": "x"}], {}),
        ([event], {"spec": MapSpec().as_dict() | {"pitch": [0, 0]}}),
        ([event], {"spec": MapSpec().as_dict() | {"views": ["u", "v"]}}),
    ):
        (tmp_path / "manifest.json").write_text(json.dumps(good | {"events": events} | change))
        with pytest.raises(InputFileError, match=r"manifest\.json"):
            read_all(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(good | {"events": [event | {"run": 4}]}))
    assert (read_all(tmp_path)["run"][0], read_all(tmp_path).sources) == (4, ("s",))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_written_levels_are_read_back(tmp_path: Path, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    levels = np.frombuffer(data.draw(st.binary(min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])), np.uint8)
    write_grey(tmp_path / "a.png", levels.reshape(shape))
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), levels.reshape(shape))


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_never_goes_unnoticed(tmp_path: Path, data: st.DataObject) -> None:
    """A PNG with any flipped bit or lost end is refused, or shows the very same picture."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = bytearray(png(levels))
    for _ in range(data.draw(st.integers(0, 2))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "a.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    result = outcome(read_grey, path)
    if isinstance(result, NuadaptError):
        assert str(path) in str(result)
    else:
        np.testing.assert_array_equal(result, levels[::-1])


def test_no_flipped_bit_changes_the_picture(tmp_path: Path) -> None:
    levels = np.random.default_rng(3).integers(0, 256, (6, 6)).astype(np.uint8)
    content, path = png(levels), tmp_path / "a.png"
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        result = outcome(read_grey, path)
        assert isinstance(result, NuadaptError) or np.array_equal(result, levels[::-1])


@pytest.mark.parametrize("lost", [1, 4, 12, 13, 40])
def test_a_lost_end_is_noticed(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(np.arange(36, dtype=np.uint8).reshape(6, 6))[:-lost])
    with pytest.raises(InputFileError, match="truncated"):
        read_grey(path)
