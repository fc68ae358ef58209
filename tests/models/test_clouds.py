"""What holds for every model of particle clouds: sizes, loss and answer, masks, symmetries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.cloud import CloudModel, CloudShape
from nuadapt.models.loss import log_smooth_l1
from nuadapt.models.ragged import Attention, Packing, blocks, detach_front, prepend
from nuadapt.models.registry import build_model, count_parameters, load_preset, preset_names

Cloud = dict[str, Tensor]
Maker = Callable[..., Cloud]
CLASSES = ("one", "two", "three", "four", "five")
#: Every family; of PET2 the least depth at which all its parts are there.
SMALL = {"pet2-small": {"depth": 1, "width": 32}, "transformer-xsmall": {"depth": 2, "width": 32}}
PRESETS = ("mlp-global", *SMALL)


def build(preset: str, shape: CloudShape, classes: tuple[str, ...] = CLASSES, **changes: object) -> CloudModel:
    torch.manual_seed(1)
    model = build_model(load_preset(preset) | SMALL.get(preset, {}) | changes, cloud=shape, classes=classes)
    assert isinstance(model, CloudModel)
    return model


@pytest.mark.parametrize(
    ("preset", "published", "within"),
    [
        ("mlp-global", 284e3, 0.03),
        ("transformer-xsmall", 800e3, 0.05),
        ("transformer-small", 3e6, 0.1),
        ("pet2-small", 3e6, 0.1),
        ("pet2-medium", 53e6, 0.03),
    ],
)
def test_sizes_as_published(preset: str, published: float, within: float, cloud_shape: CloudShape) -> None:
    with torch.device("meta"):
        model = build_model(load_preset(preset), cloud=cloud_shape, classes=CLASSES)
    assert abs(count_parameters(model)["total"] / published - 1) < within


def test_every_cloud_preset_is_tested_here() -> None:
    clouds = {p for p in preset_names() if load_preset(p)["representation"] == "cloud"}
    trees = {"gbdt-global"}  # no gradients: test_gbdt.py
    pretraining = {f"pet2-{size}-pretraining" for size in ("xsmall", "small", "medium")}  # test_pet2_generator.py
    published = {"mlp-global", "transformer-xsmall", "transformer-small", "pet2-small", "pet2-medium"}
    assert clouds - trees - pretraining == {*published, "pet2-xsmall"}  # the last is pet2-small with other sizes


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_learns(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    model = build(preset, cloud_shape)
    cloud = make_cloud(cloud_shape)
    out = model(**cloud, labels=torch.arange(6) % 5)
    out["loss"].backward()
    assert out["logits"].shape == (6, 5)
    torch.testing.assert_close(out["loss"], F.cross_entropy(out["logits"], torch.arange(6) % 5))
    silent = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert silent == []


@pytest.mark.parametrize("preset", PRESETS)
def test_energies_are_positive_and_learn(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    model = build(preset, cloud_shape, ())
    cloud = make_cloud(cloud_shape)
    assert set(model(**cloud)) == {"energy"}
    weight = torch.tensor([1.0, 2, 0, 1, 1, 1])
    target = torch.tensor([0.0, 0.5, 1e6, 2, 4, 8])
    out = model(**cloud, targets=target, weight=weight)
    assert out["energy"].shape == (6,)
    assert (out["energy"] > 0).all()
    torch.testing.assert_close(out["loss"], log_smooth_l1(out["energy"], target, weight))
    out["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_log_smooth_l1_by_hand() -> None:
    energy, target = torch.tensor([0.0, 1.0, 9.0]), torch.tensor([0.0, 0.0, 0.0])
    ln2, ln10 = torch.log(torch.tensor([2.0, 10.0]))
    each = torch.stack([torch.tensor(0.0), ln2**2 / 2, ln10 - 0.5])  # below a distance of 1 a parabola, above a line
    weight = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(log_smooth_l1(energy, target), each.mean())
    torch.testing.assert_close(log_smooth_l1(target, energy), each.mean())
    torch.testing.assert_close(log_smooth_l1(energy, target, weight), (each * weight).sum() / 6)
    torch.testing.assert_close(log_smooth_l1(energy, target, weight, torch.tensor(12.0)), (each * weight).sum() / 12)
    assert log_smooth_l1(energy, target, torch.zeros(3)) == 0


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=15)
@given(lengths=st.lists(st.integers(0, 14), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_padding_and_order_never_matter(
    preset: str, lengths: list[int], seed: int, cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    """Neither of tokens, nor of events, nor what stands in padded places; each event is answered by itself."""
    model = build(preset, cloud_shape).eval()
    cloud = make_cloud(cloud_shape, tuple(lengths), seed)
    with torch.inference_mode():
        expected = model(**cloud)["logits"]
        dirty = cloud | {
            "tokens": torch.where(cloud["mask"][..., None], cloud["tokens"], torch.nan),
            "type": torch.where(cloud["mask"], cloud["type"], 99),
        }
        random = torch.Generator().manual_seed(seed)
        places, events = (torch.randperm(n, generator=random) for n in reversed(cloud["mask"].shape))
        shuffled = {k: v[events] if k == "globals" else v[events][:, places] for k, v in dirty.items()}
        torch.testing.assert_close(model(**shuffled)["logits"], expected[events])
        for event in range(len(lengths)):
            real = cloud["mask"][event]
            alone = {k: v[event : event + 1] if k == "globals" else v[event, real][None] for k, v in cloud.items()}
            torch.testing.assert_close(model(**alone)["logits"], expected[event : event + 1])


@pytest.mark.parametrize("preset", list(SMALL))
def test_a_token_of_pt_one_is_a_token(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """ln pT = 0 is a measurement, not padding: the token counts, and a tiny change of its pT changes little."""
    model = build(preset, cloud_shape).eval()
    cloud = make_cloud(cloud_shape, (4, 6))
    at = cloud["mask"][0].nonzero()[0, 0], cloud_shape.indices("log_pt")[0]
    cloud["tokens"][0, *at] = 0.0
    nearly = cloud | {"tokens": cloud["tokens"].clone()}
    nearly["tokens"][0, *at] = 1e-6
    without = cloud | {"mask": cloud["mask"].clone()}
    without["mask"][0, at[0]] = False
    with torch.inference_mode():
        logits, near, gone = (model(**c)["logits"][0] for c in (cloud, nearly, without))
    torch.testing.assert_close(logits, near, atol=1e-5, rtol=0)
    assert (logits - gone).abs().max() > 1e-4


@pytest.mark.parametrize("preset", list(SMALL))
def test_every_type_learns_and_zero_is_refused(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    model = build(preset, cloud_shape)
    cloud = make_cloud(cloud_shape)
    model(**cloud, labels=torch.arange(6) % 5)["loss"].backward()
    table = next(m for m in model.modules() if isinstance(m, nn.Embedding)).weight
    assert table.grad is not None
    assert table.grad[1:].any(1).all()
    assert not table[0].any()
    for wrong in (0, cloud_shape.n_types + 1):
        with pytest.raises(DataError, match=r"Expected: 1 to 5; 0 is padding"):
            model(**cloud | {"type": torch.where(cloud["mask"], wrong, 0)})


@pytest.mark.parametrize("preset", PRESETS)
def test_features_matter(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """Every named column, the type and every event-level feature reach the answer; but the MLP sees no token."""
    model = build(preset, cloud_shape).eval()
    cloud = make_cloud(cloud_shape, (6, 9))
    leaves = {k: cloud[k].requires_grad_() for k in ("tokens", "globals")}
    model(**cloud)["logits"].square().sum().backward()
    of_tokens, of_globals = leaves["tokens"].grad, leaves["globals"].grad
    assert of_globals is not None
    assert of_globals.any(0).all()
    if preset == "mlp-global":
        assert of_tokens is None
        return
    assert of_tokens is not None
    assert of_tokens.isfinite().all()
    assert of_tokens[cloud["mask"]].any(0).all()
    assert not of_tokens[~cloud["mask"]].any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("lacks", ["types", "globals", "further", "all"])
def test_clouds_that_offer_less(preset: str, lacks: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """All parameters that are built are used, and events without any token get a finite answer."""
    shape = cloud_shape
    if lacks in ("types", "all"):
        shape = replace(shape, n_types=0)
    if lacks in ("globals", "all"):
        shape = replace(shape, n_globals=0)
    if lacks in ("further", "all"):
        shape = replace(shape, columns=shape.columns[:4])
    if preset == "mlp-global" and not shape.n_globals:
        with pytest.raises(ConfigError, match="no event-level features"):
            build(preset, shape)
        return
    model = build(preset, shape)
    out = model(**make_cloud(shape, (0, 3, 12)), labels=torch.tensor([0, 1, 2]))
    out["loss"].backward()
    assert out["logits"].isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("preset", list(SMALL))
def test_columns_are_found_by_name(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    """PET2 gives the same answer for kinematic columns in another order."""
    model = build(preset, cloud_shape).eval()
    if preset.startswith("pet2"):
        # Columns beyond the four kinematic ones keep their order among each other.
        order = [2, 4, 0, 5, 3, 6, 1, 7, 8]
        moved = replace(cloud_shape, columns=tuple(cloud_shape.columns[i] for i in order))
        other = build(preset, moved).eval()
        other.load_state_dict(model.state_dict())
        cloud = make_cloud(cloud_shape)
        with torch.inference_mode():
            a, b = model(**cloud), other(**cloud | {"tokens": cloud["tokens"][..., order]})
        torch.testing.assert_close(a, b)
    with pytest.raises(ConfigError, match="did you mean 'eta_'"):
        build(preset, replace(cloud_shape, columns=("eta_", *cloud_shape.columns[1:])))


@pytest.mark.parametrize("preset", PRESETS)
def test_saved_and_loaded(
    preset: str, cloud_shape: CloudShape, make_cloud: Maker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, cloud = build(preset, cloud_shape).eval(), make_cloud(cloud_shape)
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_file(model.state_dict(), path)
    torch.manual_seed(2)
    again = build_model(load_preset(preset) | SMALL.get(preset, {}), cloud=cloud_shape, classes=CLASSES).eval()
    again.load_state_dict(load_file(path))
    with torch.inference_mode():
        assert torch.equal(model(**cloud)["logits"], again(**cloud)["logits"])


@pytest.mark.parametrize("preset", PRESETS)
def test_bfloat16_is_close(preset: str, cloud_shape: CloudShape, make_cloud: Maker) -> None:
    model, cloud = build(preset, cloud_shape), make_cloud(cloud_shape)
    full = model(**cloud)["logits"]
    with torch.autocast("cpu", torch.bfloat16):
        out = model(**cloud, labels=torch.arange(6) % 5)
    out["loss"].backward()
    assert out["logits"].dtype == torch.float32
    torch.testing.assert_close(out["logits"], full, atol=0.05, rtol=0)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokens", lambda t: t[..., :-1]),
        ("type", lambda t: t[:, :-1]),
        ("mask", lambda t: t[:-1]),
        ("mask", lambda t: t.float()),
        ("globals", lambda t: t[:, :-1]),
    ],
)
def test_wrong_shapes_are_refused(
    name: str, change: Callable[[Tensor], Tensor], cloud_shape: CloudShape, make_cloud: Maker
) -> None:
    cloud = make_cloud(cloud_shape)
    with pytest.raises(DataError, match=name):
        build("pet2-small", cloud_shape)(**cloud | {name: change(cloud[name])})


def test_a_batch_of_no_events_is_refused(cloud_shape: CloudShape, make_cloud: Maker) -> None:
    with pytest.raises(DataError, match="of some events"):
        build("pet2-small", cloud_shape)(**{k: v[:0] for k, v in make_cloud(cloud_shape).items()})


def test_impossible_models_are_refused(cloud_shape: CloudShape) -> None:
    with pytest.raises(ConfigError, match="one class"):
        build("mlp-global", cloud_shape, ("one",))
    with pytest.raises(ConfigError, match="num_coord 4"):
        build("pet2-small", cloud_shape, num_coord=4)
    with pytest.raises(ConfigError, match=r"no negative number"):
        CloudShape(cloud_shape.columns, -1)
    with pytest.raises(ConfigError, match=r"cannot be built from n_views.*cloud for cloud"):
        build_model(load_preset("pet2-small"), n_views=2, classes=CLASSES)
    with pytest.raises(ConfigError, match=r"cannot be built from cloud"):
        build_model(load_preset("siamese-cnn-small"), cloud=cloud_shape, classes=CLASSES)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(0, 99))
def test_packing_keeps_every_token_once(lengths: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    mask = torch.stack([torch.randperm(7, generator=random) < n for n in lengths])
    packing = Packing.of(mask)
    number = torch.arange(mask.numel()).reshape(mask.shape)
    rows = packing.pack(number)
    assert sorted(rows.tolist()) == number[mask].tolist()
    assert [m for s, m in packing.groups for _ in range(s)] == sorted(lengths)
    for part, events in zip(
        blocks(rows, packing.groups), packing.order.split([s for s, _ in packing.groups]), strict=True
    ):
        assert torch.equal(part // 7, events[:, None].expand_as(part)), "a set is the tokens of one event"
    assert torch.equal(packing.restore(packing.order), torch.arange(len(lengths)))
    front = torch.rand(len(lengths), 2, 3)
    values = torch.rand(len(rows), 3)
    first, rest, groups = detach_front(*prepend(front, values, packing.groups), 2)
    assert torch.equal(first, front)
    assert torch.equal(rest, values)
    assert groups == packing.groups


def test_attention_is_that_of_torch() -> None:
    """Oracle: torch.nn.MultiheadAttention, one set at a time."""
    torch.manual_seed(1)
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    groups = ((2, 1), (1, 3), (2, 5))
    rows, bias = torch.randn(15, 16), [torch.randn(s, 4, m, m) for s, m in groups]
    queries = torch.randn(5, 2, 16)
    found, asked = ours(rows, groups, bias), ours.ask(queries, rows, groups)
    start, event = 0, 0
    for (sets, members), terms in zip(groups, bias, strict=True):
        for i in range(sets):
            own = rows[start : start + members]
            expected = theirs(own, own, own, attn_mask=terms[i], need_weights=False)[0]
            torch.testing.assert_close(found[start : start + members], expected)
            expected = theirs(queries[event], own, own, need_weights=False)[0]
            torch.testing.assert_close(asked[event], expected)
            start, event = start + members, event + 1
