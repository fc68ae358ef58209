"""The command line: parse, call, show. No logic of its own; heavy libraries load inside the commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nuadapt.cli.options import (
    AdapterScope,
    AtOnce,
    Data,
    ExportFormat,
    Out,
    Scale,
    SetScore,
    Settings,
    Skip,
    Uncalibrated,
    Views,
    Words,
)
from nuadapt.cli.simulate import simulate_app
from nuadapt.errors import NuadaptError
from nuadapt.terminal import err, out, progress_bar, show_answers, table

if TYPE_CHECKING:
    from nuadapt.training.side_by_side import Job

app = typer.Typer(
    help="Adapt foundation models to neutrino interactions and check the answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
validate_app = typer.Typer(help="Check the simulation or a file.", no_args_is_help=True)
app.add_typer(simulate_app, name="simulate")
app.add_typer(validate_app, name="validate")


def show_version(wanted: bool) -> None:
    """Say the version and end."""
    if wanted:
        from nuadapt import __version__

        out.print(f"nuadapt {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Adapt foundation models to neutrino interactions and check the answers."""


@app.command()
def ingest(
    inputs: Annotated[list[Path], typer.Argument(help="Files or folders.", show_default=False)],
    out_file: Out,
    kind: Annotated[
        str, typer.Option("--format", help="auto, dune-cvn, png-pairs, nuhepmc, minerva or omnilearned.")
    ] = "auto",
    skip_bad: Skip = False,
    invert: Annotated[bool, typer.Option("--invert", help="Pictures are dark on white.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Truth of DUNE files (labels.csv).", show_default=False)] = None,
    max_bad_fraction: Annotated[float, typer.Option(help="Share of unusable events accepted in a file.")] = 0.01,
    settings: Settings = None,
    workers: Annotated[
        int, typer.Option(help="Processes that read MINERvA files; 0: one per core up to 4, for small files one.")
    ] = 0,
) -> None:
    """Read events from an experiment's or a generator's files into an event store.

    MINERvA tuples have settings, e.g. --set preset=minerva-ml, --set frame=detector, --set 'interaction_types=[1,2]'.
    """
    from nuadapt.settings import apply_words
    from nuadapt.sources.formats import ReadOptions
    from nuadapt.sources.ingest import ingest as read_in

    reading = ReadOptions(
        invert=invert,
        labels=labels,
        max_bad_fraction=max_bad_fraction,
        settings=apply_words({}, settings or []),
        workers=workers,
    )
    with progress_bar("reading") as update:
        report = read_in(inputs, out_file, kind, skip_bad=skip_bad, reading=reading, progress=update)
    for line in report.lines():
        err.print(line)
    out.print(f"{report.n_events} events in {out_file}")


@app.command()
def export(
    store: Annotated[Path, typer.Argument(help="Event store (.h5).", show_default=False)],
    out_dir: Out,
    kind: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = ExportFormat.png_pairs,
    task: Annotated[
        str, typer.Option(help="Label of OmniLearned files; none: class number or pion class.", show_default=False)
    ] = "",
) -> None:
    """Write pixel maps as pairs of PNG images with their labels, or clouds as files for OmniLearned."""
    from nuadapt.events.pixelmap import GreyTransform
    from nuadapt.events.store import EventStore
    from nuadapt.sources.export import export_png_pairs

    with EventStore(store) as events, progress_bar(f"writing {kind.value}") as update:
        if kind == ExportFormat.omnilearned:
            from nuadapt.sources.omnilearned import export as export_omnilearned

            left_out = export_omnilearned(events, out_dir, task, progress=update)
            out.print(f"events in {out_dir}; left out: {left_out or 'none'}")
            return
        report = export_png_pairs(events, out_dir, GreyTransform(), progress=update)
    out.print(f"{report} in {out_dir}")


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Event store, run folder or shipped model.", show_default=False)],
    everything: Annotated[bool, typer.Option("--all", help="Of a run: its whole record.")] = False,
) -> None:
    """Explain a file or a run to a person."""
    from nuadapt.evaluation.summary import describe_run, run_named
    from nuadapt.events.describe import describe

    run = run_named(path)
    for title, rows in describe(path) if run is None else describe_run(run, everything=everything):
        table(title, [""] * max(map(len, rows), default=1), rows)


