"""Makes a plan of a model from elsewhere: what its file holds and what its signature says must fit."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto

from millrace import __version__, plan
from millrace.compiler.onnx import MAX_FOREIGN_BYTES, encode
from millrace.errors import BadInput, MillraceError, TooLarge, Unprocessable
from millrace.plan.signature import Signature
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.rows import RowScorer
from millrace.scoring.typical import typical_row

__all__ = ["wrapped"]

_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml"))
_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float",
    TensorProto.DOUBLE: "double",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.BOOL: "bool",
    TensorProto.STRING: "string",
}
_AS = {
    "value": ("regression", "identity"),
    "probabilities": ("classification", "probabilities"),
    "logits": ("classification", "softmax"),
    "probability": ("binary", "probabilities"),
    "logit": ("binary", "logistic"),
    "labels": ("classification", "probabilities"),
}
"""What an output may be, for which task, and the plan's link behind it."""
_MEMBERS = frozenset(("task", "target", "classes", "fields", "typical", "encoders", "inputs", "output"))
_SHARE_ERROR = 1e-3
"""How far probabilities may be from adding up to 1: those of float32 are off by 1e-7, logits by far more."""


def wrapped(onnx_bytes: bytes, signature: Mapping[str, Any], model: str) -> bytes:
    """Return the plan; see :func:`millrace.compiler.onnx.wrap`."""
    proto = _opened(onnx_bytes)
    said = _checked(signature)
    fields, classes = said["fields"], said["classes"]
    steps = said["encoders"]
    inputs, texts = _inputs(proto.graph, said)
    kind, link = said["output"]["as"], _AS[said["output"]["as"]][1]
    outputs = len(classes) if kind in ("probabilities", "logits") else 1
    spec: dict[str, Any] = {
        "kind": "onnx",
        "model": 0,
        "inputs": inputs,
        "texts": texts,
        "output": _output(proto.graph, said, outputs),
        "link": link,
    }
    header = {
        "model": model,
        "task": said["task"],
        "classes": classes,
        "signature": fields,
        "ignored": [],
        "features": steps,
        "estimator": spec,
        "typical": said["typical"],
        "certificate": None,
        "libraries": {
            "python": platform.python_version(),
            "millrace": __version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "about": {
            "source": "onnx",
            "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
            "opsets": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
            "onnx_sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        },
    }
    made = plan.write(header, [np.frombuffer(onnx_bytes, dtype=np.uint8)])
    _tried(made, link == "probabilities" and kind != "labels")
    return made


# --- the file ----------------------------------------------------------------------------------


def _opened(data: bytes) -> onnx.ModelProto:
    if len(data) > MAX_FOREIGN_BYTES:
        raise TooLarge(
            f"The ONNX model has {len(data):,} bytes, and at most {MAX_FOREIGN_BYTES:,} are served",
            code="onnx-too-large",
            remedy="Make the model smaller: fewer parameters, or parameters in float32 or int8.",
        )
    try:
        proto = onnx.load_from_string(data)
    except DecodeError:
        raise _invalid("The file is no ONNX model", "Export it again.") from None
    if not proto.HasField("graph"):
        raise _invalid("The file is no ONNX model: it holds no graph", "Export it again.")
    own = {function.domain for function in proto.functions}
    for graph in _graphs(proto):
        for tensor in graph.initializer:
            _refuse_external(tensor)
    for node in _nodes(proto):
        if node.op_type == "ZipMap":
            raise _invalid(
                "The ONNX model ends in ZipMap, whose output is a list of maps and no tensor",
                "Export it with the option zipmap=False.",
            )
        if node.domain not in _DOMAINS | own:
            raise _invalid(
                f"The ONNX model uses {node.domain}.{node.op_type}, which is no standard operator",
                "Export it with the operators of ai.onnx and ai.onnx.ml alone.",
            )
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _refuse_external(tensor)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise _invalid(
            f"The ONNX model is not valid: {str(error).strip()[:300]}", "Export it again."
        ) from None
    return proto


def _graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Yield the model's graph and those inside of its nodes."""
    waiting = [proto.graph]
    nodes = [node for function in proto.functions for node in function.node]
    while waiting or nodes:
        if waiting:
            graph = waiting.pop()
            yield graph
            nodes += graph.node
        else:
            for attribute in nodes.pop().attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting += attribute.graphs


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def _refuse_external(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise _invalid(
            f"The ONNX model keeps {tensor.name or 'a tensor'!r} in another file",
            "Export it into one file, in PyTorch with external_data=False.",
        )


# --- the signature -----------------------------------------------------------------------------


def _checked(signature: Mapping[str, Any]) -> dict[str, Any]:
    """Return the signature with its defaults; refuse what is malformed."""
    if not isinstance(signature, dict):
        raise _wrong("The signature is not a JSON object")
    unknown = sorted(signature.keys() - _MEMBERS)
    if unknown:
        raise _wrong(f"Unknown member {unknown[0]!r:.80}", "the signature")
    task, classes = signature.get("task"), signature.get("classes", [])
    if task not in ("binary", "multiclass", "regression"):
        raise _wrong("'task' is none of binary, multiclass and regression", "member 'task'")
    if not _texts(classes) or len(set(classes)) < len(classes):
        raise _wrong("'classes' is not a list of different texts", "member 'classes'")
    least = {"regression": 0, "binary": 2, "multiclass": 2}[task]
    if (task != "multiclass" and len(classes) != least) or len(classes) < least:
        raise _wrong(f"{len(classes)} classes do not fit the task {task}", "member 'classes'")
    if not isinstance(signature.get("target", ""), str):
        raise _wrong("'target' is not a text", "member 'target'")
    fields = signature.get("fields")
    if not isinstance(fields, list) or not fields:
        raise _wrong("'fields' is not a list with at least one field", "member 'fields'")
    for number, field in enumerate(fields):
        if not Signature.is_field(field) or not field["name"]:
            raise _wrong(
                "A field is no object with 'name' and 'type': number, boolean, category, text or time",
                f"fields[{number}]",
            )
    names = [field["name"] for field in fields]
    if len(set(names)) < len(names):
        raise _wrong("Two fields have the same name", "member 'fields'")
    encoders, inputs, output = (signature.get(name) for name in ("encoders", "inputs", "output"))
    if encoders is not None and not isinstance(encoders, list):
        raise _wrong("'encoders' is not a list of encoders of a scoring plan", "member 'encoders'")
    if inputs is not None and not (isinstance(inputs, dict) and all(map(_texts, inputs.values()))):
        raise _wrong("'inputs' is not an object of lists of fields", "member 'inputs'")
    if not isinstance(output, dict) or output.get("as") not in _AS:
        raise _wrong(f"'output' has no 'as': one of {', '.join(_AS)}", "member 'output'")
    wanted = _AS[output["as"]][0]
    if wanted != task and (wanted, task) not in (
        ("classification", "binary"),
        ("classification", "multiclass"),
    ):
        raise _wrong(f"An output that is {output['as']!r} does not fit the task {task}", "output.as")
    labels: list[Any] = output.get("labels") or classes
    if len(labels) != len(classes) or not all(type(label) in (str, int) for label in labels):
        raise _wrong("'labels' is not a list with a text or an integer for each class", "output.labels")
    return {
        "task": task,
        "classes": classes,
        "fields": fields,
        "typical": _typical(fields, signature.get("typical")),
        "encoders": encoders or [],
        "inputs": inputs,
        "output": {**output, "labels": labels},
    }


def _typical(fields: Sequence[Mapping[str, Any]], row: Any) -> list[float | str | None] | None:
    """Return the typical row as a plan has it, from a row as a request has it."""
    if row is None:
        return None
    if not isinstance(row, dict):
        raise _wrong("'typical' is no row: an object with a value for each field", "member 'typical'")
    try:
        values, noticed = Signature(fields).convert_row(row)
    except Unprocessable as error:
        raise _wrong(f"The typical row is refused: {error.what}", f"typical: {error.where}") from None
    unknown = [field for field, code, _ in noticed if code == "unknown-field"]
    if unknown:
        raise _wrong(
            f"The typical row has a field {unknown[0]!r:.80} that 'fields' has not", "member 'typical'"
        )
    return [None if value != value else value for value in values]


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _inputs(graph: onnx.GraphProto, said: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return what each input of the model takes, and which values are texts."""
    constants = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in constants]
    flow = _flow(said)
    takes = _columns([value.name for value in values], said, len(flow))
    result = []
    for value in values:
        where = f"input {value.name!r:.60}"
        kind, shape = _tensor(value, where)
        columns = takes[value.name]
        if kind not in _TYPES:
            raise _wrong(f"It has the type {TensorProto.DataType.Name(kind)}, which no field becomes", where)
        if len(shape) not in (1, 2) or (len(shape) == 1 and len(columns) != 1):
            raise _wrong(f"{len(columns)} values do not fit {len(shape)} dimensions", where)
        if len(shape) == 2 and shape[1] not in (None, len(columns)):
            raise _wrong(f"It has {shape[1]} columns, and the signature gives it {len(columns)}", where)
        if shape[0] is not None:
            raise _invalid(
                f"The model's {where} takes {shape[0]} rows and no other number",
                "Export it with a first dimension that is dynamic.",
            )
        text = _TYPES[kind] == "string"
        if any((flow[column] == "s") != text for column in columns):
            raise _wrong(f"It takes {'texts' if text else 'numbers'}, and a field of it is none", where)
        result.append(
            {"name": value.name, "type": _TYPES[kind], "rank": len(shape), "columns": list(columns)}
        )
    return result, [i for i, letter in enumerate(flow) if letter == "s"]


def _flow(said: Mapping[str, Any]) -> str:
    """Return a letter for each value behind the encoders: n for a number, s for a text."""
    flow = "".join("s" if field["type"] in ("category", "text") else "n" for field in said["fields"])
    if not said["encoders"]:
        return flow
    probe = {
        "model": "probe",
        "task": "regression",
        "classes": [],
        "signature": said["fields"],
        "ignored": [],
        "features": said["encoders"],
        "estimator": {"kind": "constant", "values": 0, "link": "identity"},
    }
    empty = {
        field["name"]: np.empty(0, dtype=object if letter == "s" else np.float64)
        for field, letter in zip(said["fields"], flow, strict=True)
    }
    try:
        width: int = encode(plan.write(probe, [np.zeros(1)]), empty).shape[1]
    except MillraceError as error:
        raise _wrong(
            f"The encoders do not fit the fields, or leave texts: {error.what}", "member 'encoders'"
        ) from None
    return "n" * width


def _columns(names: Sequence[str], said: Mapping[str, Any], width: int) -> dict[str, Sequence[int]]:
    """Return the values that each input takes."""
    fields = [field["name"] for field in said["fields"]]
    given = said["inputs"]
    if given is None:
        if len(names) == 1:
            return {names[0]: range(width)}
        given = {name: [name] for name in names}
    if said["encoders"]:
        raise _wrong("Behind encoders a model has one input, which takes all values", "member 'inputs'")
    if set(given) != set(names):
        raise _wrong(f"The model's inputs are {_listed(names)}, and given are {_listed(given)}", "'inputs'")
    for name, wanted in given.items():
        for field in wanted:
            if field not in fields:
                raise _wrong(f"There is no field {field!r:.60}", f"inputs[{name!r:.60}]")
    return {name: [fields.index(field) for field in wanted] for name, wanted in given.items()}


def _output(graph: onnx.GraphProto, said: Mapping[str, Any], outputs: int) -> dict[str, Any]:
    names = [value.name for value in graph.output]
    name = said["output"].get("name", names[0] if len(names) == 1 else None)
    if name not in names:
        raise _wrong(f"The model's outputs are {_listed(names)}; 'name' is none of them", "member 'output'")
    where = f"output {name!r:.60}"
    kind, shape = _tensor(graph.output[names.index(name)], where)
    if said["output"]["as"] == "labels":
        if kind not in (TensorProto.STRING, TensorProto.INT64, TensorProto.INT32):
            raise _wrong("Labels are texts or integers, and it holds neither", where)
        labels = said["output"]["labels"]
        if kind != TensorProto.STRING and not all(isinstance(label, int) for label in labels):
            labels = list(range(len(labels)))
        return {"name": name, "as": "labels", "labels": labels}
    if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise _wrong("It holds no numbers in float32 or float64", where)
    if len(shape) > 2 or (len(shape) == 2 and shape[1] not in (None, outputs)):
        raise _wrong(f"It has the shape {shape}, and {outputs} a row are expected", where)
    if said["output"]["as"] == "probability":
        return {"name": name, "as": "second"}
    return {"name": name, "as": "values", "outputs": outputs}


def _tensor(value: onnx.ValueInfoProto, where: str) -> tuple[int, list[int | None]]:
    """Return the element type and the dimensions; None for a dynamic one."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        hint = " (ZipMap makes such)" if kind == "sequence_type" else ""
        raise _invalid(
            f"The ONNX model's {where} is a {str(kind).removesuffix('_type')}{hint}, and no tensor",
            "Export it so that its inputs and outputs are tensors.",
        )
    tensor = value.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    return tensor.elem_type, shape


# --- the trial ---------------------------------------------------------------------------------


def _tried(made: bytes, shares: bool) -> None:
    """Score a made-up row alone and three of them at once; the two must agree, and be what they say."""
    read = plan.read(made)
    if read.header["typical"] is not None:
        try:
            RowScorer(read).score(typical_row(read))
        except Unprocessable as error:
            raise _wrong(f"The model refuses the typical row: {error.what}", "member 'typical'") from None
    row = [_example(field) for field in read.signature.fields]
    prediction, probabilities = RowScorer(read).score(row)
    columns: dict[str, NDArray[Any]] = {
        field["name"]: np.asarray([value] * 3, dtype=object if isinstance(value, str) else np.float64)
        for field, value in zip(read.signature.fields, row, strict=True)
    }
    block = BlockScorer(read).score(columns)
    alone = np.asarray(probabilities if probabilities is not None else prediction, dtype=np.float64)
    if not np.allclose(block, alone, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise _invalid(
            "The ONNX model answers a row in another way when other rows stand beside it",
            "Export it in inference mode: eval() in PyTorch.",
        )
    if shares and np.isfinite(alone).all() and (alone.min() < 0 or abs(alone.sum() - 1.0) > _SHARE_ERROR):
        raise _wrong(
            f"The probabilities of a row add up to {alone.sum():.4g}, the smallest is {alone.min():.4g}",
            "output.as",
        )


def _example(field: Mapping[str, Any]) -> float | str:
    if field["type"] == "category":
        return str(next(iter(field.get("categories", ())), "a"))
    if field["type"] == "text":
        return "a text"
    low, high = field.get("minimum", 0.0), field.get("maximum", 0.0)
    middle = (low + high) / 2 if "minimum" in field and "maximum" in field else low or high
    return float(round(middle))


def _invalid(what: str, remedy: str) -> BadInput:
    return BadInput(what, code="onnx-invalid", remedy=remedy)


def _wrong(what: str, where: str = "") -> BadInput:
    return BadInput(
        what,
        code="onnx-signature",
        where=where,
        remedy="Correct the signature; the documentation of ONNX models has its members.",
    )


def _listed(names: Any) -> str:
    return ", ".join(repr(name)[:60] for name in names) or "none"
