"""The LArTPC simulation: neutrino interaction, transport, readout, truth.

Each event draws from its own random stream, seeded by (seed, event number), so a file does not depend on the
number of workers or on how often the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.schema import FIELDS, truth_names
from nuadapt.events.store import Layout
from nuadapt.events.truth import Current
from nuadapt.sources.larnd import SegmentEvent
from nuadapt.sources.simulation.detector import DetectorConfig, ReadoutConfig
from nuadapt.sources.simulation.features import VisibilityConfig, deposited, visible_features
from nuadapt.sources.simulation.neutrino.flux import Spectrum, spectrum_from
from nuadapt.sources.simulation.neutrino.interaction import Interaction, InteractionConfig, interact
from nuadapt.sources.simulation.passage.transport import Box, TransportConfig, transport
from nuadapt.sources.simulation.readout import Views, read_out
from nuadapt.sources.simulation.vertex import ExternalVertex

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class BeamConfig:
    """Which neutrinos, along +z."""

    # Share of each species by PDG code. arXiv:2509.08461: nu_e and nu_mu; antineutrinos are an option.
    flavours: dict[int, float] = field(default_factory=lambda: {12: 0.5, 14: 0.5})
    spectrum: str = "uniform"  # name or histogram file, see flux.py
    # GeV. Below 0.2 GeV a muon neutrino barely makes its muon (threshold 0.11 GeV), and little can be seen.
    energy_min: float = 0.2
    energy_max: float = 10.0  # GeV, arXiv:2509.08461
    cc_fraction: float = 0.74  # arXiv:2509.08461: 74% CC, 26% NC

    def __post_init__(self) -> None:
        if not self.flavours or min(self.flavours.values()) < 0 or sum(self.flavours.values()) <= 0:
            raise ConfigError(f"beam flavours {self.flavours} are impossible", expected="PDG code: positive share")
        unknown = [pdg for pdg in self.flavours if abs(pdg) not in (12, 14)]
        if unknown:
            raise ConfigError(f"no interactions of PDG {unknown[0]}", expected="12, -12, 14 or -14")
        if not 0 <= self.cc_fraction <= 1:
            raise ConfigError(f"cc_fraction = {self.cc_fraction}", expected="0 to 1")


@dataclass(frozen=True, slots=True)
class LArTPCConfig:
    """Everything that the simulation can be told."""

    beam: BeamConfig = field(default_factory=BeamConfig)
    interaction: InteractionConfig = field(default_factory=InteractionConfig)
    transport: TransportConfig = field(default_factory=TransportConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record."""
        return asdict(self)


