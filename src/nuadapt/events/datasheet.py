"""The datasheet of the event files, made from the schema so that it cannot disagree with it.

``python -m nuadapt.events.datasheet docs/datasheet.md`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path

import numpy as np

from nuadapt.errors import ConfigError, OutputError
from nuadapt.events import splits, truth
from nuadapt.events.cloud import EVENT_INPUTS, TOKEN_INPUTS, TokenType
from nuadapt.events.final_state import AVAILABLE_ENERGY
from nuadapt.events.pixelmap import ADDITIVE_UNITS, VALUE_UNITS
from nuadapt.events.schema import FIELDS, PARTICLE_FIELDS, SCHEMA_VERSION, TOKEN_FIELDS, Field, fields_of
from nuadapt.events.truth import CodeScheme, Current, InteractionMode

_GROUPS = {
    "key": "Key",
    "weight": "Weight",
    "split": "Split",
    "truth": "Truth of the interaction",
    "visible": "Truth of what the detector can see (events with pixel maps)",
    "final_state": "Truth of the final state (events with clouds)",
    "feature": "Event-level reconstruction (the columns that the cloud's spec names)",
}
_ENUMS: tuple[type[IntEnum], ...] = (Current, InteractionMode, CodeScheme, TokenType)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _unknown(field: Field) -> str:
    if field.sentinel is None:
        return "always known"
    return "NaN" if np.isnan(field.sentinel) else f"{field.sentinel:g}"


def _fields(fields: Iterable[Field]) -> str:
    rows = [(f"`{f.name}`", np.dtype(f.dtype).name, f.unit or "-", f.meaning, _unknown(f)) for f in fields]
    return _table(("column", "type", "unit", "meaning", "where unknown"), rows)


def _columns() -> str:
    parts = [f"### {title}\n\n{_fields(fields_of(group))}" for group, title in _GROUPS.items()]
    parts.append(f"### Particles leaving the nucleus\n\n{_fields(PARTICLE_FIELDS.values())}")
    parts.append(f"### Tokens of a cloud\n\n{_fields(TOKEN_FIELDS.values())}")
    return "\n\n".join(parts)


def _available_energy() -> str:
    rows = [(f"`{name}`", rule.source) for name, rule in AVAILABLE_ENERGY.items()]
    return _table(("definition", "source and rule"), rows)


def _layout() -> str:
    rows = [
        ("`/columns/<name>`", "(N,)", "the columns above; truth and visible columns only where there is truth"),
        ("`/sources`", "(S,)", "names that the `source` column points to"),
        ("`/particles/offsets`", "(N + 1,)", "event i has the particles offsets[i] to offsets[i + 1]"),
        ("`/particles/<name>`", "(P,)", "the columns of the particles"),
        ("`/pixelmap/offsets`", "(N V + 1,)", "view v of event i has pixels offsets[i V + v] to offsets[i V + v + 1]"),
        ("`/pixelmap/row`, `/pixelmap/col`", "(X,)", "position; row 0, column 0 is the lowest coordinate"),
        ("`/pixelmap/value`", "(X,)", "value of a non-zero pixel, in the unit that the file names"),
        ("`/pixelmap/origin`", "(N, V, 2)", "coordinate of the lower edge of pixel (0, 0) along rows and columns"),
        ("`/cloud/offsets`", "(N + 1,)", "event i has the tokens offsets[i] to offsets[i + 1]"),
        ("`/cloud/<name>`", "(T,)", "the columns of the tokens that the cloud's spec names"),
        (
            "`/commit`",
            "(5,) or (6,)",
            "events, sources, particles, pixels that count; 1 if the writer has finished; tokens, if there are clouds",
        ),
    ]
    return _table(("place", "shape", "content"), rows)


def _codes() -> str:
    schemes = [CodeScheme.SIMB, CodeScheme.GENIE, CodeScheme.MINERVA, CodeScheme.DUNE_CVN]
    rows = []
    for mode in InteractionMode:
        cells = [", ".join(str(c) for c, m in truth.MODE_TABLES[s].items() if m == mode) or "-" for s in schemes]
        blocks = ", ".join(f"{low} to {high}" for low, high, m in truth.NUHEPMC_BLOCKS if m == mode) or "-"
        rows.append((mode.name, *cells, blocks))
    return _table(("mode", *(s.name for s in schemes), CodeScheme.NUHEPMC.name), rows)


def _enums() -> str:
    tables = (_table((kind.__name__, "number"), [(m.name, int(m)) for m in kind]) for kind in _ENUMS)
    return "\n\n".join(tables)


def _classes() -> str:
    rows = []
    for label, name in enumerate(truth.FLAVOUR_CLASSES):
        cases = [(pdg, current) for current in Current for pdg in (0, 12, 14, 16)]
        found = truth.flavour_label(*(np.array(values) for values in zip(*cases, strict=True)))
        pairs = [case for case, its_label in zip(cases, found, strict=True) if its_label == label]
        flavours = ", ".join(str(p) for p in sorted({p for p, _ in pairs}))
        currents = ", ".join(sorted({c.name for _, c in pairs}))
        rows.append((label, f"`{name}`", truth.FLAVOUR_TITLES[name], currents, flavours))
    return _table(("label", "class", "title", "current", "absolute value of nu_pdg (0: unknown)"), rows)


def _pion_classes() -> str:
    """The pion classes with the cases that the function itself puts into them; 2 stands for two and more."""
    cases = [(current, charged, neutral) for current in Current for charged in (0, 1, 2) for neutral in (0, 1, 2)]
    found = truth.pion_label(*(np.array(values) for values in zip(*cases, strict=True)))
    rows = []
    for label, name in enumerate(truth.PION_CLASSES):
        mine = [case for case, its_label in zip(cases, found, strict=True) if its_label == label]
        sets = [", ".join(str(v) for v in sorted({case[i] for case in mine})) for i in (1, 2)]
        rows.append((label, f"`{name}`", truth.PION_TITLES[name], mine[0][0].name, *sets))
    return _table(("label", "class", "title", "current", "charged pions", "neutral pions"), rows)


def _splits() -> str:
    shares = zip(splits.SPLITS, splits.FRACTIONS, strict=True)
    table = _table(("number", "split", "share"), [(i, name, f"{share:g}") for i, (name, share) in enumerate(shares)])
    return f"""Events of each class (with clouds: of each flavour, pion class and interaction mode) are ordered by
