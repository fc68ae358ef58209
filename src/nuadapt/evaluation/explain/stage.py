"""Explanations of an evaluated model: reasons in words scored against truth, and the test of pixel evidence.

Written beside the predictions of an evaluation: ``faithfulness.json`` and ``reasons.parquet`` for models that give
reasons; ``evidence.json``, ``evidence.npz`` and ``explained.npz`` (the events of the gallery) for every image model.
Each file is complete or absent, and what is there is kept. Reasons are kept in parts while they are made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError
from nuadapt.evaluation.explain.attribution import Images, attribution, possible
from nuadapt.evaluation.explain.deletion import EvidenceConfig, evidence_test
from nuadapt.evaluation.explain.faithfulness import DEFINITIONS, compare_controls, verdicts
from nuadapt.evaluation.explain.files import (
    CONFIG,
    CURVES,
    EVIDENCE,
    EXPLAINED,
    FAITHFULNESS,
    REASONS,
    Explained,
    write_explained,
)
from nuadapt.evaluation.explain.image_claims import claims_of_images
from nuadapt.evaluation.gallery import read_gallery
from nuadapt.evaluation.npz import write_npz
from nuadapt.evaluation.predict import PredictConfig, images_for, maps_for
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Progress
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.store import EventStore
from nuadapt.models.reasons.claims import Claims, claims_of_truth
from nuadapt.models.reasons.parser import parse_reason
from nuadapt.models.reasons.verdict import contradicts
from nuadapt.models.run import LoadedModel
from nuadapt.record import read_json, write_json

Rows = npt.NDArray[np.int64]

_PARTS = "reasons"  # folder of the reasons of finished batches
_KINDS = ("run", "shuffled_images", "forced_label")
_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class ExplainConfig:
    """How much is explained."""

    reasons: int = 1000  # events with a reason; each is asked three times, for itself and for the two controls
    evidence: int = 100  # events with pixel evidence; each costs some hundred passes
    seed: int = 1  # of the shuffled images and the wrong classes
    test: EvidenceConfig = field(default_factory=EvidenceConfig)

    def __post_init__(self) -> None:
        if self.reasons < 2 or self.evidence < 1 or not self.test.methods:
            raise ConfigError(
                f"reasons for {self.reasons} events, evidence for {self.evidence} by {len(self.test.methods)} methods",
                expected="at least 2, 1 and 1",
            )


def explain(
    model: LoadedModel,
    data: Path,
    out: Path,
    config: ExplainConfig | None = None,
    predict: PredictConfig | None = None,
    *,
    rows: Rows,
    progress: Progress | None = None,
) -> None:
    """Explain the evaluation in the folder ``out``, which is of the events ``rows`` of the store ``data``.

    The events explained are those of the lowest hashes of their keys: as good as random whatever the order of the
    file, and the same for every model.

    Raises:
        InputFileError: ``out`` holds no finished evaluation.
        OutputError: ``out`` is explained already, by other settings.
        DataError: the evaluation is of other events; a single event, whose image cannot be shuffled.
    """
    config, predict = _possible(model, config or ExplainConfig()), predict or PredictConfig()
    with EventStore(data) as store:
        table = _evaluated(out, model, store, rows)
        if model.gives_reasons and len(rows) < 2:
            raise DataError("a single event has no other one to be confused with", expected="at least 2 events")
        _prepare(out / CONFIG, config)
        job = _Job(model, store, rows, table, out, config, predict, _judge_of(store, model, predict))
        if not (out / EXPLAINED).is_file():
            _explain_gallery(job)
        if not (out / EVIDENCE).is_file():
            images = job.images(_chosen(table, config.evidence))
            test = evidence_test(model, images, config.test, progress)
            write_npz(out / CURVES, test.curves)
            write_json(out / EVIDENCE, test.numbers)  # last: it stands for both
        if model.gives_reasons and not (out / FAITHFULNESS).is_file():
            _faithfulness(job, progress)


def _possible(model: LoadedModel, config: ExplainConfig) -> ExplainConfig:
    """The settings with evidence that this model can give."""
    methods = dict.fromkeys(possible(model, method) for method in config.test.methods)
    return replace(config, test=replace(config.test, methods=tuple(methods)))


def _evaluated(out: Path, model: LoadedModel, store: EventStore, rows: Rows) -> Predictions:
    """The predictions of the evaluation in ``out``, one for each of ``rows``."""
    if not (out / "metrics.json").is_file():
        raise InputFileError(
            "this folder holds no finished evaluation", where=out, next_step="Evaluate the model into it first"
        )
    table = Predictions.read(out / "predictions.parquet")
    same = len(table) == len(rows) and all(
        np.array_equal(getattr(table, name), store.column(name)[rows]) for name in ("run", "subrun", "event")
    )
    if not same or table.model != model.id or table.classes != model.classes:
        raise DataError(
            f"the evaluation holds {len(table)} events predicted by {table.model}, not these {len(rows)} by {model.id}",
            where=out,
            next_step="Explain an evaluation with its own model, data and split",
        )
    return table


def _prepare(place: Path, config: ExplainConfig) -> None:
    """Note the settings, so that files of different ones are not mixed."""
    wanted = json.loads(json.dumps(asdict(config)))
    if not place.is_file():
        write_json(place, wanted)
    elif read_json(place) != wanted:
        raise OutputError(
            "this evaluation is explained already, with other settings",
            where=place,
            next_step="Evaluate into another folder, or use the same settings",
        )


def _chosen(table: Predictions, n: int) -> Rows:
    """The ``n`` rows of ``table`` with the lowest hashes, in the order of the table."""
    return np.sort(np.argsort(table.hashes(), kind="stable")[:n])


@dataclass(frozen=True, slots=True)
class _Judge:
    """What claims are compared with: ``words`` for people, ``claims`` of a batch and its maps of the model's views."""

    words: str
    claims: Callable[[EventBatch, PixelMaps], list[Claims]]


