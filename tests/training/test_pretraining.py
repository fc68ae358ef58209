"""Pretraining by the training engine: jets in, a run folder out, which a model of other events takes over."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from nuadapt.cli import app
from nuadapt.errors import ConfigError, DataError, InputFileError, StoppedEarly
from nuadapt.events.batch import EventBatch
from nuadapt.events.cloud import JET_FEATURES, Clouds, CloudSpec
from nuadapt.events.flat import offsets_of
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.models.compute import training_flops
from nuadapt.models.inputs import CloudInput
from nuadapt.models.run import load_run
from nuadapt.sources.simulation.jets.detector import SPEC
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.run import SimulationPlan, simulate
from nuadapt.training.config import TrainingConfig, load_pretraining, load_recipe
from nuadapt.training.data import BLOCK, CloudDataset, Draw, first_rows, prepare
from nuadapt.training.fit import train

#: A network of the family that trains in a second.
SMALL = {"width": 16, "depth": 1, "head_depth": 1, "heads": 2}
WORDS = ["epochs=2", "optimizer.lr=1e-2", "batch_size=32", "workers=0", "log_every=1", "precision=float32"]


def make_jets(path: Path, n: int = 150, seed: int = 1, spec: CloudSpec = SPEC) -> Path:
    """Made-up jets of five classes: the higher the class, the wider and the softer, mostly of particles of one type."""
    random, label = np.random.default_rng(seed), np.arange(n) % 5
    counts = random.integers(3, 20, n)
    of = np.repeat(label, counts)
    log_pt = random.normal(3 - 0.4 * of, 0.5)
    columns = {
        "eta": random.normal(0, 0.05 * (1 + of)),
        "phi": random.normal(0, 0.05 * (1 + of)),
        "log_pt": log_pt,
        "log_e": log_pt + 0.3,
        "type": np.where(random.random(len(of)) < 0.7, of, random.integers(0, 5, len(of))) % len(spec.types) + 1,
    }
    columns |= {name: random.uniform(-0.5, 0.5, len(of)) for name in spec.extras}
    key = {name: np.full(n, value) for name, value in (("run", seed), ("subrun", 0), ("source", 0))}
    given = {"event": np.arange(n), "entry": np.arange(n), "class_id": label}
    given |= {name: random.uniform(1, 2, n) for name in JET_FEATURES}
    cloud = Clouds.make(spec, offsets_of(counts), columns)
    batch = EventBatch.make(key | given, ["made-up"], cloud=cloud, has_truth=False)
    with EventWriter.create(path, Layout.of(batch), {"made-up": seed}) as writer:
        writer.append(batch)
        writer.finish((np.arange(n) // 5 % 5 // 3 * (1 + np.arange(n) // 25 % 2)).astype("u1"))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pretraining")
    (made / "tiny.yaml").write_text(json.dumps({"base": "pet2-small-pretraining"} | SMALL))
    (made / "tiny-pet2.yaml").write_text(json.dumps({"base": "pet2-small"} | SMALL))
    return made


def tiny(folder: Path, *words: str) -> TrainingConfig:
    return load_pretraining("pretrain-smoke", [f"preset={folder / 'tiny.yaml'}", *WORDS, *words])


@pytest.fixture(scope="module")
def jets(folder: Path) -> Path:
    return make_jets(folder / "jets.h5")


@pytest.fixture(scope="module")
def minerva(folder: Path) -> Path:
    simulate(SimulationPlan(MinervaConfig(), seed=2, events=160), folder / "minerva.h5")
    return folder / "minerva.h5"


@pytest.fixture(scope="module")
def run(folder: Path, jets: Path) -> Path:
    return train(tiny(folder, "epochs=20"), jets, folder / "run")


def test_both_losses_fall(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    checks = [line for line in lines if "val_loss" in line]
    assert checks[-1]["val_further"] < checks[0]["val_further"]
    assert checks[-1]["val_loss"] < checks[0]["val_loss"]
    assert all(line["val_further"] < line["val_loss"] for line in checks)
    assert checks[-1]["val_accuracy"] > 0.3  # five classes


def test_the_run_says_what_it_is(run: Path, jets: Path) -> None:
    record = json.loads((run / "record.json").read_text())
    assert record["classes"] == ["quark", "gluon", "w", "z", "top"]
    assert record["input"]["extras"] == list(SPEC.extras)
    assert (record["input"]["frame"], record["input"]["globals"]) == ("jet", [])
    with EventStore(jets) as store:
        log_pt = store.read(store.rows_of("train")).cloud.columns["log_pt"]
    assert record["architecture"]["noise"]["mean"][2] == pytest.approx(log_pt.mean(), abs=1e-3)
    assert record["architecture"]["noise"]["spread"][2] == pytest.approx(log_pt.std(), rel=1e-2)
    weights = load_file(run / "model.safetensors")
    assert {name.partition(".")[0] for name in weights} == {"body", "classifier", "generator"}
    n = sum(record["data"]["events"]["train"].values())
    cost = sum(record["flops_per_event"].values())
    assert training_flops(record) == pytest.approx(20 * n * cost)
    assert "quark jet" in (run / "README.md").read_text()


def test_it_answers_as_a_classifier(run: Path, jets: Path) -> None:
    model = load_run(run)
    assert isinstance(model.input, CloudInput)
    with EventStore(jets) as store:
        batch = store.read(store.rows_of("val"))
    found = model.posterior(model.input.arrays(batch))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.mean(found.argmax(axis=1) == batch["class_id"]) > 0.3


def test_stopped_in_the_middle_ends_the_same(folder: Path, jets: Path, tmp_path: Path) -> None:
    """Times and noise go on from where they were."""
    whole = train(tiny(folder), jets, tmp_path / "whole")

    def end_of_time(done: int, _: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedEarly):
        train(tiny(folder), jets, tmp_path / "stopped", progress=end_of_time)
    stopped = train(tiny(folder), jets, tmp_path / "stopped")
    ours, theirs = (load_file(at / "model.safetensors") for at in (whole, stopped))
    assert all((ours[name] == theirs[name]).all() for name in ours)
    logs = [(at / "log.jsonl").read_text().splitlines() for at in (whole, stopped)]
    assert [json.loads(line)["val_loss"] for line in logs[0] if "val_loss" in line] == [
        json.loads(line)["val_loss"] for line in logs[1] if "val_loss" in line
    ]


def finetuning(folder: Path, checkpoint: Path, recipe: str = "pion-smoke", *words: str) -> TrainingConfig:
    given = [f"preset={folder / 'tiny-pet2.yaml'}", *WORDS, "epochs=1", f"pretrained.checkpoint='{checkpoint}'"]
    return load_recipe(recipe, [*given, *words])


def test_a_model_of_other_events_takes_over_what_means_the_same(
    folder: Path, run: Path, minerva: Path, tmp_path: Path
) -> None:
    """Layers of the body are the run's; types, further inputs and classes differ in meaning, so they are fresh."""
    tuned = train(finetuning(folder, run, "pion-smoke", "pretrained.mode=frozen"), minerva, tmp_path / "tuned")
    before, after = load_file(run / "model.safetensors"), load_file(tuned / "model.safetensors")
    for name in ("body.in_blocks.0.attn.in_proj_weight", "body.local_physics.mlp.fc1.weight", "body.token"):
        assert (before[name] == after[name]).all()
    record = json.loads((tuned / "record.json").read_text())
    account = record["pretrained"]
    fresh = {*account["reinitialised"], *account["missing"]}
    # Five classes of jets and five final states: the shapes agree, the meaning does not.
    assert account["reinitialised"]["classifier.out.weight"] == [[5, 64], [5, 64]]
    assert any(name.startswith("body.pid_embed") for name in account["reinitialised"])
    assert any(name.startswith("body.add_embed") for name in account["reinitialised"])
    assert any(name.startswith("body.cond_embed") for name in account["missing"])
    assert {name.partition(".")[0] for name in account["unused"]} == {"generator", "body"}
    assert not {name for name in fresh if name.startswith("body.in_blocks")}
    cost = json.loads((run / "record.json").read_text())
    assert account["flops"] == training_flops(cost)
    assert training_flops(record) > training_flops(cost)
    load_run(tuned)


def test_the_same_events_and_classes_take_over_everything(folder: Path, run: Path, jets: Path, tmp_path: Path) -> None:
    words = ["task=jet", "train_events=32"]
    tuned = train(finetuning(folder, run, "pion-smoke", *words), jets, tmp_path / "tuned")
    account = json.loads((tuned / "record.json").read_text())["pretrained"]
    assert (account["fraction"], account["missing"], account["reinitialised"]) == (1.0, [], {})


def test_an_unfinished_run_is_no_checkpoint(folder: Path, run: Path, minerva: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    record = json.loads((run / "record.json").read_text())
    (half / "record.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(InputFileError, match="not finished"):
        train(finetuning(folder, half), minerva, tmp_path / "out")
    with pytest.raises(InputFileError, match="a run folder"):
        train(finetuning(folder, tmp_path / "nothing"), minerva, tmp_path / "other")


def test_pretraining_on_minerva(folder: Path, minerva: Path, tmp_path: Path) -> None:
    """Any store of clouds: with event-level features, its own types and classes, and noise of its own spread."""
    made = train(tiny(folder, "task=pion", "epochs=1"), minerva, tmp_path / "run")
    record = json.loads((made / "record.json").read_text())
    assert len(record["input"]["globals"]) == 15
    assert record["architecture"]["noise"]["mean"][0] > 0.5  # forward, along the beam
    tuned = train(finetuning(folder, made), minerva, tmp_path / "tuned")
    account = json.loads((tuned / "record.json").read_text())["pretrained"]
    assert (account["fraction"], account["reinitialised"]) == (1.0, {})


def test_several_files_are_read_as_one(folder: Path, jets: Path, tmp_path: Path) -> None:
    """Every event of both files once, with its own class; the noise and the fingerprint know both."""
    second = make_jets(tmp_path / "second.h5", n=85, seed=2)
    config = tiny(folder)
    alone, joined = prepare(jets, config), prepare([jets, second], config)
    assert joined.fingerprint not in (alone.fingerprint, prepare(second, config).fingerprint)
    assert joined.fingerprint != prepare([second, jets], config).fingerprint
    assert first_rows([150, 85]).tolist() == [0, 3 * BLOCK]
    data = CloudDataset([jets, second], joined.train, CloudInput.of(SPEC))
    made = data.__getitems__([Draw(at, 0) for at in range(len(joined.train.rows))][::-1])
    singles = [CloudDataset(path, prepare(path, config).train, CloudInput.of(SPEC)) for path in (jets, second)]
    parts = [one.__getitems__([Draw(at, 0) for at in range(len(one))]) for one in singles]
    counts = np.concatenate([part["mask"].sum(1).numpy() for part in parts])
    np.testing.assert_array_equal(made["mask"].sum(1).numpy(), counts[::-1])
    labels = np.concatenate([part["labels"].numpy() for part in parts])
    np.testing.assert_array_equal(made["labels"].numpy(), labels[::-1])
    first = parts[1]["tokens"][0][parts[1]["mask"][0]]
    at = len(labels) - 1 - len(parts[0]["labels"])  # the first event of the second file, counted from the end
    np.testing.assert_array_equal(made["tokens"][at][made["mask"][at]], first)


def test_files_of_different_kinds_are_refused(folder: Path, jets: Path, minerva: Path, tmp_path: Path) -> None:
    other = make_jets(tmp_path / "o.h5", spec=CloudSpec("jet", ("a", "b"), (), ("entry", *JET_FEATURES, "class_id")))
    with pytest.raises(DataError, match="other columns, tokens or truth"):
        train(tiny(folder), [jets, other], tmp_path / "run")
    with pytest.raises(DataError, match="no truth"):
        train(tiny(folder, "task=pion"), jets, tmp_path / "run")
    with pytest.raises(DataError, match="no column 'class_id'"):
        train(tiny(folder, "task=jet"), minerva, tmp_path / "run")
    with pytest.raises(ConfigError, match="asks for an energy"):
        train(tiny(folder, "task=available_energy"), minerva, tmp_path / "energy")


def test_the_command(folder: Path, jets: Path, tmp_path: Path) -> None:
    second = make_jets(tmp_path / "second.h5", n=40, seed=2)
    words = [f"preset={folder / 'tiny.yaml'}", *WORDS, "epochs=1"]
    given = ["--data", str(jets), "--data", str(second), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["pretrain", "pretrain-smoke", *words, *given])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"] == "finished"
    train_events = sum(record["data"]["events"]["train"].values())
    assert train_events == sum(len(prepare(path, tiny(folder)).train.rows) for path in (jets, second))


def test_clouds_are_read_once_for_all_epochs(folder: Path, jets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(folder)
    sample = prepare(jets, config).train
    events = CloudDataset(jets, sample, CloudInput.of(SPEC))
    draws = [Draw(at, 0) for at in range(len(sample.rows))]
    first, read = events.__getitems__(draws), EventStore.read
    asked: list[object] = []
    monkeypatch.setattr(EventStore, "read", lambda store, rows: asked.append(rows) or read(store, rows))
    again = events.__getitems__(draws)
    assert not asked
    assert all((first[name] == again[name]).all() for name in first)


def test_only_models_that_pretrain_are_pretrained() -> None:
    with pytest.raises(ConfigError, match="pet2-small-pretraining"):
        load_pretraining("pion-smoke")


VISION = {
    "image_size": 32,
    "patch_size": 8,
    "stem": [[4, 0], [8, 0], [8, 0]],
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def test_hidden_patches_are_filled_in_and_a_classifier_goes_on(make_store: Callable[..., Path], tmp_path: Path) -> None:
    data = make_store(n=240, side=32)
    shape = {"vision": VISION, "head_width": 16}
    (tmp_path / "masked.yaml").write_text(json.dumps({"base": "vit-pretraining"} | shape))
    (tmp_path / "vit.yaml").write_text(json.dumps({"base": "vit"} | shape))
    words = ["input.coarsen=1", "batch_size=16", "precision=float32", "workers=0", "optimizer.lr=3e-3"]
    masked, run = tmp_path / "masked", tmp_path / "run"
    asked = ["pretrain", "masked-smoke", "--data", str(data), "--out", str(masked)]
    result = CliRunner().invoke(app, [*asked, *words, "epochs=8", f"preset={tmp_path / 'masked.yaml'}"])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (masked / "log.jsonl").read_text().splitlines()]
    checks = [line for line in lines if "val_loss" in line]
    assert checks[-1]["val_further"] < 0.8 * checks[0]["val_further"]
    asked = ["train", "vit-smoke", "--data", str(data), "--out", str(run)]
    more = ["epochs=1", "auxiliary=false", f"preset={tmp_path / 'vit.yaml'}", f"start_from={masked}"]
    result = CliRunner().invoke(app, [*asked, *words, *more])
    assert result.exit_code == 0, result.output
    names = {name.partition(".")[0] for name in load_file(run / "model.safetensors")}
    assert names == {"tower", "head", "classifier", "auxiliary"}
    assert f"from the run `{masked}`" in (run / "README.md").read_text()
