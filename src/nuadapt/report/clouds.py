"""What the page says in tables of models of particle clouds: selections beside the cuts, energies beside the
calorimeter, and what the intervals of energies hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nuadapt.evaluation.stand_in import STAND_IN, is_stand_in
from nuadapt.record import read_json
from nuadapt.report import transfer
from nuadapt.report.cloud_figures import ESTIMATES
from nuadapt.report.lines import AnyEvaluation, Scene, adaptation, scenes, settings_of, training_of
from nuadapt.report.loading import EnergyEvaluation, Evaluation
from nuadapt.report.style import title

SIGNAL_COLUMNS = ("purity of the cuts", "their efficiency", "model at their background", "gates failed", "AUPRC")
ENERGY_COLUMNS = (
    *("events", "median of estimate / truth", "interquartile range", "most probable value", "gates failed (q3)"),
)
GATES = (
    "A gate fails in a bin of a true quantity where the model is below the cuts, or where its energies spread more "
    "than the calorimeter's with the fitted scale. †: significantly, by the model's whole 95% interval."
)
Rows = list[tuple[str, list[str]]]


def stand_in(evaluations: Sequence[AnyEvaluation]) -> str:
    """The sentence that some of the events are a stand-in for an experiment's; empty if none are."""
    made = (e.record.get("data", {}).get("record", {}) for e in evaluations)
    return STAND_IN if any(is_stand_in(record) for record in made) else ""


def with_physics(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, dict[str, Any]]]:
    """Evaluations that were compared with cut-based selections, with the content of physics.json."""
    return [(e, dict(read_json(e.path / "physics.json"))) for e in evaluations if (e.path / "physics.json").is_file()]


def signal_rows(found: Sequence[tuple[Evaluation, dict[str, Any]]]) -> list[tuple[str, Rows]]:
    """By signal, and by events if there are several: a row per evaluation with the SIGNAL_COLUMNS."""
    physics = {e.path: of for e, of in found}
    groups = []
    for scene in scenes([e for e, _ in found]):
        for signal in dict.fromkeys(name for e in scene.members for name in physics[e.path]):
            mine = [e for e in scene.members if physics[e.path].get(signal)]
            rows = [(_name(e), _signal_cells(physics[e.path][signal])) for e in mine]
            if rows:
                groups.append((", ".join(filter(None, (title(signal), scene.name))), rows))
    return groups


def _name(evaluation: AnyEvaluation) -> str:
    """The model, with how it was pretrained."""
    how = adaptation(settings_of(training_of(evaluation), ""))
    return f"{evaluation.name} ({how})" if how else evaluation.name


def _signal_cells(of: Mapping[str, Any]) -> list[str]:
    return [
        _number(of["cuts"]["purity"]),
        _number(of["cuts"]["efficiency"]),
        _number(of["model"]["efficiency"]),
        _gates(of["gates_failed"]),
        f"{_number(of['average_precision'])} (random {_number(of['random_precision'])})",
    ]


def _gates(failed: Sequence[Mapping[str, Any]] | None) -> str:
    """Bins of failed gates, those that fail significantly marked; a dash where none were looked at."""
    if failed is None:
        return "–"
    bins: dict[str, list[str]] = {}
    for gate in failed:
        upper = f"to {gate['high']:.3g}" if gate["high"] < 50 else "on"
        mark = "†" if gate.get("significant", True) else ""  # earlier, only such were noted
        bins.setdefault(gate["quantity"].replace("_", " "), []).append(f"{gate['low']:.3g} {upper}{mark}")
    return "; ".join(f"{quantity} {', '.join(of)}" for quantity, of in bins.items()) or "none"


def energy_rows(evaluations: Sequence[EnergyEvaluation]) -> Rows:
    """A row per model, and for the events of each scene one per calorimetric estimate, with the ENERGY_COLUMNS."""
    rows: Rows = []
    for scene in scenes(evaluations):
        for e in scene.members:
            failed = _gates(e.metrics.get("gates_failed"))
            rows.append((_name(e), [*_energy_cells(e.metrics["estimates"]["model"]["all"]), failed]))
        others = scene.members[0].metrics["estimates"]
        rows += [
            (
                ", ".join(filter(None, (f"{words} ({others[name]['scale']:.3f})", scene.name))),
                [*_energy_cells(others[name]["all"]), ""],
            )
            for name, words in ESTIMATES.items()
            if name in others
        ]
    return rows


def _energy_cells(of: Mapping[str, Any]) -> list[str]:
    low, high = of["iqr_interval"]
    interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return [str(of["n_events"]), _number(of["median"]), _number(of["iqr"]) + interval, _number(of["most_probable"])]


def coverage_table(evaluations: Sequence[EnergyEvaluation]) -> tuple[list[str], Rows]:
    """Headings and rows of what the conformal intervals of each model hold, in all and in bins of true q3."""
    known = [e for e in evaluations if e.metrics.get("intervals")]
    if not known:
        return [], []
    bins = known[0].metrics["intervals"]["by_q3"]
    limits = [f"q3 {b['low']:g} to {b['high']:g}" if b["high"] < 50 else f"q3 from {b['low']:g} GeV on" for b in bins]
    rows = []
    for e in known:
        of = e.metrics["intervals"]
        rows.append((_name(e), [f"{of['level']:g}", *(_coverage(row) for row in (of, *of["by_q3"]))]))
    return ["wanted", "held, all events", *limits], rows


def _coverage(row: Mapping[str, Any]) -> str:
    if row["coverage"] is None:
        return "–"
    low, high = row["interval"]
    return f"{row['coverage']:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def markdown(loaded: Sequence[Evaluation], energies: Sequence[EnergyEvaluation]) -> str:
    """The tables of this module in Markdown; empty without any."""
    found, scored = with_physics(loaded), [e for e in energies if "estimates" in e.metrics]
    arms = transfer.arms_of(found)
    compared = {arm.evaluation.path for arm in arms}
    text = ""
    if groups := signal_rows([(e, physics) for e, physics in found if e.path not in compared]):
        rows = [[signal, model, *cells] for signal, of in groups for model, cells in of]
        text += "\n" + _table(("signal", "model", *SIGNAL_COLUMNS), rows)
    if rows := [[name, *cells] for name, cells in energy_rows(scored)]:
        text += "\n" + _table(("estimate", *ENERGY_COLUMNS), rows)
    text += f"\n{GATES}\n" if text else ""
    headings, held = coverage_table(scored)
    if held:
        text += "\n" + _table(("conformal intervals", *headings), [[name, *cells] for name, cells in held])
    if rows := [[name, *cells] for name, cells in transfer.rows(arms)]:
        text += "\n" + _table(("pretraining", *transfer.COLUMNS), rows)
    return text


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def named(words: str, scene: Scene[Any]) -> str:
    """Words with the events of a scene, if there are several."""
    return f"{words} ({scene.name})" if scene.name else words
