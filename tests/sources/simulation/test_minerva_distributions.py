"""Figures of the stand-in: shares add up, other events stand beside, the command writes a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nuadapt.cli import app
from nuadapt.errors import DataError
from nuadapt.events.batch import EventBatch
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.minerva.detector import MinervaLike
from nuadapt.sources.simulation.minerva.distributions import distributions


def test_shares_add_up_and_others_stand_beside() -> None:
    events = MinervaLike(MinervaConfig(), 4).simulate(range(300), "nuadapt-minerva")
    curves = distributions([("stand-in", events), ("half of it", events.select(np.arange(150)))])
    assert {"column-W", "tokens", "calorimetry", "energy-muon"} <= set(curves)
    tags = curves["column-n_michel_tags"]
    assert [s["kind"] for s in tags["series"]] == ["histogram", "reference"]
    assert sum(tags["series"][0]["y"]) == pytest.approx(1)
    assert len(tags["series"][0]["x"]) == len(tags["series"][0]["y"]) + 1
    with pytest.raises(DataError, match="no particle clouds"):
        distributions([("bare", EventBatch(events.columns, events.sources))])


def test_the_command_draws_beside_a_sample_of_tuples(shared_data: Path, tmp_path: Path) -> None:
    tuples = str(shared_data / "minerva" / "masteranadev_mc.root")
    given = ["validate", "minerva", "--events", "200", "--beside", tuples, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "README.md").read_text()
    assert "stand-in" in page
    for name in ("tokens", "column-W", "energy-blob"):
        assert f"validation-{name}.png" in page
        assert (tmp_path / "out" / f"validation-{name}.png").is_file()
