"""Pretraining of PET2: losses of the package ``omnilearned`` 0.2.0 from the same weights and draws, and the flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.cloud import CloudShape
from nuadapt.models.pet2 import PET2
from nuadapt.models.pet2_generator import PET2Pretraining, measured
from nuadapt.models.registry import build_model, load_preset
from nuadapt.models.weights import load_foreign

Cloud = dict[str, Tensor]
Maker = Callable[..., Cloud]
CLASSES = ("one", "two", "three", "four", "five")
RAGGED = (5, 1, 33, 12, 7, 10, 11, 2)  # around K = 10 neighbours, and a single token
LABELS = torch.tensor([0, 4, 2, 2, 1, 3, 0, 1])
#: Noise of the package, which is that of jets whatever the events are.
JETS = {"mean": [0.0, 0.0, 1.11398, 1.43384], "spread": [0.270949, 0.27426, 1.30273, 1.33559]}


@pytest.fixture(scope="module")
def package() -> ModuleType:
    why = "parity needs the reference: pip install --no-deps omnilearned==0.2.0 einops torchdiffeq"
    return pytest.importorskip("omnilearned.network", reason=why)


def settings(**changes: Any) -> dict[str, Any]:
    return load_preset("pet2-small-pretraining") | {"wrap_azimuth": False, "depth": 2, "noise": JETS} | changes


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
        mode="pretrain",
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


def pair(package: ModuleType, given: dict[str, Any], shape: CloudShape) -> tuple[PET2Pretraining, nn.Module]:
    """Ours and the package's network with equal weights, by equal names."""
    other, ours = theirs(package, given, shape), PET2Pretraining(given, shape, CLASSES)
    ours.load_state_dict(other.state_dict())
    return ours, other


@contextmanager
def in_double() -> Iterator[None]:
    """New numbers are float64, and ``.float()``, as which the package writes its masks and we our losses, too."""
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tensor, "float", Tensor.double)
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def their_outputs(network: nn.Module, cloud: Cloud, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    clean = torch.where(cloud["mask"][..., None], cloud["tokens"], 0)
    found: dict[str, Tensor] = network(clean[..., :4], LABELS, cloud["globals"], cloud["type"], clean[..., 4:])
    return found


def their_loss(found: dict[str, Tensor], mask: Tensor) -> Tensor:
    """Cross-entropy, squared error of the velocities by event and token, cross-entropy of noised events by alpha^2."""
    flow = (found["v"] - found["z_pred"]).square() * mask[..., None]
    each = flow.sum((1, 2)) / mask.sum(1)
    noised = found["alpha"].flatten() * F.cross_entropy(found["y_perturb"], LABELS, reduction="none")
    return F.cross_entropy(found["y_pred"], LABELS) + (each + noised).mean()


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())


def doubled(cloud: Cloud) -> Cloud:
    return {k: v.double() if v.is_floating_point() else v for k, v in cloud.items()}


@pytest.mark.parametrize("lacks", ["nothing", "globals", "all"])
def test_outputs_and_gradients_are_those_of_the_package(
    package: ModuleType, lacks: str, cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    """Same weights, same draws of times and noise: velocities, scores, loss and every gradient to 1e-5."""
    shape = replace(cloud_shape, n_globals=0) if lacks != "nothing" else cloud_shape
    shape = replace(shape, n_types=0, columns=shape.columns[:4]) if lacks == "all" else shape
    ours, other = pair(package, settings(), shape)
    ours, other, cloud = ours.double().train(), other.double(), doubled(make_cloud(shape, RAGGED))
    with in_double():
        expected = their_outputs(other, cloud, 8)
        torch.manual_seed(8)
        found = ours(**cloud, labels=LABELS)
        loss = their_loss(expected, cloud["mask"])
        torch.manual_seed(8)
        time, noise = ours.draw(cloud["tokens"])
        x = torch.where(cloud["mask"][..., None], cloud["tokens"][..., :4], 0)
        z = ours.with_kinematics(cloud["tokens"], x + time[:, None, None] * (noise - x))
        velocity = ours.velocity(**cloud | {"tokens": z}, labels=LABELS, time=time)
    assert apart(velocity, expected["z_pred"]) < 1e-5
    assert apart(found["logits"], expected["y_pred"]) < 1e-5
    assert apart(found["loss"], loss) < 1e-5
    found["loss"].backward()
    loss.backward()
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, parameter in other.named_parameters():
        assert parameter.grad is not None, name
        assert apart(gradients[name], parameter.grad) < 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"depth": 8}, {"local_interaction": True}, {"width": 512, "heads": 16}])
