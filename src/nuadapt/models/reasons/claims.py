"""Claims: the few statements about an event that a reason may make, and which of them the truth supports.

A claim says what the maps show, never what the generator did. Truth that no picture decides gives no claim:

========================  =========================================================================================
muon_track present        the primary muon is visible over MUON_LIKE or more
muon_track absent         no track of that length is possible: neither the muon nor any charged hadron that leaves
                          the nucleus reaches it, or all energy seen outside showers is too little for it. A long
                          pion looks like a muon, so an NC event that may hold one has no claim
track_end exiting         the muon leaves the map after at least half its side; if it leaves the instrumented
                          argon earlier, it ends in the middle of the picture and nothing is claimed
shower                    absent without any shower of 30 MeV; present from SHOWER_SEEN; between them no claim
shower_gap                of the leading shower; between ATTACHED and DISPLACED no claim
michel                    only in calm pictures (few tracks, no large shower), where a blob of a few MeV stands out
tracks                    all charged tracks over 2 cm in the map, also from secondary interactions
========================  =========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec

# Edges of the classes, cm and GeV.
MUON_LIKE = 50.0  # half a pion interaction length in argon (107 cm, PDG); muons above 0.14 GeV get so far
TRACK_LONG = 100.0  # about one pion interaction length: two thirds of all pions do not get so far
SHOWER_SEEN = 0.1  # three critical energies (32.84 MeV, PDG): below, an electron hardly multiplies
#: The maximum lies at ln(E / 32.84 MeV) - 0.5 radiation lengths (PDG); from here on it is two of them (28 cm) deep.
SHOWER_LARGE = 0.4
GAP_ATTACHED = 1.0  # two pixels of 0.5 cm; a photon converts within it in 5% of cases (9/7 X0 = 18 cm)
GAP_DISPLACED = 3.0  # of 6 pixels at least 4 remain in one of two projections (1/sqrt(2) of the length)
#: In coarser pixels a gap must be so many of them wide: at least two are blank in one of two projections.
GAP_PIXELS = 3
TRACKS_MANY = 5  # a choice: about 45% of the simulated events have so many tracks
MINIMUM_LOSS = 2.105e-3  # GeV/cm at minimum ionisation in liquid argon, PDG: no track costs less
SHOWER_THRESHOLD = 0.03  # GeV; what each shower counted in n_showers holds at least
#: Kinetic energy (GeV) at which the CSDA range in liquid argon is MUON_LIKE: PDG muon table 289, PSTAR for protons;
#: mesons from the muon table by range / mass = f(energy / mass).
REACHES_MUON_LIKE = {211: 0.155, 321: 0.234, 2212: 0.296}


class Presence(StrEnum):
    """Whether something is in the maps."""

    PRESENT = "present"
    ABSENT = "absent"


class TrackLength(StrEnum):
    """Length of the muon-like track inside the map: MUON_LIKE to TRACK_LONG, or more."""

    MEDIUM = "medium"
    LONG = "long"


class TrackEnd(StrEnum):
    """Whether the muon-like track ends inside the map."""

    CONTAINED = "contained"
    EXITING = "exiting"


class ShowerSize(StrEnum):
    """Energy of the leading shower: below or above SHOWER_LARGE."""

    SMALL = "small"
    LARGE = "large"


class ShowerGap(StrEnum):
    """Distance from the vertex to the first charge of the leading shower."""

    ATTACHED = "attached"
    DISPLACED = "displaced"


class Multiplicity(StrEnum):
    """Number of tracks: 0, 1, 2 to 4, TRACKS_MANY or more."""

    ZERO = "zero"
    ONE = "one"
    FEW = "few"
    MANY = "many"


#: Claim types that say more about something present: a text that makes one also claims its presence.
PARENT = {
    "track_length": "muon_track",
    "track_end": "muon_track",
    "shower_size": "shower",
    "shower_gap": "shower",
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What is stated about one event; None: nothing is stated.

    ``conflicts`` names the claim types that a text states both ways; their fields are None.
    """

    muon_track: Presence | None = None
    track_length: TrackLength | None = None
    track_end: TrackEnd | None = None
    shower: Presence | None = None
    shower_size: ShowerSize | None = None
    shower_gap: ShowerGap | None = None
    michel: Presence | None = None
    tracks: Multiplicity | None = None
    conflicts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, parent in PARENT.items():
            if getattr(self, name) is not None and getattr(self, parent) is not Presence.PRESENT:
                raise DataError(f"a claim about {name} without a {parent} that is present")
        if self.tracks is Multiplicity.ZERO and self.muon_track is Presence.PRESENT:
            raise DataError("a muon-like track is claimed together with no track at all")

    def stated(self) -> dict[str, StrEnum]:
        """The claims made, by type, in the order of CLAIM_TYPES."""
        values = {name: getattr(self, name) for name in CLAIM_TYPES}
        return {name: value for name, value in values.items() if value is not None}


#: Each claim type with its possible values.
CLAIM_TYPES: dict[str, type[StrEnum]] = {
    "muon_track": Presence,
    "track_length": TrackLength,
    "track_end": TrackEnd,
    "shower": Presence,
    "shower_size": ShowerSize,
    "shower_gap": ShowerGap,
    "michel": Presence,
    "tracks": Multiplicity,
}
if set(CLAIM_TYPES) | {"conflicts"} != {f.name for f in fields(Claims)}:
    raise DataError("claim types and the fields of Claims differ")


