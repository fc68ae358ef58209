"""What the service is started with: places, address, token and limits. Handed to worker processes as a file."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nuadapt.errors import ConfigError, InputFileError
from nuadapt.record import read_json
from nuadapt.settings import build

#: Where a worker process finds the settings file.
VARIABLE = "NUADAPT_SERVE_SETTINGS"
#: Names and addresses that stay on this machine (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request and one process may cost."""

    upload_bytes: int = 64 * _MB  # of one request; a DUNE event has 10 kB, a tuple of a thousand events 10 MB
    upload_files: int = 64  # of one request
    upload_events: int = 1000  # of one request
    unpacked_bytes: int = 512 * _MB  # of all files of a request, decompressed
    body_seconds: float = 120.0  # for a request to arrive
    parse_seconds: float = 60.0  # wall time of the process that reads an upload; its processor time, too
    parse_memory: int = 1024 * _MB  # beyond what the libraries of that process take
    parsers: int = 2  # such processes at a time
    waiting: int = 64  # requests that wait for a model, for a picture, or for a parser; further ones get 429
    uploads_kept: int = 16  # uploads that can still be looked at
    upload_seconds: float = 3600.0  # how long
    batch_events: int = 32  # events of waiting requests that a model gets at once
    threads: int = 1  # of a model
    retry_seconds: int = 2  # what Retry-After says

    def __post_init__(self) -> None:
        wrong = [name for name, value in asdict(self).items() if not value > 0]
        if wrong:
            raise ConfigError(f"{wrong[0]} = {getattr(self, wrong[0])} is impossible", expected="a positive number")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """All of it. ``temporary`` is a private folder for uploads, made by :func:`prepared`."""

    data: str
    places: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    workers: int = 1
    models: bool = True
    warm_up: bool = True  # compile the kernels of the simulation, which uploaded interactions pass, before they come
    temporary: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is impossible", expected="1 to 65535")
        if self.workers < 1:
            raise ConfigError(f"{self.workers} workers are impossible", expected="1 or more")
        if self.token and (len(self.token) < 16 or not self.token.isascii() or not self.token.isprintable()):
            raise ConfigError("this token is too weak", expected="16 printable ASCII characters or more")
        if not self.on_loopback and not self.token:
            raise ConfigError(f"{self.host} can be reached from other machines", expected="a token")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK


def prepared(settings: ServeSettings) -> ServeSettings:
    """The settings with a new folder for uploads that nobody else may enter."""
    return replace(settings, temporary=tempfile.mkdtemp(prefix="nuadapt-serve-"))


def write_settings(settings: ServeSettings) -> Path:
    """Write them beside the uploads, readable by this user only (they hold the token)."""
    path = Path(settings.temporary) / "settings.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(settings), file)
    return path


def settings_from_environment() -> ServeSettings:
    """The settings that :func:`write_settings` wrote, in a worker process.

    Raises:
        InputFileError: the variable names no such file.
    """
    path = os.environ.get(VARIABLE, "")
    if not path:
        raise InputFileError("no settings", where=VARIABLE, next_step="Start the service with 'nuadapt serve'")
    given: dict[str, Any] = read_json(Path(path))
    return build(ServeSettings, given, where=path)
