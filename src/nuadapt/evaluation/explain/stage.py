"""Explanations of an evaluated model: reasons in words scored against truth, and the test of pixel evidence.

Written beside the predictions of an evaluation: ``faithfulness.json`` and ``reasons.parquet`` for models that give
reasons, ``evidence.json`` and ``evidence.npz`` for every image model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError
from nuadapt.evaluation.explain.deletion import EvidenceConfig, evidence_test
from nuadapt.evaluation.explain.faithfulness import DEFINITIONS, compare_controls
from nuadapt.evaluation.explain.image_claims import claims_of_images
from nuadapt.evaluation.npz import write_npz
from nuadapt.evaluation.predict import PredictConfig, images_for, maps_for
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Progress
from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore
from nuadapt.models.reasons.claims import Claims, claims_of_truth
from nuadapt.models.reasons.parser import parse_reason
from nuadapt.models.run import LoadedModel
from nuadapt.record import write_json

FAITHFULNESS, REASONS, EVIDENCE, CURVES = "faithfulness.json", "reasons.parquet", "evidence.json", "evidence.npz"


@dataclass(frozen=True, slots=True)
class ExplainConfig:
    """How much is explained."""

    reasons: int = 1000  # events with a reason; each is asked three times, for itself and for the two controls
    evidence: int = 100  # events with pixel evidence; each costs some hundred passes
    seed: int = 1  # of the shuffled images and the wrong classes
    test: EvidenceConfig = field(default_factory=EvidenceConfig)

    def __post_init__(self) -> None:
        if self.reasons < 2 or self.evidence < 1:
            raise ConfigError(
                f"reasons for {self.reasons} events, evidence for {self.evidence}", expected="at least 2 and 1"
            )


def explain(
    model: LoadedModel,
    data: Path,
    out: Path,
    config: ExplainConfig | None = None,
    predict: PredictConfig | None = None,
    *,
    rows: npt.NDArray[np.int64],
    progress: Progress | None = None,
) -> None:
    """Explain the first of the events ``rows`` of the store ``data`` into the folder ``out``; what is there is kept.

    Raises:
        DataError: no pixel maps, or a view is missing.
    """
    config, predict = config or ExplainConfig(), predict or PredictConfig()
    with EventStore(data) as store:
        if model.gives_reasons and not (out / FAITHFULNESS).is_file():
            _faithfulness(model, store, rows[: config.reasons], out, config, predict, progress)
        if not (out / EVIDENCE).is_file():
            batch = store.read(rows[: config.evidence])
            test = evidence_test(
                model, images_for(model, maps_for(model, batch, predict), predict), config.test, progress
            )
            write_npz(out / CURVES, test.curves)
            write_json(out / EVIDENCE, test.numbers)


def _faithfulness(
    model: LoadedModel,
    store: EventStore,
    rows: npt.NDArray[np.int64],
    out: Path,
    config: ExplainConfig,
    predict: PredictConfig,
    progress: Progress | None,
) -> None:
    """Reasons of the run and of both controls, scored."""
    random = np.random.default_rng(config.seed)
    other = (np.arange(len(rows)) + 1 + random.integers(0, max(1, len(rows) - 1))) % len(rows)  # never the event itself
    shift = 1 + random.integers(0, len(model.classes) - 1, len(rows))
    parts: list[Predictions] = []
    said: dict[str, list[str]] = {"run": [], "shuffled_images": [], "forced_label": []}
    checked: list[Claims] = []
    for at in _chunks(len(rows), predict.batch_size):
        batch, shown = store.read(rows[at]), store.read(rows[other[at]])
        images = images_for(model, maps_for(model, batch, predict), predict)
        probability = model.posterior(images)
        part = Predictions.of_batch(batch, probability, model.classes, model.id)
        wrong = (part.label + shift[at]) % len(model.classes)
        said["run"] += model.reasons(images, part.label)
        swapped = images_for(model, maps_for(model, shown, predict), predict)
        said["shuffled_images"] += model.reasons(swapped, part.label)
        said["forced_label"] += model.reasons(images, wrong)
        parts.append(part)
        checked += _checked_against(batch)
        if progress is not None:
            progress(at.stop, len(rows))
    table = replace(Predictions.concatenate(parts), reason=np.array(said["run"], dtype=object))
    table.write(out / REASONS)
    names = np.array(model.classes, dtype=object)
    labels = names[table.label].tolist()
    forced = names[(table.label + shift) % len(names)].tolist()
    claims = {kind: [parse_reason(text) for text in texts] for kind, texts in said.items()}
    scores = compare_controls(claims["run"], claims["shuffled_images"], claims["forced_label"], checked, labels, forced)
    examples = [
        {"event": int(table.event[i]), **{kind: texts[i] for kind, texts in said.items()}}
        for i in range(min(20, len(rows)))
    ]
    write_json(
        out / FAITHFULNESS,
        {
            "n_events": len(rows),
            "checked_against": "visible truth" if _has_truth(store) else "features of the images",
            **scores,
            "definitions": DEFINITIONS,
            "config": {k: v for k, v in asdict(config).items() if k in ("reasons", "seed")},
            "examples": examples,
        },
    )


def _has_truth(store: EventStore) -> bool:
    return store.layout.has_truth


def _checked_against(batch: EventBatch) -> Sequence[Claims]:
    """Claims that reasons are judged by: of the visible truth, or of the images where there is none."""
    if batch.has_truth:
        return claims_of_truth(batch)
    if batch.pixelmap is None:
        raise DataError("these events have no pixel maps")
    return claims_of_images(batch.pixelmap)


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
