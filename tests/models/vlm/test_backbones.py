"""Backbones: sizes as published, loading from folders and the Hub, everything that can be wrong with a folder."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nuadapt.errors import ConfigError, InputFileError, MissingExtraError
from nuadapt.models.registry import load_preset, preset_names
from nuadapt.models.vlm.adapters import AdapterConfig
from nuadapt.models.vlm.backbones import (
    BackbonePreset,
    Base,
    backbone_preset,
    is_at_hand,
    load_backbone,
    meta_model,
)
from nuadapt.settings import build

PRESETS = [name for name in preset_names() if load_preset(name)["family"] == "vlm"]

#: Sizes of the safetensors files on the Hub.
PUBLISHED = {
    "llama-3.2-11b-vision": 10_670_220_835,
    "smolvlm-256m": 256_484_928,
    "qwen2.5-vl-3b": 3_754_622_976,
}


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(preset: BackbonePreset, source: str | Path, kind: type[Exception] = InputFileError) -> str:
    with pytest.raises(kind) as caught:
        load_backbone(preset, source)
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_many_parameters_as_published(name: str) -> None:
    model = meta_model(backbone_preset(name))
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_sound(name: str) -> None:
    preset = backbone_preset(name)
    assert preset.name == name
    assert len(set(preset.view_modes)) == len(preset.view_modes) > 0
    if preset.hub:
        assert len(preset.revision) == 40
        assert int(preset.revision, 16)


def test_llama_is_trained_as_published() -> None:
    preset = backbone_preset("llama-3.2-11b-vision")
    published = dict(preset.published)
    assert build(AdapterConfig, published.pop("adapter")) == preset.adapter == AdapterConfig()
    assert published == {
        "view_mode": "multi",
        "precision": "nf4",
        "epochs": 1,
        "effective_batch": 8,
        "lr": 2e-4,
        "schedule": "constant",
        "warmup_fraction": 0.03,
        "max_grad_norm": 0.3,
        "checkpoint_steps": 500,
    }
    assert preset.view_modes[0] == "stitch"  # one image per inference is what its makers advise


def test_any_smolvlm_can_be_described() -> None:
    text = {"model_type": "llama", "vocab_size": 100, "hidden_size": 24, "intermediate_size": 48}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1, "pad_token_id": 0}
    vision = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "intermediate_size": 32}
    vision |= {"num_hidden_layers": 3, "num_attention_heads": 2}
    shape = {"model_type": "smolvlm", "vision_config": vision, "text_config": text, "tie_word_embeddings": True}
    model = meta_model(BackbonePreset(shape, ("multi",)))
    assert type(model).__name__ == "SmolVLMForConditionalGeneration"
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert len(model.model.vision_model.encoder.layers) == 3


def write_preset(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def test_a_preset_of_ones_own(tmp_path: Path, preset: BackbonePreset) -> None:
    path = tmp_path / "mine.yaml"
    write_preset(path, family="vlm", architecture=preset.architecture, view_modes=["multi"])
    mine = backbone_preset(path)
    assert mine == BackbonePreset(preset.architecture, ("multi",), name="mine")
    with pytest.raises(ConfigError, match=r"did you mean 'view_modes'.*"):
        backbone_preset(
            write_preset(path, family="vlm", architecture=preset.architecture, view_modes=["multi"], view_mode=1)
        )
    with pytest.raises(ConfigError, match="lacks architecture, view_modes"):
        backbone_preset(write_preset(path, family="vlm"))
    with pytest.raises(ConfigError, match="view_modes"):
        backbone_preset(write_preset(path, family="vlm", architecture=preset.architecture, view_modes=["mosaic"]))
    with pytest.raises(ConfigError, match="family 'siamese-cnn'"):
        backbone_preset("siamese-cnn")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "mlama"}, "did you mean 'mllama'"),
        ({"model_type": "llama", "text_config": None, "vision_config": None}, "has no setting"),
        ({"text_confg": {}}, "did you mean 'text_config'"),
        ({"text_config": {"hiden_size": 64}}, "did you mean 'hidden_size'"),
        ({"text_config": {"hidden_size": "many"}}, "refuses this architecture"),
        ({"vision_config": {"max_num_tiles": 3}}, "max_num_tiles must be 4"),
    ],
)
def test_impossible_architectures(preset: BackbonePreset, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        meta_model(replace(preset, architecture={**preset.architecture, **change}))


def test_models_without_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="'llama' is not a model of images and text"):
        meta_model(BackbonePreset({"model_type": "llama", "num_hidden_layers": 1}, ("multi",)))


def test_loading_gives_what_was_saved(preset: BackbonePreset, saved: Path, model: Any, inputs: Any) -> None:
    backbone = load_backbone(preset, saved)
    assert not backbone.model.training
    with torch.inference_mode():
        torch.testing.assert_close(backbone.model(**inputs).logits, model(**inputs).logits)
    assert backbone.base == Base("nobody/tiny-mllama", "", "float32")
    assert backbone.processor.tokenizer("w1 w2")["input_ids"] == [5, 6]
    assert load_backbone(preset, saved, precision="bfloat16").model.dtype == torch.bfloat16


def test_each_process_loads_onto_its_own_gpu(
    preset: BackbonePreset, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun numbers the processes of a machine; the choice comes before anything is put on a GPU."""
    from transformers import MllamaForConditionalGeneration

    calls: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(MllamaForConditionalGeneration, "to", lambda self, where: (calls.append(where), self)[1])
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    load_backbone(preset, saved)
    monkeypatch.setenv("LOCAL_RANK", "3")
    load_backbone(preset, saved)
    assert calls == ["cuda", 3, "cuda"]


