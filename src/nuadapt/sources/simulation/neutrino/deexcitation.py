"""De-excitation of the struck nucleus: evaporated nucleons, then photons down to the ground state.

After V. F. Weisskopf, Phys. Rev. 52 (1937) 295: an excited nucleus boils off neutrons and protons with a thermal
spectrum while it can; what is left goes to photons. Simplified: no alpha particles, one level-density parameter, photon
energies from a continuum and not from known levels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.kernels import compiled
from nuadapt.sources.simulation.neutrino.kinematics import invariant_mass2, isotropic, two_body
from nuadapt.sources.simulation.neutrino.masses import M_NEUTRON, M_PROTON
from nuadapt.sources.simulation.neutrino.nucleus import Nucleus

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEVEL_DENSITY = 1000.0 / 8.0  # 1/GeV per nucleon: a = A / 8 MeV, textbook mean of fitted values
#: Coulomb barrier of a proton per charge of the rest, GeV fm, a third less for tunnelling; radius parameter in fm.
COULOMB, RADIUS = 1.44e-3 * 2 / 3, 1.3
LIGHTEST = 4  # nuclei of this mass number or less are left as they are
PHOTON_FLOOR = 0.1e-3  # GeV; the last photon carries everything below about twice this
STATISTICAL_PHOTON = 2.5e-3  # GeV, typical energy of a statistical photon of a nucleus of mass 40 (assumed)
MAX_EMITTED = 64


@compiled
def _room(target: Nucleus, excited: float, z: int, a: int, is_proton: bool) -> tuple[float, float]:
    """Energy (GeV) left for emitting a nucleon from a nucleus of mass ``excited``, and the barrier it must pass."""
    left_z = z - int(is_proton)
    if left_z < 1 or left_z >= a - 1:
        return -1.0, 0.0
    barrier = COULOMB * left_z / (RADIUS * (1 + (a - 1) ** (1 / 3))) if is_proton else 0.0
    m = M_PROTON if is_proton else M_NEUTRON
    return excited - target.masses[left_z, a - 1] - m - barrier, barrier


@compiled
def deexcite(  # type: ignore[no-untyped-def]
    target: Nucleus, remnant: FloatArray, z: int, a: int, rng: np.random.Generator
):
    """Bring a remnant of charge z and mass number a to its ground state (to 0.1 MeV).

    Gives codes (n,), four-momenta (n, 4), and the new remnant's four-momentum (4,), Z and A.
    """
    pdg, p4, n = np.zeros(MAX_EMITTED, np.int64), np.zeros((MAX_EMITTED, 4)), 0
    while a > LIGHTEST and n < MAX_EMITTED - 1:
        excited = math.sqrt(invariant_mass2(remnant))
        neutron, _ = _room(target, excited, z, a, False)
        proton, barrier = _room(target, excited, z, a, True)
        if neutron <= 0 and proton <= 0:
            break
        density = LEVEL_DENSITY * a
        weight_n = neutron * math.exp(2 * math.sqrt(density * neutron)) if neutron > 0 else 0.0
        weight_p = proton * math.exp(2 * math.sqrt(density * proton)) if proton > 0 else 0.0
        is_proton = rng.random() * (weight_n + weight_p) < weight_p
        room, wall = (proton, barrier) if is_proton else (neutron, 0.0)
        m = M_PROTON if is_proton else M_NEUTRON
        kinetic = wall + _thermal(room, math.sqrt(room / density), rng)
        pair = two_body(remnant, m, excited - m - kinetic, isotropic(rng))
        pdg[n], p4[n], remnant = 2212 if is_proton else 2112, pair[0], pair[1]
        z, a, n = z - int(is_proton), a - 1, n + 1
    while a > LIGHTEST and n < MAX_EMITTED:
        energy = math.sqrt(invariant_mass2(remnant)) - target.masses[z, a]
        if energy < PHOTON_FLOOR:
            break
        taken = -STATISTICAL_PHOTON * math.log(1 - rng.random())
        rest = energy - taken if PHOTON_FLOOR < taken < energy - PHOTON_FLOOR else 0.0
        pair = two_body(remnant, 0.0, target.masses[z, a] + rest, isotropic(rng))
        pdg[n], p4[n], remnant = 22, pair[0], pair[1]
        n += 1
    return pdg[:n], p4[:n], remnant, z, a


@compiled
def _thermal(room: float, temperature: float, rng: np.random.Generator) -> float:
    """Energy from the evaporation spectrum E exp(-E / T), below ``room`` (GeV)."""
    for _ in range(100):
        energy = -temperature * math.log((1 - rng.random()) * (1 - rng.random()))
        if energy < room:
            return energy
    return 0.5 * room
