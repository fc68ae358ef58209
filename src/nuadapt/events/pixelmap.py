"""Sparse pixel maps of one or more views: make dense, coarsen, crop, turn into grey levels.

A map is ~99% empty, so only non-zero pixels are kept: for view ``v`` of event ``i`` they are the slice
``offsets[i * V + v] : offsets[i * V + v + 1]`` of ``row``, ``col`` and ``value``. Row 0 is the lowest
transverse coordinate (x or y), column 0 the lowest z; pictures are drawn with row 0 at the bottom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, nearest

Array = npt.NDArray[Any]

#: Units in which adding two pixels makes sense; grey levels are averaged instead.
ADDITIVE_UNITS = ("GeV", "ke")
VALUE_UNITS = (*ADDITIVE_UNITS, "grey")
#: Thousand electrons collected per GeV of a minimum ionising particle in argon: 23.6 eV per pair (Miyajima et al.,
#: Phys. Rev. A 9 (1974) 1438), of which about 0.70 escape recombination at 0.5 kV/cm (ICARUS, NIM A 523 (2004) 275).
KE_PER_GEV = 1e9 / 23.6 / 1e3 * 0.70


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What all maps of a file share.

    ``shape`` is (rows, columns). ``pitch`` is the pixel size along (rows, columns) in ``axis_unit``.
    ``axes`` names the (row, column) coordinate of each view. ``value_unit``: ``GeV`` deposited energy,
    ``ke`` thousand electrons of charge, ``grey`` the 0..255 levels of an image without known scale.
    """

    views: tuple[str, ...] = ("xz", "yz")
    shape: tuple[int, int] = (512, 512)
    pitch: tuple[float, float] = (0.5, 0.5)
    axes: tuple[tuple[str, str], ...] = (("x", "z"), ("y", "z"))
    axis_unit: str = "cm"
    value_unit: str = "GeV"

    def __post_init__(self) -> None:
        if self.value_unit not in VALUE_UNITS:
            raise ConfigError(
                f"unknown pixel value unit '{self.value_unit}'",
                expected=nearest(self.value_unit, VALUE_UNITS),
            )
        if len(self.axes) != len(self.views):
            raise ConfigError(f"{len(self.axes)} axis pairs for {len(self.views)} views")
        if not self.views or not all(0 < p < math.inf for p in self.pitch):  # written so that NaN is refused, too
            raise ConfigError(f"{len(self.views)} views with pixels of {self.pitch} are impossible")
        if min(self.shape) < 1 or max(self.shape) > 65535:
            raise ConfigError(f"map shape {self.shape} is impossible", expected="1 to 65535 pixels a side")

    @property
    def n_views(self) -> int:
        """Number of views V."""
        return len(self.views)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and strings for JSON."""
        return {
            "views": list(self.views),
            "shape": list(self.shape),
            "pitch": list(self.pitch),
            "axes": [list(a) for a in self.axes],
            "axis_unit": self.axis_unit,
            "value_unit": self.value_unit,
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> MapSpec:
        """Inverse of :meth:`as_dict`."""
        return cls(
            views=tuple(str(v) for v in given["views"]),
            shape=(int(given["shape"][0]), int(given["shape"][1])),
            pitch=(float(given["pitch"][0]), float(given["pitch"][1])),
            axes=tuple((str(a[0]), str(a[1])) for a in given["axes"]),
            axis_unit=str(given["axis_unit"]),
            value_unit=str(given["value_unit"]),
        )


@dataclass(frozen=True, slots=True)
class PixelMaps:
    """Sparse maps of N events and V views.

    ``offsets`` (N * V + 1,), ``row``, ``col``, ``value`` (pixels,), ``origin`` (N, V, 2): coordinate of the
    lower edge of pixel (0, 0) along (rows, columns), in the axis unit; NaN where unknown.
    """

    spec: MapSpec
    offsets: npt.NDArray[np.int64]
    row: npt.NDArray[np.uint16]
    col: npt.NDArray[np.uint16]
    value: npt.NDArray[np.float32]
    origin: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        n_views = self.spec.n_views
        if (len(self.offsets) - 1) % n_views or self.origin.shape != (len(self), n_views, 2):
            raise DataError(f"pixel map offsets and origins do not fit {n_views} views")
        if self.offsets[0] != 0 or np.any(np.diff(self.offsets) < 0) or self.offsets[-1] != len(self.value):
            raise DataError("pixel map offsets do not fit the number of pixels")
        if not len(self.row) == len(self.col) == len(self.value):
            raise DataError("pixel map columns differ in length")

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.spec.n_views

    def view_slice(self, event: int, view: int) -> slice:
        """Where the pixels of one view of one event stand in the flat arrays."""
        at = event * self.spec.n_views + view
        return slice(int(self.offsets[at]), int(self.offsets[at + 1]))

    def dense(self, event: int) -> npt.NDArray[np.float32]:
        """All views of one event as an image, shape (V, rows, columns), in the value unit."""
        image = np.zeros((self.spec.n_views, *self.spec.shape), dtype=np.float32)
        for view in range(self.spec.n_views):
            at = self.view_slice(event, view)
            image[view, self.row[at], self.col[at]] = self.value[at]
        return image

    @classmethod
    def from_dense(cls, images: Array, spec: MapSpec, origin: Array | None = None) -> PixelMaps:
        """From images of shape (N, V, rows, columns); non-zero pixels are kept.

        Raises:
            DataError: the images have another shape than ``spec`` says.
        """
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 4 or images.shape[1:] != (spec.n_views, *spec.shape):
            raise DataError(f"images have shape {images.shape}", expected=f"(events, {spec.n_views}, {spec.shape})")
        event, view, row, col = np.nonzero(images)
        counts = np.bincount(event * spec.n_views + view, minlength=len(images) * spec.n_views)
        if origin is None:
            origin = np.full((len(images), spec.n_views, 2), np.nan)
        return cls(
            spec=spec,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            row=row.astype(np.uint16),
            col=col.astype(np.uint16),
            value=images[event, view, row, col],
            origin=np.asarray(origin, dtype=np.float32),
        )

    def select(self, index: Array) -> PixelMaps:
        """The maps of the events ``index`` (integers), in that order."""
        n_views = self.spec.n_views
        index = np.asarray(index, dtype=np.int64)
        slots = (index[:, None] * n_views + np.arange(n_views)).ravel()  # (n * V,)
        counts = self.offsets[slots + 1] - self.offsets[slots]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        take = np.arange(offsets[-1]) + np.repeat(self.offsets[slots] - offsets[:-1], counts)
        return replace(
            self,
            offsets=offsets,
            row=self.row[take],
            col=self.col[take],
            value=self.value[take],
            origin=self.origin[index],
        )

    def select_views(self, views: Sequence[str]) -> PixelMaps:
        """Only the named views, in that order.

        Raises:
            DataError: a view that these maps do not have.
        """
        missing = [v for v in views if v not in self.spec.views]
        if missing:
            raise DataError(f"no view '{missing[0]}' in these maps", expected=nearest(missing[0], self.spec.views))
        at = [self.spec.views.index(v) for v in views]
        spec = replace(self.spec, views=tuple(views), axes=tuple(self.spec.axes[i] for i in at))
        flat = replace(
            self,
            spec=replace(self.spec, views=self.spec.views[:1], axes=self.spec.axes[:1]),
            origin=self.origin.reshape(-1, 1, 2),
        )
        slots = (np.arange(len(self))[:, None] * self.spec.n_views + np.array(at)).ravel()
        picked = flat.select(slots)
        return replace(picked, spec=spec, origin=picked.origin.reshape(len(self), len(at), 2))

    def coarsen(self, factor: int, how: str | None = None) -> PixelMaps:
        """Join ``factor`` x ``factor`` pixels; a last partial block is kept as a pixel.

        ``how``: ``sum`` (default in additive units: a larger pixel collects all energy) or ``mean`` (default
        for grey levels: what shrinking a picture does).

        Raises:
            ConfigError: factor below 1 or unknown ``how``.
        """
        how = how or ("sum" if self.spec.value_unit in ADDITIVE_UNITS else "mean")
        if factor < 1 or how not in ("sum", "mean"):
            raise ConfigError(f"cannot coarsen by {factor} with '{how}'", expected="factor >= 1, sum or mean")
        if factor == 1:
            return self
        rows, cols = (math.ceil(side / factor) for side in self.spec.shape)
        slot = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        pixel = (slot * rows + self.row // factor) * cols + self.col // factor
        unique, inverse = np.unique(pixel, return_inverse=True)
        value: Array = np.bincount(inverse, weights=self.value, minlength=len(unique))
        if how == "mean":
            value = value / factor**2  # not in place: of no pixels NumPy counts integers
        counts = np.bincount(unique // (rows * cols), minlength=len(self.offsets) - 1)
        pitch = (self.spec.pitch[0] * factor, self.spec.pitch[1] * factor)
        return replace(
            self,
            spec=replace(self.spec, shape=(rows, cols), pitch=pitch),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            row=(unique // cols % rows).astype(np.uint16),
            col=(unique % cols).astype(np.uint16),
            value=value.astype(np.float32),
        )

    @staticmethod
    def concatenate(parts: Sequence[PixelMaps]) -> PixelMaps:
        """All events of ``parts`` in order; the parts must share one spec.

        Raises:
            DataError: no parts, or different specs.
        """
        if not parts:
            raise DataError("no pixel maps to join")
        if any(p.spec != parts[0].spec for p in parts):
            raise DataError("pixel maps of different shape, pitch, views or unit cannot be joined")
        starts = np.cumsum([0, *(len(p.value) for p in parts)])
        offsets = [p.offsets[1:] + start for p, start in zip(parts, starts, strict=False)]
        return PixelMaps(
            spec=parts[0].spec,
            offsets=np.concatenate([[0], *offsets]).astype(np.int64),
            row=np.concatenate([p.row for p in parts]),
            col=np.concatenate([p.col for p in parts]),
            value=np.concatenate([p.value for p in parts]),
            origin=np.concatenate([p.origin for p in parts]),
        )


@dataclass(frozen=True, slots=True)
class GreyTransform:
    """Pixel value to grey level 0..1; part of a model's record, so that it always sees the same greys.

    ``linear``: value / full. ``log``: ln(1 + value / knee) / ln(1 + full / knee). Both are clipped at 1. Maps in
    thousand electrons are first turned into the energy of a minimum ionising particle with that charge. Maps
    already in grey levels are divided by 255. A minimum ionising particle leaves about 1 MeV in a 5 mm pixel,
    so the default shows it at a third of the scale and still tells shower cores apart.
    """

    kind: str = "log"
    full: float = 0.02  # GeV: ten to twenty times a MIP pixel
    knee: float = 0.0005  # GeV: half a MIP pixel

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "log") or not all(0 < number < math.inf for number in (self.full, self.knee)):
            raise ConfigError(
                f"grey transform {self.kind} with full={self.full}, knee={self.knee} is impossible",
                expected="kind linear or log, positive finite full and knee",
            )

    def __call__(self, value: Array, unit: str) -> npt.NDArray[np.float32]:
        """Grey levels 0..1 of the same shape as ``value``, which is in ``unit``."""
        value = np.asarray(value, dtype=np.float32)
        if unit == "grey":
            return np.clip(value / np.float32(255), 0, 1)
        if unit == "ke":
            value = value / np.float32(KE_PER_GEV)
        if self.kind == "linear":
            return np.clip(value / np.float32(self.full), 0, 1)
        grey = np.log1p(np.maximum(value, 0) / np.float32(self.knee))
        return np.clip(grey / np.float32(math.log1p(self.full / self.knee)), 0, 1).astype(np.float32)

    def energy(self, grey: Array) -> npt.NDArray[np.float64]:
        """Energy in GeV behind grey levels of the same shape; what was clipped at 1 counts as ``full``."""
        grey = np.asarray(grey, dtype=np.float64)
        if self.kind == "linear":
            return grey * self.full
        return np.asarray(self.knee * np.expm1(grey * math.log1p(self.full / self.knee)))
