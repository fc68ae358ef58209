"""Evidence of pixels: exact where it is known, and a test of it that tells good evidence from none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.explain.attribution import METHODS, AttributionConfig, attribution, log_odds
from nuadapt.evaluation.explain.deletion import EvidenceConfig, curve_of, evidence_test, ranks
from nuadapt.events.tasks import Task
from nuadapt.models.inputs import PixelInput
from nuadapt.models.registry import build_model, load_preset
from nuadapt.models.run import LoadedModel

CLASSES = ("nue_cc", "numu_cc")


def task(*classes: str) -> Task:
    """A task of the classes; which events belong to them does not matter here."""
    return Task("any", classes, classes, ((),) * len(classes))


SIDE = 32
#: (view, rows, columns) that the analytic model looks at: one window of 8 x 8 pixels in view 1.
SEEN = (1, slice(8, 16), slice(16, 24))


class Window(nn.Module):
    """Log-odds of class 0: ``slope`` times the sum of grey levels in SEEN, minus ``offset``; exactly linear."""

    def __init__(self, slope: float = 1.0, offset: float = 2.0) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.offset = offset

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        seen = pixels[:, SEEN[0], SEEN[1], SEEN[2]].sum((1, 2))
        first = self.slope * seen - self.offset
        return {"logits": torch.stack([first, torch.zeros_like(first)], dim=1)}


class Counting(nn.Module):
    """Keeps the largest batch it was shown."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.largest = inner, 0

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        self.largest = max(self.largest, len(pixels))
        found: dict[str, Tensor] = self.inner(pixels=pixels)
        return found


def loaded(network: nn.Module, classes: tuple[str, ...] = CLASSES) -> LoadedModel:
    """A model as load_run gives it: weights frozen."""
    network.eval()
    network.requires_grad_(False)
    return LoadedModel(network, "test", task(*classes), PixelInput(("xz", "yz")), {}, False)


def random_images(n: int, seed: int = 3, share: float = 0.15) -> np.ndarray:
    """Images (n, 2, SIDE, SIDE) with a share of charged pixels."""
    rng = np.random.default_rng(seed)
    grey = rng.uniform(0.05, 1, (n, 2, SIDE, SIDE))
    return np.where(rng.random(grey.shape) < share, grey, 0).astype(np.float32)


@pytest.fixture(scope="module")
def cnn() -> LoadedModel:
    """The small CNN with random weights, made sensitive enough to decide something."""
    torch.manual_seed(5)
    network = build_model(load_preset("siamese-cnn-small"), n_views=2, classes=("nue_cc", "numu_cc", "nc"))
    nn.init.normal_(network.get_parameter("classifier.weight"), std=20.0)
    network.train()
    with torch.no_grad():  # statistics of the normalisation, from images of this kind
        for seed in range(40):
            network(pixels=torch.from_numpy(random_images(8, seed)))
    return loaded(network, ("nue_cc", "numu_cc", "nc"))


class Square(Window):
    """Log-odds of class 0: the square of the sum of grey levels in SEEN. The gradient alone is not the evidence."""

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        seen = pixels[:, SEEN[0], SEEN[1], SEEN[2]].sum((1, 2)) ** 2
        return {"logits": torch.stack([seen, torch.zeros_like(seen)], dim=1)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [0, 1])
def test_evidence_of_a_linear_model_is_its_window(method: str, target: int) -> None:
    images = random_images(3)
    found = attribution(loaded(Window(1.5)), images, np.full(3, target), method)
    sign = 1.5 if target == 0 else -1.5
    expected = np.zeros_like(images)
    expected[(slice(None), *SEEN)] = sign * images[(slice(None), *SEEN)]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert found.dtype == np.float32
    assert np.array_equal(found != 0, expected != 0) or method == "occlusion"


def test_each_event_has_its_own_target() -> None:
    images = np.repeat(random_images(1), 2, axis=0)
    for method in METHODS:
        first, second = attribution(loaded(Window()), images, np.array([0, 1]), method)
        np.testing.assert_allclose(first, -second, atol=1e-5)
        assert np.abs(first).max() > 0.01


