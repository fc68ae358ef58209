"""What an explained evaluation leaves in its folder. Read by the report, so nothing here needs a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nuadapt.errors import InputFileError
from nuadapt.evaluation.npz import Array, read_npz, write_npz

CONFIG, FAITHFULNESS, REASONS = "explain.json", "faithfulness.json", "reasons.parquet"
EVIDENCE, CURVES, EXPLAINED = "evidence.json", "evidence.npz", "explained.npz"


@dataclass(frozen=True, slots=True)
class Explained:
    """The M events of a gallery, explained.

    ``evidence`` (M, V, H, W): evidence of each pixel for the answered class, in log-odds, over the maps of the gallery
    joined ``coarsen`` x ``coarsen``. ``events``: per event ``key`` and ``target``, the class; from models that give
    reasons also ``reason``, the text, ``claims`` as of :func:`~nuadapt.evaluation.explain.faithfulness.verdicts`,
    and ``contradicts_label``. ``judged_by``: what the claims are compared with.
    """

    evidence: Array
    coarsen: int
    events: list[dict[str, Any]]
    judged_by: str


def write_explained(path: Path, explained: Explained) -> None:
    """Write named arrays, with all words as JSON text inside."""
    about = {"coarsen": explained.coarsen, "events": explained.events, "judged_by": explained.judged_by}
    write_npz(path, {"evidence": explained.evidence, "about": np.array(json.dumps(about))})


def read_explained(path: Path) -> Explained:
    """Read what :func:`write_explained` wrote.

    Raises:
        InputFileError: missing, damaged, or something else.
    """
    stored = read_npz(path)
    try:
        about = json.loads(str(stored["about"]))
        found = Explained(stored["evidence"], int(about["coarsen"]), list(about["events"]), str(about["judged_by"]))
    except (KeyError, ValueError, TypeError) as error:
        raise InputFileError(f"these are not explained events ({error!r})", where=path) from error
    if found.evidence.ndim != 4 or len(found.evidence) != len(found.events):
        raise InputFileError(f"evidence of shape {found.evidence.shape} for {len(found.events)} events", where=path)
    return found
