"""The part of the page on models of particle clouds, beside cuts and calorimeter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nuadapt.report import cloud_figures, clouds, transfer
from nuadapt.report.clouds import Rows
from nuadapt.report.lines import Scene, lines_of_evaluations, lines_of_records, scenes
from nuadapt.report.loading import EnergyEvaluation, Evaluation, Training, file_name
from nuadapt.report.style import Picture, picture, title

_SEEDS = "Bands: lowest to highest of several seeds."
#: Figure, name of its file, heading, caption.
Drawn = tuple[Figure, str, str, str]


@dataclass(frozen=True, slots=True)
class Physics:
    """Models of clouds beside what needs no model: rows of tables, and figures."""

    signals: list[tuple[str, Rows]]
    energies: Rows
    coverage_headings: list[str]
    coverage: Rows
    transfer: Rows
    figures: list[Picture]


def physics_section(
    loaded: Sequence[Evaluation], energies: Sequence[EnergyEvaluation], trainings: Sequence[Training], place: Path
) -> Physics | None:
    """Tables, and figures written below ``place``; None where there is nothing of the kind."""
    found = clouds.with_physics(loaded)
    arms = transfer.arms_of(found)
    compared = {arm.evaluation.path for arm in arms}
    found = [(e, physics) for e, physics in found if e.path not in compared]
    scored = [e for e in energies if "estimates" in e.metrics]
    if not found and not scored and not arms:
        return None
    physics = {e.path: of for e, of in found}
    pictures = []
    selections, of_all_energies = scenes([e for e, _ in found]), scenes(scored)
    costly = cloud_figures.with_cost(transfer.without_arms(trainings))
    order = _order(selections, of_all_energies, costly.values())
    for index, scene in enumerate(replace(scene, order=order) for scene in selections):
        pictures += [_picture(drawn, scene, index, place) for drawn in _of_selections(scene, physics)]
    for index, of_energies in enumerate(replace(scene, order=order) for scene in of_all_energies):
        pictures += [_picture(drawn, of_energies, index, place) for drawn in _of_energies(of_energies)]
    words = "One line per training; a multiplication and an addition are two operations, frozen parts are not counted."
    for task, runs in costly.items():
        name = f"loss-compute-{file_name(task)}"
        pictures.append(
            picture(cloud_figures.loss_by_compute(runs, order), place / name, f"Loss and compute, {task}", words)
        )
    if arms:
        pictures.append(picture(transfer.figure(arms), place / "transfer", "Pretraining", transfer.words(arms)))
    headings, held = clouds.coverage_table(scored)
    return Physics(clouds.signal_rows(found), clouds.energy_rows(scored), headings, held, transfer.rows(arms), pictures)


def _order(
    selections: Sequence[Scene[Evaluation]],
    energies: Sequence[Scene[EnergyEvaluation]],
    trainings: Iterable[Sequence[Training]],
) -> tuple[str, ...]:
    """Names of all lines: a model looks the same in all figures of the page."""
    names = [line.name for scene in selections for line in lines_of_evaluations(scene.members)]
    names += [line.name for of in energies for line in lines_of_evaluations(of.members)]
    names += [line.name for runs in trainings for line in lines_of_records(runs, lambda run: run.record)]
    return tuple(dict.fromkeys(names))


def _picture(drawn: Drawn, scene: Scene[Any], index: int, place: Path) -> Picture:
    figure, name, heading, caption = drawn
    return picture(figure, place / (f"{name}-{index + 1}" if index else name), clouds.named(heading, scene), caption)


def _of_selections(scene: Scene[Evaluation], physics: cloud_figures.PhysicsOf) -> Iterator[Drawn]:
    """Figures of classifiers beside the cuts on the same events."""
    words = "Both select events by one rule; the model's threshold lets as much background through as the cuts do. "
    words += "Bins of pion energy and angle hold equal shares of the signal; a long last one is cut in the figure. "
    words += f"Bars: binomial 95% intervals. {_SEEDS}"
    numbers = [physics[e.path] for e in scene.members]
    signals = list(dict.fromkeys(signal for of in numbers for signal, found in of.items() if found))
    for signal in signals:
        figure = cloud_figures.efficiency(signal, scene, physics)
        yield figure, f"efficiency-{signal}", f"Efficiency for {title(signal)}", words
    if any(f"signal_{signal}" in e.curves for e in scene.members for signal in signals):
        words = f"By the probability of the classes that make up each signal. Star: the cuts. {_SEEDS}"
        yield cloud_figures.signal_roc(scene, physics), "signal-roc", "Signals against background", words
    scanned = next((of["cc_1pi0"] for of in numbers if (of.get("cc_1pi0") or {}).get("window_scan")), None)
    if scanned:
        words = (
            "The cuts for CC 1π0 keep pairs of photons whose mass is within a window of that of the pi0. Best: by the "
        )
        words += "product of precision and recall. The public code takes 0.135 GeV, which cuts nothing below the pi0."
        figure = cloud_figures.window_scan(scanned, simulated=scene.simulated)
        yield figure, "pi0-window", "Window of the pi0 mass", words


def _of_energies(scene: Scene[EnergyEvaluation]) -> Iterator[Drawn]:
    """Figures of energies beside the calorimeter on the same events."""
    words = "Resolution and bias of the available energy; events with less than 0.05 GeV are left out. "
    words += f"Bars: 95% bootstrap intervals. {_SEEDS}"
    yield cloud_figures.energy_spread(scene), "energy-spread", "Energy and q3", words
    figure = cloud_figures.energy_spread(scene, "by_multiplicity")
    yield figure, "energy-multiplicity", "Energy and multiplicity", words
    words = f"Shares of the events of a bin; beyond 2 nothing is drawn; from 0.05 GeV on. {_SEEDS}"
    yield cloud_figures.energy_histograms(scene), "energy-histograms", "Distributions of estimate over truth", words
