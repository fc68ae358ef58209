"""Train a model on a store into a run folder; go on where an interrupted run stopped."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import EvalPrediction, set_seed
from transformers.utils import logging as transformers_logging

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.events.cloud import CloudSpec, event_columns, event_inputs
from nuadapt.events.pixelmap import ADDITIVE_UNITS, GreyTransform, MapSpec
from nuadapt.events.store import EventStore
from nuadapt.events.truth import FLAVOUR_CLASSES
from nuadapt.models.compute import step_flops
from nuadapt.models.inputs import CloudInput, PixelInput, Reads, offers
from nuadapt.models.registry import build_model, count_parameters, family_of, load_preset
from nuadapt.models.run import load_weights, run_folder, use_bf16
from nuadapt.record import make_record, read_json, write_json
from nuadapt.settings import build
from nuadapt.training.card import model_card
from nuadapt.training.config import TrainingConfig
from nuadapt.training.data import (
    CloudDataset,
    Data,
    Draw,
    EventDataset,
    PixelDataset,
    Sample,
    TrainingData,
    paths_of,
    prepare,
)
from nuadapt.training.engine import MEASURES, Engine, Keeper, Progress, arguments, is_spread, save_weights
from nuadapt.training.folder import RunFolder
from nuadapt.training.pretrained import Earlier, with_pretrained

#: Events of which a family may measure something before its model is built.
_MEASURED = 2048


def train(config: TrainingConfig, data: Data, out: Path, *, progress: Progress | None = None) -> Path:
    """Train on a store, or on several of one kind as one, into the folder ``out`` and return it.

    The same call goes on with an interrupted run and ends with the same metrics as an undisturbed one (on the same
    machine with the same number of threads); a finished run returns at once. Weights with the lowest validation loss
    are kept. ``progress`` is called with (updates done, updates planned).

    Raises:
        ConfigError: ``out`` was started with other settings or data; or the loss diverged.
        DataError: the store has no labelled training or validation events, or lacks a view.
        InputFileError: ``data`` is not a store.
        OutputError: ``out`` holds something else.
        StoppedEarly: SIGTERM or SIGUSR1 came; what was done is saved.
    """
    data, out = paths_of(data), Path(out)
    folder, offered = RunFolder(out), prepare(data, config)
    if _is_main():
        folder.begin(config, offered.fingerprint)
    if folder.finished:
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        return out
    reads = input_of(config, offered)
    offered = replace(offered, measured=_measured(config, data, offered, reads))
    model, loaded = _begin(config, offered, reads)
    if config.language.shots:
        if _is_main():
            show_examples(config, data[0], offered, reads, model, folder)
        return out
    if hasattr(family_of(load_preset(config.preset)), "fit"):
        if _is_main():
            fit_at_once(config, data[0], offered, reads, model, folder)
        return out
    cost = _cost(model, config, data, offered, reads)
    keeper = Keeper(config, folder, progress, _answer(offered))
    with _quiet(), _listening(keeper):
        _run(config, data, offered, reads, model, keeper, loaded)
    if _is_main():
        learned = {
            **({"pretrained": loaded.as_dict()} if loaded is not None else {}),
            **({"flops_per_event": cost} if cost else {}),
            "epochs": keeper.epochs,
            "best": {"epoch": keeper.best_epoch, "val_loss": keeper.best_loss, keeper.score: keeper.best_score},
            "not_reproducible": {"wall_time_s": round(keeper.wall_time(), 1), "threads": torch.get_num_threads()},
        }
        if is_spread(model):
            model, _ = _begin(config, offered, reads)
        _finish(config, folder, offered, reads, model, folder.best(keeper.best_step or 0), learned)
    return out


def _begin(config: TrainingConfig, offered: TrainingData, reads: Reads) -> tuple[nn.Module, Earlier | None]:
    """The model as training finds it, and what it has of an earlier one. The same each time."""
    set_seed(config.seed)  # weights are drawn here
    model = build_model(
        architecture(config, reads, offered),
        classes=offered.task.classes,
        label_smoothing=config.label_smoothing,
        **offers(reads),
    )
    _start(model, config)
    return with_pretrained(model, config, reads, offered.task)


def fit_at_once(
    config: TrainingConfig,
    data: Path,
    offered: TrainingData,
    reads: Reads,
    model: nn.Module,
    folder: RunFolder,
) -> None:
    """Train a model that sees all events at once, such as boosted trees, and keep it like any other.

    Raises:
        ConfigError: it reads no clouds.
    """
    if not isinstance(reads, CloudInput):
        raise ConfigError(f"{config.preset} reads event-level features of clouds")
    begun = time.monotonic()
    preset, answer = load_preset(config.preset), _answer(offered)
    parts = [_features(data, sample, reads) for sample in (offered.train, offered.val)]
    rounds = family_of(preset).fit(model, preset, *parts, config.seed)
    features, truth, weight = (torch.from_numpy(part) for part in parts[1])
    n = len(features)
    nothing = {"tokens": torch.zeros(n, 0, len(reads.columns)), "type": torch.zeros(n, 0, dtype=torch.long)}
    with torch.inference_mode():
        found = model(**nothing, mask=torch.zeros(n, 0, dtype=torch.bool), globals=features)
    predicted = found["energy" if answer == "targets" else "logits"].numpy()
    measure, score = MEASURES[answer]
    known: Any = (truth.numpy(), weight.numpy())  # the library's type says one array
    metrics = measure(EvalPrediction(predicted, known))
    folder.add_log({"step": rounds, "epoch": 1.0, **metrics})
    save_weights(model, folder.checkpoints / "fitted")
    learned = {
        "epochs": 1.0,
        "best": {"epoch": 1.0, "val_loss": metrics["val_loss"], score: metrics[score]},
        "rounds": rounds,
        "not_reproducible": {
            "wall_time_s": round(time.monotonic() - begun, 1),
            "threads": torch.get_num_threads(),
        },
    }
    _finish(config, folder, offered, reads, model, folder.checkpoints / "fitted", learned)


def _features(
    data: Path, sample: Sample, reads: CloudInput
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Event-level features (n, G) of a sample, its answers (n,) and weights (n,)."""
    with EventStore(data) as store:
        columns = {name: store.column(name)[sample.rows] for name in event_columns(reads.globals)}
    answers = sample.target if sample.target is not None else sample.label
    return event_inputs(columns, reads.globals), answers, sample.weight


