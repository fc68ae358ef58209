"""What must hold for any stored event."""

from __future__ import annotations

import numpy as np

from nuadapt.events.batch import EventBatch
from nuadapt.events.schema import FIELDS
from nuadapt.events.truth import CodeScheme, Current, InteractionMode


def problems_of(batch: EventBatch) -> list[str]:
    """Sentences about impossible values in a batch; empty if there are none."""
    found = []
    for name, column in batch.columns.items():
        field = FIELDS[name]
        if column.dtype.kind == "f":
            bad = ~np.isfinite(column) if field.sentinel is None else np.isinf(column)
            if bad.any():
                found.append(f"column {name}: {int(bad.sum())} values are not finite")
    for name, scheme in (("current", Current), ("mode", InteractionMode), ("mode_scheme", CodeScheme)):
        if name in batch.columns and not np.isin(batch[name], [int(v) for v in scheme]).all():
            found.append(f"column {name}: values outside {scheme.__name__}")
    if batch.has_truth:
        for name in ("nu_energy", "lepton_energy", "Q2", "W", "deposited_energy", "muon_track_length"):
            if (batch[name] < 0).any():
                found.append(f"column {name}: negative values")
    if batch.pixelmap is not None:
        maps = batch.pixelmap
        rows, cols = maps.spec.shape
        if len(maps.value) and (maps.row.max() >= rows or maps.col.max() >= cols):
            found.append(f"pixel positions outside the map of {rows} x {cols}")
        if not np.isfinite(maps.value).all():
            found.append(f"{int((~np.isfinite(maps.value)).sum())} pixel values are not finite")
    return found
