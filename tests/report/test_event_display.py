"""Pictures of events: the right place, the right unit, and nothing lost that should be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import DataError
from nuadapt.events.pixelmap import MapSpec
from nuadapt.report.event_display import Answer, Evidence, draw_event, event_colours
from nuadapt.report.style import hep_style, png_bytes, save


def one_pixel(spec: MapSpec, row: int, col: int, value: float) -> np.ndarray:
    views = np.zeros((spec.n_views, *spec.shape))
    views[:, row, col] = value
    return views


def test_pixels_stand_at_their_coordinates() -> None:
    spec = MapSpec(shape=(100, 100), pitch=(0.5, 0.25))
    figure = draw_event(
        one_pixel(spec, 40, 20, 0.002), spec, origin=np.array([[-10.0, 200.0], [5.0, 200.0]]), zoom=False
    )
    for ax, x0 in zip(figure.axes[:2], (-10.0, 5.0), strict=True):
        picture = ax.get_images()[0]
        left, right, bottom, top = picture.get_extent()
        assert (left, right) == (200.0, 225.0)
        assert (bottom, top) == (x0, x0 + 50)
        shown = picture.get_array()
        assert shown is not None
        assert np.argwhere(~np.ma.getmaskarray(shown)).tolist() == [[40, 20]]
        assert float(shown[40, 20]) == pytest.approx(2.0)  # 0.002 GeV in MeV
        assert picture.origin == "lower"
        assert ax.get_xlabel() == "z [cm]"
    assert [ax.get_ylabel() for ax in figure.axes[:2]] == ["x [cm]", "y [cm]"]


def test_the_window_holds_signal_and_vertex_and_is_square() -> None:
    spec = MapSpec(shape=(512, 512))
    views = one_pixel(spec, 100, 400, 0.01)
    figure = draw_event(views, spec, origin=np.zeros((2, 2)), vertex=(50.0, 60.0, 120.0))
    for ax, x in zip(figure.axes[:2], (50.0, 60.0), strict=True):
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert left < 120 < right
        assert left < 200 < right
        assert bottom < x < top
        assert right - left == pytest.approx(top - bottom)
        assert right - left < 256
    assert all(len(ax.lines) == 1 for ax in figure.axes[:2])


def test_thin_lines_survive_large_maps() -> None:
    spec = MapSpec(shape=(1000, 1000))
    views = np.zeros((2, 1000, 1000))
    views[:, 501, :] = 0.001
    figure = draw_event(views, spec, zoom=False)
    shown = figure.axes[0].get_images()[0].get_array()
    assert shown is not None
    assert max(shown.shape) <= 240
    assert (~np.ma.getmaskarray(shown)).sum() == shown.shape[1]


def test_grey_maps_on_wires_have_no_centimetres() -> None:
    spec = MapSpec(("u", "v"), (50, 60), (1, 1), (("time", "wire"),) * 2, axis_unit="wire", value_unit="grey")
    figure = draw_event(
        one_pixel(spec, 3, 4, 128), spec, vertex=(1, 2, 3), answer=Answer({"nc": 0.6, "nue_cc": 0.4}, "nc")
    )
    text = " ".join(t for ax in figure.axes for t in (ax.get_xlabel(), ax.get_ylabel()))
    assert "cm" not in text
    assert "MeV" not in text
    assert "grey level" in text
    assert not figure.axes[0].lines
    assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("unit", ["GeV", "ke", "grey"])
def test_empty_events_are_drawn(unit: str, tmp_path: Path) -> None:
    spec = MapSpec(shape=(20, 20), value_unit=unit)
    place = save(draw_event(np.zeros((2, 20, 20)), spec, title="nothing here"), tmp_path / "empty")
    assert place.read_bytes().startswith(b"\x89PNG")
    assert place.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_the_style_does_not_stay_behind() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with hep_style():
        assert matplotlib.rcParams["xtick.direction"] == "in"
    assert dict(matplotlib.rcParams) == before


def with_evidence(views: np.ndarray, pixels: np.ndarray, spec: MapSpec, **more: object) -> list[np.ndarray]:
    """Colours (RGBA) that evidence is drawn in, per view."""
    figure = draw_event(views, spec, evidence=Evidence(pixels, "nue_cc"), zoom=False, **more)  # type: ignore[arg-type]
    drawn = []
    for ax in figure.axes[: len(views)]:
        charge, over = ax.get_images()
        assert over.get_extent() == charge.get_extent()
        assert over.origin == charge.origin
        drawn.append(over.to_rgba(over.get_array()))
    assert sum("evidence for" in ax.get_ylabel() for ax in figure.axes) == 1
    assert png_bytes(figure).startswith(b"\x89PNG")
    return drawn


def test_evidence_is_drawn_where_the_charge_is_and_with_its_sign() -> None:
    spec = MapSpec(shape=(40, 40))
    views, pixels = np.zeros((2, 40, 40)), np.full((2, 40, 40), 5.0)
    views[0, 10, 10:13] = 0.002
    views[1, 30, 20] = 0.002
    pixels[0, 10, 10:13] = 1.0, -1.0, 0.0
    pixels[1, 30, 20] = 0.25
    first, second = with_evidence(views, pixels, spec)
    assert np.argwhere(first[..., 3] > 0).tolist() == [[10, 10], [10, 11]]  # no charge or no evidence: clear
    assert np.argwhere(second[..., 3] > 0).tolist() == [[30, 20]]
    (red, _, blue, strong), against = first[10, 10], first[10, 11]
    assert red > blue  # orange for
    assert against[2] > against[0]  # blue against
    assert second[30, 20, 3] < strong  # one scale for both views


def test_evidence_of_joined_pixels_adds_up() -> None:
    spec = MapSpec(shape=(1000, 1000))
    views, pixels = np.zeros((2, 1000, 1000)), np.zeros((2, 1000, 1000))
    views[:, 501, :], pixels[:, 501, :] = 0.001, 0.01
    figure = draw_event(views, spec, evidence=Evidence(pixels, "nc"), zoom=False)
    shown = figure.axes[0].get_images()[1].get_array()
    assert shown is not None
    assert float(shown.sum()) == pytest.approx(10.0)
    assert max(shown.shape) <= 240


@pytest.mark.parametrize("unit", ["GeV", "grey"])
def test_empty_events_have_empty_evidence(unit: str) -> None:
    spec = MapSpec(shape=(20, 20), value_unit=unit)
    for colours in with_evidence(np.zeros((2, 20, 20)), np.zeros((2, 20, 20)), spec, title="nothing here"):
        assert not colours[..., 3].any()


@pytest.mark.parametrize("pixels", [np.zeros((2, 10, 10)), np.zeros((1, 20, 20)), np.full((2, 20, 20), np.nan)])
def test_evidence_that_does_not_fit_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="evidence has shape"):
        draw_event(np.zeros((2, 20, 20)), MapSpec(shape=(20, 20)), evidence=Evidence(pixels, "nc"))


def test_without_evidence_nothing_is_different() -> None:
    spec = MapSpec(shape=(40, 40))
    figure = draw_event(one_pixel(spec, 3, 4, 0.01), spec)
    assert [len(ax.get_images()) for ax in figure.axes[:2]] == [1, 1]
    assert figure.axes[0].get_images()[0].get_cmap() == event_colours()
    assert len(figure.axes) == 3
