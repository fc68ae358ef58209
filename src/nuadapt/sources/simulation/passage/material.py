"""Liquid argon and fundamental constants, each with its unit and source. Lengths cm, energies GeV.

PDG ANP: Particle Data Group, Atomic and Nuclear Properties, liquid argon. PDG RPP: Review of Particle Physics.
"""

from __future__ import annotations

from typing import Final

from particle import Particle

from nuadapt.errors import ConfigError


def mass_of(pdg: int) -> float:
    """Mass in GeV of a particle or nucleus from the ``particle`` package."""
    mass_MeV = Particle.from_pdgid(pdg).mass
    if mass_MeV is None:
        raise ConfigError(f"the particle table has no mass for PDG code {pdg}")
    return float(mass_MeV) / 1000.0


DENSITY: Final = 1.396  # g/cm3, PDG ANP
ATOMIC_NUMBER: Final = 18.0
ATOMIC_MASS: Final = 39.948  # g/mol, PDG ANP
Z_OVER_A: Final = 0.45059  # mol/g, PDG ANP
MEAN_EXCITATION: Final = 188.0e-9  # GeV, PDG ANP; 197 +- 7 eV in arXiv:2212.06286 moves dE/dx by 0.5 %
RADIATION_LENGTH: Final = 19.55 / DENSITY  # cm, PDG ANP
MOLIERE_RADIUS: Final = 9.04  # cm, PDG ANP
CRITICAL_ENERGY: Final = 32.84e-3  # GeV, electrons, PDG ANP
MINIMUM_LOSS: Final = 2.105e-3  # GeV/cm, dE/dx at minimum ionisation, PDG ANP
NUCLEAR_INTERACTION_LENGTH: Final = 119.7 / DENSITY  # cm, nucleons, PDG ANP
PION_INTERACTION_LENGTH: Final = 149.0 / DENSITY  # cm, PDG ANP

# Density effect of liquid argon: Sternheimer parameters, Groom, Mokhov, Striganov, ADNDT 78 (2001) 183.
STERNHEIMER_C: Final = 5.2146
STERNHEIMER_X0: Final = 0.2000
STERNHEIMER_X1: Final = 3.0000
STERNHEIMER_A: Final = 0.19559
STERNHEIMER_M: Final = 3.0000

AVOGADRO: Final = 6.02214076e23  # 1/mol, SI definition
BETHE_K: Final = 0.307075e-3  # GeV cm2/mol, 4 pi N_A r_e^2 m_e c^2, PDG RPP table 34.1
ELECTRON_RADIUS: Final = 2.8179403e-13  # cm, classical electron radius, PDG RPP table 1.1
FINE_STRUCTURE: Final = 1 / 137.035999  # PDG RPP table 1.1
HIGHLAND: Final = 13.6e-3  # GeV, PDG RPP eq. 34.16 (Lynch and Dahl, NIM B58 (1991) 6)
MILLIBARN: Final = 1.0e-27  # cm2
ATOM_DENSITY: Final = DENSITY * AVOGADRO / ATOMIC_MASS  # atoms/cm3
#: Rutherford scale of ionisation, GeV/cm: xi = XI_PER_CM * z^2 / beta^2 * path (PDG RPP eq. 34.12).
XI_PER_CM: Final = 0.5 * BETHE_K * Z_OVER_A * DENSITY

ELECTRON_MASS: Final = mass_of(11)
MUON_MASS: Final = mass_of(13)
PROTON_MASS: Final = mass_of(2212)
NEUTRON_MASS: Final = mass_of(2112)
PION_MASS: Final = mass_of(211)
ARGON40_MASS: Final = mass_of(1000180400)

MUON_LIFETIME: Final = 2196.98  # ns, free, PDG RPP
#: Mean life of mu- bound in argon, ns: Klinskikh et al., Bull. RAS Phys. 72 (2008) 735, 564 +- 14 ns (40Ar);
#: Suzuki, Measday, Roalsvig, PRC 35 (1987) 2212 have 537 +- 32 ns for natural argon.
MUON_LIFETIME_ARGON: Final = 564.0
HUFF_FACTOR: Final = 0.99  # decay rate of the bound over the free muon, argon, Suzuki et al. 1987
#: Fraction of stopped mu- that the nucleus captures: 1 - Q tau_Ar / tau_free.
MUON_CAPTURE_FRACTION: Final = 1.0 - HUFF_FACTOR * MUON_LIFETIME_ARGON / MUON_LIFETIME

SEPARATION_ENERGY: Final = (
    8.0e-3  # GeV, mean nucleon separation energy near A = 40 (9.9 n, 12.5 p in 40Ar; 6 to 8 after)
)
FERMI_MOMENTUM: Final = 0.250  # GeV, Moniz et al., PRL 26 (1971) 445, interpolated to argon
NUCLEAR_RADIUS: Final = 4.42  # fm, uniform sphere of rms charge radius 3.427 fm (Angeli and Marinova 2013)
