"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Words = Annotated[
    list[str] | None, typer.Argument(help="Settings as key=value or group.key=value.", show_default=False)
]
Data = Annotated[Path, typer.Option("--data", help="Event store (.h5).", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="Where to write.", show_default=False)]
