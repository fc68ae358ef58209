"""Evidence of every pixel for a class, in one way for all image models.

The score that is explained is the log-odds of a class, ln(p / (1 - p)) with its posterior p: unlike p itself it
does not flatten where the model is sure. An image without charge is what evidence is measured against, so pixels
without charge have none. Evidence is in units of log-odds and signed: positive speaks for the class, negative
against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.models.run import LoadedModel

Images = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

#: The cells of the integral over an image end at (k / steps) to this power.
_CROWDING = 2


@dataclass(frozen=True, slots=True)
class AttributionConfig:
    """How evidence is computed.

    ``steps``: points of the integral over each image for ``gradient``; the more, the better the evidence adds up.
    ``window``: side of the squares for ``occlusion``, pixels; smaller ones cost more and see less of a structure.
    ``batch_size``: images in the model at once, which bounds the memory.
    """

    steps: int = 32
    window: int = 8
    batch_size: int = 32

    def __post_init__(self) -> None:
        if min(self.steps, self.window, self.batch_size) < 1:
            raise ConfigError(
                f"steps={self.steps}, window={self.window}, batch_size={self.batch_size} are impossible",
                expected=">= 1",
            )


def attribution(
    model: LoadedModel,
    images: Images,
    target: npt.NDArray[Any],
    method: str = "gradient",
    config: AttributionConfig | None = None,
) -> Images:
    """Signed evidence for class ``target`` (B,) of every pixel of ``images`` (B, V, H, W), grey 0..1; same shape.

    ``gradient``: integrated gradients from the empty image (Sundararajan et al., arXiv:1703.01365). The evidence
    of an event adds up to the difference of its log-odds to those of an empty image, to the accuracy of the integral.
    Models that look at occupied patches only keep looking at those of the whole image all the way: a patch that
    entered with a jump would be in nobody's evidence. Their empty image is one of blank patches.

    ``occlusion``: by how much the log-odds fall when a square window is blanked (Zeiler and Fergus,
    arXiv:1311.2901), shared among the pixels of the window in proportion to their grey levels. The windows tile
    each view; those without charge are not tried.

    Raises:
        DataError: images or targets that the model cannot have; with ``gradient``, scores without a gradient.
        ConfigError: unknown method.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown attribution method '{method}'", expected=nearest(method, METHODS))
    images = checked_images(model, images)
    labels = _checked_target(model, target, len(images))
    return METHODS[method](model, images, labels, config or AttributionConfig())


def possible(model: LoadedModel, method: str) -> str:
    """``method``, or occlusion in place of a gradient that a model cannot give whose own processor draws the images."""
    return method if getattr(model.network, "has_pixel_gradient", True) else "occlusion"


def log_odds(model: LoadedModel, images: Images, target: npt.NDArray[Any], batch_size: int = 32) -> Floats:
    """The score that evidence is about: ln(p / (1 - p)) of class ``target`` (B,), shape (B,).

    Raises:
        DataError: images or targets that the model cannot have.
    """
    images = checked_images(model, images)
    labels = _checked_target(model, target, len(images))
    found = np.zeros(len(images))
    for part in _chunks(len(images), batch_size):
        found[part] = _scores_without_gradient(model, images[part], labels[part])
    return found


def checked_images(model: LoadedModel, images: npt.NDArray[Any]) -> Images:
    """``images`` as float32, if they are grey images of the model's views.

    Raises:
        DataError: another shape, values that are negative or not finite.
    """
    views = model.image_input.views
    if images.ndim != 4 or images.shape[1] != len(views):
        raise DataError(
            f"images have shape {images.shape}",
            expected=f"(events, {len(views)}, height, width) for the views {', '.join(views)}",
        )
    if not (np.isfinite(images).all() and (images >= 0).all()):
        raise DataError("images have negative or undefined pixels", expected="grey levels 0 to 1")
    return np.ascontiguousarray(images, dtype=np.float32)


