"""Millrace's own protocol: ``POST /predict`` with its longer paths, and direct events.

The body is ``{"model"?, "version"? | "alias"?, "rows", "strict"?, "explain"?}``, or a CSV file with a header
row (see :mod:`millrace.edge.predict.table`) whose other members stand in the query. The answer is::

    {"model": str, "version": int, "predictions": [...], "probabilities": [{class: p}, ...] | null,
     "intervals": {"level": float, "bounds": [[low, high], ...]} | null,
     "warnings": [{"row": int, "field": str, "code": str, "message": str}, ...]}

with one prediction a row, in the order of the rows; rows count from 0. ``probabilities`` is null for
regression, ``intervals`` for classification and where the model has none. With ``Accept: text/csv`` it is
a table. With ``explain`` it also has ``explanations``, see :mod:`millrace.edge.predict.explained`. Errors
are problem details.
"""

from __future__ import annotations

import json

from millrace.edge import http
from millrace.edge.predict.call import Request, Target
from millrace.errors import BadInput, TooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from millrace.edge.predict.call import Call
    from millrace.edge.predict.score import Scorer, Scores
    from millrace.registry.reader import Served

__all__ = [
    "MAX_ANSWER_BYTES",
    "answer",
    "answer_object",
    "as_object",
    "as_text",
    "intervals",
    "read",
    "refuse",
    "respond",
]

MAX_ANSWER_BYTES = 6_000_000
"""Lambda answers with at most 6 MB (6,291,556 bytes), the quotes of our body escaped."""
MANY_NUMBERS = 64
"""Numbers from which on the kernel writes them sooner than ``repr``."""
FLAGS = {"explain": "explain-not-a-boolean", "strict": "strict-not-a-boolean"}
"""Members that are true or false, and the code of the error when one is not."""
FIELDS = frozenset((*FLAGS, "alias", "model", "rows", "version"))
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii

refuse = http.reply_problem


def answer(call: Call) -> dict[str, Any]:
    """Answer an HTTP request."""
    headers = call.headers
    if call.method != "POST":
        raise http.wrong_method("POST")
    named = None if call.path == "/predict" else Target.of_path(call.path.split("/")[2:-1])
    if "csv" in f"{headers.get('content-type')}{headers.get('accept')}".lower():
        from millrace.edge.predict import table

        return table.answer(call, named)
    return respond(*_scored(call, http.body(call.event, call.max_body_bytes), named))


def respond(served: Served, scores: Scores) -> dict[str, Any]:
    """Return the response with an answer as JSON."""
    return http.reply(200, _fitting(_written(served, scores)))


def answer_object(call: Call, body: Any) -> dict[str, Any]:
    """Answer a body with an object, for whoever wants no HTTP around it."""
    return as_object(*_scored(call, body, None))


def _scored(call: Call, body: Any, named: Target | None) -> tuple[Served, Scores]:
    target, request = read(body, named)
    served = call.find(target)
    return served, call.score(served, request)


def as_object(served: Served, scores: Scores) -> dict[str, Any]:
    """Return the answer as JSON values."""
    classes, shares = served.content[0].classes, scores.probabilities
    k = len(classes)
    answer = {
        "model": served.model,
        "version": served.version,
        "predictions": scores.predictions,
        "probabilities": [
            dict(zip(classes, shares[at : at + k], strict=True)) for at in range(0, len(shares), k)
        ]
        if classes
        else None,
        "intervals": intervals(served.content[0].header.get("interval"), scores.predictions),
        "warnings": scores.warnings,
    }
    if scores.explanations is not None:
        answer["explanations"] = scores.explanations
    return answer


def intervals(around: Mapping[str, float] | None, predictions: Sequence[Any]) -> dict[str, Any] | None:
    """Return ``level`` and ``bounds`` around predictions, as the plan's header has them.

    A bound beyond the greatest number is None.
    """
    if around is None:
        return None
    rows = zip(predictions, *_sides(around, predictions), strict=True)
    bounds = [None if value is None else [low, high] for value, low, high in rows]
    return {"level": around["level"], "bounds": bounds}


def _sides(around: Mapping[str, float], predictions: Sequence[Any]) -> list[list[float | None]]:
    """Return the lower bounds and the upper ones."""
    return [
        [
            bound if value is not None and (bound := value + around[side]) - bound == 0.0 else None
            for value in predictions
        ]
        for side in ("below", "above")
    ]


def _written(served: Served, scores: Scores) -> str:
    """Return what :func:`as_object` returns as JSON, in parts: the encoder takes longer than a row."""
    plan, scorer = served.content
    classes = plan.classes
    predictions: Sequence[str]
    probabilities = "null"
    if classes:
        names = {name: _quoted(name) for name in classes}
        predictions = ["null" if label is None else names[label] for label in scores.predictions]
        row = ",".join([f"{name}:%s" for name in [name.replace("%", "%%") for name in names.values()]])
        rows = ",".join([f"{{{row}}}"] * len(predictions))
        probabilities = f"[{rows % tuple(_numbers(scores.probabilities, scorer))}]"
    else:
        predictions = _numbers(scores.predictions, scorer)
    around, warnings = plan.header.get("interval"), scores.warnings
    bounds = _bounds(around, scores.predictions, scorer) if around else "null"
    more = "" if scores.explanations is None else f',"explanations":{_encode(scores.explanations)}'
    return (
        f'{{"model":{_quoted(served.model)},"version":{served.version},"predictions":[{",".join(predictions)}],'
        f'"probabilities":{probabilities},"intervals":{bounds},'
        f'"warnings":{_encode(warnings) if warnings else "[]"}{more}}}'
    )


