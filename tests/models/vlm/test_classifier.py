"""Exact label scores against brute force, invariances, and what the model is trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nuadapt.errors import DataError
from nuadapt.events.pixelmap import GreyTransform
from nuadapt.events.tasks import load_task
from nuadapt.models.vlm.constrained import claims_form, json_form, label_form
from nuadapt.models.vlm.label_tree import LabelScores, LabelTree
from nuadapt.models.vlm.prompts import Prompt, load_prompt
from nuadapt.models.vlm.sparse import SparseClassifier

from .tiny_offline import make, pixels


@pytest.fixture(params=[300, 0], ids=["long tokens", "letters"])
def model(request: Any, monkeypatch: pytest.MonkeyPatch) -> SparseClassifier:
    return make(monkeypatch, request.param)


def brute_force(model: SparseClassifier, image: torch.Tensor, ending: list[int]) -> float:
    """log P of a label by a plain forward over one whole conversation: no cache, no tree, no padding."""
    given = model.conversations(image)
    answer = [*model.words.answer, *ending]
    embeds = torch.cat([given.embeds, model.model.get_input_embeddings()(torch.tensor([answer]))], dim=1)
    with torch.no_grad():
        logits = model.model(inputs_embeds=embeds).logits.log_softmax(-1)[0]
    first = embeds.shape[1] - len(ending) - 1
    return sum(float(logits[first + i, token]) for i, token in enumerate(ending))


def test_scores_equal_brute_force(model: SparseClassifier) -> None:
    images = pixels()
    with torch.no_grad():
        log_p = model.score_labels(images).log_p()
    expected = [[brute_force(model, image[None], ending) for ending in model.endings] for image in images]
    np.testing.assert_allclose(log_p.numpy(), expected, atol=2e-4)
    assert np.ptp(np.array(expected), axis=0).max() > 0.01  # images have a say


@torch.no_grad()
def test_scores_behind_examples_equal_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = make(monkeypatch, shots=1), make(monkeypatch)
    images = pixels()
    log_p = model.score_labels(images).log_p()
    expected = [[brute_force(model, image[None], ending) for ending in model.endings] for image in images]
    np.testing.assert_allclose(log_p.numpy(), expected, atol=2e-4)
    assert not torch.allclose(log_p, plain.score_labels(images).log_p(), atol=1e-2)  # examples have a say


@torch.no_grad()
def test_scores_with_energies_told_equal_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = replace(load_prompt("full", load_task("flavour")), grey=GreyTransform(kind="linear", full=0.01))
    model, plain, images = make(monkeypatch, prompt=prompt), make(monkeypatch), pixels()
    energy = 0.01 * images.double().sum(dim=(2, 3)).mean(dim=1)  # GeV
    assert model.notes(images) == [f"\nvisible energy: {value:.2f} GeV" for value in energy.tolist()]
    log_p = model.score_labels(images).log_p()
    expected = [[brute_force(model, image[None], ending) for ending in model.endings] for image in images]
    np.testing.assert_allclose(log_p.numpy(), expected, atol=2e-4)
    assert not torch.allclose(log_p, plain.score_labels(images).log_p(), atol=1e-2)  # energies have a say
    assert Prompt.from_dict(json.loads(json.dumps(prompt.as_dict()))) == prompt


@torch.no_grad()
def test_scores_do_not_depend_on_the_batch(model: SparseClassifier) -> None:
    images = pixels()
    whole = model.score_labels(images).log_p()
    single = torch.cat([model.score_labels(image[None]).log_p() for image in images])
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(whole, single, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole[order], model.score_labels(images[order]).log_p(), atol=1e-4, rtol=0)


@torch.no_grad()
def test_scores_do_not_depend_on_the_order_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = load_prompt("full", load_task("flavour"))
    turned = replace(prompt, labels=prompt.labels[::-1])
    one, other = make(monkeypatch), make(monkeypatch, prompt=turned)
    images = pixels()
    torch.testing.assert_close(
        one.score_labels(images).log_p(), other.score_labels(images).log_p().flip(1), atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_what_was_kept_in_bfloat16_is_not_taken_for_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model, fresh, images = make(monkeypatch), make(monkeypatch), pixels()
    with torch.autocast("cpu", torch.bfloat16):
        coarse = model.score_labels(images).log_p()
    exact = model.score_labels(images).log_p()
    assert torch.equal(exact, fresh.score_labels(images).log_p())
    assert not torch.equal(exact, coarse)
    cache = model.cache()
    assert cache is model.cache()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.cache() is not cache
        assert model.cache() is model.cache()


@torch.no_grad()
def test_evidence_is_asked_where_the_whole_image_has_charge(model: SparseClassifier) -> None:
    images = pixels(2)
    blank = torch.zeros_like(images)
    looked = model(blank, shown=images)["logits"]
    assert not torch.allclose(looked, model(blank)["logits"])
    torch.testing.assert_close(model(images, shown=images)["logits"], model(images)["logits"])
    faint = [model(share * images, shown=images)["logits"] for share in (0.0, 1e-4)]
    torch.testing.assert_close(faint[0], faint[1], atol=1e-2, rtol=0)  # no jump where the first pixel lights up


@torch.no_grad()
def test_posterior_adds_up_to_one(model: SparseClassifier) -> None:
    scores = model.score_labels(pixels())
    for how in ("sum", "mean", "first_token"):
        np.testing.assert_allclose(scores.posterior(how).sum(axis=1), 1, atol=1e-12)


@torch.no_grad()
def test_published_confidence_is_a_scaled_softmax_of_first_tokens(model: SparseClassifier) -> None:
    scores = model.score_labels(pixels())
    first = torch.stack([tokens[:, 0] for tokens in scores.tokens], dim=1).double().numpy()
    expected = np.exp(5 * first) / np.exp(5 * first).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.posterior("first_token"), expected, rtol=1e-10)


@torch.no_grad()
def test_generated_label_is_the_greedy_one_of_the_scorer(model: SparseClassifier) -> None:
    images = pixels(24, seed=5)
    form = label_form(model.tokenizer, model.prompt, free=False)
    said = model.say(images, form, longest=80)
    endings = [tokens[len(model.words.answer) :] for tokens in said]
    assert all(tokens[: len(model.words.answer)] == model.words.answer for tokens in said)
    labels = [model.endings.index(ending) for ending in endings]
    assert labels == model.score_labels(images).greedy().tolist()


@torch.no_grad()
def test_generated_label_is_the_argmax_where_labels_differ_in_the_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = replace(load_prompt("full", load_task("flavour")), labels=("classify", "muon", "vertex"))
    model = make(monkeypatch, prompt=prompt)
    assert len({ending[0] for ending in model.endings}) == 3
    images = pixels(24, seed=6)
    scores = model.score_labels(images)
    assert scores.greedy().tolist() == scores.log_p("first_token").argmax(dim=1).tolist()


def among_labels(scores: LabelScores) -> np.ndarray:
    """Sums over the tokens of each label of log P among the tokens that go on with any label, (B, L)."""
    labels, total = scores.labels, []
    for i, label in enumerate(labels):
        of_label = torch.zeros(len(scores.tokens[i]))
        for k in range(len(label)):
            rivals = {other[k]: j for j, other in enumerate(labels) if len(other) > k and other[:k] == label[:k]}
            log_p = torch.stack([scores.tokens[j][:, k] for j in rivals.values()], dim=1)
            of_label = of_label + scores.tokens[i][:, k] - log_p.logsumexp(dim=1)
        total.append(of_label)
    return torch.stack(total, dim=1).numpy()


@pytest.mark.parametrize("labels", [("NuE CC", "NuMu CC", "Neutral Current"), ("NC", "Charged Muon", "Charged E")])
@torch.no_grad()
def test_beams_are_compared_by_sums_and_what_is_forced_costs_nothing(
    labels: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels differ in length, and the end behind a short one is unlikely: neither may decide."""
    prompt = replace(load_prompt("full", load_task("flavour")), labels=labels)
    model, images = make(monkeypatch, merges=0, prompt=prompt), pixels(24, seed=7)
    assert len({len(ending) for ending in model.endings}) > 1
    form = label_form(model.tokenizer, model.prompt, free=False)
    begin = len(model.words.answer)
    said = model.say(images, form, beams=3, longest=begin + max(map(len, model.endings)))
    found = [model.endings.index(tokens[begin:]) for tokens in said]
    assert found == among_labels(model.score_labels(images)).argmax(axis=1).tolist()


