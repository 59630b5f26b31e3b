"""Tables and fitted pipelines for the tests of the compiler: every covered class, in every covered way.

``ENCODERS``, and ``ESTIMATORS`` from the module beside, are keyed by class name, like the compiler's own
tables; a test holds the two side by side, so that a class without a case here fails.
"""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from millrace.contracts import Column, Schema, Task
from millrace.features.transformers import TIME_PARTS, TimeDifferences, TimeParts, lower_text
from tests.estimators import (  # noqa: F401
    ESTIMATORS,
    DummyRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    LogisticRegression,
    RandomForestClassifier,
    RandomForestRegressor,
    Ridge,
)

NUMBERS = ["small", "large", "sparse"]
CATEGORIES = ["colour", "shop"]
CLASSES: dict[Task, tuple[str, ...]] = {
    "binary": ("no", "yes"),
    "multiclass": ("a", "b", "c", "d"),
    "regression": (),
}
_COLOURS = np.array(["red", "green", "blue", "größe", "x y", "rare", None], dtype=object)
_WORDS = np.array(["Red", "green", "the", "a", "XX", "größe", "one,two", "3rd", "🌊", "snake_case"])


def table(rows: int, seed: int) -> pd.DataFrame:
    """A table with missing values in every column but one, heavy tails and rare categories."""
    rng = np.random.default_rng(seed)

    def holes(values: Any) -> Any:
        return np.where(rng.random(rows) < 0.15, np.nan, values)

    def texts(values: list[Any]) -> pd.Series[Any]:
        return pd.Series(values, dtype=object)

    words = [" ".join(rng.choice(_WORDS, rng.integers(0, 7))) for _ in range(rows)]
    frame = {
        "small": rng.normal(size=rows),
        "large": holes(rng.standard_cauchy(rows) * 1e4),
        "sparse": np.where(rng.random(rows) < 0.8, np.nan, rng.integers(0, 3, rows)),
        "flag": holes((rng.random(rows) < 0.4).astype(float)),
        "when": holes(rng.uniform(-1e9, 2e9, rows)),
        "colour": texts(list(_COLOURS[np.minimum(rng.geometric(0.4, rows) - 1, len(_COLOURS) - 1)])),
        "shop": texts([None if rng.random() < 0.1 else _shop(int(v)) for v in rng.exponential(6, rows)]),
        "note": texts([None if rng.random() < 0.1 else word for word in words]),
        "void": np.full(rows, np.nan),
    }
    return pd.DataFrame(frame)


def _shop(number: int) -> str:
    """A category; some look like numbers."""
    return f"{number}" if number and number % 3 == 0 else f"s{number}"


def held_out(rows: int = 120, seed: int = 1) -> pd.DataFrame:
    """Rows that no pipeline was fitted to, with what training never saw: unseen values and extremes."""
    frame = table(rows, seed)
    frame.loc[:4, "colour"] = "violet"
    frame.loc[3:8, "shop"] = ""
    frame.loc[9, "note"] = "nothing known here " * 50
    frame.loc[10:13, "small"] = [1e30, -1e30, 0.0, -0.0]
    frame.loc[14:15, "large"] = [5e-324, -1e300 / 1e270]
    frame.loc[16:18, "when"] = [-62_135_596_800.0, 253_402_300_799.5, 1e12]
    frame.loc[19, ["sparse", "flag", "void"]] = [7.0, 1.0, 3.0]
    frame.loc[20, :] = np.nan
    frame.loc[20, ["colour", "shop", "note"]] = None
    return frame


