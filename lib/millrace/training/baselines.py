"""Baselines: what a model must beat, from the training rows alone.

The naive one looks at no column. The other looks at one: whichever predicts best, of the training rows, those
that it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import ColumnType, Schema
from millrace.training.metrics import REGISTRY, score
from millrace.training.pairs import bins, groups
from millrace.training.splits import shuffled

__all__ = ["SingleColumn", "naive_prediction", "single_column"]

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_ROWS = 20_000
CELLS = 4_000_000
"""Most values that are looked at to choose the column; of a table with more columns fewer rows."""
FEWEST_ROWS = 1_000
WEIGHT = 5.0
"""Rows that the whole table counts for beside those of one value: what is rare is not believed."""


@dataclass(frozen=True)
class SingleColumn:
    """The best single column, and what it predicts for the rows that were asked for."""

    column: str
    prediction: Floats


def naive_prediction(schema: Schema, training: NDArray[Any], rows: int) -> Floats:
    """Return what somebody who has seen only the training target predicts for ``rows`` rows.

    Returns
    -------
    ndarray of shape (rows, classes) or (rows,)
        The shares of the classes, or the number that makes the schema's loss least: the mean, the median or
        the quantile.
    """
    if schema.task == "regression":
        share = _share_below(schema)
        best = np.mean(training) if share is None else np.quantile(training, share)
        return np.full(rows, float(best))
    shares = np.bincount(training.astype(np.int64), minlength=len(schema.classes)) / len(training)
    return np.tile(shares, (rows, 1))


def _share_below(schema: Schema) -> float | None:
    """Return which share of the values is to lie below the prediction; None where the mean is asked for."""
    return {"absolute": 0.5, "quantile": schema.quantile}.get(schema.loss)


def single_column(
    schema: Schema,
    training: pd.DataFrame,
    target: NDArray[Any],
    record: NDArray[np.int64],
    asked: pd.DataFrame,
    *,
    metric: str,
    seed: int,
) -> SingleColumn | None:
    """Predict from the one column that predicts best.

    A column predicts by its values or, of numbers and times, by up to 32 bins of equal counts, a missing
    value being one of its own; for each it says the mean of the target, or the shares of its classes, drawn
    towards those of all rows. The column is chosen on the training rows: each half is predicted from the
    other.

    Parameters
    ----------
    schema : Schema
        Columns, types and task.
    training : DataFrame of shape (n, features)
        Training rows.
    target, record : ndarray of shape (n,)
        Their targets and record numbers.
    asked : DataFrame of shape (m, features)
        Rows to predict.
    metric : str
        What the choice is by.
    seed : int
        The run's seed, which draws the rows of a large table.

    Returns
    -------
    SingleColumn or None
        None when no column's score is defined.
    """
    kinds = {column.name: column.type for column in schema.features}
    most = max(FEWEST_ROWS, min(MOST_ROWS, CELLS // max(1, len(kinds))))
    rows = shuffled(record, seed)[:most]
    goal = target[rows]
    halves = (slice(None, len(rows) // 2), slice(len(rows) // 2, None))
    worth = 1.0 if REGISTRY[metric].greater_is_better else -1.0
    best, best_score = "", -np.inf
    for name, kind in kinds.items():
        values = training[name].to_numpy()[rows]
        said = [
            _predict(schema, kind, values[fit], goal[fit], values[judge])
            for fit, judge in (halves, halves[::-1])
        ]
        found = worth * score(
            metric, np.concatenate([goal[halves[1]], goal[halves[0]]]), np.concatenate(said)
        )
        if found > best_score:  # never of NaN
            best, best_score = name, found
    if not best:
        return None
    fitted = training[best].to_numpy()[rows]
    return SingleColumn(best, _predict(schema, kinds[best], fitted, goal, asked[best].to_numpy()))


def _predict(
    schema: Schema, kind: ColumnType, seen: NDArray[Any], goal: NDArray[Any], asked: NDArray[Any]
) -> Floats:
    """Return what the values ``asked`` say, as those ``seen`` went with ``goal``."""
    both = np.concatenate([seen, asked])
    codes = bins(both, slice(len(seen))) if kind in ("number", "time") else groups(both)
    # Only what was seen has cells of its own; everything else says what all rows say.
    cells = int(codes[: len(seen)].max(initial=0)) + 1
    there, wanted = codes[: len(seen)], np.minimum(codes[len(seen) :], cells)
    rows = np.bincount(there, minlength=cells + 1).astype(np.float64)
    if schema.task == "regression":
        mean = float(np.mean(goal))
        sums = np.bincount(there, goal, minlength=cells + 1)
        said: Floats = (sums + WEIGHT * mean) / (rows + WEIGHT)
        share = _share_below(schema)
        if share is not None:  # the mean is not asked for: the quantile lies as far from it as in all rows
            said = said + np.quantile(goal - said[there], share)
        return said[wanted]
    classes = len(schema.classes)
    shares = np.bincount(goal.astype(np.int64), minlength=classes) / len(goal)
    counts = np.bincount(there * classes + goal.astype(np.int64), minlength=(cells + 1) * classes)
    table = (counts.reshape(cells + 1, classes) + WEIGHT * shares) / (rows + WEIGHT)[:, None]
    return np.asarray(table[wanted], dtype=np.float64)
