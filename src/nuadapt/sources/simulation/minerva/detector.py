"""The MINERvA-like simulation: interactions on plastic, reconstructed objects, truth, in the columns of the reader.

The interaction of each event draws from its own random stream, seeded by (seed, event number); the reconstruction of a
chunk draws from that of its first event. So a file does not depend on the number of workers or on interruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.cloud import TokenType, features_of_tokens, minerva_spec
from nuadapt.events.final_state import final_state_columns
from nuadapt.events.store import Layout
from nuadapt.events.truth import CodeScheme, Current
from nuadapt.sources.minerva.clouds import clouds_of, diphoton_mass
from nuadapt.sources.minerva.objects import Objects, merge_excess
from nuadapt.sources.minerva.options import BEAM_ANGLE, MinervaOptions
from nuadapt.sources.minerva.truth import rotated
from nuadapt.sources.simulation.minerva.config import FIDUCIAL_APOTHEM, FIDUCIAL_Z, HYDROGEN, MinervaConfig
from nuadapt.sources.simulation.minerva.reconstruction import reconstruct
from nuadapt.sources.simulation.neutrino.flux import Spectrum, spectrum_from
from nuadapt.sources.simulation.neutrino.interaction import (
    Interaction,
    InteractionConfig,
    interact,
    total_cross_section,
)

Array = npt.NDArray[Any]
FRAME: Literal["beam"] = "beam"
_READER = MinervaOptions(frame=FRAME)
#: Energies (GeV) between which the shares of currents and targets are interpolated.
_GRID = np.geomspace(0.3, 100.0, 60)


class MinervaLike:
    """The simulated detector with its beam: turns event numbers into an EventBatch."""

    name: ClassVar[str] = "simulate minerva"
    source: ClassVar[str] = "nuadapt-minerva"
    chunk: ClassVar[int] = 512  # events reconstructed together
    layout = Layout(has_truth=True, has_particles=True, map_spec=None, cloud_spec=minerva_spec(FRAME))

    def __init__(self, config: MinervaConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.spectrum: Spectrum = spectrum_from(config.beam.spectrum)
        flavours = config.beam.flavours
        self._species = np.array(list(flavours), dtype=np.int64)
        self._shares = np.cumsum(np.array(list(flavours.values())) / sum(flavours.values()))
        self._hydrogen = replace(config.interaction, target_pdg=HYDROGEN)

    def stream(self, *number: int) -> np.random.Generator:
        """The random stream of one event, or of the reconstruction of a chunk."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, *number])))

    def simulate(self, numbers: Sequence[int], source: str) -> EventBatch:
        """Events with these numbers."""
        hits = [self._interaction(self.stream(number)) for number in numbers]
        rng = self.stream(numbers[0] if len(numbers) else 0, 1)
        vertex = _vertices(len(hits), rng)  # (N, 3) cm
        particles = Particles.from_lists([h.pdg for h in hits], [h.p4 for h in hits])
        found = reconstruct(_turned(particles, -BEAM_ANGLE), vertex, self.config.response, rng)
        blobs = merge_excess(found.blobs, _READER.max_blobs, TokenType.MERGED_BLOBS, _READER.merging)
        prongs = merge_excess(found.prongs, _READER.max_prongs, TokenType.MERGED_PRONGS, _READER.merging)
        clouds = clouds_of(Objects.join([found.muons, found.photons, blobs, prongs]), len(hits), FRAME)
        columns = {
            "run": np.full(len(hits), self.seed),
            "subrun": np.zeros(len(hits)),
            "event": np.asarray(numbers),
            "source": np.zeros(len(hits)),
            "entry": np.asarray(numbers),
            "diphoton_mass": diphoton_mass(found.photons, len(hits)),
            **_truth(hits, vertex),
            **final_state_columns(particles, np.tile([0.0, 0.0, 1.0], (len(hits), 1))),
            **found.columns,
            **features_of_tokens(clouds),
        }
        return EventBatch.make(columns, (source,), particles, cloud=clouds)

    def _interaction(self, rng: np.random.Generator) -> Interaction:
        """Draw flavour and energy, then current and target by cross-section, then the interaction."""
        nu_pdg = int(self._species[np.searchsorted(self._shares, rng.random(), side="right")])
        energy = float(self.spectrum.sample(rng, 1)[0])
        carbon, hydrogen = self.config.interaction, self._hydrogen
        kinds = [(current, target) for current in (Current.CC, Current.NC) for target in (carbon, hydrogen)]
        sections = np.array([np.interp(energy, _GRID, cross_sections(nu_pdg, *kind)) for kind in kinds])
        at = int(np.searchsorted(np.cumsum(sections), rng.random() * sections.sum(), side="right"))
        current, target = kinds[min(at, len(kinds) - 1)]
        return interact(nu_pdg, energy, current, rng, target)


@lru_cache(maxsize=16)
def cross_sections(nu_pdg: int, current: Current, config: InteractionConfig) -> Array:
    """Total cross-section at each energy of the grid, 1e-38 cm2: of a whole nucleus; plastic has one H for each C."""
    return np.array([total_cross_section(nu_pdg, float(e), current, config) for e in _GRID])


def _vertices(n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Points (n, 3) cm, uniform in the fiducial hexagonal prism."""
    found = np.empty((0, 2))
    while len(found) < n:
        corner = FIDUCIAL_APOTHEM * 2 / np.sqrt(3)
        xy = rng.uniform(-corner, corner, (2 * n + 8, 2))
        sides = np.pi / 3 * np.arange(3) + np.pi / 6
        inside = (np.abs(xy @ np.stack([np.cos(sides), np.sin(sides)])) < FIDUCIAL_APOTHEM).all(axis=1)
        found = np.concatenate([found, xy[inside]])
    return np.column_stack([found[:n], rng.uniform(*FIDUCIAL_Z, n)])


def _turned(particles: Particles, angle: float) -> Particles:
    """The same particles with momenta rotated about x by ``angle``."""
    names = ("px", "py", "pz")
    p3 = rotated(np.stack([particles.columns[a] for a in names], axis=1).astype(np.float64), angle)
    turned = {name: p3[:, i].astype("f4") for i, name in enumerate(names)}
    return Particles(particles.offsets, {**particles.columns, **turned})


def _truth(hits: Sequence[Interaction], vertex: Array) -> dict[str, Array]:
    """Truth columns of the interactions."""
    names = {
        "nu_pdg": "nu_pdg",
        "current": "current",
        "mode": "mode",
        "mode_code": "mode",
        "target_pdg": "target_pdg",
        "hit_nucleon_pdg": "hit_nucleon_pdg",
        "nu_energy": "nu_energy",
        "Q2": "Q2",
        "W": "W",
        "W_generator": "W",
        "q0": "q0",
        "q3": "q3",
        "bjorken_x": "x",
        "inelasticity_y": "y",
    }
    columns = {ours: np.array([getattr(hit, theirs) for hit in hits]) for ours, theirs in names.items()}
    columns["mode_scheme"] = np.full(len(hits), CodeScheme.NUADAPT)
    columns["lepton_pdg"] = np.array([hit.pdg[0] for hit in hits])
    columns["lepton_energy"] = np.array([hit.p4[0, 3] for hit in hits])
    return columns | {f"vertex_{axis}": vertex[:, i] for i, axis in enumerate("xyz")}
