"""How the tuples were read that a model was trained on, so that it is asked about tokens that are built alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nuadapt.evaluation.stand_in import STAND_IN, is_stand_in

#: Settings of the MINERvA reader that choose files, events and weights; all others shape the tokens of an event.
_OF_FILES = ("tree", "interaction_types", "weight", "truth", "step")


def settings_of_training(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the record of a run tells of the settings of the MINERvA reader that shape tokens; None if nothing."""
    return _of_tokens(record.get("data", {}).get("reading", {}).get("minerva"))


def settings_of_store(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same from the record of a store; None if its events are of another origin."""
    return _of_tokens(record.get("config", {}).get("minerva"))


def differences(training: Mapping[str, Any], store: Mapping[str, Any]) -> list[str]:
    """A sentence if the records of a run and of a store tell of tokens that are built differently."""
    ours, theirs = settings_of_training(training) or {}, settings_of_store(store) or {}
    unlike = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    if not unlike:
        return []
    here, there = (", ".join(f"{name}={of[name]}" for name in unlike) for of in (theirs, ours))
    return [f"These events were read with {here}, those of the model's training with {there}."]


def remarks(training: Mapping[str, Any], store: Mapping[str, Any]) -> dict[str, list[str]]:
    """``remarks`` of metrics.json about the events of a store, from the records of both; nothing without any."""
    found = [STAND_IN] if is_stand_in(store) else []
    found += differences(training, store)
    return {"remarks": found} if found else {}


def _of_tokens(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if told is None else {name: value for name, value in told.items() if name not in _OF_FILES}
