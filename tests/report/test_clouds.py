"""Models of clouds on the page: which lines and bands are drawn from which files, and what is said of the events."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer

from nuadapt.evaluation.stand_in import STAND_IN
from nuadapt.report import cloud_figures, clouds
from nuadapt.report.lines import adaptation, lines_of_evaluations, scenes, settings_of
from nuadapt.report.loading import Evaluation, Training, load_energies, load_evaluations
from nuadapt.report.page import make_report
from nuadapt.report.style import run_look

FROZEN = {"checkpoint": "/runs/jets", "mode": "frozen"}
TUNED = {"checkpoint": "/runs/jets/model.safetensors", "mode": "full"}


def spread_of(name: str) -> float:
    return {"pet2-small": 0.15, "mlp-global": 0.3}[name]


@pytest.fixture(scope="module")
def folders(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of two presets for both tasks, all asked about the same events."""
    base, found = tmp_path_factory.mktemp("evaluations"), []
    for seed in (1, 2):
        for preset, skill in (("pet2-small", 2.5), ("mlp-global", 1.2)):
            about = made_up.record(made_up.training(preset, seed))
            table, columns = made_up.pions(1500, seed=7, skill=skill, model=f"{preset}-{seed}")
            noise = np.random.default_rng(seed).dirichlet([1] * 5, 1500)
            table = replace(table, probability=0.8 * table.probability + 0.2 * noise)
            found.append(made_up.write_pions(base / f"pion-{preset}-{seed}", about, table, columns))
            energy, columns = made_up.energies(1500, seed=8, model=f"{preset}-{seed}")
            off = np.random.default_rng(seed).normal(0, spread_of(preset), 1500)
            energy = replace(energy, energy=energy.truth * np.exp(off))
            found.append(made_up.write_energies(base / f"energy-{preset}-{seed}", about, energy, columns))
    return found


@pytest.fixture(scope="module")
def trainings(made_up: ModuleType) -> list[Training]:
    """Runs of 100 training events whose events cost 300 operations each."""
    log = [{"step": 10 * i, "epoch": float(i), "val_loss": 2.0 / i} for i in (1, 2, 3)]
    log.append({"step": 31, "epoch": 3.1, "loss": 0.5})
    kinds = [("pet2-small", {}), ("pet2-small", {"pretrained": FROZEN}), ("mlp-global", {})]
    return [
        Training(f"{preset}{seed}", log, made_up.training(preset, seed, **config))
        for preset, config in kinds
        for seed in (1, 2)
    ]


def errorbars(ax: Axes) -> dict[str, ErrorbarContainer]:
    return {str(c.get_label()): c for c in ax.containers if isinstance(c, ErrorbarContainer)}


def given(name: str, about: dict[str, Any], **metrics: Any) -> Evaluation:
    return Evaluation(Path(name), name, {"model": name, **metrics}, about, {}, None)


def test_trainings_that_differ_by_their_seed_are_one_line_and_no_others(made_up: ModuleType) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "random": {},
        "frozen": {"pretrained": FROZEN},
        "tuned": {"pretrained": TUNED},
        "few": {"train_events": 2000},
    }
    found = [
        given(f"{kind}-{seed}", made_up.record(made_up.training("pet2-small", seed, workers=seed, **config)))
        for kind, config in kinds.items()
        for seed in (1, 2)
    ]
    found.append(given("mlp-1", made_up.record(made_up.training("mlp-global", 1))))
    found.append(found[0])  # given twice
    lines = lines_of_evaluations(found)
    assert {line.name: [e.name for e in line.members] for line in lines} == {
        "pet2-small, random weights, train_events=0": ["random-1", "random-2"],
        "pet2-small, frozen, from jets": ["frozen-1", "frozen-2"],
        "pet2-small, fine-tuned, from jets": ["tuned-1", "tuned-2"],
        "pet2-small, random weights, train_events=2000": ["few-1", "few-2"],
        "mlp-global": ["mlp-1"],
    }


def test_models_without_a_record_are_lines_of_their_own() -> None:
    lines = lines_of_evaluations([given("toy-1", {}), given("toy-2", {})])
    assert [(line.name, len(line.members)) for line in lines] == [("toy, model=toy-1", 1), ("toy, model=toy-2", 1)]
    assert adaptation(settings_of({}, "toy-1")) == ""


