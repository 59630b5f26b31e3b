"""The plan equals its pipeline: every covered class, found in the compiler's tables and in scikit-learn.

Every case of a transformer meets one estimator of each family, every case of an estimator one mix of
transformers, and every estimator some of the transformers; Hypothesis draws other tables and pipelines.
``make parity`` takes 2,000 rows for each, and every estimator with every transformer.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import pkgutil
import warnings
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits

from millrace import compiler, plan
from millrace.compiler.common import Arrays
from millrace.compiler.encoders import ENCODERS, compile_steps
from millrace.compiler.estimators import ESTIMATORS, compile_estimator
from millrace.contracts import Task
from millrace.errors import BadInput
from millrace.scoring import blocks, rows
from millrace.scoring.blocks import links as block_links
from millrace.scoring.rows import links as row_links
from tests import pipelines

pytestmark = pytest.mark.filterwarnings(
    # What scikit-learn says of columns without values, of unseen categories, and of a solver cut short.
    "ignore:Skipping features:UserWarning",
    "ignore:Found unknown categories:UserWarning",
    "ignore:.*failed to converge:Warning",
    "ignore:An ill-conditioned matrix:Warning",
    "ignore:Early stopping the lars path:Warning",
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
ROUNDED = {"FunctionTransformer", "Normalizer", "PowerTransformer", "QuantileTransformer"}
"""Transformers whose results are rounded by more than additions and divisions of single values."""
CLASSIFIERS = [
    name for name, cases in pipelines.ESTIMATORS.items() if is_classifier(next(iter(cases.values()))())
]
ROWS = int(os.environ.get("MILLRACE_PARITY_ROWS", "120"))
"""Rows that no pipeline was fitted to, on which every case is compared; ``make parity`` takes 2,000."""
PAIRED = 1 if ROWS >= 2000 else 12
"""Of how many transformers an estimator meets one."""
EXAMPLES = 1000 if ROWS >= 2000 else 25
"""Pipelines that Hypothesis draws."""
NEAR = 1e-12
"""What sums of a few numbers of about 1 differ by at most, in whatever order they are added up."""
LARGER = {"QuantileTransformer": 0.9, "TimeParts": 1.25}
"""Shares of the joblib file that plans of features alone may have where it is more than half: quantiles are
doubles of the training data in both files, and the sines of calendar parts stand in the plan alone."""


def family(estimator: str) -> tuple[str, bool]:
    """Return the module that compiles an estimator, and whether it classifies."""
    function = ESTIMATORS[estimator]
    return getattr(function, "func", function).__module__, estimator in CLASSIFIERS


FIRST = list({family(name): name for name in reversed(list(pipelines.ESTIMATORS))}.values())
"""The first classifier and the first regressor of each family: members of one are evaluated alike."""


def with_full(frame: pd.DataFrame) -> pd.DataFrame:
    full = [note or "" for note in frame["note"]]
    return frame.assign(full=pd.Series(full, dtype=object))


@functools.cache
def training() -> pd.DataFrame:
    return with_full(pipelines.table(300, 0))


@functools.cache
def holdout() -> pd.DataFrame:
    return with_full(pipelines.held_out(ROWS))


def text_schema(task: Task, frame: pd.DataFrame | None = None) -> Any:
    schema = pipelines.schema(task, training() if frame is None else frame)
    # The last feature column is a text, which its name alone does not tell.
    columns = [c for c in schema.columns if c.name != "full"]
    full = schema.column("full")
    return type(schema)(
        (*columns, type(full)("full", full.index, "text", "feature")), "y", task, "", schema.classes
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small fits on several threads spend their time waiting for each other."""
    with threadpool_limits(1):
        yield


@functools.cache
def encoded(name: str, case: str) -> tuple[Any, Any]:
    features = clone(pipelines.ENCODERS[name][case])
    return features, features.fit_transform(training(), pipelines.target(training(), "multiclass"))


def joined(name: str, case: str, model: Any, task: Task) -> Pipeline:
    """Fitted features, an imputer where the estimator needs one, and the estimator, in one pipeline."""
    features, matrix = encoded(name, case)
    parts = list(model.steps) if isinstance(model, Pipeline) else [("estimator", model)]
    model.fit(matrix, pipelines.target(training(), task))
    return Pipeline([("features", features), *parts])


