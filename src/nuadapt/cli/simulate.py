"""The commands ``nuadapt simulate ...``: parse, call, show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nuadapt.cli.options import Out, Words
from nuadapt.terminal import err, out, progress_bar

simulate_app = typer.Typer(help="Simulate events into an event store.", no_args_is_help=True)


def _settings(config: Path | None, words: list[str] | None) -> dict[str, Any]:
    from nuadapt.settings import apply_words, read_yaml

    return apply_words(read_yaml(config) if config else {}, words or [])


@simulate_app.command("lartpc")
def simulate_lartpc(
    out_file: Out,
    words: Words = None,
    events: Annotated[int | None, typer.Option(help="Number of events.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same file.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 0,
    config: Annotated[Path | None, typer.Option(help="Settings in a YAML file.", show_default=False)] = None,
    vertices: Annotated[
        Path | None, typer.Option(help="NuHepMC file to use in place of the built-in generator.", show_default=False)
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(help="edep-sim or larnd-sim HDF5 file of energy deposits.", show_default=False)
    ] = None,
) -> None:
    """Simulate neutrino events in a liquid-argon detector.

    An interrupted run goes on when the same command is given again, and ends with the same file.
    """
    from nuadapt.settings import build
    from nuadapt.sources.simulation.lartpc import LArTPCConfig
    from nuadapt.sources.simulation.run import SimulationPlan

    settings = build(LArTPCConfig, _settings(config, words))
    _simulate(SimulationPlan(settings, seed, events, vertices, segments, workers=_cores(workers)), out_file)


@simulate_app.command("minerva")
def simulate_minerva(
    out_file: Out,
    words: Words = None,
    events: Annotated[int, typer.Option(help="Number of events.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Same seed, same file.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 0,
    config: Annotated[Path | None, typer.Option(help="Settings in a YAML file.", show_default=False)] = None,
) -> None:
    """Simulate neutrino events in a MINERvA-like detector, as particle clouds.

    A stand-in for trying, testing and teaching: interactions on plastic through a parametrised reconstruction, in the
    columns of the reader of MINERvA's tuples. An interrupted run goes on when the same command is given again.
    """
    from nuadapt.settings import build
    from nuadapt.sources.simulation.minerva.config import MinervaConfig
    from nuadapt.sources.simulation.run import SimulationPlan

    settings = build(MinervaConfig, _settings(config, words))
    _simulate(SimulationPlan(settings, seed, events, workers=_cores(workers)), out_file)
    out.print("These events are a stand-in: parametrised, not MINERvA's own simulation.")


@simulate_app.command("jets")
def simulate_jets(
    out_file: Out,
    words: Words = None,
    events: Annotated[int, typer.Option(help="Number of jets.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Same seed, same file.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 0,
    config: Annotated[Path | None, typer.Option(help="Settings in a YAML file.", show_default=False)] = None,
) -> None:
    """Make collider jets with Pythia 6 and FastJet, as particle clouds by class, for pretraining.

    An interrupted run goes on when the same command is given again, and ends with the same file.
    """
    from nuadapt.settings import build
    from nuadapt.sources.simulation.jets.config import JetsConfig
    from nuadapt.sources.simulation.run import SimulationPlan

    settings = build(JetsConfig, _settings(config, words))
    _simulate(SimulationPlan(settings, seed, events, workers=_cores(workers)), out_file)


def _cores(workers: int) -> int:
    return workers or os.cpu_count() or 1


def _simulate(plan: Any, out_file: Path) -> None:
    """Simulate with a progress bar; what was left out is said."""
    from nuadapt.sources.simulation.run import simulate

    with progress_bar("simulating") as update:
        report = simulate(plan, out_file, update)
    for note in report.notes:
        err.print(note)
    if report.n_left_out:
        err.print(f"{report.n_left_out} events of the input were left out: {report.reasons()}")
    out.print(f"{report.n_read} events in {out_file}")
