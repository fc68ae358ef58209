"""What the grey levels of pictures stand for: energies, where that is known, or nothing but a brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.events.pixelmap import KE_PER_GEV, GreyTransform
from nuadapt.settings import build


@dataclass(frozen=True, slots=True)
class GreyScale:
    """Settings of the formats of pictures, for those that do not say it themselves.

    ``none``: levels stay levels, which no model of energies reads well. ``linear``, ``log``: energies of
    :class:`GreyTransform` with ``full`` and ``knee`` in GeV a pixel; the brightest level is ``full`` or more.
    """

    scale: Literal["none", "linear", "log"] = "none"
    full: float = GreyTransform().full
    knee: float = GreyTransform().knee

    @property
    def transform(self) -> GreyTransform | None:
        """From energies to grey levels; none if levels stay levels."""
        return None if self.scale == "none" else GreyTransform(self.scale, self.full, self.knee)


def grey_scale_from(given: dict[str, Any]) -> GreyScale:
    """The settings from plain values.

    Raises:
        ConfigError: an unknown setting, an impossible value, or numbers without a scale.
    """
    made = build(GreyScale, given, where="settings of grey levels")
    if given and "scale" not in given:
        raise ConfigError(
            "the grey levels have no scale yet", expected="scale=linear or scale=log beside full and knee"
        )
    _ = made.transform  # refuses impossible numbers
    return made


def energies(levels: npt.NDArray[np.uint8], grey: GreyTransform, unit: str) -> npt.NDArray[np.float32]:
    """Pixel values in ``unit`` (GeV or ke) behind grey levels 0..255 of the same shape."""
    energy = grey.energy(levels / 255.0)
    return (energy * (KE_PER_GEV if unit == "ke" else 1.0)).astype(np.float32)