def differs(estimator: str, pipeline: Pipeline, task: Task) -> float:
    """Return the difference on the held-out rows, or fail when it is more than the estimator may have."""
    data = compiler.compile(pipeline, schema=text_schema(task), model="m")
    undecided = on_a_double_step(pipeline)
    outcome = compiler.parity(pipeline, data, holdout()[~undecided])
    assert outcome.passed and outcome.rows == (~undecided).sum() and undecided.mean() < 0.05
    assert outcome.max_difference <= (0.0 if "Trees" in estimator or "Forest" in estimator else 1e-12)
    return outcome.max_difference


def on_a_double_step(pipeline: Pipeline) -> Any:
    """Return which held-out rows stand between two steps of an isotonic calibration that are one.

    Of rows with the same inputs BLAS may add up some in another order than others, and then a calibration
    that learned from them has two steps nearer to each other than a sum is exact. What scikit-learn answers
    there is another thing on another processor.
    """
    model = pipeline[-1]
    found = np.zeros(len(holdout()), dtype=bool)
    if getattr(model, "method", None) != "isotonic":
        return found
    matrix = pipeline[:-1].transform(holdout())
    for fold in model.calibrated_classifiers_:
        if not hasattr(fold.estimator, "decision_function"):
            continue
        scores = fold.estimator.decision_function(matrix).reshape(len(found), -1)
        for score, steps in zip(scores.T, fold.calibrators, strict=True):
            x, rises = steps.X_thresholds_, np.diff(steps.y_thresholds_) > 0.0
            for i in np.flatnonzero(rises & (np.diff(x) < NEAR)):
                found |= (score > x[i] - NEAR) & (score < x[i + 1] + NEAR)
    return found


def expected(pipeline: Pipeline, task: str, frame: pd.DataFrame) -> Any:
    found = pipeline.predict(frame) if task == "regression" else pipeline.predict_proba(frame)
    return np.asarray(found, dtype=np.float64)


