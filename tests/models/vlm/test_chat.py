"""Foreign chat models: pictures, exact scores behind the processor, training on the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nuadapt.errors import ConfigError
from nuadapt.events.pixelmap import GreyTransform
from nuadapt.models.vlm.adapters import adapt
from nuadapt.models.vlm.backbones import Backbone, Base
from nuadapt.models.vlm.chat import ChatClassifier, longer, shown
from nuadapt.models.vlm.constrained import label_form
from nuadapt.models.vlm.prompts import Prompt

from .conftest import TINY, tiny_model, tiny_processor

#: One picture per mark; every message is words of the tiny vocabulary.
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|image|>{% else %} {{ c['text'] }}{% endif %}{% endfor %} w9 {% endfor %}"
)
PROMPT = Prompt("tiny", "w1 w2", "w3 w4 w5", "w6", ("w10 w11", "w10 w12 w13", "w14"))


def make(mode: str = "stitch", prompt: Prompt = PROMPT, spread: float = 0.3) -> ChatClassifier:
    processor = tiny_processor()
    processor.chat_template = TEMPLATE
    preset = replace(TINY, adapter=replace(TINY.adapter, r=2, dropout=0.0))
    model = tiny_model()
    adapted = adapt(model, preset.adapter)
    torch.manual_seed(5)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=spread)
    backbone = Backbone(model, processor, preset, Base("nobody/tiny-mllama", "", "float32"))
    return ChatClassifier(backbone, adapted, prompt, ("xz", "yz"), view_mode=mode).eval()  # type: ignore[arg-type]


def pixels(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 2, 28, 28, generator=torch.Generator().manual_seed(1))


def brute_force(model: ChatClassifier, image: torch.Tensor, ending: list[int]) -> float:
    """log P of a label by one plain forward over prompt and label."""
    inputs = longer(model.inputs(image[None]), torch.tensor([ending]))
    logits = model.model(**inputs).logits[0].log_softmax(-1)
    first = inputs["input_ids"].shape[1] - len(ending) - 1
    return sum(float(logits[first + i, token]) for i, token in enumerate(ending))


@torch.no_grad()
def test_scores_equal_brute_force_and_do_not_depend_on_the_batch() -> None:
    model, images = make(), pixels()
    expected = [[brute_force(model, image, ending) for ending in model.endings] for image in images]
    np.testing.assert_allclose(model.score_labels(images).log_p().numpy(), expected, atol=1e-4)
    assert np.ptp(np.array(expected), axis=0).max() > 1e-3  # images have a say


@torch.no_grad()
def test_energies_are_told_behind_the_pictures() -> None:
    told = make(prompt=replace(PROMPT, grey=GreyTransform(kind="linear", full=0.01)))
    images = pixels(2)
    assert len(set(told.notes(images))) == 2
    assert all(note in told.conversation(1, note) for note in told.notes(images))
    expected = [[brute_force(told, image, ending) for ending in told.endings] for image in images]
    np.testing.assert_allclose(told.score_labels(images).log_p().numpy(), expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("labels", [("w1", "w2", "w3"), ("w1 w2", "w3 w4", "w5 w6")])
def test_labels_of_one_token_and_of_several(labels: tuple[str, ...]) -> None:
    model, images = make(prompt=replace(PROMPT, labels=labels)), pixels(2)
    expected = [[brute_force(model, image, ending) for ending in model.endings] for image in images]
    np.testing.assert_allclose(model.score_labels(images).log_p().numpy(), expected, atol=1e-4)


def test_generated_label_is_the_greedy_one_of_the_scorer() -> None:
    model, images = make(), pixels(6)
    said = model.say(images, label_form(model.tokenizer, model.prompt, free=False), longest=10)
    begin = model.numbers(PROMPT.answer)
    labels = [model.endings.index(tokens[len(begin) :]) for tokens in said]
    with torch.no_grad():
        assert labels == model.score_labels(images).greedy().tolist()


def test_only_adapters_learn_and_the_loss_falls() -> None:
    model, images, labels = make(spread=0.02).train(), pixels(), torch.tensor([0, 1, 2])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(20):
        loss = model(images, labels=labels, reasons=["w20 w21", "", "w22"])["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1  # the small random output layer, which is frozen, allows no more
    assert {n for n, p in model.named_parameters() if p.requires_grad} == model.own_names()
    assert set(model.state_dict()) == model.own_names()


def test_pictures_show_the_lowest_coordinate_at_the_bottom() -> None:
    views = np.zeros((2, 4, 6), dtype=np.float32)
    views[0, 0, 5], views[1, 3, 0] = 1.0, 0.5
    one, other = (np.asarray(picture) for picture in shown(views, "multi"))
    assert one[3, 5].tolist() == [255] * 3
    assert other[0, 0].tolist() == [127] * 3
    (canvas,) = (np.asarray(picture) for picture in shown(views, "stitch"))
    assert canvas.shape == (4, 14, 3)
    assert canvas[3, 5, 0] == 255
    assert canvas[0, 8, 0] == 127
    (colours,) = (np.asarray(picture) for picture in shown(views, "channels"))
    assert colours[3, 5].tolist() == [255, 0, 0]
    assert colours[0, 0].tolist() == [0, 127, 0]


def test_view_modes_that_a_backbone_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="channels"):
        make("channels")


def test_more_views_than_colours_are_refused() -> None:
    with pytest.raises(ConfigError, match="three colours"):
        shown(np.zeros((4, 2, 2), dtype=np.float32), "channels")


def test_padding_on_the_left_changes_nothing() -> None:
    model: Any = make()
    inputs = model.inputs(pixels(1))
    pad = torch.full((1, 3), model.tokenizer.pad_token_id)
    wider = {**inputs, "input_ids": torch.cat([pad, inputs["input_ids"]], dim=1)}
    wider["attention_mask"] = torch.cat([torch.zeros_like(pad), inputs["attention_mask"]], dim=1)
    mask = inputs["cross_attention_mask"]
    wider["cross_attention_mask"] = torch.cat([torch.zeros_like(mask[:, :1]).expand(-1, 3, -1, -1), mask], dim=1)
    with torch.no_grad():
        plain, padded = model.model(**inputs).logits[:, -1], model.model(**wider).logits[:, -1]
    torch.testing.assert_close(plain, padded, atol=1e-4, rtol=0)
