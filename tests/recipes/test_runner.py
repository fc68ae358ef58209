"""Running a study: the order of its steps, what is not done twice, what is refused; and a tiny one for real."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from nuadapt.errors import ConfigError, DataError, MissingExtraError, OutputError
from nuadapt.recipes.runner import begin, left_out, run_study
from nuadapt.recipes.study import load_study
from nuadapt.recipes.trials import Trial, summarise

RECIPE = """
preset: siamese-cnn-small
input: {coarsen: 8}
epochs: 1
batch_size: 16
workers: 0
"""
TINY = {
    "title": "A tiny study",
    "seed": 2,
    "sets": {"noise": ["readout.noise=1e-4", "readout.threshold=5e-4"]},
    "models": {"cnn": {"train": "recipe.yaml"}},
    "evaluate": [{}, {"coarsen": 2, "how": "mean"}, {"events": "noise"}],
    "scales": {"smoke": {"events": 96, "set_events": 8}},
}
TWO = {
    "title": "Two models",
    "sets": {"noise": [], "unused": []},
    "models": {
        "vit": {"train": "vit-smoke", "explain": {"evidence": 3}},
        "vlm": {"train": "vlm-smoke", "takes": {"language.tower": "vit"}, "calibrate": False, "trials": False},
    },
    "evaluate": [{}, {"coarsen": 2}, {"events": "noise"}],
    "scales": {"smoke": {"events": 30, "set_events": 5}},
}


@pytest.fixture(autouse=True)
def _language_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the package with the language model is installed here plays no part."""
    monkeypatch.setattr("nuadapt.models.vlm.offline.language_file", lambda: Path("model.gguf"))


@contextmanager
def silent(_: str) -> Iterator[object]:
    yield lambda done, total: None


def written(folder: Path, study: dict) -> Path:
    """The file of a study; the recipe stands beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder / "study.yaml"


def run(folder: Path, study: dict, trials=(), say=lambda sentence: None, bar=silent, at_once=1) -> Path:
    file, asked = written(folder, study), {"trials": trials, "workers": 1, "at_once": at_once}
    return run_study(str(file), "smoke", folder / "out", **asked, progress_bar=bar, say=say)


class Stage:
    """Stands in for all that computes; notes what it is asked and leaves what the next stage looks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.towers: list[str] = []
        self.page: dict = {}
        self.epochs: dict = {}
        self.fails = ""
        for place in (
            "training.fit.train",
            "evaluation.calibrate.calibrate",
            "evaluation.evaluate.evaluate",
            "sources.simulation.run.simulate",
            "report.page.make_report",
        ):
            monkeypatch.setattr(f"nuadapt.{place}", getattr(self, place.rpartition(".")[2]))
        monkeypatch.setattr("nuadapt.recipes.runner.EventStore", self.store)

    @contextmanager
    def store(self, path: Path) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(complete=True, record=json.loads(path.read_text()))

    def note(self, what: str) -> None:
        if what == self.fails:
            raise KeyboardInterrupt
        self.asked.append(what)

    def simulate(self, plan, out, progress) -> None:
        self.note(f"simulate {out.stem} {plan.events}")
        out.write_text(json.dumps(plan.record()))

    def train(self, config, data, out, progress) -> None:
        self.note(f"train {out.name}")
        self.towers.append(config.language.tower)
        out.mkdir(parents=True, exist_ok=True)
        if out.name != "vlm":  # as a frozen model, which has no training to show
            (out / "log.jsonl").touch()

    def priced(self, config, data, out, progress) -> None:
        """In place of :meth:`train`: runs that say what they cost; an event of jets costs ten times one of ours."""
        self.train(config, data, out, progress)
        jets = data.stem == "jets"
        record = {
            "flops_per_event": {"forward": 10.0 if jets else 1.0, "backward": 20.0 if jets else 2.0},
            "epochs": config.epochs,
            "data": {"events": {"train": {"a": 100}}},
        }
        if config.pretrained.checkpoint:
            record["pretrained"] = {"flops": 30.0 * 100 * 2}
        (out / "record.json").write_text(json.dumps(record))
        self.epochs[out.name] = (config.epochs, data.stem, config.pretrained.checkpoint)

    def calibrate(self, run, data, progress) -> None:
        self.note(f"calibrate {run.name}")
        if self.fails == "temperature":
            raise DataError("no temperature")
        (run / "calibration.json").write_text("{}")

    def evaluate(self, run, data, out, *, split="test", coarsen=1, coarsen_how=None, explained=None, progress) -> None:
        words = [f"{'explain' if explained else 'evaluate'} {run.name} on {data.stem}, {split} -> {out.name}"]
        self.note(" ".join(words))

    def make_report(self, folders, out, **given) -> Path:
        self.page = {"folders": [f.name for f in folders], **given}
        return out / "index.html"


