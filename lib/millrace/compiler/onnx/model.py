"""Builds the ONNX model of a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from millrace import __version__, plan
from millrace.compiler.onnx import ENCODED, OPSETS, REFUSED, encode, not_expressed_in
from millrace.compiler.onnx.common import not_expressed
from millrace.compiler.onnx.graph import Column, Graph
from millrace.compiler.onnx.links import LINKS
from millrace.errors import BadInput
from millrace.plan.kinds import ENCODERS, ESTIMATORS, PAIR_LINKS, of

__all__ = ["build", "node"]

_ROOM = "millrace.compiler.onnx"
_MAX_BYTES = (1 << 31) - 1
"""What a protocol buffer may have."""
_IR_VERSION = 10
"""The file format of ONNX 1.16."""


def build(plan_bytes: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return the model's bytes; see :func:`millrace.compiler.onnx.export`."""
    read = plan.read(plan_bytes)
    fields = read.signature.fields
    unexpressed = not_expressed_in(read.header["features"])
    graph = Graph()
    if unexpressed:
        empty = {field["name"]: np.empty(0, _dtype(field)) for field in fields}
        columns = graph.input("encoded", encode(plan_bytes, empty).shape[1])
    else:
        names = [field["name"] for field in fields]
        if not names or "" in names or len(set(names)) < len(names):
            raise not_expressed("A signature without fields, or with fields of one name or none")
        columns = [c for field in fields for c in graph.input(field["name"], text=_is_text(field))]
        columns = steps(read.header["features"], columns, read.arrays, graph)
    result = graph.matrix(node(read.header["estimator"], columns, read.arrays, graph))
    outputs = _outputs(result, read.classes, graph)
    about = {
        "millrace.model": read.model,
        "millrace.task": read.task,
        "millrace.classes": _json(read.classes),
        "millrace.signature": _json(fields),
        "millrace.starts_at": "encoded" if unexpressed else "fields",
        "millrace.plan_sha256": hashlib.sha256(plan_bytes).hexdigest(),
        **metadata,
    }
    if unexpressed:
        about["millrace.not_expressed"] = _json({kind: ENCODED[kind] for kind in unexpressed})
    model = helper.make_model(
        graph.proto(read.model or "model", outputs),
        producer_name="millrace",
        producer_version=__version__,
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
    )
    helper.set_model_props(model, dict(sorted(about.items())))
    if model.ByteSize() > _MAX_BYTES:
        raise BadInput(
            f"The ONNX model has {model.ByteSize():,} bytes, and one file may have {_MAX_BYTES:,}",
            code="onnx-too-large",
            remedy="Serve the scoring plan itself, or train a smaller model.",
        )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def steps(
    specs: Sequence[dict[str, Any]], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    """Emit encoders one behind the other and return their columns."""
    for spec in specs:
        if spec["kind"] == "columns":
            result: list[Column] = []
            for branch in spec["branches"]:
                result += steps(branch["steps"], [columns[i] for i in branch["inputs"]], arrays, graph)
            columns = result
        elif spec["kind"] in ENCODED:
            raise not_expressed(
                f"An encoder of the kind {spec['kind']!r} before an estimator inside of another"
            )
        else:
            columns = of(_ROOM, ENCODERS, spec["kind"])(spec, columns, arrays, graph)
    return columns


def node(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    """Emit an estimator with the encoders before it and the link behind it, and return its outputs."""
    if spec["kind"] in REFUSED:
        raise not_expressed(f"An estimator of the kind {spec['kind']!r}: {REFUSED[spec['kind']]}; it")
    matrix = graph.matrix(steps(spec.get("steps", ()), columns, arrays, graph))
    raw = of(_ROOM, ESTIMATORS, spec["kind"])(spec, matrix, arrays, graph)
    width = 2 if spec["link"] in PAIR_LINKS else graph.width(raw)
    return graph.columns(LINKS[spec["link"]](raw, graph), width)


def _outputs(result: str, classes: Sequence[str], graph: Graph) -> list[onnx.ValueInfoProto]:
    if not classes:
        prediction = graph.add("Identity", result, output=graph.free("prediction"))
        return [helper.make_tensor_value_info(prediction, TensorProto.DOUBLE, ["rows", 1])]
    best = graph.add("ArgMax", result, axis=1, keepdims=0)
    names = graph.texts(classes, [len(classes)])
    label = graph.add("Gather", names, best, axis=0, output=graph.free("label"))
    shares = graph.add("Identity", result, output=graph.free("probabilities"))
    return [
        helper.make_tensor_value_info(label, TensorProto.STRING, ["rows"]),
        helper.make_tensor_value_info(shares, TensorProto.DOUBLE, ["rows", len(classes)]),
    ]


def _is_text(field: Mapping[str, Any]) -> bool:
    return field["type"] in ("category", "text")


def _dtype(field: Mapping[str, Any]) -> Any:
    return object if _is_text(field) else np.float64


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
