"""The exported ONNX model equals its plan: every kind of a plan is exported, or named as what is not."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from millrace import compiler, plan
from millrace.compiler import onnx as exporter
from millrace.compiler.onnx import links
from millrace.contracts import Column, Schema, Task
from millrace.errors import BadInput
from millrace.plan.kinds import ENCODERS, ESTIMATORS, LINKS, of
from tests import pipelines

pytestmark = pytest.mark.filterwarnings(
    # What scikit-learn says of columns without values, of unseen categories, and of a solver cut short.
    "ignore::UserWarning",
    "ignore::RuntimeWarning",
)

FEATURES = [
    pytest.param(name, case, id=f"{name}-{case}")
    for name, cases in pipelines.ENCODERS.items()
    for case in cases
]
MODELS = [
    pytest.param(name, case, id=f"{name}-{case}")
    for name, cases in pipelines.ESTIMATORS.items()
    for case in cases
]
ROOM = "millrace.compiler.onnx"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small fits on several threads spend their time waiting for each other."""
    with threadpool_limits(1):
        yield


def with_full(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(full=pd.Series([note or "" for note in frame["note"]], dtype=object))


@functools.cache
def training() -> pd.DataFrame:
    return with_full(pipelines.table(300, 0))


@functools.cache
def holdout() -> pd.DataFrame:
    return with_full(pipelines.held_out())


def schema(task: Task) -> Any:
    found = pipelines.schema(task, training())
    texts = {"full": "text"}
    columns = tuple(type(c)(c.name, c.index, texts.get(c.name, c.type), c.role) for c in found.columns)
    return type(found)(columns, "y", task, "", found.classes)


@functools.cache
def encoded(name: str, case: str) -> tuple[Any, Any]:
    features = clone(pipelines.ENCODERS[name][case])
    return features, features.fit_transform(training(), pipelines.target(training(), "multiclass"))


def compiled(features: Any, matrix: Any, model: Any, task: Task) -> bytes:
    parts = list(model.steps) if isinstance(model, Pipeline) else [("estimator", model)]
    model.fit(matrix, pipelines.target(training(), task))
    return compiler.compile(Pipeline([("features", features), *parts]), schema=schema(task), model="m")


def columns_of(data: bytes, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the frame's columns as the plan takes them."""
    result = {}
    for field in plan.read(data).signature.fields:
        column = frame[field["name"]].to_numpy()
        if field["type"] in ("category", "text"):
            texts = np.empty(len(column), dtype=object)
            texts[:] = [value if isinstance(value, str) else None for value in column.tolist()]
            result[field["name"]] = texts
        else:
            result[field["name"]] = column.astype(np.float64)
    return result


def without_texts() -> Any:
    """The mixed features of the compiler's tests, but for the text's words."""
    parts = pipelines.ENCODERS["ColumnTransformer"]["mixed"].transformers
    return pipelines.ColumnTransformer([part for part in parts if part[2] != "note"])


@functools.cache
def plain() -> tuple[Any, Any]:
    features = without_texts()
    return features, features.fit_transform(training(), pipelines.target(training(), "multiclass"))


def exported(data: bytes, frame: pd.DataFrame | None = None) -> onnx.ModelProto:
    """Export the plan, check the model against it, and return the model."""
    made = exporter.export(data)
    outcome = exporter.check(data, made, columns_of(data, holdout() if frame is None else frame))
    assert outcome.passed and outcome.rows > 0, outcome
    return onnx.load_from_string(made)


def about(model: onnx.ModelProto) -> dict[str, str]:
    return {prop.key: prop.value for prop in model.metadata_props}


@pytest.mark.parametrize("families", [ENCODERS, ESTIMATORS], ids=["encoders", "estimators"])
def test_every_kind_is_exported_or_named_as_what_is_not(families: dict[str, str]) -> None:
    named = exporter.ENCODED if families is ENCODERS else exporter.REFUSED
    assert named.keys() <= families.keys()
    for kind in families.keys() - named.keys():
        assert callable(of(ROOM, families, kind)), kind
    for kind in named:
        with pytest.raises((KeyError, ModuleNotFoundError)):
            of(ROOM, families, kind)


def test_every_link_is_exported() -> None:
    assert set(links.LINKS) == set(LINKS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), FEATURES)
def test_every_way_of_every_transformer(name: str, case: str) -> None:
    model = next(iter(pipelines.ESTIMATORS["HistGradientBoostingClassifier"].values()))()
    data = compiled(*encoded(name, case), model, "binary")
    inputs = [value.name for value in exported(data).graph.input]
    features = plan.read(data).header["features"]
    if exporter.starts_at(features) == "encoded":
        assert inputs == ["encoded"]
        assert set(exporter.not_expressed_in(features)) & {step["kind"] for step in every_step(features)}
    else:
        assert inputs == [field["name"] for field in plan.read(data).signature.fields]


def every_step(features: Any) -> Iterator[dict[str, Any]]:
    for step in features:
        yield step
        for branch in step.get("branches", ()):
            yield from every_step(branch["steps"])


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "case"), MODELS)
def test_every_way_of_every_estimator(estimator: str, case: str) -> None:
    make = pipelines.ESTIMATORS[estimator][case]
    tasks: tuple[Task, ...] = (
        ("binary", "multiclass") if hasattr(make(), "predict_proba") else ("regression",)
    )
    for task in tasks:
        data = compiled(*plain(), make(), task)
        node = plan.read(data).header["estimator"]
        if node["kind"] in exporter.REFUSED or exporter.not_expressed_in(node.get("steps", ())):
            with pytest.raises(BadInput, match="standard ONNX operators"):
                exporter.export(data)
        elif node["kind"] not in exporter.TIED:
            exported(data)


