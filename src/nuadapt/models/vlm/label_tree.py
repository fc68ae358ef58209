"""All labels at once: their tokens as a tree, so that one pass over the model scores every label exactly.

Labels that begin alike share the nodes of their beginning. A node is a token that must be fed to the model to learn
what follows it; the last token of a label is only looked up. Every node sees the prompt and its own ancestors, no
other branch, so its scores equal those of a pass with that label alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nuadapt.errors import ConfigError

#: Ways to make one score of a label's token scores.
HOW = ("sum", "mean", "first_token")
#: Scale of log-probabilities in the published confidence (Sagar et al., arXiv:2509.08461).
PUBLISHED_SCALE = 5.0


@dataclass(frozen=True)
class LabelTree:
    """``tokens`` (K,) to feed, ``parent`` (K,) node before each (-1: the prompt), ``depth`` (K,) from 0.

    ``asked`` per label: the node after which each of its tokens is looked up (-1: the prompt); ``labels``: its tokens.
    """

    tokens: tuple[int, ...]
    parent: tuple[int, ...]
    depth: tuple[int, ...]
    asked: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, labels: Sequence[Sequence[int]]) -> LabelTree:
        """From the token numbers of each label.

        Raises:
            ConfigError: an empty label, or one that is the beginning of another (their scores would not be exclusive).
        """
        plain = tuple(tuple(int(t) for t in label) for label in labels)
        for a in range(len(plain)):
            for b in range(len(plain)):
                if not plain[a] or (a != b and plain[b][: len(plain[a])] == plain[a]):
                    raise ConfigError(f"label {a} with tokens {plain[a]} is the beginning of label {b}: {plain[b]}")
        nodes: dict[tuple[int, ...], int] = {}
        asked = []
        for label in plain:
            for end in range(1, len(label)):
                nodes.setdefault(label[:end], len(nodes))
            asked.append(tuple(nodes[label[:end]] if end else -1 for end in range(len(label))))
        paths = list(nodes)
        return cls(
            tokens=tuple(path[-1] for path in paths),
            parent=tuple(nodes[path[:-1]] if len(path) > 1 else -1 for path in paths),
            depth=tuple(len(path) - 1 for path in paths),
            asked=tuple(asked),
            labels=plain,
        )

    def sees(self) -> Tensor:
        """Which nodes (column) a node (row) may look at: itself and its ancestors, (K, K) bool."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen

    def scores(self, logits: Tensor) -> LabelScores:
        """Token scores of all labels from ``logits`` (B, 1 + K, vocabulary) of the prompt's end and of the nodes."""
        log_p = logits.float().log_softmax(dim=-1)
        return LabelScores(
            tuple(
                log_p[:, [node + 1 for node in asked], list(label)]  # (B, tokens of the label)
                for asked, label in zip(self.asked, self.labels, strict=True)
            ),
            self.labels,
        )


@dataclass(frozen=True)
class LabelScores:
    """log P of each token given all before it: one (B, tokens) tensor per label; ``labels`` are their tokens."""

    tokens: tuple[Tensor, ...]
    labels: tuple[tuple[int, ...], ...]

    def log_p(self, how: str = "sum") -> Tensor:
        """One score per label, (B, L), not yet normalised over labels.

        ``sum``: log P(label | images, prompt), the exact one. ``mean``: per token, so that long labels are not
        punished. ``first_token``: of the first token alone, as published; labels that begin alike share it.

        Raises:
            ConfigError: unknown ``how``.
        """
        if how not in HOW:
            raise ConfigError(f"unknown way '{how}' to score a label", expected=", ".join(HOW))
        if how == "sum":
            return torch.stack([t.sum(dim=1) for t in self.tokens], dim=1)
        if how == "mean":
            return torch.stack([t.mean(dim=1) for t in self.tokens], dim=1)
        return torch.stack([t[:, 0] for t in self.tokens], dim=1)

    def posterior(self, how: str = "sum") -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Probabilities over the label set, (B, L), rows sum to 1; ``first_token`` with the published scale of 5."""
        scale = PUBLISHED_SCALE if how == "first_token" else 1.0
        found: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
            (scale * self.log_p(how).double()).softmax(dim=1).cpu().numpy()
        )
        return found

    def greedy(self) -> Tensor:
        """The label that token-by-token greedy generation ends with if only labels may be said, (B,).

        At every step the likeliest token among those that continue a label is taken.
        """
        device = self.tokens[0].device
        alive = torch.ones(len(self.tokens[0]), len(self.labels), dtype=torch.bool, device=device)
        for step in range(max(len(label) for label in self.labels)):
            continued = [i for i, label in enumerate(self.labels) if step < len(label)]
            token = torch.full((len(self.labels),), -1, device=device)  # -1: this label has ended
            token[continued] = torch.tensor([self.labels[i][step] for i in continued], device=device)
            score = torch.full(alive.shape, -torch.inf, dtype=torch.float64, device=device)
            score[:, continued] = torch.stack([self.tokens[i][:, step].double() for i in continued], dim=1)
            best = score.masked_fill(~alive, -torch.inf).argmax(dim=1)  # (B,)
            going_on = alive[:, continued].any(dim=1, keepdim=True)
            alive &= ~going_on | (token[best][:, None] == token)
        return alive.int().argmax(dim=1)
