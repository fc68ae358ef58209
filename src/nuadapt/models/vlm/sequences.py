"""Conversations as sequences of embeddings, with one token per occupied block of an image.

What is equal for all events (system text, solved examples if there are any, question) comes first and is evaluated
once, as a cache of keys and values; each event adds its image tokens, the end of its turn and the beginning of the
answer. Empty blocks of an image are no tokens at all: the position of a block is in its content, which the vision
tower marks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nuadapt.models.vision_tower import encode, occupied, on_grid, resized
from nuadapt.models.vlm.prompts import Prompt

#: Conversations that share a row in training: more of them share the beginning, fewer the attention to others.
TOGETHER = 4


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


def image_tokens(model: Any, pixels: Tensor, above: float, shown: Tensor | None = None) -> ImageTokens:
    """Image tokens of a SmolVLM ``model`` for grey images (B, V, H, W); blocks without occupied patches are left out.

    A patch is occupied if it holds a pixel brighter than ``above``; below 0 all are. ``shown`` (B, V, H, W) are the
    images by which this is decided; none: ``pixels`` themselves.
    """
    tower, vision = model.model.vision_model, model.config.vision_config
    images = resized(pixels.flatten(0, 1), vision.image_size)  # (B * V, side, side)
    seen = images if shown is None else resized(shown.flatten(0, 1), vision.image_size)
    keep = occupied(seen, vision.patch_size, above)  # (B * V, P)
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


def hidden_states(model: Any, before: Tensor, given: Sequences) -> Tensor:
    """Last hidden states (B, T, D) of sequences behind the common beginning ``before`` (P, D); zero where padding.

    Several conversations share a row behind one beginning, and none sees another: the same numbers as a row for each,
    with little padding and in one pass.
    """
    at = _places(given.real.sum(dim=1).tolist(), len(before), given.real)
    embeds = before.new_zeros(*at.owner.shape, before.shape[1])  # (R, L, D)
    embeds[:, : len(before)] = before
    embeds = embeds.index_put((at.row, at.column), given.embeds[given.real].to(embeds.dtype))
    of, seen = at.owner[:, :, None], at.owner[:, None]
    visible = ((of == seen) | (seen == _BEFORE)).tril()  # (R, L, L)
    states: Tensor = model.model.text_model(
        inputs_embeds=embeds,
        attention_mask=additive(visible, embeds.dtype),
        position_ids=at.position,
        use_cache=False,
    ).last_hidden_state
    blank = states.new_zeros(*given.real.shape, states.shape[-1])
    return blank.index_put(given.real.nonzero(as_tuple=True), states[at.row, at.column])


@dataclass(frozen=True)
class _Places:
    """Where N tokens of several conversations stand in R rows of length L.

    ``row``, ``column`` (N,) in the order of the conversations; ``owner`` (R, L) the conversation, or one of
    :data:`_BEFORE` and :data:`_PADDING`; ``position`` (R, L) in the owner's conversation.
    """

    row: Tensor
    column: Tensor
    owner: Tensor
    position: Tensor


_BEFORE, _PADDING = -1, -2


def _places(sizes: Sequence[int], begin: int, real: Tensor) -> _Places:
    """Places of conversations of these sizes, whose tokens are ``real`` (B, T), behind ``begin`` common tokens."""
    filled = [begin] * math.ceil(len(sizes) / TOGETHER)
    row, first = [0] * len(sizes), [0] * len(sizes)
    for event in sorted(range(len(sizes)), key=lambda i: -sizes[i]):  # the longest first, into the shortest row
        row[event] = filled.index(min(filled))
        first[event] = filled[row[event]]
        filled[row[event]] += sizes[event]
    of, token = real.nonzero(as_tuple=True)  # (N,), (N,)
    rows = torch.tensor(row, device=real.device)[of]
    columns = torch.tensor(first, device=real.device)[of] + token
    owner = torch.full((len(filled), max(filled)), _PADDING, device=real.device)
    owner[:, :begin] = _BEFORE
    owner[rows, columns] = of
    position = torch.arange(max(filled), device=real.device).repeat(len(filled), 1)
    position[rows, columns] = begin + token
    return _Places(rows, columns, owner, position)


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Who sees whom, (B, Q, K) bool, as transformers wants it: (B, 1, Q, K), the lowest number where not visible."""
    blank = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return blank.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
