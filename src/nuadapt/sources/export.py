"""Write stored events in the formats of other tools."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import DataError, OutputError, refuse_existing
from nuadapt.events.batch import EventBatch
from nuadapt.events.pixelmap import GreyTransform
from nuadapt.events.store import EventStore
from nuadapt.events.truth import FLAVOUR_CLASSES, NO_LABEL
from nuadapt.record import write_json
from nuadapt.sources import png_pairs
from nuadapt.sources.reading import Progress

#: Text of _pid.txt by label, in the order of FLAVOUR_CLASSES.
PID_OF_CLASS = {"nue_cc": "nuecc", "numu_cc": "numucc", "nc": "nc"}
_BATCH = 64


@dataclass(slots=True)
class ExportReport:
    """What was written: events, and how many had no class of the layout and were skipped."""

    n_written: int = 0
    n_skipped: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        skipped = f"; {self.n_skipped} events outside the three classes were skipped" if self.n_skipped else ""
        return f"{self.n_written} events written{skipped}"


def export_png_pairs(
    store: EventStore, out: Path, grey: GreyTransform | None = None, progress: Progress | None = None
) -> ExportReport:
    """Write ``<id>/<id>_xz.png``, ``_yz.png``, ``_pid.txt`` per event and a ``manifest.json`` into a new folder.

    Grey level = round(255 * grey(value)). Events with truth but outside the three classes (nu_tau CC) have no
    place in this layout: they are skipped and counted. Recorded data gets no ``_pid.txt``. Each event appears
    at once with all its files; a folder without a manifest is an export that did not finish.

    Raises:
        DataError: no xz and yz maps in the store, or two events with one key.
        OutputError: ``out`` exists or is not writable.
    """
    out, grey, report = Path(out), grey or GreyTransform(), ExportReport()
    spec = store.layout.map_spec
    if spec is None or spec.views != png_pairs.VIEWS:
        has = f"views {spec.views}" if spec else "no pixel maps"
        raise DataError(f"these events have {has}", where=store.path, expected=f"pixel maps of views {png_pairs.VIEWS}")
    ids = _ids(store)
    refuse_existing(out)
    try:
        out.mkdir(parents=True)
        done = 0
        for batch in store.batches(_BATCH):
            _write_batch(batch, ids[done : done + len(batch)], out, grey, report=report)
            done += len(batch)
            if progress is not None:
                progress(done, len(ids))
        write_json(out / png_pairs.MANIFEST, _manifest(store, grey, report))
    except OSError as error:
        raise OutputError(
            f"cannot write here ({error})",
            where=out,
            next_step="Free some space or choose a folder that you may write to",
        ) from error
    return report


def _ids(store: EventStore) -> list[str]:
    """Id of each event: the event number where that is the whole key, else all parts of the key."""
    run, subrun, event, source = (store.column(name) for name in ("run", "subrun", "event", "source"))
    if len(store.sources) < 2 and not run.any() and not subrun.any() and not (event < 0).any():
        ids = [str(number) for number in event]
    else:
        prefix = [f"f{s}_" for s in source] if len(store.sources) > 1 else [""] * len(event)
        ids = [f"{p}r{r}_s{s}_e{e}" for p, r, s, e in zip(prefix, run, subrun, event, strict=True)]
    if len(set(ids)) < len(ids):
        raise DataError(f"{len(ids) - len(set(ids))} events share their key with another event", where=store.path)
    return ids


def _write_batch(
    batch: EventBatch, ids: Sequence[str], out: Path, grey: GreyTransform, *, report: ExportReport
) -> None:
    maps, labels = batch.pixelmap, batch.label
    if maps is None:
        raise DataError("these events have no pixel maps", where=out)
    for i, name in enumerate(ids):
        label = int(labels[i])
        if batch.has_truth and label == NO_LABEL:
            report.n_skipped += 1
            continue
        levels = np.rint(255 * grey(maps.dense(i), maps.spec.value_unit)).astype(np.uint8)  # (2, rows, columns)
        pid = PID_OF_CLASS[FLAVOUR_CLASSES[label]] if batch.has_truth else None
        _write_event(out, name, levels, pid)
        report.n_written += 1
        report.events.append({"id": name} | {k: int(batch[k][i]) for k in ("run", "subrun", "event", "source")})


def _write_event(out: Path, name: str, levels: npt.NDArray[np.uint8], pid: str | None) -> None:
    """All files of one event, moved into place together."""
    beside = out / f".{name}.{os.getpid()}"
    beside.mkdir()
    try:
        for view, image in zip(png_pairs.VIEWS, levels, strict=True):
            png_pairs.write_grey(beside / f"{name}_{view}.png", image)
        if pid is not None:
            (beside / f"{name}_pid.txt").write_text(pid + "\n", encoding="ascii")
        os.replace(beside, out / name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # nothing there after the move


def _manifest(store: EventStore, grey: GreyTransform, report: ExportReport) -> dict[str, Any]:
    spec = store.layout.map_spec
    return {
        "format": png_pairs.MANIFEST_FORMAT,
        "version": 1,
        "spec": spec.as_dict() if spec else None,
        "grey": dataclasses.asdict(grey),
        "sources": list(store.sources),
        "skipped": report.n_skipped,
        "events": report.events,
    }
