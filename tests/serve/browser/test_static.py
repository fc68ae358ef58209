"""The files of the page: nothing inline, nothing from elsewhere, nothing that makes markup of text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nuadapt

PAGE = Path(nuadapt.__file__).parent / "serve" / "page"
MODULES = sorted(PAGE.glob("*.js"))


def test_the_page_has_its_files() -> None:
    assert {"index.html", "main.js", "style.css", "display.css", "icon.svg"} <= {p.name for p in PAGE.iterdir()}


def test_no_inline_scripts_and_styles() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", html) == []


@pytest.mark.parametrize("path", [*MODULES, *PAGE.glob("*.css"), PAGE / "index.html"], ids=lambda p: p.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|//cdn|@import|url\(", text) == []
    assert len(text.splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_text_stays_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text) == []
    assert text.startswith("/*")  # says what it is


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_imports_exist(path: Path) -> None:
    for names, file in re.findall(r"import \{([^}]*)\} from \"\./([^\"]+)\"", path.read_text(encoding="utf-8")):
        exported = (PAGE / file).read_text(encoding="utf-8")
        for name in (n.split(" as ")[0].strip() for n in names.split(",") if n.strip()):
            assert re.search(rf"export (async )?(function|const|class|let) {re.escape(name)}\b", exported), (file, name)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_what_is_imported_is_used(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for names in re.findall(r"import \{([^}]*)\} from", text):
        for name in (n.split(" as ")[-1].strip() for n in names.split(",") if n.strip()):
            assert len(re.findall(rf"(?<!\w)(?<!\w\.){re.escape(name)}\b", text)) > 1, name


def test_every_module_is_asked_for_at_once() -> None:
    """Without the list in the head of the page, a browser learns of modules one level of imports after the other."""
    listed = re.findall(r'rel="modulepreload" href="/static/([^"]+)"', (PAGE / "index.html").read_text("utf-8"))
    assert sorted(listed) == [p.name for p in MODULES if p.name != "main.js"]
