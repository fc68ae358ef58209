"""What loading a run does to the weights."""

from __future__ import annotations

import copy

import torch

from nuadapt.models.registry import build_model, load_preset
from nuadapt.models.run import _round_once


def test_weights_rounded_once_give_what_autocast_gives_and_float32_stays() -> None:
    torch.manual_seed(0)
    plain = build_model(load_preset("siamese-cnn-small"), n_views=2, classes=("a", "b", "c")).eval()
    rounded = copy.deepcopy(plain)
    _round_once(rounded)
    pixels = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(rounded(pixels)["logits"], plain(pixels)["logits"])
        with torch.autocast("cpu", torch.bfloat16):
            found, expected = rounded(pixels)["logits"], plain(pixels)["logits"]
    assert torch.equal(found, expected)
    assert not torch.equal(found, plain(pixels)["logits"])
    assert rounded.state_dict().keys() == plain.state_dict().keys()
