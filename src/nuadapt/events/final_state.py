"""Truth that follows from the particles leaving the nucleus: pion counts and kinematics, available energy, W.

There is no single published definition of the available energy, so each is named, and its rules are data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.batch import Particles
from nuadapt.events.flat import owners

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

# GeV; mean values of the Particle Data Group, Phys. Rev. D 110 (2024) 030001. `events` is to need NumPy only, so they
# stand here; a test compares them with the `particle` package.
PROTON_MASS = 0.93827208943
CHARGED_PION_MASS = 0.13957039
NUCLEON_MASS = 0.93891869  # mean of proton and neutron
_NUCLEI = 1_000_000_000  # codes from here on are nuclei and remnants
_STRANGE_BARYONS = (3122, 3222, 3212, 3112, 3322, 3312, 3334)  # Lambda, Sigma+ 0 -, Xi0 -, Omega-
_LEPTONS = (11, 12, 13, 14, 15, 16)


@dataclass(frozen=True, slots=True)
class AvailableEnergy:
    """One definition: which particles count, by absolute PDG code, and what is taken off their total energy.

    ``listed`` maps a code to the mass (GeV) taken off. ``others`` says whether all other hadrons count, at their total
    energy. Neutrons, nuclei, muons, taus and neutrinos never count. ``antiprotons``: whether the proton's rule holds
    for antiprotons, too. ``signed`` is as ``listed``, of particles alone and not of their antiparticles.
    """

    source: str
    listed: dict[int, float]
    others: bool = False
    antiprotons: bool = False
    signed: dict[int, float] = field(default_factory=dict)


#: The named definitions. In nu_e interactions those that list electrons count the primary one, too.
AVAILABLE_ENERGY: dict[str, AvailableEnergy] = {
    "minerva_ml": AvailableEnergy(
        "arXiv:2604.12364: kinetic energy of (anti)protons; total energy of photons, pions, electrons, charged kaons",
        {2212: PROTON_MASS, 22: 0.0, 11: 0.0, 111: 0.0, 211: 0.0, 321: 0.0},
        antiprotons=True,
    ),
    "mat": AvailableEnergy(
        "GetEAvailableTrue of MINERvA's analysis toolkit (MAT-MINERvA, calculators/CCQE3DFitFunctions.h): energy less "
        "938.27 MeV of protons and less 135 MeV of charged pions; total energy of photons and pi0; nothing else",
        {2212: 0.93827, 211: 0.135, 111: 0.0, 22: 0.0},  # masses as written there
    ),
    "rodrigues2016": AvailableEnergy(
        "Phys. Rev. Lett. 116 (2016) 071802: kinetic energy of protons and charged pions; total energy of pi0, "
        "electrons and photons; nothing else",
        {2212: PROTON_MASS, 211: CHARGED_PION_MASS, 111: 0.0, 11: 0.0, 22: 0.0},
    ),
    "ascencio2022": AvailableEnergy(
        "Phys. Rev. D 106 (2022) 032001, eq. 1: kinetic energy of protons and charged pions; of strange baryons total "
        "energy less the mass of a nucleon; total energy of all other particles but neutrons",
        {2212: PROTON_MASS, 211: CHARGED_PION_MASS, 11: 0.0},
        others=True,
        signed=dict.fromkeys(_STRANGE_BARYONS, PROTON_MASS),  # which nucleon is not said there
    ),
}


def available_energy(particles: Particles, definition: str) -> FloatArray:
    """Available energy (N,) in GeV under a definition of :data:`AVAILABLE_ENERGY`; a negative sum becomes 0."""
    rule = AVAILABLE_ENERGY[definition]
    pdg, energy = particles.columns["pdg"].astype(np.int64), particles.columns["E"].astype(np.float64)
    code = np.abs(pdg)
    counts = np.zeros(len(pdg), dtype=bool)
    less = np.zeros(len(pdg))
    if rule.others:
        counts = (code < _NUCLEI) & ~np.isin(code, (2112, *_LEPTONS))
    for listed, mass in rule.listed.items():
        mine = (code == listed) & ((listed != 2212) | (pdg > 0) | rule.antiprotons)
        counts |= mine
        less[mine] = mass
    for listed, mass in rule.signed.items():
        counts |= pdg == listed
        less[pdg == listed] = mass
    contribution = np.where(counts, energy - less, 0.0)
    return np.maximum(np.bincount(owners(particles.offsets), contribution, minlength=len(particles)), 0.0)


def count(particles: Particles, *pdg: int) -> npt.NDArray[np.int64]:
    """How many particles of these PDG codes each event has, (N,)."""
    mine = np.isin(particles.columns["pdg"], pdg)
    return np.bincount(owners(particles.offsets)[mine], minlength=len(particles))


def final_state_columns(particles: Particles, nu_direction: Array) -> dict[str, Array]:
    """The ``final_state`` columns of the schema (but ``W_generator``) and the particle counts of ``truth``.

    ``nu_direction`` (N, 3) is along the neutrino, of any length.
    """
    n_plus, n_minus, n_neutral = (count(particles, pdg) for pdg in (211, -211, 111))
    columns: dict[str, Array] = {
        "n_protons": count(particles, 2212),
        "n_neutrons": count(particles, 2112),
        "n_charged_pions": n_plus + n_minus,
        "n_neutral_pions": n_neutral,
        "n_pi_plus": n_plus,
        "n_pi_minus": n_minus,
        "W_final_state": _mass_of_hadrons(particles),
    }
    columns |= _only_pion(particles, n_plus + n_minus, n_neutral, nu_direction)
    return columns | {f"available_energy_{name}": available_energy(particles, name) for name in AVAILABLE_ENERGY}


def _only_pion(particles: Particles, n_charged: Array, n_neutral: Array, nu_direction: Array) -> dict[str, Array]:
    """Energy and angle of the only charged pion, or of the only pi0 of an event without charged pions; else NaN."""
    event, code = owners(particles.offsets), np.abs(particles.columns["pdg"])
    wanted = np.where(n_charged == 1, 211, np.where((n_charged == 0) & (n_neutral == 1), 111, 0))
    row = np.flatnonzero(code == wanted[event])
    energy, angle = (np.full(len(particles), np.nan) for _ in range(2))
    at = event[row]
    momentum = np.stack([particles.columns[a][row].astype(np.float64) for a in ("px", "py", "pz")], axis=1)
    beam = np.asarray(nu_direction, dtype=np.float64)[at]
    energy[at] = particles.columns["E"][row]
    # atan2 of cross and dot product keeps its precision along the beam, where the arc cosine loses it.
    across = np.linalg.norm(np.cross(momentum, beam), axis=1)
    angle[at] = np.arctan2(across, np.sum(momentum * beam, axis=1))
    return {"pion_energy": energy, "pion_angle": angle}


def _mass_of_hadrons(particles: Particles) -> FloatArray:
    """Invariant mass (N,) GeV of all particles but leptons; NaN without any, 0 for a square below 0 by rounding."""
    event, code = owners(particles.offsets), np.abs(particles.columns["pdg"])
    mine, n = ~np.isin(code, _LEPTONS), len(particles)
    px, py, pz, energy = (
        np.bincount(event[mine], particles.columns[a][mine].astype(np.float64), minlength=n)
        for a in ("px", "py", "pz", "E")
    )
    square = energy**2 - px**2 - py**2 - pz**2
    known = (np.bincount(event[mine], minlength=n) > 0) & (square >= -1e-3 * energy**2)
    return np.where(known, np.sqrt(np.maximum(square, 0.0)), np.nan)


def lepton_side(p_nu: Array, p_lepton: Array) -> dict[str, FloatArray]:
    """q0, q3, Q2, W, bjorken_x, inelasticity_y (N,) from the four-momenta (N, 4) px, py, pz, E of both leptons, GeV.

    W is that of a struck nucleon at rest, W^2 = M^2 + 2 M q0 - Q2, and 0 if that is negative. bjorken_x is NaN where
    no energy is transferred.
    """
    q = np.asarray(p_nu, dtype=np.float64) - np.asarray(p_lepton, dtype=np.float64)
    q0, q3 = q[:, 3], np.linalg.norm(q[:, :3], axis=1)
    q2 = q3**2 - q0**2
    w2 = NUCLEON_MASS**2 + 2 * NUCLEON_MASS * q0 - q2
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(q0 > 0, q2 / (2 * NUCLEON_MASS * q0), np.nan)
        y = q0 / np.asarray(p_nu)[:, 3]
    # A rounding below 0 in Q2 is 0: it cannot be negative.
    return {
        "q0": q0,
        "q3": q3,
        "Q2": np.maximum(q2, 0.0),
        "W": np.sqrt(np.maximum(w2, 0.0)),
        "bjorken_x": x,
        "inelasticity_y": y,
    }