def show_examples(
    config: TrainingConfig,
    data: Path,
    offered: TrainingData,
    reads: Reads,
    model: nn.Module,
    folder: RunFolder,
) -> None:
    """Few-shot prompting: a run of frozen weights, with training events and their answers before every question.

    The examples are drawn by the seed, ``language.shots`` of each class, one class after the other.

    Raises:
        ConfigError: fewer events of a class than are to be shown.
    """
    shots, n_classes = config.language.shots, len(offered.task.classes)
    order = np.random.default_rng(config.seed).permutation(len(offered.train.rows))
    of_class = [order[offered.train.label[order] == label][:shots] for label in range(n_classes)]
    if min(map(len, of_class)) < shots:
        scarce = offered.task.classes[int(np.argmin([len(events) for events in of_class]))]
        raise ConfigError(f"fewer than {shots} training events of the class {scarce}", next_step="Show fewer")
    chosen = np.stack(of_class, axis=1).ravel()
    events = PixelDataset(data, offered.train, _images(reads))
    module: Any = model
    module.examples.copy_(events.__getitems__([Draw(int(at), -1) for at in chosen])["pixels"])
    weights = folder.checkpoints / "frozen"
    save_weights(model, weights)
    _finish(config, folder, offered, reads, model, weights, {"epochs": 0, "best": None})


def _start(model: nn.Module, config: TrainingConfig) -> None:
    """Weights to begin with, where the settings name some."""
    family = family_of(load_preset(config.preset))
    if config.language.tower:
        family.load_tower(model, run_folder(config.language.tower))
    if config.start_from:
        folder = run_folder(config.start_from)
        if hasattr(family, "start"):
            family.start(model, folder)
        else:
            load_weights(model, folder / "model.safetensors")


def _measured(config: TrainingConfig, data: Data, offered: TrainingData, reads: Reads) -> dict[str, Any]:
    """What the family of the model wants to know of the first training events before it is built."""
    family = family_of(load_preset(config.preset))
    if not hasattr(family, "measured") or not isinstance(reads, CloudInput):
        return {}
    draws = [Draw(at, -1) for at in range(min(_MEASURED, len(offered.train.rows)))]
    found: dict[str, Any] = family.measured(
        offers(reads)["cloud"], CloudDataset(data, offered.train, reads).__getitems__(draws)
    )
    return found