@validate_app.command("store")
def validate_store(path: Annotated[Path, typer.Argument(help="Event store (.h5).", show_default=False)]) -> None:
    """Check every stored value of an event store; exit code 2 if something is wrong."""
    from nuadapt.errors import InputFileError, listed
    from nuadapt.events.store import EventStore

    with EventStore(path) as store:
        found, n = store.problems(), len(store)
    if found:
        raise InputFileError("; ".join(found[:5]) if len(found) <= 5 else listed(found), where=path)
    out.print(f"{path}: {n} events, nothing wrong")


@validate_app.command("minerva")
def validate_minerva(
    out_dir: Out,
    events: Annotated[int, typer.Option(help="Events to simulate.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Same seed, same figures.")] = 1,
    beside: Annotated[
        Path | None, typer.Option(help="Store or MINERvA tuple to draw beside them.", show_default=False)
    ] = None,
) -> None:
    """Figures of the MINERvA-like simulation, beside other events if given."""
    from nuadapt.report.validation_plots import stand_in_page
    from nuadapt.sources.simulation.minerva.run import look

    with progress_bar("simulating") as update:
        curves = look(events, seed, beside, update)
    out.print(f"page: {stand_in_page(curves, out_dir)}")


@validate_app.command("simulation")
def validate_simulation(
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for validation.json, table and figures.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option(help="Fewer events and no curves, for a first look.")] = False,
) -> None:
    """Compare the simulation with published physics; exit code 1 if a row is outside its tolerance."""
    from nuadapt.report.tables import checks_rows
    from nuadapt.sources.simulation.validation.run import validate

    with progress_bar("validating") as update:
        result = validate(quick=quick, progress=update)
    header, rows = checks_rows([check.as_dict() for check in result.checks])
    table("Simulation against published physics", header[:-1], [row[:-1] for row in rows])
    if out_dir:
        from nuadapt.record import write_json
        from nuadapt.report.tables import checks_markdown
        from nuadapt.report.validation_plots import validation_figures

        write_json(out_dir / "validation.json", result.as_dict())
        (out_dir / "validation.md").write_text(checks_markdown([c.as_dict() for c in result.checks]), encoding="utf-8")
        validation_figures(out_dir / "validation.json", out_dir)
        out.print(f"table and figures in {out_dir}")
    failed = [check for check in result.checks if not check.passed]
    out.print(f"{len(result.checks) - len(failed)} of {len(result.checks)} rows within tolerance")
    if failed:
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe name or YAML file.", show_default=False)],
    data: Data,
    out_dir: Out,
    words: Words = None,
    seeds: Annotated[
        int, typer.Option(help="Train so many times, with the seeds 1, 2, ..., into folders seedN.", min=1)
    ] = 1,
    at_once: AtOnce = 1,
) -> None:
    """Train a model. A run that was interrupted goes on; a finished one is left as it is."""
    from dataclasses import replace

    from nuadapt.training.config import load_recipe
    from nuadapt.training.side_by_side import Job, train_all

    config = load_recipe(recipe, words or [])
    jobs = [Job(config, data, out_dir)]
    if seeds > 1:
        jobs = [Job(replace(config, seed=seed), data, out_dir / f"seed{seed}") for seed in range(1, seeds + 1)]
    for start in range(0, len(jobs), at_once):
        some = jobs[start : start + at_once]
        with progress_bar(f"training{_seeds(some) if seeds > 1 else ''}") as update:
            train_all(some, progress=update)
        for job in some:
            out.print(f"trained model in {job.out}")


