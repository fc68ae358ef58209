"""Every consistent set of claims."""

from __future__ import annotations

import itertools

import pytest

from nuadapt.errors import DataError
from nuadapt.models.reasons.claims import CLAIM_TYPES, Claims


def consistent_claims() -> list[Claims]:
    found = []
    for values in itertools.product(*((None, *kind) for kind in CLAIM_TYPES.values())):
        try:
            found.append(Claims(**dict(zip(CLAIM_TYPES, values, strict=True))))
        except DataError:
            continue
    return [c for c in found if c.stated()]


@pytest.fixture(scope="session")
def all_claims() -> list[Claims]:
    """1,517 sets: all combinations that do not contradict themselves, without the empty one."""
    return consistent_claims()
