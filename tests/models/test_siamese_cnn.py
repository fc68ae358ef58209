"""The Siamese CNN: size, shapes, shared weights, loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.loss import weighted_cross_entropy
from nuadapt.models.registry import build_model, count_parameters, load_preset, preset_names

CLASSES = ("a", "b", "c")


def build(preset: str = "siamese-cnn-small", n_views: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return build_model(load_preset(preset), n_views=n_views, classes=CLASSES)


def test_parameter_count_as_published() -> None:
    total = count_parameters(build("siamese-cnn"))["total"]
    assert abs(total / 3.4e6 - 1) < 0.05


def test_parameters_grow_only_where_views_are_joined() -> None:
    one, two, three = (count_parameters(build("siamese-cnn", v)) for v in (1, 2, 3))
    assert two["total"] - one["total"] == three["total"] - two["total"] == 40 * 240
    assert {k: one[k] for k in ("branch", "head", "classifier")} == {
        k: three[k] for k in ("branch", "head", "classifier")
    }


@pytest.mark.parametrize("preset", [p for p in preset_names() if load_preset(p)["representation"] == "pixelmap"])
@pytest.mark.parametrize(("views", "height", "width"), [(1, 32, 32), (2, 33, 57), (3, 8, 40), (2, 512, 96)])
def test_any_size_and_any_number_of_views(preset: str, views: int, height: int, width: int) -> None:
    model = build(preset, views).eval()
    with torch.inference_mode():
        out = model(torch.rand(2, views, height, width))
    assert out["logits"].shape == (2, 3)
    assert out["logits"].isfinite().all()


def test_full_resolution_trains() -> None:
    model = build("siamese-cnn-small").train()
    model(torch.rand(2, 2, 512, 512), labels=torch.tensor([0, 1]))["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_branch_is_shared_between_views() -> None:
    """Every view passes the same weights: the branch's answer for a view does not depend on where it stands."""
    model = build().eval()
    first, second = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    seen: list[torch.Tensor] = []
    model.branch.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.inference_mode():
        model(torch.cat([first, second], dim=1))
        model(torch.cat([second, first], dim=1))
    assert len(seen) == 2, "one call of one branch for all views"
    torch.testing.assert_close(seen[0][0], seen[1][1])
    torch.testing.assert_close(seen[0][1], seen[1][0])


def test_branch_gradient_is_the_sum_over_views() -> None:
    model = build().eval()  # running statistics: no mixing between images through batch statistics
    view, other = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    weight = model.branch[0].weight

    def gradient(*used: bool) -> torch.Tensor:
        images = torch.cat([view, other], dim=1)
        joined = model.branch(images.reshape(4, 1, 32, 32)).reshape(2, 2, -1)
        parts = [joined[:, v] if use else joined[:, v].detach() for v, use in enumerate(used)]
        return torch.autograd.grad(torch.cat(parts, dim=1).pow(2).sum(), weight)[0]

    torch.testing.assert_close(gradient(True, True), gradient(True, False) + gradient(False, True))
    assert gradient(False, True).abs().sum() > 0


def test_order_of_views_matters_to_the_trunk() -> None:
    model = build().eval()
    pixels = torch.rand(1, 2, 32, 32)
    with torch.inference_mode():
        assert not torch.allclose(model(pixels)["logits"], model(pixels.flip(1))["logits"])


def test_refuses_other_views_and_tiny_maps() -> None:
    model = build()
    with pytest.raises(DataError, match="2, height, width"):
        model(torch.rand(1, 3, 32, 32))
    with pytest.raises(DataError, match="at least 8"):
        model(torch.rand(1, 2, 4, 32))


@pytest.mark.parametrize("kwargs", [{"n_views": 0, "classes": CLASSES}, {"n_views": 2, "classes": ("only",)}])
def test_refuses_impossible_models(kwargs: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build_model(load_preset("siamese-cnn-small"), **kwargs)  # type: ignore[arg-type]


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'siamese-cnn'"):
        load_preset("siamese-cn")


def test_bf16_agrees_with_float32() -> None:
    model = build("siamese-cnn").eval()
    pixels = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        exact = model(pixels)["logits"]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(pixels)["logits"]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.03, rtol=0.1)


def test_weighted_loss_equals_brute_force() -> None:
    random = np.random.default_rng(3)
    logits, labels = random.normal(size=(7, 3)), random.integers(0, 3, 7)
    weight, smoothing = random.uniform(0, 2, 7), 0.1
    total = 0.0
    for score, label, w in zip(logits, labels, weight, strict=True):
        log_p = score - np.log(np.exp(score).sum())
        target = np.full(3, smoothing / 3)
        target[label] += 1 - smoothing
        total += -w * (target * log_p).sum()
    got = weighted_cross_entropy(
        torch.tensor(logits), torch.tensor(labels), torch.tensor(weight), smoothing=smoothing
    ).item()
    assert got == pytest.approx(total / weight.sum(), rel=1e-5)


def test_losses_of_accumulated_batches_add_up() -> None:
    logits, labels, weight = torch.randn(8, 3), torch.arange(8) % 3, torch.rand(8)
    whole = weighted_cross_entropy(logits, labels, weight)
    parts = [weighted_cross_entropy(logits[s], labels[s], weight[s], weight.sum()) for s in (slice(0, 5), slice(5, 8))]
    torch.testing.assert_close(sum(parts), whole)


def test_zero_weights_have_no_say() -> None:
    logits = torch.randn(3, 3, requires_grad=True)
    loss = weighted_cross_entropy(logits, torch.arange(3), torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 3))


def test_smoothing_acts_in_training_only() -> None:
    torch.manual_seed(1)
    model = build_model(load_preset("siamese-cnn-small"), n_views=1, classes=CLASSES, label_smoothing=0.3).eval()
    out = model(torch.rand(4, 1, 32, 32), labels=torch.arange(4) % 3)
    torch.testing.assert_close(out["loss"], weighted_cross_entropy(out["logits"], torch.arange(4) % 3))