def _checked_target(model: LoadedModel, target: npt.NDArray[Any], n: int) -> Labels:
    given = np.asarray(target)
    expected = f"{n} whole numbers, one per event, from 0 to {len(model.classes) - 1} ({', '.join(model.classes)})"
    if given.shape != (n,) or not np.issubdtype(given.dtype, np.integer):
        raise DataError(f"targets have shape {given.shape} and type {given.dtype}", expected=expected)
    wrong = (given < 0) | (given >= len(model.classes))
    if wrong.any():
        raise DataError(f"event {int(wrong.argmax())} has target {given[wrong][0]}", expected=expected)
    return given.astype(np.int64)


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _scores(model: LoadedModel, pixels: Tensor, labels: Labels, shown: Tensor | None = None) -> Tensor:
    """Log-odds (B,) of the labels, in float64, differentiable by ``pixels`` (B, V, H, W).

    ``shown`` (B, V, H, W) decides where models look that do not look everywhere; none: ``pixels`` do. No autocast:
    what a small change of the image does is lost in the rounding of bfloat16.
    """
    where = {"shown": shown} if shown is not None and getattr(model.network, "gated", False) else {}
    logits = model.network(pixels=pixels, **where)["logits"].double()  # (B, C)
    at = torch.from_numpy(labels).to(logits.device)[:, None]  # (B, 1)
    others = logits.scatter(1, at, -torch.inf)  # the class itself has no part in the sum over the others
    score: Tensor = logits.gather(1, at)[:, 0] - others.logsumexp(dim=1)
    return score


def _scores_without_gradient(model: LoadedModel, images: Images, labels: Labels) -> Floats:
    with torch.no_grad():
        found: Floats = _scores(model, torch.from_numpy(images).to(model.device), labels).cpu().numpy()
    return found


def _integrated_gradients(model: LoadedModel, images: Images, labels: Labels, config: AttributionConfig) -> Images:
    """x times the mean of d(log-odds)/dx over a x with a from 0 to 1, by the midpoint rule in unequal cells.

    The cells are narrow near the empty image, where scores change fastest: a network has seen no event so faint.
    Scores of networks of this kind have kinks along the way, where rules of higher order gain nothing.
    """
    edges = np.linspace(0, 1, config.steps + 1) ** _CROWDING
    middle, width = ((edges[1:] + edges[:-1]) / 2).astype(np.float32), np.diff(edges)
    mean = np.zeros(images.shape, dtype=np.float64)
    for part in _chunks(len(images) * config.steps, config.batch_size):
        event, step = np.divmod(np.arange(part.start, part.stop), config.steps)
        slope = _gradient(model, middle[step], images[event], labels[event])
        for at, share, value in zip(event, width[step], slope, strict=True):
            mean[at] += share * value
    return (images * mean).astype(np.float32)


def _gradient(model: LoadedModel, share: Images, images: Images, labels: Labels) -> npt.NDArray[Any]:
    """d(log-odds)/d(pixel) at this ``share`` (B,) of each image, (B, V, H, W); the weights collect no gradients."""
    whole = torch.from_numpy(images).to(model.device)
    pixels = (torch.from_numpy(share).to(model.device)[:, None, None, None] * whole).requires_grad_()
    with torch.enable_grad():
        # Events do not see each other, so each keeps its own gradient.
        score = _scores(model, pixels, labels, whole).sum()
    if not score.requires_grad:
        raise DataError(
            f"the scores of the model {model.id} have no gradient with respect to pixels",
            next_step="Use the method 'occlusion'",
        )
    slope: npt.NDArray[Any] = torch.autograd.grad(score, pixels)[0].cpu().numpy()
    return slope


def _occlusion(model: LoadedModel, images: Images, labels: Labels, config: AttributionConfig) -> Images:
    """Fall of the log-odds without each window that holds charge, shared by grey level."""
    side = config.window
    grey = _window_sums(images, side)  # (B, V, rows, columns) of windows
    whole = log_odds(model, images, labels, config.batch_size)
    fall = np.zeros_like(grey)
    charged = np.argwhere(grey > 0)  # (windows, 4)
    for part in _chunks(len(charged), config.batch_size):
        some = charged[part]
        blanked = images[some[:, 0]]
        for image, (_, view, row, col) in zip(blanked, some, strict=True):
            image[view, row * side : (row + 1) * side, col * side : (col + 1) * side] = 0
        score = _scores_without_gradient(model, blanked, labels[some[:, 0]])
        fall[tuple(some.T)] = whole[some[:, 0]] - score
    per_grey = np.divide(fall, grey, out=fall, where=grey > 0)
    height, width = images.shape[2:]
    spread = per_grey.repeat(side, axis=2).repeat(side, axis=3)[:, :, :height, :width]
    return (images * spread).astype(np.float32)


def _window_sums(images: Images, side: int) -> Floats:
    """Sum of grey levels in each window, shape (B, V, rows, columns); the last ones may reach beyond the image."""
    *_, height, width = images.shape
    rows = np.add.reduceat(images, np.arange(0, height, side), axis=2, dtype=np.float64)
    return np.add.reduceat(rows, np.arange(0, width, side), axis=3)


#: Every method by name.
METHODS: dict[str, Callable[[LoadedModel, Images, Labels, AttributionConfig], Images]] = {
    "gradient": _integrated_gradients,
    "occlusion": _occlusion,
}
