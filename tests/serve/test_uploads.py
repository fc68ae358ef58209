"""Uploaded files: the same answers as from the store, refused when they are no good, never trusted."""

from __future__ import annotations

import gzip
import io
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from nuadapt.events.pixelmap import GreyTransform
from nuadapt.events.store import EventStore
from nuadapt.serve.problems import ServiceError, TooLarge, Unusable, problem
from nuadapt.serve.settings import Limits, ServeSettings
from nuadapt.serve.uploads import _pairs, store_files
from nuadapt.sources.export import export_png_pairs

Files = list[tuple[str, bytes]]


def send(client: TestClient, files: Files, run: str = "", views: str = "", **settings: Any) -> Any:
    """The answer to an upload."""
    words = {"run": run, "views": views, **settings}
    return client.post("/api/predict", params=words, files=[("files", file) for file in files])


def error_of(answer: Any, status: int) -> str:
    """All words of an error with this status."""
    assert answer.status_code == status, answer.text
    return " ".join(answer.json()["error"].values())


@pytest.mark.parametrize("scale", [{}, {"scale": "log", "full": 0.02, "knee": 0.0005}], ids=["unknown", "told"])
def test_a_png_pair_of_an_event_gets_the_answer_of_its_pictures(
    scale: dict[str, Any], maps: TestClient, place: Path, tmp_path: Path
) -> None:
    from nuadapt.evaluation.predict import predict_batches
    from nuadapt.models.run import load_run
    from nuadapt.sources.formats import ReadOptions
    from nuadapt.sources.ingest import read_all

    with EventStore(place / "maps.h5") as store:
        export_png_pairs(store, tmp_path / "png", GreyTransform())
    (tmp_path / "png" / "manifest.json").unlink()
    folder = sorted(p for p in (tmp_path / "png").iterdir() if p.is_dir())[0]
    said = predict_batches(load_run(place / "runs" / "cnn"), read_all([folder], reading=ReadOptions(settings=scale)))
    files = [(p.name, p.read_bytes()) for p in sorted(folder.glob("*.png"), reverse=True)]  # yz comes first
    found = send(maps, files, "cnn-all", **scale).json()
    assert found["format"] == "png-pairs"
    assert found["n_events"] == 1
    assert any("hold grey levels" in note for note in found["notes"]) == (not scale)
    answer = found["events"][0]["answers"]["cnn-all"]
    assert answer["p"] == pytest.approx(said.probability[0], abs=2e-3)
    pixels = maps.get(f"/api/uploads/{found['upload']}/events/0/views/xz").json()
    assert pixels["unit"] == ("GeV" if scale else "grey")
    assert maps.get(f"/api/uploads/{found['upload']}/events/0/views/xz.png").content.startswith(b"\x89PNG")
    assert maps.get(f"/api/uploads/{found['upload']}/events/0").json()["answers"]["cnn-all"]["p"] == answer["p"]
    assert maps.get(f"/api/uploads/{found['upload']}/events/1").status_code == 404


def test_impossible_grey_scales_are_refused(maps: TestClient, mutating: ModuleType, shared_data: Path) -> None:
    assert "no scale yet" in error_of(send(maps, mutating.png_pair(), full=0.02), 422)
    assert "no settings" in error_of(send(maps, mutating.nuhepmc(shared_data), scale="log"), 422)
    for words in ({"scale": "cubic"}, {"scale": "log", "full": -1}, {"scale": "log", "full": "nan"}):
        assert send(maps, mutating.png_pair(), **words).status_code == 422


def test_a_dune_event_is_shown_as_it_is(maps: TestClient, mutating: ModuleType) -> None:
    files = mutating.dune()
    found = send(maps, files).json()
    assert found["format"] == "dune-cvn"
    assert [v["name"] for v in found["events"][0]["views"]] == ["view0", "view1", "view2"]
    raw = np.frombuffer(zlib.decompress(files[0][1]), dtype=np.uint8).reshape(3, 500, 500)
    pixels = maps.get(f"/api/uploads/{found['upload']}/events/0/views/view1").json()
    assert sum(pixels["value"]) == raw[1].sum()


@pytest.mark.parametrize("views", ["", "view2,view0", "view0,view1"])
def test_views_of_a_dune_event_stand_for_those_of_the_model(
    views: str, maps: TestClient, place: Path, tmp_path: Path, mutating: ModuleType
) -> None:
    from nuadapt.evaluation.predict import PredictConfig, predict_batches
    from nuadapt.models.run import load_run
    from nuadapt.sources.ingest import read_all

    ((_, content),) = files = mutating.dune()
    (tmp_path / "event1.gz").write_bytes(content)
    config = PredictConfig(views=tuple((views or "view2,view0").split(",")))
    said = predict_batches(load_run(place / "runs" / "cnn"), read_all([tmp_path / "event1.gz"]), config)
    found = send(maps, files, "cnn-all", views).json()
    assert found["events"][0]["answers"]["cnn-all"]["p"] == pytest.approx(said.probability[0], abs=2e-3)
    assert any("stand for the model's views xz and yz" in note for note in found["notes"]) == (not views)


