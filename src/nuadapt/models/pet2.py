"""Point-Edge Transformer 2 (OmniLearned; arXiv:2510.24066), under the parameter names of ``omnilearned`` 0.2.0.

Written afresh from the published description and the behaviour of that package, so that its checkpoints load (see
:mod:`nuadapt.models.weights`) and give the same function. What differs:

* Padding is told by an explicit mask. There, a token is padding if its ln pT is exactly 0.
* Nothing is computed on padding, and pairs of tokens are looked at once, since what is asked of them is symmetric.
* A token's nearest neighbours are all tokens but itself. There, the first of the sorted list is left out, which for
  tokens at the very same place may be the other one.
* With ``wrap_azimuth`` differences of azimuths lie in [-pi, pi). In jets they do anyway.

The same weights are another function for another ``num_coord`` or number of neighbours, without any sign of it in the
shapes. Class and command line of ``omnilearned`` 0.2.0 disagree in their defaults (3 and 15; 2 and 10); its published
checkpoints were made with the command line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.errors import ConfigError
from nuadapt.models.cloud import KINEMATICS, CloudModel, CloudShape
from nuadapt.models.ragged import Attention, Groups, Packing, blocks, detach_front, prepend, set_mean

_ETA, _PHI, _LOG_PT, _ = range(len(KINEMATICS))
_PAIR_FEATURES = 3


class DynamicTanh(nn.Module):
    """weight * tanh(alpha * x), in place of a normalisation (Zhu et al., arXiv:2503.10622)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), 0.5))
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return torch.tanh(self.alpha * x) * self.weight


class MLP(nn.Module):
    """Two linear layers, GELU and a norm between them."""

    def __init__(self, dim: int, hidden: int, out: int, *, norm: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.norm = DynamicTanh(hidden) if norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., out)."""
        y: Tensor = self.fc2(self.norm(F.gelu(self.fc1(x))))
        return y


class Block(nn.Module):
    """Attention among the rows of a set, then an MLP on every row; each is added to what was there."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = DynamicTanh(dim), DynamicTanh(dim)
        self.attn = Attention(dim, heads)
        self.mlp = MLP(dim, hidden, dim)

    def forward(self, rows: Tensor, groups: Groups, bias: list[Tensor] | None = None) -> Tensor:
        """(R, D) -> (R, D); ``bias`` as in :class:`~nuadapt.models.ragged.Attention`."""
        rows = rows + self.attn(self.norm1(rows), groups, bias)
        mixed: Tensor = rows + self.mlp(self.norm2(rows))
        return mixed


