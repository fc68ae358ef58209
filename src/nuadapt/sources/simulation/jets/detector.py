"""Collider jets as clouds: collisions by class, anti-kt jets, their particles relative to the axis.

Particles are those of the generator, without a detector, but for the impact parameters of charged ones, which are
smeared. An event is one jet; the class is that of the parton that it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, require
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import JET_EXTRAS, JET_FEATURES, Clouds, CloudSpec, kinematics
from nuadapt.events.flat import offsets_of
from nuadapt.events.store import Layout
from nuadapt.sources.simulation.jets.config import JetsConfig
from nuadapt.sources.simulation.jets.generator import Collision, JetGenerator

Floats = npt.NDArray[np.float64]
#: Types of tokens: hadrons by charge, photons and leptons by PDG code. With padding they are nine, as in OmniLearned.
PARTICLE_TYPES = (
    "hadron_plus",
    "hadron_minus",
    "hadron_neutral",
    "photon",
    "electron",
    "positron",
    "muon",
    "antimuon",
)
#: Collisions without a jet in range after which none is expected; of the usual ones a third to a half have one.
_PATIENCE = 2000
_LEPTON_TYPES = {22: 4, 11: 5, -11: 6, 13: 7, -13: 8}
SPEC = CloudSpec("jet", PARTICLE_TYPES, JET_EXTRAS, ("entry", *JET_FEATURES, "class_id"))


@dataclass(frozen=True, slots=True)
class Jet:
    """Four-momentum (4,) px, py, pz, E in GeV, and which particles of its collision it holds."""

    p4: Floats
    members: npt.NDArray[np.int64]


class Jets:
    """The simulation: turns event numbers into jets, of each class in turn."""

    name: ClassVar[str] = "simulate jets"
    source: ClassVar[str] = "nuadapt-jets"
    chunk: ClassVar[int] = 500
    layout = Layout(has_truth=False, has_particles=False, map_spec=None, cloud_spec=SPEC)

    def __init__(self, config: JetsConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.generator = JetGenerator(config)
        swig = require("fastjet._swig", "jets")
        swig.ClusterSequence.set_fastjet_banner_stream(None)
        self._fastjet, self._algorithm = swig, swig.JetDefinition(swig.antikt_algorithm, config.radius)

    @staticmethod
    def tools() -> dict[str, str]:
        """Versions of the libraries that decide what is simulated."""
        return {name: version(name) for name in ("chromo", "fastjet")}

    def simulate(self, numbers: Sequence[int], source: str) -> EventBatch:
        """Events with these numbers; the class of number ``i`` is ``i`` modulo the number of classes."""
        order = np.asarray(numbers)
        labels = order % len(self.config.classes)
        batches = [
            self._of_class(int(label), order[labels == label], source) for label in np.unique(labels)
        ]  # one initialisation of the generator for each
        joined = EventBatch.concatenate(batches)
        return joined.select(np.argsort(joined["event"], kind="stable"))

    def _of_class(self, label: int, numbers: npt.NDArray[np.int64], source: str) -> EventBatch:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, int(numbers[0]), label])))
        self.generator.start(self.config.classes[label], rng)
        found = [self._next() for _ in numbers]
        axes = np.stack([jet.p4 for jet, _ in found])  # (N, 4)
        zeros = np.zeros(len(numbers), dtype=np.int64)
        columns = {
            "run": zeros + self.seed,
            "subrun": zeros,
            "event": numbers,
            "source": zeros,
            "entry": numbers,
            "class_id": zeros + label,
            **jet_columns(axes),
        }
        return EventBatch.make(columns, (source,), cloud=self._clouds(found, axes, rng), has_truth=False)

    def _next(self) -> tuple[Jet, Collision]:
        """The next jet in range, with its collision.

        Raises:
            ConfigError: none in very many collisions.
        """
        for _ in range(_PATIENCE):
            collision = self.generator.collision()
            jet = self.matched(collision)
            if jet is not None:
                return jet, collision
        raise ConfigError(
            f"{_PATIENCE} collisions gave no jet in range",
            expected="a wider range of pT, a larger most_eta or radius",
        )

    def jets(self, collision: Collision) -> list[Jet]:
        """All jets of a collision above the least pT, hardest first."""
        particles = [self._fastjet.PseudoJet(*map(float, p)) for p in collision.p4]
        for index, particle in enumerate(particles):
            particle.set_user_index(index)
        clustering = self._fastjet.ClusterSequence(particles, self._algorithm)
        found = self._fastjet.sorted_by_pt(clustering.inclusive_jets(self.config.least_pt))
        return [
            Jet(
                np.array([jet.px(), jet.py(), jet.pz(), jet.E()]),
                np.sort(np.array([member.user_index() for member in jet.constituents()], dtype=np.int64)),
            )
            for jet in found
        ]

    def matched(self, collision: Collision) -> Jet | None:
        """The hardest jet in range that holds a parton of the hard process, or all quarks that it decays to."""
        for jet in self.jets(collision):
            axis = jet_columns(jet.p4[None])
            if axis["jet_pt"][0] > self.config.most_pt or abs(axis["jet_eta"][0]) > self.config.most_eta:
                continue
            if any(_distance(quarks, axis).max() < self.config.radius for quarks in collision.partons):
                return jet
        return None

    def _clouds(self, found: Sequence[tuple[Jet, Collision]], axes: Floats, rng: np.random.Generator) -> Clouds:
        """Particles of the jets relative to their ``axes`` (N, 4)."""
        pdg = np.concatenate([collision.pdg[jet.members] for jet, collision in found])
        p4 = np.concatenate([collision.p4[jet.members] for jet, collision in found])  # (tokens, 4)
        origin = np.concatenate([collision.origin[jet.members] for jet, collision in found])
        counts = np.array([len(jet.members) for jet, _ in found])
        axis = {name: np.repeat(column, counts) for name, column in jet_columns(axes).items()}
        columns: dict[str, Any] = kinematics(p4[:, :3], p4[:, 3])
        columns["eta"] = columns["eta"] - axis["jet_eta"]
        columns["phi"] = _wrapped(columns["phi"] - axis["jet_phi"])
        columns["type"] = types_of(pdg)
        columns |= self._displacement(p4, origin, charge_of(pdg) != 0, rng)
        return Clouds.make(SPEC, offsets_of(counts), columns)

    def _displacement(
        self, p4: Floats, origin: Floats, charged: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> dict[str, Floats]:
        """Impact parameters of charged particles in mm and their errors, NaN for neutral ones.

        Tracks are straight: over distances of millimetres a magnetic field of some tesla bends them by less than the
        resolution.
        """
        pt = np.hypot(p4[:, 0], p4[:, 1])
        along = (origin[:, :2] * p4[:, :2]).sum(axis=1) / pt  # mm in the transverse plane from the closest point
        d0 = (origin[:, 1] * p4[:, 0] - origin[:, 0] * p4[:, 1]) / pt
        dz = origin[:, 2] - along * p4[:, 2] / pt
        found: dict[str, Floats] = {}
        for name, value, (constant, at_one_gev) in (
            ("d0", d0, self.config.d0_resolution),
            ("dz", dz, self.config.dz_resolution),
        ):
            error = np.hypot(constant, at_one_gev / pt)
            measured = np.tanh(value + error * rng.standard_normal(len(pt)))
            found |= {
                f"tanh_{name}": np.where(charged, measured, np.nan),
                f"{name}_error": np.where(charged, error, np.nan),
            }
        return found


def jet_columns(p4: Floats) -> dict[str, Floats]:
    """pT and mass in GeV, pseudorapidity and azimuth of jets with ``p4`` (N, 4)."""
    px, py, pz, energy = p4.T
    pt = np.hypot(px, py)
    mass2 = energy**2 - pt**2 - pz**2
    return {
        "jet_pt": pt,
        "jet_eta": np.arcsinh(pz / pt),
        "jet_phi": np.arctan2(py, px),
        "jet_mass": np.sqrt(np.maximum(mass2, 0)),
    }


def _distance(directions: Floats, axis: dict[str, Floats]) -> Floats:
    """Distances (m,) in pseudorapidity and azimuth of ``directions`` (m, 3) from one jet."""
    pt = np.hypot(directions[:, 0], directions[:, 1])
    eta = np.arcsinh(directions[:, 2] / pt) - axis["jet_eta"]
    phi = _wrapped(np.arctan2(directions[:, 1], directions[:, 0]) - axis["jet_phi"])
    return np.asarray(np.hypot(eta, phi))


def _wrapped(phi: Any) -> Any:
    """Angles in [-pi, pi)."""
    return np.remainder(phi + np.pi, 2 * np.pi) - np.pi


def types_of(pdg: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions, from 1, in PARTICLE_TYPES of particles by PDG code (n,)."""
    codes, inverse = np.unique(pdg, return_inverse=True)
    charge = charge_of(codes)
    hadrons = np.select([charge > 0, charge < 0], [1, 2], 3)
    kinds = np.array([_LEPTON_TYPES.get(int(code), int(h)) for code, h in zip(codes, hadrons, strict=True)])
    return np.asarray(kinds[inverse], dtype=np.int64)


def charge_of(pdg: npt.NDArray[np.int64]) -> Floats:
    """Charges (n,) in units of the positron's."""
    codes, inverse = np.unique(pdg, return_inverse=True)
    return np.asarray(np.array([_charge(int(code)) for code in codes], dtype=np.float64)[inverse])


@cache
def _charge(code: int) -> float:
    return float(require("particle", "jets").PDGID(code).charge)
