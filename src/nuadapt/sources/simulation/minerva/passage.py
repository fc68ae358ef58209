"""How far particles go in plastic and what they leave behind: one vectorised step for all particles of many events.

Energies in GeV, lengths in cm, detector axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.final_state import CHARGED_PION_MASS, PROTON_MASS
from nuadapt.sources.simulation.minerva.config import ResponseConfig

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MUON_MASS, KAON_MASS = 0.1056583755, 0.493677  # GeV, Phys. Rev. D 110 (2024) 030001
#: Range of protons in water, R = ALPHA T^POWER with T in MeV and R in cm: T. Bortfeld, Med. Phys. 24 (1997) 2024.
_ALPHA, _POWER = 0.0022, 1.77
#: Grams per cm3 of polystyrene over those of water; the stopping power per g/cm2 is equal within 3%.
_DENSITY = 1.06


def range_of(kinetic: Array, mass: Array, minimum_dedx: float) -> FloatArray:
    """Range (cm) of singly charged particles of ``kinetic`` energy and ``mass`` (GeV), both (n,).

    Equal velocities lose energy equally, so R / mass depends on T / mass alone. Where the power law would lose less
    than a minimum ionising particle, that one's loss goes on.

    >>> range_of(np.array([0.1, 1.0]), np.full(2, 0.938), 2.05e-3).round(1).tolist()
    [7.2, 366.5]
    """
    scale = np.asarray(mass) / PROTON_MASS
    t = np.maximum(kinetic, 0.0) / scale  # of the proton of equal velocity
    turn = _turning(minimum_dedx)
    slow = _ALPHA * (1e3 * np.minimum(t, turn)) ** _POWER / _DENSITY
    return np.asarray(scale * (slow + np.maximum(t - turn, 0.0) / minimum_dedx))


def energy_of(length: Array, mass: Array, minimum_dedx: float) -> FloatArray:
    """Kinetic energy (GeV) of particles that stop after ``length`` (cm): inverse of :func:`range_of`."""
    scale = np.asarray(mass) / PROTON_MASS
    r, turn = np.maximum(length, 0.0) / scale, _turning(minimum_dedx)
    at_turn = _ALPHA * (1e3 * turn) ** _POWER / _DENSITY
    slow = 1e-3 * (np.minimum(r, at_turn) * _DENSITY / _ALPHA) ** (1 / _POWER)
    return np.asarray(scale * (slow + np.maximum(r - at_turn, 0.0) * minimum_dedx))


def _turning(minimum_dedx: float) -> float:
    """Kinetic energy (GeV) of a proton from where on the power law loses less than the minimum."""
    # dR/dT = ALPHA POWER T^(POWER - 1) per MeV; the loss is its inverse.
    return float(1e-3 * (1 / (1e3 * minimum_dedx * _ALPHA * _POWER / _DENSITY)) ** (1 / (_POWER - 1)))


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of n particles. ``length`` (n,) of their paths in the inner detector, ``end`` (n, 3), ``left``
    (n,) energy that they leave along it, ``remaining`` (n,) kinetic energy at its end, ``interacted`` and ``stopped``
    (n,): by a hadronic interaction, by ionisation alone; neither: it left the detector."""

    length: FloatArray
    end: FloatArray
    left: FloatArray
    remaining: FloatArray
    interacted: BoolArray
    stopped: BoolArray


def follow(
    start: FloatArray,
    direction: FloatArray,
    kinetic: FloatArray,
    mass: FloatArray,
    free_path: FloatArray,
    config: ResponseConfig,
    rng: np.random.Generator,
) -> Passage:
    """Charged particles from ``start`` (n, 3) along ``direction`` (n, 3, unit) up to the end of their range, an
    interaction with mean ``free_path`` (n,; inf: none), or the surface of the inner detector."""
    stop = range_of(kinetic, mass, config.minimum_dedx)
    interact = rng.exponential(1.0, len(kinetic)) * free_path
    leave = way_out(start, direction, config)
    length = np.minimum(np.minimum(stop, interact), leave)
    remaining = energy_of(stop - length, mass, config.minimum_dedx)
    interacted = (interact < stop) & (interact < leave)
    stopped = ~interacted & (stop <= leave)
    end = start + length[:, None] * direction
    return Passage(length, end, kinetic - remaining, remaining, interacted, stopped)


def way_out(start: FloatArray, direction: FloatArray, config: ResponseConfig) -> FloatArray:
    """Distance (n,) from ``start`` along ``direction`` to the surface of the inner detector, a hexagonal prism."""
    angles = np.pi / 6 + np.pi / 3 * np.arange(6)
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (6, 2)
    speed, place = direction[:, :2] @ normals.T, start[:, :2] @ normals.T  # (n, 6)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.where(speed > 0, (config.half_width - place) / speed, np.inf).min(axis=1)
        along = np.where(
            direction[:, 2] > 0,
            (config.calorimeter_end - start[:, 2]) / direction[:, 2],
            np.where(direction[:, 2] < 0, (450.0 - start[:, 2]) / direction[:, 2], np.inf),
        )
    return np.asarray(np.maximum(np.minimum(sides, along), 0.0))


def masses(code: Array) -> FloatArray:
    """Mass (n,) GeV of the charged particles with absolute PDG ``code``; 0 for others."""
    known = {13: MUON_MASS, 211: CHARGED_PION_MASS, 321: KAON_MASS, 2212: PROTON_MASS}
    found = np.zeros(len(code))
    for number, mass in known.items():
        found[code == number] = mass
    return found


def smeared(direction: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Unit vectors (n, 3) turned by a small random angle of ``sigma`` (rad) in each transverse direction."""
    turned = direction + sigma * rng.standard_normal(direction.shape)
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True))


def photons_of(p4: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Photons (2 n, 4) of the decays pi0 -> gamma gamma of pions with four-momenta (n, 4) px, py, pz, E.

    A pi0 and its two photons have the rows i, i and n + i. Isotropic in the pion's rest frame.
    """
    mass = np.sqrt(np.maximum(p4[:, 3] ** 2 - np.sum(p4[:, :3] ** 2, axis=1), 1e-12))
    unit = rng.standard_normal((len(p4), 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    half = 0.5 * mass[:, None] * unit  # momentum in the rest frame
    along = np.sum(p4[:, :3] * half, axis=1)
    made = []
    for sign in (1, -1):
        energy = (0.5 * mass * p4[:, 3] + sign * along) / mass
        factor = (sign * along / (p4[:, 3] + mass) + 0.5 * mass) / mass
        p3 = sign * half + factor[:, None] * p4[:, :3]
        made.append(np.column_stack([p3, energy]))
    return np.concatenate(made)
