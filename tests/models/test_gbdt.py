"""Boosted trees: as scikit-learn gives them, kept as arrays; damaged ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from nuadapt.errors import ConfigError, DataError
from nuadapt.models.cloud import CloudShape
from nuadapt.models.gbdt import TreeEnsemble, _check, build, fit, tables_of
from nuadapt.models.registry import load_preset

SHAPE = CloudShape(("eta", "phi", "log_pt", "log_e"), 3, 5)


def features(n: int, seed: int = 1) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    x[::7, 2] = np.nan
    return x


def given(x: np.ndarray) -> dict[str, torch.Tensor]:
    n = len(x)
    nothing: dict[str, Any] = {"tokens": torch.zeros(n, 0, 4), "type": torch.zeros(n, 0, dtype=torch.long)}
    return nothing | {"mask": torch.zeros(n, 0, dtype=torch.bool), "globals": torch.from_numpy(x)}


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_classes_are_those_of_scikit_learn(n_classes: int) -> None:
    x = features(800)
    y = (np.nan_to_num(x[:, 0]) + x[:, 1] > np.linspace(-1.5, 1.5, n_classes - 1)[:, None]).sum(axis=0)
    forest = HistGradientBoostingClassifier(max_iter=12, max_leaf_nodes=8).fit(x, y)
    model = TreeEnsemble(SHAPE, tuple("abcde"[:n_classes]), tables_of(forest, n_classes))
    new = features(300, seed=2)
    p = model(**given(new))["logits"].softmax(dim=1).numpy()
    np.testing.assert_allclose(p, forest.predict_proba(new), atol=1e-5)


def test_a_class_without_events_is_never_answered() -> None:
    x = features(400)
    forest = HistGradientBoostingClassifier(max_iter=5).fit(x, np.array([0, 2, 4])[np.arange(400) % 3])
    model = TreeEnsemble(SHAPE, tuple("abcde"), tables_of(forest, 5))
    p = model(**given(x))["logits"].softmax(dim=1).numpy()
    assert p[:, [1, 3]].max() < 1e-10
    np.testing.assert_allclose(p[:, [0, 2, 4]], forest.predict_proba(x), atol=1e-5)


def test_energies_are_those_of_scikit_learn() -> None:
    x = features(800)
    energy = np.exp(x[:, 0])
    forest = HistGradientBoostingRegressor(max_iter=15).fit(x, np.log1p(energy))
    model = TreeEnsemble(SHAPE, (), tables_of(forest, 1))
    expected = np.expm1(np.maximum(forest.predict(x), 0))
    np.testing.assert_allclose(model(**given(x))["energy"].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_fitting_learns_and_weights_count() -> None:
    preset = load_preset("gbdt-global") | {"iterations": 30}
    x = features(1500)
    y = (x[:, 1] > 0).astype(np.int64)
    y[:300] = 1 - y[:300]  # wrong, but without weight
    weight = np.ones(1500, dtype=np.float32)
    weight[:300] = 1e-6
    model = build(preset, cloud=SHAPE, classes=("a", "b"))
    assert isinstance(model, TreeEnsemble)
    rounds = fit(model, preset, (x[:1000], y[:1000], weight[:1000]), (x[1000:], y[1000:], weight[1000:]), seed=1)
    assert 1 <= rounds <= 30
    found = model(**given(x[300:]))["logits"].argmax(dim=1).numpy()
    assert (found == y[300:]).mean() > 0.97


def test_what_is_no_tree_is_refused() -> None:
    forest = HistGradientBoostingClassifier(max_iter=3).fit(features(300), np.arange(300) % 3)
    tables = tables_of(forest, 3)
    _check(tables, SHAPE, 3)
    inner = int(torch.nonzero(~tables["leaf"])[0])
    for name, value in (("left", inner), ("right", 10**6), ("feature", 99), ("feature", -1)):
        broken = {**tables, name: tables[name].clone()}
        broken[name][inner] = value
        with pytest.raises(DataError, match="no sound trees"):
            _check(broken, SHAPE, 3)
    with pytest.raises(DataError, match="'root' is missing"):
        _check({name: t for name, t in tables.items() if name != "root"}, SHAPE, 3)
    with pytest.raises(ConfigError, match="no event-level features"):
        build(load_preset("gbdt-global"), cloud=CloudShape(("eta",), 1), classes=("a", "b"))
