"""How a column goes with the target, and what gives the target away; from the rows of a sample.

Rows are in an order that is independent of the data, such as that of their hashes: its halves are random
halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import ColumnType

__all__ = [
    "Aftermath",
    "Goal",
    "aftermath",
    "alone",
    "association",
    "bins",
    "drift",
    "groups",
    "parts_of",
    "ranks",
]

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS = 32
"""Most bins of equal counts that a numeric column is cut into to predict from it alone."""
BIN_ROWS = 10
SUM_ROWS = 2_000
"""Rows on which an exact sum is looked for: an identity needs few."""
SUM_COLUMNS = 8
SUM_ERROR = 1e-12
"""Share of the target's variance that a sum may leave, as rounding does."""
DRIFT_GROUPS = 20
"""Values of a category that are compared one by one; the others are one."""
WILSON_Z = 2.5758
"""Of a confidence of 99 %."""


@dataclass(frozen=True)
class Goal:
    """The target of a sample: codes of classes, of which there are ``classes``, or numbers and 0."""

    values: NDArray[Any]
    classes: int

    @cached_property
    def ranks(self) -> Floats:
        """Ranks of the values; see :func:`ranks`."""
        return ranks(self.values)


@dataclass(frozen=True)
class Aftermath:
    """Rows in which a column is not what it usually is, and of them those where the target is not either."""

    rows: int
    unusual: int


