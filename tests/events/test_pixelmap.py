"""Sparse pixel maps against dense images, which are slow and obvious."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nuadapt.errors import ConfigError, DataError
from nuadapt.events.pixelmap import GreyTransform, MapSpec, PixelMaps

AXES = (("x", "z"), ("y", "z"), ("u", "t"))
VIEWS = ("xz", "yz", "u")


@st.composite
def images(draw: st.DrawFn, n_views: int | None = None, max_events: int = 4) -> tuple[np.ndarray, MapSpec]:
    """Images (N, V, rows, columns) of a few non-zero pixels, and their spec."""
    n_views = n_views or draw(st.integers(1, 3))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    pixels = st.just(0.0) | st.floats(2.0**-20, 4.0, width=32)  # GeV
    image = draw(arrays(np.float32, (draw(st.integers(0, max_events)), n_views, *shape), elements=pixels))
    return image, MapSpec(views=VIEWS[:n_views], shape=shape, axes=AXES[:n_views])


def dense(maps: PixelMaps) -> np.ndarray:
    return np.array([maps.dense(i) for i in range(len(maps))]).reshape(-1, maps.spec.n_views, *maps.spec.shape)


def same(one: PixelMaps, other: PixelMaps) -> bool:
    parts = ("offsets", "row", "col", "value", "origin")
    return one.spec == other.spec and all(getattr(one, p).tobytes() == getattr(other, p).tobytes() for p in parts)


@given(images())
def test_dense_and_back(case: tuple[np.ndarray, MapSpec]) -> None:
    image, spec = case
    maps = PixelMaps.from_dense(image, spec)
    np.testing.assert_array_equal(dense(maps), image)
    assert len(maps.value) == np.count_nonzero(image)
    assert same(PixelMaps.from_dense(dense(maps), spec), maps)
    assert MapSpec.from_dict(spec.as_dict()) == spec


def block_sum(image: np.ndarray, factor: int) -> np.ndarray:
    """Sum of each factor x factor block; blocks at the far edges may be partial."""
    rows, cols = (math.ceil(side / factor) for side in image.shape[-2:])
    out = np.zeros((*image.shape[:-2], rows, cols))
    for r in range(rows):
        for c in range(cols):
            block = image[..., r * factor : (r + 1) * factor, c * factor : (c + 1) * factor]
            out[..., r, c] = block.sum(axis=(-2, -1), dtype=float)
    return out


@given(images(), st.integers(1, 12))
def test_coarsening_equals_sums_over_blocks(case: tuple[np.ndarray, MapSpec], factor: int) -> None:
    image, spec = case
    maps = PixelMaps.from_dense(image, spec)
    coarse = maps.coarsen(factor)
    np.testing.assert_allclose(dense(coarse), block_sum(image, factor), rtol=1e-6)
    np.testing.assert_allclose(dense(maps.coarsen(factor, "mean")), block_sum(image, factor) / factor**2, rtol=1e-6)
    assert coarse.value.sum(dtype=float) == pytest.approx(image.sum(dtype=float), rel=1e-6)  # energy is conserved
    assert coarse.spec.pitch == (spec.pitch[0] * factor, spec.pitch[1] * factor)
    np.testing.assert_array_equal(coarse.origin, maps.origin)


@given(images(), st.integers(1, 4), st.integers(1, 4))
def test_coarsening_twice_is_coarsening_by_the_product(case: tuple[np.ndarray, MapSpec], a: int, b: int) -> None:
    maps = PixelMaps.from_dense(*case)
    twice, once = maps.coarsen(a).coarsen(b), maps.coarsen(a * b)
    assert twice.spec.shape == once.spec.shape
    np.testing.assert_allclose(dense(twice), dense(once), rtol=1e-6)


def test_grey_levels_are_averaged_unless_told_otherwise() -> None:
    image = np.full((1, 1, 4, 4), 200.0)
    maps = PixelMaps.from_dense(image, MapSpec(("v",), (4, 4), axes=AXES[:1], value_unit="grey"))
    assert set(maps.coarsen(2).value) == {200}
    assert set(maps.coarsen(2, "sum").value) == {800}
    for bad in ((0, None), (-2, None), (2, "max")):
        with pytest.raises(ConfigError, match="coarsen"):
            maps.coarsen(*bad)


@given(images(), st.data())
def test_selections_equal_those_of_dense_images(case: tuple[np.ndarray, MapSpec], data: st.DataObject) -> None:
    image, spec = case
    origin = np.arange(2.0 * len(image) * spec.n_views).reshape(len(image), spec.n_views, 2)
    maps = PixelMaps.from_dense(image, spec, origin)
    index = np.array(data.draw(st.lists(st.integers(0, len(image) - 1), max_size=6) if len(image) else st.just([])))
    picked = maps.select(index)
    np.testing.assert_array_equal(dense(picked), image[index.astype(int)])
    np.testing.assert_array_equal(picked.origin, origin[index.astype(int)])
    views = data.draw(st.permutations(spec.views).flatmap(lambda v: st.integers(1, len(v)).map(lambda n: v[:n])))
    at = [spec.views.index(v) for v in views]
    some = maps.select_views(views)
    np.testing.assert_array_equal(dense(some), image[:, at])
    np.testing.assert_array_equal(some.origin, origin[:, at])
    assert some.spec.views == tuple(views)
    assert some.spec.axes == tuple(spec.axes[i] for i in at)


@given(images(max_events=6), st.integers(0, 6))
def test_joining_pieces_gives_the_whole(case: tuple[np.ndarray, MapSpec], cut: int) -> None:
    maps = PixelMaps.from_dense(*case)
    index = np.arange(len(maps))
    assert same(PixelMaps.concatenate([maps.select(index[:cut]), maps.select(index[cut:])]), maps)


def test_what_cannot_be_joined_or_selected() -> None:
    maps = PixelMaps.from_dense(np.ones((1, 2, 3, 3)), MapSpec(shape=(3, 3)))
    with pytest.raises(DataError, match="no pixel maps"):
        PixelMaps.concatenate([])
    with pytest.raises(DataError, match="cannot be joined"):
        PixelMaps.concatenate([maps, replace(maps, spec=replace(maps.spec, value_unit="ke"))])
    with pytest.raises(DataError, match="did you mean 'xz'"):
        maps.select_views(["xzz"])
    with pytest.raises(DataError, match="images have shape"):
        PixelMaps.from_dense(np.ones((1, 3, 3)), maps.spec)


def test_arrays_that_do_not_fit() -> None:
    maps = PixelMaps.from_dense(np.ones((2, 2, 3, 3)), MapSpec(shape=(3, 3)))
    bad: list[dict[str, Any]] = [
        {"offsets": maps.offsets[:-1]},
        {"offsets": maps.offsets + 1},
        {"offsets": maps.offsets[[0, 2, 1, 3, 4]]},
        {"row": maps.row[:-1]},
        {"value": maps.value[:-1]},
        {"origin": maps.origin[:1]},
    ]
    for change in bad:
        with pytest.raises(DataError):
            replace(maps, **change)


@pytest.mark.parametrize(
    "bad",
    [
        {"value_unit": "MeV"},
        {"axes": AXES},
        {"views": (), "axes": ()},
        {"shape": (0, 5)},
        {"shape": (5, 65536)},
        {"pitch": (0.0, 1.0)},
        {"pitch": (0.5, float("nan"))},
    ],
)
def test_impossible_specs(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MapSpec(**bad)


GREYS = st.builds(
    GreyTransform, st.sampled_from(["linear", "log"]), st.floats(1e-3, 1e3), st.floats(1e-5, 1e2, exclude_min=True)
)


@example(GreyTransform(), np.array([-0.01, 0.01], dtype=np.float32))
@given(GREYS, arrays(np.float32, st.integers(2, 20), elements=st.floats(-1, 1e4, width=32)))
def test_grey_is_monotone_in_range_and_clipped(grey: GreyTransform, value: np.ndarray) -> None:
    value = np.sort(value)
    found = grey(value, "GeV")
    assert found.dtype == np.float32
    assert np.all(np.diff(found) >= 0)
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(found[value <= 0] == 0)
    assert np.all(found[value >= grey.full * 1.0001] == pytest.approx(1, abs=1e-6))
    assert np.all(found[value > grey.full * 0.9] > 0.85)


@given(GREYS, st.floats(0, 1))
def test_energy_is_the_inverse_of_grey(grey: GreyTransform, share: float) -> None:
    energy = np.float32(share * grey.full)
    assert grey.energy(grey(energy, "GeV")) == pytest.approx(float(energy), rel=1e-4, abs=1e-5 * grey.full)


def test_minimum_ionising_particle_is_well_visible_by_default() -> None:
    # 2.1 MeV/cm over half a centimetre (PDG, liquid argon) against a shower core ten times as bright
    mip, core = GreyTransform()(np.array([0.00105, 0.0105]), "GeV")
    assert 0.25 < mip < 0.4
    assert core > mip + 0.4
    assert mip == pytest.approx(math.log(1 + 2.1) / math.log(41))


def test_grey_maps_are_only_scaled() -> None:
    assert GreyTransform("linear", 7)(np.array([0, 51, 255, 300]), "grey").tolist() == pytest.approx([0, 0.2, 1, 1])
    assert GreyTransform("linear", 4)(np.array([1, 8]), "GeV").tolist() == [0.25, 1]


@pytest.mark.parametrize("bad", [("cubic", 1, 1), ("log", 0, 1), ("log", 1, -1), ("linear", float("nan"), 1)])
def test_impossible_grey_transforms(bad: tuple[str, float, float]) -> None:
    with pytest.raises(ConfigError, match="impossible"):
        GreyTransform(*bad)