STEPS = [
    "simulate events 30",
    "train vit",
    "calibrate vit",
    "evaluate vit on events, test -> vit-test",
    "evaluate vit on events, test -> vit-test-coarsen2",
    "simulate noise 5",
    "evaluate vit on noise, all -> vit-noise",
    "explain vit on events, test -> vit-test",
    "train vlm",
    "evaluate vlm on events, test -> vlm-test",
    "evaluate vlm on events, test -> vlm-test-coarsen2",
    "evaluate vlm on noise, all -> vlm-noise",
]


def test_models_are_finished_one_after_the_other(tmp_path, monkeypatch):
    stage, announced = Stage(monkeypatch), []
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def bar(what: str) -> Iterator[object]:
        announced.append(what)
        yield lambda done, total: None

    run(tmp_path, TWO, bar=bar)
    assert stage.asked == STEPS
    assert len(announced) == len(STEPS) + 1, "every step and the report announce themselves"
    assert stage.towers == ["", os.path.join("out", "models", "vit")], "the tower of the run of this study"
    assert stage.page["title"] == "Two models (smoke scale, 30 events; training events at most: vlm 32)"
    assert stage.page["folders"] == [
        *("vit-test", "vit-test-coarsen2", "vit-noise", "vlm-test", "vlm-test-coarsen2", "vlm-noise"),
        "vit",
    ]


@pytest.mark.parametrize("at", range(0, len(STEPS), 3))
def test_an_interrupted_study_goes_on(tmp_path, monkeypatch, at):
    stage = Stage(monkeypatch)
    stage.fails = STEPS[at]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, TWO)
    assert stage.asked == STEPS[:at]
    stage.asked, stage.fails = [], ""
    run(tmp_path, TWO)
    # Simulations and calibrations that are there are not asked for; other stages look themselves at what is done.
    done = [s for s in STEPS[:at] if s.startswith(("simulate", "calibrate"))]
    assert stage.asked == [s for s in STEPS if s not in done]


def test_a_model_that_no_temperature_fits_stays_uncalibrated(tmp_path, monkeypatch):
    stage, said = Stage(monkeypatch), []
    stage.fails = "temperature"
    run(tmp_path, TWO, say=said.append)
    assert stage.asked == STEPS
    assert said == ["vit stays uncalibrated: no temperature."]


def no_package() -> None:
    raise MissingExtraError("no language model", next_step="Install it")


def test_what_needs_a_missing_package_is_left_out(tmp_path, monkeypatch):
    stage, said = Stage(monkeypatch), []
    monkeypatch.setattr("nuadapt.models.vlm.offline.language_file", no_package)
    after = {"train": "vit-smoke", "takes": {"start_from": "vlm"}}
    run(tmp_path, {**TWO, "models": {**TWO["models"], "more": after}}, say=said.append)
    assert stage.asked == STEPS[: STEPS.index("train vlm")]
    assert said == [
        "vlm is left out: no language model. Install it.",
        "more is left out: it takes a part of vlm, which is left out",
    ]
    assert stage.page["title"].endswith("; left out: vlm, more")
    with pytest.raises(MissingExtraError, match="no model of this study"):
        run(tmp_path / "other", {**TWO, "models": {"vlm": {"train": "vlm-smoke"}}})


def test_backbones_without_weights_on_this_machine_are_left_out(monkeypatch):
    at_hand = []
    monkeypatch.setattr("nuadapt.models.vlm.backbones.is_at_hand", lambda source: source in at_hand)
    missing = left_out(load_study("vlm", "paper"))
    assert "meta-llama/Llama-3.2-11B-Vision-Instruct are not on this machine" in missing["vlm"]
    assert not {"cnn", "vit"} & set(missing)
    at_hand.append("meta-llama/Llama-3.2-11B-Vision-Instruct")
    assert left_out(load_study("vlm", "paper")) == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 3}, r"the events of this study.*\(seed\)"),
        ({"sets": {"noise": ["readout.noise=1e-4"], "unused": []}}, r"set of events 'noise'.*\(simulation\)"),
        ({"models": {**TWO["models"], "vit": {"train": "vit-smoke"}}}, r"model 'vit'.*\(explain\)"),
        (
            {"models": {**TWO["models"], "vit": {"train": "cnn-smoke", "explain": {"evidence": 3}}}},
            r"'vit'.*\(training",
        ),
    ],
)
def test_other_settings_are_refused_before_anything_is_computed(tmp_path, monkeypatch, changed, said):
    stage = Stage(monkeypatch)
    run(tmp_path, TWO)
    stage.asked = []
    with pytest.raises(OutputError, match=said):
        run(tmp_path, {**TWO, **changed})
    assert stage.asked == []


