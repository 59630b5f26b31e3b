"""Compiles fitted estimators: one function each, by class name, in the families that plans have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.compiler import bayes, combine, linear, mlp, neighbors, svm, trees
from millrace.compiler.common import Arrays, Node, name_of, not_covered
from millrace.compiler.encoders import compile_chain
from millrace.errors import BadInput

__all__ = ["ESTIMATORS", "MARGINS", "compile_estimator", "compile_margin", "without_probabilities"]

Table = dict[str, Callable[[Any, Arrays], Node]]


def compile_estimator(estimator: Any, arrays: Arrays) -> Node:
    """Compile a fitted estimator's probabilities, or its predictions when it has no classes.

    Parameters
    ----------
    estimator : estimator
        Fitted; a pipeline that ends in one, too.
    arrays : Arrays
        Receives the estimator's arrays.

    Returns
    -------
    dict
        A node, as ``plan.kinds`` describes it.

    Raises
    ------
    BadInput
        ``estimator-not-covered``, naming the class or its parameter.
    """
    return _compile(estimator, ESTIMATORS, arrays)


def compile_margin(estimator: Any, arrays: Arrays) -> Node:
    """Compile a fitted classifier's ``decision_function``: one output for two classes, else one for each.

    Parameters, returns and raises as :func:`compile_estimator`.
    """
    return _compile(estimator, MARGINS, arrays)


def _compile(estimator: Any, table: Table, arrays: Arrays) -> Node:
    name = name_of(estimator)
    if name == "Pipeline":
        *before, (_, last) = estimator.steps
        steps = compile_chain(before, arrays)
        node = _compile(last, table, arrays)
        return {**node, "steps": steps + node.get("steps", [])}
    if name == "FrozenEstimator":
        return _compile(estimator.estimator, table, arrays)
    if name in table:
        return table[name](estimator, arrays)
    raise without_probabilities(name) if name in MARGINS else not_covered(name)


def without_probabilities(what: str) -> BadInput:
    """Return the refusal of a classifier that only decides."""
    remedy = "Put it into a CalibratedClassifierCV, which gives it probabilities."
    return not_covered(f"{what} has no probabilities and", remedy)


ESTIMATORS: Table = {
    **linear.ESTIMATORS,
    **trees.ESTIMATORS,
    **svm.ESTIMATORS,
    **bayes.ESTIMATORS,
    **neighbors.ESTIMATORS,
    **mlp.ESTIMATORS,
    **combine.ESTIMATORS,
}
"""By class name: ``(fitted estimator, arrays) -> node``."""
MARGINS: Table = {**linear.MARGINS, **trees.MARGINS, **svm.MARGINS, **combine.MARGINS}
"""By class name: the same for what ``decision_function`` returns."""
