"""From stored pixel maps to what an image model reads. Part of a model's record: a model always sees the same greys."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.events.pixelmap import ADDITIVE_UNITS, GreyTransform, PixelMaps


@dataclass(frozen=True, slots=True)
class PixelInput:
    """Which views a model reads, how many stored pixels it joins (per side), and how values become grey levels."""

    views: tuple[str, ...]
    coarsen: int = 1
    grey: GreyTransform = field(default_factory=GreyTransform)

    def __post_init__(self) -> None:
        if not self.views or self.coarsen < 1:
            raise ConfigError(
                f"pixel input with views {self.views}, coarsen {self.coarsen}",
                expected="at least one view, coarsen >= 1",
            )

    def images(self, maps: PixelMaps, extra_coarsen: int = 1) -> npt.NDArray[np.float32]:
        """Grey levels 0..1 of all events, shape (N, V, H, W).

        ``extra_coarsen`` joins that many more pixels per side, to ask what lower resolution costs. Energies and
        charges are added, grey levels averaged. Equal to ``maps.coarsen(..).dense(..)`` followed by the grey
        transform, in one pass.

        Raises:
            DataError: the maps lack one of the views.
            ConfigError: ``extra_coarsen`` below 1.
        """
        if extra_coarsen < 1:
            raise ConfigError(f"cannot coarsen by {extra_coarsen}", expected="extra_coarsen >= 1")
        if maps.spec.views != self.views:
            maps = maps.select_views(self.views)
        factor, unit = self.coarsen * extra_coarsen, maps.spec.value_unit
        height, width = (math.ceil(side / factor) for side in maps.spec.shape)
        slots = len(maps) * len(self.views)  # N * V images
        slot = np.repeat(np.arange(slots), np.diff(maps.offsets))
        pixel = (slot * height + maps.row // factor) * width + maps.col // factor  # (pixels,) flat position
        image = np.zeros(slots * height * width, dtype=np.float32)
        value = maps.value
        if factor > 1:
            value = np.bincount(pixel, weights=value, minlength=len(image))[pixel]  # sum of the pixel's whole block
            if unit not in ADDITIVE_UNITS:
                value = value / factor**2
        image[pixel] = self.grey(value, unit)  # members of one block write the same value
        return image.reshape(len(maps), len(self.views), height, width)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        return {"views": list(self.views), "coarsen": self.coarsen, "grey": asdict(self.grey)}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> PixelInput:
        """Inverse of :meth:`as_dict`."""
        views = tuple(str(v) for v in given["views"])
        return cls(views=views, coarsen=int(given["coarsen"]), grey=GreyTransform(**given["grey"]))