def test_models_can_be_added_and_come_back(tmp_path, monkeypatch):
    stage = Stage(monkeypatch)
    alone = {**TWO, "models": {"vit": TWO["models"]["vit"]}}
    run(tmp_path, alone)
    run(tmp_path, TWO)
    assert "train vlm" in stage.asked
    run(tmp_path, alone)
    other = {**TWO["models"]["vlm"], "words": ["seed=9"]}
    with pytest.raises(OutputError, match="'vlm'"):  # still known from the second call
        run(tmp_path, {**TWO, "models": {**TWO["models"], "vlm": other}})


def test_a_place_with_something_else_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    with pytest.raises(OutputError, match="holds no study"):
        begin(load_study("cnn", "smoke"), tmp_path / "out")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


def test_a_study_ends_with_a_page_and_is_not_done_twice(tiny):
    page = run(tiny, TINY)
    assert "A tiny study (smoke scale, 96 events)" in page.read_text()
    kept = [tiny / "out" / name for name in ("models/cnn/model.safetensors", "events.h5", "sets/noise.h5")]
    before = [file.stat().st_mtime_ns for file in kept]
    page = run(tiny, TINY)
    assert [file.stat().st_mtime_ns for file in kept] == before
    finished = {**TINY, "models": {"ready": {"run": str(tiny / "out" / "models" / "cnn")}}}
    run(tiny / "other", finished)
    assert not (tiny / "other" / "out" / "models").exists()
    theirs, ours = (
        (folder / "out" / "evaluations" / name / "predictions.parquet").read_bytes()
        for folder, name in ((tiny, "cnn-test"), (tiny / "other", "ready-test"))
    )
    assert theirs == ours
    lost = {"title": "Lost", "models": {"ready": {"run": str(tiny / "no")}}, "scales": {"smoke": {"events": 5}}}
    assert "no such folder" in left_out(load_study(written(tiny / "lost", lost), "smoke"))["ready"]
    for name in ("cnn-test", "cnn-test-coarsen2-mean", "cnn-noise"):
        assert (tiny / "out" / "evaluations" / name / "metrics.json").is_file()
    record = json.loads((tiny / "out" / "evaluations" / "cnn-noise" / "record.json").read_text())
    assert (record["data"]["file"], record["data"]["n_events"]) == ("noise.h5", 8)
    assert "half resolution, mean of pixels" in page.read_text()


def test_a_study_is_tried_on_other_events_once(tiny, shared_data):
    dune = f"{shared_data / 'dune_cvn'}:view2,view0"
    page = run(tiny, TINY, trials=[dune])
    place = tiny / "out" / "trials" / "cnn"
    summaries = {p.parent.name: json.loads(p.read_text()) for p in place.rglob("summary.json")}
    assert set(summaries) == {"dune_cvn-view2-view0", "dune_cvn-view2-view0-scaled"}
    for summary in summaries.values():
        assert summary["n_events"] == 10
        assert sum(summary["truth"].values()) == summary["n_with_label"] == 10
        assert sum(summary["mean_probability"].values()) == pytest.approx(1)
    shown = page.read_text()
    assert "cnn: dune_cvn-view2-view0" in shown
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    assert run(tiny, TINY, trials=[dune]).read_text() == shown
    assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == before


def test_a_trial_with_other_files_is_done_again(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"12")
    before = Trial(tmp_path).identity()
    assert Trial(tmp_path, ("view0",)).identity() != before
    (tmp_path / "a.gz").write_bytes(b"123")
    assert Trial(tmp_path).identity() != before
    assert Trial(tmp_path / "a.gz").identity()["files"] == {"a.gz": 3}


def test_events_of_other_settings_are_not_reused(tiny, tmp_path):
    run(tiny, TINY)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "events.h5").symlink_to(tiny / "out" / "events.h5")
    written(tmp_path, {**TINY, "seed": 3})
    study = load_study(tmp_path / "study.yaml", "smoke")
    (tmp_path / "out" / "study.json").write_text(json.dumps({"config": {}}))
    begin(study, tmp_path / "out")
    with pytest.raises(OutputError, match="simulated with other settings"):
        run(tmp_path, {**TINY, "seed": 3})


def test_trials_are_parsed_from_words(tmp_path):
    assert Trial.parse(str(tmp_path)) == Trial(tmp_path)
    assert Trial.parse(f"{tmp_path}:view2,view0") == Trial(tmp_path, ("view2", "view0"))
    assert Trial(Path("a/achilles.hepmc.gz")).name == "achilles"
    with pytest.raises(ConfigError, match="no such file"):
        Trial.parse(str(tmp_path / "none"))


