"""Explanations by the real predict handler: of models as a run makes them, and of what has none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from millrace import compiler, plan
from millrace.compiler import onnx as exchange
from millrace.contracts import Budget, Schema
from millrace.edge.predict import score
from millrace.features.blocks import Table
from millrace.plan import writing
from millrace.training.select import choices, select
from tests import pipelines, plans
from tests.handlers.test_predict import ROW, Caller, publish, s3
from tests.learning import mixed_table, searched
from tests.s3_stub import S3Stub
from tests.unit.test_onnx_foreign import signature, weighted

__all__ = ["s3"]

FIELDS = ("number", "half", "flag", "colour", "time", "text")
ROWS: list[dict[str, Any]] = [
    {
        "number": 1.3,
        "half": 0.2,
        "flag": True,
        "colour": "red",
        "time": "2019-01-01",
        "text": "bad rainy day",
    },
    {"number": -2.0, "half": None, "flag": None, "colour": None, "time": None, "text": None},
]


def selected(table: Table, schema: Schema, *names: str, budget: Budget = "standard") -> tuple[bytes, Any]:
    """Return the plan and the evaluation of what a run chooses among candidates."""
    rows, results, out_of_fold = searched(table, schema, *names, budget=budget)
    possible = choices(schema, rows, results, out_of_fold, budget)
    found = select(table, schema, rows, results, possible, model="m", budget=budget, seed=0)
    return found.plan, found.evaluation


def with_header(data: bytes, **members: Any) -> bytes:
    """Return a plan with other members in its header."""
    read = plan.read(data)
    header = {name: value for name, value in read.header.items() if name not in ("arrays", "texts")}
    return writing.write(header | members, [read.arrays[i] for i in range(len(read.arrays))])


def adds_up(explained: Mapping[str, Any], answer: float) -> bool:
    total = explained["base"] + math.fsum(explained["contributions"].values())
    return total == pytest.approx(answer, rel=1e-9, abs=1e-12)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_an_ensemble_that_is_calibrated_is_explained_against_the_typical_row(s3: S3Stub) -> None:
    table, schema = mixed_table(400)
    data, evaluation = selected(table, schema, "linear", "extra_trees")
    assert evaluation["chosen"] == "ensemble"
    assert evaluation["calibration"]["method"] != "none"
    publish(s3, "m", 1, data)
    caller = Caller(s3)
    typical = caller.post({"rows": ROWS, "explain": True})["explanations"]["typical"]
    answer = caller.post({"rows": [*ROWS, typical], "explain": True})
    explanations = answer["explanations"]
    assert explanations["scale"] == "probability"
    assert list(typical) == list(FIELDS)
    assert typical["text"] is None
    assert typical["time"].endswith("Z")
    assert isinstance(typical["flag"], bool)
    for explained, shares in zip(explanations["rows"], answer["probabilities"], strict=True):
        assert (explained["class"], explained["method"]) == ("yes", "exact")
        assert list(explained["contributions"]) == list(FIELDS)
        assert adds_up(explained, shares["yes"])
        assert explained["base"] == pytest.approx(answer["probabilities"][-1]["yes"], rel=1e-12)
    # As the target was made; and the typical row differs from itself in nothing.
    first, second, last = [explained["contributions"] for explained in explanations["rows"]]
    assert second["number"] < 0.0 < first["number"]
    assert first["text"] > 0.0 == second["text"]
    assert set(last.values()) == {0.0}


@pytest.mark.slow
def test_of_several_classes_the_predicted_one_is_explained(s3: S3Stub) -> None:
    table, schema = mixed_table(150, task="multiclass")
    data, evaluation = selected(table, schema, "linear", "boosted_shallow")
    assert evaluation["chosen"] == "ensemble"
    publish(s3, "m", 1, data)
    answer = Caller(s3).post({"rows": ROWS, "explain": True})
    assert len(set(answer["predictions"])) == 2
    for explained, label, shares in zip(
        answer["explanations"]["rows"], answer["predictions"], answer["probabilities"], strict=True
    ):
        assert explained["class"] == label
        assert adds_up(explained, shares[label])


@pytest.mark.slow
def test_a_mean_of_models_that_are_explained_is_explained_by_them(s3: S3Stub) -> None:
    table, schema = mixed_table(150, task="regression")
    data, evaluation = selected(table, schema, "linear", "boosted_shallow")
    assert evaluation["chosen"] == "ensemble"
    publish(s3, "m", 1, data)
    answer = Caller(s3).post({"rows": ROWS, "explain": True})
    assert "typical" not in answer["explanations"]
    assert answer["explanations"]["scale"] == "prediction"
    for explained, prediction in zip(answer["explanations"]["rows"], answer["predictions"], strict=True):
        assert explained["method"] == "exact"
        assert adds_up(explained, prediction)


def test_of_two_classes_a_forest_has_the_second_one_explained(s3: S3Stub) -> None:
    table = pipelines.table(120, 0)
    features = clone(pipelines.ENCODERS["ColumnTransformer"]["mixed"])
    forest = Pipeline([("features", features), ("model", RandomForestClassifier(5, random_state=0))])
    forest.fit(table, pipelines.target(table, "binary"))
    data = compiler.compile(forest, schema=pipelines.schema("binary"), model="m", background=table)
    publish(s3, "m", 1, data)
    _, rows = pipelines.as_json(pipelines.held_out()[:10], plan.read(data).signature.fields)
    answer = Caller(s3).post({"rows": rows, "explain": True})
    first, second = answer["probabilities"][0]
    assert {first, second} == set(answer["predictions"])
    for explained, shares in zip(answer["explanations"]["rows"], answer["probabilities"], strict=True):
        assert explained["class"] == second
        assert adds_up(explained, shares[second])


def test_a_plan_with_a_typical_row_alone_is_explained_by_it(s3: S3Stub) -> None:
    publish(s3, "demo", 1, plans.binary(typical=[10.0, "Bern"]))
    found = Caller(s3).post({"rows": [{"age": 20, "city": "Köln"}], "explain": True})["explanations"]
    base, age, city, both = (plans.logistic(x) for x in (0.0, 1.0, 2.0, 3.0))
    assert found == {
        "scale": "probability",
        "typical": {"age": 10.0, "city": "Bern"},
        "rows": [
            {
                "class": "yes",
                "method": "exact",
                "base": pytest.approx(base),
                "contributions": {
                    "age": pytest.approx(0.5 * (age - base + both - city)),
                    "city": pytest.approx(0.5 * (city - base + both - age)),
                },
            }
        ],
    }


def test_a_model_from_elsewhere_is_explained_from_the_row_that_its_signature_says(s3: S3Stub) -> None:
    made = exchange.wrap(weighted(), signature(typical={"a": 1.0, "b": 2.0}), model="demo")
    publish(s3, "demo", 1, made)
    rows = [{"a": 3.0, "b": 2.0}, {"a": 0.0, "b": 4.0}]
    found = Caller(s3).post({"rows": rows, "explain": True})
    assert found["predictions"] == [7.0, 8.0]
    assert found["explanations"] == {
        "scale": "prediction",
        "typical": {"a": 1.0, "b": 2.0},
        "rows": [
            {"class": None, "method": "exact", "base": 5.0, "contributions": {"a": 2.0, "b": 0.0}},
            {"class": None, "method": "exact", "base": 5.0, "contributions": {"a": -1.0, "b": 4.0}},
        ],
    }
    publish(s3, "demo", 1, exchange.wrap(weighted(), signature(), model="demo"))
    Caller(s3).problem({"rows": rows, "explain": True}, 422, "explanation-unavailable")


def test_without_a_typical_row_there_is_no_explanation(s3: S3Stub) -> None:
    publish(s3, "demo", 1, plans.binary())
    details = Caller(s3).problem({"rows": [ROW], "explain": True}, 422, "explanation-unavailable")
    assert "train the model again" in json.dumps(details)


def test_a_typical_row_may_lack_values(s3: S3Stub) -> None:
    publish(s3, "demo", 1, plans.binary(typical=[None, None]))
    found = Caller(s3).post({"rows": [{"age": None, "city": "Köln"}], "explain": True})["explanations"]
    assert found["typical"] == {"age": None, "city": None}
    assert found["rows"][0]["contributions"] == {
        "age": 0.0,
        "city": pytest.approx(plans.logistic(1.0) - plans.logistic(0.0)),
    }


def many(count: int) -> bytes:
    """The square of the sum of ``count`` fields; the typical row is 0."""
    squared = with_header(plans.numbers("m", [1.0] * count), typical=[0.0] * count)
    read = plan.read(squared)
    return with_header(squared, estimator={**read.header["estimator"], "link": "square", "kind": "linear"})


def test_many_fields_are_sampled_the_same_every_time_and_say_so(s3: S3Stub) -> None:
    count = 14
    publish(s3, "m", 1, many(count))
    caller = Caller(s3)
    row = {f"x{number}": float(number) for number in range(count)}
    one, two = (caller.post({"rows": [row], "explain": True}) for _ in range(2))
    assert one == two
    (explained,) = one["explanations"]["rows"]
    assert explained["method"] == "sampled"
    assert set(explained["standard_errors"]) == set(row)
    assert adds_up(explained, one["predictions"][0])
    # Each pair of fields shares what the two make together.
    total = sum(row.values())
    for name, value in row.items():
        error = explained["standard_errors"][name]
        assert abs(explained["contributions"][name] - value * total) <= 5.0 * error + 1e-9


def test_without_the_kernel_a_row_is_explained_alike(s3: S3Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(s3, "m", 1, many(12))
    rows = {"rows": [{f"x{number}": 0.5 * number for number in range(12)}], "explain": True}
    quick = Caller(s3).post(rows)
    monkeypatch.setattr(score, "_kernel", lambda plan: False)
    slow = Caller(s3).post(rows)
    (one,), (two,) = (answer["explanations"]["rows"] for answer in (quick, slow))
    assert two["contributions"] == pytest.approx(one["contributions"], rel=1e-9, abs=1e-9)


def test_numbers_that_json_cannot_say_are_null(s3: S3Stub) -> None:
    publish(s3, "m", 1, with_header(plans.numbers("m", [1.0, 1.0]), typical=[1.7e308, 0.0]))
    rows = [{"x0": -1.0, "x1": 1.7e308}, {"x0": 1.0, "x1": 2.0}, {"x0": 1.7e308, "x1": 1.7e308}]
    answer = Caller(s3).post({"rows": rows, "explain": True})
    assert answer["predictions"] == [1.7e308, 3.0, None]
    # The first row mixed with the typical one is infinite.
    assert answer["explanations"]["rows"] == [None, None, None]


@pytest.mark.parametrize("kernel", [True, False])
def test_explanations_that_take_too_long_are_refused_between_their_blocks(
    s3: S3Stub, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    publish(s3, "m", 1, many(12))
    caller = Caller(s3)
    if not kernel:
        monkeypatch.setattr(score, "_kernel", lambda plan: False)
    looks: list[int] = []

    def remaining() -> int:
        looks.append(1)
        return 60_000 if len(looks) < 4 else score.SPARE_MS - 1

    monkeypatch.setattr(caller.context, "get_remaining_time_in_millis", remaining)
    row = {f"x{number}": 1.0 for number in range(12)}
    details = caller.problem({"rows": [row], "explain": True}, 413, "rows-too-many")
    assert "leave out 'explain'" in json.dumps(details)
