"""Encoders: the unfitted scikit-learn transformers of a feature plan, all of them covered by the compiler."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from millrace.features.candidates import Family
from millrace.features.plan import NATIVE_LIMIT, Encoding, FeaturePlan, Kind
from millrace.features.transformers import CYCLES, TOKEN_PATTERN, TimeDifferences, TimeParts, lower_text
from millrace.training.pairs import groups

__all__ = ["build_features", "learnable", "log_says_more", "smoothing"]

Floats = NDArray[np.float64]


CODE_BINS = 32
"""Bins of equal counts within which integers that are sizes do not differ much."""
CODE_SHARE = 0.005
"""Share of the target's variance by which integers that are names must differ within such bins."""
CERTAIN = 3.0
"""Standard deviations by which the variance between groups must exceed what chance gives."""
LONG_TAIL = 1.0
"""Skewness from which a number may become its logarithm."""
LOG_GAIN = 4.0
"""By how much the logarithm must explain more of the target's variance: a share of this many in all rows."""
LOG_RANGE = 1000.0
"""Of what numbers are scaled to before their logarithm, from 1 on: it does not depend on their unit."""


def build_features(plan: FeaturePlan, *, classify: bool = True, seed: int = 0) -> ColumnTransformer:
    """Return the unfitted transformer of a plan.

    Native categories come first, so that boosted trees find them as the first columns.
    """
    kinds: tuple[Kind, ...] = ("native", "code", "one-hot", "number", "log", "boolean", "time", "span")
    parts: list[tuple[str, Any, Any]] = [
        (kind, _encoder(plan, kind), list(plan.columns(kind))) for kind in kinds if plan.columns(kind)
    ]
    texts = [encoding for encoding in plan.encodings if encoding.kind == "text"]
    means = [encoding for encoding in plan.encodings if encoding.kind == "target"]
    parts += [
        (f"target-{i}", _mean(plan, encoding, classify, seed), [encoding.column])
        for i, encoding in enumerate(means)
    ]
    parts += [(f"text-{i}", _words(encoding), encoding.column) for i, encoding in enumerate(texts)]
    return ColumnTransformer(parts, sparse_threshold=0.3 if plan.family == "linear" else 0.0)


def learnable(plan: FeaturePlan, frame: pd.DataFrame, target: NDArray[Any], classes: int) -> FeaturePlan:
    """Return the plan as these rows make it: what depends on them is decided, what is empty in them left out.

    A column that is filled somewhere in the file may be empty in a fold, and a text may hold no word there;
    binning and vocabularies need one value at least.
    """
    words = re.compile(TOKEN_PATTERN)

    def has_something(encoding: Encoding) -> bool:
        column = frame[encoding.column]
        if encoding.kind == "text":
            return any(words.search(text) for text in column if text is not None)
        return bool(column.notna().any())

    kept: list[Encoding] = []
    goal = _indicators(target, classes)
    texts = {e.column for e in plan.encodings if e.kind == "text"}
    for encoding in plan.encodings:
        if not has_something(encoding):
            continue
        values = frame[encoding.column]
        if encoding.kind == "number" and plan.family == "linear" and log_says_more(values.to_numpy(), goal):
            encoding = replace(encoding, kind="log")
        of_text = encoding.kind == "code" and encoding.column in texts
        if encoding.kind != "target" and not of_text:
            kept.append(encoding)
            continue
        smooth = smoothing(values.to_numpy(), goal, plan.family)
        if smooth is not None:
            kept.append(replace(encoding, smooth=smooth))
    if sum(encoding.kind == "span" for encoding in kept) < 2:
        kept = [encoding for encoding in kept if encoding.kind != "span"]
    return FeaturePlan(plan.family, tuple(kept))


def _indicators(target: NDArray[Any], classes: int) -> Floats:
    """Return the target as columns of numbers: itself, or 0 and 1 for each class but the last."""
    if not classes:
        return target.astype(np.float64)[:, None]
    found: Floats = (target[:, None] == np.arange(max(1, classes - 1))).astype(np.float64)
    return found


def smoothing(values: NDArray[Any], goal: Floats, family: Family) -> float | None:
    """Return how many rows the mean of all rows counts for beside the mean of a group, None for no encoding.

    The variance within groups over that between them, which makes the shrunken mean the best linear
    prediction (H. Robinson, "That BLUP is a good thing", 1991); both by the analysis of variance.
    """
    codes = groups(values)
    if values.dtype != object:
        known = values[~np.isnan(values)]
        if not (known == np.floor(known)).all():
            return None
        edges = np.unique(np.quantile(known, np.arange(1, CODE_BINS) / CODE_BINS, method="inverted_cdf"))
        bins = np.where(np.isnan(values), 0, np.searchsorted(edges, values) + 1)
        if len(np.unique(codes)) <= (CODE_BINS if family == "linear" else NATIVE_LIMIT):
            return None
        found = _variances(codes, goal, bins)
        if found is None or found[0] < CODE_SHARE * float(goal.var(axis=0).sum()):
            return None
    found = _variances(codes, goal, np.zeros(len(codes), dtype=np.int64))
    return None if found is None else found[1] / found[0]


