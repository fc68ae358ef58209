"""Read neutrino interactions of any generator that writes NuHepMC: Achilles, GENIE, NuWro, NEUT, GiBUU.

Format: HepMC3 ASCII (Buckley et al., Comput. Phys. Commun. 260 (2021) 107310) with the NuHepMC conventions
(Gardiner, Isaacson, Pickering, arXiv:2310.13211; github.com/NuHepMC/Spec). Plain text or gzip, told apart by content.

Each event is rotated so that its neutrino moves along +z, our beam axis; the position in the laboratory is not
rotated. The text of every event is checked before pyhepmc parses it, because pyhepmc takes a damaged event for
the end of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import InputFileError
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.truth import CodeScheme, Current, mode_from_code
from nuadapt.sources.hepmc_text import EventText, events_of, open_text
from nuadapt.sources.reading import ReadReport
from nuadapt.sources.simulation.neutrino.interaction import Interaction
from nuadapt.sources.simulation.neutrino.masses import M_NUCLEON
from nuadapt.sources.simulation.vertex import ExternalVertex

FloatArray = npt.NDArray[np.float64]

#: Particle status codes of HepMC3 and NuHepMC.
FINAL, BEAM, TARGET, STRUCK = 1, 4, 20, 21
PRIMARY_VERTEX = 1  # vertex status
REMNANT = 2009900000  # nuclear remnant of unknown make-up (NuHepMC)
NEUTRINOS = (12, 14, 16)
PROTON, NEUTRON = 2212, 2112
_FREE_NUCLEON = {1000010010: PROTON, 1000000010: NEUTRON}  # a nucleon written as a nucleus
_NUCLEUS = 1_000_000_000  # smallest nuclear PDG code
_LARGEST_FRAGMENT = 4  # A; heavier ions are the remnant, lighter ones leave it and are followed
_MM, _MEV = 0.1, 1e-3  # cm, GeV
_LARGEST_STORED = 1e38  # columns are 32-bit floats
_IMPOSSIBLE = 1e12  # GeV; the most energetic cosmic ray had 3.2e11 GeV (Bird et al., astro-ph/9410067)


class UnusableEvent(Exception):
    """Why one event is left out; counted by reason, never shown alone."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One particle of the event record; ``p4`` (4,) px, py, pz, E in GeV, ``origin`` the status of its vertex."""

    pdg: int
    status: int
    p4: FloatArray
    origin: int
    enters_primary: bool


def read_vertices(
    path: Path, report: ReadReport | None = None, *, max_bad_fraction: float = 0.01
) -> Iterator[ExternalVertex]:
    """Interactions in file order.

    An unusable event is left out and counted in ``report`` with its reason. The weight is the one named "CV",
    else the only one, else 1. The stored code is the file's own process number.

    Raises:
        InputFileError: not NuHepMC; or, after the events before it, a truncated file or more than
            ``max_bad_fraction`` of unusable events.
    """
    path, report = Path(path), report if report is not None else ReadReport()
    with open_text(path) as text:
        for event in events_of(text, path, report):
            try:
                vertex = _vertex_of(event, report)
            except UnusableEvent as reason:
                report.left_out[str(reason)] += 1
                continue
            report.n_read += 1
            yield vertex
    if not report.n_read + report.n_left_out:
        raise InputFileError("no events in this file", where=path, expected="at least one NuHepMC event")
    report.check_limit(path, max_bad_fraction)


def _vertex_of(text: EventText, report: ReadReport) -> ExternalVertex:
    """One interaction from a parsed event.

    Raises:
        UnusableEvent: anything about it is impossible.
    """
    if text.problem or text.event is None:
        raise UnusableEvent(text.problem or "cannot be parsed")
    event = text.event
    lines = _particles(event)
    neutrino, target = _only(lines, BEAM, "beam particle"), _only(lines, TARGET, "target")
    if abs(neutrino.pdg) not in NEUTRINOS:
        raise UnusableEvent(f"beam particle {neutrino.pdg} is not a neutrino")
    code = _integer(event.attributes, "signal_process_id")
    lepton, current = _outgoing_lepton(lines, neutrino.pdg, code)
    rotation = rotation_to_z(neutrino.p4[:3])
    finals = [line for line in lines if line.status == FINAL and line is not lepton]
    kept = [lepton, *(line for line in finals if not _is_remnant(line.pdg))]
    struck = _struck_nucleon(lines, target)
    remnant = [line for line in finals if _is_remnant(line.pdg)]
    interaction = Interaction(
        nu_pdg=neutrino.pdg,
        nu_energy=float(neutrino.p4[3]),
        current=current,
        mode=mode_from_code(code, CodeScheme.NUHEPMC),
        target_pdg=target.pdg,
        hit_nucleon_pdg=struck,
        **kinematics(neutrino.p4, lepton.p4),
        pdg=np.array([line.pdg for line in kept], dtype=np.int32),
        p4=_rotated(rotation, kept),
        remnant_pdg=max((line.pdg for line in remnant if line.pdg < 2 * _NUCLEUS), default=REMNANT if remnant else 0),
        remnant_p4=_rotated(rotation, remnant).sum(axis=0),
    )
    return ExternalVertex(
        interaction,
        code,
        CodeScheme.NUHEPMC,
        _weight(event, report),
        int(event.event_number),
        _lab_position(event),
    )


