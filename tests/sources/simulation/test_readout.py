"""Readout: energy is kept, widths grow as the square root of drift, pixels stay where the detector has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuadapt.errors import ConfigError
from nuadapt.events.pixelmap import GreyTransform
from nuadapt.sources.simulation.detector import DetectorConfig, ReadoutConfig
from nuadapt.sources.simulation.readout import _drift_length, _recombination, instrumented, map_corner, read_out
from nuadapt.sources.simulation.validation.readout import checks

RNG = np.random.default_rng(0)
DETECTOR = DetectorConfig()
NO_THRESHOLD = ReadoutConfig(threshold=0.0)


def total(views, view=0):
    return float(views.value[view].astype(np.float64).sum())


def point(x, y, z, energy=1.0):
    at = np.array([[x, y, z]], dtype=float)
    return at, at, np.array([energy])


@settings(max_examples=60, deadline=None)
@given(st.floats(-75, 75), st.floats(-60, 60), st.floats(200, 400), st.floats(1e-4, 5))
def test_a_deposit_inside_is_kept_in_both_views(x, y, z, energy):
    views = read_out(point(x, y, z, energy), np.array([x, y, z]), DETECTOR, NO_THRESHOLD, RNG)
    assert total(views, 0) == pytest.approx(energy, rel=2e-4)
    assert total(views, 1) == pytest.approx(energy, rel=2e-4)


def test_a_step_is_spread_along_its_length():
    start, end = np.array([[40.0, 0.0, 300.0]]), np.array([[40.0, 0.0, 305.0]])
    views = read_out((start, end, np.array([0.01])), start[0], DETECTOR, NO_THRESHOLD, RNG)
    by_column = np.bincount(views.col[1], views.value[1], 512)
    filled = by_column[256:266]
    assert np.allclose(filled, 0.001, rtol=0.15)  # ten pixels of 5 mm share the energy of 5 cm
    assert by_column.sum() == pytest.approx(0.01, rel=2e-4)


def test_the_vertex_is_in_the_middle_pixel_and_the_origin_is_on_the_detector_grid():
    vertex = np.array([12.34, -5.67, 321.09])
    corner = map_corner(vertex, DETECTOR, ReadoutConfig())
    assert np.all(np.floor((vertex - corner) / 0.5) == 256)
    assert np.allclose((corner - np.array(DETECTOR.low)) % 0.5, 0)


def test_drift_goes_to_the_anode_of_the_own_drift_volume():
    planes, is_anode = DETECTOR.drift_planes()
    assert [_drift_length(x, planes, is_anode) for x in (31.0, 59.0, 61.0, -29.0, -1.0, 1.0)] == pytest.approx(
        [1.0, 29.0, 29.0, 1.0, 29.0, 29.0]
    )
    assert _drift_length(95.0, planes, is_anode) < 0


def test_argon_outside_the_outer_anodes_is_not_read_out():
    views = read_out(point(95.0, 0.0, 300.0), np.array([50.0, 0.0, 300.0]), DETECTOR, NO_THRESHOLD, RNG)
    assert total(views) == 0
    inside = instrumented(np.array([[95.0, 0, 300], [-95.0, 0, 300], [50.0, 0, 300], [50.0, 0, 701]]), DETECTOR)
    assert inside.tolist() == [False, False, True, False]


def test_widths_and_energy_agree_with_the_configuration():
    assert [c.quantity for c in checks() if not c.passed] == []


@pytest.mark.parametrize(("signal", "low", "high"), [(1, 0.66, 0.74), (2, 0.66, 0.74)])
def test_recombination_of_a_minimum_ionising_particle(signal, low, high):
    # About 0.70 at 2.1 MeV/cm and 0.5 kV/cm for both models; denser ionisation recombines more.
    assert low < _recombination(2.105, signal) < high
    assert _recombination(20.0, signal) < _recombination(2.105, signal) < 1


def test_charge_is_electrons_and_the_lifetime_reduces_it():
    start, end = np.array([[58.0, 0.0, 300.0]]), np.array([[58.0, 0.0, 301.0]])
    steps = (start, end, np.array([2.105e-3]))
    box = ReadoutConfig(signal="charge_box", threshold=0.0)
    charge = total(read_out(steps, start[0], DETECTOR, box, RNG))
    assert charge == pytest.approx(2.105e6 / 23.6 * _recombination(2.105, 1) / 1e3, rel=1e-3)  # thousand electrons
    short = ReadoutConfig(signal="charge_box", threshold=0.0, lifetime_us=1000.0)
    lost = total(read_out(steps, start[0], DETECTOR, short, RNG)) / charge
    assert lost == pytest.approx(np.exp(-28.0 / 0.1648 / 1000.0), rel=1e-3)


def test_noise_is_drawn_from_the_given_stream_and_thresholded():
    noisy = ReadoutConfig(noise=1e-4, threshold=3e-4)
    views = [
        read_out(point(50, 0, 300), np.array([50, 0, 300.0]), DETECTOR, noisy, np.random.default_rng(s))
        for s in (1, 1, 2)
    ]
    assert np.array_equal(views[0].value[0], views[1].value[0])
    assert len(views[0].value[0]) != len(views[2].value[0])
    assert 512 * 512 * 0.0005 < len(views[0].value[0]) < 512 * 512 * 0.0030  # 3 sigma: 0.135 %


@pytest.mark.parametrize(
    "bad", [{"signal": "volts"}, {"pitch": 0.0}, {"crop": 0}, {"noise": -1.0}, {"voxel": (0.0, 1.0, 1.0)}]
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ConfigError):
        ReadoutConfig(**bad)


def test_an_empty_detector_box_is_refused():
    with pytest.raises(ConfigError):
        DetectorConfig(low=(0.0, 0.0, 0.0), high=(0.0, 1.0, 1.0))


def test_charge_and_energy_of_a_minimum_ionising_track_look_alike():
    # A model trained on energy maps must see about the same greys on charge maps.
    start, end = np.array([[58.0, 0.0, 300.0]]), np.array([[58.0, 0.0, 305.0]])
    steps = (start, end, np.array([5 * 2.105e-3]))
    greys = []
    for signal, unit in (("energy", "GeV"), ("charge_box", "ke")):
        views = read_out(steps, start[0], DETECTOR, ReadoutConfig(signal=signal, threshold=0.0), RNG)
        greys.append(GreyTransform()(np.bincount(views.col[0], views.value[0])[256:266], unit))
    assert greys[0] == pytest.approx(greys[1], abs=0.02)
