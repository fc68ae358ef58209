"""Differential cross-sections of neutrinos on free nucleons (and, coherently, on nuclei).

Every function is vectorised, takes energies in GeV and gives 1e-38 cm2 per GeV powers of its variables.
The target is at rest. Which lepton mass and current apply is said by a :class:`Probe`.

Simplifications, stated once: charm (from the strange sea) counts in the CC cross-section but is hadronised like light
quarks; no strangeness content of the nucleon's axial current; no radiative corrections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import beta

from nuadapt.sources.simulation.neutrino.masses import M_NUCLEON, M_PION, PROTON, mass

FloatArray = npt.NDArray[np.float64]

G_FERMI = 1.1663788e-5  # GeV^-2, PDG 2022
GEV2_TO_1E38_CM2 = 0.3893794e-27 * 1e38  # (hbar c)^2 in GeV^2 1e-38 cm2, PDG 2022
COS2_CABIBBO = 0.97373**2  # |V_ud|^2, PDG 2022
SIN2_WEINBERG = 0.2312  # effective leptonic, PDG 2022
AXIAL_COUPLING = 1.2754  # g_A / g_V of neutron decay, PDG 2022
MU_PROTON, MU_NEUTRON = 2.7928, -1.9130  # magnetic moments in nuclear magnetons, PDG 2022
M_CHARMED, M_CHARM = mass(421), 1.27  # GeV: D0, and the charm quark (MS-bar, PDG 2022)
M2_VECTOR = 0.71  # GeV^2, dipole mass squared of the nucleon's electromagnetic form factors


@dataclass(frozen=True, slots=True)
class Probe:
    """The leptonic side: current, helicity and mass of the outgoing lepton."""

    is_cc: bool
    is_antineutrino: bool
    lepton_mass: float  # GeV

    @property
    def helicity(self) -> float:
        """Sign of vector-axial interference: +1 neutrino, -1 antineutrino."""
        return -1.0 if self.is_antineutrino else 1.0


def quasi_elastic(probe: Probe, hit: int, energy: FloatArray, Q2: FloatArray, m_a: float) -> FloatArray:
    """d sigma / d Q2 in 1e-38 cm2/GeV2 of (quasi-)elastic scattering on a free nucleon.

    C. H. Llewellyn Smith, Phys. Rept. 3 (1972) 261, eq. 3.18, with dipole form factors of axial mass ``m_a`` (GeV)
    and a pion-pole pseudoscalar. NC form factors: W. M. Alberico et al., Phys. Rept. 358 (2002) 227, strange part 0.
    """
    f1, f2, f_a = _form_factors(probe, hit, Q2, m_a)
    m2, M2 = probe.lepton_mass**2, M_NUCLEON**2
    tau = Q2 / (4 * M2)
    f_p = 2 * M2 * f_a / (Q2 + M_PION**2)
    mass_term = (f1 + f2) ** 2 + (f_a + 2 * f_p) ** 2 - 4 * (1 + tau) * f_p**2
    a = (1 + tau) * f_a**2 - (1 - tau) * f1**2 + tau * (1 - tau) * f2**2 + 4 * tau * f1 * f2
    a = (m2 + Q2) / M2 * (a - m2 / (4 * M2) * mass_term)
    b = Q2 / M2 * f_a * (f1 + f2)
    c = 0.25 * (f_a**2 + f1**2 + tau * f2**2)
    s_minus_u = (4 * M_NUCLEON * energy - Q2 - m2) / M2
    strength = G_FERMI**2 * (COS2_CABIBBO if probe.is_cc else 1.0) * M2 / (8 * np.pi * energy**2)
    return GEV2_TO_1E38_CM2 * strength * np.maximum(a + probe.helicity * b * s_minus_u + c * s_minus_u**2, 0.0)


def _form_factors(probe: Probe, hit: int, Q2: FloatArray, m_a: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Dirac, Pauli (times anomalous moment) and axial form factors of the transition."""
    tau = Q2 / (4 * M_NUCLEON**2)
    dipole = (1 + Q2 / M2_VECTOR) ** -2
    f1_p, f2_p = dipole * (1 + tau * MU_PROTON) / (1 + tau), dipole * (MU_PROTON - 1) / (1 + tau)
    f1_n, f2_n = dipole * tau * MU_NEUTRON / (1 + tau), dipole * MU_NEUTRON / (1 + tau)
    axial = AXIAL_COUPLING * (1 + Q2 / m_a**2) ** -2
    if probe.is_cc:
        return f1_p - f1_n, f2_p - f2_n, axial
    own, other = (0.5 - 2 * SIN2_WEINBERG), -0.5
    if hit == PROTON:
        return own * f1_p + other * f1_n, own * f2_p + other * f2_n, 0.5 * axial
    return own * f1_n + other * f1_p, own * f2_n + other * f2_p, -0.5 * axial


