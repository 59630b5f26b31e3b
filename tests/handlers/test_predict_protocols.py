"""predict in every protocol that it speaks, over a real HTTP S3 on the loopback; clients that others wrote
are in tests/platform/test_clients.py."""

from __future__ import annotations

import base64
import csv
import io
import json
import struct
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from millrace import keys
from tests import plans
from tests.handlers.test_predict import ROOT, ROW, Caller, check_problem, http_event, publish
from tests.s3_stub import S3Stub

ROWS = [ROW, {"age": -10.0, "city": "Bern"}]
PREDICTIONS = ["yes", "no"]
YES = [plans.logistic(2.0), plans.logistic(-2.0)]
SHARES = [{"no": pytest.approx(1 - yes), "yes": pytest.approx(yes)} for yes in YES]


@pytest.fixture
def s3() -> Iterator[S3Stub]:
    with S3Stub() as stub:
        yield stub


@pytest.fixture
def demo(s3: S3Stub) -> Caller:
    """Version 3 is live, version 2 always says no, and the alias ``calm`` names it."""
    publish(s3, "demo", 3, plans.binary())
    publish(s3, "demo", 2, plans.binary(intercept=-100.0), live=False)
    s3.objects[keys.alias("demo", "calm")] = b'{"version": 2}'
    return Caller(s3)


def send(
    caller: Caller,
    path: str,
    body: Any = None,
    *,
    method: str = "POST",
    query: dict[str, str] | None = None,
    **headers: str,
) -> dict[str, Any]:
    """Return the answer to a request as the gateway passes it on."""
    event = http_event(None)
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    event["requestContext"]["http"]["method"] = method
    event["headers"] = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    if query:
        event["queryStringParameters"] = query
    if isinstance(body, bytes):  # what is no text arrives so
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    elif body is None:
        del event["body"]
    else:
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    return caller.predict(event, caller.context)


def good(answer: dict[str, Any]) -> Any:
    assert answer["statusCode"] == 200, answer["body"]
    assert answer["headers"]["content-type"] == "application/json"
    return json.loads(answer["body"])


# --- our own paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/models/demo/predict", 3),
        ("/models/demo/versions/2/predict", 2),
        ("/models/demo/aliases/live/predict", 3),
        ("/models/demo/aliases/calm/predict", 2),
    ],
)
def test_a_path_names_model_version_or_alias(demo: Caller, path: str, version: int) -> None:
    answer = good(send(demo, path, {"rows": ROWS}))
    assert (answer["model"], answer["version"]) == ("demo", version)
    assert answer["predictions"] == (PREDICTIONS if version == 3 else ["no", "no"])
    assert demo.lines[-1]["version"] == version


def test_the_body_may_name_an_alias(demo: Caller) -> None:
    assert demo.post({"rows": ROWS, "alias": "calm"})["version"] == 2
    demo.problem({"rows": ROWS, "alias": "absent"}, 404, "alias-unknown")
    demo.problem({"rows": ROWS, "alias": 3}, 400, "alias-not-a-text")
    demo.problem({"rows": ROWS, "alias": "calm", "version": 2}, 400, "version-and-alias")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/models/nope/predict", 404, "model-unknown"),
        ("/models/%2e%2e/predict", 404, "model-unknown"),
        ("/models//predict", 404, "model-unknown"),
        ("/models/demo/versions/9/predict", 404, "version-unknown"),
        ("/models/demo/versions/two/predict", 404, "version-unknown"),
        ("/models/demo/versions/²/predict", 404, "version-unknown"),
        ("/models/demo/versions/99999999999/predict", 404, "version-unknown"),
        ("/models/demo/aliases/absent/predict", 404, "alias-unknown"),
        ("/models/demo/aliases/..%2flive/predict", 404, "alias-unknown"),
        ("/models/demo/tags/x/predict", 404, "model-unknown"),
        ("/elsewhere/predict", 404, "route-unknown"),
        ("/models/demo/forecast", 404, "route-unknown"),
        ("/", 404, "route-unknown"),
    ],
)
def test_a_path_that_names_nothing(demo: Caller, path: str, status: int, code: str) -> None:
    check_problem(send(demo, path, {"rows": ROWS}), status, code, path)


