"""Compiles fitted estimators: one function each, by class name, in the families that plans have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.compiler import linear, trees
from millrace.compiler.common import Arrays, Compiled, name_of, not_covered

__all__ = ["ESTIMATORS", "compile_estimator"]


def compile_estimator(estimator: Any, arrays: Arrays) -> Compiled:
    """Compile a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    arrays : Arrays
        Receives the estimator's arrays.

    Returns
    -------
    steps : list of dict
        Encoders that the estimator itself puts before its computation.
    spec : dict
        The estimator of the plan.

    Raises
    ------
    BadInput
        ``estimator-not-covered``, naming the class or its parameter.
    """
    name = name_of(estimator)
    if name not in ESTIMATORS:
        raise not_covered(name)
    return ESTIMATORS[name](estimator, arrays)


ESTIMATORS: dict[str, Callable[[Any, Arrays], Compiled]] = {**linear.ESTIMATORS, **trees.ESTIMATORS}
"""By class name: ``(fitted estimator, arrays) -> (encoders before it, estimator of the plan)``."""
