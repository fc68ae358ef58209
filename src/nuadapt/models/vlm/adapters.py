"""Low-rank adapters (LoRA, Hu et al., arXiv:2106.09685) on chosen towers of a vision-language model.

Layers of the language model and of the vision tower often share their names (``q_proj``), so names alone decide
nothing here: a layer belongs to the tower in whose module it stands, and the scope chooses among towers.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from nuadapt.errors import ConfigError, listed, require

Scope = Literal["text", "vision", "both"]
TOWERS = ("text", "vision", "connector", "other")
#: Names of the part between the towers in models of transformers; in Qwen it stands inside the vision tower.
_CONNECTORS = frozenset({"connector", "multi_modal_projector", "merger"})


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """Shape and place of the adapters. Defaults are those of Sagar et al. (arXiv:2509.08461)."""

    r: int = 8  # as published; three classes need few directions, and parameters grow with it
    alpha: int = 16  # the update is scaled by alpha / r: twice, as published
    dropout: float = 0.05  # as published; acts on what enters an adapter, in training only
    #: Ends of layer names, within the towers of the scope: attention and gated MLP, as published.
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    scope: Scope = "both"  # as published: 29.5 million parameters are those of both towers

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"adapters with r={self.r}, alpha={self.alpha}, dropout={self.dropout} are impossible",
                expected="r and alpha of at least 1, dropout from 0 to below 1",
            )
        if not self.targets:
            raise ConfigError("adapters without target layers", expected="ends of layer names, such as q_proj")

    def of_rank(self, rank: int) -> AdapterConfig:
        """The same with another rank; the scale of the update stays as published, alpha / r = 2."""
        return replace(self, r=rank, alpha=2 * rank)

    @property
    def towers(self) -> tuple[str, ...]:
        """The towers of the scope."""
        return ("text", "vision") if self.scope == "both" else (self.scope,)


@dataclass(frozen=True, slots=True)
class TowerCount:
    """Parameters of one tower: of the model itself, and those that training changes."""

    parameters: int  # without adapters
    trainable: int  # with adapters


def adapt(model: Any, config: AdapterConfig) -> Any:
    """The model with fresh adapters that change nothing yet; only they are trainable.

    Works on models on the meta device and on models with 4-bit weights.

    Args:
        model: an image-text-to-text model of transformers.

    Returns:
        A ``peft.PeftModel``; ``model`` itself is changed, too.

    Raises:
        ConfigError: no tower to be found, or a tower of the scope has no layer of these names.
        MissingExtraError: peft is not installed.
    """
    peft = require("peft", "vlm")
    lora = peft.LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=target_pattern(model, config),
    )
    with _quiet():
        return peft.get_peft_model(model, lora)


def target_pattern(model: Any, config: AdapterConfig) -> str:
    """The regular expression by which PEFT finds the wanted layers and no others: their full names, any layer number.

    Raises:
        ConfigError: as :func:`adapt`.
    """
    tower_of = towers_of(model)
    ends = tuple(f".{target}" for target in config.targets)
    wanted: list[str] = []
    for tower in config.towers:
        linear = [n for n, part in model.named_modules() if isinstance(part, nn.Linear) and tower_of(n) == tower]
        found = [name for name in linear if f".{name}".endswith(ends)]
        if not found:
            raise ConfigError(
                f"no layer of the {tower} tower ends in {listed(config.targets, 10)}",
                expected=f"ends of its layers: {listed(sorted({'.'.join(n.split('.')[-2:]) for n in linear}), 12)}",
                next_step="Choose other targets, or a scope without this tower",
            )
        wanted += found
    return "|".join(dict.fromkeys(re.sub(r"\\\.\d+(?=\\)", r"\\.\\d+", re.escape(name)) for name in wanted))


def count_by_tower(model: Any) -> dict[str, TowerCount]:
    """Parameters by tower, in the order of :data:`TOWERS` and without empty ones, with ``total``.

    A 4-bit tensor counts the numbers it stands for; shared tensors count once, where they are met first.

    Raises:
        ConfigError: the model has no two towers.
    """
    base = _base(model)
    tower_of = towers_of(base)
    own, trainable = Counter[str](), Counter[str]()
    for name, tensor in base.named_parameters():
        tower, size = tower_of(name), _size(tensor)
        if not _is_adapter(name):
            own[tower] += size
        if tensor.requires_grad:
            trainable[tower] += size
    counts = {tower: TowerCount(own[tower], trainable[tower]) for tower in TOWERS if own[tower]}
    return {**counts, "total": TowerCount(own.total(), trainable.total())}


def adapted_layers(model: Any) -> dict[str, int]:
    """Adapted layers by name with ``*`` for numbers, and how many there are of each.

    >>> re.sub(r"[.][0-9]+(?=[.])", ".*", "model.text_model.layers.11.self_attn.q_proj")
    'model.text_model.layers.*.self_attn.q_proj'
    """
    names = (name.partition(".lora_A.")[0] for name, _ in _base(model).named_parameters() if ".lora_A." in name)
    return dict(Counter(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))


def towers_of(model: Any) -> Any:
    """A function from the name of a module or parameter to its tower: text, vision, connector or other.

    Raises:
        ConfigError: the model has no language model or no vision tower.
    """
    roots = _roots(_base(model))

    def tower_of(name: str) -> str:
        if _CONNECTORS.intersection(name.split(".")):
            return "connector"
        inside = [root for root in roots if name == root or name.startswith(f"{root}.")]
        return roots[max(inside, key=len)] if inside else "other"

    return tower_of


def _roots(model: Any) -> dict[str, str]:
    """Names of the modules that are a whole tower."""
    text, head, vision = model.get_decoder(), model.get_output_embeddings(), model.get_encoder("image")
    if model in (text, vision) or text is None or vision is None:
        raise ConfigError(
            f"{type(model).__name__} has no language model and vision tower beside each other",
            expected="an image-text-to-text model of transformers",
        )
    return {
        name: "vision" if part is vision else "text"
        for name, part in model.named_modules()
        if part is vision or part is text or (part is head and head is not None)
    }


def _base(model: Any) -> Any:
    """The model of transformers, with or without adapters around its layers."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def _is_adapter(name: str) -> bool:
    return any(part.startswith("lora_") for part in name.split("."))


def _size(tensor: Any) -> int:
    state = getattr(tensor, "quant_state", None)  # of bitsandbytes: two 4-bit numbers share a byte
    return int(tensor.numel()) if state is None else math.prod(state.shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT asks transformers by a name that transformers is about to drop; a user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield
