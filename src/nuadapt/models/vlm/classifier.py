"""A vision-language model as a classifier of pixel maps: trained to answer in words, asked for exact probabilities.

Training teaches the answer by its own tokens (the label, and in some batches a reason behind it); nothing else of the
conversation carries loss. What it answers is scored over all labels (:mod:`nuadapt.models.vlm.scoring`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from nuadapt.errors import DataError
from nuadapt.models.loss import weighted_cross_entropy
from nuadapt.models.run import check_fit, read_tensors
from nuadapt.models.vlm.adapter_files import AdapterRecord, load_adapter, save_adapter
from nuadapt.models.vlm.adapters import adapt
from nuadapt.models.vlm.backbones import BackbonePreset, Base
from nuadapt.models.vlm.constrained import Form, reason_form
from nuadapt.models.vlm.label_tree import LabelScores, LabelTree
from nuadapt.models.vlm.offline import assemble, tokenizer
from nuadapt.models.vlm.prompts import Prompt
from nuadapt.models.vlm.scoring import score_labels
from nuadapt.models.vlm.sequences import (
    ImageTokens,
    Sequences,
    Words,
    common_cache,
    hidden_states,
    image_tokens,
    sequences,
    words_of,
)
from nuadapt.settings import build as build_settings

#: Folder of the adapters in a run folder.
ADAPTER = "adapter"
_STEP = "Give the folder of a finished 'nuadapt train' run"
#: Tokens of a reason at most.
LONGEST_REASON = 60
_IGNORED = -100  # no loss here, as in torch's cross-entropy


@dataclass(frozen=True)
class Conversations:
    """Whole conversations: ``embeds`` (B, T, D) and ``mask`` (B, T), 0 where padding, on the left."""

    embeds: Tensor
    mask: Tensor


def _rows(given: Sequences) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(given.embeds, given.real, strict=True)


class VLMClassifier(nn.Module):
    """The offline model with its prompt. Adapters and connector learn; tower and language model are frozen.

    Args:
        preset: the backbone's preset.
        prompt: what is asked, and the label of each class.
        views: names of the views, in order.
        occupied_above: grey level from which a patch counts as occupied; below 0 all do.
        reason_weight: weight of a reason's mean token loss beside that of the label.
        adapter: folder with trained adapters; none: fresh ones.
    """

    def __init__(
        self,
        preset: BackbonePreset,
        prompt: Prompt,
        views: Sequence[str],
        *,
        occupied_above: float,
        reason_weight: float = 1.0,
        adapter: Path | None = None,
    ) -> None:
        super().__init__()
        self.prompt, self.views = prompt, tuple(views)
        self.occupied_above, self.reason_weight = occupied_above, reason_weight
        self.tokenizer = tokenizer()
        self.preset, self.base = preset, Base(preset.name, "", "float32")
        if adapter is None:
            self.adapted = adapt(assemble(preset), preset.adapter)
        else:
            self.adapted = load_adapter(assemble(preset), adapter, self.base, prompt.labels).model
        self.model.model.connector.requires_grad_(True)
        self.words: Words = words_of(self.tokenizer, prompt, self.views, self.model.config.image_token_id)
        self.tree = LabelTree.of(self.words.endings)
        self._cache: Any = None

    @property
    def model(self) -> Any:
        """The SmolVLM of transformers, adapters inside."""
        return self.adapted.get_base_model()

    def own_names(self) -> set[str]:
        """State that is this model's own: adapters, connector, tower. The language model is the package's."""
        names = super().state_dict().keys()
        return {n for n in names if "lora_" in n or ".connector." in n or ".vision_model." in n}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Only what is this model's own; see :meth:`own_names`."""
        own = self.own_names()
        return {name: tensor for name, tensor in super().state_dict(*args, **kwargs).items() if name in own}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Inverse of :meth:`state_dict`."""
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        self._cache = None
        return result

    def train(self, mode: bool = True) -> VLMClassifier:
        """As in torch; what was computed with other weights is forgotten."""
        self._cache = None
        super().train(mode)
        return self

    def images(self, pixels: Tensor) -> ImageTokens:
        """Image tokens of grey images (B, V, H, W).

        Raises:
            DataError: another number of views.
        """
        if pixels.ndim != 4 or pixels.shape[1] != len(self.views):
            raise DataError(f"pixels have shape {tuple(pixels.shape)}", expected=f"(events, {len(self.views)}, H, W)")
        return image_tokens(self.model, pixels, self.occupied_above)

    def cache(self) -> Any:
        """Keys and values of the common beginning; kept while weights cannot change."""
        if torch.is_grad_enabled() or self.training:
            return common_cache(self.model, self.words)
        if self._cache is None:
            self._cache = common_cache(self.model, self.words)
        return self._cache

    def score_labels(self, pixels: Tensor) -> LabelScores:
        """log P of every token of every label for each event of (B, V, H, W)."""
        return score_labels(self.model, self.words, self.cache(), self.images(pixels), self.tree)

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
        reasons: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """In training the loss of the answer's tokens; else log-probabilities of the classes.

        Args:
            pixels: grey levels (B, V, H, W).
            labels: class indices (B,).
            weight, total: see :func:`nuadapt.models.loss.weighted_cross_entropy`.
            reasons: a text per event behind the label, none or empty: the answer is not closed, so nothing says that
                an answer ends with its label.

        Returns:
            ``logits`` (B, classes) log P of each label, not in training; ``loss`` if there are labels.
        """
        if self.training and labels is not None:
            return {"loss": self._answer_loss(pixels, labels, weight, total, reasons)}
        logits = self.score_labels(pixels).log_p()
        if labels is None:
            return {"logits": logits}
        return {"loss": weighted_cross_entropy(logits, labels, weight, total), "logits": logits}

    def answers(self, labels: Tensor, reasons: Sequence[str] | None) -> list[list[int]]:
        """Token numbers of the answers behind ``prompt.answer``: label, then the reason and the end of the turn."""
        found = []
        for event, label in enumerate(labels.tolist()):
            answer = list(self.words.endings[label])
            if reasons and reasons[event]:
                answer += [*self.tokenizer(f" {reasons[event]}", add_special_tokens=False)["input_ids"], self.words.end]
            found.append(answer)
        return found

    def _answer_loss(
        self, pixels: Tensor, labels: Tensor, weight: Tensor | None, total: Tensor | None, reasons: Sequence[str] | None
    ) -> Tensor:
        """-log P(label) + reason_weight * mean over its tokens of -log P(reason), weighted over events."""
        answers = self.answers(labels, reasons)
        given = sequences(self.model, self.words, self.images(pixels), answers)
        hidden = hidden_states(self.model, self.words, self.cache(), given)
        longest = max(map(len, answers))
        batch = torch.arange(len(answers), device=hidden.device)[:, None]
        # Position p predicts the token at p + 1; the answer begins at `length`.
        at = (given.length[:, None] - 1 + torch.arange(longest, device=hidden.device)).clamp_max(hidden.shape[1] - 1)
        wanted = torch.full((len(answers), longest), _IGNORED, device=hidden.device)
        for event, answer in enumerate(answers):
            wanted[event, : len(answer)] = torch.tensor(answer, device=hidden.device)
        logits = self.model.lm_head(hidden[batch, at]).float()  # (B, A, vocabulary), at the answer only
        ce = F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=_IGNORED, reduction="none")  # (B, A)
        size = torch.tensor([len(self.words.endings[i]) for i in labels.tolist()], device=hidden.device)[:, None]
        of_label = torch.arange(longest, device=hidden.device) < size
        of_reason = (wanted != _IGNORED) & ~of_label
        each = (ce * of_label).sum(dim=1)
        each = each + self.reason_weight * (ce * of_reason).sum(dim=1) / of_reason.sum(dim=1).clamp_min(1)
        weight = torch.ones_like(each) if weight is None else weight.float()
        total = weight.sum() if total is None else total
        return (weight * each).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)

    @torch.inference_mode()
    def say(
        self,
        pixels: Tensor,
        form: Form,
        labels: Tensor | None = None,
        *,
        beams: int = 1,
        longest: int = LONGEST_REASON,
    ) -> list[list[int]]:
        """Tokens that the model says in ``form``, likeliest first token by token (or by ``beams``), without the end.

        Args:
            pixels: grey levels (B, V, H, W).
            labels: the answer goes on behind these classes (B,); none: from the end of the user's turn.
        """
        given = self.conversations(pixels, labels)
        said = self.model.generate(
            inputs_embeds=given.embeds,
            attention_mask=given.mask,
            max_new_tokens=longest,
            num_beams=beams,
            do_sample=False,
            prefix_allowed_tokens_fn=form.prefix_function(),
            pad_token_id=self.words.pad,
            eos_token_id=self.words.end,
        )
        return [[t for t in row if t not in (self.words.end, self.words.pad)] for row in said.tolist()]

    def conversations(self, pixels: Tensor, labels: Tensor | None = None) -> Conversations:
        """Whole conversations padded on the left, as generation wants them."""
        answers = self.answers(labels, None) if labels is not None else None
        given = sequences(self.model, self.words, self.images(pixels), answers)
        embedding = self.model.get_input_embeddings()
        before = embedding(torch.tensor(self.words.before, device=given.embeds.device))  # (T0, D)
        begun = len(self.words.answer) if labels is None else 0  # `answer` itself is still to be said
        rows = [torch.cat([before, row[real][: int(real.sum()) - begun]]) for row, real in _rows(given)]
        longest = max(map(len, rows))
        embeds = torch.stack([F.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        real = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=embeds.device)
        return Conversations(embeds, real)

    def reasons(self, pixels: Tensor, labels: Tensor) -> list[str]:
        """A reason in words for each event, given the class that is answered."""
        said = self.say(pixels, reason_form(self.tokenizer), labels)
        return [self.tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in said]

    def lr_factors(self) -> dict[str, float]:
        """Learning rates relative to that of the adapters: the connector starts from nothing."""
        return {".connector.": 3.0}

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Adapters added into the weights, for speed; taken out again afterwards."""
        self.adapted.merge_adapter()
        self._cache = None
        try:
            yield
        finally:
            self.adapted.unmerge_adapter()
            self._cache = None


