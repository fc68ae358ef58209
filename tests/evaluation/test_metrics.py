"""Metrics against scikit-learn, brute force, and properties that hold for any sample."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nuadapt.errors import ConfigError, DataError
from nuadapt.evaluation.block import metrics_block, reliability
from nuadapt.evaluation.bootstrap import BootstrapConfig, distribution, interval, resampled_weights
from nuadapt.evaluation.curves import roc, thinned
from nuadapt.evaluation.metrics import N_CONFIDENCE_BINS, PER_CLASS, SCALARS, Sample, auc, effective_events, measure

CLASSES = ("nue_cc", "numu_cc", "nc")
FEW = BootstrapConfig(resamples=40)


def make_sample(n: int, seed: int, *, weighted: bool = True, ties: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    p = rng.dirichlet([0.8, 0.8, 0.8], n) + 0.4 * np.eye(3)[truth]
    if ties:
        p = np.round(p * 4) / 4 + 1e-3
    p /= p.sum(axis=1, keepdims=True)
    weight = rng.uniform(0.1, 3, n) if weighted else np.ones(n)
    return Sample(CLASSES, p, truth, p.argmax(axis=1), weight)


def values(sample: Sample) -> dict[str, np.ndarray]:
    return {k: v[0] for k, v in measure(sample, sample.weight[None]).items()}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agrees_with_scikit_learn(seed: int, ties: bool) -> None:
    s = make_sample(300, seed, ties=ties)
    found = values(s)
    w = {"sample_weight": s.weight}
    precision, recall, f1, _ = sk.precision_recall_fscore_support(s.truth, s.label, **w)
    np.testing.assert_allclose(found["precision"], precision)
    np.testing.assert_allclose(found["recall"], recall)
    np.testing.assert_allclose(found["f1"], f1)
    assert found["macro_precision"] == pytest.approx(precision.mean())
    assert found["macro_recall"] == pytest.approx(recall.mean())
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(s.truth, s.label, **w))
    np.testing.assert_allclose(found["confusion"], sk.confusion_matrix(s.truth, s.label, **w))
    each = [sk.roc_auc_score(s.truth == c, s.probability[:, c], **w) for c in range(3)]
    np.testing.assert_allclose(found["auc_ovr"], each)
    assert found["auc_ovr_macro"] == pytest.approx(np.mean(each))
    assert found["nll"] == pytest.approx(sk.log_loss(s.truth, s.probability, **w))
    brier = sum(sk.brier_score_loss(s.truth == c, s.probability[:, c], **w) for c in range(3))
    assert found["brier"] == pytest.approx(brier)


def test_ece_equals_a_plain_loop() -> None:
    s = make_sample(200, 5)
    total, edges = 0.0, np.linspace(0, 1, N_CONFIDENCE_BINS + 1)
    for low, high in pairwise(edges):
        inside = [i for i in range(200) if low < s.confidence[i] <= high]
        if inside:
            w = s.weight[inside]
            right = (s.label == s.truth)[inside]
            total += w.sum() * abs(np.average(right, weights=w) - np.average(s.confidence[inside], weights=w))
    assert values(s)["ece"] == pytest.approx(total / s.weight.sum())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 25), st.booleans())
def test_integer_weights_equal_repeated_events(seed: int, n: int, ties: bool) -> None:
    s = make_sample(n, seed, ties=ties)
    times = np.random.default_rng(seed).integers(0, 4, n)
    weighted = values(Sample(CLASSES, s.probability, s.truth, s.label, times.astype(float)))
    rows = np.repeat(np.arange(n), times)
    if len(rows):
        picked = s.select(rows)
        repeated = values(Sample(CLASSES, picked.probability, picked.truth, picked.label, np.ones(len(rows))))
        for key in (*SCALARS, *PER_CLASS, "confusion", "bin_accuracy"):
            np.testing.assert_allclose(weighted[key], repeated[key], err_msg=key, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_order_of_events_and_scale_of_weights_do_not_matter(seed: int, scale: float) -> None:
    s = make_sample(50, seed, ties=True)
    order = np.random.default_rng(seed).permutation(50)
    moved = s.select(order)
    other = values(Sample(CLASSES, moved.probability, moved.truth, moved.label, moved.weight * scale))
    for key, value in values(s).items():
        factor = scale if key in ("confusion", "bin_weight") else 1
        np.testing.assert_allclose(other[key], value * factor, rtol=1e-9, err_msg=key)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12))
def test_auc_is_the_share_of_won_pairs(rows: list[tuple[int, bool, int]]) -> None:
    score, signal, weight = (
        np.array(c, dtype=t) for c, t in zip(zip(*rows, strict=True), (float, bool, float), strict=True)
    )
    won = total = 0.0
    for i in np.flatnonzero(signal):
        for j in np.flatnonzero(~signal):
            total += weight[i] * weight[j]
            won += weight[i] * weight[j] * (float(score[i] > score[j]) + 0.5 * float(score[i] == score[j]))
    found = auc(score, signal, weight[None])[0]
    assert (np.isnan(found) and total == 0) or found == pytest.approx(won / total)


def test_auc_is_the_area_under_our_roc() -> None:
    s = make_sample(400, 9, ties=True)
    points = roc(s.probability[:, 1], s.truth == 1, s.weight)
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(values(s)["auc_ovr"][1])
    assert points[0, :2].tolist() == [0, 0]
    assert points[-1, :2] == pytest.approx([1, 1])
    few = thinned(points, 20)
    assert len(few) <= 20
    assert np.trapezoid(few[:, 1], few[:, 0]) == pytest.approx(values(s)["auc_ovr"][1], abs=0.02)


def test_calibrated_sample_has_no_calibration_error() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet([1, 1, 1], 60000)
    truth = (p.cumsum(axis=1) < rng.random(60000)[:, None]).sum(axis=1)
    sample = Sample(CLASSES, p, truth, p.argmax(axis=1), np.ones(60000))
    assert values(sample)["ece"] < 0.01
    sharper = p**3 / (p**3).sum(axis=1, keepdims=True)  # same answers, too sure of themselves
    assert values(Sample(CLASSES, sharper, truth, p.argmax(axis=1), np.ones(60000)))["ece"] > 0.15


def test_bootstrap_row_equals_the_metrics_of_the_drawn_events() -> None:
    s = make_sample(30, 4)
    weights = np.concatenate(list(resampled_weights(s.weight, FEW, "x")))
    spread = distribution(s, FEW, "x")
    drawn = np.repeat(np.arange(30), np.round(weights[7] / s.weight).astype(int))
    assert len(drawn) == 30
    again = values(s.select(drawn))
    for key in SCALARS:
        assert spread[key][7] == pytest.approx(again[key]), key


def test_every_event_is_drawn_equally_often() -> None:
    config = BootstrapConfig(resamples=4000)
    times = np.concatenate(list(resampled_weights(np.ones(6), config, "x")))
    assert times.sum(axis=1).tolist() == [6.0] * 4000
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.08)  # five standard errors of sqrt(5 / 6 / 4000)


def test_intervals_cover_the_true_accuracy_about_as_often_as_they_say() -> None:
    covered, config = 0, BootstrapConfig(resamples=200)
    for seed in range(200):
        rng = np.random.default_rng([8, seed])
        right = rng.random(150) < 0.8
        truth = rng.integers(0, 3, 150)
        label = np.where(right, truth, (truth + 1) % 3)
        p = np.full((150, 3), 1 / 3)
        low, high = interval(
            distribution(Sample(CLASSES, p, truth, label, np.ones(150)), config, "c")["accuracy"], 0.95
        )
        covered += bool(low <= 0.8 <= high)
    assert 180 <= covered <= 198


def test_weights_widen_intervals() -> None:
    s = make_sample(400, 6, weighted=False)
    uneven = Sample(s.classes, s.probability, s.truth, s.label, np.where(np.arange(400) % 20 == 0, 20.0, 0.1))
    width = [np.diff(interval(distribution(x, FEW, "w")["accuracy"], 0.95))[0] for x in (s, uneven)]
    assert effective_events(uneven.weight) < 30
    assert width[1] > 2 * width[0]


def test_same_seed_same_intervals() -> None:
    s = make_sample(60, 2)
    assert metrics_block(s, FEW, "a") == metrics_block(s, FEW, "a")
    assert metrics_block(s, FEW, "a")["intervals"] != metrics_block(s, FEW, "b")["intervals"]


def test_values_lie_inside_their_intervals() -> None:
    block = metrics_block(make_sample(500, 2), BootstrapConfig(), "a")
    for key in ("accuracy", "macro_recall", "auc_ovr_macro", "nll", "brier"):
        low, high = block["intervals"][key]
        assert low < block[key] < high


@pytest.mark.parametrize(
    ("n", "reason"), [(0, "no events"), (1, "no event of true class"), (3, "no event of true class")]
)
def test_small_groups_give_null_with_a_reason_and_no_warning(n: int, reason: str) -> None:
    s = make_sample(40, 1)
    s = s.select(s.truth == 1).select(np.arange(n))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        block = metrics_block(s, FEW, "small")
    assert block["auc_ovr_macro"] is None
    assert reason in block["undefined"][0]
    assert block["n_events"] == n
    if n:
        assert block["accuracy"] is not None
        assert block["per_class"]["nc"]["recall"] is None
        assert block["per_class"]["numu_cc"]["recall"] == block["accuracy"]


def test_zero_weights() -> None:
    s = make_sample(40, 1)
    nothing = Sample(s.classes, s.probability, s.truth, s.label, np.zeros(40))
    block = metrics_block(nothing, FEW, "zero")
    assert block["accuracy"] is None
    assert block["undefined"] == ["the weights add up to zero"]
    some = Sample(s.classes, s.probability, s.truth, s.label, np.where(s.truth == 2, 0.0, 1.0))
    assert metrics_block(some, FEW, "some")["per_class"]["nc"]["recall"] is None


def test_class_never_answered_has_precision_zero() -> None:
    truth = np.array([0, 0, 1, 2])
    p = np.tile([0.5, 0.3, 0.2], (4, 1))
    found = values(Sample(CLASSES, p, truth, np.zeros(4, dtype=int), np.ones(4)))
    assert found["precision"].tolist() == [0.5, 0, 0]
    assert found["macro_recall"] == pytest.approx(1 / 3)


def test_reliability_bins_hold_all_events() -> None:
    s = make_sample(200, 3)
    bins = reliability(s, FEW)
    assert sum(b["n_events"] for b in bins) == 200
    assert sum(b["weight"] for b in bins) == pytest.approx(s.weight.sum())
    assert bins[0]["accuracy"] is None  # no label has less than a third


def test_impossible_bootstrap_is_refused() -> None:
    with pytest.raises(ConfigError):
        BootstrapConfig(resamples=1)


def test_negative_weights_are_refused(synthetic) -> None:
    from nuadapt.evaluation.predict import predict_batches
    from nuadapt.events.pixelmap import MapSpec

    batch = synthetic.make_batch(5, 1, MapSpec(shape=(64, 64)))
    batch["weight"][2] = -1
    with pytest.raises(DataError, match="1 events have a negative weight"):
        Sample.of(predict_batches(synthetic.ToyModel(), [batch]))
