"""What the command line writes where it is not on a terminal."""

from __future__ import annotations

import pytest

from nuadapt.terminal import progress_bar


def test_a_line_every_tenth_of_each_part_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("asking") as update:
        for total in (20, 1000):
            for done in range(1, total + 1):
                update(done, total)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * 11
    assert lines[10:13] == ["asking: 20 of 20", "asking: 1 of 1000", "asking: 100 of 1000"]


def test_work_of_unknown_size_is_counted_in_thousands(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("reading") as update:
        for done in range(1, 2002):
            update(done, 0)
    assert capsys.readouterr().err.splitlines() == ["reading: 1", "reading: 1000", "reading: 2000"]
