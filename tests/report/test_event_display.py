"""Pictures of events: the right place, the right unit, and nothing lost that should be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nuadapt.events.pixelmap import MapSpec
from nuadapt.report.event_display import Answer, draw_event
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
