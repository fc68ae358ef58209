"""Every setting of the MINERvA-like simulation, once, each with its reason.

What the collaboration published is cited. What it did not is an assumption, marked as such: this is a stand-in for
trying, testing and teaching, not the collaboration's simulation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from nuadapt.errors import ConfigError
from nuadapt.sources.simulation.neutrino.interaction_config import InteractionConfig

CARBON = 1_000_060_120
HYDROGEN = 2212

#: MINERvA, Nucl. Instrum. Meth. A 743 (2014) 130: apothem of the fiducial hexagon and the tracker along z, cm.
FIDUCIAL_APOTHEM, FIDUCIAL_Z = 85.0, (599.0, 834.0)


@dataclass(frozen=True, slots=True)
class MinervaBeamConfig:
    """Which neutrinos, along the beam. Charged and neutral currents, and carbon and hydrogen, by cross-section."""

    flavours: dict[int, float] = field(default_factory=lambda: {14: 1.0})  # share of each species by PDG code
    spectrum: str = "minerva-me"  # of the neutrinos that interact; name or histogram file, see flux.py

    def __post_init__(self) -> None:
        if not self.flavours or min(self.flavours.values()) < 0 or sum(self.flavours.values()) <= 0:
            raise ConfigError(f"beam flavours {self.flavours} are impossible", expected="PDG code: positive share")
        unknown = [pdg for pdg in self.flavours if abs(pdg) not in (12, 14)]
        if unknown:
            raise ConfigError(f"no interactions of PDG {unknown[0]}", expected="12, -12, 14 or -14")


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """Detector and reconstruction. Lengths in cm, energies in GeV, times in ns, angles in rad."""

    # Passage of particles through polystyrene. PDG, Atomic and nuclear properties: 1.06 g/cm3.
    minimum_dedx: float = 2.05e-3  # GeV/cm of a minimum ionising particle
    radiation_length: float = 41.3
    interaction_length: float = 77.1  # of protons and neutrons
    pion_length: float = 107.0  # of pions
    # The tracker ends where the calorimeters begin, and these end 1.5 m further on (A 743 130, fig. 2).
    tracker_end: float = 860.0
    calorimeter_end: float = 1015.0
    half_width: float = 107.0  # apothem of the inner detector, A 743 130
    # Muons: a track in the magnetised MINOS detector 2 m behind gives charge and momentum (A 743 130). Published
    # phase spaces are angles below 20 degrees and momenta above 1.5 GeV (arXiv:2106.16210).
    minos_z: float = 1200.0
    minos_half_width: float = 200.0  # assumption: about the aperture that gives 20 degrees
    loss_before_minos: float = 1.1  # GeV in the calorimeters, assumption: iron and lead of A 743 130 at 1.4 MeV cm2/g
    minos_least_energy: float = 0.4  # left in MINOS for a track, assumption
    muon_efficiency: float = 0.93  # assumption: dead time and overlaps
    muon_resolution: float = 0.06  # of the momentum, assumption between range (5%) and curvature (11%), A 743 130
    muon_angle: float = 0.008
    # Tracks of hadrons: five planes of 1.7 cm have to be crossed (A 743 130, tracking in three views).
    least_track_z: float = 8.5
    track_efficiency: float = 0.9  # assumption
    track_angle: float = 0.02  # assumption
    range_resolution: float = 0.05  # of the kinetic energy by range, assumption
    dedx_resolution: float = 0.12  # assumption
    # Names that the reconstruction gives to tracks, assumption: share of hypotheses (3, 8, 13) by true particle.
    hypotheses: dict[str, tuple[float, float, float]] = field(
        default_factory=lambda: {
            "muon": (0.97, 0.02, 0.01),
            "pion": (0.15, 0.72, 0.13),
            "proton": (0.03, 0.22, 0.75),
            "electron": (0.02, 0.03, 0.95),
        }
    )
    # Showers.
    least_photon: float = 0.05  # GeV, assumption
    photon_efficiency: float = 0.6  # assumption
    photon_resolution: float = 0.17  # / sqrt(E / GeV), assumption; A 743 130 gives 6% + 4% / sqrt(E) for electrons
    photon_angle: float = 0.06  # assumption
    # Blobs: what is no track and no photon. One for each so much energy, at least one; assumptions.
    energy_per_blob: float = 0.06
    blob_spread: float = 12.0
    least_blob: float = 1.5e-3
    noise_blobs: float = 0.4  # a spill's other activity, per event
    noise_energy: float = 0.006
    # Shares of the kinetic energy that hadrons leave where they interact, and neutrons, beyond breakup; assumptions.
    visible_of_interacting: float = 0.55
    visible_of_neutrons: float = 0.25
    outer_share: float = 0.1  # of the energy beyond the inner detector that the outer one sees
    calorimetric_resolution: float = 0.10  # of sums, / sqrt(E / GeV), assumption
    # Visible energy times this is the passive-corrected recoil; chosen so that its median is the available energy.
    calorimetric_constant: float = 1.42
    calorimetric_scale: float = 1.17  # blob_recoil_E times this is an estimate of the available energy (MINERvA)
    # Michel electrons: pi+ and mu+ decay at rest; of mu- 92% escape capture on carbon (T. Suzuki, D. F. Measday,
    # J. P. Roalsvig, Phys. Rev. C 35 (1987) 2212); pi- at rest are captured.
    muon_capture: float = 0.078
    michel_efficiency: float = 0.65  # assumption
    michel_fakes: float = 0.01  # per event, assumption
    vertex_resolution: float = 1.0  # per axis, assumption
    gate: float = 10_000.0  # length of the beam's spill, A 743 130

    def __post_init__(self) -> None:
        if any(abs(sum(shares) - 1) > 1e-9 or min(shares) < 0 for shares in self.hypotheses.values()):
            raise ConfigError("shares of hypotheses do not add up to 1", where="response.hypotheses")
        shares = ("muon_efficiency", "track_efficiency", "photon_efficiency", "michel_efficiency", "muon_capture")
        wrong = [
            name for name in (*shares, "visible_of_interacting", "outer_share") if not 0 <= getattr(self, name) <= 1
        ]
        if wrong:
            raise ConfigError(f"response.{wrong[0]} = {getattr(self, wrong[0])}", expected="0 to 1")


@dataclass(frozen=True, slots=True)
class MinervaConfig:
    """Everything that the simulation can be told."""

    beam: MinervaBeamConfig = field(default_factory=MinervaBeamConfig)
    # Fermi momentum and binding of carbon: E. J. Moniz et al., Phys. Rev. Lett. 26 (1971) 445.
    interaction: InteractionConfig = field(
        default_factory=lambda: InteractionConfig(target_pdg=CARBON, fermi_momentum=0.221, binding=0.025)
    )
    response: ResponseConfig = field(default_factory=ResponseConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record."""
        return asdict(self)