def test_path_and_body_must_not_differ(demo: Caller) -> None:
    path = "/models/demo/versions/2/predict"
    assert good(send(demo, path, {"rows": ROWS, "model": "demo", "version": 2}))["version"] == 2
    for other in ({"model": "other"}, {"version": 3}, {"alias": "live"}):
        check_problem(send(demo, path, {"rows": ROWS, **other}), 400, "path-differs", path)


def test_a_wrong_method_is_answered_in_the_protocol(demo: Caller) -> None:
    answer = send(demo, "/predict", method="GET")
    check_problem(answer, 405, "method-not-allowed")
    assert answer["headers"]["allow"] == "POST"
    answer = send(demo, "/invocations", method="GET")
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (405, "BAD_REQUEST")
    answer = send(demo, "/v2/models/demo/infer", method="GET")
    assert (answer["statusCode"], set(json.loads(answer["body"]))) == (405, {"error"})


def test_a_protocol_is_imported_when_it_is_asked_for(demo: Caller) -> None:
    send(demo, "/invocations", {"instances": [ROW]})
    assert demo.lines[-1]["protocol"] == "mlflow"
    demo.post({"rows": [ROW]})
    assert demo.lines[-1]["protocol"] == "predict"
    demo.predict({"rows": [ROW]}, demo.context)
    assert demo.lines[-1]["protocol"] == "direct"


# --- CSV --------------------------------------------------------------------------------------------

CSV = 'age,city\n10,Köln\n"-10",Bern\n'


def test_rows_as_csv(demo: Caller) -> None:
    answer = good(send(demo, "/predict", CSV, content_type="text/csv; charset=utf-8"))
    assert answer == good(send(demo, "/predict", {"rows": ROWS}))
    assert good(send(demo, "/predict", "\ufeff" + CSV, content_type="text/csv")) == answer
    assert good(send(demo, "/predict", CSV.replace("\n", "\r\n").encode(), content_type="text/CSV")) == answer
    bare = CSV.partition("\n")[2]
    assert good(send(demo, "/predict", bare, content_type="text/csv; header=absent")) == answer


def test_the_query_says_what_a_csv_file_cannot(demo: Caller) -> None:
    query = {"model": "demo", "version": "2", "strict": "true"}
    assert good(send(demo, "/predict", CSV, content_type="text/csv", query=query))["version"] == 2
    query = {"alias": "calm"}
    assert good(send(demo, "/models/demo/aliases/calm/predict", CSV, content_type="text/csv", query=query))
    for query, code in (
        ({"strict": "yes"}, "strict-not-a-boolean"),
        ({"versions": "2"}, "field-unknown"),
        ({"version": "two"}, "version-not-an-integer"),
    ):
        check_problem(send(demo, "/predict", CSV, content_type="text/csv", query=query), 400, code)


def test_the_answer_as_csv(demo: Caller) -> None:
    for body, kind in ((CSV, "text/csv"), ({"rows": ROWS}, "application/json")):
        answer = send(demo, "/predict", body, content_type=kind, accept="text/csv")
        assert answer["statusCode"] == 200
        assert answer["headers"]["content-type"].startswith("text/csv")
        assert answer["headers"]["x-millrace-version"] == "3"
        assert answer["headers"]["x-millrace-warnings"] == "0"
        table = list(csv.DictReader(io.StringIO(answer["body"])))
        assert [row["prediction"] for row in table] == PREDICTIONS
        assert [float(row["probability:yes"]) for row in table] == pytest.approx(YES)


def test_intervals_in_every_protocol(s3: S3Stub) -> None:
    around = {"level": 0.9, "below": -2.0, "above": 3.0}
    publish(s3, "price", 1, plans.regression(intercept=100.0, interval=around))
    caller = Caller(s3)
    answer = send(caller, "/predict", CSV, content_type="text/csv", accept="text/csv")
    assert answer["body"] == "prediction,low,high\n102.0,100.0,105.0\n98.0,96.0,101.0\n"
    assert good(send(caller, "/invocations", {"instances": LISTS}))["intervals"]["level"] == 0.9
    (_, told) = good(send(caller, "/v2/models/price", method="GET"))["outputs"]
    assert told == {
        "name": "interval",
        "datatype": "FP64",
        "shape": [-1, 2],
        "parameters": {"level": 0.9},
    }
    interval = outputs(good(send(caller, "/v2/models/price/infer", {"inputs": [AGE, CITY]})))["interval"]
    assert (interval["shape"], interval["data"]) == ([2, 2], [100.0, 105.0, 96.0, 101.0])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "rows-empty"),
        ("age,city\n", 400, "rows-empty"),
        ("age,city\n1\n", 400, "record-ragged"),
        ("age,age\n1,2\n", 400, "column-name"),
        ('age,city\n1,"Bern\n', 400, "body-not-csv"),
        ("age,city\nold,Bern\n", 422, "value-type"),
    ],
)
def test_a_csv_body_that_is_refused(demo: Caller, body: str, status: int, code: str) -> None:
    check_problem(send(demo, "/predict", body, content_type="text/csv"), status, code)


