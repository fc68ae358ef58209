"""What makes a model's probabilities mean what they say: one temperature, and sets of classes of known coverage.

Temperature scaling (Guo et al., arXiv:1706.04599) divides all log-probabilities by one number, so that the order of
the classes and with it every label stays. Split conformal prediction (Vovk et al. 2005; Angelopoulos and Bates,
arXiv:2107.07511) gives each event a set of classes that holds the true one for a chosen share of events. Both act on
class probabilities alone and so serve any classifier. Stored as numbers in ``calibration.json`` of the run folder.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from nuadapt.errors import DataError, InputFileError, listed
from nuadapt.evaluation.block import metrics_block, reliability
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.intervals import wilson
from nuadapt.evaluation.metrics import Floats, Sample
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Model
from nuadapt.record import make_record, write_json

FILE = "calibration.json"
#: Outside of these a temperature says that the probabilities, or the events, are of no use.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
#: LAC takes each class whose probability is high enough; APS takes the likeliest classes until they add up to enough.
Score = Literal["lac", "aps"]
SCORES: tuple[str, ...] = get_args(Score)
#: Two probabilities closer than this are equal for MAPIE (its ``EPSILON``), and so they are here.
TOLERANCE = 1e-8
_STEP = "Run 'nuadapt calibrate' again, or leave the calibration away with --uncalibrated"


@dataclass(frozen=True, slots=True)
class Conformal:
    """Sets by split conformal prediction: the kind of ``score``, the ``coverage`` asked for, the ``quantile`` of the
    scores of ``n_events`` events that gives it."""

    score: Score
    coverage: Annotated[float, Field(gt=0, lt=1)]
    quantile: Annotated[float, Field(ge=0, le=1)]
    n_events: Annotated[int, Field(ge=1)]

    def sets(self, probability: Floats) -> npt.NDArray[np.bool_]:
        """Which classes are in the set of each event, shape (N, C); the same as MAPIE's ``predict_set``.

        A LAC set is empty where no class is likely enough; an APS set never is.
        """
        if self.score == "lac":
            return np.asarray((1 - probability) - self.quantile <= TOLERANCE)
        order = np.argsort(-probability, axis=1, kind="stable")
        ordered = np.take_along_axis(probability, order, axis=1)
        enough = np.cumsum(ordered, axis=1) - self.quantile >= -TOLERANCE  # (N, C)
        last = np.where(enough.any(axis=1), enough.argmax(axis=1), probability.shape[1] - 1)
        least = np.take_along_axis(ordered, last[:, None], axis=1)  # (N, 1): smallest probability that is taken
        # A class without probability is never taken, even if rounding keeps the sum below the quantile.
        possible = np.where(probability >= TOLERANCE, probability, np.inf).min(axis=1, keepdims=True)
        least = np.where(least <= TOLERANCE, possible, least)
        return np.asarray(probability - least >= -TOLERANCE)

    @property
    def coverage_spread(self) -> float:
        """Standard deviation of the true coverage over equal calibrations with other events.

        The coverage is distributed as Beta(n + 1 - l, l) with l = floor((n + 1)(1 - coverage)) (Vovk 2012).
        """
        n = self.n_events
        beyond = max(1, math.floor((n + 1) * (1 - self.coverage)))
        return math.sqrt(beyond * (n + 1 - beyond) / ((n + 1) ** 2 * (n + 2)))


@dataclass(frozen=True, slots=True)
class Origin:
    """The events of a calibration: store file, fingerprint of its keys, split."""

    file: str
    key_fingerprint: str
    split: str

    def overlaps(self, key_fingerprint: str, split: str) -> bool:
        """True if some events of ``split`` of the store with ``key_fingerprint`` are among these."""
        return self.key_fingerprint == key_fingerprint and (self.split == split or "all" in (self.split, split))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the temperature does on ``n_events`` events that it was not fitted on: (before, after)."""

    n_events: int
    ece: tuple[float, float]
    nll: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature and conformal sets of the model ``model``; ``n_events`` served the temperature."""

    model: str
    classes: tuple[str, ...]
    temperature: Annotated[float, Field(ge=LOWEST_TEMPERATURE, le=HIGHEST_TEMPERATURE)]
    n_events: int
    conformal: Conformal
    held_out: HeldOut
    data: Origin

    def applied(self, predictions: Predictions) -> Predictions:
        """The table with calibrated probabilities and the conformal sets; labels stay.

        Raises:
            DataError: predictions of another model.
        """
        if (predictions.model, predictions.classes) != (self.model, self.classes):
            raise DataError(f"a calibration of {self.model} cannot serve predictions of {predictions.model}")
        probability = tempered(predictions.probability, self.temperature)
        return replace(predictions, probability=probability, sets=self.conformal.sets(probability))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record."""
        return asdict(self)

    def write(self, run: Path) -> Path:
        """Write ``run``/calibration.json, replacing an earlier one as a whole.

        Raises:
            OutputError: the place is not writable.
        """
        write_json(run / FILE, make_record("calibrate", {}, **self.as_dict()))
        return run / FILE


