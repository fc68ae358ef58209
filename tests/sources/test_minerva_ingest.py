"""MINERvA tuples through ``nuadapt ingest``: what a user gets from good, bad and mixed files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nuadapt.errors import ConfigError, DataError, InputFileError, MissingExtraError
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
        "from nuadapt.sources.minerva.reader import read\n"
        "from nuadapt.sources.reading import ReadReport\n"
        "from nuadapt.sources.workers import Team\n"
        "if __name__ == '__main__':\n"
        "    reader = functools.partial(read, pathlib.Path(sys.argv[1]), MinervaOptions(step=20))\n"
        "    team = Team([reader], 1, ReadReport())\n"
        "    batches = team.read(0)\n"  # kept: a generator that is let go reads to its end
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


def test_exposure_is_kept(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "meta.root"
    with uproot.recreate(path) as file:
        file.mktree("Meta", {"POT_Used": "f8"})
        file["Meta"].extend({"POT_Used": np.array([1.5e18, 0.5e18])})
    with tree.opened(path) as file:
        assert tree.pot_used(file, path) == pytest.approx(2e18)
    edge = folder / "masteranadev_mc_edge.root"
    with tree.opened(edge) as file:
        assert tree.pot_used(file, edge) is None


def test_files_on_a_server_need_an_extra_library(tmp_path: Path) -> None:
    url = Path("root://door.example.org//store/mc.root")
    assert tree.url_of(url) == "root://door.example.org//store/mc.root"
    assert detect_format(url) == "minerva"
    try:
        import fsspec_xrootd  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingExtraError, match=r"nuadapt\[xrootd\]"):
            ingest([url], tmp_path / "o.h5")


def test_only_needed_branches_are_listed() -> None:
    names = [b for group in branches.GROUPS.values() for b in group]
    assert len(set(names)) == len(names)
    assert "MasterAnaDev_hadron_endMichel_category" not in names


def test_a_file_that_breaks_off_keeps_what_was_read(folder: Path, tmp_path: Path) -> None:
    """Damage inside the baskets: the file opens, and reading fails."""
    path = tmp_path / "d.root"
    shutil.copy(folder / "masteranadev_mc.root", path)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[3000:40_000] = bytes(37_000)
    path.write_bytes(bytes(content))
    with pytest.raises((InputFileError, DataError)):
        ingest([path], tmp_path / "o.h5", "minerva")