def distance(found: Any, wanted: Any) -> float:
    """Return the largest difference, relative to what is larger than 1."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))
    difference[(found == wanted) | (np.isnan(found) & np.isnan(wanted))] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max(initial=0.0))


def test_every_class_of_the_tables_has_a_case() -> None:
    assert set(pipelines.ENCODERS) == set(ENCODERS)
    assert set(pipelines.ESTIMATORS) == set(ESTIMATORS)


@pytest.mark.parametrize("room", [plan.kinds, rows, blocks], ids=lambda room: room.__name__)
def test_every_kind_is_checked_and_scored_in_both_paths(room: Any) -> None:
    families = plan.kinds.ENCODERS | plan.kinds.ESTIMATORS
    found = {
        kind: module.name
        for module in pkgutil.iter_modules(room.__path__)
        if module.name not in ("links", "sums")
        for kind in importlib.import_module(f"{room.__name__}.{module.name}").KINDS
    }
    assert found == families


def test_every_link_is_known_in_both_paths() -> None:
    assert set(plan.kinds.LINKS) == set(row_links.LINKS) == set(block_links.LINKS)


def kinds_of_sklearn() -> list[Any]:
    return [pytest.param(kind, id=name) for name, kind in all_estimators()]


@pytest.mark.parametrize("kind", kinds_of_sklearn())
def test_every_class_of_scikit_learn_is_covered_or_refused_by_name(kind: Any) -> None:
    tables: list[tuple[Any, Any]] = []
    if hasattr(kind, "transform") or kind.__name__ in ENCODERS:
        tables.append((ENCODERS, compile_steps))
    if hasattr(kind, "predict") or kind.__name__ in ESTIMATORS:
        tables.append((ESTIMATORS, compile_estimator))
    for table, compile_it in tables:
        # A pipeline is taken apart in both.
        if kind.__name__ not in table and kind is not Pipeline:
            with pytest.raises(BadInput, match=kind.__name__) as refusal:
                compile_it(kind.__new__(kind), Arrays())
            assert refusal.value.code == "estimator-not-covered"


@pytest.mark.parametrize(("name", "case"), FEATURES)
def test_every_transformer_with_every_family_of_estimators(name: str, case: str) -> None:
    for number, estimator in enumerate(FIRST):
        task: Task = "regression"
        if estimator in CLASSIFIERS:
            task = "multiclass" if number % 2 else "binary"
        model = next(iter(pipelines.ESTIMATORS[estimator].values()))()
        holds(estimator, name, case, model, task)


@pytest.mark.parametrize(("number", "estimator"), list(enumerate(pipelines.ESTIMATORS)))
def test_every_estimator_after_every_transformer(number: int, estimator: str) -> None:
    task: Task = "multiclass" if estimator in CLASSIFIERS else "regression"
    for place, (name, cases) in enumerate(pipelines.ENCODERS.items()):
        if (place + number) % PAIRED:
            continue
        model = next(iter(pipelines.ESTIMATORS[estimator].values()))()
        holds(estimator, name, next(iter(cases)), model, task)


def holds(estimator: str, name: str, case: str, model: Any, task: Task) -> None:
    """Compare, or see that the one estimator is refused which divides by how much its inputs vary."""
    try:
        pipeline = joined(name, case, model, task)
    except ValueError as error:  # scikit-learn has no such pair: one column is too few for the estimator
        assert f"while a minimum of 2 is required by {estimator}" in str(error)
        return
    if estimator == "GaussianNB" and not varies(encoded(name, case)[1]):
        with pytest.raises(BadInput, match="an input that does not vary"):
            differs(estimator, pipeline, task)
    else:
        differs(estimator, pipeline, task)


def varies(matrix: Any) -> bool:
    dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix, dtype=np.float64)
    return bool(np.nanvar(dense, axis=0).any())


@pytest.mark.parametrize(("name", "case"), FEATURES)
def test_features_are_the_same(name: str, case: str) -> None:
    # To the last bit: a tree may split between two values that differ there, so exact trees stand on it.
    # Where logarithms and powers are taken, two libraries may differ in the last digit; what is subtracted
    # from them afterwards, to center them, leaves that digit as it is.
    rounded = name in ROUNDED or "sublinear" in case
    tolerance = 8 * np.finfo(float).eps if rounded else 0.0
    close = {"rtol": tolerance, "atol": tolerance if name == "PowerTransformer" else 0.0}
    features, _ = encoded(name, case)
    pipeline = joined(name, case, pipelines.DummyRegressor(), "regression")
    read = plan.read(compiler.compile(pipeline, schema=text_schema("regression"), model="m"))
    wanted = features.transform(holdout())
    wanted = wanted.toarray() if hasattr(wanted, "toarray") else wanted.astype(np.float64)
    columns = [holdout()[name].to_numpy() for name in features.feature_names_in_]
    found = []
    for row in zip(*(column.tolist() for column in columns), strict=True):
        for step in rows.steps(read.header["features"], read.arrays):
            row = step(row)
        found.append(row)
    np.testing.assert_allclose(np.asarray(found, dtype=np.float64), wanted, **close)
    block = list(columns)
    for block_step in blocks.steps(read.header["features"], read.arrays):
        block = block_step(block, len(holdout()))
    np.testing.assert_allclose(np.column_stack(block).astype(np.float64), wanted, **close)


@pytest.mark.parametrize(("estimator", "case"), MODELS)
def test_every_way_of_every_estimator(estimator: str, case: str) -> None:
    tasks: tuple[Task, ...] = ("binary", "multiclass") if estimator in CLASSIFIERS else ("regression",)
    for task in tasks:
        model = pipelines.ESTIMATORS[estimator][case]()
        differs(estimator, joined("ColumnTransformer", "mixed", model, task), task)


@pytest.mark.parametrize(("estimator", "case"), MODELS)
def test_a_plan_is_half_of_its_joblib_file(estimator: str, case: str) -> None:
    task: Task = "binary" if estimator in CLASSIFIERS else "regression"
    pipeline = joined("ColumnTransformer", "mixed", pipelines.ESTIMATORS[estimator][case](), task)
    assert share_of_joblib(pipeline, task) <= 0.5


@pytest.mark.parametrize(("name", "case"), FEATURES)
def test_a_plan_of_features_is_half_of_their_joblib_file(name: str, case: str) -> None:
    share = share_of_joblib(joined(name, case, pipelines.DummyRegressor(), "regression"), "regression")
    assert share <= LARGER.get(name, 0.5)


def _spelt(value: Any) -> str:
    return repr(value if value is None or isinstance(value, str) else float(value))


def share_of_joblib(pipeline: Pipeline, task: Task) -> float:
    buffer = io.BytesIO()
    joblib.dump(pipeline, buffer)
    return len(compiler.compile(pipeline, schema=text_schema(task), model="m")) / len(buffer.getvalue())


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_rows_of_json_are_converted_to_what_scikit_learn_is_given(task: Task) -> None:
    estimator = "HistGradientBoostingClassifier" if task == "binary" else "Ridge"
    model = next(iter(pipelines.ESTIMATORS[estimator].values()))()
    pipeline = joined("ColumnTransformer", "mixed", model, task)
    read = plan.read(compiler.compile(pipeline, schema=text_schema(task), model="m"))
    frame, documents = pipelines.as_json(with_full(pipelines.table(2000, 5)), read.signature.fields)
    scorer = rows.RowScorer(read)
    found = []
    for number, document in enumerate(documents):
        values, _ = read.signature.convert_row(document)
        typed = [frame[field["name"]].iloc[number] for field in read.signature.fields]
        # By their spelling: NaN equals itself there, and -0.0 is not 0.0.
        assert list(map(_spelt, values)) == list(map(_spelt, typed)), document
        prediction, shares = scorer.score(values)
        found.append(prediction if shares is None else shares)
    wanted = expected(pipeline, task, frame)
    assert distance(np.asarray(found, dtype=np.float64), wanted) <= 1e-12


@pytest.mark.parametrize("case", pipelines.ENCODERS["OrdinalEncoder"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_native_categories(case: str, task: Task) -> None:
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = kind(max_iter=8, min_samples_leaf=5, categorical_features=[1, 0], random_state=0)
    pipeline = joined("OrdinalEncoder", case, model, task)
    data = compiler.compile(pipeline, schema=text_schema(task), model="m")
    assert plan.read(data).header["estimator"]["masks"] is not None
    assert compiler.parity(pipeline, data, holdout()).max_difference <= 1e-15


def numbers() -> st.SearchStrategy[float]:
    # Sums of numbers that cancel lose their last digits in any order, so these stay within 1e12.
    return st.floats(-1e12, 1e12) | st.sampled_from([np.nan, 0.0, -0.0, 5e-324, 1e-300])


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    size = draw(st.integers(1, 12))
    texts = st.none() | st.sampled_from(["red", "green", "s1", "s2", "rare"]) | st.text(max_size=12)
    columns: dict[str, Any] = {
        name: np.asarray(draw(st.lists(numbers(), min_size=size, max_size=size)))
        for name in ("small", "large", "sparse", "flag", "when", "void")
    }
    for name in ("colour", "shop", "note"):
        columns[name] = pd.Series(draw(st.lists(texts, min_size=size, max_size=size)), dtype=object)
    return with_full(pd.DataFrame(columns)[list(training().columns[:-1])])


@functools.cache
def generated(estimator: str, case: str, task: Task) -> tuple[Pipeline, bytes]:
    pipeline = joined("ColumnTransformer", "mixed", pipelines.ESTIMATORS[estimator][case](), task)
    return pipeline, compiler.compile(pipeline, schema=text_schema(task), model="m")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=tables(), data=st.data())
def test_any_table_scores_alike(frame: pd.DataFrame, data: st.DataObject) -> None:
    estimator = data.draw(st.sampled_from(FIRST))
    task: Task = "regression"
    if estimator in CLASSIFIERS:
        task = data.draw(st.sampled_from(["binary", "multiclass"]))
    pipeline, compiled = generated(estimator, next(iter(pipelines.ESTIMATORS[estimator])), task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = compiler.parity(pipeline, compiled, frame)
    assert outcome.passed, outcome


SOME = [(name, case) for name, cases in pipelines.ENCODERS.items() for case in cases]
"""Transformers to draw from, in every way that has a case."""


@st.composite
def drawn_pipelines(draw: st.DrawFn) -> tuple[Pipeline, Task]:
    """Draw one to three transformers side by side, and one to three estimators that vote or are stacked."""
    task: Task = draw(st.sampled_from(["binary", "multiclass", "regression"]))
    classify = task != "regression"
    kinds = [name for name in pipelines.ESTIMATORS if (name in CLASSIFIERS) == classify]
    # Its terms grow to 1e9 where an input hardly varies, and scikit-learn adds them in the order in which the
    # matrix happens to lie in memory: it then differs from itself by more than a plan may.
    kinds = [name for name in kinds if name != "GaussianNB"]
    members = [
        (f"m{number}", pipelines.ESTIMATORS[kind][draw(st.sampled_from(list(pipelines.ESTIMATORS[kind])))]())
        for number, kind in enumerate(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)))
    ]
    if len(members) == 1:
        model = members[0][1]
    elif draw(st.booleans()):
        model = VotingClassifier(members, voting="soft") if classify else VotingRegressor(members)
    else:
        final = pipelines.LogisticRegression() if classify else pipelines.Ridge()
        stacking = StackingClassifier if classify else StackingRegressor
        model = stacking(members, final, cv=2, passthrough=draw(st.booleans()))
    chosen = draw(st.lists(st.sampled_from(SOME), min_size=1, max_size=3, unique=True))
    parts = [(f"p{number}", encoded(name, case)[0]) for number, (name, case) in enumerate(chosen)]
    features = pipelines.make_union(*(clone(part) for _, part in parts))
    return Pipeline([("features", features), ("fill", _filled()), ("estimator", model)]), task


def _filled() -> Any:
    return pipelines.SimpleImputer(keep_empty_features=True)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=drawn_pipelines())
def test_any_pipeline_scores_alike(drawn: tuple[Pipeline, Task]) -> None:
    pipeline, task = drawn
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            pipeline.fit(training(), pipelines.target(training(), task))
            expected(pipeline, task, holdout())
        except (ValueError, ZeroDivisionError, AttributeError, IndexError) as error:
            note(f"scikit-learn itself refuses: {error}")
            reject()
        try:
            data = compiler.compile(pipeline, schema=text_schema(task), model="m")
        except BadInput as error:
            assert error.code == "estimator-not-covered"
            note(str(error))
            reject()
        outcome = compiler.parity(pipeline, data, holdout())
    assert outcome.passed, outcome


@pytest.mark.parametrize("estimator", ["LogisticRegression", "ExtraTreesClassifier"])
def test_a_sparse_matrix_of_features(estimator: str) -> None:
    encoder = pipelines.OneHotEncoder(handle_unknown="ignore")
    features = pipelines.ColumnTransformer([("c", encoder, pipelines.CATEGORIES)], sparse_threshold=1.0)
    matrix = features.fit_transform(training())
    model = {"LogisticRegression": pipelines.LogisticRegression, "ExtraTreesClassifier": ExtraTreesClassifier}
    fitted = model[estimator]().fit(matrix, pipelines.target(training(), "binary"))
    assert hasattr(matrix, "indptr")
    differs(estimator, Pipeline([("features", features), ("estimator", fitted)]), "binary")


@pytest.mark.parametrize("loss", ["poisson", "gamma", "quantile"])
def test_links_of_boosted_regression(loss: str) -> None:
    frame, y = training(), np.exp(pipelines.target(training(), "regression") / 10.0)
    model = HistGradientBoostingRegressor(loss=loss, quantile=0.3 if loss == "quantile" else None, max_iter=5)
    features = pipelines.ENCODERS["StandardScaler"]["missing"]
    pipeline = Pipeline([("features", features), ("estimator", model)]).fit(frame, y)
    data, outcome = compiler.certified(pipeline, schema=text_schema("regression"), model="m", frame=holdout())
    assert outcome.max_difference <= 1e-15
    assert plan.read(data).header["certificate"]["passed"] is True


def test_many_native_categories_and_an_unknown_code() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 250, 4000).astype(float)
    codes[rng.random(4000) < 0.1] = np.nan
    frame = pd.DataFrame({"small": codes, "large": rng.normal(size=4000)})
    y = np.nan_to_num(codes) % 7 + frame["large"].to_numpy()
    features = pipelines.ColumnTransformer([("all", "passthrough", ["large", "small"])])
    model = HistGradientBoostingRegressor(max_iter=20, categorical_features=[1], random_state=0)
    pipeline = Pipeline([("features", features), ("estimator", model)]).fit(frame, y)
    data = compiler.compile(pipeline, schema=pipelines.schema("regression"), model="m")
    test = pd.DataFrame({"small": [*range(-2, 300), np.nan, 1e9, 0.5], "large": 0.1}, dtype=float)
    outcome = compiler.parity(pipeline, data, test)
    assert plan.read(data).header["estimator"]["masks"] is not None
    assert outcome.max_difference == 0.0


def test_a_pipeline_may_be_bare_and_labels_may_be_texts() -> None:
    frame = training()[["small", "flag"]].fillna(0.0)
    labels = np.array(["no", "yes"])[pipelines.target(training(), "binary")]
    model = pipelines.RandomForestClassifier(n_estimators=3, random_state=0).fit(frame, labels)
    data = compiler.compile(model, schema=pipelines.schema("binary"), model="m")
    assert plan.read(data).classes == ("no", "yes")
    assert compiler.parity(model, data, frame).max_difference == 0.0


def test_a_frame_that_holds_missing_texts_as_nan_is_compared_too() -> None:
    features = pipelines.ColumnTransformer([("t", pipelines.TimeParts(), ["when"])])
    pipeline = Pipeline([("features", features), ("estimator", pipelines.DummyRegressor())])
    frame = training().drop(columns="void")
    pipeline.fit(frame, pipelines.target(frame, "regression"))
    data = compiler.compile(pipeline, schema=text_schema("regression"), model="m")
    as_nan = frame.assign(colour=frame["colour"].where(frame["colour"].notna(), np.nan))
    assert compiler.parity(pipeline, data, as_nan).max_difference == 0.0
