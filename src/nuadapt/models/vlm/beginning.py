"""What all conversations with a chat model begin with (what it is told, solved examples, the question), evaluated once.

Everything in front of an event's first own picture is equal for all events. Its keys and values are kept and each event
goes on from them, at the positions that it would have in a whole conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

#: Model types that can go on from a beginning; a test holds each to the scores of whole conversations. Mllama is none
#: of them: as transformers computes it, words in front of a picture attend to that picture, by equal weights.
SHARING = ("idefics3", "qwen2_5_vl")


@dataclass(frozen=True)
class Beginning:
    """``cache``: keys and values for a batch of one; ``length`` in tokens; ``next``: position of what follows."""

    cache: Any
    length: int
    next: int


def read(model: Any, inputs: dict[str, Tensor]) -> Beginning:
    """The beginning whose ``inputs`` a processor made, evaluated; no word is predicted from it."""
    places = positions(model, inputs)
    given = model.model(**inputs, position_ids=places, use_cache=True)
    return Beginning(given.past_key_values, inputs["input_ids"].shape[1], int(places.max()) + 1)


def halves(text: str, mark: str, solved: int) -> tuple[str, str]:
    """A conversation cut in front of the first picture behind ``solved`` of them; ``mark`` stands for a picture."""
    parts = text.split(mark)
    return mark.join(parts[: solved + 1]), mark + mark.join(parts[solved + 1 :])


def positions(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Position of each token from 0, padding on the left left out: (B, T), or (3, B, T) for Qwen.

    Qwen numbers a picture by time, row and column (arXiv:2409.12191), by the library's own count.
    """
    if "image_grid_thw" in inputs and hasattr(model.model, "get_rope_index"):
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
        counted: Tensor = model.model.get_rope_index(**{name: inputs[name] for name in names})[0]
        return counted
    plain = (inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)
    return plain.expand(3, -1, -1) if hasattr(model.model, "get_rope_index") else plain