def _particles(event: Any) -> list[_Line]:
    """All particles in GeV.

    Raises:
        UnusableEvent: a momentum is not finite or impossibly large.
    """
    scale = _MEV if event.momentum_unit.name == "MEV" else 1.0
    lines = []
    for particle in event.particles:
        p = particle.momentum
        p4 = np.array([p.px, p.py, p.pz, p.e]) * scale
        if not np.isfinite(p4).all():
            raise UnusableEvent("a momentum is not finite")
        if np.abs(p4).max() > _IMPOSSIBLE:
            raise UnusableEvent("a momentum above any in nature")
        made, end = particle.production_vertex, particle.end_vertex
        enters = end is not None and end.status == PRIMARY_VERTEX
        lines.append(_Line(particle.pid, particle.status, p4, made.status if made is not None else 0, enters))
    return lines


def _only(lines: Sequence[_Line], status: int, name: str) -> _Line:
    found = [line for line in lines if line.status == status]
    if len(found) != 1:
        raise UnusableEvent(f"{len(found)} particles are marked as {name} (status {status})")
    if not found[0].p4[3] > 0:
        raise UnusableEvent(f"the {name} has no energy")
    return found[0]


def _outgoing_lepton(lines: Sequence[_Line], nu_pdg: int, code: int) -> tuple[_Line, Current]:
    """The lepton of the neutrino's own generation, and the current that process number and lepton agree on.

    Process numbers: X00-X49 charged, X50-X99 neutral, negative electromagnetic (NuHepMC E.C.1). Of several
    candidates one from the primary vertex is taken first, then the most energetic.
    """
    if code < 0:
        raise UnusableEvent(f"process {code} is electromagnetic")
    current = Current.CC if code % 100 < 50 else Current.NC
    # The charged partner's PDG code is one below its neutrino's, with the same sign.
    wanted = nu_pdg if current == Current.NC else int(math.copysign(abs(nu_pdg) - 1, nu_pdg))
    candidates = [line for line in lines if line.status == FINAL and line.pdg == wanted]
    if not candidates:
        raise UnusableEvent(f"process {code} ({current.name}) of neutrino {nu_pdg} without an outgoing {wanted}")
    return max(candidates, key=lambda line: (line.origin == PRIMARY_VERTEX, line.p4[3])), current