def _judge_of(store: EventStore, model: LoadedModel, predict: PredictConfig) -> _Judge:
    """Visible truth where the store has it, as far as the model's pixels show it; else the images, else nothing."""
    spec, joined = store.layout.map_spec, model.image_input.coarsen * predict.coarsen
    if store.layout.has_truth and bool((store.column("n_tracks") >= 0).any()):
        return _Judge("visible truth", lambda batch, maps: claims_of_truth(batch, max(maps.spec.pitch) * joined))
    if spec is not None and spec.value_unit != "grey" and len(model.image_input.views) == 2:
        return _Judge("features of the images", lambda batch, maps: claims_of_images(maps))
    return _Judge("nothing: neither visible truth nor energies in pixels", lambda batch, maps: [Claims()] * len(batch))


@dataclass(frozen=True, slots=True)
class _Job:
    """All that one call works with; ``table`` has one row for each of the store's ``rows``."""

    model: LoadedModel
    store: EventStore
    rows: Rows
    table: Predictions
    out: Path
    config: ExplainConfig
    predict: PredictConfig
    judge: _Judge

    def images(self, chosen: Rows) -> Images:
        """What the model sees of the rows ``chosen`` of the table, (N, V, H, W)."""
        batch = self.store.read(self.rows[chosen])
        return images_for(self.model, maps_for(self.model, batch, self.predict), self.predict)

    def truth(self, chosen: Rows) -> list[Claims]:
        """The claims that the reasons of the rows ``chosen`` are judged by."""
        batch = self.store.read(self.rows[chosen])
        return self.judge.claims(batch, maps_for(self.model, batch, self.predict))


def _explain_gallery(job: _Job) -> None:
    """The events of the gallery with evidence for the answered class, and with their reason if the model gives one."""
    model, table, test = job.model, job.table, job.config.test
    keys = [tuple(event["key"]) for event in read_gallery(job.out / "gallery.npz").events]
    row_of = {key: row for row, key in enumerate(_keys(table))}
    lost = [key for key in keys if key not in row_of]
    if lost:
        raise InputFileError(f"the gallery has the event {lost[0]}, which is not among the predictions", where=job.out)
    at = np.array([row_of[key] for key in keys], dtype=np.int64)
    images, label = job.images(at), table.label[at]
    evidence = attribution(model, images, label, test.methods[0], test.attribution)
    events: list[dict[str, Any]] = [
        {"key": list(key), "target": table.classes[i]} for key, i in zip(keys, label, strict=True)
    ]
    if model.gives_reasons:
        for event, text, true in zip(events, model.reasons(images, label), job.truth(at), strict=True):
            said = parse_reason(text)
            event |= {"reason": text, "claims": verdicts(said, true)}
            event["contradicts_label"] = contradicts(said, event["target"])
    write_explained(job.out / EXPLAINED, Explained(evidence, model.image_input.coarsen, events, job.judge.words))


