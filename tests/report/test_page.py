"""The page: complete, self-contained, and made from result files alone."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from nuadapt.errors import DataError, InputFileError, OutputError
from nuadapt.evaluation import evaluate as evaluation_module
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.calibrate import calibrate_model
from nuadapt.evaluation.evaluate import EvaluationConfig, evaluate_model
from nuadapt.evaluation.gallery import choose
from nuadapt.evaluation.predict import PredictConfig
from nuadapt.report.figures import reliability as draw_reliability
from nuadapt.report.figures import training as draw_training
from nuadapt.report.loading import Evaluation, load_evaluations, load_trainings, published
from nuadapt.report.page import _compared, make_report
from nuadapt.report.tables import RUN_COLUMNS, Cell, cell, checks_markdown, metrics_markdown, run_groups, set_rows

FEW = BootstrapConfig(resamples=10)


@pytest.fixture(scope="module")
def evaluations(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("evaluations")
    store = synthetic.make_store(base / "d.h5", 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "choose", lambda table: choose(table)[::4])  # few pictures: they take time
        for factor in (1, 2):
            config = EvaluationConfig(bootstrap=FEW, predict=PredictConfig(coarsen=factor))
            evaluate_model(synthetic.ToyModel(id="toy <&> model"), store, base / f"e{factor}", config)
    return [base / "e1", base / "e2"]


@pytest.fixture(scope="module")
def page(evaluations: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report"
    figure = evaluations[0].parent / "extra.png"
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    figure.write_bytes(base64.b64decode(png))
    return make_report(evaluations, out, title="A & B", extra_figures=[("Others", "Real events.", figure)])


class Tags(HTMLParser):
    """Collects addresses and open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "poster")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_outside(page: Path) -> None:
    text, tags = page.read_text(encoding="utf-8"), Tags()
    tags.feed(text)
    assert not tags.open
    assert len(tags.addresses) > 20
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in tags.addresses)
    assert not re.search(r"@import|url\(|<script|<link", text)
    anchors = {a[1:] for a in tags.addresses if a.startswith("#")}
    assert all(f'id="{a}"' in text for a in anchors)


def test_the_page_says_what_it_must(page: Path, evaluations: list[Path]) -> None:
    text = page.read_text(encoding="utf-8")
    metrics = json.loads((evaluations[0] / "metrics.json").read_text())
    low, high = metrics["intervals"]["accuracy"]
    for needed in (
        *(
            "A &amp; B",
            "toy &lt;&amp;&gt; model",
            "published, another dataset: arXiv:2509.08461",
            "Others",
            "Real events.",
        ),
        *("full resolution", "half resolution", "Llama 3.2 Vision 11B", "Confusion", "ROC", "Reliability"),
        *(f"{metrics['accuracy']:.3f}", f"{low:.3f} – {high:.3f}", "0.87", "truth Neutral Current"),
    ):
        assert needed in text, needed
    assert "<&> model" not in text


def test_a_calibrated_evaluation_shows_both_errors_and_its_sets(
    synthetic: ModuleType, evaluations: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_module, "choose", lambda table: choose(table)[:1])
    model, store = synthetic.ToyModel(id="cal", sharpness=2.0), evaluations[0].parent / "d.h5"
    calibration = calibrate_model(model, store, EvaluationConfig(split="all"), 0.8, "lac")
    evaluate_model(model, store, tmp_path / "e", EvaluationConfig(bootstrap=FEW), calibration=calibration)
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    text = make_report([tmp_path / "e", evaluations[0]], tmp_path / "r").read_text(encoding="utf-8")
    found = metrics["conformal"]
    for needed in (
        "Conformal sets",
        "wanted to hold the true class for 80% of events",
        f"{found['coverage']:.3f}",
        f"{found['interval'][0]:.3f} – {found['interval'][1]:.3f}",
        f"{found['mean_size']:.2f}",
        f"temperature {calibration.temperature:.3f}",
        "fitted on some of these events",
        "Red: before calibration",
    ):
        assert needed in text, needed
    loaded = load_evaluations([tmp_path / "e", evaluations[0]])
    own, calibrated = (list(RUN_COLUMNS).index(k) for k in ("ece", "ece_calibrated"))
    with_calibration, without = (row.cells for row in run_groups(loaded)[0].ours)
    assert with_calibration[own].text == f"{metrics['uncalibrated']['ece']:.3f}"
    assert with_calibration[calibrated].text == f"{metrics['ece']:.3f}"
    assert with_calibration[own] != with_calibration[calibrated]
    assert without[calibrated] == Cell("–")
    assert [len(set_rows(e)) for e in loaded] == [4, 0]
    labels = [t.get_text() for t in draw_reliability(loaded[0]).axes[0].get_legend().get_texts()]
    assert labels == [f"as trained  ECE {metrics['uncalibrated']['ece']:.3f}", f"calibrated  ECE {metrics['ece']:.3f}"]
    assert len(draw_reliability(loaded[1]).axes[0].get_legend().get_texts()) == 1


def test_every_figure_is_there_as_png_and_pdf(page: Path) -> None:
    found = {p.relative_to(page.parent / "figures").with_suffix("") for p in page.parent.rglob("*.png")}
    assert found == {p.relative_to(page.parent / "figures").with_suffix("") for p in page.parent.rglob("*.pdf")}
    names = {p.name for p in found}
    assert {"confusion", "roc", "reliability", "scores", "accuracy-energy", "accuracy-mode", "event-01"} <= names


