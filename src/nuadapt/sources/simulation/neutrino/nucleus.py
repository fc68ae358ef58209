"""The target nucleus: density, Fermi gas with a correlated tail, and the bookkeeping of what remains.

Energy is conserved by construction. A nucleon taken out of a nucleus carries what a relativistic Fermi gas says,
but never more than leaves the rest in its ground state; everything else stays in the remnant's four-momentum as
excitation and recoil.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.neutrino.kinematics import isotropic
from nuadapt.sources.simulation.neutrino.masses import (
    ARGON_40,
    M_NEUTRON,
    M_PROTON,
    MAX_A,
    MAX_Z,
    NEUTRON,
    PROTON,
    nuclear_mass_table,
    nucleus_z_a,
)

FloatArray = npt.NDArray[np.float64]

HBAR_C = 0.1973270  # GeV fm, CODATA
#: Two-parameter Fermi density of Ar-40: half radius and diffuseness in fm.
#: H. de Vries, C. W. de Jager, C. de Vries, At. Data Nucl. Data Tables 36 (1987) 495.
ARGON_DENSITY = (3.53, 0.542)
DENSITY_NODES = 200
MAX_RADIUS_IN_DIFFUSENESS = 8.0  # beyond c + 8 a the density is below 0.04 % of the centre
#: Momentum (GeV) at which the correlated tail ends: 4 / fm. A. Bodek and J. L. Ritchie, Phys. Rev. D 23 (1981) 1070.
TAIL_END = 4.0 * HBAR_C
#: Centre-of-mass motion of a correlated pair, Gaussian width per axis in GeV; E. O. Cohen et al., Phys. Rev. Lett. 121
#: (2018) 092501.
PAIR_MOTION = 0.15
#: Share of neutron-proton pairs among correlated pairs; R. Subedi et al., Science 320 (2008) 1476.
NP_SHARE = 0.9


class Nucleus(NamedTuple):
    """A target, in the form that compiled kernels take. ``a`` is 1 for a free nucleon at rest."""

    z: int
    a: int
    fermi_momentum: float  # GeV
    binding: float  # GeV
    tail_fraction: float  # of nucleons in correlated pairs
    radius_step: float  # fm between the nodes of the two arrays below
    density: FloatArray  # (DENSITY_NODES,) nucleons per fm^3 at radii 0, step, ...
    cumulative: FloatArray  # (DENSITY_NODES,) share of nucleons inside that radius
    masses: FloatArray  # (Z, A) ground-state masses, GeV


@lru_cache(maxsize=16)
def nucleus(pdg: int, fermi_momentum: float, binding: float, tail_fraction: float) -> Nucleus:
    """The nucleus of a 10LZZZAAAI code, or a free nucleon for 2212 or 2112.

    Raises:
        ConfigError: not a nucleus, or heavier than the mass table.
    """
    if pdg in (PROTON, NEUTRON):
        empty = np.zeros(DENSITY_NODES)
        return Nucleus(int(pdg == PROTON), 1, 0.0, 0.0, 0.0, 1.0, empty, empty + 1.0, nuclear_mass_table())
    z, a = nucleus_z_a(pdg)
    if pdg < 1_000_000_000 or not (1 <= z <= MAX_Z and max(z, 4) <= a <= MAX_A):
        raise ConfigError(
            f"{pdg} is not a target that can be simulated",
            where="target_pdg",
            expected=f"2212, 2112 or a nucleus 10LZZZAAAI with A from 4 to {MAX_A}, such as {ARGON_40} for argon-40",
        )
    half, diffuseness = ARGON_DENSITY if pdg == ARGON_40 else _density_parameters(a)
    end = half + MAX_RADIUS_IN_DIFFUSENESS * diffuseness
    r = np.linspace(0.0, end, DENSITY_NODES)
    shape = 1 / (1 + np.exp((r - half) / diffuseness))
    weight = shape * r**2
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (weight[1:] + weight[:-1]))]) * (r[1] - r[0])
    density = a * shape / (4 * np.pi * cumulative[-1])
    masses = nuclear_mass_table()
    return Nucleus(z, a, fermi_momentum, binding, tail_fraction, r[1], density, cumulative / cumulative[-1], masses)


def _density_parameters(a: int) -> tuple[float, float]:
    """Half radius and diffuseness (fm) of any nucleus: systematics of J. W. Negele, Phys. Rev. C 1 (1970) 1260."""
    return (0.978 + 0.0206 * a ** (1 / 3)) * a ** (1 / 3), 0.54


@compiled
def draw_position(target: Nucleus, rng: np.random.Generator) -> FloatArray:
    """A point (3,) in fm, distributed as the nucleons are."""
    draw = rng.random()
    i = min(max(int(np.searchsorted(target.cumulative, draw)), 1), len(target.cumulative) - 1)
    step = target.cumulative[i] - target.cumulative[i - 1]
    part = (draw - target.cumulative[i - 1]) / step if step > 0 else 0.5
    out: FloatArray = (i - 1 + part) * target.radius_step * isotropic(rng)
    return out


@compiled
def density_at(target: Nucleus, r: float) -> float:
    """Nucleons per fm^3 at radius ``r`` (fm), before anything was knocked out."""
    position = r / target.radius_step
    i = int(position)
    if i >= len(target.density) - 1:
        return 0.0
    part = position - i
    return float(target.density[i] * (1 - part) + target.density[i + 1] * part)


@compiled
def local_fermi_momentum(density: float) -> float:
    """Fermi momentum (GeV) of symmetric matter of ``density`` (1/fm^3): hbar c (3 pi^2 rho / 2)^(1/3)."""
    return HBAR_C * float((1.5 * math.pi**2 * density) ** (1 / 3))


@compiled
def sphere_momentum(maximum: float, rng: np.random.Generator) -> FloatArray:
    """A momentum (3,) uniform in the Fermi sphere of radius ``maximum`` (GeV)."""
    out: FloatArray = maximum * rng.random() ** (1 / 3) * isotropic(rng)
    return out


@compiled
def tail_momentum(target: Nucleus, rng: np.random.Generator) -> FloatArray:
    """A momentum (3,) of the correlated tail: density in p falling as 1/p^4, so 1/p^2 after the solid angle."""
    inverse = 1 / target.fermi_momentum
    inverse -= rng.random() * (inverse - 1 / TAIL_END)
    return isotropic(rng) / inverse


@compiled
def take_nucleon(  # type: ignore[no-untyped-def]
    target: Nucleus, remnant: FloatArray, z: int, a: int, is_proton: bool, p3: FloatArray
):
    """Take a nucleon of momentum ``p3`` (GeV) out of a remnant of charge ``z`` and mass number ``a``.

    Energy: relativistic Fermi gas, sqrt(p^2 + M^2) - binding (R. A. Smith and E. J. Moniz, Nucl. Phys. B 43 (1972)
    605), capped where the rest would fall below its ground state. Gives whether it is possible, and its
    four-momentum (4,).
    """
    out = remnant.copy()
    z_left = z - 1 if is_proton else z
    if a < 1 or z_left < 0 or z_left > a - 1:
        return False, out
    if a == 1:
        return True, out
    m = M_PROTON if is_proton else M_NEUTRON
    left, p2 = target.masses[z_left, a - 1] ** 2, 0.0
    for i in range(3):
        out[i] = p3[i]
        p2 += p3[i] ** 2
        left += (remnant[i] - p3[i]) ** 2
    out[3] = min(math.sqrt(p2 + m * m) - target.binding, remnant[3] - math.sqrt(left))
    return True, out
