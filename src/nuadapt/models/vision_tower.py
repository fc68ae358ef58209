"""The vision tower of the offline model, and how it skips what is empty.

A tower is the vision part of a SmolVLM model of ``transformers``. A pixel map is 99% empty, so the encoder is run on
the patches that hold charge and on nothing else: each image becomes the short sequence of its occupied patches, and
images of similar length share a batch. The result equals that of the whole grid with empty patches masked out as keys.

One part is not the library's: a patch is embedded by a few small convolutions instead of one linear map. What a patch
shows (a thin track, two of them, a blob) does not depend on where in the patch it lies, which a linear map must learn
for every place; early convolutions make transformers learn from far fewer images (Xiao et al., arXiv:2106.14881).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionTransformer

from nuadapt.errors import ConfigError

#: Images encoded together: sorted by length, so that little of a group is padding.
GROUP = 32


def tower_config(given: Mapping[str, Any]) -> SmolVLMVisionConfig:
    """Configuration from the ``vision`` part of a preset: image_size, patch_size, hidden_size, ..."""
    return SmolVLMVisionConfig(num_channels=1, **given)


class PatchStem(nn.Module):
    """Embeds patches with a halo of a quarter patch around each, (n, 1, H, W) -> (n, D, H / patch, W / patch).

    Takes the place of the library's patch embedding, and can be asked for chosen patches alone.
    """

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        if patch % 8:
            raise ConfigError(
                f"patches of {patch} pixels", expected="a multiple of 8: half a patch falls to 1/8 thrice"
            )
        self.patch, self.halo = patch, patch // 4
        side = patch + 2 * self.halo
        for _ in range(3):
            side = (side + 1) // 2
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128 * side**2, width),
            nn.LayerNorm(width),
        )

    def chosen(self, pixels: Tensor, keep: Tensor) -> Tensor:
        """Embeddings of the K patches ``keep`` (n, P) of images (n, side, side): (K, D)."""
        size, n_side = self.patch + 2 * self.halo, pixels.shape[-1] // self.patch
        windows = F.pad(pixels, [self.halo] * 4).unfold(1, size, self.patch).unfold(2, size, self.patch)
        image, at = keep.nonzero(as_tuple=True)
        found: Tensor = self.layers(windows[image, at // n_side, at % n_side][:, None])
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """All patches: (n, 1, H, W) -> (n, D, H / patch, W / patch)."""
        grid = [side // self.patch for side in pixels.shape[-2:]]
        everywhere = torch.ones(len(pixels), grid[0] * grid[1], dtype=torch.bool, device=pixels.device)
        chosen = self.chosen(pixels[:, 0], everywhere)
        return chosen.reshape(len(pixels), *grid, -1).permute(0, 3, 1, 2)


def new_tower(config: SmolVLMVisionConfig) -> SmolVLMVisionTransformer:
    """A tower with fresh weights."""
    config._attn_implementation = "sdpa"
    tower = SmolVLMVisionTransformer(config)
    # The library draws these with unit variance; small ones leave the content readable at first.
    nn.init.normal_(tower.embeddings.position_embedding.weight, std=0.02)
    embeddings: Any = tower.embeddings
    embeddings.patch_embedding = PatchStem(embeddings.patch_size, config.hidden_size)
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


def thinned(keep: Tensor, share: float) -> Tensor:
    """``keep`` (n, P) without a random ``share`` of each image's patches, at least one stays.

    Training on parts of an image is faster and regularises (Li et al., arXiv:2212.00794; Liu et al., arXiv:2208.07220).
    """
    order = torch.rand(keep.shape, device=keep.device).masked_fill(~keep, 2.0).argsort(dim=1).argsort(dim=1)
    stay = (keep.sum(dim=1, keepdim=True) * (1 - share)).ceil()
    return order < stay


def encode(tower: SmolVLMVisionTransformer, pixels: Tensor, keep: Tensor) -> Tensor:
    """Features of the K patches ``keep`` (n, P) of images (n, side, side), image by image in row order: (K, D)."""
    embedded = _embed(tower, pixels, keep)  # (K, D)
    first = F.pad(keep.sum(dim=1).cumsum(0), (1, 0))  # where the patches of each image begin
    encoded, places = [], []
    for rows, valid in _groups(keep):
        place = first[rows][:, None] + torch.arange(valid.shape[1], device=keep.device)  # (g, T)
        hidden = embedded[place.clamp_max(len(embedded) - 1)]  # (g, T, D); what is not valid is padding
        mask = valid[:, None, None, :].expand(-1, 1, valid.shape[1], -1)  # (g, 1, T, T): who may be looked at
        for layer in tower.encoder.layers:
            hidden = layer(hidden, mask)
        encoded.append(hidden[valid])
        places.append(place[valid])
    features: Tensor = tower.post_layernorm(torch.cat(encoded))
    return features[torch.cat(places).argsort()]


def _embed(tower: SmolVLMVisionTransformer, pixels: Tensor, keep: Tensor) -> Tensor:
    """What the tower's embedding gives for the patches ``keep``: (K, D)."""
    embeddings: Any = tower.embeddings
    content: Tensor = embeddings.patch_embedding.chosen(pixels, keep)
    place: Tensor = embeddings.position_embedding.weight[keep.nonzero(as_tuple=True)[1]]
    return content + place


def on_grid(features: Tensor, keep: Tensor) -> Tensor:
    """Features (K, D) of the patches ``keep`` (n, P) at their places, zero elsewhere: (n, P, D)."""
    grid = features.new_zeros(*keep.shape, features.shape[-1])
    return grid.index_put(keep.nonzero(as_tuple=True), features)


def _groups(keep: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of similar length together: ``rows`` (g,), and ``valid`` (g, T): which of T places hold a patch."""
    counts = keep.sum(dim=1)
    for rows in torch.split(counts.argsort(descending=True, stable=True), GROUP):
        yield rows, torch.arange(int(counts[rows[0]]), device=keep.device) < counts[rows][:, None]
