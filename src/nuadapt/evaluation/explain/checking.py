"""What a reason claims about an event, checked against features of its image, where nothing else is known.

How well the features themselves agree with the truth of the simulation is tested in tests/evaluation/explain.
"""

from __future__ import annotations

from collections.abc import Sequence

from nuadapt.evaluation.explain.faithfulness import verdicts
from nuadapt.evaluation.explain.image_claims import claims_of_images
from nuadapt.events.pixelmap import ADDITIVE_UNITS, PixelMaps
from nuadapt.models.reasons.claims import Claims
from nuadapt.models.reasons.parser import parse_reason


def checked_claims(reasons: Sequence[str], maps: PixelMaps) -> list[str]:
    """The claims of each reason as ``claim=value: verdict``, joined by semicolons; empty if it makes none.

    A claim is supported, contradicted or undecided. Maps without energies, or of other than two views, decide nothing.
    """
    measurable = maps.spec.value_unit in ADDITIVE_UNITS and len(maps.spec.views) == 2
    seen = claims_of_images(maps) if measurable else [Claims()] * len(reasons)
    return [
        "; ".join(f"{row['claim']}={row['value']}: {row['verdict']}" for row in verdicts(parse_reason(text), features))
        for text, features in zip(reasons, seen, strict=True)
    ]
