"""How much work a run's fits are, from the sizes of its table alone: estimates multiply rates with it.

A budget bounds rows, rounds, trees and steps (:mod:`millrace.features.limits`), so how many numbers a fit
goes through is known before it begins. What is not, such as when boosting stops early, is in the rates, on
average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2

from millrace.contracts import Budget, Schema
from millrace.features.candidates import Family, candidate
from millrace.features.limits import (
    HISTOGRAM_ROWS,
    LIMITS,
    boosting_rounds,
    fold_count,
    forest_size,
    network_epochs,
    split_columns,
)
from millrace.features.plan import Encoding, feature_plan
from millrace.features.search import first_round, second_round, training_rows

__all__ = ["Fit", "Fits", "final_fits", "fold_fits", "invocations", "work"]

WORDS = 30
"""Words of a text that a row has, of those that have a column in a sparse matrix."""
TIME_COLUMNS = 8
"""Columns that a time becomes, about."""
PASSES = 30
"""Steps of a solver that goes through the rows again and again, about."""
UNITS = 64
"""Of a network's hidden layer."""


@dataclass(frozen=True)
class Fit:
    """A candidate, how often it is likely fitted, and the work of one of these fits."""

    candidate: str
    times: float
    work: float


Fits = tuple[Fit, ...]


def invocations(schema: Schema, budget: Budget, rows: int) -> int:
    """Return how many invocations train candidates on a table of ``rows`` rows."""
    first = first_round(schema, budget, rows)
    return len(first.units) + len(second_round(schema, budget, rows, first.names[: LIMITS[budget].kept]))


def fold_fits(schema: Schema, budget: Budget, rows: int) -> Fits:
    """Return the fits of the cross-validation.

    Who goes on to a second round only its first one decides: before, all are as likely to, so the times are
    no whole numbers.
    """
    first = first_round(schema, budget, rows)
    trained = training_rows(rows, budget)
    folds = fold_count(LIMITS[budget], trained)
    share = min(1.0, LIMITS[budget].kept / len(first.names))
    times = 1.0 + (folds - 1) * share if first.more else float(folds)
    return tuple(
        Fit(name, times, work(name, schema, budget, trained - trained // folds)) for name in first.names
    )


def final_fits(schema: Schema, budget: Budget, rows: int) -> Fits:
    """Return the fits of what may be in the model to all training rows; each is as likely to be."""
    trained = training_rows(rows, budget)
    names = first_round(schema, budget, rows).names
    share = min(1.0, LIMITS[budget].members / len(names))
    return tuple(Fit(name, share, work(name, schema, budget, trained)) for name in names)


def work(name: str, schema: Schema, budget: Budget, rows: int) -> float:
    """Return how many millions of numbers a fit of a candidate to so many rows goes through, about.

    Parameters
    ----------
    name : str
        The candidate.
    schema : Schema
        Its features say how wide a row is, its classes how many outputs there are.
    budget : Budget
        Bounds rounds, trees and steps.
    rows : int
        Rows to fit to.
    """
    one, limits = candidate(name), LIMITS[budget]
    columns = _width(schema, one.family)
    outputs = max(1, len(schema.classes))
    if one.kind == "boosted":
        trees = len(schema.classes) if schema.task == "multiclass" else 1
        return boosting_rounds(limits, rows, columns, trees) * trees * (rows + HISTOGRAM_ROWS) * columns / 1e6
    if one.family == "forest":
        looked_at = split_columns(columns, regression=schema.task == "regression")
        trees, leaves = forest_size(limits, rows, looked_at, outputs)
        return trees * min(rows, limits.tree_rows) * looked_at * log2(leaves) / 1e6
    if one.kind == "network":
        return rows * network_epochs(rows)[1] * UNITS * (columns + outputs) / 1e6
    if one.kind == "vectors":
        return rows**2 * columns / 1e6
    passes = 1 if one.kind == "linear" and schema.task == "regression" else PASSES
    return passes * rows * columns * outputs / 1e6


def _width(schema: Schema, family: Family) -> int:
    """Return about how many numbers a row becomes, without the zeros of a sparse matrix."""
    categories: Mapping[str, int] = {column.name: len(column.categories) for column in schema.features}

    def columns(encoding: Encoding) -> int:
        if encoding.kind == "text":
            return WORDS if family == "linear" else encoding.limit
        if encoding.kind == "one-hot" and family != "linear":
            return categories[encoding.column]
        return TIME_COLUMNS if encoding.kind == "time" else 1

    return max(1, sum(map(columns, feature_plan(schema, family).encodings)))