def _is_remnant(pdg: int) -> bool:
    """Nuclei heavier than helium and generators' pseudo-particles (2000000000 and above)."""
    return pdg >= _NUCLEUS and (pdg >= 2 * _NUCLEUS or pdg // 10 % 1000 > _LARGEST_FRAGMENT)


def _struck_nucleon(lines: Sequence[_Line], target: _Line) -> int:
    """PDG code of the one struck nucleon; 0 where there is none, or more than one (MEC)."""
    if target.pdg in (PROTON, NEUTRON, *_FREE_NUCLEON):
        return _FREE_NUCLEON.get(target.pdg, target.pdg)
    marked = [line.pdg for line in lines if line.status == STRUCK]
    entering = [line.pdg for line in lines if line.enters_primary and line.pdg in (PROTON, NEUTRON)]
    found = marked or entering
    return found[0] if len(found) == 1 and found[0] in (PROTON, NEUTRON) else 0


def kinematics(neutrino: FloatArray, lepton: FloatArray) -> dict[str, float]:
    """Q2, W, q0, q3, x, y from the leptons' four-momenta (4,) in GeV, as if the struck nucleon had been at rest.

    Q2 = q3^2 - q0^2, W^2 = M^2 + 2 M q0 - Q2, x = Q2 / (2 M q0), y = q0 / E_nu (PDG review, "Structure
    functions"), with M the mean nucleon mass as in the built-in generator. W is 0 where W^2 < 0, x is NaN where
    q0 <= 0.
    """
    q = neutrino - lepton
    q0, q3 = float(q[3]), float(np.linalg.norm(q[:3]))
    Q2 = max(q3 * q3 - q0 * q0, 0.0)
    W2 = M_NUCLEON**2 + 2 * M_NUCLEON * q0 - Q2
    return {
        "Q2": Q2,
        "W": math.sqrt(max(W2, 0.0)),
        "q0": q0,
        "q3": q3,
        "x": Q2 / (2 * M_NUCLEON * q0) if q0 > 0 else math.nan,
        "y": q0 / float(neutrino[3]),
    }


def rotation_to_z(direction: FloatArray) -> FloatArray:
    """The smallest rotation that takes ``direction`` (3,) to +z, shape (3, 3) (Rodrigues' formula).

    A direction along -z is turned about the x axis.

    Raises:
        UnusableEvent: the direction has no length.
    """
    length = float(np.linalg.norm(direction))
    if not length > 0:
        raise UnusableEvent("the beam particle has no momentum")
    x, y, z = direction / length
    if z < -1 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
    rotation: FloatArray = np.eye(3) + cross + cross @ cross / (1 + z)
    return rotation


def _rotated(rotation: FloatArray, lines: Sequence[_Line]) -> FloatArray:
    """Four-momenta (n, 4) in the frame with the neutrino along +z."""
    p4 = np.array([line.p4 for line in lines]).reshape(-1, 4)
    return np.concatenate([p4[:, :3] @ rotation.T, p4[:, 3:]], axis=1)


def _integer(attributes: Any, name: str) -> int:
    """An attribute as a number that fits 32 bits. Taken from its text: pyhepmc's own cast makes 0 of any word."""
    try:
        value = int(attributes[name].astype(str))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnusableEvent(f"no usable {name}") from error
    if abs(value) >= 2**31:
        raise UnusableEvent(f"{name} is impossibly large")
    return value


def _weight(event: Any, report: ReadReport) -> float:
    names = list(event.run_info.weight_names) if event.run_info is not None else []
    weights = list(event.weights)
    if "CV" in names and len(weights) == len(names):
        weight = weights[names.index("CV")]
    elif len(weights) == 1:
        weight = weights[0]
    else:
        report.note("no weight is named CV, so all weights are 1")
        weight = 1.0
    if not abs(weight) < _LARGEST_STORED:
        raise UnusableEvent("the weight is not finite")
    return float(weight)


def _lab_position(event: Any) -> FloatArray | None:
    """Interaction point (3,) in cm, or None if the file does not give it (NuHepMC E.C.5)."""
    if "lab_pos" not in event.attributes:
        return None
    try:
        position = np.array(event.attributes["lab_pos"].astype(str).split()[:3], dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnusableEvent("lab_pos is not a list of numbers") from error
    if position.shape != (3,) or not (np.abs(position) < _LARGEST_STORED).all():
        raise UnusableEvent("lab_pos is not a finite position")
    return position * (_MM if event.length_unit.name == "MM" else 1.0)


def read_truth(path: Path, report: ReadReport | None = None, *, max_bad_fraction: float = 0.01) -> EventBatch:
    """Truth and outgoing particles of all events of a file, without pixel maps.

    Raises:
        InputFileError: see :func:`read_vertices`.
    """
    return EventBatch.concatenate(list(truth_batches(path, report, max_bad_fraction=max_bad_fraction)))


def truth_batches(
    path: Path, report: ReadReport | None = None, *, max_bad_fraction: float = 0.01, size: int = 1000
) -> Iterator[EventBatch]:
    """As :func:`read_truth`, ``size`` events at a time; what was read before an error is delivered first."""
    part: list[ExternalVertex] = []
    try:
        for vertex in read_vertices(path, report, max_bad_fraction=max_bad_fraction):
            part.append(vertex)
            if len(part) == size:
                yield batch_of(part, path.as_posix())
                part = []
    except InputFileError:
        if part:
            yield batch_of(part, path.as_posix())
        raise
    if part:
        yield batch_of(part, path.as_posix())


def batch_of(vertices: Sequence[ExternalVertex], source: str) -> EventBatch:
    """Truth columns and particles of interactions; event number as in the file, run and subrun 0."""
    seen = [v.interaction for v in vertices]
    position = np.array([v.lab_pos if v.lab_pos is not None else [math.nan] * 3 for v in vertices])
    same = ("nu_pdg", "nu_energy", "current", "mode", "target_pdg", "hit_nucleon_pdg", "Q2", "W", "q0", "q3")
    columns: dict[str, Any] = {name: [getattr(i, name) for i in seen] for name in same}
    columns |= {f"vertex_{axis}": position[:, k] for k, axis in enumerate("xyz")}
    columns |= {
        "run": np.zeros(len(seen)),
        "subrun": np.zeros(len(seen)),
        "source": np.zeros(len(seen)),
        "event": [v.event_number for v in vertices],
        "weight": [v.weight for v in vertices],
        "mode_code": [v.mode_code for v in vertices],
        "mode_scheme": [int(v.mode_scheme) for v in vertices],
        "bjorken_x": [i.x for i in seen],
        "inelasticity_y": [i.y for i in seen],
        "lepton_pdg": [i.pdg[0] for i in seen],
        "lepton_energy": [i.p4[0, 3] for i in seen],
        "n_protons": [_count(i, PROTON) for i in seen],
        "n_neutrons": [_count(i, NEUTRON) for i in seen],
        "n_charged_pions": [_count(i, 211) + _count(i, -211) for i in seen],
        "n_neutral_pions": [_count(i, 111) for i in seen],
    }
    particles = Particles.from_lists([i.pdg for i in seen], [i.p4 for i in seen])
    return EventBatch.make(columns, (source,), particles)


def _count(interaction: Interaction, pdg: int) -> int:
    return int(np.count_nonzero(interaction.pdg == pdg))