def test_an_empty_cell_is_missing(demo: Caller) -> None:
    answer = good(send(demo, "/predict", "age,city\n,Bern\n", content_type="text/csv"))
    assert [(w["row"], w["field"], w["code"]) for w in answer["warnings"]] == [(0, "age", "missing")]


# --- MLflow and SageMaker ---------------------------------------------------------------------------

LISTS = [[row["age"], row["city"]] for row in ROWS]
INVOCATIONS: dict[str, Any] = {
    "split": {"dataframe_split": {"columns": ["city", "age"], "data": [row[::-1] for row in LISTS]}},
    "split-index": {"dataframe_split": {"columns": ["age", "city"], "index": [0, 1], "data": LISTS}},
    "records": {"dataframe_records": ROWS},
    "instances": {"instances": ROWS},
    "instances-lists": {"instances": LISTS},
    "inputs": {"inputs": {"age": [10, -10], "city": ["Köln", "Bern"]}},
    "inputs-lists": {"inputs": LISTS},
    "params": {"inputs": LISTS, "params": {"strict": True}},
}


@pytest.mark.parametrize("body", INVOCATIONS.values(), ids=INVOCATIONS)
def test_every_format_of_mlflow(demo: Caller, body: Any) -> None:
    answer = good(send(demo, "/invocations", body))
    assert answer["predictions"] == PREDICTIONS
    assert answer["probabilities"] == SHARES


def test_a_regression_in_mlflows_shape(s3: S3Stub) -> None:
    publish(s3, "price", 1, plans.regression(intercept=100.0))
    assert good(send(Caller(s3), "/invocations", {"instances": LISTS}))["predictions"] == [102.0, 98.0]


def test_nan_is_missing_as_mlflows_client_writes_it(demo: Caller) -> None:
    answer = good(send(demo, "/invocations", '{"inputs": [[NaN, "Bern"]]}'))
    assert [(w["field"], w["code"]) for w in answer["warnings"]] == [("age", "missing")]
    assert send(demo, "/invocations", '{"inputs": [[Infinity, "Bern"]]}')["statusCode"] == 400


def test_invocations_as_csv(demo: Caller) -> None:
    assert good(send(demo, "/invocations", CSV, content_type="text/csv"))["predictions"] == PREDICTIONS
    answer = send(demo, "/invocations", CSV, content_type="text/csv", accept="text/csv")
    assert [row["prediction"] for row in csv.DictReader(io.StringIO(answer["body"]))] == PREDICTIONS


def test_which_model_an_invocation_means(s3: S3Stub, demo: Caller) -> None:
    publish(s3, "other", 1, plans.binary("other"))
    body = {"instances": LISTS}
    header = "x_amzn_sagemaker_target_model"
    assert json.loads(send(demo, "/invocations", body)["body"])["code"] == "model-ambiguous"
    for target, found in (("other", ("other", 1)), ("demo/versions/2", ("demo", 2))):
        answer = good(send(demo, "/invocations", body, **{header: target}))
        assert (answer["model"], answer["version"]) == found
    answer = good(send(demo, "/models/demo/aliases/calm/invocations", body))
    assert (answer["model"], answer["version"]) == ("demo", 2)