def test_events_of_another_store_split_window_or_energy_are_another_scene(made_up: ModuleType) -> None:
    of = made_up.training("mlp-global", 1)
    about = [made_up.record(of), made_up.record(of, store="other.h5", made={"stage": "ingest"}), made_up.record(of)]
    about[2]["config"] = {"split": "all"}
    window = made_up.record(of) | {"config": {"split": "test", "pi0_window": 0.03}}
    found = scenes([given(f"e{i}", one) for i, one in enumerate([*about, window, about[0]])])
    assert [[e.name for e in scene.members] for scene in found] == [["e0", "e4"], ["e1"], ["e2"], ["e3"]]
    assert [scene.simulated for scene in found] == [True, False, True, True]
    assert [scene.name for scene in found] == [
        "events.h5, split test",
        "other.h5, split test",
        "events.h5, split all",
        "events.h5, split test, pi0 window 0.03 GeV",
    ]
    assert scenes([given("e", about[0])])[0].name == ""
    same = [made_up.record(of), made_up.record(of)]
    same[1]["data"]["key_fingerprint"] = "0123456789"
    assert [scene.name for scene in scenes([given("a", same[0]), given("b", same[1])])][1] == "events.h5, 01234567"


def test_efficiencies_are_means_over_seeds_within_their_band(folders: list[Path]) -> None:
    found = clouds.with_physics(load_evaluations(folders[::2]))
    (scene,) = scenes([e for e, _ in found])
    physics = {e.path: of for e, of in found}
    figure = cloud_figures.efficiency("cc_1pi_charged", scene, physics)
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "true W [GeV]", "true q3 [GeV]", "true pion energy [GeV]", "true pion angle [rad]"
    ]  # fmt: skip
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["cuts", "pet2-small", "mlp-global"]
    for ax, quantity in zip(figure.axes, ("W", "q3", "pion_energy", "pion_angle"), strict=True):
        drawn = errorbars(ax)
        for preset in ("pet2-small", "mlp-global"):
            seeds = np.array(
                [
                    next(b for b in of["cc_1pi_charged"]["bins"] if b["quantity"] == quantity)["model"]
                    for e, of in found
                    if e.name.startswith(preset)
                ],
                dtype=float,
            )
            known = np.isfinite(seeds).all(axis=0)
            np.testing.assert_allclose(drawn[preset].lines[0].get_ydata(), seeds.mean(axis=0)[known])
        bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
        assert len(bands) == 2 * known.sum()  # one a bin and preset
        lowest, highest = seeds[:, known].min(axis=0), seeds[:, known].max(axis=0)
        drawn_bands = [(b.get_paths()[0].vertices[:, 1].min(), b.get_paths()[0].vertices[:, 1].max()) for b in bands]
        np.testing.assert_allclose(drawn_bands[known.sum() :], np.stack([lowest, highest], axis=1))


def test_curves_of_the_signals_and_the_point_of_the_cuts(folders: list[Path]) -> None:
    found = clouds.with_physics(load_evaluations(folders[::2]))
    (scene,) = scenes([e for e, _ in found])
    figure = cloud_figures.signal_roc(scene, {e.path: of for e, of in found})
    assert [ax.get_ylabel() for ax in figure.axes] == [f"efficiency for CC {w}" for w in ("1π±", "Nπ±", "1π0")]
    for ax, signal in zip(figure.axes, ("cc_1pi_charged", "cc_npi_charged", "cc_1pi0"), strict=True):
        lines = {str(line.get_label()): line for line in ax.lines}
        cuts = found[0][1][signal]["cuts"]
        np.testing.assert_allclose(lines["cuts"].get_xydata(), [[cuts["false_positive_rate"], cuts["efficiency"]]])
        better, worse = (np.asarray(lines[name].get_ydata()) for name in ("pet2-small", "mlp-global"))
        assert better.mean() > worse.mean()
        at = np.asarray(lines["pet2-small"].get_xdata())
        kept = [of[signal]["model"] for e, of in found if e.name.startswith("pet2")]
        expected = np.mean([k["efficiency"] for k in kept])
        assert np.interp(np.mean([k["false_positive_rate"] for k in kept]), at, better) == pytest.approx(
            expected, abs=0.03
        )


