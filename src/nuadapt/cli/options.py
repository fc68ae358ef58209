"""Options that several commands have, and choices that options offer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Words = Annotated[
    list[str] | None, typer.Argument(help="Settings as key=value or group.key=value.", show_default=False)
]
Data = Annotated[Path, typer.Option("--data", help="Event store (.h5).", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="Where to write.", show_default=False)]
Skip = Annotated[bool, typer.Option("--skip-bad", help="Accept that bad input files are left out.")]
Uncalibrated = Annotated[
    bool, typer.Option("--uncalibrated", help="The model's own probabilities, without the calibration of the run.")
]
Views = Annotated[
    str | None,
    typer.Option(help="Views of the input to use, in the model's order, e.g. view0,view2.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the format as key=value; may be repeated.", show_default=False),
]
AtOnce = Annotated[
    int, typer.Option(help="Trainings at the same time, each with its share of the cores: for small networks.", min=1)
]


class Scale(StrEnum):
    """How large a study is."""

    smoke = "smoke"
    laptop = "laptop"
    paper = "paper"


class AdapterScope(StrEnum):
    """Towers that get adapters."""

    text = "text"
    vision = "vision"
    both = "both"


class SetScore(StrEnum):
    """What conformal sets are made by."""

    lac = "lac"
    aps = "aps"


class ExportFormat(StrEnum):
    """Formats of ``nuadapt export``."""

    png_pairs = "png-pairs"
    omnilearned = "omnilearned"
