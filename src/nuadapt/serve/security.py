"""Who may ask what: host names, other sites, the token; headers of every answer; limits while a body arrives.

One layer of plain ASGI around the application, so that nothing is read before it is allowed.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from fastapi import HTTPException

from nuadapt.serve.problems import Busy, NoEntry, Refused, ServiceError, TooLarge, TooSlow, problem
from nuadapt.serve.settings import LOOPBACK, ServeSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
#: Of every answer. CORS stays closed: no Access-Control header is ever sent.
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
_SMALL_BODY = 64 * 1024  # bytes; all requests but uploads
UPLOAD = "/api/predict"


class Guard:
    """Checks a request, then passes it on with a limited body; adds the headers to what comes back."""

    def __init__(self, app: Application, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings
        self._uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        kept = "no-cache" if scope["path"].startswith("/static/") else "no-store"
        sending, is_upload = _with_headers(send, {**HEADERS, "cache-control": kept}), scope["path"] == UPLOAD
        try:
            check(scope, self.settings)
            if is_upload and self._uploading >= self.settings.limits.waiting:  # their bodies fill the disk
                raise Busy(f"{self._uploading} uploads are under way", self.settings.limits.retry_seconds)
        except ServiceError as error:
            await _answer(error, sending)
            return
        self._uploading += is_upload
        try:
            await self.app(scope, self._limited(scope, receive), sending)
        finally:
            self._uploading -= is_upload

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The body, as long as it is small enough and arrives in time."""
        limits = self.settings.limits
        most = limits.upload_bytes if scope["path"] == UPLOAD else _SMALL_BODY
        end = asyncio.get_running_loop().time() + limits.body_seconds
        taken, whole = 0, False

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is the end of the connection, which may take its time
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - asyncio.get_running_loop().time(), 0.001))
            except TimeoutError:
                raise _http(
                    TooSlow("the request did not arrive in time", expected=f"{limits.body_seconds:g} s")
                ) from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > most:
                raise _http(TooLarge("the request is too large", expected=f"at most {most:,} bytes"))
            return message

        return limited


def _http(error: ServiceError) -> HTTPException:
    """What passes through the parser of forms unchanged."""
    return HTTPException(error.status, detail=problem(error)["error"])


def check(scope: Scope, settings: ServeSettings) -> None:
    """Whether a request may be looked at.

    Raises:
        Refused: a host name that is not this machine's (DNS rebinding), or another site asks for a change.
        NoEntry: the token is missing or wrong.
        TooLarge: the body says that it is too large.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    if settings.on_loopback and _name_of(host) not in LOOPBACK:
        raise Refused(f"this service does not answer to the host name '{host[:60]}'", expected=" or ".join(LOOPBACK))
    origin = headers.get("origin")
    is_ours = origin is None or origin.partition("://")[2] == host
    if scope["method"] not in _SAFE and not is_ours and not settings.token:  # no other site knows a token
        raise Refused("another site asks", where=str(origin)[:100], expected="requests of this page or of a program")
    if scope["path"].startswith("/api/") and settings.token and not _knows(headers.get("authorization", ""), settings):
        raise NoEntry("the token is missing or wrong", expected="the header 'Authorization: Bearer TOKEN'")
    length = headers.get("content-length", "0")
    most = settings.limits.upload_bytes if scope["path"] == UPLOAD else _SMALL_BODY
    if length.isdecimal() and len(length) < 20 and int(length) > most:
        raise TooLarge("the request is too large", expected=f"at most {most:,} bytes")


def _name_of(host: str) -> str:
    """The name in a Host header, without the port.

    >>> _name_of("localhost:8000"), _name_of("[::1]:80"), _name_of("127.0.0.1")
    ('localhost', '::1', '127.0.0.1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _knows(given: str, settings: ServeSettings) -> bool:
    """Whether a header holds the token; takes equally long wherever they differ."""
    scheme, _, token = given.partition(" ")
    same = hmac.compare_digest(token.strip().encode(), settings.token.encode())
    return scheme.lower() == "bearer" and same


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Adds those of the headers that an answer does not have."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in headers.items() if n.encode() not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def _answer(error: ServiceError, send: Send) -> None:
    body = json.dumps(problem(error)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, Busy):
        headers.append((b"retry-after", str(error.retry_after).encode()))
    headers.append((b"connection", b"close"))  # the body was not read
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
