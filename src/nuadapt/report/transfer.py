"""The transfer question on the page: does pretraining help, for how many training events, and at what price?

Compared are a model that begins from a pretraining of one's own (all of it trained, or with a frozen backbone, or by
low-rank updates), the same from random weights in as many steps, and from random weights in as many steps as cost the
same with the pretraining counted in. Which run is which follows from the records: the arms differ in pretraining,
epochs and seed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nuadapt.report.loading import Evaluation, Training
from nuadapt.report.style import RUN_LOOKS, add_label, new_figure, styled, title

PRETRAINED, STEPS, OPERATIONS = "pretrained", "random weights, equal steps", "random weights, equal operations"
FROZEN, LOW_RANK = "pretrained, frozen", "pretrained, low-rank updates"
ARMS = (PRETRAINED, STEPS, OPERATIONS, FROZEN, LOW_RANK)
#: What is trained of a pretrained model (``pretrained.mode``), and the arm that this makes.
_MODES = {"full": PRETRAINED, "frozen": FROZEN, "lora": LOW_RANK}
COLUMNS = ("training events", "epochs", "operations", "of these in pretraining", "accuracy", "average precision")
#: Settings of a training in which the arms of one comparison may differ, and those without influence on a result.
_FREE = ("pretrained", "epochs", "seed", "workers", "log_every", "checkpoint_minutes", "checkpoint_steps")


@dataclass(frozen=True, slots=True)
class Arm:
    """One trained model of the comparison with its evaluation and the content of its physics.json."""

    name: str  # one of ARMS
    record: Mapping[str, Any]  # of the training
    evaluation: Evaluation
    physics: Mapping[str, Any]

    @property
    def events(self) -> int:
        """Number of training events."""
        return sum(self.record["data"]["events"]["train"].values())

    @property
    def pretraining(self) -> float:
        """Operations of the pretraining."""
        return float(self.record.get("pretrained", {}).get("flops", 0.0))

    @property
    def operations(self) -> float:
        """Operations of all training."""
        return self.pretraining + float(
            self.record["epochs"] * self.events * sum(self.record["flops_per_event"].values())
        )

    @property
    def precision(self) -> dict[str, float]:
        """Average precision by signal."""
        known = {name: of["average_precision"] for name, of in self.physics.items() if of}
        return {name: float("nan") if value is None else float(value) for name, value in known.items()}


def _key(record: Mapping[str, Any]) -> str:
    """Equal for trainings that may be arms of one comparison."""
    config = {name: value for name, value in record["config"].items() if name not in _FREE}
    return repr(sorted(config.items()))


def _own_pretraining(record: Mapping[str, Any]) -> bool:
    return bool(record.get("pretrained", {}).get("flops"))


def keys_of(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Comparisons among these trainings: what their arms have in common, and the epochs of the pretrained one."""
    return {_key(record): int(record["config"]["epochs"]) for record in records if _own_pretraining(record)}


def arms_of(found: Sequence[tuple[Evaluation, dict[str, Any]]]) -> list[Arm]:
    """The arms among evaluations with their physics.json, by arm and number of training events."""
    trained = [(e.record.get("model", {}).get("record", {}), e, physics) for e, physics in found]
    trained = [given for given in trained if given[0].get("flops_per_event")]
    epochs = keys_of(record for record, _, _ in trained)
    arms = []
    for record, evaluation, physics in trained:
        if _key(record) in epochs:
            arms.append(Arm(_name(record, epochs[_key(record)]), record, evaluation, physics))
    return sorted(arms, key=lambda arm: (ARMS.index(arm.name), arm.events))


def _name(record: Mapping[str, Any], epochs: int) -> str:
    """Which arm a training is; ``epochs`` are those of the pretrained one."""
    if _own_pretraining(record):
        return _MODES[record["config"]["pretrained"].get("mode", "full")]
    return OPERATIONS if int(record["config"]["epochs"]) > epochs else STEPS


def without_arms(trainings: Sequence[Training]) -> list[Training]:
    """Trainings that are no arms of a comparison; they are shown beside other models."""
    epochs = keys_of(run.record for run in trainings if run.record.get("config"))
    return [run for run in trainings if not run.record.get("config") or _key(run.record) not in epochs]


def rows(arms: Sequence[Arm]) -> list[tuple[str, list[str]]]:
    """A row per arm and number of training events with the COLUMNS, means over seeds."""
    found = []
    for name, events in dict.fromkeys((arm.name, arm.events) for arm in arms):
        mine = [arm for arm in arms if (arm.name, arm.events) == (name, events)]
        precision = {signal: np.mean([arm.precision[signal] for arm in mine]) for signal in mine[0].precision}
        cells = [
            f"{events:,}",
            f"{np.mean([arm.record['epochs'] for arm in mine]):g}",
            f"{np.mean([arm.operations for arm in mine]):.2e}",
            f"{np.mean([arm.pretraining / arm.operations for arm in mine]):.0%}",
            f"{np.mean([arm.evaluation.metrics['accuracy'] for arm in mine]):.3f}",
            ", ".join(f"{title(signal)} {value:.3f}" for signal, value in precision.items()),
        ]
        found.append((name, cells))
    return found


@styled
def figure(arms: Sequence[Arm]) -> Figure:
    """Average precision for each signal against the number of training events; bands over seeds."""
    signals = list(arms[0].precision)
    made = new_figure(4.3 * len(signals), 4.2)
    axes = np.atleast_1d(made.subplots(1, len(signals)))
    for ax, signal in zip(axes, signals, strict=True):
        for index, name in enumerate(ARMS):
            mine = [arm for arm in arms if arm.name == name]
            if not mine:
                continue
            at = sorted({arm.events for arm in mine})
            seeds = [[arm.precision[signal] for arm in mine if arm.events == events] for events in at]
            ink, marker = RUN_LOOKS[index]
            ax.plot(at, [np.mean(s) for s in seeds], color=ink, marker=marker, linewidth=1.2, markersize=5, label=name)
            ax.fill_between(at, [min(s) for s in seeds], [max(s) for s in seeds], color=ink, alpha=0.2)
        level = np.mean([arm.physics[signal]["random_precision"] for arm in arms])
        ax.axhline(float(level), color="#94a4a2", linewidth=0.8, linestyle="--", label="guessing")
        ax.set(xscale="log", xlabel="training events", ylabel=f"average precision, {title(signal)}")
        sizes = sorted({arm.events for arm in arms})
        ax.set_xticks(sizes, [f"{events:,}" for events in sizes])
        ax.set_xticks([], minor=True)  # their labels would run into each other
        add_label(ax, simulated=True)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.45 * (high - low))
    axes[0].legend(loc="upper left", fontsize=9)
    return made


def words(arms: Sequence[Arm]) -> str:
    """What is compared, for a caption."""
    share = max((arm.pretraining for arm in arms), default=0.0)
    return (
        f"The same network and settings throughout. The pretraining cost {share:.2e} floating-point operations; the "
        "arm of equal operations has as many further epochs as these buy. Of each training the weights with the lowest "
        "validation loss are kept. Bands: lowest to highest of several seeds."
    )
