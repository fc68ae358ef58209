"""Readout against what was asked of it: diffusion widths, energy kept, recombination."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.detector import DetectorConfig, ReadoutConfig
from nuadapt.sources.simulation.readout import read_out
from nuadapt.sources.simulation.validation.check import Check

Array = npt.NDArray[Any]
_DIFFUSION = "Sagar et al., arXiv:2509.08461, scaled with the square root of drift length"
_VERTEX = np.array([50.0, 0.0, 300.0])


def _image(point: Array, **settings: Any) -> Array:
    """Both views of 1 GeV at one point, 0.02 cm pixels, no threshold, shape (2, 256, 256)."""
    config = ReadoutConfig(pitch=0.02, crop=256, threshold=0.0, voxel=(0.01, 0.01, 0.01), **settings)
    steps = (point[None], point[None], np.ones(1))
    views = read_out(steps, point, DetectorConfig(), config, np.random.default_rng(0))
    image = np.zeros((2, 256, 256))
    for view in range(2):
        image[view, views.row[view], views.col[view]] = views.value[view]
    return image


def _width_cm(profile: Array) -> float:
    """Standard deviation of a profile in 0.02 cm pixels, corrected for the pixel size (Sheppard)."""
    at = np.arange(len(profile))
    mean = np.average(at, weights=profile)
    return float(np.sqrt(np.average((at - mean) ** 2, weights=profile) - 1 / 12) * 0.02)


def checks() -> list[Check]:
    """Diffusion widths at 20 cm of drift, and energy in the map."""
    image = _image(np.array([50.0, 0.0, 300.0]))  # anode at 30 cm: 20 cm of drift
    expected_t, expected_l = 0.13 * np.sqrt(0.2), 0.09 * np.sqrt(0.2)
    widths = {
        "longitudinal diffusion (x)": (_width_cm(image[0].sum(axis=1)), expected_l),
        "transverse diffusion (y)": (_width_cm(image[1].sum(axis=1)), expected_t),
        "transverse diffusion (z)": (_width_cm(image[1].sum(axis=0)), expected_t),
    }
    rows = [
        Check("readout", name, "20 cm of drift", measured, expected, 0.01 * expected, "cm", _DIFFUSION)
        for name, (measured, expected) in widths.items()
    ]
    kept = [float(view.sum()) for view in image]
    return rows + [
        Check("readout", "energy kept in the map", f"{name} view", share, 1.0, 1e-3, "", "conservation of energy")
        for name, share in zip(("xz", "yz"), kept, strict=True)
    ]
