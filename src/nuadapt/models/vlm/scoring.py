"""Exact class probabilities: log P(label | images, prompt) for every label, in one pass over an event's tokens.

The common beginning is evaluated once for all events; behind each event's tokens stands the tree of all labels
(:mod:`nuadapt.models.vlm.label_tree`), whose branches do not see each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nuadapt.models.vlm.label_tree import LabelScores, LabelTree
from nuadapt.models.vlm.sequences import ImageTokens, Sequences, Words, additive, repeated, sequences


def score_labels(
    model: Any, words: Words, cache: Any, images: ImageTokens, tree: LabelTree, notes: Sequence[Sequence[int]] = ()
) -> LabelScores:
    """Token scores of every label for each event of a batch.

    Args:
        cache: of the common beginning, see :func:`nuadapt.models.vlm.sequences.common_cache`.
        notes: token numbers behind the images of each event.
    """
    given = sequences(model, words, images, notes=notes)
    batch, nodes = len(given.length), len(tree.tokens)
    device = given.embeds.device
    branches = model.get_input_embeddings()(torch.tensor(tree.tokens, device=device)).expand(batch, -1, -1)
    begin = cache.get_seq_length()
    hidden = model.model.text_model(
        inputs_embeds=torch.cat([given.embeds, branches.to(given.embeds.dtype)], dim=1),
        attention_mask=additive(_visible(given, tree, begin), given.embeds.dtype),
        position_ids=_positions(given, tree, begin),
        past_key_values=repeated(cache, batch),
        use_cache=True,
    ).last_hidden_state  # (B, T + K, D)
    last = hidden[torch.arange(batch, device=device), given.length - 1]  # (B, D): predicts the first label token
    return tree.scores(model.lm_head(torch.cat([last[:, None], hidden[:, -nodes:]], dim=1)))


def _visible(given: Sequences, tree: LabelTree, begin: int) -> Tensor:
    """Who may look at whom, (B, T + K, begin + T + K) bool."""
    batch, length = given.real.shape
    nodes, device = len(tree.tokens), given.real.device
    visible = torch.zeros(batch, length + nodes, begin + length + nodes, dtype=torch.bool, device=device)
    visible[:, :, :begin] = True
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    visible[:, :length, begin : begin + length] = causal  # what a padding token sees is of no consequence
    visible[:, length:, begin : begin + length] = given.real[:, None]
    visible[:, length:, begin + length :] = tree.sees().to(device)
    return visible


def _positions(given: Sequences, tree: LabelTree, begin: int) -> Tensor:
    """Positions (B, T + K): a branch goes on where its event's own tokens end, whatever the padding."""
    batch, length = given.real.shape
    device = given.real.device
    plain = torch.arange(length, device=device).expand(batch, -1)
    branches = given.length[:, None] + torch.tensor(tree.depth, device=device)
    return begin + torch.cat([plain, branches], dim=1)
