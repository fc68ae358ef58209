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
from nuadapt.models.vlm.chat import ChatClassifier, longer, shown
from nuadapt.models.vlm.constrained import free_text, label_form
from nuadapt.models.vlm.prompts import Prompt

from .conftest import WORDS
from .tiny_chats import PRESETS, TEMPLATE, backbone

SHARED = ("idefics3", "qwen2.5-vl")
PROMPT = Prompt("tiny", "w1 w2", "w3 w4 w5", "w6", ("w10 w11", "w10 w12 w13", "w14"))


def make(
    kind: str = "mllama", mode: str | None = None, prompt: Prompt = PROMPT, spread: float = 0.3, solved: int = 0
) -> ChatClassifier:
    given, examples = backbone(kind), (solved, 2, 28, 28) if solved else ()
    adapted = adapt(given.model, given.preset.adapter)
    torch.manual_seed(5)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=spread)
    model = ChatClassifier(given, adapted, prompt, ("xz", "yz"), view_mode=mode, examples=examples)  # type: ignore[arg-type]
    if model.examples is not None:
        model.examples.uniform_()
    return model.eval()


@pytest.fixture(params=list(PRESETS))
def kind(request: Any) -> str:
    return str(request.param)


def pixels(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 2, 28, 28, generator=torch.Generator().manual_seed(1))


def brute_force(model: ChatClassifier, image: torch.Tensor, ending: list[int]) -> float:
    """log P of a label by one plain forward over prompt and label."""
    inputs = longer(model.inputs(image[None]), torch.tensor([ending]))
    logits = model.model(**inputs).logits[0].log_softmax(-1)
    first = inputs["input_ids"].shape[1] - len(ending) - 1
    return sum(float(logits[first + i, token]) for i, token in enumerate(ending))


@torch.no_grad()
def test_scores_equal_brute_force_and_do_not_depend_on_the_batch(kind: str) -> None:
    model, images = make(kind), pixels()
    expected = [[brute_force(model, image, ending) for ending in model.endings] for image in images]
    np.testing.assert_allclose(model.score_labels(images).log_p().numpy(), expected, atol=1e-4)
    assert np.ptp(np.array(expected), axis=0).max() > 1e-3  # images have a say


@torch.no_grad()
def test_scores_do_not_depend_on_what_is_padded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of which more or less is told, together and one by one."""
    model, images = make(kind), pixels(4)
    images[:, 0, 0, 0] = torch.tensor([0.1, 0.5, 0.3, 0.9])
    monkeypatch.setattr(model, "notes", lambda given: [" w20" * int(10 * event[0, 0, 0]) for event in given])
    together = model.score_labels(images).log_p()
    assert (model.inputs(images)["attention_mask"] == 0).sum() > 0
    one_by_one = torch.cat([model.score_labels(image[None]).log_p() for image in images])
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lists the shapes of all tokens which a model reads from now on."""

    def watch(model: ChatClassifier) -> list[tuple[int, ...]]:
        seen: list[tuple[int, ...]] = []
        plain = model.model.model.forward

        def forward(**given: Any) -> Any:
            seen.append(tuple(given["input_ids"].shape))
            return plain(**given)

        monkeypatch.setattr(model.model.model, "forward", forward)
        return seen

    return watch


@torch.no_grad()
@pytest.mark.parametrize("solved", [0, 3])
def test_the_common_beginning_is_read_once(kind: str, solved: int, read: Any) -> None:
    model, images = make(kind, solved=solved), pixels(4)
    whole = model.inputs(images)["input_ids"].shape[1]
    expected = [[brute_force(model, image, ending) for ending in model.endings] for image in images]
    seen = read(model)
    together = torch.cat([model.score_labels(images[:3]).log_p(), model.score_labels(images[3:]).log_p()])
    np.testing.assert_allclose(together.numpy(), expected, atol=1e-4)
    labels, fed = len(model.endings), max(map(len, model.endings)) - 1
    if model.shares:
        (_, begin) = seen[0]
        assert seen == [(1, begin), (3, whole - begin), (3 * labels, fed), (1, whole - begin), (labels, fed)]
        assert begin > (whole / 2 if solved else 5)
    else:
        assert seen == [(3, whole), (3 * labels, fed), (1, whole), (labels, fed)]


@torch.no_grad()
def test_a_beginning_read_with_other_weights_is_forgotten(kind: str) -> None:
    model, other, images = make(kind), make(kind, spread=0.5), pixels(2)
    model.score_labels(images)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model.score_labels(images).log_p(), other.score_labels(images).log_p())


