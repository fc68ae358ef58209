"""Start the service: one process, or a parent that looks after several."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from nuadapt.errors import require
from nuadapt.events.store import EventStore
from nuadapt.serve.places import open_places
from nuadapt.serve.settings import LOOPBACK, VARIABLE, ServeSettings, prepared, write_settings

_TOKEN_BYTES = 24


def with_token(host: str, token: str | None) -> tuple[str, bool]:
    """The token to use, and whether it was made here: one is needed wherever other machines can connect."""
    if token or host in LOOPBACK:
        return token or "", False
    return secrets.token_urlsafe(_TOKEN_BYTES), True


def serve(settings: ServeSettings) -> None:
    """Serve until told to stop; requests that were accepted are finished first.

    Raises:
        InputFileError: a place or the store cannot be used.
        MissingExtraError: the libraries of the extra ``serve`` are not installed.
    """
    uvicorn: Any = require("uvicorn", "serve")
    require("fastapi", "serve")
    require("python_multipart", "serve")
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
    try:
        if settings.workers == 1:
            from nuadapt.serve.app import create_app

            uvicorn.run(create_app(settings), **how)
            return
        os.environ[VARIABLE] = str(write_settings(settings))
        uvicorn.run("nuadapt.serve.app:app_from_environment", factory=True, workers=settings.workers, **how)
    finally:
        shutil.rmtree(settings.temporary, ignore_errors=True)
