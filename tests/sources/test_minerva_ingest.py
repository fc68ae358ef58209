"""MINERvA tuples through ``nuadapt ingest``: what a user gets from good, bad and mixed files."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import ConfigError, InputFileError, MissingExtraError
from nuadapt.events.store import EventStore
from nuadapt.sources.formats import ReadOptions, detect_format
from nuadapt.sources.ingest import BadInputs, ingest

uproot = pytest.importorskip("uproot")

from nuadapt.sources.minerva import branches, tree  # noqa: E402


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "minerva"


def simple_tree(path: Path, name: str, columns: dict[str, np.ndarray]) -> Path:
    """A ROOT file with one flat tree."""
    with uproot.recreate(path) as file:
        file.mktree(name, {k: v.dtype for k, v in columns.items()})
        if len(next(iter(columns.values()))):
            file[name].extend(columns)
    return path


def test_ingest_and_open(folder: Path, tmp_path: Path) -> None:
    files, out = [folder / f"masteranadev_mc{s}.root" for s in ("", "_edge")], tmp_path / "m.h5"
    assert [detect_format(p) for p in (*files, folder)] == ["minerva"] * 3
    report = ingest(files, out, reading=ReadOptions(settings={"step": 250}))
    assert report.n_events == 660
    lines = " ".join(report.lines())
    assert "2 events share run" in lines
    assert "5 x blob dropped: no usable energy" in lines
    with EventStore(out) as store:
        assert store.problems() == []
        assert store.complete
        assert store.record["config"]["minerva"]["frame"] == "beam"
        assert store.layout.cloud_spec is not None
        assert store.column("entry")[600:].tolist() == list(range(60))
        assert {s: int((store.column("split") == i).sum()) > 20 for i, s in enumerate(("train", "val", "test"))} == {
            "train": True, "val": True, "test": True
        }  # fmt: skip


def test_several_processes_give_the_same_events(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes((folder / "masteranadev_mc.root").read_bytes()[:20_000])
    files = [folder / "masteranadev_mc_edge.root", bad, folder / "masteranadev_mc.root"]
    made = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.h5"
        report = ingest(files, out, skip_bad=True, reading=ReadOptions(workers=workers, settings={"step": 200}))
        with EventStore(out) as store:
            made.append(
                (
                    report.n_events,
                    report.lines(),
                    store.column("entry").tolist(),
                    store.read(slice(None)).cloud.columns["eta"].tobytes(),
                )
            )
    assert made[0] == made[1]
    assert made[0][0] == 660


def test_workers_end_with_a_killed_consumer(folder: Path) -> None:
    """A reading process waits for a place in its queue; it must not wait for ever."""
    script = (
        "import functools, pathlib, sys, time\n"
        "from nuadapt.sources.minerva.options import MinervaOptions\n"
        "from nuadapt.sources.minerva.reader import steps\n"
        "from nuadapt.sources.workers import Team\n"
        "if __name__ == '__main__':\n"
        "    reader = functools.partial(steps, pathlib.Path(sys.argv[1]), MinervaOptions(step=20))\n"
        "    team = Team([reader], 1)\n"
        "    batches = team.steps(0)\n"  # kept: a generator that is let go reads to its end
        "    next(batches)\n"
        "    sys.stdout.write(f'{team._processes[0].pid}\\n')\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(folder / "masteranadev_mc.root")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer:
        worker = int(consumer.stdout.readline())
        consumer.kill()
    until = time.monotonic() + 60
    while time.monotonic() < until and is_there(worker):
        time.sleep(0.1)
    assert not is_there(worker)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def bad_files(folder: Path, tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that cannot be read, and what must be said about each."""
    mc = (folder / "masteranadev_mc.root").read_bytes()
    truncated, early, empty = (tmp_path / name for name in ("truncated.root", "early.root", "empty.root"))
    truncated.write_bytes(mc[: len(mc) // 2])
    early.write_bytes(mc[:10])
    empty.touch()
    numbers = np.arange(3)
    with uproot.open(folder / "masteranadev_mc.root") as file:
        all_names = file["MasterAnaDev"].keys(recursive=False)
    flat = {name: numbers.astype(float) for name in all_names if not name.startswith("muon_") and "_sz" not in name}
    misspelt = {name: numbers.astype(float) for name in all_names if name != "gamma1_dEdx"} | {
        "gamma1_dEdX": numbers * 1.0
    }
    right = {k: v for k, v in misspelt.items() if k != "gamma1_dEdX"} | {"gamma1_dEdx": numbers * 1.0}
    partly = {k: v for k, v in right.items() if k != "mc_w"}
    eventless = dict.fromkeys(all_names, numbers[:0] * 1.0)

    def tuples(name: str, columns: dict[str, np.ndarray]) -> Path:
        return simple_tree(tmp_path / f"{name}.root", "MasterAnaDev", columns)

    renamed = simple_tree(tmp_path / "renamed.root", "MasterAnaDevs", {"a": numbers})
    return {
        "truncated": (truncated, "truncated or damaged"),
        "cut in the header": (early, "truncated or damaged"),
        "empty": (empty, "the file is empty"),
        "other tree": (renamed, "did you mean 'MasterAnaDevs'"),
        "a histogram of that name": (_histogram(tmp_path / "named.root", "MasterAnaDev"), "no trees, but"),
        "no tree": (_histogram(tmp_path / "histogram.root"), "no trees, but"),
        "other experiment": (tuples("other", {"rec.hdr.run": numbers}), "no muon branches at all"),
        "no muon": (tuples("muonless", flat), "missing muon branches: muon_corrected_p"),
        "misspelt": (tuples("misspelt", misspelt), "near matches in the tree: gamma1_dEdX"),
        "part of the truth": (tuples("partly", partly), "missing truth branch: mc_w"),
        "all flat": (tuples("flat", right), "branch 'muon_corrected_p' is of type 'float64'"),
        "no events": (tuples("eventless", eventless), "holds no events"),
    }


def _histogram(path: Path, name: str = "flux") -> Path:
    with uproot.recreate(path) as file:
        file[name] = np.histogram(np.arange(5))
    return path


def test_each_bad_file_gets_a_paragraph_and_the_others_are_read(folder: Path, tmp_path: Path) -> None:
    bad = bad_files(folder, tmp_path)
    for name, (path, message) in bad.items():
        with pytest.raises(InputFileError) as caught:
            ingest([path], tmp_path / f"{path.stem}.h5", "minerva")
        assert message in str(caught.value), f"{name}: {caught.value}"
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)
    files = [path for path, _ in bad.values()]
    with pytest.raises(BadInputs) as failed:
        ingest([*files[:3], folder / "masteranadev_mc_edge.root", *files[3:]], tmp_path / "all.h5", "minerva")
    assert failed.value.report.n_events == 60
    assert len(failed.value.report.bad) == len(bad)


def test_no_such_file_and_no_root_file(tmp_path: Path) -> None:
    (tmp_path / "text.root").write_text("MasterAnaDev")
    for name, message in (("text.root", "not a ROOT file"), ("none.root", "no such file")):
        with pytest.raises(InputFileError, match=message):
            ingest([tmp_path / name], tmp_path / "o.h5", "minerva")


def test_settings_are_checked_before_reading(folder: Path, tmp_path: Path) -> None:
    edge = folder / "masteranadev_mc_edge.root"
    with pytest.raises(ConfigError, match="did you mean 'frame'"):
        ingest([edge], tmp_path / "o.h5", reading=ReadOptions(settings={"fraem": "beam"}))
    with pytest.raises(ConfigError, match="without truth"):
        ingest(
            [folder / "masteranadev_data.root"],
            tmp_path / "o.h5",
            reading=ReadOptions(settings={"interaction_types": [1]}),
        )
    with pytest.raises(InputFileError, match=r"missing weight branch: mc_wgt"):
        ingest([edge], tmp_path / "o.h5", reading=ReadOptions(settings={"weight": "mc_wgt"}))


def test_formats_without_settings_refuse_them(shared_data: Path, tmp_path: Path) -> None:
    event = shared_data / "nuhepmc" / "achilles_nue_cc_1GeV.hepmc.gz"
    with pytest.raises(ConfigError, match="has no settings"):
        ingest([event], tmp_path / "o.h5", reading=ReadOptions(settings={"frame": "beam"}))


def test_a_weight_branch(folder: Path, tmp_path: Path) -> None:
    edge = folder / "masteranadev_mc_edge.root"
    ingest([edge], tmp_path / "o.h5", reading=ReadOptions(settings={"weight": "improved_nmichel"}))
    with EventStore(tmp_path / "o.h5") as store:
        np.testing.assert_array_equal(store.column("weight"), store.column("n_michel_tags"))


def test_simulation_and_data_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    files = [folder / "masteranadev_mc_edge.root", folder / "masteranadev_data.root"]
    with pytest.raises(BadInputs, match="unlike the ones before"):
        ingest(files, tmp_path / "o.h5")


def with_pot(sample: Path, path: Path, pot: list[float]) -> Path:
    """A copy of the sample with a Meta tree."""
    shutil.copy(sample, path)
    path.chmod(0o644)
    with uproot.update(path) as file:
        file.mktree("Meta", {"POT_Used": "f8"})
        file["Meta"].extend({"POT_Used": np.array(pot)})
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_exposure_is_kept(folder: Path, tmp_path: Path, workers: int) -> None:
    edge = folder / "masteranadev_mc_edge.root"
    files = [with_pot(edge, tmp_path / "a.root", [1.5e18, 0.5e18]), with_pot(edge, tmp_path / "b.root", [np.nan]), edge]
    ingest(files, tmp_path / "o.h5", reading=ReadOptions(workers=workers, settings={"step": 17}))
    with EventStore(tmp_path / "o.h5") as store:
        assert store.complete
        assert store.problems() == []
        assert store.record["pot_used"] == {str(files[0]): pytest.approx(2e18, rel=1e-12)}
        assert store.record["config"]["minerva"]["step"] == 17


def test_exposure_of_events_that_do_not_fit_is_not_kept(folder: Path, tmp_path: Path) -> None:
    data = with_pot(folder / "masteranadev_data.root", tmp_path / "data.root", [1e18])
    report = ingest([folder / "masteranadev_mc_edge.root", data], tmp_path / "o.h5", skip_bad=True)
    assert (report.n_events, len(report.bad)) == (60, 1)
    with EventStore(tmp_path / "o.h5") as store:
        assert "pot_used" not in store.record


def test_files_on_a_server_need_an_extra_library(tmp_path: Path) -> None:
    url = Path("root://door.example.org//store/mc.root")
    assert tree.url_of(url) == "root://door.example.org//store/mc.root"
    assert detect_format(url) == "minerva"
    try:
        import fsspec_xrootd  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingExtraError, match=r"nuadapt\[xrootd\]"):
            ingest([url], tmp_path / "o.h5")