def test_ping(demo: Caller) -> None:
    assert send(demo, "/ping", method="GET")["statusCode"] == 200
    assert send(demo, "/models/demo/ping", method="GET")["statusCode"] == 200
    assert send(demo, "/models/nope/ping", method="GET")["statusCode"] == 404
    assert send(demo, "/ping")["statusCode"] == 405


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "body-not-json"),
        ([1], 400, "body-not-an-object"),
        ({}, 400, "rows-missing"),
        ({"instances": LISTS, "inputs": LISTS}, 400, "rows-missing"),
        ({"rows": ROWS}, 400, "field-unknown"),
        ({"instances": LISTS, "params": {"temperature": 1}}, 400, "field-unknown"),
        ({"instances": LISTS, "params": {"strict": 1}}, 400, "strict-not-a-boolean"),
        ({"instances": []}, 400, "rows-empty"),
        ({"inputs": {}}, 400, "rows-empty"),
        ({"inputs": {"age": [1, 2], "city": ["Bern"]}}, 400, "record-ragged"),
        ({"instances": [[1]]}, 400, "record-ragged"),
        ({"instances": 3}, 400, "rows-not-a-list"),
        ({"dataframe_records": [[1]]}, 400, "row-not-an-object"),
        ({"dataframe_split": {"data": LISTS}}, 400, "rows-not-a-list"),
        ({"dataframe_split": {"columns": [1, 2], "data": LISTS}}, 400, "column-name"),
        ({"instances": [["old", "Bern"]]}, 422, "value-type"),
    ],
)
def test_an_invocation_that_is_refused(demo: Caller, body: Any, status: int, code: str) -> None:
    answer = send(demo, "/invocations", body)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (status, code)
    assert json.loads(answer["body"])["error_code"] == "BAD_REQUEST"
    assert json.loads(answer["body"])["message"]


def test_another_type_of_body_is_refused(demo: Caller) -> None:
    answer = send(demo, "/invocations", b"PAR1", content_type="application/x-parquet")
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (415, "content-type")


# --- the Open Inference Protocol --------------------------------------------------------------------

AGE: dict[str, Any] = {"name": "age", "datatype": "FP64", "shape": [2], "data": [10, -10.0]}
CITY: dict[str, Any] = {"name": "city", "datatype": "BYTES", "shape": [2, 1], "data": [["Köln"], ["Bern"]]}
INFER = "/v2/models/demo/infer"


def outputs(answer: Any) -> dict[str, Any]:
    return {output["name"]: output for output in answer["outputs"]}


def test_server_and_health(demo: Caller) -> None:
    about = good(send(demo, "/v2", method="GET"))
    assert (about["name"], about["extensions"]) == ("millrace", ["binary_tensor_data"])
    assert good(send(demo, "/v2/health/live", method="GET")) == {"live": True}
    assert good(send(demo, "/v2/health/ready", method="GET")) == {"ready": True}


def test_metadata_come_from_the_signature(demo: Caller) -> None:
    assert good(send(demo, "/v2/models/demo/versions/2", method="GET")) == {
        "name": "demo",
        "versions": ["2"],
        "platform": "millrace_plan",
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [-1]},
            {"name": "city", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
            {
                "name": "probabilities",
                "datatype": "FP64",
                "shape": [-1, 2],
                "parameters": {"classes": '["no", "yes"]'},
            },
        ],
    }
    ready = good(send(demo, "/v2/models/demo/ready", method="GET"))
    assert ready == {"name": "demo", "ready": True}


def test_infer_with_a_tensor_a_field(demo: Caller) -> None:
    answer = good(send(demo, INFER, {"id": "7", "inputs": [CITY, AGE]}))
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("demo", "3", "7")
    found = outputs(answer)
    assert found["prediction"] == {
        "name": "prediction",
        "datatype": "BYTES",
        "shape": [2],
        "data": PREDICTIONS,
    }
    assert found["probabilities"]["shape"] == [2, 2]
    assert found["probabilities"]["data"][1::2] == pytest.approx(YES)
    assert json.loads(found["probabilities"]["parameters"]["classes"]) == ["no", "yes"]
    other = good(send(demo, "/v2/models/demo/versions/2/infer", {"inputs": [CITY, AGE]}))
    assert (other["model_version"], outputs(other)["prediction"]["data"]) == ("2", ["no", "no"])


def test_infer_with_one_tensor_for_all_fields(s3: S3Stub) -> None:
    publish(s3, "price", 1, plans.regression(intercept=100.0))
    caller = Caller(s3)
    tensor = {"name": "rows", "datatype": "BYTES", "shape": [2, 2], "data": ["10", "Köln", "-10", "Bern"]}
    answer = good(send(caller, "/v2/models/price/infer", {"inputs": [tensor]}))
    assert outputs(answer)["prediction"]["data"] == [102.0, 98.0]
    nested = {**tensor, "data": [["10", "Köln"], ["-10", "Bern"]]}
    assert good(send(caller, "/v2/models/price/infer", {"inputs": [nested]})) == answer


