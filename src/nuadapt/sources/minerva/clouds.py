"""Reconstructed objects (MeV, mm, ns, detector axes) as the tokens of a cloud, read and simulated ones alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.cloud import Clouds, kinematics, minerva_spec
from nuadapt.events.flat import offsets_of
from nuadapt.sources.minerva.objects import Objects
from nuadapt.sources.minerva.options import BEAM_ANGLE
from nuadapt.sources.minerva.truth import rotated

Array = npt.NDArray[Any]
_MEV, _MM, _MEV_PER_CM = 1e-3, 0.1, 1e-3  # GeV, cm, GeV/cm


def clouds_of(objects: Objects, n: int, frame: str) -> Clouds:
    """Objects of ``n`` events (MeV, mm, detector axes) as tokens (GeV, cm, angles in ``frame``)."""
    angle = BEAM_ANGLE if frame == "beam" else 0.0
    columns: dict[str, Array] = dict(kinematics(rotated(objects.p3, angle) * _MEV, objects.energy * _MEV))
    columns |= {"type": objects.kind, "dedx": objects.dedx * _MEV_PER_CM, "time": objects.time}
    columns |= {axis: objects.position[:, i] * _MM for i, axis in enumerate("xyz")}
    return Clouds.make(minerva_spec(frame), offsets_of(np.bincount(objects.event, minlength=n)), columns)


def diphoton_mass(photons: Objects, n: int) -> Array:
    """Invariant mass (n,) in GeV of the two photons; NaN unless there are two with a direction."""
    directed = photons.take((photons.p3 != 0).any(axis=1))
    px, py, pz = (np.bincount(directed.event, directed.p3[:, i], n) for i in range(3))
    energy = np.bincount(directed.event, directed.energy, n)
    square = energy**2 - px**2 - py**2 - pz**2
    two = np.bincount(directed.event, minlength=n) == 2
    return np.where(two, np.sqrt(np.maximum(square, 0.0)) * _MEV, np.nan)
