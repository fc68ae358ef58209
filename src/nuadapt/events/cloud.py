"""Particle clouds: the reconstructed objects of an event as tokens, with named columns and an explicit mask.

Tokens of event ``i`` are the slice ``offsets[i] : offsets[i + 1]`` of every column (:data:`schema.TOKEN_FIELDS`).
What all clouds of a file share, the frame of their angles above all, is said by the :class:`CloudSpec`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.events import flat
from nuadapt.events.schema import FIELDS, TOKEN_BASE, TOKEN_FIELDS, fields_of

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]

#: What the z axis of pseudorapidity and azimuth is: the detector's own, the neutrino beam, or the axis of a jet.
FRAMES = ("detector", "beam", "jet")
PADDING = 0
#: Least energy and transverse momentum inside the logarithm: 1 meV, so that zero has a finite logarithm.
LOG_FLOOR = 1e-9  # GeV
MAX_ETA = 10.0
_MEV = 1e-3  # GeV


class TokenType(IntEnum):
    """Tokens of a MINERvA event. Prongs carry the number of their hypothesis (``prong_part_pid``), because public
    sources disagree on what 3, 8 and 13 mean."""

    PADDING = 0
    MUON = 1
    PHOTON = 2
    BLOB = 3
    PRONG_3 = 4
    PRONG_8 = 5
    PRONG_13 = 6
    MERGED_BLOBS = 7
    MERGED_PRONGS = 8
    PRONG_OTHER = 9


#: Tokens of which a dE/dx is measured; of the others it is not defined.
DEDX_TYPES = tuple(t for t in TokenType if t.name.startswith("PRONG") or t.name in ("PHOTON", "MERGED_PRONGS"))


@dataclass(frozen=True, slots=True)
class CloudSpec:
    """What all clouds of a file share.

    ``types`` names the token types 1, 2, ...; 0 is padding. ``extras`` are token columns beyond the kinematic four and
    the type. ``features`` are the event-level columns that come with the cloud.
    """

    frame: str
    types: tuple[str, ...]
    extras: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frame not in FRAMES:
            raise ConfigError(f"unknown frame '{self.frame}'", expected=nearest(self.frame, FRAMES))
        for name in self.extras:
            if name not in TOKEN_FIELDS or name in TOKEN_BASE:
                raise ConfigError(f"unknown token column '{name}'", expected=nearest(name, TOKEN_FIELDS))
        for name in self.features:
            if name not in FIELDS or FIELDS[name].group != "feature":
                raise ConfigError(
                    f"unknown event feature '{name}'", expected=nearest(name, [f.name for f in fields_of("feature")])
                )
        if len(self.types) > 255:
            raise ConfigError(f"{len(self.types)} token types", expected="at most 255")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the token columns in storage order."""
        return (*TOKEN_BASE, *(name for name in TOKEN_FIELDS if name in self.extras))

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and strings for JSON."""
        lists = {name: list(getattr(self, name)) for name in ("types", "extras", "features")}
        return {"frame": self.frame, **lists}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> CloudSpec:
        """Inverse of :meth:`as_dict`."""
        lists = {name: tuple(str(v) for v in given[name]) for name in ("types", "extras", "features")}
        return cls(str(given["frame"]), **lists)


#: Token columns of jets that OmniLearned's datasets have beyond the kinematic four, and event-level columns of ours.
JET_EXTRAS = ("tanh_d0", "d0_error", "tanh_dz", "dz_error")
JET_FEATURES = ("jet_pt", "jet_eta", "jet_phi", "jet_mass")


def minerva_spec(frame: str) -> CloudSpec:
    """The spec of MINERvA events, read or simulated, with angles in ``frame`` (detector or beam)."""
    types = tuple(t.name.lower() for t in TokenType if t != PADDING)
    features = tuple(f.name for f in fields_of("feature") if f.name not in (*JET_FEATURES, "class_id"))
    return CloudSpec(frame, types, ("dedx", "x", "y", "z", "time"), features)


@dataclass(frozen=True, slots=True)
class Clouds:
    """Tokens of N events: ``offsets`` (N + 1,), flat ``columns`` of the spec, each (tokens,)."""

    spec: CloudSpec
    offsets: npt.NDArray[np.int64]
    columns: dict[str, Array]

    def __post_init__(self) -> None:
        if set(self.columns) != set(self.spec.columns):
            raise DataError(f"token columns are {sorted(self.columns)}", expected=str(list(self.spec.columns)))
        flat.check_fit("token", self.offsets, self.columns)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def make(cls, spec: CloudSpec, offsets: Array, given: dict[str, Array]) -> Clouds:
        """Columns in the types of the schema.

        Raises:
            DataError: columns that the spec does not have, or that do not fit the offsets.
        """
        columns = {
            name: np.asarray(given[name]).astype(TOKEN_FIELDS[name].dtype) for name in spec.columns if name in given
        }
        unknown = set(given) - set(columns)
        if unknown:
            raise DataError(f"token columns {sorted(unknown)} are not in the spec", expected=str(list(spec.columns)))
        return cls(spec, np.asarray(offsets, dtype=np.int64), columns)

    def select(self, index: Array) -> Clouds:
        """Clouds of the events ``index`` (integers), in that order."""
        return Clouds(self.spec, *flat.select(self.offsets, self.columns, index))

    @staticmethod
    def concatenate(parts: Sequence[Clouds]) -> Clouds:
        """All events of ``parts`` in order; they must share one spec.

        Raises:
            DataError: they do not.
        """
        if any(p.spec != parts[0].spec for p in parts):
            raise DataError("clouds of different specs cannot be joined")
        return Clouds(parts[0].spec, *flat.join([(p.offsets, p.columns) for p in parts]))

    def dense(self, values: Array, length: int | None = None) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Token values (tokens, ...) as (N, M, ...) with zeros behind the last token, and the mask (N, M) of tokens.

        M is ``length``, or the largest number of tokens in an event.

        Raises:
            DataError: an event has more than ``length`` tokens, or the values are not one per token.
        """
        if len(values) != self.offsets[-1]:
            raise DataError(f"{len(values)} values for {self.offsets[-1]} tokens")
        counts = np.diff(self.offsets)
        most = int(counts.max(initial=0))
        length = most if length is None else length
        if most > length:
            raise DataError(f"an event has {most} tokens", expected=f"at most {length}")
        mask = np.arange(length) < counts[:, None]  # (N, M)
        padded = np.zeros((*mask.shape, *values.shape[1:]), dtype=values.dtype)
        padded[mask] = values
        return padded, mask


