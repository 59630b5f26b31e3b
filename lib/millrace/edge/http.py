"""From our errors to HTTP: the one place that does it, for ``predict`` and ``manage`` alike.

Every error of ours is answered as problem details [1]_ with a stable ``code``; what is not ours becomes
a 500 that tells the caller nothing of the inside. Standard library only, because ``predict`` imports it.

References
----------
.. [1] M. Nottingham et al., "Problem Details for HTTP APIs", RFC 9457.
"""

from __future__ import annotations

import json

from millrace.errors import MillraceError, TransientError, Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["JSON", "PROBLEM_JSON", "TITLES", "internal", "problem", "reply", "reply_problem"]

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Unprocessable values",
    500: "Internal error",
    503: "Try again later",
}
"""By status, because a problem's title must not change from one occurrence to the next."""


def problem(error: MillraceError, instance: str = "", status: int = 0) -> dict[str, Any]:
    """Return the problem details of ``error``.

    Parameters
    ----------
    error : MillraceError
        The ``values`` of an ``Unprocessable`` become ``errors``, and ``row`` and ``field`` of the first
        are repeated at the top.
    instance : str
        The path of the request.
    status : int, optional
        Another status than the one of the error's class.
    """
    status = status or error.status
    details: dict[str, Any] = {
        "type": f"urn:millrace:problem:{error.code}",
        "title": TITLES[status],
        "status": status,
        "detail": str(error),
        "code": error.code,
    }
    if instance:
        details["instance"] = instance
    if error.where:
        details["where"] = error.where
    if isinstance(error, Unprocessable) and error.values:
        details["row"] = error.values[0]["row"]
        details["field"] = error.values[0]["field"]
        details["errors"] = list(error.values)
    return details


def internal() -> MillraceError:
    """Return the error that stands for one that is not ours: its text stays in the log."""
    return MillraceError(
        "Something went wrong on our side", code="internal", remedy="Try again; the log says more."
    )


def reply(
    status: int, body: str, content_type: str = JSON, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return an answer for API Gateway's HTTP API, payload format 2.0."""
    return {
        "statusCode": status,
        "headers": {"content-type": content_type, "cache-control": "no-store", **(headers or {})},
        "body": body,
        "isBase64Encoded": False,
    }


def reply_problem(
    error: MillraceError, instance: str = "", *, status: int = 0, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the answer that ``error`` becomes."""
    details = problem(error, instance, status)
    extra = dict(headers or {})
    if isinstance(error, TransientError):
        extra["retry-after"] = "1"
    return reply(details["status"], json.dumps(details), PROBLEM_JSON, extra)
