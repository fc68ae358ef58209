"""Curves behind the checks, as data for figures: title, axes with units, and series with a name and a kind.

The kinds are ``line``, ``points``, ``reference`` (published) and ``histogram`` (one more edge than counts).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.passage import energy_loss, material, species
from nuadapt.sources.simulation.passage.particle_decays import MICHEL_ENDPOINT
from nuadapt.sources.simulation.passage.transport import TransportConfig
from nuadapt.sources.simulation.validation import passage_measurements as measure
from nuadapt.sources.simulation.validation.passage import MUON, PDG_MUON_RANGE, PROTON, PSTAR_PROTON_RANGE

Curve = dict[str, Any]
_SHOWERS = 300


def all_curves(seed: int = 1) -> dict[str, Curve]:
    """Every curve by name."""
    rng = np.random.default_rng(seed)
    return {
        "loss": _loss(),
        "range": _range(),
        "scattering": _scattering(seed),
        "michel": _michel(rng),
        "showers": _longitudinal(rng),
        "lateral": _lateral(rng),
    }


def _series(name: str, x: npt.ArrayLike, y: npt.ArrayLike, kind: str = "line") -> dict[str, Any]:
    return {"name": name, "kind": kind, "x": np.asarray(x).tolist(), "y": np.asarray(y).tolist()}


def _loss() -> Curve:
    kinetic = np.geomspace(0.01, 10, 61)  # GeV
    series = []
    for name, pdg in (("muon", MUON), ("pion", 211), ("kaon", 321), ("proton", PROTON)):
        mass = float(species.MASS[species.species_of(pdg)])
        series.append(_series(name, kinetic, energy_loss.bethe(kinetic, mass) * 1e3))
    at_minimum = material.MUON_MASS * (math.hypot(3.5, 1) - 1)  # GeV, beta gamma = 3.5
    return {
        "title": "Mean ionisation loss in liquid argon",
        "x": "kinetic energy [GeV]",
        "y": "dE/dx [MeV/cm]",
        "log": "xy",
        "source": "PDG Atomic and Nuclear Properties, liquid argon (minimum 2.105 MeV/cm)",
        "series": [*series, _series("muon minimum, PDG", [at_minimum], [material.MINIMUM_LOSS * 1e3], "reference")],
    }


def _range() -> Curve:
    kinetic, series = np.geomspace(0.03, 4, 49), []
    for name, pdg, table in (("muon", MUON, PDG_MUON_RANGE), ("proton", PROTON, PSTAR_PROTON_RANGE)):
        inside = kinetic <= table[-1][0] / 1e3
        series.append(_series(name, kinetic[inside], [measure.table_range(pdg, float(e)) for e in kinetic[inside]]))
    for name, table in (("muon, PDG", PDG_MUON_RANGE), ("proton, NIST PSTAR", PSTAR_PROTON_RANGE)):
        energies, grams = np.array(table).T
        series.append(_series(name, energies / 1e3, grams / material.DENSITY, "reference"))
    return {
        "title": "Range in the continuous-slowing-down approximation",
        "x": "kinetic energy [GeV]",
        "y": "range [cm]",
        "log": "xy",
        "source": "PDG muon table 289; NIST PSTAR",
        "series": series,
    }


def _scattering(seed: int) -> Curve:
    angles = measure.scattering_angles(1.0, 14.0, 0.3, 3000, seed) * 1e3  # mrad
    counts, edges = np.histogram(angles, bins=60, range=(-60, 60))
    width, at = measure.highland(1.0, 14.0) * 1e3, np.linspace(-60, 60, 121)
    gaussian = angles.size * 2.0 / (np.sqrt(2 * np.pi) * width) * np.exp(-0.5 * (at / width) ** 2)
    return {
        "title": "Scattering of 1 GeV muons over 14 cm",
        "x": "plane angle [mrad]",
        "y": "muons per 2 mrad",
        "source": "Highland, PDG RPP eq. 34.16",
        "series": [
            _series("simulation, steps of 3 mm", edges, counts, "histogram"),
            _series("Gaussian of Highland's width", at, gaussian, "reference"),
        ],
    }


def _michel(rng: np.random.Generator) -> Curve:
    energy = measure.michel_energies(20000, rng) * 1e3  # MeV
    counts, edges = np.histogram(energy, bins=55, range=(0, 55))
    x = np.linspace(0, 1, 101)
    shape = energy.size / (MICHEL_ENDPOINT * 1e3) * 2 * x**2 * (3 - 2 * x)
    return {
        "title": "Positrons from mu+ at rest",
        "x": "total energy [MeV]",
        "y": "decays per MeV",
        "source": "Michel spectrum 2 x^2 (3 - 2x), endpoint 52.83 MeV, PDG RPP",
        "series": [
            _series("simulation", edges, counts, "histogram"),
            _series("Michel spectrum", x * MICHEL_ENDPOINT * 1e3, shape, "reference"),
        ],
    }


def _longitudinal(rng: np.random.Generator) -> Curve:
    series = []
    for pdg, name in ((11, "electron"), (22, "photon")):
        for kinetic in (0.3, 1.0, 5.0):
            depth, profile = measure.shower_profile(pdg, kinetic, int(_SHOWERS / kinetic**0.5), rng)
            at = depth <= 20
            series.append(_series(f"{name} {kinetic:g} GeV", depth[at], profile[at]))
            expected = measure.expected_maximum(pdg, kinetic)
            height = float(np.interp(expected, depth, profile))
            series.append(_series("", [expected], [height], "reference"))
    series.sort(key=lambda item: item["kind"] == "reference")
    return {
        "title": "Longitudinal shower profiles; markers: expected depth of the maximum",
        "x": "depth [radiation lengths]",
        "y": "share of the energy per radiation length",
        "source": "ln(E/Ec) - 0.5 (electrons), + 0.5 (photons), PDG RPP",
        "series": series,
    }


def _lateral(rng: np.random.Generator) -> Curve:
    series = []
    for cut in (1e-3, 1e-4):
        radius, share = measure.lateral_profile(1.0, _SHOWERS, rng, TransportConfig(photon_cut=cut))
        series.append(_series(f"photons followed to {cut * 1e3:g} MeV", radius, share))
    return {
        "title": "Lateral containment of 1 GeV electron showers",
        "x": "radius [Moliere radii]",
        "y": "share of the energy inside",
        "source": "90% inside one Moliere radius, PDG RPP",
        "series": [*series, _series("90% inside one radius", [1.0], [0.9], "reference")],
    }
