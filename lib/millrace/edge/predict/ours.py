"""Millrace's own protocol: ``POST /predict``, and the same body as the event of a direct invocation.

The body is ``{"model"?, "rows", "strict"?, "version"?}``. The answer is::

    {"model": str, "version": int, "predictions": [...], "probabilities": [{class: p}, ...] | null,
     "intervals": {"level": float, "bounds": [[low, high], ...]} | null,
     "warnings": [{"row": int, "field": str, "code": str, "message": str}, ...]}

with one prediction a row, in the order of the rows; rows count from 0. ``probabilities`` is null for
regression, ``intervals`` for classification and where the model has none. Errors are problem details.
"""

from __future__ import annotations

import json

from millrace.edge import http
from millrace.edge.predict.call import Request
from millrace.errors import BadInput, TooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from millrace.edge.predict.call import Call
    from millrace.edge.predict.score import Scores
    from millrace.registry.reader import Served

__all__ = ["MAX_ANSWER_BYTES", "answer", "answer_object", "refuse"]

MAX_ANSWER_BYTES = 6_000_000
"""Lambda answers with at most 6 MB (6,291,556 bytes), the quotes of our body escaped."""
FIELDS = frozenset(("model", "rows", "strict", "version"))
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

refuse = http.reply_problem


def answer(call: Call) -> dict[str, Any]:
    """Answer an HTTP request."""
    return http.reply(200, _text(answer_object(call, http.body(call.event, call.max_body_bytes))))


def answer_object(call: Call, body: Any) -> dict[str, Any]:
    """Answer a body with an object, for whoever wants no HTTP around it."""
    served, scores = call.score(_request(body))
    return _answer(served, scores)


def _answer(served: Served, scores: Scores) -> dict[str, Any]:
    classes, shares = served.content[0].classes, scores.probabilities
    k = len(classes)
    return {
        "model": served.model,
        "version": served.version,
        "predictions": scores.predictions,
        "probabilities": [
            dict(zip(classes, shares[at : at + k], strict=True)) for at in range(0, len(shares), k)
        ]
        if classes
        else None,
        "intervals": _intervals(served.content[0].header.get("interval"), scores.predictions),
        "warnings": scores.warnings,
    }


def _intervals(around: Mapping[str, float] | None, predictions: Sequence[Any]) -> dict[str, Any] | None:
    if around is None:
        return None
    below, above = around["below"], around["above"]
    return {
        "level": around["level"],
        "bounds": [None if value is None else [value + below, value + above] for value in predictions],
    }


def _request(request: Any) -> Request:
    if not isinstance(request, dict):
        raise _malformed("The body is not a JSON object", code="body-not-an-object", where="the body")
    unknown = sorted(request.keys() - FIELDS)
    if unknown:
        raise _malformed(f"Unknown field {unknown[0]!r:.80}", code="field-unknown", where="the body")
    if "rows" not in request:
        raise _malformed("The field 'rows' is missing", code="rows-missing", where="the body")
    rows = request["rows"]
    if not isinstance(rows, list):
        raise _malformed("'rows' is not a list of objects", code="rows-not-a-list", where="field 'rows'")
    if not rows:
        raise _malformed(
            "'rows' is empty: there is nothing to score", code="rows-empty", where="field 'rows'"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _malformed(
                f"Row {number} is not an object", code="row-not-an-object", where=f"row {number}"
            )
    model, strict, version = request.get("model"), request.get("strict"), request.get("version")
    if model is not None and not isinstance(model, str):
        raise _malformed("'model' is not a text", code="model-not-a-text", where="field 'model'")
    if strict is not None and not isinstance(strict, bool):
        raise _malformed(
            "'strict' is neither true nor false", code="strict-not-a-boolean", where="field 'strict'"
        )
    if version is not None and (type(version) is not int or not 0 < version < 1 << 31):
        raise _malformed(
            "'version' is not a positive integer", code="version-not-an-integer", where="field 'version'"
        )
    return Request(rows, model=model, version=version, strict=bool(strict))


def _malformed(what: str, *, code: str, where: str) -> BadInput:
    return BadInput(
        what,
        code=code,
        where=where,
        remedy='Send {"model": "<name>", "rows": [{"<field>": <value>, …}, …]}.',
    )


def _text(answer: Mapping[str, Any]) -> str:
    """Write the answer; refuse one that Lambda could not carry."""
    text = _encode(answer)
    # The body travels inside another JSON text, where quotes and backslashes become two characters.
    size_bytes = len(text) + text.count('"') + text.count("\\")
    if size_bytes > MAX_ANSWER_BYTES:
        raise TooLarge(
            f"The answer would have {size_bytes} bytes and may have {MAX_ANSWER_BYTES}",
            code="answer-too-large",
            where="field 'rows'",
            remedy="Send fewer rows in a request.",
        )
    return text
