"""Run folders of vision-language models: training, saving, loading, packing, and what is refused."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from nuadapt.errors import ConfigError, InputFileError, StoppedEarly
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import MapSpec, PixelMaps
from nuadapt.events.schema import FIELDS
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.models.pack import pack
from nuadapt.models.run import load_run
from nuadapt.models.vision_tower import new_tower
from nuadapt.models.vlm import sparse
from nuadapt.models.vlm.backbones import architecture
from nuadapt.training.config import TrainingConfig, load_recipe
from nuadapt.training.data import Draw, PixelDataset, prepare
from nuadapt.training.fit import input_of, train

from .conftest import TINY
from .tiny_chats import TEMPLATE
from .tiny_offline import assemble, preset, tokenizer

COMMON = ["input.coarsen=1", "batch_size=8", "workers=0", "log_every=1", "epochs=1", "val_events=16"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 events of random pixels with the truth that reasons are written from."""
    n, random = 96, np.random.default_rng(1)
    images = random.random((n, 2, 32, 32)) * (random.random((n, 2, 32, 32)) < 0.05) * 0.01
    truth = {"nu_pdg": random.choice([12, 14], n), "current": random.integers(1, 3, n)}
    visible = {"muon_track_length": 120.0, "muon_contained": 0, "shower_energy": 0.5, "shower_gap": 0.1}
    visible |= {"n_tracks": 2, "n_showers": 1, "n_michel": 0, "deposited_energy": 1.0, "map_fraction": 1.0}
    columns = {name: np.full(n, value, dtype=FIELDS[name].dtype) for name, value in visible.items()}
    key = {"run": np.ones(n), "subrun": np.zeros(n), "event": np.arange(n), "source": np.zeros(n)}
    maps = PixelMaps.from_dense(images, MapSpec(shape=(32, 32)))
    batch = EventBatch.make({**key, **truth, **columns}, ["made up"], pixelmap=maps)
    path = tmp_path_factory.mktemp("store") / "events.h5"
    with EventWriter.create(path, Layout.of(batch), {"made": "up"}) as writer:
        writer.append(batch)
        writer.finish(split=(np.arange(n) % 3 == 2).astype("u1"))
    return path


