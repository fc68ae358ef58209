"""PET2: the function of the package ``omnilearned`` 0.2.0 from the same weights, and where it differs on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nuadapt.models.cloud import CloudShape
from nuadapt.models.pet2 import PET2, pair_features
from nuadapt.models.ragged import Packing
from nuadapt.models.registry import load_preset

Cloud = dict[str, Tensor]
Maker = Callable[..., Cloud]
CLASSES = ("one", "two", "three", "four", "five")
RAGGED = (5, 1, 33, 12, 7, 10, 11, 2)  # around K = 10 neighbours, and a single token


@pytest.fixture(scope="module")
def package() -> ModuleType:
    why = "parity needs the reference: pip install --no-deps omnilearned==0.2.0 einops torchdiffeq"
    return pytest.importorskip("omnilearned.network", reason=why)


def settings(preset: str, **changes: Any) -> dict[str, Any]:
    return load_preset(preset) | {"wrap_azimuth": False} | changes


def theirs(package: ModuleType, given: dict[str, Any], shape: CloudShape) -> nn.Module:
    torch.manual_seed(3)
    network: nn.Module = package.PET2(
        4,
        use_int=given["interaction"],
        local_int=given["local_interaction"],
        conditional=bool(shape.n_globals),
        cond_dim=shape.n_globals,
        pid=bool(shape.n_types),
        pid_dim=shape.n_types + 1,
        add_info=bool(shape.further),
        add_dim=len(shape.further),
        num_classes=len(CLASSES),
        base_dim=given["width"],
        num_transformers=given["depth"],
        num_transformers_head=given["head_depth"],
        num_tokens=given["tokens"],
        num_heads=given["heads"],
        mlp_ratio=given["mlp_ratio"],
        K=given["neighbours"],
        num_coord=given["num_coord"],
    )
    return network


def their_scores(network: nn.Module, cloud: Cloud) -> Tensor:
    """The package reads padding from zeros."""
    clean = torch.where(cloud["mask"][..., None], cloud["tokens"], 0)
    scores: Tensor = network(clean[..., :4], None, cloud["globals"], cloud["type"], clean[..., 4:])["y_pred"]
    return scores


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())


def compare(package: ModuleType, given: dict[str, Any], shape: CloudShape, make_cloud: Maker) -> None:
    """Same weights, same batch: outputs in float32, and in float64 outputs and gradients, to 1e-5.

    In float32, gradients of single numbers such as alpha are sums of many terms that cancel; what rounding leaves of
    them differs between any two orders of summation.
    """
    other = theirs(package, given, shape)
    ours = PET2(given, shape, CLASSES)
    ours.load_state_dict(other.state_dict())
    cloud = make_cloud(shape, RAGGED)
    with torch.inference_mode():
        assert apart(ours.scores(**cloud), their_scores(other, cloud)) < 1e-5
    ours, other = ours.double(), other.double()
    cloud = {k: v.double() if v.is_floating_point() else v for k, v in cloud.items()}
    weight = torch.randn(len(RAGGED), len(CLASSES), dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)  # the package writes its masks as .float()
        expected = their_scores(other, cloud)
    found = ours.scores(**cloud)
    assert apart(found, expected) < 1e-5
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, parameter in other.named_parameters():
        assert parameter.grad is not None
        assert apart(gradients[name], parameter.grad) < 1e-5, name


@pytest.mark.parametrize("lacks", ["nothing", "types", "globals", "further", "all"])
@pytest.mark.parametrize("local_interaction", [False, True])
def test_small_is_the_same_function(
    package: ModuleType, lacks: str, local_interaction: bool, cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    less: dict[str, Any] = {
        "types": {"n_types": 0},
        "globals": {"n_globals": 0},
        "further": {"columns": cloud_shape.columns[:4]},
    }
    changes = {k: v for name, change in less.items() if lacks in (name, "all") for k, v in change.items()}
    given = settings("pet2-small", local_interaction=local_interaction)
    compare(package, given, replace(cloud_shape, **changes), make_cloud)


@pytest.mark.parametrize("changes", [{"num_coord": 3}, {"neighbours": 15}, {"interaction": False}])
def test_small_is_the_same_function_with_other_settings(
    package: ModuleType, changes: dict[str, Any], cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    compare(package, settings("pet2-small", depth=2, **changes), cloud_shape, make_cloud)


def test_medium_of_two_blocks_is_the_same_function(
    package: ModuleType, cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    compare(package, settings("pet2-medium", depth=2), cloud_shape, make_cloud)


@pytest.mark.slow
def test_medium_is_the_same_function(package: ModuleType, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    given = settings("pet2-medium")
    other, ours = theirs(package, given, cloud_shape), PET2(given, cloud_shape, CLASSES)
    ours.load_state_dict(other.state_dict())
    cloud = make_cloud(cloud_shape, RAGGED)
    with torch.inference_mode():
        assert apart(ours.scores(**cloud), their_scores(other, cloud)) < 1e-5


def test_random_weights_are_drawn_as_in_the_package(package: ModuleType, cloud_shape: CloudShape) -> None:
    """Same spread of every tensor, so that a run from random weights starts from the same place."""
    given = settings("pet2-small", depth=1)
    other = theirs(package, given, cloud_shape).state_dict()
    torch.manual_seed(4)
    ours = PET2(given, cloud_shape, CLASSES).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in other.items()}
    for name, tensor in other.items():
        if tensor.numel() > 400:
            torch.testing.assert_close(ours[name].std(), tensor.std(), rtol=0.15, atol=1e-6)
        if len(tensor.unique()) == 1:
            torch.testing.assert_close(ours[name], tensor)


def test_the_package_masks_a_token_of_pt_one(package: ModuleType, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """The one place where an explicit mask gives another answer."""
    given = settings("pet2-small", depth=1)
    other, ours = theirs(package, given, cloud_shape), PET2(given, cloud_shape, CLASSES)
    ours.load_state_dict(other.state_dict())
    cloud = make_cloud(cloud_shape, (6, 12))  # the package needs more places than neighbours
    at = int(cloud["mask"][0].nonzero()[0, 0])
    cloud["tokens"][0, at, 2] = 0.0
    without = cloud | {"mask": cloud["mask"].clone()}
    without["mask"][0, at] = False
    with torch.inference_mode():
        full, less, package_says = ours.scores(**cloud), ours.scores(**without), their_scores(other, cloud)
    assert apart(less, package_says) < 1e-5
    assert apart(full, package_says) > 1e-3


def test_wrapped_azimuths_have_no_seam(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """Turning an event about the axis across +-pi changes nothing that is asked of pairs; without wrapping it does."""
    cloud = make_cloud(cloud_shape, (14, 9))
    x = cloud["tokens"][cloud["mask"]][:, :4]
    turned = x.clone()
    turned[:, 1] = torch.remainder(x[:, 1] + 3.0 + math.pi, 2 * math.pi) - math.pi
    a, b = (pair_features(y[:, None], y[None], True) for y in (x, turned))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=0)
    a, b = (pair_features(y[:, None], y[None], False) for y in (x, turned))
    assert (a - b).abs().max() > 0.1
    for wrap in (True, False):
        local = PET2(settings("pet2-small", depth=1, wrap_azimuth=wrap), cloud_shape, CLASSES).body.local_physics
        groups = Packing.of(cloud["mask"]).groups
        with torch.inference_mode():
            before, after = local(x, groups), local(turned, groups)
        assert ((before - after).abs().max() < 1e-4) == wrap


def test_wrapping_changes_nothing_in_jets(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    cloud = make_cloud(cloud_shape)
    cloud["tokens"][..., 1] *= 0.4
    models = [PET2(settings("pet2-small", depth=1, wrap_azimuth=wrap), cloud_shape, CLASSES) for wrap in (True, False)]
    models[1].load_state_dict(models[0].state_dict())
    with torch.inference_mode():
        a, b = (model.scores(**cloud) for model in models)
    torch.testing.assert_close(a, b)


def test_pair_features_by_hand() -> None:
    """Two massless particles: m2 = (p1 + p2)^2, distance in (eta, phi), kT = smaller pT times distance."""
    a, b = torch.tensor([[0.3, 1.0, math.log(2.0), 1.0]]), torch.tensor([[-0.5, 0.2, math.log(0.7), 1.0]])

    def momentum(x: Tensor) -> Tensor:
        eta, phi, pt = float(x[0, 0]), float(x[0, 1]), math.exp(float(x[0, 2]))
        return pt * torch.tensor([math.cosh(eta), math.cos(phi), math.sin(phi), math.sinh(eta)])

    total = momentum(a) + momentum(b)
    m2 = total[0] ** 2 - (total[1:] ** 2).sum()
    expected = [float(m2.log()), math.log(math.hypot(0.8, 0.8)), math.log(0.7 * math.hypot(0.8, 0.8))]
    torch.testing.assert_close(pair_features(a, b, False)[0], torch.tensor(expected), atol=1e-5, rtol=0)
    assert not pair_features(a, a, False).any()


@pytest.mark.parametrize("num_coord", [2, 3])
@pytest.mark.parametrize("wrap", [True, False])
def test_nearest_neighbours(num_coord: int, wrap: bool, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """Oracle: sort distances event by event. Nobody is his own neighbour, even beside a twin at the same place."""
    model = PET2(settings("pet2-small", depth=1, num_coord=num_coord, wrap_azimuth=wrap), cloud_shape, CLASSES)
    cloud = make_cloud(cloud_shape, (0, 1, 2, 9, 14, 14))
    x = Packing.of(cloud["mask"]).pack(cloud["tokens"])[:, :4]
    x[0 + 1 + 2] = x[1 + 2 + 1]  # a twin in the event of 9
    neighbours, around = model.body.local_physics.nearest(x, Packing.of(cloud["mask"]).groups)
    assert around == ((1, 0), (2, 1), (9, 8), (28, 10))
    start, found = 0, iter(neighbours.tolist())
    for members in (1, 2, 9, 14, 14):
        own = x[start : start + members].double()
        for i in range(members):
            delta = own - own[i]
            if wrap:
                delta[:, 1] = torch.atan2(delta[:, 1].sin(), delta[:, 1].cos())
            distance = delta[:, :num_coord].norm(dim=1).tolist()
            expected = sorted((j for j in range(members) if j != i), key=lambda j: distance[j])[:10]
            assert {next(found) for _ in expected} == {start + j for j in expected}
        start += members
    assert next(found, None) is None
