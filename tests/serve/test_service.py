"""What the service answers against the store, the evaluations, and the models asked directly."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from nuadapt.evaluation.explain.files import read_explained
from nuadapt.evaluation.predict import predict_batches
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.schema import SCHEMA_VERSION
from nuadapt.events.store import EventStore
from nuadapt.models.run import load_run
from nuadapt.serve.settings import ServeSettings


def get(client: TestClient, path: str) -> Any:
    """The JSON of an answer that must be good."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int) -> dict[str, str]:
    """The error of an answer that must be bad."""
    assert answer.status_code == status, answer.text
    error: dict[str, str] = answer.json()["error"]
    assert set(error) == {"what", "where", "expected", "next_step"}
    assert error["what"]
    return error


@pytest.fixture(scope="module")
def store(place: Path) -> EventStore:
    return EventStore(place / "maps.h5")


def test_health_and_version(maps: TestClient) -> None:
    assert get(maps, "/health")["status"] == "ok"
    assert get(maps, "/health")["queue"]["waiting"] == 0
    assert get(maps, "/api/version")["event_schema"] == SCHEMA_VERSION


def test_the_store_and_its_runs(maps: TestClient) -> None:
    found = get(maps, "/api/data")
    assert found["n_events"] == 60
    assert found["representations"] == ["pixelmap"]
    assert [c["name"] for c in found["classes"]] == ["nue_cc", "numu_cc", "nc"]
    assert [r["name"] for r in found["runs"]] == ["cnn-all", "other-test"]
    assert [r["n_predicted"] for r in found["runs"]] == [60, 15]
    assert all(r["has_model"] and r["has_metrics"] for r in found["runs"])


def test_views_are_the_pixels_of_the_store(maps: TestClient, store: EventStore) -> None:
    for index in (0, 17, 59):
        dense = store.maps(index).dense(0)
        for number, name in enumerate(("xz", "yz")):
            found = get(maps, f"/api/events/{index}/views/{name}")
            image = np.zeros(found["shape"])
            image[found["row"], found["col"]] = found["value"]
            np.testing.assert_allclose(image, dense[number], rtol=1e-5)
            assert found["origin_cm"] == [0, 0]


def test_an_event_says_its_truth(maps: TestClient, store: EventStore) -> None:
    batch = store.read(slice(3, 4))
    found = get(maps, "/api/events/3")
    assert found["vertex_cm"] == [8, 7, 4]
    assert found["truth_columns"]["nu_energy"]["value"] == pytest.approx(float(batch["nu_energy"][0]))
    assert found["truth_columns"]["nu_energy"]["unit"] == "GeV"
    assert "lepton_pdg" not in found["truth_columns"]  # not known, so not shown
    assert [p["name"] for p in found["particles"]] == ["mu-", "p"]
    for particle in found["particles"]:
        p2 = sum(p * p for p in particle["momentum_GeV"])
        mass = particle["energy_GeV"] - particle["kinetic_GeV"]
        assert particle["energy_GeV"] ** 2 == pytest.approx(p2 + mass**2, rel=1e-5)
    assert found["views"][1] == {
        **get(maps, "/api/data")["views"][1],
        "origin_cm": [0, 0],
    }


def test_no_json_holds_nan(maps: TestClient) -> None:
    for path in ("/api/events/58", "/api/events?limit=200", "/api/runs/cnn-all"):
        json.loads(maps.get(path).text, parse_constant=pytest.fail)  # called for NaN and infinities


def test_a_picture_is_a_png_and_scales_differ(maps: TestClient) -> None:
    from PIL import Image

    made = {}
    for query in ("", "?scale=linear", "?truth=true"):
        answer = maps.get(f"/api/events/3/views/xz.png{query}")
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as picture:
            made[query] = np.asarray(picture.convert("RGB"))
        assert made[query].shape[1] > 400
    assert (made[""] != made["?scale=linear"]).any()
    assert (made[""] != made["?truth=true"]).any()


def test_asking_a_model_gives_what_it_says(maps: TestClient, store: EventStore, place: Path) -> None:
    said = predict_batches(load_run(place / "runs" / "cnn"), store.batches(32))
    for index in (0, 31, 58):
        found = maps.post(f"/api/events/{index}/predict?run=cnn-all").json()["answer"]
        assert found["p"] == pytest.approx(said.probability[index], abs=2e-3)  # other batches, in bfloat16 maybe
        assert found["label"] == said.classes[said.label[index]]
        assert found["set"] is None


