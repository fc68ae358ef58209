"""Random particle clouds for the tests of cloud models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nuadapt.models.cloud import KINEMATICS, CloudShape

FURTHER = ("dedx", "x", "y", "z", "time")
CLOUD = CloudShape((*KINEMATICS, *FURTHER), n_types=5, n_globals=15)
Cloud = dict[str, Tensor]


def random_cloud(shape: CloudShape = CLOUD, lengths: tuple[int, ...] = (5, 1, 33, 0, 12, 7), seed: int = 1) -> Cloud:
    """Events of these numbers of tokens, with padded places among the real ones that are full of large values."""
    random = torch.Generator().manual_seed(seed)
    events, places = len(lengths), max(lengths) + 2
    mask = torch.zeros(events, places, dtype=torch.bool)
    for event, length in enumerate(lengths):
        mask[event, torch.randperm(places, generator=random)[:length]] = True
    tokens = torch.randn(events, places, len(shape.columns), generator=random)
    type = torch.randint(1, max(shape.n_types, 1) + 1, (events, places), generator=random)
    return {
        "tokens": torch.where(mask[..., None], tokens, 1e4),
        "type": torch.where(mask, type, 0),
        "mask": mask,
        "globals": torch.randn(events, shape.n_globals, generator=random),
    }


@pytest.fixture(scope="session")
def cloud_shape() -> CloudShape:
    return CLOUD


@pytest.fixture(scope="session")
def make_cloud() -> Callable[..., Cloud]:
    return random_cloud
