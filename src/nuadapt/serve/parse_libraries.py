"""What reads uploads, loaded once by the process that every reading process is forked from."""

from __future__ import annotations

import importlib
from contextlib import suppress

from nuadapt.serve import parse_worker

#: Libraries that readers import where they need them. One that is not installed is missed when it is needed.
_LATER = (
    "PIL.Image",
    "PIL.PngImagePlugin",
    "awkward",
    "nuadapt.terminal",
    "nuadapt.sources.minerva.reader",
    "nuadapt.sources.nuhepmc",
    "nuadapt.sources.simulation.lartpc",
    "particle",
    "pyhepmc",
    "typer",
    "uproot",
)

for _name in _LATER:
    with suppress(ImportError):
        importlib.import_module(_name)
parse_worker.load_kernels()
