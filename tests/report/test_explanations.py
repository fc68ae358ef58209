"""Explanations on the page: scores beside their controls, reasons with their claims, evidence over the events."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nuadapt.errors import InputFileError
from nuadapt.evaluation import evaluate as evaluation_module
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.evaluate import EvaluationConfig, evaluate_model
from nuadapt.evaluation.explain.faithfulness import compare_controls
from nuadapt.evaluation.explain.files import CURVES, EVIDENCE, EXPLAINED, FAITHFULNESS, Explained, write_explained
from nuadapt.evaluation.gallery import choose, read_gallery
from nuadapt.evaluation.npz import write_npz
from nuadapt.evaluation.predict import PredictConfig
from nuadapt.models.reasons.claims import CLAIM_TYPES, Claims, Presence, ShowerGap
from nuadapt.record import write_json
from nuadapt.report.explanations import CLAIM_TITLES, VERDICTS, reason_on_card, reasons_of
from nuadapt.report.loading import load_evaluation, load_evaluations
from nuadapt.report.page import make_report
from nuadapt.report.tables import resolution_rows

YES, NO = Presence.PRESENT, Presence.ABSENT
CLAIMS = [
    {"claim": "shower", "value": "present", "verdict": "supported"},
    {"claim": "muon_track", "value": "absent", "verdict": "contradicted"},
    {"claim": "michel", "value": "absent", "verdict": "undecided"},
]


def scores() -> dict[str, Any]:
    """Two events: the shower right twice, its gap once of twice; the shuffled control wrong, the forced one silent."""
    electron = Claims(shower=YES, shower_gap=ShowerGap.ATTACHED)
    photon = Claims(shower=YES, shower_gap=ShowerGap.DISPLACED)
    run, shuffled, forced = [electron, electron], [Claims(shower=NO)] * 2, [Claims()] * 2
    found = compare_controls(run, shuffled, forced, [electron, photon], ["nue_cc", "nc"], ["nc", "numu_cc"])
    example = {"event": 3, "label": "nue_cc", "truth": None, "forced": "nc"}
    said = {"run": "A <bright> shower.", "shuffled_images": "Nothing.", "forced_label": "A gap."}
    head = {"n_events": 2, "checked_against": "visible truth", "definitions": {"recall": "share found"}}
    return {**head, **found, "examples": [{**example, **said}]}


def evidence_files(folder: Path) -> None:
    """A test of evidence with straight curves."""
    share = np.linspace(0, 1, 3)
    numbers: dict[str, Any] = {
        "definition": "probability while pixels go",
        "n_events": 2,
        "config": {"bootstrap": {"level": 0.9}},
    }
    curves = {"evidence_share": share}
    for curve in ("deletion", "insertion"):
        numbers[curve] = {order: {"area": 0.5} for order in ("gradient", "random")}
        curves |= {f"evidence_{curve}_{order}": np.column_stack([share] * 3) for order in numbers[curve]}
    write_npz(folder / CURVES, curves)
    write_json(folder / EVIDENCE, numbers)


def explained_gallery(folder: Path, coarsen: int) -> None:
    """Evidence where there is charge, and the same reason for every event but the last, which has none."""
    gallery = read_gallery(folder / "gallery.npz")
    maps = gallery.maps.coarsen(coarsen)
    evidence = np.stack([np.sign(maps.dense(i)) * 0.1 for i in range(len(maps))]).astype(np.float32)
    events: list[dict[str, Any]] = [{"key": e["key"], "target": e["label"]} for e in gallery.events]
    for event in events[:-1]:
        event |= {"reason": "A shower & no track.", "claims": CLAIMS, "contradicts_label": True}
    write_explained(folder / EXPLAINED, Explained(evidence, coarsen, events, "visible truth"))


@pytest.fixture(scope="module")
def evaluations(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An explained evaluation at full resolution and a plain one at half."""
    base = tmp_path_factory.mktemp("evaluations")
    store = synthetic.make_store(base / "d.h5", 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "choose", lambda table: choose(table)[:2])  # few pictures: they take time
        for factor in (1, 2):
            config = EvaluationConfig(bootstrap=BootstrapConfig(resamples=10), predict=PredictConfig(factor))
            evaluate_model(synthetic.ToyModel(), store, base / f"e{factor}", config)
    write_json(base / "e1" / FAITHFULNESS, scores())
    evidence_files(base / "e1")
    explained_gallery(base / "e1", coarsen=2)
    return [base / "e1", base / "e2"]


