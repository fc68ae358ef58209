"""Run a study: simulate, train, calibrate, evaluate, explain, try on other events, report.

Every step goes on where it was interrupted, and is skipped when it is done. Models are finished one after the other,
so that the folder of evaluations can be reported on before all are through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nuadapt.errors import DataError, InputFileError, MissingExtraError, OutputError
from nuadapt.events.store import EventStore
from nuadapt.recipes.study import TEST, EvaluationPlan, EventSet, Study, load_study
from nuadapt.recipes.trials import ExtraFigure, Trial
from nuadapt.record import make_record, read_json, write_json

if TYPE_CHECKING:
    from nuadapt.training.config import TrainingConfig

Progress = Callable[[int, int], None]
ProgressBar = Callable[[str], AbstractContextManager[Progress]]
_OTHER = "Choose another output folder, or remove this one"


def run_study(
    name: str,
    scale: str,
    out: Path,
    *,
    trials: Sequence[str],
    workers: int,
    at_once: int = 1,
    progress_bar: ProgressBar,
    say: Callable[[str], None],
) -> Path:
    """Run or go on with a study in ``out``; returns the report page.

    ``trials`` are other inputs (NuHepMC files, folders of DUNE images) that the trained models are tried on, as
    ``PATH`` or ``PATH:view,view``. ``at_once`` models are trained at the same time, each with its share of the cores.
    ``say`` is told, in a sentence, what had to be left out.

    Raises:
        ConfigError: no such study or scale, impossible settings, or a trial does not exist.
        OutputError: ``out`` holds something else, or the same study with other settings.
        MissingExtraError: what the models need is missing for all of them.
    """
    study = load_study(name, scale)
    given = [Trial.parse(word) for word in trials]
    missing = left_out(study)
    for model, reason in missing.items():
        say(f"{model} is left out: {reason}")
    models = [model for model in study.models if model not in missing]
    if not models:
        raise MissingExtraError(f"no model of this study can be trained here: {next(iter(missing.values()))}")
    begin(study, out)
    running = Running(study, out, workers or os.cpu_count() or 1, progress_bar, say)
    evaluations: list[Path] = []
    figures: list[ExtraFigure] = []
    for at, model in enumerate(models):
        running.train_at_once(models[at:], at_once)
        evaluations += running.model(model)
        figures += running.tries(model, given)
    return running.report(models, evaluations, figures, missing)


def left_out(study: Study) -> dict[str, str]:
    """Models that cannot be trained here, each with the reason: something is not installed, or what they take is
    left out itself."""
    found: dict[str, str] = {}
    for name, plan in study.models.items():
        lost = [f"it takes a part of {other}, which is left out" for other in plan.takes.values() if other in found]
        if plan.spends in found:
            lost.append(f"it spends what {plan.spends} costs, which is left out")
        missing = _missing(study.training(name)) if plan.train else _missing_run(plan.run)
        if plan.events != TEST:
            missing = missing or _missing_simulation(study.sets[plan.events])
        reason = lost[0] if lost else missing
        if reason:
            found[name] = reason
    return found


def _missing(config: TrainingConfig) -> str:
    """Why a model cannot be trained here; empty if it can."""
    from nuadapt.models.registry import load_preset
    from nuadapt.models.vlm.backbones import is_at_hand
    from nuadapt.models.vlm.offline import language_file

    given = load_preset(config.preset)
    if given["family"] != "vlm":
        return ""
    if source := config.language.source or given.get("hub"):
        return "" if is_at_hand(source) else f"the weights of {source} are not on this machine; fetch them first."
    try:
        language_file()
    except MissingExtraError as error:
        return str(error)
    return ""


def _missing_simulation(events: EventSet) -> str:
    """Why events cannot be simulated here; empty if they can."""
    from nuadapt.sources.simulation.run import SimulationPlan

    try:
        SimulationPlan(events.simulation, events.seed, events.events).detector()
    except MissingExtraError as error:
        return str(error)
    return ""


def _missing_run(run: str) -> str:
    """Why a finished model cannot be used here; empty if it can."""
    from nuadapt.models.run import load_run

    try:
        load_run(Path(run))
    except (InputFileError, MissingExtraError) as error:
        return str(error)
    return ""


def begin(study: Study, out: Path) -> None:
    """Note what the results in ``out`` depend on. Models and sets of events may be added later, but none changed.

    Raises:
        OutputError: ``out`` holds something else, or a part of this study was begun with other settings.
    """
    place, now = out / "study.json", make_record("study", study.settings())["config"]
    if not place.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError("this place is not empty and holds no study", where=out, next_step=_OTHER)
        stored = {}
    else:
        stored = read_json(place)["config"]
    for kind, parts in now.items():
        for name, settings in parts.items():
            before = stored.get(kind, {}).get(name, settings)
            if before != settings:
                changed = ", ".join(sorted(k for k in before | settings if before.get(k) != settings.get(k)))
                what = kind if kind == name else f"{kind} '{name}'"
                raise OutputError(
                    f"the {what} of this study was begun with other settings ({changed})", where=out, next_step=_OTHER
                )
    merged = {kind: {**stored.get(kind, {}), **parts} for kind, parts in now.items()}
    write_json(place, make_record("study", merged, title=study.title, scale=study.scale))


@dataclass(frozen=True, slots=True)
class Running:
    """A study in its folder."""

    study: Study
    out: Path
    workers: int
    progress_bar: ProgressBar
    say: Callable[[str], None]

    def run_folder(self, model: str) -> Path:
        """Where a model is trained, or is already."""
        from nuadapt.models.run import run_folder

        plan = self.study.models[model]
        return run_folder(plan.run) if plan.run else self.out / "models" / model

    def model(self, name: str) -> list[Path]:
        """Train one model and ask it everything; gives the folders of its evaluations."""
        plan = self.study.models[name]
        data, run = self.events(plan.events), self.run_folder(name)
        if plan.train:
            self._train(name, data)
            if plan.calibrate:
                self._calibrate(name, data)
        folders = [self._evaluate(name, question) for question in plan.evaluate]
        if plan.explain is not None:
            from nuadapt.evaluation.evaluate import evaluate

            folder = self.out / "evaluations" / f"{name}-{TEST}"
            with self.progress_bar(f"{name}: explaining") as update:
                evaluate(run, data, folder, explained=plan.explain, progress=update)
            folders += [folder] if folder not in folders else []
        return folders

    def events(self, name: str) -> Path:
        """The file of a set of events, simulated unless it is there."""
        if name == TEST:
            return self._simulated(self.study.events, self.out / "events.h5", "simulating")
        return self._simulated(self.study.sets[name], self.out / "sets" / f"{name}.h5", f"simulating {name}")

    def _simulated(self, events: EventSet, data: Path, what: str) -> Path:
        from nuadapt.sources.simulation.run import SimulationPlan, simulate

        plan = SimulationPlan(events.simulation, events.seed, events.events, workers=self.workers)
        if data.exists():
            with EventStore(data) as store:
                if store.complete and store.record == plan.record():
                    return data
                if store.complete:
                    raise OutputError(
                        "these events were simulated with other settings or another version of nuadapt",
                        where=data,
                        next_step=_OTHER,
                    )
        data.parent.mkdir(parents=True, exist_ok=True)
        with self.progress_bar(what) as update:
            simulate(plan, data, update)
        return data

    def _train(self, name: str, data: Path) -> None:
        from nuadapt.training.fit import train

        with self.progress_bar(f"{name}: training") as update:
            train(self._training(name), data, self.run_folder(name), progress=update)

    def train_at_once(self, names: Sequence[str], most: int) -> None:
        """Train the first of the models and up to ``most`` - 1 that follow it and need none of the others before them.

        Nothing is done if the first is trained already or nobody can be trained beside it: :meth:`model` trains it.
        """
        from nuadapt.training.side_by_side import Job, train_all

        chosen: list[str] = []
        for name in names if self._untrained(names[0]) else ():
            plan = self.study.models[name]
            if len(chosen) == most or {plan.spends, *plan.takes.values()} & set(chosen):
                break
            chosen += [name] if self._untrained(name) else []
        if len(chosen) < 2:
            return
        data = [self.events(self.study.models[name].events) for name in chosen]
        jobs = [Job(self._training(name), of, self.run_folder(name)) for name, of in zip(chosen, data, strict=True)]
        with self.progress_bar(f"{', '.join(chosen)}: training") as update:
            train_all(jobs, progress=update)

    def _untrained(self, name: str) -> bool:
        from nuadapt.training.folder import RunFolder

        return bool(self.study.models[name].train) and not RunFolder(self.run_folder(name)).finished

    def _training(self, name: str) -> TrainingConfig:
        """Settings of the training of a model whose earlier models are finished."""
        plan = self.study.models[name]
        config = self.study.training(name, {other: _place(self.run_folder(other)) for other in plan.takes.values()})
        return replace(config, epochs=self._epochs(plan.spends)) if plan.spends else config

    def _epochs(self, model: str) -> int:
        """Epochs of an earlier model's training that cost what it cost, with the pretraining that it began from.

        Raises:
            DataError: its record does not say what it cost.
        """
        from nuadapt.models.compute import training_flops

        folder = self.run_folder(model)
        record = read_json(folder / "record.json")
        whole = training_flops(record)
        own = training_flops({name: value for name, value in record.items() if name != "pretrained"})
        if whole is None or own is None:
            raise DataError("this run does not say what it cost", where=folder, expected="a model of particle clouds")
        return round(float(record["epochs"]) * whole / own)

    def _calibrate(self, name: str, data: Path) -> None:
        """A model that a temperature does not fit stays as it is: that is a result, not the end of a study."""
        from nuadapt.evaluation.calibrate import calibrate
        from nuadapt.evaluation.calibration import FILE

        run = self.run_folder(name)
        if (run / FILE).is_file():
            return
        try:
            with self.progress_bar(f"{name}: calibrating") as update:
                calibrate(run, data, progress=update)
        except DataError as error:
            self.say(f"{name} stays uncalibrated: {error}")

    def _evaluate(self, name: str, question: EvaluationPlan) -> Path:
        from nuadapt.evaluation.evaluate import evaluate

        data, folder = self.events(question.events), self.out / "evaluations" / f"{name}-{question.name}"
        with self.progress_bar(f"{name}: evaluating, {question.name}") as update:
            evaluate(
                self.run_folder(name),
                data,
                folder,
                split=TEST if question.events == TEST else "all",
                coarsen=question.coarsen,
                coarsen_how=question.how,
                progress=update,
            )
        return folder

    def tries(self, name: str, trials: Sequence[Trial]) -> list[ExtraFigure]:
        """Try one model on the user's events; gives the figures for the report."""
        from nuadapt.recipes.trials import run_trial

        figures: list[ExtraFigure] = []
        for trial in trials if self.study.models[name].trials else ():
            with self.progress_bar(f"{name}: trying {trial.name}") as update:
                found = run_trial(self.run_folder(name), trial, self.events(TEST), self.out / "trials" / name, update)
            figures += [(f"{name}: {title}", caption, png) for title, caption, png in found]
        return figures

    def report(
        self,
        models: Sequence[str],
        evaluations: Sequence[Path],
        figures: Sequence[ExtraFigure],
        missing: dict[str, str],
    ) -> Path:
        """The page over all evaluations and trainings."""
        from nuadapt.report.page import make_report

        title = self.study.heading + (f"; left out: {', '.join(missing)}" if missing else "")
        runs = [self.run_folder(model) for model in models]
        # A frozen model that is only shown examples has no training to show, nor has one that came finished.
        shown = [*evaluations, *(run for run in runs if (run / "log.jsonl").is_file())]
        with self.progress_bar("writing the report") as update:
            return make_report(shown, self.out / "report", title=title, extra_figures=figures, progress=update)


def _place(folder: Path) -> str:
    """A folder as a setting: the same however it was given, and without the place of the working folder."""
    full, here = folder.resolve(), Path.cwd().resolve()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)