def kinematics(p3: Array, energy: Array) -> dict[str, FloatArray]:
    """The four kinematic columns of tokens with momentum ``p3`` (n, 3) and ``energy`` (n,), GeV.

    A momentum along z has pseudorapidity +-10, no momentum at all has 0.

    >>> found = kinematics(np.array([[3.0, 0, 4], [0, 0, -1]]), np.array([5.0, 1]))
    >>> [f"{name} {a:.3f} {b:.3f}" for name, (a, b) in found.items()]
    ['eta 1.099 -10.000', 'phi 0.000 0.000', 'log_pt 1.099 -20.723', 'log_e 1.609 0.000']
    """
    px, py, pz = np.asarray(p3, dtype=np.float64).reshape(-1, 3).T
    pt = np.hypot(px, py)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        eta = np.where((pt == 0) & (pz == 0), 0.0, np.arcsinh(pz / pt))
    columns = {
        "eta": np.clip(eta, -MAX_ETA, MAX_ETA),
        "phi": np.arctan2(py, px),
        "log_pt": np.log(pt + LOG_FLOOR),
        "log_e": np.log(np.asarray(energy) + LOG_FLOOR),
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


#: Token columns of MINERvA objects beyond the kinematic four.
OBJECT_EXTRAS = ("dedx", "x", "y", "z", "time")
#: Names of the model inputs that :func:`token_inputs` makes of these.
TOKEN_INPUTS = ("eta", "phi", "log_pt", "log_e", "log_dedx", "x", "y", "z", "time")


def token_input_names(extras: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that :func:`token_inputs` makes of tokens with these further columns.

    >>> token_input_names(JET_EXTRAS)[4:]
    ('tanh_d0', 'd0_error', 'tanh_dz', 'dz_error')
    """
    if set(OBJECT_EXTRAS) <= set(extras):
        return TOKEN_INPUTS
    return (*TOKEN_INPUTS[:4], *(name for name in TOKEN_FIELDS if name in extras))


def token_inputs(clouds: Clouds, unit: str = "GeV") -> FloatArray:
    """Continuous inputs of tokens, (tokens, F), columns as :func:`token_input_names` says.

    Those of a MINERvA cloud are scaled as in arXiv:2604.12364; further columns of others stay as they are, and unknown
    values count as 0. Logarithms of pT and energy in ``unit`` (GeV as the OmniLearned models were trained with, or MeV
    as in the public code); ln(|dE/dx| + 0.1) with dE/dx in MeV/cm, at most 100, unknown counting as 0 and undefined
    giving 0; positions in 10 m and time in 10 us, unknown counting as 0.
    """
    if unit not in ("GeV", "MeV"):
        raise ConfigError(f"unknown unit '{unit}'", expected="GeV or MeV")
    columns = {name: column.astype(np.float64) for name, column in clouds.columns.items()}
    for name in ("log_pt", "log_e"):
        columns[name] -= np.log(_MEV) if unit == "MeV" else 0.0
    names = token_input_names(clouds.spec.extras)
    if names != TOKEN_INPUTS:
        return np.stack([np.nan_to_num(columns[name]) for name in names], axis=1).astype(np.float32)
    dedx = np.minimum(np.abs(np.nan_to_num(columns["dedx"])) / _MEV, 100.0)
    columns["log_dedx"] = np.where(np.isin(clouds.columns["type"], DEDX_TYPES), np.log(dedx + 0.1), 0.0)
    for name, scale in (("x", 1e3), ("y", 1e3), ("z", 1e3), ("time", 1e4)):
        columns[name] = np.nan_to_num(columns[name]) / scale
    return np.stack([columns[name] for name in names], axis=1).astype(np.float32)


#: Event-level inputs in the order of the public code, with the column and scaling of each: ``log`` is
#: ln(E / MeV + 1e-5), ``log_passive`` ln(E / 10 GeV + 1e-3), ``log_sum`` ln(E / MeV + 1e-3).
_EVENT_INPUTS: tuple[tuple[str, str, str], ...] = (
    ("log_muon_fuzz_energy", "muon_fuzz_energy", "log"),
    ("log_muon_iso_blobs_energy", "muon_iso_blobs_energy", "log"),
    ("log_hadron_recoil_energy", "hadron_recoil_energy", "log"),
    ("log_passive_recoil_id", "passive_recoil_id", "log_passive"),
    ("log_passive_recoil_od", "passive_recoil_od", "log_passive"),
    ("log_passive_recoil", "", "log_passive"),
    ("n_michel_tags", "n_michel_tags", ""),
    ("n_muons", "n_muons", ""),
    ("diphoton_mass", "diphoton_mass", "MeV"),
    ("n_charged_prongs", "n_charged_prongs", ""),
    ("log_blob_energy", "blob_energy", "log_sum"),
    ("log_prong_3_energy", "prong_3_energy", "log_sum"),
    ("log_prong_8_energy", "prong_8_energy", "log_sum"),
    ("log_prong_13_energy", "prong_13_energy", "log_sum"),
    ("log_merged_blobs_energy", "merged_blobs_energy", "log_sum"),
    ("log_merged_prongs_energy", "merged_prongs_energy", "log_sum"),
)
#: Names of the 16 event-level inputs of :func:`event_inputs`; the paper counts 15, without the hadron recoil.
EVENT_INPUTS: tuple[str, ...] = tuple(name for name, _, _ in _EVENT_INPUTS)
PAPER_EVENT_INPUTS: tuple[str, ...] = tuple(name for name in EVENT_INPUTS if name != "log_hadron_recoil_energy")
_SCALED = {
    "": lambda value: value,
    "MeV": lambda value: value / _MEV,
    "log": lambda value: np.log(value / _MEV + 1e-5),
    "log_passive": lambda value: np.log(value / 10 + 1e-3),
    "log_sum": lambda value: np.log(value / _MEV + 1e-3),
}


def event_columns(names: Sequence[str] = PAPER_EVENT_INPUTS) -> tuple[str, ...]:
    """Columns that :func:`event_inputs` of these names are made from."""
    found = []
    for name, source, _ in _EVENT_INPUTS:
        if name in names:
            found += [source] if source else ["passive_recoil_id", "passive_recoil_od"]
    return tuple(dict.fromkeys(found))


def event_inputs(columns: Any, names: Sequence[str] = PAPER_EVENT_INPUTS) -> FloatArray:
    """Event-level inputs (N, len(names)) of a batch or a mapping of columns; unknown values count as 0.

    Raises:
        ConfigError: a name that is not in EVENT_INPUTS.
    """
    made: list[Array] = []
    for name in names:
        if name not in EVENT_INPUTS:
            raise ConfigError(f"unknown event input '{name}'", expected=nearest(name, EVENT_INPUTS))
        _, source, scaling = _EVENT_INPUTS[EVENT_INPUTS.index(name)]
        sources = (source,) if source else ("passive_recoil_id", "passive_recoil_od")
        value = sum(np.maximum(np.nan_to_num(columns[s].astype(np.float64)), 0) for s in sources)
        made.append(_SCALED[scaling](value))
    return np.stack(made, axis=1).astype(np.float32)


#: Event-level energy sum of each token type.
ENERGY_SUMS: dict[TokenType, str] = {
    TokenType.BLOB: "blob_energy",
    TokenType.PRONG_3: "prong_3_energy",
    TokenType.PRONG_8: "prong_8_energy",
    TokenType.PRONG_13: "prong_13_energy",
    TokenType.MERGED_BLOBS: "merged_blobs_energy",
    TokenType.MERGED_PRONGS: "merged_prongs_energy",
}


def features_of_tokens(clouds: Clouds) -> dict[str, Array]:
    """The event-level columns that follow from the tokens of a MINERvA cloud: energy sums (GeV) and n_muons.

    ``n_charged_prongs`` does not: a merged token does not tell how many it holds.
    """
    event, kind = flat.owners(clouds.offsets), clouds.columns["type"]
    energy = np.exp(clouds.columns["log_e"].astype(np.float64))
    found: dict[str, Array] = {"n_muons": np.bincount(event[kind == TokenType.MUON], minlength=len(clouds))}
    for token_type, name in ENERGY_SUMS.items():
        mine = kind == token_type
        found[name] = np.bincount(event[mine], energy[mine], minlength=len(clouds))
    return found
