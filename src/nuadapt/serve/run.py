"""Start the service: one process, or a parent that looks after several."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nuadapt.errors import ConfigError, require
from nuadapt.events.store import EventStore
from nuadapt.serve.places import open_places
from nuadapt.serve.settings import LOOPBACK, VARIABLE, Limits, ServeSettings, prepared, write_settings
from nuadapt.settings import apply_words, build

_TOKEN_BYTES = 24


def with_token(host: str, token: str | None) -> tuple[str, bool]:
    """The token to use, and whether it was made here: one is needed wherever other machines can connect."""
    if token or host in LOOPBACK:
        return token or "", False
    return secrets.token_urlsafe(_TOKEN_BYTES), True


def start(
    data: Path,
    places: Sequence[str],
    address: tuple[str, int],
    token: str | None,
    limits: Sequence[str],
    *,
    workers: int = 1,
    models: bool = True,
    say: Callable[[str], None],
) -> None:
    """Serve what a command line asks for; ``limits`` are words, ``say`` is told the address and a token made here.

    Raises:
        ConfigError: an unknown limit, or an impossible value.
        InputFileError: see :func:`serve`.
    """
    host, port = address
    known, made = with_token(host, token)
    settings = ServeSettings(
        str(data), tuple(places), host, port, known, workers, models, limits=build(Limits, apply_words({}, limits))
    )
    if made:
        say(f"token (shown once): {known}")
    say(f"http://{host}:{port}/ (Ctrl-C stops it)")
    serve(settings)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


def check_address(host: str, port: int) -> None:
    """Raise if nothing can listen there.

    Raises:
        ConfigError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen at {host}, port {port} ({error})", expected="another --port") from error


def serve(settings: ServeSettings) -> None:
    """Serve until told to stop; requests that were accepted are finished first.

    Raises:
        InputFileError: a place or the store cannot be used.
        ConfigError: nothing can listen at this address.
        MissingExtraError: the libraries of the extra ``serve`` are not installed.
    """
    uvicorn: Any = require("uvicorn", "serve")
    require("fastapi", "serve")
    require("python_multipart", "serve")
    check_address(settings.host, settings.port)
    open_places(settings.places, models=settings.models)  # what is wrong is said before anything is listened to
    EventStore(Path(settings.data)).close()
    settings = prepared(replace(settings, data=str(Path(settings.data).resolve())))
    how = {
        "host": settings.host,
        "port": settings.port,
        "log_level": "warning",
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": 30,
        "h11_max_incomplete_event_size": 64 * 1024,
    }
    # uvicorn finishes what it accepted, then raises the signal again: the folder of uploads is removed after that.
    signal.signal(signal.SIGTERM, _leave)
    try:
        if settings.workers == 1:
            from nuadapt.serve.app import create_app

            uvicorn.run(create_app(settings), **how)
            return
        os.environ[VARIABLE] = str(write_settings(settings))
        uvicorn.run("nuadapt.serve.app:app_from_environment", factory=True, workers=settings.workers, **how)
    finally:
        shutil.rmtree(settings.temporary, ignore_errors=True)
