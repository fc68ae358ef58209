"""Frozen, full, LoRA: which parameters change in a step, and at which rate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nuadapt.errors import ConfigError
from nuadapt.models.adaptation import Adaptation, adapt, lr_factors
from nuadapt.models.cloud import CloudShape
from nuadapt.models.registry import build_model, load_preset
from nuadapt.training.engine import rate_of

Maker = Callable[..., dict[str, Tensor]]
FRESH = (
    "body.cond_embed.0.fc1.weight",
    "body.cond_embed.0.fc1.bias",
    "body.pid_embed.0.weight",
    "classifier.out.weight",
)
IN_BODY = {name for name in FRESH if name.startswith("body.")}


def network(shape: CloudShape) -> nn.Module:
    torch.manual_seed(1)
    return build_model(load_preset("pet2-small") | {"depth": 1, "width": 32}, cloud=shape, classes=("a", "b"))


def rates(model: nn.Module, choice: Adaptation) -> dict[str, float]:
    """Relative learning rate of each trained parameter, as the engine gives it."""
    factors = lr_factors(choice, "body", FRESH)
    return {n: rate_of(n, factors) for n, p in model.named_parameters() if p.requires_grad}


def changed(model: nn.Module, cloud: dict[str, Tensor]) -> set[str]:
    """Names of what is different after two steps; the up-projection of LoRA is zero before the first."""
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    update = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        update.zero_grad()
        model(**cloud, labels=torch.tensor([0, 1]))["loss"].backward()
        update.step()
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def test_full_trains_everything_the_backbone_slower(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    choice = Adaptation(backbone_lr=0.05)
    model = adapt(network(cloud_shape), choice, FRESH)
    found = rates(model, choice)
    assert found.keys() == dict(model.named_parameters()).keys()
    slow = {n for n in found if n.startswith("body.") and n not in FRESH}
    assert found == {n: 0.05 if n in slow else 1.0 for n in found}
    assert changed(model, make_cloud(cloud_shape, (12, 5))) == found.keys()


def test_frozen_trains_the_head_and_what_is_new(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    model = adapt(network(cloud_shape), Adaptation("frozen"), FRESH)
    heads = {n for n, _ in model.named_parameters() if n.startswith("classifier.")}
    assert changed(model, make_cloud(cloud_shape, (12, 5))) == heads | IN_BODY
    again = adapt(model, Adaptation("full"))
    assert all(p.requires_grad for p in again.parameters())


def test_lora_trains_updates_the_head_and_what_is_new(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    pytest.importorskip("peft", reason="low-rank updates need peft")
    choice, cloud = Adaptation("lora", rank=2), make_cloud(cloud_shape, (12, 5))
    plain = network(cloud_shape)
    with torch.inference_mode():
        expected = plain(**cloud)["logits"]
    model = adapt(plain, choice, FRESH)
    with torch.inference_mode():
        torch.testing.assert_close(model(**cloud)["logits"], expected)  # fresh updates change nothing yet
    found = changed(model, cloud)
    assert found == {n for n, p in model.named_parameters() if p.requires_grad}
    kinds = {n: "lora" if ".lora_" in n else "new" if ".modules_to_save." in n else "base" for n in found}
    assert set(kinds.values()) == {"lora", "new"}
    lora = {n.removeprefix("base_model.model.").partition(".lora_")[0] for n, kind in kinds.items() if kind == "lora"}
    linear = {n for n, m in network(cloud_shape).body.named_modules(prefix="body") if isinstance(m, nn.Linear)}
    assert lora == linear - {"body.cond_embed.0.fc1"}
    new = {
        n.removeprefix("base_model.model.").partition(".modules_to_save")[0]
        for n, kind in kinds.items()
        if kind == "new"
    }
    assert new == {"classifier", "body.cond_embed.0.fc1", "body.pid_embed.0"}
    assert set(rates(model, choice).values()) == {1.0}


def test_impossible_choices(cloud_shape: CloudShape) -> None:
    mlp = build_model(load_preset("mlp-global"), cloud=cloud_shape, classes=("a", "b"))
    for mode in ("full", "frozen", "lora"):
        with pytest.raises(ConfigError, match="GlobalMLP has no pretrained backbone"):
            adapt(mlp, Adaptation(mode))
    for wrong in ({"backbone_lr": 0}, {"backbone_lr": 2}, {"rank": 0}, {"alpha": -1}):
        with pytest.raises(ConfigError, match="impossible"):
            Adaptation("lora", **wrong)