def _seeds(jobs: Sequence[Job]) -> str:
    return ", seed " + ", ".join(str(job.config.seed) for job in jobs)


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(help="Recipe name (pretrain-laptop), or YAML file.", show_default=False)],
    data: Annotated[list[Path], typer.Option("--data", help="Event store (.h5); may be repeated.", show_default=False)],
    out_dir: Out,
    words: Words = None,
) -> None:
    """Pretrain a model: of particle clouds by classes and by taking noise off tokens, of pixel maps by hidden patches.

    The run folder is what pretrained.checkpoint of 'nuadapt train' takes, or for pixel maps start_from. A run that was
    interrupted goes on.
    """
    from nuadapt.training.config import load_pretraining
    from nuadapt.training.fit import train as fit

    with progress_bar("pretraining") as update:
        run = fit(load_pretraining(recipe, words or []), data, out_dir, progress=update)
    out.print(f"pretrained model in {run}")


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    data: Data,
    split: Annotated[str, typer.Option(help="val, or all of a store that was not trained on.")] = "val",
    coverage: Annotated[float, typer.Option(help="Share of events whose set of classes holds the true one.")] = 0.9,
    score: Annotated[SetScore, typer.Option(help="lac: smallest sets; aps: larger, more even ones.")] = SetScore.lac,
    batch_size: Annotated[int, typer.Option(help="Events per batch.")] = 64,
) -> None:
    """Fit a temperature and conformal sets to validation events; 'evaluate' and 'predict' apply them from then on."""
    from nuadapt.evaluation.calibrate import calibrate as fit

    with progress_bar("predicting") as update:
        made = fit(run, data, split=split, coverage=coverage, score=score.value, batch_size=batch_size, progress=update)
    held_out = made.held_out
    for name, (before, after) in (("ECE", held_out.ece), ("NLL", held_out.nll)):
        out.print(
            f"{name} of {held_out.n_events} events without part in the temperature: {before:.4f}, now {after:.4f}"
        )
    out.print(f"temperature {made.temperature:.4f} and sets of coverage {coverage:g} in {run / 'calibration.json'}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    data: Data,
    out_dir: Out,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    coarsen: Annotated[int, typer.Option(help="Join N x N pixels of what the model sees: 2 is half resolution.")] = 1,
    how: Annotated[str | None, typer.Option("--coarsen-how", help="sum or mean.", show_default=False)] = None,
    batch_size: Annotated[int, typer.Option(help="Events per batch.")] = 64,
    uncalibrated: Uncalibrated = False,
    views: Views = None,
    confidence: Annotated[
        str,
        typer.Option(
            help="Of models of words: sum (exact), or to compare mean, first_token (published); not calibrated."
        ),
    ] = "sum",
    pi0_window: Annotated[
        float | None,
        typer.Option("--pi0-window", help="Half-width (GeV) of the pi0 cuts; as published.", show_default=False),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also score reasons and test pixel evidence.")] = False,
    explain_events: Annotated[int, typer.Option(help="Events whose reasons are scored.")] = 1000,
) -> None:
    """Predictions and metrics of a trained model on a store's events."""
    from nuadapt.evaluation.evaluate import evaluate as run_evaluation
    from nuadapt.evaluation.explain.stage import ExplainConfig
    from nuadapt.evaluation.physics.cuts import PUBLIC_WINDOW
    from nuadapt.record import read_json

    with progress_bar("evaluating") as update:
        run_evaluation(
            run,
            data,
            out_dir,
            split=split,
            coarsen=coarsen,
            coarsen_how=how,
            batch_size=batch_size,
            pi0_window=PUBLIC_WINDOW if pi0_window is None else pi0_window,
            views=tuple(views.split(",")) if views else None,
            calibrated=not uncalibrated,
            confidence=confidence,
            explained=ExplainConfig(reasons=explain_events) if explain else None,
            progress=update,
        )
    metrics = read_json(out_dir / "metrics.json")
    table("Metrics", ["", ""], [[k, str(v)] for k, v in metrics.items() if isinstance(v, int | float | str)])
    out.print(f"predictions and metrics in {out_dir}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Stores, MINERvA .root, DUNE .gz, PNG folders, NuHepMC.", show_default=False),
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Table to write, .csv or .parquet; none: show the answers.", show_default=False),
    ] = None,
    views: Views = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="For inputs that pass through the simulation.")] = 1,
    skip_bad: Skip = False,
    uncalibrated: Uncalibrated = False,
    explain: Annotated[bool, typer.Option("--explain", help="Add a reason in words.")] = False,
) -> None:
    """One row per event: key, class probabilities and label, with a calibration also the set of possible classes; or
    key and energy. With --explain also a reason, and which of its claims features of the image support.

    MINERvA tuples are read as for the events of the training, where the run tells how; --set says otherwise.
    """
    from nuadapt.evaluation.files import answer_files, predict_files, refuse_bad
    from nuadapt.settings import apply_words

    how: dict[str, Any] = {
        "views": views.split(",") if views else None,
        "settings": apply_words({}, settings or []),
        "seed": seed,
        "calibrated": not uncalibrated,
        "explain": explain,
    }
    with progress_bar("predicting") as update:
        if out_file is not None:
            report = predict_files(run, inputs, out_file, skip_bad=skip_bad, progress=update, **how)
        else:
            answered, report = answer_files(run, inputs, progress=update, **how)
    for line in report.lines():
        err.print(line)
    if out_file is not None:
        out.print(f"{report.n_events} events in {out_file}")
        return
    show_answers(answered.columns(), report.n_events)
    if not skip_bad:
        refuse_bad(report, "the answers to the others are above")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="omnilearned-small or omnilearned-medium.", show_default=False)],
) -> None:
    """Download published weights once; recipes name them in pretrained.checkpoint."""
    from nuadapt.models.fetch import fetch as download

    with progress_bar("downloading") as update:
        got = download(name, progress=update)
    out.print(f"{name}: {got['bytes'] / 1e6:.1f} MB in {got['path']}\nsha256 {got['sha256']}", soft_wrap=True)


