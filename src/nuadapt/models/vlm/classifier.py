"""A vision-language model as a classifier of pixel maps: trained to answer in words, asked for exact probabilities.

Training teaches the answer by its own tokens (the label, and in some batches a reason behind it); nothing else of the
conversation carries loss. What it answers is scored over all labels. Two kinds share this: the offline model, whose
images become one token per occupied block (:mod:`nuadapt.models.vlm.sparse`), and any chat model of transformers
behind its own processor (:mod:`nuadapt.models.vlm.chat`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.errors import DataError
from nuadapt.models.loss import weighted_cross_entropy
from nuadapt.models.vlm.backbones import BackbonePreset, Base, ViewMode
from nuadapt.models.vlm.constrained import Form, reason_form
from nuadapt.models.vlm.label_tree import LabelScores, LabelTree
from nuadapt.models.vlm.prompts import Prompt

#: Tokens of a reason at most.
LONGEST_REASON = 60

Made = TypeVar("Made")


class VLMClassifier(nn.Module, ABC):
    """What both kinds share. ``adapted`` is the PEFT model, ``base`` what its adapters stand on.

    Args:
        adapted: model with adapters, as :func:`nuadapt.models.vlm.adapters.adapt` returns it.
        preset, base: of the backbone.
        tokenizer: of the language model.
        prompt: what is asked, and the label of each class.
        views: names of the views, in order.
        view_mode: how the views are shown.
        reason_weight: weight of a reason's mean token loss beside that of the label.
        examples: shape (n, V, H, W) of the solved examples that stand before every question; none: no examples. The
            classes follow one another: 0, 1, .., 0, 1, ..
    """

    def __init__(
        self,
        adapted: Any,
        preset: BackbonePreset,
        base: Base,
        tokenizer: Any,
        prompt: Prompt,
        views: Sequence[str],
        *,
        view_mode: ViewMode,
        reason_weight: float,
        examples: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.adapted, self.preset, self.base = adapted, preset, base
        self.tokenizer, self.prompt, self.views = tokenizer, prompt, tuple(views)
        self.view_mode, self.reason_weight = view_mode, reason_weight
        self.endings = [self.numbers(ending) for ending in prompt.endings]
        self.tree = LabelTree.of(self.endings)
        self.examples: Tensor | None
        self.register_buffer("examples", torch.zeros(*examples) if examples else None)
        self._kept: dict[torch.dtype | None, Any] = {}
        module: Any = self  # torch gives this method no types
        module.register_state_dict_post_hook(_only_own)

    @property
    def model(self) -> Any:
        """The model of transformers, adapters inside."""
        return self.adapted.get_base_model()

    def numbers(self, text: str) -> list[int]:
        """Token numbers of a text without special tokens around it."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def notes(self, pixels: Tensor) -> list[str]:
        """What is told of each event of grey images (B, V, H, W) behind its pictures."""
        return self.prompt.notes(pixels.detach().cpu().numpy())

    @property
    def example_labels(self) -> list[int]:
        """Class of each example."""
        count = len(self.examples) if self.examples is not None else 0
        return [at % len(self.prompt.labels) for at in range(count)]

    def example_names(self) -> set[str]:
        """Names of the examples in the state."""
        return {"examples"} if self.examples is not None else set()

    @abstractmethod
    def own_names(self) -> set[str]:
        """Names of the state that is this model's own, and not that of its backbone."""

    @abstractmethod
    def score_labels(self, pixels: Tensor, shown: Tensor | None = None) -> LabelScores:
        """log P of every token of every label for each event of grey images (B, V, H, W).

        Models that do not look everywhere look where ``shown`` (B, V, H, W) has charge; none: where ``pixels`` have.
        """

    @abstractmethod
    def answer_logits(self, pixels: Tensor, answers: list[list[int]]) -> Tensor:
        """Logits (N, vocabulary) of every token of the answers behind ``prompt.answer``, answer after answer."""

    @abstractmethod
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

    def kept(self, make: Callable[[], Made]) -> Made:
        """What ``make`` computes of all conversations' beginning; kept while weights cannot change.

        One for each number format that autocast multiplies in.
        """
        if torch.is_grad_enabled() or self.training:
            return make()
        device = next(self.parameters()).device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if kind not in self._kept:
            self._kept[kind] = make()
        found: Made = self._kept[kind]
        return found

    def train(self, mode: bool = True) -> Self:
        """As in torch; what was computed with other weights is forgotten."""
        self._kept.clear()
        super().train(mode)
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Inverse of ``state_dict``. What is not given stays; it counts as missing if it is this model's own.

        What was computed with other weights is forgotten.
        """
        self._kept.clear()
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        own = self.own_names()
        result.missing_keys[:] = [name for name in result.missing_keys if name in own]
        return result

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
        reasons: Sequence[str] | None = None,
        shown: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """In training the loss of the answer's tokens; else log-probabilities of the classes.

        Args:
            pixels: grey levels (B, V, H, W).
            labels: class indices (B,).
            weight, total: see :func:`nuadapt.models.loss.weighted_cross_entropy`.
            reasons: a text per event behind the label, none or empty: the answer is not closed, so nothing says that
                an answer ends with its label.
            shown: see :meth:`score_labels`; not in training.

        Returns:
            ``logits`` (B, classes) log P of each label, not in training; ``loss`` if there are labels.

        Raises:
            DataError: another number of views than the model was made for.
        """
        if pixels.ndim != 4 or pixels.shape[1] != len(self.views):
            raise DataError(f"pixels have shape {tuple(pixels.shape)}", expected=f"(events, {len(self.views)}, H, W)")
        if self.training and labels is not None:
            return {"loss": self._answer_loss(pixels, labels, weight, total, reasons)}
        logits = self.score_labels(pixels, shown).log_p()
        if labels is None:
            return {"logits": logits}
        return {"loss": weighted_cross_entropy(logits, labels, weight, total), "logits": logits}

    def answers(self, labels: Tensor, reasons: Sequence[str] | None) -> list[list[int]]:
        """Token numbers of the answers behind ``prompt.answer``: label, then the reason and the end of the turn."""
        found = []
        for event, label in enumerate(labels.tolist()):
            answer = list(self.endings[label])
            if reasons and reasons[event]:
                answer += [*self.numbers(f" {reasons[event]}"), self.tokenizer.eos_token_id]
            found.append(answer)
        return found

    def _answer_loss(
        self, pixels: Tensor, labels: Tensor, weight: Tensor | None, total: Tensor | None, reasons: Sequence[str] | None
    ) -> Tensor:
        """-log P(label) + reason_weight * mean over its tokens of -log P(reason), weighted over events."""
        answers = self.answers(labels, reasons)
        wanted = torch.tensor([token for answer in answers for token in answer], device=labels.device)  # (N,)
        ce = F.cross_entropy(self.answer_logits(pixels, answers).float(), wanted, reduction="none")
        parts = torch.split(ce, [len(answer) for answer in answers])
        each = torch.stack([self._of_answer(*part) for part in zip(parts, labels, strict=True)])
        weight = torch.ones_like(each) if weight is None else weight.float()
        total = weight.sum() if total is None else total
        return (weight * each).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)

    def _of_answer(self, ce: Tensor, label: Tensor) -> Tensor:
        """Loss of one event from the cross-entropy of each token of its answer (A,)."""
        size = len(self.endings[int(label)])
        reason = ce[size:]
        return ce[:size].sum() + self.reason_weight * reason.sum() / max(len(reason), 1)

    def reasons(self, pixels: Tensor, labels: Tensor) -> list[str]:
        """A reason in words for each event, given the class that is answered (B,)."""
        said = self.say(pixels, self._reason_form, labels)
        return [self.tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in said]

    @cached_property
    def _reason_form(self) -> Form:
        """Made once: it knows every token that may be said."""
        return reason_form(self.tokenizer, self.model.get_output_embeddings().out_features)


def _only_own(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Leave only the model's own weights in its state: the backbone's are never copied into checkpoints."""
    if isinstance(module, VLMClassifier):
        own = {prefix + name for name in module.own_names()}
        for name in [name for name in state if name.startswith(prefix) and name not in own]:
            del state[name]


def padded(rows: Sequence[Sequence[int]], fill: int, device: torch.device) -> Tensor:
    """Token numbers as a tensor (B, longest), filled on the right."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], device=device)
