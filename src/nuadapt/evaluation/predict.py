"""Batches of events through a model into the table of predictions, with the time that it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError
from nuadapt.evaluation.explain.checking import checked_claims
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Input, Model, Progress
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import PixelMaps

#: What the time in metrics.json means; written beside it.
TIME_MEANS = (
    "wall time of drawing the image from sparse pixels and of the model, per event; reading and warm-up left out"
)


@dataclass(frozen=True, slots=True)
class PredictConfig:
    """How events are put before a model.

    ``coarsen``: join so many pixels along each side beyond what the model's own input does (the robustness test
    of arXiv:2509.08461 uses 2). ``coarsen_how``: ``sum`` or ``mean``; None: what fits the unit of the pixels.
    ``views``: which views of the data stand for the model's views, in its order; None: those of the same name.
    ``explain``: ask for a reason in words, too.
    """

    coarsen: int = 1
    coarsen_how: str | None = None
    batch_size: int = 64
    views: tuple[str, ...] | None = None
    explain: bool = False

    def __post_init__(self) -> None:
        if self.coarsen < 1 or self.batch_size < 1:
            raise ConfigError(
                f"coarsen={self.coarsen} with batch_size={self.batch_size} is impossible", expected=">= 1"
            )


@dataclass(slots=True)
class Stopwatch:
    """Measured batches: ``events`` and ``seconds`` of each, in order."""

    events: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def ms_per_event(self) -> float:
        """Mean over all measured events; NaN before the first."""
        return 1e3 * sum(self.seconds) / sum(self.events) if sum(self.events) else float("nan")


def predict_batches(
    model: Model,
    batches: Iterable[EventBatch],
    config: PredictConfig | None = None,
    *,
    total: int = 0,
    stopwatch: Stopwatch | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """One row per event of ``batches``, in order.

    ``total`` is the number of events, for ``progress`` only. ``stopwatch`` collects the time per batch.

    Raises:
        DataError: no events; no pixel maps, or not the views that the model reads.
    """
    parts = list(iter_predictions(model, batches, config, total=total, stopwatch=stopwatch, progress=progress))
    return Predictions.concatenate(parts)


def iter_predictions(
    model: Model,
    batches: Iterable[EventBatch],
    config: PredictConfig | None = None,
    *,
    total: int = 0,
    stopwatch: Stopwatch | None = None,
    progress: Progress | None = None,
) -> Iterator[Predictions]:
    """As :func:`predict_batches`, giving the rows of each model batch as soon as they are known."""
    config = config or PredictConfig()
    done, warm = 0, False
    for piece in pieces(batches, config.batch_size):
        prepared = prepare(model, piece, config)
        if not warm:
            _posterior(model, prepared.select(np.arange(1)), config)  # first calls allocate and compile
            warm = True
        began = time.perf_counter()
        probability = _posterior(model, prepared, config)
        if stopwatch is not None:
            stopwatch.seconds.append(time.perf_counter() - began)
            stopwatch.events.append(len(piece))
        rows = Predictions.of_batch(
            piece, probability, model.task, model.id, "cloud" if reads_clouds(model) else "pixelmap"
        )
        if config.explain:
            maps = maps_for(model, piece, config)
            said = model.reasons(images_for(model, maps, config), rows.label)
            checked = checked_claims(said, maps)
            rows = replace(rows, reason=np.array(said, dtype=object), claims=np.array(checked, dtype=object))
        yield rows
        done += len(piece)
        if progress is not None:
            progress(done, max(total, done))


def pieces(batches: Iterable[EventBatch], size: int) -> Iterator[EventBatch]:
    """The events of ``batches`` in order, at most ``size`` at a time."""
    for batch in batches:
        for start in range(0, len(batch), size):
            yield batch.select(np.arange(start, min(start + size, len(batch))))


def prepare(model: Model, batch: EventBatch, config: PredictConfig) -> PixelMaps | EventBatch:
    """What the model answers from: the pixel maps of ``batch`` with its views, or the batch for its clouds.

    Raises:
        DataError: not what the model reads; clouds cannot be coarsened, and have no views; an energy is asked for.
    """
    if model.task.energy:
        raise DataError(
            f"the model {model.id} gives an energy",
            next_step="'nuadapt predict' and 'nuadapt evaluate' write tables of them",
        )
    if not reads_clouds(model):
        return maps_for(model, batch, config)
    _check_plain(model, config)
    return batch


def _check_plain(model: Model, config: PredictConfig) -> None:
    """Refuse what can be done to pixel maps only."""
    if config.coarsen != 1 or config.views is not None:
        raise DataError(f"the model {model.id} reads particle clouds", expected="no coarsen and no views")


def cloud_arrays(model: Model, batch: EventBatch, config: PredictConfig) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the clouds of ``batch`` by name, as the model reads them.

    Raises:
        DataError: the model reads pixel maps; no clouds, or others; clouds cannot be coarsened, and have no views.
    """
    if not reads_clouds(model):
        raise DataError(f"the model {model.id} reads pixel maps", expected="a model of particle clouds")
    _check_plain(model, config)
    clouds: Any = model.input
    found: dict[str, npt.NDArray[Any]] = clouds.arrays(batch)
    return found