@app.command()
def pack(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    out_dir: Out,
) -> None:
    """Copy a trained model with weights in half precision, to pass it on."""
    from nuadapt.models.pack import pack as make

    out.print(f"packed model in {make(run, out_dir)}")


@app.command("model-info")
def model_info(
    preset: Annotated[str, typer.Argument(help="Preset, or a YAML file of family vlm.", show_default=False)],
    scope: Annotated[AdapterScope | None, typer.Option(help="Towers that get adapters.", show_default=False)] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapters.", show_default=False)] = None,
) -> None:
    """Parameters by part, and which are trained. Needs no weights."""
    from nuadapt.models.info import model_info as describe

    for title, header, rows in describe(preset, scope=scope.value if scope else None, rank=rank):
        table(title, header, rows)


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders made by 'nuadapt evaluate'.", show_default=False)],
    out_dir: Out,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "nuadapt results",
) -> None:
    """A self-contained page of results with figures."""
    from nuadapt.report.page import make_report

    page = make_report(evaluations, out_dir, title=title)
    out.print(f"report: {page}")


@app.command()
def serve(
    data: Data,
    places: Annotated[list[str] | None, typer.Argument(help="Run or evaluation folders, or names of models.")] = None,
    host: Annotated[str, typer.Option(help="Address; others than this machine's need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 8000,
    token: Annotated[str | None, typer.Option(help="What clients must show.", envvar="NUADAPT_TOKEN")] = None,
    workers: Annotated[int, typer.Option(help="Processes; each loads the models it is asked.")] = 1,
    no_model: Annotated[bool, typer.Option("--no-model", help="Show what is there; ask no model.")] = False,
    limits: Annotated[list[str] | None, typer.Option("--set", help="A limit as key=value; may be repeated.")] = None,
) -> None:
    """A page of events and what models say about them, and the same for programs."""
    from nuadapt.serve.run import start

    start(data, places or [], (host, port), token, limits or [], workers=workers, models=not no_model, say=out.print)


@app.command()
def reproduce(
    study: Annotated[
        str, typer.Argument(help="Name of the study (cnn, minerva, vlm), or a YAML file.", show_default=False)
    ],
    scale: Annotated[Scale, typer.Option(help="smoke: minutes; laptop: hours; paper: as published.")],
    out_dir: Out,
    trial: Annotated[
        list[str] | None,
        typer.Option(
            help="Other events to try the models on: PATH or PATH:view,view; may be repeated.", show_default=False
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes of the simulation; 0: one per core.")] = 0,
    at_once: AtOnce = 1,
) -> None:
    """Run a whole study: simulate, train, evaluate, report. Goes on where it was interrupted."""
    from nuadapt.recipes.runner import run_study

    page = run_study(
        study,
        scale.value,
        out_dir,
        trials=trial or [],
        workers=workers,
        at_once=at_once,
        progress_bar=progress_bar,
        say=lambda sentence: err.print(sentence, markup=False, highlight=False),
    )
    out.print(f"report: {page}")


def main() -> None:
    """Entry point: a user's problem is one paragraph and an exit code, 2 unless the error says otherwise."""
    try:
        app()
    except NuadaptError as error:
        err.print(f"nuadapt: {error}", markup=False, highlight=False)
        raise SystemExit(error.exit_code) from None
