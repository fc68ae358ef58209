"""The branches of MasterAnaDev that are read, in groups; what a group is for stands in the message if it is missing.

Types and units follow the public tuples: MeV, mm, ns, radians. Two branches occur in two forms, both of which are
read: ``muon_fuzz_energy`` as Int_t or Double_t, and ``MasterAnaDev_hadron_endMichel_category`` (not needed here).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nuadapt.errors import InputFileError

KEYS = ("ev_run", "ev_subrun", "ev_gate")
MUON = (
    *("isMinosMatchTrack", "muon_corrected_p", "muon_theta", "muon_phi", "muon_thetaX", "muon_thetaY"),
    *("muon_fuzz_energy", "muon_iso_blobs_energy", "muon_trackVertexTime"),
    *(f"MasterAnaDev_muon_{name}" for name in ("E", "Px", "Py", "Pz")),
)
PHOTONS = tuple(f"gamma{i}_{name}" for i in (1, 2) for name in ("px", "py", "pz", "E", "time", "dEdx"))
BLOBS = tuple(f"MasterAnaDev_Blob{name}" for name in ("X", "Y", "Z", "T", "TotalE"))
PRONGS = ("prong_part_E", "prong_part_pos", "prong_part_pid", "prong_dEdXMean")
PASSIVE = "part_response_total_recoil_passive_allNonMuonClusters_"
EVENT = ("vtx", "improved_nmichel", "blob_recoil_E", "MasterAnaDev_hadron_recoil", f"{PASSIVE}id", f"{PASSIVE}od")
TRUTH = (
    *("mc_run", "mc_subrun", "mc_nthEvtInFile", "mc_intType", "mc_current", "mc_incoming", "mc_w", "mc_vtx"),
    *("mc_incomingPartVec", "mc_primFSLepton", "mc_FSPartPDG"),
    *(f"mc_FSPart{name}" for name in ("Px", "Py", "Pz", "E")),
)
#: Truth that some productions do not have.
OPTIONAL_TRUTH = ("mc_targetZ", "mc_targetA", "mc_targetNucleon")

_PARTICLES = tuple(name for name in TRUTH if name.startswith("mc_FSPart"))
_FOUR = ("vtx", "muon_corrected_p", "mc_vtx", "mc_incomingPartVec", "mc_primFSLepton")
_PER_OBJECT = (*BLOBS, "prong_part_pid", "prong_dEdXMean", *_PARTICLES)
#: What an event has in a branch, by the dimensions of the branch.
FORMS = {1: "one number for each event", 2: "a list of numbers for each event", 3: "a list of vectors for each event"}

GROUPS = {
    "event numbers": KEYS,
    "muon": MUON,
    "photon": PHOTONS,
    "blob": BLOBS,
    "prong": PRONGS,
    "event": EVENT,
    "truth": TRUTH,
}


def dimensions(name: str) -> int:
    """Dimensions of a branch; each of FORMS."""
    if name in ("prong_part_E", "prong_part_pos"):
        return 3
    return 2 if name in _FOUR or name in _PER_OBJECT else 1


def has_truth(there: Iterable[str]) -> bool:
    """Whether a tree holds simulation: any truth branch counts, so that a part of them is a fault and not a choice."""
    return not set(TRUTH).isdisjoint(there)


def needed(there: Iterable[str], *, truth: bool, weight: str, where: object) -> list[str]:
    """Branches to read.

    Raises:
        InputFileError: branches are missing; names the first ones, what they are for, and similar names in the tree.
    """
    names = set(there)
    groups = {title: group for title, group in GROUPS.items() if truth or title != "truth"}
    if weight:
        groups["weight"] = (weight,)
    missing = {title: [b for b in group if b not in names] for title, group in groups.items()}
    if any(missing.values()):
        step = "Give MasterAnaDev tuples of MINERvA"
        if missing.get("truth"):
            step += ", or read this one as recorded data with --set truth=none"
        raise InputFileError(_missing(missing, names), where=where, next_step=step)
    return [b for group in groups.values() for b in group] + [b for b in OPTIONAL_TRUTH if truth and b in names]


def _missing(missing: dict[str, list[str]], there: set[str]) -> str:
    """A sentence on missing branches, with near matches of the first one of each group among those not known here."""
    unknown = sorted(there - {branch for group in GROUPS.values() for branch in group})
    parts = []
    for title, names in missing.items():
        if not names:
            continue
        near = difflib.get_close_matches(names[0], unknown, n=3, cutoff=0.75)
        hint = f", near matches in the tree: {', '.join(near)}" if near else ""
        if names == list(GROUPS.get(title, ())):
            parts.append(f"no {title} branches at all ({names[0]}, ...){hint}")
        else:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            parts.append(f"missing {title} branch{'es' if len(names) > 1 else ''}: {shown}{hint}")
    return "; ".join(parts)
