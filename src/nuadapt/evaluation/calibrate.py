"""Fits a calibration to a model's predictions of validation events and leaves it in the run folder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, nearest, require
from nuadapt.evaluation.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    SCORES,
    Calibration,
    Conformal,
    HeldOut,
    Origin,
    Score,
    log_probability,
    tempered,
)
from nuadapt.evaluation.evaluate import EvaluationConfig, batches_of, key_fingerprint, usable_rows
from nuadapt.evaluation.metrics import Floats, Sample, measure
from nuadapt.evaluation.predict import PredictConfig, predict_batches
from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.protocol import Model, Progress
from nuadapt.events.store import EventStore

_SEED = 1  # APS smooths its scores with random numbers while it is fitted


def fit_temperature(sample: Sample) -> float:
    """The temperature of the least mean -ln p(true class) by event weight.

    The mean is convex in 1/T, so a search between two bounds finds its one minimum.

    Raises:
        DataError: no weight, or no minimum between the bounds.
    """
    if not sample.weight.sum() > 0:
        raise DataError("the weights of the events for the temperature add up to zero")
    log_p, rows = log_probability(sample.probability), np.arange(len(sample))
    weight = sample.weight / sample.weight.sum()

    def loss(log_temperature: float) -> float:
        scaled = log_p / math.exp(log_temperature)
        highest = scaled.max(axis=1)
        norm = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))  # (N,)
        return float(weight @ (norm - scaled[rows, sample.truth]))

    bounds = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    optimize = require("scipy.optimize", "training")
    found = float(optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)
    if min(found - bounds[0], bounds[1] - found) < 1e-3:
        reason = (
            "ever more certain probabilities fit better, as happens when all answers are right"
            if found < 0
            else "ever more equal probabilities fit better, as happens when they say nothing about the truth"
        )
        raise DataError(
            f"no temperature from {LOWEST_TEMPERATURE:g} to {HIGHEST_TEMPERATURE:g} is the best for "
            f"these {len(sample)} events: {reason}",
            next_step="Give more validation events, or train the model further",
        )
    return math.exp(found)


class _Given:
    """A classifier for MAPIE whose input is the class probabilities themselves."""

    def __init__(self, n_classes: int) -> None:
        self.classes_ = np.arange(n_classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, _probability: Floats, _truth: Any) -> _Given:
        return self

    def predict_proba(self, probability: Floats) -> Floats:
        return probability

    def predict(self, probability: Floats) -> npt.NDArray[np.int64]:
        return np.asarray(probability.argmax(axis=1))


def mapie_classifier(sample: Sample, coverage: float, score: str) -> tuple[Any, Any]:
    """MAPIE's own conformal classifier over the calibrated probabilities of ``sample``, and its score object."""
    kinds = require("mapie.conformity_scores", "training")
    scorer = {"lac": kinds.LACConformityScore, "aps": kinds.APSConformityScore}[score]()
    classification = require("mapie.classification", "training")
    classifier = classification.SplitConformalClassifier(
        _Given(len(sample.classes)), confidence_level=coverage, conformity_score=scorer, random_state=_SEED
    )
    return classifier.conformalize(sample.probability, sample.truth), scorer


def fit_conformal(sample: Sample, coverage: float, score: Score = "lac") -> Conformal:
    """The quantile of MAPIE's conformity scores that gives sets of this coverage.

    Event weights have no part in it: MAPIE 1.6 takes none, so the coverage is of events as counted.

    LAC is the default: its sets are the smallest on average of all with this coverage (Sadinle et al.,
    arXiv:1609.00451), and it needs no random numbers. APS (Romano et al., arXiv:2006.02544) evens the coverage out
    between easy and hard events at the price of larger sets: it covers more than asked, because its scores are
    smoothed at random and its sets are not. RAPS, which shortens the long sets of tasks with many classes at the
    price of a third set of events, has nothing to shorten with a handful of classes.

    Raises:
        ConfigError: an impossible coverage or an unknown score.
        DataError: too few events for the coverage, or none of a class.
    """
    _check_request(sample, coverage, score)
    classifier, scorer = mapie_classifier(sample, coverage, score)
    classifier.predict_set(sample.probability[:1])  # after which MAPIE tells the quantile
    quantile = float(np.clip(scorer.quantiles_[0], 0, 1))
    return Conformal(score, coverage, quantile, len(sample))


