"""The application: routes, errors as JSON, the page, the guard around it all."""

from __future__ import annotations

import logging
import mimetypes
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from nuadapt import __version__
from nuadapt.errors import NuadaptError
from nuadapt.processes import leave_with_parent
from nuadapt.serve import routes
from nuadapt.serve.problems import Busy, NotThere, ServiceError, problem, status_of
from nuadapt.serve.security import Guard
from nuadapt.serve.service import Service
from nuadapt.serve.settings import ServeSettings, prepared, settings_from_environment

PAGE = Path(__file__).parent / "page"
log = logging.getLogger("uvicorn.error")


def create_app(settings: ServeSettings) -> Guard:
    """The service with these settings. Events and runs are opened here, models when they are first asked.

    Raises:
        InputFileError: a place or the store cannot be used.
    """
    if not settings.temporary:
        settings = prepared(settings)
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPI(
        title="nuadapt",
        summary="Neutrino events, and what models say about them.",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these two pages load scripts from other servers
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(routes.health_router)
    app.include_router(routes.router)
    _add_errors(app)
    _add_page(app)
    return Guard(app, settings)


def app_from_environment() -> Guard:
    """The service in a worker process, from the file that its parent wrote. It ends with the parent."""
    leave_with_parent(signal.SIGTERM)
    return create_app(settings_from_environment())


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON of one form."""

    @app.exception_handler(NuadaptError)
    async def known(request: Request, error: NuadaptError) -> JSONResponse:
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Busy) else None
        if status_of(error) == 500:
            log.error("%s: %s", request.url.path, error)
        return JSONResponse(problem(error), status_of(error), headers=headers)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        given: Any = error.detail
        words = {"what": str(given), "where": request.url.path, "expected": "", "next_step": ""}
        content = given if isinstance(given, dict) else words
        return JSONResponse({"error": content}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        content = {"what": str(first["msg"]), "where": where, "expected": "", "next_step": "See /api/openapi.json"}
        return JSONResponse({"error": content}, 422)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        step = "The log of the service says more"
        failed = ServiceError(f"the service failed ({type(error).__name__})", where=request.url.path, next_step=step)
        return JSONResponse(problem(failed), failed.status)


def _add_page(app: FastAPI) -> None:
    """The page and what it loads, all from the package."""

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        if not (PAGE / "index.html").is_file():
            raise NotThere("this installation has no page", next_step="Ask /api/data")
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    mimetypes.add_type("text/javascript", ".js")  # RFC 9239; what systems say differs
    if PAGE.is_dir():
        app.mount("/static", StaticFiles(directory=PAGE), name="static")
