"""Confidence intervals of metrics, by the bootstrap.

The rows are drawn again with replacement, and an interval runs from one percentile of the metric over these
resamples to another (B. Efron, "Bootstrap Methods", Annals of Statistics 7, 1979). Of very many rows a random
part stands for all, and what the metric varies about its value there shrinks by the root of the part's share:
right for metrics whose error falls with the root of the rows, as that of every one here does (the idea of
"A scalable bootstrap for massive data" by A. Kleiner and others, 2014, with one part). So the cost is
bounded.

Rows are taken for independent of one another, unless groups are given: then whole groups are drawn again, and
they are taken for independent (the cluster bootstrap; A. Davison and D. Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Task
from millrace.training.metrics import REGISTRY, names_of, score
from millrace.training.splits import hashed, shuffled

__all__ = ["LEVEL", "confidence", "resamples"]

Floats = NDArray[np.float64]

LEVEL = 0.95
MOST_RESAMPLES = 1000
FEWEST_RESAMPLES = 200
MOST_ROWS = 50_000
FEWEST_ROWS = 2_000
CELLS = 40_000_000
"""Most resamples x rows x classes."""
DEFINED = 0.5
"""Share of the resamples in which a metric must be defined; a rare class is absent from some."""


def resamples(rows: int, classes: int) -> tuple[int, int]:
    """Return how many resamples are affordable, and of how many rows."""
    width = max(1, classes)
    drawn = min(rows, MOST_ROWS, max(FEWEST_ROWS, CELLS // (FEWEST_RESAMPLES * width)))
    return max(FEWEST_RESAMPLES, min(MOST_RESAMPLES, CELLS // (drawn * width))), drawn


def confidence(
    task: Task,
    truth: NDArray[Any],
    prediction: Floats,
    others: Mapping[str, Floats],
    *,
    metric: str,
    seed: int,
    group: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return intervals for every metric of a model, and for how much better it is than others.

    Parameters
    ----------
    task : Task
        Decides the metrics.
    truth, prediction : ndarray
        As for :func:`millrace.training.metrics.evaluate`.
    others : mapping of str to ndarray
        Predictions for the same rows: each is compared on the very resamples of the model.
    metric : str
        What the comparison is by.
    seed : int
        The run's seed: the same resamples on any machine.
    group : ndarray of shape (n,), optional
        The group of each row; rows of one group are no independent witnesses.

    Returns
    -------
    dict
        ``level``, ``resamples``, ``rows`` (drawn for each), ``groups`` (drawn for each, or None), ``metrics``
        (the ends by metric; absent where it is hardly defined), ``better_than`` (by name, the ends of the
        metric's gain, positive when the model is better).
    """
    width = prediction.shape[1] if prediction.ndim == 2 else 1
    repeats, drawn = resamples(len(truth), width)
    unit = np.arange(len(truth)) if group is None else np.unique(group, return_inverse=True)[1]
    rows, units, share = _part(unit, drawn / len(truth), seed)
    unit = np.unique(unit[rows], return_inverse=True)[1]
    worth = 1.0 if REGISTRY[metric].greater_is_better else -1.0
    scorers = {name: REGISTRY[name].prepare(truth[rows], prediction[rows]) for name in names_of(task, metric)}
    rivals = {name: REGISTRY[metric].prepare(truth[rows], other[rows]) for name, other in others.items()}
    found = {name: np.empty(repeats) for name in scorers}
    gains = {name: np.empty(repeats) for name in rivals}
    for repeat in range(repeats):
        again = hashed(np.arange(units), seed + 1 + repeat) % np.uint64(units)
        weight = np.bincount(again.astype(np.intp), minlength=units).astype(np.float64)[unit]
        for name, scorer in scorers.items():
            found[name][repeat] = scorer(weight)
        for name, rival in rivals.items():
            gains[name][repeat] = worth * (found[metric][repeat] - rival(weight))
    ends: dict[str, list[float] | None] = {}
    for name, values in found.items():
        ends[name] = _ends(values, scorers[name](None), score(name, truth, prediction), share)
    better: dict[str, list[float] | None] = {}
    ours = score(metric, truth, prediction)
    for name, values in gains.items():
        gain = worth * (scorers[metric](None) - rivals[name](None))
        better[name] = _ends(values, gain, worth * (ours - score(metric, truth, others[name])), share)
    return {
        "level": LEVEL,
        "resamples": repeats,
        "rows": len(rows),
        "groups": None if group is None else units,
        "metrics": {name: pair for name, pair in ends.items() if pair},
        "better_than": {name: pair for name, pair in better.items() if pair},
    }


def _part(unit: NDArray[np.intp], share: float, seed: int) -> tuple[NDArray[np.intp], int, float]:
    """Return the rows of a random part of the units, how many units these are, and which share of all."""
    units = int(unit.max()) + 1
    if share >= 1.0:
        return np.arange(len(unit)), units, 1.0
    kept = max(1, round(share * units))
    chosen = np.zeros(units, dtype=np.bool_)
    chosen[shuffled(np.arange(units), seed)[:kept]] = True
    return np.flatnonzero(chosen[unit]), kept, kept / units


def _ends(values: Floats, there: float, point: float, share: float) -> list[float] | None:
    """Return the ends about ``point``, the value on all rows; ``there`` is that on the drawn part."""
    defined = values[np.isfinite(values)]
    if len(defined) < DEFINED * len(values) or not np.isfinite(point):
        return None
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    if share < 1.0:
        low, high = point + sqrt(share) * (low - there), point + sqrt(share) * (high - there)
    return [float(low), float(high)]
