"""Settings of a training run: each default once, with its reason. Recipes are YAML files of these settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from nuadapt.errors import ConfigError, nearest
from nuadapt.events.pixelmap import GreyTransform
from nuadapt.events.tasks import TASK_FILES, task_names
from nuadapt.models.adaptation import Adaptation
from nuadapt.models.registry import PRESET_FILES, PRETRAINING, load_preset, preset_names
from nuadapt.settings import apply_words, build, read_yaml

#: Settings without influence on the result.
_RHYTHM = ("workers", "log_every", "checkpoint_minutes", "checkpoint_steps")


@dataclass(frozen=True, slots=True)
class InputConfig:
    """What the model sees of a stored map; of a cloud it sees all tokens."""

    views: tuple[str, ...] = ()  # none named: all views of the store, in its order
    coarsen: int = 1  # stored pixels joined per side
    grey: GreyTransform = field(default_factory=GreyTransform)
    unit: Literal["GeV", "MeV"] = "GeV"  # of pT and energy inside the logarithms of tokens


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """Update rule and learning rate over time."""

    name: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-3  # at batch 64; scale with the batch
    weight_decay: float = 0.02  # not on normalisations and biases
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = 1.0  # batch statistics are unsettled in the first steps
    max_grad_norm: float = 5.0  # guards against a rare huge step; ordinary norms are below it

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.weight_decay >= 0 and self.warmup_epochs >= 0 and self.max_grad_norm >= 0):
            raise ConfigError(
                f"optimizer with lr={self.lr}, weight_decay={self.weight_decay}, "
                f"warmup_epochs={self.warmup_epochs}, max_grad_norm={self.max_grad_norm} is impossible",
                expected="positive lr, nothing negative",
            )


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """How a vision-language model is asked and taught; without effect on other models."""

    prompt: str = "full"  # full, minimal or none: how much physics the model is told
    prompt_file: str = ""  # YAML file of prompts and label names of one's own, of the form of models/vlm/prompts.yaml
    about: str = ""  # what else is known of all events, in words: detector, beam mode
    energy: bool = False  # tell the visible energy of each event, summed from its picture
    tower: str = ""  # run of preset `vit` (a folder, or one that comes with nuadapt) whose vision tower is taken
    shots: int = 0  # events per class shown with their answers before each question; nothing is trained then
    reasons: float = 0.5  # share of batches whose answers go on with a reason: they cost twice as much time
    reason_weight: float = 0.5  # of a reason's mean token loss, beside the loss of the label
    rank: int = 0  # of the adapters; 0: that of the preset
    scope: Literal["", "text", "vision", "both"] = ""  # towers that get adapters; none named: that of the preset
    source: str = ""  # folder or name on the Hub of the backbone's weights; none named: that of the preset
    precision: Literal["", "float32", "bfloat16", "float16", "nf4"] = ""  # of these weights; none named: the preset's
    view_mode: Literal["", "multi", "stitch", "channels"] = ""  # none named: the backbone's first

    def __post_init__(self) -> None:
        if not 0 <= self.reasons <= 1 or self.reason_weight < 0 or self.rank < 0 or self.shots < 0:
            raise ConfigError(
                f"language with reasons={self.reasons}, reason_weight={self.reason_weight}, rank={self.rank}, "
                f"shots={self.shots}",
                expected="reasons from 0 to 1, nothing negative",
            )


@dataclass(frozen=True, slots=True)
class PretrainedConfig:
    """Weights of another training under a model of clouds, and how they are adapted."""

    checkpoint: str = ""  # a file, a run folder, or the name of one that `nuadapt fetch` knows; none: random weights
    layout: Literal["omnilearned", "omnilearned-ema", "nuadapt"] = "omnilearned"  # how tensors of a file are named
    at_least: float = 0.5  # share of the model's parameters that it must give
    mode: Literal["full", "frozen", "lora"] = "full"  # what is trained: all, what is new, or that and low-rank updates
    backbone_lr: float = 0.1  # rate of what was pretrained, times that of what is new
    rank: int = 8
    alpha: float = 16

    def __post_init__(self) -> None:
        self.adaptation()
        if not 0 <= self.at_least <= 1:
            raise ConfigError(f"pretrained.at_least = {self.at_least}", expected="0 to 1")

    def adaptation(self) -> Adaptation:
        """The choice in the form that models are adapted by."""
        return Adaptation(self.mode, self.backbone_lr, self.rank, self.alpha)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One training run."""

    preset: str = "siamese-cnn"  # a name, or a YAML file of the same form
    task: str = "flavour"  # what is asked: a name of events/tasks.yaml, or a YAML file of the same form
    input: InputConfig = field(default_factory=InputConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    epochs: int = 30
    batch_size: int = 64  # events per step and process, before accumulation
    accumulate: int = 1  # batches per update; their losses add up to that of one large batch
    evaluate_steps: int = 0  # validate every so many updates in place of every epoch; 0: every epoch
    patience: int = 10  # validations without a better loss before the run stops
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"  # balanced: every class has the same total weight
    flips: bool = True  # mirror x and y at random: the physics is symmetric in both, z is the beam
    coarser: float = 0.0  # share of batches of pixel maps at half resolution, energies added or averaged by chance
    auxiliary: bool = False  # give models that can learn visible truth beside the class its columns
    precision: Literal["auto", "bf16", "float32"] = "auto"  # auto: bf16 where the hardware multiplies in it
    start_from: str = ""  # run of the same architecture, or weights of the Hub on disk, to go on from
    train_events: int = 0  # use only that many training events (the first by key order in the file); 0: all
    val_events: int = 0  # use only that many validation events (the first in the file); 0: all
    seed: int = 1
    workers: int = 1  # reader processes; no influence on results
    log_every: int = 20  # steps
    checkpoint_minutes: float = 10.0  # also saved at every end of epoch; no influence on results
    checkpoint_steps: int = 0  # also saved every so many updates; 0: by time alone; no influence on results

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("accumulate", 1), ("patience", 1), ("log_every", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"setting '{name}' = {getattr(self, name)}", expected=f"at least {least}")
        counts = ("workers", "train_events", "val_events", "seed", "checkpoint_minutes", "checkpoint_steps")
        for name in (*counts, "evaluate_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"setting '{name}' = {getattr(self, name)}", expected="at least 0")
        for name in ("label_smoothing", "coarser"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"setting '{name}' = {getattr(self, name)}", expected="0 or more, below 1")
        if not self.preset.endswith(PRESET_FILES) and self.preset not in preset_names():
            raise ConfigError(f"no preset '{self.preset}'", expected=nearest(self.preset, preset_names()))
        if not self.task.endswith(TASK_FILES) and self.task not in task_names():
            raise ConfigError(f"no task '{self.task}'", expected=nearest(self.task, task_names()))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        given = asdict(self)
        given["input"]["views"] = list(self.input.views)
        given["optimizer"]["betas"] = list(self.optimizer.betas)
        return given

    def of_result(self) -> dict[str, Any]:
        """The settings that a result depends on: all but reader processes and the rhythm of saving and logging."""
        return {k: v for k, v in self.as_dict().items() if k not in _RHYTHM}


def recipe_names() -> tuple[str, ...]:
    """Training recipes that come with nuadapt."""
    folder = resources.files("nuadapt") / "recipes" / "train"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_pretraining(recipe: str | Path, words: Sequence[str] = ()) -> TrainingConfig:
    """The settings of a recipe that pretrains.

    Raises:
        ConfigError: its model is one that answers only; or as :func:`load_recipe`.
        InputFileError: as there.
    """
    config = load_recipe(recipe, words)
    if not str(load_preset(config.preset).get("family")).endswith(PRETRAINING):
        able = [n for n in preset_names() if str(load_preset(n).get("family")).endswith(PRETRAINING)]
        raise ConfigError(
            f"{config.preset} is not a model that pretrains", expected=f"a recipe with preset {' or '.join(able)}"
        )
    return config


def load_recipe(recipe: str | Path, words: Sequence[str] = ()) -> TrainingConfig:
    """The settings of a recipe (its name, or a YAML file), changed by ``key=value`` words.

    Raises:
        ConfigError: no such recipe, unknown key (the closest is named), impossible value.
        InputFileError: the file is not readable or not YAML.
    """
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml"):
        if str(recipe) not in recipe_names():
            raise ConfigError(
                f"no training recipe '{recipe}'",
                expected=nearest(str(recipe), recipe_names()),
                next_step="Or give a YAML file",
            )
        path = Path(str(resources.files("nuadapt") / "recipes" / "train" / f"{recipe}.yaml"))
    return build(TrainingConfig, apply_words(read_yaml(path), words), where=f"training recipe {recipe}")
