"""The Open Inference Protocol, version 2, over HTTP, with its extension for binary tensors.

A request has one tensor for each field of the signature, of shape ``[n]`` or ``[n, 1]``, or one tensor of
shape ``[n, fields]`` whose columns are the fields in the signature's order. A field may be left out, which
warns. Any datatype whose values convert to the field's type will do. What is missing is ``null`` or ``NaN``
in numbers and ``""`` in texts.

The answer has the outputs ``prediction``, ``BYTES`` for labels and ``FP64`` for numbers, and for
classification ``probabilities``, ``FP64`` of shape ``[n, classes]``, whose parameter ``classes`` is the list
of their names, as JSON; for a regression that has intervals it has ``interval``, ``FP64`` of shape
``[n, 2]``. A request may ask for outputs by name; its parameter ``strict`` refuses what would otherwise be
a warning, and the answer's parameters say how many ``warnings`` there are and what the first is. Binary
tensors are read in place: no number becomes an object on its way into the plan's columns. Errors are
``{"error": <text>}``.

References
----------
Open Inference Protocol, "Inference Protocol: HTTP/REST" and "Binary Tensor Data Extension".
"""

from __future__ import annotations

import json

from millrace import __version__
from millrace.edge import http
from millrace.edge.predict import ours
from millrace.edge.predict.call import Request, Target
from millrace.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from millrace.edge.predict.call import Call
    from millrace.edge.predict.score import Scores
    from millrace.errors import MillraceError
    from millrace.plan import Plan
    from millrace.registry.reader import Served

__all__ = ["DATATYPES", "answer", "refuse"]

DATATYPES = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "text": "BYTES", "time": "BYTES"}
"""Type of a field -> datatype of its tensor."""
HEADER_LENGTH = "inference-header-content-length"
OCTETS = "application/octet-stream"
WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(WHOLE, (int,)),
    **dict.fromkeys(("FP32", "FP64"), (int, float)),
    "BOOL": (bool,),
    "BYTES": (str,),
}


def answer(call: Call) -> dict[str, Any]:
    """Answer any path below ``/v2``."""
    match call.path.rstrip("/").split("/")[2:]:
        case []:
            _only(call, "GET")
            about = {"name": "millrace", "version": __version__, "extensions": ["binary_tensor_data"]}
            return _reply(about)
        case ["health", "live"]:
            _only(call, "GET")
            return _reply({"live": True})
        case ["health", "ready"]:
            _only(call, "GET")
            call.reader.models()
            return _reply({"ready": True})
        case ["models", *named, "infer"]:
            _only(call, "POST")
            return _infer(call, call.find(Target.of_path(named)))
        case ["models", *named, "ready"]:
            _only(call, "GET")
            served = call.find(Target.of_path(named))
            return _reply({"name": served.model, "ready": True})
        case ["models", *named]:
            _only(call, "GET")
            return _reply(_metadata(call.find(Target.of_path(named))))
    raise http.no_route(call.path)


def refuse(error: MillraceError, path: str) -> dict[str, Any]:
    """Return the protocol's error object."""
    return http.reply(error.status, json.dumps({"error": str(error)}), headers=http.failure_headers(error))


def _only(call: Call, method: str) -> None:
    if call.method != method:
        raise http.wrong_method(method)


def _reply(answer: dict[str, Any]) -> dict[str, Any]:
    return http.reply(200, ours.as_text(answer))


def _metadata(served: Served) -> dict[str, Any]:
    plan: Plan = served.content[0]
    outputs: list[dict[str, Any]] = [
        {"name": "prediction", "datatype": "BYTES" if plan.classes else "FP64", "shape": [-1]}
    ]
    if plan.classes:
        shape = [-1, len(plan.classes)]
        outputs.append(
            {"name": "probabilities", "datatype": "FP64", "shape": shape, "parameters": _classes(plan)}
        )
    elif around := plan.header.get("interval"):
        outputs.append(
            {
                "name": "interval",
                "datatype": "FP64",
                "shape": [-1, 2],
                "parameters": {"level": around["level"]},
            }
        )
    return {
        "name": served.model,
        "versions": [str(served.version)],
        "platform": "millrace_plan",
        "inputs": [
            {"name": field["name"], "datatype": DATATYPES[field["type"]], "shape": [-1]}
            for field in plan.signature.fields
        ],
        "outputs": outputs,
    }


def _classes(plan: Plan) -> dict[str, str]:
    return {"classes": json.dumps(plan.classes, ensure_ascii=False)}


# --- inference --------------------------------------------------------------------------------------


