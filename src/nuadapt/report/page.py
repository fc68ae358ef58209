"""One self-contained page of results from evaluation folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from nuadapt import __version__
from nuadapt.errors import DataError, InputFileError, OutputError
from nuadapt.report import clouds, figures, transfer
from nuadapt.report.event_display import draw_event
from nuadapt.report.explanations import (
    HABIT_COLUMNS,
    SCORE_COLUMNS,
    Reason,
    Reasons,
    evidence_on_card,
    gallery_note,
    reason_on_card,
    reasons_of,
)
from nuadapt.report.loading import (
    EnergyEvaluation,
    Evaluation,
    Training,
    file_name,
    load_energies,
    load_evaluations,
    load_trainings,
    published,
)
from nuadapt.report.physics import physics_section
from nuadapt.report.style import RUN_LOOKS, Picture, colour, embedded, picture, save, title
from nuadapt.report.tables import (
    CLASS_COLUMNS,
    RESOLUTION_COLUMNS,
    RUN_COLUMNS,
    Row,
    class_rows,
    metrics_markdown,
    resolution_rows,
    run_groups,
    set_columns,
    set_rows,
)

_OUTPUTS = {"index.html", "results.md", "figures"}
_MARK = '<meta name="generator" content="nuadapt report">'


@dataclass(frozen=True, slots=True)
class EventCard:
    """An event of the gallery on the page."""

    verdict: str  # right, wrong, unknown: chooses the colour
    verdict_word: str
    words: str
    bars: list[tuple[str, float, str, bool]]  # class, probability, colour, is the label
    caption: str
    image: str
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class RunSection:
    """All about one evaluation."""

    name: str
    slug: str
    facts: list[tuple[str, str]]
    remarks: list[str]
    class_rows: list[Row]
    set_headings: list[str]
    set_rows: list[Row]
    set_words: str
    wide: list[Picture]
    figures: list[Picture]
    reasons: Reasons | None
    evidence: list[Picture]
    gallery: list[EventCard]
    gallery_note: str
    record: str


def make_report(
    evaluations: Sequence[Path],
    out: Path,
    *,
    title: str = "nuadapt results",
    extra_figures: Sequence[tuple[str, str, Path]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``out``/index.html, ``out``/results.md and ``out``/figures; gives the page.

    ``evaluations`` are folders made by ``nuadapt evaluate``, or folders that hold such. Of run folders among them the
    training is shown too. ``extra_figures`` are
    (title, caption, PNG) shown in a section of their own. An earlier report in ``out`` is replaced.

    Raises:
        InputFileError: a folder without evaluation, a damaged file, a missing extra figure.
        OutputError: ``out`` holds something else, or is not writable.
    """
    if not evaluations:
        raise DataError("no evaluation to report on", next_step="Give at least one folder made by 'nuadapt evaluate'")
    loaded, trainings = load_evaluations(evaluations), load_trainings(evaluations)
    energies = load_energies(evaluations)
    if not loaded and not energies:
        raise DataError("run folders alone hold no results", next_step="Give also a folder made by 'nuadapt evaluate'")
    _check_place(out)
    extra = [_extra(*given) for given in extra_figures]
    sections = []
    for index, evaluation in enumerate(loaded):
        sections.append(_section(evaluation, out / "figures"))
        if progress is not None:
            progress(index + 1, len(loaded))
    page = (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            lead=_lead([*loaded, *energies]),
            runs=sections,
            groups=run_groups(loaded),
            headings=[h for h, _ in RUN_COLUMNS.values()],
            class_headings=list(CLASS_COLUMNS.values()),
            published=published(),
            resolution_headings=RESOLUTION_COLUMNS,
            resolution_rows=resolution_rows(loaded),
            score_headings=SCORE_COLUMNS,
            habit_headings=HABIT_COLUMNS,
            trainings=[_training(t, out / "figures") for t in trainings],
            comparison=_comparison(loaded, out / "figures"),
            sees_images=any(e.sees_images for e in loaded),
            physics=physics_section(loaded, energies, trainings, out / "figures"),
            signal_headings=clouds.SIGNAL_COLUMNS,
            energy_headings=clouds.ENERGY_COLUMNS,
            gates=clouds.GATES,
            transfer_headings=transfer.COLUMNS,
            extra=extra,
            definitions=_definitions(loaded),
            version=__version__,
        )
    )
    _write(out / "results.md", _markdown(title, loaded, energies))
    return _write(out / "index.html", page)


