"""The schema holds together: names, types, sentinels, and the datasheet made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import OutputError
from nuadapt.events import datasheet
from nuadapt.events.schema import FIELDS, KEY_NAMES, PARTICLE_FIELDS, TOKEN_FIELDS, Field, fields_of, truth_names

ALL = [*FIELDS.values(), *PARTICLE_FIELDS.values(), *TOKEN_FIELDS.values()]
DATASHEET = Path(__file__).parents[2] / "docs" / "datasheet.md"


@pytest.mark.parametrize("field", ALL, ids=lambda f: f"{f.group}-{f.name}")
def test_field_can_hold_its_sentinel(field: Field) -> None:
    dtype = np.dtype(field.dtype)
    assert dtype.kind in "iuf"
    assert field.meaning
    column = field.missing(3)
    assert column.dtype == dtype
    assert column.shape == (3,)
    if field.sentinel is not None:
        np.testing.assert_array_equal(column.astype(float), np.full(3, field.sentinel))
    if field.group in ("truth", "visible", "final_state", "feature"):
        assert field.sentinel is not None, "truth must be able to say that it is not known"
    if dtype.kind == "f" and field.sentinel is not None:
        assert np.isnan(field.sentinel), "a number that could be a measurement must not mean 'unknown'"


def test_groups_are_a_partition() -> None:
    groups = ("key", "weight", "split", "truth", "visible", "final_state", "feature")
    assert [f.name for g in groups for f in fields_of(g)] == list(FIELDS)
    assert tuple(f.name for f in fields_of("key")) == KEY_NAMES


def test_truth_columns_follow_the_representation() -> None:
    both = set(truth_names(maps=True, cloud=True))
    assert both == {f.name for g in ("truth", "visible", "final_state") for f in fields_of(g)}
    assert set(truth_names(maps=False, cloud=True)) == both - {f.name for f in fields_of("visible")}
    for maps in (True, False):
        assert set(truth_names(maps=maps, cloud=False)) == both - {f.name for f in fields_of("final_state")}


def test_units_are_those_of_the_house() -> None:
    assert {f.unit for f in ALL if np.dtype(f.dtype).kind == "f"} <= {
        "",
        "GeV",
        "GeV^2",
        "GeV/cm",
        "log GeV",
        "cm",
        "ns",
        "rad",
    }


def test_datasheet_is_current(tmp_path: Path) -> None:
    assert DATASHEET.read_text(encoding="utf-8") == datasheet.datasheet(), "write it again with: make datasheet"
    datasheet.main([str(tmp_path / "sheet.md")])
    assert (tmp_path / "sheet.md").read_text(encoding="utf-8") == datasheet.datasheet()
    with pytest.raises(OutputError, match="cannot write"):
        datasheet.main([str(tmp_path / "absent" / "sheet.md")])


def test_datasheet_names_everything() -> None:
    text = datasheet.datasheet()
    for field in ALL:
        assert f"| `{field.name}` |" in text
        assert field.meaning in text