def test_the_scan_shows_the_window_and_the_best_one(folders: list[Path]) -> None:
    of = json.loads((folders[0] / "physics.json").read_text())["cc_1pi0"]
    figure = cloud_figures.window_scan(of, simulated=True)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(
        lines["product"].get_ydata(), [row["efficiency"] * row["purity"] for row in of["window_scan"]]
    )
    best = of["window_scan"][int(np.argmax([row["product"] for row in of["window_scan"]]))]["window"]
    assert list(lines[f"best: {best:g} GeV"].get_xdata()) == [best, best]
    assert list(lines["used: 0.134977 GeV"].get_xdata()) == [of["window"], of["window"]]


@pytest.mark.parametrize("bins", ["by_q3", "by_multiplicity"])
def test_the_spread_of_energies_beside_the_calorimeter(folders: list[Path], bins: str) -> None:
    (scene,) = scenes(load_energies(folders))
    figure = cloud_figures.energy_spread(scene, bins)
    drawn = errorbars(figure.axes[0])
    assert list(drawn) == ["recoil x 1.17", "recoil x fitted scale", "pet2-small", "mlp-global"]
    rows = [e.metrics["estimates"]["model"][bins] for e in scene.members if e.name.startswith("pet2")]
    expected = [
        np.mean(pair) for pair in zip(*([r["iqr"] for r in seed] for seed in rows), strict=True) if None not in pair
    ]
    np.testing.assert_allclose(drawn["pet2-small"].lines[0].get_ydata(), expected)
    assert max(expected) < np.min(drawn["mlp-global"].lines[0].get_ydata())
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_xlim()[1]) == cloud_figures.SPREADS[bins]


def test_histograms_are_means_over_seeds(folders: list[Path]) -> None:
    (scene,) = scenes(load_energies(folders))
    figure = cloud_figures.energy_histograms(scene)
    for at, ax in enumerate(figure.axes):
        steps = [p for p in ax.patches if not p.get_fill()]
        seeds = [e.metrics["estimates"]["model"]["histograms"][at] for e in scene.members if e.name.startswith("mlp")]
        shares = [np.array(of["weight"]) / of["total"] for of in seeds]
        np.testing.assert_allclose(steps[2].get_data().values, np.mean(shares, axis=0))
        bands = [p for p in ax.patches if p.get_fill()]
        np.testing.assert_allclose(bands[1].get_data().baseline, np.min(shares, axis=0))
        assert (len(steps), len(bands)) == (3, 2)


def test_loss_stands_over_updates_and_over_operations(trainings: list[Training]) -> None:
    ((task, runs),) = cloud_figures.with_cost([*trainings, Training("no cost", [], {})]).items()
    assert (task, len(runs)) == ("pion", 6)
    left, right = cloud_figures.loss_by_compute(runs).axes
    names = [str(line.get_label()) for line in left.lines if not str(line.get_label()).startswith("_")]
    assert names == ["pet2-small, random weights", "pet2-small, frozen, from jets", "mlp-global"]
    assert len({(line.get_color(), line.get_marker()) for line in left.lines}) == 3
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[10, 2], [20, 1], [30, 2 / 3]])
    np.testing.assert_allclose(
        right.lines[0].get_xdata(), np.array([1, 2, 3]) * 100 * 300
    )  # epochs, events, operations
    assert right.get_xlabel() == "floating-point operations in training"


def test_a_model_looks_the_same_in_all_figures_of_a_page(folders: list[Path], trainings: list[Training]) -> None:
    order = ("another", "mlp-global", "pet2-small", "pet2-small, random weights", "pet2-small, frozen, from jets")
    (scene,) = (replace(scene, order=order) for scene in scenes(load_energies(folders)))
    drawn = errorbars(cloud_figures.energy_spread(scene).axes[0])
    assert drawn["mlp-global"].lines[0].get_color() == run_look(1)["color"]
    assert drawn["pet2-small"].lines[0].get_color() == run_look(2)["color"]
    lines = cloud_figures.loss_by_compute(trainings, order).axes[0].lines
    assert {line.get_color() for line in lines} == {run_look(place)["color"] for place in (1, 3, 4)}


