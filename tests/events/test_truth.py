"""Interaction codes of every scheme, and classes that cover every event exactly once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.events.truth import (
    FLAVOUR_CLASSES,
    FLAVOUR_TITLES,
    MODE_TABLES,
    NO_CODE,
    NO_LABEL,
    CodeScheme,
    Current,
    InteractionMode,
    flavour_label,
    mode_from_code,
)

# process: (simb, GENIE, MINERvA, NuHepMC CC, NuHepMC NC), each written down from its own source: LArSoft
# nusimdata MCNeutrino.h, GENIE EScatteringType, MINERvA tuples' mc_intType, NuHepMC 1.0 E.C.1
CODES = {
    "QE": (0, 1, 1, 200, 250),
    "RES": (1, 4, 2, 400, 450),
    "DIS": (2, 3, 3, 600, 650),
    "COH": (3, 5, 4, None, None),
    "MEC": (10, 10, 8, 300, 350),
    "NU_E": (5, 7, 7, 700, 750),
}
SCHEMES = (CodeScheme.SIMB, CodeScheme.GENIE, CodeScheme.MINERVA, CodeScheme.NUHEPMC, CodeScheme.NUHEPMC)


@pytest.mark.parametrize("name", CODES)
def test_codes_of_each_scheme(name: str) -> None:
    for code, scheme in zip(CODES[name], SCHEMES, strict=True):
        if code is not None:
            assert mode_from_code(code, scheme).name == name, f"{scheme.name} {code}"


@pytest.mark.parametrize(
    ("code", "scheme", "mode"),
    [
        (1098, CodeScheme.SIMB, "NU_E"),  # Nuance's code for scattering on electrons
        (2, CodeScheme.GENIE, "OTHER"),
        (4, CodeScheme.SIMB, "OTHER"),
        (500, CodeScheme.NUHEPMC, "DIS"),  # shallow inelastic
        (549, CodeScheme.NUHEPMC, "DIS"),
        (299, CodeScheme.NUHEPMC, "QE"),
        (100, CodeScheme.NUHEPMC, "OTHER"),  # low-energy nuclear
        (199, CodeScheme.NUHEPMC, "OTHER"),
        (-200, CodeScheme.NUHEPMC, "OTHER"),  # electromagnetic
        (0, CodeScheme.DUNE_CVN, "QE"),
        (1, CodeScheme.DUNE_CVN, "RES"),
        (2, CodeScheme.DUNE_CVN, "DIS"),
        (3, CodeScheme.DUNE_CVN, "OTHER"),
        (1, CodeScheme.NONE, "UNKNOWN"),
    ],
)
def test_single_codes(code: int, scheme: CodeScheme, mode: str) -> None:
    assert mode_from_code(code, scheme).name == mode


def test_no_code_is_no_mode() -> None:
    assert {mode_from_code(NO_CODE, scheme) for scheme in CodeScheme} == {InteractionMode.UNKNOWN}


def test_the_same_integer_means_different_things() -> None:
    assert {mode_from_code(1, s).name for s in CodeScheme if s} == {"QE", "RES", "OTHER"}


@given(code=st.integers(-(10**6), 10**6), scheme=st.sampled_from(CodeScheme))
def test_every_code_has_a_mode(code: int, scheme: CodeScheme) -> None:
    assert mode_from_code(code, scheme) in InteractionMode


def test_every_scheme_with_a_table_is_in_the_tables() -> None:
    assert set(MODE_TABLES) == set(CodeScheme) - {CodeScheme.NONE, CodeScheme.NUHEPMC}


def test_classes_cover_every_event_exactly_once() -> None:
    for pdg, current in itertools.product([0, *range(-20, 21), 99], Current):
        is_class = {
            "nue_cc": abs(pdg) == 12 and current == Current.CC,
            "numu_cc": abs(pdg) == 14 and current == Current.CC,
            "nc": current == Current.NC,
        }
        assert sum(is_class.values()) <= 1
        expected = next((FLAVOUR_CLASSES.index(name) for name, yes in is_class.items() if yes), NO_LABEL)
        found = flavour_label(np.array([pdg]), np.array([current], dtype="u1"))
        assert found.dtype == np.int8
        assert found.tolist() == [expected]


def test_each_class_has_a_title() -> None:
    assert tuple(FLAVOUR_TITLES) == FLAVOUR_CLASSES
