"""Visible truth: what a person could see in an event's maps, in numbers.

Only deposits inside the cropped map and in instrumented argon count, so that an explanation written from
these numbers never states what the picture cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.schema import fields_of
from nuadapt.sources.simulation.detector import DetectorConfig, ReadoutConfig
from nuadapt.sources.simulation.passage.transport import Process, Transported
from nuadapt.sources.simulation.readout import instrumented, map_corner

Array = npt.NDArray[Any]

SHOWER_PDG = (11, -11, 22)
MUON_PDG = (13, -13)
#: Charged particles whose path is counted as a track when it is long enough.
TRACK_PDG = (13, -13, 211, -211, 321, -321, 2212, -2212, 3112, 3222, 3312, 1000010020, 1000010030, 1000020040)


@dataclass(frozen=True, slots=True)
class VisibilityConfig:
    """From when on a person would call something a track or a shower."""

    track_length: float = 2.0  # cm: four pixels in a row
    shower_energy: float = 0.03  # GeV: about the critical energy (32.84 MeV, PDG), below which nothing showers
    michel_energy: float = 0.005  # GeV: a few pixels at the end of a track


def visible_features(
    event: Transported,
    vertex: Array,
    detector: DetectorConfig,
    readout: ReadoutConfig,
    visibility: VisibilityConfig,
) -> dict[str, float]:
    """One value for each ``visible`` column of the schema. ``vertex`` (3,) in cm."""
    steps = (event.start, event.end, event.energy)
    _, seen = _collected_and_seen(steps, vertex, detector, readout)
    n_tracks = len(event.pdg)
    energy = np.bincount(event.track, np.where(seen, event.energy, 0.0), n_tracks)  # (t,) GeV
    step = np.linalg.norm(event.end - event.start, axis=1)
    length = np.bincount(event.track, np.where(seen, step, 0.0), n_tracks)  # (t,) cm

    values = {name.name: float(name.missing(1)[0]) for name in fields_of("visible")}
    values |= deposited(steps, vertex, detector, readout)
    values |= _muon(event, length, energy)
    values |= _showers(event, energy, seen, vertex, visibility)
    is_track = np.isin(event.pdg, TRACK_PDG)
    values["n_tracks"] = int((is_track & (length >= visibility.track_length)).sum())
    return values


def _collected_and_seen(
    steps: tuple[Array, Array, Array], vertex: Array, detector: DetectorConfig, readout: ReadoutConfig
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which deposits lie in instrumented argon, and which of those inside the map, both (n,)."""
    middle = 0.5 * (steps[0] + steps[1]).astype(np.float64)  # (n, 3) cm
    collected = instrumented(middle, detector)
    corner = map_corner(vertex, detector, readout)
    in_window = np.all((middle >= corner) & (middle < corner + readout.crop * readout.pitch), axis=1)
    return collected, np.asarray(collected & in_window)


def deposited(
    steps: tuple[Array, Array, Array], vertex: Array, detector: DetectorConfig, readout: ReadoutConfig
) -> dict[str, float]:
    """Energy deposited in instrumented argon (GeV), and its share inside the map centred on ``vertex`` (3,) cm."""
    collected, seen = _collected_and_seen(steps, vertex, detector, readout)
    total = float(steps[2][collected].sum())
    return {"deposited_energy": total, "map_fraction": float(steps[2][seen].sum()) / total if total > 0 else 0.0}


def _muon(event: Transported, length: Array, energy: Array) -> dict[str, float]:
    """Path of the primary muon inside the map, and whether all of its energy is deposited there."""
    muons = np.flatnonzero(np.isin(event.pdg, MUON_PDG) & (event.process == Process.PRIMARY))
    if not len(muons):
        return {}
    muon = muons[np.argmax(event.kinetic_start[muons])]
    contained = event.stopped[muon] and energy[muon] > 0.999 * event.deposited[muon]
    return {"muon_track_length": float(length[muon]), "muon_contained": int(contained)}


def _is_michel(event: Transported) -> npt.NDArray[np.bool_]:
    """Electrons and positrons born in the decay of a muon, shape (t,)."""
    parent_is_muon = np.isin(event.pdg[event.parent], MUON_PDG) & (event.parent >= 0)
    return np.asarray(np.isin(event.pdg, (11, -11)) & (event.process == Process.DECAY) & parent_is_muon)


def _showers(
    event: Transported, energy: Array, seen: Array, vertex: Array, visibility: VisibilityConfig
) -> dict[str, float]:
    """Number of showers, energy and gap of the leading one, number of Michel electrons."""
    michel = _is_michel(event)
    shower = np.isin(event.pdg, SHOWER_PDG) & ~michel & (energy >= visibility.shower_energy)
    counts: dict[str, float] = {
        "n_showers": int(shower.sum()),
        "n_michel": int((michel & (energy >= visibility.michel_energy)).sum()),
    }
    if not shower.any():
        return counts
    leading = int(np.argmax(np.where(shower, energy, -1.0)))
    mine = seen & (event.track == leading)
    gap = np.linalg.norm(event.start[mine] - np.asarray(vertex), axis=1).min()
    return {**counts, "shower_energy": float(energy[leading]), "shower_gap": float(gap)}
