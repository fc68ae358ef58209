"""The stage that explains an evaluation: what it writes, that its controls are controls, and that it can be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError, InputFileError, OutputError
from nuadapt.evaluation.bootstrap import BootstrapConfig
from nuadapt.evaluation.evaluate import FILES, EvaluationConfig, evaluate_model
from nuadapt.evaluation.explain.attribution import AttributionConfig
from nuadapt.evaluation.explain.deletion import EvidenceConfig
from nuadapt.evaluation.explain.files import (
    CONFIG,
    CURVES,
    EVIDENCE,
    EXPLAINED,
    FAITHFULNESS,
    REASONS,
    read_explained,
    write_explained,
)
from nuadapt.evaluation.explain.image_claims import claims_of_images
from nuadapt.evaluation.explain.stage import ExplainConfig, explain
from nuadapt.evaluation.gallery import read_gallery
from nuadapt.evaluation.predict import PredictConfig
from nuadapt.evaluation.predictions import Predictions
from nuadapt.events.pixelmap import MapSpec
from nuadapt.events.splits import assign_splits, hash_keys
from nuadapt.events.store import EventStore, EventWriter, Layout
from nuadapt.events.tasks import load_task
from nuadapt.events.truth import FLAVOUR_CLASSES
from nuadapt.models.inputs import PixelInput
from nuadapt.models.run import LoadedModel

FEW = BootstrapConfig(resamples=10)
PREDICT = PredictConfig(batch_size=5)
CONFIG_ = ExplainConfig(
    reasons=12, evidence=3, test=EvidenceConfig(points=4, attribution=AttributionConfig(steps=3), bootstrap=FEW)
)
MUON, ELECTRON, NEITHER = (
    "A muon-like track and no shower.",
    "A shower attached to the vertex and no long track.",
    "No shower.",
)
SAYS = dict(zip(("nue_cc", "numu_cc", "nc"), (ELECTRON, MUON, NEITHER), strict=True))


class Looking(nn.Module):
    """Scores from the charge in three parts of the first view."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.8, -0.5, 0.3]))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        parts = torch.stack([part.mean((1, 2)) for part in pixels[:, 0].tensor_split(3, dim=2)], dim=1)
        return {"logits": 20 * parts * self.weight}


class Talking(Looking):
    """Says what is typical of the class, and remembers what it was asked."""

    def __init__(self, patience: int = 1000) -> None:
        super().__init__()
        self.asked: list[tuple[np.ndarray, list[int]]] = []
        self.patience = patience

    def reasons(self, pixels: Tensor, labels: Tensor) -> list[str]:
        if len(self.asked) >= self.patience:
            raise KeyboardInterrupt
        self.asked.append((pixels.numpy().copy(), labels.tolist()))
        return [SAYS[FLAVOUR_CLASSES[i]] for i in labels]


def loaded(network: nn.Module, coarsen: int = 1) -> LoadedModel:
    network.eval()
    network.requires_grad_(False)
    return LoadedModel(
        network, "stub", load_task("flavour"), PixelInput(("xz", "yz"), coarsen), {"stage": "train"}, False
    )


def make_store(synthetic: ModuleType, path: Path, n: int = 50, **how: Any) -> Path:
    """Toy events with visible truth: showers at the vertex and long muons where the class has them."""
    batch = synthetic.make_batch(n, 5, how.pop("spec", MapSpec(shape=(48, 48))), **how)
    if batch.has_truth:
        label = batch.label
        batch["n_tracks"][:], batch["n_michel"][:], batch["map_fraction"][:] = 1, 0, 1.0
        batch["deposited_energy"][:] = 0.05
        batch["n_showers"][:] = label == 0
        batch["shower_energy"][:] = np.where(label == 0, 0.6, np.nan)
        batch["shower_gap"][:] = np.where(label == 0, 0.1, np.nan)
        batch["muon_track_length"][:] = np.where(label == 1, 150.0, np.nan)
    hashes = hash_keys(batch["run"], batch["subrun"], batch["event"], batch["source"], batch.sources)
    with EventWriter.create(path, Layout.of(batch), {"stage": "toy"}) as writer:
        writer.append(batch)
        writer.finish(assign_splits(hashes, batch.label, (0.4, 0.1, 0.5)))
    return path