def _markdown(heading: str, loaded: Sequence[Evaluation], energies: Sequence[EnergyEvaluation]) -> str:
    """The tables of the page in Markdown, with what must be known of the events."""
    words = clouds.stand_in([*loaded, *energies])
    about = f"{words}\n\n" if words else ""
    return f"# {heading}\n\n{about}{metrics_markdown(loaded)}{clouds.markdown(loaded, energies)}"


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("nuadapt.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _check_place(out: Path) -> None:
    """Only an empty place or an earlier report, finished or not, may be written to."""
    names = {p.name for p in out.iterdir()} if out.is_dir() else set()
    page = out / "index.html"
    ours = not page.exists() or _MARK in page.read_text(encoding="utf-8", errors="replace")[:4000]
    if (out.exists() and not out.is_dir()) or not names <= _OUTPUTS or not ours:
        raise OutputError("this place is not empty and holds no report", where=out, next_step="Choose another folder")


def _write(place: Path, text: str) -> Path:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=place) from error
    return place


def _extra(heading: str, caption: str, png: Path) -> Picture:
    try:
        content = Path(png).read_bytes()
    except OSError as error:
        raise InputFileError(f"cannot read this figure ({error})", where=png) from error
    if not content.startswith(b"\x89PNG"):
        raise InputFileError("this figure is not a PNG", where=png)
    return Picture(heading, caption, embedded(content))


def _lead(loaded: Sequence[Evaluation | EnergyEvaluation]) -> str:
    models = len({e.metrics["model"] for e in loaded})
    files = sorted({str(e.record.get("data", {}).get("file", "unknown data")) for e in loaded})
    events = sorted({int(e.metrics["n_predictions"]) for e in loaded})
    return (
        f"{len(loaded)} evaluation{'s' * (len(loaded) > 1)} of {models} model{'s' * (models > 1)} on "
        f"{' and '.join(f'{n} events' for n in events)} of {', '.join(files)}."
        f" {clouds.stand_in(loaded)}".rstrip()
    )


def _training(run: Training, place: Path) -> Picture:
    name = f"training-{file_name(run.name)}"
    wall = run.record.get("not_reproducible", {}).get("wall_time_s")
    counts = run.record.get("parameters")
    total = counts.get("total") if isinstance(counts, dict) else counts
    words = f"{total} parameters; " if total is not None else ""
    words += f"{wall / 3600:.2f} h; " if wall else ""
    return picture(figures.training(run), place / name, run.name, f"{words}weights of the marked epoch were kept.")


def _comparison(loaded: Sequence[Evaluation], place: Path) -> list[Picture]:
    """Accuracy against energy and by mode: those who were asked about the same events, in figures of their own."""
    found, groups = [], _compared([e for e in loaded if e.has_truth])
    for name, group in groups.items():
        of, ending = (f": {name}", "-" + file_name(name)) if len(groups) > 1 else ("", "")
        if any(b["low"] is not None for e in group for b in e.metrics["by_energy"]):
            words = (
                "Share of event weight with the right label in bins of true energy, drawn at the mean energy of the bin"
            )
            figure = figures.accuracy_by_energy(group)
            found.append(picture(figure, place / f"accuracy-energy{ending}", f"Accuracy and energy{of}", f"{words}."))
        if any(e.metrics["by_mode"] for e in group):
            words = "The same by interaction mode; below each mode its number of events."
            figure = figures.accuracy_by_mode(group)
            found.append(picture(figure, place / f"accuracy-mode{ending}", f"Accuracy and mode{of}", words))
    return found


