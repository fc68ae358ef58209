"""Masses of particles and nuclei in GeV, from the ``particle`` package (PDG and AME tables).

Nuclei that the tables lack get the semi-empirical mass formula, capped so that no nucleus is heavier than the
pieces into which it could fall apart: a remnant made of a nucleus and a nucleon is then always physical.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from particle import Particle

FloatArray = npt.NDArray[np.float64]

PI_PLUS, PI_ZERO, PI_MINUS = 211, 111, -211
PROTON, NEUTRON = 2212, 2112
LAMBDA, SIGMA_PLUS, SIGMA_ZERO, SIGMA_MINUS = 3122, 3222, 3212, 3112
K_PLUS, K_MINUS, K_LONG, K_SHORT, ETA, PHOTON = 321, -321, 130, 310, 221, 22
ARGON_40 = 1000180400

#: Largest nucleus of :func:`nuclear_mass_table` (lead is the heaviest target in use at neutrino experiments).
MAX_Z, MAX_A = 84, 212


@cache
def mass(pdg: int) -> float:
    """Mass in GeV of a particle or nucleus by PDG code; neutrinos are massless.

    >>> round(mass(2212), 3), mass(-14)
    (0.938, 0.0)
    """
    if abs(pdg) in (12, 14, 16, PHOTON):
        return 0.0
    if abs(pdg) > 1_000_000_000:
        z, a = nucleus_z_a(pdg)
        return float(nuclear_mass_table()[z, a])
    value = Particle.from_pdgid(abs(pdg)).mass  # MeV
    if value is None:
        raise ValueError(f"the particle table has no mass for PDG code {pdg}")
    return float(value) / 1000.0


@cache
def charge(pdg: int) -> int:
    """Electric charge in units of e; for a nucleus its Z."""
    if abs(pdg) > 1_000_000_000:
        return nucleus_z_a(pdg)[0]
    value = Particle.from_pdgid(pdg).charge
    if value is None:
        raise ValueError(f"the particle table has no charge for PDG code {pdg}")
    return round(float(value))


@cache
def baryon_number(pdg: int) -> int:
    """Baryon number; for a nucleus its A.

    >>> [baryon_number(code) for code in (2212, -2112, 3122, 211, 13, 1000180400)]
    [1, -1, 1, 0, 0, 40]
    """
    if abs(pdg) > 1_000_000_000:
        return nucleus_z_a(pdg)[1]
    if abs(pdg) // 1000 % 10 and abs(pdg) < 10_000:  # four quark digits: three quarks
        return 1 if pdg > 0 else -1
    return 0


def nucleus_z_a(pdg: int) -> tuple[int, int]:
    """Z and A of a 10LZZZAAAI code.

    >>> nucleus_z_a(1000180400)
    (18, 40)
    """
    return pdg // 10_000 % 1000, pdg // 10 % 1000


def nucleus_pdg(z: int, a: int) -> int:
    """The 10LZZZAAAI code of a nucleus in its ground state; 0 for nothing left."""
    return 1_000_000_000 + z * 10_000 + a * 10 if a > 0 else 0


@cache
def nuclear_mass_table() -> FloatArray:
    """Ground-state masses in GeV, shape (MAX_Z + 1, MAX_A + 1), indexed by Z and A."""
    z, a = np.meshgrid(np.arange(MAX_Z + 1), np.arange(MAX_A + 1), indexing="ij")
    table = z * M_PROTON + (a - z) * M_NEUTRON - _semi_empirical_binding(z, a)
    for nucleus in Particle.findall(lambda p: p.pdgid.is_nucleus and p.pdgid > 1_000_000_000):
        known_z, known_a = nucleus_z_a(int(nucleus.pdgid))
        if nucleus.mass is None or int(nucleus.pdgid) % 10:
            continue
        if known_z <= MAX_Z and known_a <= MAX_A:
            table[known_z, known_a] = nucleus.mass / 1000.0
    table[0, :], table[1, 1] = np.arange(MAX_A + 1) * M_NEUTRON, M_PROTON
    for n in range(1, MAX_A + 1):
        table[1:, n] = np.minimum(table[1:, n], table[:-1, n - 1] + M_PROTON)
        table[:, n] = np.minimum(table[:, n], table[:, n - 1] + M_NEUTRON)
    table[:, 0] = 0.0
    table.setflags(write=False)
    return table


def _semi_empirical_binding(z: npt.NDArray[np.int_], a: npt.NDArray[np.int_]) -> FloatArray:
    """Binding energy in GeV by the Bethe-Weizsaecker formula (coefficients of Rohlf 1994, in MeV); 0 if unphysical."""
    size = np.maximum(a, 1).astype(np.float64)
    binding_MeV = 15.75 * size - 17.8 * size ** (2 / 3) - 0.711 * z**2 / size ** (1 / 3)
    binding_MeV -= 23.7 * (size - 2 * z) ** 2 / size
    result: FloatArray = np.where((z >= 1) & (z < a), np.maximum(binding_MeV, 0.0), 0.0) / 1000.0
    return result


M_PROTON, M_NEUTRON = mass(PROTON), mass(NEUTRON)
#: Target mass of the free-nucleon cross-sections: the mean of proton and neutron.
M_NUCLEON = 0.5 * (M_PROTON + M_NEUTRON)
M_PION, M_PION_ZERO = mass(PI_PLUS), mass(PI_ZERO)
