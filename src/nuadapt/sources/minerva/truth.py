"""Truth of a chunk, from the generator's particles and leptons and never from reconstruction."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.batch import Particles
from nuadapt.events.final_state import final_state_columns, lepton_side
from nuadapt.events.schema import FIELDS
from nuadapt.events.truth import CodeScheme, Current, mode_from_code
from nuadapt.sources.minerva.objects import vectors
from nuadapt.sources.minerva.tree import Chunk

Array = npt.NDArray[Any]
_MEV, _MM = 1e-3, 0.1  # GeV, cm
_NUCLEONS = (2212, 2112)


def rotated(p3: Array, angle: float) -> Array:
    """Vectors (n, 3) rotated about x by ``angle`` (rad): y' = y cos - z sin, z' = y sin + z cos."""
    if angle == 0:
        return p3
    x, y, z = p3.T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x, y * cos - z * sin, y * sin + z * cos], axis=1)


def truth_of(chunk: Chunk, angle: float, broken: Counter[str]) -> tuple[dict[str, Array], Particles]:
    """Truth columns and the particles leaving the nucleus, momenta rotated by ``angle`` into the cloud's frame.

    An event whose list of particles is empty (not even its lepton is there) has no known final state.
    """
    particles = _particles(chunk, angle)
    p_nu, p_lepton = (vectors(chunk, name) * _MEV for name in ("mc_incomingPartVec", "mc_primFSLepton"))
    columns = _interaction(chunk) | lepton_side(p_nu, p_lepton)
    columns |= {"nu_energy": p_nu[:, 3], "lepton_energy": p_lepton[:, 3]}
    columns |= {f"vertex_{a}": vectors(chunk, "mc_vtx")[:, i] * _MM for i, a in enumerate("xyz")}
    columns |= final_state_columns(particles, rotated(p_nu[:, :3], angle))
    columns["W_generator"] = np.where(chunk.floats("mc_w") >= 0, chunk.floats("mc_w") * _MEV, np.nan)
    empty = np.diff(particles.offsets) == 0
    if empty.any():
        broken["truth without particles: final state unknown"] += int(empty.sum())
    for name in final_state_columns(particles.select(np.empty(0, dtype=np.int64)), np.empty((0, 3))):
        columns[name] = np.where(empty, FIELDS[name].missing(chunk.n), columns[name])
    return columns, particles


def _particles(chunk: Chunk, angle: float) -> Particles:
    offsets = chunk["mc_FSPartPDG"].offsets
    p3 = np.stack([chunk[f"mc_FSPart{a}"].values for a in ("Px", "Py", "Pz")], axis=1).astype(np.float64)
    p3 = rotated(p3, angle) * _MEV
    columns = {"pdg": chunk["mc_FSPartPDG"].values, "E": chunk["mc_FSPartE"].values * _MEV}
    columns |= {name: p3[:, i] for i, name in enumerate(("px", "py", "pz"))}
    return Particles(offsets, {name: c.astype("i4" if name == "pdg" else "f4") for name, c in columns.items()})


def _interaction(chunk: Chunk) -> dict[str, Array]:
    """Neutrino, current, mode with its code, target, lepton."""
    nu, current = chunk["mc_incoming"], chunk["mc_current"]
    known = np.isin(current, (Current.CC, Current.NC))
    code, row = np.unique(chunk["mc_intType"], return_inverse=True)
    mode = np.array([mode_from_code(int(c), CodeScheme.MINERVA) for c in code], dtype=np.uint8)[row]
    columns: dict[str, Array] = {
        "nu_pdg": nu,
        "current": np.where(known, current, Current.UNKNOWN),
        "mode": mode,
        "mode_code": chunk["mc_intType"],
        "mode_scheme": np.full(chunk.n, CodeScheme.MINERVA),
        # A charged current turns a neutrino (even code) into its lepton (the odd code below).
        "lepton_pdg": np.where(current == Current.CC, nu - np.sign(nu), np.where(current == Current.NC, nu, 0)),
    }
    if "mc_targetZ" in chunk and "mc_targetA" in chunk:
        z, a = chunk["mc_targetZ"].astype(np.int64), chunk["mc_targetA"].astype(np.int64)
        columns["target_pdg"] = np.where((z > 0) & (a > 0), 1_000_000_000 + 10_000 * z + 10 * a, 0)
    if "mc_targetNucleon" in chunk:
        nucleon = chunk["mc_targetNucleon"]
        columns["hit_nucleon_pdg"] = np.where(np.isin(nucleon, _NUCLEONS), nucleon, 0)
    return columns