def test_unknown_precision(preset: BackbonePreset, saved: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'nf4'"):
        load_backbone(preset, saved, precision="nf5")  # type: ignore[arg-type]


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_never_opened(preset: BackbonePreset, folder: Path, tmp_path: Path) -> None:
    import pickle

    sprung = tmp_path / "sprung"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    load_backbone(preset, folder)
    (folder / "model.safetensors").unlink()
    message = refused(preset, folder)
    assert "pytorch_model.bin" in message
    assert "safetensors" in message
    assert not sprung.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_code_beside_a_model_is_never_run(
    preset: BackbonePreset, folder: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sprung = tmp_path / "sprung"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(sprung)!r}).touch()\nclass Evil: pass\n")
    names = ("AutoConfig", "AutoModelForImageTextToText", "AutoTokenizer", "AutoProcessor")
    edit_json(folder / file, auto_map=dict.fromkeys(names, "evil.Evil"))
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # should anyone ask whether to run it
    with suppress(InputFileError):
        load_backbone(preset, folder)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "*.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
        ("processor_config.json", "processor_config.json"),
    ],
)
def test_missing_files_are_named(preset: BackbonePreset, folder: Path, file: str, named: str) -> None:
    (folder / file).unlink()
    message = refused(preset, folder)
    assert named in message.partition("Expected")[0]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\x00\xff\xfe", b'{"a": ', b"{}"])
def test_damaged_files_get_one_paragraph(preset: BackbonePreset, folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    refused(preset, folder)


def test_truncated_weights(preset: BackbonePreset, folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cannot be loaded" in refused(preset, folder)


def test_tensors_that_do_not_fit(preset: BackbonePreset, folder: Path) -> None:
    """The library would fill a gap with random numbers and go on."""
    weights = folder / "model.safetensors"
    whole = load_file(weights)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    name = next(n for n in whole if n.endswith("layers.0.mlp.up_proj.weight") and "vision" not in n)
    save_file({n: t for n, t in whole.items() if n != name}, weights, {"format": "pt"})
    assert "1 missing" in refused(preset, folder)
    save_file({**whole, "foreign.weight": torch.zeros(3)}, weights, {"format": "pt"})
    assert "foreign.weight" in refused(preset, folder)
    save_file({**whole, name: torch.zeros(2, 2)}, weights, {"format": "pt"})
    refused(preset, folder)


def test_a_model_of_another_type(saved: Path) -> None:
    message = refused(backbone_preset("smolvlm-256m"), saved, ConfigError)
    assert "'mllama'" in message
    assert "'idefics3'" in message


@pytest.mark.parametrize("source", ["./none", "/none/at/all", "none", "a/b/c", Path("x/y")])
def test_no_such_folder(preset: BackbonePreset, source: str | Path) -> None:
    assert "no such folder" in refused(preset, source)


def test_a_preset_without_a_source(preset: BackbonePreset) -> None:
    with pytest.raises(ConfigError, match="names no weights"):
        load_backbone(replace(preset, hub=""))


def test_without_network_the_offline_default_is_named(
    preset: BackbonePreset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for message in (refused(preset, "nobody/tiny-mllama"), refused(preset, "not a name/of a model")):
        assert "nuadapt-vlm" in message
        assert "config.json" in message
        assert ".safetensors" in message


def test_the_hub_gives_the_pinned_revision_and_nothing_that_runs(
    preset: BackbonePreset, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        from fnmatch import fnmatch

        for file in ("pytorch_model.bin", "modeling_evil.py", "weights.pt", "model.gguf"):
            assert not any(fnmatch(file, pattern) for pattern in allow_patterns)
        asked.append((name, revision))
        return str(saved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    pinned = replace(preset, revision="a" * 40)
    assert load_backbone(pinned).base == Base("nobody/tiny-mllama", "a" * 40, "float32")
    assert load_backbone(pinned, "somebody/finetuned").base.name == "somebody/finetuned"
    assert asked == [("nobody/tiny-mllama", "a" * 40), ("somebody/finetuned", None)]


def test_a_processor_that_needs_more(preset: BackbonePreset, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def needs_video(*_: object, **__: object) -> None:
        raise ImportError("\nQwen2VLVideoProcessor requires the Torchvision library\nmore text")

    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", needs_video)
    assert "requires the Torchvision library" in refused(preset, saved, MissingExtraError)


def test_weights_at_hand_are_a_folder_or_in_the_cache(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda source, _: None if "no" in source else "file")
    assert is_at_hand(str(saved))
    assert is_at_hand("owner/model")
    assert not is_at_hand("nobody/model")
    assert not is_at_hand(str(tmp_path / "a" / "b"))
