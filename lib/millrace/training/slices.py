"""Slices: how the model does on the rows of each category, of each answer to a yes or no, and of each period.

Whether a slice is worse than the other rows is tested by the loss of each row: B. Welch's test of two means
with unequal variances (1947), one-sided, and S. Holm's correction (1979), which holds the chance of
accusing any slice wrongly below ``ERROR``. What is significant need not matter, so a slice is called out only
when its loss is also ``TIMES`` the others' and the difference is ``OF_NAIVE`` of what the naive baseline
loses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr, stdtr

from millrace.contracts import PINBALL, Column, Schema
from millrace.training.describe import moment
from millrace.training.metrics import log_losses, score
from millrace.training.pairs import groups
from millrace.training.splits import sample

__all__ = ["slices"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ERROR = 0.05
"""Most chance of calling out any slice that is no worse than the others."""
TIMES = 1.25
OF_NAIVE = 0.05
LEAST_ROWS = 30
"""Fewest rows of a slice, and of the others, that are judged."""
MOST_ROWS = 50_000
MOST_COLUMNS = 30
MOST_VALUES = 8
"""Most frequent values of a column that are a slice each."""
PERIODS = 4
UNCOVERED = 0.05
"""How far the share of values within their interval falls short of its level, if that is told."""
_VALUE_CHARACTERS = 60


@dataclass(frozen=True)
class _Slice:
    column: str
    value: str
    mask: Mask


def slices(
    schema: Schema,
    frame: pd.DataFrame,
    truth: NDArray[Any],
    prediction: Floats,
    naive: Floats,
    record: NDArray[np.int64],
    *,
    metric: str,
    first: Sequence[str],
    within: Mask | None,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """Return how the model does on each slice of the held-out rows.

    Parameters
    ----------
    schema : Schema
        Columns and task.
    frame : DataFrame of shape (n, features)
        Held-out rows.
    truth, prediction, naive : ndarray
        Their targets, and what the model and the naive baseline predict; shapes as for
        :func:`millrace.training.metrics.evaluate`.
    record : ndarray of shape (n,)
        Record numbers, which choose the rows that are looked at where there are very many.
    metric : str
        What slices are scored by.
    first : sequence of str
        Columns, the most important first, that go before others where there are too many.
    within : ndarray of shape (n,), optional
        Which values lie within their prediction interval.
    level : float
        Share of the values that should.
    seed : int
        The run's seed.

    Returns
    -------
    dict
        ``metric``; ``loss``, what rows were compared by; ``rows`` that were looked at; ``error``, ``times``,
        ``of_naive`` and ``least_rows``, the rule; ``all`` with the ``loss`` and ``score`` of all rows; and
        ``slices``, each with ``column``, ``value``, ``rows``, ``loss``, ``others`` (their loss), ``score``
        (None where it is not defined), ``p`` (after the correction) and ``worse``. With intervals
        ``coverage`` and ``uncovered``, whether it is significantly, and by ``UNCOVERED``, below the level.
    """
    rows = sample(record, MOST_ROWS, seed=seed)
    frame, truth, prediction = frame.iloc[rows], truth[rows], prediction[rows]
    within = None if within is None else within[rows]
    name, losses = _losses(schema, metric, truth, prediction)
    naive_loss = float(_losses(schema, metric, truth, naive[rows])[1].mean())
    found = list(_cut(schema, frame, first))
    tests = [_worse(losses, each.mask) for each in found]
    short = [1.0 if within is None else _short(within[each.mask], level) for each in found]
    told = []
    for each, p, p_short in zip(found, _holm(tests), _holm(short), strict=True):
        loss, others = float(losses[each.mask].mean()), float(losses[~each.mask].mean())
        value = score(metric, truth[each.mask], prediction[each.mask])
        line: dict[str, Any] = {
            "column": each.column,
            "value": each.value,
            "rows": int(each.mask.sum()),
            "loss": loss,
            "others": others,
            "score": value if np.isfinite(value) else None,
            "p": p,
            "worse": bool(p < ERROR and loss >= TIMES * others and loss - others >= OF_NAIVE * naive_loss),
        }
        if within is not None:
            coverage = float(within[each.mask].mean())
            line["coverage"] = coverage
            line["uncovered"] = bool(p_short < ERROR and coverage <= level - UNCOVERED)
        told.append(line)
    whole = score(metric, truth, prediction)
    return {
        "metric": metric,
        "loss": name,
        "rows": len(rows),
        "error": ERROR,
        "times": TIMES,
        "of_naive": OF_NAIVE,
        "least_rows": LEAST_ROWS,
        "all": {"loss": float(losses.mean()), "score": whole if np.isfinite(whole) else None},
        "slices": told,
    }


def _losses(schema: Schema, metric: str, truth: NDArray[Any], prediction: Floats) -> tuple[str, Floats]:
    """Return what a row loses: that of which the metric, or for ranks and shares log loss, is the mean."""
    if schema.task != "regression":
        return "log loss", log_losses(truth, prediction)
    error = prediction - truth.astype(np.float64)
    if metric.startswith(PINBALL):
        share = float(metric.removeprefix(PINBALL))
        return "pinball loss", np.maximum(-share * error, (1.0 - share) * error)
    return ("absolute error", np.abs(error)) if metric == "mae" else ("squared error", error**2)


def _cut(schema: Schema, frame: pd.DataFrame, first: Sequence[str]) -> Iterator[_Slice]:
    """Yield the slices: values of categories and booleans, periods of times, and rows without a value."""
    place = {name: number for number, name in enumerate(first)}
    columns = [column for column in schema.features if column.type in ("category", "boolean", "time")]
    columns.sort(key=lambda column: (column.name != schema.time_column, place.get(column.name, len(place))))
    for column in columns[:MOST_COLUMNS]:
        values = frame[column.name].to_numpy()
        parts = _periods(values) if column.type == "time" else _values(column, values)
        for value, mask in parts:
            size = int(mask.sum())
            if size >= LEAST_ROWS and len(mask) - size >= LEAST_ROWS:
                yield _Slice(column.name, value, mask)


def _values(column: Column, values: NDArray[Any]) -> Iterator[tuple[str, Mask]]:
    codes = groups(values)
    counts = np.bincount(codes)
    # By the place of the first row with it where counts tie.
    for code in np.argsort(-counts, kind="stable")[:MOST_VALUES]:
        mask = codes == code
        if not mask.any():
            continue
        if code == 0:
            yield "(missing)", mask
        elif column.type == "boolean":
            yield ("yes" if values[np.argmax(mask)] else "no"), mask
        else:
            yield str(values[np.argmax(mask)])[:_VALUE_CHARACTERS], mask


def _periods(values: Floats) -> Iterator[tuple[str, Mask]]:
    missing = np.isnan(values)
    known = values[~missing]
    if known.size:
        shares = np.arange(1, PERIODS) / PERIODS
        edges = np.unique(np.quantile(known, shares, method="inverted_cdf"))
        period = np.searchsorted(edges, values)
        for number in range(len(edges) + 1):
            mask = (period == number) & ~missing
            if mask.any():
                first, last = (moment(float(end(values[mask]))) for end in (np.min, np.max))
                yield f"{first} to {last}".replace(" 00:00:00", ""), mask
    if missing.any():
        yield "(missing)", missing


def _worse(losses: Floats, mask: Mask) -> float:
    """Return the p-value of Welch's test that the slice's mean loss is no greater than the others'."""
    inside, outside = losses[mask], losses[~mask]
    a, b = float(inside.var(ddof=1)) / len(inside), float(outside.var(ddof=1)) / len(outside)
    difference = float(inside.mean() - outside.mean())
    if a + b == 0.0:
        return 0.0 if difference > 0.0 else 1.0
    freedom = (a + b) ** 2 / (a**2 / (len(inside) - 1) + b**2 / (len(outside) - 1))
    return float(stdtr(freedom, -difference / sqrt(a + b)))


def _short(within: Mask, level: float) -> float:
    """Return the chance of so few values within their interval, or fewer, if each lies in it at the level."""
    return float(bdtr(int(within.sum()), len(within), level))


def _holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (S. Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = running
    return [float(value) for value in corrected]
