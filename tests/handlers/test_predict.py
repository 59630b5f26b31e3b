"""predict, the real handler, over a real HTTP S3 on the loopback."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace import keys
from millrace.edge.predict import Predict, ours, score
from millrace.errors import BadInput, NotFound, Unprocessable
from tests import plans
from tests.fakes import Context
from tests.s3_stub import S3Stub, status

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 5 << 20


def publish(s3: S3Stub, model: str, version: int, plan: bytes, *, live: bool = True) -> None:
    """Put a version into the bucket as the registry does."""
    s3.objects[keys.version(model, version, "model.plan")] = plan
    s3.objects[keys.version(model, version, "version.json")] = b"{}"
    if live:
        alias = {"model": model, "alias": "live", "version": version, "history": []}
        s3.objects[keys.alias(model)] = json.dumps(alias).encode()


class Caller:
    """Calls the handler as the gateway does and keeps what it wrote."""

    def __init__(self, s3: S3Stub, **environ: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.context = Context()
        self.predict = Predict(
            s3.environ
            | {
                "MILLRACE_ARTIFACT_BUCKET": s3.bucket,
                "MILLRACE_FRESHNESS_S": "0",
                "MILLRACE_MAX_BODY_BYTES": str(LIMIT),
                "MILLRACE_STAGE": "test",
            }
            | environ,
            write=self._write,
        )

    def _write(self, text: str) -> None:
        assert text.endswith("\n")
        self.lines += [json.loads(line) for line in text.splitlines()]

    def raw(self, body: str | None, **event: Any) -> dict[str, Any]:
        answer = self.predict(http_event(body) | event, self.context)
        assert set(answer) == {"statusCode", "headers", "body", "isBase64Encoded"}
        assert isinstance(answer["body"], str)
        return answer

    def post(self, request: Any) -> dict[str, Any]:
        """Return the answer to a request that succeeds."""
        answer = self.raw(json.dumps(request))
        assert answer["statusCode"] == 200, answer["body"]
        assert answer["headers"]["content-type"] == "application/json"
        return json.loads(answer["body"])  # type: ignore[no-any-return]

    def problem(self, request: Any, status: int, code: str) -> dict[str, Any]:
        """Return the problem details of a request that fails."""
        body = request if isinstance(request, str) or request is None else json.dumps(request)
        return check_problem(self.raw(body), status, code)


def check_problem(answer: dict[str, Any], status: int, code: str, path: str = "/predict") -> dict[str, Any]:
    details: dict[str, Any] = json.loads(answer["body"])
    assert (answer["statusCode"], details["code"]) == (status, code), details
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert details["type"] == f"urn:millrace:problem:{code}"
    assert details["status"] == status
    assert details["instance"] == path
    assert details["title"]
    assert details["detail"]
    return details


def http_event(body: str | None) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / "predict.http.json").read_text())
    return {**event, "body": body}


@pytest.fixture
def s3() -> Iterator[S3Stub]:
    with S3Stub() as stub:
        yield stub


@pytest.fixture
def demo(s3: S3Stub) -> Caller:
    publish(s3, "demo", 3, plans.binary())
    return Caller(s3)


ROW = {"age": 10, "city": "Köln"}


def test_answer_of_a_classifier(demo: Caller) -> None:
    answer = demo.post({"model": "demo", "rows": [ROW, {"age": -10.0, "city": "Bern"}]})
    second = plans.logistic(-2.0)
    assert answer == {
        "model": "demo",
        "version": 3,
        "predictions": ["yes", "no"],
        "probabilities": [
            {"no": pytest.approx(1 - plans.logistic(2.0)), "yes": pytest.approx(plans.logistic(2.0))},
            {"no": pytest.approx(1 - second), "yes": pytest.approx(second)},
        ],
        "intervals": None,
        "warnings": [],
    }


def test_answer_of_a_regression(s3: S3Stub) -> None:
    publish(s3, "price", 1, plans.regression(intercept=100.0))
    answer = Caller(s3).post({"rows": [ROW]})
    assert answer == {
        "model": "price",
        "version": 1,
        "predictions": [102.0],
        "probabilities": None,
        "intervals": None,
        "warnings": [],
    }


def test_a_regression_that_has_an_interval_answers_with_its_bounds(s3: S3Stub) -> None:
    around = {"level": 0.9, "below": -3.0, "above": 5.5}
    publish(s3, "price", 1, plans.regression(intercept=100.0, interval=around))
    answer = Caller(s3).post({"rows": [ROW, {"age": 1e308, "city": "Köln"}]})
    assert answer["intervals"]["level"] == 0.9
    assert answer["intervals"]["bounds"][0] == [99.0, 107.5]


@pytest.mark.parametrize("count", [1, 50])
def test_what_json_cannot_say_is_null_in_requests_of_few_rows_and_of_many(s3: S3Stub, count: int) -> None:
    around = {"level": 0.9, "below": -1e300, "above": 1e307}
    publish(s3, "price", 1, plans.regression(intercept=1.79e308, interval=around))
    answer = Caller(s3).post({"rows": [ROW, {"age": 1e308, "city": "Köln"}] * count})
    assert answer["predictions"] == [1.79e308, None] * count
    assert answer["intervals"]["bounds"] == [[1.79e308 - 1e300, None], None] * count


def test_explanations_add_up_to_the_output_on_their_scale(s3: S3Stub) -> None:
    # Training saw 40 years on average, and Köln in three of four rows.
    publish(s3, "demo", 1, plans.binary(intercept=0.5, background=[40.0, 0.25, 0.75]))
    answer = Caller(s3).post({"rows": [ROW, {"age": None, "city": "Bern"}], "explain": True})
    assert answer["explanations"] == {
        "scale": "log-odds",
        "rows": [
            {
                "class": "yes",
                "method": "exact",
                "base": pytest.approx(5.0),
                "contributions": {"age": pytest.approx(-3.0), "city": pytest.approx(0.5)},
            },
            {
                "class": "yes",
                "method": "exact",
                "base": pytest.approx(5.0),
                "contributions": {"age": pytest.approx(-4.0), "city": pytest.approx(-1.5)},
            },
        ],
    }
    assert answer["probabilities"][0]["yes"] == pytest.approx(plans.logistic(5.0 - 3.0 + 0.5))


def test_rows_are_answered_alike_before_and_after_the_kernel_is_loaded(
    s3: S3Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.edge.predict.score.SLOW_ROWS", 3)
    publish(s3, "trees", 1, plans.trees())
    caller = Caller(s3)
    body = {"model": "trees", "rows": [{"age": 39.5}, {"age": None}]}
    answers = [caller.post(body) for _ in range(4)]
    assert answers[0]["predictions"] == [1.5, 4.0]
    assert all(answer == answers[0] for answer in answers)


def test_a_row_is_answered_after_the_kernel_could_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.edge.predict.score.SLOW_ROWS", 1)
    _, scorer = score.load(plans.trees())
    expected = scorer.score([39.5])

    def no_room(plan: object) -> None:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("millrace.edge.predict.score._kernel", no_room)
        with pytest.raises(MemoryError):
            scorer.score([39.5])
    assert scorer.score([39.5]) == scorer.score([39.5]) == expected


@pytest.mark.parametrize("rows", [1, 20, 50])
@pytest.mark.parametrize("model", ["demo", "price", "sum"])
def test_an_http_answer_is_the_text_of_a_direct_one(s3: S3Stub, model: str, rows: int) -> None:
    publish(s3, "demo", 1, plans.binary(classes=("1 %", 'a "b"\n')))
    publish(s3, "price", 1, plans.regression(interval={"level": 0.9, "below": -0.1, "above": 1 / 3}))
    publish(s3, "sum", 1, plans.numbers("sum", [1.0, 1e300]))
    caller = Caller(s3)
    row = {"x0": 0.1, "x1": 2.5} if model == "sum" else ROW
    body = {"model": model, "rows": [row, {**row, "x1": 1e300}] * rows}
    text = caller.raw(json.dumps(body))["body"]
    direct = caller.predict(body, caller.context)
    assert json.loads(text) == direct
    assert text == json.dumps(direct, separators=(",", ":"))
    assert model != "sum" or direct["predictions"][1] is None


def test_a_plan_without_means_explains_nothing_and_says_so(demo: Caller) -> None:
    demo.problem({"rows": [ROW], "explain": True}, 422, "explanation-unavailable")
    assert "explanations" not in demo.post({"rows": [ROW], "explain": False})


def test_base64_body_and_direct_event(demo: Caller) -> None:
    body = json.dumps({"rows": [ROW]}, ensure_ascii=False)
    encoded = demo.raw(base64.b64encode(body.encode()).decode(), isBase64Encoded=True)
    direct = demo.predict({"model": "demo", "rows": [ROW]}, demo.context)
    assert json.loads(encoded["body"]) == direct == demo.post({"rows": [ROW]})


@pytest.mark.parametrize("event", [[{"rows": [ROW]}], "rows", None], ids=["list", "text", "null"])
def test_a_direct_event_that_is_no_object_is_said_to_be_none(demo: Caller, event: Any) -> None:
    with pytest.raises(BadInput) as error:
        demo.predict(event, demo.context)
    assert error.value.code == "body-not-an-object"
    assert demo.lines[-1]["code"] == "body-not-an-object"


def test_direct_event_raises_its_errors(demo: Caller) -> None:
    with pytest.raises(NotFound) as missing:
        demo.predict({"model": "other", "rows": [ROW]}, demo.context)
    with pytest.raises(Unprocessable) as refused:
        demo.predict({"model": "demo", "rows": [{"age": float("nan"), "city": "Bern"}]}, demo.context)
    assert (missing.value.code, refused.value.code) == ("model-unknown", "value-type")
    assert [line["code"] for line in demo.lines if "code" in line] == ["model-unknown", "value-type"]


# --- which model, which version ---------------------------------------------------------------------


def test_model_may_be_left_out_when_one_is_live(s3: S3Stub, demo: Caller) -> None:
    publish(s3, "held-back", 1, plans.binary("held-back"), live=False)
    assert demo.post({"rows": [ROW]})["model"] == "demo"
    publish(s3, "held-back", 1, plans.binary("held-back"))
    details = demo.problem({"rows": [ROW]}, 400, "model-ambiguous")
    assert "demo, held-back" in details["detail"]


def test_no_model_is_live(s3: S3Stub) -> None:
    Caller(s3).problem({"rows": [ROW]}, 404, "model-unknown")


@pytest.mark.parametrize(
    "name", ["nope", "", "../demo", "demo/versions/3", "a" * 64, "Köln", "demo\n", ".demo", "x\ud800"]
)
def test_unknown_model(s3: S3Stub, demo: Caller, name: str) -> None:
    s3.objects["models/../demo/aliases/live.json"] = s3.objects[keys.alias("demo")]
    demo.problem({"model": name, "rows": [ROW]}, 404, "model-unknown")


def test_pinned_version(s3: S3Stub, demo: Caller) -> None:
    publish(s3, "demo", 2, plans.binary(intercept=-100.0), live=False)
    answer = demo.post({"model": "demo", "rows": [ROW], "version": 2})
    assert (answer["version"], answer["predictions"]) == (2, ["no"])
    demo.problem({"model": "demo", "rows": [ROW], "version": 9}, 404, "version-unknown")


# --- what is malformed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, "body-not-json"),
        ("", "body-not-json"),
        ("{", "body-not-json"),
        ('{"rows": [{"age": 1}]} x', "body-not-json"),
        ('{"rows": [{"age": NaN}]}', "body-not-json"),
        ('{"rows": [{"age": Infinity}]}', "body-not-json"),
        ('{"rows": [{"age": -Infinity}]}', "body-not-json"),
        ('{"rows": [{"age": 1, "age": 2}]}', "body-not-json"),
        ('{"rows": [{"age": ' + "9" * 5000 + "}]}", "body-not-json"),
        ('{"rows": ' + "[" * 200_000, "body-not-json"),
        ("[]", "body-not-an-object"),
        ("null", "body-not-an-object"),
        ("{}", "rows-missing"),
        ('{"rows": {"age": 1}}', "rows-not-a-list"),
        ('{"rows": null}', "rows-not-a-list"),
        ('{"rows": []}', "rows-empty"),
        ('{"rows": [{}, [1]]}', "row-not-an-object"),
        ('{"rows": [{}], "model": 3}', "model-not-a-text"),
        ('{"rows": [{}], "strict": "yes"}', "strict-not-a-boolean"),
        ('{"rows": [{}], "explain": 1}', "explain-not-a-boolean"),
        ('{"rows": [{}], "version": "3"}', "version-not-an-integer"),
        ('{"rows": [{}], "version": true}', "version-not-an-integer"),
        ('{"rows": [{}], "version": 0}', "version-not-an-integer"),
        ('{"rows": [{}], "strcit": true}', "field-unknown"),
    ],
)
def test_malformed_body(demo: Caller, body: str | None, code: str) -> None:
    demo.problem(body, 400, code)


def test_body_that_is_no_text(demo: Caller) -> None:
    for body in ("not base64!", base64.b64encode(b'{"rows": ["\xff"]}').decode()):
        check_problem(demo.raw(body, isBase64Encoded=True), 400, "body-not-json")


def test_body_over_the_limit(demo: Caller) -> None:
    start = '{"rows": [{"age": 1, "city": "Bern"}]'
    assert demo.raw(start + " " * (LIMIT - len(start) - 1) + "}")["statusCode"] == 200
    details = demo.problem(start + " " * (LIMIT - len(start)) + "}", 413, "body-too-large")
    assert str(LIMIT) in details["detail"]
    encoded = base64.b64encode((start + " " * LIMIT + "}").encode()).decode()
    check_problem(demo.raw(encoded, isBase64Encoded=True), 413, "body-too-large")


# --- values -----------------------------------------------------------------------------------------


def test_convertible_values_are_converted_without_a_word(demo: Caller) -> None:
    one = demo.post({"rows": [{"age": "10", "city": "Köln"}]})
    assert one == demo.post({"rows": [ROW]})


@pytest.mark.parametrize("age", ["ten", True, [1], {"a": 1}, "1e999", 10**400])
def test_wrong_type_names_row_and_field_and_scores_nothing(demo: Caller, age: Any) -> None:
    details = demo.problem({"rows": [ROW, {"age": age, "city": "Bern"}]}, 422, "value-type")
    assert (details["row"], details["field"]) == (1, "age")
    assert [(error["row"], error["field"]) for error in details["errors"]] == [(1, "age")]
    assert "predictions" not in details


def test_overflowing_literal_is_refused(demo: Caller) -> None:
    details = demo.problem('{"rows": [{"age": 1e999, "city": "Bern"}]}', 422, "value-type")
    assert (details["row"], details["field"]) == (0, "age")


def test_every_refused_value_is_listed(demo: Caller) -> None:
    rows = [{"age": "x", "city": []}, ROW, {"age": "y", "city": "Bern"}]
    details = demo.problem({"rows": rows}, 422, "value-type")
    assert [(error["row"], error["field"]) for error in details["errors"]] == [
        (0, "age"),
        (0, "city"),
        (2, "age"),
    ]
    many = demo.problem({"rows": [{"age": "x"}] * 1000}, 422, "value-type")
    assert len(many["errors"]) == score.MAX_VALUES


LENIENT = [
    ({"city": "Bern"}, "age", "missing"),
    ({"age": None, "city": "Bern"}, "age", "missing"),
    ({"age": "", "city": "Bern"}, "age", "missing"),
    ({"age": 1, "city": "Genf"}, "city", "unseen"),
    ({"age": 99.5, "city": "Bern"}, "age", "outside"),
    ({"age": 1, "city": "Bern", "colour": "red"}, "colour", "unknown-field"),
]


@pytest.mark.parametrize(("row", "field", "code"), LENIENT)
def test_warning_names_row_field_and_code(demo: Caller, row: dict[str, Any], field: str, code: str) -> None:
    answer = demo.post({"rows": [ROW, row]})
    assert len(answer["predictions"]) == len(answer["probabilities"]) == 2
    (warning,) = answer["warnings"]
    assert set(warning) == {"row", "field", "code", "message"}
    assert (warning["row"], warning["field"], warning["code"]) == (1, field, code)
    assert warning["message"]


@pytest.mark.parametrize(("row", "field", "code"), LENIENT)
def test_strict_refuses_what_would_be_a_warning(
    demo: Caller, row: dict[str, Any], field: str, code: str
) -> None:
    details = demo.problem({"rows": [ROW, row], "strict": True}, 422, code)
    assert (details["row"], details["field"]) == (1, field)
    assert demo.post({"rows": [ROW], "strict": True})["warnings"] == []


def test_columns_that_the_model_does_not_use_are_welcome(demo: Caller) -> None:
    assert demo.post({"rows": [{**ROW, "id": 7}], "strict": True})["warnings"] == []


# --- bounds -----------------------------------------------------------------------------------------


def test_warnings_are_bounded(demo: Caller) -> None:
    answer = demo.post({"rows": [{}] * 2000})
    assert len(answer["predictions"]) == 2000
    *listed, last = answer["warnings"]
    assert len(listed) == score.MAX_WARNINGS
    assert last == {
        "row": None,
        "field": None,
        "code": "warnings-cut",
        "message": "3000 more warnings are not listed",
    }


def test_long_names_are_not_repeated(demo: Caller) -> None:
    name = "n" * 4_000_000
    (warning,) = demo.post({"rows": [{**ROW, name: 1}]})["warnings"]
    assert len(warning["field"]) == score.MAX_NAME
    details = demo.problem({"rows": [{**ROW, name: 1}], "strict": True}, 422, "unknown-field")
    assert len(json.dumps(details)) < 10_000


def test_answer_over_the_limit(s3: S3Stub) -> None:
    publish(s3, "wide", 1, plans.binary("wide", classes=("n" * 4000, "y" * 4000)))
    caller = Caller(s3)
    rows: list[dict[str, Any]] = [ROW] * 490
    assert len(caller.raw(json.dumps({"rows": rows}))["body"]) < ours.MAX_ANSWER_BYTES
    caller.problem({"rows": [ROW] * 520}, 413, "answer-too-large")


def test_rows_that_take_too_long(demo: Caller) -> None:
    demo.context.remaining_ms = score.SPARE_MS - 1
    demo.problem({"rows": [ROW]}, 413, "rows-too-many")


def test_result_that_json_cannot_say(s3: S3Stub) -> None:
    publish(s3, "price", 1, plans.regression(intercept=1.7e308))
    answer = Caller(s3).post({"rows": [ROW, {"age": 1.7e308, "city": "Bern"}]})
    assert answer["predictions"] == [1.7e308, None]
    assert [(warning["row"], warning["code"]) for warning in answer["warnings"]] == [
        (1, "outside"),
        (1, "not-finite"),
    ]


# --- freshness --------------------------------------------------------------------------------------


def test_moved_alias_is_noticed_by_a_conditional_read(s3: S3Stub, demo: Caller) -> None:
    assert [demo.post({"model": "demo", "rows": [ROW]})["version"] for _ in range(2)] == [3, 3]
    assert [line.rsplit(" ", 1)[1] for line in s3.requests] == ["200", "200", "304"]
    publish(s3, "demo", 4, plans.binary(intercept=-100.0))
    answer = demo.post({"model": "demo", "rows": [ROW]})
    assert (answer["version"], answer["predictions"]) == (4, ["no"])


def test_alias_is_not_read_again_before_its_time(s3: S3Stub, demo: Caller) -> None:
    caller = Caller(s3, MILLRACE_FRESHNESS_S="3600")
    for _ in range(3):
        caller.post({"model": "demo", "rows": [ROW]})
    assert len(s3.requests) == 2


@pytest.mark.parametrize(
    "break_it",
    [
        lambda s3: publish(s3, "demo", 4, plans.binary()[:-1]),
        lambda s3: s3.objects.update({keys.alias("demo"): b'{"version": 4, "history": []}'}),
        lambda s3: s3.objects.update({keys.alias("demo"): b"not json"}),
        lambda s3: s3.faults.extend([status(503)] * 2),
        lambda s3: s3.faults.append(status(403, "AccessDenied")),
    ],
    ids=["plan-broken", "plan-absent", "alias-broken", "s3-down", "s3-refuses"],
)
def test_old_version_goes_on_when_the_new_one_cannot_be_read(s3: S3Stub, demo: Caller, break_it: Any) -> None:
    demo.post({"model": "demo", "rows": [ROW]})
    break_it(s3)
    assert demo.post({"model": "demo", "rows": [ROW]})["version"] == 3
    (warning,) = [line for line in demo.lines if line.get("level") == "WARNING"]
    assert "version 3 goes on" in warning["message"]
    assert warning["code"]
    assert warning["AliasesUnreadable"] == [1]
    # The next look finds it whole, even if the alias itself did not change in between.
    publish(s3, "demo", 4, plans.binary())
    assert demo.post({"model": "demo", "rows": [ROW]})["version"] == 4


def test_deleted_model_is_gone(s3: S3Stub, demo: Caller) -> None:
    demo.post({"rows": [ROW]})
    del s3.objects[keys.alias("demo")]
    demo.problem({"model": "demo", "rows": [ROW]}, 404, "model-unknown")


# --- faults are answered, not dropped ---------------------------------------------------------------


def test_s3_down_at_the_first_request(s3: S3Stub, demo: Caller) -> None:
    s3.faults = [status(503), status(500)]
    answer = demo.raw(json.dumps({"model": "demo", "rows": [ROW]}))
    check_problem(answer, 503, "service-unavailable")
    assert answer["headers"]["retry-after"] == "1"
    assert demo.post({"model": "demo", "rows": [ROW]})["version"] == 3


def test_broken_plan_is_our_fault_not_the_callers(s3: S3Stub) -> None:
    publish(s3, "demo", 1, b"no plan at all")
    Caller(s3).problem({"rows": [ROW]}, 500, "plan-broken")


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"MILLRACE_ARTIFACT_BUCKET": ""}, "setting-missing"),
        ({"MILLRACE_MAX_BODY_BYTES": "5 MB"}, "setting-type"),
    ],
)
def test_wrong_settings_are_answered(s3: S3Stub, environ: dict[str, str], code: str) -> None:
    Caller(s3, **environ).problem({"rows": [ROW]}, 500, code)


def test_unexpected_error_is_answered_without_its_inside(s3: S3Stub, demo: Caller) -> None:
    class Broken:
        def score(self, values: list[Any]) -> Any:
            raise ZeroDivisionError("a secret of the inside")

    demo.post({"model": "demo", "rows": [ROW]})
    reader = demo.predict._given
    assert reader is not None
    served = reader.alias("demo")
    served.content = (served.content[0], Broken())
    details = demo.problem({"model": "demo", "rows": [ROW]}, 500, "internal")
    assert "secret" not in json.dumps(details)
    line = [line for line in demo.lines if line.get("level") == "ERROR"][-1]
    assert line["exception_name"] == "ZeroDivisionError"
    assert "a secret of the inside" in line["exception"]


# --- log and metrics --------------------------------------------------------------------------------


def test_one_line_a_request_has_the_log_and_the_metrics(demo: Caller) -> None:
    demo.post({"rows": [ROW, {}]})
    demo.problem({"rows": []}, 400, "rows-empty")
    first, second = demo.lines
    assert first["correlation_id"] == "JKJaXmPLvHcESHA="
    assert (first["cold_start"], second["cold_start"]) == (True, False)
    assert (first["model"], first["version"], first["rows"], first["warnings"]) == ("demo", 3, 2, 2)
    assert (first["level"], first["status"]) == ("INFO", 200)
    assert (second["level"], second["status"], second["code"]) == ("INFO", 400, "rows-empty")
    assert first["duration_ms"] > 0
    assert (first["Requests"], first["Rows"], second["Rows"]) == ([1.0], [2.0], [0.0])
    assert first["Duration"] == [first["duration_ms"]]
    assert (first["ClientErrors"], second["ClientErrors"]) == ([0.0], [1.0])


def test_log_and_metrics_have_the_shape_of_powertools(
    demo: Caller, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aws_lambda_powertools import Logger, Metrics
    from aws_lambda_powertools.metrics import MetricUnit

    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "function")
    demo.post({"rows": [ROW]})
    (ours,) = demo.lines

    logger = Logger(service="predict", level="INFO")

    @logger.inject_lambda_context(correlation_id_path="requestContext.requestId")
    def log(event: dict[str, Any], context: Context) -> None:
        logger.info("predict")

    metrics = Metrics(namespace="Millrace", service="predict")
    metrics.add_dimension("stage", "test")
    metrics.add_metric("Rows", MetricUnit.Count, 1)
    metrics.add_metric("Duration", MetricUnit.Milliseconds, 1.5)
    log(http_event(None), demo.context)  # type: ignore[arg-type]
    theirs = json.loads(capsys.readouterr().out)
    metrics.flush_metrics()
    their_metrics = json.loads(capsys.readouterr().out)

    assert set(theirs) <= set(ours)
    assert [key for key in ours if key in theirs] == list(theirs)
    same = {"level", "message", "service", "function_name", "function_memory_size", "function_arn"}
    same |= {"function_request_id", "correlation_id", "xray_trace_id"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert len(ours["timestamp"]) == len(theirs["timestamp"])

    def shape(line: dict[str, Any]) -> Any:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert isinstance(line["_aws"]["Timestamp"], int)
        assert len(str(line["_aws"]["Timestamp"])) == 13
        return {
            **directive,
            "Dimensions": [sorted(dimensions) for dimensions in directive["Dimensions"]],
            "Metrics": [m for m in directive["Metrics"] if m["Name"] in ("Rows", "Duration")],
        }

    assert shape(ours) == shape(their_metrics)
    assert type(ours["Rows"]) is type(their_metrics["Rows"]) is list
    assert [ours[name] for name in ("stage", "service")] == ["test", "predict"]
    counted = {metric["Name"] for metric in ours["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    told = {"protocol", "model", "version", "rows", "warnings", "status", "duration_ms"}
    assert set(ours) == {*theirs, *told, *counted, "_aws", "stage"}


# --- what the zip needs -----------------------------------------------------------------------------


def test_the_rooms_of_the_zip_are_enough_and_nothing_heavy_is_imported(s3: S3Stub, tmp_path: Path) -> None:
    """Copy what ``rooms.txt`` names, answer a request from those files alone, twice, and explain one."""
    publish(s3, "demo", 3, plans.binary(typical=[10.0, "Bern"]))
    shutil.copyfile(ROOT / "functions/predict/app.py", tmp_path / "app.py")
    for line in (ROOT / "functions/predict/rooms.txt").read_text().splitlines():
        name = line.partition("#")[0].strip()
        if name:
            target = tmp_path / "millrace" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / "lib/millrace" / name, target)
    script = """
