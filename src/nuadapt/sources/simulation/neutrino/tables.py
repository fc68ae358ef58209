"""Tabulated differential cross-sections: the total for choosing a channel, the shape for sampling (W, Q2) in it.

One table serves both, so the shares of the channels and their kinematics come from the same function.
Axes: neutrino energy, a first variable (W, or y for coherent production) and Q2 on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.kernels import compiled

FloatArray = npt.NDArray[np.float64]
Differential = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
Limits = Callable[[FloatArray, FloatArray, float, float], tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]]

ENERGY_GRID = np.geomspace(0.1, 130.0, 64)  # GeV; margin on both sides for the motion of the struck nucleon
W_NODES, Q2_NODES = 48, 64
Q2_OFFSET = 0.05  # GeV^2: below it the Q2 axis is linear, above logarithmic


class KinematicTable(NamedTuple):
    """Total and cumulative cross-sections of one channel on a target of mass ``target_mass`` (GeV)."""

    target_mass: float
    lepton_mass: float
    total: FloatArray  # (E,) 1e-38 cm2
    w_low: float
    w_high: float  # infinity: up to the kinematic limit
    w_power: int  # the first axis is low + (high - low) * position**w_power
    cumulative_w: FloatArray  # (E, W), 0 to 1
    cumulative_q2: FloatArray  # (E, W, Q2), 0 to 1


def total_at(table: KinematicTable, energy: float) -> float:
    """Total cross-section in 1e-38 cm2 at ``energy`` (GeV), linear between nodes."""
    return float(np.interp(energy, ENERGY_GRID, table.total))


def build(
    differential: Differential,
    target_mass: float,
    lepton_mass: float,
    w_range: tuple[float, float],
    limits: Limits | None = None,
    w_power: int = 1,
) -> KinematicTable:
    """Table of d2 sigma / dW dQ2 between the kinematic limits; ``w_range`` (GeV) may end at infinity.

    A range of zero width is a channel of fixed W whose ``differential`` is d sigma / dQ2. ``limits`` replaces
    :func:`q2_limits` where the first axis is not W. ``w_power`` above 1 puts nodes closer at the low end.
    """
    low, high = w_range
    root_s = np.sqrt(target_mass**2 + 2 * target_mass * ENERGY_GRID)
    w_high = np.full_like(root_s, high) if math.isfinite(high) else np.maximum(root_s - lepton_mass, low + 1e-6)
    nodes = 1 if high == low else W_NODES
    fraction = np.linspace(0.0, 1.0, nodes) ** w_power
    W = low + (w_high - low)[:, None] * fraction  # (E, W)
    energy = np.broadcast_to(ENERGY_GRID[:, None], W.shape)
    q2_low, q2_high, is_open = (limits or q2_limits)(energy, W, target_mass, lepton_mass)
    scale = np.log((q2_high + Q2_OFFSET) / (q2_low + Q2_OFFSET))[..., None]
    Q2 = (q2_low + Q2_OFFSET)[..., None] * np.exp(scale * np.linspace(0, 1, Q2_NODES)) - Q2_OFFSET  # (E, W, Q2)
    density = differential(energy[..., None], W[..., None], np.maximum(Q2, 1e-9)) * (Q2 + Q2_OFFSET) * scale
    density = np.where(is_open[..., None], np.nan_to_num(density), 0.0)
    cumulative_q2, per_w = _cumulate(density, np.linspace(0, 1, Q2_NODES))
    if len(fraction) == 1:
        cumulative_w, total = np.ones_like(per_w), per_w[:, 0]
    else:
        cumulative_w, total = _cumulate(per_w, fraction)
        total = total * (w_high - low)
    return KinematicTable(target_mass, lepton_mass, total, low, high, w_power, cumulative_w, cumulative_q2)


def _cumulate(density: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cumulative trapezoids over the last axis normalised to 1, and the integral."""
    steps = 0.5 * (density[..., 1:] + density[..., :-1]) * np.diff(x)
    cumulative = np.concatenate([np.zeros_like(steps[..., :1]), np.cumsum(steps, axis=-1)], axis=-1)
    integral = cumulative[..., -1]
    return cumulative / np.where(integral > 0, integral, 1.0)[..., None], integral


def q2_limits(
    energy: FloatArray, W: FloatArray, target_mass: float, lepton_mass: float
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Smallest and largest Q2 (GeV2) at neutrino ``energy`` and hadronic mass ``W``, and whether W is reachable."""
    s = target_mass**2 + 2 * target_mass * energy
    root_s = np.sqrt(s)
    neutrino = (s - target_mass**2) / (2 * root_s)
    lepton_energy = (s + lepton_mass**2 - W**2) / (2 * root_s)
    is_open = (W + lepton_mass < root_s) & (lepton_energy > lepton_mass)
    p = np.sqrt(np.maximum(lepton_energy**2 - lepton_mass**2, 0.0))
    low = 2 * neutrino * (lepton_energy - p) - lepton_mass**2
    high = 2 * neutrino * (lepton_energy + p) - lepton_mass**2
    low = np.where(is_open, np.maximum(low, 0.0), 0.0)
    return low, np.where(is_open, np.maximum(high, low + 1e-9), 1e-9), is_open


@compiled
def _invert(cumulative: FloatArray, draw: float) -> float:
    """Position in [0, 1] of uniform nodes at which a cumulative distribution reaches ``draw``."""
    n = len(cumulative)
    if n == 1:
        return 0.0
    i = min(max(int(np.searchsorted(cumulative, draw)), 1), n - 1)
    step = cumulative[i] - cumulative[i - 1]
    part = (draw - cumulative[i - 1]) / step if step > 0 else 0.5
    return float((i - 1 + part) / (n - 1))


@compiled
def sample_positions(table: KinematicTable, energy: float, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """Positions in [0, 1] along the first and the Q2 axis at ``energy`` (GeV); neighbouring nodes mix at random."""
    last = len(ENERGY_GRID) - 1
    node = last * math.log(max(energy, 1e-6) / ENERGY_GRID[0]) / math.log(ENERGY_GRID[last] / ENERGY_GRID[0])
    i = int(min(max(node, 0.0), float(last)) + rng.random())
    i = min(i, last)
    while i < last and table.total[i] <= 0:  # closed at this node, open at the next
        i += 1
    w_position = _invert(table.cumulative_w[i], rng.random())
    n_w = table.cumulative_w.shape[1]
    j = min(int(w_position * (n_w - 1) + rng.random()), n_w - 1)
    if table.cumulative_q2[i, j, -1] <= 0:  # just above the kinematic limit
        j = max(j - 1, 0)
    return w_position, _invert(table.cumulative_q2[i, j], rng.random())


@compiled
def q2_at(position: float, low: float, high: float) -> float:
    """Q2 (GeV2) at a position along the axis between its limits."""
    return float((low + Q2_OFFSET) * ((high + Q2_OFFSET) / (low + Q2_OFFSET)) ** position - Q2_OFFSET)
