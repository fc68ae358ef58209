"""Reconstructed objects of a chunk: muon, photons, blobs, prongs, with broken values found object by object.

Inside this module: MeV, mm, ns, detector axes. An object without a usable energy is dropped; one whose direction is
unknown keeps its energy and gets no momentum; unknown positions, times and dE/dx are NaN. Everything that is dropped
or marked is counted by kind: as absent where the file has a sentinel, else as broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events import flat
from nuadapt.events.cloud import TokenType
from nuadapt.sources.minerva.options import MinervaOptions
from nuadapt.sources.minerva.tree import SENTINELS, Chunk, Nested, Ragged, is_sentinel
from nuadapt.sources.reading import ReadReport

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

LARGE = 1e6  # MeV, mm or ns: no particle of this beam and no place in the hall is beyond
LEAST_ENERGY = 1e-5  # MeV
NO_HYPOTHESIS = (-999, 0)
CHARGED_HYPOTHESES = (8, 9)
_HYPOTHESES = {3: TokenType.PRONG_3, 8: TokenType.PRONG_8, 13: TokenType.PRONG_13}
#: Beside the four-momentum, the public code drops a muon for a large value in any of these.
_ALSO_CHECKED = (
    *("muon_theta", "muon_phi", "muon_thetaX", "muon_thetaY", "muon_fuzz_energy", "muon_iso_blobs_energy"),
    *(f"MasterAnaDev_muon_{name}" for name in ("E", "Px", "Py", "Pz")),
    "muon_trackVertexTime",
)


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of some events, ordered by event: ``event`` (n,) in the chunk, ``p3`` and ``position`` (n, 3)."""

    event: npt.NDArray[np.int64]
    p3: Array
    energy: Array
    kind: npt.NDArray[np.uint8]
    dedx: Array
    position: Array
    time: Array

    def take(self, index: Array) -> Objects:
        """The objects ``index`` (integers or a mask), in that order."""
        return Objects(*(getattr(self, f.name)[index] for f in fields(self)))

    @staticmethod
    def join(parts: Sequence[Objects]) -> Objects:
        """All objects ordered by event; within an event in the order of ``parts``."""
        joined = Objects(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Objects)))
        return joined.take(np.argsort(joined.event, kind="stable"))