def build(
    preset: Mapping[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``vlm`` with its ``language`` part (prompt, views, reason_weight).

    Raises:
        ConfigError: unknown settings, or a backbone that cannot be trained this way.
        MissingExtraError: the language model or peft is not installed.
    """
    return _classifier(preset)


def _classifier(given: Mapping[str, Any], adapter: Path | None = None) -> VLMClassifier:
    plain = dict(given)
    language = plain.pop("language")
    preset = build_settings(BackbonePreset, plain, where="preset")
    return VLMClassifier(
        preset,
        Prompt.from_dict(language["prompt"]),
        language["views"],
        occupied_above=preset.occupied_above,
        reason_weight=float(language["reason_weight"]),
        adapter=adapter,
    )


def load_tower(model: VLMClassifier, run: Path) -> None:
    """Take the vision tower of a finished run of preset ``vit``.

    Raises:
        InputFileError: no such run, or a tower of another shape.
    """
    weights = run / "model.safetensors"
    given = read_tensors(weights, next_step=_STEP)
    tower = {name.removeprefix("tower."): tensor for name, tensor in given.items() if name.startswith("tower.")}
    mine = model.model.model.vision_model
    check_fit(mine.state_dict(), tower, weights, described_by="the vision tower of the preset")
    mine.load_state_dict(tower)


def save(network: VLMClassifier, weights: Path, folder: Path) -> None:
    """The run's files: ``adapter/`` in PEFT layout, tower and connector in ``model.safetensors``.

    ``weights`` are the best ones, which ``network`` holds already.
    """
    parts = {n: t for n, t in read_tensors(weights, next_step=_STEP).items() if "lora_" not in n}
    save_file(parts, folder / "model.safetensors", metadata={"format": "pt"})
    record = AdapterRecord(network.base, network.preset.adapter, network.prompt.name, "multi", network.prompt.labels)
    save_adapter(network.adapted, folder / ADAPTER, record)


def load(folder: Path, record: Mapping[str, Any]) -> nn.Module:
    """The model of a run folder, adapters merged into the weights.

    Raises:
        InputFileError: files missing, damaged, or of another model.
    """
    network = _classifier(record["architecture"], folder / ADAPTER)
    parts = read_tensors(folder / "model.safetensors", next_step=_STEP)
    wanted = {n: t for n, t in network.state_dict().items() if "lora_" not in n}
    check_fit(wanted, parts, folder / "model.safetensors", described_by="record.json")
    network.load_state_dict(parts)
    network.adapted.merge_adapter()
    return network
