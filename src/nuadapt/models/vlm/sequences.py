"""Conversations as sequences of embeddings, with one token per occupied block of an image.

What is equal for all events (system text, solved examples if there are any, question) comes first and is evaluated
once, as a cache of keys and values; each event adds its image tokens, the end of its turn and the beginning of the
answer. Empty blocks of an image are no tokens at all: the position of a block is in its content, which the vision
tower marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nuadapt.models.vision_tower import encode, occupied, on_grid, resized
from nuadapt.models.vlm.prompts import Prompt


@dataclass(frozen=True)
class Words:
    """Token numbers of the fixed parts of a conversation."""

    # System message, examples, question, name of the first view: equal for all events. Images of examples stand between
    # the parts; without examples there is one part.
    before: tuple[list[int], ...]
    between: tuple[list[int], ...]  # what stands before the image of each further view
    after: list[int]  # end of the user's turn, and `answer`
    answer: list[int]  # how the answer begins; the end of `after`
    endings: tuple[list[int], ...]  # each label with its full stop
    image: int  # stands for one image token
    end: int  # end of a turn
    pad: int


def words_of(tokenizer: Any, prompt: Prompt, views: Sequence[str], image: int, examples: Sequence[int] = ()) -> Words:
    """The fixed parts of a conversation by the tokenizer's own chat template; ``examples`` are classes of examples."""
    marks = [f"\n{view}:" for view in views]
    image_text = tokenizer.convert_ids_to_tokens(image)
    content = f"{prompt.user} {prompt.about}".strip() + "".join(mark + image_text for mark in marks)
    # An empty system message keeps templates from putting in one of their own.
    asked = {"role": "user", "content": content}
    solved = [[asked, {"role": "assistant", "content": prompt.answer + prompt.endings[label]}] for label in examples]
    messages = [{"role": "system", "content": prompt.system}, *(turn for turns in solved for turn in turns), asked]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    parts = text.split(image_text)
    first = 1 + len(examples) * len(views)
    before, between = parts[:first], parts[first:]

    def numbers(part: str) -> list[int]:
        return list(tokenizer(part, add_special_tokens=False)["input_ids"])

    return Words(
        before=tuple(numbers(part) for part in before),
        between=tuple(numbers(part) for part in between[:-1]),
        after=[*numbers(between[-1]), *numbers(prompt.answer)],
        answer=numbers(prompt.answer),
        endings=tuple(numbers(ending) for ending in prompt.endings),
        image=image,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
    )


@dataclass(frozen=True)
class ImageTokens:
    """Image tokens of a batch: ``features`` (K, D) event by event and view by view, ``counts`` (B, V) of each."""

    features: Tensor
    counts: list[list[int]]


def image_tokens(model: Any, pixels: Tensor, above: float) -> ImageTokens:
    """Image tokens of a SmolVLM ``model`` for grey images (B, V, H, W); blocks without occupied patches are left out.

    A patch is occupied if it holds a pixel brighter than ``above``; below 0 all are.
    """
    tower, vision = model.model.vision_model, model.config.vision_config
    images = resized(pixels.flatten(0, 1), vision.image_size)  # (B * V, side, side)
    keep = occupied(images, vision.patch_size, above)  # (B * V, P)
    grid = on_grid(encode(tower, images, keep), keep)  # (B * V, P, d)
    blocks = model.model.connector(grid)  # (B * V, P / s^2, D)
    side, scale = round(keep.shape[1] ** 0.5), model.config.scale_factor
    held = F.max_pool2d(keep.float().reshape(-1, 1, side, side), scale).flatten(1) > 0  # (B * V, P / s^2)
    counts: list[list[int]] = held.sum(dim=1).reshape(len(pixels), -1).tolist()
    return ImageTokens(blocks[held], counts)


@dataclass(frozen=True)
class Sequences:
    """Embeddings of what follows the common beginning, padded on the right.

    ``embeds`` (B, T, D), ``length`` (B,) of the conversation up to the answer's beginning, ``real`` (B, T): not
    padding, ``tokens`` (B, T).
    """

    embeds: Tensor
    length: Tensor
    real: Tensor
    tokens: Tensor


def sequences(
    model: Any,
    words: Words,
    images: ImageTokens,
    answers: Sequence[Sequence[int]] | None = None,
    notes: Sequence[Sequence[int]] = (),
) -> Sequences:
    """Conversations of a batch; ``answers`` (token numbers, one list per event) are appended if given.

    ``notes`` (likewise) stand behind the images of their event.
    """
    rows, lengths = [], []
    for event, counts in enumerate(images.counts):
        row = [words.image] * counts[0]
        for mark, count in zip(words.between, counts[1:], strict=True):
            row += [*mark, *[words.image] * count]
        row += [*(notes[event] if notes else ()), *words.after]
        lengths.append(len(row))
        rows.append(row + list(answers[event]) if answers is not None else row)
    longest = max(map(len, rows))
    device = images.features.device
    tokens = torch.tensor([row + [words.pad] * (longest - len(row)) for row in rows], device=device)
    real = torch.arange(longest, device=device) < torch.tensor([len(row) for row in rows], device=device)[:, None]
    embeds = model.get_input_embeddings()(tokens)
    at = (tokens == words.image)[..., None].expand_as(embeds)
    embeds = embeds.masked_scatter(at, images.features.to(embeds.dtype))
    return Sequences(embeds, torch.tensor(lengths, device=device), real, tokens)


def beginning(model: Any, words: Words, examples: ImageTokens | None = None) -> Tensor:
    """Embeddings (T, D) of the common beginning, with the images of the ``examples`` that the words were made for."""
    device = model.get_input_embeddings().weight.device
    parts = [model.get_input_embeddings()(torch.tensor(part, device=device)) for part in words.before]
    if examples is None:
        return torch.cat(parts)
    counts = [count for views in examples.counts for count in views]
    images = torch.split(examples.features.to(parts[0].dtype), counts)
    return torch.cat([*(part for pair in zip(parts[:-1], images, strict=True) for part in pair), parts[-1]])


def common_cache(model: Any, embeds: Tensor) -> Any:
    """Keys and values of the common beginning ``embeds`` (T, D), for a batch of one."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config.text_config)
    model.model.text_model(inputs_embeds=embeds[None], past_key_values=cache, use_cache=True)
    return cache


def repeated(cache: Any, batch: int) -> Any:
    """The cache of one conversation for ``batch`` of them, without copying what it holds."""
    from transformers import DynamicCache

    layers = [(layer.keys.expand(batch, -1, -1, -1), layer.values.expand(batch, -1, -1, -1)) for layer in cache.layers]
    return DynamicCache(layers)


def hidden_states(model: Any, cache: Any, given: Sequences) -> Tensor:
    """Last hidden states (B, T, D) of sequences behind the common beginning in ``cache``."""
    batch, length = given.real.shape
    begin = cache.get_seq_length()
    mask = torch.cat([given.real.new_ones(batch, begin), given.real], dim=1).long()
    position = (begin + torch.arange(length, device=mask.device)).expand(batch, -1)
    found: Tensor = model.model.text_model(
        inputs_embeds=given.embeds,
        attention_mask=mask,
        position_ids=position,
        past_key_values=repeated(cache, batch),
        use_cache=True,
    ).last_hidden_state
    return found
