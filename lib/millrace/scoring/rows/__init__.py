"""Scores one row at a time, with the standard library alone, in float64.

For one row this is faster than numpy and needs none of its start-up time: a row of 200 boosted trees takes
less than 0.1 ms, and a plan of a few megabytes is ready in milliseconds.

The estimator is a :class:`Node`, and so is each one inside of it.

A family's module has ``KINDS``: classes made with ``(spec, arrays)``. An encoder is then called with the
row's values and returns others; an estimator is called with floats and returns its raw outputs.

Rows of words and of many categories are mostly zeros. An encoder that makes such rows has ``width`` and
``sparse``, which returns the outputs that are not 0, ascending, and their values; an estimator that needs no
others has ``sparse``, which takes these two. Where both stand together the zeros are never made.
"""

from __future__ import annotations

from itertools import compress

from millrace.plan.kinds import ENCODERS, ESTIMATORS, of
from millrace.scoring.rows.links import LINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from millrace.plan import Plan

    Value = float | str | None
    Step = Callable[[Sequence[Any]], list[Any]]
    Estimator = Callable[[list[float]], list[float]]

__all__ = ["Node", "RowScorer", "steps"]

_WIDE = 64
"""Outputs of an encoder beyond which it is quicker to leave out those that are 0."""


class RowScorer:
    """Scores rows of a plan.

    Parameters
    ----------
    plan : Plan
        As ``plan.read`` returns it.
    """

    __slots__ = ("_classes", "_features", "_node")

    def __init__(self, plan: Plan) -> None:
        self._classes = plan.classes
        self._features = steps(plan.header["features"], plan.arrays)
        self._node = Node(plan.header["estimator"], plan.arrays)
        last = self._features[-1] if self._features else None
        if isinstance(last, Columns) and last.is_wide and self._node.take_sparse():
            self._features[-1] = last.sparse

    def score(self, values: Sequence[Value]) -> tuple[float | str, list[float] | None]:
        """Score one row.

        Parameters
        ----------
        values : sequence
            Converted values, as ``plan.signature.convert_row`` returns them.

        Returns
        -------
        prediction : float or str
            A number for regression, the most probable class for classification (the first of equals).
        probabilities : list of float or None
            In the order of ``plan.classes``; None for regression.
        """
        row: Sequence[Any] = values
        for step in self._features:
            row = step(row)
        result = self._node(row)
        if not self._classes:
            return result[0], None
        return self._classes[result.index(max(result))], result


class Node:
    """An estimator with the encoders before it and the link behind it.

    Parameters
    ----------
    spec : dict
        A node, as ``plan.kinds`` describes it.
    arrays : sequence of memoryview
        The plan's arrays.
    """

    __slots__ = ("_estimator", "_link", "_steps")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._steps = steps(spec.get("steps", ()), arrays)
        self._estimator: Estimator = of(__name__, ESTIMATORS, spec["kind"])(spec, arrays)
        self._link = LINKS[spec["link"]]

    def take_sparse(self) -> bool:
        """Take rows without their zeros from now on, and return whether the estimator can."""
        sparse = getattr(self._estimator, "sparse", None)
        if self._steps or sparse is None:
            return False
        self._estimator = sparse
        return True

    def __call__(self, row: Sequence[Any]) -> list[float]:
        """Return the outputs for a row."""
        for step in self._steps:
            row = step(row)
        return self._link(self._estimator(row))  # type: ignore[arg-type]


def steps(specs: Sequence[dict[str, Any]], arrays: Sequence[memoryview]) -> list[Step]:
    """Return the encoders of the specifications."""
    return [
        Columns(spec, arrays)
        if spec["kind"] == "columns"
        else of(__name__, ENCODERS, spec["kind"])(spec, arrays)
        for spec in specs
    ]


class Columns:
    """Branches side by side."""

    __slots__ = ("_branches",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._branches = [(branch["inputs"], steps(branch["steps"], arrays)) for branch in spec["branches"]]

    @property
    def is_wide(self) -> bool:
        """Whether a branch ends in so many values that leaving out the zeros pays."""
        ends: list[Any] = [steps[-1] for _, steps in self._branches if steps]
        return any(getattr(end, "width", 0) > _WIDE for end in ends)

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result: list[Any] = []
        for inputs, steps in self._branches:
            part: Sequence[Any] = [row[i] for i in inputs]
            for step in steps:
                part = step(part)
            result += part
        return result

    def sparse(self, row: Sequence[Any]) -> Any:
        """Return the outputs that are not 0, ascending, and their values."""
        outputs: list[int] = []
        values: list[Any] = []
        start = 0
        for inputs, steps in self._branches:
            part: Any = [row[i] for i in inputs]
            for step in steps[:-1]:
                part = step(part)
            last: Any = steps[-1] if steps else list
            if hasattr(last, "width"):  # branches inside of branches have none
                found, weights = last.sparse(part)
                outputs += [start + output for output in found]
                values += weights
                start += last.width
                continue
            part = last(part)
            outputs += compress(range(start, start + len(part)), part)
            values += filter(None, part)
            start += len(part)
        return outputs, values
