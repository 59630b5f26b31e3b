"""What a budget buys: bounds in rows, rounds and leaves, never in seconds.

A bound in seconds would make the model depend on how busy the machine was.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.contracts import Budget

__all__ = [
    "LIMITS",
    "Limits",
    "boosting_rounds",
    "fold_count",
    "forest_size",
    "network_epochs",
    "split_columns",
]

MANY_ROWS = 20_000
"""Above it, 3 folds say as much as 5: the error of a score falls with the rows that it is taken on."""
FEWEST_ROUNDS = 50
HISTOGRAM_ROWS = 2_000
"""What a tree costs beside its rows, in rows: each of its leaves sums a histogram a column."""
FEWEST_TREES = 40
FOREST_FEATURES = 40
"""Most columns that a split of a regression forest looks at."""
NETWORK_STEPS = 4_000
"""Most steps of a network's optimiser, of ``NETWORK_BATCH`` rows each."""
NETWORK_BATCH = 64


@dataclass(frozen=True)
class Limits:
    """Bounds of one candidate.

    Attributes
    ----------
    rows : int
        Most rows that a candidate is trained on; a larger table is sampled.
    folds : int
        Folds of the cross-validation, on at most ``MANY_ROWS`` rows.
    rounds : int
        Most boosting rounds; early stopping usually ends before.
    boosted_trees : int
        Most trees of a boosted model, one a class and round: this bounds the plan.
    boosting_cells : int
        Most rows x columns x trees that one boosted fit goes through, its histograms counted as rows.
    trees : int
        Most trees of a forest.
    leaf_values : int
        Most leaves x classes of a whole forest: this bounds the plan, at 8 bytes a value and
        about twice that for the splits.
    tree_rows : int
        Most rows that one tree of a forest sees.
    forest_cells : int
        Most rows x columns x trees that one fit of a forest goes through, counting the columns that a
        split looks at.
    kept : int
        Candidates that go on after the first fold, where the table is large enough to stop the others.
    members : int
        Most candidates that an ensemble has; with 1, the best candidate is the model.
    together : int
        Candidates that an invocation trains on a small table; 1 where a fit takes longer than a start.
    """

    rows: int
    folds: int
    rounds: int
    boosted_trees: int
    boosting_cells: int
    trees: int
    leaf_values: int
    tree_rows: int
    forest_cells: int
    kept: int
    members: int
    together: int


LIMITS: Mapping[Budget, Limits] = types.MappingProxyType(
    {
        "quick": Limits(50_000, 3, 150, 600, 200_000_000, 80, 60_000, 10_000, 4_000_000, 2, 1, 3),
        "standard": Limits(200_000, 5, 400, 1_000, 300_000_000, 200, 160_000, 12_000, 8_000_000, 5, 4, 3),
        "thorough": Limits(
            1_000_000, 5, 1_000, 4_000, 10_000_000_000, 400, 400_000, 50_000, 100_000_000, 8, 6, 1
        ),
    }
)
"""Bounds by budget."""


def fold_count(limits: Limits, rows: int) -> int:
    """Return how many folds a table of ``rows`` rows is cut into."""
    return limits.folds if rows <= MANY_ROWS else min(limits.folds, 3)


def boosting_rounds(limits: Limits, rows: int, columns: int, outputs: int) -> int:
    """Return the most rounds of a boosted model with ``outputs`` trees a round."""
    affordable = limits.boosting_cells // ((rows + HISTOGRAM_ROWS) * columns * outputs)
    return min(limits.rounds, max(FEWEST_ROUNDS, affordable), max(1, limits.boosted_trees // outputs))


def forest_size(limits: Limits, rows: int, columns: int, outputs: int) -> tuple[int, int]:
    """Return the trees of a forest and the most leaves of each.

    A full tree on r rows has about r / 2 leaves, so small tables afford all their trees and large ones
    fewer, each cut at its share of the leaves.

    Parameters
    ----------
    limits : Limits
        Bounds of the budget.
    rows, columns : int
        Rows to fit to, and columns that a split looks at.
    outputs : int
        Values of a leaf: classes, or 1.
    """
    seen = min(rows, limits.tree_rows)
    leaves = limits.leaf_values // outputs
    affordable = min(leaves // max(1, seen // 2), limits.forest_cells // (seen * columns))
    trees = max(FEWEST_TREES, min(limits.trees, affordable))
    return trees, max(2, leaves // trees)


def split_columns(columns: int, *, regression: bool, share: float = 1.0) -> int:
    """Return how many columns a split of a forest looks at; ``share`` of what is usual."""
    usual = min(round(0.6 * share * columns), FOREST_FEATURES) if regression else round(share * columns**0.5)
    return max(1, min(usual, columns))


def network_epochs(rows: int) -> tuple[int, int]:
    """Return the rows of a step of a network's optimiser, and how often it goes through all rows at most."""
    batch = min(NETWORK_BATCH, max(8, rows // 8))
    return batch, max(10, min(100, NETWORK_STEPS * batch // max(1, rows)))
