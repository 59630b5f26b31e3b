"""The portfolio: the candidates that a run trains, decided before anything heavy is imported.

Its members were chosen beforehand for what they know that the others do not; how is in
``docs/decisions/portfolio.md``. Which of them a run trains depends on its schema, its rows and its budget
alone.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from millrace.contracts import Budget, Loss, Schema
from millrace.errors import BadInput

__all__ = ["CANDIDATES", "Candidate", "Family", "Kind", "candidate", "candidate_names"]

Family = Literal["linear", "boosted", "forest"]
"""Estimators of one family want their columns in the same shape."""
Kind = Literal["linear", "log_linear", "boosted", "forest", "extra_trees", "network", "vectors"]
"""Which estimator it is; see :mod:`millrace.training.estimators`."""

_POSITIVE: tuple[Kind, ...] = ("log_linear", "boosted", "forest", "extra_trees")
LOSS_KINDS: Mapping[Loss, tuple[Kind, ...]] = types.MappingProxyType(
    {"quantile": ("linear", "boosted"), "poisson": _POSITIVE, "gamma": _POSITIVE, "tweedie": _POSITIVE}
)
"""By losses that not every kind can serve, those that can: that predict a quantile, or nothing below 0."""
QUANTILE_ROWS = 2_000
"""Most rows for a linear model of a quantile, whose cost grows with their square."""

_NO_SETTINGS: Mapping[str, float] = types.MappingProxyType({})


@dataclass(frozen=True)
class Candidate:
    """One way to learn a table.

    Attributes
    ----------
    name : str
        How the run, the report and the registry call it.
    family : Family
        Decides the feature plan.
    kind : Kind
        Decides the estimator.
    about : str
        The estimator, for people.
    budgets : tuple of Budget
        The budgets that pay for it.
    settings : mapping of str to float
        Parameters in which it departs from others of its kind.
    most_rows : int or None
        It is for tables with at most so many rows: its cost grows faster than they do.
    tasks : tuple of str
        The tasks that it is for.
    counts : bool
        Whether it is for targets that are never negative.
    texts : bool
        Whether it is for tables with texts, too, whose words are thousands of columns.
    """

    name: str
    family: Family
    kind: Kind
    about: str
    budgets: tuple[Budget, ...] = ("quick", "standard", "thorough")
    settings: Mapping[str, float] = field(default=_NO_SETTINGS)
    most_rows: int | None = None
    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")
    counts: bool = False
    texts: bool = True


_MORE: tuple[Budget, ...] = ("standard", "thorough")
_MOST: tuple[Budget, ...] = ("thorough",)

_ALL = (
    Candidate("linear", "linear", "linear", "logistic or ridge regression on scaled and one-hot columns"),
    Candidate("boosted_trees", "boosted", "boosted", "gradient boosting on histograms, categories natively"),
    Candidate("forest", "forest", "forest", "random forest"),
    Candidate("extra_trees", "forest", "extra_trees", "extremely randomised trees"),
    Candidate(
        "linear_strong",
        "linear",
        "linear",
        "the linear candidate under a stronger penalty",
        _MORE,
        {"penalty": 20.0},
    ),
    Candidate(
        "boosted_shallow",
        "boosted",
        "boosted",
        "gradient boosting of small trees that look at few columns",
        _MORE,
        {"leaves": 6, "columns": 0.3, "step": 0.08},
    ),
    Candidate(
        "boosted_deep",
        "boosted",
        "boosted",
        "gradient boosting of large trees in small steps",
        _MORE,
        {"leaves": 63, "columns": 0.7, "step": 0.04, "fewest": 30},
    ),
    Candidate(
        "boosted_counts",
        "boosted",
        "boosted",
        "gradient boosting with a logarithmic link, for targets that are never negative",
        _MORE,
        {"log": 1},
        tasks=("regression",),
        counts=True,
    ),
    Candidate(
        "log_linear",
        "linear",
        "log_linear",
        "Poisson regression: the logarithm of the mean is linear in the columns",
        _MORE,
        most_rows=50_000,
        tasks=("regression",),
        counts=True,
    ),
    Candidate(
        "network",
        "linear",
        "network",
        "a neural network with one hidden layer",
        _MORE,
        {"width": 64, "penalty": 0.03},
        most_rows=10_000,
    ),
    Candidate(
        "support_vectors",
        "linear",
        "vectors",
        "support vectors under a radial kernel, calibrated",
        _MORE,
        most_rows=3_000,
        tasks=("binary", "multiclass"),
        texts=False,
    ),
    Candidate(
        "linear_weak",
        "linear",
        "linear",
        "the linear candidate under a weaker penalty",
        _MOST,
        {"penalty": 0.1},
    ),
    Candidate(
        "boosted_trees_slow",
        "boosted",
        "boosted",
        "gradient boosting in very small steps, more rounds",
        _MOST,
        {"step": 0.02},
    ),
    Candidate(
        "forest_coarse",
        "forest",
        "forest",
        "random forest with larger leaves",
        _MOST,
        {"fewest": 10, "columns": 1.5},
    ),
    Candidate(
        "network_wide",
        "linear",
        "network",
        "a wider neural network with two hidden layers",
        _MOST,
        {"width": 128, "second": 64, "penalty": 0.3},
        most_rows=20_000,
    ),
)

CANDIDATES: Mapping[str, Candidate] = types.MappingProxyType({c.name: c for c in _ALL})
"""Every candidate by name."""


def candidate_names(schema: Schema, budget: Budget, rows: int) -> tuple[str, ...]:
    """Return the candidates to train, in a stable order.

    Parameters
    ----------
    schema : Schema
        What the whole file decided.
    budget : Budget
        What the run may spend.
    rows : int
        Rows that a candidate is trained on.

    Returns
    -------
    tuple of str
        Keys of :data:`CANDIDATES`; at least four names, but for the losses that few estimators have.
    """
    lowest = schema.column(schema.target).minimum
    kinds = LOSS_KINDS.get(schema.loss) if schema.task == "regression" else None
    has_texts = any(column.type == "text" for column in schema.features)
    return tuple(
        each.name
        for each in _ALL
        if budget in each.budgets
        and schema.task in each.tasks
        and (each.most_rows is None or rows <= each.most_rows)
        and (not each.counts or (lowest is not None and lowest >= 0.0))
        and (each.texts or not has_texts)
        and (kinds is None or each.kind in kinds)
        and not (schema.loss == "quantile" and each.kind == "linear" and rows > QUANTILE_ROWS)
    )


def candidate(name: str) -> Candidate:
    """Return the candidate of a name.

    Raises
    ------
    BadInput
        There is no such candidate.
    """
    found = CANDIDATES.get(name)
    if found is None:
        raise BadInput(
            f"There is no candidate called {name!r}",
            code="candidate-unknown",
            remedy=f"The candidates are {', '.join(CANDIDATES)}.",
        )
    return found
