"""Foreign checkpoints: weights of another package into a model of ours, through a map of names, with a full account.

A fine-tuned model shares most tensors with what was pretrained, but not all: other classes, other input features. What
fits is loaded; what does not is told with both shapes, and keeps its fresh values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nuadapt.errors import ConfigError, InputFileError, listed, nearest

#: Layout of a checkpoint -> part of its names -> part of ours. Other parts (optimizer, epoch) hold no weights.
#: omnilearned 0.2.0 stores one section for each part of the network, and an average over training steps of the body.
KEY_MAPS: dict[str, dict[str, str]] = {
    "nuadapt": {"body": "body", "classifier": "classifier", "generator": "generator"},
    "omnilearned": {"body": "body", "classifier_head": "classifier", "generator_head": "generator"},
    "omnilearned-ema": {"ema_body": "body", "classifier_head": "classifier", "ema_generator": "generator"},
}
_STEP = "Give a checkpoint of the same model size, with the right layout"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a model and of a checkpoint."""

    sha256: str  # of the file
    loaded: tuple[str, ...]
    reinitialised: dict[str, tuple[Shape, Shape]]  # fresh despite being in the file: shape there, shape in the model
    missing: tuple[str, ...]  # in the model, not in the file
    unused: tuple[str, ...]  # in the file, not in the model
    fraction: float  # of the model's parameters (numbers, not tensors) that were loaded

    @property
    def fresh(self) -> tuple[str, ...]:
        """Names in the model that keep their fresh values."""
        return (*self.reinitialised, *self.missing)

    def paragraph(self) -> str:
        """The account as one paragraph."""
        again = [
            f"{n} ({_shape(there)} in the file, {_shape(here)} here)" for n, (there, here) in self.reinitialised.items()
        ]
        parts = (
            f"{len(self.loaded)} tensors loaded, {100 * self.fraction:.1f}% of all parameters",
            f"{len(again)} re-initialised: {listed(again, 20) or 'none'}",
            f"{len(self.missing)} missing in the file: {listed(self.missing, 20) or 'none'}",
            f"{len(self.unused)} of the file not used: {listed(self.unused) or 'none'}",
        )
        return "; ".join(parts) + "."

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the record of a run."""
        return asdict(self)


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def load_foreign(
    model: nn.Module, path: Path, *, layout: str = "omnilearned", fresh: Sequence[str] = (), at_least: float = 0.5
) -> LoadReport:
    """Fill a model with those tensors of a checkpoint that fit.

    Args:
        model: gets the weights.
        path: a ``torch.save`` file, opened with ``weights_only=True``, or a safetensors file.
        layout: a key of :data:`KEY_MAPS`.
        fresh: beginnings of names in the model that keep their fresh values even if the shapes agree.
        at_least: fraction of the model's parameters, 0..1, that must be found. The default lets heads and embeddings
            differ, and refuses another size of the model, whose tensors agree in small parts only.

    Raises:
        ConfigError: unknown layout, or a ``fresh`` that begins no name.
        InputFileError: no such file, not a checkpoint, nothing of it fits, or less than ``at_least``.
    """
    if layout not in KEY_MAPS:
        raise ConfigError(f"unknown layout of a checkpoint '{layout}'", expected=nearest(layout, KEY_MAPS))
    wanted = model.state_dict()
    for start in fresh:
        if not any(_begins(name, start) for name in wanted):
            raise ConfigError(f"no parameter begins with '{start}'", expected=nearest(start, wanted))
    path = Path(path)
    given = dict(_renamed(read_checkpoint(path), KEY_MAPS[layout]))
    report = _compare(wanted, given, fresh, sha256=_digest(path))
    if not report.loaded or report.fraction < at_least:
        found = f"only {100 * report.fraction:.1f}% of the model's parameters come from this checkpoint"
        raise InputFileError(
            f"{found}. {report.paragraph()}",
            where=path,
            expected=f"at least {100 * at_least:.0f}%",
            next_step=f"{_STEP} (layout '{layout}' was assumed)",
        )
    model.load_state_dict({name: given[name] for name in report.loaded}, strict=False)
    return report


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name; names of nested sections are joined by dots.

    Raises:
        InputFileError: no such file, damaged, or it holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputFileError("no such checkpoint", where=path, next_step="Check the path")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputFileError(f"this is not a sound safetensors file ({error})", where=path) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the loader raises errors of many kinds, some of modules that are not imported here
        reason = str(error).strip().split("\n")[0]
        raise InputFileError(
            f"this cannot be read as a checkpoint of tensors and plain values ({type(error).__name__}: {reason})",
            where=path,
            expected="a torch.save file that torch.load opens with weights_only=True, or a .safetensors file",
        ) from error
    return dict(_flat(content))


def _flat(content: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _begins(name: str, start: str) -> bool:
    """Whether a dotted name is ``start`` or lies below it."""
    return name == start or name.startswith(f"{start}.")


def _renamed(given: Mapping[str, Tensor], key_map: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in given.items():
        for theirs, ours in key_map.items():
            if _begins(name, theirs):
                yield ours + name[len(theirs) :], tensor


def _compare(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], fresh: Sequence[str], *, sha256: str
) -> LoadReport:
    kept = {name for name in wanted if any(_begins(name, start) for start in fresh)}
    both = [name for name in wanted if name in given]
    loaded = [name for name in both if given[name].shape == wanted[name].shape and name not in kept]
    total = sum(tensor.numel() for tensor in wanted.values())
    return LoadReport(
        sha256=sha256,
        loaded=tuple(loaded),
        reinitialised={n: (tuple(given[n].shape), tuple(wanted[n].shape)) for n in both if n not in loaded},
        missing=tuple(name for name in wanted if name not in given),
        unused=tuple(name for name in given if name not in wanted),
        fraction=sum(wanted[name].numel() for name in loaded) / max(total, 1),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