def test_gradient_evidence_adds_up(cnn: LoadedModel) -> None:
    images, target = random_images(4), np.array([0, 1, 2, 0])
    difference = log_odds(cnn, images, target) - log_odds(cnn, np.zeros_like(images), target)
    found = attribution(cnn, images, target, config=AttributionConfig(steps=400)).sum(axis=(1, 2, 3))
    assert np.abs(difference).min() > 0.3
    np.testing.assert_allclose(found, difference, atol=0.01 * np.abs(difference).max())


def test_gradient_evidence_adds_up_for_models_that_skip_empty_patches() -> None:
    """A patch below the grey level where it is looked at must not leave the picture on the way to the empty image."""
    torch.manual_seed(2)
    vision = {"image_size": 32, "patch_size": 8, "stem": [[8, 0], [8, 0], [16, 0]], "hidden_size": 16}
    vision |= {"intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    small = load_preset("vit") | {"vision": vision, "head_width": 16, "occupied_above": 0.4}
    network = build_model(small, n_views=2, classes=CLASSES)
    nn.init.normal_(network.get_parameter("classifier.weight"), std=40.0)
    model, images, target = loaded(network), random_images(4, share=0.02), np.array([0, 1, 1, 0])
    with torch.no_grad():
        shown = torch.from_numpy(images)
        blank = network(pixels=torch.zeros_like(shown), shown=shown)["logits"].double().numpy()
    difference = log_odds(model, images, target) - (blank[:, 0] - blank[:, 1]) * np.where(target == 0, 1, -1)
    found = attribution(model, images, target, config=AttributionConfig(steps=400)).sum(axis=(1, 2, 3))
    assert np.abs(difference).min() > 0.1
    np.testing.assert_allclose(found, difference, atol=0.01 * np.abs(difference).max())


@pytest.mark.parametrize("steps", [1, 5])
def test_gradient_evidence_of_a_square_is_exact(steps: int) -> None:
    """The integral over a of 2 a s x is s x for a pixel x of sum s; the midpoint rule is exact for straight lines."""
    images = random_images(2)
    found = attribution(loaded(Square()), images, np.zeros(2, dtype=int), config=AttributionConfig(steps=steps))
    seen = images[(slice(None), *SEEN)]
    np.testing.assert_allclose(
        found[(slice(None), *SEEN)], seen.sum(axis=(1, 2), keepdims=True) * seen, rtol=1e-4, atol=1e-5
    )


def test_occlusion_is_what_blanking_by_hand_gives(cnn: LoadedModel) -> None:
    """Every window, charged or not, one forward each; a side that the window does not divide."""
    images, target = random_images(2, share=0.02), np.array([2, 1])
    side = 12
    found = attribution(cnn, images, target, "occlusion", AttributionConfig(window=side, batch_size=5))
    whole = log_odds(cnn, images, target)
    for view in range(2):
        for row in range(0, SIDE, side):
            for col in range(0, SIDE, side):
                at = (slice(None), view, slice(row, row + side), slice(col, col + side))
                blanked = images.copy()
                blanked[at] = 0
                fall = whole - log_odds(cnn, blanked, target)
                grey = images[at].sum(axis=(1, 2), keepdims=True)
                share = np.divide(images[at], grey, out=np.zeros_like(images[at]), where=grey > 0)
                np.testing.assert_allclose(found[at], fall[:, None, None] * share, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_batches_are_bounded_and_have_no_influence(method: str, cnn: LoadedModel) -> None:
    images, target = random_images(3, share=0.03), np.array([0, 1, 2])
    counting = Counting(cnn.network)
    watched = LoadedModel(counting, "test", cnn.task, cnn.input, {}, False)
    small = attribution(watched, images, target, method, AttributionConfig(steps=8, batch_size=7))
    assert counting.largest == 7
    large = attribution(cnn, images, target, method, AttributionConfig(steps=8, batch_size=1000))
    np.testing.assert_allclose(small, large, atol=1e-4 * np.abs(large).max())


@pytest.mark.parametrize("method", METHODS)
def test_no_charge_no_evidence(method: str, cnn: LoadedModel) -> None:
    images = random_images(3)
    images[1] = 0
    found = attribution(cnn, images, np.array([0, 1, 2]), method)
    assert found.shape == images.shape
    assert np.isfinite(found).all()
    assert not found[images == 0].any()
    assert found[0].any()
    assert found[2].any()
    assert attribution(cnn, images[:0], np.zeros(0, dtype=int), method).shape == (0, 2, SIDE, SIDE)


def test_nothing_is_left_behind_in_the_model() -> None:
    network = Window()
    model = LoadedModel(network, "test", task(*CLASSES), PixelInput(("xz", "yz")), {}, False)  # weights not frozen
    attribution(model, random_images(2), np.array([0, 1]))
    assert network.slope.grad is None


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (np.array([0, 2]), "event 1 has target 2"),
        (np.array([-1, 0]), "event 0 has target -1"),
        (np.array([0]), r"shape \(1,\)"),
        (np.array([0.0, 1.0]), "type float64"),
        (np.array([[0], [1]]), r"shape \(2, 1\)"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_impossible_targets_are_refused(target: Any, words: str, method: str) -> None:
    with pytest.raises(DataError, match=words):
        attribution(loaded(Window()), random_images(2), target, method)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 3, SIDE, SIDE), dtype=np.float32), "views xz, yz"),
        (np.zeros((2, SIDE, SIDE), dtype=np.float32), "shape"),
        (np.full((2, 2, SIDE, SIDE), np.nan, dtype=np.float32), "undefined"),
        (np.full((2, 2, SIDE, SIDE), -0.1, dtype=np.float32), "negative"),
    ],
)
def test_impossible_images_are_refused(images: np.ndarray, words: str) -> None:
    model = loaded(Window())
    for ask in (lambda: attribution(model, images, np.array([0, 1])), lambda: evidence_test(model, images)):
        with pytest.raises(DataError, match=words):
            ask()


