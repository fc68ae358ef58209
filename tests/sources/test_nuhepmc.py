"""NuHepMC: the physics of the Achilles sample, the conventions, and files that are broken."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuadapt.errors import InputFileError, NuadaptError
from nuadapt.events.checks import problems_of
from nuadapt.events.truth import CodeScheme, Current, InteractionMode
from nuadapt.sources.hepmc_text import looks_like
from nuadapt.sources.nuhepmc import read_truth, read_vertices, rotation_to_z
from nuadapt.sources.reading import ReadReport
from nuadapt.sources.simulation.vertex import ExternalVertex

HEADER = """HepMC::Version 3.03.01
HepMC::Asciiv3-START_EVENT_LISTING
W CV
A NuHepMC.Version.Major 1
A NuHepMC.Version.Minor 0
A NuHepMC.Version.Patch 0
"""
END = "HepMC::Asciiv3-END_EVENT_LISTING\n"
#: nu_mu at 2 GeV on argon, written by hand in GeV and cm: struck neutron, muon, proton, pi+, alpha, remnant.
EVENT = """E 7 1 8
U GEV CM
W 0.5
A 0 lab_pos 1 2 3 4
A 0 signal_process_id 400
P 1 0 14 0 0 2 2 0 4
P 2 0 1000180400 0 0 0 37.2 37.2 20
P 3 0 2112 0 0 0 0.93 0.93 21
V -1 1 [1,2,3]
P 4 -1 13 0.3 0 1.4 1.4357 0.10566 1
P 5 -1 2212 -0.3 0 0.4 1.0628 0.93827 1
P 6 -1 211 0 0.1 0.2 0.2637 0.13957 1
P 7 -1 1000020040 0 0 0 3.7274 3.7274 1
P 8 -1 1000160340 0 -0.1 0 31.6 31.6 1
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file from text behind the header, with the end."""

    def to_file(events: str) -> Path:
        path = tmp_path / "events.hepmc3"
        path.write_text(HEADER + events + END, encoding="latin-1")
        return path

    return to_file


@pytest.fixture(scope="module")
def sample_path(shared_data: Path) -> Path:
    return shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz"


@pytest.fixture(scope="module")
def sample(sample_path: Path) -> list[ExternalVertex]:
    return list(read_vertices(sample_path))


def one(path: Path) -> ExternalVertex:
    (vertex,) = read_vertices(path)
    return vertex


def test_achilles_sample(sample: list[ExternalVertex], sample_path: Path) -> None:
    lines = [line.split() for line in gzip.decompress(sample_path.read_bytes()).decode().splitlines()]
    assert len(sample) == 300
    assert [v.event_number for v in sample] == [int(line[1]) for line in lines if line[:1] == ["E"]]
    assert [v.weight for v in sample] == [float(line[1]) for line in lines if line[:1] == ["W"] and line[1] != "CV"]
    for vertex in sample:
        seen = vertex.interaction
        assert seen.pdg.tolist() == [11, 2212]  # lepton first
        assert (seen.nu_pdg, seen.current, seen.mode) == (12, Current.CC, InteractionMode.QE)
        assert (vertex.mode_code, vertex.mode_scheme) == (200, CodeScheme.NUHEPMC)
        assert (seen.target_pdg, seen.hit_nucleon_pdg, seen.remnant_pdg) == (1000000010, 2112, 0)
        np.testing.assert_array_equal(vertex.lab_pos, [0, 0, 0])


def test_momentum_is_conserved_on_a_free_neutron(sample: list[ExternalVertex]) -> None:
    for vertex in sample:
        seen = vertex.interaction
        initial = np.array([0, 0, seen.nu_energy, seen.nu_energy + 0.93957])  # the sample's neutron mass
        np.testing.assert_allclose(seen.p4.sum(axis=0) + seen.remnant_p4, initial, atol=1e-8)


def test_kinematics_close(sample: list[ExternalVertex]) -> None:
    """For quasi-elastic scattering on a nucleon at rest W is the proton mass and x is 1, up to the mass difference."""
    for vertex in sample:
        seen = vertex.interaction
        assert 0 < seen.Q2 < 4
        np.testing.assert_allclose(seen.Q2, seen.q3**2 - seen.q0**2, rtol=1e-9)
        np.testing.assert_allclose(seen.Q2, 2 * seen.nu_energy * (seen.p4[0, 3] - seen.p4[0, 2]), atol=1e-6)
        np.testing.assert_allclose(seen.q0, seen.y * seen.nu_energy, rtol=1e-12)
        assert abs(seen.W - 0.93827) < 2e-3
        assert abs(seen.p4[1, :3] @ seen.p4[1, :3] - seen.q3**2) < 1e-7  # the proton takes all of q3


def test_truth_batch(sample_path: Path, sample: list[ExternalVertex]) -> None:
    batch = read_truth(sample_path)
    assert (len(batch), problems_of(batch), batch.sources) == (300, [], (sample_path.as_posix(),))
    assert set(batch.label.tolist()) == {0}
    assert batch["n_protons"].tolist() == [1] * 300
    assert batch.particles is not None
    np.testing.assert_array_equal(batch.particles.of(17)["pdg"], sample[17].interaction.pdg)
    np.testing.assert_allclose(batch["lepton_energy"], [v.interaction.p4[0, 3] for v in sample], rtol=1e-6)


def test_plain_text_reads_like_gzip_whatever_the_name(
    sample_path: Path, sample: list[ExternalVertex], tmp_path: Path
) -> None:
    plain = tmp_path / "events.gz"
    plain.write_bytes(gzip.decompress(sample_path.read_bytes()))
    for a, b in zip(read_vertices(plain), sample, strict=True):
        np.testing.assert_array_equal(a.interaction.p4, b.interaction.p4)
    assert looks_like(plain)
    assert looks_like(sample_path)


def test_event_on_argon(write: Write) -> None:
    vertex = one(write(EVENT))
    seen = vertex.interaction
    assert seen.pdg.tolist() == [13, 2212, 211, 1000020040]  # light ions leave, the heavy one stays
    assert (seen.hit_nucleon_pdg, seen.target_pdg, seen.remnant_pdg) == (2112, 1000180400, 1000160340)
    assert (seen.mode, vertex.weight, vertex.event_number) == (InteractionMode.RES, 0.5, 7)
    np.testing.assert_allclose(vertex.lab_pos, [1, 2, 3])
    np.testing.assert_allclose(seen.remnant_p4, [0, -0.1, 0, 31.6])
    np.testing.assert_allclose([seen.q0, seen.q3], [0.5643, np.hypot(0.3, 0.6)])


def test_units_are_converted(write: Write) -> None:
    scaled = []
    for line in EVENT.splitlines():
        words = line.split()
        if words[0] == "P":
            words[4:9] = [repr(float(word) * 1000) for word in words[4:9]]
        scaled.append(" ".join(words))
    text = "\n".join(scaled).replace("GEV CM", "MEV MM") + "\n"
    a, b = one(write(EVENT)), one(write(text))
    np.testing.assert_allclose(a.interaction.p4, b.interaction.p4, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(b.lab_pos), [0.1, 0.2, 0.3])


def test_beam_is_turned_to_z(write: Write) -> None:
    straight = one(write(EVENT)).interaction
    lines = []
    for line in EVENT.splitlines():
        words = line.split()
        if words[0] == "P":  # turn about y by a quarter: z -> x, x -> -z
            words[4], words[6] = words[6], repr(-float(words[4]))
        lines.append(" ".join(words))
    turned = one(write("\n".join(lines) + "\n")).interaction
    np.testing.assert_allclose(turned.p4, straight.p4, atol=1e-12)
    np.testing.assert_allclose(turned.remnant_p4, straight.remnant_p4, atol=1e-12)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_rotation_is_a_rotation_to_z(direction: list[float]) -> None:
    matrix = rotation_to_z(np.array(direction))
    np.testing.assert_allclose(matrix @ direction, [0, 0, np.linalg.norm(direction)], atol=1e-4)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-4)


def test_blanks_and_line_ends_do_not_matter(write: Write) -> None:
    """Two blanks in the first line make pyhepmc write behind its arrays; they must not reach it."""
    odd = EVENT.replace("E 7 1 8", "E  7 1  8 ").replace("P 4 -1 13", "P 4  -1 13").replace("\n", "\r\n")
    np.testing.assert_array_equal(one(write(odd)).interaction.p4, one(write(EVENT)).interaction.p4)


def test_a_vertex_without_a_line(write: Write) -> None:
    """HepMC3 writes a plain decay vertex only as the parent of its products."""
    decay = (
        EVENT.replace("E 7 1 8", "E 7 2 9")
        .replace("P 6 -1 211 0 0.1 0.2 0.2637 0.13957 1\n", "")
        .replace("P 7 -1", "P 6 -1")
        .replace("P 8 -1 1000160340 0 -0.1 0 31.6 31.6 1\n", "P 7 -1 111 0 0.1 0.2 0.2614 0.13498 2\n")
        + "P 8 7 22 0 0.1 0.1 0.1414 0 1\nP 9 7 22 0 0 0.1 0.1 0 1\n"
    )
    assert one(write(decay)).interaction.pdg.tolist() == [13, 2212, 1000020040, 22, 22]


def test_neutral_current(write: Write) -> None:
    text = EVENT.replace("signal_process_id 400", "signal_process_id 450").replace("P 4 -1 13 ", "P 4 -1 14 ")
    seen = one(write(text)).interaction
    assert (seen.current, seen.pdg[0], seen.mode) == (Current.NC, 14, InteractionMode.RES)


BAD_EVENTS = [
    ("P 4 -1 13 0.3", "P 4 -1 13 nan", "not finite"),
    ("P 4 -1 13 0.3", "P 4 -1 13 -inf", "not finite"),
    ("P 4 -1 13 0.3", "P 4 -1 13 1e30", "above any"),
    ("P 4 -1 13 0.3", "P 4 -1 11 0.3", "without an outgoing 13"),
    ("id 400", "id 450", "without an outgoing 14"),
    ("id 400", "id -400", "electromagnetic"),
    ("W 0.5", "W 0.5 0.5", "weights"),
    ("A 0 signal_process_id 400", "A 0 signal_process_id", "attribute without"),
    ("A 0 signal_process_id 400", "A 0 signal_process\0id 400", "attribute without"),
    ("A 0 signal_process_id", "A 9 signal_process_id", "attribute of nothing"),
    ("id 400", "id many", "no usable signal_process_id"),
    ("id 400", "id 4000000000", "impossibly large"),
    ("A 0 signal_process_id 400\n", "", "no usable signal_process_id"),
    ("W 0.5", "W nan", "weights"),
    ("W 0.5", "W 1e300", "weight"),
    ("lab_pos 1 2 3 4", "lab_pos 1 nan 3", "lab_pos"),
    ("lab_pos 1 2 3 4", "lab_pos here", "lab_pos"),
    ("P 1 0 14 0 0 2 2 0 4", "P 1 0 11 0 0 2 2 0 4", "not a neutrino"),
    ("P 1 0 14 0 0 2 2 0 4", "P 1 0 14 0 0 2 2 0 3", "0 particles are marked as beam"),
    ("P 1 0 14 0 0 2 2 0 4", "P 1 0 14 0 0 0 2 0 4", "no momentum"),
    ("37.2 20", "37.2 4", "2 particles are marked as beam"),
    ("0 37.2 37.2 20", "0 -37.2 37.2 20", "target has no energy"),
    ("U GEV CM", "U TEV CM", "no units"),
    ("U GEV CM\n", "", "no units"),
    ("E 7 1 8", "E 7 1 9", "another number of particles"),
    ("E 7 1 8", "E 7 2 8", "another number of vertices"),
    ("E 7 1 8", "E 7 -1 8", "first line"),
    ("E 7 1 8", "E 7 1 999999999", "first line"),
    ("E 7 1 8", "E 7 x 8", "first line"),
    ("E 7 1 8", "E 9999999999 1 8", "first line"),
    ("P 5 -1", "P 6 -1", "wrong number or parent"),
    ("P 5 -1", "P 5 -9", "wrong number or parent"),
    ("P 5 -1", "P 5 5", "wrong number or parent"),
    ("P 5 -1", "P 5 4", "another number of vertices"),
    ("P 5 -1 2212", "P 5 -1 9999999999", "particle that does not follow"),
    ("P 5 -1 2212 -0.3", "P 5 -1 2212 -0_3", "particle that does not follow"),
    ("[1,2,3]", "[1,2,33]", "wrong number or particle"),
    ("[1,2,3]", "[]", "vertex that does not follow"),
    ("[1,2,3]", "1,2,3", "vertex that does not follow"),
    ("V -1 1", "V -4 1", "wrong number or particle"),
    ("V -1 1", "X -1 1", "unknown kind"),
]


@pytest.mark.parametrize(("old", "new", "reason"), BAD_EVENTS)
def test_unusable_event_is_left_out_and_counted(write: Write, old: str, new: str, reason: str) -> None:
    assert EVENT.count(old) == 1
    good = [EVENT.replace("E 7", f"E {i}") for i in range(3)]
    path = write(good[0] + EVENT.replace(old, new) + "".join(good[1:]))
    report = ReadReport()
    numbers = [v.event_number for v in read_vertices(path, report, max_bad_fraction=0.3)]
    assert numbers == [0, 1, 2]
    assert (report.n_read, report.n_left_out) == (3, 1)
    assert reason in report.reasons()
    delivered: list[ExternalVertex] = []
    with pytest.raises(InputFileError, match="1 of 4 events had to be left out"):
        _collect(path, delivered)
    assert len(delivered) == 3


def _collect(path: Path, into: list[ExternalVertex]) -> None:
    """Read all; what comes before an error stays in ``into``."""
    into.extend(read_vertices(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty"), ("hello\n", "not HepMC3"), ("HepMC::Version 3\n", "not HepMC3"), ("\x89HDF\r\n", "not HepMC3"),
     ("HepMC::Version 2.06\nHepMC::IO_GenEvent-START_EVENT_LISTING\n", "HepMC2"), (HEADER, "truncated"),
     (HEADER.replace("Major 1", "Major 2") + EVENT + END, r"version 2\.0\.0"), (HEADER + END, "no events"),
     (HEADER.replace("NuHepMC", "Other") + EVENT + END, "does not follow the neutrino conventions"),
     (HEADER + "A x\n" + EVENT + END, "line 7 is no line"), (HEADER + "W \xc3\n" + EVENT + END, "not ASCII"),
     (HEADER + EVENT, "truncated"), (HEADER + EVENT + END + HEADER, "more content"), ("x" * 2_000_000, "longer than")],
)  # fmt: skip
def test_files_that_are_no_nuhepmc(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.hepmc"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputFileError, match=says) as caught:
        list(read_vertices(path))
    assert str(path) in str(caught.value)
    with pytest.raises(InputFileError):
        list(read_vertices(tmp_path))


def test_a_draft_version_is_read_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.hepmc"
    path.write_text(HEADER.replace("Major 1", "Major 0").replace("Minor 0", "Minor 9") + EVENT + END)
    report = ReadReport()
    assert len(list(read_vertices(path, report))) == 1
    assert "0.9.0" in report.notes[0]


@pytest.mark.parametrize("packed", [False, True])
def test_events_before_a_break_are_delivered(
    sample_path: Path, sample: list[ExternalVertex], tmp_path: Path, packed: bool
) -> None:
    content = sample_path.read_bytes() if packed else gzip.decompress(sample_path.read_bytes())
    path = tmp_path / "cut.hepmc"
    path.write_bytes(content[: len(content) // 2])
    delivered: list[ExternalVertex] = []
    with pytest.raises(InputFileError, match="truncated"):
        _collect(path, delivered)
    assert 100 < len(delivered) < 200
    assert [v.event_number for v in delivered] == [v.event_number for v in sample[: len(delivered)]]


def test_weights_without_the_name_cv(tmp_path: Path) -> None:
    path = tmp_path / "a.hepmc"
    path.write_text(HEADER.replace("W CV", "W one two") + EVENT.replace("W 0.5", "W 3 4") + END)
    report = ReadReport()
    assert [v.weight for v in read_vertices(path, report)] == [1.0]
    assert "CV" in report.notes[0]
    path.write_text(HEADER.replace("W CV\n", "") + EVENT + END)
    assert one(path).weight == 0.5  # the only one
    path.write_text(HEADER.replace("W CV", "W one CV") + EVENT.replace("W 0.5", "W 3 4") + END)
    assert one(path).weight == 4.0


def test_nothing_is_printed(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    list(read_vertices(write(EVENT + EVENT.replace("P 5 -1", "P 5 -9")), max_bad_fraction=1))
    assert capfd.readouterr() == ("", "")


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), packed=st.booleans())
def test_damage_is_explained(tmp_path: Path, data: st.DataObject, packed: bool) -> None:
    """Whatever bytes are changed or lost, the reader delivers events or says what is wrong."""
    content = bytearray((HEADER + EVENT + EVENT + END).encode())
    if packed:
        content = bytearray(gzip.compress(bytes(content)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "a.hepmc"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    delivered: list[ExternalVertex] = []
    try:
        _collect(path, delivered)
    except NuadaptError as error:
        where = str(error)
    else:
        where = str(path)
    assert str(path) in where
    assert len(delivered) <= 2
    for vertex in delivered:
        assert np.isfinite(vertex.interaction.p4).all()
