"""What a study is: events, models that are trained on them, and what each model is asked. Pure data, from a YAML file.

Everything that a study says is checked when it is loaded, before anything is computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from nuadapt.errors import ConfigError, nearest
from nuadapt.evaluation.explain.stage import ExplainConfig
from nuadapt.settings import apply_words, build, read_yaml
from nuadapt.sources.simulation.jets.config import JetsConfig
from nuadapt.sources.simulation.lartpc import LArTPCConfig
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.training.config import TrainingConfig, load_recipe

#: Where an evaluation asks its questions if it names no set of events: the test split of the study's own events.
TEST = "test"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")  # of folders and files
_SCALE = "{scale}"
_MANY = 12  # models whose limits a heading still names one by one


@dataclass(frozen=True, slots=True)
class EventSet:
    """Events to simulate."""

    events: int
    seed: int
    simulation: LArTPCConfig | MinervaConfig | JetsConfig

    def as_dict(self) -> dict[str, Any]:
        """All that decides what is in the file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """One evaluation of a model, without retraining."""

    events: str = TEST  # the test events, or the name of a further set of events
    coarsen: int = 1  # 2: half resolution
    how: str | None = None  # how pixels are joined: sum, mean; None: what fits their unit

    @property
    def name(self) -> str:
        """For a folder: ``test``, ``test-coarsen2-mean``, ``noise``."""
        lowered = [f"coarsen{self.coarsen}"] if self.coarsen > 1 else []
        return "-".join([self.events, *lowered, *([self.how] if self.how else [])])


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model: how it is trained, or where it is, and what it is asked."""

    train: str = ""  # training recipe: a name, or a YAML file beside the study's; {scale} stands for the scale
    run: str = ""  # or a finished run: a model that comes with nuadapt, or a folder
    words: tuple[str, ...] = ()  # settings of the recipe that are changed, as key=value
    takes: dict[str, str] = field(default_factory=dict)  # setting of the recipe -> earlier model whose run it is given
    events: str = TEST  # the study's own events, or the further set that it is trained on
    spends: str = ""  # earlier model: trained in as many epochs as cost what that one did, with all that it takes
    calibrate: bool = True  # on the validation events
    evaluate: tuple[EvaluationPlan, ...] = (EvaluationPlan(),)
    explain: ExplainConfig | None = None  # reasons and evidence on the test events
    trials: bool = True  # whether it is tried on other events that the user gives
    seeds: int = 1  # trainings with the seeds 1, 2, ..; of several, each is a model of its own, named NAME-seedN

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"a model of {self.seeds} seeds", expected="at least 1")


@dataclass(frozen=True, slots=True)
class Study:
    """One scale of one study. Models are trained in the order of ``models``."""

    title: str
    scale: str
    events: EventSet
    models: Mapping[str, ModelPlan]
    sets: Mapping[str, EventSet] = field(default_factory=dict)
    folder: Path = Path()  # where files that the study names are

    def __post_init__(self) -> None:
        for name in (*self.models, *self.sets):
            if not _NAME.fullmatch(name) or name == TEST:
                raise ConfigError(f"'{name}' cannot name a model or a set of events", expected="such as vlm-rank-8")
        earlier: list[str] = []
        for name, plan in self.models.items():
            if plan.events not in (TEST, *self.sets):
                raise ConfigError(
                    f"model '{name}' is trained on '{plan.events}'", expected=nearest(plan.events, self.sets)
                )
            for other in (*plan.takes.values(), *([plan.spends] if plan.spends else [])):
                if other not in earlier:
                    raise ConfigError(
                        f"model '{name}' takes something from '{other}', which is not an earlier model of this scale",
                        expected=nearest(other, earlier),
                    )
            for question in plan.evaluate:
                if question.events not in (TEST, *self.sets):
                    raise ConfigError(
                        f"model '{name}' is evaluated on '{question.events}'",
                        expected=nearest(question.events, (TEST, *self.sets)),
                    )
            earlier.append(name)
            if plan.train:
                self.training(name)

    def training(self, model: str, runs: Mapping[str, str] | None = None) -> TrainingConfig:
        """Settings of one model's training. ``runs``: the run folder of each model; none: their names stand for them.

        Raises:
            ConfigError: no such recipe, unknown setting, impossible value.
        """
        plan = self.models[model]
        # A double-quoted YAML value: a folder's name may hold anything.
        taken = [f'{key}="{_quoted((runs or {}).get(other, other))}"' for key, other in plan.takes.items()]
        recipe = plan.train.replace(_SCALE, self.scale)
        own = recipe.endswith((".yaml", ".yml"))
        return load_recipe(self.folder / recipe if own else recipe, [*plan.words, *taken])

    @property
    def heading(self) -> str:
        """Title of the report: also which models saw only a part of the training events."""
        limits = {name: self.training(name).train_events for name, plan in self.models.items() if plan.train}
        limited = {name: n for name, n in limits.items() if n}
        fewer = ", ".join(f"{name} {n}" for name, n in limited.items())
        if len(limited) > _MANY:
            fewer = f"{min(limited.values())} to {max(limited.values())} in {len(limited)} of {len(limits)} models"
        size = f"{self.scale} scale, {self.events.events} events"
        return f"{self.title} ({size}{f'; training events at most: {fewer}' if fewer else ''})"

    def settings(self) -> dict[str, dict[str, Any]]:
        """By kind and name, what the results of each part depend on, beside what the part itself checks."""
        models = {
            name: {
                "training": self.training(name).of_result() if plan.train else plan.run,
                **({"events": plan.events} if plan.events != TEST else {}),
                **({"spends": plan.spends} if plan.spends else {}),
                "calibrate": plan.calibrate,
                "explain": asdict(plan.explain) if plan.explain else None,
            }
            for name, plan in self.models.items()
        }
        sets = {name: events.as_dict() for name, events in self.sets.items()}
        return {"events": {"events": self.events.as_dict()}, "set of events": sets, "model": models}


@dataclass(frozen=True, slots=True)
class _Scale:
    """One entry of ``scales`` in the file. What it says of a model or of evaluations goes before the study's own."""

    events: int = 0
    seed: int = 0  # of the events, in place of the study's; 0: the study's
    set_events: int | dict[str, int] = 1000  # of each further set, or by name
    models: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # none named: all, in the study's order
    evaluate: tuple[dict[str, Any], ...] = ()