def test_several_files_are_several_events_in_order(maps: TestClient, mutating: ModuleType) -> None:
    files = [*mutating.dune(1), *mutating.dune(2), *mutating.dune(3)]
    found = send(maps, files).json()
    assert found["n_events"] == 3
    for i, (_, content) in enumerate(files):
        raw = np.frombuffer(zlib.decompress(content), dtype=np.uint8).reshape(3, 500, 500)
        pixels = maps.get(f"/api/uploads/{found['upload']}/events/{i}/views/view0").json()
        assert sum(pixels["value"]) == raw[0].sum()


def test_a_tuple_is_answered_by_models_of_clouds(
    clouds: TestClient, place: Path, shared_data: Path, mutating: ModuleType
) -> None:
    from nuadapt.evaluation.predict import predict_batches
    from nuadapt.models.run import load_run
    from nuadapt.sources.ingest import read_all

    path = shared_data / "minerva" / "masteranadev_mc_edge.root"
    said = predict_batches(load_run(place / "runs" / "pion"), read_all([path]))
    found = send(clouds, mutating.root(shared_data), "pion").json()
    assert found["format"] == "minerva"
    assert found["n_events"] == len(said)
    for event, p in zip(found["events"], said.probability, strict=True):
        assert event["answers"]["pion"]["p"] == pytest.approx(p, abs=2e-3)
    assert clouds.get(f"/api/uploads/{found['upload']}/events/3/cloud").json()["tokens"]
    energies = send(clouds, mutating.root(shared_data), "energy").json()
    assert energies["events"][0]["answers"]["energy"]["energy"] > 0


@pytest.mark.slow
def test_a_generators_events_pass_the_detector(maps: TestClient, shared_data: Path, mutating: ModuleType) -> None:
    found = send(maps, mutating.nuhepmc(shared_data), "cnn-all").json()
    assert found["format"] == "nuhepmc"
    event = found["events"][0]
    assert event["particles"]
    assert sum(event["answers"]["cnn-all"]["p"]) == pytest.approx(1, abs=1e-5)


def test_what_a_model_cannot_read_is_said(maps: TestClient, clouds: TestClient, mutating: ModuleType) -> None:
    assert "view 'view7'" in error_of(send(maps, mutating.dune(), "cnn-all", "view7,view0"), 422)
    assert "cannot stand for 2" in error_of(send(maps, mutating.dune(), "cnn-all", "view0"), 422)
    assert "clouds" in error_of(send(clouds, mutating.png_pair(), "pion"), 422)


def bomb() -> Files:
    """A gzip file of some kilobytes with a hundred megabytes of empty lines inside."""
    out = io.BytesIO()
    with gzip.open(out, "wb", compresslevel=9) as packed:
        packed.write(b"HepMC::Version 3.02.05\n")
        for _ in range(100):
            packed.write(b"\n" * (1 << 20))
    return [("bomb.hepmc.gz", out.getvalue())]


