"""Does the evidence matter? Take the pixels away, or put them back, in the order of their evidence.

Deletion and insertion curves (Petsiuk et al., arXiv:1806.07421) over the pixels that carry charge: the others are
blank already. If evidence points at what the model decides by, the probability of its answer falls faster without
the first pixels, and rises faster with them alone, than in a random order. The brightest pixels first are the
second control: evidence that does no better says no more than the image itself. An image with pixels missing is
unlike any that the model was trained on, which is why the curves are read against the controls and not alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.evaluation.bootstrap import BootstrapConfig, interval, resampled_weights
from nuadapt.evaluation.explain.attribution import (
    METHODS,
    AttributionConfig,
    Floats,
    Images,
    attribution,
    checked_images,
)
from nuadapt.evaluation.protocol import Progress
from nuadapt.models.run import LoadedModel

#: Orders that need no evidence.
CONTROLS = ("random", "brightest")
CURVES = ("deletion", "insertion")


@dataclass(frozen=True, slots=True)
class EvidenceConfig:
    """How evidence is tested.

    ``methods`` of attribution; ``points``: steps of the curves, from no pixel to all of them; ``seed`` of the random
    order, which also decides between equal pixels.
    """

    methods: tuple[str, ...] = ("gradient",)
    points: int = 20
    seed: int = 1
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(f"unknown attribution method '{method}'", expected=nearest(method, METHODS))
        if self.points < 1:
            raise ConfigError(f"curves of {self.points} points", expected=">= 1")


@dataclass(frozen=True, slots=True)
class EvidenceTest:
    """What came out: ``numbers`` for a JSON file, and ``curves`` as named arrays for the figure.

    ``numbers[curve][order]`` has the ``area`` under the mean curve with its ``interval``, and except for random the
    difference ``minus_random`` with ``minus_random_interval``. ``curves`` has ``evidence_share`` (K,), the share of
    charged pixels, and per curve and order ``evidence_<curve>_<order>`` (K, 3): mean probability and its limits.
    """

    numbers: dict[str, Any]
    curves: dict[str, Floats]


def evidence_test(
    model: LoadedModel, images: Images, config: EvidenceConfig | None = None, progress: Progress | None = None
) -> EvidenceTest:
    """Deletion and insertion curves of the class that the model answers for ``images`` (B, V, H, W), grey 0..1.

    Events without charge have no pixel to take away; they are left out and counted. All others count equally.

    Raises:
        DataError: no event with charge, or images that the model cannot have.
    """
    config = config or EvidenceConfig()
    images = checked_images(model, images)
    charged = np.flatnonzero(images.any(axis=(1, 2, 3)))
    if not len(charged):
        raise DataError(f"none of {len(images)} events has charge", expected="images with pixels above 0")
    followed = []
    for done, event in enumerate(charged, start=1):
        followed.append(_follow_event(model, images[event], np.random.default_rng([config.seed, int(event)]), config))
        if progress is not None:
            progress(done, len(charged))
    probability = {name: np.stack([f[name] for f in followed]) for name in followed[0]}  # each (N, K)
    numbers = {
        "definition": "probability of the model's answer while its charged pixels are taken away (deletion) or put "
        "back (insertion), by falling evidence; area under the curve over the share of pixels, mean over events "
        "(Petsiuk et al., arXiv:1806.07421)",
        "n_events": len(charged),
        "n_blank": len(images) - len(charged),
        "charged_pixels": float(np.count_nonzero(images) / len(charged)),
        "config": asdict(config),
    }
    return _summary(probability, numbers, config)


def _follow_event(
    model: LoadedModel, image: Images, rng: np.random.Generator, config: EvidenceConfig
) -> dict[tuple[str, str], Floats]:
    """Probability of the answer along each curve in each order, (K,); ``image`` is (V, H, W) and has charge."""
    answer = model.posterior(image[None]).argmax(axis=1)  # (1,)
    random = rng.random(image.shape)
    first: dict[str, npt.NDArray[Any]] = {
        method: attribution(model, image[None], answer, method, config.attribution)[0] for method in config.methods
    }
    first |= {"random": random, "brightest": image}
    return {
        (curve, order): curve_of(model, image, int(answer[0]), rank, curve == "insertion", config)
        for order, importance in first.items()
        for rank in [ranks(importance, image > 0, random)]
        for curve in CURVES
    }


def ranks(importance: npt.NDArray[Any], charged: npt.NDArray[np.bool_], tie: Floats) -> npt.NDArray[np.int64]:
    """Place of each charged pixel by falling importance, equal ones by rising ``tie``; -1 without charge."""
    found = np.full(charged.shape, -1, dtype=np.int64)
    order = np.lexsort((tie[charged], -importance[charged]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found[charged] = place
    return found


def curve_of(
    model: LoadedModel,
    image: Images,
    label: int,
    rank: npt.NDArray[np.int64],
    insert: bool,
    config: EvidenceConfig,
) -> Floats:
    """Probability of ``label`` with the first pixels by ``rank`` removed, or with them alone; shape (points + 1,)."""
    n = int(rank.max()) + 1
    counts = np.round(np.linspace(0, n, config.points + 1)).astype(np.int64)
    found, size = np.zeros(len(counts)), config.attribution.batch_size
    for start in range(0, len(counts), size):
        taken = rank < counts[start : start + size, None, None, None]  # (k, V, H, W)
        kept = taken if insert else ~taken
        found[start : start + size] = model.posterior(np.where(kept, image, np.float32(0)))[:, label]
    return found


def _summary(
    probability: Mapping[tuple[str, str], Floats], numbers: dict[str, Any], config: EvidenceConfig
) -> EvidenceTest:
    """Means over events, with intervals from resampled events; the same resamples for all, so that orders compare."""
    n = int(numbers["n_events"])
    weight = np.concatenate(list(resampled_weights(np.ones(n), config.bootstrap, "evidence"))) / n  # (resamples, N)
    level = config.bootstrap.level
    area = {name: _area(p) for name, p in probability.items()}  # each (N,)
    curves: dict[str, Floats] = {"evidence_share": np.linspace(0, 1, config.points + 1)}
    for (curve, order), p in probability.items():
        limits = interval(weight @ p, level)  # (K, 2)
        curves[f"evidence_{curve}_{order}"] = np.column_stack([p.mean(axis=0), limits])
        block = _with_interval("area", "interval", area[curve, order], weight, level)
        if order != "random":
            difference = area[curve, order] - area[curve, "random"]
            block |= _with_interval("minus_random", "minus_random_interval", difference, weight, level)
        numbers.setdefault(curve, {})[order] = block
    return EvidenceTest(numbers, curves)


def _area(probability: Floats) -> Floats:
    """Area under each curve (N, K) over the share of pixels from 0 to 1, shape (N,); trapezoids."""
    return np.asarray((probability[:, 1:] + probability[:, :-1]).mean(axis=1) / 2)


def _with_interval(name: str, limits: str, value: Floats, weight: Floats, level: float) -> dict[str, Any]:
    return {name: float(value.mean()), limits: [float(x) for x in interval(weight @ value, level)]}