a 64-bit hash of their key (run, subrun, event, file name of the source) and cut at these shares. Neither the order of
events nor a random state has a part in it, so every model sees the same test events.

{table}"""


def datasheet() -> str:
    """The whole datasheet as Markdown."""
    return f"""# Datasheet of the event files

Generated from `src/nuadapt/events` by `make datasheet`; do not edit. Schema version {SCHEMA_VERSION}.

Units are GeV, cm, ns and radians; z is along the beam. A value that a source does not give is stored as the
value of the last column, never as a number that could be a measurement.

## Columns

One value per event, {len(FIELDS)} columns in all; which of them a file has depends on its representations. Recorded
data has no truth columns. The event-level inputs of models, in their order, are made from these columns:
{", ".join(f"`{name}`" for name in EVENT_INPUTS)}. Those of tokens are {", ".join(f"`{name}`" for name in TOKEN_INPUTS)}
and the type.

{_columns()}

## File

An HDF5 file. Its attributes say `format`, `schema_version`, `layout` (JSON: has_truth, has_particles, map_spec, and
cloud_spec where there are clouds) and `record` (JSON: how it was made). Below, N is the number of events, V of views,
S of sources, P of particles, T of tokens and X of non-zero pixels.

{_layout()}

Only what `/commit` counts is part of the file; a killed writer may leave more behind it. Pixel values are in
{", ".join(VALUE_UNITS)}: {" and ".join(ADDITIVE_UNITS)} are added when pixels are joined, grey levels are averaged.

## Numbered choices

{_enums()}

## Interaction codes of each scheme

The same integer means different processes in different generators, so `mode_code` is stored with its
`mode_scheme`. {truth.NO_CODE} stands for no code, all other codes are OTHER.

{_codes()}

## Classes

Neutrinos and antineutrinos share a class. All other events (tau neutrino CC, unknown truth) have the label
{truth.NO_LABEL}: they are counted, but never trained on and never scored.

{_classes()}

Of the pion task; 2 stands for two and more. In class 2 there is no charged pion.

{_pion_classes()}

## Available energy

A negative sum becomes 0. Neutrons, nuclei, muons, taus and neutrinos never count.

{_available_energy()}

## Splits

{_splits()}
"""


def main(words: Sequence[str]) -> None:
    """Write the datasheet to the file that is the only word.

    Raises:
        ConfigError: more or fewer words.
        OutputError: the file cannot be written.
    """
    if len(words) != 1:
        raise ConfigError(f"{len(words)} words", expected="the file to write, docs/datasheet.md")
    path = Path(words[0])
    try:
        path.write_text(datasheet(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=path) from error


if __name__ == "__main__":
    main(sys.argv[1:])