def _infer(call: Call, served: Served) -> dict[str, Any]:
    body, binary = _parts(call)
    if not isinstance(body, dict):
        raise _malformed("The body is not a JSON object", code="body-not-an-object", where="the body")
    unknown = sorted(body.keys() - {"id", "inputs", "outputs", "parameters"})
    if unknown:
        raise _malformed(f"Unknown member {unknown[0]!r:.80}", code="field-unknown", where="the body")
    parameters = _parameters(body, "the body")
    if not isinstance(body.get("id", ""), str):
        raise _malformed("'id' is not a text", code="field-type", where="member 'id'")
    plan: Plan = served.content[0]
    wanted = _wanted(body.get("outputs"), plan, parameters.get("binary_data_output") is True)
    columns, count = _columns(body.get("inputs"), binary, plan)
    request = Request(columns=columns, count=count, strict=parameters.get("strict") is True)
    scores = call.score(served, request)

    answer: dict[str, Any] = {"model_name": served.model, "model_version": str(served.version)}
    if "id" in body:
        answer["id"] = body["id"]
    if scores.warnings:
        first = scores.warnings[0]
        answer["parameters"] = {
            "warnings": len(scores.warnings),
            "first_warning": f"row {first['row']}: {first['message']}",
        }
    answer["outputs"] = []
    appended: list[bytes] = []
    for name, as_binary in wanted:
        tensor, data = _output(name, scores, plan, count)
        if as_binary:
            from millrace.edge.predict import tensors

            packed = tensors.pack(tensor["datatype"], data)
            tensor.setdefault("parameters", {})["binary_data_size"] = len(packed)
            appended.append(packed)
        else:
            tensor["data"] = data
        answer["outputs"].append(tensor)
    if not appended:
        return _reply(answer)
    head = ours.as_text(answer).encode()
    data = b"".join((head, *appended))
    size_bytes = (len(data) + 2) // 3 * 4
    if size_bytes > ours.MAX_ANSWER_BYTES:
        raise ours.too_large(size_bytes)
    return http.reply_bytes(data, OCTETS, {HEADER_LENGTH: str(len(head))})


def _parts(call: Call) -> tuple[Any, memoryview]:
    """Return the JSON of a request and the binary data behind it."""
    stated = call.headers.get(HEADER_LENGTH)
    if stated is None:
        return http.body(call.event, call.max_body_bytes, nan=True), memoryview(b"")
    data = http.body_bytes(call.event, call.max_body_bytes)
    if not (stated.isascii() and stated.isdigit() and int(stated[:12]) <= len(data)):
        raise _malformed(
            f"{stated[:20]!r} is not the length of the JSON in a body of {len(data)} bytes",
            code="tensor-size",
            where=f"the header {HEADER_LENGTH!r}",
        )
    length = int(stated)
    try:
        text = data[:length].decode()
    except UnicodeDecodeError:
        raise _malformed("The JSON is not UTF-8", code="body-not-json", where="the body") from None
    return http.parse(text, nan=True), memoryview(data)[length:]


