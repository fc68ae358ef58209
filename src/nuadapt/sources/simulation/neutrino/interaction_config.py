"""Every setting of the interaction generator, once, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from nuadapt.errors import ConfigError
from nuadapt.sources.simulation.neutrino.masses import ARGON_40


@dataclass(frozen=True, slots=True)
class InteractionConfig:
    """Physics of neutrino interactions. Hashable, so that tables are built once per configuration.

    Raises:
        ConfigError: a value is not finite or negative.
    """

    #: PDG code of the target: a nucleus, or 2212 / 2112 for a free nucleon at rest.
    target_pdg: int = ARGON_40
    #: Axial mass of quasi-elastic scattering, GeV. Bubble chambers, Formaggio and Zeller arXiv:1305.7513.
    m_a_qe: float = 1.0
    #: Axial mass of resonance production, GeV. Deuterium bubble chambers, K. Kuzmin et al., hep-ph/0606184.
    m_a_res: float = 1.12
    #: 2p2h relative to quasi-elastic scattering at 5 GeV; about 0.2 in the model of Nieves et al., arXiv:1102.2777.
    mec_scale: float = 0.22
    #: Mean and width (GeV) of the outgoing pair's mass in 2p2h (two nucleons weigh 1.88). arXiv:1304.6014.
    mec_mass: float = 2.1
    mec_width: float = 0.1
    #: Strengths of the effective higher resonance of isospin 1/2 and 3/2 relative to the Delta. Tuned to the
    #: mode shares of arXiv:1305.7513 fig. 9.
    higher_half: float = 1.6
    higher_three_halves: float = 0.45
    #: Resonances end here, GeV; above, their tails are part of DIS.
    w_resonance_end: float = 1.8
    #: DIS fades in between these W (GeV), the upper half of the resonance region. Tuned to the shares at 1 and 3 GeV.
    w_dis_start: float = 1.3
    w_dis_full: float = 1.9
    #: Normalisation of DIS, tuned to the PDG's 0.677e-38 cm2/GeV per nucleon at high energy.
    dis_scale: float = 0.95
    #: Normalisation of coherent production, tuned between the ArgoNeuT points on argon (arXiv:1408.0598).
    coherent_scale: float = 2.5
    #: Fermi momentum, GeV. E. J. Moniz et al., Phys. Rev. Lett. 26 (1971) 445: 0.251 for calcium-40.
    fermi_momentum: float = 0.251
    #: Binding of a nucleon in the Fermi gas, GeV: 29.5 MeV, as commonly used for argon in generators.
    binding: float = 0.0295
    #: Share of nucleons in correlated pairs: about 0.2, R. Subedi et al., Science 320 (2008) 1476.
    tail_fraction: float = 0.2
    #: Whether nucleons may not end below the Fermi momentum.
    pauli_blocking: bool = True
    #: Whether pions and nucleons rescatter in the nucleus.
    rescattering: bool = True
    #: Whether the excited remnant boils off nucleons and photons (MeV blips in a detector).
    deexcitation: bool = True
    #: Factors on the free cross-sections and on pion absorption inside the nucleus: knobs for domain-shift studies.
    pion_scale: float = 1.0
    absorption_scale: float = 1.0
    #: Nucleons: reduced in the medium, V. R. Pandharipande and S. C. Pieper, Phys. Rev. C 45 (1992) 791 (rounded mean).
    nucleon_scale: float = 0.85
    #: Formation time of DIS hadrons, fm/c: 0.342, SKAT (V. V. Ammosov et al. 2001), as used by arXiv:1510.05494.
    formation_time: float = 0.342
    #: Step of the cascade, fm: small against mean free paths of 1 fm and more.
    cascade_step: float = 0.2
    #: Nucleons with less kinetic energy (GeV) stay in the nucleus: about a separation energy.
    escape_energy: float = 0.008

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise ConfigError(
                    f"{value} is not a possible value",
                    where=f"interaction setting {field.name}",
                    expected="a finite number that is not negative",
                )
        for name in ("cascade_step", "m_a_qe", "m_a_res", "mec_width"):
            if getattr(self, name) <= 0:
                raise ConfigError("must be above zero", where=f"interaction setting {name}")
        if not self.w_dis_start < self.w_dis_full or self.tail_fraction > 1 or not 0 < self.fermi_momentum < 0.6:
            raise ConfigError(
                "settings contradict each other",
                where="interaction settings",
                expected="w_dis_start < w_dis_full, tail_fraction <= 1, fermi_momentum in (0, 0.6)",
            )
