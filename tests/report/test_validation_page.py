"""The validation table in docs/physics.md is the one of docs/validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from nuadapt.errors import InputFileError
from nuadapt.record import read_json
from nuadapt.report.validation_page import END, START, insert, short_table

DOCS = Path(__file__).parents[2] / "docs"


def test_the_physics_page_shows_the_committed_validation() -> None:
    checks = read_json(DOCS / "validation" / "validation.json")["checks"]
    assert insert(DOCS / "physics.md", short_table(checks)) == (DOCS / "physics.md").read_text()
    assert all(check["passed"] for check in checks)


def test_many_rows_are_shown_by_the_worst() -> None:
    rows = [
        {"group": "g", "quantity": "q", "condition": f"{i} GeV", "measured": 1.0 + i / 100, "expected": 1.0}
        | {"tolerance": 0.5, "unit": "", "source": "s", "passed": i != 3}
        for i in range(12)
    ]
    table = short_table(rows)
    assert "worst of 12: 11 GeV" in table
    assert "**no**" in table  # one of them failed, though not the worst
    assert len(table.splitlines()) == 3


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(START)
    with pytest.raises(InputFileError):
        insert(tmp_path / "page.md", "table")
    (tmp_path / "page.md").write_text(START + END)
    assert insert(tmp_path / "page.md", "| a |\n") == START + "| a |\n" + END
