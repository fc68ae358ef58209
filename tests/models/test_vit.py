"""The tower on occupied patches against the whole grid, the classifier on top of it, and its pretraining."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nuadapt.errors import ConfigError, DataError, InputFileError
from nuadapt.models.registry import build_model
from nuadapt.models.targets import TARGET_NAMES
from nuadapt.models.vision_tower import encode, new_tower, occupied, on_grid, resized, tower_config
from nuadapt.models.vit import ViT, auxiliary_loss, start
from nuadapt.models.vit_pretraining import ViTPretraining, _joined, _patches
from nuadapt.training.engine import save_weights

SHAPE = {
    "image_size": 64,
    "patch_size": 8,
    "stem": [[4, 0], [8, 1], [8, 1]],
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}
PRESET = {
    "family": "vit",
    "representation": "pixelmap",
    "vision": SHAPE,
    "occupied_above": 0.05,
    "head_width": 16,
    "dropout": 0.1,
    "auxiliary_weight": 1.0,
}

MASKED = PRESET | {
    "family": "vit-pretraining",
    "hidden_share": 0.6,
    "filler": {"width": 16, "depth": 2, "heads": 2},
}


def sparse(n: int, seed: int = 0) -> torch.Tensor:
    """Images (n, 64, 64) with few occupied patches, from one to most of them."""
    random = torch.Generator().manual_seed(seed)
    patches = torch.rand(n, 8, 8, generator=random) < torch.linspace(0.02, 0.9, n)[:, None, None]
    return torch.rand(n, 64, 64, generator=random) * patches.repeat_interleave(8, 1).repeat_interleave(8, 2)


def make(n_views: int = 2) -> ViT:
    torch.manual_seed(1)
    model = build_model(PRESET, n_views=n_views, classes=("a", "b", "c"))
    assert isinstance(model, ViT)
    return model.eval()


@torch.no_grad()
def test_occupied_patches_give_what_the_whole_grid_gives_with_empty_ones_masked() -> None:
    torch.manual_seed(0)
    tower = new_tower(tower_config(SHAPE)).eval()
    images = sparse(40)  # more than one group
    keep = occupied(images, 8, 0.05)
    hidden = tower.embeddings(images[:, None], torch.ones(40, 8, 8, dtype=torch.bool))
    hide = torch.zeros(40, 1, 1, 64).masked_fill(~keep[:, None, None], torch.finfo(torch.float32).min)
    for layer in tower.encoder.layers:
        hidden = layer(hidden, hide)
    expected = tower.post_layernorm(hidden) * keep[..., None]
    torch.testing.assert_close(on_grid(encode(tower, images, keep), keep), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_all_patches_give_what_the_library_gives() -> None:
    tower = new_tower(tower_config(SHAPE)).eval()
    images = sparse(5)
    everything = torch.ones(5, 64, dtype=torch.bool)
    expected = tower(images[:, None]).last_hidden_state.flatten(0, 1)
    torch.testing.assert_close(encode(tower, images, everything), expected, atol=1e-5, rtol=0)


def test_occupied_is_where_a_pixel_is_bright() -> None:
    images = torch.zeros(2, 64, 64)
    images[0, 9, 63], images[0, 40, 0], images[0, 63, 63] = 0.3, 0.04, 1.0
    keep = occupied(images, 8, 0.05)
    assert keep[0].nonzero().flatten().tolist() == [1 * 8 + 7, 63]
    assert keep[1].nonzero().flatten().tolist() == [4 * 8 + 4]  # an empty image keeps its middle


def test_resized_repeats_or_averages() -> None:
    image = torch.arange(16.0).reshape(1, 4, 4)
    assert resized(image, 8)[0, :2, :2].unique().tolist() == [0.0]
    assert resized(image, 2)[0, 0, 0] == image[0, :2, :2].mean()
    assert resized(image, 4) is image


@torch.no_grad()
def test_answers_do_not_depend_on_the_batch() -> None:
    model, images = make(), sparse(12).reshape(6, 2, 64, 64)
    whole = model(pixels=images)["logits"]
    single = torch.cat([model(pixels=image[None])["logits"] for image in images])
    torch.testing.assert_close(whole, single, atol=1e-5, rtol=0)
    assert whole.std(dim=0).min() > 1e-4


def test_every_weight_learns() -> None:
    model = make().train()
    targets = torch.rand(6, len(TARGET_NAMES))
    model(sparse(12).reshape(6, 2, 64, 64), labels=torch.arange(6) % 3, targets=targets)["loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_unknown_targets_teach_nothing() -> None:
    given, targets = torch.rand(3, 4, requires_grad=True), torch.rand(3, 4)
    targets[0] = torch.nan
    targets[1, 2:] = torch.nan
    loss = auxiliary_loss(given, targets, None, None)
    loss.backward()
    off = torch.nn.functional.smooth_l1_loss(given, targets, reduction="none")
    torch.testing.assert_close(loss, (off[1, :2].mean() + off[2].mean()) / 3)
    assert given.grad is not None
    assert given.grad[0].abs().sum() == 0
    assert given.grad[1, 2:].abs().sum() == 0


def test_other_numbers_of_views_are_refused() -> None:
    with pytest.raises(DataError, match="pixels have shape"):
        make()(sparse(3).reshape(3, 1, 64, 64))


def masked(**changes: object) -> ViTPretraining:
    torch.manual_seed(1)
    model = build_model(MASKED | changes, n_views=2, classes=("a", "b", "c"))
    assert isinstance(model, ViTPretraining)
    return model.eval()


def events(n: int = 6) -> torch.Tensor:
    return sparse(2 * n).reshape(n, 2, 64, 64)


def test_patches_and_back() -> None:
    images = sparse(3)
    patches = _patches(images, 8)
    torch.testing.assert_close(patches[1, 11], images[1, 8:16, 24:32].flatten())
    torch.testing.assert_close(_joined(patches, 64), images)


def test_of_each_image_its_share_is_hidden_and_never_what_is_empty() -> None:
    model, there = masked(), occupied(sparse(40), 8, 0.05)
    hidden = model.draw(there)
    assert not (hidden & ~there).any()
    assert hidden.sum(1).tolist() == [int(0.6 * n) for n in there.sum(1).tolist()]
    torch.testing.assert_close(model.draw(there), hidden)  # validation: the same each time
    model.train()
    assert (model.draw(there) != model.draw(there)).any()


@torch.no_grad()
def test_the_loss_is_the_distance_in_hidden_patches() -> None:
    """With a filler that says nothing, it is the squared brightness of what is hidden."""
    model, pixels = masked(), events()
    model.filler.out[1].weight.zero_()
    model.filler.out[1].bias.zero_()
    found = model(pixels, labels=torch.arange(6) % 3)
    images = pixels.flatten(0, 1)
    hidden = model.draw(occupied(images, 8, 0.05))
    bright = (_patches(images, 8).square().sum(2) * hidden).reshape(6, -1).sum(1)
    expected = bright / hidden.reshape(6, -1).sum(1).clamp_min(1)
    torch.testing.assert_close(found["filling"], expected)
    plain = torch.nn.functional.cross_entropy(found["logits"], torch.arange(6) % 3)
    torch.testing.assert_close(found["loss"], plain + expected.mean())


@torch.no_grad()
def test_what_is_hidden_is_not_seen() -> None:
    """Other content of the hidden patches changes neither the scores nor what is filled in."""
    model, pixels, labels = masked(), events(), torch.arange(6) % 3
    images = pixels.flatten(0, 1)
    hidden = model.draw(occupied(images, 8, 0.05))
    said: list[torch.Tensor] = []
    model.filler.register_forward_hook(lambda module, given, made: said.append(made))
    before = model(pixels, labels=labels)["logits"]
    patches = _patches(images, 8)
    other = torch.where(hidden[..., None], patches.flip(2), patches)
    after = model(_joined(other, 64).reshape(pixels.shape), labels=labels)["logits"]
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(said[1], said[0])
    assert said[0].std(dim=0).max() > 1e-3  # it says something, and not the same everywhere


@torch.no_grad()
def test_the_loss_of_an_event_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels, labels = masked(), events(20), torch.arange(20) % 3
    hidden = model.draw(occupied(pixels.flatten(0, 1), 8, 0.05))
    monkeypatch.setattr(model, "draw", lambda there: hidden[: len(there)])
    together = model(pixels, labels=labels)["filling"]
    for n in (1, 7):
        torch.testing.assert_close(model(pixels[:n], labels=labels[:n])["filling"], together[:n], atol=1e-5, rtol=1e-5)


def test_an_event_of_one_patch_has_nothing_hidden_and_no_loss() -> None:
    pixels = torch.zeros(2, 2, 64, 64)
    pixels[0, :, 20, 20] = 1.0
    found = masked().train()(pixels, labels=torch.zeros(2, dtype=torch.long))
    assert found["filling"].tolist() == [0.0, 0.0]
    found["loss"].backward()


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_it_fills_in_under_autocast(training: bool) -> None:
    model, labels = masked().train(training), torch.arange(6) % 3
    with torch.autocast("cpu", torch.bfloat16):
        found = model(events(), labels=labels)
    assert found["filling"].dtype == torch.float32
    assert found["loss"].isfinite()


def test_no_class_reaches_the_tower() -> None:
    model, labels = masked().train(), torch.arange(6) % 3
    targets = torch.rand(6, len(TARGET_NAMES))
    found = model(events(), labels=labels, targets=targets)
    (found["loss"] - found["filling"].mean()).backward(retain_graph=True)
    assert all(p.grad is None or not p.grad.any() for p in model.tower.parameters())
    assert model.classifier.weight.grad is not None
    assert model.classifier.weight.grad.any()
    found["filling"].mean().backward()
    learning = [*model.tower.named_parameters(), *model.filler.named_parameters()]
    assert [name for name, p in learning if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
def test_a_classifier_takes_all_that_is_its_own(tmp_path: Path) -> None:
    model = masked()
    save_weights(model, tmp_path / "run")
    other = make()
    other.classifier.weight.mul_(2)
    before = other(events())["logits"]
    start(other, tmp_path / "run")
    torch.testing.assert_close(other(events())["logits"], model(events())["logits"])
    assert (other(events())["logits"] - before).abs().max() > 1e-3


def test_a_classifier_of_another_shape_is_told_so(tmp_path: Path) -> None:
    save_weights(masked(), tmp_path / "run")
    other = ViT(PRESET | {"head_width": 8}, 2, 3)
    with pytest.raises(InputFileError, match="do not fit the model"):
        start(other, tmp_path / "run")
    with pytest.raises(InputFileError, match="weights file is missing"):
        start(other, tmp_path)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        masked(hidden_share=share)
