"""Run a study: simulate, train, evaluate, try on other events, report. Every step resumes or is skipped when done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from nuadapt.errors import ConfigError, OutputError, nearest
from nuadapt.events.store import EventStore

Progress = Callable[[int, int], None]
ProgressBar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True)
class Study:
    """One scale of one study. ``resolutions`` are (coarsen, how) of its evaluations."""

    name: str
    title: str
    scale: str
    events: int
    train: str
    seed: int
    resolutions: tuple[tuple[int, str | None], ...]


def load_study(name: str, scale: str) -> Study:
    """A study by name and scale.

    Raises:
        ConfigError: no such study or scale.
    """
    folder = files("nuadapt.recipes")
    known = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    if name not in known:
        raise ConfigError(f"no study '{name}'", expected=nearest(name, known))
    given = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    if scale not in given["scales"]:
        raise ConfigError(f"study '{name}' has no scale '{scale}'", expected=nearest(scale, given["scales"]))
    size = given["scales"][scale]
    resolutions = tuple((int(r["coarsen"]), r.get("how")) for r in given["evaluate"])
    return Study(name, given["title"], scale, int(size["events"]), size["train"], int(given["seed"]), resolutions)


def run_study(
    name: str, scale: str, out: Path, *, trials: Sequence[str], workers: int, progress_bar: ProgressBar
) -> Path:
    """Run or go on with a study in ``out``; returns the report page.

    ``trials`` are other inputs (NuHepMC files, folders of DUNE images) that the trained model is tried on, as
    ``PATH`` or ``PATH:view,view``.

    Raises:
        ConfigError: no such study or scale, or a trial does not exist.
    """
    from nuadapt.evaluation.evaluate import evaluate
    from nuadapt.recipes.trials import Trial, run_trial
    from nuadapt.report.page import make_report
    from nuadapt.training.config import load_recipe
    from nuadapt.training.fit import train

    study = load_study(name, scale)
    given = [Trial.parse(word) for word in trials]
    data, run = out / "events.h5", out / "run"
    _simulate(study, data, workers, progress_bar)
    with progress_bar("training") as update:
        train(load_recipe(study.train, []), data, run, progress=update)
    evaluations = []
    for factor, how in study.resolutions:
        folder = out / "-".join(["evaluation", f"coarsen{factor}", *([how] if how else [])])
        with progress_bar(f"evaluating at 1/{factor} resolution") as update:
            evaluate(run, data, folder, split="test", coarsen=factor, coarsen_how=how, progress=update)
        evaluations.append(folder)
    figures = []
    for trial in given:
        with progress_bar(f"trying {trial.name}") as update:
            figures += run_trial(run, trial, data, out / "trials", update)
    title = f"{study.title} ({study.scale} scale, {study.events} events)"
    return make_report(evaluations, out / "report", title=title, extra_figures=figures)


def _simulate(study: Study, data: Path, workers: int, progress_bar: ProgressBar) -> None:
    """Simulate unless the finished file is there already."""
    from nuadapt.sources.simulation.lartpc import LArTPCConfig
    from nuadapt.sources.simulation.run import SimulationPlan, simulate

    plan = SimulationPlan(LArTPCConfig(), study.seed, study.events, workers=workers or os.cpu_count() or 1)
    if data.exists():
        with EventStore(data) as store:
            if store.complete and store.record == plan.record():
                return
            if store.complete:
                raise OutputError(
                    "these events were simulated with other settings or another version of nuadapt",
                    where=data,
                    next_step="Choose another output folder, or remove this one",
                )
    with progress_bar("simulating") as update:
        simulate(plan, data, update)