def test_a_figure_compares_few_evaluations_of_the_same_events(evaluations: list[Path]) -> None:
    (one, *_) = load_evaluations(evaluations)
    data = one.record["data"]

    def of(file: str, coarsen: int, n: int) -> list[Evaluation]:
        record = {**one.record, "data": {**data, "file": file}, "config": {"predict": {"coarsen": coarsen}}}
        return [replace(one, name=f"{file} {coarsen} {i}", record=record) for i in range(n)]

    groups = _compared([*of("a.h5", 1, 4), *of("b.h5", 1, 7), *of("a.h5", 2, 4), *of("c.h5", 1, 2), *of("c.h5", 2, 2)])
    assert {name: len(group) for name, group in groups.items()} == {
        "a.h5, full resolution": 4,
        "a.h5, half resolution": 4,
        "b.h5, full resolution": 6,
        "b.h5, full resolution, 2": 1,
        "c.h5": 4,
    }


def test_published_rows_stand_with_their_resolution(evaluations: list[Path]) -> None:
    full, half = run_groups(load_evaluations(evaluations))
    assert [len(g.ours) for g in (full, half)] == [1, 1]
    assert full.published[0].cells[0] == Cell("0.87")
    assert half.published[-1].cells[0] == Cell("0.49")
    assert half.published[2].cells[1] == Cell("–")  # not printed in the publication
    text = metrics_markdown(load_evaluations(evaluations))
    assert text.count("published, another dataset") == 8
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_published_numbers_carry_their_citation() -> None:
    content = published()
    assert "arXiv:2509.08461" in content["citation"]
    for group in content["by_coarsen"].values():
        assert all(0 < r["accuracy"] < 1 and 0 < r["auc_ovr_macro"] < 1 for r in group["rows"])


def test_a_report_is_replaced_and_other_folders_are_not(page: Path, evaluations: list[Path], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds no report"):
        make_report(evaluations[:1], tmp_path)
    (tmp_path / "letter.txt").unlink()
    (tmp_path / "index.html").write_text("<html>my own page</html>")
    with pytest.raises(OutputError, match="holds no report"):
        make_report(evaluations[:1], tmp_path)


def test_bad_input_is_refused(evaluations: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no evaluation"):
        make_report([], tmp_path / "out")
    with pytest.raises(InputFileError, match=r"no metrics\.json"):
        make_report([tmp_path], tmp_path / "out")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputFileError, match="lack 'model'"):
        make_report([tmp_path], tmp_path / "out")
    with pytest.raises(InputFileError, match="this figure"):
        make_report(evaluations[:1], tmp_path / "out2", extra_figures=[("a", "b", tmp_path / "metrics.json")])


def test_a_folder_of_evaluations_stands_for_all_and_names_are_unique(evaluations: list[Path]) -> None:
    loaded = load_evaluations([evaluations[0].parent, evaluations[0]])
    assert [e.path for e in loaded] == evaluations
    assert [e.name for e in loaded] == ["toy <&> model", "toy <&> model, half resolution"]


def test_recorded_data_and_grey_maps(synthetic: ModuleType, tmp_path: Path) -> None:
    from nuadapt.events.pixelmap import MapSpec

    spec = MapSpec(("u", "v"), (64, 64), (1, 1), (("time", "wire"),) * 2, axis_unit="wire", value_unit="grey")
    store = synthetic.make_store(tmp_path / "d.h5", 12, spec=spec, has_truth=False, origin=False)
    config = EvaluationConfig(split="all", predict=PredictConfig(views=("u", "v")), bootstrap=FEW)
    evaluate_model(synthetic.ToyModel(), store, tmp_path / "e", config)
    text = make_report([tmp_path / "e"], tmp_path / "r").read_text(encoding="utf-8")
    assert "recorded data" in text
    assert "no truth" in text
    assert "Confusion.</b>" not in text


def test_report_imports_neither_torch_nor_models() -> None:
    code = "import sys, nuadapt.report.page; print([m for m in sys.modules if m in ('torch', 'nuadapt.models')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cells_and_checks() -> None:
    assert cell(None) == Cell("–")
    assert cell(0.5, [None, None]) == Cell("0.500")
    check = {
        "group": "passage",
        "quantity": "range",
        "condition": "a|b",
        "measured": 1.0,
        "expected": 1.1,
        "error": 0.01,
        "tolerance": 0.05,
        "unit": "cm",
        "source": "PDG",
        "passed": False,
    }
    text = checks_markdown([check])
    assert "1 ± 0.01" in text
    assert "**no**" in text
    assert "a\\|b" in text


def test_a_run_folder_shows_its_training(evaluations: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = [{"step": 1, "epoch": 0.5, "loss": 1.0}, {"step": 2, "epoch": 1.0, "val_loss": 0.9, "val_accuracy": 0.6}]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "record.json").write_text(json.dumps({"preset": "tiny", "parameters": 12, "best": {"epoch": 1}}))
    training = load_trainings([run, evaluations[0]])[0]
    assert training.column("val_accuracy") == ([1.0], [0.6])
    assert len(draw_training(training).axes) == 2
    with pytest.raises(DataError, match="run folders alone"):
        make_report([run], tmp_path / "out")
    (run / "log.jsonl").write_text("{")
    with pytest.raises(InputFileError, match="log of a training run"):
        load_trainings([run])
