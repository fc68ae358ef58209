"""Training settings: recipes, overrides, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from nuadapt.errors import ConfigError, InputFileError
from nuadapt.training.config import TrainingConfig, load_recipe, recipe_names


def test_every_recipe_loads() -> None:
    assert {"cnn-smoke", "cnn-laptop", "cnn-paper"} <= set(recipe_names())
    for name in recipe_names():
        assert isinstance(load_recipe(name), TrainingConfig)


def test_paper_recipe_is_as_published() -> None:
    """Adam at 1e-6, batch 16, up to 300 epochs, patience 10 (arXiv:2509.08461)."""
    paper = load_recipe("cnn-paper")
    assert (paper.optimizer.name, paper.optimizer.lr, paper.optimizer.schedule) == ("adam", 1e-6, "constant")
    assert (paper.batch_size, paper.epochs, paper.patience, paper.preset) == (16, 300, 10, "siamese-cnn")


def test_words_override_and_files_load(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 7\ninput: {coarsen: 2}\n")
    config = load_recipe(file, ["optimizer.lr=1e-4", "input.grey.kind=linear", "input.views=[xz]"])
    assert (config.epochs, config.input.coarsen, config.optimizer.lr) == (7, 2, 1e-4)
    assert (config.input.grey.kind, config.input.views) == ("linear", ("xz",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["epoch=3"], "did you mean 'epochs'"),
        (["optimizer.learning_rate=1"], "unknown setting 'learning_rate'"),
        (["optimizer.name=sgd"], "setting 'name'"),
        (["epochs=many"], "setting 'epochs'"),
        (["epochs=0"], "at least 1"),
        (["optimizer.lr=-1"], "positive lr"),
        (["preset=siamese"], "did you mean 'siamese-cnn'"),
        (["label_smoothing=1"], "below 1"),
        (["workers=-1"], "at least 0"),
        (["epochs"], "key=value"),
    ],
)
def test_wrong_settings_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("cnn-smoke", words)


def test_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cnn-laptop'"):
        load_recipe("cnn-lapto")
    with pytest.raises(InputFileError):
        load_recipe(tmp_path / "nothing.yaml")


def test_readers_and_saving_are_not_part_of_the_result() -> None:
    one, other = (
        load_recipe("cnn-smoke"),
        load_recipe("cnn-smoke", ["workers=3", "checkpoint_minutes=1", "log_every=1"]),
    )
    assert one.of_result() == other.of_result()
    assert one.of_result() != load_recipe("cnn-smoke", ["seed=2"]).of_result()
