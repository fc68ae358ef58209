"""Events of a MasterAnaDev tuple as batches with clouds, a bounded number of events at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, InputFileError
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.cloud import Clouds, TokenType, features_of_tokens
from nuadapt.sources.minerva import branches, tree
from nuadapt.sources.minerva.clouds import clouds_of, diphoton_mass
from nuadapt.sources.minerva.objects import (
    CHARGED_HYPOTHESES,
    Finder,
    Objects,
    count,
    every,
    is_good,
    known_vertex,
    merge_excess,
)
from nuadapt.sources.minerva.options import BEAM_ANGLE, MinervaOptions
from nuadapt.sources.minerva.truth import truth_of
from nuadapt.sources.reading import ReadReport

Array = npt.NDArray[Any]
_MEV, _MM = 1e-3, 0.1  # GeV, cm
#: Event-level energies: our column, its branch.
_ENERGIES = {
    "muon_fuzz_energy": "muon_fuzz_energy",
    "muon_iso_blobs_energy": "muon_iso_blobs_energy",
    "hadron_recoil_energy": "MasterAnaDev_hadron_recoil",
    "passive_recoil_id": f"{branches.PASSIVE}id",
    "passive_recoil_od": f"{branches.PASSIVE}od",
    "blob_recoil_energy": "blob_recoil_E",
}


def read(path: Path, options: MinervaOptions, report: ReadReport) -> Iterator[EventBatch]:
    """Events of one file in the order of its tree; with truth where the tree has it.

    Nothing is left out unless ``options`` names interaction types. What is absent or broken is counted in ``report``.

    Raises:
        InputFileError: not a ROOT file, damaged, no such tree, missing branches, no events.
        ConfigError: interaction types are asked for in a file without truth.
    """
    return gathered(steps(path, options), path, report)


def gathered(parts: Iterable[tuple[ReadReport, EventBatch]], path: Path, report: ReadReport) -> Iterator[EventBatch]:
    """The batches of the steps of one file; what each step counted is added once its events were taken."""
    keys: list[Array] = []
    for counted, batch in parts:
        if len(batch):
            keys.append(np.stack([batch[name].astype(np.int64) for name in ("run", "subrun", "event")], axis=1))
            yield batch
        report.add(counted)
    if keys:
        _note_repeated(np.concatenate(keys), path, report)


def steps(path: Path, options: MinervaOptions, turn: slice = slice(None)) -> Iterator[tuple[ReadReport, EventBatch]]:
    """Steps of one file, of all those that ``turn`` selects: what was counted, and the events (perhaps none).

    Raises:
        NuadaptError: as :func:`read`.
    """
    path = Path(path)
    with tree.opened(path) as file:
        events = tree.tree_of(file, options.tree, path)
        with tree.damage_explained(path):
            there = [str(key) for key in events.keys(recursive=False)]
        truth = options.truth == "auto" and branches.has_truth(there)
        names = branches.needed(there, truth=truth, weight=options.weight, where=path)
        if options.interaction_types and not truth:
            raise ConfigError("interaction types cannot be chosen in events without truth", where=path)
        if not events.num_entries:
            raise InputFileError(f"the tree '{options.tree}' holds no events", where=path)
        pot = tree.pot_used(file, path)
        for chunk in tree.chunks(events, names, options.step, path, turn):
            report = ReadReport()
            batch = batch_of(chunk, path, options, report, truth=truth)
            if pot is not None:  # of a file that breaks off, the share of the events that were read
                report.exposure[tree.url_of(path)] = pot * chunk.n / events.num_entries
            yield report, batch


def _note_repeated(keys: Array, path: Path, report: ReadReport) -> None:
    repeated = len(keys) - len(np.unique(keys, axis=0))
    if repeated:
        report.note(
            f"{path.name}: {repeated} events share run, subrun and event number with an earlier one of the file; "
            "the column 'entry' tells them apart."
        )


def batch_of(chunk: tree.Chunk, path: Path, options: MinervaOptions, report: ReadReport, *, truth: bool) -> EventBatch:
    """The events of one chunk."""
    angle = BEAM_ANGLE if options.frame == "beam" else 0.0
    clouds, features = cloud_of(chunk, options, report)
    prefix, number = ("mc", "mc_nthEvtInFile") if truth else ("ev", "ev_gate")
    columns: dict[str, Array] = {
        "run": chunk[f"{prefix}_run"],
        "subrun": chunk[f"{prefix}_subrun"],
        "event": chunk[number],
        "source": np.zeros(chunk.n, dtype="i2"),
        **features,
    }
    if options.weight:
        columns["weight"] = _weights(chunk.floats(options.weight), report)
    particles: Particles | None = None
    if truth:
        more, particles = truth_of(chunk, angle, report)
        columns |= more
    batch = EventBatch.make(columns, (tree.url_of(path),), particles, cloud=clouds, has_truth=truth)
    if options.interaction_types:
        keep = np.isin(chunk["mc_intType"], options.interaction_types)
        wanted = ", ".join(str(t) for t in options.interaction_types)
        report.left_out[f"interaction type not {wanted}"] += int((~keep).sum())
        batch = batch.select(keep)
    report.n_read += len(batch)
    return batch


def _weights(values: Array, report: ReadReport) -> Array:
    """Event weights (n,). An event of unknown weight stays and weighs 0: it enters no sum, where 1 would be a guess."""
    good = is_good(values)
    count(report.broken, "weight unknown, so it is 0: broken value", ~good)
    return np.where(good, values, 0.0)


def cloud_of(chunk: tree.Chunk, options: MinervaOptions, report: ReadReport) -> tuple[Clouds, dict[str, Array]]:
    """Tokens of a chunk in the order muon, photons, blobs, prongs, and the feature columns that come with them."""
    find = Finder(chunk, options, report)
    muons, photons, blobs, (prongs, hypotheses) = find.muons(), find.photons(), find.blobs(), find.prongs()
    few_blobs = merge_excess(blobs, options.max_blobs, TokenType.MERGED_BLOBS, options.merging)
    few_prongs = merge_excess(prongs, options.max_prongs, TokenType.MERGED_PRONGS, options.merging)
    clouds = clouds_of(Objects.join([muons, photons, few_blobs, few_prongs]), chunk.n, options.frame)
    count(report.absent, "any object", np.diff(clouds.offsets) == 0)
    all_events, all_hypotheses = find.prong_hypotheses()
    features: dict[str, Array] = {
        "entry": chunk.first + np.arange(chunk.n),
        "n_michel_tags": np.maximum(chunk.whole("improved_nmichel", -1), -1),
        "diphoton_mass": diphoton_mass(photons, chunk.n),
        "n_charged_prongs": _per_event(prongs.event, hypotheses, chunk.n),
        "n_muons_found": find.muon_found(),
        "n_charged_prongs_found": _per_event(all_events, all_hypotheses, chunk.n),
        **features_of_tokens(clouds),
        **_energies(chunk, find),
        **_vertex(chunk, report),
    }
    return clouds, features


def _per_event(event: Array, hypotheses: Array, n: int) -> Array:
    """How many charged hypotheses each event has, (n,)."""
    return np.bincount(event[np.isin(hypotheses, CHARGED_HYPOTHESES)], minlength=n)


def _energies(chunk: tree.Chunk, find: Finder) -> dict[str, Array]:
    """Event-level energies (n,) in GeV; NaN where the file has a sentinel, another negative or a broken value."""
    found = {}
    for ours, branch in _ENERGIES.items():
        values = find.known(chunk.floats(branch), ours)
        count(find.report.broken, f"{ours} unknown: negative", values < 0)
        found[ours] = np.where(values >= 0, values * _MEV, np.nan)
    return found


def _vertex(chunk: tree.Chunk, report: ReadReport) -> dict[str, Array]:
    """Reconstructed vertex in cm; NaN as a whole where it is unknown."""
    xyz = known_vertex(chunk) * _MM
    absent = every(tree.is_sentinel(chunk.four("vtx")[:, :3]))
    count(report.absent, "reconstructed vertex", absent)
    count(report.broken, "reconstructed vertex unknown: broken value", np.isnan(xyz[:, 0]) & ~absent)
    return {f"reco_vertex_{axis}": xyz[:, i] for i, axis in enumerate("xyz")}
