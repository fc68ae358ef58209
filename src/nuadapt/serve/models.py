"""Models behind their desks: one thread owns each, loads it when it is first asked, and takes what waits at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError
from nuadapt.evaluation.calibration import Calibration, read_calibration
from nuadapt.evaluation.predict import PredictConfig, images_for, maps_for, prepare, reads_clouds
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.batch import EventBatch
from nuadapt.events.format import Layout
from nuadapt.serve.desk import Desk, Job
from nuadapt.serve.problems import Unavailable, Unusable
from nuadapt.serve.settings import Limits

if TYPE_CHECKING:  # torch is loaded with the first model, not with the service
    from nuadapt.models.run import LoadedModel

Energies = npt.NDArray[np.float64]
#: What a request wants to know.
PREDICT, REASON, EVIDENCE = "predict", "reason", "evidence"
_STEPS = 16  # of the integral behind evidence: half the default of an evaluation, as somebody waits
_KEPT = 256  # answers that are kept


#: Views of the data that stand for the model's, in its order; None: those of the same name.
Views = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Question:
    """Events, and what is asked about them."""

    kind: str
    batch: EventBatch
    views: Views = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model says: ``table`` of classes or ``energy`` (N,) in GeV; words, or evidence (N, V, H, W), if asked."""

    table: Predictions | None = None
    energy: Energies | None = None
    reasons: tuple[str, ...] = ()
    evidence: npt.NDArray[np.float32] | None = None
    factor: int = 1


class ModelDesk:
    """The model in the run folder ``folder`` and what waits for it."""

    def __init__(self, name: str, folder: Path, limits: Limits) -> None:
        self.folder, self._limits = folder, limits
        self._model: LoadedModel | None = None
        self._calibration: Calibration | None = None
        self.desk = Desk(
            f"the model {name}",
            self._serve,
            waiting=limits.waiting,
            batch=limits.batch_events,
            retry_seconds=limits.retry_seconds,
        )

    def ask(self, kind: str, batch: EventBatch, views: Views = None) -> list[Future[Reply]]:
        """Queue a question, in pieces of as many events as the model gets at once.

        Raises:
            Busy: too much waits.
        """
        step = self._limits.batch_events if kind == PREDICT else 1
        pieces = [batch.select(np.arange(s, min(s + step, len(batch)))) for s in range(0, len(batch), step)]
        group = (kind, Layout.of(batch), views) if kind == PREDICT else None
        return self.desk.submit_all([Job(Question(kind, piece, views), group, len(piece)) for piece in pieces])

    def _loaded(self) -> LoadedModel:
        """The model, in the thread that owns it."""
        if self._model is None:
            import torch

            from nuadapt.models.run import load_run

            torch.set_num_threads(self._limits.threads)
            model = load_run(self.folder)
            self._calibration = None if model.task.energy else read_calibration(self.folder, model)
            self._model = model
        return self._model

    def _serve(self, questions: Sequence[Question]) -> list[Reply]:
        model = self._loaded()
        try:
            if questions[0].kind == PREDICT:
                return self._predicted(model, [q.batch for q in questions], questions[0].views)
            return [self._explained(model, q) for q in questions]
        except DataError as error:  # these events are not what this model reads
            raise Unusable(error.what, where=error.where, expected=error.expected, next_step=error.next_step) from error

    def _predicted(self, model: LoadedModel, batches: Sequence[EventBatch], views: Views = None) -> list[Reply]:
        """Answers for several requests from one pass of the model."""
        joined = EventBatch.concatenate(batches)
        ends = np.cumsum([len(b) for b in batches])
        parts = [np.arange(end - len(b), end) for end, b in zip(ends, batches, strict=True)]
        if model.task.energy:
            clouds: Any = model.input
            energy = model.energy(clouds.arrays(joined))
            return [Reply(energy=energy[part]) for part in parts]
        table = self._table(model, joined, views)
        return [Reply(table.select(part)) for part in parts]

    def _table(self, model: LoadedModel, batch: EventBatch, views: Views = None) -> Predictions:
        """Calibrated predictions, as ``nuadapt predict`` makes them."""
        config = PredictConfig(views=views)
        prepared: Any = prepare(model, batch, config)
        clouds: Any = model.input
        inputs = clouds.arrays(prepared) if reads_clouds(model) else images_for(model, prepared, config)
        kind = "cloud" if reads_clouds(model) else "pixelmap"
        table = Predictions.of_batch(batch, model.posterior(inputs), model.task, model.id, kind)
        return table if self._calibration is None else self._calibration.applied(table)

    def _explained(self, model: LoadedModel, question: Question) -> Reply:
        """One event with its reason, or with evidence for the answered class."""
        if model.task.energy:
            if question.kind == EVIDENCE:
                raise Unusable(f"the model {model.id} gives an energy, for which there is no evidence of pixels")
            return self._predicted(model, [question.batch])[0]
        table = self._table(model, question.batch)
        if question.kind == REASON:
            return Reply(table, reasons=self._reasons(model, question.batch, table))
        from nuadapt.evaluation.explain.attribution import AttributionConfig, attribution, possible

        config = PredictConfig()
        images = images_for(model, maps_for(model, question.batch, config), config)
        method = possible(model, "gradient")
        found = attribution(model, images, table.label, method, AttributionConfig(steps=_STEPS))
        return Reply(table, evidence=found, factor=model.image_input.coarsen)

    def _reasons(self, model: LoadedModel, batch: EventBatch, table: Predictions) -> tuple[str, ...]:
        if not model.gives_reasons:
            return ()
        config = PredictConfig()
        return tuple(model.reasons(images_for(model, maps_for(model, batch, config), config), table.label))


class Models:
    """All models of a service, one desk for each run folder, and what they said lately."""

    def __init__(self, folders: dict[str, Path], limits: Limits) -> None:
        desks = {folder: ModelDesk(name, folder, limits) for name, folder in folders.items()}
        self._of = {name: desks[folder] for name, folder in folders.items()}
        self._desks = list(desks.values())
        self._kept: OrderedDict[tuple[str, str, int], Reply] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._of

    def of(self, run: str) -> ModelDesk:
        """The model of a run.

        Raises:
            Unavailable: the run came without one.
        """
        if run not in self._of:
            raise Unavailable(
                f"there is no model behind the run '{run}'", next_step="Start the service with its folder"
            )
        return self._of[run]

    @property
    def waiting(self) -> int:
        """Questions that wait for any model."""
        return sum(model.desk.waiting for model in self._desks)

    def recall(self, kind: str, run: str, index: int) -> Reply | None:
        """What was said about an event of the store before."""
        with self._lock:
            return self._kept.get((kind, run, index))

    def keep(self, kind: str, run: str, index: int, reply: Reply) -> None:
        """Keep what was said; the oldest is forgotten."""
        with self._lock:
            self._kept[(kind, run, index)] = reply
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def close(self) -> None:
        """Finish what was accepted."""
        for model in self._desks:
            model.desk.close()
