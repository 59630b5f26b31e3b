"""Encoders: the unfitted scikit-learn transformers of a feature plan, all of them covered by the compiler."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from millrace.features.plan import Encoding, FeaturePlan, Kind
from millrace.features.transformers import CYCLES, TOKEN_PATTERN, TimeParts, lower_text

__all__ = ["build_features", "learnable"]


def build_features(plan: FeaturePlan) -> ColumnTransformer:
    """Return the unfitted transformer of a plan.

    Native categories come first, so that boosted trees find them as the first columns.
    """
    kinds: tuple[Kind, ...] = ("native", "code", "one-hot", "number", "boolean", "time")
    parts: list[tuple[str, Any, Any]] = [
        (kind, _encoder(plan, kind), list(plan.columns(kind))) for kind in kinds if plan.columns(kind)
    ]
    texts = [encoding for encoding in plan.encodings if encoding.kind == "text"]
    parts += [(f"text-{i}", _words(encoding), encoding.column) for i, encoding in enumerate(texts)]
    return ColumnTransformer(parts, sparse_threshold=0.3 if plan.family == "linear" else 0.0)


def learnable(plan: FeaturePlan, frame: pd.DataFrame) -> FeaturePlan:
    """Return the plan without the columns that have nothing to learn from in these rows.

    A column that is filled somewhere in the file may be empty in a fold, and a text may hold no word there;
    binning and vocabularies need one value at least.
    """
    words = re.compile(TOKEN_PATTERN)

    def has_something(encoding: Encoding) -> bool:
        column = frame[encoding.column]
        if encoding.kind == "text":
            return any(words.search(text) for text in column if text is not None)
        return bool(column.notna().any())

    return FeaturePlan(plan.family, tuple(e for e in plan.encodings if has_something(e)))


def _encoder(plan: FeaturePlan, kind: Kind) -> BaseEstimator | str:
    trees = plan.family == "boosted"
    limit = max((e.limit for e in plan.encodings if e.kind == kind), default=0)
    if kind in ("native", "code"):
        # None is a category of its own; one never seen becomes -1, a missing value to boosted trees.
        return OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, max_categories=limit or None
        )
    if kind == "one-hot":
        return OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=limit,
            sparse_output=plan.family == "linear",
        )
    if kind == "time":
        # A weighted sum cannot bend at the turn of a year or a day; trees can.
        parts = TimeParts(cycles=tuple(CYCLES)) if plan.family == "linear" else TimeParts()
        return parts if trees else _imputed(plan, "median", parts)
    if trees:
        return "passthrough"
    return _imputed(plan, "median" if kind == "number" else "most_frequent")


def _imputed(plan: FeaturePlan, strategy: str, *before: BaseEstimator) -> Pipeline:
    steps = [*before, SimpleImputer(strategy=strategy, add_indicator=True, keep_empty_features=True)]
    if plan.family == "linear":
        steps.append(StandardScaler())
    return Pipeline([(type(step).__name__.lower(), step) for step in steps])


def _words(encoding: Encoding) -> TfidfVectorizer:
    return TfidfVectorizer(
        preprocessor=lower_text, token_pattern=TOKEN_PATTERN, max_features=encoding.limit, norm="l2"
    )