class TokenBlock(nn.Module):
    """Tokens of an event ask its rows, which stay as they are."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm = DynamicTanh(dim)
        self.attn = Attention(dim, heads)
        self.mlp = MLP(dim, hidden, dim)

    def forward(self, tokens: Tensor, rows: Tensor, groups: Groups) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        tokens = tokens + self.attn.ask(tokens, rows, groups)
        mixed: Tensor = tokens + self.mlp(self.norm(tokens))
        return mixed


def _difference(a: Tensor, b: Tensor, wrap: bool) -> Tensor:
    """a - b of kinematics (..., 4), the azimuth in [-pi, pi) if it is to be wrapped."""
    difference = a - b
    if not wrap:
        return difference
    azimuth = torch.remainder(difference[..., _PHI] + math.pi, 2 * math.pi) - math.pi
    return torch.cat([difference[..., :_PHI], azimuth.unsqueeze(-1), difference[..., _PHI + 1 :]], dim=-1)


def _safe_log(x: Tensor) -> Tensor:
    """ln x, and 0 where x is not positive, with a finite gradient."""
    return torch.where(x > 0, x, 1).log()


def pair_features(a: Tensor, b: Tensor, wrap: bool) -> Tensor:
    """ln of squared mass (massless tokens, GeV^2), of distance, and of relative kT (GeV): (..., 4) -> (..., 3).

    Each is 0 where its argument is not positive, so for a token with itself.
    """
    difference = _difference(a, b, wrap)
    eta, phi = difference[..., _ETA], difference[..., _PHI]
    angular = torch.cosh(eta) - torch.cos(phi)
    pt_a, pt_b = a[..., _LOG_PT], b[..., _LOG_PT]
    mass = torch.where(angular > 0, math.log(2) + pt_a + pt_b + _safe_log(angular), 0)
    apart = eta.square() + phi.square()
    distance = 0.5 * _safe_log(apart)
    kt = torch.where(apart > 0, torch.minimum(pt_a, pt_b) + distance, 0)
    return torch.stack([mass, distance, kt], dim=-1)


class InputBlock(nn.Module):
    """Kinematics (R, 4) to rows (R, D)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = DynamicTanh(len(KINEMATICS))
        self.mlp = MLP(len(KINEMATICS), hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(R, 4) -> (R, D)."""
        rows: Tensor = self.mlp(self.norm(x))
        return rows


class Interaction(nn.Module):
    """A term of the attention scores for every pair of tokens, from what the pair has in common."""

    def __init__(self, width: int, heads: int, wrap: bool) -> None:
        super().__init__()
        self.wrap = wrap
        self.mlp = MLP(_PAIR_FEATURES, 2 * width, heads, norm=False)

    def forward(self, x: Tensor, groups: Groups) -> list[Tensor]:
        """Kinematics (R, 4) to a symmetric bias (sets, heads, members, members) for each group."""
        features = []
        for block in blocks(x, groups):  # (S, M, 4)
            i, j = torch.triu_indices(block.shape[1], block.shape[1], 1, device=x.device)
            pairs = pair_features(block[:, i], block[:, j], self.wrap)  # (S, M (M - 1) / 2, 3)
            # The first place is for the diagonal: a token with itself has features 0.
            features.append(F.pad(pairs, (0, 0, 1, 0)))
        terms = self.mlp(torch.cat([f.flatten(0, 1) for f in features]))  # (pairs of all events, H)
        parts = blocks(terms, tuple((f.shape[0], f.shape[1]) for f in features))
        return [_symmetric(part, members) for part, (_, members) in zip(parts, groups, strict=True)]


def _symmetric(terms: Tensor, members: int) -> Tensor:
    """Terms (S, 1 + M (M - 1) / 2, H) of diagonal and upper triangle as matrices (S, H, M, M)."""
    i, j = torch.triu_indices(members, members, 1, device=terms.device)
    place = torch.zeros(members, members, dtype=torch.long, device=terms.device)
    place[i, j] = place[j, i] = torch.arange(1, len(i) + 1, device=terms.device)
    square = terms.index_select(1, place.flatten()).view(len(terms), members, members, terms.shape[-1])
    return square.permute(0, 3, 1, 2)


class LocalPhysics(nn.Module):
    """What stands around a token: attention among its nearest neighbours, then their mean."""

    def __init__(self, preset: Mapping[str, Any]) -> None:
        super().__init__()
        width, heads = int(preset["width"]), int(preset["heads"])
        self.wrap = bool(preset["wrap_azimuth"])
        self.neighbours, self.num_coord = int(preset["neighbours"]), int(preset["num_coord"])
        self.with_pairs = bool(preset["local_interaction"])
        features = len(KINEMATICS) + _PAIR_FEATURES * self.with_pairs
        self.mlp = MLP(features, int(preset["mlp_ratio"] * width), width)
        self.in_blocks = nn.ModuleList(Block(width, heads, 2 * width) for _ in range(int(preset["head_depth"])))

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        """Kinematics (R, 4) to rows (R, D); 0 for the only token of an event."""
        neighbour, around = self.nearest(x, groups)  # (pairs,), and which pairs have their centre in common
        centre = torch.cat([part.flatten() for part in _own_place(around, x.device)])  # (pairs,)
        a, b = x.index_select(0, centre), x.index_select(0, neighbour)  # (pairs, 4)
        features = _difference(a, b, self.wrap)
        if self.with_pairs:
            features = torch.cat([features, pair_features(a, b, self.wrap)], dim=-1)
        rows = self.mlp(features)
        for block in self.in_blocks:
            rows = block(rows, around)
        return set_mean(rows, around)

    @torch.no_grad()
    def nearest(self, x: Tensor, groups: Groups) -> tuple[Tensor, Groups]:
        """Rows of the nearest neighbours of all rows, and groups (rows, their number of neighbours)."""
        found, counts, start = [], [], 0
        for block in blocks(x, groups):  # (S, M, 4)
            sets, members = block.shape[:2]
            k = max(min(self.neighbours, members - 1), 0)
            apart = _difference(block.unsqueeze(2), block.unsqueeze(1), self.wrap)[..., : self.num_coord]
            distance = apart.square().sum(-1)  # (S, M, M)
            distance.diagonal(dim1=1, dim2=2).fill_(math.inf)  # nobody is his own neighbour
            near = distance.topk(k, largest=False, sorted=False).indices  # (S, M, k)
            first = start + members * torch.arange(sets, device=x.device)  # row of the first token of each event
            found.append((near + first[:, None, None]).flatten())
            counts.append((sets * members, k))
            start += sets * members
        return torch.cat(found), _merged(counts)


def _own_place(around: Groups, device: torch.device) -> list[Tensor]:
    """The row of each centre, repeated for its neighbours: (centres, k) for each group."""
    places, start = [], 0
    for centres, k in around:
        places.append(torch.arange(start, start + centres, device=device)[:, None].expand(centres, k))
        start += centres
    return places


def _merged(counts: list[tuple[int, int]]) -> Groups:
    """Groups with adjacent ones of equal size joined: all long events have the same number of neighbours."""
    merged: list[tuple[int, int]] = []
    for sets, members in counts:
        if merged and merged[-1][1] == members:
            merged[-1] = (merged[-1][0] + sets, members)
        else:
            merged.append((sets, members))
    return tuple(merged)


class Fourier(nn.Module):
    """A time from 0 to 1 as waves of fixed random frequencies, 0 at time 0 (names and draws of ``omnilearned``)."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(width))
        self.register_buffer("phases", 2 * math.pi * torch.rand(width))

    def forward(self, time: Tensor) -> Tensor:
        """(B,) -> (B, width); phases of fast waves need all digits, so float32 whatever the rest is."""
        at, freqs, phases = (part.to(torch.float32) for part in (time[:, None], self.freqs, self.phases))
        waves = torch.cos(at * freqs + phases)
        return time[:, None] * (math.sqrt(2) * waves).to(time.dtype)


class Body(nn.Module):
    """The part that is pretrained: from a cloud to rows that know of each other. A ``timed`` one may be told a time."""

    def __init__(self, preset: Mapping[str, Any], cloud: CloudShape, *, timed: bool = False) -> None:
        super().__init__()
        width, heads = int(preset["width"]), int(preset["heads"])
        hidden = int(preset["mlp_ratio"] * width)
        self.kinematics, self.further = cloud.indices(*KINEMATICS), cloud.further
        self.embed = InputBlock(width, hidden)
        self.interaction = Interaction(width, heads, bool(preset["wrap_azimuth"])) if preset["interaction"] else None
        self.local_physics = LocalPhysics(preset)
        # The package wraps these three into sequences with a dropout of whole features, hence "0." in their names.
        self.cond_embed = nn.Sequential(MLP(cloud.n_globals, width, width)) if cloud.n_globals else None
        self.add_embed = nn.Sequential(MLP(len(self.further), hidden, width, bias=False)) if self.further else None
        self.MPFourier = Fourier(width) if timed else None
        self.time_embed = MLP(width, hidden, width, bias=False) if timed else None
        types = nn.Embedding(cloud.n_types + 1, width, padding_idx=0) if cloud.n_types else None
        self.pid_embed = nn.Sequential(types) if types is not None else None
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, int(preset["tokens"]), width), std=0.02))
        self.in_blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(int(preset["depth"])))
        self.norm = DynamicTanh(width)

    def forward(
        self, tokens: Tensor, type: Tensor, globals: Tensor, packing: Packing, time: Tensor | None = None
    ) -> tuple[Tensor, Groups]:
        """Rows and groups of events in packed order; each event begins with its tokens, time and event-level row.

        Args as in :meth:`~nuadapt.models.cloud.CloudModel.forward`; ``time`` (B,) of noised events. The package gives
        events without noise the time 0, whose row it then takes for padding: the same as none.
        """
        given, groups = packing.pack(tokens), packing.groups
        x = given[:, self.kinematics]  # (R, 4)
        rows = self.embed(x) + self.local_physics(x, groups)
        if self.pid_embed is not None:
            rows = rows + self.pid_embed(packing.pack(type))
        if self.add_embed is not None:
            rows = rows + self.add_embed(given[:, self.further])
        front = self.token.expand(len(tokens), -1, -1)  # (B, T, D)
        if time is not None and self.MPFourier is not None and self.time_embed is not None:
            front = torch.cat([front, self.time_embed(self.MPFourier(time[packing.order])).unsqueeze(1)], dim=1)
        if self.cond_embed is not None:
            front = torch.cat([front, self.cond_embed(globals[packing.order]).unsqueeze(1)], dim=1)
        bias = None
        if self.interaction is not None:
            n = front.shape[1]
            bias = [F.pad(b, (n, 0, n, 0)) for b in self.interaction(x, groups)]
        rows, groups = prepend(front, rows, groups)
        for block in self.in_blocks:
            rows = block(rows, groups, bias)
        return self.norm(rows), groups


