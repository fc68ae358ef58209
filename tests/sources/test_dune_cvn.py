"""DUNE CVN maps: grey levels and labels of the real sample, and what damage is called."""

from __future__ import annotations

import csv
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuadapt.errors import InputFileError, NuadaptError
from nuadapt.events.truth import CodeScheme, Current, InteractionMode
from nuadapt.sources import dune_cvn
from nuadapt.sources.dune_cvn import CvnOptions, key_of, read, read_folder, read_info, read_labels
from nuadapt.sources.grey_scale import GreyScale

INFO = ["5", "2.5", "1.5", "3.1", "0.2", "0", "0.9", "-12", "1", "0", "2", "0", "3", "4", "812", "0.4"]
TINY = zlib.compress(bytes(dune_cvn.N_BYTES))  # an empty map in 749 bytes


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """What a reader returns, or the error meant for a user; any other error goes through."""
    try:
        return read(path)
    except NuadaptError as error:
        return error


@pytest.fixture
def sample(shared_data: Path) -> list[Path]:
    """The ten event files of the release."""
    return sorted((shared_data / "dune_cvn").glob("event*.gz"))


def test_grey_levels_are_the_bytes_of_the_release(sample: list[Path]) -> None:
    for path in sample:
        image = np.frombuffer(zlib.decompress(path.read_bytes()), dtype=np.uint8).reshape(3, 500, 500)
        maps = read(path).pixelmap
        assert maps is not None
        np.testing.assert_array_equal(maps.dense(0).transpose(0, 2, 1), image)  # rows are time, columns are wires
        assert len(maps.value) == np.count_nonzero(image)
        assert maps.spec.axes == (("time", "wire"),) * 3


def test_bytes_can_stand_for_energies(sample: list[Path]) -> None:
    levels, maps = (
        read(sample[0], CvnOptions(scale=scale)).pixelmap for scale in (GreyScale(), GreyScale("linear", 0.01))
    )
    assert levels is not None
    assert maps is not None
    assert (levels.spec.value_unit, maps.spec.value_unit) == ("grey", "GeV")
    np.testing.assert_allclose(maps.dense(0), 0.01 * levels.dense(0) / 255, rtol=1e-6)


def test_labels_are_those_of_the_release(sample: list[Path], shared_data: Path) -> None:
    batch = read_folder(sample)
    with (shared_data / "dune_cvn" / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert batch["event"].tolist() == [int(row["event"]) for row in rows]
    classes = {"nue_cc": 0, "numu_cc": 1, "nc": 2}
    assert batch.label.tolist() == [classes[row["flavour"]] for row in rows]
    modes = {"QE": InteractionMode.QE, "RES": InteractionMode.RES, "DIS": InteractionMode.DIS}
    for i, row in enumerate(rows):
        if row["flavour"] == "nc":
            assert (batch["mode"][i], batch["mode_scheme"][i]) == (InteractionMode.UNKNOWN, CodeScheme.NONE)
        else:
            assert batch["mode"][i] == modes.get(row["interaction"], InteractionMode.OTHER)
            assert (batch["nu_pdg"][i] < 0) == (row["is_antineutrino"] == "1")
            assert abs(batch["lepton_pdg"][i]) == abs(batch["nu_pdg"][i]) - 1
        counts = [str(int(batch[name][i])) for name in dune_cvn.COUNT_COLUMNS]
        assert [">2" if c == "3" else c for c in counts] == [row[name] for name in dune_cvn.COUNT_COLUMNS]


def test_files_without_labels_are_recorded_data(sample: list[Path], tmp_path: Path) -> None:
    shutil.copy(sample[2], tmp_path / "event2.gz")
    assert not read(tmp_path / "event2.gz").has_truth


def test_one_set_has_one_layout(sample: list[Path], tmp_path: Path) -> None:
    for path in sample[:2]:
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "event0.info").write_text("\n".join(INFO))
    with pytest.raises(InputFileError, match="no truth for event 1"):
        read_folder([tmp_path / "event0.gz", tmp_path / "event1.gz"])


def test_an_event_that_labels_do_not_name(sample: list[Path], tmp_path: Path) -> None:
    shutil.copy(sample[0], tmp_path / "event77.gz")
    with pytest.raises(InputFileError, match="no truth for event 77"):
        read_folder([tmp_path / "event77.gz"], labels=sample[0].with_name("labels.csv"))


