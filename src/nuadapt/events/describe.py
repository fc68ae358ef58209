"""What ``nuadapt info`` says about a store or a run folder, as tables of plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nuadapt.errors import InputFileError
from nuadapt.events.schema import FIELDS, SCHEMA_VERSION
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore
from nuadapt.events.truth import FLAVOUR_CLASSES, FLAVOUR_TITLES, InteractionMode, flavour_label
from nuadapt.record import read_json

Tables = list[tuple[str, list[list[str]]]]


def describe(path: Path) -> Tables:
    """Titled tables of (name, value) rows for an event store or a run folder.

    Raises:
        InputFileError: the path is neither.
    """
    if not path.is_dir():
        with EventStore(path) as store:
            return _describe_store(store)
    if not (path / "record.json").is_file():
        raise InputFileError("this folder holds no record.json", where=path, expected="an event store or a run folder")
    return [(f"{path} (run folder)", _flatten(read_json(path / "record.json")))]


def _flatten(record: Any, prefix: str = "") -> list[list[str]]:
    """Rows ``a.b.c``, value of nested mappings."""
    if not isinstance(record, dict):
        return [[prefix, str(record)]]
    return [row for key, value in record.items() for row in _flatten(value, f"{prefix}.{key}" if prefix else str(key))]


def _describe_store(store: EventStore) -> Tables:
    layout, n = store.layout, len(store)
    rows = [
        ["format", f"nuadapt event store, schema version {SCHEMA_VERSION}"],
        ["size", f"{store.path.stat().st_size / 1e6:.1f} MB"],
        ["events", f"{n}" + ("" if store.complete else "  (unfinished: the writer was interrupted or is at work)")],
        ["sources", ", ".join(store.sources[:5]) + (" ..." if len(store.sources) > 5 else "")],
        ["truth", "yes" if layout.has_truth else "no (recorded data)"],
        ["particles", "yes" if layout.has_particles else "no"],
    ]
    if layout.map_spec:
        spec = layout.map_spec
        shape, pitch = " x ".join(map(str, spec.shape)), " x ".join(f"{p:g}" for p in spec.pitch)
        views = f"views {', '.join(spec.views)}; {shape} pixels of {pitch} {spec.axis_unit}"
        rows.append(["pixel maps", f"{views}; values in {spec.value_unit}"])
    tables: Tables = [(str(store.path), rows)]
    if layout.has_truth and n:
        tables += [("Events by class and split", _counts(store)), ("Columns", _ranges(store))]
    tables.append(("Record", [[k, v if len(v) < 100 else v[:97] + "..."] for k, v in _flatten(store.record)]))
    return tables


def _counts(store: EventStore) -> list[list[str]]:
    label = flavour_label(store.column("nu_pdg"), store.column("current"))
    split, mode = store.column("split"), store.column("mode")
    rows = [["class", *SPLITS, "all"]]
    for value, name in [*enumerate(FLAVOUR_CLASSES), (-1, "no class")]:
        mine = label == value
        title = FLAVOUR_TITLES.get(name, name)
        rows.append([title, *(str(int((mine & (split == s)).sum())) for s in range(len(SPLITS))), str(int(mine.sum()))])
    modes = {m.name: int((mode == m).sum()) for m in InteractionMode}
    return [
        *rows,
        ["modes", json.dumps({k: v for k, v in modes.items() if v}).strip("{}").replace('"', ""), "", "", ""],
    ]


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
