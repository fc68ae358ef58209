"""The short table of the simulation's validation inside docs/physics.md, made from validation.json."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nuadapt.errors import InputFileError
from nuadapt.record import read_json
from nuadapt.report.tables import checks_markdown

START, END = "<!-- validation table -->\n", "<!-- end of validation table -->"
_MANY = 8  # rows of one quantity; more are shown by their worst


def short_table(checks: Sequence[Mapping[str, Any]]) -> str:
    """All checks as Markdown; of a quantity with many rows only the one farthest out, measured in tolerances."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for check in checks:
        groups.setdefault((str(check["group"]), str(check["quantity"])), []).append(check)
    rows: list[Mapping[str, Any]] = []
    for group in groups.values():
        if len(group) <= _MANY:
            rows += group
            continue
        worst = max(
            group, key=lambda c: abs(float(c["measured"]) - float(c["expected"])) / (float(c["tolerance"]) or 1)
        )
        passed = all(bool(c["passed"]) for c in group)
        rows.append({**worst, "condition": f"worst of {len(group)}: {worst['condition']}", "passed": passed})
    return checks_markdown(rows)


def insert(page: Path, table: str) -> str:
    """The text of ``page`` with ``table`` between the two markers.

    Raises:
        InputFileError: the page has no such markers.
    """
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise InputFileError("no place for the validation table", where=page, expected=f"the lines {START}{END}")
    return before + START + table + END + after


def main(validation: Path, page: Path) -> None:
    """Write the table of ``validation`` (validation.json) into ``page``."""
    page.write_text(insert(page, short_table(read_json(validation)["checks"])), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
