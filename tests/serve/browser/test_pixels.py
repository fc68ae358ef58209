"""Pixel maps: views, zoom, colours, overlays, answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[[str], Any]
Open = Callable[..., Any]
Picture = Callable[..., str]
XZ, YZ = ".view[data-view=xz] canvas", ".view[data-view=yz] canvas"


def window(page: Any) -> tuple[float, list[list[float]]]:
    """Span and centres of the address, which are noted shortly after the last movement."""
    page.wait_for_function("() => location.hash.includes('window=')")
    page.wait_for_timeout(500)
    text = page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('window')")
    span, *centres = text.split(";")
    return float(span), [[float(v) for v in c.split(",")] for c in centres]


def at_middle(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def colours(page: Any, selector: str) -> int:
    """Number of different colours in the inner part of a canvas."""
    script = """(canvas) => {
        const {width: w, height: h} = canvas;
        const data = canvas.getContext('2d').getImageData(w * 0.2, h * 0.1, w * 0.7, h * 0.7).data;
        const found = new Set();
        for (let i = 0; i < data.length; i += 4) found.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
        return found.size;
    }"""
    return int(page.eval_on_selector(selector, script))


def test_both_views_show_pixels_in_many_colours(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3")
    for selector in (XZ, YZ):
        picture(page, selector)
        assert colours(page, selector) > 20
    assert "energy per pixel [MeV]" in page.inner_text(".value-bar")


def test_wheel_drag_and_keys_move_the_window(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3")
    before = picture(page, XZ)
    page.mouse.move(*at_middle(page, XZ))
    page.mouse.wheel(0, -400)
    span, centres = window(page)
    assert picture(page, XZ) != before
    assert picture(page, YZ) != ""
    x, y = at_middle(page, XZ)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=3)
    page.mouse.up()
    _, moved = window(page)
    assert moved[0][0] < centres[0][0]  # dragged to the right: the window moves to smaller z
    assert moved[0][1] > centres[0][1]  # rows count upwards
    assert moved[1][0] == moved[0][0]  # the views share z
    assert moved[1][1] == centres[1][1]
    page.focus(YZ)
    page.keyboard.press("+")
    assert window(page)[0] == pytest.approx(span / 1.3, abs=0.1)
    page.keyboard.press("-")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    _, keyed = window(page)
    assert keyed[1][0] > moved[1][0]
    assert keyed[1][1] > moved[1][1]
    page.keyboard.press("0")
    page.wait_for_function("() => !location.hash.includes('window=')")
    page.mouse.move(0, 0)
    assert picture(page, XZ) == before


def test_pinching_zooms(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3", width=390, height=844, has_touch=True)
    picture(page, XZ)
    page.locator(XZ).scroll_into_view_if_needed()
    x, y = at_middle(page, XZ)
    touch = page.context.new_cdp_session(page)

    def send(kind: str, apart: float | None) -> None:
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", 20)
    for apart in (30, 45, 60):
        send("touchMove", apart)
    send("touchEnd", None)
    span, _ = window(page)
    page.click("text=Whole map")
    page.wait_for_function("() => location.hash.includes('window=276.5')")
    assert span < 276.5 / 2


def test_buttons_zoom_and_show_the_whole_map(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3")
    picture(page, XZ)
    page.click("[aria-label='Zoom in']")
    first, _ = window(page)
    page.click("[aria-label='Zoom in']")
    page.wait_for_function("(s) => !location.hash.includes(`window=${s}`)", arg=f"{first:g}")
    assert window(page)[0] == pytest.approx(first / 1.5, abs=0.1)
    page.click("text=Whole map")
    assert window(page)[1] == [[128, 128], [128, 128]]
    page.click("button:text-is('Signal')")
    page.wait_for_function("() => !location.hash.includes('window=')")


def test_the_scale_of_colours(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3")
    before = picture(page, XZ)
    assert "log from" in page.get_attribute(".value-bar svg", "aria-label")
    page.check("[data-control=scale] input[value=linear]")
    page.wait_for_selector(".value-bar svg[aria-label*='linear from 0 to']")
    assert picture(page, XZ) != before
    assert "scale=linear" in page.url
    page.keyboard.press("Tab")
    page.locator("h1").click()
    page.keyboard.press("l")
    page.wait_for_selector(".value-bar svg[aria-label*='log from']")
    assert picture(page, XZ) == before


def test_coordinates_and_values_below_the_pointer(open_page: Open, pixels: str, picture: Picture, ask: Ask) -> None:
    view = ask(f"{pixels}/api/events/3/views/xz")
    strongest = max(range(len(view["value"])), key=lambda i: view["value"][i])
    row, col = view["row"][strongest], view["col"][strongest]
    page = open_page(f"{pixels}/#/events/3?window=20;{col + 0.5},{row + 0.5};{col + 0.5},100")
    picture(page, XZ)
    x, y = at_middle(page, XZ)
    page.mouse.move(x + 19, y - 14)  # the middle of the plot is right of and above that of the canvas
    text = page.inner_text(".view[data-view=xz] .readout")
    z = view["origin_cm"][1] + 0.5 * (col + 0.5)
    assert f"z {z:.1f} cm" in text or f"z {z + 0.1:.1f} cm" in text or f"z {z - 0.1:.1f} cm" in text
    assert f"{1000 * view['value'][strongest]:.3g} MeV" in text


def test_truth_over_the_picture_and_as_a_table(open_page: Open, pixels: str, picture: Picture, ask: Ask) -> None:
    page = open_page(f"{pixels}/#/events/3")
    before = [picture(page, s) for s in (XZ, YZ)]
    page.check("input[name=overlay]")
    page.wait_for_function("() => location.hash.includes('overlay=truth')")
    assert all(picture(page, s) != b for s, b in zip((XZ, YZ), before, strict=True))
    table = page.inner_text(".truth table >> nth=0")
    event = ask(f"{pixels}/api/events/3")
    names = {"gamma": "γ", "pi+": "π⁺", "p": "p", "e-": "e⁻", "mu-": "μ⁻"}
    for particle in event["particles"]:
        assert names[particle["name"]] in table
        assert str(particle["pdg"]) in table
        assert f"{particle['energy_GeV']:.3g}" in table
    page.click("text=All truth columns")
    assert "incoming neutrino" in page.inner_text(".truth details")


def test_evidence_over_the_picture(open_page: Open, pixels: str, picture: Picture, ask: Ask) -> None:
    page = open_page(f"{pixels}/#/events/3")
    before = picture(page, XZ)
    page.select_option("select[name=evidence]", "cnn")
    page.wait_for_selector(".evidence-bar")
    assert picture(page, XZ) != before
    target = ask(f"{pixels}/api/events/3/evidence/cnn")["target"]
    titles = {"nue_cc": "νe CC", "numu_cc": "νμ CC", "nc": "NC"}
    assert f"evidence for {titles[target]} [log-odds]" in page.inner_text(".evidence-bar")
    page.select_option("select[name=evidence]", "")
    page.wait_for_selector(".evidence-bar", state="detached")
    assert picture(page, XZ) == before


def test_probabilities_and_the_conformal_set(open_page: Open, pixels: str, ask: Ask) -> None:
    index = next(
        row["index"]
        for row in ask(f"{pixels}/api/events?limit=100")["events"]
        if len(ask(f"{pixels}/api/events/{row['index']}")["answers"]["cnn"]["set"]) == 2
    )
    answer = ask(f"{pixels}/api/events/{index}")["answers"]["cnn"]
    page = open_page(f"{pixels}/#/events/{index}")
    card = page.locator(".answer[data-run=cnn]")
    card.wait_for()
    values = [float(v) for v in card.locator(".bar-value").all_inner_texts()]
    assert values == pytest.approx(answer["p"], abs=6e-4)
    widths = [w.evaluate("(n) => parseFloat(n.style.width)") for w in card.locator(".bar-fill").all()]
    assert widths == pytest.approx([100 * p for p in answer["p"]], abs=0.1)
    assert card.locator(".in-set").count() == 2
    assert card.locator(".is-truth").count() == 1
    assert "holds the truth in 90% of events" in card.inner_text()
    assert ("✓ correct" if answer["correct"] else "✗ wrong") in card.inner_text()


def test_reasons_and_their_claims(open_page: Open, pixels: str, ask: Ask) -> None:
    """Signs and words, for supported and for other claims."""
    found = {}
    for index in range(30):
        answer = ask(f"{pixels}/api/events/{index}")["answers"]["vlm"]
        for claim in answer["claims"]:
            found.setdefault(claim["supported"], (index, answer, claim))
    assert {True, False} <= set(found)
    page = open_page(pixels)
    for supported, mark, word in ((True, "✓", "supported"), (False, "✗", "not supported")):
        index, answer, claim = found[supported]
        page.goto(f"{pixels}/#/events/{index}")
        page.wait_for_function("(k) => document.querySelector('h1')?.textContent === k", arg=f"Event 5/0/{index}")
        card = page.locator(".answer[data-run=vlm]")
        assert card.locator("blockquote").inner_text() == answer["reason"]
        line = card.locator(".claim", has_text=claim["text"])
        assert line.locator(".claim-mark").inner_text() == mark
        assert line.locator("em").inner_text() == word


def test_a_picture_as_a_file(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/events/3", accept_downloads=True)
    with page.expect_download() as got:
        page.click("text=PNG xz")
    assert got.value.suggested_filename == "5_0_3-xz.png"
    with open(got.value.path(), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_a_model_is_asked_on_demand(open_page: Open, pixels: str, picture: Picture) -> None:
    """For an answer, then for a reason, which this model does not give; its evidence is made when it is wanted."""
    page = open_page(f"{pixels}/#/events/40")
    card = page.locator(".answer[data-run=untrained]")
    card.locator("text=Ask the model").click()
    card.locator(".posterior").wait_for()
    values = [float(v) for v in card.locator(".bar-value").all_inner_texts()]
    assert sum(values) == pytest.approx(1, abs=2e-3)
    card.locator("text=Ask for a reason").click()
    card.locator("text=This model gives no reasons.").wait_for()
    before = picture(page, XZ)
    page.select_option("select[name=evidence]", "untrained")
    page.wait_for_selector(".evidence-bar")
    assert picture(page, XZ) != before