def test_keys_from_names(tmp_path: Path) -> None:
    assert key_of(tmp_path / "event_r5_s2_e31_h4500.5.gz") == (5, 2, 31)
    assert key_of(tmp_path / "event7.gz") == (0, 0, 7)
    for name in ("b.gz", "a.gz", "event10.gz", "event9.gz"):
        (tmp_path / name).write_bytes(TINY)
    batch = read_folder(list(tmp_path.iterdir()))
    assert batch["event"].tolist() == [11, 12, 9, 10]  # a and b go on behind the largest number
    options = CvnOptions()
    read(tmp_path / "a.gz", options, index=11)
    assert "no event number" in options.report.notes[0]


def test_info_file(tmp_path: Path) -> None:
    path = tmp_path / "event_r1_s2_e3_h4.gz"
    path.write_bytes(TINY)
    path.with_suffix(".info").write_text("\n".join(INFO) + "\n")
    batch = read(path)
    assert (batch["nu_pdg"][0], batch["current"][0], batch["lepton_pdg"][0]) == (-12, Current.CC, -11)
    assert (batch["mode"][0], batch["mode_code"][0]) == (InteractionMode.RES, 1)  # code 5 is the second of nu_e
    np.testing.assert_allclose([batch["nu_energy"][0], batch["weight"][0]], [2.5, 0.9], rtol=1e-6)
    assert [batch[name][0] for name in dune_cvn.COUNT_COLUMNS] == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [(0, "16", "unknown interaction"), (1, "nan", "nu_energy"), (7, "14", "with neutrino"), (8, "1.5", "n_protons"),
     (6, "inf", "weight"), (2, "-1", "lepton_energy"), (3, "x", "reco_nue_energy"), (0, "inf", "interaction")],
)  # fmt: skip
def test_impossible_info(tmp_path: Path, line: int, text: str, says: str) -> None:
    path = tmp_path / "event.info"
    path.write_text("\n".join([*INFO[:line], text, *INFO[line + 1 :]]))
    with pytest.raises(InputFileError, match=says):
        read_info(path)


def test_info_of_other_interactions(tmp_path: Path) -> None:
    path = tmp_path / "event.info"
    expected = {12: (Current.UNKNOWN, InteractionMode.NU_E), 13: (Current.NC, 0), 14: (Current.UNKNOWN, 0)}
    for code, (current, mode) in expected.items():
        path.write_text("\n".join([str(code), *INFO[1:]]))
        truth = read_info(path)
        assert (truth["current"], truth["mode"]) == (current, mode)
    path.write_text("\n".join(INFO[:-1]))
    with pytest.raises(InputFileError, match="15 lines"):
        read_info(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (TINY[:-1], "truncated"), (TINY[:50], "truncated"), (b"PK\x03\x04", "not a zlib"),
     (b"\x1f\x8b\x08\x00", "gzip"), (zlib.compress(bytes(1000)), "1,000 bytes"), (TINY + b"x", "more data"),
     (zlib.compress(bytes(dune_cvn.N_BYTES + 1)), "more than"), (zlib.compress(bytes(10**8)), "more than"),
     (TINY[:20] + b"\xff" + TINY[21:], "damaged"), (b"x" * 10**6, "larger")],
)  # fmt: skip
def test_bad_maps(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "event1.gz"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "event1.gz", tmp_path):
        with pytest.raises(InputFileError):
            read(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [(("nue_cc", "nue_c"), "did you mean 'nue_cc'"), (("DIS", "DIZ"), "did you mean 'DIS'"), ((">2", "7"), "n_protons"),
     (("1,,nc", "1,2,nc"), "is_antineutrino"), (("4,,nc", "1,,nc"), "appears twice"), (("event,", "id,"), "no column"),
     (("0,0,nue", "-1,0,nue"), "whole number"), (("0,0,nue", "0,,nue"), "empty for a charged")],
)  # fmt: skip
def test_bad_labels(shared_data: Path, tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = (shared_data / "dune_cvn" / "labels.csv").read_text(encoding="utf-8")
    (tmp_path / "labels.csv").write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(InputFileError, match=says):
        read_labels(tmp_path / "labels.csv")


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_is_explained(sample: list[Path], tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes are changed or lost, a reader either reads an event or says what is wrong."""
    content = bytearray(sample[4].read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "event4.gz"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    result = outcome(read, path)
    assert str(path) in str(result) if isinstance(result, NuadaptError) else len(result) == 1


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=200) | st.binary(max_size=200), name=st.sampled_from(["labels.csv", "event1.info"]))
def test_foreign_truth_is_explained(tmp_path: Path, text: str | bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    result = outcome(read_labels if name == "labels.csv" else read_info, path)
    assert isinstance(result, dict) or str(path) in str(result)