import json, sys
sys.path.insert(0, sys.argv[1])
import app
class Context:
    memory_limit_in_mb, aws_request_id, function_name, invoked_function_arn = 512, "id", "predict", "arn"
    def get_remaining_time_in_millis(self): return 9000
answer = app.handler(json.loads(sys.argv[2]), Context())
answer = app.handler(json.loads(sys.argv[2]), Context())
assert answer["statusCode"] == 200, answer
modules = sorted(sys.modules)
explained = app.handler(json.loads(sys.argv[3]), Context())
assert explained["statusCode"] == 200, explained
own = [m for m in sys.modules.values() if getattr(m, "__name__", "").startswith("millrace")]
assert all(m.__file__.startswith(sys.argv[1]) for m in own)
bodies = {"body": json.loads(answer["body"]), "explained": json.loads(explained["body"])}
print(json.dumps({"modules": modules, **bodies}))
"""
    # Even an installed package is not seen: -I leaves out the environment and the user's, -S all of site.
    finished = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            script,
            str(tmp_path),
            json.dumps(http_event(json.dumps({"rows": [ROW]}))),
            json.dumps(http_event(json.dumps({"rows": [ROW], "explain": True}))),
        ],
        env={
            **s3.environ,
            "MILLRACE_ARTIFACT_BUCKET": s3.bucket,
            "MILLRACE_FRESHNESS_S": "30",
            "MILLRACE_MAX_BODY_BYTES": "4500000",
            "MILLRACE_STAGE": "test",
            "PATH": os.environ["PATH"],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout.splitlines()[-1])
    assert result["body"]["predictions"] == ["yes"]
    assert result["explained"]["explanations"]["rows"][0]["contributions"]["age"] == 0.0
    heavy = {
        *("boto3", "botocore", "numpy", "pandas", "pydantic", "aws_lambda_powertools", "sklearn", "pickle"),
        *("dataclasses", "typing", "inspect", "http.client", "email", "urllib.request", "urllib.parse"),
        *("asyncio", "logging", "random", "datetime", "ssl", "uuid", "xml", "tempfile", "pathlib"),
    }
    assert heavy & set(result["modules"]) == set()


def test_the_handler_file_builds_nothing_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MILLRACE_", "AWS_")):
            monkeypatch.delenv(name)
    spec = importlib.util.spec_from_file_location("predict_app", ROOT / "functions/predict/app.py")
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    check_problem(app.handler(http_event("{}"), Context()), 500, "setting-missing")


def test_a_block_is_answered_as_its_rows_are(demo: Caller) -> None:
    ages: list[Any] = [10, -10.0, None, "7", 150, 1e300, 0.5]
    cities: list[Any] = ["Köln", "Bern", None, "Paris", ""]
    rows: list[dict[str, Any]] = [
        {"age": age, "city": city, **extra} for age in ages for city in cities for extra in ({}, {"shoe": 43})
    ]
    assert len(rows) > score.BLOCK_ROWS
    block = demo.post({"rows": rows})
    single = [demo.post({"rows": [row]}) for row in rows]
    assert block["predictions"] == [answer["predictions"][0] for answer in single]
    assert block["probabilities"] == [answer["probabilities"][0] for answer in single]
    expected = [{**w, "row": row} for row, answer in enumerate(single) for w in answer["warnings"]]
    assert block["warnings"] == expected
    rows[17]["age"] = "many"
    details = demo.problem({"rows": rows}, 422, "value-type")
    assert [error["row"] for error in details["errors"]] == [17]
    demo.problem({"rows": rows[:17], "strict": True}, 422, "unknown-field")


def test_a_block_goes_to_the_kernel() -> None:
    _, scorer = score.load(plans.binary())
    kernel = scorer.kernel()
    assert kernel is not None and kernel is scorer.kernel()


def test_results_that_are_not_finite_are_said_of_their_rows_in_a_block(s3: S3Stub) -> None:
    publish(s3, "price", 1, plans.regression(intercept=1.7e308))
    rows = [{"age": 1.7e308 if row == 3 else 1, "city": "Bern"} for row in range(20)]
    answer = Caller(s3).post({"rows": rows})
    assert [row for row, value in enumerate(answer["predictions"]) if value is None] == [3]
    assert [(w["row"], w["code"]) for w in answer["warnings"]] == [(3, "outside"), (3, "not-finite")]
