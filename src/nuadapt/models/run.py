"""A trained model from its run folder: safetensors and JSON only, nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError, InputFileError, listed, nearest
from nuadapt.events.tasks import Task
from nuadapt.models.inputs import CloudInput, PixelInput, Reads, input_from, offers
from nuadapt.models.registry import build_model, family_of
from nuadapt.record import read_json

#: What a model reads of a batch: grey images (B, V, H, W), or the arrays of its clouds by name.
Inputs = npt.NDArray[np.float32] | dict[str, npt.NDArray[Any]]
PRECISIONS = ("auto", "bf16", "float32")
#: How the tokens of a label make its probability; the others are for comparison (:meth:`LabelScores.log_p`).
EXACT = "sum"
CONFIDENCES = (EXACT, "mean", "first_token")
_STEP = "Give the folder of a finished 'nuadapt train' run"


def use_bf16(precision: str) -> bool:
    """Whether to multiply in bfloat16: ``auto`` does where the hardware has instructions for it.

    Raises:
        ConfigError: a precision other than auto, bf16, float32.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision '{precision}'", expected=nearest(precision, PRECISIONS))
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to answer."""

    network: nn.Module
    id: str
    task: Task
    input: Reads
    record: dict[str, Any]
    bf16: bool
    confidence: str = EXACT

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the index is the label."""
        return self.task.classes

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def posterior(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Class probabilities, shape (B, C), rows sum to 1.

        ``inputs`` are grey images (B, V, H, W), or the arrays of a cloud (:meth:`CloudInput.arrays`).

        Raises:
            DataError: images of another number of views than the model was trained on, or not what it reads.
        """
        if self.confidence != EXACT:
            return self._compared(inputs)
        logits = self._outputs(inputs)["logits"]  # (B, C)
        # Scores leave the model in float32; the softmax adds up to 1 to the precision of the result.
        probabilities: npt.NDArray[np.float64] = logits.float().double().softmax(dim=1).cpu().numpy()
        return probabilities

    def _compared(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Probabilities (B, C) by the other ways to make one number of a label's tokens."""
        network: Any = self.network
        with self._answering():
            scores = network.score_labels(**self._given(inputs))
        found: npt.NDArray[np.float64] = scores.posterior(self.confidence)
        return found

    def energy(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Energies (B,) in GeV of a model that was asked for one; ``inputs`` as in :meth:`posterior`.

        Raises:
            DataError: the model answers with classes, or these are not what it reads.
        """
        if not self.task.energy:
            raise DataError(f"the model {self.id} tells classes apart and gives no energy")
        found: npt.NDArray[np.float64] = self._outputs(inputs)["energy"].double().cpu().numpy()
        return found

    def _outputs(self, inputs: Inputs) -> dict[str, Tensor]:
        """What the network gives."""
        given = self._given(inputs)
        with self._answering():
            found: dict[str, Tensor] = self.network(**given)
        return found

    def _given(self, inputs: Inputs) -> dict[str, Tensor]:
        """What the network is called with."""
        if isinstance(inputs, dict) != isinstance(self.input, CloudInput):
            kind = "particle clouds" if isinstance(self.input, CloudInput) else "pixel maps"
            raise DataError(f"the model {self.id} reads {kind}")
        if isinstance(inputs, dict):
            return {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
        return {"pixels": self._pixels(inputs)}

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Without gradients, in the precision of this model."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            yield

    @property
    def image_input(self) -> PixelInput:
        """What a model of pixel maps reads.

        Raises:
            DataError: it reads particle clouds.
        """
        if not isinstance(self.input, PixelInput):
            raise DataError(f"the model {self.id} reads particle clouds", expected="a model of pixel maps")
        return self.input

    def _pixels(self, images: npt.NDArray[np.float32]) -> Tensor:
        views = self.image_input.views
        if images.ndim != 4 or images.shape[1] != len(views):
            raise DataError(
                f"images have shape {images.shape}",
                expected=f"(events, {len(views)}, height, width) for the views {views}",
            )
        return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self.device)

    @property
    def gives_reasons(self) -> bool:
        """Whether the model can say why."""
        return hasattr(self.network, "reasons")

    def reasons(self, images: npt.NDArray[np.float32], labels: npt.NDArray[Any]) -> list[str]:
        """A reason in words for each event of grey images (B, V, H, W), given the class ``labels`` (B,).

        Raises:
            DataError: a model that gives no reasons.
        """
        if not self.gives_reasons:
            raise DataError(
                f"the model {self.id} gives no reasons in words",
                expected="a vision-language model, such as nuadapt-vlm",
            )
        pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self.device)
        network: Any = self.network
        wanted = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            said: list[str] = network.reasons(pixels, wanted)
        return said


def run_folder(run: Path | str) -> Path:
    """The run folder that ``run`` names: a path, or a trained model that comes with nuadapt.

    Raises:
        InputFileError: neither of them.
    """
    if Path(run).exists():
        return Path(run)
    shipped = Path(str(resources.files("nuadapt.models") / "pretrained"))
    names = sorted(p.name for p in shipped.iterdir() if (p / "record.json").is_file()) if shipped.is_dir() else []
    if str(run) in names:
        return shipped / str(run)
    raise InputFileError(
        "no such folder, and no trained model of this name comes with nuadapt",
        where=run,
        expected=nearest(str(run), names) if names else "a run folder",
        next_step=_STEP,
    )


def load_run(path: Path, *, precision: str = "auto", confidence: str = EXACT) -> LoadedModel:
    """The model of a finished run folder, ready to answer, on the GPU if there is one.

    ``path`` is a folder, or the name of a trained model that comes with nuadapt. ``confidence``, for models that answer
    in words: one of :data:`CONFIDENCES`, ``first_token`` is the published one.

    Raises:
        InputFileError: no such folder, an unfinished run, damaged files, weights that do not fit.
        ConfigError: unknown precision or confidence, or one of words of a model without them.
    """
    if confidence not in CONFIDENCES:
        raise ConfigError(f"unknown confidence '{confidence}'", expected=nearest(confidence, CONFIDENCES))
    path = run_folder(path)
    record = finished_record(path)
    task = Task.from_dict(record["task"], where=path / "record.json")
    reads = input_from(record["input"])
    weights = path / "model.safetensors"
    family = family_of(record["architecture"])
    if hasattr(family, "load"):
        network: nn.Module = family.load(path, record)
    else:
        network = build_model(record["architecture"], classes=task.classes, **offers(reads))
        load_weights(network, weights)
    network.eval()
    network.requires_grad_(False)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = use_bf16(precision)
    if bf16:
        _round_once(network)
    name = f"{record['preset']}-{_digest(path)}"
    if confidence != EXACT:
        if not hasattr(network, "score_labels"):
            raise ConfigError(
                f"the model {name} does not answer in words, so it has no confidence '{confidence}'",
                expected=f"a vision-language model, or '{EXACT}'",
            )
        name += f"-{confidence}"
    return LoadedModel(network, name, task, reads, record, bf16, confidence)


class _Linear(nn.Linear):
    """A trained linear layer that keeps its weights in bfloat16 beside float32: autocast would round them in every
    pass, and attribution wants them as they are."""

    def __init__(self, trained: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = trained.in_features, trained.out_features
        self.weight, self.bias = trained.weight, trained.bias
        self.rounded = [
            tensor.detach().bfloat16() if tensor is not None else None for tensor in (self.weight, self.bias)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """(.., in) -> (.., out); what autocast gives, in bfloat16, or what float32 gives without autocast."""
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        weight, bias = self.rounded
        return nn.functional.linear(x.bfloat16(), weight, bias)


def _round_once(network: nn.Module) -> None:
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Linear:  # not packed 4-bit layers
            network.set_submodule(name, _Linear(layer))


def _digest(folder: Path) -> str:
    """Eight letters that stand for all weights of a run."""
    files = [folder / "model.safetensors", *sorted(folder.glob("adapter/*.safetensors"))]
    return hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)).hexdigest()[:8]


def finished_record(path: Path) -> dict[str, Any]:
    """The record of a finished run folder.

    Raises:
        InputFileError: no such folder, an unfinished run, a damaged record.
    """
    if not path.is_dir():
        raise InputFileError(
            "no such folder" if not path.exists() else "this is not a folder", where=path, next_step=_STEP
        )
    at = path / "record.json"
    record = read_json(at, next_step=_STEP)
    if not isinstance(record, dict) or record.get("stage") != "train":
        raise InputFileError("this is not the record of a training run", where=at, next_step=_STEP)
    if record.get("status") != "finished":
        raise InputFileError(
            "this run is not finished", where=path, next_step="Go on with it by the same 'nuadapt train' command"
        )
    missing = [name for name in ("preset", "architecture", "task", "input") if name not in record]
    if missing:
        raise InputFileError(f"the record lacks {listed(missing)}", where=at, next_step=_STEP)
    return record


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a model with the tensors of a safetensors file; every tensor must fit.

    Raises:
        InputFileError: missing or damaged file, or tensors that do not fit, listed as loaded, skipped, missing.
    """
    given = read_tensors(path, next_step=_STEP)
    check_fit(network.state_dict(), given, path, described_by="record.json")
    network.load_state_dict(given)


def read_tensors(path: Path, *, next_step: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        InputFileError: missing or damaged file.
    """
    if not path.is_file():
        raise InputFileError("the weights file is missing", where=path, next_step=next_step)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputFileError(
            f"this is not a sound safetensors file ({error})", where=path, next_step=next_step
        ) from error


def check_fit(wanted: dict[str, Tensor], given: dict[str, Tensor], path: Path, *, described_by: str) -> None:
    """Compare names and shapes of tensors.

    Raises:
        InputFileError: they differ; listed as fitting, not fitting, missing.
    """
    fitting = [n for n in wanted if n in given and given[n].shape == wanted[n].shape]
    skipped = [
        f"{n} {tuple(given[n].shape)}" + (f" where the model has {tuple(wanted[n].shape)}" if n in wanted else "")
        for n in given
        if n not in fitting
    ]
    missing = [n for n in wanted if n not in given]
    if skipped or missing:
        raise InputFileError(
            f"the weights do not fit the model: {len(fitting)} tensors fit; "
            f"{len(skipped)} do not: {listed(skipped) or 'none'}; "
            f"{len(missing)} are missing: {listed(missing) or 'none'}",
            where=path,
            expected=f"the {len(wanted)} tensors of the model that {described_by} describes",
        )
