"""The search: which candidates are trained on which folds by which invocation, and who goes on.

Everything here is decided from the schema, the rows, the budget and the scores of the first folds: never
from who was done first or how long it took, so that the same file, spec and seed give the same model. Small
tables take one round, several candidates an invocation, because starting one costs more than fitting them.
Larger ones take two: every candidate on its first fold, and the best of them on the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.contracts import LOWER_IS_BETTER, Budget, Schema
from millrace.features.candidates import CANDIDATES, candidate_names
from millrace.features.limits import LIMITS, fold_count

__all__ = [
    "SHARD_ROWS",
    "Unit",
    "Work",
    "drawn_rows",
    "exact_candidates",
    "first_round",
    "going_on",
    "second_round",
    "shards",
    "training_rows",
]

SHARD_ROWS = 1 << 17
"""Records of a shard: what one invocation sums in a round over all rows."""

TOGETHER_CELLS = 60_000
"""Rows x columns of a table whose candidates take one round, as many an invocation as the budget says."""
ONE_ROUND_CELLS = 200_000
"""Rows x columns of a table whose candidates take one round, one an invocation."""


@dataclass(frozen=True)
class Unit:
    """What one invocation trains.

    Attributes
    ----------
    part : int
        Its number in the run: where its results lie, and its part of the pass ``train``.
    candidates : tuple of str
        Names.
    folds : tuple of int
        The folds that it validates, of ``fold_count``; those that a tiny table lacks are left out.
    update : bool
        Whether it trains no candidates, but lets the live version learn the new rows.
    whole : bool
        Whether it fits its one candidate, a member of the chosen ensemble, to all rows and no folds.
    rounds : int, optional
        Boosting rounds of that.
    """

    part: int
    candidates: tuple[str, ...]
    folds: tuple[int, ...]
    update: bool = False
    whole: bool = False
    rounds: int | None = None


@dataclass(frozen=True)
class Work:
    """What a round trains, and whether another round follows it."""

    units: tuple[Unit, ...]
    more: bool = False
    exact: tuple[str, ...] = ()
    """Who is fitted to all rows afterwards; nobody where another round follows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the candidates of all units, each once."""
        return tuple(dict.fromkeys(name for unit in self.units for name in unit.candidates))


def training_rows(rows: int, budget: Budget) -> int:
    """Return on how many rows candidates are trained, of ``rows`` with a target: a fifth is held out."""
    return min(LIMITS[budget].rows, rows - rows // 5)


def first_round(schema: Schema, budget: Budget, rows: int) -> Work:
    """Return what the first round trains.

    Parameters
    ----------
    schema : Schema
        What the whole file decided.
    budget : Budget
        What the run may spend.
    rows : int
        Rows with a target.
    """
    trained = training_rows(rows, budget)
    names = candidate_names(schema, budget, trained)
    folds = tuple(range(fold_count(LIMITS[budget], trained)))
    cells = trained * len(schema.features)
    if cells <= TOGETHER_CELLS:
        # Dealt out in turns: neighbours are alike, and dear or cheap together.
        groups = -(-len(names) // LIMITS[budget].together)
        units = tuple(Unit(part, names[part::groups], folds) for part in range(groups))
    elif cells <= ONE_ROUND_CELLS:
        units = tuple(Unit(part, (name,), folds) for part, name in enumerate(names))
    else:
        return Work(tuple(Unit(part, (name,), folds[:1]) for part, name in enumerate(names)), more=True)
    return Work(units, exact=exact_candidates(schema, budget, rows, names))


def going_on(
    names: Sequence[str], scores: Mapping[str, float | None], metric: str, budget: Budget
) -> tuple[str, ...]:
    """Return the candidates that go on after the first fold.

    The best of each family goes on, because ensembles live on what is unlike, and then the best of the
    others until there are as many as the budget keeps.

    Parameters
    ----------
    names : sequence of str
        The run's candidates, in their order, which decides ties.
    scores : mapping of str to float or None
        By name, scores on the first fold; None where the metric is not defined there. Those that failed are
        not among them.
    metric : str
        What the scores are.
    budget : Budget
        What the run may spend.
    """
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0

    def loss(name: str) -> float:
        score = scores[name]
        return math.inf if score is None else sign * score

    ranked = sorted((name for name in names if name in scores), key=loss)
    families: set[str] = set()
    first: list[str] = []
    for name in ranked:
        if CANDIDATES[name].family not in families:
            families.add(CANDIDATES[name].family)
            first.append(name)
    kept = [*first, *(name for name in ranked if name not in first)][: max(LIMITS[budget].kept, 1)]
    return tuple(name for name in names if name in kept)


def second_round(schema: Schema, budget: Budget, rows: int, names: Sequence[str]) -> tuple[Unit, ...]:
    """Return what the second round trains: the other folds of those that go on; nothing after one round.

    Parameters
    ----------
    schema, budget, rows
        As for :func:`first_round`.
    names : sequence of str
        Who goes on.
    """
    first = first_round(schema, budget, rows)
    if not first.more:
        return ()
    trained = training_rows(rows, budget)
    folds = range(1, fold_count(LIMITS[budget], trained))
    # Each by itself: on tables of this size a fit takes about as long as the start of a function.
    pairs = [(name, fold) for name in names for fold in folds]
    return tuple(Unit(len(first.units) + i, (name,), (fold,)) for i, (name, fold) in enumerate(pairs))


def drawn_rows(budget: Budget) -> int:
    """Return the most rows that training reads; of a larger table it draws about so many."""
    return 2 * LIMITS[budget].rows


def exact_candidates(schema: Schema, budget: Budget, rows: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return which candidates' weights are fitted to all rows, in rounds over shards: the linear ones.

    None are where training takes the table whole, nor where rows are ordered in time or belong to groups:
    which of them lie behind the held-out ones, or in their groups, only the drawn rows tell. Nor are those
    that weigh rows or classes, or have another loss than what the rounds sum.

    Parameters
    ----------
    schema, budget, rows
        As for :func:`first_round`.
    names : sequence of str
        The candidates of the last round.
    """
    drawn = schema.time_column is not None or schema.group_column is not None
    weighed = schema.weight_column is not None or schema.class_weight == "balanced"
    if rows <= drawn_rows(budget) or drawn or weighed or schema.loss == "quantile":
        return ()
    return tuple(name for name in names if CANDIDATES[name].kind == "linear")


def shards(records: int) -> int:
    """Return into how many shards so many records fall."""
    return -(-records // SHARD_ROWS)
