"""Energy deposits of edep-sim in both generations of field names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, InputFileError, NuadaptError
from nuadapt.events.batch import EventBatch
from nuadapt.events.truth import CodeScheme, Current, InteractionMode
from nuadapt.sources import larnd
from nuadapt.sources.larnd import SegmentEvent, looks_like, read_segments
from nuadapt.sources.reading import ReadReport

SNAKE = {"event": "event_id", "track": "traj_id", "pdg": "pdg_id"}
CAMEL = {"event": "eventID", "track": "trackID", "pdg": "pdgId"}
COUNTS = {3: 4, 5: 1, 11: 7}  # deposits per event number


def segments(names: dict[str, str], *, order: list[int] | None = None) -> Any:
    """A table of deposits with values that tell row, end and axis apart."""
    ends = [f"{axis}_{end}" for end in ("start", "end") for axis in "xyz"]
    dtype = [(names["event"], "u4"), (names["track"], "u4"), (names["pdg"], "i4"), ("dE", "f4"), ("n_electrons", "u4")]
    table = np.zeros(sum(COUNTS.values()), dtype=np.dtype(dtype + [(name, "f4") for name in ends], align=True))
    table[names["event"]] = np.repeat(list(COUNTS), list(COUNTS.values()))
    table[names["track"]] = np.arange(len(table))
    table[names["pdg"]] = 13
    table["dE"] = np.arange(len(table)) + 1
    for i, name in enumerate(ends):
        table[name] = 100 * i + np.arange(len(table))
    return table if order is None else table[order]


def header(names: dict[str, str], events: list[int], **values: Any) -> Any:
    """An interaction table: CC RES of an anti-nu_e at 2 GeV."""
    dtype = [(names["event"], "u4"), ("target", "u4"), ("isCC", "?"), ("isQES", "?"), ("isRES", "?"), ("Enu", "f4"),
             ("nu_pdg", "i4"), ("lep_pdg", "i4"), ("Q2", "f4"), ("q0", "f4"), ("x", "f4"), ("y", "f4"),
             ("x_vert", "f4"), ("y_vert", "f4"), ("z_vert", "f4"), ("reaction", "i4")]  # fmt: skip
    table = np.zeros(len(events), dtype=np.dtype(dtype, align=True))
    table[names["event"]] = events
    defaults = {"target": 1000180400, "isCC": True, "isRES": True, "Enu": 2000, "nu_pdg": -12, "lep_pdg": -11,
                "Q2": 3e5, "q0": 500, "x": 0.3, "y": 0.25, "x_vert": 1, "y_vert": 2, "z_vert": 3}  # fmt: skip
    for name, value in (defaults | values).items():
        table[name] = value
    return table


def write(path: Path, **tables: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, table in tables.items():
            file[name] = table
    return path


def check(events: list[SegmentEvent], table: Any, names: dict[str, str]) -> None:
    assert [(e.event_id, len(e)) for e in events] == list(COUNTS.items())
    for event in events:
        rows = table[table[names["event"]] == event.event_id]
        np.testing.assert_allclose(event.energy, rows["dE"] * 1e-3, rtol=1e-6)  # MeV -> GeV
        np.testing.assert_array_equal(event.track_id, rows[names["track"]])
        np.testing.assert_array_equal(event.pdg, rows[names["pdg"]])
        np.testing.assert_array_equal(event.start, np.stack([rows[f"{a}_start"] for a in "xyz"], axis=1))
        np.testing.assert_array_equal(event.end, np.stack([rows[f"{a}_end"] for a in "xyz"], axis=1))


@pytest.mark.parametrize(("name", "names"), [("segments", SNAKE), ("tracks", CAMEL), ("segments", CAMEL)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_both_generations(tmp_path: Path, name: str, names: dict[str, str], shuffled: bool) -> None:
    order = np.random.default_rng(1).permutation(sum(COUNTS.values())).tolist() if shuffled else None
    table = segments(names, order=order)
    path = write(tmp_path / "a.h5", **{name: table})
    check(list(read_segments(path)), table, names)
    assert looks_like(path)


@pytest.mark.parametrize("block", [1, 3, 5, 1000])
def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(larnd, "_BLOCK", block)
    table = segments(SNAKE)
    check(list(read_segments(write(tmp_path / "a.h5", segments=table))), table, SNAKE)


def test_axes_are_permuted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", segments=segments(SNAKE), mc_hdr=header(SNAKE, [3]))
    plain, swapped = next(read_segments(path)), next(read_segments(path, axes=(2, 1, 0)))
    np.testing.assert_array_equal(swapped.start, plain.start[:, ::-1])
    assert plain.vertex is not None
    assert swapped.vertex is not None
    np.testing.assert_array_equal(swapped.vertex, plain.vertex[::-1])
    with pytest.raises(ConfigError, match="permutation"):
        next(read_segments(path, axes=(0, 0, 1)))


@pytest.mark.parametrize(("name", "names"), [("mc_hdr", SNAKE), ("genie_hdr", CAMEL)])
def test_truth(tmp_path: Path, name: str, names: dict[str, str]) -> None:
    path = write(tmp_path / "a.h5", segments=segments(names), **{name: header(names, [3, 11, 11])})
    first, second, third = read_segments(path)
    truth = first.truth
    assert (truth["nu_pdg"], truth["current"], truth["mode"]) == (-12, Current.CC, InteractionMode.RES)
    assert (truth["mode_code"], truth["mode_scheme"]) == (InteractionMode.RES, CodeScheme.NUADAPT)
    assert (truth["target_pdg"], truth["lepton_pdg"]) == (1000180400, -11)
    np.testing.assert_allclose(
        [truth["nu_energy"], truth["Q2"], truth["q0"], truth["bjorken_x"]], [2, 0.3, 0.5, 0.3], rtol=1e-6
    )
    np.testing.assert_array_equal(first.vertex, [1, 2, 3])
    assert (second.truth, second.vertex) == ({}, None)  # no interaction for this event
    assert (third.truth, third.vertex) == ({}, None)  # two interactions: neither is the truth
    key = {"run": [0], "subrun": [0], "event": [3], "source": [0]}
    EventBatch.make(key | {k: [v] for k, v in truth.items()}, ["s"])  # all names and types are the schema's


def test_a_bare_charge_is_no_nucleus(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", segments=segments(SNAKE), mc_hdr=header(SNAKE, [3], target=18, isRES=False))
    truth = next(read_segments(path)).truth
    assert "target_pdg" not in truth
    assert truth["mode"] == InteractionMode.OTHER


def test_vertex_tables(tmp_path: Path) -> None:
    for names, expected in ((SNAKE, [7, 8, 9]), (CAMEL, None)):  # the camelCase table is in mm
        vertices = np.zeros(1, dtype=[(names["event"], "u4"), ("x_vert", "f4"), ("y_vert", "f4"), ("z_vert", "f4")])
        vertices[0] = (3, 7, 8, 9)
        path = write(tmp_path / f"{names['event']}.h5", segments=segments(names), vertices=vertices)
        vertex = next(read_segments(path)).vertex
        assert (vertex if vertex is None else vertex.tolist()) == expected


@pytest.mark.parametrize(("field", "value"), [("dE", np.nan), ("dE", -1), ("x_start", np.inf), ("z_end", np.nan)])
def test_impossible_deposits(tmp_path: Path, field: str, value: float) -> None:
    table = segments(SNAKE)
    table[field][5] = value
    path, report = write(tmp_path / "a.h5", segments=table), ReadReport()
    assert [e.event_id for e in read_segments(path, report=report, max_bad_fraction=0.5)] == [3, 5]
    assert (report.n_read, report.n_left_out) == (2, 1)
    with pytest.raises(InputFileError, match="1 of 3 events had to be left out"):
        list(read_segments(path))


def test_files_without_deposits(tmp_path: Path) -> None:
    table = segments(SNAKE)
    short = table[[name for name in table.dtype.names if name != "dE"]].copy()
    cases = [
        (write(tmp_path / "a.h5", other=np.zeros(3)), "no table of deposits"),
        (write(tmp_path / "b.h5", segments=np.zeros(3)), "no table of deposits"),
        (write(tmp_path / "c.h5", segments=table[:0]), "no deposits"),
        (write(tmp_path / "d.h5", segments=np.array(short)), "no field 'dE'"),
        (tmp_path / "missing.h5", "no such file"),
        (tmp_path, "not a file"),
    ]
    (tmp_path / "e.h5").write_bytes(b"")
    (tmp_path / "f.h5").write_bytes(b"PK\x03\x04")
    cases += [(tmp_path / "e.h5", "empty"), (tmp_path / "f.h5", "not an HDF5")]
    for path, says in cases:
        with pytest.raises(InputFileError, match=says) as caught:
            list(read_segments(path))
        assert str(path) in str(caught.value)
    assert not looks_like(tmp_path / "f.h5")


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_is_explained(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "good.h5"
    if not path.exists():
        write(path, segments=segments(SNAKE), mc_hdr=header(SNAKE, [3]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    broken = tmp_path / "broken.h5"
    broken.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        events = list(read_segments(broken, max_bad_fraction=1))
    except NuadaptError as error:
        where, events = str(error), []
    else:
        where = str(broken)
    assert str(broken) in where
    assert all(np.isfinite(e.energy).all() and np.isfinite(e.start).all() for e in events)