@pytest.fixture(scope="module")
def damaged(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 events, ten baskets of 600 a branch, with damage in the eighth basket of one branch; 1e18 protons."""
    place = Path(__file__).parents[2] / "benchmarks" / "ingest_minerva.py"
    spec = importlib.util.spec_from_file_location("ingest_minerva", place)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    made = tmp_path_factory.mktemp("damaged")
    path = made / "damaged.root"
    assert benchmark.make_large(with_pot(folder / "masteranadev_mc.root", made / "a.root", [1e18]), path, 1) == 6000
    with uproot.open(path) as file:
        at = int(file["MasterAnaDev"]["mc_w"].member("fBasketSeek")[7])
    content = bytearray(path.read_bytes())
    content[at + 100 : at + 400] = bytes(300)
    path.write_bytes(bytes(content))
    return path


URL = "root://door.example.org:1094//store/mc.root"


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path | Exception]:
    """What a pretended XRootD server has or raises, by address."""
    has: dict[str, Path | Exception] = {URL: folder / "masteranadev_mc.root"}
    really_open = uproot.open

    def pretended(address: str, **options: object) -> object:
        found = has.get(address, address)
        if isinstance(found, Exception):
            raise found
        return really_open(found, **options)

    monkeypatch.setitem(sys.modules, "fsspec_xrootd", types.ModuleType("fsspec_xrootd"))
    monkeypatch.setattr(uproot, "open", pretended)
    return has


def test_a_file_on_a_server_reads_as_a_local_one(
    server: dict[str, Path | Exception], folder: Path, tmp_path: Path
) -> None:
    outs = tmp_path / "remote.h5", tmp_path / "local.h5"
    for place, out in zip((Path(URL), folder / "masteranadev_mc.root"), outs, strict=True):
        assert ingest([place], out).n_events == 600
    with EventStore(outs[0]) as remote, EventStore(outs[1]) as local:
        assert remote.sources == (URL,)
        assert remote.read(slice(None)).cloud.columns["eta"].tobytes() == (
            local.read(slice(None)).cloud.columns["eta"].tobytes()
        )


@pytest.mark.parametrize("error", [OSError("[ERROR] Server responded: [3011] No such file"), TimeoutError()])
def test_a_server_that_does_not_answer_is_not_called_damage(
    server: dict[str, Path | Exception], tmp_path: Path, error: OSError
) -> None:
    other = URL.replace("mc", "other")
    server[other] = error
    with pytest.raises(InputFileError, match="could not be read from its server") as caught:
        ingest([Path(other)], tmp_path / "a.h5")
    assert str(caught.value).startswith(other)
    assert "damaged" not in str(caught.value)
    assert "Check address, network" in str(caught.value)
    report = ingest([Path(other), Path(URL)], tmp_path / "b.h5", skip_bad=True)
    assert (report.n_events, len(report.bad)) == (600, 1)
    assert report.bad[0][1].count("door.example.org") == 1


def test_a_damaged_file_on_a_server_is_called_so(
    server: dict[str, Path | Exception], damaged: Path, tmp_path: Path
) -> None:
    server[URL] = damaged
    reading = ReadOptions(settings={"step": 600})
    report = ingest([Path(URL)], tmp_path / "a.h5", skip_bad=True, reading=reading)
    assert report.n_events == 4200
    assert "truncated or damaged" in report.bad[0][1]


def test_only_needed_branches_are_listed() -> None:
    names = [b for group in branches.GROUPS.values() for b in group]
    assert len(set(names)) == len(names)
    assert "MasterAnaDev_hadron_endMichel_category" not in names


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_breaks_off_keeps_what_was_read(folder: Path, damaged: Path, tmp_path: Path, workers: int) -> None:
    """Damage inside the baskets: the file opens, and reading fails at event 4,200. So much of its POT counts."""
    files, out = [damaged, folder / "masteranadev_mc_edge.root"], tmp_path / "o.h5"
    reading = ReadOptions(workers=workers, settings={"step": 600})
    report = ingest(files, out, "minerva", skip_bad=True, reading=reading)
    assert [path for path, _ in report.bad] == [damaged]
    assert "truncated or damaged" in report.bad[0][1]
    with EventStore(out) as store:
        assert store.complete
        assert store.column("entry").tolist() == [*range(4200), *range(60)]
        assert store.record["pot_used"] == {str(damaged): pytest.approx(0.7e18, rel=1e-12)}
        assert report.reading.n_read == 4260
    with pytest.raises(BadInputs, match="4260 events that were read are kept"):
        ingest(files, tmp_path / "p.h5", "minerva", reading=ReadOptions(settings={"step": 600}))
    with EventStore(tmp_path / "p.h5") as store:
        assert not store.complete
        assert len(store) == 4260
