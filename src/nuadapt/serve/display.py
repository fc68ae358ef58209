"""One event for a page: truth with units and meaning, particles by name, pixels, tokens, what was answered."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, nearest, require
from nuadapt.evaluation.explain.faithfulness import verdicts
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import LOG_FLOOR
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.schema import FIELDS
from nuadapt.events.truth import Current, InteractionMode
from nuadapt.models.reasons.claims import Claims, claims_of_truth
from nuadapt.models.reasons.parser import parse_reason
from nuadapt.serve.answers import plain
from nuadapt.serve.problems import NotThere

_VERTEX = ("vertex_x", "vertex_y", "vertex_z")
_RECO_VERTEX = ("reco_vertex_x", "reco_vertex_y", "reco_vertex_z")
_SHOWN_GROUPS = ("truth", "visible", "final_state", "feature")
_CODES: dict[str, Any] = {"current": Current, "mode": InteractionMode}
#: Verdict of a claim -> whether it is supported; None: truth does not decide.
_SUPPORTED = {"supported": True, "contradicted": False, "undecided": None}


@lru_cache(maxsize=4096)
def particle_name(pdg: int) -> str:
    """What the ``particle`` package calls a PDG code; the code itself where it knows none.

    >>> particle_name(13), particle_name(-211), particle_name(123456789)
    ('mu-', 'pi-', 'PDG 123456789')
    """
    particle = require("particle", "readers")
    try:
        return str(particle.Particle.from_pdgid(pdg).name)
    except (particle.ParticleNotFound, particle.InvalidParticle):
        return f"PDG {pdg}"


def particles_of(batch: EventBatch) -> list[dict[str, Any]]:
    """Particles leaving the nucleus of the only event of ``batch``, by falling energy; GeV."""
    if batch.particles is None:
        return []
    columns = batch.particles.of(0)
    found = []
    for i in np.argsort(-columns["E"], kind="stable"):
        p3, energy = [float(columns[axis][i]) for axis in ("px", "py", "pz")], float(columns["E"][i])
        mass = float(np.sqrt(max(energy**2 - sum(p * p for p in p3), 0.0)))
        pdg = int(columns["pdg"][i])
        found.append(
            {
                "pdg": pdg,
                "name": particle_name(pdg),
                "energy_GeV": plain(energy),
                "momentum_GeV": [plain(p) for p in p3],
                "kinetic_GeV": plain(energy - mass),
            }
        )
    return found


def truth_columns(batch: EventBatch) -> dict[str, dict[str, Any]]:
    """Columns of the only event of ``batch`` that are known, with unit and meaning; codes by name."""
    found = {}
    for name, column in batch.columns.items():
        field, value = FIELDS[name], column[0].item()
        unknown = value == field.sentinel or (isinstance(value, float) and not math.isfinite(value))
        if field.group in _SHOWN_GROUPS and not unknown:
            shown = _CODES[name](value).name if name in _CODES else value
            found[name] = {"value": shown, "unit": field.unit, "meaning": field.meaning, "group": field.group}
    return found


def vertex_of(batch: EventBatch) -> list[float] | None:
    """Interaction point (x, y, z) in cm, true or else reconstructed; None where unknown."""
    for names in (_VERTEX, _RECO_VERTEX):
        if all(name in batch.columns and np.isfinite(batch[name][0]) for name in names):
            return [float(batch[name][0]) for name in names]
    return None


def views_of(spec: MapSpec | None, maps: PixelMaps | None = None) -> list[dict[str, Any]]:
    """The views of a store, or with the ``maps`` of one event those of that event, which have an origin.

    ``pixel_cm`` and ``origin_cm`` are along (rows, columns), in ``axis_unit``, which is nearly always cm; the origin is
    the lower edge of pixel (0, 0), null where unknown.
    """
    if spec is None:
        return []
    return [
        {
            "name": name,
            "rows": spec.axes[i][0],
            "cols": spec.axes[i][1],
            "shape": list(spec.shape),
            "pixel_cm": list(spec.pitch),
            "axis_unit": spec.axis_unit,
            "unit": spec.value_unit,
            "origin_cm": [plain(v) for v in maps.origin[0, i]] if maps is not None else [None, None],
        }
        for i, name in enumerate(spec.views)
    ]


def view_number(spec: MapSpec | None, name: str) -> int:
    """The number of a view.

    Raises:
        NotThere: these events have no pixel maps, or no view of this name.
    """
    if spec is None:
        raise NotThere("these events have no pixel maps", next_step="Ask for their cloud")
    if name not in spec.views:
        raise NotThere(f"no view '{name[:40]}'", expected=nearest(name[:40], spec.views))
    return spec.views.index(name)


def pixels_of(maps: PixelMaps, view: int) -> dict[str, Any]:
    """Non-empty pixels of one view of the only event of ``maps``."""
    at = maps.view_slice(0, view)
    return {
        "shape": list(maps.spec.shape),
        "row": maps.row[at].tolist(),
        "col": maps.col[at].tolist(),
        "value": _short(maps.value[at]),
        "unit": maps.spec.value_unit,
        "origin_cm": [plain(v) for v in maps.origin[0, view]],
    }


def _short(values: npt.NDArray[Any]) -> list[float]:
    """Numbers with six digits, as many as float32 is sure of."""
    return [float(f"{v:.6g}") for v in values.tolist()]


def cloud_of(batch: EventBatch) -> dict[str, Any]:
    """Tokens of the only event of ``batch``.

    Raises:
        NotThere: these events have no clouds.
    """
    if batch.cloud is None:
        raise NotThere("these events have no particle clouds", next_step="Ask for their views")
    columns, spec = batch.cloud.columns, batch.cloud.spec
    given = {
        "eta": columns["eta"],
        "phi": columns["phi"],
        "energy_GeV": np.exp(columns["log_e"].astype(np.float64)) - LOG_FLOOR,
        "pt_GeV": np.exp(columns["log_pt"].astype(np.float64)) - LOG_FLOOR,
    }
    names = {"x": "x_cm", "y": "y_cm", "z": "z_cm", "dedx": "dedx_GeV_per_cm", "time": "time_ns"}
    given |= {shown: columns[name] for name, shown in names.items() if name in columns}
    kinds = [spec.types[int(t) - 1] if 0 < t <= len(spec.types) else f"type {int(t)}" for t in columns["type"]]
    tokens = [
        {"type": kind, **{name: plain(column[i]) for name, column in given.items()}} for i, kind in enumerate(kinds)
    ]
    return {"tokens": tokens, "types": list(spec.types), "frame": spec.frame}


def claims_of(reason: str, batch: EventBatch) -> list[dict[str, Any]]:
    """The claims that a reason makes, each with its words and whether visible truth supports it."""
    from nuadapt.report.explanations import CLAIM_TITLES  # brings matplotlib

    truth = Claims()
    if batch.has_truth and "n_tracks" in batch.columns and batch["n_tracks"][0] >= 0:
        with suppress(DataError):  # truth that contradicts itself judges nothing
            truth = claims_of_truth(batch)[0]
    return [
        {
            "text": f"{CLAIM_TITLES.get(given['claim'], given['claim'])}: {given['value']}",
            "kind": given["claim"],
            "supported": _SUPPORTED[given["verdict"]],
        }
        for given in verdicts(parse_reason(reason), truth)
    ]
