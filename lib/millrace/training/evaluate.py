"""What the report draws of the held-out rows: curves, and which columns the model looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import ColumnType, Schema
from millrace.training.metrics import REGISTRY, score
from millrace.training.splits import sample, shuffled

__all__ = ["MOST_POINTS", "Answer", "calibration", "curves", "dependence", "importance", "share_interval"]

Floats = NDArray[np.float64]
Answer = Callable[[pd.DataFrame], Floats]
"""What a model says of rows, as :func:`millrace.training.pipeline.predict` returns it."""

MOST_POINTS = 1000
"""Most points of one curve: the report draws them all."""
MOST_LABELS = 31
"""Classes of the confusion matrix: their square is below ``MOST_POINTS``."""
MOST_CURVES = 4
"""Classes whose curves are told one by one: more lines would not be told apart."""
CALIBRATION_BINS = 10
SHARE_Z = 1.959964
"""Of a confidence of 95 %."""
DEPENDENCE_COLUMNS = 6
DEPENDENCE_ROWS = 200
FEWEST_DEPENDENCE_ROWS = 20
DEPENDENCE_CELLS = 400_000
"""Most values of the rows that dependence is averaged over."""
DEPENDENCE_SHARES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
DEPENDENCE_VALUES = 10
IMPORTANCE_ROWS = 1000
FEWEST_IMPORTANCE_ROWS = 20
IMPORTANCE_REPEATS = 5
IMPORTANCE_CELLS = 80_000_000
"""Most cells that permutation importance sends through the model, a few seconds' worth."""
IMPORTANCE_BLOCK = 20_000
"""Rows a call: shuffled copies of few rows go through the model together."""


def curves(
    schema: Schema, truth: NDArray[Any], prediction: Floats, record: NDArray[np.int64], *, seed: int
) -> dict[str, Any]:
    """Return the points that the report draws; at most ``MOST_POINTS`` a curve.

    Parameters
    ----------
    schema : Schema
        Task, classes and positive class (the last class where none is set).
    truth, prediction : ndarray
        As for :func:`millrace.training.metrics.evaluate`.
    record : ndarray of shape (n,)
        Record numbers, which choose the points of a large scatter plot.
    seed : int
        The run's seed.

    Returns
    -------
    dict
        ``residuals`` for regression. For classification ``confusion``, ``calibration`` (for binary tasks of
        the positive class, else of the class that is answered) and, for each of at most ``MOST_CURVES``
        classes, an entry of ``ranking``: ``class``, ``rows``, ``share`` of the rows, and the points of the
        ROC curve, ``fpr`` and ``tpr``, and of the precision-recall curve, ``recall`` and ``precision``.
        What is not defined on these rows is absent.
    """
    if schema.task == "regression":
        rows = sample(record, MOST_POINTS, seed=seed)
        return {"residuals": {"predicted": prediction[rows].tolist(), "actual": truth[rows].tolist()}}
    answered = prediction.argmax(axis=1)
    result: dict[str, Any] = {"confusion": _confusion(schema, truth, answered)}
    if schema.task == "binary":
        code = schema.classes.index(schema.positive_class) if schema.positive_class else 1
        codes = [code]
        result["calibration"] = {"class": schema.classes[code]} | calibration(
            truth == code, prediction[:, code]
        )
    else:
        most = np.argsort(-np.bincount(truth.astype(np.int64), minlength=len(schema.classes)), kind="stable")
        codes = sorted(int(code) for code in most[:MOST_CURVES])
        sure = prediction[np.arange(len(truth)), answered]
        result["calibration"] = {"class": None} | calibration(answered == truth, sure)
    ranked = [(code, truth == code) for code in codes]
    result["ranking"] = [
        {"class": schema.classes[code]} | _ranking(of_class, prediction[:, code])
        for code, of_class in ranked
        if of_class.any() and not of_class.all()
    ]
    return result