def test_answers_in_json_keep_to_the_schema(model: SparseClassifier) -> None:
    schema = {"track": ["long", "none"], "shower": ["attached", "displaced", "none"]}
    said = model.say(pixels(4), json_form(model.tokenizer, schema), torch.tensor([0, 1, 2, 0]), longest=200)
    for tokens in said:
        answer = json.loads(model.tokenizer.decode(tokens))
        assert list(answer) == ["track", "shower"]
        assert all(answer[key] in values for key, values in schema.items())
    claims = json.loads(
        model.tokenizer.decode(model.say(pixels(1), claims_form(model.tokenizer), longest=600)[0]).split("}")[0] + "}"
    )
    assert "muon_track" in claims


def test_reasons_are_text_without_special_tokens(model: SparseClassifier) -> None:
    reasons = model.reasons(pixels(3), torch.tensor([0, 1, 2]))
    assert len(reasons) == 3
    special = model.tokenizer.all_special_tokens
    assert not any(token in reason for token in special for reason in reasons)


def test_loss_is_on_the_answer_alone(model: SparseClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """What enters the cross-entropy decodes to label and reason, nothing else."""
    seen = {}

    def caught(logits: torch.Tensor, wanted: torch.Tensor, **settings: Any) -> torch.Tensor:
        seen["wanted"] = wanted
        return torch.nn.functional.nll_loss(logits.log_softmax(1), wanted, reduction="none")

    monkeypatch.setattr("nuadapt.models.vlm.classifier.F.cross_entropy", caught)
    model.train()
    labels = torch.tensor([0, 1, 2])
    model(pixels(3), labels=labels, reasons=["A long track.", "", "No shower is seen."])
    text = " NuE CC. A long track.<|im_end|> NuMu CC. Neutral Current. No shower is seen.<|im_end|>"
    assert model.tokenizer.decode(seen["wanted"]) == text


def test_training_loss_of_a_label_is_its_score(model: SparseClassifier) -> None:
    images, labels = pixels(), torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        log_p = model.score_labels(images).log_p()
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    model.train()
    loss = model(images, labels=labels, weight=weight)["loss"]
    expected = -(weight * log_p[torch.arange(5), labels]).sum() / weight.sum()
    torch.testing.assert_close(loss.detach(), expected, atol=1e-3, rtol=1e-4)


def test_conversations_that_share_a_row_do_not_see_each_other(model: SparseClassifier) -> None:
    images, labels = pixels(), torch.tensor([0, 1, 2, 0, 1])
    reasons = ["A long track.", "", "No shower is seen.", "The shower starts at the vertex.", "A track."]
    model.train()
    together = model(images, labels=labels, reasons=reasons)["loss"]
    one = [model(images[i : i + 1], labels=labels[i : i + 1], reasons=reasons[i : i + 1])["loss"] for i in range(5)]
    torch.testing.assert_close(together, torch.stack(one).mean(), atol=1e-4, rtol=1e-4)


def test_the_language_models_own_weights_alone_do_not_learn(model: SparseClassifier) -> None:
    model.train()
    model(pixels(), labels=torch.tensor([0, 1, 2, 0, 1]), reasons=["A reason."] * 5)["loss"].backward()
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    parts = ("lora_", ".connector.", ".vision_model.")
    assert learning == {n for n, p in model.named_parameters() if any(part in n for part in parts)}
    assert {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0} == learning


def test_an_empty_view_is_no_empty_sequence(model: SparseClassifier) -> None:
    images = pixels(2)
    images[0, 1] = 0
    images[1] = 0
    assert np.isfinite(model.score_labels(images).log_p().detach().numpy()).all()


def test_other_numbers_of_views_are_refused(model: SparseClassifier) -> None:
    with pytest.raises(DataError, match="pixels have shape"):
        model(pixels()[:, :1])


def test_own_weights_come_back_and_the_language_model_is_not_among_them(model: SparseClassifier) -> None:
    state = model.state_dict()
    assert not any("text_model" in n and "lora_" not in n for n in state)
    assert any(".vision_model." in n for n in state)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    images = pixels()
    with torch.no_grad():
        before = model.score_labels(images).log_p()
        model.load_state_dict({name: tensor + 0.3 for name, tensor in kept.items()})
        assert not torch.allclose(before, model.score_labels(images).log_p(), atol=1e-2)
        model.load_state_dict(kept)
        torch.testing.assert_close(model.score_labels(images).log_p(), before, atol=1e-4, rtol=0)


@pytest.mark.parametrize("labels", [[(1, 2), (1, 2, 3)], [(1,), (1,)], [(), (2,)]])
def test_labels_that_are_not_exclusive_are_refused(labels: list[tuple[int, ...]]) -> None:
    from nuadapt.errors import ConfigError

    with pytest.raises(ConfigError, match="beginning"):
        LabelTree.of(labels)


def test_branches_see_themselves_and_their_ancestors() -> None:
    tree = LabelTree.of([(7, 1, 2, 9), (7, 3, 9), (8, 9)])
    assert tree.tokens == (7, 1, 2, 3, 8)
    assert tree.parent == (-1, 0, 1, 0, -1)
    assert tree.depth == (0, 1, 2, 1, 0)
    assert tree.asked == ((-1, 0, 1, 2), (-1, 0, 3), (-1, 4))
    assert tree.sees().int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]
