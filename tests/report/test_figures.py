"""Figures that are drawn from result files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nuadapt.report import figures
from nuadapt.report.loading import Evaluation
from nuadapt.report.style import png_bytes


def evaluation_with(orders: list[str]) -> Evaluation:
    """An evaluation of which only the test of evidence is filled in."""
    share = np.linspace(0, 1, 5)
    curves = {"evidence_share": share}
    numbers: dict[str, Any] = {"n_events": 7, "n_blank": 0, "config": {"bootstrap": {"level": 0.9}}}
    for curve, mean in (("deletion", 1 - share), ("insertion", share)):
        numbers[curve] = {order: {"area": 0.1 + 0.2 * i} for i, order in enumerate(orders)}
        for order in orders:
            curves[f"evidence_{curve}_{order}"] = np.column_stack([mean, mean - 0.05, mean + 0.05])
    metrics = {"evidence": numbers, "classes": ["nue_cc", "nc"], "n_events": 7}
    return Evaluation(Path("somewhere"), "toy", metrics, {}, curves, None)


@pytest.mark.parametrize(
    "orders", [["gradient", "random", "brightest"], ["gradient", "occlusion", "random", "brightest"]]
)
def test_curves_of_evidence_show_every_order_and_its_area(orders: list[str]) -> None:
    figure = figures.evidence(evaluation_with(orders))
    assert png_bytes(figure).startswith(b"\x89PNG")
    for ax, mean in zip(figure.axes, ([1, 0.75, 0.5, 0.25, 0], [0, 0.25, 0.5, 0.75, 1]), strict=True):
        assert len(ax.lines) == len(orders)
        for line in ax.lines:
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), mean)
        legend = ax.get_legend()
        assert legend is not None
        said = " ".join(text.get_text() for text in legend.get_texts())
        assert all(f"{0.1 + 0.2 * i:.3f}" in said for i in range(len(orders)))
        assert all(order in said for order in orders)
    assert any("7 events, 90% intervals" in t.get_text() for t in figure.axes[1].texts)


def by_mode(name: str, how: str) -> Evaluation:
    block = {"mode": "qe", "n_events": 9, "accuracy": 0.8, "intervals": {"accuracy": [0.7, 0.9]}}
    record = {"config": {"predict": {"coarsen": 2, "coarsen_how": how}}}
    words = ", half resolution" + (f", {how} of pixels" if how else "")
    name = f"siamese-cnn-0692aa5f{words} [{name}]"
    return Evaluation(Path("somewhere"), name, {"by_mode": [block], "n_events": 9}, record, {}, None)


def test_names_of_the_legend_stay_within_the_axes() -> None:
    mean = [by_mode(name, "mean") for name in ("cnn-test-coarsen2-mean", "cnn-coarser-test-coarsen2-mean")]
    ax = figures.accuracy_by_mode(mean).axes[0]
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().x1 <= ax.get_window_extent().x1
    assert any(text.get_text() == "half resolution, mean of pixels, 95% intervals" for text in ax.texts)
    mixed = figures.accuracy_by_mode([mean[0], by_mode("cnn-test-coarsen2", "")]).axes[0]
    assert all("half resolution" in text.get_text() for text in mixed.get_legend().get_texts())