def test_reasons_and_claims_come_from_the_evaluation(maps: TestClient, place: Path, making: ModuleType) -> None:
    explained = read_explained(place / "evaluations" / "cnn-all" / "explained.npz")
    for given in explained.events[:4]:
        key = "/".join(map(str, given["key"][1:]))
        index = get(maps, f"/api/events?find={key}")["events"][0]["index"]
        answer = get(maps, f"/api/events/{index}")["answers"]["cnn-all"]
        assert answer["reason"] == making.REASON
        assert answer["evidence"]
        claims = {c["kind"]: c["supported"] for c in answer["claims"]}
        length = get(maps, f"/api/events/{index}")["truth_columns"].get("muon_track_length")
        assert claims["muon_track"] is (True if length else claims["muon_track"])
        assert claims["shower"] is True  # no event has one
        again = maps.post(f"/api/events/{index}/explain?run=cnn-all").json()
        assert again["reason"] == making.REASON


def test_stored_evidence_is_passed_on(maps: TestClient, place: Path) -> None:
    explained = read_explained(place / "evaluations" / "cnn-all" / "explained.npz")
    key = "/".join(map(str, explained.events[1]["key"][1:]))
    index = get(maps, f"/api/events?find={key}")["events"][0]["index"]
    found = get(maps, f"/api/events/{index}/evidence/cnn-all")
    assert found["target"] == explained.events[1]["target"]
    assert found["views"]["yz"]["factor"] == 2
    np.testing.assert_allclose(found["views"]["yz"]["values"], explained.evidence[1, 1], atol=1e-5)


def test_evidence_is_computed_where_none_is_stored(maps: TestClient, store: EventStore) -> None:
    found = get(maps, "/api/events/5/evidence/other-test")
    assert found["views"]["xz"]["shape"] == [16, 16]
    assert np.shape(found["views"]["xz"]["values"]) == (16, 16)
    charge = store.maps(5).coarsen(2).dense(0)[0]
    assert not np.array(found["views"]["xz"]["values"])[charge == 0].any()


def test_a_run_page_is_its_metrics(maps: TestClient, place: Path) -> None:
    metrics = json.loads((place / "evaluations" / "cnn-all" / "metrics.json").read_text())
    found = get(maps, "/api/runs/cnn-all")
    for name in ("accuracy", "macro_f1", "ece"):
        low, high = metrics["intervals"][name]
        assert found["metrics"][name] == {"value": metrics[name], "low": low, "high": high}
    assert found["confusion"]["counts"] == metrics["confusion_counts"]
    assert sum(map(sum, found["confusion"]["counts"])) == 59
    for curve in found["roc"].values():
        assert curve["fpr"][0] == curve["tpr"][0] == 0
        assert curve["fpr"][-1] == curve["tpr"][-1] == 1
        assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(curve["auc"], abs=1e-4)
    assert sum(found["reliability"]["count"]) == 59
    by_energy, by_mode = found["binned"]
    assert sum(by_mode["count"]) == 59
    assert len(by_energy["edges"]) == len(by_energy["value"])


def test_confusion_cells_lead_to_their_events(maps: TestClient) -> None:
    found = get(maps, "/api/runs/cnn-all")["confusion"]
    for i, truth in enumerate(found["classes"]):
        for j, label in enumerate(found["classes"]):
            listed = get(maps, f"/api/events?run=cnn-all&truth={truth}&label={label}&limit=0")
            assert listed["total"] == found["counts"][i][j]


def test_runs_are_compared_on_the_events_that_both_know(maps: TestClient, place: Path) -> None:
    found = get(maps, "/api/compare?runs=cnn-all,other-test")
    assert found["n_common"] == 15
    accuracy = next(row["values"] for row in found["rows"] if row["name"] == "accuracy")
    tables = [Predictions.read(place / "evaluations" / n / "predictions.parquet") for n in ("cnn-all", "other-test")]
    common = set(zip(tables[1].run, tables[1].subrun, tables[1].event, strict=True))
    rows = [
        i for i, key in enumerate(zip(tables[0].run, tables[0].subrun, tables[0].event, strict=True)) if key in common
    ]
    one = tables[0].select(np.array(rows))
    known = one.has_label
    wanted = np.average((one.label == one.truth)[known], weights=one.weight[known])
    assert accuracy["cnn-all"]["value"] == pytest.approx(wanted, rel=1e-5)
    metrics = json.loads((place / "evaluations" / "other-test" / "metrics.json").read_text())
    assert accuracy["other-test"]["value"] == metrics["accuracy"]
    assert found["agreement"][0][1] == pytest.approx((one.label == tables[1].label).mean())
    assert found["agreement"][0][0] == 1


