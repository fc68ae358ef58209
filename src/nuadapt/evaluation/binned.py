"""The same metrics by true neutrino energy and by interaction mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from nuadapt.errors import ConfigError
from nuadapt.evaluation.block import metrics_block
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.metrics import Sample
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.truth import InteractionMode

#: GeV. The study of arXiv:2509.08461 draws energies uniformly up to 10 GeV; bins are finer where topologies change.
ENERGY_EDGES: tuple[float, ...] = (0, 1, 2, 3, 4, 6, 8, 10)


def by_energy(
    predictions: Predictions, config: BootstrapConfig, edges: tuple[float, ...] = ENERGY_EDGES
) -> list[dict[str, Any]]:
    """One block per bin of true energy (GeV), lower edge inclusive, one above the last edge, and ``unknown``.

    Events below the first edge are in no bin. Only bins with labelled events are given.

    Raises:
        ConfigError: edges that do not rise.
    """
    if len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise ConfigError(f"energy edges {edges} do not rise", expected="at least two rising edges in GeV")
    known = predictions.select(predictions.has_label)
    sample, energy = Sample.of(known), known.nu_energy
    blocks = []
    for low, high in zip(edges, (*edges[1:], np.inf), strict=True):
        inside = (energy >= low) & (energy < high)
        name = f"{low:g}-{high:g}" if np.isfinite(high) else f">{low:g}"
        head = {"bin": name, "low": float(low), "high": float(high) if np.isfinite(high) else None}
        if inside.any():
            mean = float(np.average(energy[inside], weights=_positive(sample.weight[inside])))
            blocks.append(head | {"mean_energy": mean} | metrics_block(sample.select(inside), config, f"E{name}"))
    unknown = np.isnan(energy)
    if unknown.any():
        head = {"bin": "unknown", "low": None, "high": None, "mean_energy": None}
        blocks.append(head | metrics_block(sample.select(unknown), config, "Eunknown"))
    return blocks


def by_mode(predictions: Predictions, config: BootstrapConfig) -> list[dict[str, Any]]:
    """One block per interaction mode that occurs among the labelled events."""
    known = predictions.select(predictions.has_label)
    sample = Sample.of(known)
    return [
        {"mode": mode.name} | metrics_block(sample.select(known.mode == mode), config, f"M{mode.name}")
        for mode in InteractionMode
        if (known.mode == mode).any()
    ]


def _positive(weight: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return weight if weight.sum() > 0 else np.ones_like(weight)
