"""Any chat model of transformers as a classifier, behind its own processor and chat template.

What all conversations begin with is evaluated once for all events, where the model allows it
(:mod:`nuadapt.models.vlm.beginning`), the rest of an event's prompt once; labels go on from its keys and values. Images
are drawn when asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jinja2 import TemplateError
from torch import Tensor

from nuadapt.errors import ConfigError, nearest, require
from nuadapt.models.vlm.backbones import Backbone, ViewMode
from nuadapt.models.vlm.beginning import SHARING, Beginning, halves, positions, read
from nuadapt.models.vlm.classifier import LONGEST_REASON, VLMClassifier, padded
from nuadapt.models.vlm.constrained import Form
from nuadapt.models.vlm.label_tree import LabelScores
from nuadapt.models.vlm.prompts import Prompt
from nuadapt.models.vlm.sequences import repeated

#: Some templates tell today's date, and answers must not depend on the day: it is always that of Llama 3.2's own.
_TODAY = "26 Jul 2024"
#: Inputs with a place per token, which grow with the sequence; what new tokens have there.
_PER_TOKEN = {"attention_mask": 1, "token_type_ids": 0, "mm_token_type_ids": 0}


def shown(views: npt.NDArray[np.float32], mode: ViewMode) -> list[Any]:
    """Views (V, H, W), grey 0..1, as pictures (PIL, RGB), bright on black, lowest coordinate at the bottom.

    ``multi``: one each. ``stitch``: side by side with a thin line between. ``channels``: as the colours of one.

    Raises:
        ConfigError: unknown mode, or more views than colours.
    """
    image = require("PIL.Image", "readers")
    levels = np.flip((255 * np.clip(views, 0, 1)).astype(np.uint8), axis=1)  # (V, H, W)
    if mode == "multi":
        return [image.fromarray(view).convert("RGB") for view in levels]
    if mode == "stitch":
        line = np.full((levels.shape[1], 2), 255, dtype=np.uint8)
        parts = [part for view in levels for part in (view, line)][:-1]
        return [image.fromarray(np.concatenate(parts, axis=1)).convert("RGB")]
    if mode == "channels":
        if len(levels) > 3:
            raise ConfigError(f"{len(levels)} views do not fit the three colours of a picture", expected="at most 3")
        colours = np.zeros((*levels.shape[1:], 3), dtype=np.uint8)
        colours[..., : len(levels)] = levels.transpose(1, 2, 0)
        return [image.fromarray(colours)]
    raise ConfigError(f"unknown way '{mode}' to show views", expected=nearest(mode, ("multi", "stitch", "channels")))


class ChatClassifier(VLMClassifier):
    """A foreign backbone. Only its adapters learn.

    Args:
        backbone: as :func:`nuadapt.models.vlm.backbones.load_backbone` returns it.
        adapted: its model with adapters.
        prompt, views, view_mode, reason_weight: see :class:`VLMClassifier`.

    Raises:
        ConfigError: a view mode that this backbone does not support.
    """

    #: Images go through the backbone's own processor.
    has_pixel_gradient = False

    def __init__(
        self,
        backbone: Backbone,
        adapted: Any,
        prompt: Prompt,
        views: Sequence[str],
        *,
        view_mode: ViewMode | None = None,
        reason_weight: float = 1.0,
        examples: Sequence[int] = (),
    ) -> None:
        modes = backbone.preset.view_modes
        mode = view_mode or modes[0]
        if mode not in modes:
            raise ConfigError(
                f"{backbone.preset.name} cannot be shown views as '{mode}'", expected=nearest(mode, modes)
            )
        super().__init__(
            adapted,
            backbone.preset,
            backbone.base,
            backbone.processor.tokenizer,
            prompt,
            views,
            view_mode=mode,
            reason_weight=reason_weight,
            examples=examples,
        )
        self.processor = backbone.processor
        self.processor.tokenizer.padding_side = "left"

    def own_names(self) -> set[str]:
        """The adapters, and the examples."""
        return {name for name, _ in self.named_parameters() if "lora_" in name} | self.example_names()

    def inputs(self, pixels: Tensor, *, answering: bool = True) -> dict[str, Tensor]:
        """What the model reads of a batch, padded on the left, up to the user's turn or the beginning of the answer."""
        solved, pictures = self._solved(), self._pictures(pixels)
        made = self._processed(self._texts(pixels, pictures), [[*solved, *own] for own in pictures])
        return self._answering(made) if answering else made

    def _solved(self) -> list[Any]:
        """Pictures of the examples."""
        before = self.examples.cpu().numpy() if self.examples is not None else ()
        return [picture for event in before for picture in shown(event, self.view_mode)]

    def _pictures(self, pixels: Tensor) -> list[list[Any]]:
        """Pictures of each event."""
        return [shown(event, self.view_mode) for event in pixels.detach().cpu().numpy()]

    def _texts(self, pixels: Tensor, pictures: list[list[Any]]) -> list[str]:
        """The conversation about each event."""
        return [self.conversation(len(own), note) for own, note in zip(pictures, self.notes(pixels), strict=True)]

    def _processed(self, texts: list[str], pictures: list[list[Any]]) -> dict[str, Tensor]:
        """Inputs of the model by its own processor."""
        images = pictures if any(pictures) else None
        made = self.processor(text=texts, images=images, padding=True, return_tensors="pt", add_special_tokens=False)
        device = next(self.model.parameters()).device
        return {name: value.to(device) for name, value in made.items() if isinstance(value, Tensor)}

    def _answering(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs with the beginning of the answer behind them."""
        ids = inputs["input_ids"]
        return longer(inputs, padded([self.numbers(self.prompt.answer)] * len(ids), 0, ids.device))

    def conversation(self, pictures: int, note: str) -> str:
        """The text up to the answer, with marks for the ``pictures`` of an event; ``note`` is told of the last one.

        Raises:
            ConfigError: the model's template takes no such conversation.
        """
        asked = [_text(f"{self.prompt.user} {self.prompt.about}".strip()), *[{"type": "image"}] * pictures]
        turns: list[dict[str, Any]] = []
        for label in self.example_labels:
            answer = self.prompt.answer + self.prompt.endings[label]
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": [_text(answer)]}]
        turns.append({"role": "user", "content": [*asked, *([_text(note)] if note else [])]})
        try:
            return self._written([{"role": "system", "content": [_text(self.prompt.system)]}, *turns])
        except TemplateError:  # that of Llama 3.2 refuses a system message beside images, others refuse any
            before = [_text(f"{self.prompt.system}\n")] if self.prompt.system else []
            turns[0] = {"role": "user", "content": [*before, *turns[0]["content"]]}
        try:
            return self._written(turns)
        except TemplateError as error:
            raise ConfigError(f"the chat template of {self.base.name} refuses to ask ({error})") from error

    def _written(self, messages: list[dict[str, Any]]) -> str:
        """A conversation by the model's template, up to where the model answers."""
        today = {"date_string": _TODAY} if "date_string" in str(self.processor.chat_template) else {}
        text: str = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **today)
        begin = self.tokenizer.bos_token
        # Most templates write it; in front of others the tokenizer would, were it not told to add nothing.
        wanted = begin is not None and self.tokenizer("")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        return text if not wanted or text.startswith(begin) else begin + text

    def _forward(self, places: int, **inputs: Any) -> Any:
        """What the model gives; ``logits`` (B, places, vocabulary) are of the last places alone, which saves memory."""
        takes = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        given = self.model(**inputs, **({"logits_to_keep": places} if takes else {}))
        given.logits = given.logits[:, -places:]
        return given

    def answer_logits(self, pixels: Tensor, answers: list[list[int]]) -> Tensor:
        """See :class:`VLMClassifier`."""
        inputs = self.inputs(pixels)
        tokens = padded(answers, self.tokenizer.pad_token_id, inputs["input_ids"].device)
        real = padded([[1] * len(answer) for answer in answers], 0, tokens.device)
        # A place predicts the token behind it, so the first one asked is the last of the prompt.
        logits: Tensor = self._forward(tokens.shape[1] + 1, **longer(inputs, tokens, real)).logits
        return logits[:, :-1][real.bool()]

    def score_labels(self, pixels: Tensor, shown: Tensor | None = None) -> LabelScores:
        """See :class:`VLMClassifier`; the prompt once, then all labels on its keys and values. It looks everywhere."""
        first, inputs, places = self._asked(pixels)
        fed = [label[:-1] for label in self.endings]  # the last token of a label is only looked up
        n_labels, device = len(fed), inputs["input_ids"].device
        batch = len(inputs["input_ids"])
        logits = [[first.logits[:, -1]] for _ in fed]
        if any(fed):
            tokens = padded(fed, self.tokenizer.pad_token_id, device).repeat(batch, 1)  # (B * L, K)
            real = padded([[1] * len(label) for label in fed], 0, device).repeat(batch, 1)
            cache = first.past_key_values
            cache.batch_repeat_interleave(n_labels)
            seen = {n: v.repeat_interleave(n_labels, dim=0) for n, v in inputs.items() if n in _LATER}
            given = _continued(seen, tokens, real, places.repeat_interleave(n_labels, dim=-2))
            later = self.model(**given, past_key_values=cache, use_cache=True).logits
            later = later.unflatten(0, (batch, n_labels))  # (B, L, K, vocabulary)
            logits = [[first.logits[:, -1], *later[:, i, : len(label)].unbind(1)] for i, label in enumerate(fed)]
        return LabelScores(
            tuple(
                torch.stack([at.float().log_softmax(-1)[:, token] for at, token in zip(places, label, strict=True)], 1)
                for places, label in zip(logits, self.endings, strict=True)
            ),
            self.tree.labels,
        )

    def _asked(self, pixels: Tensor) -> tuple[Any, dict[str, Tensor], Tensor]:
        """The pass over a batch's prompts, behind the common beginning if it can be shared.

        Returns:
            What the model gives of the last place, what it was given, and the positions (.., B, T) of that.
        """
        begun = self.kept(lambda: self._beginning(pixels[:1])) if self.shares else None
        if begun is None:
            inputs = self.inputs(pixels)
            places = positions(self.model, inputs)
            return self._forward(1, **inputs, position_ids=places, use_cache=True), inputs, places
        pictures = self._pictures(pixels)
        mark, solved = self.processor.image_token, len(self.example_labels) * len(pictures[0])
        ends = [halves(text, mark, solved)[1] for text in self._texts(pixels, pictures)]
        own = self._answering(self._processed(ends, pictures))
        places = begun.next + positions(self.model, own)
        mask = own["attention_mask"]
        own["attention_mask"] = torch.cat([mask.new_ones(len(mask), begun.length), mask], dim=1)
        cache = repeated(begun.cache, len(mask))
        return self._forward(1, **own, position_ids=places, past_key_values=cache, use_cache=True), own, places

    @property
    def shares(self) -> bool:
        """Whether events can share their common beginning."""
        return self.model.config.model_type in SHARING

    def _beginning(self, pixels: Tensor) -> Beginning | None:
        """The common beginning, evaluated; none if its tokens are not those of a whole conversation about ``pixels``.

        A tokenizer may join what stands at the seam.
        """
        solved, (pictures,) = self._solved(), self._pictures(pixels)
        (text,) = self._texts(pixels, [pictures])
        begin, end = halves(text, self.processor.image_token, len(solved))
        whole = self._processed([text], [[*solved, *pictures]])["input_ids"]
        parts = [self._processed([begin], [solved]), self._processed([end], [pictures])]
        if not torch.equal(torch.cat([part["input_ids"] for part in parts], dim=1), whole):
            return None
        return read(self.model, parts[0])

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
        """See :class:`VLMClassifier`; event by event, because labels differ in length."""
        end = (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        found = []
        for event in range(len(pixels)):
            inputs = self.inputs(pixels[event : event + 1], answering=labels is not None)
            if labels is not None:
                inputs = longer(inputs, torch.tensor([self.endings[int(labels[event])]], device=pixels.device))
            begin = inputs["input_ids"].shape[1]
            said = self.model.generate(
                **inputs,
                max_new_tokens=longest,
                num_beams=beams,
                renormalize_logits=True,  # what the form forces costs nothing, such as the end behind a short label
                length_penalty=0.0 if beams > 1 else None,  # by their sums, as label scores are
                do_sample=False,
                prefix_allowed_tokens_fn=form.prefix_function(begin),
                pad_token_id=end[1],
                eos_token_id=end[0],
            )
            found.append([token for token in said[0, begin:].tolist() if token not in end])
        return found


def _text(text: str) -> dict[str, str]:
    """A part of a message."""
    return {"type": "text", "text": text}


#: Inputs that matter behind the first pass.
_LATER = ("attention_mask", "cross_attention_mask")


def longer(inputs: dict[str, Tensor], tokens: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
    """Inputs with ``tokens`` (B, A) behind them; ``real`` (B, A) is 0 where they are padding."""
    grown = dict(inputs)
    grown["input_ids"] = torch.cat([inputs["input_ids"], tokens], dim=1)
    for name, value in _PER_TOKEN.items():
        if name in inputs:
            new = torch.full_like(tokens, value) if name != "attention_mask" or real is None else real
            grown[name] = torch.cat([inputs[name], new.to(inputs[name].dtype)], dim=1)
    if "cross_attention_mask" in inputs:  # of Mllama, (B, T, images, tiles): new tokens see what the last one does
        mask = inputs["cross_attention_mask"]
        grown["cross_attention_mask"] = torch.cat([mask, mask[:, -1:].expand(-1, tokens.shape[1], -1, -1)], dim=1)
    return grown


def _continued(seen: dict[str, Tensor], tokens: Tensor, real: Tensor, places: Tensor) -> dict[str, Tensor]:
    """Inputs of a pass over ``tokens`` (B, K) that goes on from a cache, whose positions were ``places`` (.., B, T)."""
    inputs = {"input_ids": tokens, "attention_mask": torch.cat([seen["attention_mask"], real], dim=1)}
    if "cross_attention_mask" in seen:
        inputs["cross_attention_mask"] = seen["cross_attention_mask"][:, -1:].expand(-1, tokens.shape[1], -1, -1)
    # The last token of a prompt is a word, and words follow one another by one in every way of counting.
    inputs["position_ids"] = places[..., -1:] + 1 + torch.arange(tokens.shape[1], device=tokens.device)
    return inputs