class Steps(Window):
    """A model that cuts its gradient."""

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return super().forward(pixels.detach())


def test_a_model_without_gradient_is_told_what_to_do() -> None:
    with pytest.raises(DataError, match="occlusion"):
        attribution(loaded(Steps()), random_images(1), np.array([0]))
    assert attribution(loaded(Steps()), random_images(1), np.array([0]), "occlusion").any()


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gradient'"):
        attribution(loaded(Window()), random_images(1), np.array([0]), "gradients")
    with pytest.raises(ConfigError, match="occlusion"):
        EvidenceConfig(methods=("oclusion",))
    with pytest.raises(ConfigError):
        AttributionConfig(steps=0)
    with pytest.raises(ConfigError):
        EvidenceConfig(points=0)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5))
def test_ranks_number_the_charged_pixels(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    charged = rng.random((2, 6, 6)) < share
    importance, tie = rng.integers(-2, 3, charged.shape), rng.random(charged.shape)
    found = ranks(importance, charged, tie)
    assert np.array_equal(found >= 0, charged)
    places = np.argsort(found[charged])
    assert sorted(found[charged]) == list(range(charged.sum()))
    pairs = list(zip(-importance[charged][places], tie[charged][places], strict=True))
    assert pairs == sorted(pairs)


def test_curves_take_pixels_in_order() -> None:
    """Four pixels of known weight, by hand; both curves meet at their ends."""
    image = np.zeros((2, SIDE, SIDE), dtype=np.float32)
    image[1, 8, 16:20] = [0.25, 1.0, 0.5, 0.75]
    image[0, 3, 3] = 1.0  # charge that the model does not see
    model, config = loaded(Window(2.0, 1.0)), EvidenceConfig(points=5)
    rank = ranks(image * (np.arange(2)[:, None, None] == 1), image > 0, np.zeros(image.shape))

    def probability(*greys: float) -> float:
        return float(1 / (1 + np.exp(1.0 - 2.0 * sum(greys))))

    removed = [(1, 0.75, 0.5, 0.25), (0.75, 0.5, 0.25), (0.5, 0.25), (0.25,), (), ()]
    np.testing.assert_allclose(
        curve_of(model, image, 0, rank, False, config), [probability(*g) for g in removed], rtol=1e-5
    )
    added = [(), (1,), (1, 0.75), (1, 0.75, 0.5), (1, 0.75, 0.5, 0.25), (1, 0.75, 0.5, 0.25)]
    np.testing.assert_allclose(
        curve_of(model, image, 0, rank, True, config), [probability(*g) for g in added], rtol=1e-5
    )


@pytest.fixture(scope="module")
def windows_tested() -> Any:
    config = EvidenceConfig(methods=("gradient", "occlusion"), bootstrap=BootstrapConfig(resamples=200))
    images = random_images(12)
    images[4] = 0
    return evidence_test(loaded(Window()), images, config)


def test_known_evidence_beats_both_controls(windows_tested: Any) -> None:
    numbers = windows_tested.numbers
    assert (numbers["n_events"], numbers["n_blank"]) == (11, 1)
    for method in METHODS:
        deletion, insertion = numbers["deletion"], numbers["insertion"]
        assert deletion[method]["minus_random_interval"][1] < -0.1
        assert insertion[method]["minus_random_interval"][0] > 0.1
        assert deletion[method]["area"] < deletion["brightest"]["area"]
        assert insertion[method]["area"] > insertion["brightest"]["area"]


def test_numbers_are_plain_and_agree_with_the_curves(windows_tested: Any) -> None:
    numbers, curves = windows_tested.numbers, windows_tested.curves
    assert json.loads(json.dumps(numbers, allow_nan=False))["deletion"] == numbers["deletion"]
    share = curves["evidence_share"]
    for curve in ("deletion", "insertion"):
        for order in ("gradient", "occlusion", "random", "brightest"):
            mean, low, high = curves[f"evidence_{curve}_{order}"].T
            assert np.all((low <= mean) & (mean <= high))
            block = numbers[curve][order]
            assert np.trapezoid(mean, share) == pytest.approx(block["area"])
            assert block["interval"][0] <= block["area"] <= block["interval"][1]
            if order != "random":
                assert block["minus_random"] == pytest.approx(block["area"] - numbers[curve]["random"]["area"])
    starts = {round(curves[f"evidence_deletion_{o}"][0, 0], 9) for o in ("gradient", "random", "brightest")}
    ends = {round(curves[f"evidence_insertion_{o}"][-1, 0], 9) for o in ("gradient", "random", "brightest")}
    assert len(starts) == 1
    assert starts == ends


def test_random_evidence_is_no_better_than_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test must not reward just any order."""
    rng = np.random.default_rng(0)
    monkeypatch.setitem(METHODS, "gradient", lambda model, images, *_: rng.normal(size=images.shape))
    numbers = evidence_test(loaded(Window()), random_images(40)).numbers
    low, high = numbers["deletion"]["gradient"]["minus_random_interval"]
    assert low < 0 < high


def test_the_same_seed_gives_the_same_numbers(cnn: LoadedModel) -> None:
    images = random_images(4)
    config = EvidenceConfig(points=4, attribution=AttributionConfig(steps=4))
    done: list[tuple[int, int]] = []
    first = evidence_test(cnn, images, config, lambda *at: done.append(at))
    again = evidence_test(cnn, images, config)
    assert first.numbers == again.numbers
    assert done == [(i, 4) for i in range(1, 5)]
    other = evidence_test(cnn, images, EvidenceConfig(points=4, seed=2, attribution=AttributionConfig(steps=4)))
    assert other.numbers["deletion"]["random"] != first.numbers["deletion"]["random"]
    assert other.numbers["deletion"]["gradient"]["area"] == first.numbers["deletion"]["gradient"]["area"]


def test_events_without_charge_alone_are_refused() -> None:
    with pytest.raises(DataError, match="none of 2 events has charge"):
        evidence_test(loaded(Window()), np.zeros((2, 2, SIDE, SIDE), dtype=np.float32))