def test_outputs_are_chosen_by_name(demo: Caller) -> None:
    body = {"inputs": [AGE, CITY], "outputs": [{"name": "prediction"}]}
    assert set(outputs(good(send(demo, INFER, body)))) == {"prediction"}


def test_warnings_are_told_in_parameters(demo: Caller) -> None:
    answer = good(send(demo, INFER, {"inputs": [{**AGE, "data": [None, 1]}]}))
    assert answer["parameters"]["warnings"] == 3
    assert answer["parameters"]["first_warning"] == "row 0: The field 'age' has no value"
    strict = send(demo, INFER, {"inputs": [AGE], "parameters": {"strict": True}})
    assert strict["statusCode"] == 422


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def binary(tensors: list[dict[str, Any]], parts: list[bytes], **members: Any) -> tuple[bytes, str]:
    """Return a body with its binary tensors behind the JSON, and the length of the JSON."""
    inputs = [
        {**tensor, "parameters": {"binary_data_size": len(part)}}
        for tensor, part in zip(tensors, parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs, **members}).encode()
    return head + b"".join(parts), str(len(head))


def age(datatype: str = "FP64", *shape: int) -> dict[str, Any]:
    return {"name": "age", "datatype": datatype, "shape": list(shape or (2,))}


CITIES = {"name": "city", "datatype": "BYTES", "shape": [2]}


@pytest.mark.parametrize(
    ("datatype", "code"),
    [("FP64", "d"), ("FP32", "f"), ("INT64", "q"), ("INT32", "i"), ("INT16", "h"), ("INT8", "b")],
)
def test_binary_tensors_in(demo: Caller, datatype: str, code: str) -> None:
    form: Any = code
    numbers = array(form, [10, -10])
    body, length = binary([CITIES, age(datatype)], [texts("Köln", "Bern"), numbers.tobytes()])
    answer = good(send(demo, INFER, body, inference_header_content_length=length))
    assert outputs(answer)["prediction"]["data"] == PREDICTIONS


def test_unsigned_and_boolean_tensors_in(demo: Caller) -> None:
    for datatype, code in (("UINT64", "Q"), ("UINT32", "I"), ("UINT16", "H"), ("UINT8", "B")):
        form: Any = code
        body, length = binary([age(datatype)], [array(form, [10, 250]).tobytes()])
        answer = good(send(demo, INFER, body, inference_header_content_length=length))
        assert outputs(answer)["prediction"]["data"] == ["yes", "yes"]
    body, length = binary([age("BOOL")], [b"\x00\x01"])
    refused = send(demo, INFER, body, inference_header_content_length=length)
    assert refused["statusCode"] == 422, "a boolean is no number"


def test_binary_tensors_out(demo: Caller) -> None:
    body, length = binary(
        [age(), CITIES],
        [array("d", [10, float("nan")]).tobytes(), texts("Köln", "")],
        parameters={"binary_data_output": True},
        id="x",
    )
    answer = send(demo, INFER, body, inference_header_content_length=length)
    assert answer["statusCode"] == 200, answer["body"]
    assert answer["isBase64Encoded"] is True
    assert answer["headers"]["content-type"] == "application/octet-stream"
    data = base64.b64decode(answer["body"])
    at = int(answer["headers"]["inference-header-content-length"])
    head = json.loads(data[:at])
    assert head["parameters"]["warnings"] == 2
    parts = {}
    for output in head["outputs"]:
        size = output["parameters"]["binary_data_size"]
        parts[output["name"]] = data[at : at + size]
        at += size
    assert at == len(data)
    assert parts["prediction"] == texts("yes", "no")
    assert array("d", parts["probabilities"])[1::2].tolist() == pytest.approx([YES[0], 0.5])


