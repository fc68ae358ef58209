"""Pretraining of PET2 as in OmniLearned (arXiv:2510.24066): to tell classes apart, and to take noise off tokens.

The second task is flow matching (Lipman et al., arXiv:2210.02747): at time t from 0 to 1, kinematics x are shown as
z = (1 - t) x + t e with noise e, and the generator's head answers with the velocity e - x. Types and further inputs of
tokens stay as they are. The classes are also told from the noised events, which counts (1 - t)^2. All three losses are
added, as in the package ``omnilearned`` 0.2.0, whose parameter names these are.

The noise there is that of jets whatever the events are; here it has the mean and the spread of the training tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.cloud import KINEMATICS, CloudShape
from nuadapt.models.loss import weighted_cross_entropy, weighted_mean
from nuadapt.models.pet2 import MLP, PET2, Block, initialise
from nuadapt.models.ragged import Groups, Packing, detach_front, prepend, set_mean

#: Of the draws in validation, so that the loss of one state is one number.
_VALIDATION_SEED = 1


class Generator(nn.Module):
    """Velocities of tokens from the rows of the body and the class of each event."""

    def __init__(self, preset: Mapping[str, Any], n_classes: int) -> None:
        super().__init__()
        width, heads = int(preset["width"]), int(preset["heads"])
        hidden = int(preset["mlp_ratio"] * width)
        self.pid_embed = nn.Sequential(nn.Embedding(n_classes, width), MLP(width, hidden, width, norm=False))
        self.in_blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(int(preset["head_depth"])))
        # The package has a sequence of this one, hence "0." in its names.
        self.fc = nn.Sequential(MLP(width, hidden, width, norm=False))
        self.out = nn.Linear(width, len(KINEMATICS))

    def forward(self, rows: Tensor, groups: Groups, labels: Tensor, n_front: int) -> Tensor:
        """(R, D) to (tokens, 4) of all events in packed order.

        ``labels`` (B,) are in that order, too; the first ``n_front`` rows of each event are no tokens of it.
        """
        rows, groups = prepend(self.pid_embed(labels).unsqueeze(1), rows, groups)
        for block in self.in_blocks:
            rows = block(rows, groups)
        _, rows, _ = detach_front(rows, groups, n_front + 1)
        velocity: Tensor = self.out(self.fc(rows))
        return velocity


class PET2Pretraining(PET2):
    """PET2 with both heads. Without labels it answers as PET2 does."""

    timed = True
    noise_mean: Tensor
    noise_spread: Tensor

    def __init__(
        self,
        preset: Mapping[str, Any],
        cloud: CloudShape,
        classes: tuple[str, ...],
        label_smoothing: float = 0.0,
    ) -> None:
        if not classes:
            raise ConfigError("pretraining tells classes apart, and this task asks for an energy")
        super().__init__(preset, cloud, classes, label_smoothing)
        self.generator = Generator(preset, len(classes))
        self.generator.apply(initialise)
        noise = preset.get("noise", {"mean": [0.0] * len(KINEMATICS), "spread": [1.0] * len(KINEMATICS)})
        # The architecture in the record of a run says them, so they are no part of the weights.
        self.register_buffer("noise_mean", torch.tensor(noise["mean"]), persistent=False)
        self.register_buffer("noise_spread", torch.tensor(noise["spread"]), persistent=False)

    def forward(
        self,
        tokens: Tensor,
        type: Tensor,
        mask: Tensor,
        globals: Tensor,
        labels: Tensor | None = None,
        targets: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As :meth:`CloudModel.forward`; with labels also ``generation`` (B,), the two losses of noised events."""
        if labels is None:
            return super().forward(tokens, type, mask, globals)
        self._check(tokens, type, mask, globals)
        packing, labels = Packing.of(mask), labels.long()
        time, noise = self.draw(tokens)
        x = tokens[..., self.body.kinematics]  # (B, N, 4)
        noised = self.with_kinematics(tokens, x + time[:, None, None] * (noise - x))
        clean = self.body(tokens, type, globals, packing)
        rows = self.body(noised, type, globals, packing, time)
        scores = packing.restore(self.classifier(*clean)).float()
        guess = packing.restore(self.classifier(*rows)).float()
        velocity = self.generator(*rows, labels[packing.order], self.n_front)  # (tokens, 4)
        apart = (velocity.float() - packing.pack(noise - x)).square().sum(1, keepdim=True)
        flow = packing.restore(set_mean(apart, packing.groups)).squeeze(1)  # (B,)
        generation = flow + (1 - time).square() * F.cross_entropy(guess, labels, reduction="none")
        smoothing = self.label_smoothing if self.training else 0.0
        loss = weighted_cross_entropy(scores, labels, weight, total, smoothing)
        return {"loss": loss + weighted_mean(generation, weight, total), "logits": scores, "generation": generation}

    @property
    def n_front(self) -> int:
        """Rows of a noised event before its tokens: those of the body, the time, the event-level features."""
        return self.classifier.tokens + 1 + (self.body.cond_embed is not None)

    def draw(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Times (B,) and noise (B, N, 4) of a batch; in validation the same each time."""
        shape = (*tokens.shape[:2], len(KINEMATICS))
        source = None if self.training else torch.Generator(tokens.device).manual_seed(_VALIDATION_SEED)
        given: dict[str, Any] = {"device": tokens.device, "dtype": tokens.dtype, "generator": source}
        time = torch.rand(len(tokens), **given)
        return time, torch.randn(shape, **given) * self.noise_spread + self.noise_mean

    def with_kinematics(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Tokens (B, N, F) with other kinematics ``x`` (B, N, 4)."""
        return tokens.index_copy(2, torch.tensor(self.body.kinematics, device=tokens.device), x)

    def velocity(
        self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor, labels: Tensor, time: Tensor
    ) -> Tensor:
        """Velocities (B, N, 4) of noised tokens at ``time`` (B,), 0 in padded places."""
        packing = Packing.of(mask)
        rows = self.body(tokens, type, globals, packing, time)
        found: Tensor = self.generator(*rows, labels[packing.order], self.n_front)
        flat = found.new_zeros(mask.numel(), len(KINEMATICS)).index_copy(0, packing.rows, found)
        return flat.view(*mask.shape, len(KINEMATICS))

    @torch.no_grad()
    def generate(
        self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor, labels: Tensor, steps: int = 64
    ) -> Tensor:
        """Tokens (B, N, F) with kinematics of its own: noise carried from time 1 to 0 along the velocities.

        Types, further inputs and event-level features are given; the integration is by the midpoint rule.
        """
        given = {"type": type, "mask": mask, "globals": globals, "labels": labels}
        _, x = self.draw(tokens)
        step, ones = 1.0 / steps, torch.ones_like(tokens[:, 0, 0])

        def slope(at: Tensor, time: float) -> Tensor:
            return self.velocity(self.with_kinematics(tokens, at), **given, time=time * ones)

        for n in range(steps):
            now = 1.0 - n * step
            middle = x - 0.5 * step * slope(x, now)
            x = x - step * slope(middle, now - 0.5 * step)
        return torch.where(mask[..., None], self.with_kinematics(tokens, x), tokens)


def measured(cloud: CloudShape, batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """The noise for these events, for their preset: mean and spread of the kinematics of the tokens of a batch."""
    x = batch["tokens"][batch["mask"]][:, cloud.indices(*KINEMATICS)].double()
    if len(x) < 2:
        raise DataError("there are no tokens in the first events to learn from")
    plain = {"mean": x.mean(0), "spread": x.std(0)}
    return {"noise": {name: [round(float(v), 5) for v in values] for name, values in plain.items()}}


def build(
    preset: Mapping[str, Any], *, cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``pet2-pretraining``.

    Raises:
        ConfigError: no classes, or what PET2 refuses.
    """
    return PET2Pretraining(preset, cloud, classes, label_smoothing)
