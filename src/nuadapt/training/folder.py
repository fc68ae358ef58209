"""The run folder while it is being written: what is complete, what is half, what to go on from.

``checkpoints/checkpoint-N`` holds the state after N updates and counts only with the file ``complete`` in it,
written last. ``checkpoints/best-N`` holds the weights with the lowest validation loss that the checkpoint knows of.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from nuadapt.errors import ConfigError, OutputError
from nuadapt.record import make_record, read_json, write_json
from nuadapt.training.config import TrainingConfig

_MARK = "complete"


class RunFolder:
    """Paths and states of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.log = path / "log.jsonl"

    @property
    def record(self) -> dict[str, Any] | None:
        """The run's record, None before the run starts."""
        at = self.path / "record.json"
        return dict(read_json(at)) if at.exists() else None

    @property
    def finished(self) -> bool:
        """All results are written."""
        record = self.record
        return record is not None and record.get("status") == "finished"

    def begin(self, config: TrainingConfig, fingerprint: str) -> None:
        """Start a new folder, or check that an existing one is of the same run.

        Raises:
            ConfigError: the folder was started with other settings or on other data.
            OutputError: the folder holds something else.
        """
        record = self.record
        if record is None:
            if self.path.exists() and any(self.path.iterdir()):
                raise OutputError("this folder holds something other than a run", where=self.path)
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            settings = yaml.safe_dump(config.as_dict(), sort_keys=False)
            (self.path / "config.yaml").write_text(settings, encoding="utf-8")
            more = {"status": "running", "of_result": config.of_result(), "data": {"fingerprint": fingerprint}}
            write_json(self.path / "record.json", make_record("train", config.as_dict(), **more))
            return
        if record.get("stage") != "train":
            raise OutputError("this folder holds something other than a training run", where=self.path)
        self._check_same(record, config, fingerprint)

    def _check_same(self, record: dict[str, Any], config: TrainingConfig, fingerprint: str) -> None:
        step = "Choose another folder with --out, or start again with the same settings and data"
        before, now = _flat(record["of_result"]), _flat(config.of_result())
        changed = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
        if changed:
            shown = ", ".join(f"{n} = {now.get(n)} (was {before.get(n)})" for n in changed[:5])
            raise ConfigError(f"this run was started with other settings: {shown}", where=self.path, next_step=step)
        if record["data"]["fingerprint"] != fingerprint:
            raise ConfigError("this run has other data or other classes", where=self.path, next_step=step)

    def mark(self, step: int) -> None:
        """Declare the checkpoint of ``step`` complete, once its files are on disk."""
        folder = self.checkpoints / f"checkpoint-{step}"
        for file in sorted(folder.iterdir()):
            _sync(file)
        (folder / _MARK).touch()
        _sync(folder / _MARK)
        _sync(folder)

    def latest(self) -> Path | None:
        """The complete checkpoint with the most updates, None if there is none."""
        complete = [p for p in self.checkpoints.glob("checkpoint-*") if (p / _MARK).exists()]
        return max(complete, key=lambda p: int(p.name.rpartition("-")[2]), default=None)

    def best(self, step: int) -> Path:
        """Where the best weights of ``step`` stand."""
        return self.checkpoints / f"best-{step}"

    def tidy(self, best_step: int | None) -> None:
        """Remove everything but the latest complete checkpoint and the best weights that it knows of."""
        keep = {self.latest(), self.best(best_step) if best_step is not None else None}
        for path in self.checkpoints.iterdir():
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def cut_log(self, step: int) -> None:
        """Remove log lines of updates after ``step``: they will be made again. A half-written last line goes too."""
        kept = []
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []:
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:
                continue
        beside = self.log.with_name(".log.jsonl")
        beside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(beside, self.log)

    def add_log(self, line: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def _flat(tree: dict[str, Any], head: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{head}{name}.") if isinstance(value, dict) else {head + name: value}
    return flat


def _sync(path: Path) -> None:
    """Ask the operating system to put a file or folder on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
