"""A vision transformer of the Hub with a class head: ViT-H/14 beside the language model, as in arXiv:2509.08461.

Every view passes through the same transformer as a grey picture in three equal colours; the class tokens of all views
are joined and read by a linear head.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from nuadapt.errors import ConfigError, DataError, InputFileError, listed
from nuadapt.models.loss import weighted_cross_entropy
from nuadapt.models.run import check_fit

_LAYOUT = "a folder with config.json and model.safetensors, such as google/vit-huge-patch14-224-in21k"


class HubViT(nn.Module):
    """Class scores from the views of an event. ``shape`` is the preset."""

    def __init__(self, shape: Mapping[str, Any], n_views: int, n_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if n_views < 1 or n_classes < 2:
            raise ConfigError(f"{n_views} views and {n_classes} classes", expected="at least 1 view and 2 classes")
        self.n_views, self.label_smoothing = n_views, label_smoothing
        self.tower = ViTModel(ViTConfig(**shape["vision"]), add_pooling_layer=False)
        width, self.side = int(shape["vision"]["hidden_size"]), int(shape["vision"]["image_size"])
        self.classifier = nn.Sequential(nn.Dropout(float(shape["dropout"])), nn.Linear(n_views * width, n_classes))

    def forward(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        total: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scores of grey levels 0..1, (B, V, H, W); see :meth:`nuadapt.models.vit.ViT.forward`.

        Raises:
            DataError: another number of views than the model was built for.
        """
        if pixels.ndim != 4 or pixels.shape[1] != self.n_views:
            raise DataError(f"pixels have shape {tuple(pixels.shape)}", expected=f"(events, {self.n_views}, H, W)")
        side = self.side
        pictures = F.interpolate(pixels.flatten(0, 1)[:, None], size=(side, side), mode="bilinear", antialias=True)
        # Grey 0..1 as -1..1, which is what the published weights were trained on.
        colours = (2 * pictures - 1).expand(-1, 3, -1, -1)  # (B * V, 3, side, side)
        tokens = self.tower(pixel_values=colours).last_hidden_state[:, 0]  # (B * V, D), class tokens
        logits: Tensor = self.classifier(tokens.reshape(len(pixels), -1)).float()
        if labels is None:
            return {"logits": logits}
        smoothing = self.label_smoothing if self.training else 0.0
        return {"loss": weighted_cross_entropy(logits, labels, weight, total, smoothing), "logits": logits}


def build(
    preset: Mapping[str, Any], *, n_views: int, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``hub-vit``, with fresh weights.

    Raises:
        ConfigError: impossible numbers of views or classes.
    """
    return HubViT(preset, n_views, len(classes), label_smoothing)


def start(model: HubViT, folder: Path) -> None:
    """Take the weights of a folder in the Hub's layout; its own head and pooling are left out.

    Raises:
        InputFileError: no such folder, no safetensors, or a transformer of another shape.
    """
    if not (folder / "model.safetensors").is_file() or not (folder / "config.json").is_file():
        raise InputFileError("this folder lacks model.safetensors or config.json", where=folder, expected=_LAYOUT)
    library: Any = ViTModel
    try:
        found, report = library.from_pretrained(
            folder, add_pooling_layer=False, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # damaged JSON and tensors make the library raise nearly anything
        raise InputFileError(f"these weights cannot be loaded ({error})", where=folder, expected=_LAYOUT) from error
    if missing := sorted(report["missing_keys"]):
        raise InputFileError(f"these weights lack {listed(missing)}", where=folder, expected=_LAYOUT)
    check_fit(model.tower.state_dict(), found.state_dict(), folder, described_by="the preset")
    model.tower.load_state_dict(found.state_dict())
