"""Figures of the simulation's validation from its JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from nuadapt.errors import InputFileError
from nuadapt.record import write_json
from nuadapt.report.validation_plots import _check, draw_checks, draw_curve, validation_figures
from nuadapt.sources.simulation.validation.curves import _loss, _range

CHECK = {
    "group": "passage",
    "quantity": "CSDA range",
    "condition": "muon",
    "measured": 10.1,
    "expected": 10.0,
    "tolerance": 0.2,
    "unit": "cm",
    "source": "PDG",
    "error": 0.0,
    "passed": True,
}
CURVE = {
    "title": "Range",
    "x": "kinetic energy [GeV]",
    "y": "range [cm]",
    "log": "xy",
    "source": "NIST PSTAR",
    "series": [
        {"name": "simulation", "x": [0.1, 1.0], "y": [8.0, 300.0]},
        {"name": "PSTAR", "kind": "reference", "x": [0.1, 1.0], "y": [8.1, 301.0]},
        {"name": "histogram", "kind": "histogram", "x": [0.1, 0.5, 1.0], "y": [3.0, 4.0], "error": [0.1, 0.1]},
    ],
}


def test_curves_and_checks_are_drawn(tmp_path: Path) -> None:
    place = tmp_path / "v.json"
    write_json(place, {"checks": [CHECK], "curves": {"range": CURVE}})
    shown = validation_figures(place, tmp_path / "out")
    assert [(title, png.name) for title, _, png in shown] == [
        ("Range", "validation-range.png"),
        ("All checks", "validation-checks.png"),
    ]
    assert "NIST PSTAR" in shown[0][1]
    assert all(png.read_bytes().startswith(b"\x89PNG") and png.with_suffix(".pdf").is_file() for _, _, png in shown)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "not a validation"),
        ({"checks": [], "curves": {"a": {"title": "t", "x": "x", "y": "y"}}}, "no 'series'"),
        (
            {"checks": [], "curves": {"a": CURVE | {"series": [{"kind": "lines", "x": [], "y": []}]}}},
            "did you mean 'line'",
        ),
        ({"checks": [], "curves": {"a": CURVE | {"series": [{"x": [1], "y": []}]}}}, "lengths of x and y"),
    ],
)
def test_other_files_are_refused(content: object, words: str, tmp_path: Path) -> None:
    write_json(tmp_path / "v.json", content)
    with pytest.raises(InputFileError, match=words):
        validation_figures(tmp_path / "v.json", tmp_path / "out")


def test_checks_stand_at_their_pull_and_failures_are_red() -> None:
    bad = CHECK | {"measured": 99.0, "passed": False}
    lost = CHECK | {"measured": float("nan"), "passed": False, "quantity": "other"}
    points = [c for c in draw_checks([CHECK, bad, lost]).axes[0].collections if len(c.get_offsets())]
    assert points[0].get_offsets()[0][0] == pytest.approx(0.5)  # (10.1 - 10) / 0.2
    assert points[0].get_offsets()[1][0] == pytest.approx(2.0)
    colours = points[0].get_facecolor()
    assert colours[0].tolist() != colours[1].tolist()


def test_the_curves_of_the_simulation_have_the_form_that_is_drawn() -> None:
    # Only the cheap ones; the others are built by the same helper.
    for curve in (_loss(), _range()):
        _check(curve, "curve", Path("memory"))
        assert draw_curve(curve).axes
