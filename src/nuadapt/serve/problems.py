"""What goes wrong in a request, as the status and the JSON that tell a program what and where."""

from __future__ import annotations

from typing import Any

from nuadapt.errors import NuadaptError

_LONGEST = 2000  # characters of an error


class ServiceError(NuadaptError):
    """A request cannot be answered; ``status`` is that of HTTP (RFC 9110, section 15)."""

    status = 500


class BadRequest(ServiceError):
    """The request itself is malformed."""

    status = 400


class NoEntry(ServiceError):
    """The token is missing or wrong."""

    status = 401


class Refused(ServiceError):
    """The request comes from where none may come from: another host name, another site."""

    status = 403


class NotThere(ServiceError):
    """No such event, view, run or upload."""

    status = 404


class TooSlow(ServiceError):
    """The body of a request did not arrive in time."""

    status = 408


class TooLarge(ServiceError):
    """An upload is beyond a limit."""

    status = 413


class Unusable(ServiceError):
    """The request is understood and cannot be served: a wrong parameter, a file that is no good."""

    status = 422


class Busy(ServiceError):
    """Too much waits already; ``retry_after`` seconds later there may be room."""

    status = 429

    def __init__(self, what: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(what, next_step=f"Try again in {retry_after} seconds")


class Unavailable(ServiceError):
    """There is no model, or the service is stopping."""

    status = 503


class TimedOut(ServiceError):
    """An upload took too long to read."""

    status = 504


def status_of(error: NuadaptError) -> int:
    """The status of an error; what is wrong with the service's own files is its own fault, 500."""
    return error.status if isinstance(error, ServiceError) else 500


def problem(error: NuadaptError) -> dict[str, Any]:
    """The JSON of an error."""
    where = str(error.where) if error.where is not None else ""
    content = {"what": error.what, "where": where, "expected": error.expected, "next_step": error.next_step}
    return {"error": {name: shown(text) for name, text in content.items()}}


def shown(text: str) -> str:
    """Text that may hold pieces of a damaged file, as it can be sent: no halves of characters, and not endless.

    >>> shown("branch \\udcff")
    'branch ?'
    """
    return text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