def two_nucleon_shape(energy: FloatArray, W: FloatArray, Q2: FloatArray, W0: float, width: float) -> FloatArray:
    """Shape in (W, Q2) of 2p2h on a nucleon pair at rest, ``W`` the mass of the outgoing pair; not normalised.

    Simplified from the empirical model of T. Katori, arXiv:1304.6014: the pair's mass is a Gaussian between the
    quasi-elastic and Delta peaks, the strength transverse with a dipole of 0.5 GeV2.
    """
    target = 2 * M_NUCLEON
    y = (W**2 + Q2 - target**2) / (2 * target * energy)
    gaussian = np.exp(-0.5 * ((W - W0) / width) ** 2)
    # Q2/(Q2 + 0.1): the transverse response vanishes with the three-momentum.
    return gaussian * (1 + (1 - np.clip(y, 0, 1)) ** 2) * (1 + Q2 / 0.5) ** -4 * Q2 / (Q2 + 0.1)


# --- deep inelastic -------------------------------------------------------------------------------------------

#: Bodek and Yang, hep-ph/0508007: scaling variable (A, B) and K factors, all in GeV^2.
BY_A, BY_B = 0.538, 0.305
BY_SEA, BY_VALENCE_U, BY_VALENCE_D = 0.363, (0.291, 0.189), (0.202, 0.255)  # valence: (C_v1, C_v2)


def deep_inelastic(probe: Probe, hit: int, energy: FloatArray, W: FloatArray, Q2: FloatArray) -> FloatArray:
    """d2 sigma / dW dQ2 in 1e-38 cm2/GeV3 of the leading-order parton model on a free nucleon.

    PDG review of structure functions, eq. 18.20 ff. (quark and antiquark terms with 1 and (1 - y)^2), with the low-Q2
    extension of Bodek and Yang (scaling variable xi_w, K factors). Parton densities: see :func:`partons`.
    """
    nu = (W**2 - M_NUCLEON**2 + Q2) / (2 * M_NUCLEON)
    y = np.clip(nu / energy, 0.0, 1.0)
    x = np.clip(Q2 / (2 * M_NUCLEON * nu), 1e-9, 1.0)
    xi = 2 * x * (Q2 + BY_B) / (Q2 * (1 + np.sqrt(1 + 4 * M_NUCLEON**2 * x**2 / Q2)) + 2 * BY_A * x)
    u, d, sea = partons(np.clip(xi, 1e-9, 1 - 1e-9), Q2)
    if hit != PROTON:
        u, d = d, u
    # Charm from the strange sea: open above p + D, suppressed by its mass.
    strange = sea * np.where(W > M_NUCLEON + M_CHARMED, Q2 / (Q2 + M_CHARM**2), 0.0)
    same, opposite = _helicity_sums(probe, u, d, (sea, strange if probe.is_cc else sea))
    per_xy = 2 * G_FERMI**2 * M_NUCLEON * energy / np.pi * (same + opposite * (1 - y) ** 2)
    jacobian = W / (2 * M_NUCLEON**2 * nu * energy)
    return GEV2_TO_1E38_CM2 * per_xy * jacobian