def architecture(config: TrainingConfig, reads: Reads, offered: TrainingData) -> dict[str, Any]:
    """All that a model is built from: its preset, and how a language model is asked.

    Raises:
        ConfigError: examples for a model without language, reasons for a task that has none, no such prompt, an
            energy asked of a model of pixel maps.
        InputFileError: no readable preset or file of prompts.
    """
    preset, task = load_preset(config.preset), offered.task
    if task.energy and preset["representation"] != "cloud":
        raise ConfigError(f"{config.preset} answers with classes, and the task '{task.name}' asks for an energy")
    if preset["family"] != "vlm":
        if config.language.shots:
            raise ConfigError(f"{config.preset} cannot be shown examples", expected="a vision-language model")
        return {**preset, **offered.measured}
    from nuadapt.models.vlm.adapters import AdapterConfig
    from nuadapt.models.vlm.prompts import load_prompt

    language = config.language
    if language.reasons and not language.shots and task.classes != FLAVOUR_CLASSES:
        raise ConfigError(
            f"reasons are written for the classes of the task 'flavour', and '{task.name}' has others",
            next_step="Set language.reasons=0",
        )
    file = Path(language.prompt_file) if language.prompt_file else None
    images = _images(reads)
    grey = _grey_of_energies(images, offered.spec) if language.energy else None
    prompt = load_prompt(language.prompt, task, about=language.about, grey=grey, file=file)
    adapter = dict(preset.get("adapter", {}))
    if language.rank:
        adapter = asdict(build(AdapterConfig, adapter).of_rank(language.rank))
    if language.scope:
        adapter["scope"] = language.scope
    asked = {
        "prompt": prompt.as_dict(),
        "views": list(images.views),
        "reason_weight": language.reason_weight,
        "examples": _examples_shape(language.shots * len(task.classes), images, offered.spec),
        "source": language.source,
        "precision": language.precision,
        "view_mode": language.view_mode,
    }
    return {**preset, "name": Path(config.preset).stem, "adapter": adapter, "language": asked}


def _grey_of_energies(reads: PixelInput, spec: MapSpec | CloudSpec) -> GreyTransform:
    """The grey scale that energies are read from; maps of greys hold none."""
    if not isinstance(spec, MapSpec) or spec.value_unit not in ADDITIVE_UNITS:
        raise ConfigError(
            "these maps hold grey levels, from which no energy can be told", next_step="Set language.energy=false"
        )
    return reads.grey


def _examples_shape(count: int, reads: PixelInput, spec: MapSpec | CloudSpec) -> list[int]:
    """Shape (n, V, H, W) of so many examples; empty without any."""
    if not count or not isinstance(spec, MapSpec):
        return []
    return [count, len(reads.views), *(math.ceil(side / reads.coarsen) for side in spec.shape)]


def _images(reads: Reads) -> PixelInput:
    """The input of a model of pixel maps.

    Raises:
        ConfigError: it reads clouds.
    """
    if not isinstance(reads, PixelInput):
        raise ConfigError("a model of language reads pixel maps", expected="a preset of representation pixelmap")
    return reads


def _answer(offered: TrainingData) -> str:
    """What the true answers are called in a batch."""
    return "targets" if offered.task.energy else "labels"


def input_of(config: TrainingConfig, offered: TrainingData) -> Reads:
    """What the model reads: of pixel maps the views asked for, or all views of the store; of clouds all tokens.

    Raises:
        DataError: the store lacks a view, or its tokens a column.
    """
    if isinstance(offered.spec, CloudSpec):
        return CloudInput.of(offered.spec, config.input.unit)
    views = config.input.views or offered.spec.views
    missing = [v for v in views if v not in offered.spec.views]
    if missing:
        raise DataError(f"no view '{missing[0]}' in these events", expected=nearest(missing[0], offered.spec.views))
    return PixelInput(views, config.input.coarsen, config.input.grey)


def _is_main() -> bool:
    """True for the one process that writes (torchrun numbers them)."""
    return int(os.environ.get("RANK", "0")) == 0


