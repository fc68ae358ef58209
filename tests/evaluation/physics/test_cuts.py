"""Cut-based selections: what each keeps, rates by hand, the window of the pi0, the calorimetric scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nuadapt.errors import DataError
from nuadapt.evaluation.physics.cuts import (
    CUTS,
    PI0_MASS,
    SIGNALS,
    best_window,
    calorimetric,
    fitted_scale,
    is_signal,
    rates,
    scan_window,
    score,
    selected,
)
from nuadapt.events.truth import PION_CLASSES

#: muons, charged prongs, Michel tags, mass of the photon pair (GeV); then what each selection keeps.
TABLE = [
    ((1, 1, 1, np.nan), {"cc_1pi_charged", "cc_npi_charged"}),
    ((1, 2, 1, np.nan), {"cc_npi_charged"}),
    ((1, 1, 2, np.nan), {"cc_npi_charged"}),
    ((1, 0, 1, np.nan), set()),
    ((0, 1, 1, 0.135), set()),
    ((1, 0, 0, 0.140), {"cc_1pi0"}),
    ((1, 3, 0, 0.020), {"cc_1pi0"}),  # the public window reaches down to nothing
    ((1, 0, 0, 0.280), set()),
    ((1, 0, 1, 0.135), set()),
    ((1, 0, 0, np.nan), set()),
]


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    values = np.array([row for row, _ in TABLE], dtype=float)
    return dict(zip(("n_muons", "n_charged_prongs", "n_michel_tags", "diphoton_mass"), values.T, strict=True))


@pytest.mark.parametrize("signal", CUTS)
def test_each_selection_keeps_what_it_says(signal: str, columns: dict[str, np.ndarray]) -> None:
    assert selected(signal, columns).tolist() == [signal in kept for _, kept in TABLE]


def test_a_narrower_window_keeps_less(columns: dict[str, np.ndarray]) -> None:
    assert selected("cc_1pi0", columns, window=0.03).sum() == 1
    truth = np.array(["cc_1pi0" in kept for _, kept in TABLE])
    scanned = scan_window(columns, truth, np.ones(len(TABLE)), np.array([0.001, 0.03, 0.2]))
    assert [row["efficiency"] for row in scanned] == [0, 0.5, 1]
    assert np.isnan(scanned[0]["purity"])
    assert scanned[2]["purity"] == pytest.approx(2 / 3)
    best = best_window(scanned)
    assert best is not None
    assert (best["window"], best["product"]) == (
        0.2,
        pytest.approx(2 / 3),
    )  # 0.03 has a purity of 1, and half the signal
    assert best_window(scanned[:1]) is None


def test_rates_by_hand() -> None:
    kept, signal = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([1, 0, 1, 0, 1], dtype=bool)
    found = rates(kept, signal, np.array([1.0, 2, 3, 4, 5]))
    assert (found.efficiency, found.purity, found.false_positive_rate) == (6 / 9, 6 / 8, 2 / 6)
    nothing = rates(~kept & kept, signal & ~signal, np.ones(5))
    assert np.isnan([nothing.efficiency, nothing.purity]).all()


@given(hnp.arrays(np.int64, 30, elements=st.integers(0, 4)), st.sampled_from(sorted(SIGNALS)))
def test_a_signal_is_its_classes(label: np.ndarray, signal: str) -> None:
    certain = np.eye(5)[label]
    np.testing.assert_array_equal(score(signal, certain) == 1, is_signal(signal, label))
    named = np.array(PION_CLASSES)[label]
    np.testing.assert_array_equal(is_signal(signal, label), np.isin(named, SIGNALS[signal]))


def test_the_fitted_scale_makes_the_median_right() -> None:
    rng = np.random.default_rng(1)
    energy = rng.exponential(1.0, 500)
    given_columns = {"blob_recoil_energy": np.append(energy / 1.3 * np.exp(0.2 * rng.standard_normal(500)), np.nan)}
    energy, weight = np.append(energy, 1.0), rng.uniform(0.5, 2, 501)
    scale = fitted_scale(given_columns, energy, weight)
    ratio = calorimetric(given_columns, scale)[:500] / energy[:500]
    below = weight[:500][ratio < 1 - 1e-9].sum() / weight[:500].sum()
    assert below == pytest.approx(0.5, abs=0.01)
    assert calorimetric(given_columns)[-1] == 0
    with pytest.raises(DataError, match="no event with a recoil"):
        fitted_scale(given_columns, np.zeros(501), weight)


def test_what_is_missing_is_named(columns: dict[str, np.ndarray]) -> None:
    del columns["diphoton_mass"]
    with pytest.raises(DataError, match="no column 'diphoton_mass'"):
        selected("cc_1pi_charged", columns)
    with pytest.raises(DataError, match="no signal 'cc_1pi'"):
        selected("cc_1pi", columns)
    assert pytest.approx(0.1349768) == PI0_MASS
