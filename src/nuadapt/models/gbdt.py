"""Gradient-boosted trees on event-level features, trained by scikit-learn and kept as plain arrays.

scikit-learn's own way to keep a model is a pickle, which is never read here. So the trees are taken out of it as arrays
(safetensors like any other weights), and walked by a few lines of torch; a test compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from torch import Tensor, nn

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.cloud import CloudModel, CloudShape

Array = npt.NDArray[Any]
_FLOATS = ("threshold", "value", "baseline")
_WHOLES = ("feature", "left", "right", "root", "output")
_FLAGS = ("leaf", "missing_left")


class TreeEnsemble(CloudModel):
    """Scores as sums over trees; tokens are not looked at. An energy is asked for as ln(1 + E / GeV).

    Nodes of all trees stand in one table (M,): ``feature``, ``threshold``, ``left``, ``right`` (rows of the table),
    ``value``, ``leaf``, ``missing_left``. Tree t begins at ``root`` (T,) and adds to score ``output`` (T,);
    ``baseline`` (S,) is what all events begin with.
    """

    threshold: Tensor
    value: Tensor
    baseline: Tensor
    feature: Tensor
    left: Tensor
    right: Tensor
    root: Tensor
    output: Tensor
    leaf: Tensor
    missing_left: Tensor

    def __init__(self, cloud: CloudShape, classes: tuple[str, ...], tables: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(cloud, classes)
        if not cloud.n_globals:
            raise ConfigError("the cloud has no event-level features", expected="at least one for trees of them")
        self.put(tables or _no_trees(self.n_scores))

    def put(self, tables: Mapping[str, Tensor]) -> None:
        """Take these trees in place of what was there."""
        for name in _FLOATS:
            setattr(self, name, nn.Parameter(tables[name].float(), requires_grad=False))
        for name in (*_WHOLES, *_FLAGS):
            self.register_buffer(name, tables[name])

    def scores(self, tokens: Tensor, type: Tensor, mask: Tensor, globals: Tensor) -> Tensor:
        """Scores (B, n_scores)."""
        node = self.root.expand(len(globals), -1)  # (B, T)
        while True:
            inner = ~self.leaf[node]
            if not inner.any():
                break
            x = globals.gather(1, self.feature[node])  # (B, T)
            goes_left = torch.where(x.isnan(), self.missing_left[node], x <= self.threshold[node])
            node = torch.where(inner, torch.where(goes_left, self.left[node], self.right[node]), node)
        start = self.baseline.expand(len(globals), -1).clone()
        return start.index_add(1, self.output, self.value[node])

    def energy_of(self, scores: Tensor) -> Tensor:
        """Energy (B,) in GeV from the score ln(1 + E / GeV)."""
        return torch.expm1(scores[:, 0].clamp_min(0))


def _no_trees(n_scores: int) -> dict[str, Tensor]:
    """Tables of a model that has learned nothing."""
    tables = {name: torch.zeros(0) for name in _FLOATS} | {"baseline": torch.zeros(n_scores)}
    tables |= {name: torch.zeros(0, dtype=torch.long) for name in _WHOLES}
    return tables | {name: torch.zeros(0, dtype=torch.bool) for name in _FLAGS}


def build(
    preset: Mapping[str, Any], *, cloud: CloudShape, classes: tuple[str, ...], label_smoothing: float = 0.0
) -> nn.Module:
    """The model of a preset of family ``gbdt``, without trees.

    Raises:
        ConfigError: a cloud without event-level features, labels smoothed, an impossible number of classes.
    """
    if label_smoothing:
        raise ConfigError("trees are not trained on smoothed labels", expected="label_smoothing=0")
    return TreeEnsemble(cloud, classes)


def load(folder: Path, record: Mapping[str, Any]) -> nn.Module:
    """The model of a run folder.

    Raises:
        InputFileError: files missing or damaged.
        DataError: tables that are no trees.
    """
    from nuadapt.events.tasks import Task
    from nuadapt.models.inputs import CloudInput, offers
    from nuadapt.models.run import read_tensors

    tables = read_tensors(folder / "model.safetensors", next_step="Give the folder of a finished 'nuadapt train' run")
    task, reads = Task.from_dict(record["task"]), CloudInput.from_dict(record["input"])
    shape: CloudShape = offers(reads)["cloud"]
    _check(tables, shape, max(len(task.classes), 1))
    return TreeEnsemble(shape, task.classes, tables)


def _check(tables: Mapping[str, Tensor], shape: CloudShape, n_scores: int) -> None:
    """Whether walking these trees stays inside the tables and ends."""
    missing = [name for name in (*_FLOATS, *_WHOLES, *_FLAGS) if name not in tables]
    if missing:
        raise DataError(f"these weights are no trees: '{missing[0]}' is missing")
    nodes = len(tables["feature"])
    inner = ~tables["leaf"].bool()
    index = torch.arange(nodes)
    children = torch.stack([tables["left"], tables["right"]])
    limits = {"feature": shape.n_globals, "root": nodes, "output": n_scores}
    sound = all(bool(((tables[n] >= 0) & (tables[n] < most)).all()) for n, most in limits.items())
    # Every child stands behind its parent, so no walk can go round in circles.
    sound &= bool(((children > index) & (children < nodes))[:, inner].all()) and len(tables["baseline"]) == n_scores
    if not sound:
        raise DataError("these weights are no sound trees", expected="nodes whose children stand behind them")


def fit(
    model: TreeEnsemble,
    preset: Mapping[str, Any],
    train: tuple[Array, Array, Array],
    val: tuple[Array, Array, Array],
    seed: int,
) -> int:
    """Grow the trees of ``model``; gives how many rounds it took.

    Args:
        train, val: event-level features (n, G), answers (n,) (class indices, or energies in GeV), weights (n,).
        seed: of scikit-learn's subsampling for bin edges.
    """
    settings = {
        "max_iter": int(preset["iterations"]),
        "learning_rate": float(preset["learning_rate"]),
        "max_leaf_nodes": int(preset["leaves"]),
        "min_samples_leaf": int(preset["least_in_leaf"]),
        "l2_regularization": float(preset["l2"]),
        "n_iter_no_change": int(preset["patience"]),
        "early_stopping": True,
        "random_state": seed,
    }
    kind = HistGradientBoostingRegressor if model.gives_energy else HistGradientBoostingClassifier
    forest: Any = kind(**settings)
    answers = [np.log1p(y) if model.gives_energy else y for _, y, _ in (train, val)]
    forest.fit(train[0], answers[0], sample_weight=train[2], X_val=val[0], y_val=answers[1], sample_weight_val=val[2])
    model.put(tables_of(forest, model.n_scores))
    return int(forest.n_iter_)


def tables_of(forest: Any, n_scores: int) -> dict[str, Tensor]:
    """The trees of a fitted model of scikit-learn as tables (:class:`TreeEnsemble`).

    Classes without training events keep the score of minus infinity's stand-in, -50.
    """
    present = [int(c) for c in getattr(forest, "classes_", range(n_scores))]
    binary = len(present) == 2 and hasattr(forest, "classes_")
    outputs = [present[1]] if binary else present
    baseline = np.full(n_scores, -50.0 if len(present) < n_scores else 0.0)
    baseline[present] = 0.0
    baseline[outputs] = np.ravel(forest._baseline_prediction)
    parts: dict[str, list[Array]] = {name: [] for name in ("feature", "threshold", "left", "right", "value")}
    flags: dict[str, list[Array]] = {name: [] for name in _FLAGS}
    root, output, begin = [], [], 0
    for round_ in forest._predictors:
        for score, tree in zip(outputs, round_, strict=True):
            nodes = tree.nodes
            root.append(begin)
            output.append(score)
            leaf = nodes["is_leaf"].astype(bool)
            parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
            parts["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
            parts["left"].append(np.where(leaf, 0, nodes["left"].astype(np.int64) + begin))
            parts["right"].append(np.where(leaf, 0, nodes["right"].astype(np.int64) + begin))
            parts["value"].append(nodes["value"])
            flags["leaf"].append(leaf)
            flags["missing_left"].append(nodes["missing_go_to_left"].astype(bool))
            begin += len(nodes)
    tables = {name: torch.from_numpy(np.concatenate(column)) for name, column in (parts | flags).items()}
    made = {name: tables[name].long() for name in ("feature", "left", "right")}
    made |= {name: tables[name].float() for name in ("threshold", "value")}
    made |= {name: tables[name] for name in _FLAGS}
    made |= {"root": torch.tensor(root), "output": torch.tensor(output), "baseline": torch.from_numpy(baseline).float()}
    return made