def rows_in(store: Path, split: str = "test") -> np.ndarray:
    with EventStore(store) as events:
        return events.rows_of(split)


def evaluated(store: Path, out: Path, coarsen: int = 1, split: str = "test", input_coarsen: int = 1) -> Path:
    config = EvaluationConfig(split, PredictConfig(coarsen, batch_size=5), FEW)
    evaluate_model(loaded(Looking(), input_coarsen), store, out, config)
    return out


@pytest.fixture(scope="module")
def store(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(synthetic, tmp_path_factory.mktemp("store") / "d.h5")


@pytest.fixture(scope="module")
def evaluation(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(store, tmp_path_factory.mktemp("evaluation") / "e")


@pytest.fixture
def fresh(evaluation: Path, tmp_path: Path) -> Path:
    """The evaluation, not yet explained."""
    return Path(shutil.copytree(evaluation, tmp_path / "e"))


def run(store: Path, out: Path, network: nn.Module, config: ExplainConfig = CONFIG_) -> Path:
    explain(loaded(network), store, out, config, PREDICT, rows=rows_in(store))
    return out


@pytest.fixture(scope="module")
def talked(store: Path, evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Talking, Path]:
    """A model that gives reasons, and the evaluation explained by it."""
    network = Talking()
    out = Path(shutil.copytree(evaluation, tmp_path_factory.mktemp("talked") / "e"))
    return network, run(store, out, network)


def test_everything_is_written_and_agrees_with_the_evaluation(store: Path, talked: tuple[Talking, Path]) -> None:
    out = talked[1]
    new = {CONFIG, FAITHFULNESS, REASONS, EVIDENCE, CURVES, EXPLAINED}
    assert {p.name for p in out.iterdir()} == {*FILES, *new}
    table, told = Predictions.read(out / "predictions.parquet"), Predictions.read(out / REASONS)
    lowest = np.sort(table.hashes())[:12]
    assert set(told.hashes().tolist()) == set(lowest.tolist())
    assert told.reason is not None
    assert [SAYS[FLAVOUR_CLASSES[i]] for i in told.label] == told.reason.tolist()
    found = json.loads((out / FAITHFULNESS).read_text())
    assert (found["n_events"], found["checked_against"]) == (12, "visible truth")
    # Every reason speaks of a shower, which only events of the first class have.
    says_shower, has_shower = told.label == 0, told.truth == 0
    right = int((says_shower == has_shower).sum())
    shower = found["run"]["per_type"]["shower"]
    assert (shower["n_stated"], shower["n_undecided"], shower["n_right"]) == (12, 0, right)
    assert len(found["examples"]) == 12
    assert found["examples"][0]["run"] == told.reason[0]
    evidence = json.loads((out / EVIDENCE).read_text())
    assert evidence["n_events"] == 3
    assert json.loads((out / CONFIG).read_text())["reasons"] == 12


def test_gallery_events_have_reason_claims_and_evidence(store: Path, talked: tuple[Talking, Path]) -> None:
    out = talked[1]
    gallery, explained = read_gallery(out / "gallery.npz"), read_explained(out / EXPLAINED)
    assert explained.evidence.shape == (len(gallery), 2, 48, 48)
    assert (explained.coarsen, explained.judged_by) == (1, "visible truth")
    assert len(gallery) > 3
    verdicts = set()
    for index, (shown, event) in enumerate(zip(gallery.events, explained.events, strict=True)):
        assert (event["key"], event["target"]) == (shown["key"], shown["label"])
        assert event["reason"] == SAYS[shown["label"]]
        assert not explained.evidence[index][gallery.maps.dense(index) == 0].any()
        assert np.abs(explained.evidence[index][0]).max() > 0
        claims = {c["claim"]: (c["value"], c["verdict"]) for c in event["claims"]}
        there = "present" if shown["truth"] == "nue_cc" else "absent"
        said = "present" if shown["label"] == "nue_cc" else "absent"
        assert claims["shower"] == (said, "supported" if said == there else "contradicted")
        verdicts |= {v for _, v in claims.values()}
        assert event["contradicts_label"] is False
    assert {"supported", "contradicted"} <= verdicts


def test_shuffled_images_are_of_others_and_forced_labels_are_wrong(store: Path, talked: tuple[Talking, Path]) -> None:
    network, out = talked
    told = Predictions.read(out / REASONS)
    asked = network.asked[1:]  # the first question is about the gallery
    own, others, forced = ([a for part in asked[i::3] for a in part[0]] for i in range(3))
    labels, same_labels, wrong = (np.concatenate([part[1] for part in asked[i::3]]) for i in range(3))
    assert len(own) == len(others) == len(forced) == 12
    np.testing.assert_array_equal(labels, told.label)
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_array_equal(np.stack(own), np.stack(forced))
    assert not any(np.array_equal(a, b) for a, b in zip(own, others, strict=True))
    assert {a.tobytes() for a in own} == {a.tobytes() for a in others}  # each image is shown once
    assert not (wrong == told.label).any()
    assert not (wrong == told.truth).any()
    assert (told.label != told.truth).any()


def test_a_second_call_does_nothing_and_other_settings_are_refused(store: Path, talked: tuple[Talking, Path]) -> None:
    out = talked[1]
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    silent = Talking(patience=0)
    run(store, out, silent)
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    with pytest.raises(OutputError, match="with other settings"):
        run(store, out, silent, ExplainConfig(reasons=5))


def test_a_killed_call_is_resumed(store: Path, fresh: Path, talked: tuple[Talking, Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(store, fresh, Talking(patience=6))  # dies in the second batch
    assert not (fresh / FAITHFULNESS).exists()
    assert not (fresh / REASONS).exists()
    rest = Talking()
    run(store, fresh, rest)
    assert len(rest.asked) == 2 * 3  # neither the gallery nor the first batch is asked again
    for name in (FAITHFULNESS, EVIDENCE, EXPLAINED, REASONS):
        assert (fresh / name).read_bytes() == (talked[1] / name).read_bytes()
    assert {p.name for p in fresh.iterdir()} == {p.name for p in talked[1].iterdir()}


def test_a_model_without_reasons_has_evidence_only(store: Path, fresh: Path) -> None:
    run(store, fresh, Looking())
    assert {p.name for p in fresh.iterdir()} == {*FILES, CONFIG, EVIDENCE, CURVES, EXPLAINED}
    assert all(set(event) == {"key", "target"} for event in read_explained(fresh / EXPLAINED).events)


class Drawn(Talking):
    """Reads its images through something that has no gradient, as chat models do."""

    has_pixel_gradient = False

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return super().forward(torch.from_numpy(pixels.detach().numpy().copy()))


def test_a_model_without_pixel_gradient_is_explained_by_occlusion(store: Path, fresh: Path) -> None:
    run(store, fresh, Drawn())
    assert json.loads((fresh / CONFIG).read_text())["test"]["methods"] == ["occlusion"]
    assert "occlusion" in json.loads((fresh / EVIDENCE).read_text())["deletion"]
    assert (fresh / FAITHFULNESS).is_file()


def test_recorded_data_are_judged_by_their_images(synthetic: ModuleType, tmp_path: Path) -> None:
    store = make_store(synthetic, tmp_path / "d.h5", 12, spec=MapSpec(shape=(160, 160)), has_truth=False)
    out = evaluated(store, tmp_path / "e", split="all")
    explain(loaded(Talking()), store, out, CONFIG_, PREDICT, rows=rows_in(store, "all"))
    found = json.loads((out / FAITHFULNESS).read_text())
    assert found["checked_against"] == read_explained(out / EXPLAINED).judged_by == "features of the images"
    with EventStore(store) as events:
        maps = events.read(slice(0, 12)).pixelmap
    assert maps is not None
    counted = [c.shower is not None for c in claims_of_images(maps)]
    assert 0 < sum(counted) == 12 - found["run"]["per_type"]["shower"]["n_undecided"]


def test_grey_pictures_without_truth_leave_claims_undecided(synthetic: ModuleType, tmp_path: Path) -> None:
    spec = MapSpec(shape=(48, 48), value_unit="grey")
    store = make_store(synthetic, tmp_path / "d.h5", 8, spec=spec, has_truth=False)
    out = evaluated(store, tmp_path / "e", split="all")
    explain(loaded(Talking()), store, out, CONFIG_, PREDICT, rows=rows_in(store, "all"))
    overall = json.loads((out / FAITHFULNESS).read_text())["run"]["overall"]
    assert overall["n_stated"] == overall["n_undecided"] > 0
    claims = [c["verdict"] for e in read_explained(out / EXPLAINED).events for c in e["claims"]]
    assert set(claims) == {"undecided"}


@pytest.mark.parametrize(("coarsen", "of_input"), [(2, 1), (1, 3), (2, 3)])
def test_evidence_has_the_resolution_of_the_model(store: Path, tmp_path: Path, coarsen: int, of_input: int) -> None:
    out = evaluated(store, tmp_path / "e", coarsen, input_coarsen=of_input)
    predict = PredictConfig(coarsen, batch_size=5)
    explain(loaded(Looking(), of_input), store, out, CONFIG_, predict, rows=rows_in(store))
    gallery, explained = read_gallery(out / "gallery.npz"), read_explained(out / EXPLAINED)
    maps = gallery.maps.coarsen(explained.coarsen)
    assert explained.evidence.shape[1:] == (2, *maps.spec.shape)
    for index in range(len(gallery)):
        assert not explained.evidence[index][maps.dense(index) == 0].any()


def test_bad_requests_are_refused(synthetic: ModuleType, store: Path, fresh: Path, tmp_path: Path) -> None:
    network = Talking()
    with pytest.raises(InputFileError, match="no finished evaluation"):
        run(store, tmp_path / "nothing", network)
    with pytest.raises(DataError, match="not these 20 by stub"):
        explain(loaded(network), store, fresh, CONFIG_, PREDICT, rows=rows_in(store, "train"))
    other = LoadedModel(network, "another", load_task("flavour"), PixelInput(("xz", "yz")), {}, False)
    with pytest.raises(DataError, match="predicted by stub"):
        explain(other, store, fresh, CONFIG_, PREDICT, rows=rows_in(store))
    one = make_store(synthetic, tmp_path / "one.h5", 1)
    with pytest.raises(DataError, match="single event"):
        explain(loaded(network), one, evaluated(one, tmp_path / "o", split="all"), CONFIG_, PREDICT, rows=np.array([0]))
    for bad in ({"reasons": 1}, {"evidence": 0}, {"test": EvidenceConfig(methods=())}):
        with pytest.raises(ConfigError, match="at least 2, 1 and 1"):
            ExplainConfig(**bad)
    assert network.asked == []
    assert not (fresh / CONFIG).exists()


def test_damaged_explanations_are_refused(tmp_path: Path, talked: tuple[Talking, Path]) -> None:
    explained = read_explained(talked[1] / EXPLAINED)
    place = tmp_path / EXPLAINED
    write_explained(place, explained)
    np.testing.assert_array_equal(read_explained(place).evidence, explained.evidence)
    np.savez(place, other=np.zeros(3))
    with pytest.raises(InputFileError, match="not explained events"):
        read_explained(place)
    np.savez(place, evidence=explained.evidence[:1], about=np.load(talked[1] / EXPLAINED)["about"])
    with pytest.raises(InputFileError, match="evidence of shape"):
        read_explained(place)
