"""Random particle clouds for the tests of cloud models."""

from __future__ import annotations

import torch
from torch import Tensor

from nuadapt.models.cloud import KINEMATICS, CloudShape

FURTHER = ("dedx", "x", "y", "z", "time")
CLOUD = CloudShape((*KINEMATICS, *FURTHER), n_types=5, n_globals=15)
CLASSES = ("one", "two", "three", "four", "five")


def random_cloud(cloud: CloudShape = CLOUD, lengths: tuple[int, ...] = (5, 1, 33, 12, 7), seed: int = 1) -> dict[str, Tensor]:
    """Events of these numbers of tokens, padded places spread among the real ones and full of large values."""
    random = torch.Generator().manual_seed(seed)
    events, places = len(lengths), max(lengths) + 2
    mask = torch.zeros(events, places, dtype=torch.bool)
    for event, length in enumerate(lengths):
        mask[event, torch.randperm(places, generator=random)[:length]] = True
    tokens = torch.randn(events, places, len(cloud.columns), generator=random)
    type = torch.randint(1, max(cloud.n_types, 1) + 1, (events, places), generator=random)
    return {
        "tokens": torch.where(mask[..., None], tokens, 1e4),
        "type": torch.where(mask, type, 0),
        "mask": mask,
        "globals": torch.randn(events, cloud.n_globals, generator=random),
    }
