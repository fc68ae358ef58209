"""Vision-language backbones: a preset names one, and one code path loads whichever it is.

Any chat model that transformers knows as ``AutoModelForImageTextToText`` can be a backbone. Weights are read from
safetensors only, and code that comes with a model is never run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from nuadapt.errors import ConfigError, InputFileError, MissingExtraError, listed, nearest, require
from nuadapt.models.registry import load_preset
from nuadapt.models.vlm.adapters import AdapterConfig
from nuadapt.models.vlm.quantisation import Precision, nf4
from nuadapt.settings import build, read_yaml

ViewMode = Literal["multi", "stitch", "channels"]
OFFLINE_DEFAULT = "nuadapt-vlm"
_LAYOUT = (
    "a folder with config.json, one or more *.safetensors, the tokenizer (tokenizer.json, tokenizer_config.json) and "
    "the processor (preprocessor_config.json or processor_config.json, chat template)"
)
#: What is fetched from the Hub: nothing that could be run or unpickled.
_FETCHED = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class BackbonePreset:
    """A backbone as data: one YAML file of ``models/presets`` with ``family: vlm``."""

    architecture: dict[str, Any]  # values of the configuration in transformers, with model_type
    view_modes: tuple[ViewMode, ...]  # how the views of an event can be shown; the first is the default
    name: str = ""
    family: Literal["vlm"] = "vlm"
    representation: Literal["pixelmap"] = "pixelmap"
    hub: str = ""  # name on the Hugging Face Hub; empty: comes with nuadapt
    revision: str = ""  # commit on the Hub; empty: the newest
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"  # of weights that are not quantised
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    occupied_above: float = -1.0  # grey level from which a patch is looked at; below 0: all are
    published: dict[str, Any] = field(default_factory=dict)  # how others trained it, for recipes and pages to cite


@dataclass(frozen=True, slots=True)
class Base:
    """Which frozen weights an adapter stands on."""

    name: str  # on the Hub, or the name of a preset that comes with nuadapt
    revision: str  # empty: not known, as for a folder
    precision: Precision  # of the weights in memory


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded model with what turns conversations into its inputs."""

    model: Any  # transformers.PreTrainedModel
    processor: Any  # transformers.ProcessorMixin
    preset: BackbonePreset
    base: Base


def backbone_preset(name: str | Path) -> BackbonePreset:
    """A preset of family ``vlm`` by name, or from a YAML file of one's own.

    Raises:
        ConfigError: no such preset, a preset of another family, unknown settings (the nearest is named).
        InputFileError: the file cannot be read.
    """
    path = Path(name)
    own = path.suffix in (".yaml", ".yml")
    values = read_yaml(path) if own else load_preset(str(name))
    if values.get("family") != "vlm":
        raise ConfigError(f"preset '{name}' is of family '{values.get('family')}'", expected="one of family vlm")
    missing = [key for key in ("architecture", "view_modes") if not values.get(key)]
    if missing:
        raise ConfigError(f"the preset lacks {listed(missing)}", where=name)
    return build(BackbonePreset, {**values, "name": path.stem if own else str(name)}, where=f"preset {name}")


def architecture(preset: BackbonePreset) -> Any:
    """The configuration object of transformers.

    Raises:
        ConfigError: model type or settings that transformers does not know, or values it refuses.
    """
    from huggingface_hub.errors import StrictDataclassError

    transformers = require("transformers", "vlm")
    values = dict(preset.architecture)
    kind = str(values.pop("model_type", None))
    where = f"preset {preset.name}"
    if kind not in transformers.CONFIG_MAPPING:
        near = nearest(kind, transformers.CONFIG_MAPPING).partition("one of")[0]
        raise ConfigError(
            f"transformers has no model type '{kind}'", where=where, expected=f"{near}a model of images and text"
        )
    try:
        config = transformers.AutoConfig.for_model(kind, **values)
    except (StrictDataclassError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"transformers refuses this architecture ({_line(error)})", where=where) from error
    _refuse_unknown(values, config, where)
    return config


def meta_model(preset: BackbonePreset) -> Any:
    """The architecture without weights (on the meta device): to count, to see which layers there are.

    Raises:
        ConfigError: as :func:`architecture`, or a model type without images and text.
    """
    auto = require("transformers", "vlm").AutoModelForImageTextToText
    config = architecture(preset)
    try:
        with torch.device("meta"):
            return auto.from_config(config, dtype=getattr(torch, preset.dtype))
    except ValueError as error:
        raise ConfigError(
            f"'{config.model_type}' is not a model of images and text ({_line(error)})", where=f"preset {preset.name}"
        ) from error


def load_backbone(
    preset: BackbonePreset, source: str | Path | None = None, *, precision: Precision | None = None
) -> Backbone:
    """A backbone with its weights, in evaluation mode, on the GPU if there is one.

    Args:
        source: a folder, or a name on the Hub; none: that of the preset, at its revision.
        precision: none: that of the preset; ``nf4``: four bits, see :mod:`nuadapt.models.vlm.quantisation`.

    Raises:
        ConfigError: unknown precision; the preset names no source; a folder of another type of model.
        InputFileError: no such folder or no way to the Hub, files missing or damaged, weights other than safetensors
            or that do not fit.
        MissingExtraError: bitsandbytes is not installed, or what the model's own processor needs: those of Qwen2.5-VL
            and SmolVLM2 ask for torchvision, to read videos.
    """
    precision = precision or preset.dtype
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision '{precision}'", expected=nearest(precision, get_args(Precision)))
    folder, name, revision = _find(preset, source)
    _check_folder(folder)
    _take_own_gpu()
    model = _load_model(folder, preset, precision)
    return Backbone(model.eval(), _load_processor(folder), preset, Base(name, revision, precision))