class Classifier(nn.Module):
    """Scores of events from the rows of the body."""

    def __init__(self, preset: Mapping[str, Any], n_scores: int) -> None:
        super().__init__()
        width, heads, ratio = int(preset["width"]), int(preset["heads"]), preset["mlp_ratio"]
        self.tokens = int(preset["tokens"])
        depth = int(preset["head_depth"])
        self.in_blocks = nn.ModuleList(TokenBlock(width, heads, int(ratio * width)) for _ in range(depth))
        joined = self.tokens * width
        self.fc = MLP(joined, int(ratio * joined), joined)
        self.out = nn.Linear(joined, n_scores)

    def forward(self, rows: Tensor, groups: Groups) -> Tensor:
        """(R, D) -> (B, n_scores), events in packed order."""
        tokens, rows, groups = detach_front(rows, groups, self.tokens)
        for block in self.in_blocks:
            tokens = block(tokens, rows, groups)
        scores: Tensor = self.out(self.fc(tokens.flatten(1)))
        return scores


class PET2(CloudModel):
    """Body and head for a task."""

    backbone = "body"
    timed: ClassVar[bool] = False

    def __init__(
        self,
        preset: Mapping[str, Any],
        cloud: CloudShape,
        classes: tuple[str, ...],
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(cloud, classes, label_smoothing)
        if preset["num_coord"] not in (2, 3):
            raise ConfigError(
                f"num_coord {preset['num_coord']}", expected="2 (eta, phi) or 3 (eta, phi, ln pT) for distances"
            )
        self.body = Body(preset, cloud, timed=self.timed)
        self.classifier = Classifier(preset, self.n_scores)
        self.apply(initialise)

    def scores(self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor) -> Tensor:
        """Scores (B, n_scores)."""
        packing = Packing.of(mask)
        return packing.restore(self.classifier(*self.body(tokens, type, globals, packing)))


def initialise(module: nn.Module) -> None:
    """Xavier for linear layers, as the package does."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build(
    preset: Mapping[str, Any], *, cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``pet2``.

    Raises:
        ConfigError: a cloud without kinematic columns, an impossible ``num_coord`` or number of classes.
    """
    return PET2(preset, cloud, classes, label_smoothing)