NEIGHBORS = [
    (name, case)
    for name in ("KNeighborsClassifier", "KNeighborsRegressor")
    for case in pipelines.ESTIMATORS[name]
]


@pytest.mark.parametrize(("estimator", "case"), NEIGHBORS)
def test_neighbours_are_others_only_where_several_are_equally_far(estimator: str, case: str) -> None:
    features, matrix = plain()
    model = pipelines.ESTIMATORS[estimator][case]()
    data = compiled(features, matrix, model, "multiclass" if "Classifier" in estimator else "regression")
    assert plan.read(data).header["estimator"]["kind"] in exporter.TIED
    made = exporter.export(data)
    rows, neighbors = model[:-1].transform(features.transform(holdout())), model[-1]
    count = neighbors.n_neighbors
    distances, _ = neighbors.kneighbors(rows, count + 1)
    alone = distances[:, count - 1] < distances[:, count]
    assert exporter.check(data, made, columns_of(data, holdout()[alone])).passed
    if case == "plain":
        assert alone.mean() > 0.9, "the rows that are far from all points are few"
    if case == "ties":
        assert not exporter.check(data, made, columns_of(data, holdout())).passed, "the difference is seen"


def test_that_a_tie_may_decide_is_known_of_members_too() -> None:
    for members, why in (
        ([("near", KNeighborsRegressor(algorithm="kd_tree"))], exporter.TIED["neighbors"]),
        ([], None),
    ):
        model = VotingRegressor([("line", Ridge()), *members])
        header = plan.read(compiled(*plain(), model, "regression")).header
        assert header["estimator"]["kind"] not in exporter.TIED
        assert exporter.tied_in(header["estimator"]) == why


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_that_are_the_row_itself_and_rows_that_are_far_from_all(weights: str) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    features = pipelines.ColumnTransformer([("n", "passthrough", ["a", "b"])])
    model = KNeighborsClassifier(5, algorithm="kd_tree", weights=weights)
    model.fit(features.fit_transform(frame), rng.integers(0, 3, 200))
    columns = tuple(Column(name, i, "number", "feature") for i, name in enumerate("ab"))
    names = ("x", "y", "z")
    described = Schema((*columns, Column("y", 2, "category", "target")), "y", "multiclass", "accuracy", names)
    data = compiler.compile(Pipeline([("f", features), ("m", model)]), schema=described, model="m")
    far = pd.DataFrame({"a": [1e200, -1e308, 1e150], "b": [0.0, 1e308, -1e150]})
    exported(data, pd.concat([frame, far, frame + 1e-9]))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_native_categories_take_the_same_branches(task: Task) -> None:
    kinds = (pipelines.HistGradientBoostingClassifier, pipelines.HistGradientBoostingRegressor)
    model = kinds[task == "regression"](
        max_iter=8, min_samples_leaf=5, categorical_features=[1, 0], random_state=0
    )
    data = compiled(*encoded("OrdinalEncoder", "rare"), model, task)
    assert plan.read(data).header["estimator"]["masks"] is not None
    exported(data)


