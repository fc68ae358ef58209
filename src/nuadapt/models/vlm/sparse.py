"""The offline model as a classifier: one token per occupied block, the common beginning evaluated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nuadapt.models.vlm.adapter_files import load_adapter
from nuadapt.models.vlm.adapters import adapt
from nuadapt.models.vlm.backbones import BackbonePreset, Base
from nuadapt.models.vlm.classifier import LONGEST_REASON, VLMClassifier
from nuadapt.models.vlm.constrained import Form
from nuadapt.models.vlm.label_tree import LabelScores
from nuadapt.models.vlm.offline import assemble, tokenizer
from nuadapt.models.vlm.prompts import Prompt
from nuadapt.models.vlm.scoring import score_labels
from nuadapt.models.vlm.sequences import (
    ImageTokens,
    Words,
    beginning,
    common_cache,
    hidden_states,
    image_tokens,
    sequences,
    words_of,
)


@dataclass(frozen=True)
class Conversations:
    """Whole conversations: ``embeds`` (B, T, D) and ``mask`` (B, T), 0 where padding, on the left."""

    embeds: Tensor
    mask: Tensor


class SparseClassifier(VLMClassifier):
    """Adapters and connector learn, the vision tower slowly; the language model's own weights are frozen.

    So are those of the tower where it has adapters: then it learns by them alone.

    Args:
        preset: the backbone's preset; its ``occupied_above`` is the grey level from which a patch is looked at.
        prompt, views, reason_weight: see :class:`nuadapt.models.vlm.classifier.VLMClassifier`.
        adapter: folder with trained adapters; none: fresh ones.
    """

    #: ``forward`` takes ``shown``, since blocks without charge are no tokens.
    gated = True

    def __init__(
        self,
        preset: BackbonePreset,
        prompt: Prompt,
        views: Sequence[str],
        *,
        reason_weight: float = 1.0,
        examples: Sequence[int] = (),
        adapter: Path | None = None,
    ) -> None:
        base = Base(preset.name, "", "float32")
        if adapter is None:
            adapted = adapt(assemble(preset), preset.adapter)
        else:
            adapted = load_adapter(assemble(preset), adapter, base, prompt.labels).model
        super().__init__(
            adapted,
            preset,
            base,
            tokenizer(),
            prompt,
            views,
            view_mode="multi",
            reason_weight=reason_weight,
            examples=examples,
        )
        self.model.model.connector.requires_grad_(True)
        if "vision" not in preset.adapter.towers:
            self.model.model.vision_model.requires_grad_(True)
        image = self.model.config.image_token_id
        self.words: Words = words_of(self.tokenizer, prompt, self.views, image, self.example_labels)

    def own_names(self) -> set[str]:
        """Adapters, connector and tower; the language model is that of its package."""
        names = (name for name, _ in self.named_parameters())
        mine = {n for n in names if "lora_" in n or ".connector." in n or ".vision_model." in n}
        return mine | self.example_names()

    def images(self, pixels: Tensor, shown: Tensor | None = None) -> ImageTokens:
        """Image tokens of grey images (B, V, H, W), of the blocks where ``shown`` (likewise) or they have charge."""
        return image_tokens(self.model, pixels, self.preset.occupied_above, shown)

    def cache(self) -> Any:
        """Keys and values of the common beginning."""
        return self.kept(lambda: common_cache(self.model, self.begin()))

    def begin(self) -> Tensor:
        """Embeddings (T, D) of the common beginning."""
        shown = self.images(self.examples) if self.examples is not None else None
        return beginning(self.model, self.words, shown)

    def score_labels(self, pixels: Tensor, shown: Tensor | None = None) -> LabelScores:
        """See :class:`VLMClassifier`; one pass over an event's own tokens and the tree of labels."""
        told = self.told(pixels)
        return score_labels(self.model, self.words, self.cache(), self.images(pixels, shown), self.tree, told)

    def told(self, pixels: Tensor) -> list[list[int]]:
        """Token numbers of the notes on each event."""
        return [self.numbers(note) for note in self.notes(pixels)]

    def answer_logits(self, pixels: Tensor, answers: list[list[int]]) -> Tensor:
        """See :class:`VLMClassifier`."""
        given = sequences(self.model, self.words, self.images(pixels), answers, self.told(pixels))
        hidden = hidden_states(self.model, self.begin(), given)
        # Position p predicts the token at p + 1; the answer begins at `length`.
        size = torch.tensor([len(answer) for answer in answers], device=hidden.device)
        places = torch.arange(hidden.shape[1], device=hidden.device)
        begin = given.length[:, None] - 1
        asked = (places >= begin) & (places < begin + size[:, None])  # (B, T)
        logits: Tensor = self.model.lm_head(hidden[asked])
        return logits

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
        """See :class:`VLMClassifier`; generation is that of transformers."""
        given = self.conversations(pixels, labels)
        said = self.model.generate(
            inputs_embeds=given.embeds,
            attention_mask=given.mask,
            max_new_tokens=longest,
            num_beams=beams,
            renormalize_logits=True,  # what the form forces costs nothing, such as the end behind a short label
            length_penalty=0.0 if beams > 1 else None,  # by their sums, as label scores are
            do_sample=False,
            prefix_allowed_tokens_fn=form.prefix_function(),
            pad_token_id=self.words.pad,
            eos_token_id=self.words.end,
        )
        return [[t for t in row if t not in (self.words.end, self.words.pad)] for row in said.tolist()]

    def conversations(self, pixels: Tensor, labels: Tensor | None = None) -> Conversations:
        """Whole conversations padded on the left, as generation wants them."""
        answers = self.answers(labels, None) if labels is not None else None
        given = sequences(self.model, self.words, self.images(pixels), answers, self.told(pixels))
        before = self.begin()
        begun = len(self.words.answer) if labels is None else 0  # `answer` itself is still to be said
        rows = [
            torch.cat([before, row[real][: int(real.sum()) - begun]])
            for row, real in zip(given.embeds, given.real, strict=True)
        ]
        longest = max(map(len, rows))
        embeds = torch.stack([F.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=embeds.device)
        return Conversations(embeds, mask)

    def lr_factors(self) -> dict[str, float]:
        """Learning rates relative to that of the adapters: the connector starts from nothing, the tower is trained."""
        return {".lora_": 1.0, ".connector.": 3.0, ".vision_model.": 0.15}
