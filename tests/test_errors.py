"""Errors read as one paragraph that says what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from nuadapt import errors
from nuadapt.errors import MissingExtraError, NuadaptError, OutputError, listed, nearest, refuse_existing, require


def test_paragraph_has_all_parts_in_order() -> None:
    error = NuadaptError("the file is empty", where="a.h5", expected="an event store", next_step="Make it again")
    assert str(error) == "a.h5: the file is empty. Expected: an event store. Make it again."
    assert str(NuadaptError("is this right?")) == "is this right?"
    assert "\n" not in str(error)


def test_all_errors_are_of_one_family() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    assert len(kinds) == 7
    assert all(issubclass(k, NuadaptError) for k in kinds)


def test_nearest_names_the_closest_and_all() -> None:
    assert nearest("tset", ["train", "val", "test"]) == "did you mean 'test'? one of: test, train, val"
    assert nearest("qqqq", ["train", "val"]) == "one of: train, val"


def test_require_imports_or_explains() -> None:
    assert require("json.decoder", "x").JSONDecoder
    with pytest.raises(MissingExtraError, match=r"'surely_absent'.*pip install 'nuadapt\[training\]'"):
        require("surely_absent.part", "training")


def test_existing_output_is_refused(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "new")
    with pytest.raises(OutputError, match="exists already"):
        refuse_existing(tmp_path)


def test_listed_stops_somewhere() -> None:
    assert listed([]) == ""
    assert listed(range(5)) == "0, 1, 2, 3, 4"
    assert listed(range(17)) == "0, 1, 2, 3, 4 and 12 more"