def test_velocities_of_other_sizes(
    package: ModuleType, changes: dict[str, Any], cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    ours, other = pair(package, settings(**changes), cloud_shape)
    cloud = make_cloud(cloud_shape, RAGGED)
    time = torch.linspace(0.05, 0.95, len(RAGGED))
    clean = torch.where(cloud["mask"][..., None], cloud["tokens"], 0)
    with torch.inference_mode():
        rows = other.body(clean[..., :4], cloud["globals"], cloud["type"], clean[..., 4:], time)
        expected = other.generator(rows, LABELS)
        assert apart(ours.velocity(**cloud, labels=LABELS, time=time), expected) < 1e-5


def test_random_weights_are_drawn_as_in_the_package(package: ModuleType, cloud_shape: CloudShape) -> None:
    """Same spread of every tensor, frequencies and phases of the time included."""
    other = theirs(package, settings(depth=1), cloud_shape).state_dict()
    torch.manual_seed(4)
    ours = PET2Pretraining(settings(depth=1), cloud_shape, CLASSES).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in other.items()}
    for name, tensor in other.items():
        if tensor.numel() > 400:
            torch.testing.assert_close(ours[name].std(), tensor.std(), rtol=0.15, atol=1e-6)
        if len(tensor.unique()) == 1:
            torch.testing.assert_close(ours[name], tensor)


def test_a_pretraining_checkpoint_of_the_package_loads_whole(
    package: ModuleType, cloud_shape: CloudShape, tmp_path: Any
) -> None:
    """One section for each part, as the package saves them: nothing is left over on either side."""
    given = settings(depth=1)
    other, ours = theirs(package, given, cloud_shape), PET2Pretraining(given, cloud_shape, CLASSES)
    sections = {"body": "body", "classifier": "classifier_head", "generator": "generator_head"}
    torch.save({theirs: getattr(other, part).state_dict() for part, theirs in sections.items()}, tmp_path / "c.pt")
    report = load_foreign(ours, tmp_path / "c.pt", layout="omnilearned")
    assert (report.fraction, report.fresh, report.unused) == (1.0, (), ())
    for name, tensor in other.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def model(shape: CloudShape, **changes: Any) -> PET2Pretraining:
    torch.manual_seed(2)
    return PET2Pretraining(settings(**{"depth": 1} | changes), shape, CLASSES)


def test_without_labels_it_is_pet2(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """The clean events pass without a time, so what was learned is a PET2 as it stands."""
    ours, cloud = model(cloud_shape), make_cloud(cloud_shape)
    plain = PET2(load_preset("pet2-small") | {"depth": 1, "wrap_azimuth": False}, cloud_shape, CLASSES)
    there = plain.load_state_dict(ours.state_dict(), strict=False)
    assert there.missing_keys == []
    assert all(n.startswith(("generator.", "body.MPFourier.", "body.time_embed.")) for n in there.unexpected_keys)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(**cloud)["logits"], plain.eval()(**cloud)["logits"])


