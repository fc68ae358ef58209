"""Neutrino interactions against published numbers, and against conservation laws."""

from __future__ import annotations

import math

import numpy as np

from nuadapt.events.truth import Current, InteractionMode
from nuadapt.sources.simulation.neutrino.hadronization import hadron_species
from nuadapt.sources.simulation.neutrino.interaction import (
    Interaction,
    InteractionConfig,
    channel_shares,
    interact,
    total_cross_section,
)
from nuadapt.sources.simulation.neutrino.masses import NEUTRON, PROTON, baryon_number, charge, mass, nucleus_z_a
from nuadapt.sources.simulation.validation.check import Check

_GROUP = "interactions"
#: Isoscalar: as many protons as neutrons, like the targets to which published shares and slopes refer.
_ISOSCALAR = InteractionConfig(target_pdg=1000200400)

#: Shares of the modes in nu_mu CC with tolerances, read from J. A. Formaggio and G. P. Zeller, arXiv:1305.7513, fig. 9
#: (isoscalar target; 2p2h counts with QE): energy in GeV -> (QE, RES, DIS).
_SHARES: dict[float, tuple[tuple[float, float], ...]] = {
    1.0: ((0.62, 0.08), (0.33, 0.08), (0.05, 0.05)),
    3.0: ((0.34, 0.08), (0.33, 0.08), (0.33, 0.08)),
    8.0: ((0.15, 0.06), (0.16, 0.06), (0.69, 0.08)),
}
_SHARES_SOURCE = "Formaggio and Zeller, arXiv:1305.7513, fig. 9"
_M = InteractionMode
_SHARE_MODES = {"QE plus 2p2h": (_M.QE, _M.MEC), "resonance production": (_M.RES,), "DIS": (_M.DIS,)}

#: Mean charged hadron multiplicity a + b ln(W^2/GeV^2) above W of 2 GeV: T. Yang et al. (AGKY), arXiv:0904.4043.
_MULTIPLICITY = {"nu p": (PROTON, 2, 0.40, 1.42), "nu n": (NEUTRON, 1, -0.20, 1.42)}
_MULTIPLICITY_TOLERANCE = 0.10
_MULTIPLICITY_W = (2.5, 4.0, 7.0)  # GeV

#: sigma_CC / E in 1e-38 cm2/GeV per nucleon of an isoscalar target, 30 to 200 GeV: PDG 2022, review 52.
_SLOPES = {"nu_mu": (14, 0.677), "nubar_mu": (-14, 0.334)}
_SLOPE_TOLERANCE = 0.10  # parton densities of one scale, no radiative or nuclear corrections
_SLOPE_ENERGY = 60.0  # GeV
#: NC over CC of neutrinos, isoscalar target: CDHS 0.3072 +- 0.0033, A. Blondel et al., Z. Phys. C 45 (1990) 361.
_NC_RATIO, _NC_TOLERANCE = 0.307, 0.10
#: E. A. Paschos and L. Wolfenstein, Phys. Rev. D 7 (1973) 91: (NC - NCbar) / (CC - CCbar) = 1/2 - sin^2(theta_W).
_PASCHOS_WOLFENSTEIN, _PW_TOLERANCE = 0.269, 0.05

_SPECIES = (
    (14, Current.CC),
    (12, Current.CC),
    (-14, Current.CC),
    (-12, Current.CC),
    (14, Current.NC),
    (-12, Current.NC),
)


def checks(events: int = 20_000, seed: int = 1, *, quick: bool = False) -> list[Check]:
    """All rows; ``quick`` uses a tenth of the events. About 20 s at the default."""
    rng = np.random.default_rng(seed)
    events = events // 10 if quick else events
    return [*_share_checks(), *_multiplicity_checks(events, rng), *_total_checks(), *_closure_checks(events, rng)]


def _share_checks() -> list[Check]:
    rows = []
    for energy, expected in _SHARES.items():
        shares = channel_shares(14, energy, Current.CC, _ISOSCALAR)
        for (name, modes), (share, tolerance) in zip(_SHARE_MODES.items(), expected, strict=True):
            measured = sum(shares[mode] for mode in modes)
            condition = f"E = {energy:g} GeV"
            quantity = f"share of {name} in numu CC"
            rows.append(Check(_GROUP, quantity, condition, measured, share, tolerance, "1", _SHARES_SOURCE))
    return rows


