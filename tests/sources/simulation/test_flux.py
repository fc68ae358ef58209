"""Spectra: shapes, bounds and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, InputFileError
from nuadapt.sources.simulation.neutrino.flux import minerva_me, read_histogram, spectrum_from


def test_uniform() -> None:
    energies = spectrum_from("uniform").sample(np.random.default_rng(0), 20_000)
    assert energies.min() >= 0.2
    assert energies.max() <= 10.0
    assert energies.mean() == pytest.approx(5.1, abs=0.1)
    assert spectrum_from("uniform", low=1.0, high=2.0).quantile(0.5) == pytest.approx(1.5)


def test_minerva_quantiles() -> None:
    spectrum = minerva_me()
    for share, energy in ((0.05, 2.4), (0.25, 4.1), (0.5, 5.6), (0.75, 6.9), (0.95, 9.9)):
        assert spectrum.quantile(share) == pytest.approx(energy, abs=0.1)
    assert spectrum.sample(np.random.default_rng(0), 50_000).mean() == pytest.approx(6.0, abs=0.4)


def test_dune_peak() -> None:
    content, edges = np.histogram(spectrum_from("dune-nd").sample(np.random.default_rng(0), 200_000), 60, (0, 12))
    assert edges[content.argmax()] == pytest.approx(2.5, abs=0.5)


def test_cut() -> None:
    energies = spectrum_from("minerva-me", low=5.0, high=7.0).sample(np.random.default_rng(0), 1000)
    assert 5.0 <= energies.min() < energies.max() <= 7.0
    with pytest.raises(ConfigError, match="no neutrinos"):
        spectrum_from("minerva-me", low=30.0, high=40.0)


@pytest.mark.parametrize("name", ["unifrom", "mono:x", "mono:-1", "mono:nan"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ConfigError):
        spectrum_from(name)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'uniform'"):
        spectrum_from("unifrom")


@pytest.mark.parametrize("columns", [2, 3])
def test_histogram_file(tmp_path: Path, columns: int) -> None:
    lines = {2: "# E content\n0.5 1\n1.0 3\n\n2.0 0\n", 3: "0.5, 1.0, 1\n1.0 2.0 3 # last\n"}[columns]
    path = tmp_path / "beam.txt"
    path.write_text(lines, encoding="utf-8")
    spectrum = spectrum_from(path)
    assert spectrum.energies.tolist() == [0.5, 1.0, 2.0]
    assert spectrum.cumulative.tolist() == [0.0, 0.25, 1.0]
    energies = spectrum.sample(np.random.default_rng(0), 10_000)
    assert (energies < 1.0).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no bins"),
        ("1 2\n", "no bins"),
        ("0 1 2\n1 x 3\n", "line 2: not numbers"),
        ("0 1 2\n1 2 -3\n", "line 2: a value is negative"),
        ("0 1 2\n1 2 nan\n", "line 2: a value is not finite"),
        ("0 1 2\n1 2 inf\n", "line 2: a value is not finite"),
        ("0 1 2\n1.5 2 3\n", "line 2: low edge 1.5"),
        ("0 1 2\n1 1 3\n", "line 2: edge 1 does not rise"),
        ("0 1\n2 1\n1 1\n", "line 3: edge 1 does not rise"),
        ("0 1 2\n1 2\n", "line 2: 2 columns after lines of 3"),
        ("0 1 2 3\n", "line 1: 4 columns"),
        ("0 1 0\n1 2 0\n", "all contents are zero"),
    ],
)
def test_bad_histogram_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "beam.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        read_histogram(path)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "beam.root"
    path.write_bytes(b"root\xff\xfe\x00")
    with pytest.raises(InputFileError, match="text"):
        read_histogram(path)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20).filter(lambda c: sum(c) > 1e-6), st.integers(0, 2**31))
def test_samples_lie_in_filled_bins(content: list[float], seed: int) -> None:
    from nuadapt.sources.simulation.neutrino.flux import _from_histogram

    edges = np.arange(len(content) + 1, dtype=float)
    energies = _from_histogram("any", edges, np.asarray(content)).sample(np.random.default_rng(seed), 50)
    share = np.asarray(content) / sum(content)
    bins = np.clip(energies.astype(int), 0, len(content) - 1)
    assert (share[bins] > 0).all() or np.isclose(energies % 1, 0).any()
