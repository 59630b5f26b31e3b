"""The learning curve: would more rows help? A few fits of one candidate, on training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import Schema
from millrace.training.evaluate import Answer
from millrace.training.metrics import score
from millrace.training.splits import hold_out, sample, shuffled

__all__ = ["learning_curve"]

MOST_ROWS = 5_000
CELLS = 1_000_000
"""Most values of the rows; of wide tables fewer rows."""
SHARES = (0.15, 0.4, 1.0)
FEWEST_ROWS = 20


def learning_curve(
    fit: Callable[[NDArray[np.intp]], Answer],
    schema: Schema,
    frame: pd.DataFrame,
    target: NDArray[Any],
    record: NDArray[np.int64],
    training: NDArray[np.intp],
    *,
    time: NDArray[np.float64] | None,
    metric: str,
    group: NDArray[np.int64] | None = None,
    seed: int,
) -> dict[str, Any]:
    """Return the score of a candidate by the number of rows it learns from.

    Of at most ``MOST_ROWS`` training rows a fifth is set aside (the latest, where time orders the rows), and
    the candidate is fitted to nested parts of the others. No held-out row is looked at.

    Parameters
    ----------
    fit : callable
        Fits the candidate to the rows at these positions, and returns what then answers.
    schema : Schema
        Columns and task.
    frame, target, record : DataFrame and ndarray of shape (n, …)
        All rows.
    training : ndarray of shape (m,)
        Positions of the training rows.
    time : ndarray of shape (n,), optional
        Seconds, where time orders the rows.
    metric : str
        What is scored.
    group : ndarray of shape (n,), optional
        Numbers of groups, none of which is both learned from and set aside.
    seed : int
        The run's seed.

    Returns
    -------
    dict
        ``metric``, ``rows`` (that were set aside) and ``points``, each with ``rows``, ``score`` on those that
        were set aside, and ``fitted``, the score on the rows it learned from.
    """
    codes = None if schema.task == "regression" else target.astype(np.int32)
    most = min(MOST_ROWS, CELLS // max(1, len(frame.columns)))
    chosen = training[
        sample(record[training], most, codes=None if codes is None else codes[training], seed=seed)
    ]
    sides = hold_out(
        record[chosen],
        codes=None if codes is None else codes[chosen],
        time=None if time is None else time[chosen],
        group=None if group is None else group[chosen],
        seed=seed + 2,
    )
    judge, rest = chosen[sides.validation], chosen[sides.training]
    order = rest[shuffled(record[rest], seed + 2)]
    points = []
    for share in SHARES:
        rows = np.sort(order[: round(share * len(order))])
        if len(rows) < FEWEST_ROWS or (codes is not None and np.unique(codes[rows]).size < 2):
            continue
        answer = fit(rows)
        scores = [score(metric, target[of], answer(frame.iloc[of])) for of in (judge, rows)]
        if np.isfinite(scores).all():
            points.append({"rows": len(rows), "score": scores[0], "fitted": scores[1]})
    return {"metric": metric, "rows": len(judge), "points": points}
