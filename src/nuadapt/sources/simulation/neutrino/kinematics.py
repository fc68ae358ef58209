"""Relativistic kinematics as compiled kernels. Four-vectors are (px, py, pz, E) in GeV, shape (4,)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.kernels import compiled

FloatArray = npt.NDArray[np.float64]


@compiled
def invariant_mass2(p4: FloatArray) -> float:
    """E^2 - p^2 in GeV^2."""
    return float(p4[3] * p4[3] - p4[0] * p4[0] - p4[1] * p4[1] - p4[2] * p4[2])


@compiled
def momentum(p4: FloatArray) -> float:
    """Three-momentum in GeV."""
    return math.sqrt(p4[0] * p4[0] + p4[1] * p4[1] + p4[2] * p4[2])


@compiled
def boosted(p4: FloatArray, frame: FloatArray, direction: float) -> FloatArray:
    """``p4`` seen after a boost by ``direction`` (+1 or -1) times the velocity of ``frame`` (a four-momentum).

    +1 takes a vector from the rest frame of ``frame`` to where ``frame`` is given, -1 the other way.
    """
    m = math.sqrt(max(invariant_mass2(frame), 1e-18))
    dot = frame[0] * p4[0] + frame[1] * p4[1] + frame[2] * p4[2]
    energy = (frame[3] * p4[3] + direction * dot) / m
    factor = direction * (p4[3] + energy) / (frame[3] + m)
    out = np.empty(4)
    for i in range(3):
        out[i] = p4[i] + factor * frame[i]
    out[3] = energy
    return out


@compiled
def isotropic(rng: np.random.Generator) -> FloatArray:
    """A unit vector, shape (3,)."""
    cos = 2.0 * rng.random() - 1.0
    sin, phi = math.sqrt(1.0 - cos * cos), 2.0 * math.pi * rng.random()
    return np.array([sin * math.cos(phi), sin * math.sin(phi), cos])


@compiled
def around(axis: FloatArray, cos: float, phi: float) -> FloatArray:
    """The unit vector at polar angle ``cos`` and azimuth ``phi`` about ``axis`` (any length), shape (3,)."""
    length = math.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
    sin = math.sqrt(max(1.0 - cos * cos, 0.0))
    a, b = sin * math.cos(phi), sin * math.sin(phi)
    if length < 1e-12:
        return np.array([a, b, cos])
    x, y, z = axis[0] / length, axis[1] / length, axis[2] / length
    transverse = math.sqrt(x * x + y * y)
    if transverse < 1e-9:
        return np.array([a, b, cos if z > 0 else -cos])
    return np.array(
        [
            cos * x + (a * x * z - b * y) / transverse,
            cos * y + (a * y * z + b * x) / transverse,
            cos * z - a * transverse,
        ]
    )


@compiled
def pair_momentum(total: float, m1: float, m2: float) -> float:
    """Momentum (GeV) of two bodies of masses m1, m2 in the rest frame of mass ``total``; 0 below threshold."""
    product = (total * total - (m1 + m2) ** 2) * (total * total - (m1 - m2) ** 2)
    return math.sqrt(max(product, 0.0)) / (2.0 * total)


@compiled
def two_body(parent: FloatArray, m1: float, m2: float, axis: FloatArray) -> FloatArray:
    """Two daughters, shape (2, 4); the first goes along unit vector ``axis`` in the rest frame of ``parent``."""
    total = math.sqrt(max(invariant_mass2(parent), (m1 + m2) ** 2))
    p = pair_momentum(total, m1, m2)
    out = np.empty((2, 4))
    first, second = np.empty(4), np.empty(4)
    for i in range(3):
        first[i], second[i] = p * axis[i], -p * axis[i]
    first[3], second[3] = math.sqrt(p * p + m1 * m1), math.sqrt(p * p + m2 * m2)
    out[0], out[1] = boosted(first, parent, 1.0), boosted(second, parent, 1.0)
    return out


@compiled
def three_body(parent: FloatArray, masses: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Three daughters of ``masses`` (3,) uniform in phase space, shape (3, 4)."""
    total = math.sqrt(max(invariant_mass2(parent), masses.sum() ** 2))
    low, high = masses[1] + masses[2], total - masses[0]
    best = pair_momentum(total, masses[0], low) * pair_momentum(high, masses[1], masses[2])
    m23 = low
    for _ in range(200):
        m23 = low + (high - low) * rng.random()
        weight = pair_momentum(total, masses[0], m23) * pair_momentum(m23, masses[1], masses[2])
        if rng.random() * best <= weight:
            break
    out = np.empty((3, 4))
    first = two_body(parent, masses[0], m23, isotropic(rng))
    out[0] = first[0]
    out[1:] = two_body(first[1], masses[1], masses[2], isotropic(rng))
    return out
