"""The liquid-argon detector: where it is instrumented, how charge drifts, what a pixel is.

Geometry, voxels and diffusion follow Sagar et al., arXiv:2509.08461, section 2. All lengths in cm; z is along
the beam, x along the drift field, y vertical.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError
from nuadapt.events.pixelmap import MapSpec

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Liquid argon box, drift planes, fiducial box for vertices (cm)."""

    low: Point = (-100.0, -100.0, 0.0)  # arXiv:2509.08461: 2 x 2 x 7 m
    high: Point = (100.0, 100.0, 700.0)
    anodes: tuple[float, ...] = (-90.0, -30.0, 30.0, 90.0)  # arXiv:2509.08461
    cathodes: tuple[float, ...] = (-60.0, 0.0, 60.0)  # arXiv:2509.08461
    # One radiation length (14 cm) from the instrumented edges, and half a map (128 cm) from the far end, so
    # that a vertex is never cut and a shower has room to develop.
    fiducial_low: Point = (-76.0, -86.0, 14.0)
    fiducial_high: Point = (76.0, 86.0, 572.0)

    def __post_init__(self) -> None:
        for low, high in ((self.low, self.high), (self.fiducial_low, self.fiducial_high)):
            if any(a >= b for a, b in zip(low, high, strict=True)):
                raise ConfigError(f"detector box from {low} to {high} is empty", expected="low < high along each axis")
        if not self.anodes:
            raise ConfigError("a detector without anodes collects no charge")

    def drift_planes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Sorted x of all planes (P,), and which of them are anodes (P,)."""
        planes = np.array([*self.anodes, *self.cathodes], dtype=np.float64)
        is_anode = np.arange(len(planes)) < len(self.anodes)
        order = np.argsort(planes)
        return planes[order], is_anode[order]


@dataclass(frozen=True, slots=True)
class ReadoutConfig:
    """From deposits to pixels."""

    voxel: Point = (0.1, 0.5, 0.5)  # cm, arXiv:2509.08461: 1 x 5 x 5 mm
    # sigma after one metre of drift in cm, arXiv:2509.08461. Diffusion is a random walk: sigma ~ sqrt(length).
    diffusion_transverse: float = 0.13
    diffusion_longitudinal: float = 0.09
    # cm. The preprint says 5 cm; 512 pixels of 5 cm would be 26 m, so 5 mm is meant.
    pitch: float = 0.5
    crop: int = 512  # pixels a side, centred on the vertex
    signal: str = "energy"  # energy (GeV) | charge_box | charge_birks (thousand electrons)
    lifetime_us: float = 0.0  # electron lifetime in microseconds; 0: no attenuation (charge signals only)
    # In the unit of the map (GeV or ke). 0.05 MeV: a twentieth of a minimum ionising pixel; keeps maps sparse.
    threshold: float = 5e-5
    noise: float = 0.0  # Gaussian noise per pixel, in the unit of the map

    def __post_init__(self) -> None:
        if self.signal not in ("energy", "charge_box", "charge_birks"):
            raise ConfigError(f"unknown signal '{self.signal}'", expected="energy, charge_box or charge_birks")
        if self.pitch <= 0 or not 1 <= self.crop <= 8192 or min(self.voxel) <= 0:
            raise ConfigError("pitch, voxel and crop must be positive, crop at most 8192")
        if min(self.diffusion_transverse, self.diffusion_longitudinal, self.noise, self.lifetime_us) < 0:
            raise ConfigError("diffusion, noise and lifetime cannot be negative")

    @property
    def map_spec(self) -> MapSpec:
        """Layout of the maps: XZ and YZ, rows transverse, columns along the beam."""
        return MapSpec(
            views=("xz", "yz"),
            shape=(self.crop, self.crop),
            pitch=(self.pitch, self.pitch),
            axes=(("x", "z"), ("y", "z")),
            axis_unit="cm",
            value_unit="GeV" if self.signal == "energy" else "ke",
        )