def is_good(values: Array) -> BoolArray:
    """Whether values can be measurements: finite, no sentinel, not beyond LARGE."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & (np.abs(values) <= LARGE) & ~is_sentinel(values)


def every(mask: BoolArray) -> BoolArray:
    """Whether all components hold, (n,) of (n, k)."""
    return np.asarray(np.logical_and.reduce(mask, axis=1), dtype=bool)


def known_vertex(chunk: Chunk) -> Array:
    """Reconstructed vertex (n, 3); NaN as a whole where a component cannot be a measurement."""
    xyz = chunk.four("vtx")[:, :3]
    return np.where(every(is_good(xyz))[:, None], xyz, np.nan)


def count(counter: Counter[str], what: str, mask: BoolArray) -> None:
    """Add the number of True to ``counter``, unless it is 0."""
    n = int(np.count_nonzero(mask))
    if n:
        counter[what] += n


class Finder:
    """Finds the objects of one chunk under given options and counts what is absent or broken into ``report``."""

    def __init__(self, chunk: Chunk, options: MinervaOptions, report: ReadReport) -> None:
        self.chunk, self.report = chunk, report
        self.strict = options.broken == "drop"
        self.from_vertex = options.blob_direction == "vertex"

    def _count(self, what: str, mask: BoolArray) -> None:
        count(self.report.broken, what, mask)

    def _unknown(self, what: str, values: Array, usable: BoolArray) -> None:
        """Count values that are not usable: sentinels as absent, others as broken."""
        absent = is_sentinel(values)
        count(self.report.absent, what, ~usable & absent)
        self._count(f"{what} unknown: broken value", ~usable & ~absent)

    def _usable(self, values: Array) -> BoolArray:
        return is_good(values) if self.strict else np.isfinite(values)

    def known(self, values: Array, what: str) -> Array:
        """Values (n,) of what is called ``what``, with NaN for what is unknown."""
        usable = self._usable(values)
        self._unknown(what, values, usable)
        return np.where(usable, values, np.nan if self.strict else 0.0)

    def _momentum(self, p3: Array, what: str) -> Array:
        """Momenta (n, 3); zero where a component is broken (in minerva-ml only that component is)."""
        usable = self._usable(p3)
        self._count(what, ~every(usable))
        return np.where(every(usable)[:, None] if self.strict else usable, p3, 0.0)

    def _dedx(self, values: Array, what: str) -> Array:
        """dE/dx (n,) in MeV/cm."""
        if not self.strict:  # unknown counts as 0, anything above 100 and infinities of both signs as 100
            cut = np.where(np.isinf(values) | (values > 100), 100.0, np.abs(values))
            return np.where(is_sentinel(values) | np.isnan(values), 0.0, cut)
        usable = is_good(values) & (values > 0)
        self._unknown(what, values, usable)
        return np.where(usable, values, np.nan)

    def _position(self, xyz: Array, what: str, *, zero_is_broken: bool = False) -> Array:
        """Positions (n, 3); NaN as a whole if a component is broken."""
        usable = self._usable(xyz)
        if not self.strict:
            return np.where(usable, xyz, 0.0)
        good = every(usable)
        if zero_is_broken:
            good &= ~every(xyz == 0)
        self._count(what, ~good)
        return np.where(good[:, None], xyz, np.nan)

    def muon_found(self) -> BoolArray:
        """Events with a matched muon, whatever its values, (n,)."""
        p4 = self.chunk.four("muon_corrected_p")
        return np.asarray((p4[:, 0] != SENTINELS[0]) & (p4[:, 1] != SENTINELS[0]))

    def muons(self) -> Objects:
        """The muon of each event that has one."""
        chunk, found, p4 = self.chunk, self.muon_found(), self.chunk.four("muon_corrected_p")
        count(self.report.absent, "matched muon", ~found)
        if self.strict:
            good = every(is_good(p4)) & (p4[:, 3] > LEAST_ENERGY)
            matched = chunk["isMinosMatchTrack"] == 1
            self._count("muon dropped: broken four-momentum", (found | matched) & ~good)
            self._count("muon dropped: no MINOS match", found & good & ~matched)
            keep = good & matched
        else:
            checked = np.column_stack([p4, *(chunk.floats(name) for name in _ALSO_CHECKED)])
            large = (np.abs(checked) > LARGE).any(axis=1)
            self._count("muon dropped: a value above 1e6", found & large)
            keep = found & ~large & (np.nan_to_num(p4[:, 3]) > LEAST_ENERGY)
        p3 = np.nan_to_num(p4[keep, :3])
        time = self.known(chunk.floats("muon_trackVertexTime")[keep], "muon time")
        return _objects(np.flatnonzero(keep), p3, p4[keep, 3], TokenType.MUON, time=time)

    def photons(self) -> Objects:
        """Up to two photons of each event."""
        return Objects.join([self._photon(i) for i in (1, 2)])

    def _photon(self, i: int) -> Objects:
        chunk = self.chunk
        energy = chunk.floats(f"gamma{i}_E")
        keep = self._usable(energy) & (energy > LEAST_ENERGY)
        count(self.report.absent, f"photon {i}", ~keep & is_sentinel(energy))
        self._count("photon dropped: broken energy", ~keep & ~is_sentinel(energy))
        p3 = np.stack([chunk.floats(f"gamma{i}_{a}")[keep] for a in ("px", "py", "pz")], axis=1)
        return _objects(
            np.flatnonzero(keep),
            self._momentum(p3, "photon without direction: broken momentum"),
            energy[keep],
            TokenType.PHOTON,
            dedx=self._dedx(chunk.floats(f"gamma{i}_dEdx")[keep], "photon dE/dx"),
            time=self.known(chunk.floats(f"gamma{i}_time")[keep], "photon time"),
        )

    def blobs(self) -> Objects:
        """All blobs with energy."""
        offsets = self.chunk["MasterAnaDev_BlobTotalE"].offsets
        x, y, z, time, energy = (
            self._along(offsets, self.chunk[f"MasterAnaDev_Blob{name}"]) for name in ("X", "Y", "Z", "T", "TotalE")
        )
        keep = self._usable(energy) & (energy > LEAST_ENERGY)
        self._count("blob dropped: no usable energy", ~keep)
        event = flat.owners(offsets)[keep]
        position = self._position(np.stack([x, y, z], axis=1)[keep], "blob position unknown: broken value")
        return _objects(
            event,
            self._towards(position, energy[keep], event),
            energy[keep],
            TokenType.BLOB,
            position=position,
            time=self.known(time[keep], "blob time"),
        )

    def _towards(self, position: Array, energy: Array, event: Array) -> Array:
        """Momenta (n, 3) of massless objects at ``position``, from the vertex or from the detector's origin."""
        way = position
        if self.from_vertex:
            vertex = known_vertex(self.chunk)
            self._count("blob without direction: no vertex", np.isnan(vertex[event, 0]))
            way = position - vertex[event]
        length = np.linalg.norm(way, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = way / length[:, None]
        return np.where((length > 0)[:, None], energy[:, None] * unit, 0.0)

    def prong_hypotheses(self) -> tuple[Array, Array]:
        """Event and ``prong_part_pid`` of all prongs, both (prongs,)."""
        pid = self.chunk["prong_part_pid"]
        return flat.owners(pid.offsets), pid.values

    def prongs(self) -> tuple[Objects, Array]:
        """All prongs with a hypothesis and energy, and the hypothesis of each, (n,)."""
        event, pid = self.prong_hypotheses()
        chunk, offsets = self.chunk, self.chunk["prong_part_pid"].offsets
        self._count("prong four-momentum with other than 4 values", chunk["prong_part_E"].inner != 4)
        self._count("prong position with other than 4 values", chunk["prong_part_pos"].inner != 4)
        p4, place, dedx = (self._along(offsets, chunk[f"prong_{name}"]) for name in ("part_E", "part_pos", "dEdXMean"))
        energy = p4[:, 3]
        has_hypothesis = ~np.isin(pid, NO_HYPOTHESIS)
        has_energy = self._usable(energy) & (energy > LEAST_ENERGY)
        keep = has_hypothesis & has_energy
        self._count("prong dropped: no hypothesis", ~has_hypothesis)
        self._count("prong dropped: no usable energy", has_hypothesis & ~has_energy)
        kind = np.full(len(pid), TokenType.PRONG_OTHER, dtype=np.uint8)
        for hypothesis, token_type in _HYPOTHESES.items():
            kind[pid == hypothesis] = token_type
        self._count("prong of another hypothesis than 3, 8 and 13", keep & (kind == TokenType.PRONG_OTHER))
        what = "prong position unknown: broken value"
        found = _objects(
            event[keep],
            self._momentum(p4[keep, :3], "prong without direction: broken momentum"),
            energy[keep],
            kind[keep],
            dedx=self._dedx(dedx[keep], "prong dE/dx"),
            position=self._position(place[keep, :3], what, zero_is_broken=True),
            time=self.known(place[keep, 3], "prong time"),
        )
        return found, pid[keep]

    def _along(self, offsets: Array, branch: Ragged | Nested) -> Array:
        """Values of a branch for the objects that ``offsets`` counts; NaN where the branch has fewer."""
        self._count("branches of one object differ in length", np.diff(offsets) != branch.counts)
        return branch.along(offsets)


def _objects(
    event: Array,
    p3: Array,
    energy: Array,
    kind: Array | TokenType,
    *,
    dedx: Array | None = None,
    position: Array | None = None,
    time: Array,
) -> Objects:
    """Objects with NaN for what their kind does not have."""
    n = len(event)
    return Objects(
        event.astype(np.int64),
        p3,
        energy,
        np.broadcast_to(np.asarray(kind, dtype=np.uint8), (n,)),
        dedx if dedx is not None else np.full(n, np.nan),
        position if position is not None else np.full((n, 3), np.nan),
        time,
    )


def merge_excess(objects: Objects, most: int, merged: TokenType, weighting: str) -> Objects:
    """Events with more than ``most`` objects keep the ``most`` - 1 of highest energy, by falling energy, and the others
    become one object with their summed four-momentum, so that no energy is lost.

    Its position, time and dE/dx are means over the objects that have them, weighted by energy or by number; with
    number, the mean of dE/dx is that of ln(dE/dx + 0.1), as in the public code.
    """
    counts = np.bincount(objects.event)
    too_many = (counts > most)[objects.event] if len(counts) else np.zeros(0, dtype=bool)
    if not too_many.any():
        return objects
    crowd = objects.take(np.flatnonzero(too_many))
    crowd = crowd.take(np.lexsort((-crowd.energy, crowd.event)))
    _, first, group = np.unique(crowd.event, return_index=True, return_inverse=True)
    rank = np.arange(len(group)) - first[group]
    kept, rest = crowd.take(rank < most - 1), crowd.take(rank >= most - 1)
    return Objects.join([objects.take(~too_many), kept, _merged(rest, merged, weighting)])


def _merged(rest: Objects, kind: TokenType, weighting: str) -> Objects:
    """One object for each event of ``rest``."""
    event, group = np.unique(rest.event, return_inverse=True)
    n = len(event)
    weight = rest.energy if weighting == "energy" else np.ones(len(group))

    def mean(values: Array) -> Array:
        known = np.isfinite(values)
        total = np.bincount(group[known], (weight * values)[known], n)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total / np.bincount(group[known], weight[known], n))

    def total(values: Array) -> Array:
        return np.bincount(group, values, n)

    dedx = mean(rest.dedx) if weighting == "energy" else np.exp(mean(np.log(rest.dedx + 0.1))) - 0.1
    return _objects(
        event,
        np.stack([total(rest.p3[:, i]) for i in range(3)], axis=1),
        total(rest.energy),
        kind,
        dedx=dedx,
        position=np.stack([mean(rest.position[:, i]) for i in range(3)], axis=1),
        time=mean(rest.time),
    )