def read_calibration(run: Path, model: Model) -> Calibration | None:
    """The calibration in the run folder of ``model``; None if there is none.

    Raises:
        InputFileError: a damaged file, impossible values, other weights or classes.
    """
    place = run / FILE
    if not place.exists():
        return None
    try:
        # Strictly: a number in quotes is no number. NaN and infinity are refused by the bounds of each field.
        made = TypeAdapter(Calibration).validate_json(place.read_bytes(), strict=True)
    except OSError as error:
        raise InputFileError(f"cannot read this file ({error})", where=place, next_step=_STEP) from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "content"
        raise InputFileError(f"not a calibration: {name}: {first['msg']}", where=place, next_step=_STEP) from error
    if made.classes != model.classes:
        raise InputFileError(
            f"the calibration has the classes {listed(made.classes)}",
            where=place,
            expected=listed(model.classes),
            next_step=_STEP,
        )
    if made.model != model.id:
        raise InputFileError(
            f"this calibration was fitted for the weights {made.model}, and these are {model.id}",
            where=place,
            next_step=_STEP,
        )
    return made


def tempered(probability: Floats, temperature: float) -> Floats:
    """softmax(log p / T) of each row, shape (N, C)."""
    scaled = log_probability(probability) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_probability(probability: Floats) -> Floats:
    """ln p, shape (N, C), finite."""
    # The smallest normal number stands for an exact zero, whose logarithm no temperature could change.
    return np.asarray(np.log(np.maximum(probability, np.finfo(np.float64).tiny)))


#: Beside the numbers in metrics.json.
DEFINITIONS = {
    "uncalibrated": "the same quantities of the model's own probabilities, before they are divided by the temperature",
    "temperature": "divides log-probabilities; above 1: the model was too certain (Guo et al., arXiv:1706.04599)",
    "conformal": "sets of classes wanted to hold the true one for the share 'coverage_wanted' of events (split "
    "conformal prediction, Vovk et al. 2005); coverage counts events, with a Wilson interval (Wilson 1927); "
    "coverage_spread: standard deviation of the coverage because the sets were fitted on finitely many events; "
    "mean_size and sizes (shares of sets with 0, 1, ... classes): of all events, with and without truth",
}


def calibration_metrics(raw: Predictions, calibration: Calibration, config: BootstrapConfig) -> dict[str, Any]:
    """What metrics.json says about ``calibration`` applied to the predictions ``raw``; plain JSON values."""
    sample, sets = Sample.of(raw), calibration.conformal.sets(tempered(raw.probability, calibration.temperature))
    scored = bool(len(sample)) and sample.weight.sum() > 0
    block = metrics_block(sample, config, "all")
    before = {name: block[name] for name in ("ece", "nll")}
    before["intervals"] = {name: block["intervals"][name] for name in ("ece", "nll")}
    before["reliability"] = reliability(sample, config) if scored else []
    return {
        "temperature": calibration.temperature,
        "uncalibrated": before,
        "conformal": _conformal_metrics(raw, sets, calibration.conformal, config.level),
    }


def _conformal_metrics(
    predictions: Predictions, sets: npt.NDArray[np.bool_], conformal: Conformal, level: float
) -> dict[str, Any]:
    """Coverage and sizes of ``sets`` (N, C), all events together and by true class."""
    size, known = sets.sum(axis=1), predictions.has_label  # (N,)
    covered = sets[np.arange(len(sets)), predictions.truth]  # (N,), of meaning where known
    weight = predictions.weight[known]

    def shares(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
        inside, n = mask & known, int((mask & known).sum())
        return {
            "n_events": n,
            "coverage": float(covered[inside].mean()) if n else None,
            "interval": wilson(int(covered[inside].sum()), n, level),
            "mean_size": float(size[mask].mean()) if mask.any() else None,
            "sizes": [float((size[mask] == k).mean()) if mask.any() else None for k in range(sets.shape[1] + 1)],
        }

    return {
        "score": conformal.score,
        "coverage_wanted": conformal.coverage,
        "coverage_spread": conformal.coverage_spread,
        **shares(np.ones(len(sets), dtype=bool)),
        "coverage_by_weight": float(np.average(covered[known], weights=weight)) if weight.sum() > 0 else None,
        "per_class": {name: shares(predictions.truth == i) for i, name in enumerate(predictions.classes)},
    }