def _compared(scored: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Evaluations that one figure can show, by what they have in common: the events, and if many the resolution."""
    by_events: dict[str, list[Evaluation]] = {}
    for evaluation in scored:
        by_events.setdefault(str(evaluation.record.get("data", {}).get("file", "unknown data")), []).append(evaluation)
    found: dict[str, list[Evaluation]] = {}
    for name, group in by_events.items():
        for evaluation in group:
            of = name if len(group) <= len(RUN_LOOKS) else f"{name}, {evaluation.resolution}"
            part, wanted = 1, of
            while len(found.get(wanted, ())) == len(RUN_LOOKS):
                part += 1
                wanted = f"{of}, {part}"
            found.setdefault(wanted, []).append(evaluation)
    return found


def _section(evaluation: Evaluation, place: Path) -> RunSection:
    slug = evaluation.slug
    return RunSection(
        name=evaluation.name,
        slug=slug,
        facts=_facts(evaluation),
        remarks=_remarks(evaluation),
        class_rows=class_rows(evaluation) if evaluation.has_truth else [],
        set_headings=set_columns(evaluation),
        set_rows=set_rows(evaluation),
        set_words=_set_words(evaluation),
        wide=_wide_figures(evaluation, place / slug) if evaluation.has_truth else [],
        figures=_narrow_figures(evaluation, place / slug) if evaluation.has_truth else [],
        reasons=reasons_of(evaluation),
        evidence=_evidence_figures(evaluation, place / slug),
        gallery=_cards(evaluation, place / slug / "events"),
        gallery_note=gallery_note(evaluation),
        record=json.dumps(evaluation.record, indent=1),
    )


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What was evaluated, as pairs of words."""
    metrics, data = evaluation.metrics, evaluation.record.get("data", {})
    config = evaluation.record.get("config", {})
    spec = data.get("layout", {}).get("map_spec") or {}
    stage = data.get("record", {}).get("stage", "unknown origin")
    counts = ", ".join(f"{title(c)} {metrics['per_class'][c]['n_events']}" for c in evaluation.classes)
    facts = [
        ("data", f"{data.get('file', '?')} ({stage}), split {config.get('split', '?')}"),
        ("events", f"{metrics['n_predictions']} predicted, {metrics['n_events']} scored ({counts})"),
        ("resolution", evaluation.resolution),
        ("fingerprint", str(data.get("key_fingerprint", "?"))[:16]),
    ]
    if calibration := evaluation.record.get("model", {}).get("calibration"):
        words = f"temperature {calibration['temperature']:.3f} from {calibration['n_events']} events, sets from"
        origin = f"of {calibration['data']['file']}, split {calibration['data']['split']}"
        facts.append(("calibration", f"{words} {calibration['conformal']['n_events']} others {origin}"))
    if spec:
        pitch = " x ".join(f"{p:g}" for p in spec["pitch"])
        shape = " x ".join(str(s) for s in spec["shape"])
        facts.insert(
            2, ("stored maps", f"views {', '.join(spec['views'])}, {shape} pixels of {pitch} {spec['axis_unit']}")
        )
    effective = metrics["effective_events"]
    if metrics["n_events"] and abs(effective - metrics["n_events"]) > 1e-6 * metrics["n_events"]:
        facts.append(("weighted", f"sum of weights {metrics['sum_of_weights']:.6g}, {effective:.1f} effective events"))
    return facts


def _remarks(evaluation: Evaluation) -> list[str]:
    metrics = evaluation.metrics
    remarks = [metrics["note"]] if metrics.get("note") else []
    remarks += metrics.get("remarks", [])
    if metrics["n_without_label"] and metrics["n_events"]:
        remarks.append(f"{metrics['n_without_label']} events belong to none of the classes and are not scored.")
    if not evaluation.record.get("data", {}).get("complete", True):
        remarks.append("The store was not finished by its writer: these are the events that it holds.")
    if not metrics.get("independent_of_calibration", True):
        remarks.append("The calibration was fitted on some of these events: its errors and coverage flatter it.")
    return remarks + [f"Undefined: {reason}." for reason in metrics["undefined"] if metrics["n_events"]]


def _set_words(evaluation: Evaluation) -> str:
    """What the conformal sets promise."""
    found = evaluation.metrics.get("conformal")
    if found is None:
        return ""
    return (
        f"A set of classes for each event ({found['score'].upper()}), wanted to hold the true class for "
        f"{100 * found['coverage_wanted']:g}% of events; because they were fitted on finitely many events, "
        f"± {100 * found['coverage_spread']:.1f}% are expected around it. The promise is for all events together, not "
        "for each class. Other columns: shares of events by the number of classes in the set."
    )


def _wide_figures(evaluation: Evaluation, place: Path) -> list[Picture]:
    words = "large: share of event weight, small: number of events"
    found = [
        picture(
            figures.confusion(evaluation),
            place / "confusion",
            "Confusion",
            f"Each row or column adds up to 1; {words}.",
        ),
        picture(
            figures.roc(evaluation),
            place / "roc",
            "ROC",
            "Each class against the rest, by its probability; the right panel shows the same curves as rejection.",
        ),
    ]
    if evaluation.curves:
        found.append(
            picture(
                figures.scores(evaluation),
                place / "scores",
                "Class probabilities",
                "Distribution of each probability for the events of each true class, normalised to one.",
            )
        )
    return found


def _narrow_figures(evaluation: Evaluation, place: Path) -> list[Picture]:
    found = []
    if evaluation.metrics["reliability"]:
        words = "Below: share of event weight per bin. Above the diagonal the model is right more often than it says."
        words += " Red: before calibration." if "uncalibrated" in evaluation.metrics else ""
        found.append(picture(figures.reliability(evaluation), place / "reliability", "Reliability", words))
    if any(b["low"] is not None for b in evaluation.metrics["by_energy"]):
        words = "Share of each true class that gets the right label."
        found.append(picture(figures.recall_by_energy(evaluation), place / "recall-energy", "Recall and energy", words))
    return found


def _evidence_figures(evaluation: Evaluation, place: Path) -> list[Picture]:
    numbers = evaluation.metrics.get("evidence")
    if numbers is None:
        return []
    words = (
        f"{numbers['definition'][0].upper()}{numbers['definition'][1:]}. Evidence that matters falls faster than the "
        "random order when pixels are taken away, and rises faster when they are put back; evidence no better than "
        "the brightest pixels says no more than the image."
    )
    return [picture(figures.evidence(evaluation), place / "evidence", "Pixel evidence", words)]


def _cards(evaluation: Evaluation, place: Path) -> list[EventCard]:
    gallery = evaluation.gallery
    if gallery is None:
        return []
    explained = evaluation.explained
    maps = gallery.maps if explained is None else gallery.maps.coarsen(explained.coarsen)
    cards = []
    for index, event in enumerate(gallery.events):
        figure = draw_event(
            maps.dense(index),
            maps.spec,
            origin=maps.origin[index],
            vertex=event["vertex"],
            evidence=evidence_on_card(evaluation, index),
        )
        png = save(figure, place / f"event-{index + 1:02d}")
        cards.append(_card(event, embedded(png.read_bytes()), reason_on_card(evaluation, index)))
    return cards


def _card(event: dict[str, Any], image: str, reason: Reason | None) -> EventCard:
    truth, label = event["truth"], event["label"]
    verdict = "unknown" if truth is None else "right" if truth == label else "wrong"
    said = f"prediction {title(label)} ({event['probability'][label]:.2f})"
    words = said if truth is None else f"truth {title(truth)}, {said}"
    facts = [f"{event['nu_energy']:.2f} GeV"] if event["nu_energy"] is not None else []
    facts += [event["mode"]] if event["mode"] != "UNKNOWN" else []
    source, run, subrun, number = event["key"]
    facts += [f"{Path(source).name} {run}/{subrun}/{number}", event["reason"]]
    bars = [(title(n), p, colour(n, i), n == label) for i, (n, p) in enumerate(event["probability"].items())]
    return EventCard(
        verdict, verdict if truth is not None else "no truth", words, bars, ", ".join(facts), image, reason
    )


def _definitions(loaded: Sequence[Evaluation]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for evaluation in loaded:
        found |= evaluation.metrics.get("definitions", {})
        found |= {k: str(v) for k, v in evaluation.metrics.get("not_reproducible", {}).items()}
        found |= {f"{k} (reasons)": str(v) for k, v in (evaluation.faithfulness or {}).get("definitions", {}).items()}
    return list(found.items())