def _parameters(of: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters of a request or tensor; those of other extensions mean nothing here."""
    parameters = of.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _malformed("'parameters' is not an object", code="field-type", where=where)
    refused = [name for name in parameters if name.startswith("shared_memory") or name == "classification"]
    if refused:
        raise _malformed(
            f"The parameter {refused[0]!r:.80} is of an extension that is not spoken here",
            code="tensor-extension",
            where=where,
        )
    for name in ("strict", "binary_data_output", "binary_data"):
        if not isinstance(parameters.get(name, False), bool):
            raise _malformed(
                f"The parameter {name!r} is neither true nor false", code="field-type", where=where
            )
    return parameters


def _wanted(outputs: Any, plan: Plan, binary: bool) -> list[tuple[str, bool]]:
    """Return the names of the outputs that are asked for, and whether as binary data."""
    names = ["prediction"]
    if plan.classes:
        names.append("probabilities")
    elif plan.header.get("interval"):
        names.append("interval")
    if not outputs:
        return [(name, binary) for name in names]
    if not isinstance(outputs, list):
        raise _malformed("'outputs' is not a list", code="field-type", where="member 'outputs'")
    wanted = []
    for output in outputs:
        if not isinstance(output, dict) or output.get("name") not in names:
            name = output.get("name") if isinstance(output, dict) else output
            raise _malformed(
                f"There is no output {name!r:.80}, but {' and '.join(names)}",
                code="output-unknown",
                where="member 'outputs'",
            )
        parameters = _parameters(output, f"output {output['name']!r}")
        wanted.append((output["name"], parameters.get("binary_data", binary)))
    return wanted


def _output(name: str, scores: Scores, plan: Plan, count: int) -> tuple[dict[str, Any], Sequence[Any]]:
    if name == "prediction":
        kind = "BYTES" if plan.classes else "FP64"
        return {"name": name, "datatype": kind, "shape": [count]}, scores.predictions
    if name == "interval":
        found: Any = ours.intervals(plan.header["interval"], scores.predictions)
        bounds = [bound for pair in found["bounds"] for bound in pair or (None, None)]
        level = {"level": found["level"]}
        return {"name": name, "datatype": "FP64", "shape": [count, 2], "parameters": level}, bounds
    shape = [count, len(plan.classes)]
    tensor = {"name": name, "datatype": "FP64", "shape": shape, "parameters": _classes(plan)}
    return tensor, scores.probabilities


# --- input tensors ----------------------------------------------------------------------------------


def _columns(inputs: Any, binary: memoryview, plan: Plan) -> tuple[dict[str, Any], int]:
    """Return the columns of all tensors, and how many rows they have."""
    if not isinstance(inputs, list) or not inputs:
        raise _malformed("'inputs' is not a list of tensors", code="rows-missing", where="member 'inputs'")
    names = [field["name"] for field in plan.signature.fields]
    columns: dict[str, Any] = {}
    count = -1
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise _malformed("A tensor has no name", code="tensor-shape", where="member 'inputs'")
        name: str = tensor["name"]
        where = f"tensor {name!r:.80}"
        if name in columns:
            raise _malformed("The tensor stands twice in the request", code="column-name", where=where)
        rows, width = _shape(tensor.get("shape"), where)
        values, binary = _values(tensor, rows * width, binary, where)
        count = rows if count < 0 else count
        if width == len(names) and len(inputs) == 1 and (width > 1 or name not in names):
            columns = {field: values[at::width] for at, field in enumerate(names)}
            break
        if width != 1:
            raise _malformed(
                f"It has {width} columns, and there are {len(names)} fields", code="tensor-shape", where=where
            )
        if count != rows:
            raise _malformed(
                f"It has {rows} rows, and another tensor has {count}", code="tensor-shape", where=where
            )
        columns[name] = values
    if len(binary):
        raise _malformed(
            f"{len(binary)} bytes of the body belong to no tensor", code="tensor-size", where="the body"
        )
    return columns, count


def _shape(shape: Any, where: str) -> tuple[int, int]:
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or not all(type(size) is int and size > 0 for size in shape)
    ):
        raise _malformed(
            f"The shape {shape!r:.80} is neither [rows] nor [rows, columns]", code="tensor-shape", where=where
        )
    return shape[0], shape[1] if len(shape) == 2 else 1


def _values(
    tensor: dict[str, Any], count: int, binary: memoryview, where: str
) -> tuple[Sequence[Any] | memoryview, memoryview]:
    """Return the elements of a tensor, and the binary data that is left."""
    kind, data = tensor.get("datatype"), tensor.get("data")
    kinds = _KINDS.get(kind) if isinstance(kind, str) else None
    if kinds is None:
        raise _malformed(
            f"The datatype {kind!r:.80} is not taken",
            code="tensor-datatype",
            where=where,
            remedy=f"Send one of {', '.join(sorted(_KINDS))}.",
        )
    size_bytes = _parameters(tensor, where).get("binary_data_size")
    if size_bytes is not None:
        if type(size_bytes) is not int or not 0 <= size_bytes <= len(binary) or data is not None:
            raise _malformed(
                f"'binary_data_size' is {size_bytes!r:.20}, and {len(binary)} bytes are left",
                code="tensor-size",
                where=where,
            )
        from millrace.edge.predict import tensors

        return tensors.unpack(str(kind), binary[:size_bytes], count, where), binary[size_bytes:]
    if not isinstance(data, list):
        raise _malformed("It has no data", code="tensor-size", where=where)
    if data and isinstance(data[0], list):
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if len(data) != count:
        raise _malformed(
            f"It has {len(data)} elements, and its shape says {count}", code="tensor-size", where=where
        )
    for value in data:
        # A boolean is an integer to Python, but none here.
        if value is not None and (
            not isinstance(value, kinds) or (value is True or value is False) != (kind == "BOOL")
        ):
            raise _malformed(f"{value!r:.60} is no {kind}", code="tensor-datatype", where=where)
    return data, binary


def _malformed(what: str, *, code: str, where: str, remedy: str = "") -> BadInput:
    return BadInput(
        what, code=code, where=where, remedy=remedy or "GET /v2/models/{model} tells the model's tensors."
    )