def test_loss_is_a_weighted_mean_over_events(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """Events of no weight do not count, an event of no tokens learns no velocity, padding never matters."""
    ours, cloud = model(cloud_shape).eval(), make_cloud(cloud_shape, (4, 0, 9))
    labels, weight = torch.tensor([1, 2, 3]), torch.tensor([2.0, 1.0, 0.0])
    found = ours(**cloud, labels=labels, weight=weight)
    ce = F.cross_entropy(found["logits"], labels, reduction="none")
    torch.testing.assert_close(found["loss"], (weight * (ce + found["generation"])).sum() / 3)
    again = ours(**cloud, labels=labels, weight=weight)
    assert torch.equal(again["loss"], found["loss"])  # the draws of validation are fixed
    other = cloud | {"tokens": torch.where(cloud["mask"][..., None], cloud["tokens"], -55.0)}
    torch.testing.assert_close(ours(**other, labels=labels, weight=weight)["loss"], found["loss"])
    before = torch.random.get_rng_state()
    ours(**cloud, labels=labels)
    assert torch.equal(torch.random.get_rng_state(), before)  # and leave those of training alone
    ours.train()
    assert ours(**cloud, labels=labels)["loss"] != ours(**cloud, labels=labels)["loss"]


def test_every_parameter_learns(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    ours, cloud = model(cloud_shape), make_cloud(cloud_shape)
    ours(**cloud, labels=torch.arange(6) % 5)["loss"].backward()
    assert [name for name, p in ours.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_flow_ends_at_the_data(cloud_shape: CloudShape, make_cloud: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: all data at one place x0 have the velocity (z - x0) / t, along which all noise goes to x0."""
    ours, cloud, x0 = model(cloud_shape).eval(), make_cloud(cloud_shape), torch.tensor([0.3, -0.2, 1.0, 2.0])

    def exact(tokens: Tensor, time: Tensor, **_: Tensor) -> Tensor:
        return (tokens[..., :4] - x0) / time[:, None, None]

    monkeypatch.setattr(ours, "velocity", exact)
    made = ours.generate(**cloud, labels=torch.zeros(6, dtype=torch.long), steps=16)
    torch.testing.assert_close(made[cloud["mask"]][:, :4], x0.expand(int(cloud["mask"].sum()), 4))
    torch.testing.assert_close(made[..., 4:], cloud["tokens"][..., 4:])
    assert torch.equal(made[~cloud["mask"]], cloud["tokens"][~cloud["mask"]])


def test_what_is_generated_depends_on_the_class(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    ours, cloud = model(cloud_shape).eval(), make_cloud(cloud_shape, (7, 9))
    one, same, other = (ours.generate(**cloud, labels=torch.tensor(two), steps=2) for two in ([0, 0], [0, 0], [0, 1]))
    assert torch.equal(one, same)
    assert torch.allclose(one[0], other[0])
    assert not torch.allclose(one[1], other[1])


def test_noise_is_measured(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    cloud = make_cloud(cloud_shape, (400, 300))
    noise = measured(cloud_shape, cloud)["noise"]
    x = cloud["tokens"][cloud["mask"]][:, :4]
    assert noise["mean"] == pytest.approx(x.mean(0).tolist(), abs=1e-4)
    assert noise["spread"] == pytest.approx(x.std(0).tolist(), abs=1e-4)
    ours = PET2Pretraining(settings(depth=1, noise=noise), cloud_shape, CLASSES)
    _, drawn = ours.draw(torch.zeros(50, 400, 9))
    torch.testing.assert_close(drawn.mean((0, 1)), x.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std((0, 1)), x.std(0), atol=0.03, rtol=0)
    with pytest.raises(DataError, match="no tokens"):
        measured(cloud_shape, make_cloud(cloud_shape, (0, 0)))


def test_the_time_is_nothing_where_there_is_no_noise(cloud_shape: CloudShape) -> None:
    waves = model(cloud_shape).body.MPFourier
    assert waves is not None
    made = waves(torch.tensor([0.0, 0.5, 1.0]))
    assert not made[0].any()
    assert made[2].abs().max() <= math.sqrt(2)


def test_an_energy_cannot_be_pretrained(cloud_shape: CloudShape) -> None:
    with pytest.raises(ConfigError, match="asks for an energy"):
        build_model(load_preset("pet2-small-pretraining"), classes=(), cloud=cloud_shape)


@pytest.mark.parametrize("size", ["xsmall", "small", "medium"])
def test_presets_are_those_of_the_model_that_takes_over(size: str) -> None:
    plain, own = load_preset(f"pet2-{size}"), load_preset(f"pet2-{size}-pretraining")
    assert own == plain | {"family": "pet2-pretraining"}
