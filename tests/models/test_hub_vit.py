"""The transformer of the Hub behind a class head, at toy size and at its full number of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from nuadapt.errors import InputFileError
from nuadapt.events.truth import FLAVOUR_CLASSES
from nuadapt.models.hub_vit import HubViT, build, start
from nuadapt.models.registry import build_model, load_preset

SHAPE = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 64}
SHAPE |= {"num_hidden_layers": 2, "num_attention_heads": 2}
PRESET = {"family": "hub-vit", "vision": SHAPE, "dropout": 0.0}


def make() -> HubViT:
    torch.manual_seed(0)
    model = build(PRESET, n_views=2, classes=FLAVOUR_CLASSES)
    assert isinstance(model, HubViT)
    return model.eval()


def test_full_size_is_that_of_vit_huge() -> None:
    with torch.device("meta"):
        model = build_model(load_preset("vit-h-14"), n_views=2, classes=FLAVOUR_CLASSES)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(632e6, rel=2e-3)


def test_views_have_a_say_and_all_weights_learn() -> None:
    model, images = make().train(), torch.rand(4, 2, 64, 64)
    found = model(images, labels=torch.tensor([0, 1, 2, 0]))
    found["loss"].backward()
    assert found["logits"].shape == (4, 3)
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert not torch.allclose(model(images)["logits"], model(images.flip(1))["logits"])


def test_starts_from_a_folder_of_the_hub(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = ViTForImageClassification(ViTConfig(**SHAPE, num_labels=7))
    published.save_pretrained(tmp_path)
    model = make()
    start(model, tmp_path)
    for name, tensor in model.tower.state_dict().items():
        torch.testing.assert_close(tensor, published.vit.state_dict()[name])


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="lacks model"):
        start(make(), tmp_path)
    ViTForImageClassification(ViTConfig(**{**SHAPE, "hidden_size": 16}, num_labels=7)).save_pretrained(tmp_path)
    with pytest.raises(InputFileError, match="do not fit"):
        start(make(), tmp_path)
