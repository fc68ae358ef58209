"""Evaluation folders as the report reads them: result files only, no model and no events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from nuadapt.errors import InputFileError
from nuadapt.evaluation.explain.files import CURVES, EVIDENCE, EXPLAINED, FAITHFULNESS, Explained, read_explained
from nuadapt.evaluation.gallery import Gallery, read_gallery
from nuadapt.evaluation.npz import Array, read_npz
from nuadapt.record import read_json

_NEEDED = ("model", "classes", "n_events", "accuracy", "per_class", "confusion", "confusion_counts", "intervals")
_STEP = "Give a folder made by 'nuadapt evaluate'"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation folder: its metrics, record, curves and gallery; ``name`` is unique on a page.

    An explained one has the test of its evidence in ``metrics["evidence"]`` and ``curves``, the events of its gallery
    in ``explained``, and the scores of its reasons, if the model gives any, in ``faithfulness``.
    """

    path: Path
    name: str
    metrics: dict[str, Any]
    record: dict[str, Any]
    curves: dict[str, Array]
    gallery: Gallery | None
    explained: Explained | None = None
    faithfulness: dict[str, Any] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self.metrics["classes"])

    @property
    def coarsen(self) -> int:
        """By how much the resolution was lowered for this evaluation; 1: as trained."""
        predict = self.record.get("config", {}).get("predict", {})
        return int(predict.get("coarsen", 1))

    @property
    def resolution(self) -> str:
        """What the model saw, for people: ``half resolution``, ``half resolution, mean of pixels``."""
        how = self.record.get("config", {}).get("predict", {}).get("coarsen_how")
        return resolution(self.coarsen) + (f", {how} of pixels" if how and self.coarsen > 1 else "")

    @property
    def has_truth(self) -> bool:
        """False if nothing could be scored."""
        return bool(self.metrics["n_events"])

    @property
    def simulated(self) -> bool:
        """True if nuadapt's own simulation made the events."""
        return made_by_us(self.record)

    @property
    def sees_images(self) -> bool:
        """False for models of particle clouds."""
        reads = self.record.get("model", {}).get("input", {})
        return "types" not in reads

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        return file_name(self.name)


def file_name(name: str) -> str:
    """A name as part of a file name."""
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


@dataclass(frozen=True, slots=True)
class EnergyEvaluation:
    """A folder with answers of a model that gives an energy."""

    path: Path
    name: str
    metrics: dict[str, Any]
    record: dict[str, Any]


def made_by_us(record: Mapping[str, Any]) -> bool:
    """Whether the record of an evaluation says that nuadapt's own simulation made the events."""
    made = record.get("data", {}).get("record", {})
    return str(made.get("stage", "")).startswith("simulate")


def is_energy(folder: Path) -> bool:
    """Whether this folder holds the evaluation of an energy."""
    return (folder / "energies.parquet").is_file()


def load_energy(folder: Path) -> EnergyEvaluation:
    """Read such a folder.

    Raises:
        InputFileError: a file is missing or damaged.
    """
    metrics = dict(read_json(folder / "metrics.json"))
    return EnergyEvaluation(folder, str(metrics["model"]), metrics, dict(read_json(folder / "record.json")))


