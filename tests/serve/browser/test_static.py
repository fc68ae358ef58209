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


def luminance(colour: str) -> float:
    """Relative luminance of a colour #rrggbb (WCAG 2.2, definition of relative luminance)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_read_in_every_colour_scheme() -> None:
    """At least 4.5 to 1 for text of every colour on every ground (WCAG 2.2, criterion 1.4.3)."""
    css = (PAGE / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r"\{([^{}]*--ink: #[^{}]*)\}", css)
    schemes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(schemes) == 3  # light, dark by the system, dark by choice
    assert schemes[1] == schemes[2]
    for scheme in schemes:
        for ink in ("ink", "muted", "accent", "good", "bad"):
            for ground in ("back", "panel", "plot"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
        assert contrast(scheme["ink"], scheme["warn-soft"]) >= 4.5
        assert contrast(scheme["accent"], scheme["accent-soft"]) >= 4.5