def settings(folder: Path, values: dict[str, Any], *words: str) -> TrainingConfig:
    """A recipe with a preset file of one's own."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    (folder / "recipe.yaml").write_text("precision: float32\n")
    return load_recipe(folder / "recipe.yaml", [f"preset={folder / 'tiny.yaml'}", *COMMON, *words])


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingConfig:
    """A recipe for the tiny model of the offline kind."""
    words = tokenizer()
    monkeypatch.setattr(sparse, "assemble", assemble)
    monkeypatch.setattr(sparse, "tokenizer", lambda: words)
    given = preset(len(words))
    values = {"family": "vlm", "representation": "pixelmap", "view_modes": ["multi"], "dtype": "float32"}
    values |= {"architecture": given.architecture, "occupied_above": 0.05, "adapter": {"r": 2, "scope": "text"}}
    return settings(tmp_path, values, "language.reasons=0.5")


@pytest.fixture
def foreign(tmp_path: Path, saved: Path) -> TrainingConfig:
    """A recipe for the tiny Mllama, loaded from a folder."""
    source = tmp_path / "mllama"
    shutil.copytree(saved, source)
    (source / "chat_template.jinja").write_text(TEMPLATE)
    values = {"family": "vlm", "representation": "pixelmap", "view_modes": ["stitch"], "dtype": "float32"}
    values |= {"architecture": TINY.architecture, "adapter": {"r": 2}}
    words = {"answer": "w6", "labels": {"nue_cc": "w10 w11", "numu_cc": "w10 w12", "nc": "w14"}}
    words["prompts"] = {"own": {"system": "w1 w2", "user": "w3"}}
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump(words))
    prompt = f"language={{source: '{source}', prompt: own, prompt_file: '{tmp_path / 'prompts.yaml'}'}}"
    return settings(tmp_path, values, prompt, "train_events=16")


def posterior(run: Path, store: Path, precision: str = "auto") -> np.ndarray:
    model = load_run(run, precision=precision)
    with EventStore(store) as events:
        maps = events.read(slice(0, 6)).pixelmap
    assert maps is not None
    return model.posterior(model.input.images(maps))


def test_a_run_is_an_adapter_and_what_else_is_its_own(offline: TrainingConfig, store: Path, tmp_path: Path) -> None:
    run = train(offline, store, tmp_path / "run")
    about = json.loads((run / "adapter" / "nuadapt.json").read_text())
    assert about["base"]["precision"] == "float32"
    assert (about["prompt"], about["view_mode"]) == ("full", "multi")
    assert about["labels"] == ["NuE CC", "NuMu CC", "Neutral Current"]
    adapter = load_file(run / "adapter" / "adapter_model.safetensors")
    assert all("lora_" in name for name in adapter)
    own = load_file(run / "model.safetensors")
    assert all(".connector." in name or ".vision_model." in name for name in own)
    p = posterior(run, store)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert np.ptp(p, axis=0).max() > 1e-6
    with EventStore(store) as events:
        maps = events.read(slice(0, 3)).pixelmap
    assert maps is not None
    model = load_run(run)
    assert len(model.reasons(model.input.images(maps), np.array([0, 1, 2]))) == 3


def test_validation_of_training_is_that_of_the_loaded_model(
    offline: TrainingConfig, store: Path, tmp_path: Path
) -> None:
    """Adapters merged into the weights answer as the unmerged ones did in training."""
    run = train(offline, store, tmp_path / "run")
    best = json.loads((run / "record.json").read_text())["best"]
    model, sample = load_run(run, precision="float32"), prepare(store, offline).val
    with EventStore(store) as events:
        maps = events.read(sample.rows).pixelmap
    assert maps is not None
    p = model.posterior(model.input.images(maps))
    unnormalised = best["val_loss"]
    assert np.mean(p.argmax(axis=1) == sample.label) == pytest.approx(best["val_accuracy"])
    assert -np.log(p[np.arange(len(p)), sample.label]).mean() == pytest.approx(unnormalised, rel=1e-5)


def test_stopped_in_the_middle_ends_the_same(offline: TrainingConfig, store: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(offline, store, whole)

    def end_of_time(done: int, _: int) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedEarly):
        train(offline, store, stopped, progress=end_of_time)
    train(offline, store, stopped)
    for file in ("model.safetensors", "adapter/adapter_model.safetensors"):
        ours, theirs = load_file(whole / file), load_file(stopped / file)
        assert all((ours[name] == theirs[name]).all() for name in ours)


def test_a_run_goes_on_from_another(offline: TrainingConfig, store: Path, tmp_path: Path) -> None:
    """With a learning rate of nearly nothing, what comes out is what went in."""
    first = train(offline, store, tmp_path / "first")
    again = replace(offline, start_from=str(first), optimizer=replace(offline.optimizer, lr=1e-12))
    second = train(again, store, tmp_path / "second")
    np.testing.assert_allclose(posterior(second, store), posterior(first, store), atol=1e-6)


def test_a_packed_run_answers_nearly_the_same(offline: TrainingConfig, store: Path, tmp_path: Path) -> None:
    run = train(offline, store, tmp_path / "run")
    packed = pack(run, tmp_path / "packed")
    # In float32: rounding to bfloat16 in between would turn a small difference into a larger one.
    np.testing.assert_allclose(posterior(packed, store, "float32"), posterior(run, store, "float32"), atol=5e-3)
    assert load_run(packed).id != load_run(run).id
    half = (packed / "model.safetensors").stat().st_size / (run / "model.safetensors").stat().st_size
    assert 0.4 < half < 0.65


def test_a_foreign_backbone_is_trained_and_loaded(foreign: TrainingConfig, store: Path, tmp_path: Path) -> None:
    run = train(foreign, store, tmp_path / "run")
    assert load_file(run / "model.safetensors") == {}
    p = posterior(run, store)
    assert np.ptp(p, axis=0).max() > 1e-9


def assert_answers_as_validated(config: TrainingConfig, run: Path, store: Path, rel: float = 1e-5) -> None:
    """The loaded model has the validation loss that training saw, in batches of the same size."""
    model, sample = load_run(run, precision="float32"), prepare(store, config).val
    with EventStore(store) as events:
        maps = events.read(sample.rows).pixelmap
    assert maps is not None
    images = model.input.images(maps)
    size = config.batch_size
    p = np.concatenate([model.posterior(images[at : at + size]) for at in range(0, len(images), size)])
    best = json.loads((run / "record.json").read_text())["best"]
    assert -np.log(p[np.arange(len(p)), sample.label]).mean() == pytest.approx(best["val_loss"], rel=rel)


@pytest.mark.parametrize("precision", ["bfloat16", "nf4"])
def test_what_stands_on_a_coarse_base_answers_as_in_training(
    foreign: TrainingConfig, store: Path, tmp_path: Path, precision: str
) -> None:
    """Merged, adapters would be rounded with the weights that they are added to."""
    language = replace(foreign.language, precision=precision)  # type: ignore[arg-type]
    config = replace(foreign, language=language, optimizer=replace(foreign.optimizer, lr=2e-3))
    run = train(config, store, tmp_path / "run")
    about = json.loads((run / "adapter" / "nuadapt.json").read_text())
    assert about["base"]["precision"] == precision
    assert load_file(run / "adapter" / "adapter_model.safetensors")
    assert_answers_as_validated(config, run, store)
    network: Any = load_run(run).network
    assert not any(part.merged for part in network.modules() if hasattr(part, "merged") and hasattr(part, "lora_A"))


@pytest.fixture
def tower(offline: TrainingConfig, tmp_path: Path) -> dict[str, torch.Tensor]:
    """A trained tower, as a run of preset ``vit`` leaves it in the folder ``vit``."""
    torch.manual_seed(8)
    trained = new_tower(architecture(preset(len(tokenizer()))).vision_config)
    tensors = {name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
    (tmp_path / "vit").mkdir()
    save_file({f"tower.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "vit" / "model.safetensors")
    return tensors


@pytest.mark.parametrize("scope", ["text", "vision", "both"])
def test_a_trained_tower_is_taken_and_learns_by_adapters_where_it_has_them(
    offline: TrainingConfig, store: Path, tmp_path: Path, tower: dict[str, torch.Tensor], scope: str
) -> None:
    language = replace(offline.language, scope=scope, tower=str(tmp_path / "vit"))  # type: ignore[arg-type]
    config = replace(offline, language=language)
    run = train(config, store, tmp_path / "run")
    own = load_file(run / "model.safetensors")
    part = ".vision_model."
    kept = {name.partition(part)[2].replace(".base_layer.", "."): t for name, t in own.items() if part in name}
    assert kept.keys() == tower.keys()
    moved = {name for name, tensor in kept.items() if not torch.equal(tensor, tower[name])}
    assert moved == (set(tower) if scope == "text" else set())
    adapter = load_file(run / "adapter" / "adapter_model.safetensors")
    adapted = {("vision" if part in name else "text") for name in adapter}
    assert adapted == {"text": {"text"}, "vision": {"vision"}, "both": {"text", "vision"}}[scope]
    assert all(tensor.abs().sum() > 0 for name, tensor in adapter.items() if ".lora_B." in name)
    assert_answers_as_validated(config, run, store)


@pytest.mark.parametrize(
    ("setting", "value"), [("precision", "nf4"), ("precision", "bfloat16"), ("view_mode", "stitch")]
)
def test_settings_that_the_offline_model_does_not_have_are_refused(
    offline: TrainingConfig, store: Path, tmp_path: Path, setting: str, value: str
) -> None:
    config = replace(offline, language=replace(offline.language, **{setting: value}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"language\.{setting}={value}"):
        train(config, store, tmp_path / "run")


def test_visible_truth_beside_the_class_is_refused_by_models_that_learn_none(
    offline: TrainingConfig, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="auxiliary=false"):
        train(replace(offline, auxiliary=True), store, tmp_path / "run")


def test_killed_in_the_middle_ends_the_same(
    foreign: TrainingConfig, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL within an epoch, while a checkpoint is written, and before the record: as if nothing had been."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "training"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    import deadly

    # A checkpoint after every update; dropout in the adapters tells whether random numbers go on, too.
    config = replace(foreign, train_events=48, checkpoint_minutes=0.0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nuadapt.training.fit"])

    def in_child(out: Path, moment: str, n: int) -> int | None:
        child = context.Process(target=deadly.train_until, args=(config, store, out, moment, n))
        child.start()
        child.join()
        return child.exitcode

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_child(whole, "never", 0) == 0
    for moment, n in (("step", 2), ("checkpoint not marked", 2), ("record not written", 1)):
        assert in_child(killed, moment, n) == -signal.SIGKILL, moment
    assert in_child(killed, "never", 0) == 0
    ours, theirs = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (whole, killed))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    bests = [json.loads((run / "record.json").read_text())["best"] for run in (whole, killed)]
    assert bests[0] == bests[1]


def test_another_precision_of_the_base_is_said(
    foreign: TrainingConfig, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(foreign, store, tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    record["architecture"]["language"]["precision"] = "bfloat16"
    (run / "record.json").write_text(json.dumps(record))
    with caplog.at_level(logging.WARNING, logger="nuadapt"):
        load_run(run)
    assert any("float32" in message and "bfloat16" in message for message in caplog.messages)


def test_adapters_for_other_labels_or_lost_ones_are_refused(
    offline: TrainingConfig, store: Path, tmp_path: Path
) -> None:
    run = train(offline, store, tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    record["architecture"]["language"]["prompt"]["labels"][0] = "Electron"
    (run / "record.json").write_text(json.dumps(record))
    with pytest.raises(InputFileError, match="Electron"):
        load_run(run)
    shutil.rmtree(run / "adapter")
    with pytest.raises(InputFileError, match="adapter"):
        load_run(run)


def test_an_unknown_name_of_a_run_is_explained() -> None:
    with pytest.raises(InputFileError, match="no trained model of this name"):
        load_run(Path("nuadapt-vml"))


def test_a_frozen_model_is_shown_examples(offline: TrainingConfig, store: Path, tmp_path: Path) -> None:
    shown = replace(offline, language=replace(offline.language, shots=2))
    run = train(shown, store, tmp_path / "run")
    model: Any = load_run(run).network
    record = json.loads((run / "record.json").read_text())
    assert (record["best"], record["parameters"]["trainable"] > 0) == (None, True)
    assert "2 events per class are shown" in (run / "README.md").read_text()
    offered = prepare(store, shown)
    pictures = PixelDataset(store, offered.train, input_of(shown, offered))
    for example, label in zip(model.examples, model.example_labels, strict=True):
        mine = np.flatnonzero(offered.train.label == label)
        theirs = pictures.__getitems__([Draw(int(at), -1) for at in mine])["pixels"]
        assert int((theirs == example).all(dim=(1, 2, 3)).sum()) == 1
    assert model.example_labels == [0, 1, 2, 0, 1, 2]
    text = model.tokenizer.decode([token for part in model.words.before for token in part])
    assert text.count(f"{model.prompt.answer}{model.prompt.endings[1]}") == 2
    assert posterior(run, store).shape == (6, 3)
    (tmp_path / "leptons.yaml").write_text(
        yaml.safe_dump({"classes": {"one": {"where": {"nu_pdg": 12}}, "two": {"where": {"nu_pdg": 14}}}})
    )
    other = replace(shown, task=str(tmp_path / "leptons.yaml"), language=replace(shown.language, prompt="minimal"))
    two: Any = load_run(train(other, store, tmp_path / "leptons")).network
    assert (two.example_labels, two.prompt.labels) == ([0, 1, 0, 1], ("one", "two"))
    with pytest.raises(ConfigError, match="prompt 'full' tells of the classes"):
        train(replace(other, language=shown.language), store, tmp_path / "full")
    trained = replace(other, language=replace(other.language, shots=0))
    with pytest.raises(ConfigError, match=r"language\.reasons=0"):
        train(trained, store, tmp_path / "reasons")
    with pytest.raises(ConfigError, match="fewer than 40 training events"):
        train(replace(offline, language=replace(offline.language, shots=40)), store, tmp_path / "many")
    with pytest.raises(ConfigError, match="cannot be shown examples"):
        train(load_recipe("cnn-smoke", [*COMMON, "language.shots=1"]), store, tmp_path / "cnn")


def test_a_foreign_backbone_is_shown_examples(foreign: TrainingConfig, store: Path, tmp_path: Path) -> None:
    run = train(replace(foreign, language=replace(foreign.language, shots=1)), store, tmp_path / "run")
    model: Any = load_run(run).network
    inputs = model.inputs(torch.zeros(2, 2, 32, 32))
    assert inputs["pixel_values"].shape[:2] == (2, 4)  # three examples and the event, views of each on one canvas
    assert np.ptp(posterior(run, store), axis=0).max() > 1e-9
