"""The tower on occupied patches against the whole grid, and the classifier on top of it."""

from __future__ import annotations

import pytest
import torch

from nuadapt.errors import DataError
from nuadapt.models.registry import build_model
from nuadapt.models.targets import TARGET_NAMES
from nuadapt.models.vision_tower import encode, new_tower, occupied, on_grid, resized, tower_config
from nuadapt.models.vit import ViT, auxiliary_loss

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
