"""From sparse maps to grey images, against the slow and obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, DataError
from nuadapt.events.pixelmap import GreyTransform, MapSpec, PixelMaps
from nuadapt.models.inputs import PixelInput


def some_maps(unit: str = "GeV", side: tuple[int, int] = (13, 10), n: int = 3, seed: int = 1) -> PixelMaps:
    random = np.random.default_rng(seed)
    images = random.gamma(1, 0.002 if unit == "GeV" else 60, (n, 2, *side)) * (random.random((n, 2, *side)) < 0.2)
    return PixelMaps.from_dense(images, MapSpec(shape=side, value_unit=unit))


@given(
    factor=st.integers(1, 5),
    extra=st.integers(1, 3),
    unit=st.sampled_from(["GeV", "grey", "ke"]),
    kind=st.sampled_from(["log", "linear"]),
)
@settings(max_examples=40, deadline=None)
def test_images_equal_coarsen_dense_grey(factor: int, extra: int, unit: str, kind: str) -> None:
    maps, grey = some_maps(unit), GreyTransform(kind)
    got = PixelInput(maps.spec.views, factor, grey).images(maps, extra)
    coarse = maps.coarsen(factor * extra)
    expected = np.stack([grey(coarse.dense(i), unit) for i in range(len(maps))])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-7)


def test_views_are_picked_by_name_and_order() -> None:
    maps = some_maps()
    both, turned = PixelInput(("xz", "yz")).images(maps), PixelInput(("yz", "xz")).images(maps)
    np.testing.assert_array_equal(both[:, ::-1], turned)
    np.testing.assert_array_equal(PixelInput(("yz",)).images(maps)[:, 0], both[:, 1])
    with pytest.raises(DataError, match="no view 'uv'"):
        PixelInput(("uv",)).images(maps)


def test_no_events_and_empty_maps() -> None:
    assert PixelInput(("xz", "yz"), 4).images(some_maps(n=0)).shape == (0, 2, 4, 3)
    empty = PixelMaps.from_dense(np.zeros((2, 2, 13, 10)), MapSpec(shape=(13, 10)))
    assert not PixelInput(("xz", "yz"), 4).images(empty).any()


def test_round_trip_and_refusals() -> None:
    given_input = PixelInput(("xz",), 3, GreyTransform("linear", full=0.5, knee=0.1))
    assert PixelInput.from_dict(given_input.as_dict()) == given_input
    with pytest.raises(ConfigError):
        PixelInput((), 1)
    with pytest.raises(ConfigError):
        PixelInput(("xz",), 0)
    with pytest.raises(ConfigError):
        given_input.images(some_maps(), 0)