def test_a_table_of_leaf_values_is_not_repeated_for_each_class() -> None:
    features, matrix = plain()
    forest = pipelines.RandomForestClassifier(n_estimators=30, random_state=0)
    data = compiled(features, matrix, forest, "multiclass")
    assert len(exporter.export(data)) < 6 * len(data)
    exported(data)


def test_times_of_ten_thousand_years() -> None:
    rng = np.random.default_rng(0)
    bounds = [-62_135_596_800.0, -62_135_596_800.1, 253_402_300_799.9, 253_402_300_800.0, np.nan, 0.0, -0.5]
    when = np.concatenate([rng.uniform(-6.3e10, 2.6e11, 3000), bounds])
    frame = pd.DataFrame({"when": when})
    features = pipelines.ColumnTransformer([("t", pipelines.TimeParts(pipelines.TIME_PARTS), ["when"])])
    matrix = features.fit_transform(frame)
    target = np.nan_to_num(matrix).sum(axis=1)
    # Trees that split everywhere: a part that is off by one would be another leaf.
    model = pipelines.HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=1, random_state=0)
    pipeline = Pipeline([("features", features), ("model", model.fit(matrix, target))])
    data = compiler.compile(pipeline.fit(frame, target), schema=schema("regression"), model="m")
    exported(data, frame)


def test_the_model_is_standard_and_says_what_it_is() -> None:
    model = pipelines.ESTIMATORS["LogisticRegression"]["plain"]()
    data = compiled(*plain(), model, "multiclass")
    made = exported(data)
    onnx.checker.check_model(made, full_check=True)
    assert {opset.domain: opset.version for opset in made.opset_import} == exporter.OPSETS
    assert {node.domain for node in made.graph.node} <= set(exporter.OPSETS)
    assert not made.functions and made.producer_name == "millrace"
    types = {value.name: value.type.tensor_type.elem_type for value in made.graph.input}
    assert types["colour"] == onnx.TensorProto.STRING and types["small"] == onnx.TensorProto.DOUBLE
    assert [value.name for value in made.graph.output] == ["label", "probabilities"]
    said = about(made)
    assert json.loads(said["millrace.classes"]) == list(pipelines.CLASSES["multiclass"])
    assert json.loads(said["millrace.signature"]) == list(plan.read(data).signature.fields)
    assert said["millrace.starts_at"] == "fields" and said["millrace.model"] == "m"


def test_the_same_plan_gives_the_same_bytes() -> None:
    data = compiled(*plain(), pipelines.ESTIMATORS["RandomForestClassifier"]["plain"](), "binary")
    assert exporter.export(data) == exporter.export(data)
    assert (
        about(onnx.load_from_string(exporter.export(data, metadata={"millrace.version": "3"})))[
            "millrace.version"
        ]
        == "3"
    )


def test_what_cannot_be_expressed_starts_at_the_encoded_features_and_says_so() -> None:
    data = compiled(*encoded("ColumnTransformer", "mixed"), pipelines.Ridge(), "regression")
    made = exported(data)
    said = about(made)
    assert said["millrace.starts_at"] == "encoded"
    assert json.loads(said["millrace.not_expressed"]) == {"words": exporter.ENCODED["words"]}
    width = made.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    assert width == exporter.encode(data, columns_of(data, holdout())).shape[1]


def test_a_field_may_bear_the_name_of_an_output() -> None:
    names = ["label", "probabilities", "constant_1"]
    frame = training()[pipelines.NUMBERS].set_axis(names, axis=1)
    features = pipelines.ColumnTransformer([("n", pipelines.SimpleImputer(), names)])
    pipeline = Pipeline([("features", features), ("model", pipelines.LogisticRegression(max_iter=50))])
    pipeline.fit(frame, pipelines.target(training(), "binary"))
    data = compiler.compile(pipeline, schema=pipelines.schema("binary", frame), model="m")
    made = exported(data, frame)
    assert [value.name for value in made.graph.output] == ["label_", "probabilities_"]


def test_a_model_that_differs_fails_the_check() -> None:
    data = compiled(*plain(), pipelines.ESTIMATORS["LogisticRegression"]["plain"](), "binary")
    other = compiled(*plain(), pipelines.ESTIMATORS["LogisticRegression"]["no-intercept"](), "binary")
    outcome = exporter.check(data, exporter.export(other), columns_of(data, holdout()))
    assert not outcome.passed and outcome.max_difference > 1e-6
