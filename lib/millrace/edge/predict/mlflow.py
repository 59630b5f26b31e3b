"""The protocol of MLflow's scoring server and of SageMaker's containers: ``/invocations`` and ``/ping``.

Without a model in the path (``/models/<model>/invocations``), the header
``X-Amzn-SageMaker-Target-Model`` names one, with ``/versions/<n>`` or ``/aliases/<alias>`` after it if need
be; without either the only live model answers. A client that appends ``/invocations`` to an address gets a
model of its own at the address ``…/models/<model>``.

The body is CSV, or one JSON object with exactly one of ``dataframe_split``, ``dataframe_records``,
``instances`` and ``inputs`` [1]_ and if need be ``params``, of which ``strict`` is known. Values without
names are in the order of the signature's fields. ``NaN`` is missing: MLflow's client writes the holes of a
data frame so. The answer is MLflow's ``{"predictions": [...]}``, with the other members of our own answer
beside it, or CSV. An error is MLflow's ``{"error_code", "message"}``, and our ``code``.

References
----------
.. [1] MLflow, "Deploy MLflow Model as a Local Inference Server", Inference Server Specification.
"""

from __future__ import annotations

import json

from millrace.edge import http
from millrace.edge.predict import ours, table
from millrace.edge.predict.call import Request, Target
from millrace.errors import BadInput, NotFound, TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from millrace.edge.predict.call import Call
    from millrace.errors import MillraceError
    from millrace.registry.reader import Served

__all__ = ["FORMATS", "answer", "refuse"]

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
TARGET_HEADER = "x-amzn-sagemaker-target-model"
"""Which model of a multi-model endpoint is meant (Amazon SageMaker AI developer guide, "Custom Containers
Contract for Multi-Model Endpoints")."""


def answer(call: Call) -> dict[str, Any]:
    """Answer ``POST …/invocations`` or ``GET …/ping``."""
    parts = call.path.split("/")
    named = Target.of_path(parts[2:-1]) if len(parts) > 2 else None
    if parts[-1] == "ping":
        if call.method not in ("GET", "HEAD"):
            raise http.wrong_method("GET")
        if named is not None:
            call.find(named)
        return http.reply(200, "\n")
    if call.method != "POST":
        raise http.wrong_method("POST")
    header = call.headers.get(TARGET_HEADER)
    if named is None:
        named = Target.of_path(header.split("/"), TARGET_HEADER) if header else Target()
    served = call.find(named)
    scores = call.score(served, _request(call, served))
    if table.is_csv(call.headers.get("accept", "")):
        return table.write_csv(served, scores)
    return ours.respond(served, scores)


def refuse(error: MillraceError, path: str) -> dict[str, Any]:
    """Return MLflow's error object."""
    if isinstance(error, NotFound):
        code = "RESOURCE_DOES_NOT_EXIST"
    elif isinstance(error, BadInput):
        code = "BAD_REQUEST"
    else:
        code = "TEMPORARILY_UNAVAILABLE" if isinstance(error, TransientError) else "INTERNAL_ERROR"
    text = json.dumps({"error_code": code, "message": str(error), "code": error.code})
    return http.reply(error.status, text, headers=http.failure_headers(error))


def _request(call: Call, served: Served) -> Request:
    kind = call.headers.get("content-type", http.JSON)
    if table.is_csv(kind):
        return table.read_csv(call, served)
    if kind.partition(";")[0].strip().lower() != http.JSON:
        raise http.wrong_type(
            f"The body is declared as {kind[:80]!r}", f"Send {http.JSON} or {table.CSV}, in UTF-8."
        )
    body = http.body(call.event, call.max_body_bytes, nan=True)
    if not isinstance(body, dict):
        raise _malformed("The body is not a JSON object", code="body-not-an-object", where="the body")
    unknown = sorted(body.keys() - {*FORMATS, "params"})
    if unknown:
        raise _malformed(f"Unknown field {unknown[0]!r:.80}", code="field-unknown", where="the body")
    given = [name for name in FORMATS if name in body]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none of them"
        raise _malformed(
            f"The body must have one of {', '.join(FORMATS)}, and {found}",
            code="rows-missing",
            where="the body",
        )
    params = body.get("params") or {}
    if not isinstance(params, dict) or not params.keys() <= {"strict"}:
        raise _malformed(
            "'params' has something else than 'strict'", code="field-unknown", where="field 'params'"
        )
    strict = params.get("strict", False)
    if not isinstance(strict, bool):
        raise _malformed(
            "'strict' is neither true nor false", code="strict-not-a-boolean", where="field 'params'"
        )
    (name,) = given
    fields = [field["name"] for field in served.content[0].signature.fields]
    request = _read(name, body[name], fields)
    request.strict = strict
    return request


def _read(name: str, value: Any, fields: Sequence[str]) -> Request:
    if name == "dataframe_split":
        names, records = _split(value)
        return Request(columns=table.columns_of(names, records), count=len(records))
    if name == "inputs" and isinstance(value, dict):
        return _columns(value)
    if not isinstance(value, list):
        raise _malformed(f"{name!r} is not a list", code="rows-not-a-list", where=f"field {name!r}")
    if not value:
        raise ours.rows_empty(f"field {name!r}")
    if all(isinstance(row, dict) for row in value):
        return Request(value)
    if name == "dataframe_records":
        raise _malformed(
            "A record is not an object", code="row-not-an-object", where="field 'dataframe_records'"
        )
    # Values without names: rows of them, or one each when the model has one field.
    records = value if all(isinstance(row, list) for row in value) else [[row] for row in value]
    return Request(columns=table.columns_of(fields, records), count=len(records))


def _split(value: Any) -> tuple[list[Any], list[list[Any]]]:
    if isinstance(value, dict) and value.keys() <= {"columns", "index", "data"}:
        names, records = value.get("columns"), value.get("data")
        if (
            isinstance(names, list)
            and isinstance(records, list)
            and all(isinstance(record, list) for record in records)
        ):
            return names, records
    raise _malformed(
        "'dataframe_split' does not have 'columns' and, as a list of lists, 'data'",
        code="rows-not-a-list",
        where="field 'dataframe_split'",
    )


def _columns(value: dict[str, Any]) -> Request:
    columns = {name: values if isinstance(values, list) else [values] for name, values in value.items()}
    counts = {len(values) for values in columns.values()}
    if len(counts) > 1:
        raise _malformed(
            f"The columns have {min(counts)} to {max(counts)} values",
            code="record-ragged",
            where="field 'inputs'",
        )
    count = max(counts, default=0)
    if not count:
        raise ours.rows_empty("field 'inputs'")
    return Request(columns=columns, count=count)


def _malformed(what: str, *, code: str, where: str) -> BadInput:
    return BadInput(
        what,
        code=code,
        where=where,
        remedy='Send {"dataframe_split": {"columns": ["<field>", …], "data": [[<value>, …], …]}}.',
    )
