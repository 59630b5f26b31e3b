"""What the compiler writes, what it refuses by name, and the certificate."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
)

from millrace import compiler, plan
from millrace.compiler import certificate
from millrace.compiler.trees import _preorder, _round_down
from millrace.errors import BadInput
from tests import pipelines

FRAME = pipelines.table(200, 0)
HOLDOUT = pipelines.table(50, 2)


def fitted(
    transformer: Any, columns: Any = ("small",), estimator: Any = None, task: Any = "regression"
) -> Any:
    columns = columns if isinstance(columns, str) else list(columns)
    model = DummyRegressor() if estimator is None else estimator
    features = ColumnTransformer([("part", transformer, columns)])
    pipeline = Pipeline([("features", features), ("estimator", model)])
    return pipeline.fit(FRAME, pipelines.target(FRAME, task))


def compile_it(pipeline: Any, task: Any = "regression", **settings: Any) -> bytes:
    return compiler.compile(pipeline, schema=pipelines.schema(task, FRAME), model="m", **settings)


class Doubler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, X: Any, y: Any = None) -> Doubler:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X * 2


class StandardScaler(Doubler):
    """Bears a name that the compiler knows, and is something else."""


def words(**settings: Any) -> Any:
    return TfidfVectorizer(**{"preprocessor": pipelines.lower_text} | settings)


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "neighbours": (KNNImputer(), ["small"], "KNNImputer"),
    "own": (Doubler(), ["small"], "Doubler"),
    "impostor": (StandardScaler(), ["small"], r"test_compiler\.StandardScaler"),
    "nested": (make_pipeline(RobustScaler(), KNNImputer()), ["large"], "KNNImputer"),
    "function": (FunctionTransformer(np.sinc), ["small"], r"FunctionTransformer\(func="),
    "function-arguments": (
        FunctionTransformer(np.abs, kw_args={"where": True}),
        ["small"],
        r"FunctionTransformer\(kw_args=",
    ),
    "new-missing": (MissingIndicator(), ["small"], r"MissingIndicator\(error_on_new=True\)"),
    "marker": (MissingIndicator(missing_values=0.0), ["small"], r"MissingIndicator\(missing_values=0\.0\)"),
    "no-points": (QuantileTransformer(), ["void"], "QuantileTransformer of a column without values"),
    "one-point": (QuantileTransformer(n_quantiles=1), ["small"], r"QuantileTransformer\(n_quantiles=1\)"),
    "sparse-quantiles": (
        make_pipeline(
            make_union(OneHotEncoder(handle_unknown="ignore"), OneHotEncoder(handle_unknown="ignore")),
            MaxAbsScaler(),
            QuantileTransformer(n_quantiles=9),
        ),
        ["colour"],
        "QuantileTransformer of a sparse matrix",
    ),
    "union-weights": (
        FeatureUnion([("a", RobustScaler())], transformer_weights={"a": 2.0}),
        ["small"],
        r"FeatureUnion\(transformer_weights=",
    ),
    "imputer": (SimpleImputer(missing_values=0.0), ["small"], r"SimpleImputer\(missing_values=0\.0\)"),
    "unknown-error": (OneHotEncoder(), ["colour"], r"OneHotEncoder\(handle_unknown='error'\)"),
    "ordinal-error": (OrdinalEncoder(), ["colour"], r"OrdinalEncoder\(handle_unknown='error'\)"),
    "n-grams": (words(ngram_range=(1, 33)), "note", r"TfidfVectorizer\(ngram_range=\(1, 33\)\)"),
    "no-grams": (words(ngram_range=(0, 2)), "note", r"TfidfVectorizer\(ngram_range=\(0, 2\)\)"),
    "analyzer": (words(analyzer=lambda text: (text or "").split()), "note", r"TfidfVectorizer\(analyzer="),
    "accents": (words(strip_accents=str.lower), "note", r"TfidfVectorizer\(strip_accents="),
    "wide": (HashingVectorizer(preprocessor=pipelines.lower_text), "note", r"HashingVectorizer\(n_features="),
    "half": (words(dtype=np.float32), "note", r"TfidfVectorizer\(dtype="),
    "pattern": (words(token_pattern=r"\w+"), "note", r"TfidfVectorizer\(token_pattern="),
    "tokenizer": (words(tokenizer=str.split, token_pattern=None), "note", r"TfidfVectorizer\(tokenizer="),
    "preprocessor": (words(preprocessor=lambda text: text or ""), "note", r"TfidfVectorizer\(preprocessor="),
}


@pytest.mark.parametrize("case", REFUSED)
def test_transformers_that_are_not_covered_are_refused_by_name(case: str) -> None:
    transformer, columns, name = REFUSED[case]
    with pytest.raises(BadInput, match=name) as refusal:
        compile_it(fitted(transformer, columns))
    assert refusal.value.code == "estimator-not-covered"
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (KernelRidge(), "KernelRidge"),
        (DummyClassifier(strategy="stratified"), r"DummyClassifier\(strategy='stratified'\)"),
        (DummyClassifier(strategy="uniform"), r"DummyClassifier\(strategy='uniform'\)"),
    ],
    ids=["kernel-ridge", "stratified", "uniform"],
)
def test_estimators_that_are_not_covered_are_refused_by_name(estimator: Any, name: str) -> None:
    task = "binary" if hasattr(estimator, "strategy") else "regression"
    with pytest.raises(BadInput, match=name) as refusal:
        compile_it(fitted("passthrough", estimator=estimator, task=task), task)
    assert refusal.value.code == "estimator-not-covered"


def test_weights_of_parts_are_refused() -> None:
    pipeline = fitted("passthrough")
    pipeline.named_steps["features"].transformer_weights = {"part": 2.0}
    with pytest.raises(BadInput, match="transformer_weights"):
        compile_it(pipeline)


@pytest.mark.parametrize("kind", [Ridge, RandomForestRegressor])
def test_several_targets_are_refused(kind: Any) -> None:
    model = kind().fit(FRAME[["small"]], np.column_stack([FRAME["small"]] * 2))
    with pytest.raises(BadInput, match="several targets"):
        compile_it(model)


def test_a_pipeline_without_column_names_is_refused() -> None:
    model = Ridge().fit(FRAME[["small"]].to_numpy(), FRAME["small"])
    with pytest.raises(BadInput, match="without column names"):
        compile_it(model)


def test_the_header_says_what_the_plan_is() -> None:
    features = ColumnTransformer(
        [("t", pipelines.TimeParts(), ["when"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["colour"])]
    )
    frame = FRAME[["colour", "when"]]
    pipeline = Pipeline([("features", features), ("estimator", DummyClassifier())])
    pipeline.fit(frame, pipelines.target(FRAME, "multiclass"))
    read = plan.read(compile_it(pipeline, "multiclass", extra_header={"run": "r-1"}))
    assert (read.model, read.task, read.classes) == ("m", "multiclass", ("a", "b", "c", "d"))
    assert [field["name"] for field in read.signature.fields] == ["colour", "when"]
    assert read.signature.fields[0]["categories"] == sorted(FRAME["colour"].dropna().unique())
    assert "y" in read.header["ignored"] and "small" in read.header["ignored"]
    assert read.header["about"] == {"run": "r-1"}
    assert read.header["certificate"] is None
    assert set(read.header["libraries"]) == {
        *("python", "millrace", "scikit-learn", "numpy", "scipy", "pandas")
    }


def test_labels_are_those_that_the_estimator_knows() -> None:
    y = pipelines.target(FRAME, "multiclass")
    y[y == 2] = 3
    pipeline = fitted("passthrough")
    pipeline.steps[-1] = ("estimator", DummyClassifier().fit(FRAME[["small"]], y))
    assert plan.read(compile_it(pipeline, "multiclass")).classes == ("a", "b", "d")
    assert plan.read(compile_it(pipeline, "multiclass", classes=["w", "x", "y", "z"])).classes == (
        "w",
        "x",
        "z",
    )


class _Unsteady:
    """A pipeline that answers some rows otherwise when it has several, where the order of a sum decides."""

    def __init__(self, pipeline: Pipeline, rows: list[int]) -> None:
        self.pipeline = pipeline
        self.rows = rows

    def predict(self, frame: pd.DataFrame) -> Any:
        found = self.pipeline.predict(frame)
        if len(frame) > 1:
            found[self.rows] += 0.25
        return found


def test_a_row_counts_as_its_pipeline_answers_it_alone() -> None:
    pipeline = fitted("passthrough", estimator=RandomForestRegressor(n_estimators=3, random_state=0))
    data = compile_it(pipeline, "regression")
    outcome = compiler.parity(_Unsteady(pipeline, [3, 7]), data, HOLDOUT)
    assert (outcome.passed, outcome.max_difference, outcome.alone) == (True, 0.0, 2)
    # So many that it is no accident of rounding.
    many = HOLDOUT.loc[HOLDOUT.index.repeat(3)]
    outcome = compiler.parity(_Unsteady(pipeline, list(range(101))), data, many)
    assert (outcome.passed, outcome.alone) == (False, 0)


def test_of_two_answers_to_a_row_each_path_may_have_another(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = fitted("passthrough", estimator=RandomForestRegressor(n_estimators=3, random_state=0))
    data, unsteady = compile_it(pipeline, "regression"), _Unsteady(pipeline, [3, 7])
    steady, block = pipeline.predict(HOLDOUT), unsteady.predict(HOLDOUT)
    wrong = np.where(steady == block, steady, steady + 0.125)
    for kernel, passed in ((block, True), (wrong, False)):
        found = {"rows": steady, "blocks": block, "kernel": kernel}
        monkeypatch.setattr(certificate, "answers", lambda *_, found=found: found)
        outcome = compiler.parity(unsteady, data, HOLDOUT)
        assert (outcome.passed, outcome.alone) == (passed, 2)
        assert outcome.paths["rows"] == outcome.paths["blocks"] == 0.0


def test_the_certificate_stands_in_the_plan() -> None:
    pipeline = fitted("passthrough", estimator=RandomForestRegressor(n_estimators=3, random_state=0))
    schema = pipelines.schema("regression", FRAME)
    data, parity = compiler.certified(pipeline, schema=schema, model="m", frame=HOLDOUT)
    assert parity.paths.keys() >= {"rows", "blocks"}
    assert set(parity.paths.values()) == {0.0}
    assert (parity.rows, parity.max_difference, parity.limit, parity.passed) == (50, 0.0, 1e-9, True)
    certificate = plan.read(data).header["certificate"]
    assert certificate == dataclasses.asdict(parity)
    assert compiler.certified(pipeline, schema=schema, model="m", frame=HOLDOUT)[0] == data


def _no_kernel(compiled: Any) -> Any:
    raise certificate.Unavailable("none was built")


@pytest.mark.parametrize(
    ("trees", "kernel", "by_row", "by_block"),
    [(1, True, 900, 900), (40, True, 180, 300), (40, False, 180, 900)],
)
def test_of_a_large_plan_the_slower_paths_take_fewer_rows(
    monkeypatch: pytest.MonkeyPatch, trees: int, kernel: bool, by_row: int, by_block: int
) -> None:
    rows, blocks = [], []
    score_row, score_block = certificate.RowScorer.score, certificate.BlockScorer.score
    monkeypatch.setattr(
        certificate.RowScorer, "score", lambda self, row: rows.append(0) or score_row(self, row)
    )
    monkeypatch.setattr(
        certificate.BlockScorer,
        "score",
        lambda self, columns: blocks.append(len(next(iter(columns.values())))) or score_block(self, columns),
    )
    monkeypatch.setattr(certificate, "CELLS_BY_ROW", 1_000_000)
    monkeypatch.setattr(certificate, "CELLS_BY_BLOCK", 1_000_000)
    monkeypatch.setattr(certificate, "FEWEST_BY_BLOCK", 300)
    if not kernel:
        monkeypatch.setattr(certificate, "KernelScorer", _no_kernel)
    pipeline = fitted("passthrough", estimator=RandomForestRegressor(n_estimators=trees, random_state=0))
    many = HOLDOUT.loc[HOLDOUT.index.repeat(18)]
    _, parity = compiler.certified(
        pipeline, schema=pipelines.schema("regression", FRAME), model="m", frame=many
    )
    assert (parity.rows, len(rows), blocks) == (900, by_row, [by_block])
    assert parity.passed
    assert ("kernel" in parity.paths) == kernel


def test_of_very_many_rows_a_certificate_takes_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "MOST_ROWS", 20)
    pipeline = fitted("passthrough", estimator=Ridge())
    _, parity = compiler.certified(
        pipeline, schema=pipelines.schema("regression", FRAME), model="m", frame=HOLDOUT
    )
    assert (len(HOLDOUT), parity.rows) == (50, 17)


class Crooked(LogisticRegression):  # type: ignore[misc]
    """Answers something else than its coefficients say."""

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X) + self.error


@pytest.mark.parametrize("error", [2e-9, -2e-9, np.nan])
def test_a_difference_over_the_limit_is_no_certificate(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiler.estimators.ESTIMATORS, "Crooked", compiler.linear._logistic)
    monkeypatch.setattr(compiler.estimators, "name_of", lambda fitted: type(fitted).__name__)
    model = Crooked()
    model.error = error
    pipeline = fitted("passthrough", estimator=model, task="binary")
    with pytest.raises(BadInput, match="differs") as refusal:
        compiler.certified(pipeline, schema=pipelines.schema("binary", FRAME), model="m", frame=HOLDOUT)
    assert refusal.value.code == "parity-failed"
    assert "50" in refusal.value.where


def test_a_forest_is_a_fraction_of_its_joblib_file() -> None:
    model = ExtraTreesClassifier(n_estimators=20, random_state=0)
    pipeline = fitted("passthrough", columns=("small",), estimator=model, task="multiclass")
    buffer = io.BytesIO()
    joblib.dump(pipeline, buffer)
    data = compile_it(pipeline, "multiclass")
    assert len(data) < len(buffer.getvalue()) / 5
    read = plan.read(data)
    tables = [read.arrays[read.header["estimator"][name]] for name in ("feature", "skip", "number")]
    assert [table.format for table in tables][::2] == ["B", "f"]


def test_nodes_in_any_order_come_out_in_preorder() -> None:
    leaf = np.array([False, True, False, True, True])
    order = _preorder(np.array([2, -1, 4, -1, -1]), np.array([1, -1, 3, -1, -1]), leaf)
    assert order.tolist() == [0, 2, 4, 3, 1]


def test_thresholds_round_down_so_that_single_precision_decides_alike() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=5000), rng.normal(size=5000) * 1e30]).astype(np.float32)
    thresholds = np.concatenate([values[:-1] / 2.0 + values[1:] / 2.0, values.astype(np.float64)])
    thresholds = np.concatenate([thresholds, np.nextafter(values.astype(np.float64), -np.inf)])
    rounded = _round_down(thresholds)
    assert (rounded.astype(np.float64) <= thresholds).all()
    for near in (
        rounded,
        np.nextafter(rounded, np.float32(np.inf)),
        np.nextafter(rounded, np.float32(-np.inf)),
    ):
        assert ((near <= rounded) == (near.astype(np.float64) <= thresholds)).all()