def _multiplicity_checks(events: int, rng: np.random.Generator) -> list[Check]:
    rows = []
    for name, (hit, total_charge, a, b) in _MULTIPLICITY.items():
        for W in _MULTIPLICITY_W:
            charged = [
                sum(charge(code) != 0 for code in hadron_species(W, False, hit, total_charge, rng))
                for _ in range(events // 4)
            ]
            expected = a + b * math.log(W**2)
            rows.append(
                Check(
                    _GROUP,
                    f"mean charged hadron multiplicity {name}",
                    f"W = {W:g} GeV",
                    float(np.mean(charged)),
                    expected,
                    _MULTIPLICITY_TOLERANCE * expected,
                    "1",
                    "AGKY, arXiv:0904.4043",
                    float(np.std(charged) / math.sqrt(len(charged))),
                )
            )
    return rows


def _total_checks() -> list[Check]:
    nucleons = nucleus_z_a(_ISOSCALAR.target_pdg)[1]
    condition = f"E = {_SLOPE_ENERGY:g} GeV, isoscalar"
    sections = {
        (nu, current): total_cross_section(nu, _SLOPE_ENERGY, current, _ISOSCALAR) / nucleons / _SLOPE_ENERGY
        for nu in (14, -14)
        for current in (Current.CC, Current.NC)
    }
    rows = []
    for name, (nu, slope) in _SLOPES.items():
        quantity, unit = f"CC cross-section over energy per nucleon, {name}", "1e-38 cm2/GeV"
        value, tolerance = sections[nu, Current.CC], _SLOPE_TOLERANCE * slope
        rows.append(Check(_GROUP, quantity, condition, value, slope, tolerance, unit, "PDG 2022, 30 to 200 GeV"))
    ratio = sections[14, Current.NC] / sections[14, Current.CC]
    difference = sections[14, Current.NC] - sections[-14, Current.NC]
    difference /= sections[14, Current.CC] - sections[-14, Current.CC]
    for quantity, value, expected, tolerance, source in (
        ("NC over CC, nu_mu", ratio, _NC_RATIO, _NC_TOLERANCE, "CDHS, Z. Phys. C 45 (1990) 361"),
        ("Paschos-Wolfenstein ratio", difference, _PASCHOS_WOLFENSTEIN, _PW_TOLERANCE, "Phys. Rev. D 7 (1973) 91"),
    ):
        rows.append(Check(_GROUP, quantity, condition, value, expected, tolerance * expected, "1", source))
    return rows


def _closure_checks(events: int, rng: np.random.Generator) -> list[Check]:
    config = InteractionConfig()
    z, a = nucleus_z_a(config.target_pdg)
    worst, charge_off, baryon_off, unbound = 0.0, 0, 0, 0
    for i in range(events):
        nu_pdg, current = _SPECIES[i % len(_SPECIES)]
        made = interact(nu_pdg, float(rng.uniform(0.2, 10.0)), current, rng, config)
        worst = max(worst, four_momentum_imbalance(made))
        left_z, left_a = nucleus_z_a(made.remnant_pdg) if made.remnant_pdg else (0, 0)
        charge_off += sum(charge(int(code)) for code in made.pdg) + left_z != z
        baryon_off += sum(baryon_number(int(code)) for code in made.pdg) + left_a != a
        unbound += remnant_excitation(made) < -1e-6
    condition, source = f"{events} events, 0.2 to 10 GeV, argon-40, all flavours", "conservation law"
    return [
        Check(_GROUP, "largest four-momentum imbalance with remnant", condition, worst, 0, 1e-6, "GeV", source),
        Check(_GROUP, "events with charge not conserved", condition, charge_off, 0, 0, "events", source),
        Check(_GROUP, "events with baryon number not conserved", condition, baryon_off, 0, 0, "events", source),
        Check(_GROUP, "remnants below their ground-state mass", condition, unbound, 0, 0, "events", source),
    ]


def four_momentum_imbalance(made: Interaction) -> float:
    """Largest component (GeV) of neutrino plus target minus everything that comes out."""
    before = np.array([0.0, 0.0, made.nu_energy, made.nu_energy + mass(made.target_pdg)])
    return float(np.abs(made.p4.sum(axis=0) + made.remnant_p4 - before).max())


def remnant_excitation(made: Interaction) -> float:
    """Invariant mass of the remnant above its ground state, GeV; 0 if nothing remains."""
    if not made.remnant_pdg:
        return 0.0
    p = made.remnant_p4
    return math.sqrt(max(float(p[3] ** 2 - p[:3] @ p[:3]), 0.0)) - mass(made.remnant_pdg)
