"""Answers that can only be said in a given form: fixed words, a choice, free text, in any order.

A form is a sequence of parts. ``allowed`` tells, for the tokens said so far, which may come next; it is what
``generate(prefix_allowed_tokens_fn=...)`` of transformers asks at every step. Every part is tokenised on its own, as in
training and in scoring, so a form and a score are about the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nuadapt.errors import ConfigError
from nuadapt.models.reasons.claims import CLAIM_TYPES
from nuadapt.models.vlm.prompts import Prompt

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """One of several token sequences, none the beginning of another. A single one is fixed words."""

    options: tuple[Tokens, ...]


@dataclass(frozen=True)
class Free:
    """Any of ``vocabulary`` tokens but those ``banned``, up to the end of the turn; at least ``least`` before it."""

    vocabulary: int
    banned: frozenset[int] = frozenset()
    least: int = 0


@dataclass(frozen=True)
class Form:
    """Parts in order; a :class:`Free` part can only be the last. ``end`` closes the turn."""

    parts: tuple[Choice | Free, ...]
    end: int

    def __post_init__(self) -> None:
        for number, part in enumerate(self.parts):
            if isinstance(part, Free) and number < len(self.parts) - 1:
                raise ConfigError("free text can only end a form")
            if isinstance(part, Choice):
                for a in part.options:
                    if not a or any(a != b and b[: len(a)] == a for b in part.options):
                        raise ConfigError(f"the option {a} is empty or the beginning of another one")

    def allowed(self, said: Sequence[int]) -> Tensor:
        """Tokens (n,) that may follow ``said``; only ``end`` once the form is complete."""
        rest = tuple(int(token) for token in said)
        for part in self.parts:
            if isinstance(part, Free):
                return self._free[len(rest) >= part.least]
            done = next((option for option in part.options if rest[: len(option)] == option), None)
            if done is None:
                return torch.tensor(
                    sorted({o[len(rest)] for o in part.options if o[: len(rest)] == rest and len(o) > len(rest)})
                )
            rest = rest[len(done) :]
        return torch.tensor([self.end])

    @cached_property
    def _free(self) -> tuple[Tensor, Tensor]:
        """Tokens of the free part, before and after the end of the turn is allowed. Tensors, because they are many."""
        last = self.parts[-1]
        if not isinstance(last, Free):
            raise ConfigError("this form has no free text")
        open_end = torch.tensor([token for token in range(last.vocabulary) if token not in last.banned])
        return open_end[open_end != self.end], open_end

    def prefix_function(self, begin: int = 0) -> Callable[[int, Tensor], Tensor]:
        """For ``generate(prefix_allowed_tokens_fn=...)``; ``begin``: tokens before what is said, 0 with embeddings."""
        return lambda _, tokens: self.allowed(tokens[begin:].tolist())


def label_form(tokenizer: Any, prompt: Prompt, *, free: bool = True, outputs: int | None = None) -> Form:
    """The beginning of the answer, one label, and a free reason (or nothing) behind it; see :func:`free_text`."""
    parts: list[Choice | Free] = [_words(tokenizer, prompt.answer), _choice(tokenizer, prompt.endings)]
    if free:
        parts.append(free_text(tokenizer, outputs))
    return Form(tuple(parts), tokenizer.eos_token_id)


def reason_form(tokenizer: Any, outputs: int | None = None) -> Form:
    """A free reason of at least a few words, behind a label that is said already; see :func:`free_text`."""
    return Form((free_text(tokenizer, outputs),), tokenizer.eos_token_id)


def free_text(tokenizer: Any, outputs: int | None = None) -> Free:
    """Free text without special tokens other than the end of the turn.

    ``outputs``: tokens that the model has scores of, where the tokenizer may have more: that of Llama 3.2 numbers its
    image, too. None: all of the tokenizer.
    """
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    banned = special.union(tokenizer.all_special_ids) - {tokenizer.eos_token_id}
    return Free(min(len(tokenizer), outputs or len(tokenizer)), frozenset(banned), least=4)


def json_form(tokenizer: Any, properties: Mapping[str, Sequence[str]]) -> Form:
    """A JSON object with these keys in this order, each with one of its values: a schema of ``enum`` properties.

    Raises:
        ConfigError: no keys, or a key without values.
    """
    if not properties or not all(properties.values()):
        raise ConfigError("a JSON form needs keys, and every key needs values")
    parts: list[Choice | Free] = []
    for number, (key, values) in enumerate(properties.items()):
        parts.append(_words(tokenizer, ("{" if number == 0 else ", ") + f'"{key}": "'))
        # The closing quote belongs to the value, so that none is the beginning of another.
        parts.append(_choice(tokenizer, [f'{value}"' for value in values]))
    parts.append(_words(tokenizer, "}"))
    return Form(tuple(parts), tokenizer.eos_token_id)


def claims_form(tokenizer: Any) -> Form:
    """A reason as JSON: every type of claim with one of its values, or ``unclear``."""
    values: dict[str, type[StrEnum]] = dict(CLAIM_TYPES)
    return json_form(tokenizer, {name: [*(str(v) for v in kind), "unclear"] for name, kind in values.items()})


def _words(tokenizer: Any, text: str) -> Choice:
    return Choice((tuple(tokenizer(text, add_special_tokens=False)["input_ids"]),))


def _choice(tokenizer: Any, texts: Sequence[str]) -> Choice:
    return Choice(tuple(tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts))