def test_a_summary_counts_by_class_and_weight(tiny):
    from nuadapt.evaluation.predictions import Predictions

    run(tiny, TINY)
    table = Predictions.read(tiny / "out" / "evaluations" / "cnn-test" / "predictions.parquet")
    summary = summarise(table)
    assert sum(summary["predicted"].values()) == len(table)
    assert summary["accuracy"] == pytest.approx((table.label == table.truth).mean())


TRANSFER = {
    "title": "Transfer",
    "detector": "minerva",
    "sets": {"jets": {"detector": "jets"}},
    "models": {
        "jets": {
            "train": "pretrain-smoke",
            "events": "jets",
            "calibrate": False,
            "evaluate": [],
            "words": ["epochs=2"],
        },
        "tuned": {"train": "transfer-smoke", "takes": {"pretrained.checkpoint": "jets"}, "words": ["epochs=5"]},
        "long": {"train": "transfer-smoke", "spends": "tuned"},
        "longer": {"train": "transfer-smoke", "spends": "long"},
    },
    "scales": {"smoke": {"events": 30, "set_events": {"jets": 20}}},
}


def test_a_model_spends_what_another_cost(tmp_path, monkeypatch):
    """2 epochs of 100 jets at 30 operations cost what 20 epochs of 100 events at 3 do."""
    stage = Stage(monkeypatch)
    monkeypatch.setattr("nuadapt.training.fit.train", stage.priced)
    monkeypatch.setattr("nuadapt.recipes.runner._missing_simulation", lambda events: "")
    monkeypatch.setattr("nuadapt.sources.simulation.run.Jets.tools", staticmethod(dict))
    run(tmp_path, TRANSFER)
    assert stage.epochs["jets"] == (2, "jets", "")
    assert stage.epochs["tuned"][:2] == (5, "events")
    assert stage.epochs["tuned"][2].endswith("models/jets")
    assert stage.epochs["long"] == (25, "events", "")
    assert stage.epochs["longer"] == (25, "events", "")
    assert not any("jets" in what for what in stage.asked if what.startswith(("evaluate", "calibrate")))


def test_models_that_need_nothing_of_one_another_are_trained_at_once(tmp_path, monkeypatch):
    stage, together = Stage(monkeypatch), []

    def train_all(jobs, *, progress):
        together.append([job.out.name for job in jobs])
        for job in jobs:
            job.out.mkdir(parents=True)
            (job.out / "record.json").write_text('{"status": "finished"}')

    monkeypatch.setattr("nuadapt.training.side_by_side.train_all", train_all)
    plain = {"train": "recipe.yaml", "calibrate": False}
    needs = {"train": "recipe.yaml", "calibrate": False, "takes": {"start_from": "b"}}
    models = {"a": {**plain, "seeds": 2}, "b": plain, "c": needs, "d": plain, "e": plain, "f": plain, "g": plain}
    run(tmp_path, {**TINY, "models": models}, at_once=3)
    assert together == [["a-seed1", "a-seed2", "b"], ["c", "d", "e"], ["f", "g"]]
    assert stage.asked.index("evaluate b on events, test -> b-test") < stage.asked.index("train c")
    together.clear()
    run(tmp_path, {**TINY, "models": models}, at_once=3)
    assert not together, "all are trained"


def test_a_model_whose_events_cannot_be_made_is_left_out_with_those_that_need_it(monkeypatch):
    def missing(*_):
        raise MissingExtraError("no chromo here")

    monkeypatch.setattr("nuadapt.sources.simulation.run.Jets", missing)
    found = left_out(load_study("minerva", "laptop"))
    assert "no chromo here" in found["jets"]
    arms = {
        f"{size}-{arm}-seed{seed}"
        for size in ("few", "some", "many")
        for arm in ("pretrained", "random-long", "frozen")
        for seed in (1, 2)
    }
    assert set(found) == {"jets", *arms}
    assert "takes a part of jets" in found["few-pretrained-seed1"]
    assert "spends what few-pretrained-seed2 costs" in found["few-random-long-seed2"]


def test_a_cost_that_is_not_known_cannot_be_spent(tmp_path, monkeypatch):
    stage = Stage(monkeypatch)
    monkeypatch.setattr("nuadapt.training.fit.train", stage.priced)
    models = {"a": {"train": "transfer-smoke"}, "b": {"train": "transfer-smoke", "spends": "a"}}
    monkeypatch.setattr("nuadapt.models.compute.training_flops", lambda record: None)
    with pytest.raises(DataError, match="does not say what it cost"):
        run(tmp_path, {**TRANSFER, "models": models})
