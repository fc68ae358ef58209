"""Decays of hadrons too short-lived to leave a track of their own: eta and Sigma0."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nuadapt.sources.simulation.neutrino.kinematics import isotropic, three_body, two_body
from nuadapt.sources.simulation.neutrino.masses import (
    ETA,
    LAMBDA,
    PHOTON,
    PI_MINUS,
    PI_PLUS,
    PI_ZERO,
    SIGMA_ZERO,
    mass,
)

FloatArray = npt.NDArray[np.float64]

#: Branching fractions, PDG 2022; rare modes (pi+ pi- gamma, 4.2 %) count with pi+ pi- pi0.
_ETA_MODES = (
    (0.394, (PHOTON, PHOTON)),
    (0.327, (PI_ZERO, PI_ZERO, PI_ZERO)),
    (0.279, (PI_PLUS, PI_MINUS, PI_ZERO)),
)


def decay_short_lived(pdg: list[int], p4: FloatArray, rng: np.random.Generator) -> tuple[list[int], FloatArray]:
    """Replace each eta and Sigma0 by its daughters; the others keep their order. ``p4`` has shape (n, 4)."""
    if ETA not in pdg and SIGMA_ZERO not in pdg:
        return pdg, p4
    out_pdg: list[int] = []
    out_p4: list[FloatArray] = []
    for code, parent in zip(pdg, p4, strict=True):
        daughters = _daughters(code, rng)
        out_pdg += daughters
        if len(daughters) == 1:
            out_p4.append(parent[None, :])
        elif len(daughters) == 2:
            out_p4.append(two_body(parent, mass(daughters[0]), mass(daughters[1]), isotropic(rng)))
        else:
            out_p4.append(three_body(parent, np.array([mass(d) for d in daughters]), rng))
    return out_pdg, np.vstack(out_p4)


def _daughters(code: int, rng: np.random.Generator) -> list[int]:
    if code == SIGMA_ZERO:
        return [LAMBDA, PHOTON]
    if code != ETA:
        return [code]
    draw = rng.random()
    for share, daughters in _ETA_MODES:
        draw -= share
        if draw < 0:
            return list(daughters)
    return list(_ETA_MODES[-1][1])
