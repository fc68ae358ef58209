"""Training runs from start to end: what is learned, what is written, what happens after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import EvalPrediction

from nuadapt.errors import ConfigError, InputFileError, OutputError, StoppedEarly
from nuadapt.events.store import EventStore
from nuadapt.models.run import load_run
from nuadapt.training import engine
from nuadapt.training.config import TrainingConfig, load_recipe
from nuadapt.training.data import BlockShuffle, Draw, PixelDataset, prepare
from nuadapt.training.fit import train
from nuadapt.training.folder import RunFolder

MakeStore = Callable[..., Path]
TINY = ["preset=siamese-cnn-small", "input.coarsen=1", "batch_size=16", "precision=float32", "workers=0", "log_every=2"]


def tiny(*words: str) -> TrainingConfig:
    return load_recipe("cnn-smoke", [*TINY, *words])


@pytest.fixture(scope="module")
def store(make_store: MakeStore) -> Path:
    return make_store(n=160, side=16)


@pytest.fixture(scope="module")
def finished(make_store: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that had time to learn, and its store."""
    data = make_store(n=300, side=32)
    out = tmp_path_factory.mktemp("runs") / "learned"
    train(tiny("epochs=12", "patience=12", "optimizer.lr=4e-3"), data, out)
    return out, data


def log_of(run: Path) -> list[dict[str, Any]]:
    """Log lines without the speed, which no two runs share."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "events_per_s"} for line in lines]


def outcome(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "record.json").read_text())
    record.pop("not_reproducible")
    return record


def assert_same_run(one: Path, other: Path) -> None:
    assert outcome(one) == outcome(other)
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_learns_separable_events(finished: tuple[Path, Path]) -> None:
    out, data = finished
    model = load_run(out, precision="float32")
    offered = prepare(data, TrainingConfig())
    with EventStore(data) as events:
        maps = events.read(offered.val.rows).pixelmap
    assert maps is not None
    p = model.posterior(model.input.images(maps))
    assert p.shape == (60, 3)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert np.mean(p.argmax(axis=1) == offered.val.label) > 0.9
    # The record's validation loss is the weighted cross-entropy of exactly these weights.
    ce = -np.log(p[np.arange(60), offered.val.label])
    expected = np.average(ce, weights=offered.val.weight)
    assert model.record["best"]["val_loss"] == pytest.approx(expected, rel=1e-4)


def test_run_folder_is_complete(finished: tuple[Path, Path]) -> None:
    out, _ = finished
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md",
        "config.yaml",
        "log.jsonl",
        "model.safetensors",
        "record.json",
    ]
    record, log = outcome(out), log_of(out)
    assert record["status"] == "finished"
    assert record["best"]["val_loss"] == min(line["val_loss"] for line in log if "val_loss" in line)
    assert load_recipe(out / "config.yaml") == tiny("epochs=12", "patience=12", "optimizer.lr=4e-3")
    assert f"{record['parameters']['total']:,}" in (out / "README.md").read_text()


def test_same_settings_same_result_whoever_reads(store: Path, tmp_path: Path) -> None:
    alone = train(tiny("epochs=2"), store, tmp_path / "alone")
    helped = train(tiny("epochs=2", "workers=2"), store, tmp_path / "helped")
    assert log_of(alone) == log_of(helped)
    weights = [load_file(run / "model.safetensors") for run in (alone, helped)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_accumulated_batches_weigh_as_one(store: Path, tmp_path: Path) -> None:
    """Weighted loss over 2 x 8 events is the loss over 16: the first update's loss tells (batch statistics differ
    later, and within this small tolerance already here)."""
    words = ("epochs=1", "log_every=1", "flips=false")
    one = log_of(train(tiny(*words), store, tmp_path / "one"))[0]
    two = log_of(train(tiny(*words, "batch_size=8", "accumulate=2"), store, tmp_path / "two"))[0]
    assert one["step"] == two["step"] == 1
    assert two["loss"] == pytest.approx(one["loss"], rel=0.05)


def test_stops_early_and_keeps_the_best(store: Path, tmp_path: Path) -> None:
    config = tiny("epochs=30", "patience=2", "optimizer.lr=0.05", "optimizer.schedule=constant")
    out = train(config, store, tmp_path / "run")
    losses = [line["val_loss"] for line in log_of(out) if "val_loss" in line]
    record = outcome(out)
    assert len(losses) == record["epochs"] < 30
    assert record["best"]["epoch"] == int(np.argmin(losses)) + 1 == len(losses) - 2
    assert record["best"]["val_loss"] == min(losses)


def test_progress_counts_updates(store: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    train(tiny("epochs=2"), store, tmp_path / "run", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 16) for i in range(1, 17)]


def test_epochs_go_through_their_own_orders(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the model is the order of BlockShuffle for that epoch, and validation as stored."""
    drawn: list[Draw] = []
    read = PixelDataset.__getitems__
    monkeypatch.setattr(PixelDataset, "__getitems__", lambda self, draws: (drawn.extend(draws), read(self, draws))[1])
    train(tiny("epochs=3"), store, tmp_path / "run")
    rows = prepare(store, TrainingConfig()).train.rows
    for epoch in range(3):
        expected = BlockShuffle(rows, tiny().seed).order(epoch)
        assert [draw.at for draw in drawn if draw.epoch == epoch] == expected.tolist()
    assert [draw.at for draw in drawn if draw.epoch == -1] == 3 * list(range(32))


