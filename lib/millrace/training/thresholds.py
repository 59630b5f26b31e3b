"""Thresholds of a binary decision: what each of them finds, misses and costs on the held-out rows.

Nothing here changes an answer: ``predict`` gives probabilities, and who calls it decides from which on to
act.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Costs
from millrace.training.splits import shuffled

__all__ = ["SHOWN", "thresholds"]

Floats = NDArray[np.float64]

SHOWN = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Thresholds of the table."""


def thresholds(
    positive: NDArray[np.bool_],
    probability: Floats,
    record: NDArray[np.int64],
    costs: Costs | None,
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the table of thresholds, and the ones that do best.

    A row is flagged when its probability is at least the threshold.

    Parameters
    ----------
    positive : ndarray of shape (n,)
        Which rows have the positive class.
    probability : ndarray of shape (n,)
        What was predicted for it.
    record : ndarray of shape (n,)
        Record numbers, which cut the rows into halves.
    costs : Costs, optional
        What the two errors cost.
    seed : int
        The run's seed.

    Returns
    -------
    dict
        ``table`` with a line for each of ``SHOWN``, and ``best_f1``, the line with the greatest F1. A line
        has ``threshold``, ``flagged`` (share of the rows), ``precision`` (None where nothing is flagged),
        ``recall`` (None without positive rows), ``f1`` and, with costs, ``cost`` (a row).

        With costs, ``costs``, and further lines: ``least_cost``, where the cost on these rows is least;
        ``by_costs``, the threshold fp / (fp + fn) that is right for calibrated probabilities (C. Elkan, "The
        Foundations of Cost-Sensitive Learning", IJCAI 2001), for which no row was looked at; ``half``, 0.5;
        and ``least_cost_elsewhere``: what a row costs when the threshold that is best on one half of the rows
        decides about the other, without the optimism of being chosen and judged on the same rows.
    """
    curve = _Curve(positive, probability, costs)
    found: dict[str, Any] = {
        "table": [curve.line(threshold) for threshold in SHOWN],
        "best_f1": curve.line(curve.best(curve.f1)),
    }
    if costs is None:
        return found
    order = shuffled(record, seed)
    halves = (order[: len(order) // 2], order[len(order) // 2 :])
    elsewhere = 0.0
    for fit, judge in (halves, halves[::-1]):
        if not len(fit):
            continue
        chosen = _Curve(positive[fit], probability[fit], costs)
        judged = _Curve(positive[judge], probability[judge], costs)
        elsewhere += judged.line(chosen.best(-chosen.cost))["cost"] * len(judge) / len(order)
    return found | {
        "costs": {"false_positive": costs.false_positive, "false_negative": costs.false_negative},
        "least_cost": curve.line(curve.best(-curve.cost)),
        "by_costs": curve.line(costs.false_positive / (costs.false_positive + costs.false_negative)),
        "half": curve.line(0.5),
        "least_cost_elsewhere": elsewhere,
    }


class _Curve:
    """Rows flagged and rows found at every threshold that makes a difference, from the highest down."""

    def __init__(self, positive: NDArray[np.bool_], probability: Floats, costs: Costs | None) -> None:
        order = np.argsort(-probability, kind="stable")
        descending = probability[order]
        last_of_ties = np.append(np.flatnonzero(np.diff(descending)), len(order) - 1)
        # Above every probability nothing is flagged.
        self.thresholds = np.append(np.inf, descending[last_of_ties])
        self.flagged = np.append(0, last_of_ties + 1)
        self.hits = np.append(0, np.cumsum(positive[order])[last_of_ties])
        self.rows, self.positives = len(order), int(positive.sum())
        self._costs = costs

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall; 0 where nothing is found."""
        return np.asarray(2.0 * self.hits / np.maximum(1, self.flagged + self.positives))

    @property
    def cost(self) -> Floats:
        """What a row costs."""
        assert self._costs is not None
        wrong = (self.flagged - self.hits) * self._costs.false_positive
        missed = (self.positives - self.hits) * self._costs.false_negative
        return np.asarray((wrong + missed) / self.rows)

    def best(self, worth: Floats) -> float:
        """Return the threshold whose worth is greatest; the highest of several, but one that is finite."""
        if len(worth) > 1 and np.argmax(worth) == 0:
            # Nothing is to be flagged: any threshold above the highest probability says so.
            return float(np.nextafter(self.thresholds[1], np.inf))
        return float(self.thresholds[np.argmax(worth)])

    def line(self, threshold: float) -> dict[str, Any]:
        """Return what happens at a threshold."""
        # Thresholds descend: those that are at least this one flag no more rows than it does.
        at = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        flagged, hits = int(self.flagged[at]), int(self.hits[at])
        line: dict[str, Any] = {
            "threshold": threshold,
            "flagged": flagged / self.rows,
            "precision": hits / flagged if flagged else None,
            "recall": hits / self.positives if self.positives else None,
            "f1": float(self.f1[at]),
        }
        if self._costs is not None:
            line["cost"] = float(self.cost[at])
        return line
