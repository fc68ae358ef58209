"""What the events of a model's training were like, so that it is asked about such events or the difference is said: how
tuples were read, and which pixels maps have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nuadapt.evaluation.stand_in import STAND_IN, is_stand_in
from nuadapt.events.pixelmap import MapSpec

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


def other_maps(training: Mapping[str, Any], maps: MapSpec | None) -> list[str]:
    """A sentence for each way in which maps are unlike those that the record of a run tells of.

    Grey levels in place of energies, other pixels, or another number of them.
    """
    told = training.get("spec", {})
    if maps is None or "pitch" not in told:
        return []
    learned = MapSpec.from_dict(told)
    return [*_other_values(maps, learned), *_other_pixels(maps, learned)]


def _other_values(maps: MapSpec, learned: MapSpec) -> list[str]:
    units = (maps.value_unit, learned.value_unit)
    if units[0] == units[1] or "grey" not in units:  # energy and charge are brought to one scale
        return []
    sentence = "These maps hold {}, those of the model's training {}".format(
        *("grey levels" if unit == "grey" else "energies" for unit in units)
    )
    if learned.value_unit == "grey":
        return [f"{sentence}."]
    return [
        f"{sentence}: brightness and joined pixels are not as it learned them, and answers can be anything. Say which "
        "energies the levels stand for when the files are read (--set, or in the request): scale=linear, or log with "
        "knee=GEV, and full=GEV, the energy of the brightest level in GeV."
    ]


def _other_pixels(maps: MapSpec, learned: MapSpec) -> list[str]:
    if (maps.shape, maps.pitch, maps.axis_unit) == (learned.shape, learned.pitch, learned.axis_unit):
        return []
    sentence = f"These maps have {_size(maps)}, those of the model's training {_size(learned)}"
    if maps.shape == learned.shape:
        return [f"{sentence}."]
    return [
        f"{sentence}: on another number of pixels a network can fail altogether. Cut or pad them around the vertex."
    ]


def _size(maps: MapSpec) -> str:
    return "{} x {} pixels of {:g} x {:g} ".format(*maps.shape, *maps.pitch) + maps.axis_unit


def remarks(training: Mapping[str, Any], store: Mapping[str, Any], maps: MapSpec | None = None) -> dict[str, list[str]]:
    """``remarks`` of metrics.json about the events of a store, from the records of both; nothing without any.

    ``maps`` are those of the store, if it has some.
    """
    found = [STAND_IN] if is_stand_in(store) else []
    found += differences(training, store) + other_maps(training, maps)
    return {"remarks": found} if found else {}


def _of_tokens(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if told is None else {name: value for name, value in told.items() if name not in _OF_FILES}