def _take_own_gpu() -> None:
    """Of several processes on a machine, as torchrun starts and numbers them, each loads onto a GPU of its own."""
    number = os.environ.get("LOCAL_RANK")
    if number is not None and torch.cuda.is_available():
        torch.cuda.set_device(int(number))


def is_at_hand(source: str) -> bool:
    """Whether weights are on this machine: a folder, or a model of the Hub in its cache."""
    from huggingface_hub import try_to_load_from_cache

    if Path(source).is_dir():
        return True
    return source.count("/") == 1 and isinstance(try_to_load_from_cache(source, "config.json"), str)


def _find(preset: BackbonePreset, source: str | Path | None) -> tuple[Path, str, str]:
    """Folder with the weights, the name they go by, and their revision."""
    given = str(source if source is not None else preset.hub)
    if not given:
        raise ConfigError(f"preset '{preset.name}' names no weights on the Hub", next_step=f"Give a folder: {_LAYOUT}")
    if Path(given).is_dir():
        return Path(given), preset.hub or preset.name, ""
    if isinstance(source, Path) or given.count("/") != 1 or given.startswith((".", "~")):
        raise InputFileError("no such folder", where=given, expected=f"{_LAYOUT}, or a name on the Hub (owner/model)")
    revision = preset.revision if given == preset.hub else ""
    return _fetch(given, revision), given, revision


def _fetch(hub: str, revision: str) -> Path:
    """The folder of a model of the Hub, from the cache or over the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(hub, revision=revision or None, allow_patterns=list(_FETCHED)))
    except (OSError, HFValidationError) as error:
        raise InputFileError(
            f"this model is neither in the cache nor to be had from the Hub ({_line(error)})",
            where=hub,
            expected=f"a network, and for gated models an accepted licence; or {_LAYOUT}, named instead of the Hub",
            next_step=f"The preset '{OFFLINE_DEFAULT}' needs no network",
        ) from error


def _check_folder(folder: Path) -> None:
    weights = list(folder.glob("*.safetensors"))
    if not weights and (pickled := [p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern)]):
        raise InputFileError(
            f"the weights are pickles ({listed(pickled)}), which can run any code when they are opened",
            where=folder,
            expected="*.safetensors",
            next_step="Take a revision with safetensors, or convert them where that can do no harm",
        )
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    missing += [] if weights else ["*.safetensors"]
    missing += [" or ".join(names) for names in (_TOKENIZERS, _PROCESSORS) if not _any_file(folder, names)]
    if missing:
        raise InputFileError(f"this model folder lacks {listed(missing)}", where=folder, expected=_LAYOUT)


def _any_file(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / name).is_file() for name in names)


def _load_model(folder: Path, preset: BackbonePreset, precision: Precision) -> Any:
    """The model of a checked folder; every tensor must be there and fit."""
    transformers = require("transformers", "vlm")
    where: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    packed = {"quantization_config": nf4(preset.dtype)} if precision == "nf4" else {}
    dtype = getattr(torch, preset.dtype if precision == "nf4" else precision)
    try:
        kind = transformers.AutoConfig.from_pretrained(folder, **where).model_type
        _check_type(kind, preset, folder)
        model, report = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **packed, **where
        )
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # damaged JSON and tensors make the libraries raise nearly anything
        raise InputFileError(f"the model cannot be loaded ({_line(error)})", where=folder, expected=_LAYOUT) from error
    wrong = {what: sorted(map(str, report[f"{what}_keys"])) for what in ("missing", "unexpected", "mismatched")}
    if any(wrong.values()):
        found = "; ".join(f"{len(names)} {what}: {listed(names)}" for what, names in wrong.items() if names)
        raise InputFileError(f"the tensors do not fit the architecture in config.json: {found}", where=folder)
    return model if packed or not torch.cuda.is_available() else model.to("cuda")


def _load_processor(folder: Path) -> Any:
    try:
        return require("transformers", "vlm").AutoProcessor.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except ImportError as error:  # some processors read videos, too, and need more for it
        raise MissingExtraError(
            f"the processor of this model needs more than nuadapt does ({_line(error)})", where=folder
        ) from error
    except Exception as error:  # damaged files make the libraries raise nearly anything
        raise InputFileError(
            f"the tokenizer or processor cannot be read ({_line(error)})", where=folder, expected=_LAYOUT
        ) from error


def _check_type(kind: str, preset: BackbonePreset, folder: Path) -> None:
    wanted = preset.architecture.get("model_type")
    if kind != wanted:
        raise ConfigError(
            f"this folder holds a model of type '{kind}', preset '{preset.name}' is of type '{wanted}'",
            where=folder,
            next_step="Choose the preset of this model, or write one (docs/adapting.md)",
        )


def _refuse_unknown(values: dict[str, Any], config: Any, where: str) -> None:
    """Raise on keys that are no setting of a configuration of transformers, which would keep them and say nothing."""
    own = {"stem"} if config.model_type == "smolvlm_vision" else set()  # of nuadapt's tower, models/vision_tower.py
    legal = {f.name for f in fields(config)} | set(config.attribute_map) | {"model_type", "pad_token_id"} | own
    for key, value in values.items():
        if key not in legal:
            raise ConfigError(
                f"'{config.model_type}' has no setting '{key}'", where=where, expected=nearest(key, legal)
            )
        inner = getattr(config, key, None)
        if isinstance(value, dict) and hasattr(inner, "model_type"):
            _refuse_unknown(value, inner, where)


def _line(error: BaseException) -> str:
    """What a library says, as one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