@dataclass(frozen=True, slots=True)
class Training:
    """How a model was trained: the lines of log.jsonl of a run folder, in order, and its record if it is finished."""

    name: str
    lines: list[dict[str, Any]]
    record: dict[str, Any]

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Epochs and values of one logged quantity."""
        rows = [line for line in self.lines if name in line]
        return [float(r["epoch"]) for r in rows], [float(r[name]) for r in rows]


def load_trainings(folders: Sequence[Path]) -> list[Training]:
    """Training logs of those of ``folders`` that are run folders.

    Raises:
        InputFileError: a damaged log.
    """
    return [_load_training(folder) for folder in folders if (folder / "log.jsonl").is_file()]


def _load_training(folder: Path) -> Training:
    place, record = folder / "log.jsonl", folder / "record.json"
    try:
        lines = [json.loads(text) for text in place.read_text(encoding="utf-8").splitlines() if text.strip()]
        if not all(isinstance(line, dict) and "epoch" in line for line in lines):
            raise ValueError("a line has no epoch")
    except (OSError, ValueError) as error:
        raise InputFileError(f"this is not the log of a training run ({error})", where=place) from error
    content = read_json(record) if record.is_file() else {}
    return Training(f"{content.get('preset', 'unfinished run')} [{folder.name}]", lines, content)


def resolution(coarsen: int) -> str:
    """How a resolution is called on the page."""
    return {1: "full resolution", 2: "half resolution"}.get(coarsen, f"1/{coarsen} resolution")


def load_evaluations(folders: Sequence[Path]) -> list[Evaluation]:
    """Read evaluation folders. A folder that holds evaluations (such as a run folder) stands for all of them.

    Raises:
        InputFileError: no evaluation in a folder, or a damaged one.
    """
    return _with_names([load_evaluation(f) for f in evaluation_folders(folders) if not is_energy(f)])


def load_energies(folders: Sequence[Path]) -> list[EnergyEvaluation]:
    """Read evaluations of energies among these folders; as :func:`load_evaluations`."""
    found = [load_energy(folder) for folder in evaluation_folders(folders) if is_energy(folder)]
    return [replace(e, name=f"{e.name} [{e.path.name}]") for e in found]


def evaluation_folders(folders: Sequence[Path]) -> list[Path]:
    """Folders with a metrics.json among these, or directly below them.

    Raises:
        InputFileError: a folder has none, and is no run folder either.
    """
    found: list[Path] = []
    for folder in folders:
        inside = [folder] if (folder / "metrics.json").is_file() else _inside(folder)
        if not inside and (folder / "log.jsonl").is_file():
            continue  # a run folder: its training is shown, its evaluations are elsewhere
        if not inside:
            raise InputFileError("no metrics.json in this folder or directly below it", where=folder, next_step=_STEP)
        found += [p for p in inside if p.resolve() not in {f.resolve() for f in found}]
    return found


def _inside(folder: Path) -> list[Path]:
    return sorted({p.parent for pattern in ("*/metrics.json", "*/*/metrics.json") for p in folder.glob(pattern)})


def load_evaluation(folder: Path) -> Evaluation:
    """Read one evaluation folder.

    Raises:
        InputFileError: a file is missing or damaged.
    """
    metrics = read_json(folder / "metrics.json", next_step=_STEP)
    lost = [k for k in _NEEDED if k not in metrics] if isinstance(metrics, dict) else list(_NEEDED)
    if lost:
        raise InputFileError(f"the metrics lack '{lost[0]}'", where=folder / "metrics.json", next_step=_STEP)
    curves = read_npz(folder / "curves.npz")
    if (folder / EVIDENCE).is_file():
        metrics["evidence"] = read_json(folder / EVIDENCE)
        curves |= read_npz(folder / CURVES)
    gallery = read_gallery(folder / "gallery.npz") if (folder / "gallery.npz").is_file() else None
    return Evaluation(
        path=folder,
        name=str(metrics["model"]),
        metrics=metrics,
        record=read_json(folder / "record.json", next_step=_STEP),
        curves=curves,
        gallery=gallery,
        explained=_load_explained(folder / EXPLAINED, gallery),
        faithfulness=_load_faithfulness(folder / FAITHFULNESS),
    )


def _load_explained(place: Path, gallery: Gallery | None) -> Explained | None:
    if not place.is_file() or gallery is None:
        return None
    found = read_explained(place)
    if [event["key"] for event in found.events] != [event["key"] for event in gallery.events]:
        raise InputFileError("the explained events are not those of the gallery", where=place)
    return found


def _load_faithfulness(place: Path) -> dict[str, Any] | None:
    if not place.is_file():
        return None
    found = read_json(place)
    if not isinstance(found, dict) or not {"n_events", "run", "shuffled_images", "forced_label"} <= set(found):
        raise InputFileError("these are not the scores of reasons", where=place)
    return found


def _with_names(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Names made unique and telling: with the resolution, and with the folder where that is not enough.

    Several trainings of one preset (``nuadapt-vlm-`` and eight letters each) are told apart by their folders, too.
    """
    presets = [preset.rpartition("-")[0] for preset in {e.name for e in evaluations}]
    named = [replace(e, name=e.name if e.coarsen == 1 else f"{e.name}, {e.resolution}") for e in evaluations]
    names = [e.name for e in named]
    unclear = [
        names.count(n.name) > 1 or presets.count(e.name.rpartition("-")[0]) > 1
        for n, e in zip(named, evaluations, strict=True)
    ]
    return [replace(e, name=f"{e.name} [{e.path.name}]") if u else e for e, u in zip(named, unclear, strict=True)]


def published() -> dict[str, Any]:
    """The published numbers that stand beside ours, with their citation."""
    text = files("nuadapt.report").joinpath("published.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
