"""HTTP in and out: bodies to values, errors to answers, for ``predict`` and ``manage`` alike.

Every error of ours is answered as problem details [1]_ with a stable ``code``; what is not ours becomes
a 500 that tells the caller nothing of the inside. Standard library only, because ``predict`` imports it.

References
----------
.. [1] M. Nottingham et al., "Problem Details for HTTP APIs", RFC 9457.
"""

from __future__ import annotations

import json

from millrace.errors import BadInput, MillraceError, TooLarge, TransientError, Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = [
    "JSON",
    "PROBLEM_JSON",
    "TITLES",
    "body",
    "body_text",
    "internal",
    "parse",
    "problem",
    "reply",
    "reply_problem",
]

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
    status: int, text: str, content_type: str = JSON, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return an answer for API Gateway's HTTP API, payload format 2.0."""
    return {
        "statusCode": status,
        "headers": {"content-type": content_type, "cache-control": "no-store", **(headers or {})},
        "body": text,
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


def body(event: Mapping[str, Any], max_bytes: int) -> Any:
    """Return the JSON value of a request's body, from an event of payload format 2.0.

    Raises
    ------
    TooLarge, BadInput
        As :func:`body_text` and :func:`parse` do.
    """
    return parse(body_text(event, max_bytes))


def body_text(event: Mapping[str, Any], max_bytes: int) -> str:
    """Return a request's body; empty when there is none.

    Raises
    ------
    TooLarge
        Over ``max_bytes``.
    BadInput
        Not base64 where the gateway says so, or not UTF-8.
    """
    text: str = event.get("body") or ""
    if event.get("isBase64Encoded"):
        import base64

        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:
            raise _not_json("it is not base64, as the gateway says") from None
    else:
        data = text.encode("utf-8", "surrogatepass")
    if len(data) > max_bytes:
        raise TooLarge(
            f"The body has {len(data)} bytes and may have {max_bytes}",
            code="body-too-large",
            where="the body",
            remedy="Send fewer rows in a request, or upload a file.",
        )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _not_json("it is not UTF-8") from None


def parse(text: str) -> Any:
    """Return the value of a JSON text (RFC 8259), and of nothing else: no NaN, no member twice.

    Raises
    ------
    BadInput
        ``body-not-json``, saying why.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    except ValueError as error:
        raise _not_json(str(error)) from None


def _not_json(reason: str) -> BadInput:
    return BadInput(
        f"The body is not JSON: {reason}",
        code="body-not-json",
        where="the body",
        remedy="Send one JSON object, in UTF-8.",
    )


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value; send null for a missing number")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"the member {twice!r:.80} stands twice in an object")
    return members


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_members)
