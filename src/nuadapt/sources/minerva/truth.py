"""Truth of a chunk, from the generator's particles and leptons and never from reconstruction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events import flat
from nuadapt.events.batch import Particles
from nuadapt.events.final_state import final_state_columns, lepton_side
from nuadapt.events.schema import FIELDS
from nuadapt.events.truth import NO_CODE, CodeScheme, Current, mode_from_code
from nuadapt.sources.minerva.objects import count, every, is_good
from nuadapt.sources.minerva.tree import SENTINELS, Chunk, is_sentinel
from nuadapt.sources.reading import ReadReport

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
_MEV, _MM = 1e-3, 0.1  # GeV, cm
_NUCLEONS = (2212, 2112)


def rotated(p3: Array, angle: float) -> Array:
    """Vectors (n, 3) rotated about x by ``angle`` (rad): y' = y cos - z sin, z' = y sin + z cos."""
    if angle == 0:
        return p3
    x, y, z = p3.T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x, y * cos - z * sin, y * sin + z * cos], axis=1)


def truth_of(chunk: Chunk, angle: float, report: ReadReport) -> tuple[dict[str, Array], Particles]:
    """Truth columns and the particles leaving the nucleus, momenta rotated by ``angle`` into the cloud's frame.

    What is broken becomes unknown, each column for itself. The final state of an event is unknown if its list of
    particles is empty (not even its lepton is there), or if one of them is broken, which is dropped.
    """
    particles, lost = _particles(chunk, angle, report)
    p_nu = _four_momentum(chunk, "mc_incomingPartVec", "true neutrino momentum", report)
    p_lepton = _four_momentum(chunk, "mc_primFSLepton", "true lepton momentum", report)
    columns = _interaction(chunk, report) | lepton_side(p_nu, p_lepton)
    columns |= {"nu_energy": p_nu[:, 3], "lepton_energy": p_lepton[:, 3]}
    vertex = _known(chunk.four("mc_vtx")[:, :3], "true vertex", report) * _MM
    columns |= {f"vertex_{a}": vertex[:, i] for i, a in enumerate("xyz")}
    columns |= final_state_columns(particles, rotated(p_nu[:, :3], angle))
    w = chunk.floats("mc_w")[:, None]
    w = np.where(np.isfinite(w) & (w < 0), SENTINELS[0], w)  # below 0, by generator in other numbers: W means nothing
    columns["W_generator"] = _known(w, "generator's W", report)[:, 0] * _MEV
    empty = chunk["mc_FSPartPDG"].counts == 0
    count(report.broken, "truth without particles: final state unknown", empty & ~lost)
    for name in final_state_columns(particles.select(np.empty(0, dtype=np.int64)), np.empty((0, 3))):
        columns[name] = np.where(empty | lost, FIELDS[name].missing(chunk.n), columns[name])
    return columns, particles


def _known(values: Array, what: str, report: ReadReport, usable: BoolArray | None = None) -> Array:
    """Vectors (n, k), NaN as a whole where a component is no number; absent are those of which all are a sentinel."""
    absent = every(is_sentinel(values))
    good = every(is_good(values)) if usable is None else every(is_good(values)) & usable
    count(report.absent, what, absent)
    count(report.broken, f"{what} unknown: broken value", ~good & ~absent)
    return np.where(good[:, None], values, np.nan)


def _four_momentum(chunk: Chunk, name: str, what: str, report: ReadReport) -> Array:
    """Momentum and energy (n, 4) in GeV of a lepton, which has energy."""
    p4 = chunk.four(name)
    return _known(p4, what, report, p4[:, 3] > 0) * _MEV


def _particles(chunk: Chunk, angle: float, report: ReadReport) -> tuple[Particles, BoolArray]:
    """Particles without the broken ones, and the events (n,) that have lost one."""
    pdg = chunk["mc_FSPartPDG"]
    others = [chunk[f"mc_FSPart{name}"] for name in ("Px", "Py", "Pz", "E")]
    uneven = np.any([branch.counts != pdg.counts for branch in others], axis=0)
    count(report.broken, "branches of generator particles differ in length", uneven)
    code = pdg.along(pdg.offsets)
    p4 = np.stack([branch.along(pdg.offsets) for branch in others], axis=1)
    good = every(is_good(p4)) & (p4[:, 3] >= 0) & (np.abs(code) < 2**31) & (code != 0) & ~is_sentinel(code)
    count(report.broken, "generator particle dropped: broken value", ~good)
    event = flat.owners(pdg.offsets)
    lost = uneven | (np.bincount(event[~good], minlength=chunk.n) > 0)
    p3 = rotated(p4[good, :3], angle) * _MEV
    columns = {"pdg": code[good].astype("i4"), "E": (p4[good, 3] * _MEV).astype("f4")}
    columns |= {name: p3[:, i].astype("f4") for i, name in enumerate(("px", "py", "pz"))}
    return Particles(flat.offsets_of(np.bincount(event[good], minlength=chunk.n)), columns), lost


def _interaction(chunk: Chunk, report: ReadReport) -> dict[str, Array]:
    """Neutrino, current, mode with its code, target, lepton."""
    nu, current, kind = (chunk.whole(f"mc_{name}", NO_CODE) for name in ("incoming", "current", "intType"))
    known, is_neutrino = np.isin(current, (Current.CC, Current.NC)), np.isin(np.abs(nu), (12, 14, 16))
    count(report.broken, "current unknown: broken value", ~known)
    count(report.broken, "neutrino unknown: broken value", ~is_neutrino)
    count(report.broken, "interaction type unknown: broken value", kind == NO_CODE)
    current, nu = np.where(known, current, Current.UNKNOWN), np.where(is_neutrino, nu, 0)
    code, row = np.unique(kind, return_inverse=True)
    mode = np.array([mode_from_code(int(c), CodeScheme.MINERVA) for c in code], dtype=np.uint8)[row]
    columns: dict[str, Array] = {
        "nu_pdg": nu,
        "current": current,
        "mode": mode,
        "mode_code": kind,
        "mode_scheme": np.full(chunk.n, CodeScheme.MINERVA),
        # A charged current turns a neutrino (even code) into its lepton (the odd code below).
        "lepton_pdg": np.where(current == Current.CC, nu - np.sign(nu), np.where(current == Current.NC, nu, 0)),
    }
    if "mc_targetZ" in chunk and "mc_targetA" in chunk:
        z, a = chunk.whole("mc_targetZ", 0), chunk.whole("mc_targetA", 0)
        columns["target_pdg"] = np.where((z > 0) & (a > 0), 1_000_000_000 + 10_000 * z + 10 * a, 0)
    if "mc_targetNucleon" in chunk:
        nucleon = chunk.whole("mc_targetNucleon", 0)
        columns["hit_nucleon_pdg"] = np.where(np.isin(nucleon, _NUCLEONS), nucleon, 0)
    return columns