def test_finished_run_returns_at_once(finished: tuple[Path, Path]) -> None:
    out, data = finished
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    train(tiny("epochs=12", "patience=12", "optimizer.lr=4e-3"), data, out)
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_other_settings_or_data_are_refused(finished: tuple[Path, Path], store: Path, tmp_path: Path) -> None:
    out, data = finished
    same = tiny("epochs=12", "patience=12", "optimizer.lr=4e-3")
    with pytest.raises(ConfigError, match=r"optimizer.lr = 0.001 \(was 0.004\)"):
        train(replace(same, optimizer=replace(same.optimizer, lr=0.001)), data, out)
    with pytest.raises(ConfigError, match="other data"):
        train(same, store, out)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="something other than a run"):
        train(same, data, tmp_path)


def test_divergence_is_said(store: Path, tmp_path: Path) -> None:
    config = tiny("optimizer.lr=1e30", "optimizer.warmup_epochs=0", "optimizer.max_grad_norm=0", "log_every=1")
    with pytest.raises(ConfigError, match="not a finite number"):
        train(config, store, tmp_path / "run")


# -- resumption ------------------------------------------------------------------------------------------------------

#: In the order of one run of 4 epochs of 8 updates, with a checkpoint after every update.
KILLS = [
    ("checkpoint has weights only", 1),
    ("step", 3),
    ("checkpoint not marked", 2),
    ("best half written", 1),
    ("best written", 1),
    ("validated, not saved", 1),
    ("older checkpoint not removed", 1),
    ("step", 21),
    ("checkpoint has weights only", 1),
    ("record not written", 1),
]