def claims_of_truth(batch: EventBatch, pixel: float = 0.0) -> list[Claims]:
    """What the visible truth of each event supports; nothing is claimed where the visible columns are unknown.

    Args:
        pixel: side of the pixels that are looked at, cm, where they are coarser than those of the simulation (0.5 cm).

    Raises:
        DataError: events without truth.
    """
    columns = {**_track_claims(batch), **_shower_claims(batch, max(GAP_DISPLACED, GAP_PIXELS * pixel))}
    columns["michel"] = _michel_claims(batch, columns)
    return [Claims(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _chosen(n: int, *cases: tuple[npt.NDArray[np.bool_], StrEnum]) -> list[Any]:
    """Per event the value of the first case whose mask holds, None where none does."""
    values: list[Any] = [None] * n
    for mask, value in reversed(cases):
        for i in np.flatnonzero(mask):
            values[i] = value
    return values


def _track_claims(batch: EventBatch) -> dict[str, list[Any]]:
    """Columns ``muon_track``, ``track_length``, ``track_end`` and ``tracks``."""
    n, length, count = len(batch), batch["muon_track_length"], batch["n_tracks"]
    spec = batch.pixelmap.spec if batch.pixelmap is not None else MapSpec()
    half_side = 0.5 * min(side * pitch for side, pitch in zip(spec.shape, spec.pitch, strict=True))  # cm
    muon = length >= MUON_LIKE  # False for NaN: no primary muon
    contained = batch["muon_contained"]
    return {
        "muon_track": _chosen(n, (muon, Presence.PRESENT), (_no_long_track(batch), Presence.ABSENT)),
        "track_length": _chosen(n, (length >= TRACK_LONG, TrackLength.LONG), (muon, TrackLength.MEDIUM)),
        "track_end": _chosen(
            n,
            (muon & (contained == 1), TrackEnd.CONTAINED),
            (muon & (contained == 0) & (length >= half_side), TrackEnd.EXITING),
        ),
        "tracks": _chosen(
            n,
            (count == 0, Multiplicity.ZERO),
            (count == 1, Multiplicity.ONE),
            ((count > 1) & (count < TRACKS_MANY), Multiplicity.FEW),
            (count >= TRACKS_MANY, Multiplicity.MANY),
        ),
    }


def _no_long_track(batch: EventBatch) -> npt.NDArray[np.bool_]:
    """Whether a track of MUON_LIKE is impossible, shape (N,)."""
    showers = np.nan_to_num(batch["shower_energy"]) + SHOWER_THRESHOLD * np.maximum(batch["n_showers"] - 1, 0)
    for_tracks = batch["deposited_energy"] * batch["map_fraction"] - showers  # GeV, at most
    impossible = for_tracks < MUON_LIKE * MINIMUM_LOSS
    if batch.particles is not None:
        event = np.repeat(np.arange(len(batch)), np.diff(batch.particles.offsets))
        impossible |= np.bincount(event[_reaching(batch.particles.columns)], minlength=len(batch)) == 0
    short_muon = ~(batch["muon_track_length"] >= MUON_LIKE)
    count = batch["n_tracks"]
    return np.asarray(((count > 0) & impossible & short_muon) | (count == 0))


def _reaching(particles: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Which particles leaving the nucleus are charged hadrons with a range of MUON_LIKE or more, shape (p,)."""
    species = np.abs(particles["pdg"])
    energy = particles["E"].astype(np.float64)
    momentum2 = sum(particles[axis].astype(np.float64) ** 2 for axis in ("px", "py", "pz"))
    kinetic = energy - np.sqrt(np.maximum(energy**2 - momentum2, 0.0))
    reach = np.full(len(species), np.inf)
    for code, needed in REACHES_MUON_LIKE.items():
        reach[species == code] = needed
    return np.asarray(kinetic >= reach)


def _shower_claims(batch: EventBatch, displaced: float) -> dict[str, list[Any]]:
    """Columns ``shower``, ``shower_size`` and ``shower_gap``; a gap is seen from ``displaced`` cm on."""
    n, energy, gap = len(batch), batch["shower_energy"], batch["shower_gap"]
    seen = energy >= SHOWER_SEEN  # False for NaN: no shower
    return {
        "shower": _chosen(n, (seen, Presence.PRESENT), (batch["n_showers"] == 0, Presence.ABSENT)),
        "shower_size": _chosen(n, (energy >= SHOWER_LARGE, ShowerSize.LARGE), (seen, ShowerSize.SMALL)),
        "shower_gap": _chosen(
            n,
            (seen & (gap < GAP_ATTACHED), ShowerGap.ATTACHED),
            (seen & (gap >= displaced), ShowerGap.DISPLACED),
        ),
    }


def _michel_claims(batch: EventBatch, columns: dict[str, list[Any]]) -> list[Any]:
    """Column ``michel``; None in busy pictures."""
    is_calm = np.array(
        [
            tracks is not Multiplicity.MANY and size is not ShowerSize.LARGE
            for tracks, size in zip(columns["tracks"], columns["shower_size"], strict=True)
        ],
        dtype=bool,
    )
    count = batch["n_michel"]
    return _chosen(len(batch), (is_calm & (count > 0), Presence.PRESENT), (is_calm & (count == 0), Presence.ABSENT))
