"""Settings from YAML files and ``key=value`` words into configuration dataclasses.

Defaults stand in the dataclass and nowhere else; an unknown key fails at load, naming the closest legal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from nuadapt.errors import ConfigError, InputFileError, nearest

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file.

    Raises:
        InputFileError: missing file, broken YAML, or something other than a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"cannot read this settings file ({error})", where=path) from error
    except yaml.YAMLError as error:
        raise InputFileError(f"this is not valid YAML ({error})", where=path) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputFileError("this settings file holds no 'key: value' lines", where=path)
    return {str(key): value for key, value in content.items()}


def apply_words(settings: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """A copy of ``settings`` with ``a.b=value`` words applied; values are read as YAML.

    >>> apply_words({"beam": {"cc_fraction": 0.74}}, ["beam.cc_fraction=0.5"])
    {'beam': {'cc_fraction': 0.5}}
    """
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in settings.items()}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"'{word}' is not a setting", expected="key=value, or group.key=value")
        target = merged
        *groups, last = name.split(".")
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise ConfigError(f"'{group}' in '{word}' is a value, not a group of settings")
        target[last] = yaml.safe_load(value)
    return merged


def build(kind: type[T], given: dict[str, Any], *, where: object = "settings") -> T:
    """A configuration dataclass from plain values; nested dataclasses from nested mappings.

    Raises:
        ConfigError: unknown key (with the nearest legal one), wrong type, or a value the class refuses.
    """
    types = get_type_hints(kind)
    legal = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in legal:
            raise ConfigError(f"unknown setting '{name}'", where=where, expected=nearest(name, legal))
        inner = types[name]
        if is_dataclass(inner) and isinstance(inner, type) and isinstance(value, dict):
            values[name] = build(inner, value, where=f"{where}, {name}")
            continue
        try:
            values[name] = TypeAdapter(inner).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"setting '{name}' = {value!r} does not fit: {reason}", where=where) from error
    return kind(**values)
