"""The list of events, its filters, keys and links, against the answers of the service."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlencode

import pytest

Ask = Callable[[str], Any]
Open = Callable[..., Any]
ROWS = ".list tr[data-index]"


def shown(page: Any) -> list[int]:
    """Indices of the rows of the list."""
    return [int(i) for i in page.eval_on_selector_all(ROWS, "rows => rows.map((r) => r.dataset.index)")]


def wait_for_total(page: Any, total: int) -> None:
    words = "No event fits these filters" if not total else f"of {total} events"
    page.wait_for_function("(w) => document.querySelector('.pager [role=status]')?.textContent.includes(w)", arg=words)


def listed(ask: Ask, address: str, **query: Any) -> list[int]:
    answer = ask(f"{address}/api/events?{urlencode({'limit': 50, **query})}")
    return [row["index"] for row in answer["events"]]


def test_the_list_says_what_the_service_says(open_page: Open, pixels: str, ask: Ask) -> None:
    page = open_page(pixels)
    page.wait_for_selector(ROWS)
    assert shown(page) == listed(ask, pixels)
    first = ask(f"{pixels}/api/events?limit=1")["events"][0]
    row = page.inner_text(f"{ROWS} >> nth=0")
    assert first["key"] in row
    assert f"{first['energy']:.3g} GeV" in row
    assert f"{max(first['answers']['cnn']['p']):.2f}" in row
    assert ("✓" if first["answers"]["cnn"]["correct"] else "✗") in row


def test_sorting(open_page: Open, pixels: str, ask: Ask) -> None:
    page = open_page(pixels)
    page.click("button[data-sort=energy]")
    page.wait_for_selector("th[aria-sort=ascending] [data-sort=energy]")
    assert shown(page) == listed(ask, pixels, sort="energy", run="cnn")
    page.click("button[data-sort=energy]")
    page.wait_for_selector("th[aria-sort=descending] [data-sort=energy]")
    assert shown(page) == listed(ask, pixels, sort="energy", order="desc", run="cnn")
    page.select_option("select[name=sort]", "probability")
    page.wait_for_selector("th[aria-sort=descending] [data-sort=probability]")
    assert shown(page) == listed(ask, pixels, sort="probability", order="desc", run="cnn")


@pytest.mark.parametrize(
    ("selects", "fields"),
    [
        ({"truth": "nc"}, {}),
        ({"label": "nue_cc", "correct": "false"}, {}),
        ({"mode": "res", "split": "test"}, {}),
        ({"run": "vlm", "correct": "false"}, {"max_p": "0.7"}),
        ({}, {"min_p": "0.5", "max_p": "0.8", "min_energy": "1.5", "max_energy": "2.5"}),
    ],
)
def test_filters(open_page: Open, pixels: str, ask: Ask, selects: dict[str, str], fields: dict[str, str]) -> None:
    page = open_page(pixels)
    page.wait_for_selector(ROWS)
    for name, value in selects.items():
        page.select_option(f"select[name={name}]", value)
    for name, value in fields.items():
        page.fill(f"input[name={name}]", value)
        page.keyboard.press("Enter")
        page.wait_for_function("([n, v]) => location.hash.includes(`${n}=${v}`)", arg=[name, value])
    expected = listed(ask, pixels, **{"run": "cnn", **selects, **fields})
    wait_for_total(page, len(expected))
    assert shown(page) == expected
    assert 0 < len(expected) < 120
    page.click("text=Clear filters")
    wait_for_total(page, 120)


def test_events_on_which_runs_disagree(open_page: Open, pixels: str, ask: Ask) -> None:
    page = open_page(pixels)
    page.check("input[name=disagree]")
    total = ask(f"{pixels}/api/events?disagree=true&limit=0")["total"]
    wait_for_total(page, total)
    assert 0 < total < 120
    for row in ask(f"{pixels}/api/events?disagree=true&limit=20")["events"]:
        assert len({a["label"] for a in row["answers"].values()}) > 1
        assert row["index"] in shown(page)


def test_pages_are_asked_for(open_page: Open, pixels: str, ask: Ask) -> None:
    page = open_page(pixels)
    page.wait_for_selector(ROWS)
    page.click("[aria-label='Next page']")
    page.wait_for_function("() => document.querySelector('.pager').textContent.includes('51–100')")
    assert shown(page) == listed(ask, pixels, offset=50)
    page.click("[aria-label='Next page']")
    page.wait_for_function("() => document.querySelector('.pager').textContent.includes('101–120')")
    assert page.is_disabled("[aria-label='Next page']")
    page.go_back()
    page.wait_for_function("() => document.querySelector('.pager').textContent.includes('51–100')")


def test_by_keyboard_from_row_to_event_and_on(open_page: Open, pixels: str, ask: Ask) -> None:
    order = listed(ask, pixels, truth="nc", sort="energy", run="cnn")
    page = open_page(f"{pixels}/#/events?truth=nc&sort=energy")
    page.focus(f"{ROWS} a >> nth=0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    opened = (
        "(i) => location.hash.startsWith(`#/events/${i}?`) && document.querySelector('#next')"
        " && document.querySelector('.rank').textContent.startsWith"
    )
    page.wait_for_function(f"{opened}('2 of')", arg=order[1])
    page.keyboard.press("j")
    page.wait_for_function(f"{opened}('3 of')", arg=order[2])
    page.keyboard.press("k")
    page.wait_for_function(f"{opened}('2 of')", arg=order[1])
    page.keyboard.press("p")
    page.wait_for_function(f"{opened}('1 of')", arg=order[0])
    assert page.is_disabled("#previous")
    assert page.locator("tr.chosen").get_attribute("data-index") == str(order[0])
    page.keyboard.press("u")
    page.wait_for_selector(".events-page:not(.with-event)")
    assert "truth=nc" in page.url


def test_the_list_turns_its_page_with_the_event(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/events/49")
    page.click("#next")
    page.wait_for_selector("tr.chosen[data-index='50']")
    assert "51–100" in page.inner_text(".pager")
    assert page.evaluate("document.activeElement.id") == "next"


def test_finding_an_event(open_page: Open, pixels: str) -> None:
    page = open_page(pixels)
    page.wait_for_selector(ROWS)
    page.keyboard.press("/")
    page.keyboard.type("5/0/77")
    page.keyboard.press("Enter")
    wait_for_total(page, 1)
    assert shown(page) == [77]


def test_a_link_is_one_event_and_one_view(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/events/7?scale=linear&overlay=truth&evidence=cnn&truth=nue_cc&window=40;60,70;60,80")
    page.wait_for_selector(".evidence-bar")
    assert page.inner_text("h1") == "Event 5/0/7"
    assert page.is_checked("[data-control=scale] input[value=linear]")
    assert page.is_checked("input[name=overlay]")
    assert page.input_value("select[name=evidence]") == "cnn"
    assert page.input_value("select[name=truth]") == "nue_cc"
    assert "window=40;60,70;60,80" in unquote(page.url)


def test_what_is_not_there_is_said_in_words(open_page: Open, pixels: str) -> None:
    page = open_page(f"{pixels}/#/events/4000")
    assert re.search(r"event", page.inner_text(".stage .problem"), re.IGNORECASE)
    page.goto(f"{pixels}/#/runs/nobody")
    page.wait_for_function("() => document.querySelector('.runs-page .problem')?.textContent.includes('nobody')")
    page.goto(f"{pixels}/#/events?truth=nonsense")
    page.wait_for_function("() => document.querySelector('.list .problem')?.textContent.includes('nonsense')")


def test_focus_goes_to_the_event_where_the_list_is_hidden(open_page: Open, pixels: str) -> None:
    page = open_page(pixels, width=390, height=844)
    page.focus(f"{ROWS} a >> nth=3")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent === 'Event 5/0/3'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "previous"