def importance(
    answer: Answer,
    frame: pd.DataFrame,
    truth: NDArray[Any],
    record: NDArray[np.int64],
    schema: Schema,
    *,
    metric: str,
    seed: int,
) -> list[dict[str, Any]]:
    """Return how much the metric worsens when a column's values are shuffled among the rows.

    Permutation importance (Breiman, "Random Forests", 2001) of input columns, not of encoded ones, on at
    most ``IMPORTANCE_ROWS`` rows, fewer rows and repeats for wide tables.

    Returns
    -------
    list of dict
        ``column``, ``mean`` and ``std`` over the repeats, the most important first; empty when the table
        is too wide for the bound, or when the metric is not defined on these rows.
    """
    columns = list(frame.columns)
    affordable = IMPORTANCE_CELLS // len(columns) ** 2
    classes = None if schema.task == "regression" else truth.astype(np.int32)
    size = min(IMPORTANCE_ROWS, affordable)
    if size < min(FEWEST_IMPORTANCE_ROWS, len(frame)):
        return []
    rows = sample(record, size, codes=classes, seed=seed)
    frame, truth = frame.iloc[rows].reset_index(drop=True), truth[rows]
    repeats = max(1, min(IMPORTANCE_REPEATS, affordable // len(rows)))
    untouched = score(metric, truth, answer(frame))
    if not np.isfinite(untouched):
        return []
    worse = 1.0 if REGISTRY[metric].greater_is_better else -1.0
    together = max(1, IMPORTANCE_BLOCK // len(rows))
    losses = np.empty((repeats, len(columns)))
    for repeat in range(repeats):
        order = shuffled(np.arange(len(rows)), seed + repeat)
        for start in range(0, len(columns), together):
            group = columns[start : start + together]
            predicted = answer(_shuffled_copies(frame, group, order))
            for offset, part in enumerate(np.split(predicted, len(group))):
                losses[repeat, start + offset] = worse * (untouched - score(metric, truth, part))
    ranked = np.argsort(-losses.mean(axis=0), kind="stable")
    return [
        {"column": columns[j], "mean": float(losses[:, j].mean()), "std": float(losses[:, j].std())}
        for j in ranked
    ]


def _shuffled_copies(frame: pd.DataFrame, columns: list[str], order: NDArray[np.intp]) -> pd.DataFrame:
    """Return one copy of ``frame`` for each of ``columns``, in which that column is shuffled."""
    n = len(frame)
    copies = pd.concat([frame] * len(columns), ignore_index=True)
    for offset, column in enumerate(columns):
        values = copies[column].to_numpy(copy=True)
        values[offset * n : (offset + 1) * n] = frame[column].to_numpy()[order]
        copies[column] = pd.Series(values, dtype=frame[column].dtype)
    return copies


def dependence(
    answer: Answer,
    frame: pd.DataFrame,
    schema: Schema,
    columns: Sequence[str],
    record: NDArray[np.int64],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return what the model says on average when a column has one value in every row.

    Partial dependence (J. Friedman, "Greedy Function Approximation", Annals of Statistics 29, 2001) on at
    most ``DEPENDENCE_ROWS`` rows, fewer of wide tables. Of numbers and times the values are quantiles of
    those that are there, of others the most frequent ones. It says what the model does, not what causes what,
    and among columns that go together it asks about rows that do not occur.

    Returns
    -------
    dict
        ``rows`` that were averaged over, ``of`` (the classes whose probabilities are told, the positive one
        or the most frequent; empty for regression), and ``columns``: of each ``column``, ``type``, ``values``
        (a missing one is None) and ``mean``, a list as long as ``values`` for each of ``of`` or the only one.
    """
    kinds = {column.name: column.type for column in schema.features}
    size = max(FEWEST_DEPENDENCE_ROWS, min(DEPENDENCE_ROWS, DEPENDENCE_CELLS // max(1, len(frame.columns))))
    rows = sample(record, size, seed=seed)
    base = frame.iloc[rows].reset_index(drop=True)
    base_answer = answer(base)
    codes: list[int] = []
    if schema.task == "binary":
        codes = [schema.classes.index(schema.positive_class) if schema.positive_class else 1]
    elif schema.task == "multiclass":
        codes = sorted(int(c) for c in np.argsort(-base_answer.sum(axis=0), kind="stable")[:MOST_CURVES])
    told: list[dict[str, Any]] = []
    for name in columns:
        if kinds[name] == "text" or len(told) == DEPENDENCE_COLUMNS:
            continue
        values = _places(frame[name], kinds[name])
        if len(values) < 2:
            continue
        copies = pd.concat([base] * len(values), ignore_index=True)
        copies[name] = pd.Series(np.repeat(values, len(base)), dtype=frame[name].dtype)
        means = answer(copies).reshape(len(values), len(base), -1).mean(axis=1)
        plain = [None if value is None or value != value else value for value in values.tolist()]
        told.append(
            {
                "column": name,
                "type": kinds[name],
                "values": plain,
                "mean": means[:, codes].T.tolist() if codes else means.T.tolist(),
            }
        )
    return {"rows": len(base), "of": [schema.classes[code] for code in codes], "columns": told}


def _places(column: pd.Series[Any], kind: ColumnType) -> NDArray[Any]:
    """Return the values of a column at which the model is asked."""
    if kind in ("number", "time"):
        known = column.dropna().to_numpy()
        if not len(known):
            return known
        return np.unique(np.quantile(known, DEPENDENCE_SHARES, method="inverted_cdf"))
    counts = column.value_counts(dropna=False).iloc[:DEPENDENCE_VALUES]
    found = np.empty(len(counts), dtype=object if kind == "category" else np.float64)
    found[:] = [None if kind == "category" and pd.isna(value) else value for value in counts.index]
    return found


def _confusion(schema: Schema, truth: NDArray[Any], answered: NDArray[np.intp]) -> dict[str, Any]:
    """Return the matrix (rows: actual) of the most frequent classes, in the schema's order."""
    classes = len(schema.classes)
    flat = np.bincount(truth.astype(np.int64) * classes + answered, minlength=classes * classes)
    matrix = flat.reshape(classes, classes)
    shown = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[:MOST_LABELS])
    return {
        "labels": [schema.classes[code] for code in shown],
        "matrix": matrix[np.ix_(shown, shown)].tolist(),
    }


def _ranking(positive: NDArray[np.bool_], probability: Floats) -> dict[str, Any]:
    """Return the points of the ROC and of the precision-recall curve."""
    order = np.argsort(-probability, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[last_of_ties]
    flagged = last_of_ties + 1
    tpr = np.concatenate([[0.0], hits / hits[-1]])
    fpr = np.concatenate([[0.0], (flagged - hits) / (len(order) - hits[-1])])
    # What nothing is flagged by has no precision: the curve begins with that of the first rows.
    precision = np.concatenate([[hits[0] / flagged[0]], hits / flagged])
    kept = np.unique(np.linspace(0, len(tpr) - 1, min(len(tpr), MOST_POINTS // 5)).round().astype(np.intp))
    return {
        "rows": int(hits[-1]),
        "share": float(positive.mean()),
        "fpr": fpr[kept].tolist(),
        "tpr": tpr[kept].tolist(),
        "recall": tpr[kept].tolist(),
        "precision": precision[kept].tolist(),
    }


def calibration(event: NDArray[np.bool_], probability: Floats) -> dict[str, Any]:
    """Return the reliability curve in bins of equal width; bins without a row are absent.

    Returns
    -------
    dict
        By bin ``predicted`` (mean), ``observed`` (share), its interval ``low`` and ``high`` (E. Wilson's,
        1927, of 95 %) and ``count``; and ``error``, the mean distance of observed from predicted over the
        rows (the expected calibration error).
    """
    bins = np.minimum((probability * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    filled = count > 0
    count = count[filled]
    predicted = np.bincount(bins, weights=probability, minlength=CALIBRATION_BINS)[filled] / count
    observed = np.bincount(bins, weights=event, minlength=CALIBRATION_BINS)[filled] / count
    low, high = share_interval(observed, count)
    return {
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "count": count.tolist(),
        "error": float(np.abs(observed - predicted) @ count / count.sum()),
    }


def share_interval(share: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the ends of E. Wilson's interval of shares, of 95 %."""
    z2 = SHARE_Z**2
    middle = (share + z2 / (2.0 * rows)) / (1.0 + z2 / rows)
    spread = SHARE_Z * np.sqrt(share * (1.0 - share) / rows + z2 / (4.0 * rows**2)) / (1.0 + z2 / rows)
    return np.maximum(0.0, middle - spread), np.minimum(1.0, middle + spread)
