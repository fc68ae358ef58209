"""Every stored column, once: name, type, unit, meaning, sentinel.

Readers fill these columns, the store checks them, and ``docs/datasheet.md`` is generated from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: Raised by one whenever the meaning of a stored column changes.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Field:
    """One column. ``sentinel`` is the value that means "not known" or "does not apply"; None: always known."""

    name: str
    dtype: str
    unit: str
    meaning: str
    group: str
    sentinel: float | None = None

    def missing(self, n: int) -> np.ndarray[Any, np.dtype[Any]]:
        """A column of ``n`` sentinels, shape (n,). Zeros for a field without one."""
        return np.full(n, 0 if self.sentinel is None else self.sentinel, dtype=self.dtype)


_NAN = float("nan")

_KEY = (
    Field("run", "i4", "", "run number; the seed in simulated events", "key"),
    Field("subrun", "i4", "", "subrun number", "key"),
    Field("event", "i8", "", "event number within run and subrun", "key"),
    Field("source", "i2", "", "row of the table of source names", "key"),
)
_BOOKKEEPING = (
    Field("weight", "f4", "", "event weight; 1 where the source gives none", "weight"),
    Field("split", "u1", "", "0 train, 1 validation, 2 test", "split", 255),
)
_TRUTH = (
    Field("nu_pdg", "i4", "PDG", "incoming neutrino", "truth", 0),
    Field("current", "u1", "Current", "1 charged current, 2 neutral current", "truth", 0),
    Field("mode", "u1", "InteractionMode", "1 QE, 2 MEC, 3 RES, 4 DIS, 5 COH, 6 nu-e, 7 other", "truth", 0),
    Field("mode_code", "i4", "mode_scheme", "the source's own interaction code", "truth", -1),
    Field(
        "mode_scheme",
        "u1",
        "CodeScheme",
        "1 nuadapt, 2 simb, 3 GENIE, 4 MINERvA, 5 NuHepMC, 6 DUNE CVN: whose code it is",
        "truth",
        0,
    ),
    Field("target_pdg", "i4", "PDG", "struck nucleus", "truth", 0),
    Field("hit_nucleon_pdg", "i4", "PDG", "struck nucleon; 0 for a coherent interaction", "truth", 0),
    Field("nu_energy", "f4", "GeV", "energy of the neutrino", "truth", _NAN),
    Field("lepton_pdg", "i4", "PDG", "outgoing lepton", "truth", 0),
    Field("lepton_energy", "f4", "GeV", "total energy of the outgoing lepton", "truth", _NAN),
    Field("Q2", "f4", "GeV^2", "four-momentum transfer squared, -q^2, leptonic side", "truth", _NAN),
    Field(
        "W",
        "f4",
        "GeV",
        "hadronic invariant mass from the lepton side, struck nucleon at rest; 0 if W^2 < 0",
        "truth",
        _NAN,
    ),
    Field("q0", "f4", "GeV", "energy transfer", "truth", _NAN),
    Field("q3", "f4", "GeV", "three-momentum transfer", "truth", _NAN),
    Field("bjorken_x", "f4", "", "Q2 / (2 M q0) with the nucleon mass M", "truth", _NAN),
    Field("inelasticity_y", "f4", "", "q0 / nu_energy", "truth", _NAN),
    Field("vertex_x", "f4", "cm", "interaction point, drift axis of a TPC", "truth", _NAN),
    Field("vertex_y", "f4", "cm", "interaction point, vertical axis", "truth", _NAN),
    Field("vertex_z", "f4", "cm", "interaction point, along the beam", "truth", _NAN),
    Field("n_protons", "i2", "", "protons leaving the nucleus; DUNE CVN: 3 means more than 2", "truth", -1),
    Field("n_charged_pions", "i2", "", "pi+ and pi- leaving the nucleus; DUNE CVN: 3 means > 2", "truth", -1),
    Field("n_neutral_pions", "i2", "", "pi0 leaving the nucleus; DUNE CVN: 3 means more than 2", "truth", -1),
    Field("n_neutrons", "i2", "", "neutrons leaving the nucleus; DUNE CVN: 3 means more than 2", "truth", -1),
)
_VISIBLE = (
    Field("deposited_energy", "f4", "GeV", "energy deposited in the instrumented argon", "visible", _NAN),
    Field("map_fraction", "f4", "", "share of deposited_energy inside both cropped views", "visible", _NAN),
    Field("muon_track_length", "f4", "cm", "primary muon's path inside the map", "visible", _NAN),
    Field("muon_contained", "i1", "", "1: the primary muon ends inside the map, 0: it leaves it", "visible", -1),
    Field("shower_energy", "f4", "GeV", "leading electromagnetic shower inside the map", "visible", _NAN),
    Field(
        "shower_gap",
        "f4",
        "cm",
        "distance from the vertex to the first deposit of the leading shower",
        "visible",
        _NAN,
    ),
    Field("n_tracks", "i2", "", "charged tracks longer than the visibility threshold", "visible", -1),
    Field("n_showers", "i2", "", "showers above the visibility threshold", "visible", -1),
    Field("n_michel", "i2", "", "electrons from muon decay with visible energy", "visible", -1),
)

_FINAL_STATE = (
    Field("n_pi_plus", "i2", "", "pi+ leaving the nucleus", "final_state", -1),
    Field("n_pi_minus", "i2", "", "pi- leaving the nucleus", "final_state", -1),
    Field(
        "pion_energy",
        "f4",
        "GeV",
        "total energy of the only charged pion; without any, of the only pi0",
        "final_state",
        _NAN,
    ),
    Field("pion_angle", "f4", "rad", "angle of that pion to the neutrino", "final_state", _NAN),
    Field("available_energy_minerva_ml", "f4", "GeV", "available energy as in arXiv:2604.12364", "final_state", _NAN),
    Field("available_energy_mat", "f4", "GeV", "available energy as in MINERvA's toolkit", "final_state", _NAN),
    Field(
        "available_energy_rodrigues2016", "f4", "GeV", "available energy of PRL 116 (2016) 071802", "final_state", _NAN
    ),
    Field(
        "available_energy_ascencio2022", "f4", "GeV", "available energy of PRD 106 (2022) 032001", "final_state", _NAN
    ),
    Field("W_generator", "f4", "GeV", "hadronic invariant mass that the generator states", "final_state", _NAN),
    Field(
        "W_final_state",
        "f4",
        "GeV",
        "invariant mass of all particles leaving the nucleus but leptons, spectators and remnants included",
        "final_state",
        _NAN,
    ),
)
_FEATURE = (
    Field("entry", "i8", "", "row of the event in its source file", "feature", -1),
    Field(
        "muon_fuzz_energy", "f4", "GeV", "energy near the muon track that the track does not explain", "feature", _NAN
    ),
    Field("muon_iso_blobs_energy", "f4", "GeV", "energy of isolated blobs near the muon", "feature", _NAN),
    Field("hadron_recoil_energy", "f4", "GeV", "calorimetric recoil energy of the standard analysis", "feature", _NAN),
    Field("passive_recoil_id", "f4", "GeV", "passive-corrected recoil in the inner detector", "feature", _NAN),
    Field("passive_recoil_od", "f4", "GeV", "passive-corrected recoil in the outer detector", "feature", _NAN),
    Field("n_michel_tags", "i2", "", "Michel electron tags", "feature", -1),
    Field("n_muons", "i2", "", "muon tokens", "feature", -1),
    Field("diphoton_mass", "f4", "GeV", "invariant mass of the two photon tokens", "feature", _NAN),
    Field("n_charged_prongs", "i2", "", "prong objects of hypothesis 8 or 9 that became tokens", "feature", -1),
    Field("blob_energy", "f4", "GeV", "energy sum of blob tokens", "feature", _NAN),
    Field("prong_3_energy", "f4", "GeV", "energy sum of prong tokens of hypothesis 3", "feature", _NAN),
    Field("prong_8_energy", "f4", "GeV", "energy sum of prong tokens of hypothesis 8", "feature", _NAN),
    Field("prong_13_energy", "f4", "GeV", "energy sum of prong tokens of hypothesis 13", "feature", _NAN),
    Field("merged_blobs_energy", "f4", "GeV", "energy of the token of merged blobs", "feature", _NAN),
    Field("merged_prongs_energy", "f4", "GeV", "energy of the token of merged prongs", "feature", _NAN),
    Field("blob_recoil_energy", "f4", "GeV", "recoil energy in blobs, calorimetric baseline", "feature", _NAN),
    Field("n_muons_found", "i2", "", "matched muons before any check of their values", "feature", -1),
    Field("n_charged_prongs_found", "i2", "", "hypotheses 8 or 9 before any check of their values", "feature", -1),
    Field("reco_vertex_x", "f4", "cm", "reconstructed interaction point", "feature", _NAN),
    Field("reco_vertex_y", "f4", "cm", "reconstructed interaction point, vertical axis", "feature", _NAN),
    Field("reco_vertex_z", "f4", "cm", "reconstructed interaction point, along the detector", "feature", _NAN),
    Field("jet_pt", "f4", "GeV", "transverse momentum of the jet", "feature", _NAN),
    Field("jet_eta", "f4", "", "pseudorapidity of the axis of the jet", "feature", _NAN),
    Field("jet_phi", "f4", "rad", "azimuth of the axis of the jet", "feature", _NAN),
    Field("jet_mass", "f4", "GeV", "invariant mass of the jet", "feature", _NAN),
    Field("class_id", "i4", "", "class number of a dataset that is no neutrino dataset", "feature", -1),
)

#: All per-event columns by name, in storage order.
FIELDS: dict[str, Field] = {f.name: f for f in (*_KEY, *_BOOKKEEPING, *_TRUTH, *_VISIBLE, *_FINAL_STATE, *_FEATURE)}

#: Columns of the particles leaving the nucleus (flat, with offsets per event).
PARTICLE_FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("pdg", "i4", "PDG", "species", "particle"),
        Field("px", "f4", "GeV", "momentum along x", "particle"),
        Field("py", "f4", "GeV", "momentum along y", "particle"),
        Field("pz", "f4", "GeV", "momentum along z, the beam", "particle"),
        Field("E", "f4", "GeV", "total energy", "particle"),
    )
}

#: Columns of the tokens of a cloud (flat, with offsets per event). A cloud has the first five, and of the others
#: those that its spec names.
TOKEN_FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("eta", "f4", "", "pseudorapidity, at most 10 either way; in a jet: relative to its axis", "token"),
        Field("phi", "f4", "rad", "azimuth; in a jet: relative to its axis", "token"),
        Field("log_pt", "f4", "log GeV", "ln(pT / GeV + 1e-9), pT transverse to the z axis of the frame", "token"),
        Field("log_e", "f4", "log GeV", "ln(E / GeV + 1e-9)", "token"),
        Field("type", "u1", "spec", "number in the spec's list of types; 0 is padding and never stored", "token"),
        Field("dedx", "f4", "GeV/cm", "mean energy loss", "token", _NAN),
        Field("x", "f4", "cm", "position, detector axes", "token", _NAN),
        Field("y", "f4", "cm", "position, vertical axis", "token", _NAN),
        Field("z", "f4", "cm", "position, along the detector", "token", _NAN),
        Field("time", "f4", "ns", "time", "token", _NAN),
        Field("tanh_d0", "f4", "", "tanh of the transverse impact parameter (OmniLearned)", "token", _NAN),
        Field("d0_error", "f4", "", "its error as OmniLearned stores it", "token", _NAN),
        Field("tanh_dz", "f4", "", "tanh of the longitudinal impact parameter (OmniLearned)", "token", _NAN),
        Field("dz_error", "f4", "", "its error as OmniLearned stores it", "token", _NAN),
    )
}

KEY_NAMES: tuple[str, ...] = tuple(f.name for f in _KEY)
TOKEN_BASE: tuple[str, ...] = tuple(TOKEN_FIELDS)[:5]


def fields_of(group: str) -> tuple[Field, ...]:
    """All fields of one group: key, weight, split, truth, visible, final_state, feature."""
    return tuple(f for f in FIELDS.values() if f.group == group)


def truth_names(*, maps: bool, cloud: bool) -> tuple[str, ...]:
    """Truth columns of events with these representations.

    What a detector image can show belongs to pixel maps (and to events without any representation, which may become
    images), sums over the final state belong to clouds.
    """
    groups = ("truth", *(("visible",) if maps or not cloud else ()), *(("final_state",) if cloud else ()))
    return tuple(f.name for group in groups for f in fields_of(group))
