"""Scores a block of rows with numpy, in float64: the oracle of the row path, and the engines' path.

A block is a list of columns. A numeric column is a float64 array with NaN where a value is missing; a text
column an object array of ``str`` and ``None``.

The estimator is a :class:`Node`, and so is each one inside of it: called with a block and its number of
rows, it returns its outputs, rows x outputs.

A family's module has ``KINDS``: classes made with ``(spec, arrays)``. An encoder is then called with the
block and its number of rows, and returns another; an estimator is called with a matrix, rows x inputs, and
returns its raw outputs, rows x outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.plan import Plan
from millrace.plan.kinds import ENCODERS, ESTIMATORS, of
from millrace.scoring.blocks.links import LINKS

__all__ = ["BlockScorer", "Column", "Estimator", "Floats", "Node", "Step", "steps"]

_CELLS = 1 << 22
"""Rows times values of a row that are scored at once: words and hashes may make very many values."""

Floats = NDArray[np.float64]
Column = NDArray[Any]
Step = Callable[[list[Column], int], list[Column]]
Estimator = Callable[[Floats], Floats]


class BlockScorer:
    """Scores blocks of rows of a plan.

    Parameters
    ----------
    plan : Plan
        As ``plan.read`` returns it.
    """

    def __init__(self, plan: Plan) -> None:
        self._names = [field["name"] for field in plan.signature.fields]
        self._classes = plan.classes
        self._features = steps(plan.header["features"], plan.arrays)
        self._node = Node(plan.header["estimator"], plan.arrays)
        texts = [field["type"] in ("category", "text") for field in plan.signature.fields]
        nothing = [np.empty(0, object if text else np.float64) for text in texts]
        self._rows = max(_CELLS // max(len(self._encoded(nothing, 0)), 1), 1)

    def score(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        """Score a block.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (n,)
            Converted values by field name; columns that are no field are not read.

        Returns
        -------
        ndarray, float64
            Predictions, shape (n,), for regression; probabilities, shape (n, classes), for classification.
        """
        block = [np.asarray(columns[name]) for name in self._names]
        rows = len(block[0]) if block else 0
        parts = []
        for start in range(0, max(rows, 1), self._rows):
            part = [column[start : start + self._rows] for column in block]
            size = min(rows - start, self._rows)
            parts.append(self._node(self._encoded(part, size), size))
        result = np.concatenate(parts)
        return result if self._classes else result[:, 0]

    def encoded(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        """Return what the features make of a block: the matrix that the estimator takes, rows x inputs."""
        block = [np.asarray(columns[name]) for name in self._names]
        rows = len(block[0]) if block else 0
        return _matrix(self._encoded(block, rows), rows)

    def _encoded(self, block: list[Column], rows: int) -> list[Column]:
        for step in self._features:
            block = step(block, rows)
        return block


class Node:
    """An estimator with the encoders before it and the link behind it.

    Parameters
    ----------
    spec : dict
        A node, as ``plan.kinds`` describes it.
    arrays : sequence of memoryview
        The plan's arrays.
    """

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._steps = steps(spec.get("steps", ()), arrays)
        self._estimator: Estimator = of(__name__, ESTIMATORS, spec["kind"])(spec, arrays)
        self._link = LINKS[spec["link"]]

    def __call__(self, block: list[Column], rows: int) -> Floats:
        """Return the outputs, rows x outputs."""
        for step in self._steps:
            block = step(block, rows)
        return self._link(self._estimator(_matrix(block, rows)))


def _matrix(block: list[Column], rows: int) -> Column:
    """Return the columns side by side."""
    # Only a model from elsewhere takes texts.
    texts = any(column.dtype == object for column in block)
    matrix = np.empty((rows, len(block)), dtype=object if texts else np.float64)
    for j, column in enumerate(block):
        matrix[:, j] = column
    return matrix


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

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._branches = [(branch["inputs"], steps(branch["steps"], arrays)) for branch in spec["branches"]]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for inputs, steps in self._branches:
            part = [block[i] for i in inputs]
            for step in steps:
                part = step(part, rows)
            result += part
        return result