def log_says_more(values: Floats, goal: Floats) -> bool:
    """Return whether a number has a long tail to the right, and its logarithm is nearer to the target.

    Parameters
    ----------
    values : array of float64, shape (rows,)
        NaN where missing.
    goal : array of float64, shape (rows, outputs)
        The target, or an indicator for each class.
    """
    known = ~np.isnan(values)
    x, goal = values[known], goal[known]
    spread = float(x.std()) if len(x) else 0.0
    if spread == 0.0 or float(np.mean(((x - x.mean()) / spread) ** 3)) <= LONG_TAIL:
        return False
    logs = np.log1p(LOG_RANGE * (x - x.min()) / np.ptp(x))
    return _explained(logs, goal) > _explained(x, goal) + LOG_GAIN / len(x)


def _explained(x: Floats, goal: Floats) -> float:
    """Return the share of the target's variance that a line through the numbers explains."""
    x, goal = x - x.mean(), goal - goal.mean(axis=0)
    total = float(x @ x) * float(np.sum(goal**2))
    return float(np.sum((x @ goal) ** 2)) / total if total else 0.0


def _variances(codes: NDArray[np.int64], goal: Floats, bins: NDArray[np.int64]) -> tuple[float, float] | None:
    """Return the variance between groups beyond that of their bins, and that within; None if it is chance."""
    rows = np.bincount(codes)
    filled = np.flatnonzero(rows)
    n, count, coarse = len(codes), len(filled), len(np.unique(bins))
    if n <= count or count <= coarse:
        return None
    between = within = 0.0
    for y in goal.T:
        rest = y - (np.bincount(bins, y) / np.maximum(np.bincount(bins), 1))[bins]
        sums = np.bincount(codes, rest)[filled]
        explained = float(np.sum(sums**2 / rows[filled]))
        between += explained
        within += float(rest @ rest) - explained
    between, within = between / (count - coarse), within / (n - count)
    chance = 1.0 + CERTAIN * (2.0 / (count - coarse) + 2.0 / (n - count)) ** 0.5
    if within <= 0.0 or between <= chance * within:
        return None
    size = (n - float(np.sum(rows.astype(np.float64) ** 2)) / n) / (count - 1)
    return (between - within) / size, within


def _mean(plan: FeaturePlan, encoding: Encoding, classify: bool, seed: int) -> BaseEstimator:
    # Not stratified: a class may have fewer rows than there are parts.
    folds = KFold(5, shuffle=True, random_state=seed)
    encoder = TargetEncoder(
        target_type="auto" if classify else "continuous", smooth=encoding.smooth, cv=folds
    )
    if plan.family == "linear":
        return Pipeline([("targetencoder", encoder), ("standardscaler", StandardScaler())])
    return encoder


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
            max_categories=limit or None,
            sparse_output=plan.family == "linear",
        )
    if kind == "time":
        # A weighted sum cannot bend at the turn of a year or a day; trees can.
        parts = TimeParts(cycles=tuple(CYCLES)) if plan.family == "linear" else TimeParts()
        return parts if trees else _imputed(plan, "median", parts)
    if kind == "span":
        return TimeDifferences() if trees else _imputed(plan, "median", TimeDifferences())
    if trees:
        return "passthrough"
    if kind == "log":
        # What lies outside the range of the rows learned from is taken as its end.
        scaled = MinMaxScaler(feature_range=(0.0, LOG_RANGE), clip=True)
        return _imputed(plan, "median", after=(scaled, FunctionTransformer(np.log1p)))
    return _imputed(plan, "median" if kind == "number" else "most_frequent")


def _imputed(
    plan: FeaturePlan, strategy: str, *before: BaseEstimator, after: Sequence[BaseEstimator] = ()
) -> Pipeline:
    imputer = SimpleImputer(strategy=strategy, add_indicator=True, keep_empty_features=True)
    steps = [*before, imputer, *after]
    if plan.family == "linear":
        steps.append(StandardScaler())
    return Pipeline([(type(step).__name__.lower(), step) for step in steps])


def _words(encoding: Encoding) -> TfidfVectorizer:
    return TfidfVectorizer(
        preprocessor=lower_text, token_pattern=TOKEN_PATTERN, max_features=encoding.limit, norm="l2"
    )
