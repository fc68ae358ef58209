"""Uploads: every format gives its answer and its display; what cannot be read is said in words."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Open = Callable[..., Any]
Picture = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[list[tuple[str, bytes]]], list[str]]:
    """Write files, give their paths."""

    def write(files: list[tuple[str, bytes]]) -> list[str]:
        for name, content in files:
            (tmp_path / name).write_bytes(content)
        return [str(tmp_path / name) for name, _ in files]

    return write


def test_a_pair_of_pictures(
    open_page: Open, pixels: str, made_up: ModuleType, tmp_path: Path, picture: Picture
) -> None:
    page = open_page(f"{pixels}/#/upload")
    page.set_input_files("#files", [str(p) for p in made_up.picture_pair(tmp_path)])
    page.wait_for_selector(".upload-answer tr[data-index]")
    assert "1 event read as png-pairs" in page.inner_text(".upload-form")
    row = page.locator(".upload-answer tr[data-index] td").all_inner_texts()
    assert row[0] in ("νe CC", "νμ CC", "NC")
    assert sum(map(float, row[1:])) == pytest.approx(1, abs=2e-3)
    page.wait_for_selector(".stage .answer[data-run=untrained]")
    assert "grey level" in page.inner_text(".value-bar")
    assert len(picture(page, ".view[data-view=xz] canvas")) > 2000
    page.reload()
    page.wait_for_selector(".stage .answer[data-run=untrained]")  # kept by the service


def test_what_grey_levels_stand_for_can_be_told(
    open_page: Open, pixels: str, made_up: ModuleType, tmp_path: Path
) -> None:
    page = open_page(f"{pixels}/#/upload")
    assert page.locator(".greys input").count() == 0
    page.select_option(".greys select[name=scale]", "linear")
    assert page.locator(".greys input").count() == 1
    page.select_option(".greys select[name=scale]", "log")
    page.fill(".greys input[name=full]", "50")
    page.fill(".greys input[name=knee]", "2")
    with page.expect_request("**/api/predict*") as asked:
        page.set_input_files("#files", [str(p) for p in made_up.picture_pair(tmp_path)])
    assert "scale=log&full=0.05&knee=0.002" in asked.value.url
    page.wait_for_selector(".upload-answer tr[data-index]")
    page.wait_for_selector(".stage .answer[data-run=untrained]")
    assert "MeV" in page.inner_text(".value-bar")


def test_a_dune_event_gets_an_answer(
    open_page: Open, pixels: str, mutating: ModuleType, written: Callable[..., list[str]]
) -> None:
    page = open_page(f"{pixels}/#/upload")
    page.set_input_files("#files", written(mutating.dune()))
    page.wait_for_selector(".upload-answer tr[data-index]")
    row = page.locator(".upload-answer tr[data-index] td").all_inner_texts()
    assert sum(map(float, row[1:])) == pytest.approx(1, abs=2e-3)
    assert "view2 and view0 stand for the model's views" in page.inner_text(".upload-form")
    page.wait_for_selector(".view[data-view=view2] canvas[data-drawn]")


def test_a_dune_event_is_displayed(
    open_page: Open, pixels: str, mutating: ModuleType, written: Callable[..., list[str]], picture: Picture
) -> None:
    page = open_page(f"{pixels}/#/upload")
    page.select_option(".upload-form select[name=run]", "")
    page.set_input_files("#files", written(mutating.dune()))
    page.wait_for_selector(".view[data-view=view2] canvas[data-drawn]")
    assert page.locator(".view").count() == 3
    assert "dune-cvn" in page.inner_text(".upload-form")
    assert "wire" in page.inner_text(".view-name >> nth=0")


def test_a_dropped_file(open_page: Open, pixels: str, mutating: ModuleType) -> None:
    page = open_page(f"{pixels}/#/upload")
    page.select_option(".upload-form select[name=run]", "")
    content = base64.b64encode(mutating.dune()[0][1]).decode()
    script = """([drop, content]) => {
        const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], 'event3.gz'));
        for (const kind of ['dragenter', 'drop']) {
            const how = {dataTransfer: data, bubbles: true, cancelable: true};
            document.querySelector(drop).dispatchEvent(new DragEvent(kind, how));
        }
    }"""
    page.evaluate(script, [".drop", content])
    page.wait_for_selector(".view[data-view=view0] canvas[data-drawn]")


def test_particles_of_a_generator(
    open_page: Open, pixels: str, mutating: ModuleType, shared_data: Path, written: Callable[..., list[str]]
) -> None:
    page = open_page(f"{pixels}/#/upload")
    page.select_option(".upload-form select[name=run]", "")
    page.select_option(".greys select[name=scale]", "linear")  # says nothing about particles, so nothing is said
    page.set_input_files("#files", written(mutating.nuhepmc(shared_data)))
    page.wait_for_selector(".view[data-view=yz] canvas[data-drawn]")
    assert page.locator(".upload-answer tr[data-index]").count() == 2
    assert "e⁻" in page.inner_text(".truth table >> nth=0")
    page.keyboard.press("Tab")
    page.locator(".stage h2 >> nth=0").click()
    page.keyboard.press("j")
    page.wait_for_selector(".upload-answer tr[data-index='1'].chosen")


def test_a_root_file(
    open_page: Open, clouds: str, mutating: ModuleType, shared_data: Path, written: Callable[..., list[str]]
) -> None:
    page = open_page(f"{clouds}/#/upload")
    page.set_input_files("#files", written(mutating.root(shared_data)))
    page.wait_for_selector(".view[data-view=eta-phi] canvas[data-drawn]")
    assert "minerva" in page.inner_text(".upload-form")
    assert "reconstructed" in page.inner_text(".answer[data-run=untrained]")


@pytest.mark.parametrize("content", [b"no event at all", b"\x89PNG\r\n\x1a\n broken"])
def test_what_cannot_be_read_is_said(
    open_page: Open, pixels: str, written: Callable[..., list[str]], content: bytes
) -> None:
    name = "<img src=x onerror=alert(1)>.gz"
    page = open_page(f"{pixels}/#/upload")
    page.set_input_files("#files", written([(name, content)]))
    page.wait_for_selector(".upload-answer .problem")
    assert len(page.inner_text(".upload-answer .problem")) > 20
    assert page.locator(".upload-page img").count() == 0


def test_events_that_the_model_does_not_read(
    open_page: Open, pixels: str, shared_data: Path, mutating: ModuleType, written: Callable[..., list[str]]
) -> None:
    page = open_page(f"{pixels}/#/upload")
    page.set_input_files("#files", written(mutating.root(shared_data)))
    page.wait_for_selector(".upload-answer .problem")
    assert "pixel maps" in page.inner_text(".upload-answer .problem")
    assert "no model, only display" in page.inner_text(".upload-answer")