def test_one_binary_tensor_for_all_fields(s3: S3Stub) -> None:
    plan_of_numbers = plans.numbers("sum", [1.0, 10.0, 100.0])
    publish(s3, "sum", 1, plan_of_numbers)
    tensor = {"name": "input", "datatype": "FP32", "shape": [2, 3]}
    body, length = binary([tensor], [array("f", [1, 2, 3, 4, 5, 6]).tobytes()])
    answer = good(send(Caller(s3), "/v2/models/sum/infer", body, inference_header_content_length=length))
    assert outputs(answer)["prediction"]["data"] == [321.0, 654.0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"inputs": []}, "not a list of tensors"),
        ({"inputs": [AGE], "input": 1}, "Unknown member"),
        ({"inputs": [AGE], "id": 3}, "'id'"),
        ({"inputs": [AGE], "outputs": [{"name": "score"}]}, "no output 'score'"),
        ({"inputs": [AGE, AGE]}, "twice"),
        ({"inputs": [{**AGE, "datatype": "FP16"}]}, "'FP16' is not taken"),
        ({"inputs": [{**AGE, "datatype": "BF16"}]}, "'BF16' is not taken"),
        ({"inputs": [{**AGE, "shape": [3]}]}, "2 elements, and its shape says 3"),
        ({"inputs": [{**AGE, "shape": [-1]}]}, "The shape [-1]"),
        ({"inputs": [{**AGE, "shape": [2, 1, 1]}]}, "The shape"),
        ({"inputs": [AGE, {**CITY, "shape": [1], "data": ["Bern"]}]}, "another tensor has 2"),
        ({"inputs": [AGE, {**CITY, "shape": [1, 2]}]}, "2 columns"),
        ({"inputs": [{**AGE, "data": [True, 1.0]}]}, "True is no FP64"),
        ({"inputs": [{**AGE, "data": ["1", 1.0]}]}, "is no FP64"),
        ({"inputs": [{**CITY, "data": [1, 2]}]}, "1 is no BYTES"),
        ({"inputs": [{**AGE, "parameters": {"shared_memory_region": "x"}}]}, "not spoken"),
        ({"inputs": [{**AGE, "parameters": {"binary_data_size": 16}}]}, "0 bytes are left"),
        ({"inputs": [AGE], "parameters": {"strict": 1}}, "neither true nor false"),
        ({"inputs": [{**AGE, "data": [float("inf"), 1]}, CITY]}, "Infinity is no JSON value"),
    ],
)
def test_an_inference_that_is_refused(demo: Caller, change: Any, what: str) -> None:
    answer = send(demo, INFER, change)
    assert answer["statusCode"] in (400, 422)
    error = json.loads(answer["body"])
    assert set(error) == {"error"}
    assert what in error["error"]


@pytest.mark.parametrize(
    ("tensors", "parts", "length", "what"),
    [
        ([age()], [bytes(15)], "", "15 bytes, and 2 elements have 16"),
        ([CITIES], [texts("Bern") + b"\xff\xff\xff\x7fx"], "", "not 2 texts"),
        ([CITIES], [texts("Bern") + b"\x01\x00\x00\x00\xff"], "", "cannot be read"),
        ([CITIES], [texts("Bern")], "", "cannot be read"),
        ([CITIES], [texts("Bern", "Köln", "Genf")], "", "not 2 texts"),
        ([age()], [bytes(16)], "1000000", "is not the length"),
        ([age()], [bytes(16)], "-1", "is not the length"),
    ],
)
def test_binary_data_that_are_refused(
    demo: Caller, tensors: list[dict[str, Any]], parts: list[bytes], length: str, what: str
) -> None:
    body, right = binary(tensors, parts)
    answer = send(demo, INFER, body, inference_header_content_length=length or right)
    assert answer["statusCode"] == 400
    assert what in json.loads(answer["body"])["error"]
    if length == "":
        more = send(demo, INFER, body + b"!", inference_header_content_length=right)
        assert more["statusCode"] == 400


def test_what_is_not_there_is_answered_in_the_protocol(demo: Caller) -> None:
    for path in ("/v2/models/nope", "/v2/models/demo/versions/9", "/v2/models", "/v2/x", "/v2/models/demo/x"):
        answer = send(demo, path, method="GET")
        assert answer["statusCode"] == 404, path
        assert set(json.loads(answer["body"])) == {"error"}


# --- the events that people try ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", ["alias_csv", "invocations", "ping", "v2_binary", "v2_metadata", "v2_unknown", "version"]
)
def test_the_events_of_the_repository(s3: S3Stub, case: str) -> None:
    """Their outcome on the deployed model is in tests/platform/test_events.py; here the shape counts."""
    publish(s3, "titanic", 1, plans.binary("titanic"))
    publish(s3, "other", 1, plans.binary("other"))
    event = json.loads((ROOT / "events" / f"predict.{case}.json").read_text("utf-8"))
    caller = Caller(s3)
    answer = caller.predict(event, caller.context)
    assert answer["statusCode"] == (404 if case == "v2_unknown" else 200), answer["body"]
