"""Measurements on the transport, as one would make them on a beam: ranges, angles, profiles. GeV, cm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit
from scipy.special import gammaln

from nuadapt.sources.simulation.passage import energy_loss, material, species
from nuadapt.sources.simulation.passage.transport import Box, Process, TransportConfig, Transported, transport

Array = npt.NDArray[np.float64]

HUGE: Final = Box((-1e5, -1e5, -1e5), (1e5, 1e5, 1e5))
#: A thin rod along z: what a primary makes leaves it at once, so thousands of primaries are cheap.
ROD: Final = Box((-0.5, -0.5, -0.5), (0.5, 0.5, 1e4))
DEFAULT: Final = TransportConfig()
#: Mean loss alone, the continuous-slowing-down approximation.
CSDA: Final = TransportConfig(straggling=False, scattering=False, hadronic=False, decays=False)
IONISATION: Final = TransportConfig(scattering=False, hadronic=False, decays=False)


@dataclass(frozen=True, slots=True)
class Beam:
    """Particles of one kind and kinetic energy (GeV) that start at the origin along z."""

    pdg: int
    kinetic: float
    box: Box = HUGE
    config: TransportConfig = DEFAULT

    def shoot(self, count: int, rng: np.random.Generator) -> list[Transported]:
        """``count`` events of one particle each."""
        mass = float(species.MASS[species.species_of(self.pdg)])
        momentum = math.sqrt(self.kinetic * (self.kinetic + 2 * mass))
        pdg, p4 = np.array([self.pdg], dtype=np.int32), np.array([[0.0, 0.0, momentum, self.kinetic + mass]])
        return [transport(pdg, p4, np.zeros(3), self.box, rng, self.config) for _ in range(count)]


def table_range(pdg: int, kinetic: float) -> float:
    """CSDA range in cm by integrating the loss table."""
    loss, row_of = energy_loss.loss_tables(math.inf)
    reach = energy_loss.csda_range(loss[row_of[species.species_of(pdg)]])
    return float(np.exp(np.interp(math.log(kinetic), np.log(energy_loss.GRID), np.log(reach))))


def stepped_range(pdg: int, kinetic: float, rng: np.random.Generator) -> float:
    """CSDA range in cm of the stepping kernel: where a particle without fluctuations stops."""
    event = Beam(pdg, kinetic, HUGE, CSDA).shoot(1, rng)[0]
    return float(event.end_point[0, 2])


def mean_loss(pdg: int, kinetic: float, thickness: float, count: int, rng: np.random.Generator) -> Array:
    """Loss in GeV/cm of each of ``count`` particles in a slab of ``thickness`` cm, delta rays included."""
    slab = Box((-1e4, -1e4, -1e-6), (1e4, 1e4, thickness))
    events = Beam(pdg, kinetic, slab, IONISATION).shoot(count, rng)
    return np.array([e.kinetic_start[0] - e.kinetic_end[0] for e in events]) / thickness


def landau_mode(loss: Array) -> float:
    """Most probable value: the maximum of a parabola through the logarithm of the histogram about its peak."""
    low, high = np.quantile(loss, [0.02, 0.60])
    counts, edges = np.histogram(loss, bins=30, range=(low, high))
    centre = 0.5 * (edges[1:] + edges[:-1])
    top = counts > 0.6 * counts.max()
    second, first, _ = np.polyfit(centre[top], np.log(counts[top]), 2)
    return float(-first / (2 * second))


def expected_mode(mass: float, kinetic: float, thickness: float) -> float:
    """Most probable loss in GeV of a slab in cm (Landau, Vavilov, Bichsel; PDG RPP eq. 34.12, j = 0.200)."""
    gamma = 1 + kinetic / mass
    beta_gamma2 = gamma**2 - 1
    beta2 = beta_gamma2 / gamma**2
    xi = material.XI_PER_CM / beta2 * thickness
    delta = float(energy_loss.density_effect(np.sqrt([beta_gamma2]))[0])
    argument = 2 * material.ELECTRON_MASS * beta_gamma2 * xi / material.MEAN_EXCITATION**2
    return xi * (math.log(argument) + 0.200 - beta2 - delta)


def scattering_angles(kinetic: float, thickness: float, max_step: float, count: int, seed: int) -> Array:
    """Plane angles in radians of muons after ``thickness`` cm, two per muon."""
    config = TransportConfig(straggling=False, hadronic=False, decays=False, max_step=max_step)
    slab = Box((-1e4, -1e4, -1e-6), (1e4, 1e4, thickness + 1.5 * max_step))
    angles = []
    for event in Beam(13, kinetic, slab, config).shoot(count, np.random.default_rng(seed)):
        step = int(np.argmax(event.start[:, 2] >= thickness - 0.5 * max_step))
        dx, dy, dz = event.end[step].astype(float) - event.start[step]
        angles += [math.atan2(dx, dz), math.atan2(dy, dz)]
    return np.array(angles)


def highland(kinetic: float, thickness: float) -> float:
    """Highland's plane angle of a muon in radians (PDG RPP eq. 34.16)."""
    total = kinetic + material.MUON_MASS
    momentum2 = total**2 - material.MUON_MASS**2
    share = thickness / material.RADIATION_LENGTH
    logarithm = 1 + 0.038 * math.log(share * total**2 / momentum2)
    return material.HIGHLAND * total / momentum2 * math.sqrt(share) * logarithm


