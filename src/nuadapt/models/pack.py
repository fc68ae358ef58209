"""Make a run folder small enough to be passed on: weights in half precision, without logs and checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from nuadapt.errors import refuse_existing
from nuadapt.models.run import load_run, read_tensors, run_folder
from nuadapt.record import read_json, write_json

_KEPT = ("README.md", "config.yaml", "log.jsonl")
_STEP = "Give the folder of a finished 'nuadapt train' run"


def pack(run: Path, out: Path) -> Path:
    """Copy a finished run to ``out`` with its weights in float16; the packed model is loaded once as a check.

    A float16 weight is off by at most 5e-4 of itself. The packed model has an identity of its own, so it is
    calibrated anew.

    Raises:
        InputFileError: not a finished run.
        OutputError: ``out`` exists.
    """
    run = run_folder(run)
    refuse_existing(out)
    (out / "adapter").mkdir(parents=True)
    for file in [run / "model.safetensors", *sorted(run.glob("adapter/*.safetensors"))]:
        tensors = {
            n: t.half() if t.dtype == torch.float32 else t for n, t in read_tensors(file, next_step=_STEP).items()
        }
        save_file(tensors, out / file.relative_to(run), metadata={"format": "pt"})
    for file in [*(run / name for name in _KEPT), *sorted(run.glob("adapter/*.json"))]:
        if file.is_file():
            shutil.copyfile(file, out / file.relative_to(run))
    if not any((out / "adapter").iterdir()):
        (out / "adapter").rmdir()
    write_json(out / "record.json", {**read_json(run / "record.json"), "packed": "float16"})
    load_run(out)
    return out