def _run(
    config: TrainingConfig,
    data: Data,
    offered: TrainingData,
    reads: Reads,
    model: nn.Module,
    keeper: Keeper,
    loaded: Earlier | None,
) -> None:
    """Train to the end from the latest complete checkpoint, or from the start."""
    folder = keeper.folder
    checkpoint, step = folder.latest(), 0
    if checkpoint is not None:
        state = read_json(checkpoint / "trainer_state.json")
        keeper.restore(state["stateful_callbacks"]["Keeper"]["attributes"])
        step = state["global_step"]
    if _is_main():
        folder.tidy(keeper.best_step)
        folder.cut_log(step)
    if keeper.done:
        return
    batches = math.ceil(len(offered.train.rows) / (config.batch_size * int(os.environ.get("WORLD_SIZE", "1"))))
    steps = math.ceil(batches / config.accumulate)
    engine = Engine(
        model,
        *_datasets(config, data, offered, reads),
        keeper,
        arguments(config, folder, steps, _answer(offered)),
        _rates(model, loaded),
    )
    engine.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _cost(
    model: nn.Module, config: TrainingConfig, data: Data, offered: TrainingData, reads: Reads
) -> dict[str, float]:
    """Floating-point operations of training on an event of a cloud, forward and backward, of the first events' mean."""
    if not isinstance(reads, CloudInput):
        return {}
    draws = [Draw(at, -1) for at in range(min(config.batch_size, 64, len(offered.train.rows)))]
    batch = CloudDataset(data, offered.train, reads).__getitems__(draws)
    model.eval()  # without dropout, which is not counted either
    found = step_flops(model, batch)
    model.train()
    return {"forward": found.forward / len(draws), "backward": found.backward / len(draws)}


def _rates(model: nn.Module, loaded: Earlier | None) -> dict[str, float]:
    """Learning rates relative to that of the settings, by part of name: what was pretrained learns more slowly."""
    if loaded is not None:
        return loaded.rates
    factors: dict[str, float] = getattr(model, "lr_factors", dict)()
    return factors


def _datasets(
    config: TrainingConfig, data: Data, offered: TrainingData, reads: Reads
) -> tuple[EventDataset, EventDataset]:
    """Training and validation events as batches."""
    if isinstance(reads, CloudInput):
        return CloudDataset(data, offered.train, reads), CloudDataset(data, offered.val, reads)
    train = PixelDataset(
        data,
        offered.train,
        reads,
        flip_seed=config.seed if config.flips else None,
        coarser=config.coarser,
        auxiliary=config.auxiliary,
        reasons=config.language.reasons if load_preset(config.preset)["family"] == "vlm" else 0.0,
        classes=offered.task.classes,
    )
    return train, PixelDataset(data, offered.val, reads)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the console messages of transformers: log.jsonl and the progress callback say what happens."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)


@contextmanager
def _listening(keeper: Keeper) -> Iterator[None]:
    """SIGTERM and SIGUSR1, by which schedulers announce the end of a job's time, save and stop at the next update."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(*_: Any) -> None:
        keeper.asked_to_stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _merged(model: nn.Module, weights: Path) -> nn.Module:
    """The plain model of one that was trained by low-rank updates: they are added to what they update, in the file too.

    Other models stay as they are.
    """
    if not hasattr(model, "merge_and_unload") or hasattr(model, "own_names"):
        return model
    adapted: Any = model
    merged: nn.Module = adapted.merge_and_unload()
    save_weights(merged, weights.parent)
    return merged


def _finish(
    config: TrainingConfig,
    folder: RunFolder,
    offered: TrainingData,
    reads: Reads,
    model: nn.Module,
    weights: Path,
    learned: dict[str, Any],
) -> None:
    """The weights of a folder, model card, and last the record, which makes the run finished."""
    best = weights / "model.safetensors"
    load_weights(model, best)  # a last check that they can be read back
    model = _merged(model, best)
    family = family_of(load_preset(config.preset))
    if hasattr(family, "save"):
        family.save(model, best, folder.path)
    else:
        shutil.copyfile(best, folder.path / "model.safetensors")
    more: dict[str, Any] = {
        "status": "finished",
        "of_result": config.of_result(),
        "preset": config.preset,
        "architecture": architecture(config, reads, offered),
        "task": offered.task.as_dict(),
        "classes": list(offered.task.classes),
        "input": reads.as_dict(),
        "spec": offered.spec.as_dict(),
        "parameters": count_parameters(model),
        "data": {"fingerprint": offered.fingerprint, "events": offered.counts, "reading": offered.reading},
        "seed": config.seed,
        "bf16": use_bf16(config.precision),
        **learned,
    }
    record = make_record("train", config.as_dict(), **more)
    (folder.path / "README.md").write_text(model_card(record), encoding="utf-8")
    write_json(folder.path / "record.json", record)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
