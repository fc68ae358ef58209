"""Fetching checkpoints: once, with a hash; what is not one, or was changed, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from nuadapt.cli import app
from nuadapt.errors import ConfigError, InputFileError
from nuadapt.models import fetch as room
from nuadapt.models.fetch import checkpoint, fetch


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for a published one; the cache is empty."""
    file = tmp_path / "server" / "weights.pt"
    file.parent.mkdir()
    torch.save({"body": {"weight": torch.ones(3)}}, file)
    monkeypatch.setattr(room, "CHECKPOINTS", {"small": file.as_uri()})
    monkeypatch.setenv("NUADAPT_CACHE", str(tmp_path / "cache"))
    return file


def test_it_is_downloaded_once(server: Path) -> None:
    steps: list[int] = []
    got = fetch("small", progress=lambda done, total: steps.append(done))
    assert steps[-1] == got["bytes"] == server.stat().st_size
    assert checkpoint("small") == Path(got["path"])
    server.unlink()
    assert fetch("small") == got


def test_a_changed_file_is_not_used(server: Path) -> None:
    place = Path(fetch("small")["path"])
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(InputFileError, match="not the file that was fetched"):
        checkpoint("small")


def test_what_is_no_checkpoint_leaves_nothing_behind(server: Path, tmp_path: Path) -> None:
    server.write_text("<html>maintenance</html>")
    with pytest.raises(InputFileError, match="cannot be read as a checkpoint"):
        fetch("small")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    with pytest.raises(InputFileError, match=r"not on this machine(.|\n)*nuadapt fetch small"):
        checkpoint("small")


def test_no_network_is_said(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHECKPOINTS", {"small": "http://127.0.0.1:9/weights.pt"})
    result = CliRunner().invoke(app, ["fetch", "small"])
    assert result.exit_code != 0
    with pytest.raises(InputFileError, match="give its path in place of the name"):
        fetch("small")


def test_names_and_paths(server: Path, tmp_path: Path) -> None:
    assert checkpoint(str(server)) == server
    with pytest.raises(InputFileError, match="no such checkpoint"):
        checkpoint(str(tmp_path / "none.pt"))
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        fetch("smal")
