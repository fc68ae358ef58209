"""Estimates of an energy in physics terms: the model beside the calorimeter, as metrics.json tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.physics.cuts import CALORIMETRIC_SCALE, calorimetric
from nuadapt.evaluation.physics.energy import (
    MULTIPLICITY_EDGES,
    gates_failed,
    histograms,
    in_bins,
    ratios,
    spread,
)

Array = npt.NDArray[Any]
HADRONS = ("n_protons", "n_charged_pions", "n_neutral_pions")
CALORIMETER = ("blob_recoil_energy",)
#: True columns that the bins look at; those of the CALORIMETER may be missing.
COLUMNS = ("q3", *HADRONS)


def estimates(
    energy: Array, truth: Array, weight: Array, columns: Mapping[str, Array], scale: float | None, how: BootstrapConfig
) -> dict[str, Any]:
    """``estimates``: the spread of each over ``truth`` (N,) in GeV, in all and by bin; ``gates_failed``: bins of q3 in
    which the model's ``energy`` (N,) spreads more than the calorimeter.

    ``columns`` are COLUMNS (N,) and, where the detector has it, the CALORIMETER. ``scale`` is that of the calorimeter
    as it was fitted; without it the published one stands in the gates.
    """
    given: dict[str, tuple[Array, float | None]] = {"model": (energy, None)}
    if set(CALORIMETER) <= set(columns):
        given["calorimetric"] = (calorimetric(columns), CALORIMETRIC_SCALE)
        if scale is not None:
            given["calorimetric_fitted"] = (calorimetric(columns, scale), scale)
    found = {
        name: ({"scale": factor} if factor is not None else {}) | _spreads(values, truth, weight, columns, how)
        for name, (values, factor) in given.items()
    }
    other = found.get("calorimetric_fitted", found.get("calorimetric"))
    failed = gates_failed(found["model"]["by_q3"], other["by_q3"]) if other else []
    return {"estimates": found, "gates_failed": failed}


def _spreads(
    energy: Array, truth: Array, weight: Array, columns: Mapping[str, Array], how: BootstrapConfig
) -> dict[str, Any]:
    """How one estimate spreads around the truth."""
    q3, hadrons = columns["q3"], np.sum([np.maximum(columns[name], 0) for name in HADRONS], axis=0)
    ratio, counts = ratios(energy, truth)
    return {
        "all": spread(ratio, weight[counts], how).as_dict(),
        "by_q3": in_bins(energy, truth, q3, weight, how),
        "by_multiplicity": in_bins(energy, truth, hadrons, weight, how, MULTIPLICITY_EDGES),
        "histograms": histograms(energy, truth, q3, weight),
    }