def _check_request(sample: Sample, coverage: float, score: str) -> None:
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage {coverage:g} is impossible", expected="a share between 0 and 1, such as 0.9")
    if score not in SCORES:
        raise ConfigError(f"no conformal score '{score}'", expected=nearest(score, SCORES))
    fewest = math.ceil(1 / min(coverage, 1 - coverage)) + 1
    if len(sample) < fewest:
        raise DataError(
            f"{len(sample)} events are too few for sets with coverage {coverage:g}",
            expected=f"at least {fewest} events with a true class for the sets, which take half of those given",
            next_step="Give more events, or ask for a lower coverage",
        )
    absent = sorted(set(range(len(sample.classes))) - set(sample.truth.tolist()))
    if absent:
        raise DataError(
            f"none of the {len(sample)} events for the sets is of the class {sample.classes[absent[0]]}, "
            "for which the sets would then hold no promise",
            next_step="Give more events of this class",
        )


def fit_calibration(predictions: Predictions, data: Origin, coverage: float, score: Score = "lac") -> Calibration:
    """Temperature from one half of the events with a true class, sets from the other half.

    Sets fitted on the events of the temperature would trust it too much. The last bit of the hash of its key puts
    an event into its half, whatever else is in the file.

    Raises:
        ConfigError: an impossible coverage or an unknown score.
        DataError: too few events, no truth, negative weights, or no temperature fits.
    """
    known = predictions.select(predictions.has_label)
    half = (known.hashes() & np.uint64(1)).astype(bool)
    first, second = Sample.of(known.select(~half)), Sample.of(known.select(half))
    _check_request(second, coverage, score)
    temperature = fit_temperature(first)
    after = replace(second, probability=tempered(second.probability, temperature))
    before, now = measure(second, second.weight[None]), measure(after, after.weight[None])
    ece, nll = ((float(before[name][0]), float(now[name][0])) for name in ("ece", "nll"))
    return Calibration(
        predictions.model,
        predictions.classes,
        temperature,
        len(first),
        fit_conformal(after, coverage, score),
        HeldOut(len(second), ece, nll),
        data,
    )


def calibrate(
    run: Path,
    data: Path,
    *,
    split: str = "val",
    coverage: float = 0.9,
    score: Score = "lac",
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Calibration:
    """Fit a calibration of the run folder ``run`` to the events of ``split`` and write it to ``run``/calibration.json.

    Training events are refused because the model knows them, test events because numbers measured on them would no
    longer be independent; ``all`` is for a store that served neither.

    Raises:
        ConfigError: a split, coverage or score that cannot be used.
        DataError: too few events, no truth, negative weights, no temperature fits, or events of another kind.
        InputFileError: no run folder, or no store.
    """
    from nuadapt.models.run import load_run, run_folder

    if split in ("train", "test"):
        why = "the model knows them" if split == "train" else "numbers on them would no longer be independent"
        raise ConfigError(
            f"calibration on {split} events is refused: {why}", expected="val, or all of a store of its own"
        )
    run = run_folder(run)
    model = load_run(run)
    calibration = calibrate_model(
        model, data, EvaluationConfig(split, PredictConfig(batch_size=batch_size)), coverage, score, progress
    )
    calibration.write(run)
    return calibration


def calibrate_model(
    model: Model, data: Path, config: EvaluationConfig, coverage: float, score: Score, progress: Progress | None = None
) -> Calibration:
    """As :func:`calibrate`, for a loaded model and without writing."""
    with EventStore(data) as store:
        rows = usable_rows(store, model, config)
        predictions = predict_batches(
            model, batches_of(store, rows, config), config.predict, total=len(rows), progress=progress
        )
        origin = Origin(store.path.name, key_fingerprint(store), config.split)
    return fit_calibration(predictions, origin, coverage, score)