def huge_png(side: int = 60_000) -> Files:
    """Two pictures whose headers promise gigabytes."""
    header = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    header += zlib.crc32(header[12:]).to_bytes(4, "big") + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    return [("a_xz.png", header), ("a_yz.png", header)]


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ([("a.gz", b"")], 422, "empty"),
        ([("a.gz", b"no events")], 422, "DUNE"),
        ([("a.gz", b"\x78\x9cgarbage")], 422, "zlib"),
        ([("events.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 100)], 422, "known format"),
        ([("p.pkl", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix")], 422, "known format"),
        ([("a_xz.png", b"\x89PNG\r\n\x1a\n")], 422, "no pairs"),
        ([("a_xz.png", b"\x89PNG\r\n\x1a\n")] * 2, 422, "two pictures"),
        ([("a_xz.png", b"\x89PNG\r\n\x1a\n"), ("b", b"x")], 422, "one by one"),
        ([("a.root", b"root" + b"\xff" * 300)], 422, "damaged"),
        ([("a.gz", zlib.compress(b"\0" * 10_000_000))], 422, "750,000"),
        (huge_png(), 413, "unpacked"),
    ],
    ids=["empty", "text", "zlib", "hdf5", "pickle", "one picture", "two xz", "mixed", "root", "zlib bomb", "png bomb"],
)
def test_bad_files_are_refused_with_a_reason(files: Files, status: int, words: str, maps: TestClient) -> None:
    assert words in error_of(send(maps, files), status)


def test_a_bomb_does_not_go_off(map_settings: ServeSettings, start: Callable[..., TestClient]) -> None:
    limits = Limits(unpacked_bytes=20_000_000)
    with start(map_settings, limits=limits) as client:
        assert "unpacked" in error_of(send(client, bomb()), 413)


def test_pieces_of_damaged_files_can_be_shown() -> None:
    error = problem(Unusable("branch '\udcff\ud800' of length " + "9" * 5000, where="\udcfe"))["error"]
    assert error["where"] == "?"
    assert error["what"].startswith("branch '??'")
    assert len(error["what"]) == 2000
    json.dumps(error, ensure_ascii=False).encode("utf-8")


def test_errors_name_files_as_their_owner_does(maps: TestClient) -> None:
    words = error_of(send(maps, [("mine.gz", b"\x78\x9cgarbage")]), 422)
    assert "mine.gz" in words
    assert "event0" not in words
    assert "uploads" not in words


def test_too_many_files_or_events_are_refused(
    map_settings: ServeSettings, start: Callable[..., TestClient], mutating: ModuleType
) -> None:
    with start(map_settings, limits=Limits(upload_files=3, upload_events=2)) as client:
        assert "at most 3" in error_of(send(client, mutating.dune() * 4), 413)
        assert "at most 2" in error_of(send(client, mutating.dune() * 3), 413)
        assert send(client, mutating.dune() * 2).status_code == 200


def test_what_takes_too_long_is_ended(
    map_settings: ServeSettings, start: Callable[..., TestClient], mutating: ModuleType
) -> None:
    with start(map_settings, limits=Limits(parse_seconds=0.001)) as client:
        assert "too long" in error_of(send(client, mutating.dune()), 504)


def test_an_upload_leaves_nothing_when_it_fails(maps: TestClient, mutating: ModuleType) -> None:
    service = maps.app.app.state.service  # type: ignore[attr-defined]
    before = sorted(service.uploads.folder.iterdir())
    send(maps, [("a.gz", b"no events")])
    assert sorted(service.uploads.folder.iterdir()) == before


def test_only_some_uploads_are_kept(
    map_settings: ServeSettings, start: Callable[..., TestClient], mutating: ModuleType
) -> None:
    with start(map_settings, limits=Limits(uploads_kept=2)) as client:
        names = [send(client, mutating.dune(i)).json()["upload"] for i in range(3)]
        found = [client.get(f"/api/uploads/{name}/events/0").status_code for name in names]
        assert found == [404, 200, 200]


def test_names_of_files_are_never_paths(tmp_path: Path) -> None:
    odd = ["../../evil", "/etc/evil", "a/../../b.gz", "..", "", "x" * 5000, "nul\0byte", "C:\\evil"]
    (tmp_path / "one" / "in").mkdir(parents=True)
    store_files(tmp_path / "one", [(name, io.BytesIO(b"x")) for name in odd], Limits())
    assert {p.name for p in tmp_path.iterdir()} == {"one"}
    assert {p.name for p in (tmp_path / "one" / "in").iterdir()} == {f"file{i}.hepmc" for i in range(len(odd))}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["5_xz.png", "5_yz.png"], ["0/0_xz.png", "0/0_yz.png"]),
        (["5_yz.png", "5_xz.png"], ["0/0_yz.png", "0/0_xz.png"]),
        (["b_xz.png", "a_yz.png", "a_xz.png", "b_yz.png"], ["1/1_xz.png", "0/0_yz.png", "0/0_xz.png", "1/1_yz.png"]),
        (["one.png", "two.png"], ["0/0_xz.png", "0/0_yz.png"]),
    ],
)
def test_pairs_find_each_other(names: list[str], wanted: list[str]) -> None:
    assert _pairs(names) == wanted


def test_no_pairs_are_refused() -> None:
    with pytest.raises(Unusable):
        _pairs(["a", "b", "c"])
    with pytest.raises(Unusable):
        _pairs(["a_xz.png", "a_xz.png"])
    assert issubclass(TooLarge, ServiceError)


def test_a_full_queue_says_when_to_come_back(
    map_settings: ServeSettings, start: Callable[..., TestClient], mutating: ModuleType
) -> None:
    import threading

    with start(map_settings, limits=Limits(waiting=1, retry_seconds=9)) as client:
        desk = client.app.app.state.service.models.of("cnn-all").desk  # type: ignore[attr-defined]
        gate, entered = threading.Event(), threading.Event()

        def held(payloads: Any) -> Any:
            entered.set()
            gate.wait()
            return real(payloads)

        real, desk._serve = desk._serve, held
        answers: list[int] = []

        def ask(index: int) -> None:
            answers.append(client.post(f"/api/events/{index}/predict?run=cnn-all").status_code)

        threads = [threading.Thread(target=ask, args=(0,))]
        threads[0].start()
        entered.wait()
        threads.append(threading.Thread(target=ask, args=(1,)))
        threads[1].start()
        while not desk.waiting:
            time.sleep(0.01)
        answer = client.post("/api/events/2/predict?run=cnn-all")
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "9"
        assert client.get("/health").json()["queue"]["waiting"] == 1
        gate.set()
        for thread in threads:
            thread.join()
        assert answers == [200, 200]
