"""What holds for every page: colour schemes, narrow screens, keyboard, token, and names for those who listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Open = Callable[..., Any]
Picture = Callable[..., str]
PAGES = {
    "events": ("#/events", ".list tr[data-index]"),
    "event": ("#/events/3?overlay=truth&evidence=cnn", ".evidence-bar"),
    "runs": ("#/runs/cnn", ".confusion"),
    "compare": ("#/compare?runs=cnn,vlm", ".comparison"),
    "upload": ("#/upload", ".drop"),
}
TOKEN = "a-token-of-the-tests"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_screen(open_page: Open, pixels: str, name: str, width: int) -> None:
    address, selector = PAGES[name]
    page = open_page(f"{pixels}/{address}", width=width, height=844)
    page.wait_for_selector(selector)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    script = """(width) => [...document.querySelectorAll('main *')].filter((node) => {
        if (node.closest('.scrolling, .rows, .visually-hidden, svg')) return false; // these scroll by themselves
        return node.getBoundingClientRect().right > width + 1;
    }).map((node) => node.outerHTML.slice(0, 80))"""
    assert page.evaluate(script, width) == []


@pytest.mark.parametrize("name", PAGES)
def test_everything_that_acts_has_a_name(open_page: Open, pixels: str, name: str) -> None:
    address, selector = PAGES[name]
    page = open_page(f"{pixels}/{address}")
    page.wait_for_selector(selector)
    script = """() => [...document.querySelectorAll('a, button, input, select, canvas, svg[role=img], [role=region]')]
        .filter((n) => n.checkVisibility() && !n.getAttribute('aria-label') && !n.textContent.trim()
            && !(n.labels && n.labels.length && n.labels[0].textContent.trim()))
        .map((n) => n.outerHTML.slice(0, 120))"""
    assert page.evaluate(script) == []
    assert page.evaluate("document.querySelectorAll('h1').length") <= 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((n) => n.id)")
    assert len(ids) == len(set(ids))


def test_the_switch_of_the_colour_scheme(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3", scheme="light")
    canvas = ".view[data-view=xz] canvas"
    light = picture(page, canvas)
    back = "getComputedStyle(document.body).backgroundColor"
    bright = page.evaluate(back)
    page.click("#theme")  # from the system's to light
    assert page.get_attribute("#theme", "aria-label") == "Colour scheme: light"
    assert page.evaluate(back) == bright
    page.click("#theme")
    assert page.get_attribute("#theme", "aria-label") == "Colour scheme: dark"
    assert page.evaluate(back) != bright
    assert picture(page, canvas) != light
    page.reload()
    picture(page, canvas)
    assert page.get_attribute("#theme", "aria-label") == "Colour scheme: dark"  # it is remembered


def test_the_scheme_of_the_system(open_page: Open, pixels: str, picture: Picture) -> None:
    page = open_page(f"{pixels}/#/events/3", scheme="dark")
    canvas = ".view[data-view=xz] canvas"
    dark = picture(page, canvas)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 26)"
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(300)
    assert picture(page, canvas) != dark


def test_focus_goes_everywhere_and_is_seen(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/events/3")
    page.wait_for_selector(".display canvas[data-drawn]")
    reached = set()
    for _ in range(130):
        page.keyboard.press("Tab")
        found = page.evaluate("""() => {
            const n = document.activeElement;
            const style = getComputedStyle(n);
            return [n.id || n.name || n.tagName, n === document.body || parseFloat(style.outlineWidth) > 0];
        }""")
        reached.add(found[0])
        assert found[1], found
    assert {"theme", "run", "sort", "next", "overlay", "evidence", "CANVAS", "SUMMARY"} <= reached


def test_help_opens_and_closes_by_keyboard(open_page: Open, pixels: str) -> None:
    page = open_page(pixels)
    page.wait_for_selector(".list tr[data-index]")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    assert "next, previous event" in page.inner_text("#help")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help:not([open])", state="attached")


def test_the_token_is_asked_for(open_page: Open, guarded: str) -> None:
    page = open_page(guarded)
    page.wait_for_selector("#token-dialog[open]")
    page.fill("input[name=token]", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-dialog .problem")
    page.fill("input[name=token]", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector(".list tr[data-index]")
    page.reload()
    page.wait_for_selector(".list tr[data-index]")  # kept for this tab


def test_the_token_in_the_address_leaves_it(open_page: Open, guarded: str) -> None:
    page = open_page(f"{guarded}/#token={TOKEN}")
    page.wait_for_selector(".list tr[data-index]")
    assert TOKEN not in page.url


def test_a_service_that_is_gone_is_said_in_words(open_page: Open, pixels: str) -> None:
    page = open_page(pixels)
    page.wait_for_selector(".list tr[data-index]")
    page.route("**/api/**", lambda route: route.abort())
    page.keyboard.press("Tab")
    page.click("text=Runs >> nth=0")
    page.click(".run-cards a >> nth=0")
    page.wait_for_function(
        "() => document.querySelector('.runs-page .problem')?.textContent.includes('does not answer')"
    )


def test_a_full_queue_is_said_in_words(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/events/20")
    page.wait_for_selector(".display canvas[data-drawn]")
    busy = {"error": {"what": "64 requests wait for the model", "where": "", "expected": "", "next_step": ""}}
    page.route("**/evidence/**", lambda route: route.fulfill(status=429, headers={"Retry-After": "2"}, json=busy))
    page.evaluate("location.hash = '#/events/21?evidence=cnn'")
    page.wait_for_function("() => document.querySelector('.display')?.textContent.includes('Try again in 2 s.')")