@torch.no_grad()
@pytest.mark.parametrize("kind", SHARED, indirect=True)
def test_a_beginning_that_ends_otherwise_on_its_own_is_not_shared(
    kind: str, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    """As with tokenizers that join words at the seam."""
    model, images = make(kind), pixels(2)
    plain = model.score_labels(images).log_p()
    model.train().eval()
    monkeypatch.setattr("nuadapt.models.vlm.chat.halves", lambda text, *_: (text.split(" w5")[0], text.split(" w5")[1]))
    seen = read(model)
    torch.testing.assert_close(model.score_labels(images).log_p(), plain, atol=1e-4, rtol=0)
    assert [batch for batch, _ in seen] == [2, 2 * len(model.endings)]


@torch.no_grad()
def test_words_in_front_of_a_picture_depend_on_it_in_mllama_alone(kind: str) -> None:
    """Why Mllama shares no beginning."""
    model, (one, other) = make(kind), pixels(2)
    states = [
        model.model.model(**model.inputs(image[None]), output_hidden_states=True).last_hidden_state
        for image in (one, other)
    ]
    same = torch.allclose(states[0][:, :5], states[1][:, :5], atol=1e-6)
    assert same == model.shares == (kind in SHARED)


@torch.no_grad()
def test_scores_do_not_depend_on_the_order_of_labels(kind: str) -> None:
    images, turned = pixels(), replace(PROMPT, labels=PROMPT.labels[::-1])
    one, other = (make(kind, prompt=prompt).score_labels(images).log_p() for prompt in (PROMPT, turned))
    torch.testing.assert_close(one, other.flip(1), atol=1e-4, rtol=0)


def test_training_loss_of_a_label_is_its_score(kind: str) -> None:
    model, images, labels = make(kind), pixels(), torch.tensor([0, 1, 2])
    weight = torch.tensor([1.0, 2.0, 0.5])
    with torch.no_grad():
        log_p = model.score_labels(images).log_p()
    loss = model.train()(images, labels=labels, weight=weight)["loss"]
    expected = -(weight * log_p[torch.arange(3), labels]).sum() / weight.sum()
    torch.testing.assert_close(loss.detach(), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_logits_of_the_prompt_are_not_computed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make(kind), []
    head = model.model.get_output_embeddings()
    head.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    model.score_labels(pixels())
    assert seen == [1, max(map(len, model.endings)) - 1]
    model.answer_logits(pixels(), model.endings)
    assert seen[2] == max(map(len, model.endings)) + 1
    whole = model.answer_logits(pixels(), model.endings)
    plain = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda **given: plain(**given))  # takes no logits_to_keep by name
    torch.testing.assert_close(model.answer_logits(pixels(), model.endings), whole)


def beginning(processor: Any) -> None:
    """Let the tokenizer put <s> before a text, as that of Llama does."""
    from tokenizers.processors import TemplateProcessing

    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )


@pytest.mark.parametrize("template", [TEMPLATE, "{{ bos_token }}" + TEMPLATE])
def test_a_conversation_begins_once(kind: str, template: str) -> None:
    model = make(kind)
    own = model.processor.chat_template
    model.processor.chat_template = template.replace(TEMPLATE, own)
    beginning(model.processor)
    assert model.tokenizer("w1")["input_ids"] == [1, 5]
    for ids in model.inputs(pixels())["input_ids"].tolist():
        assert ids.count(1) == 1
        assert ids[0] == 1


def test_answers_do_not_depend_on_the_day(caplog: pytest.LogCaptureFixture) -> None:
    """The head of the template is that of Llama 3.2."""
    model = make()
    model.processor.chat_template = (
        """{%- if not date_string is defined %}
        {%- if strftime_now is defined %}
            {%- set date_string = strftime_now("%d %b %Y") %}
        {%- else %}
            {%- set date_string = "26 Jul 2024" %}
        {%- endif %}
    {%- endif %}
    {{- "Today Date: " + date_string }}"""
        + TEMPLATE
    )
    assert model.conversation(1, "").startswith("Today Date: 26 Jul 2024 w1 w2")
    assert not caplog.messages


@pytest.mark.parametrize("examples", [(), (3, 2, 28, 28)])
def test_what_a_template_refuses_as_system_message_is_told_by_the_user(examples: tuple[int, ...]) -> None:
    given = backbone("mllama")
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system beside images') }}{% endif %}"
    given.processor.chat_template = refusal + TEMPLATE
    adapted = adapt(given.model, given.preset.adapter)
    model = ChatClassifier(given, adapted, PROMPT, ("xz", "yz"), examples=examples).eval()
    text = model.conversation(1, "")
    assert text.split()[:5] == ["w1", "w2", "w3", "w4", "w5<|image|>"]
    assert text.count("w1 w2") == 1
    assert text.count("w3 w4 w5") == 1 + len(model.example_labels)
    with torch.no_grad():
        np.testing.assert_allclose(model.score_labels(pixels(2)).posterior("sum").sum(axis=1), 1, atol=1e-12)
    given.processor.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(ConfigError, match="refuses to ask"):
        model.conversation(1, "")


def test_reasons_are_words_that_the_model_has(kind: str) -> None:
    """The tokenizer of a Mllama numbers its image, of which the model has no score."""
    model = make(kind)
    outputs = model.model.get_output_embeddings().out_features
    assert (len(model.tokenizer) > outputs) == (kind == "mllama")
    form = model._reason_form
    legal = form.allowed([5] * 9).tolist()
    assert legal == [2, *range(4, len(WORDS))]  # the end of the turn, and no other special token
    assert form.allowed([5]).tolist() == legal[1:]
    assert form is model._reason_form
    reasons = model.reasons(pixels(2), torch.tensor([0, 2]))
    assert all(set(reason.split()) <= set(WORDS[4:]) for reason in reasons)
    assert min(len(reason.split()) for reason in reasons) >= 4


def test_every_special_token_is_banned() -> None:
    tokenizer = backbone("idefics3").processor.tokenizer
    tokenizer.add_tokens(["<|more|>"], special_tokens=True)
    free = free_text(tokenizer)
    assert tokenizer.convert_tokens_to_ids("<|more|>") in free.banned
    assert tokenizer.eos_token_id not in free.banned
    assert free.vocabulary == len(tokenizer)


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


def test_generated_label_is_the_greedy_one_of_the_scorer(kind: str) -> None:
    model, images = make(kind), pixels(6)
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
        make(mode="channels")


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
