"""Events for training: labels and weights, the order of an epoch, mirror images, lazy reading.

What a batch holds is a function of (seed, epoch, step) alone. Reader processes change nothing: an index handed to
a reader carries the epoch with it, and mirror images follow from the event's row and the epoch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler, get_worker_info

from nuadapt.errors import DataError
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import CloudSpec, event_columns
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.schema import KEY_NAMES
from nuadapt.events.splits import SPLITS, hash_keys
from nuadapt.events.store import EventStore, Layout
from nuadapt.events.tasks import Task, load_task
from nuadapt.events.truth import NO_LABEL
from nuadapt.models.inputs import CloudInput, PixelInput
from nuadapt.models.reasons.claims import claims_of_truth
from nuadapt.models.reasons.writer import write_reason
from nuadapt.models.registry import load_preset
from nuadapt.models.targets import auxiliary_targets
from nuadapt.training.config import TrainingConfig

Array = npt.NDArray[Any]
#: Contiguous events read at once: enough that opening an HDF5 range costs little per event.
BLOCK = 64
#: Blocks shuffled together; a batch mixes events of up to so many places of the file.
POOL = 32
_NO_SPLIT = 255
_ASKED = 4096  # events at most that are looked at for something to give as a reason
_RESOLUTION = 1  # tells the random numbers of the resolution from those of the reasons
_FLIPPED_AXES = ("x", "y")  # the physics is symmetric under x -> -x and y -> -y; z is the beam


@dataclass(frozen=True, slots=True)
class Sample:
    """The events of one split whose answer is known: store rows ``rows`` (n,), ``label`` (n,) and ``weight`` (n,), all
    aligned. Where an energy is asked for, ``target`` (n,) is the true one in GeV, and labels are 0."""

    rows: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32] | None = None


#: An event store, or several that are read as one.
Data = Path | Sequence[Path]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a store, or several as one, offer to a training run."""

    train: Sample
    val: Sample
    task: Task
    spec: MapSpec | CloudSpec  # of the representation that the model reads
    fingerprint: str
    counts: dict[str, Any]  # events per split, without label, per class
    measured: dict[str, Any] = field(default_factory=dict)  # what the model's family wants to know of the events
    reading: dict[str, Any] = field(default_factory=dict)  # settings of the readers that the tokens were made by


def paths_of(data: Data) -> tuple[Path, ...]:
    """The files of ``data``."""
    return (Path(data),) if isinstance(data, str | Path) else tuple(Path(path) for path in data)