def interaction_length(pdg: int, kinetic: float, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Mean path in cm between inelastic interactions and its error: all path over the number of interactions."""
    config = TransportConfig(straggling=False, scattering=False, decays=False, max_step=10.0)
    path, hits = 0.0, 0
    for event in Beam(pdg, kinetic, ROD, config).shoot(count, rng):
        path += float(np.linalg.norm(event.end_point[0] - event.start_point[0]))
        hits += int(event.stopped[0] and event.kinetic_end[0] > 0)
    return path / hits, path / hits**1.5


def conversion_length(kinetic: float, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Mean depth in cm at which photons become visible, and its error."""
    events = Beam(22, kinetic, ROD).shoot(count, rng)
    depth = np.array([event.first_deposit_point[0, 2] for event in events])
    return float(np.nanmean(depth)), float(np.nanstd(depth) / math.sqrt(count))


def capture_fraction(count: int, rng: np.random.Generator) -> float:
    """Share of stopped mu- without a decay electron."""
    events = Beam(13, 0.0).shoot(count, rng)
    decays = sum(bool(np.any((e.process == Process.DECAY) & (e.pdg == 11))) for e in events)
    return 1 - decays / count


def michel_energies(count: int, rng: np.random.Generator) -> Array:
    """Total energies in GeV of the positrons of mu+ at rest."""
    events = Beam(-13, 0.0).shoot(count, rng)
    found = [e.kinetic_start[(e.process == Process.DECAY) & (e.pdg == -11)] for e in events]
    return np.concatenate(found) + material.ELECTRON_MASS


def shower_profile(pdg: int, kinetic: float, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Mean longitudinal profile of showers: depth of bin centres in radiation lengths, share of energy per X0."""
    edges = np.arange(0.0, 30.25, 0.25)
    total = np.zeros(edges.size - 1)
    for event in Beam(pdg, kinetic).shoot(count, rng):
        depth = 0.5 * (event.start[:, 2] + event.end[:, 2]) / material.RADIATION_LENGTH
        total += np.histogram(depth, bins=edges, weights=event.energy.astype(float))[0]
    return 0.5 * (edges[1:] + edges[:-1]), total / (count * kinetic) / np.diff(edges)


def depth_of_maximum(depth: Array, profile: Array) -> float:
    """Where a mean profile is highest, in radiation lengths: vertex of a parabola over 1.5 X0 on either side.

    The profile itself is asked, not a gamma distribution fitted to it: below a few GeV real profiles rise faster than
    that shape near the origin (PDG RPP, section on electromagnetic cascades), and a fit lies 0.1 to 0.4 X0 too early.
    """
    smooth = np.convolve(profile, np.ones(5) / 5, mode="same")
    near = np.abs(depth - depth[np.argmax(smooth)]) <= 1.5
    curvature, slope, _ = np.polyfit(depth[near], profile[near], 2)
    return float(-slope / (2 * curvature))


def _gamma_shape(depth: Array, a: float, b: float) -> Array:
    """PDG RPP eq. 34.36 normalised to one."""
    return np.asarray(np.exp(a * np.log(b) + (a - 1) * np.log(depth) - b * depth - gammaln(a)))


def fitted_maximum(depth: Array, profile: Array) -> float:
    """(a - 1)/b of the gamma distribution fitted to a profile, in radiation lengths."""
    mean = float(np.sum(depth * profile) / np.sum(profile))
    (a, b), _ = curve_fit(_gamma_shape, depth, profile / np.trapezoid(profile, depth), p0=(0.5 * mean + 1, 0.5))
    return float((a - 1) / b)


def expected_maximum(pdg: int, kinetic: float) -> float:
    """ln(E/Ec) - 0.5 for electrons, + 0.5 for photons, in radiation lengths (PDG RPP eq. 34.37)."""
    return math.log(kinetic / material.CRITICAL_ENERGY) + (0.5 if pdg == 22 else -0.5)


def grindhammer_maximum(kinetic: float) -> float:
    """Depth of maximum of electron showers, radiation lengths (Grindhammer and Peters, hep-ex/0001020, sec. 3.1)."""
    grams = material.RADIATION_LENGTH * material.DENSITY
    critical = 2.66e-3 * (grams * material.Z_OVER_A) ** 1.1
    return math.log(kinetic / critical) - 0.858


def lateral_profile(
    kinetic: float, count: int, rng: np.random.Generator, config: TransportConfig = DEFAULT
) -> tuple[Array, Array]:
    """Share of the energy of electron showers within a radius: radii in Moliere radii, shares."""
    edges = np.linspace(0.0, 5.0, 201)
    total = np.zeros(edges.size - 1)
    for event in Beam(11, kinetic, HUGE, config).shoot(count, rng):
        middle = 0.5 * (event.start + event.end).astype(float)
        radius = np.hypot(middle[:, 0], middle[:, 1]) / material.MOLIERE_RADIUS
        total += np.histogram(radius, bins=edges, weights=event.energy.astype(float))[0]
    return edges[1:], np.cumsum(total) / (count * kinetic)


def imbalance(pdg: int, kinetic: float, count: int, rng: np.random.Generator) -> float:
    """Largest relative energy that the ledger does not account for."""
    box = Box((-100, -100, -50), (100, 100, 150))
    events = Beam(pdg, kinetic, box).shoot(count, rng)
    return max(abs(e.ledger.balance) / max(e.ledger.total_in, 1e-12) for e in events)


def ledger_shares(pdg: int, kinetic: float, count: int, rng: np.random.Generator) -> dict[str, float]:
    """Mean share of the available energy in each entry of the ledger."""
    events = Beam(pdg, kinetic, Box((-500, -500, -500), (500, 500, 500))).shoot(count, rng)
    total = sum(e.ledger.total_in for e in events)
    names = ("deposited", "escaped", "neutrinos", "nuclear", "rest_mass")
    return {name: sum(getattr(e.ledger, name) for e in events) / total for name in names}