def _keys(table: Predictions) -> Iterator[tuple[str, int, int, int]]:
    """The key of each row, as the gallery writes it."""
    return zip(map(str, table.source), table.run.tolist(), table.subrun.tolist(), table.event.tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class _Questions:
    """What the model is asked about N events.

    ``row`` (N,) in the table. ``shown`` (N,): the row whose images the shuffled control sees, never the event's own.
    ``label`` (N,): the answer. ``forced`` (N,): a wrong class.
    """

    row: Rows
    shown: Rows
    label: Rows
    forced: Rows

    @classmethod
    def about(cls, table: Predictions, chosen: Rows, seed: int) -> _Questions:
        """The run and both controls for the rows ``chosen`` of ``table``."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(chosen))
        shown = np.empty_like(chosen)
        shown[order] = chosen[np.roll(order, 1)]  # one cycle through all events: nobody gets his own
        label, truth = table.label[chosen], table.truth[chosen]
        chance = rng.random((len(chosen), len(table.classes)))
        known = np.flatnonzero(truth >= 0)
        chance[known, truth[known]] = -1  # taken only if two classes are all there are
        chance[np.arange(len(chosen)), label] = -2
        return cls(chosen, shown, label, chance.argmax(axis=1))


def _faithfulness(job: _Job, progress: Progress | None) -> None:
    """Reasons of the run and of both controls, scored."""
    asked = _Questions.about(job.table, _chosen(job.table, job.config.reasons), job.config.seed)
    said: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    true: list[Claims] = []
    n, size = len(asked.row), job.predict.batch_size
    for start in range(0, n, size):
        at = slice(start, min(start + size, n))
        part = _reasons_of(job, asked, at)
        for kind in _KINDS:
            said[kind] += part[kind]
        true += job.truth(asked.row[at])
        if progress is not None:
            progress(at.stop, n)
    told = replace(job.table.select(asked.row), reason=np.array(said["run"], dtype=object))
    told.write(job.out / REASONS)
    scores = _scores(said, true, asked, told.classes)
    examples = [_example(said, asked, told, i) for i in range(min(_EXAMPLES, n))]
    head = {"n_events": n, "checked_against": job.judge.words}
    write_json(job.out / FAITHFULNESS, {**head, **scores, "definitions": DEFINITIONS, "examples": examples})
    shutil.rmtree(job.out / _PARTS, ignore_errors=True)


def _reasons_of(job: _Job, asked: _Questions, at: slice) -> dict[str, list[str]]:
    """What the model says about the events ``at``, by kind; from an earlier, interrupted call if that got so far."""
    place = job.out / _PARTS / f"{at.start:09d}.json"
    part = _finished_part(place, len(asked.row[at]))
    if part is None:
        images = job.images(asked.row[at])
        part = {
            "run": job.model.reasons(images, asked.label[at]),
            "shuffled_images": job.model.reasons(job.images(asked.shown[at]), asked.label[at]),
            "forced_label": job.model.reasons(images, asked.forced[at]),
        }
        write_json(place, part)
    return part


def _finished_part(place: Path, n: int) -> dict[str, list[str]] | None:
    """The reasons of an earlier, interrupted call; None if they are missing or unusable."""
    try:
        part: dict[str, list[str]] = read_json(place)
    except InputFileError:
        return None
    return part if all(len(part.get(kind, ())) == n for kind in _KINDS) else None


def _scores(
    said: dict[str, list[str]], true: list[Claims], asked: _Questions, classes: tuple[str, ...]
) -> dict[str, Any]:
    claims = [[parse_reason(text) for text in said[kind]] for kind in _KINDS]
    labels, forced = ([classes[i] for i in index] for index in (asked.label, asked.forced))
    return compare_controls(claims[0], claims[1], claims[2], true, labels, forced)


def _example(said: dict[str, list[str]], asked: _Questions, told: Predictions, i: int) -> dict[str, Any]:
    names = told.classes
    return {
        "event": int(told.event[i]),
        "label": names[asked.label[i]],
        "truth": names[told.truth[i]] if told.truth[i] >= 0 else None,
        "forced": names[asked.forced[i]],
        **{kind: said[kind][i] for kind in _KINDS},
    }