def ranks(values: Floats) -> Floats:
    """Return the ranks of values, ties sharing their mean, scaled into (0, 1)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(counts) - counts / 2.0
    return middle[place] / max(1, len(values))


def groups(values: NDArray[Any]) -> Codes:
    """Return a number for each different value; 0 where it is missing."""
    codes, _ = pd.factorize(values)
    return codes.astype(np.int64) + 1


def association(values: NDArray[Any], kind: ColumnType, goal: Goal) -> tuple[str, float | None]:
    """Return how strongly a column and the target go together, and by which measure.

    Numbers and times with a numeric target: Spearman's rank correlation, -1 to 1. Groups with a numeric
    target, or numbers and times with classes: the correlation ratio of the ranks, less what chance alone
    gives (T. Kelley's epsilon, 1935). Groups with classes: Cramér's V with the bias correction of W.
    Bergsma, 2013. Rows without a value are left out; None where there are too few, or all are the same.
    """
    ordered = kind in ("number", "time")
    codes = groups(values)
    known = codes > 0
    target = goal.values[known]
    if goal.classes and ordered:
        return "correlation ratio", _correlation_ratio(target.astype(np.int64), ranks(values[known]))
    if goal.classes:
        return "Cramér's V", _cramers_v(codes[known], target.astype(np.int64))
    if ordered:
        return "Spearman", _correlation(ranks(values[known]), ranks(target))
    return "correlation ratio", _correlation_ratio(codes[known], ranks(target))


def _correlation(x: Floats, y: Floats) -> float | None:
    if len(x) < 3:
        return None
    x, y = x - x.mean(), y - y.mean()
    size = sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 0.0 else None


def _correlation_ratio(codes: Codes, values: Floats) -> float | None:
    counts = np.bincount(codes)
    n, filled = len(codes), int(np.count_nonzero(counts))
    if filled < 2 or n <= filled:
        return None
    spread = values - values.mean()
    total = float(spread @ spread)
    if total == 0.0:
        return None
    sums = np.bincount(codes, spread)
    between = float(np.sum(sums**2 / np.maximum(counts, 1)))
    return sqrt(max(0.0, 1.0 - (total - between) / total * (n - 1) / (n - filled)))


def _cramers_v(a: Codes, b: Codes) -> float | None:
    n, of_a, of_b = len(a), np.bincount(a), np.bincount(b)
    r, k = int(np.count_nonzero(of_a)), int(np.count_nonzero(of_b))
    if n < 2 or min(r, k) < 2:
        return None
    cells, counts = np.unique(a * len(of_b) + b, return_counts=True)
    expected = of_a[cells // len(of_b)].astype(np.float64) * of_b[cells % len(of_b)]
    phi2 = max(0.0, float(np.sum(counts**2 / expected)) - 1.0 - (r - 1) * (k - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1.0
    return min(1.0, sqrt(phi2 / least)) if least > 0.0 else None


def alone(values: NDArray[Any], kind: ColumnType, goal: Goal) -> float | None:
    """Return how much of the target a column predicts on rows that the prediction has not seen, 0 to 1.

    Each half of the rows is predicted from the other, by the value or, of numbers and times, by bins of equal
    counts; a missing value is one of its own. Of classes it is the share of the entropy that goes (Theil's
    uncertainty coefficient), of numbers the share of the variance of the ranks.
    """
    half = len(values) // 2
    left = before = 0.0
    losses = _class_losses if goal.classes else _number_losses
    whole = None if kind in ("number", "time") else groups(values)
    for fit, judge in (
        (slice(None, half), slice(half, None)),
        (slice(half, None), slice(None, half)),
    ):
        codes = bins(values, fit) if whole is None else whole
        lost, naive = losses(codes[fit], codes[judge], goal, fit, judge)
        left, before = left + lost, before + naive
    return min(1.0, max(0.0, 1.0 - left / before)) if before > 0.0 else None


def bins(values: Floats, fit: slice) -> Codes:
    """Return the bin of each value, from 1 on; 0 where it is missing. Those of ``fit`` decide the edges."""
    known = values[fit][~np.isnan(values[fit])]
    count = min(BINS, max(2, len(known) // BIN_ROWS))
    edges: Floats = np.empty(0)
    if len(known):
        shares = np.arange(1, count) / count
        edges = np.unique(np.quantile(known, shares, method="inverted_cdf"))
    return np.where(np.isnan(values), 0, np.searchsorted(edges, values) + 1).astype(np.int64)


def _class_losses(seen: Codes, asked: Codes, goal: Goal, fit: slice, judge: slice) -> tuple[float, float]:
    """Return the log loss of what the cell says, and of the shares of the classes."""
    labels, truth = goal.values[fit].astype(np.int64), goal.values[judge].astype(np.int64)
    prior = (np.bincount(labels, minlength=goal.classes) + 1.0 / goal.classes) / (len(labels) + 1.0)
    # Pairs are looked up, not tabulated: a table of values and classes may be large, and mostly empty.
    pairs, counts = np.unique(seen * goal.classes + labels, return_counts=True)
    wanted = asked * goal.classes + truth
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    hits = np.where(pairs[place] == wanted, counts[place], 0)
    rows = np.bincount(seen, minlength=int(asked.max(initial=0)) + 1)[asked]
    said = (hits + prior[truth]) / (rows + 1.0)
    return -float(np.log(said).sum()), -float(np.log(prior[truth]).sum())


def _number_losses(seen: Codes, asked: Codes, goal: Goal, fit: slice, judge: slice) -> tuple[float, float]:
    """Return the squared error of the cell's mean, and of the mean, in ranks."""
    scores = goal.ranks
    mean = float(scores[fit].mean())
    size = int(asked.max(initial=0)) + 1
    rows = np.bincount(seen, minlength=size)[asked]
    sums = np.bincount(seen, scores[fit], minlength=size)[asked]
    errors, naive = scores[judge] - (sums + mean) / (rows + 1.0), scores[judge] - mean
    return float(errors @ errors), float(naive @ naive)


def aftermath(values: NDArray[Any], goal: Goal, *, most: float, times: float) -> Aftermath | None:
    """Return the rows in which a column is not what it usually is, if those betray an unusual class.

    A column that is written when something has happened is, until then, empty or 0. That shows as few rows
    (at most the share ``most``) in which the target is not its most frequent class at least ``times`` as
    often as in all rows, by the lower end of E. Wilson's interval of 99 %.
    """
    if not goal.classes or not len(values):
        return None
    codes, target = groups(values), goal.values.astype(np.int64)
    other = codes != np.bincount(codes).argmax()
    unusual = target != np.bincount(target).argmax()
    rows, hits = int(other.sum()), int((other & unusual).sum())
    if not 0 < rows <= most * len(values):
        return None
    found = _wilson(hits, rows) >= times * float(unusual.mean())
    return Aftermath(rows, hits) if found and hits else None


def _wilson(hits: int, rows: int) -> float:
    """Return the lower end of the interval of a share."""
    share, z2 = hits / rows, WILSON_Z**2
    spread = WILSON_Z * sqrt(share * (1.0 - share) / rows + z2 / (4.0 * rows**2))
    return (share + z2 / (2.0 * rows) - spread) / (1.0 + z2 / rows)


def parts_of(target: Floats, columns: Mapping[str, Floats]) -> tuple[str, ...]:
    """Return the columns of which the target is a weighted sum, exactly; none if there are no such.

    By orthogonal matching pursuit (Y. Pati, R. Rezaiifar and P. Krishnaprasad, 1993): again and again the
    column that goes best with what is left. Columns that turn out not to be needed are left out again.
    """
    y = _standard(target[:SUM_ROWS])
    names = list(columns)
    if not names or not y.any():
        return ()
    x = np.column_stack([_standard(columns[name][:SUM_ROWS]) for name in names])
    chosen: list[int] = []
    rest = y
    while not _small(rest, y):
        strength = np.abs(rest @ x)
        strength[chosen] = 0.0
        if len(chosen) == SUM_COLUMNS or len(y) < BIN_ROWS * (len(chosen) + 2) or not strength.any():
            return ()
        chosen.append(int(strength.argmax()))
        rest = _left(y, x[:, chosen])
    for index in tuple(chosen):
        without = [other for other in chosen if other != index]
        if without and _small(_left(y, x[:, without]), y):
            chosen = without
    return tuple(names[index] for index in sorted(chosen))


def _standard(values: Floats) -> Floats:
    """Return values with mean 0 and deviation 1; what is missing, and all of a constant, as 0."""
    known = ~np.isnan(values)
    found = np.zeros(len(values))
    largest = float(np.abs(values[known]).max(initial=0.0))
    if largest > 0.0:
        scaled = values[known] / largest  # their squares might not be finite
        deviation = float(scaled.std())
        if deviation > 1e-12:
            found[known] = (scaled - scaled.mean()) / deviation
    return found


def _left(y: Floats, x: Floats) -> Floats:
    left: Floats = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return left


def _small(rest: Floats, y: Floats) -> bool:
    return float(rest @ rest) <= SUM_ERROR * float(y @ y)


def drift(values: NDArray[Any], kind: ColumnType, later: NDArray[np.bool_]) -> float | None:
    """Return how far the values of the earlier and the later rows lie apart, 0 to 1.

    Of numbers and times the Kolmogorov-Smirnov distance, of others the total variation distance of the
    shares of the ``DRIFT_GROUPS`` most frequent values and of all others; at least the difference of the
    missing shares.
    """
    if not later.any() or later.all():
        return None
    codes = groups(values)
    missing = codes == 0
    gap = abs(float(missing[later].mean()) - float(missing[~later].mean()))
    if kind in ("number", "time"):
        a, b = np.sort(values[~missing & later]), np.sort(values[~missing & ~later])
        if not len(a) or not len(b):
            return gap
        both = np.concatenate([a, b])
        apart = np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
        return max(gap, float(np.abs(apart).max()))
    order = np.argsort(-np.bincount(codes), kind="stable")
    place = np.empty_like(order)
    place[order] = np.minimum(np.arange(len(order)), DRIFT_GROUPS)
    late, early = (np.bincount(place[codes[side]], minlength=DRIFT_GROUPS + 1) for side in (later, ~later))
    return max(gap, float(np.abs(late / late.sum() - early / early.sum()).sum()) / 2.0)
