"""Events of unequal length without padding: flat rows, grouped into dense blocks of equal length.

Events are sorted by their number of tokens and their rows written one behind another, so that the rows of all events
of one length are a dense block. Layers that act on rows see one flat tensor, and attention sees one block per length,
without masks: nothing is ever computed on padding, and what stands in padded places cannot matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: ``(sets, members)`` of each block in order of rows: a block is ``sets`` sets of ``members`` rows each.
Groups = tuple[tuple[int, int], ...]


def blocks(rows: Tensor, groups: Groups) -> list[Tensor]:
    """Views (sets, members, ...) of rows (R, ...), one for each group."""
    parts = torch.split(rows, [sets * members for sets, members in groups])
    return [part.reshape(*group, *rows.shape[1:]) for part, group in zip(parts, groups, strict=True)]


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a batch stand, in order of events by length."""

    order: Tensor  # (B,) events by number of tokens
    rows: Tensor  # (R,) places of real tokens in the flattened batch (B * N)
    groups: Groups  # (events, tokens of each)

    @classmethod
    def of(cls, mask: Tensor) -> Packing:
        """The packing of a batch; ``mask`` (B, N) is true at real tokens, which may stand anywhere."""
        lengths = mask.sum(1)  # (B,)
        order = lengths.argsort(stable=True)
        event, place = mask[order].nonzero(as_tuple=True)
        groups = tuple((sets, members) for members, sets in enumerate(lengths.bincount().tolist()) if sets)
        return cls(order, order[event] * mask.shape[1] + place, groups)

    def pack(self, padded: Tensor) -> Tensor:
        """Real tokens of (B, N, ...) as rows (R, ...)."""
        return padded.flatten(0, 1).index_select(0, self.rows)

    def restore(self, events: Tensor) -> Tensor:
        """Events (B, ...) in the order of the batch."""
        return torch.empty_like(events).index_copy(0, self.order, events)


def prepend(first: Tensor, rows: Tensor, groups: Groups) -> tuple[Tensor, Groups]:
    """Rows with ``first`` (sets, E, D) put in front of every set, and their groups."""
    heads = torch.split(first, [sets for sets, _ in groups])
    joined = [torch.cat([a, b], dim=1).flatten(0, 1) for a, b in zip(heads, blocks(rows, groups), strict=True)]
    return torch.cat(joined), tuple((sets, members + first.shape[1]) for sets, members in groups)


def detach_front(rows: Tensor, groups: Groups, n: int) -> tuple[Tensor, Tensor, Groups]:
    """Inverse of :func:`prepend`: the first ``n`` members of every set (sets, n, D), the other rows, their groups."""
    parts = blocks(rows, groups)
    rest = torch.cat([part[:, n:].flatten(0, 1) for part in parts])
    return torch.cat([part[:, :n] for part in parts]), rest, tuple((sets, members - n) for sets, members in groups)


def set_mean(rows: Tensor, groups: Groups) -> Tensor:
    """Mean over the members of every set (sets, D); 0 for a set without members."""
    return torch.cat([part.sum(1) / max(part.shape[1], 1) for part in blocks(rows, groups)])


class Attention(nn.Module):
    """Multi-head attention within each set (Vaswani et al., arXiv:1706.03762), without biases.

    Parameters have the names and shapes of ``torch.nn.MultiheadAttention(bias=False)``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, rows: Tensor, groups: Groups, bias: Sequence[Tensor] | None = None) -> Tensor:
        """Every row asks the rows of its set.

        Args:
            rows: (R, D).
            groups: which rows are a set.
            bias: added to the scores before the softmax, (sets, heads, members, members) for each group.
        """
        qkv = F.linear(rows, self.in_proj_weight).view(-1, 3, self.heads, self.head_dim)  # (R, 3, H, d)
        found = []
        for i, block in enumerate(blocks(qkv, groups)):  # (S, M, 3, H, d)
            q, k, v = block.permute(2, 0, 3, 1, 4)  # (S, H, M, d) each
            found.append(_attend(q, k, v, bias[i] if bias is not None else None).flatten(0, 1))
        mixed: Tensor = self.out_proj(torch.cat(found))
        return mixed

    def ask(self, queries: Tensor, rows: Tensor, groups: Groups) -> Tensor:
        """Queries (sets, T, D) ask the rows of their set, (sets, T, D); the answer of an empty set is 0."""
        dim = queries.shape[-1]
        q_all = F.linear(queries, self.in_proj_weight[:dim])  # (B, T, D)
        q_all = q_all.view(*queries.shape[:2], self.heads, self.head_dim)  # (B, T, H, d)
        kv_all = F.linear(rows, self.in_proj_weight[dim:]).view(-1, 2, self.heads, self.head_dim)  # (R, 2, H, d)
        found = []
        for q, kv in zip(torch.split(q_all, [sets for sets, _ in groups]), blocks(kv_all, groups), strict=True):
            k, v = kv.permute(2, 0, 3, 1, 4)  # (S, H, M, d) each
            found.append(_attend(q.transpose(1, 2), k, v))
        answer: Tensor = self.out_proj(torch.cat(found))
        return answer


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of q (S, H, T, d) to k and v (S, H, M, d), as (S, T, H * d)."""
    if not (q.numel() and k.numel()):
        return q.new_zeros(q.shape[0], q.shape[2], q.shape[1] * q.shape[3])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
