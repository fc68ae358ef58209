"""Single modules of the page, run in the browser on values with known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def run(browser: Any, pixels: str) -> Any:
    """Run a script with modules: ``run("scale", "m.ticks(0, 1)")``."""
    context = browser.new_context()
    context.set_default_timeout(240_000)
    page = context.new_page()
    page.goto(f"{pixels}/#/upload")
    yield lambda module, script: page.evaluate(f"import('/static/{module}.js').then((m) => ({script}))")
    context.close()


Run = Callable[[str, str], Any]


@pytest.mark.parametrize(
    ("low", "high", "wanted", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-58.3, 70, 5, [-40, -20, 0, 20, 40, 60]),
        (0.13, 0.17, 4, [0.13, 0.14, 0.15, 0.16, 0.17]),
        (3, 3, 5, [3]),
    ],
)
def test_ticks_are_round(run: Run, low: float, high: float, wanted: int, expected: list[float]) -> None:
    assert run("scale", f"m.ticks({low}, {high}, {wanted})") == pytest.approx(expected)


def test_logarithmic_ticks(run: Run) -> None:
    assert run("scale", "m.logTicks(0.1, 30)") == pytest.approx([0.1, 0.2, 0.5, 1, 2, 5, 10, 20])
    assert run("scale", "m.logTicks(0.01, 100)") == pytest.approx([0.01, 0.1, 1, 10, 100])


def test_colour_scales_end_at_round_numbers(run: Run) -> None:
    found = run(
        "scale",
        "(({low, high, place}) => [low, high, place(0), place(3), place(99)])(m.valueScale([1, 2, 3], 'linear'))",
    )
    assert found == pytest.approx([0, 5, 0, 0.6, 1])
    found = run(
        "scale",
        "(({low, high, place}) => [low * 300, high, place(0), place(5), place(low)])(m.valueScale([1, 2, 3], 'log'))",
    )
    assert found == pytest.approx([5, 5, 0, 1, 0])


def test_addresses_come_back(run: Run) -> None:
    query = "{run: 'a b&c', find: '1/0/3', min_p: '0.5'}"
    found = run("address", f"m.parse(m.make(['events', '1/2'], {query}))")
    assert found == {"path": ["events", "1/2"], "query": {"run": "a b&c", "find": "1/0/3", "min_p": "0.5"}}
    assert run("address", "m.parse('#/events/%')")["path"] == ["events", "%"]


def test_windows_come_back_and_keep_the_place_of_a_zoom(run: Run) -> None:
    views = "[{shape: [256, 256], cols: 'z'}, {shape: [256, 256], cols: 'z'}]"
    script = f"""(() => {{
        const w = new m.Window({views});
        w.zoom(0, 4, 100, 60);
        const other = new m.Window({views});
        const read = other.read(w.text());
        // the place (100, 60) lies as far from the centre, in parts of the span, as before
        return [read, other.text() === w.text(), (100 - w.centres[0][0]) / w.span, (60 - w.centres[0][1]) / w.span,
                w.centres[1][0] === w.centres[0][0]];
    }})()"""
    read, same, across, up, linked = run("window", script)
    assert (read, same, linked) == (True, True, True)
    assert (across, up) == (pytest.approx((100 - 128) / (256 * 1.08)), pytest.approx((60 - 128) / (256 * 1.08)))


@pytest.mark.parametrize("text", ["", "nonsense", "10;1,2", "-4;1,2;3,4", "10;1,x;3,4", "NaN;1,2;3,4"])
def test_impossible_windows_are_ignored(run: Run, text: str) -> None:
    assert (
        run("window", f"new m.Window([{{shape: [9, 9], cols: 'a'}}, {{shape: [9, 9], cols: 'b'}}]).read({text!r})")
        is False
    )


def test_text_is_no_markup(run: Run) -> None:
    assert run("dom", "m.el('p', {}, '<img src=x onerror=alert(1)>').children.length") == 0


def test_rays_need_directions(run: Run) -> None:
    """Neutrinos, nuclei and particles of unknown momentum get none; the eight most energetic others do."""
    made = "Array.from({length: 12}, (_, i) => ({pdg: 2212, kinetic_GeV: i, momentum_GeV: [0, 0, 1]}))"
    others = """[{pdg: 14, kinetic_GeV: 99, momentum_GeV: [0, 0, 1]},
        {pdg: 1000180400, kinetic_GeV: 99, momentum_GeV: [0, 0, 1]},
        {pdg: 13, kinetic_GeV: 99, momentum_GeV: [null, 0, 1]}]"""
    assert run("rays", f"m.withRays([...{made}, ...{others}]).map((p) => p.kinetic_GeV)") == [11, 10, 9, 8, 7, 6, 5, 4]


def test_the_vertex_in_pixels(run: Run) -> None:
    spec = "{rows: 'x', cols: 'z', origin: [-10, 100], pitch: [0.5, 2], axis_unit: 'cm'}"
    assert run("rays", f"m.vertexPixel({spec}, [-5, 7, 120])") == [10, 10]
    assert run("rays", f"m.vertexPixel({{...{spec}, origin: null}}, [-5, 7, 120])") is None
