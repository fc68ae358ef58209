"""Prompts as data: what the model is told, how it must answer, and how each class is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy.typing as npt
import yaml

from nuadapt.errors import ConfigError, listed, nearest
from nuadapt.events.pixelmap import GreyTransform
from nuadapt.events.tasks import Task
from nuadapt.settings import read_yaml


@dataclass(frozen=True, slots=True)
class Prompt:
    """One way to ask. ``labels`` are the names of the classes in label order, as the model writes them."""

    name: str
    system: str  # physics context; empty: no system message
    user: str  # what is asked, before the images
    answer: str  # how the answer begins
    labels: tuple[str, ...]
    about: str = ""  # what else is known of all events: detector, beam mode
    grey: GreyTransform | None = None  # of the pictures; with it each event's visible energy is told

    def __post_init__(self) -> None:
        if len(set(self.labels)) < len(self.labels) or len(self.labels) < 2 or not all(self.labels):
            raise ConfigError(f"labels {self.labels} do not tell classes apart", expected="two or more different names")

    @property
    def endings(self) -> tuple[str, ...]:
        """What follows ``answer``: each label with its full stop, so that none is the beginning of another."""
        return tuple(f" {label}." for label in self.labels)

    def notes(self, pixels: npt.NDArray[Any]) -> list[str]:
        """What is told of each event of grey images (B, V, H, W) behind its pictures; empty texts if nothing is.

        The visible energy is the sum of a view's pixels, averaged over views.
        """
        if self.grey is None:
            return [""] * len(pixels)
        energy = self.grey.energy(pixels).sum(axis=(2, 3)).mean(axis=1)  # (B,) GeV
        return [f"\nvisible energy: {value:.2f} GeV" for value in energy]

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Prompt:
        """Inverse of :meth:`as_dict`."""
        grey = GreyTransform(**given["grey"]) if given.get("grey") else None
        return cls(**{**given, "labels": tuple(given["labels"]), "grey": grey})


def load_prompt(
    name: str, task: Task, *, about: str = "", grey: GreyTransform | None = None, file: Path | None = None
) -> Prompt:
    """A prompt by name for the classes of a task, from nuadapt's own file or another of the same form.

    A class is called by its label in the file, else by its title.

    Raises:
        ConfigError: no prompt of that name, one about other classes, or parts missing in the file.
        InputFileError: the file cannot be read.
    """
    if file is None:
        text = (resources.files("nuadapt.models.vlm") / "prompts.yaml").read_text(encoding="utf-8")
        given: dict[str, Any] = yaml.safe_load(text)
    else:
        given = read_yaml(file)
    prompts = _mapping(given, "prompts")
    labels = dict(zip(task.classes, task.titles, strict=True)) | _mapping(given, "labels")
    if name not in prompts:
        raise ConfigError(f"no prompt '{name}'", expected=nearest(name, prompts))
    words = prompts[name]
    lost = [part for part in ("system", "user") if not isinstance(words, dict) or not isinstance(words.get(part), str)]
    if lost or not isinstance(given.get("answer"), str):
        raise ConfigError(f"the prompt '{name}' lacks '{(lost or ['answer'])[0]}'", where=file, expected="a text")
    if words.get("classes", list(task.classes)) != list(task.classes):
        raise ConfigError(
            f"the prompt '{name}' tells of the classes {listed(words['classes'])}",
            where=file,
            expected=listed(task.classes),
            next_step="Choose another prompt, or write one (language.prompt_file)",
        )
    called = tuple(str(labels[c]) for c in task.classes)
    return Prompt(name, words["system"], words["user"], given["answer"], called, about, grey)


def _mapping(given: dict[str, Any], part: str) -> dict[str, Any]:
    """A part of the file; nothing where it is missing or something else."""
    found = given.get(part)
    return found if isinstance(found, dict) else {}