Detector = Literal["lartpc", "minerva", "jets"]
_DETECTORS: dict[str, type[LArTPCConfig | MinervaConfig | JetsConfig]] = {
    "lartpc": LArTPCConfig,
    "minerva": MinervaConfig,
    "jets": JetsConfig,
}


@dataclass(frozen=True, slots=True)
class _Set:
    """One entry of ``sets``; a list of settings stands for one that has only these."""

    simulation: tuple[str, ...] = ()  # settings, on top of those of the study if the simulation is the same
    detector: Literal["", "lartpc", "minerva", "jets"] = ""  # whose simulation makes the events; none: the study's


@dataclass(frozen=True, slots=True)
class _File:
    """The YAML file."""

    title: str = ""
    seed: int = 1  # of the events; further sets have the next one, so that no event is shared with the training
    detector: Detector = "lartpc"  # whose simulation makes the events
    simulation: tuple[str, ...] = ()  # settings of the simulation, of all events
    sets: dict[str, tuple[str, ...] | dict[str, Any]] = field(default_factory=dict)  # further events by name
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluate: tuple[dict[str, Any], ...] = ({"events": TEST},)  # of every model that has none of its own
    scales: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("title", "models", "scales"):
            if not getattr(self, name):
                raise ConfigError(f"a study needs '{name}'")


