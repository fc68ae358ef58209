"""Tasks: the built-in ones agree with the label functions, files of one's own are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nuadapt.errors import ConfigError, DataError
from nuadapt.events.tasks import Task, load_task, task_names
from nuadapt.events.truth import (
    FLAVOUR_CLASSES,
    FLAVOUR_TITLES,
    NO_LABEL,
    PION_CLASSES,
    PION_TITLES,
    flavour_label,
    pion_label,
)

N = 40
CODES = hnp.arrays(np.int64, N, elements=st.integers(0, 2))
FLAVOURS = hnp.arrays(np.int64, N, elements=st.sampled_from([0, 12, -12, 14, -14, 16, -16]))
COUNTS = hnp.arrays(np.int64, N, elements=st.integers(-1, 4))

PROTONS: dict[str, Any] = {
    "classes": {
        "none": {"title": "no proton", "where": {"current": "CC", "n_protons": 0}},
        "some": {"where": {"current": "CC", "n_protons": {"min": 1}, "mode": ["QE", "MEC"]}},
        "fast": {"where": {"q0": {"min": 0.5, "max": 1.0}}},
    }
}


@given(CODES, FLAVOURS)
def test_flavour_is_the_flavour_label(current: np.ndarray, flavour: np.ndarray) -> None:
    label = load_task("flavour").label({"current": current, "nu_pdg": flavour}, N)
    np.testing.assert_array_equal(label, flavour_label(flavour, current))


@given(CODES, COUNTS, COUNTS)
def test_pion_is_the_pion_label(current: np.ndarray, charged: np.ndarray, neutral: np.ndarray) -> None:
    columns = {"current": current, "n_charged_pions": charged, "n_neutral_pions": neutral}
    np.testing.assert_array_equal(load_task("pion").label(columns, N), pion_label(current, charged, neutral))


def test_names_and_titles_are_those_of_truth() -> None:
    flavour, pion = load_task("flavour"), load_task("pion")
    assert (flavour.classes, flavour.titles) == (FLAVOUR_CLASSES, tuple(FLAVOUR_TITLES.values()))
    assert (pion.classes, pion.titles) == (PION_CLASSES, tuple(PION_TITLES.values()))
    assert set(task_names()) == {"flavour", "pion", "available_energy", "jet"}


def test_an_energy_is_a_task_without_classes() -> None:
    task = load_task("available_energy")
    assert (task.classes, task.columns) == ((), ("available_energy_minerva_ml",))
    energy = np.array([0.5, np.nan])
    np.testing.assert_array_equal(task.target({"available_energy_minerva_ml": energy}), energy.astype("f4"))
    assert Task.from_dict(task.as_dict()) == task
    with pytest.raises(ConfigError, match="no true energy 'blob_energy'"):
        Task.from_dict({"energy": "blob_energy"})
    with pytest.raises(DataError, match="no column 'available_energy_minerva_ml'"):
        task.target({})


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "protons.yaml"
    path.write_text(yaml.safe_dump(PROTONS, sort_keys=False))
    task = load_task(str(path))
    assert (task.name, task.titles) == ("protons", ("no proton", "some", "fast"))
    columns = {
        "current": np.array([1, 1, 1, 1, 2, 2, 2]),
        "n_protons": np.array([0, 2, 2, -1, 0, 0, 0]),
        "mode": np.array([1, 2, 3, 1, 1, 1, 1]),
        "q0": np.array([0.7, 0.7, 0.7, np.nan, 0.5, 1.0, 1.1]),
    }
    assert task.label(columns, 7).tolist() == [0, 1, 2, NO_LABEL, 2, 2, NO_LABEL]
    assert Task.from_dict(task.as_dict()) == task
    with pytest.raises(DataError, match="no column 'q0', which the task 'protons' needs"):
        task.label({name: column for name, column in columns.items() if name != "q0"}, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a", "b"]}, "a task needs classes"),
        ({"classes": {"a": {"where": {"mode": 1}}}}, "a task needs classes"),
        ({"none": {"where": {}}}, "does not say which events"),
        ({"none": {"where": {"n_proton": 1}}}, "no column 'n_proton'.*n_protons"),
        ({"none": {"where": {"run": 1}}}, "no column 'run'"),
        ({"none": {"where": {"mode": "QEL"}}}, "no mode 'QEL'.*QE"),
        ({"none": {"where": {"q0": {"below": 1}}}}, "the range"),
        ({"none": {"where": {"q0": "high"}}}, "no value of 'q0'"),
        ({"none": {"where": {"q0": float("nan")}}}, "no value of 'q0'"),
        ({"none": {"where": {"q0": []}}}, "no value for 'q0'"),
        ({"none": {"title": "some", "where": {"q0": 1}}}, "do not tell classes apart"),
        ({"a|b": {"where": {"q0": 1}}}, "cannot name a class"),
    ],
)
def test_what_defines_no_task_is_refused(change: dict[str, Any], message: str) -> None:
    given = change if "classes" in change else {"classes": {**PROTONS["classes"], **change}}
    with pytest.raises(ConfigError, match=message):
        Task.from_dict({"name": "broken", **given})


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'flavour'"):
        load_task("flavor")