def first_rows(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Row of the first event of each file, where several are read as one: a block holds events of one file only.

    >>> first_rows([100, 64, 3]).tolist()
    [0, 128, 192]
    """
    ends = np.cumsum([-(-length // BLOCK) * BLOCK for length in lengths])
    return np.concatenate([[0], ends[:-1]]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Columns of one file: label, weight, split and, where an energy is asked for, the true one."""

    label: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    split: npt.NDArray[np.uint8]
    target: npt.NDArray[np.float32] | None
    layout: Layout
    fingerprint: str


def _answers(path: Path, task: Task, clouds: bool) -> _Answers:
    with EventStore(path) as store:
        layout = store.layout
        spec = layout.cloud_spec if clouds else layout.map_spec
        unanswered = not layout.has_truth and not set(task.columns) <= set(layout.columns)
        if spec is None or unanswered:
            missing = "truth" if spec is not None else "particle clouds" if clouds else "pixel maps"
            raise DataError(f"these events have no {missing}", where=path, next_step="Train on simulated events")
        answers = {name: store.column(name) for name in task.columns}
        target = task.target(answers) if task.energy else None
        label = np.where(np.isnan(target), NO_LABEL, 0) if target is not None else task.label(answers, len(store))
        weight, split = store.column("weight").astype(np.float32), store.column("split")
        return _Answers(label, weight, split, target, layout, _fingerprint(store, split, task))


def _joined(data: Data, task: Task, clouds: bool) -> _Answers:
    """The answers of all files. Between two files there may be places that no event has, with the split of none."""
    paths = paths_of(data)
    parts = [_answers(path, task, clouds) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.layout != parts[0].layout:
            raise DataError("these events have other columns, tokens or truth than those of the first file", where=path)
    if len(parts) == 1:
        return parts[0]
    first = first_rows([len(part.label) for part in parts])

    def placed(columns: Sequence[Array], empty: int) -> Array:
        whole = np.full(first[-1] + len(columns[-1]), empty, dtype=columns[0].dtype)
        for at, column in zip(first, columns, strict=True):
            whole[at : at + len(column)] = column
        return whole

    targets = [part.target for part in parts if part.target is not None]
    return _Answers(
        placed([part.label for part in parts], NO_LABEL),
        placed([part.weight for part in parts], 0),
        placed([part.split for part in parts], _NO_SPLIT),
        placed(targets, 0) if targets else None,
        parts[0].layout,
        hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest(),
    )


def prepare(data: Data, config: TrainingConfig) -> TrainingData:
    """Labels, weights and splits of a store, or of several as one; no pixel is read.

    Raises:
        DataError: not what the model reads, no truth, no column that the task needs, no training or validation events
            whose answer is known, negative weights; files that do not go together.
        InputFileError: not a store, or no readable task.
    """
    path, task = paths_of(data)[0], load_task(config.task)
    clouds = load_preset(config.preset)["representation"] == "cloud"
    found = _joined(data, task, clouds)
    label, weight, split, target = found.label, found.weight, found.split, found.target
    spec = found.layout.cloud_spec if clouds else found.layout.map_spec
    if spec is None:
        raise DataError("these events are not what the model reads", where=path)
    counts: dict[str, Any] = {"without_label": {}}
    samples = []
    for number, name in enumerate(SPLITS[:2]):
        rows = np.flatnonzero((split == number) & (label != NO_LABEL))
        counts["without_label"][name] = int(np.sum((split == number) & (label == NO_LABEL)))
        if limit := (config.train_events, config.val_events)[number]:
            rows = rows[:limit]
        counts[name] = {c: int(np.sum(label[rows] == i)) for i, c in enumerate(task.classes or (task.energy,))}
        of_rows = None if target is None else target[rows]
        samples.append(_checked(Sample(rows, label[rows], weight[rows], of_rows), task, name, path))
    if load_preset(config.preset)["family"] == "vlm" and config.language.reasons and not config.language.shots:
        _check_reasons(data, samples[0].rows, found.layout)
    factor = class_weights(samples[0], config.class_weights, len(task.classes) or 1)
    train, val = (replace(s, weight=s.weight * factor[s.label]) for s in samples)
    return TrainingData(train, val, task, spec, found.fingerprint, counts, reading=_reading(data))


def _reading(data: Data) -> dict[str, Any]:
    """How tuples of MINERvA were read, so that tokens of further files are made alike; empty if files do not agree."""
    found: list[dict[str, Any]] = []
    for path in paths_of(data):
        with EventStore(path) as store:
            settings = store.record.get("config", {}).get("minerva")
        found.append({"minerva": settings} if settings else {})
    return found[0] if all(one == found[0] for one in found) else {}


def _checked(sample: Sample, task: Task, split: str, path: Path) -> Sample:
    if not len(sample.rows):
        raise DataError(
            f"no labelled events in the split '{split}'",
            where=path,
            expected=f"train and val events of the classes {', '.join(task.classes)}"
            if task.classes
            else f"train and val events with a known {task.energy}",
            next_step="Look at the file with 'nuadapt info'",
        )
    if sample.weight.min() < 0 or sample.weight.sum() <= 0:
        raise DataError(
            f"event weights in '{split}' are negative or add up to nothing",
            where=path,
            expected="weights of at least 0; a cross-entropy with negative weights has no minimum",
        )
    return sample


def _check_reasons(data: Data, rows: npt.NDArray[np.int64], layout: Layout) -> None:
    """Raise if no training event has visible truth to write a reason from; say so if some have none.

    At most _ASKED events spread over ``rows`` are looked at, and no pixel of them.
    """
    rows = rows[:: -(-len(rows) // _ASKED)]
    share = _with_claims(data, rows) / len(rows) if layout.has_truth else 0.0
    if not share:
        raise DataError(
            "these events have no visible truth to write reasons from",
            where=paths_of(data)[0],
            expected="simulated events whose tracks and showers are known",
            next_step="Set language.reasons=0",
        )
    if share < 1:
        said = f"{1 - share:.1%} of the training events have no visible truth: they are learned without a reason"
        logging.getLogger("nuadapt").warning(said)


def _with_claims(data: Data, rows: npt.NDArray[np.int64]) -> int:
    """How many of the events ``rows`` have visible truth that supports a claim."""
    found, begin = 0, 0
    for path in paths_of(data):
        with EventStore(path) as store:
            mine = rows[(rows >= begin) & (rows < begin + len(store))] - begin
            columns = {name: store.column(name)[mine] for name in store.layout.columns}
            found += sum(bool(claims.stated()) for claims in claims_of_truth(EventBatch(columns, store.sources)))
            begin += -(-len(store) // BLOCK) * BLOCK  # as in first_rows
    return found


def _fingerprint(store: EventStore, split: Array, task: Task) -> str:
    """Cheap identity of the data: how it was made, how many events stand where, what is asked. No pixel is read."""
    counts = {int(k): int(n) for k, n in zip(*np.unique(split, return_counts=True), strict=True)}
    identity = [
        store.record,
        json.loads(store.layout.to_json()),
        list(store.sources),
        len(store),
        counts,
        task.as_dict(),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def class_weights(sample: Sample, kind: str, n_classes: int) -> npt.NDArray[np.float32]:
    """Factor per class, shape (C,). ``balanced``: all classes present have the same total weight, the sum is kept.

    A class without events gets 1.
    """
    if kind == "none":
        return np.ones(n_classes, dtype=np.float32)
    total = np.bincount(sample.label, weights=sample.weight, minlength=n_classes)
    share = total.sum() / max(1, np.count_nonzero(total))
    return np.where(total > 0, share / np.where(total > 0, total, 1), 1).astype(np.float32)


class Draw(NamedTuple):
    """One event of one epoch: position in the sample, and the epoch (-1: as stored, no mirror image)."""

    at: int
    epoch: int


class BlockShuffle(Sampler[Draw]):
    """Order of an epoch: blocks of neighbouring events in random order, mixed within pools of blocks.

    Neighbours in the file are read together, which HDF5 is fast at, while a batch still mixes many places.
    The order is a function of (seed, epoch).
    """

    def __init__(self, rows: npt.NDArray[np.int64], seed: int) -> None:
        self.block_of = np.asarray(rows) // BLOCK
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.block_of)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Positions in the sample, each once, shape (n,)."""
        random = np.random.default_rng([self.seed, epoch])
        blocks = random.permutation(np.unique(self.block_of))
        rank = np.empty(int(self.block_of.max()) + 1, dtype=np.int64)
        rank[blocks] = np.arange(len(blocks))
        pool = rank[self.block_of] // POOL  # (n,)
        order: npt.NDArray[np.int64] = np.lexsort((random.random(len(pool)), pool)).astype(np.int64)
        return order

    def __iter__(self) -> Iterator[Draw]:
        epoch = self.epoch
        return (Draw(int(at), epoch) for at in self.order(epoch))


class InOrder(Sampler[Draw]):
    """All events once, as stored."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(at, -1) for at in range(self.n))


def flip_bits(seed: int, epoch: Array, rows: Array) -> npt.NDArray[np.bool_]:
    """Which coordinates of each event are mirrored, shape (n, 2) for x and y; a function of seed, epoch and row."""
    fixed = np.zeros(len(rows), dtype=np.int64)
    bits = hash_keys(fixed + seed, epoch, rows, fixed, ["mirror"])  # (n,)
    flip: npt.NDArray[np.bool_] = (bits[:, None] >> np.arange(2, dtype=np.uint64)) & np.uint64(1) == 1
    return flip


def mirror(images: Array, axes: Sequence[tuple[str, str]], flip: npt.NDArray[np.bool_]) -> None:
    """Mirror ``images`` (n, V, H, W) in place: every axis named x or y of the events that ``flip`` (n, 2) says."""
    for view, pair in enumerate(axes):
        for direction, name in enumerate(pair):  # 0: rows, 1: columns
            if name in _FLIPPED_AXES:
                chosen = np.flatnonzero(flip[:, _FLIPPED_AXES.index(name)])
                images[chosen, view] = np.flip(images[chosen, view], axis=1 + direction)


class EventDataset(Dataset[dict[str, Any]]):
    """Batches of events, read when asked for; each process opens the files itself.

    Asked for many events at once (``__getitems__``), as the loader does, it returns them as one batch.
    """

    #: Blocks in memory: the pool in use, so that each is read once an epoch.
    kept = 2 * POOL

    def __init__(self, data: Data, sample: Sample) -> None:
        self.paths, self.sample = paths_of(data), sample
        self._stores: list[EventStore] = []
        self._blocks: OrderedDict[int, EventBatch] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stores": [], "_blocks": OrderedDict()}

    def __len__(self) -> int:
        return len(self.sample.rows)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        return self.__getitems__([draw])

    def __getitems__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        raise NotImplementedError

    def _events(self, rows: Array) -> EventBatch:
        """The events ``rows`` in their order, read block by block."""
        block_of = rows // BLOCK
        order = np.argsort(block_of, kind="stable")
        parts = [
            self._block(int(block)).select(rows[block_of == block] - block * BLOCK) for block in np.unique(block_of)
        ]
        return EventBatch.concatenate(parts).select(np.argsort(order, kind="stable"))

    def _block(self, block: int) -> EventBatch:
        """A block of neighbouring events; those asked for last are kept."""
        if block in self._blocks:
            self._blocks.move_to_end(block)
            return self._blocks[block]
        if not self._stores:
            _leave_signals_to_the_training()
            self._stores = [EventStore(path) for path in self.paths]
            self._first = first_rows([len(store) for store in self._stores])
        file = int(np.searchsorted(self._first, block * BLOCK, side="right")) - 1
        start = block * BLOCK - int(self._first[file])
        self._blocks[block] = self._needed(self._stores[file].read(slice(start, start + BLOCK)))
        while len(self._blocks) > self.kept:
            self._blocks.popitem(last=False)
        return self._blocks[block]

    def _needed(self, events: EventBatch) -> EventBatch:
        return events  # what is kept of a block


def _leave_signals_to_the_training() -> None:
    """In a reader process: schedulers signal a whole job, and the training needs its readers until it has saved."""
    if get_worker_info() is not None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)


class CloudDataset(EventDataset):
    """Batches of clouds: ``tokens``, ``type``, ``mask``, ``globals`` as :meth:`CloudInput.arrays` gives them.

    Beside them ``weight`` (B,), and ``labels`` (B,) or, for an energy, ``targets`` (B,) in GeV.
    """

    kept = 2048  # of 131,072 events, about 100 MB: a process that reads several epochs reads most blocks once

    def __init__(self, data: Data, sample: Sample, reads: CloudInput) -> None:
        super().__init__(data, sample)
        self.reads = reads

    def _needed(self, events: EventBatch) -> EventBatch:
        names = {*KEY_NAMES, *event_columns(self.reads.globals)}
        columns = {name: column for name, column in events.columns.items() if name in names}
        return EventBatch(columns, events.sources, cloud=events.cloud)

    def __getitems__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        at = np.array([d.at for d in draws], dtype=np.int64)
        made = {name: torch.from_numpy(a) for name, a in self.reads.arrays(self._events(self.sample.rows[at])).items()}
        made["weight"] = torch.from_numpy(self.sample.weight[at])
        if self.sample.target is not None:
            return made | {"targets": torch.from_numpy(self.sample.target[at])}
        return made | {"labels": torch.from_numpy(self.sample.label[at])}


class PixelDataset(EventDataset):
    """Batches of grey images with label and weight.

    ``pixels`` (B, V, H, W), ``labels`` (B,), ``weight`` (B,), with ``auxiliary`` also ``targets`` (B, T). A share
    ``reasons`` of the batches has ``reasons``, a text per event: whole batches, because a reason makes a sequence
    twice as long, and all sequences of a batch are padded to the longest. A share ``coarser`` of the batches is at
    half resolution, H / 2 and W / 2, so that a model does not depend on the size of the pixels.
    """

    def __init__(
        self,
        data: Data,
        sample: Sample,
        reads: PixelInput,
        flip_seed: int | None = None,
        *,
        coarser: float = 0.0,
        auxiliary: bool = False,
        reasons: float = 0.0,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(data, sample)
        self.reads, self.flip_seed = reads, flip_seed
        self.coarser, self.auxiliary, self.reasons = coarser, auxiliary, reasons
        self.classes = tuple(classes)

    def __getitems__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        at = np.array([d.at for d in draws], dtype=np.int64)
        epoch = np.array([d.epoch for d in draws], dtype=np.int64)
        rows = self.sample.rows[at]
        events = self._events(rows)
        if events.pixelmap is None:
            raise DataError("these events have no pixel maps", where=self.paths[0])
        rng = np.random.default_rng([int(epoch[0]) + 1, int(rows[0]), _RESOLUTION])
        maps = self._at_resolution(events.pixelmap, rng)
        images = self.reads.images(maps)
        if self.flip_seed is not None:
            mirror(images, self._axes(), flip_bits(self.flip_seed, epoch, rows) & (epoch >= 0)[:, None])
        batch: dict[str, Any] = {
            "pixels": torch.from_numpy(images),
            "labels": torch.from_numpy(self.sample.label[at]),
            "weight": torch.from_numpy(self.sample.weight[at]),
        }
        if self.auxiliary:
            batch["targets"] = torch.from_numpy(auxiliary_targets(events))
        if np.random.default_rng([int(epoch[0]) + 1, int(rows[0])]).random() < self.reasons:
            batch["reasons"] = self._reasons(events, draws, max(maps.spec.pitch) * self.reads.coarsen)
        return batch

    def _at_resolution(self, maps: PixelMaps, rng: np.random.Generator) -> PixelMaps:
        """The maps of a batch, at full or half resolution."""
        if rng.random() >= self.coarser:
            return maps
        return maps.coarsen(2, how=("sum", "mean")[rng.integers(2)])

    def _reasons(self, events: EventBatch, draws: Sequence[Draw], pixel: float) -> list[str]:
        """A reason per event from its visible truth, in other words every epoch; none where nothing is known.

        ``pixel``: side of the pixels that are shown, cm.
        """
        written = []
        for draw, claims in zip(draws, claims_of_truth(events, pixel), strict=True):
            rng = np.random.default_rng([draw.epoch + 1, int(self.sample.rows[draw.at])])
            label = self.classes[self.sample.label[draw.at]]
            written.append(write_reason(claims, label, rng) if claims.stated() else "")
        return written

    def _axes(self) -> list[tuple[str, str]]:
        spec = next(iter(self._blocks.values())).pixelmap.spec  # type: ignore[union-attr]
        return [spec.axes[spec.views.index(view)] for view in self.reads.views]


def as_batch(batch: Any) -> Any:
    """Collate function: the dataset returns whole batches already."""
    return batch
