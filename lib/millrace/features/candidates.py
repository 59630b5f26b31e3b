"""The candidates that a run trains: names and families, decided before anything heavy is imported."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from millrace.contracts import Budget, Schema
from millrace.errors import BadInput

__all__ = ["CANDIDATES", "Candidate", "Family", "candidate_family", "candidate_names"]

Family = Literal["linear", "boosted", "forest"]
"""Estimators of one family want their columns in the same shape."""


@dataclass(frozen=True)
class Candidate:
    """One way to learn a table.

    Attributes
    ----------
    name : str
        How the run, the report and the registry call it.
    family : Family
        Decides the feature plan.
    about : str
        The estimator, for people.
    budgets : tuple of Budget
        The budgets that pay for it.
    """

    name: str
    family: Family
    about: str
    budgets: tuple[Budget, ...] = ("quick", "standard", "thorough")


_ALL = (
    Candidate("linear", "linear", "logistic or ridge regression on scaled and one-hot columns"),
    Candidate("boosted_trees", "boosted", "gradient boosting on histograms, categories natively"),
    Candidate("forest", "forest", "random forest"),
    Candidate("extra_trees", "forest", "extremely randomised trees"),
    Candidate(
        "boosted_trees_slow", "boosted", "gradient boosting in small steps, more rounds", ("thorough",)
    ),
    Candidate("linear_strong", "linear", "the linear candidate under a stronger penalty", ("thorough",)),
)

CANDIDATES: Mapping[str, Candidate] = types.MappingProxyType({c.name: c for c in _ALL})
"""Every candidate by name."""


def candidate_names(schema: Schema, budget: Budget) -> tuple[str, ...]:
    """Return the candidates to train, in a stable order: a candidate's index is its part of the pass.

    Parameters
    ----------
    schema : Schema
        What the whole file decided. Every candidate serves every task so far.
    budget : Budget
        What the run may spend.

    Returns
    -------
    tuple of str
        At least four names, keys of :data:`CANDIDATES`.
    """
    return tuple(candidate.name for candidate in _ALL if budget in candidate.budgets)


def candidate_family(name: str) -> Family:
    """Return the family of a candidate.

    Raises
    ------
    BadInput
        There is no such candidate.
    """
    candidate = CANDIDATES.get(name)
    if candidate is None:
        raise BadInput(
            f"There is no candidate called {name!r}",
            code="candidate-unknown",
            remedy=f"The candidates are {', '.join(CANDIDATES)}.",
        )
    return candidate.family