def test_clouds_are_shown_with_their_energies(clouds: TestClient, place: Path) -> None:
    with EventStore(place / "clouds.h5") as events:
        batch = events.read(slice(3, 4))
    found = get(clouds, "/api/events/3/cloud")
    assert found["frame"] == "beam"
    assert [t["energy_GeV"] for t in found["tokens"]] == pytest.approx(np.exp(batch.cloud.columns["log_e"]), rel=1e-5)
    assert found["true_energy_GeV"] == pytest.approx(float(batch["available_energy_minerva_ml"][0]))
    event = get(clouds, "/api/events/3")
    assert event["answers"]["energy"]["true_energy_GeV"] == pytest.approx(found["true_energy_GeV"])
    low, high = event["answers"]["energy"]["interval_GeV"]
    assert low < event["answers"]["energy"]["energy"] < high
    assert set(event["truths"]) == {"pion", "energy"}


def test_energies_have_pages_and_models(clouds: TestClient, place: Path) -> None:
    found = get(clouds, "/api/runs/energy")
    metrics = json.loads((place / "evaluations" / "energy" / "metrics.json").read_text())
    assert found["metrics"]["resolution"]["value"] == metrics["estimates"]["model"]["all"]["iqr"]
    assert {b["estimate"] for b in found["binned"]} == set(metrics["estimates"])
    stored = get(clouds, "/api/events/3")["answers"]["energy"]
    asked = clouds.post("/api/events/3/predict?run=energy").json()["answer"]
    assert asked["energy"] == pytest.approx(stored["energy"], rel=2e-2)
    refused(clouds.get("/api/compare?runs=energy,pion"), 422)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/events/60", 404, "0 to 59"),
        ("/api/events/-1", 404, "no event -1"),
        ("/api/events/99999999999999999999999999", 404, "no event"),
        ("/api/events/x", 422, "index"),
        ("/api/events/0/views/zx", 404, "xz, yz"),
        ("/api/events/0/views/zx.png", 404, "xz, yz"),
        ("/api/events/0/cloud", 404, "views"),
        ("/api/events/0/evidence/none", 404, "cnn-all"),
        ("/api/events?limit=201", 422, "200"),
        ("/api/events?min_p=nan", 422, "finite"),
        ("/api/events?offset=99999999999999999999999999", 422, "offset"),
        ("/api/runs/none", 404, "cnn-all"),
        ("/api/runs/..%2F..%2Fetc", 404, ""),
        ("/api/compare?runs=cnn-all", 422, "two"),
        ("/api/compare?runs=cnn-all,cnn-all", 422, "two"),
        ("/api/uploads/..%2Fuploads/events/0", 404, ""),
        ("/api/uploads/" + "0" * 32 + "/events/0", 404, "no such upload"),
        ("/static/../app.py", 404, ""),
        ("/static/%2e%2e/app.py", 404, ""),
        ("/docs", 404, ""),
    ],
)
def test_errors_say_what_and_where(path: str, status: int, words: str, maps: TestClient) -> None:
    answer = maps.get(path)
    assert words in " ".join(refused(answer, status).values())


def test_models_can_be_left_out(map_settings: ServeSettings, start: Callable[..., TestClient]) -> None:
    with start(map_settings, models=False) as client:
        assert not any(run["has_model"] for run in get(client, "/api/data")["runs"])
        refused(client.post("/api/events/0/predict?run=cnn-all"), 503)
        refused(client.post("/api/predict?run=cnn-all", files={"files": b"x"}), 503)
        assert get(client, "/api/events/0")["answers"]["cnn-all"]


def test_the_schema_names_every_path(maps: TestClient) -> None:
    paths = set(get(maps, "/api/openapi.json")["paths"])
    assert {"/health", "/api/data", "/api/events", "/api/predict", "/api/runs/{run}", "/api/compare"} <= paths
    assert "/api/events/{index}/views/{view}.png" in paths
