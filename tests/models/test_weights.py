"""Foreign checkpoints: what is loaded, what is told, what is refused."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nuadapt.errors import ConfigError, InputFileError
from nuadapt.models.cloud import CloudShape
from nuadapt.models.pet2 import PET2
from nuadapt.models.registry import load_preset
from nuadapt.models.weights import load_foreign, read_checkpoint

TINY = load_preset("pet2-small") | {"depth": 1, "width": 32}
CLASSES = ("one", "two", "three", "four", "five")


def network(shape: CloudShape, classes: tuple[str, ...] = CLASSES, seed: int = 1, **changes: Any) -> PET2:
    torch.manual_seed(seed)
    return PET2(TINY | changes, shape, classes)


def official(model: nn.Module, path: Path) -> Path:
    """A file in the layout of omnilearned 0.2.0 (pretraining of 210 classes, 8 types, 4 further features)."""
    state = model.state_dict()
    section = {
        part: {n.removeprefix(f"{part}."): t for n, t in state.items() if n.startswith(f"{part}.")}
        for part in ("body", "classifier")
    }
    update = torch.optim.Adam(model.parameters())
    section["body"]["MPFourier.freqs"] = torch.rand(32)
    content = {
        "body": section["body"],
        "classifier_head": section["classifier"],
        "generator_head": {"out.weight": torch.rand(4, 32)},
        "ema_body": {n: t + 1 for n, t in section["body"].items()},
        "ema_generator": {"out.weight": torch.rand(4, 32)},
        "optimizer": update.state_dict(),
        "epoch": 3,
        "loss": 0.5,
        "sched": {"last_epoch": 3, "lr_lambdas": [None]},
    }
    torch.save(content, path)
    return path


@pytest.fixture
def pretrained(cloud_shape: CloudShape, tmp_path: Path) -> Path:
    jets = CloudShape((*cloud_shape.columns[:4], "d0", "d0_error", "dz", "dz_error"), n_types=8)
    return official(network(jets, tuple(map(str, range(210)))), tmp_path / "best_model_pretrain_s.pt")


def test_account_of_a_pretrained_body(pretrained: Path, cloud_shape: CloudShape) -> None:
    """Shared tensors are loaded, other shapes are told with both, what the file lacks keeps its fresh values."""
    model, fresh = network(cloud_shape, seed=2), network(cloud_shape, seed=2).state_dict()
    report = load_foreign(model, pretrained)
    assert report.reinitialised == {
        "body.add_embed.0.fc1.weight": ((64, 4), (64, 5)),
        "body.pid_embed.0.weight": ((9, 32), (6, 32)),
        "classifier.out.weight": ((210, 128), (5, 128)),
        "classifier.out.bias": ((210,), (5,)),
    }
    assert set(report.missing) == {n for n in fresh if n.startswith("body.cond_embed.")}
    assert set(report.unused) == {"body.MPFourier.freqs", "generator.out.weight"}
    assert {*report.loaded, *report.fresh} == set(fresh)
    stored = torch.load(pretrained, weights_only=True)
    for name, now in model.state_dict().items():
        part, _, rest = name.partition(".")
        expected = (
            stored[{"body": "body", "classifier": "classifier_head"}[part]][rest]
            if name in report.loaded
            else fresh[name]
        )
        assert torch.equal(now, expected), name
    loaded = sum(fresh[n].numel() for n in report.loaded)
    assert report.fraction == loaded / sum(t.numel() for t in fresh.values())
    assert report.sha256 == hashlib.sha256(pretrained.read_bytes()).hexdigest()
    said = report.paragraph()
    assert "body.pid_embed.0.weight (9 x 32 in the file, 6 x 32 here)" in said
    assert "6 missing in the file: body.cond_embed.0." in said
    assert f"{len(report.loaded)} tensors loaded" in said


def test_average_over_steps_is_another_layout(pretrained: Path, cloud_shape: CloudShape) -> None:
    plain, average = network(cloud_shape), network(cloud_shape)
    load_foreign(plain, pretrained)
    load_foreign(average, pretrained, layout="omnilearned-ema")
    assert torch.equal(plain.body.token + 1, average.body.token)
    assert torch.equal(plain.classifier.fc.fc1.weight, average.classifier.fc.fc1.weight)


def test_what_is_wanted_fresh_stays_fresh(pretrained: Path, cloud_shape: CloudShape) -> None:
    model, fresh = network(cloud_shape, seed=2), network(cloud_shape, seed=2).state_dict()
    report = load_foreign(model, pretrained, fresh=("classifier",), at_least=0.2)
    assert all(torch.equal(t, fresh[n]) for n, t in model.state_dict().items() if n.startswith("classifier."))
    assert report.reinitialised["classifier.fc.fc1.weight"] == ((256, 128), (256, 128))
    with pytest.raises(ConfigError, match="no parameter begins with 'classifer'"):
        load_foreign(model, pretrained, fresh=("classifer",))


def test_another_size_is_refused_and_changes_nothing(pretrained: Path, cloud_shape: CloudShape) -> None:
    model, fresh = network(cloud_shape, width=64, seed=2), network(cloud_shape, width=64, seed=2).state_dict()
    with pytest.raises(InputFileError, match=r"re-initialised.*32 in the file.*Expected: at least 50%"):
        load_foreign(model, pretrained)
    assert all(torch.equal(t, fresh[n]) for n, t in model.state_dict().items())
    assert load_foreign(network(cloud_shape), pretrained, at_least=0.9).fraction > 0.9
    with pytest.raises(InputFileError, match=r"Expected: at least 100%"):
        load_foreign(network(cloud_shape), pretrained, at_least=1)


@pytest.mark.parametrize("layout", ["nuadapt", "omnilearned-ema"])
def test_nothing_loaded_is_an_error_whatever_the_limit(layout: str, cloud_shape: CloudShape, tmp_path: Path) -> None:
    torch.save({"somebody": {"token": torch.rand(3)}, "bodyguard": torch.rand(2)}, tmp_path / "other.pt")
    with pytest.raises(InputFileError, match=rf"only 0.0% .* \(layout '{layout}' was assumed\)"):
        load_foreign(network(cloud_shape), tmp_path / "other.pt", layout=layout, at_least=0)


def test_own_weights_as_safetensors(cloud_shape: CloudShape, tmp_path: Path) -> None:
    source, model = network(cloud_shape, seed=5), network(cloud_shape)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    report = load_foreign(model, tmp_path / "model.safetensors", layout="nuadapt", at_least=1)
    assert report.fraction == 1
    assert report.fresh == report.unused == ()
    assert all(torch.equal(t, source.state_dict()[n]) for n, t in model.state_dict().items())


class _Harmful:
    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return exec, ("raise SystemExit('code from a checkpoint was run')",)


def test_bad_files(cloud_shape: CloudShape, tmp_path: Path, pretrained: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "cut.pt").write_bytes(pretrained.read_bytes()[:5000])
    (tmp_path / "empty.pt").touch()
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (tmp_path / "harmful.pt").write_bytes(pickle.dumps(_Harmful()))
    torch.save({"body": _Harmful()}, tmp_path / "harmful_zip.pt")
    names = ("text.pt", "cut.pt", "empty.pt", "cut.safetensors", "harmful.pt", "harmful_zip.pt", "absent.pt", "")
    for name in names:
        with pytest.raises(InputFileError) as caught:
            load_foreign(network(cloud_shape), tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'omnilearned'"):
        load_foreign(network(cloud_shape), pretrained, layout="omnilearn")


def test_nested_names_are_joined(tmp_path: Path) -> None:
    torch.save({"a": {"b": {0: torch.ones(1)}, "c": 3}, "d": torch.zeros(2)}, tmp_path / "x.pt")
    assert {n: t.tolist() for n, t in read_checkpoint(tmp_path / "x.pt").items()} == {"a.b.0": [1.0], "d": [0.0, 0.0]}


def test_a_checkpoint_that_the_package_writes(
    cloud_shape: CloudShape,
    make_cloud: Callable[..., dict[str, Tensor]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Pretraining network of omnilearned, saved by its own function: body and head give its scores here."""
    why = "its files need the reference: pip install --no-deps omnilearned==0.2.0 einops torchdiffeq"
    package = pytest.importorskip("omnilearned.network", reason=why)
    utils = pytest.importorskip("omnilearned.utils", reason=why)
    jets = replace(cloud_shape, n_globals=0)
    torch.manual_seed(7)
    theirs = package.PET2(
        4, local_int=False, pid=True, pid_dim=6, add_info=True, add_dim=5, mode="pretrain", num_classes=5,
        base_dim=32, num_transformers=1, num_heads=8, K=10, num_coord=2,
    )  # fmt: skip
    update = torch.optim.AdamW(theirs.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(update, 10)
    parallel = nn.Module()
    parallel.module = theirs
    utils.save_checkpoint(
        parallel, utils.shadow_copy(theirs), 2, update, 0.7, schedule, str(tmp_path), "best_model_pretrain_s.pt"
    )
    capsys.readouterr()
    model = network(jets, wrap_azimuth=False)
    report = load_foreign(model, tmp_path / "best_model_pretrain_s.pt", at_least=1)
    assert report.fresh == ()
    assert all(n.startswith(("body.MPFourier.", "body.time_embed.", "generator.")) for n in report.unused)
    cloud = make_cloud(jets, (5, 1, 33, 12))
    clean = torch.where(cloud["mask"][..., None], cloud["tokens"], 0)
    with torch.inference_mode():
        # In pretraining the body also has a token of time, which for undisturbed events is zero, hence masked.
        body = theirs.body(clean[..., :4], None, cloud["type"], clean[..., 4:], torch.zeros(4))
        torch.testing.assert_close(model.scores(**cloud), theirs.classifier(body), rtol=1e-5, atol=1e-5)
