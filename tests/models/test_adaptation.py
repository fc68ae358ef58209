"""Frozen, full, LoRA: which parameters change in a step, and at which rate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nuadapt.errors import ConfigError
from nuadapt.models.adaptation import Adaptation, adapt, parameter_groups
from nuadapt.models.cloud import CloudShape
from nuadapt.models.registry import build_model, load_preset

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


def changed(model: nn.Module, choice: Adaptation, cloud: dict[str, Tensor], fresh: tuple[str, ...] = FRESH) -> set[str]:
    """Names of what is different after two steps; the up-projection of LoRA is zero before the first."""
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    update = torch.optim.Adam(parameter_groups(model, choice, lr=1e-2, weight_decay=0.1, fresh=fresh))
    for _ in range(2):
        update.zero_grad()
        model(**cloud, labels=torch.tensor([0, 1]))["loss"].backward()
        update.step()
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def test_full_trains_everything_the_backbone_slower(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    choice = Adaptation(backbone_lr=0.05)
    model = adapt(network(cloud_shape), choice, FRESH)
    rates = {}
    names = {id(p): n for n, p in model.named_parameters()}
    for group in parameter_groups(model, choice, lr=1e-3, weight_decay=0.1, fresh=FRESH):
        for parameter in group["params"]:
            name = names.pop(id(parameter))
            rates[name] = group["lr"]
            assert group["weight_decay"] == (0.1 if parameter.ndim == 2 else 0.0), name
    assert not names, "every parameter is in one group"
    assert {n for n, rate in rates.items() if rate == 1e-3} == {
        *FRESH,
        *(n for n in rates if n.startswith("classifier.")),
    }
    assert {rate for n, rate in rates.items() if n.startswith("body.") and n not in FRESH} == {0.05 * 1e-3}
    assert changed(model, choice, make_cloud(cloud_shape, (12, 5))) == set(rates)


def test_frozen_trains_the_head_and_what_is_new(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    choice = Adaptation("frozen")
    model = adapt(network(cloud_shape), choice, FRESH)
    heads = {n for n, _ in model.named_parameters() if n.startswith("classifier.")}
    assert changed(model, choice, make_cloud(cloud_shape, (12, 5))) == heads | IN_BODY
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
    found = changed(model, choice, cloud)
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
    assert {g["lr"] for g in parameter_groups(model, choice, lr=1e-3)} == {1e-3}


def test_impossible_choices(cloud_shape: CloudShape) -> None:
    mlp = build_model(load_preset("mlp-global"), cloud=cloud_shape, classes=("a", "b"))
    for mode in ("full", "frozen", "lora"):
        with pytest.raises(ConfigError, match="GlobalMLP has no pretrained backbone"):
            adapt(mlp, Adaptation(mode))
    for wrong in ({"backbone_lr": 0}, {"backbone_lr": 2}, {"rank": 0}, {"alpha": -1}):
        with pytest.raises(ConfigError, match="impossible"):
            Adaptation("lora", **wrong)
