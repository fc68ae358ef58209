"""Simulated files: the same for any number of workers and interruptions, and true to their own truth."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import ConfigError, InputFileError, NuadaptError, OutputError
from nuadapt.events.store import EventStore
from nuadapt.events.truth import Current
from nuadapt.settings import build
from nuadapt.sources.simulation.lartpc import LArTPC, LArTPCConfig
from nuadapt.sources.simulation.run import SimulationPlan, simulate

CHUNK = LArTPC.chunk
SMALL = build(LArTPCConfig, {"readout": {"crop": 96}, "beam": {"energy_max": 2.0}})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sim") / "one.h5"
    simulate(SimulationPlan(SMALL, seed=5, events=CHUNK * 3 + 5), path)
    return path


def contents(path: Path) -> str:
    with EventStore(path) as store:
        assert store.complete
        assert store.problems() == []
        return store.fingerprint()


def test_two_workers_write_the_same_file(undisturbed, tmp_path):
    simulate(SimulationPlan(SMALL, seed=5, events=CHUNK * 3 + 5, workers=2), tmp_path / "two.h5")
    assert contents(tmp_path / "two.h5") == contents(undisturbed)
    assert (tmp_path / "two.h5").read_bytes() == undisturbed.read_bytes()


def test_another_seed_gives_other_events(undisturbed, tmp_path):
    simulate(SimulationPlan(SMALL, seed=6, events=CHUNK), tmp_path / "other.h5")
    with EventStore(tmp_path / "other.h5") as other, EventStore(undisturbed) as first:
        assert not np.array_equal(other.column("nu_energy"), first.column("nu_energy")[:CHUNK])


def test_events_do_not_depend_on_how_many_there_are(undisturbed):
    alone = LArTPC(SMALL, 5).simulate([CHUNK + 3], "nuadapt-lartpc")
    with EventStore(undisturbed) as store:
        stored = store.read(slice(CHUNK + 3, CHUNK + 4))
    assert alone["nu_energy"] == stored["nu_energy"]
    assert np.array_equal(alone.pixelmap.value, stored.pixelmap.value)


_CHILD = """
import sys
from pathlib import Path
from nuadapt.settings import build
from nuadapt.sources.simulation.lartpc import LArTPCConfig
from nuadapt.sources.simulation.run import SimulationPlan, simulate
config = build(LArTPCConfig, {"readout": {"crop": 96}, "beam": {"energy_max": 2.0}})
simulate(SimulationPlan(config, seed=5, events=int(sys.argv[2])), Path(sys.argv[1]))
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_file(undisturbed, tmp_path):
    path, n = tmp_path / "killed.h5", CHUNK * 3 + 5
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path), str(n)])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # until the first batches are there
        time.sleep(0.05)
        if path.exists():
            try:
                with EventStore(path) as store:
                    if len(store) >= CHUNK:
                        break
            except NuadaptError:  # not even the header is there yet
                continue
    child.kill()
    child.wait()
    with EventStore(path) as store:
        done = len(store)
    assert done % CHUNK == 0 or done == n
    if done < n:
        with pytest.raises(OutputError, match="another simulation"):
            simulate(SimulationPlan(SMALL, seed=7, events=n), path)
        simulate(SimulationPlan(SMALL, seed=5, events=n), path)
    assert contents(path) == contents(undisturbed)


def test_truth_and_maps_belong_together(undisturbed):
    with EventStore(undisturbed) as store:
        batch = store.read(slice(0, len(store)))
    maps = batch.pixelmap
    in_map = batch["deposited_energy"] * batch["map_fraction"]
    for event in range(len(batch)):
        # A view is cropped in its own two axes only, so it holds at least what both views share. The threshold
        # and diffusion over the edge take a little; nothing is added.
        energy = maps.dense(event).sum(axis=(1, 2))
        assert np.all(energy > 0.88 * in_map[event] - 5e-3)
        # A step across the edge of the instrumented argon counts by its middle in the truth, piece by piece in the map.
        assert np.all(energy <= batch["deposited_energy"][event] * 1.0001 + 1e-3)
    assert np.all(batch["deposited_energy"] <= batch["nu_energy"] + 0.2)  # rest masses and binding can add a little
    assert np.all(batch["q0"] == pytest.approx(batch["nu_energy"] - batch["lepton_energy"], abs=1e-4))
    assert np.allclose(batch["Q2"], batch["q3"] ** 2 - batch["q0"] ** 2, atol=2e-3)
    assert np.all(batch["inelasticity_y"] <= 1)


def test_muons_are_seen_where_they_should_be(undisturbed):
    with EventStore(undisturbed) as store:
        batch = store.read(slice(0, len(store)))
    is_muon = (np.abs(batch["nu_pdg"]) == 14) & (batch["current"] == Current.CC)
    assert np.all(np.isfinite(batch["muon_track_length"][is_muon]))
    assert np.all(np.isnan(batch["muon_track_length"][~is_muon]))
    assert np.all(batch["muon_contained"][~is_muon] == -1)
    electron = (np.abs(batch["nu_pdg"]) == 12) & (batch["current"] == Current.CC) & (batch["lepton_energy"] > 0.2)
    assert np.median(batch["shower_gap"][electron]) < 0.5  # cm: an electron showers from the vertex


def test_shares_of_flavour_and_current():
    batch = LArTPC(SMALL, 1).simulate(range(300), "x")
    cc = (batch["current"] == Current.CC).mean()
    assert abs(cc - 0.74) < 4 * np.sqrt(0.74 * 0.26 / 300)
    assert abs((batch["nu_pdg"] == 12).mean() - 0.5) < 4 * np.sqrt(0.25 / 300)
    assert batch["nu_energy"].min() >= 0.2
    assert batch["nu_energy"].max() <= 2.0


def test_real_generator_events_pass_through_the_detector(shared_data, tmp_path):
    vertices = shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz"
    plan = SimulationPlan(SMALL, seed=1, events=40, vertices=vertices)
    assert simulate(plan, tmp_path / "a.h5").n_read == 40
    with EventStore(tmp_path / "a.h5") as store:
        batch = store.read(slice(0, 40))
    assert set(batch["nu_pdg"]) == {12}
    assert set(batch["mode"]) == {1}
    assert set(batch["mode_code"]) == {200}
    assert batch["nu_energy"] == pytest.approx(1.0, abs=1e-5)
    assert 0.3 < np.median(batch["deposited_energy"]) < 1.0


@pytest.mark.parametrize("bad", [{"events": 0}, {"seed": -1}, {"workers": 0}, {"events": None}])
def test_impossible_plans_are_refused(bad):
    with pytest.raises(ConfigError):
        SimulationPlan(**{"config": SMALL, "events": 1, **bad})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_truncated_vertices_file_keeps_what_was_read(shared_data, tmp_path, workers):
    whole = gzip.decompress((shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz").read_bytes())
    cut = tmp_path / "cut.hepmc"
    cut.write_bytes(whole[: len(whole) // 4])
    plan = SimulationPlan(SMALL, vertices=cut, workers=workers)
    with pytest.raises(InputFileError):
        simulate(plan, tmp_path / "cut.h5")
    with EventStore(tmp_path / "cut.h5") as store:
        assert 60 <= len(store) <= 76  # a quarter of 300, not rounded down to whole chunks
        assert len(store) % CHUNK
        assert not store.complete


def test_a_file_that_is_no_input_leaves_no_empty_output(tmp_path):
    (tmp_path / "bad.hepmc").write_text("not an event")
    with pytest.raises(InputFileError):
        simulate(SimulationPlan(SMALL, vertices=tmp_path / "bad.hepmc"), tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
