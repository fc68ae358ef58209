"""Pages of runs: numbers as the service gives them, charts with names and units, the way from cells to events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Ask = Callable[[str], Any]
Open = Callable[..., Any]


def test_metrics_with_intervals(open_page: Open, pixels: str, ask: Ask) -> None:
    run = ask(f"{pixels}/api/runs/cnn")
    page = open_page(f"{pixels}/#/runs/cnn")
    page.wait_for_selector(".confusion")
    text = page.inner_text(".metrics >> nth=0")
    accuracy = run["metrics"]["accuracy"]
    assert f"{accuracy['value']:.4f}" in text
    assert f"{accuracy['low']:.4f} to {accuracy['high']:.4f}" in text
    classes = page.inner_text(".metrics >> nth=1")
    for block in run["per_class"].values():
        assert f"{block['recall']['value']:.3f}" in classes


def test_cells_of_the_confusion_matrix_lead_to_their_events(open_page: Open, pixels: str, ask: Ask) -> None:
    confusion = ask(f"{pixels}/api/runs/cnn")["confusion"]
    page = open_page(f"{pixels}/#/runs/cnn")
    page.wait_for_selector(".confusion")
    cells = page.locator(".confusion td.cell a")
    flat = [n for row in confusion["counts"] for n in row]
    assert [int(c.locator("b").inner_text()) for c in cells.all()] == flat
    chosen = max(i for i, n in enumerate(flat) if n and i % 4)  # a wrong answer
    cells.nth(chosen).click()
    page.wait_for_function(
        "(n) => document.querySelector('.pager')?.textContent.includes(`of ${n} event`)", arg=flat[chosen]
    )
    truth, label = (confusion["classes"][i] for i in divmod(chosen, 3))
    assert page.input_value("select[name=truth]") == truth
    assert page.input_value("select[name=label]") == label
    assert page.locator(".list tr[data-index]").count() == flat[chosen]


def test_charts_have_names_and_units(open_page: Open, pixels: str, ask: Ask) -> None:
    page = open_page(f"{pixels}/#/runs/cnn")
    page.wait_for_selector(".chart")
    spoken = page.eval_on_selector_all(".chart", "all => all.map((c) => c.getAttribute('aria-label'))")
    expected = (
        "true positive rate against false positive rate",
        "share that is correct against probability of the answer",
        "events against probability of the answer",
        "accuracy against energy [GeV]",
        "accuracy against mode",
    )
    for words in expected:
        assert any(words in text for text in spoken), words
    run = ask(f"{pixels}/api/runs/cnn")
    roc = page.locator(".chart-box", has_text="ROC")
    assert roc.locator("path.line").count() == roc.locator(".legend li").count() == len(run["roc"])
    for curve in run["roc"].values():
        assert f"area {curve['auc']:.3f}" in roc.inner_text()
    energy = page.locator(".chart-box", has_text="accuracy by energy")
    bins = next(b for b in run["binned"] if b["by"] == "energy")
    assert energy.locator("svg.chart > path").count() == len(bins["value"])


def test_an_energy_run(open_page: Open, clouds: str, ask: Ask) -> None:
    run = ask(f"{clouds}/api/runs/recoil")
    page = open_page(f"{clouds}/#/runs/recoil")
    page.wait_for_selector(".chart")
    assert f"{run['metrics']['resolution']['value']:.4f}" in page.inner_text(".metrics")
    assert "resolution by q3" in page.inner_text(".charts")
    page.click(".tabs a:text-is('pion')")
    page.wait_for_selector(".confusion")
    assert page.locator(".confusion td.cell").count() == 25


def test_runs_side_by_side(open_page: Open, pixels: str, ask: Ask) -> None:
    found = ask(f"{pixels}/api/compare?runs=cnn,vlm")
    page = open_page(f"{pixels}/#/compare?runs=cnn,vlm")
    page.wait_for_selector(".comparison")
    text = page.inner_text(".comparison")
    for row in found["rows"]:
        for value in row["values"].values():
            if value["value"] is not None:
                assert f"{value['value']:.4f}" in text
    assert f"{found['n_common']} events have an answer of every run" in page.inner_text(".compare-page")
    assert f"{found['agreement'][0][1]:.3f}" in page.inner_text(".compare-page")
    assert page.locator(".chart-box", has_text="accuracy by energy").locator(".legend li").count() == 2
    page.uncheck("input[name=run-vlm]")
    page.wait_for_function("() => document.querySelector('.compare-page').textContent.includes('Choose two runs')")
    page.go_back()
    page.wait_for_selector(".comparison")
    page.click("text=Events on which runs disagree")
    page.wait_for_selector("input[name=disagree]:checked")


def test_a_comparison_starts_with_runs_that_have_answers(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/compare")
    page.wait_for_selector(".comparison")
    assert page.is_checked("input[name=run-cnn]")
    assert page.is_checked("input[name=run-vlm]")
    assert not page.is_checked("input[name=run-untrained]")


def test_a_run_without_an_evaluation_says_so(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/runs/untrained")
    page.wait_for_selector(".runs-page .problem")
    assert "nuadapt evaluate" in page.inner_text(".runs-page .problem")