class LArTPC:
    """The simulated detector with its beam: turns event numbers, vertices or segments into an EventBatch."""

    name: ClassVar[str] = "simulate lartpc"
    source: ClassVar[str] = "nuadapt-lartpc"
    chunk: ClassVar[int] = 32

    def __init__(self, config: LArTPCConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.box = Box(config.detector.low, config.detector.high)
        beam = config.beam
        self.spectrum: Spectrum = spectrum_from(beam.spectrum, low=beam.energy_min, high=beam.energy_max)
        self._species = np.array(list(beam.flavours), dtype=np.int64)
        self._shares = np.cumsum(np.array(list(beam.flavours.values())) / sum(beam.flavours.values()))

    @property
    def layout(self) -> Layout:
        """What its events have."""
        return Layout(has_truth=True, has_particles=True, map_spec=self.config.readout.map_spec)

    def stream(self, event: int) -> np.random.Generator:
        """The random stream of one event."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, event])))

    def simulate(self, numbers: Sequence[int], source: str) -> EventBatch:
        """Events of the built-in generator with these numbers."""
        results = []
        for number in numbers:
            rng = self.stream(number)
            results.append(self._event(ExternalVertex.builtin(self._interaction(rng), number), number, rng))
        return self._batch(results, source)

    def simulate_vertices(self, vertices: Sequence[ExternalVertex], first: int, source: str) -> EventBatch:
        """Events of another generator; ``first`` is the position of the first one in its file."""
        results = [self._event(v, first + i, self.stream(first + i)) for i, v in enumerate(vertices)]
        return self._batch(results, source)

    def simulate_segments(self, events: Sequence[SegmentEvent], source: str) -> EventBatch:
        """Maps of another simulation's energy deposits; the crop is centred on the vertex, else on the first deposit.

        Visible truth that needs tracks stays unknown.
        """
        config, results = self.config, []
        for given in events:
            centre = given.vertex if given.vertex is not None else given.start[0]
            steps = (given.start, given.end, given.energy)
            views = read_out(steps, centre, config.detector, config.readout, self.stream(given.event_id))
            unknown = {name: FIELDS[name].missing(1)[0] for name in truth_names(maps=True, cloud=False)}
            columns = unknown | given.truth
            columns |= deposited(steps, centre, config.detector, config.readout)
            if given.vertex is not None:
                columns |= dict(zip(("vertex_x", "vertex_y", "vertex_z"), given.vertex, strict=True))
            columns |= {"run": 0, "subrun": 0, "event": given.event_id, "source": 0, "weight": 1.0}
            results.append(_Event(columns, np.empty(0, dtype=np.int32), np.empty((0, 4)), views))
        return self._batch(results, source)

    def _interaction(self, rng: np.random.Generator) -> Interaction:
        """Draw flavour, energy and current, then the interaction."""
        beam = self.config.beam
        nu_pdg = int(self._species[np.searchsorted(self._shares, rng.random(), side="right")])
        energy = float(self.spectrum.sample(rng, 1)[0])
        current = Current.CC if rng.random() < beam.cc_fraction else Current.NC
        return interact(nu_pdg, energy, current, rng, self.config.interaction)

    def _event(self, given: ExternalVertex, number: int, rng: np.random.Generator) -> _Event:
        """Place the vertex, transport the particles, read out the maps."""
        config, hit = self.config, given.interaction
        low, high = np.asarray(config.detector.fiducial_low), np.asarray(config.detector.fiducial_high)
        vertex = low + rng.random(3) * (high - low)
        event = transport(hit.pdg, hit.p4, vertex, self.box, rng, config.transport)
        views = read_out((event.start, event.end, event.energy), vertex, config.detector, config.readout, rng)
        truth = _truth_columns(given, vertex)
        truth |= visible_features(event, vertex, config.detector, config.readout, config.visibility)
        truth |= {"run": self.seed, "subrun": 0, "event": number, "source": 0, "weight": given.weight}
        return _Event(truth, hit.pdg, hit.p4, views)

    def _batch(self, events: Sequence[_Event], source: str) -> EventBatch:
        columns = {name: np.array([e.columns[name] for e in events]) for name in events[0].columns} if events else {}
        if not events:
            columns = {name: np.empty(0) for name in ("run", "subrun", "event", "source")}
        maps = join_views([e.views for e in events], self.config.readout)
        particles = Particles.from_lists([e.pdg for e in events], [e.p4 for e in events])
        return EventBatch.make(columns, [source], particles, maps)


@dataclass(frozen=True, slots=True)
class _Event:
    columns: dict[str, Any]
    pdg: Array
    p4: Array
    views: Views


def join_views(events: Sequence[Views], readout: ReadoutConfig) -> PixelMaps:
    """Sparse maps of several events as one PixelMaps."""
    spec = readout.map_spec
    counts = [len(value) for views in events for value in views.value]
    empty = np.empty(0)
    return PixelMaps(
        spec=spec,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        row=np.concatenate([empty, *(r for v in events for r in v.row)]).astype(np.uint16),
        col=np.concatenate([empty, *(c for v in events for c in v.col)]).astype(np.uint16),
        value=np.concatenate([empty, *(x for v in events for x in v.value)]).astype(np.float32),
        origin=np.array([v.origin for v in events], dtype=np.float32).reshape(len(events), spec.n_views, 2),
    )


def _truth_columns(given: ExternalVertex, vertex: Array) -> dict[str, Any]:
    """Truth columns of the interaction itself."""
    hit = given.interaction
    codes = np.abs(hit.pdg)
    return {
        "nu_pdg": hit.nu_pdg,
        "current": int(hit.current),
        "mode": int(hit.mode),
        "mode_code": given.mode_code,
        "mode_scheme": int(given.mode_scheme),
        "target_pdg": hit.target_pdg,
        "hit_nucleon_pdg": hit.hit_nucleon_pdg,
        "nu_energy": hit.nu_energy,
        "lepton_pdg": int(hit.pdg[0]),
        "lepton_energy": float(hit.p4[0, 3]),
        "Q2": hit.Q2,
        "W": hit.W,
        "q0": hit.q0,
        "q3": hit.q3,
        "bjorken_x": hit.x,
        "inelasticity_y": hit.y,
        "vertex_x": vertex[0],
        "vertex_y": vertex[1],
        "vertex_z": vertex[2],
        "n_protons": int((hit.pdg == 2212).sum()),
        "n_charged_pions": int((codes == 211).sum()),
        "n_neutral_pions": int((codes == 111).sum()),
        "n_neutrons": int((hit.pdg == 2112).sum()),
    }
