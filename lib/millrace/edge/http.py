"""HTTP in and out: bodies to values, errors to answers, for ``predict`` and ``manage`` alike.

Every error of ours is answered as problem details [1]_ with a stable ``code``; what is not ours becomes
a 500 that tells the caller nothing of the inside. Standard library only, because ``predict`` imports it.

References
----------
.. [1] M. Nottingham et al., "Problem Details for HTTP APIs", RFC 9457.
"""

from __future__ import annotations

import json

from millrace.errors import BadInput, MillraceError, NotFound, TooLarge, TransientError, Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = [
    "JSON",
    "PROBLEM_JSON",
    "TITLES",
    "body",
    "body_bytes",
    "body_text",
    "failure_headers",
    "internal",
    "no_route",
    "parse",
    "problem",
    "reply",
    "reply_bytes",
    "reply_problem",
    "wrong_method",
    "wrong_type",
]

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
SHORT = 2_000
"""Characters up to which each object is looked at for members that stand twice while the text is read."""
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


class MethodNotAllowed(BadInput):
    """The path takes other methods."""

    status = 405
    allowed: tuple[str, ...] = ()


class UnsupportedType(BadInput):
    """The body is of a type that the path does not take."""

    status = 415


def problem(error: MillraceError, instance: str = "") -> dict[str, Any]:
    """Return the problem details of ``error``.

    Parameters
    ----------
    error : MillraceError
        The ``values`` of an ``Unprocessable`` become ``errors``, and ``row`` and ``field`` of the first
        are repeated at the top.
    instance : str
        The path of the request.
    """
    status = error.status
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


def wrong_method(*allowed: str) -> BadInput:
    """Return the error for a path that takes other methods."""
    error = MethodNotAllowed(
        "This path does not take that method",
        code="method-not-allowed",
        remedy=f"Use {' or '.join(allowed)}.",
    )
    error.allowed = allowed
    return error


def wrong_type(what: str, remedy: str) -> BadInput:
    """Return the error for a content type that is not taken."""
    return UnsupportedType(what, code="content-type", where="the header 'content-type'", remedy=remedy)


def no_route(path: str) -> NotFound:
    """Return the error for a path at which there is nothing."""
    return NotFound(
        f"There is nothing at {path[:200]!r}",
        code="route-unknown",
        remedy="GET /openapi.json lists the routes.",
    )


def reply(
    status: int, text: str, content_type: str = JSON, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return an answer for API Gateway's HTTP API, payload format 2.0."""
    said = {"content-type": content_type, "cache-control": "no-store"}
    if headers:
        said.update(headers)
    return {"statusCode": status, "headers": said, "body": text, "isBase64Encoded": False}


def reply_bytes(data: bytes, content_type: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return an answer that is no text."""
    import base64

    answer = reply(200, base64.b64encode(data).decode(), content_type, headers)
    answer["isBase64Encoded"] = True
    return answer


def reply_problem(error: MillraceError, instance: str = "") -> dict[str, Any]:
    """Return the answer that ``error`` becomes."""
    details = problem(error, instance)
    return reply(error.status, json.dumps(details), PROBLEM_JSON, failure_headers(error))


def failure_headers(error: MillraceError) -> dict[str, str]:
    """Return the headers that belong to an error in every protocol."""
    if isinstance(error, TransientError):
        return {"retry-after": "1"}
    if isinstance(error, MethodNotAllowed):
        return {"allow": ", ".join(error.allowed)}
    return {}


def body(event: Mapping[str, Any], max_bytes: int, *, nan: bool = False) -> Any:
    """Return the JSON value of a request's body, from an event of payload format 2.0.

    Raises
    ------
    TooLarge, BadInput
        As :func:`body_text` and :func:`parse` do.
    """
    return parse(body_text(event, max_bytes), nan=nan)


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
    if text.isascii() and not event.get("isBase64Encoded"):  # as many bytes as characters
        _check_size(len(text), max_bytes)
        return text
    try:
        return body_bytes(event, max_bytes).decode()
    except UnicodeDecodeError:
        raise _not_json("it is not UTF-8") from None


def body_bytes(event: Mapping[str, Any], max_bytes: int) -> bytes:
    """Return a request's body as it was sent; raise as :func:`body_text` does."""
    text: str = event.get("body") or ""
    if event.get("isBase64Encoded"):
        import base64

        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:
            raise _not_json("it is not base64, as the gateway says") from None
    else:
        data = text.encode("utf-8", "surrogatepass")
    _check_size(len(data), max_bytes)
    return data


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise TooLarge(
            f"The body has {size_bytes} bytes and may have {max_bytes}",
            code="body-too-large",
            where="the body",
            remedy="Send fewer rows in a request, or upload a file.",
        )


def parse(text: str, *, nan: bool = False) -> Any:
    """Return the value of a JSON text (RFC 8259), and of nothing else: no NaN, no member twice.

    Parameters
    ----------
    text : str
        The text.
    nan : bool
        Take ``NaN``, which is no JSON, as null: Python's and pandas' clients write missing numbers so.

    Raises
    ------
    BadInput
        ``body-not-json``, saying why.
    """
    plain, checking = _DECODERS[nan]
    try:
        if len(text) > SHORT:
            value = plain.decode(text)
            if _has_no_twins(text, value):
                return value
        elif text.startswith("{"):
            # Without looks for white space around it, which take a fifth of the time for one row.
            value, end = checking.raw_decode(text)
            if end == len(text):
                return value
        return checking.decode(text)
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


def _nan_only(name: str) -> None:
    if name != "NaN":
        _no_constant(name)


def _has_no_twins(text: str, value: Any) -> bool:
    """Tell whether surely no member stands twice: then the objects have as many members as the text names.

    Looking at each object while it is read costs a call of Python for every row: a third of all.
    """
    named = text.count('":')
    # A name is in quotes, and before its colon may be space; inside of texts are colons and quotes, too.
    if text.count(":") != named and any(space in text for space in (" :", "\n:", "\t:", "\r:")):
        return False
    if "\\" in text and '\\"' in text:
        return False
    return named == _members_of_rows(value) or named == _members_of_all(value)


def _members_of_rows(value: Any) -> int:
    """Return how many members an object has and those in its lists, if no object lies deeper."""
    if value.__class__ is not dict:
        return 0
    count = len(value)
    for one in value.values():
        if one.__class__ is list and one and one[0].__class__ is dict:
            count += sum([len(row) for row in one if row.__class__ is dict])
    return count


def _members_of_all(value: Any) -> int:
    if value.__class__ is dict:
        return len(value) + sum(map(_members_of_all, value.values()))
    if value.__class__ is list:
        return sum([_members_of_all(one) for one in value if one.__class__ in (dict, list)])
    return 0


def _decoders(constant: Any) -> tuple[Any, Any]:
    return (
        json.JSONDecoder(parse_constant=constant),
        json.JSONDecoder(parse_constant=constant, object_pairs_hook=_members),
    )


_DECODERS = {False: _decoders(_no_constant), True: _decoders(_nan_only)}
"""With whether NaN is taken: what reads a text, and what finds a member that stands twice."""
