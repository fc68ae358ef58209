"""Records are whole or absent, and equal for equal runs."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuadapt.errors import InputFileError, OutputError
from nuadapt.record import make_record, read_json, write_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(content=PLAIN)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "deep" / "record.json", content)
    assert read_json(tmp_path / "deep" / "record.json") == content
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["record.json"]


def test_old_file_stays_if_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="no space left"):
        write_json(path, {"a": 2})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_json(tmp_path / "file" / "record.json", {})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2"])
def test_files_that_are_not_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(InputFileError, match="not valid JSON"):
        read_json(tmp_path / "r.json")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="Train it first"):
        read_json(tmp_path / "r.json", next_step="Train it first")


def test_records_of_equal_runs_are_equal() -> None:
    one, other = (make_record("train", {"lr": 0.1}, seed=4) for _ in range(2))
    assert one == other
    assert json.loads(json.dumps(one)) == one
    assert one["stage"] == "train"
    assert one["config"] == {"lr": 0.1}
    assert one["seed"] == 4
    assert one["versions"]["numpy"] == version("numpy")
    assert one["versions"]["nuadapt"] == version("nuadapt")