def _bounds(around: Mapping[str, float], predictions: Sequence[Any], scorer: Scorer) -> str:
    """Return what :func:`intervals` returns as JSON."""
    sides = [_numbers(side, scorer) for side in _sides(around, predictions)]
    rows = zip(predictions, *sides, strict=True)
    pairs = ["null" if value is None else f"[{low},{high}]" for value, low, high in rows]
    return f'{{"level":{_encode(around["level"])},"bounds":[{",".join(pairs)}]}}'


def _numbers(values: Sequence[Any], scorer: Scorer) -> Sequence[str]:
    """Write finite numbers and None: many of them by the kernel, if the scorer has loaded it."""
    try:
        if len(values) < MANY_NUMBERS or not scorer.has_kernel:
            return list(map(float.__repr__, values))
        from millrace.scoring.kernel.spelling import spelled

        return spelled(values)
    except TypeError:
        return ["null" if value is None else float.__repr__(value) for value in values]


def as_text(answer: Any) -> str:
    """Write an answer as JSON; refuse one that Lambda could not carry."""
    return _fitting(_encode(answer))


def _fitting(text: str) -> str:
    # The body travels inside another JSON text, where quotes and backslashes become two characters.
    if 2 * len(text) > MAX_ANSWER_BYTES:
        size_bytes = len(text) + text.count('"') + text.count("\\")
        if size_bytes > MAX_ANSWER_BYTES:
            raise too_large(size_bytes)
    return text


def too_large(size_bytes: int) -> TooLarge:
    """Return the error for an answer that Lambda could not carry."""
    return TooLarge(
        f"The answer would have {size_bytes} bytes and may have {MAX_ANSWER_BYTES}",
        code="answer-too-large",
        where="the rows",
        remedy="Send fewer rows in a request.",
    )


def read(body: Any, named: Target | None = None) -> tuple[Target, Request]:
    """Check a body and return what it asks for.

    Parameters
    ----------
    body : object
        JSON values.
    named : Target, optional
        What the path names; the body then must not name something else.
    """
    if not isinstance(body, dict):
        raise _malformed("The body is not a JSON object", code="body-not-an-object", where="the body")
    if not FIELDS.issuperset(body):
        unknown = min(body.keys() - FIELDS)
        raise _malformed(f"Unknown field {unknown!r:.80}", code="field-unknown", where="the body")
    rows = body.get("rows")
    if not isinstance(rows, list):
        if "rows" not in body:
            raise _malformed("The field 'rows' is missing", code="rows-missing", where="the body")
        raise _malformed("'rows' is not a list of objects", code="rows-not-a-list", where="field 'rows'")
    if not rows:
        raise rows_empty("field 'rows'")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _malformed(
                f"Row {number} is not an object", code="row-not-an-object", where=f"row {number}"
            )
    for name, code in FLAGS.items():
        if name in body and body[name] is not None and not isinstance(body[name], bool):
            raise _malformed(f"'{name}' is neither true nor false", code=code, where=f"field '{name}'")
    request = Request(rows, strict=bool(body.get("strict")), explain=bool(body.get("explain")))
    return target_of(body, named), request


def target_of(members: dict[str, Any], named: Target | None) -> Target:
    """Return what the members ``model``, ``version`` and ``alias`` name, or else what the path does."""
    model, version, alias = members.get("model"), members.get("version"), members.get("alias")
    if model is not None and not isinstance(model, str):
        raise _malformed("'model' is not a text", code="model-not-a-text", where="field 'model'")
    if alias is not None and not isinstance(alias, str):
        raise _malformed("'alias' is not a text", code="alias-not-a-text", where="field 'alias'")
    if version is not None:
        if type(version) is not int or not 0 < version < 1 << 31:
            raise _malformed(
                "'version' is not a positive integer", code="version-not-an-integer", where="field 'version'"
            )
        if alias is not None:
            raise _malformed(
                "The request names a version and an alias", code="version-and-alias", where="the body"
            )
    if named is None or named.model is None:
        return Target(model, version, alias)
    for name, told, in_path in (
        ("model", model, named.model),
        ("version", version, named.version),
        ("alias", alias, named.alias),
    ):
        if told is not None and told != in_path:
            raise _malformed(
                f"The path and the member {name!r} name something else", code="path-differs", where="the path"
            )
    return named


def rows_empty(where: str) -> BadInput:
    """Return the error for a request without a row."""
    return _malformed(f"{where} is empty: there is nothing to score", code="rows-empty", where=where)


def _malformed(what: str, *, code: str, where: str) -> BadInput:
    return BadInput(
        what[0].upper() + what[1:],
        code=code,
        where=where,
        remedy='Send {"model": "<name>", "rows": [{"<field>": <value>, …}, …]}.',
    )
