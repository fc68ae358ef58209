"""What ``nuadapt info`` says about a store, as tables of plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.events.schema import FIELDS, SCHEMA_VERSION
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore, Layout
from nuadapt.events.truth import FLAVOUR_TITLES, NO_LABEL, PION_TITLES, InteractionMode, flavour_label, pion_label
from nuadapt.record import flat

Array = npt.NDArray[Any]
Tables = list[tuple[str, list[list[str]]]]


def describe(path: Path) -> Tables:
    """Titled tables of (name, value) rows for an event store.

    Raises:
        InputFileError: it is none.
    """
    with EventStore(path) as store:
        return _describe_store(store)


def _truth(layout: Layout) -> str:
    if layout.has_truth:
        return "yes"
    numbered = layout.cloud_spec is not None and "class_id" in layout.cloud_spec.features
    return "class numbers only" if numbered else "no (recorded data)"


def _describe_store(store: EventStore) -> Tables:
    layout, n = store.layout, len(store)
    rows = [
        ["format", f"nuadapt event store, schema version {SCHEMA_VERSION}"],
        ["size", f"{store.path.stat().st_size / 1e6:.1f} MB"],
        ["events", f"{n}" + ("" if store.complete else "  (unfinished: the writer was interrupted or is at work)")],
        ["sources", ", ".join(store.sources[:5]) + (" ..." if len(store.sources) > 5 else "")],
        ["truth", _truth(layout)],
        ["particles", "yes" if layout.has_particles else "no"],
    ]
    if layout.map_spec:
        spec = layout.map_spec
        shape, pitch = " x ".join(map(str, spec.shape)), " x ".join(f"{p:g}" for p in spec.pitch)
        views = f"views {', '.join(spec.views)}; {shape} pixels of {pitch} {spec.axis_unit}"
        rows.append(["pixel maps", f"{views}; values in {spec.value_unit}"])
    if layout.cloud_spec:
        cloud = layout.cloud_spec
        rows.append(["clouds", f"angles in the {cloud.frame} frame; token columns {', '.join(cloud.columns)}"])
        rows.append(["token types", ", ".join(f"{i} {name}" for i, name in enumerate(cloud.types, start=1))])
    tables: Tables = [(str(store.path), rows)]
    if layout.has_truth and n:
        tables += [("Events by class and split", _counts(store)), ("Columns", _ranges(store))]
    elif layout.cloud_spec and n:
        tables.append(("Columns", _ranges(store)))
    tables.append(("Record", [[k, v if len(v) < 100 else v[:97] + "..."] for k, v in flat(store.record)]))
    return tables


def _counts(store: EventStore) -> list[list[str]]:
    current, split, mode = (store.column(name) for name in ("current", "split", "mode"))
    rows = [["class", *SPLITS, "all"]]
    rows += _by_class(flavour_label(store.column("nu_pdg"), current), split, [*FLAVOUR_TITLES.values()])
    if store.layout.cloud_spec:
        pions = pion_label(current, store.column("n_charged_pions"), store.column("n_neutral_pions"))
        rows += _by_class(pions, split, [f"pion task: {title}" for title in PION_TITLES.values()])
    modes = {m.name: int((mode == m).sum()) for m in InteractionMode}
    return [
        *rows,
        ["modes", json.dumps({k: v for k, v in modes.items() if v}).strip("{}").replace('"', ""), "", "", ""],
    ]


def _by_class(label: Array, split: Array, titles: list[str]) -> list[list[str]]:
    """A row for each class in label order, and one for events without."""
    rows = []
    for value, title in [*enumerate(titles), (NO_LABEL, "no class")]:
        mine = label == value
        rows.append([title, *(str(int((mine & (split == s)).sum())) for s in range(len(SPLITS))), str(int(mine.sum()))])
    return rows


def _ranges(store: EventStore) -> list[list[str]]:
    rows = [["column", "unit", "least", "mean", "greatest", "meaning"]]
    for name in store.layout.columns:
        field, values = FIELDS[name], store.column(name)
        if values.dtype.kind != "f":
            continue
        known = values[np.isfinite(values)]
        if len(known):
            numbers = [f"{v:.4g}" for v in (known.min(), known.mean(dtype=np.float64), known.max())]
            rows.append([name, field.unit, *numbers, field.meaning])
    return rows
