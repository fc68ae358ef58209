"""Weights of an earlier training under a new model: a published checkpoint, or a run of one's own pretraining."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.events.tasks import Task
from nuadapt.models.adaptation import adapt, lr_factors
from nuadapt.models.compute import training_flops
from nuadapt.models.fetch import CHECKPOINTS, checkpoint
from nuadapt.models.inputs import CloudInput, Reads, input_from
from nuadapt.models.run import finished_record
from nuadapt.models.weights import LoadReport, load_foreign
from nuadapt.training.config import TrainingConfig


@dataclass(frozen=True)
class Earlier:
    """What became of every tensor, how fast each learns, and what the earlier training cost, if its record says it."""

    report: LoadReport
    rates: dict[str, float]  # factors of the learning rate by part of name, the first that fits counts
    flops: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the record of a run."""
        return self.report.as_dict() | ({"flops": self.flops} if self.flops is not None else {})


def with_pretrained(
    model: nn.Module, config: TrainingConfig, reads: Reads, task: Task
) -> tuple[nn.Module, Earlier | None]:
    """The model with the weights that the settings name, adapted as they say; and what became of every tensor.

    Of a run folder, what was learned of other token types, other inputs or other classes keeps its fresh values, even
    where the shapes agree by chance.

    Raises:
        ConfigError: a model without a backbone.
        DataError: a run that reads no clouds.
        InputFileError: no such checkpoint, an unfinished run, or too little of it fits.
    """
    given = config.pretrained
    if not given.checkpoint:
        return model, None
    backbone = getattr(model, "backbone", None)
    if not backbone:
        raise ConfigError(f"{config.preset} has no pretrained backbone", expected="a model such as pet2-small")
    layout, fresh, flops, place = given.layout, [], None, Path(given.checkpoint)
    if given.checkpoint not in CHECKPOINTS and place.is_dir():
        record, layout = finished_record(place), "nuadapt"  # a run says itself how its tensors are named
        names = model.state_dict()
        fresh = [begin for begin in _of_other_meaning(record, reads, task) if any(n.startswith(begin) for n in names)]
        flops = training_flops(record)
        place = place / "model.safetensors"
    else:
        place = checkpoint(given.checkpoint)
    report = load_foreign(model, place, layout=layout, fresh=fresh, at_least=given.at_least)
    logging.getLogger("nuadapt").warning(report.paragraph())
    rates = lr_factors(given.adaptation(), backbone, report.fresh)
    return adapt(model, given.adaptation(), report.fresh), Earlier(report, rates, flops)


def _of_other_meaning(record: dict[str, Any], reads: Reads, task: Task) -> Iterator[str]:
    """Beginnings of names of tensors that are tied to what the earlier run read or answered, where this one differs."""
    before = input_from(record["input"])
    if not isinstance(before, CloudInput) or not isinstance(reads, CloudInput):
        raise DataError("weights of a run that reads no particle clouds", expected="a run of 'nuadapt pretrain'")
    if before.types != reads.types:
        yield "body.pid_embed"
    if before.columns != reads.columns:
        yield "body.add_embed"
    if before.globals != reads.globals:
        yield "body.cond_embed"
    if list(record["classes"]) != list(task.classes):
        yield "classifier.out"
        yield "generator.pid_embed"