@pytest.fixture(scope="module")
def children() -> Any:
    """Child processes forked from a server that has the libraries imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nuadapt.training.fit"])
    return context


def in_child(children: Any, *args: Any) -> int:
    import deadly

    child = children.Process(target=deadly.train_until, args=args)
    child.start()
    child.join()
    return int(child.exitcode)


def test_killed_at_any_moment_ends_the_same(
    children: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at ten chosen moments of one run, then on to the end: same record, same weights, same log."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Mid-epoch checkpoints at every step: resumption within an epoch is tried too.
    config = tiny("epochs=4", "label_smoothing=0.1", "class_weights=balanced", "accumulate=2", "batch_size=8")
    config = replace(config, checkpoint_minutes=0.0)
    assert in_child(children, config, store, tmp_path / "undisturbed", "never", 0) == 0
    killed = tmp_path / "killed"
    for moment, n in KILLS:
        assert in_child(children, config, store, killed, moment, n) == -9, (moment, n)
        assert json.loads((killed / "record.json").read_text())["status"] == "running"
        with pytest.raises(InputFileError, match="not finished"):
            load_run(killed)
    assert in_child(children, config, store, killed, "never", 0) == 0
    assert_same_run(tmp_path / "undisturbed", killed)
    validated = [[line for line in log_of(run) if "val_loss" in line] for run in (tmp_path / "undisturbed", killed)]
    assert validated[0] == validated[1]
    assert not (killed / "checkpoints").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("at", [3, 6])  # in the middle of an epoch, and at its end
def test_told_to_stop_saves_and_goes_on_to_the_same_end(
    store: Path, tmp_path: Path, number: signal.Signals, at: int
) -> None:
    config = tiny("epochs=3", "batch_size=16", "train_events=96", "label_smoothing=0.1")
    train(config, store, tmp_path / "undisturbed")

    def end_of_time(done: int, _: int) -> None:
        if done == at:
            os.kill(os.getpid(), number)

    with pytest.raises(StoppedEarly, match=f"after {at} updates"):
        train(config, store, tmp_path / "stopped", progress=end_of_time)
    train(config, store, tmp_path / "stopped")
    assert_same_run(tmp_path / "undisturbed", tmp_path / "stopped")
    assert signal.getsignal(number) in (signal.SIG_DFL, None)


def test_told_to_stop_in_the_last_validation_stops_too(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study must not go on with its next model; the run lacks only its last touches."""
    config, calls = tiny("epochs=2", "batch_size=16", "train_events=96"), []
    measure, score = engine.MEASURES["labels"]

    def end_of_time(prediction: EvalPrediction) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(prediction)

    monkeypatch.setitem(engine.MEASURES, "labels", (end_of_time, score))
    with pytest.raises(StoppedEarly, match="after 12 updates"):
        train(config, store, tmp_path / "stopped")
    train(config, store, tmp_path / "stopped")
    assert len(calls) == 2
    assert (tmp_path / "stopped" / "model.safetensors").is_file()


def test_a_signal_to_the_whole_job_does_not_take_the_readers(store: Path, tmp_path: Path) -> None:
    def end_of_time(done: int, _: int) -> None:
        for process in multiprocessing.active_children() if done == 2 else []:
            os.kill(process.pid or 0, signal.SIGTERM)
        if done == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    config = tiny("epochs=3", "batch_size=16", "train_events=96", "workers=1")
    with pytest.raises(StoppedEarly, match="after 4 updates"):
        train(config, store, tmp_path / "stopped", progress=end_of_time)


