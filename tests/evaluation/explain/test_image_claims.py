"""Claims from drawn maps: a straight track, a fuzzy shower at the vertex or away from it, nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nuadapt.errors import DataError
from nuadapt.evaluation.explain.checking import checked_claims
from nuadapt.evaluation.explain.image_claims import claims_of_images, clusters, features_of, longest_line, view_of
from nuadapt.events.pixelmap import KE_PER_GEV, MapSpec, PixelMaps

MIDDLE, PITCH, MIP = 256, 0.5, 1.05e-3  # pixels, cm, GeV a pixel


def track(length: float, direction: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    """Two views (2, 512, 512) of a straight minimum ionising track of ``length`` cm from the vertex."""
    image = np.zeros((2, 512, 512), dtype=np.float32)
    unit = np.array(direction) / np.linalg.norm(direction)
    for s in np.arange(0.0, length, 0.05):
        x, y, z = np.floor(MIDDLE + unit * s / PITCH).astype(int)
        for view, row in enumerate((x, y)):
            if 0 <= row < 512 and 0 <= z < 512:
                image[view, row, z] += 0.05 * 2.1e-3
    return image


def shower(gap: float, energy: float) -> np.ndarray[Any, Any]:
    """A cone of charge along the beam that begins ``gap`` cm behind the vertex."""
    rng = np.random.default_rng(3)
    depth = rng.gamma(2.5, 10.0, 4000)  # cm
    image = np.zeros((2, 512, 512), dtype=np.float32)
    for view in range(2):
        row = MIDDLE + rng.normal(0, 0.3 + 0.12 * depth) / PITCH
        col = MIDDLE + (gap + depth) / PITCH
        inside = (row >= 0) & (row < 512) & (col < 512)
        np.add.at(image[view], (row[inside].astype(int), col[inside].astype(int)), energy / 4000)
    return image


def claims(image: np.ndarray[Any, Any], unit: str = "GeV") -> dict[str, str]:
    scale = KE_PER_GEV if unit == "ke" else 1.0
    maps = PixelMaps.from_dense(image[None] * np.float32(scale), MapSpec(value_unit=unit))
    return {name: str(value) for name, value in claims_of_images(maps)[0].stated().items()}


@pytest.mark.parametrize(
    ("length", "direction", "expected"),
    [
        (400.0, (0.2, 0.1, 1.0), {"muon_track": "present", "track_length": "long", "track_end": "exiting"}),
        (110.0, (0.3, -0.4, 0.8), {"muon_track": "present", "track_length": "long"}),
        (75.0, (0.5, 0.5, -0.5), {"muon_track": "present", "track_length": "medium"}),
        (20.0, (0.2, 0.1, 1.0), {"muon_track": "absent"}),
    ],
)
def test_tracks(length: float, direction: tuple[float, float, float], expected: dict[str, str]) -> None:
    image = track(length, direction)
    assert claims(image) == {**expected, "shower": "absent"}
    assert claims(image, "ke") == claims(image)


@pytest.mark.parametrize("direction", [(0.2, 0.1, 1.0), (0.7, -0.5, 0.4), (-0.3, 0.6, -0.9)])
@pytest.mark.parametrize("length", [30.0, 60.0, 120.0])
def test_length_in_space_from_two_views(length: float, direction: tuple[float, float, float]) -> None:
    maps = PixelMaps.from_dense(track(length, direction)[None], MapSpec())
    assert features_of(maps, 0).length == pytest.approx(length, abs=3.0)


def test_showers() -> None:
    attached = claims(shower(0.0, 1.0))
    assert attached["shower_gap"] == "attached"
    assert attached["muon_track"] == "absent"
    displaced = claims(shower(15.0, 1.0) + track(90.0, (0.8, -0.8, 0.3)))
    assert displaced["shower_gap"] == "displaced"
    assert displaced["muon_track"] == "present"


def test_clusters_by_hand() -> None:
    """Two squares of 4 x 4 pixels, 10 cm apart, one across the vertex."""
    image = np.zeros((1, 2, 512, 512), dtype=np.float32)
    image[0, :, 254:258, 254:258] = 0.001
    image[0, :, 254:258, 276:280] = 0.003
    view = view_of(PixelMaps.from_dense(image, MapSpec()), 0, 0)
    found = clusters(view, np.ones(32, dtype=bool), (PITCH, PITCH))
    assert found.energy == pytest.approx([0.016, 0.048])
    assert found.gap == pytest.approx([0.0, 10.0])
    side = PITCH * np.sqrt((4**2 - 1) / 12)  # rms of four equal steps
    assert found.width == pytest.approx([side, side])
    assert found.extent == pytest.approx([side, side])
    assert clusters(view, np.zeros(32, dtype=bool), (PITCH, PITCH)).energy.shape == (0,)


def test_a_hole_ends_a_line() -> None:
    image = track(120.0, (0.0, 0.0, 1.0))
    image[:, :, MIDDLE + 60 : MIDDLE + 80] = 0  # from 30 to 40 cm
    line = longest_line(view_of(PixelMaps.from_dense(image[None], MapSpec()), 0, 0))
    assert line is not None
    assert line.length == pytest.approx(30.0, abs=1.5)
    assert line.loss == pytest.approx(2.1e-3, rel=0.05)


def test_an_empty_map_has_neither_track_nor_shower() -> None:
    assert claims(np.zeros((2, 512, 512), dtype=np.float32)) == {"muon_track": "absent", "shower": "absent"}


def test_maps_without_energy_are_an_error() -> None:
    maps = PixelMaps.from_dense(np.zeros((1, 2, 512, 512)), MapSpec(value_unit="grey"))
    with pytest.raises(DataError, match="2 views in 'grey'"):
        claims_of_images(maps)


def test_claims_of_reasons_are_checked_against_the_image() -> None:
    image = track(200.0, (0.2, 0.1, 1.0))
    said = ["A long muon-like track and no shower.", "A shower attached to the vertex and no long track.", "Nothing."]
    maps = PixelMaps.from_dense(np.stack([image] * 3), MapSpec())
    right, wrong, empty = checked_claims(said, maps)
    assert {"muon_track=present: supported", "shower=absent: supported"} <= set(right.split("; "))
    assert {"muon_track=absent: contradicted", "shower=present: contradicted"} <= set(wrong.split("; "))
    assert empty == ""
    grey = PixelMaps.from_dense(np.stack([image] * 3), MapSpec(value_unit="grey"))
    assert "supported" not in "".join(checked_claims(said, grey))
