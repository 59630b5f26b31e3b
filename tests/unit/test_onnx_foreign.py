"""Models from elsewhere: what is taken, what is refused and why, and that both paths say what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from millrace import plan
from millrace.compiler import onnx as exchange
from millrace.errors import BadInput, Misconfigured, TooLarge, Unprocessable
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.rows import RowScorer
from tests.world import World

TORCH = Path(__file__).resolve().parents[1] / "fixtures" / "torch"
Proto = onnx.ModelProto


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> bytes:
    """Return an ONNX model; inputs and outputs are (name, type, shape)."""
    values = [[helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", *values, initializer=tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return made


def weighted(outputs: int = 1, rows: Any = "rows", kind: int = TensorProto.FLOAT) -> bytes:
    """y = x @ [1, 2, ...], two inputs in one tensor."""
    weights = np.arange(1, 1 + 2 * outputs, dtype=np.float32).reshape(2, outputs)
    if kind == TensorProto.DOUBLE:
        weights = weights.astype(np.float64)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model([node], [("x", kind, [rows, 2])], [("y", kind, [rows, outputs])], w=weights)


def signature(**changes: Any) -> dict[str, Any]:
    fields = [{"name": name, "type": "number"} for name in ("a", "b")]
    return {"task": "regression", "fields": fields, "output": {"name": "y", "as": "value"}} | changes


def scorers(data: bytes, said: dict[str, Any]) -> tuple[plan.Plan, RowScorer, BlockScorer]:
    read = plan.read(exchange.wrap(data, said, model="m"))
    return read, RowScorer(read), BlockScorer(read)


def test_a_network_of_pytorch_answers_as_in_pytorch() -> None:
    said = json.loads((TORCH / "signature.json").read_text("utf-8"))
    read, by_row, by_block = scorers((TORCH / "penguins.onnx").read_bytes(), said)
    expected = json.loads((TORCH / "expected.json").read_text("utf-8"))
    wanted = np.asarray([entry["probabilities"] for entry in expected])
    rows = [read.signature.convert_row(entry["row"])[0] for entry in expected]
    found = [by_row.score(row) for row in rows]
    np.testing.assert_allclose([shares for _, shares in found], wanted, rtol=0, atol=1e-6)
    assert [label for label, _ in found] == [read.classes[i] for i in wanted.argmax(axis=1)]
    columns = dict(zip(expected[0]["row"], np.asarray(rows, dtype=np.float64).T, strict=True))
    np.testing.assert_allclose(by_block.score(columns), wanted, rtol=0, atol=1e-6)
    assert read.header["about"]["producer"].startswith("pytorch 2.13.0")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_one_tensor_of_numbers(kind: int) -> None:
    _, by_row, by_block = scorers(weighted(kind=kind), signature())
    assert by_row.score([3.0, 4.0]) == (11.0, None)
    columns = {"a": np.array([3.0, np.nan, 1e300]), "b": np.array([4.0, 0.0, 0.0])}
    np.testing.assert_array_equal(
        by_block.score(columns), [11.0, np.nan, np.inf if kind == TensorProto.FLOAT else 1e300]
    )


def test_fields_may_be_given_in_another_order() -> None:
    said = signature(inputs={"x": ["b", "a"]})
    assert scorers(weighted(), said)[1].score([3.0, 4.0]) == (10.0, None)


def test_encoders_of_a_plan_may_come_before() -> None:
    fill = {"kind": "impute", "fill": [5.0, 6.0], "missing": "nan", "indicators": []}
    _, by_row, _ = scorers(weighted(), signature(encoders=[fill]))
    assert by_row.score([float("nan"), 1.0]) == (7.0, None)
    with pytest.raises(BadInput, match="encoders do not fit"):
        exchange.wrap(weighted(), signature(encoders=[{**fill, "fill": [1.0]}]), model="m")


def per_field() -> bytes:
    """P(second) = 0.25 when the city is Köln, else 0.5; a tensor for each field, the count of rank 1."""
    nodes = [
        helper.make_node("Equal", ["city", "koeln"], ["hit"]),
        helper.make_node("Where", ["hit", "quarter", "half"], ["p"]),
        helper.make_node("Identity", ["count"], ["unused"]),
    ]
    inputs = [("city", TensorProto.STRING, ["n", 1]), ("count", TensorProto.INT64, ["n"])]
    data = model(nodes, inputs, [("p", TensorProto.DOUBLE, ["n", 1])], quarter=0.25, half=0.5)
    proto = onnx.load_from_string(data)
    proto.graph.initializer.append(helper.make_tensor("koeln", TensorProto.STRING, [1], ["Köln".encode()]))
    made: bytes = proto.SerializeToString()
    return made


def city(**changes: Any) -> dict[str, Any]:
    fields = [
        {"name": "count", "type": "number"},
        {"name": "city", "type": "category", "categories": ["Bern", "Köln"]},
    ]
    output = {"as": "probability"}
    return {"task": "binary", "classes": ["no", "yes"], "fields": fields, "output": output} | changes


def test_a_tensor_for_each_field_and_the_probability_of_the_second_class() -> None:
    read, by_row, by_block = scorers(per_field(), city())
    assert by_row.score([1.0, "Köln"]) == ("no", [0.75, 0.25])
    assert by_row.score([1.0, None]) == ("no", [0.5, 0.5])
    texts = np.array(["Köln", None, "Bern"], dtype=object)
    found = by_block.score({"count": np.array([1.0, 2.0, 3.0]), "city": texts})
    assert found.tolist() == [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]]
    assert read.header["estimator"]["texts"] == [1]


@pytest.mark.parametrize("count", [float("nan"), 1.5, 1e30])
def test_an_input_of_integers_refuses_what_is_none(count: float) -> None:
    _, by_row, _ = scorers(per_field(), city())
    with pytest.raises(Unprocessable, match="whole numbers") as error:
        by_row.score([count, "Bern"])
    assert error.value.code == "value-type"


@pytest.mark.parametrize(
    ("strings", "labels"), [(True, None), (False, None), (False, [7, 3])], ids=["texts", "positions", "codes"]
)
def test_labels_become_certain_probabilities(strings: bool, labels: list[int] | None) -> None:
    keys = {"keys_int64s": [0, 1], "default_int64": 0} if not strings else {}
    values: dict[str, Any] = {"values_int64s": labels or [0, 1]}
    if strings:
        keys = {"keys_int64s": [0, 1], "default_string": "?"}
        values = {"values_strings": ["no", "yes"]}
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("LabelEncoder", ["i"], ["y"], domain="ai.onnx.ml", **keys, **values),
    ]
    kind = TensorProto.STRING if strings else TensorProto.INT64
    data = model(nodes, [("x", TensorProto.FLOAT, ["n"])], [("y", kind, ["n"])])
    fields = [{"name": "a", "type": "number"}]
    output = {"as": "labels"} | ({"labels": labels} if labels else {})
    said = {"task": "binary", "classes": ["no", "yes"], "fields": fields, "output": output}
    _, by_row, by_block = scorers(data, said)
    assert by_row.score([1.0]) == ("yes", [0.0, 1.0])
    assert by_block.score({"a": np.array([0.0, 1.0])}).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    if strings:
        with pytest.raises(Misconfigured, match="none of its classes"):
            by_row.score([9.0])


@pytest.mark.parametrize(("kind", "outputs"), [("logits", 2), ("logit", 1)])
def test_logits_become_probabilities(kind: str, outputs: int) -> None:
    said = signature(task="binary", classes=["no", "yes"], output={"as": kind})
    _, by_row, _ = scorers(weighted(outputs), said)
    shares = by_row.score([0.5, -0.25])[1]
    raw = 0.5 * 2 - 0.25 * 4 - (0.5 * 1 - 0.25 * 3) if outputs == 2 else 0.5 - 0.25 * 2
    assert shares is not None and shares[1] == pytest.approx(1 / (1 + np.exp(-raw)), abs=1e-7)


def changed(data: bytes, change: Any) -> bytes:
    proto = onnx.load_from_string(data)
    change(proto)
    made: bytes = proto.SerializeToString()
    return made


def _external(proto: Proto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def _custom(proto: Proto) -> None:
    proto.graph.node[0].domain = "com.example"
    proto.graph.node[0].op_type = "Magic"
    proto.opset_import.add(domain="com.example", version=1)


def _zip_map(proto: Proto) -> None:
    node = helper.make_node("ZipMap", ["y"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0])
    proto.graph.node.append(node)


def _sequence(proto: Proto) -> None:
    proto.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["s"]))
    proto.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["rows", 1]))


INVALID = {
    "no model": (lambda data: b"PK\x03\x04 nothing", "no ONNX model"),
    "no graph": (lambda data: b"", "no graph"),
    "external data": (lambda data: changed(data, _external), "in another file"),
    "custom operator": (lambda data: changed(data, _custom), r"com\.example\.Magic"),
    "zip map": (lambda data: changed(data, _zip_map), "ZipMap"),
    "one row only": (lambda data: weighted(rows=1), "takes 1 rows"),
    "unknown operator": (
        lambda data: changed(data, lambda p: setattr(p.graph.node[0], "op_type", "Nothing")),
        "not valid",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_file_that_is_not_served_is_refused_by_name(case: str) -> None:
    change, said = INVALID[case]
    with pytest.raises(BadInput, match=said) as error:
        exchange.wrap(change(weighted()), signature(), model="m")
    assert error.value.code == "onnx-invalid"


def test_an_output_that_is_no_tensor_is_refused() -> None:
    said = signature(output={"name": "s", "as": "value"})
    with pytest.raises(BadInput, match="output 's' is a sequence"):
        exchange.wrap(changed(weighted(), _sequence), said, model="m")


def test_a_model_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from millrace.compiler.onnx import foreign

    monkeypatch.setattr(foreign, "MAX_FOREIGN_BYTES", 10)
    with pytest.raises(TooLarge, match="at most 10"):
        exchange.wrap(weighted(), signature(), model="m")


TWO = {"task": "binary", "classes": ["no", "yes"]}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown member": ({"extra": 1}, "Unknown member 'extra'"),
    "task": ({"task": "ranking"}, "'task' is none"),
    "classes of a regression": ({"classes": ["a"]}, "1 classes do not fit"),
    "one class": ({"task": "binary", "classes": ["a"]}, "1 classes do not fit"),
    "same class twice": ({"task": "binary", "classes": ["a", "a"]}, "different texts"),
    "no fields": ({"fields": []}, "at least one field"),
    "field": ({"fields": [{"name": "a"}]}, "no object with 'name' and 'type'"),
    "same field twice": ({"fields": [{"name": "a", "type": "number"}] * 2}, "same name"),
    "typical row": ({"typical": [1.0, 2.0]}, "'typical' is no row"),
    "typical value": ({"typical": {"a": "much"}}, "The typical row is refused: .*'a'"),
    "typical field": ({"typical": {"a": 1.0, "c": 2.0}}, "a field 'c' that 'fields' has not"),
    "text for numbers": (
        {"fields": [{"name": "a", "type": "number"}, {"name": "b", "type": "text"}]},
        "takes numbers",
    ),
    "width": ({"fields": [{"name": "a", "type": "number"}]}, "has 2 columns"),
    "inputs": ({"inputs": {"z": ["a"]}}, "inputs are 'x'"),
    "field of an input": ({"inputs": {"x": ["a", "c"]}}, "no field 'c'"),
    "output": ({"output": {"name": "z", "as": "value"}}, "outputs are 'y'"),
    "as": ({"output": {"as": "guess"}}, "no 'as'"),
    "as for another task": ({"output": {"as": "logits"}}, "does not fit the task regression"),
    "shape": (TWO | {"output": {"as": "logits"}}, "2 a row are expected"),
    "labels of floats": (TWO | {"output": {"as": "labels"}}, "texts or integers"),
    "labels": (TWO | {"output": {"as": "labels", "labels": [1]}}, "'labels' is not"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_signature_that_does_not_fit_is_refused(case: str) -> None:
    changes, said = WRONG[case]
    with pytest.raises(BadInput, match=said) as error:
        exchange.wrap(weighted(), signature(**changes), model="m")
    assert error.value.code == "onnx-signature"


def test_a_typical_row_that_the_model_refuses_is_refused() -> None:
    said = signature(typical={"a": 1.0})
    assert plan.read(exchange.wrap(weighted(), said, model="m")).header["typical"] == [1.0, None]
    with pytest.raises(BadInput, match=r"The model refuses the typical row: .*takes whole numbers") as error:
        exchange.wrap(per_field(), city(typical={"city": "Bern"}), model="m")
    assert error.value.code == "onnx-signature"


def test_logits_that_are_called_probabilities_are_found_out() -> None:
    fields = [{"name": name, "type": "number", "minimum": 1.0, "maximum": 3.0} for name in ("a", "b")]
    said = signature(fields=fields, output={"as": "probabilities"}, **TWO)
    with pytest.raises(BadInput, match="add up to"):
        exchange.wrap(weighted(2), said, model="m")


@pytest.mark.parametrize("missing", ["onnxruntime", "numpy"])
def test_without_its_layer_the_remedy_is_said(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = plan.read(exchange.wrap(weighted(), signature(), model="m"))
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "millrace.scoring.onnx")
    with pytest.raises(Misconfigured, match="OnnxModels=true") as error:
        RowScorer(read)
    assert error.value.code == "onnx-layer-missing"


def test_a_model_that_onnxruntime_does_not_take_is_misconfigured() -> None:
    read = plan.read(exchange.wrap(weighted(), signature(), model="m"))
    broken = changed(weighted(), lambda p: setattr(p.opset_import[0], "version", 4000))
    other = plan.read(plan.write(read.header, [np.frombuffer(broken, dtype=np.uint8)]))
    with pytest.raises(Misconfigured, match="does not take the ONNX model") as error:
        RowScorer(other)
    assert error.value.code == "onnx-model-broken"


def test_a_plan_with_a_model_from_elsewhere_is_not_exported() -> None:
    made = exchange.wrap(weighted(), signature(), model="m")
    with pytest.raises(BadInput, match="came as an ONNX model"):
        exchange.export(made)


def test_a_file_is_scored_and_what_the_model_refuses_is_a_reject() -> None:
    world = World()
    world.register(exchange.wrap(per_field(), city(), model="demo"))
    world.data.put("score/demo/rows.csv", "count,city\n1,Köln\n1.5,Bern\nmany,Bern\n,Köln\n4,Bern\n".encode())
    run = world.ingest("score/demo/rows.csv")
    assert run is not None
    uri = world.score(run.run_id)
    result = world.data.get(uri.removeprefix("s3://data/")).decode().splitlines()
    assert result[0] == "count,city,prediction,probability:no,probability:yes"
    assert [line.split(",")[-2:] for line in result[1:]] == [["0.75", "0.25"], ["0.5", "0.5"]]
    found = world.data.get(f"{uri}.rejects.jsonl".removeprefix("s3://data/"))
    rejects = [json.loads(line) for line in found.splitlines()]
    assert [(reject["line"], reject["column"]) for reject in rejects] == [(3, ""), (4, "count"), (5, "")]
    assert "takes whole numbers" in rejects[0]["reason"]
