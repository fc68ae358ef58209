"""The vision tower of the offline model, and how it skips what is empty.

A tower is the vision part of a SmolVLM model of ``transformers``. A pixel map is 99% empty, so the encoder is run on
the patches that hold charge and on nothing else: each image becomes the short sequence of its occupied patches, and
images of similar length share a batch. The result equals that of the whole grid with empty patches masked out as keys.

One part is not the library's: patches are embedded by a small convolutional network over the whole image instead of one
linear map per patch. What a patch shows (a thin track, two of them, a blob) does not depend on where in the patch it
lies, which a linear map must learn for every place; early convolutions make transformers learn from far fewer images
(Xiao et al., arXiv:2106.14881).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionTransformer

from nuadapt.errors import ConfigError

#: Images encoded together: sorted by length, so that little of a group is padding.
GROUP = 16


def tower_config(given: Mapping[str, Any]) -> SmolVLMVisionConfig:
    """Configuration from the ``vision`` part of a preset: image_size, patch_size, stem, hidden_size, ..."""
    return SmolVLMVisionConfig(num_channels=1, **given)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity, (n, C, H, W) -> (n, C, H, W); at first nearly the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        # A branch that begins near zero lets residual networks train without normalisation (arXiv:1901.09321).
        self.second.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        added: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + added


class ConvStem(nn.Module):
    """Embeds patches by a small convolutional network over the whole image, (n, 1, H, W) -> (n, D, H / p, W / p).

    Takes the place of the library's patch embedding. ``stages`` are [channels, residual blocks]; each halves the
    image, so that a patch is 2 to the power of their number.

    Raises:
        ConfigError: stages that do not fit the patch.
    """

    def __init__(self, stages: Sequence[Sequence[int]], patch: int, width: int) -> None:
        super().__init__()
        if 2 ** len(stages) != patch:
            raise ConfigError(f"{len(stages)} stages for patches of {patch} pixels", expected="patch = 2 ** stages")
        layers: list[nn.Module] = []
        before = 1
        for channels, blocks in stages:
            kernel = 5 if before == 1 else 3
            layers += [nn.Conv2d(before, channels, kernel, stride=2, padding=kernel // 2)]
            layers += [*(Residual(channels) for _ in range(blocks)), nn.ReLU()]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, width, 1))
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """All patches: (n, 1, H, W) -> (n, D, H / p, W / p)."""
        # Channels beside each other in memory: on CPUs convolutions in bfloat16 are several times faster so.
        single = pixels.reshape(len(pixels), *pixels.shape[2:], 1).permute(0, 3, 1, 2)
        grid: Tensor = self.norm(self.layers(single).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return grid


def new_tower(config: SmolVLMVisionConfig) -> SmolVLMVisionTransformer:
    """A tower with fresh weights."""
    config._attn_implementation = "eager"  # for so short sequences its gradient is faster on CPUs
    tower = SmolVLMVisionTransformer(config)
    # The library draws these with unit variance; small ones leave the content readable at first.
    nn.init.normal_(tower.embeddings.position_embedding.weight, std=0.02)
    embeddings: Any = tower.embeddings
    embeddings.patch_embedding = ConvStem(config.stem, embeddings.patch_size, config.hidden_size)
    return tower


def resized(pixels: Tensor, side: int) -> Tensor:
    """Grey images (n, H, W) at the tower's size, (n, side, side).

    Fewer pixels are repeated (a coarse map stays as coarse as it is), more are averaged.
    """
    height, width = pixels.shape[-2:]
    if (height, width) == (side, side):
        return pixels
    mode = "area" if min(height, width) > side else "nearest"
    return F.interpolate(pixels[:, None], size=(side, side), mode=mode)[:, 0]


def occupied(pixels: Tensor, patch: int, above: float) -> Tensor:
    """Which patches hold a pixel brighter than ``above`` (grey level), (n, side, side) -> (n, P) in row order.

    An image without any keeps its middle patch, where the vertex is: no image is an empty sequence.
    """
    keep = (F.max_pool2d(pixels[:, None], patch) > above).flatten(1)  # (n, P)
    n_side = pixels.shape[-1] // patch
    empty = ~keep.any(dim=1)
    keep[empty, (n_side // 2) * n_side + n_side // 2] = True
    return keep


def encode(tower: SmolVLMVisionTransformer, pixels: Tensor, keep: Tensor) -> Tensor:
    """Features of the K patches ``keep`` (n, P) of images (n, side, side), image by image in row order: (K, D)."""
    embedded = _embed(tower, pixels, keep)  # (K, D)
    first = F.pad(keep.sum(dim=1).cumsum(0), (1, 0))  # where the patches of each image begin
    encoded, places = [], []
    for rows, valid in groups(keep):
        place = first[rows][:, None] + torch.arange(valid.shape[1], device=keep.device)  # (g, T)
        hidden = embedded[place.clamp_max(len(embedded) - 1)]  # (g, T, D); what is not valid is padding
        hide = hidden.new_zeros(valid.shape).masked_fill(~valid, torch.finfo(hidden.dtype).min)[:, None, None]
        for layer in tower.encoder.layers:
            hidden = layer(hidden, hide)  # hide (g, 1, 1, T) is added to the attention scores
        encoded.append(hidden[valid])
        places.append(place[valid])
    features: Tensor = tower.post_layernorm(torch.cat(encoded))
    return features[torch.cat(places).argsort()]


def _embed(tower: SmolVLMVisionTransformer, pixels: Tensor, keep: Tensor) -> Tensor:
    """What the tower's embedding gives for the patches ``keep``: (K, D)."""
    embeddings: Any = tower.embeddings
    content: Tensor = embeddings.patch_embedding(pixels[:, None]).flatten(2).transpose(1, 2)[keep]
    place: Tensor = embeddings.position_embedding.weight[keep.nonzero(as_tuple=True)[1]]
    return content + place


def on_grid(features: Tensor, keep: Tensor) -> Tensor:
    """Features (K, D) of the patches ``keep`` (n, P) at their places, zero elsewhere: (n, P, D)."""
    grid = features.new_zeros(*keep.shape, features.shape[-1])
    return grid.index_put(keep.nonzero(as_tuple=True), features)


def groups(keep: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of similar length together: ``rows`` (g,), and ``valid`` (g, T): which of T places hold a patch."""
    counts = keep.sum(dim=1)
    for rows in torch.split(counts.argsort(descending=True, stable=True), GROUP):
        yield rows, torch.arange(int(counts[rows[0]]), device=keep.device) < counts[rows][:, None]
