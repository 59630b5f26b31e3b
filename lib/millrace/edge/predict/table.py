"""Tables as text: CSV in and out (RFC 4180), for every protocol that takes it.

A file has a header row, unless its type says ``header=absent``; its cells are read as those of a training
file are. Fields are parted by commas, quoted with ``"``; the text is UTF-8.
"""

from __future__ import annotations

import csv
import io

from millrace.edge import http
from millrace.edge.predict.call import Request
from millrace.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from millrace.edge.predict.call import Call, Target
    from millrace.edge.predict.score import Scores
    from millrace.plan import Plan
    from millrace.registry.reader import Served

__all__ = ["answer", "columns_of", "is_csv", "read_csv", "write_csv"]

CSV = "text/csv"
QUERY = frozenset(("alias", "model", "strict", "version"))


def is_csv(header: str) -> bool:
    """Return whether a ``Content-Type`` or ``Accept`` header begins with CSV."""
    return header.partition(";")[0].strip().lower() == CSV


def answer(call: Call, named: Target | None) -> dict[str, Any]:
    """Answer ``POST /predict`` where the rows or the answer are CSV."""
    from millrace.edge.predict import ours

    if is_csv(call.headers.get("content-type", "")):
        members = _members(call.event)
        served = call.find(ours.target_of(members, named))
        request = read_csv(call, served, strict=members["strict"])
    else:
        target, request = ours.read(http.body(call.event, call.max_body_bytes), named)
        served = call.find(target)
    scores = call.score(served, request)
    if is_csv(call.headers.get("accept", "")):
        return write_csv(served, scores)
    return ours.respond(served, scores)


def _members(event: Any) -> dict[str, Any]:
    """Return what the query says, as the body's members would."""
    query: dict[str, Any] = dict(event.get("queryStringParameters") or {})
    unknown = sorted(query.keys() - QUERY)
    if unknown:
        raise _malformed(f"Unknown parameter {unknown[0]!r:.80}", code="field-unknown", where="the query")
    strict = query.setdefault("strict", "false")
    if strict not in ("true", "false"):
        raise _malformed("'strict' is neither true nor false", code="strict-not-a-boolean", where="the query")
    query["strict"] = strict == "true"
    version = query.get("version")
    if version is not None and version.isascii() and version.isdigit() and len(version) < 10:
        query["version"] = int(version)
    return query


def read_csv(call: Call, served: Served, *, strict: bool = False) -> Request:
    """Read a body of rows; columns without a header are the signature's fields, in order.

    Raises
    ------
    BadInput
        It is no such table.
    """
    text = http.body_text(call.event, call.max_body_bytes).removeprefix("\ufeff")
    try:
        records = [record for record in csv.reader(io.StringIO(text, newline=""), strict=True) if record]
    except csv.Error as error:
        raise _malformed(f"The body is not CSV: {error}", code="body-not-csv", where="the body") from None
    kind = call.headers.get("content-type", "").replace(" ", "").lower()
    if "header=absent" in kind.split(";"):
        names = [field["name"] for field in served.content[0].signature.fields]
        first = 0
    else:
        names = records[0] if records else []
        first = 1
    return Request(columns=columns_of(names, records[first:]), count=len(records) - first, strict=strict)


def columns_of(names: Sequence[Any], records: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Turn records into columns.

    Raises
    ------
    BadInput
        There is no record, a name is no text or stands twice, or a record has more or fewer values.
    """
    if not records:
        raise _malformed("There are no rows to score", code="rows-empty", where="the body")
    for name in names:
        if not isinstance(name, str):
            raise _malformed(f"A column is called {name!r:.80}", code="column-name", where="the header")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _malformed(f"Two columns are called {twice!r:.80}", code="column-name", where="the header")
    for number, record in enumerate(records):
        if len(record) != len(names):
            raise _malformed(
                f"Row {number} has {len(record)} values, and there are {len(names)} columns",
                code="record-ragged",
                where=f"row {number}",
            )
    return dict(zip(names, zip(*records, strict=True), strict=True))


def write_csv(served: Served, scores: Scores) -> dict[str, Any]:
    """Return the answer as a table: ``prediction``, then a column a class, or ``low`` and ``high``.

    Model, version and the number of warnings stand in headers.
    """
    from millrace.edge.predict import ours

    plan: Plan = served.content[0]
    heads = [f"probability:{name}" for name in plan.classes]
    values, k = scores.probabilities, len(heads)
    found = ours.intervals(plan.header.get("interval"), scores.predictions)
    if found:
        heads, k = ["low", "high"], 2
        values = [bound for bounds in found["bounds"] for bound in bounds or (None, None)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["prediction", *heads])
    writer.writerows(
        [prediction, *values[number * k : number * k + k]]
        for number, prediction in enumerate(scores.predictions)
    )
    text = file.getvalue()
    size_bytes = len(text.encode()) + text.count('"') + text.count("\n") + text.count("\\")
    if size_bytes > ours.MAX_ANSWER_BYTES:
        raise ours.too_large(size_bytes)
    headers = {
        "x-millrace-model": served.model,
        "x-millrace-version": str(served.version),
        "x-millrace-warnings": str(len(scores.warnings)),
    }
    return http.reply(200, text, f"{CSV}; charset=utf-8; header=present", headers)


def _malformed(what: str, *, code: str, where: str) -> BadInput:
    return BadInput(
        what, code=code, where=where, remedy="Send a header row with the fields, and one record a row."
    )