def _posterior(model: Model, prepared: PixelMaps | EventBatch, config: PredictConfig) -> npt.NDArray[np.float64]:
    """Class probabilities, shape (N, C)."""
    if isinstance(prepared, PixelMaps):
        return model.posterior(images_for(model, prepared, config))
    clouds: Any = model.input
    return model.posterior(clouds.arrays(prepared))


def reads_clouds(model: Model) -> bool:
    """Whether the model reads particle clouds; else it reads pixel maps."""
    return hasattr(model.input, "arrays")


def image_input(model: Model) -> Input:
    """How the model wants its pixel maps.

    Raises:
        DataError: it reads particle clouds.
    """
    if reads_clouds(model):
        raise DataError(f"the model {model.id} reads particle clouds", expected="a model of pixel maps")
    found: Any = model.input
    return found  # type: ignore[no-any-return]


def images_for(model: Model, maps: PixelMaps, config: PredictConfig) -> npt.NDArray[np.float32]:
    """What the model sees of ``maps``, at the resolution asked for: grey images (N, V, H, W)."""
    if config.coarsen_how is not None:
        return image_input(model).images(maps.coarsen(config.coarsen, config.coarsen_how))
    return image_input(model).images(maps, extra_coarsen=config.coarsen)


def maps_for(model: Model, batch: EventBatch, config: PredictConfig) -> PixelMaps:
    """The pixel maps of ``batch`` with the model's views, in its order.

    Raises:
        DataError: no pixel maps, maps of another shape than in training, or a view is missing.
    """
    if batch.pixelmap is None:
        raise DataError("these events have no pixel maps", expected=f"the views {', '.join(image_input(model).views)}")
    _check_shape(batch.pixelmap.spec.shape, model)
    return chosen_views(batch.pixelmap, image_input(model).views, config.views)


def _check_shape(shape: tuple[int, int], model: Model) -> None:
    """Refuse maps that would have to be stretched: the ratio of the sides must be that of the training's maps."""
    trained = model.record.get("spec", {}).get("shape")
    if trained and shape[0] * trained[1] != shape[1] * trained[0]:
        raise DataError(
            f"these maps have {shape[0]} x {shape[1]} pixels, and the model {model.id} would see them stretched",
            expected=f"sides in the ratio of its training's maps, {trained[0]} x {trained[1]}",
            next_step="Cut or pad the maps around the vertex",
        )


def chosen_views(maps: PixelMaps, wanted: Sequence[str], standing_in: Sequence[str] | None) -> PixelMaps:
    """``maps`` with the views ``wanted``; the views ``standing_in`` of the data take their names if given.

    Raises:
        DataError: a view is missing, or another number of views stands in.
    """
    taken = tuple(standing_in or wanted)
    if len(taken) != len(wanted):
        raise DataError(f"{len(taken)} views {taken} cannot stand for {len(wanted)}", expected=", ".join(wanted))
    missing = [v for v in taken if v not in maps.spec.views]
    if missing:
        raise DataError(
            f"the model reads the views {', '.join(wanted)}, and the data has no view '{missing[0]}'",
            expected=f"one of its views: {', '.join(maps.spec.views)}",
            next_step="Name the views of the data that stand for the model's, in its order: --views view2,view0",
        )
    picked: Any = maps.select_views(taken)
    renamed: PixelMaps = replace(picked, spec=replace(picked.spec, views=tuple(wanted)))
    return renamed
