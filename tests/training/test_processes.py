"""Several processes on one machine, started as docs/adapting.md says, end as one process with the whole batch does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import yaml
from safetensors.torch import load_file
from torch.distributed.fsdp import fully_shard

from nuadapt.training import fit
from nuadapt.training.config import load_recipe
from nuadapt.training.fit import train

VISION = {"image_size": 32, "patch_size": 8, "stem": [[4, 0], [8, 0], [8, 1]], "hidden_size": 32}
VISION |= {"intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
#: Without dropout and batch statistics, so that it does not matter which process an event goes to.
PRESET = {"family": "vit", "representation": "pixelmap", "vision": VISION, "occupied_above": 0.05}
PRESET |= {"head_width": 16, "dropout": 0.0, "auxiliary_weight": 1.0}
WORDS = ["input.coarsen=1", "precision=float32", "log_every=1", "epochs=2", "optimizer.warmup_epochs=0", "workers=0"]


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_end_as_one(make_store: Callable[..., Path], tmp_path: Path) -> None:
    store = make_store(n=80, side=32)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PRESET))
    (tmp_path / "recipe.yaml").write_text("flips: true\n")
    words = [f"preset={tmp_path / 'tiny.yaml'}", *WORDS]
    one = train(load_recipe(tmp_path / "recipe.yaml", [*words, "batch_size=16"]), store, tmp_path / "one")

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "nuadapt.cli", "train", str(tmp_path / "recipe.yaml"), "--data", str(store), *words]
    two = tmp_path / "two"
    done = subprocess.run(
        [*launch, *command, "batch_size=8", "--out", str(two)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())
    logs = [log_of(run) for run in (one, two)]
    assert [line["step"] for line in logs[0]] == [line["step"] for line in logs[1]]
    for name in ("loss", "val_loss"):
        single, shared = ([line[name] for line in log if name in line] for log in logs)
        assert shared == pytest.approx(single, rel=2e-3)
        assert len(shared) >= 2
    weights = [load_file(run / "model.safetensors") for run in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=2e-3, rtol=1e-2)


def test_weights_that_are_spread_over_processes_are_finished_in_a_model_of_their_own(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(n=40, side=32)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PRESET))
    (tmp_path / "recipe.yaml").write_text("flips: true\n")
    config = load_recipe(tmp_path / "recipe.yaml", [f"preset={tmp_path / 'tiny.yaml'}", *WORDS, "batch_size=16"])
    plain = train(config, store, tmp_path / "plain")
    run = fit._run

    def run_and_spread(*args: Any) -> None:
        run(*args)
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        fully_shard(args[4], mesh=dist.init_device_mesh("cpu", (1,)))

    monkeypatch.setattr(fit, "_run", run_and_spread)
    try:
        spread = train(config, store, tmp_path / "spread")
    finally:
        dist.destroy_process_group()
    weights = [load_file(folder / "model.safetensors") for folder in (plain, spread)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=0, rtol=0)
