"""Events of a MasterAnaDev tuple as batches with clouds, a bounded number of events at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nuadapt.errors import ConfigError, InputFileError
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.events.cloud import Clouds, TokenType, features_of_tokens
from nuadapt.sources.minerva import branches, tree
from nuadapt.sources.minerva.clouds import clouds_of, diphoton_mass
from nuadapt.sources.minerva.objects import CHARGED_HYPOTHESES, Finder, Objects, every, is_good, merge_excess, vectors
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

    Nothing is left out unless ``options`` names interaction types. Broken values are counted in ``report.broken``.

    Raises:
        InputFileError: not a ROOT file, damaged, no such tree, missing branches, no events.
        ConfigError: interaction types are asked for in a file without truth.
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
        keys: list[Array] = []
        for chunk in tree.chunks(events, names, options.step, path):
            batch = batch_of(chunk, path, options, report, truth=truth)
            keys.append(np.stack([batch[name].astype(np.int64) for name in ("run", "subrun", "event")], axis=1))
            if len(batch):
                yield batch
    _note_repeated(np.concatenate(keys), path, report)


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
    clouds, features = cloud_of(chunk, options, report.broken)
    prefix, number = ("mc", "mc_nthEvtInFile") if truth else ("ev", "ev_gate")
    columns: dict[str, Array] = {
        "run": chunk[f"{prefix}_run"],
        "subrun": chunk[f"{prefix}_subrun"],
        "event": chunk[number],
        "source": np.zeros(chunk.n, dtype="i2"),
        **features,
    }
    if options.weight:
        columns["weight"] = chunk.floats(options.weight)
    particles: Particles | None = None
    if truth:
        more, particles = truth_of(chunk, angle, report.broken)
        columns |= more
    batch = EventBatch.make(columns, (tree.url_of(path),), particles, cloud=clouds, has_truth=truth)
    if options.interaction_types:
        keep = np.isin(chunk["mc_intType"], options.interaction_types)
        wanted = ", ".join(str(t) for t in options.interaction_types)
        report.left_out[f"interaction type not {wanted}"] += int((~keep).sum())
        batch = batch.select(keep)
    report.n_read += len(batch)
    return batch


def cloud_of(chunk: tree.Chunk, options: MinervaOptions, broken: Counter[str]) -> tuple[Clouds, dict[str, Array]]:
    """Tokens of a chunk in the order muon, photons, blobs, prongs, and the feature columns that come with them."""
    find = Finder(chunk, options, broken)
    muons, photons, blobs, (prongs, hypotheses) = find.muons(), find.photons(), find.blobs(), find.prongs()
    few_blobs = merge_excess(blobs, options.max_blobs, TokenType.MERGED_BLOBS, options.merging)
    few_prongs = merge_excess(prongs, options.max_prongs, TokenType.MERGED_PRONGS, options.merging)
    clouds = clouds_of(Objects.join([muons, photons, few_blobs, few_prongs]), chunk.n, options.frame)
    all_events, all_hypotheses = find.prong_hypotheses()
    features: dict[str, Array] = {
        "entry": chunk.first + np.arange(chunk.n),
        "n_michel_tags": np.maximum(chunk["improved_nmichel"], -1),
        "diphoton_mass": diphoton_mass(photons, chunk.n),
        "n_charged_prongs": _per_event(prongs.event, hypotheses, chunk.n),
        "n_muons_found": find.muon_found(),
        "n_charged_prongs_found": _per_event(all_events, all_hypotheses, chunk.n),
        **features_of_tokens(clouds),
        **_energies(chunk, find),
        **_vertex(chunk),
    }
    return clouds, features


def _per_event(event: Array, hypotheses: Array, n: int) -> Array:
    """How many charged hypotheses each event has, (n,)."""
    return np.bincount(event[np.isin(hypotheses, CHARGED_HYPOTHESES)], minlength=n)


def _energies(chunk: tree.Chunk, find: Finder) -> dict[str, Array]:
    """Event-level energies (n,) in GeV; NaN where the file has a sentinel, another negative or a broken value."""
    found = {}
    for ours, branch in _ENERGIES.items():
        values = find.known(chunk.floats(branch), f"{ours} unknown: broken value")
        found[ours] = np.where(values >= 0, values * _MEV, np.nan)
    return found


def _vertex(chunk: tree.Chunk) -> dict[str, Array]:
    """Reconstructed vertex in cm; NaN as a whole where it is unknown."""
    xyz = vectors(chunk, "vtx")[:, :3]
    xyz = np.where(every(is_good(xyz))[:, None], xyz * _MM, np.nan)
    return {f"reco_vertex_{axis}": xyz[:, i] for i, axis in enumerate("xyz")}