def test_the_page_shows_scores_reasons_and_evidence(evaluations: list[Path], tmp_path: Path) -> None:
    page = make_report(evaluations, tmp_path / "r")
    text = page.read_text(encoding="utf-8")
    assert text.count("<h3>Explanations</h3>") == 1  # the other evaluation has none
    for needed in (
        *("precision, images shuffled", "gap before the shower", "contradict their label", "Wilson"),
        *("A &lt;bright&gt; shower.", "A gap. (forced: Neutral Current)", "share found"),
        *("“A shower &amp; no track.”", "These claims speak against", "✓ supported, ✗ contradicted, ? undecided"),
        "Probability while pixels go.",
        "Lower resolution beside full",
    ):
        assert needed in text, needed
    marks = re.findall(r'<li title="(\w+)"><span class="mark (\w+)">(.)</span>([^<]+)</li>', text)
    assert marks == [
        ("supported", "supported", "✓", "shower: present"),
        ("contradicted", "contradicted", "✗", "muon-like track: absent"),
        ("undecided", "undecided", "?", "Michel electron: absent"),
    ]
    assert (page.parent / "figures" / "toy" / "evidence.pdf").is_file()


def test_scores_stand_beside_their_controls(evaluations: list[Path]) -> None:
    found = reasons_of(load_evaluation(evaluations[0]))
    assert found is not None
    cells = {row.name: [c.text for c in row.cells] for row in found.score_rows}
    assert list(cells) == ["shower", "gap before the shower", "all claims"]
    assert cells["shower"] == ["1.000", "1.000", "1.000", "0.000", "–"]
    assert cells["gap before the shower"] == ["0.500", "0.500", "0.500", "–", "–"]
    assert cells["all claims"][:2] == ["0.750", "0.750"]
    assert found.score_rows[1].cells[0].interval == "0.095 – 0.905"  # Wilson for one of two
    habits = {row.name: [c.text for c in row.cells] for row in found.habit_rows}
    assert habits["as asked"] == ["1.000", "2.00", "0.500", "0.000", "0.000"]
    assert habits["label forced"][:3] == ["0.000", "0.00", "–"]
    assert found.examples == [
        ["unknown", "NuE CC", "A <bright> shower.", "Nothing.", "A gap. (forced: Neutral Current)"]
    ]
    assert reasons_of(load_evaluation(evaluations[1])) is None


def test_every_claim_and_verdict_has_its_words(evaluations: list[Path]) -> None:
    assert set(CLAIM_TITLES) == set(CLAIM_TYPES)
    assert len({mark for mark, _ in VERDICTS.values()}) == len(VERDICTS)
    loaded = load_evaluation(evaluations[0])
    assert reason_on_card(loaded, 0) is not None
    assert reason_on_card(loaded, 1) is None


def test_resolutions_are_paired_by_model_and_events(evaluations: list[Path]) -> None:
    full, half = loaded = load_evaluations(evaluations)
    row, *published = resolution_rows(loaded)
    assert row.name == "toy, half resolution"
    loss = full.metrics["accuracy"] - half.metrics["accuracy"]
    assert [c.text for c in row.cells[:3]] == [
        f"{x:.3f}" for x in (full.metrics["accuracy"], half.metrics["accuracy"], loss)
    ]
    assert row.cells[1].interval
    assert all(r.published for r in published)
    assert [c.text for c in published[0].cells] == ["0.87", "0.85", "0.02", "0.96", "0.95"]
    half.record["data"]["key_fingerprint"] = "other events"
    assert resolution_rows([full, half]) == resolution_rows([half]) == []


def test_damaged_explanations_are_refused(evaluations: list[Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(evaluations[0], tmp_path / "e"))
    gallery = json.loads(str(np.load(folder / EXPLAINED)["about"]))
    gallery["events"][0]["key"][3] += 1
    np.savez(folder / EXPLAINED, evidence=np.load(folder / EXPLAINED)["evidence"], about=np.array(json.dumps(gallery)))
    with pytest.raises(InputFileError, match="not those of the gallery"):
        load_evaluation(folder)
    (folder / EXPLAINED).unlink()
    (folder / FAITHFULNESS).write_text("[]")
    with pytest.raises(InputFileError, match="not the scores of reasons"):
        load_evaluation(folder)
