"""Tables and fitted pipelines for the tests of the compiler: every covered class, in every covered way.

``ENCODERS`` and ``ESTIMATORS`` are keyed by class name, like the compiler's own tables; a test holds the two
side by side, so that a class without a case here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from millrace.contracts import Column, Schema, Task
from millrace.features.transformers import TIME_PARTS, TimeParts, lower_text

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
        "shop": texts([None if rng.random() < 0.1 else f"s{int(v)}" for v in rng.exponential(6, rows)]),
        "note": texts([None if rng.random() < 0.1 else word for word in words]),
        "void": np.full(rows, np.nan),
    }
    return pd.DataFrame(frame)


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


def target(frame: pd.DataFrame, task: Task) -> Any:
    rng = np.random.default_rng(7)
    signal = frame["small"] + (frame["colour"] == "red") + 0.5 * frame["flag"].fillna(0.5)
    signal = np.asarray(signal) + rng.normal(size=len(frame)) * 0.3
    if task == "regression":
        return signal * 10.0
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


def _text(**settings: Any) -> ColumnTransformer:
    return _on("note", TfidfVectorizer(preprocessor=lower_text, **settings))


def _one_hot(columns: Any = CATEGORIES, **settings: Any) -> ColumnTransformer:
    return _on(columns, OneHotEncoder(**{"handle_unknown": "infrequent_if_exist"} | settings))


def _ordinal(columns: Any = CATEGORIES, **settings: Any) -> ColumnTransformer:
    return _on(
        columns, OrdinalEncoder(handle_unknown="use_encoded_value", **{"unknown_value": -1} | settings)
    )


def _filled() -> SimpleImputer:
    return SimpleImputer(missing_values=None, strategy="constant", fill_value="none")


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
    "OneHotEncoder": {
        "plain": _one_hot(),
        "ignore": _one_hot(handle_unknown="ignore"),
        "rare": _one_hot(min_frequency=30),
        "rare-ignore": _one_hot(handle_unknown="ignore", min_frequency=0.1),
        "few": _one_hot(max_categories=3),
        "all-rare": _one_hot(min_frequency=10_000),
        "numbers": _one_hot(["sparse", "flag"]),
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
    "TfidfVectorizer": {
        "plain": _text(),
        "few": _text(max_features=4),
        "binary": _text(binary=True, smooth_idf=False),
        "no-idf": _text(use_idf=False),
        "no-norm": _text(norm=None, min_df=3, stop_words=["the"]),
        "lowercase": _on("full", TfidfVectorizer()),
        "case": _on("full", TfidfVectorizer(lowercase=False)),
    },
    "TimeParts": {
        "usual": _on(["when"], TimeParts()),
        "all": _on(["when"], TimeParts(TIME_PARTS)),
        "two": _on(["when", "large"], make_pipeline(TimeParts(("hour", "days")), SimpleImputer())),
    },
    "FunctionTransformer": {"identity": _on(NUMBERS, FunctionTransformer())},
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
        "callable": _on(lambda frame: [c for c in frame if c in NUMBERS], "passthrough"),
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


def _numeric(estimator: Any) -> Pipeline:
    """Put an imputer before an estimator that takes no missing values."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), estimator)


def _boosted(kind: Any, **settings: Any) -> Any:
    return kind(**{"max_iter": 5, "random_state": 0, "min_samples_leaf": 5} | settings)


def _trees(kind: Any, **settings: Any) -> Any:
    return kind(**{"n_estimators": 4, "random_state": 0} | settings)


ESTIMATORS: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    "LogisticRegression": {
        "plain": lambda: _numeric(LogisticRegression(max_iter=50)),
        "no-intercept": lambda: _numeric(LogisticRegression(max_iter=50, fit_intercept=False)),
    },
    "Ridge": {
        "plain": lambda: _numeric(Ridge()),
        "no-intercept": lambda: _numeric(Ridge(fit_intercept=False)),
    },
    "RandomForestClassifier": {
        "plain": lambda: _trees(RandomForestClassifier),
        "best-first": lambda: _trees(RandomForestClassifier, max_leaf_nodes=9, class_weight="balanced"),
    },
    "RandomForestRegressor": {
        "plain": lambda: _trees(RandomForestRegressor),
        "best-first": lambda: _trees(RandomForestRegressor, max_leaf_nodes=9, criterion="absolute_error"),
    },
    "ExtraTreesClassifier": {"plain": lambda: _trees(ExtraTreesClassifier)},
    "ExtraTreesRegressor": {"plain": lambda: _trees(ExtraTreesRegressor)},
    "HistGradientBoostingClassifier": {
        "plain": lambda: _boosted(HistGradientBoostingClassifier),
        "long": lambda: _boosted(HistGradientBoostingClassifier, max_iter=20, max_leaf_nodes=None),
    },
    "HistGradientBoostingRegressor": {
        "plain": lambda: _boosted(HistGradientBoostingRegressor),
        "absolute": lambda: _boosted(HistGradientBoostingRegressor, loss="absolute_error"),
        "stump": lambda: _boosted(HistGradientBoostingRegressor, max_leaf_nodes=2, max_iter=1),
    },
    "DummyClassifier": {
        "prior": lambda: DummyClassifier(),
        "most-frequent": lambda: DummyClassifier(strategy="most_frequent"),
        "constant": lambda: DummyClassifier(strategy="constant", constant=1),
    },
    "DummyRegressor": {
        "mean": lambda: DummyRegressor(),
        "median": lambda: DummyRegressor(strategy="median"),
    },
}
"""Makers of unfitted estimators; a pipeline where one needs an imputer."""