def as_json(frame: pd.DataFrame, fields: Any) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Spell a table's rows as JSON might: wrong types that convert, and every way to leave a value out.

    Returns the table as it has to be after conversion, and the rows.
    """
    rng = random.Random(0)
    frame = frame.copy()
    rows: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    for field in fields:
        spell, known = _SPELLINGS[field["type"]], frozenset(field.get("categories", ()))
        values = []
        for row, value in zip(rows, frame[field["name"]].tolist(), strict=True):
            if field["type"] == "time" and value == value:
                value = float(round(value))
            if value is None or value != value or value == "":
                spelling = rng.choice([None, "", "  "])
                if spelling is not None or rng.random() < 0.5:
                    row[field["name"]] = spelling
                value = None if field["type"] in ("category", "text") else math.nan
            else:
                row[field["name"]] = rng.choice(spell(value))
                if row[field["name"]] != value and field["type"] == "category" and value not in known:
                    row[field["name"]] = value  # a number is taken for a category that training saw
            values.append(value)
        kind = object if field["type"] in ("category", "text") else np.float64
        frame[field["name"]] = pd.Series(values, dtype=kind, index=frame.index)
    return frame, rows


def _as_number(value: float) -> list[Any]:
    whole = [int(value)] if value.is_integer() and value else []
    return [value, repr(value), f" {value!r} ", *whole]


def _as_category(text: str) -> list[Any]:
    number = [int(text)] if text.isdecimal() else []
    return [text, *number]


def _as_time(seconds: float) -> list[Any]:
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
    eastern = moment.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    return [moment.isoformat(), moment.isoformat().replace("+00:00", "Z"), eastern.isoformat(" ")]


_SPELLINGS: dict[str, Callable[[Any], list[Any]]] = {
    "number": _as_number,
    "boolean": lambda value: [bool(value), int(value), value, ("no", "YES")[int(value)], str(bool(value))],
    "category": _as_category,
    "text": lambda text: [text],
    "time": _as_time,
}


def target(frame: pd.DataFrame, task: Task) -> Any:
    rng = np.random.default_rng(7)
    signal = frame["small"] + (frame["colour"] == "red") + 0.5 * frame["flag"].fillna(0.5)
    signal = np.asarray(signal) + rng.normal(size=len(frame)) * 0.3
    if task == "regression":
        return np.maximum(signal * 10.0 + 40.0, 0.5)
    cuts = [0.5] if task == "binary" else [-0.5, 0.5, 1.2]
    return np.digitize(signal, cuts).astype(np.int32)


def schema(task: Task, frame: pd.DataFrame | None = None) -> Schema:
    frame = table(300, 0) if frame is None else frame
    types = {"flag": "boolean", "when": "time", "colour": "category", "shop": "category", "note": "text"}
    columns = []
    for index, name in enumerate(frame.columns):
        kind: Any = types.get(name, "number")
        seen = tuple(sorted(frame[name].dropna().unique())) if kind == "category" else ()
        columns.append(Column(name, index, kind, "feature", categories=seen))
    columns.append(Column("y", len(columns), "category", "target"))
    return Schema(tuple(columns), "y", task, "", CLASSES[task])


def _on(columns: Any, transformer: Any) -> ColumnTransformer:
    return ColumnTransformer([("part", transformer, columns)], sparse_threshold=0.0)


def _numbers(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if name in NUMBERS]


def _text(**settings: Any) -> ColumnTransformer:
    return _on("note", TfidfVectorizer(preprocessor=lower_text, **settings))


def _counts(kind: Any = CountVectorizer, **settings: Any) -> ColumnTransformer:
    return _on("note", kind(preprocessor=lower_text, **settings))


def _one_hot(columns: Any = CATEGORIES, **settings: Any) -> ColumnTransformer:
    return _on(columns, OneHotEncoder(**{"handle_unknown": "infrequent_if_exist"} | settings))


def _ordinal(columns: Any = CATEGORIES, **settings: Any) -> ColumnTransformer:
    return _on(
        columns, OrdinalEncoder(handle_unknown="use_encoded_value", **{"unknown_value": -1} | settings)
    )


def _filled() -> SimpleImputer:
    return SimpleImputer(missing_values=None, strategy="constant", fill_value="none")


def _dense(transformer: Any, columns: Any = NUMBERS) -> ColumnTransformer:
    """Put an imputer before a transformer that takes no missing values."""
    return _on(columns, make_pipeline(SimpleImputer(), transformer))


def _positive(transformer: Any) -> ColumnTransformer:
    """Give a transformer numbers above 0."""
    return _dense(make_pipeline(MinMaxScaler((0.5, 40.0), clip=True), transformer))


_EVERY_NUMBER = [*NUMBERS, "flag", "when", "void"]

ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "SimpleImputer": {
        "mean": _on(_EVERY_NUMBER, SimpleImputer()),
        "median": _on(_EVERY_NUMBER, SimpleImputer(strategy="median", add_indicator=True)),
        "most-frequent": _on(_EVERY_NUMBER, SimpleImputer(strategy="most_frequent")),
        "constant": _on(_EVERY_NUMBER, SimpleImputer(strategy="constant", fill_value=-7.5)),
        "keep-empty": _on(_EVERY_NUMBER, SimpleImputer(add_indicator=True, keep_empty_features=True)),
        "constant-keep": _on(_EVERY_NUMBER, SimpleImputer(strategy="constant", keep_empty_features=True)),
        "texts": _on(CATEGORIES, make_pipeline(_filled(), OneHotEncoder(handle_unknown="ignore"))),
        "frequent-text": _on(
            CATEGORIES,
            make_pipeline(
                SimpleImputer(missing_values=None, strategy="most_frequent"),
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            ),
        ),
    },
    "StandardScaler": {
        "both": _on(NUMBERS, make_pipeline(SimpleImputer(), StandardScaler())),
        "missing": _on(NUMBERS, StandardScaler()),
        "scale-only": _on(NUMBERS, StandardScaler(with_mean=False)),
        "mean-only": _on(NUMBERS, StandardScaler(with_std=False)),
        "neither": _on(NUMBERS, StandardScaler(with_mean=False, with_std=False)),
    },
    "MissingIndicator": {
        "seen": _on(_EVERY_NUMBER, MissingIndicator(error_on_new=False)),
        "all": _on(_EVERY_NUMBER, MissingIndicator(features="all")),
        "texts": _on(CATEGORIES, MissingIndicator(missing_values=None, features="all")),
    },
    "RobustScaler": {
        "both": _on(NUMBERS, RobustScaler()),
        "center-only": _on(NUMBERS, RobustScaler(with_scaling=False)),
        "scale-only": _on(NUMBERS, RobustScaler(with_centering=False, quantile_range=(10.0, 90.0))),
        "unit-variance": _on(NUMBERS, RobustScaler(unit_variance=True)),
    },
    "MaxAbsScaler": {
        "plain": _on(NUMBERS, MaxAbsScaler()),
        "clip": _on(NUMBERS, MaxAbsScaler(clip=True)),
    },
    "MinMaxScaler": {
        "plain": _on(NUMBERS, MinMaxScaler()),
        "range": _on(NUMBERS, MinMaxScaler(feature_range=(-3, 0.5))),
        "clip": _on(NUMBERS, MinMaxScaler(feature_range=(-1, 1), clip=True)),
    },
    "PowerTransformer": {
        "plain": _on(NUMBERS, PowerTransformer()),
        "raw": _on(["small", "flag"], PowerTransformer(standardize=False)),
        "box-cox": _positive(PowerTransformer(method="box-cox")),
    },
    "QuantileTransformer": {
        "uniform": _on(NUMBERS, QuantileTransformer(n_quantiles=50)),
        "normal": _on(NUMBERS, QuantileTransformer(n_quantiles=300, output_distribution="normal")),
        "repeated": _on(["sparse", "flag"], QuantileTransformer(n_quantiles=40)),
        "dense": _on(CATEGORIES, make_pipeline(_one_hot(CATEGORIES), QuantileTransformer(n_quantiles=9))),
        "repeated-normal": _on(["flag"], QuantileTransformer(n_quantiles=9, output_distribution="normal")),
    },
    "FunctionTransformer": {
        "identity": _on(NUMBERS, FunctionTransformer()),
        "log1p": _on(["flag", "sparse"], FunctionTransformer(np.log1p)),
        "sqrt": _dense(make_pipeline(FunctionTransformer(np.abs), FunctionTransformer(np.sqrt))),
        "rint": _on(NUMBERS, FunctionTransformer(np.rint, validate=False)),
        "cbrt": _on(NUMBERS, FunctionTransformer(np.cbrt)),
        "expm1": _on(["flag", "sparse"], FunctionTransformer(np.expm1)),
    },
    "Normalizer": {
        "l2": _dense(Normalizer()),
        "l1": _dense(Normalizer("l1")),
        "max": _dense(Normalizer("max")),
        "zeros": _dense(Normalizer(), ["flag", "sparse"]),
    },
    "Binarizer": {
        "zero": _dense(Binarizer()),
        "half": _dense(Binarizer(threshold=0.5), [*NUMBERS, "flag"]),
    },
    "KBinsDiscretizer": {
        "quantile": _dense(KBinsDiscretizer(encode="ordinal", quantile_method="averaged_inverted_cdf")),
        "uniform": _dense(KBinsDiscretizer(7, encode="onehot-dense", strategy="uniform")),
        "kmeans": _dense(KBinsDiscretizer([3, 4, 2], strategy="kmeans", random_state=0)),
        "one-hot": _dense(KBinsDiscretizer(n_bins=4, quantile_method="linear")),
    },
    "PolynomialFeatures": {
        "squares": _positive(PolynomialFeatures()),
        "cubes": _dense(PolynomialFeatures(3, include_bias=False), ["flag", "sparse", "when"]),
        "pairs": _positive(PolynomialFeatures(3, interaction_only=True)),
        "highest": _dense(PolynomialFeatures((2, 4)), ["flag", "sparse"]),
        "bias-only": _dense(PolynomialFeatures(0)),
    },
    "FeatureUnion": {
        "two": _on(NUMBERS, make_union(SimpleImputer(), MissingIndicator(features="all"))),
        "texts": _on(
            "full",
            make_union(TfidfVectorizer(max_features=5), CountVectorizer(analyzer="char", max_features=9)),
        ),
        "through": _on(
            NUMBERS,
            FeatureUnion([("a", "drop"), ("b", "passthrough"), ("c", make_pipeline(StandardScaler()))]),
        ),
    },
    "GenericUnivariateSelect": {
        "best": _dense(GenericUnivariateSelect(mode="k_best", param=2), _EVERY_NUMBER),
    },
    "RFE": {"two": _dense(RFE(Ridge(), n_features_to_select=2), _EVERY_NUMBER)},
    "RFECV": {"plain": _dense(RFECV(Ridge(), cv=3), ["small", "flag"])},
    "SelectFdr": {"plain": _dense(SelectFdr(), _EVERY_NUMBER)},
    "SelectFpr": {"plain": _dense(SelectFpr(), _EVERY_NUMBER)},
    "SelectFromModel": {
        "forest": _dense(SelectFromModel(RandomForestRegressor(3, random_state=0)), _EVERY_NUMBER)
    },
    "SelectFwe": {"plain": _dense(SelectFwe(), _EVERY_NUMBER)},
    "SelectKBest": {"two": _dense(SelectKBest(k=2), _EVERY_NUMBER)},
    "SelectPercentile": {"half": _dense(SelectPercentile(percentile=50), _EVERY_NUMBER)},
    "SequentialFeatureSelector": {
        "two": _dense(SequentialFeatureSelector(Ridge(), n_features_to_select=1, cv=2), ["small", "flag"])
    },
    "VarianceThreshold": {"plain": _on(["small", "flag", "sparse"], VarianceThreshold(0.3))},
    "OneHotEncoder": {
        "plain": _one_hot(),
        "ignore": _one_hot(handle_unknown="ignore"),
        "rare": _one_hot(min_frequency=30),
        "rare-ignore": _one_hot(handle_unknown="ignore", min_frequency=0.1),
        "few": _one_hot(max_categories=3),
        "all-rare": _one_hot(min_frequency=10_000),
        "numbers": _one_hot(["sparse", "flag"]),
        "drop-first": _one_hot(drop="first"),
        "drop-binary": _one_hot(["flag", "colour"], drop="if_binary", handle_unknown="ignore"),
        "drop-named": _one_hot(drop=["green", "s1"]),
        "drop-rare": _one_hot(drop="first", max_categories=3),
        "drop-rare-ignore": _one_hot(drop="first", min_frequency=40, handle_unknown="ignore"),
        "drop-rare-named": _one_hot(drop=["red", "s0"], min_frequency=20, handle_unknown="warn"),
        "drop-group": _one_hot(drop="first", min_frequency=100),
        "given": _one_hot(["colour"], categories=[["red", "blue", "violet"]], handle_unknown="ignore"),
        "dense": _one_hot(sparse_output=False, dtype=np.int32),
    },
    "OrdinalEncoder": {
        "plain": _ordinal(),
        "unknown-nan": _ordinal(unknown_value=np.nan),
        "unknown-large": _ordinal(unknown_value=99),
        "rare": _ordinal(max_categories=4),
        "rare-numbers": _ordinal(["sparse", "flag"], min_frequency=60, encoded_missing_value=-2),
        "numbers": _ordinal(["sparse", "flag"]),
        "numbers-missing": _ordinal(["sparse", "flag"], encoded_missing_value=-2),
    },
    "TargetEncoder": {
        "multiclass": _on(CATEGORIES, TargetEncoder(cv=KFold(3))),
        "continuous": _on(CATEGORIES, TargetEncoder(target_type="continuous", smooth=10.0, cv=KFold(3))),
        "numbers": _on(["sparse", "flag"], TargetEncoder(target_type="continuous", cv=KFold(2))),
        "unsmoothed": _on(["shop"], TargetEncoder(smooth=0.0, cv=KFold(3))),
    },
    "TfidfVectorizer": {
        "plain": _text(),
        "few": _text(max_features=4),
        "binary": _text(binary=True, smooth_idf=False),
        "no-idf": _text(use_idf=False),
        "no-norm": _text(norm=None, min_df=3, stop_words=["the"]),
        "lowercase": _on("full", TfidfVectorizer()),
        "case": _on("full", TfidfVectorizer(lowercase=False)),
        "sublinear-pairs": _text(ngram_range=(1, 2), sublinear_tf=True),
        "only-pairs": _text(ngram_range=(2, 3), min_df=2, stop_words=["the", "red"]),
        "english": _on("full", TfidfVectorizer(stop_words="english", norm="l1")),
        "accents": _on("full", TfidfVectorizer(strip_accents="unicode", ngram_range=(1, 3))),
        "ascii": _on("full", TfidfVectorizer(strip_accents="ascii", lowercase=False, max_df=0.9)),
        "vocabulary": _on("full", TfidfVectorizer(vocabulary=["the", "red", "größe"], stop_words=["the"])),
        "characters": _text(analyzer="char", ngram_range=(2, 3), max_features=50),
        "within-words": _text(analyzer="char_wb", ngram_range=(1, 6), min_df=5),
    },
    "CountVectorizer": {
        "plain": _counts(),
        "binary": _counts(binary=True, ngram_range=(1, 2), max_features=30),
        "characters": _on("full", CountVectorizer(analyzer="char", strip_accents="ascii")),
        "long-slices": _on("full", CountVectorizer(analyzer="char_wb", ngram_range=(8, 9))),
        "floats": _counts(dtype=np.float64),
    },
    "TfidfTransformer": {
        "counts": _on("full", make_pipeline(CountVectorizer(), TfidfTransformer())),
        "sublinear-hashed": _on(
            "full",
            make_pipeline(
                HashingVectorizer(n_features=32, norm=None, alternate_sign=False),
                TfidfTransformer(norm="l1", sublinear_tf=True),
            ),
        ),
        "no-idf": _on("full", make_pipeline(CountVectorizer(), TfidfTransformer(use_idf=False, norm=None))),
    },
    "HashingVectorizer": {
        "plain": _counts(HashingVectorizer, n_features=64),
        "narrow": _counts(HashingVectorizer, n_features=5, norm="l1", ngram_range=(1, 2)),
        "unsigned": _counts(HashingVectorizer, n_features=1000, norm=None, alternate_sign=False),
        "binary": _counts(HashingVectorizer, n_features=7, binary=True, stop_words=["the"]),
        "within-words": _counts(HashingVectorizer, n_features=50, analyzer="char_wb", ngram_range=(2, 4)),
    },
    "FeatureHasher": {
        "texts": _on(CATEGORIES, make_pipeline(_filled(), FeatureHasher(16, input_type="string"))),
        "unsigned": _on(
            CATEGORIES,
            make_pipeline(_filled(), FeatureHasher(9, input_type="string", alternate_sign=False)),
        ),
    },
    "TimeParts": {
        "usual": _on(["when"], TimeParts()),
        "all": _on(["when"], TimeParts(TIME_PARTS)),
        "cycles": _on(["when", "small"], TimeParts(("days",), cycles=("month", "weekday", "hour"))),
        "cycles-only": _on(["when"], TimeParts((), cycles=("hour",))),
        "two": _on(["when", "large"], make_pipeline(TimeParts(("hour", "days")), SimpleImputer())),
    },
    "TimeDifferences": {
        "pair": _on(["when", "large"], TimeDifferences()),
        "three": _on(["when", "small", "large"], make_pipeline(TimeDifferences(), SimpleImputer())),
    },
    "Pipeline": {
        "nested": _on(NUMBERS, make_pipeline(make_pipeline(SimpleImputer(), "passthrough"), StandardScaler()))
    },
    "ColumnTransformer": {
        "passthrough": _on(NUMBERS, "passthrough"),
        "remainder": ColumnTransformer(
            [("a", SimpleImputer(), ["small"]), ("b", "drop", [*CATEGORIES, "note", "full", "void"])],
            remainder="passthrough",
        ),
        "empty-part": ColumnTransformer(
            [("a", SimpleImputer(), ["small"]), ("b", SimpleImputer(), []), ("c", "drop", ["large"])]
        ),
        "slice": _on(slice("small", "sparse"), "passthrough"),
        "positions": _on([0, -8], SimpleImputer()),
        "mask": _on([name in NUMBERS for name in [*table(1, 0).columns, "full"]], SimpleImputer()),
        "callable": _on(_numbers, "passthrough"),
        "nested": ColumnTransformer(
            [
                (
                    "inner",
                    make_pipeline(
                        ColumnTransformer([("x", SimpleImputer(), ["large", "small"])], remainder="drop"),
                        ColumnTransformer([("y", StandardScaler(), [1])], remainder="passthrough"),
                    ),
                    ["small", "large", "flag"],
                ),
                ("twice", "passthrough", ["flag", "small"]),
            ]
        ),
        "mixed": ColumnTransformer(
            [
                ("c", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=5), CATEGORIES),
                ("t", make_pipeline(TimeParts(), SimpleImputer(add_indicator=True)), ["when"]),
                ("n", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS),
                ("s", TfidfVectorizer(preprocessor=lower_text, max_features=20), "note"),
            ]
        ),
    },
}
"""Unfitted transformers of the table with one more column, ``full``: the notes without missing ones."""
