"""Readout: deposits along steps, through recombination, drift and diffusion, onto two pixel planes.

A step is cut into pieces no longer than a voxel or a quarter of a pixel along any axis (coarser pieces would
print a beat pattern on straight tracks); each piece sits at its own centre and is spread by a Gaussian whose
width grows with the square root of the drift length (diffusion is a random walk). The share that falls into a
pixel is the exact integral of the Gaussian over it (cut at four sigma, which leaves out less than 1e-4), so no
random number is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.detector import DetectorConfig, ReadoutConfig
from nuadapt.sources.simulation.kernels import compiled

Array = npt.NDArray[Any]

# Recombination in liquid argon at 0.5 kV/cm and 1.38 g/cm3, as used by larnd-sim and LArSoft.
BOX_ALPHA = 0.93  # ArgoNeuT, JINST 8 (2013) P08005, arXiv:1306.1712
BOX_BETA = 0.207  # (kV/cm)(g/cm2)/MeV, ArgoNeuT, arXiv:1306.1712: 0.212; 0.207 is larnd-sim's value
BIRKS_A = 0.800  # ICARUS, Nucl. Instrum. Meth. A 523 (2004) 275
BIRKS_K = 0.0486  # (kV/cm)(g/cm2)/MeV, ICARUS, Nucl. Instrum. Meth. A 523 (2004) 275
FIELD_KV_CM = 0.5  # nominal drift field of ICARUS, DUNE and the 2x2 modules
RECOMBINATION_DENSITY = 1.38  # g/cm3, as in the two fits
W_ION_MEV = 23.6e-6  # energy per electron-ion pair, Miyajima et al., Phys. Rev. A 9 (1974) 1438
DRIFT_SPEED_CM_US = 0.1648  # at 0.5 kV/cm and 87 K, Walkowiak, Nucl. Instrum. Meth. A 449 (2000) 288

_SIGNALS = {"energy": 0, "charge_box": 1, "charge_birks": 2}


@compiled
def _recombination(dedx_mev_cm: float, signal: int) -> float:
    """Share of electrons that escape recombination: Modified Box (1) or Birks (2). dE/dx in MeV/cm."""
    density = dedx_mev_cm / (RECOMBINATION_DENSITY * FIELD_KV_CM)
    if signal == 1:
        xi = BOX_BETA * density
        return max(0.0, math.log(BOX_ALPHA + xi) / xi) if xi > 1e-9 else 1.0
    return BIRKS_A / (1.0 + BIRKS_K * density)


@compiled
def _drift_length(x: float, planes: Any, is_anode: Any) -> float:
    """Distance in cm to the anode that collects charge from ``x``; negative where nothing collects it."""
    if x < planes[0] or x >= planes[-1]:
        return -1.0
    i = np.searchsorted(planes, x, side="right") - 1
    below = x - planes[i] if is_anode[i] else np.inf
    above = planes[i + 1] - x if is_anode[i + 1] else np.inf
    nearest = min(below, above)
    return nearest if nearest < np.inf else -1.0


@compiled
def _share(centre: float, sigma: float, first: int, n: int, shares: Any) -> None:
    """Integral of a unit Gaussian at ``centre`` over the pixels ``first`` .. ``first + n - 1`` (pixel units)."""
    scale = 1.0 / (sigma * math.sqrt(2.0))
    lower = math.erf((first - centre) * scale)
    for k in range(n):
        upper = math.erf((first + k + 1 - centre) * scale)
        shares[k] = 0.5 * (upper - lower)
        lower = upper


@compiled
def _spread(image: Any, row: float, col: float, sigma_row: float, sigma_col: float, value: float, work: Any) -> None:
    """Add ``value`` as a two-dimensional Gaussian at (row, col), all in pixel units, cut at 4 sigma.

    ``work`` (2, pixels of the widest Gaussian) is scratch space.
    """
    first_row, last_row = math.floor(row - 4 * sigma_row), math.floor(row + 4 * sigma_row)
    first_col, last_col = math.floor(col - 4 * sigma_col), math.floor(col + 4 * sigma_col)
    rows, cols = last_row - first_row + 1, last_col - first_col + 1
    if last_row < 0 or last_col < 0 or first_row >= image.shape[0] or first_col >= image.shape[1]:
        return
    work[0, 0] = work[1, 0] = 1.0
    if rows > 1:
        _share(row, sigma_row, first_row, rows, work[0])
    if cols > 1:
        _share(col, sigma_col, first_col, cols, work[1])
    for i in range(max(0, -first_row), min(rows, image.shape[0] - first_row)):
        for j in range(max(0, -first_col), min(cols, image.shape[1] - first_col)):
            image[first_row + i, first_col + j] += value * work[0, i] * work[1, j]


@compiled
def _project(
    start: Any, end: Any, energy: Any, planes: Any, is_anode: Any, origin: Any, settings: Any, signal: int, image: Any
) -> None:
    """Add all steps to ``image`` (2, rows, cols). ``origin``: x, y, z of the map's lower edge in cm.

    ``settings``: longest piece along x, y, z (cm), sigma_T, sigma_L per sqrt(cm), pitch (cm), lifetime (us).
    """
    pitch, lifetime = settings[5], settings[6]
    longest = math.sqrt(planes[-1] - planes[0])
    work = np.empty((2, int(8.0 * max(settings[3], settings[4]) * longest / pitch) + 4))
    for i in range(len(energy)):
        dx, dy, dz = end[i, 0] - start[i, 0], end[i, 1] - start[i, 1], end[i, 2] - start[i, 2]
        pieces = 1 + int(max(abs(dx) / settings[0], abs(dy) / settings[1], abs(dz) / settings[2]))
        value = energy[i]
        if signal > 0:
            length = math.sqrt(dx * dx + dy * dy + dz * dz)
            # A point deposit is the end of a slow particle: its dE/dx is that of a whole deposit in half a voxel.
            dedx = 1e3 * energy[i] / max(length, 0.5 * settings[0])
            value = energy[i] * 1e3 / W_ION_MEV * 1e-3 * _recombination(dedx, signal)
        for k in range(pieces):
            t = (k + 0.5) / pieces
            x = start[i, 0] + t * dx
            drift = _drift_length(x, planes, is_anode)
            if drift < 0.0:
                continue
            root = math.sqrt(max(drift, 1e-4))
            share = value / pieces
            if signal > 0 and lifetime > 0.0:
                share *= math.exp(-drift / DRIFT_SPEED_CM_US / lifetime)
            sigma_t, sigma_l = max(settings[3] * root / pitch, 1e-6), max(settings[4] * root / pitch, 1e-6)
            row_x, row_y = (x - origin[0]) / pitch, (start[i, 1] + t * dy - origin[1]) / pitch
            col = (start[i, 2] + t * dz - origin[2]) / pitch
            _spread(image[0], row_x, col, sigma_l, sigma_t, share, work)
            _spread(image[1], row_y, col, sigma_t, sigma_t, share, work)


@dataclass(frozen=True, slots=True)
class Views:
    """Sparse XZ and YZ maps of one event: per view ``row``, ``col``, ``value``; ``origin`` (2, 2) in cm."""

    row: tuple[Array, Array]
    col: tuple[Array, Array]
    value: tuple[Array, Array]
    origin: Array


def map_corner(vertex: Array, detector: DetectorConfig, readout: ReadoutConfig) -> npt.NDArray[np.float64]:
    """Lower edge (x, y, z) in cm of a map centred on the pixel that holds ``vertex``.

    Pixels are fixed in the detector, counted from its lower corner; a crop never moves their edges.
    """
    low = np.asarray(detector.low)
    pixel = np.floor((np.asarray(vertex) - low) / readout.pitch) - readout.crop // 2
    return np.asarray(low + pixel * readout.pitch, dtype=np.float64)


def instrumented(points: Array, detector: DetectorConfig) -> npt.NDArray[np.bool_]:
    """Whether charge from each point (n, 3) cm is collected, shape (n,)."""
    planes, is_anode = detector.drift_planes()
    interval = np.searchsorted(planes, points[:, 0], side="right")
    collects = np.concatenate([[False], is_anode[:-1] | is_anode[1:], [False]])
    inside = np.all((points >= detector.low) & (points < detector.high), axis=1)
    return np.asarray(inside & collects[interval])


def read_out(
    steps: tuple[Array, Array, Array],
    vertex: Array,
    detector: DetectorConfig,
    readout: ReadoutConfig,
    rng: np.random.Generator,
) -> Views:
    """Two cropped pixel maps of one event.

    ``steps``: start (n, 3) cm, end (n, 3) cm, energy (n,) GeV. ``vertex`` (3,) cm: centre of the crop.
    ``rng`` is used for noise only.
    """
    start, end, energy = (np.ascontiguousarray(part, dtype=np.float64) for part in steps)
    corner = map_corner(vertex, detector, readout)
    image = np.zeros((2, readout.crop, readout.crop))
    per_root_cm = 1 / math.sqrt(100.0)  # configured widths are after 100 cm of drift
    settings = np.array(
        [
            *(min(side, readout.pitch / 4) for side in readout.voxel),
            readout.diffusion_transverse * per_root_cm,
            readout.diffusion_longitudinal * per_root_cm,
            readout.pitch,
            readout.lifetime_us,
        ]
    )
    planes, is_anode = detector.drift_planes()
    _project(start, end, energy, planes, is_anode, corner, settings, _SIGNALS[readout.signal], image)
    if readout.noise > 0:
        image += rng.normal(0.0, readout.noise, image.shape)
    views = [np.nonzero(view > readout.threshold) for view in image]
    return Views(
        row=(views[0][0].astype(np.uint16), views[1][0].astype(np.uint16)),
        col=(views[0][1].astype(np.uint16), views[1][1].astype(np.uint16)),
        value=(image[0][views[0]].astype(np.float32), image[1][views[1]].astype(np.float32)),
        origin=np.array([[corner[0], corner[2]], [corner[1], corner[2]]], dtype=np.float32),
    )
