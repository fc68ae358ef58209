"""A dozen events to look at: right and wrong ones of each class, chosen by rule, kept as sparse maps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nuadapt.errors import InputFileError
from nuadapt.evaluation.npz import Array, read_npz, write_npz
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.truth import NO_LABEL, Current, InteractionMode

_MAP_ARRAYS = ("offsets", "row", "col", "value", "origin")
_VERTEX = ("vertex_x", "vertex_y", "vertex_z")


@dataclass(frozen=True, slots=True)
class Choice:
    """One chosen event: its row in the table of predictions and why it was chosen."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """M chosen events: their maps, and one dictionary each with key, truth, prediction and reason."""

    maps: PixelMaps
    events: list[dict[str, Any]]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.events)


def choose(predictions: Predictions) -> list[Choice]:
    """Rows for the gallery, at most four per class, none twice.

    Of each true class: the right answer and the wrong answer of highest probability, and one right and one wrong
    event by the lowest hash of the key (as good as random, but the same for every model). Without truth: of each
    label the most confident event and one by hash.
    """
    confidence = np.take_along_axis(predictions.probability, predictions.label[:, None], axis=1)[:, 0]
    lowest_hash = -predictions.hashes().astype(np.float64)
    right, has_truth = predictions.truth == predictions.label, bool(predictions.has_label.any())
    chosen: dict[int, Choice] = {}
    for index in range(len(predictions.classes)):
        if has_truth:
            groups = [("right", (predictions.truth == index) & right), ("wrong", (predictions.truth == index) & ~right)]
        else:
            groups = [("no truth", predictions.label == index)]
        for word, mask in groups:
            for rule, score in (("most confident", confidence), ("by hashed key", lowest_hash)):
                rows = [int(r) for r in np.flatnonzero(mask) if int(r) not in chosen]
                if rows:
                    row = rows[int(np.argmax(score[rows]))]
                    chosen[row] = Choice(row, f"{word}, {rule}")
    return list(chosen.values())


def describe(predictions: Predictions, choice: Choice, vertex: Array) -> dict[str, Any]:
    """Everything the page says about one event. ``vertex`` is (x, y, z) in cm, NaN where unknown."""
    row, names = choice.row, predictions.classes
    truth, energy = int(predictions.truth[row]), float(predictions.nu_energy[row])
    return {
        "key": [str(predictions.source[row]), *(int(getattr(predictions, n)[row]) for n in ("run", "subrun", "event"))],
        "reason": choice.reason,
        "truth": names[truth] if truth != NO_LABEL else None,
        "label": names[int(predictions.label[row])],
        "probability": {name: float(p) for name, p in zip(names, predictions.probability[row], strict=True)},
        "nu_energy": energy if np.isfinite(energy) else None,
        "mode": InteractionMode(int(predictions.mode[row])).name,
        "current": Current(int(predictions.current[row])).name,
        "vertex": [float(v) if np.isfinite(v) else None for v in vertex],
    }


def vertices(batch: EventBatch) -> Array:
    """Interaction points of a batch, shape (N, 3), cm; NaN without truth."""
    if not batch.has_truth:
        return np.full((len(batch), 3), np.nan)
    return np.stack([batch[name] for name in _VERTEX], axis=1)


def write_gallery(path: Path, gallery: Gallery) -> None:
    """Write the gallery as named arrays; the descriptions are JSON text inside."""
    text = {"spec": gallery.maps.spec.as_dict(), "events": gallery.events, "classes": list(gallery.classes)}
    arrays = {name: getattr(gallery.maps, name) for name in _MAP_ARRAYS}
    write_npz(path, {**arrays, "about": np.array(json.dumps(text))})


def read_gallery(path: Path) -> Gallery:
    """Read what :func:`write_gallery` wrote.

    Raises:
        InputFileError: missing, damaged, or not a gallery.
    """
    stored = read_npz(path)
    try:
        about = json.loads(str(stored["about"]))
        maps = PixelMaps(MapSpec.from_dict(about["spec"]), *(stored[name] for name in _MAP_ARRAYS))
        gallery = Gallery(maps, list(about["events"]), tuple(about["classes"]))
    except (KeyError, ValueError, TypeError) as error:
        raise InputFileError(f"this is not a gallery of events ({error!r})", where=path) from error
    if len(gallery.maps) != len(gallery.events):
        raise InputFileError("the gallery has another number of maps than of descriptions", where=path)
    return gallery
