"""What the command line writes: two consoles, progress, tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, a line every tenth of the way elsewhere; yields ``update(done, total)``."""
    if not err.is_terminal:
        yield _line_progress(what)
        return
    columns = (SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _line_progress(what: str) -> Callable[[int, int], None]:
    shown = -1

    def update(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // total if total else done // 1000
        if tenth != shown:  # it falls where the next part of the work is counted anew
            shown = tenth
            err.print(f"{what}: {done}" + (f" of {total}" if total else ""))

    return update


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table below its title."""
    made = Table(show_header=any(header))
    for name in header:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*row)
    console = Console(width=max(out.width, 120) if not out.is_terminal else None)
    console.print(title, style="italic", markup=False, highlight=False)  # the title of a narrow table would be wrapped
    console.print(made)


#: Columns of a table of answers that are shown on the terminal, where it has them; with all probabilities.
_SHOWN = ("run", "event", "entry", "energy", "label", "set", "truth", "reason", "claims")
_ROWS = 20


def show_answers(columns: Mapping[str, Any], n: int) -> None:
    """The first rows of a table of answers, whose ``columns`` have ``n`` of them."""
    names = [name for name in columns if name in _SHOWN or name.startswith("p_")]
    rows = [[_cell(columns[name][i]) for name in names] for i in range(min(n, _ROWS))]
    more = f", the first {_ROWS}; --out FILE writes all" if n > _ROWS else ""
    table(f"{n} events{more}", names, rows)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
