"""Each impossible value is found and named; sound events have no problems."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nuadapt.events.batch import EventBatch
from nuadapt.events.checks import problems_of


def column(name: str, value: float) -> Callable[[EventBatch], None]:
    return lambda batch: batch[name].__setitem__(2, value)


def pixel(name: str, value: float) -> Callable[[Any], None]:
    return lambda batch: getattr(batch.pixelmap, name).__setitem__(3, value)


def repeat_a_pixel(batch: Any) -> None:
    maps = batch.pixelmap
    view = int(np.argmax(np.diff(maps.offsets) > 1))
    first = maps.offsets[view]
    maps.row[first + 1], maps.col[first + 1] = maps.row[first], maps.col[first]


CASES = {
    "column weight: 1 values are not finite": column("weight", np.inf),
    "column W: 1 values are not finite": column("W", np.inf),
    "column nu_energy: negative": column("nu_energy", -1),
    "column Q2: negative": column("Q2", -0.1),
    "column current: values outside Current": column("current", 3),
    "column mode: values outside InteractionMode": column("mode", 99),
    "column mode_scheme: values outside CodeScheme": column("mode_scheme", 99),
    "column split: values outside": column("split", 3),
    "column muon_contained: values outside": column("muon_contained", 2),
    "column map_fraction: values outside 0 to 1": column("map_fraction", 1.2),
    "particle column px: 1 values are not finite": lambda b: b.particles.columns["px"].__setitem__(1, np.nan),
    "pixel positions outside the map of 24 x 20": pixel("row", 24),
    "pixel positions outside the map of 24 x 20 ": pixel("col", 20),
    "1 pixel values are not finite": pixel("value", np.nan),
    "1 pixels are listed twice": repeat_a_pixel,
}


@pytest.mark.parametrize("sentence", CASES)
def test_each_problem_is_found_alone(making: SimpleNamespace, sentence: str) -> None:
    batch = making.make_batch(0, 12)
    assert problems_of(batch) == []
    CASES[sentence](batch)
    found = problems_of(batch)
    assert len(found) == 1
    assert found[0].startswith(sentence.strip())


def test_batches_without_truth_or_events_are_sound(making: SimpleNamespace) -> None:
    assert problems_of(making.make_batch(0, 5, truth=False, particles=False, maps=False)) == []
    assert problems_of(making.make_batch(0, 0)) == []
