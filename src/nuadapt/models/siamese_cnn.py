"""Siamese convolutional network on the views of an event.

Every view passes through the same branch (shared weights); the branches are joined by channel, and a trunk of
further inverted residual blocks reads them together. Nothing depends on the size of the maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.models.loss import weighted_cross_entropy

_ACTIVATIONS: dict[str, type[nn.ReLU6] | type[nn.Hardswish]] = {"relu6": nn.ReLU6, "hardswish": nn.Hardswish}
_SQUEEZE = 4  # channels of squeeze-and-excitation are a quarter, as in MobileNetV3 (arXiv:1905.02244, section 5.3)
_SMALLEST = 8  # pixels a side; below it the strides leave nothing to look at


def _activation(name: str) -> nn.Module:
    if name not in _ACTIVATIONS:
        raise ConfigError(f"unknown activation '{name}'", expected=nearest(name, _ACTIVATIONS))
    return _ACTIVATIONS[name](inplace=True) if name == "relu6" else _ACTIVATIONS[name]()


class Depthwise(nn.Conv2d):
    """Depthwise convolution (B, C, H, W) -> (B, C, H / stride, W / stride)."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        # On CPUs the bfloat16 gradient of strided or large depthwise kernels is ten times slower than float32.
        self.slow_in_bf16 = stride > 1 or kernel > 3

    def forward(self, x: Tensor) -> Tensor:
        """Same result in every precision up to rounding."""
        if x.device.type == "cpu" and self.slow_in_bf16 and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a factor 0..1 computed from all channel means (Hu et al., arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, channels // _SQUEEZE)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        factor: Tensor = self.gate(x.mean((2, 3), keepdim=True))  # (B, C, 1, 1)
        return x * factor


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter by depthwise kernel, project by 1x1 (Sandler et al., arXiv:1801.04381).

    ``row`` is one line of the preset: [kernel, expanded, out, stride, squeeze-and-excitation, activation].
    """

    def __init__(self, channels: int, row: list[Any]) -> None:
        super().__init__()
        kernel, expanded, out, stride, squeeze, activation = row
        layers: list[nn.Module] = []
        if expanded != channels:
            layers += [nn.Conv2d(channels, expanded, 1, bias=False), nn.BatchNorm2d(expanded), _activation(activation)]
        layers += [Depthwise(expanded, kernel, stride), nn.BatchNorm2d(expanded), _activation(activation)]
        if squeeze:
            layers.append(SqueezeExcitation(expanded))
        layers += [nn.Conv2d(expanded, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and out == channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


def _blocks(channels: int, rows: list[list[Any]]) -> tuple[nn.Sequential, int]:
    """The blocks of ``rows`` in order, and how many channels leave the last one."""
    layers = []
    for row in rows:
        layers.append(InvertedResidual(channels, row))
        channels = row[2]
    return nn.Sequential(*layers), channels


class SiameseCNN(nn.Module):
    """Class scores from the views of an event.

    Parameters grow with the number of views V only in the first trunk block, whose input has 40 V channels:
    by 40 x 240 = 9600 a view in the preset ``siamese-cnn``.
    """

    def __init__(self, shape: Mapping[str, Any], n_views: int, n_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if n_views < 1 or n_classes < 2:
            raise ConfigError(f"{n_views} views and {n_classes} classes", expected="at least 1 view and 2 classes")
        self.n_views, self.label_smoothing = n_views, label_smoothing
        stem, head = shape["stem"], int(shape["head_channels"])
        width, kernel = int(stem["channels"]), int(stem["kernel"])
        blocks, joined = _blocks(width, shape["branch"])
        self.branch = nn.Sequential(
            nn.Conv2d(1, width, kernel, int(stem["stride"]), kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            _activation("relu6"),
            *blocks,
        )
        self.trunk, last = _blocks(joined * n_views, shape["trunk"])
        self.head = nn.Sequential(nn.Conv2d(last, head, 1, bias=False), nn.BatchNorm2d(head), _activation("hardswish"))
        self.dropout = nn.Dropout(float(shape["dropout"]))
        self.classifier = nn.Linear(head, n_classes)
        _initialise(self)

    def features(self, pixels: Tensor) -> Tensor:
        """Joint feature maps before pooling, (B, V, H, W) -> (B, head_channels, H / 32, W / 32)."""
        batch, views, height, width = pixels.shape
        if views != self.n_views or min(height, width) < _SMALLEST:
            raise DataError(
                f"pixels have shape {tuple(pixels.shape)}",
                expected=f"(events, {self.n_views}, height, width) with sides of at least {_SMALLEST}",
            )
        # Channels beside each other in memory (channels last) make depthwise convolutions two to five times faster on
        # CPUs. The layout of the input decides for all layers; for one channel it must be said through the strides.
        single = pixels.reshape(batch * views, height, width, 1).permute(0, 3, 1, 2)  # (B * V, 1, H, W)
        each: Tensor = self.branch(single)  # (B * V, C, h, w)
        joined = each.reshape(batch, views * each.shape[1], *each.shape[2:])  # (B, V * C, h, w)
        maps: Tensor = self.head(self.trunk(joined.contiguous(memory_format=torch.channels_last)))
        return maps

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scores of grey levels 0..1.

        Args:
            pixels: (B, V, H, W).
            labels: class indices (B,); with them the loss is returned too.
            weight, total: see :func:`nuadapt.models.loss.weighted_cross_entropy`.

        Returns:
            ``logits`` (B, classes) in float32, and ``loss`` if there are labels.

        Raises:
            DataError: other number of views than the model was built for, or maps too small.
        """
        pooled = self.features(pixels).float().mean((2, 3))  # (B, head_channels)
        logits: Tensor = self.classifier(self.dropout(pooled)).float()
        if labels is None:
            return {"logits": logits}
        smoothing = self.label_smoothing if self.training else 0.0
        return {"loss": weighted_cross_entropy(logits, labels, weight, total, smoothing), "logits": logits}


def _initialise(model: nn.Module) -> None:
    """Kaiming for convolutions (He et al., arXiv:1502.01852), small values for the classifier."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def build(
    preset: Mapping[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``siamese-cnn``.

    Raises:
        ConfigError: impossible numbers of views or classes, unknown activation.
    """
    return SiameseCNN(preset, n_views, len(classes), label_smoothing)