def test_killed_at_random_times_with_readers(
    children: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a reader process and whole-epoch checkpoints, killed by the clock, early stopping included."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    import deadly

    words = ("epochs=6", "patience=1", "optimizer.lr=0.02", "optimizer.schedule=constant", "workers=1")
    config = tiny(*words)
    began = time.monotonic()
    assert in_child(children, config, store, tmp_path / "undisturbed", "never", 0) == 0
    whole = time.monotonic() - began
    assert outcome(tmp_path / "undisturbed")["epochs"] < 6
    killed, chance = tmp_path / "killed", random.Random(5)
    for _ in range(2):
        child = children.Process(target=deadly.train_until, args=(config, store, killed, "never", 0))
        child.start()
        child.join(chance.uniform(0.3, 0.9) * whole)
        child.kill()
        child.join()
    assert in_child(children, config, store, killed, "never", 0) == 0
    assert_same_run(tmp_path / "undisturbed", killed)


# -- loading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy_of_run(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    run = tmp_path / "copy"
    run.mkdir()
    for file in finished[0].iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    return run


def test_missing_and_foreign_folders_are_refused(copy_of_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such folder"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match="nuadapt train"):
        load_run(tmp_path / "empty")
    (copy_of_run / "model.safetensors").unlink()
    with pytest.raises(InputFileError, match="weights file is missing"):
        load_run(copy_of_run)


def test_weights_that_do_not_fit_are_listed(copy_of_run: Path) -> None:
    weights = load_file(copy_of_run / "model.safetensors")
    weights["classifier.bias"] = torch.zeros(5)
    weights["stray"] = torch.zeros(1)
    del weights["classifier.weight"]
    save_file(weights, copy_of_run / "model.safetensors")
    with pytest.raises(InputFileError) as caught:
        load_run(copy_of_run)
    message = str(caught.value)
    assert f"{len(weights) - 2} tensors fit" in message
    assert "classifier.bias (5,) where the model has (3,)" in message
    assert "stray (1,)" in message
    assert "1 are missing: classifier.weight" in message


def test_damaged_files_are_refused(copy_of_run: Path) -> None:
    weights = copy_of_run / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputFileError, match="not a sound safetensors file"):
        load_run(copy_of_run)
    weights.write_bytes(whole)
    record = json.loads((copy_of_run / "record.json").read_text())
    (copy_of_run / "record.json").write_text(
        json.dumps({**record, "task": {"name": "pets", "classes": ["cat", "dog"]}})
    )
    with pytest.raises(ConfigError, match="a task needs classes"):
        load_run(copy_of_run)


def test_answers_do_not_depend_on_the_batch(finished: tuple[Path, Path]) -> None:
    model = load_run(finished[0], precision="float32")
    images = np.random.default_rng(1).random((5, 2, 32, 32)).astype(np.float32)
    together = model.posterior(images)
    np.testing.assert_allclose(
        np.concatenate([model.posterior(images[i : i + 1]) for i in range(5)]), together, atol=1e-6
    )
    assert model.parameters == model.record["parameters"]["total"]
    with pytest.raises(Exception, match="2, height, width"):
        model.posterior(images[:, :1])


def test_classes_of_ones_own_are_trained_and_recorded(make_store: MakeStore, tmp_path: Path) -> None:
    given = {"electron": {"where": {"nu_pdg": 12}}, "muon": {"title": "a muon neutrino", "where": {"nu_pdg": 14}}}
    (tmp_path / "leptons.yaml").write_text(yaml.safe_dump({"classes": given}))
    config = load_recipe("cnn-smoke", [*TINY, f"task={tmp_path / 'leptons.yaml'}", "epochs=1"])
    events = make_store(n=60)
    run = train(config, events, tmp_path / "run")
    model = load_run(run)
    assert (model.task.name, model.classes) == ("leptons", ("electron", "muon"))
    assert model.posterior(np.zeros((1, 2, 32, 32), dtype=np.float32)).shape == (1, 2)
    assert "a muon neutrino" in (run / "README.md").read_text()
    changed = {"electron": {"where": {"nu_pdg": 12}}, "muon": {"where": {"nu_pdg": [14, 16]}}}
    (tmp_path / "leptons.yaml").write_text(yaml.safe_dump({"classes": changed}))
    with pytest.raises(ConfigError, match="other classes"):
        train(config, events, run)


def test_validation_every_so_many_updates(store: Path, tmp_path: Path) -> None:
    config = tiny("epochs=2", "evaluate_steps=3", "patience=50")
    run = train(config, store, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = 2 * -(-128 // 16)
    assert [line["step"] for line in lines if "val_loss" in line] == [*range(3, steps, 3), steps]
    best = min((line for line in lines if "val_loss" in line), key=lambda line: line["val_loss"])
    record = json.loads((run / "record.json").read_text())
    assert record["best"]["val_loss"] == pytest.approx(best["val_loss"])
    assert record["best"]["epoch"] == pytest.approx(best["epoch"], abs=1e-3)

    for at in (7, 9):  # between two validations, and at one

        def end_of_time(done: int, _: int, at: int = at) -> None:
            if done == at:
                os.kill(os.getpid(), signal.SIGTERM)

        stopped = tmp_path / f"stopped-{at}"
        with pytest.raises(StoppedEarly, match=f"after {at} updates"):
            train(config, store, stopped, progress=end_of_time)
        assert outcome(train(config, store, stopped)) == outcome(run)


def test_checkpoints_appear_at_their_steps(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As published, validation and checkpoints every so many updates, both at the same."""
    kept: list[str] = []
    mark = RunFolder.mark

    def seen(folder: RunFolder, step: int) -> None:
        mark(folder, step)
        checkpoint = folder.latest()
        assert checkpoint is not None
        state = json.loads((checkpoint / "trainer_state.json").read_text())
        # Validation comes first, and what it found is in the checkpoint.
        validated = step if step == 16 else step - step % 3
        assert state["stateful_callbacks"]["Keeper"]["attributes"]["epochs"] == pytest.approx(validated / 8, abs=1e-3)
        kept.append(checkpoint.name)

    monkeypatch.setattr(RunFolder, "mark", seen)
    train(tiny("epochs=2", "evaluate_steps=3", "checkpoint_steps=3", "patience=50"), store, tmp_path / "run")
    assert kept == [f"checkpoint-{step}" for step in (3, 6, 8, 9, 12, 15, 16)]