def test_losses_on_other_events_are_another_figure(trainings: list[Training]) -> None:
    other = replace(
        trainings[0], record=trainings[0].record | {"data": {"fingerprint": "0" * 64, "events": {"train": {}}}}
    )
    assert list(cloud_figures.with_cost([*trainings, other])) == [
        "pion, training data ffffffff", "pion, training data 00000000"
    ]  # fmt: skip


def test_gates_are_named_and_the_significant_ones_marked(folders: list[Path]) -> None:
    found = clouds.with_physics(load_evaluations(folders[:1]))
    low = {"quantity": "q3", "low": 0.0, "high": 0.6, "significant": True}
    high = {"quantity": "W", "low": 3.0, "high": 100.0, "significant": False}
    found[0][1]["cc_1pi0"]["gates_failed"] = [low, low | {"low": 0.6, "high": 1.2, "significant": False}, high]
    rows = dict(clouds.signal_rows(found))
    cells = dict(zip(clouds.SIGNAL_COLUMNS, rows["CC 1π0"][0][1], strict=True))
    assert cells["gates failed"] == "q3 0 to 0.6†, 0.6 to 1.2; W 3 on"
    del low["significant"]  # of an evaluation that noted significant ones only
    assert dict(clouds.signal_rows(found))["CC 1π0"][0][1][3] == "q3 0 to 0.6†, 0.6 to 1.2; W 3 on"


def test_coverage_has_a_column_for_every_bin(folders: list[Path]) -> None:
    energies = load_energies(folders)
    headings, rows = clouds.coverage_table(energies)
    assert headings == [
        *("wanted", "held, all events", "q3 0 to 0.6", "q3 0.6 to 1.2", "q3 1.2 to 1.8", "q3 1.8 to 2.4"),
        *("q3 2.4 to 3", "q3 from 3 GeV on"),
    ]
    of = energies[0].metrics["intervals"]
    assert rows[0][1][0] == "0.9"
    assert [cell.split()[0] for cell in rows[0][1][1:]] == [f"{b['coverage']:.3f}" for b in (of, *of["by_q3"])]
    assert clouds.coverage_table([]) == ([], [])


def test_the_page_shows_all_of_it_and_says_what_the_events_are(
    folders: list[Path], made_up: ModuleType, tmp_path: Path
) -> None:
    other = made_up.record(made_up.training("mlp-global", 1), store="other.h5")
    more = [made_up.write_pions(tmp_path / "more", other, *made_up.pions(600, seed=9, model="mlp-global-1"))]
    page = make_report([*folders[:2], *more], tmp_path / "report")
    names = {p.stem for p in (tmp_path / "report" / "figures").glob("*.png")}
    expected = {
        "efficiency-cc_1pi_charged",
        "efficiency-cc_npi_charged",
        "efficiency-cc_1pi0",
        "signal-roc",
        "pi0-window",
    }
    assert names >= expected | {f"{name}-2" for name in expected}
    assert names >= {"energy-spread", "energy-multiplicity", "energy-histograms"}
    text, tables = page.read_text(encoding="utf-8"), (tmp_path / "report" / "results.md").read_text(encoding="utf-8")
    for needed in (
        STAND_IN,
        "†: significantly",
        "q3 from 3 GeV on",
        "Efficiency for CC 1π0 (other.h5)",
        "recoil x fitted scale",
    ):
        assert needed in text, needed
    assert STAND_IN in tables
    assert "| conformal intervals | wanted |" in tables
    assert STAND_IN in json.loads((folders[0] / "metrics.json").read_text())["remarks"]


def test_nothing_is_said_of_a_stand_in_that_is_none(made_up: ModuleType, tmp_path: Path) -> None:
    about = made_up.record(made_up.training("mlp-global", 1), made={"stage": "ingest"})
    made_up.write_energies(tmp_path / "e", about, *made_up.energies(300))
    page = make_report([tmp_path / "e"], tmp_path / "report")
    assert "stand-in" not in page.read_text(encoding="utf-8")
    assert "stand-in" not in (tmp_path / "report" / "results.md").read_text(encoding="utf-8")