def partons(x: FloatArray, Q2: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x u_valence, x d_valence and one flavour of x sea in the proton, with the K factors of Bodek and Yang.

    D. W. Duke and J. F. Owens, Phys. Rev. D 30 (1984) 49, set 1 at its starting scale of 4 GeV2, where it is a closed
    formula; scaling violation is left out (few per cent in sigma_tot below 100 GeV). The valence number sum rules hold.
    """
    both_norm = 3 / (beta(0.419, 4.46) * (1 + 4.40 * 0.419 / (0.419 + 4.46)))
    both = both_norm * x**0.419 * (1 - x) ** 3.46 * (1 + 4.40 * x)
    down = x**0.763 * (1 - x) ** 4.00 / beta(0.763, 5.00)
    sea = 1.265 * (1 - x) ** 8.05 / 6
    elastic_limit = 1 - (1 + Q2 / M2_VECTOR) ** -4
    k_u = elastic_limit * (Q2 + BY_VALENCE_U[1]) / (Q2 + BY_VALENCE_U[0])
    k_d = elastic_limit * (Q2 + BY_VALENCE_D[1]) / (Q2 + BY_VALENCE_D[0])
    return np.maximum(both - down, 0.0) * k_u, down * k_d, sea * Q2 / (Q2 + BY_SEA)


def _helicity_sums(
    probe: Probe, u: FloatArray, d: FloatArray, seas: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Parton sums of equal helicity (flat in y) and of opposite helicity (going as (1 - y)^2) to the neutrino."""
    sea, strange = seas  # one light flavour, and strange quarks
    if probe.is_cc:  # neutrinos see d and ubar, antineutrinos dbar and u
        return (sea + strange, u + sea) if probe.is_antineutrino else (d + sea + strange, sea)
    up_left, up_right = 0.5 - 2 / 3 * SIN2_WEINBERG, -2 / 3 * SIN2_WEINBERG
    down_left, down_right = -0.5 + 1 / 3 * SIN2_WEINBERG, 1 / 3 * SIN2_WEINBERG
    quarks_up, quarks_down = u + sea, d + sea + strange
    left = up_left**2 * quarks_up + down_left**2 * quarks_down + up_right**2 * sea + down_right**2 * (sea + strange)
    right = up_right**2 * quarks_up + down_right**2 * quarks_down + up_left**2 * sea + down_left**2 * (sea + strange)
    return (right, left) if probe.is_antineutrino else (left, right)


# --- coherent pion ----------------------------------------------------------------------------------------------


def coherent_slope(a: int) -> float:
    """Slope b in GeV^-2 of exp(-b |t|): a third of the squared radius 1 fm A^(1/3) (Rein and Sehgal 1983)."""
    return float((1.0 * a ** (1 / 3) / 0.1973270) ** 2 / 3)


def coherent(
    probe: Probe, a: int, energy: FloatArray, y: FloatArray, Q2: FloatArray, sigma_mb: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """d2 sigma / dy dQ2 in 1e-38 cm2/GeV2 per nucleus, integrated over t, of coherent pion production.

    D. Rein and L. M. Sehgal, Nucl. Phys. B 223 (1983) 29; lepton mass: the same, Phys. Lett. B 657 (2007) 207.
    ``sigma_mb``: total and inelastic pion-nucleon cross-sections (mb) at the pion energy y E.
    """
    mb = 1 / 0.3893794  # GeV^-2 per mb
    total, inelastic = sigma_mb[0] * mb, sigma_mb[1] * mb
    radius2 = (1.0 / 0.1973270) ** 2  # (1 fm)^2 in GeV^-2
    absorption = np.exp(-9 * a ** (1 / 3) / (16 * np.pi * radius2) * inelastic)
    t_min = ((Q2 + M_PION**2) / (2 * y * energy)) ** 2
    slope = coherent_slope(a)
    elastic = a**2 * total**2 / (16 * np.pi) * absorption * np.exp(-slope * t_min) / slope
    f_pi = 0.93 * M_PION
    pcac = G_FERMI**2 * f_pi**2 / (4 * np.pi**2) * (1 - y) / y * (1 + Q2) ** -2  # axial mass 1 GeV
    result = GEV2_TO_1E38_CM2 * pcac * elastic
    if probe.is_cc:
        Q2_min = probe.lepton_mass**2 * y / (1 - y)
        pole = Q2 + M_PION**2
        correction = (1 - 0.5 * Q2_min / pole) ** 2 + 0.25 * y * Q2_min * (Q2 - Q2_min) / pole**2
        result = 2 * COS2_CABIBBO * result * np.where(Q2_min < Q2, correction, 0.0)
    return np.where(y * energy > M_PION, result, 0.0)