def study_names() -> tuple[str, ...]:
    """Studies that come with nuadapt."""
    folder = resources.files("nuadapt.recipes")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_study(name: str | Path, scale: str) -> Study:
    """A study by name, or from a YAML file of one's own, at one of its scales.

    Raises:
        ConfigError: no such study or scale, unknown settings, models or events, impossible values.
        InputFileError: a file cannot be read.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in study_names():
            raise ConfigError(
                f"no study '{name}'", expected=nearest(str(name), study_names()), next_step="Or give a YAML file"
            )
        path = Path(str(resources.files("nuadapt.recipes") / f"{name}.yaml"))
    where = f"study {path.stem}"
    given = build(_File, read_yaml(path), where=where)
    if scale not in given.scales:
        raise ConfigError(f"no scale '{scale}'", where=where, expected=nearest(scale, given.scales))
    size = build(_Scale, given.scales[scale], where=f"{where}, scale {scale}")
    unknown = [model for model in size.models if model not in given.models]
    if unknown:
        raise ConfigError(f"no model '{unknown[0]}'", where=where, expected=nearest(unknown[0], given.models))
    asked = _questions(size.evaluate or given.evaluate, where)
    chosen = size.models or dict.fromkeys(given.models)
    return Study(
        title=given.title,
        scale=scale,
        events=_events(size.events, size.seed or given.seed, given.simulation, given.detector, where),
        models=_by_seed(
            {n: _model({**given.models[n]}, more or {}, asked, f"{where}, model {n}") for n, more in chosen.items()}
        ),
        sets={n: _further(n, given, size, f"{where}, set {n}") for n in given.sets},
        folder=path.parent,
    )


def _events(events: int, seed: int, words: Sequence[str], detector: str, where: str) -> EventSet:
    if events < 1:
        raise ConfigError(f"{events} events", where=where, expected="at least 1")
    return EventSet(events, seed, build(_DETECTORS[detector], apply_words({}, words), where=where))


def _further(name: str, given: _File, size: _Scale, where: str) -> EventSet:
    """A further set of events."""
    entry = given.sets[name]
    own = build(_Set, entry, where=where) if isinstance(entry, dict) else _Set(entry)
    detector = own.detector or given.detector
    words = (*given.simulation, *own.simulation) if detector == given.detector else own.simulation
    events = size.set_events.get(name, 0) if isinstance(size.set_events, dict) else size.set_events
    return _events(events, (size.seed or given.seed) + 1, words, detector, where)


def _by_seed(models: Mapping[str, ModelPlan]) -> dict[str, ModelPlan]:
    """Models of several seeds as one model each; the others as they are.

    What one of them spends or takes from a model of several seeds is of the same seed.
    """
    found = {}
    for name, plan in models.items():
        for seed in range(1, plan.seeds + 1):
            of = {other: f"{other}-seed{seed}" for other, one in models.items() if one.seeds > 1}
            takes = {key: of.get(other, other) for key, other in plan.takes.items()}
            one = replace(plan, seeds=1, takes=takes, spends=of.get(plan.spends, plan.spends))
            several = plan.seeds > 1
            own = f"{name}-seed{seed}" if several else name
            found[own] = replace(one, words=(*plan.words, f"seed={seed}")) if several else one
    return found


def _model(given: dict[str, Any], more: dict[str, Any], asked: tuple[EvaluationPlan, ...], where: str) -> ModelPlan:
    """A model's entry with that of the scale on top; words of both count, those of the scale last."""
    words = [*given.pop("words", []), *more.get("words", [])]
    values = {**given, **more, "words": words}
    own, explain = values.pop("evaluate", None), values.pop("explain", None)
    if not values.get("train") and not values.get("run"):
        raise ConfigError("the model lacks 'train', the recipe of its training, or 'run', a finished one", where=where)
    if values.get("run") and (values.get("train") or words or values.get("takes")):
        raise ConfigError(
            f"the model {values['run']} is finished", where=where, expected="no train, no words and no takes"
        )
    return replace(
        build(ModelPlan, values, where=where),
        evaluate=asked if own is None else _questions(own, where),
        explain=None if explain is None else build(ExplainConfig, explain, where=where),
    )


def _questions(given: Sequence[dict[str, Any]], where: str) -> tuple[EvaluationPlan, ...]:
    return tuple(build(EvaluationPlan, one, where=f"{where}, evaluate") for one in given)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
