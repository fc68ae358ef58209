"""Clouds: tokens in space and in eta-phi, energies, the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[[str], Any]
Open = Callable[..., Any]
Picture = Callable[..., str]
SPACE, ETA_PHI = ".view[data-view=space] canvas", ".view[data-view=eta-phi] canvas"


def middle(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_space_turns_by_drag_and_by_keys(open_page: Open, clouds: str, picture: Picture) -> None:
    page = open_page(f"{clouds}/#/events/4")
    before = picture(page, SPACE)
    x, y = middle(page, SPACE)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y + 25, steps=4)
    page.mouse.up()
    page.wait_for_function("() => location.hash.includes('turn=5%2C30')")  # 0.4 degrees a pixel, from -35 and 20
    assert picture(page, SPACE) != before
    page.focus(SPACE)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.hash.includes('turn=21%2C30')")
    page.keyboard.press("+")
    page.wait_for_function("() => location.hash.includes('zoom=1.30')")
    page.keyboard.press("0")
    page.wait_for_function("() => location.hash.includes('turn=-35%2C20')")
    page.mouse.move(0, 0)
    assert picture(page, SPACE) == before


def test_a_link_holds_the_direction_of_view(open_page: Open, clouds: str, picture: Picture) -> None:
    page = open_page(f"{clouds}/#/events/4")
    straight = picture(page, SPACE)
    other = open_page(f"{clouds}/#/events/4?turn=80,5&zoom=1.5&space=momentum")
    assert picture(other, SPACE) != straight
    assert other.is_checked("[data-control=space] input[value=momentum]")


def test_momenta_from_the_vertex(open_page: Open, clouds: str, picture: Picture) -> None:
    page = open_page(f"{clouds}/#/events/4")
    before = picture(page, SPACE)
    page.check("[data-control=space] input[value=momentum]")
    page.wait_for_function("() => location.hash.includes('space=momentum')")
    assert picture(page, SPACE) != before


def test_eta_phi_and_what_is_below_the_pointer(open_page: Open, clouds: str, picture: Picture, ask: Ask) -> None:
    page = open_page(f"{clouds}/#/events/4")
    before = picture(page, ETA_PHI)
    tokens = ask(f"{clouds}/api/events/4/cloud")["tokens"]
    muon = next(t for t in tokens if t["type"] == "muon")
    etas = [t["eta"] for t in tokens]
    pad = 0.12 * (max(etas) - min(etas)) + 0.2
    box = page.locator(ETA_PHI).bounding_box()
    across = (muon["eta"] - min(etas) + pad) / (max(etas) - min(etas) + 2 * pad)
    up = (muon["phi"] + 3.6) / 7.2
    page.mouse.move(box["x"] + 46 + across * (box["width"] - 54), box["y"] + 8 + (1 - up) * (box["height"] - 44))
    assert page.inner_text(".cloud .readout").startswith("muon: ")
    page.focus(ETA_PHI)
    page.keyboard.press("+")
    page.wait_for_timeout(200)
    assert picture(page, ETA_PHI) != before


def test_types_energies_and_the_table(open_page: Open, clouds: str, ask: Ask) -> None:
    answers = ask(f"{clouds}/api/events?run=recoil&limit=100")["events"]
    index = next(row["index"] for row in answers if "recoil" in row["answers"])
    cloud, event = ask(f"{clouds}/api/events/{index}/cloud"), ask(f"{clouds}/api/events/{index}")
    page = open_page(f"{clouds}/#/events/{index}")
    page.wait_for_selector(".energies")
    kinds = {t["type"].replace("_", " ") for t in cloud["tokens"]}
    assert set(page.locator(".legend li").all_inner_texts()) == kinds
    energies = page.inner_text(".energies").replace("\n", " ")
    total = math.fsum(t["energy_GeV"] for t in cloud["tokens"])
    assert f"{total:.3g} GeV" in energies
    answer = event["answers"]["recoil"]
    assert "true available energy" in energies
    assert f"estimate of recoil {answer['energy']:.3g} GeV" in energies
    page.click(".cloud details summary")
    assert page.locator(".cloud details tbody tr").count() == len(cloud["tokens"])
    card = page.inner_text(".answer[data-run=recoil]")
    assert f"{answer['energy']:.3g} GeV reconstructed" in card
    assert "Interval" in card
    assert f"ratio {answer['energy'] / answer['true_energy_GeV']:.2f}" in card
    assert cloud["true_energy_GeV"] == pytest.approx(answer["true_energy_GeV"])
