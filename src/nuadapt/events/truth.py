"""Interaction truth: current and mode with their code schemes, and the class definitions.

The same integer means different processes in different generators, so an original code is never stored
without its scheme.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Current(IntEnum):
    """Weak current of the interaction."""

    UNKNOWN = 0
    CC = 1
    NC = 2


class InteractionMode(IntEnum):
    """nuadapt's own names for the primary process, independent of any generator."""

    UNKNOWN = 0
    QE = 1  # quasi-elastic (CC) or elastic (NC) scattering on one nucleon
    MEC = 2  # two nucleons, two holes
    RES = 3  # baryon resonance
    DIS = 4  # deep and shallow inelastic
    COH = 5  # coherent pion production
    NU_E = 6  # scattering on an atomic electron
    OTHER = 7


class CodeScheme(IntEnum):
    """Whose integers the stored original interaction codes are."""

    NONE = 0
    NUADAPT = 1
    SIMB = 2  # LArSoft simb::MCNeutrino, also NOvA "mode"
    GENIE = 3  # EScatteringType
    MINERVA = 4  # mc_intType
    NUHEPMC = 5  # NuHepMC 1.0 convention E.C.1
    DUNE_CVN = 6  # partition file of the dune-cvn release


_M = InteractionMode
#: Original code -> mode, per scheme (formats of LArSoft simb, GENIE, MINERvA tuples, dune-cvn release).
MODE_TABLES: dict[CodeScheme, dict[int, InteractionMode]] = {
    CodeScheme.NUADAPT: {int(mode): mode for mode in InteractionMode},
    CodeScheme.SIMB: {0: _M.QE, 1: _M.RES, 2: _M.DIS, 3: _M.COH, 5: _M.NU_E, 10: _M.MEC, 1098: _M.NU_E},
    CodeScheme.GENIE: {1: _M.QE, 3: _M.DIS, 4: _M.RES, 5: _M.COH, 7: _M.NU_E, 10: _M.MEC},
    CodeScheme.MINERVA: {1: _M.QE, 2: _M.RES, 3: _M.DIS, 4: _M.COH, 7: _M.NU_E, 8: _M.MEC},
    CodeScheme.DUNE_CVN: {0: _M.QE, 1: _M.RES, 2: _M.DIS, 3: _M.OTHER},
}
#: Stored where a source gives no code of its own (and by dune-cvn for every NC event); simb calls it unknown, too.
NO_CODE = -1
#: NuHepMC E.C.1 blocks of hundreds: (first, last, mode). The CC half of a block is X00-X49.
NUHEPMC_BLOCKS: tuple[tuple[int, int, InteractionMode], ...] = (
    (200, 299, _M.QE),
    (300, 399, _M.MEC),
    (400, 499, _M.RES),
    (500, 599, _M.DIS),  # shallow inelastic, counted with DIS
    (600, 699, _M.DIS),
    (700, 799, _M.NU_E),
)


def mode_from_code(code: int, scheme: CodeScheme) -> InteractionMode:
    """nuadapt's mode for a generator's ``code``; codes outside the scheme become ``OTHER``, NO_CODE ``UNKNOWN``.

    >>> mode_from_code(10, CodeScheme.GENIE).name, mode_from_code(8, CodeScheme.MINERVA).name
    ('MEC', 'MEC')
    >>> mode_from_code(1, CodeScheme.SIMB).name, mode_from_code(1, CodeScheme.GENIE).name
    ('RES', 'QE')
    """
    if scheme == CodeScheme.NONE or code == NO_CODE:
        return InteractionMode.UNKNOWN
    if scheme == CodeScheme.NUHEPMC:
        return next((m for low, high, m in NUHEPMC_BLOCKS if low <= code <= high), InteractionMode.OTHER)
    return MODE_TABLES[scheme].get(code, InteractionMode.OTHER)


#: Classes of the ``flavour`` task in label order; the index is the label.
FLAVOUR_CLASSES: tuple[str, ...] = ("nue_cc", "numu_cc", "nc")
#: How people and papers spell them (Sagar et al., arXiv:2509.08461).
FLAVOUR_TITLES: dict[str, str] = {"nue_cc": "NuE CC", "numu_cc": "NuMu CC", "nc": "Neutral Current"}
#: An event outside every class (nu_tau CC, unknown truth). Never trained on, never scored, always counted.
NO_LABEL = -1


def flavour_label(nu_pdg: Array, current: Array) -> npt.NDArray[np.int8]:
    """Label of the ``flavour`` task, shape (N,): index into :data:`FLAVOUR_CLASSES` or :data:`NO_LABEL`.

    Neutrinos and antineutrinos share a class. NC is NC whatever the flavour, also where it is unknown
    (``nu_pdg`` 0).

    >>> flavour_label(np.array([12, -14, 16, 0, 12]), np.array([1, 1, 1, 2, 0])).tolist()
    [0, 1, -1, 2, -1]
    """
    flavour, current = np.abs(np.asarray(nu_pdg)), np.asarray(current)
    label = np.full(flavour.shape, NO_LABEL, dtype=np.int8)
    is_cc = current == Current.CC
    label[is_cc & (flavour == 12)] = 0
    label[is_cc & (flavour == 14)] = 1
    label[current == Current.NC] = 2
    return label


#: Classes of the ``pion`` task in label order (arXiv:2604.12364).
PION_CLASSES: tuple[str, ...] = ("cc_1pi_charged", "cc_npi_charged", "cc_1pi0", "cc_other", "nc")
PION_TITLES: dict[str, str] = {
    "cc_1pi_charged": "CC 1π±",
    "cc_npi_charged": "CC Nπ±",
    "cc_1pi0": "CC 1π0",
    "cc_other": "CC other",
    "nc": "Neutral Current",
}


def pion_label(current: Array, n_charged_pions: Array, n_neutral_pions: Array) -> npt.NDArray[np.int8]:
    """Label of the ``pion`` task, shape (N,): index into :data:`PION_CLASSES` or :data:`NO_LABEL`.

    CC with exactly one charged pion, with more, with exactly one pi0 and no charged pion, any other CC, and NC: every
    event of known current and known counts is in exactly one class. Other particles do not matter.

    >>> pion_label(np.array([1, 1, 1, 1, 2, 0]), np.array([1, 3, 0, 0, 1, 1]), np.array([2, 1, 1, 0, 0, 0])).tolist()
    [0, 1, 2, 3, 4, -1]
    """
    current, charged, neutral = (np.asarray(a) for a in (current, n_charged_pions, n_neutral_pions))
    label = np.full(current.shape, NO_LABEL, dtype=np.int8)
    is_cc = (current == Current.CC) & (charged >= 0) & (neutral >= 0)
    label[is_cc] = 3
    label[is_cc & (charged == 1)] = 0
    label[is_cc & (charged > 1)] = 1
    label[is_cc & (charged == 0) & (neutral == 1)] = 2
    label[current == Current.NC] = 4
    return label
