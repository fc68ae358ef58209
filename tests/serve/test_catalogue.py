"""The list of events against a slow look at every event, and answers against the tables that they come from."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.splits import SPLITS
from nuadapt.events.store import EventStore
from nuadapt.events.truth import FLAVOUR_CLASSES, NO_LABEL, flavour_label
from nuadapt.serve.answers import matched
from nuadapt.serve.catalogue import MODES, Query
from nuadapt.serve.collection import Collection
from nuadapt.serve.places import open_places
from nuadapt.serve.problems import NotThere, Unusable

CLASSES = ["nue_cc", "numu_cc", "nc"]
QUERIES = st.builds(
    Query,
    sort=st.sampled_from(["index", "energy", "probability", "disagreement", "q3"]),
    order=st.sampled_from(["asc", "desc"]),
    run=st.sampled_from([None, "cnn-all", "other-test"]),
    label=st.sampled_from([None, None, *CLASSES]),
    truth=st.sampled_from([None, None, *CLASSES]),
    correct=st.sampled_from([None, None, True, False]),
    min_p=st.sampled_from([None, None, 0.34]),
    max_p=st.sampled_from([None, None, 0.36]),
    min_energy=st.sampled_from([None, None, 2.0]),
    max_energy=st.sampled_from([None, None, 7.0]),
    mode=st.sampled_from([None, None, "qe", "dis"]),
    split=st.sampled_from([None, None, "train", "test"]),
    disagree=st.sampled_from([None, None, True, False]),
    find=st.sampled_from([None, None, None, "1/0/7", "7", "9/9/9"]),
)


@pytest.fixture(scope="module")
def events(place: Path, making: ModuleType) -> Collection:
    return Collection.open(place / "maps.h5", open_places(making.map_places(place)))


@pytest.fixture(scope="module")
def table(place: Path) -> list[dict[str, Any]]:
    """Every event in plain words: truth from the store, answers from the tables of the evaluations."""
    with EventStore(place / "maps.h5") as store:
        batch = store.read(slice(0, len(store)))
    truth = flavour_label(batch["nu_pdg"], batch["current"])
    rows: list[dict[str, Any]] = [
        {
            "index": i,
            "key": tuple(int(batch[n][i]) for n in ("run", "subrun", "event")),
            "truth": FLAVOUR_CLASSES[truth[i]] if truth[i] != NO_LABEL else None,
            "mode": int(batch["mode"][i]),
            "energy": float(batch["nu_energy"][i]),
            "q3": float(batch["q3"][i]),
            "split": SPLITS[batch["split"][i]],
            "answers": {},
        }
        for i in range(len(batch))
    ]
    by_key = {row["key"]: row for row in rows}
    for name in ("cnn-all", "other-test"):
        said = Predictions.read(place / "evaluations" / name / "predictions.parquet")
        for i in range(len(said)):
            row = by_key[(int(said.run[i]), int(said.subrun[i]), int(said.event[i]))]
            p = said.probability[i].astype(np.float32)
            row["answers"][name] = (said.classes[said.label[i]], p)
    return rows


def passes(row: dict[str, Any], query: Query) -> bool:
    """Whether one event passes all filters."""
    label, p = row["answers"].get(query.run or "cnn-all", (None, None))
    confidence = float(p[CLASSES.index(label)]) if label else math.nan
    labels = {label for label, _ in row["answers"].values()}
    checks = [
        query.mode is None or row["mode"] == MODES[query.mode],
        query.split is None or row["split"] == query.split,
        query.min_energy is None or row["energy"] >= query.min_energy,
        query.max_energy is None or row["energy"] <= query.max_energy,
        query.disagree is None or (len(labels) > 1) == query.disagree,
        query.label is None or label == query.label,
        query.truth is None or row["truth"] == query.truth,
        query.correct is None
        or (label is not None and row["truth"] is not None and (label == row["truth"]) == query.correct),
        query.min_p is None or confidence >= query.min_p,
        query.max_p is None or confidence <= query.max_p,
        not query.find or "/".join(map(str, row["key"])) == query.find or str(row["key"][2]) == query.find,
    ]
    return all(checks)


def rank(row: dict[str, Any], query: Query) -> float:
    """What an event is sorted by."""
    label, p = row["answers"].get(query.run or "cnn-all", (None, None))
    if query.sort == "probability":
        return float(p[CLASSES.index(label)]) if label else math.nan
    if query.sort == "disagreement":
        said = [p for _, p in row["answers"].values()]
        return float(0.5 * np.abs(said[0] - said[1]).sum()) if len(said) == 2 else 0.0
    return float(row[query.sort])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
def test_lists_are_what_a_slow_look_finds(query: Query, events: Collection, table: list[dict[str, Any]]) -> None:
    wanted = [row for row in table if passes(row, query)]
    sign = -1 if query.order == "desc" else 1
    known = [row for row in wanted if not math.isnan(rank(row, query))]
    ordered = sorted(known, key=lambda row: (sign * rank(row, query), row["index"]))
    ordered += [row for row in wanted if math.isnan(rank(row, query))]
    assert events.catalogue.rows(query).tolist() == [row["index"] for row in ordered]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES, size=st.integers(1, 30))
def test_pages_and_neighbours_walk_the_list(query: Query, size: int, events: Collection) -> None:
    rows = events.catalogue.rows(query).tolist()
    pages = [events.page(query, offset, size) for offset in range(0, len(rows) + 1, size)]
    assert [e["index"] for page in pages for e in page["events"]] == rows
    assert {page["total"] for page in pages} == {len(rows)}
    for at, index in enumerate(rows[:5]):
        found = events.neighbours(index, query)
        assert found["rank"] == at
        assert found["previous"] == (rows[at - 1] if at else None)
        assert found["next"] == (rows[at + 1] if at + 1 < len(rows) else None)


def test_an_event_outside_the_filters_has_no_rank(events: Collection, table: list[dict[str, Any]]) -> None:
    outside = next(row["index"] for row in table if row["truth"] != "nc")
    found = events.neighbours(outside, Query(truth="nc"))
    assert (found["rank"], found["previous"], found["next"]) == (None, None, None)


def test_rows_say_what_the_tables_say(events: Collection, table: list[dict[str, Any]]) -> None:
    for row in table:
        shown = events.catalogue.row(row["index"])
        assert shown["key"] == "/".join(map(str, row["key"]))
        assert shown["truth"] == row["truth"]
        assert shown["split"] == row["split"]
        assert set(shown["answers"]) == set(row["answers"])
        for name, (label, p) in row["answers"].items():
            said = shown["answers"][name]
            assert said["label"] == label
            assert said["p"] == pytest.approx(p, abs=1e-6)
            assert said["correct"] is (None if row["truth"] is None else label == row["truth"])


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"sort": "energie"}, Unusable, "did you mean 'energy'"),
        ({"sort": "answer"}, Unusable, "cannot sort"),
        ({"label": "nue"}, Unusable, "did you mean 'nue_cc'"),
        ({"mode": "qes"}, Unusable, "did you mean 'qe'"),
        ({"split": "tests"}, Unusable, "did you mean 'test'"),
        ({"run": "cnn"}, NotThere, "cnn-all"),
        ({"find": "1/2"}, Unusable, "RUN/SUBRUN/EVENT"),
    ],
)
def test_wrong_queries_say_what_would_be_right(
    wrong: dict[str, str], kind: type[Exception], words: str, events: Collection
) -> None:
    with pytest.raises(kind, match=words):
        events.catalogue.rows(Query(**wrong))


KEYS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12)


@given(ours=KEYS, theirs=KEYS)
def test_matching_is_what_counting_finds(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> None:
    def array(keys: list[tuple[int, int]]) -> np.ndarray:
        return np.array(keys, dtype=np.int64).reshape(-1, 2)

    wanted = []
    for i, key in enumerate(theirs):
        places = [j for j, other in enumerate(ours) if other == key]
        times = theirs[:i].count(key)
        wanted.append(places[times] if times < len(places) else -1)
    assert matched(array(ours), array(theirs)).tolist() == wanted


def test_interactions_of_one_spill_keep_their_own_answers(place: Path, making: ModuleType) -> None:
    clouds = Collection.open(place / "clouds.h5", open_places(making.cloud_places(place)))
    said = Predictions.read(place / "evaluations" / "pion" / "predictions.parquet")
    answers = clouds.catalogue.answers["pion"]
    assert answers.known.all()
    np.testing.assert_allclose(answers.probability, said.probability, rtol=1e-6)
    assert not np.allclose(said.probability[0], said.probability[1])  # two interactions of one key


def test_answers_about_other_events_are_counted_and_not_shown(place: Path, making: ModuleType, tmp_path: Path) -> None:
    other = making.write_store(tmp_path / "other.h5", making.pixel_batch(30, seed=5))
    shown = Collection.open(other, open_places(making.map_places(place)))
    assert [run["n_predicted"] for run in shown.about()["runs"]] == [0, 0]
    assert [run["n_elsewhere"] for run in shown.about()["runs"]] == [60, 15]


def test_a_store_without_runs_has_its_truth(place: Path) -> None:
    shown = Collection.open(place / "maps.h5", [])
    assert [c["name"] for c in shown.about()["classes"]] == CLASSES
    assert {shown.catalogue.truth(i) for i in shown.catalogue.rows(Query(truth="nc"))} == {"nc"}


def test_runs_are_named_and_find_their_models(place: Path, making: ModuleType, tmp_path: Path) -> None:
    runs = open_places(making.map_places(place))
    assert [run.name for run in runs] == ["cnn-all", "other-test"]
    assert [run.model for run in runs] == [place / "runs" / "cnn", place / "runs" / "other"]
    assert [run.model for run in open_places(making.map_places(place), models=False)] == [None, None]
    twice = open_places([str(place / "runs" / "cnn")] * 2)
    assert [run.name for run in twice] == ["cnn", "cnn-2"]


def test_queries_can_be_kept(events: Collection) -> None:
    first = events.catalogue.rows(Query(sort="energy"))
    assert events.catalogue.rows(Query(**asdict(Query(sort="energy")))) is first


def test_energies_sort_by_their_ratio_to_truth(place: Path, making: ModuleType) -> None:
    clouds = Collection.open(place / "clouds.h5", open_places(making.cloud_places(place)))
    answers = clouds.catalogue.answers["energy"]
    rows = clouds.catalogue.rows(Query(sort="ratio", run="energy"))
    ratio = answers.energy[rows] / answers.truth_energy[rows]
    known = np.isfinite(ratio)
    assert known.sum() == 20  # the test split
    assert (np.diff(ratio[known]) >= 0).all()
    assert not known[20:].any()
