"""What must hold for any stored event."""

from __future__ import annotations

import numpy as np

from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import MAX_ETA, PADDING, Clouds
from nuadapt.events.pixelmap import PixelMaps
from nuadapt.events.schema import FIELDS, TOKEN_FIELDS, fields_of
from nuadapt.events.splits import SPLITS
from nuadapt.events.truth import CodeScheme, Current, InteractionMode

#: Columns of numbered choices and the numbers that they may hold.
_CHOICES: dict[str, tuple[list[int], str]] = {
    "current": ([int(v) for v in Current], "Current"),
    "mode": ([int(v) for v in InteractionMode], "InteractionMode"),
    "mode_scheme": ([int(v) for v in CodeScheme], "CodeScheme"),
    "split": ([*range(len(SPLITS)), int(FIELDS["split"].sentinel or 0)], "the splits"),
    "muon_contained": ([-1, 0, 1], "yes, no and unknown"),
}
_NOT_NEGATIVE = (
    *("nu_energy", "lepton_energy", "Q2", "W", "deposited_energy", "muon_track_length", "shower_energy"),
    *("pion_energy", "pion_angle", "W_generator", "W_final_state"),
    *(name for name in FIELDS if name.startswith("available_energy")),
    *(f.name for f in fields_of("feature") if f.unit == "GeV"),
)


def problems_of(batch: EventBatch) -> list[str]:
    """Sentences about impossible values in a batch; empty if there are none."""
    found = _problems_of_columns(batch)
    if batch.particles is not None:
        for name, column in batch.particles.columns.items():
            if not np.isfinite(column).all():
                found.append(f"particle column {name}: {int((~np.isfinite(column)).sum())} values are not finite")
    if batch.pixelmap is not None:
        found += _problems_of_maps(batch.pixelmap)
    if batch.cloud is not None:
        found += _problems_of_clouds(batch.cloud)
    return found


def _problems_of_columns(batch: EventBatch) -> list[str]:
    found = []
    for name, column in batch.columns.items():
        field = FIELDS[name]
        if column.dtype.kind == "f":
            bad = ~np.isfinite(column) if field.sentinel is None else np.isinf(column)
            if bad.any():
                found.append(f"column {name}: {int(bad.sum())} values are not finite")
    for name, (legal, scheme) in _CHOICES.items():
        if name in batch.columns and not np.isin(batch[name], legal).all():
            found.append(f"column {name}: values outside {scheme}")
    for name in _NOT_NEGATIVE:
        if name in batch.columns and (batch[name] < 0).any():
            found.append(f"column {name}: negative values")
    if "map_fraction" in batch.columns:
        share = batch["map_fraction"]
        if ((share < 0) | (share > 1 + 1e-6)).any():  # a float32 sum may end a rounding above 1
            found.append("column map_fraction: values outside 0 to 1")
    return found


def _problems_of_maps(maps: PixelMaps) -> list[str]:
    found = []
    rows, cols = maps.spec.shape
    if len(maps.value) and (maps.row.max() >= rows or maps.col.max() >= cols):
        found.append(f"pixel positions outside the map of {rows} x {cols}")
    if not np.isfinite(maps.value).all():
        found.append(f"{int((~np.isfinite(maps.value)).sum())} pixel values are not finite")
    slot = np.repeat(np.arange(len(maps.offsets) - 1), np.diff(maps.offsets))
    twice = len(slot) - len(np.unique(np.stack([slot, maps.row, maps.col]), axis=1).T)
    if twice:
        found.append(f"{twice} pixels are listed twice in one view")
    return found


def _problems_of_clouds(clouds: Clouds) -> list[str]:
    found = []
    for name, column in clouds.columns.items():
        if column.dtype.kind == "f":
            bad = ~np.isfinite(column) if TOKEN_FIELDS[name].sentinel is None else np.isinf(column)
            if bad.any():
                found.append(f"token column {name}: {int(bad.sum())} values are not finite")
    kind = clouds.columns["type"]
    if len(kind) and (kind.min() == PADDING or kind.max() > len(clouds.spec.types)):
        found.append(f"token types outside 1 to {len(clouds.spec.types)}")
    if (np.abs(clouds.columns["eta"]) > MAX_ETA).any():
        found.append(f"token column eta: values outside -{MAX_ETA:g} to {MAX_ETA:g}")
    return found
