"""Scores a block of rows with numpy, in float64: the oracle of the row path, and the engines' path.

A block is a list of columns. A numeric column is a float64 array with NaN where a value is missing; a text
column an object array of ``str`` and ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.plan import Plan
from millrace.plan.kinds import MASK_BITS, WORD_PATTERN

__all__ = ["ENCODERS", "ESTIMATORS", "LINKS", "BlockScorer"]

Floats = NDArray[np.float64]
Column = NDArray[Any]
Step = Callable[[list[Column], int], list[Column]]
Estimator = Callable[[Floats], Floats]

_CELLS = 1 << 21
"""Rows times trees that are walked at once: bounds the memory at some tens of megabytes."""


class BlockScorer:
    """Scores blocks of rows of a plan.

    Parameters
    ----------
    plan : Plan
        As ``plan.read`` returns it.
    """

    def __init__(self, plan: Plan) -> None:
        spec = plan.header["estimator"]
        self._names = [field["name"] for field in plan.signature.fields]
        self._classes = plan.classes
        self._features = _steps(plan.header["features"], plan.arrays)
        self._estimator: Estimator = ESTIMATORS[spec["kind"]](spec, plan.arrays)
        self._link = LINKS[spec["link"]]

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
        for step in self._features:
            block = step(block, rows)
        matrix = np.empty((rows, len(block)))
        for j, column in enumerate(block):
            matrix[:, j] = column
        result = self._link(self._estimator(matrix))
        return result if self._classes else result[:, 0]


def _steps(specs: Sequence[dict[str, Any]], arrays: Sequence[memoryview]) -> list[Step]:
    return [ENCODERS[spec["kind"]](spec, arrays) for spec in specs]


class Columns:
    """Branches side by side."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._branches = [(branch["inputs"], _steps(branch["steps"], arrays)) for branch in spec["branches"]]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for inputs, steps in self._branches:
            part = [block[i] for i in inputs]
            for step in steps:
                part = step(part, rows)
            result += part
        return result


class Impute:
    """Puts a value where none is, and says where with a column of 0 and 1."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._fill = spec["fill"]
        self._none = spec["missing"] == "none"
        self._indicators = spec["indicators"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        missing = [_is_none(column) if self._none else column != column for column in block]
        result = []
        for column, mask, value in zip(block, missing, self._fill, strict=True):
            if value is not None:
                filled = column.copy()
                filled[mask] = value
                result.append(filled)
        return result + [missing[i].astype(np.float64) for i in self._indicators]


def _is_none(column: Column) -> Column:
    return np.asarray([value is None for value in column.tolist()], dtype=bool)


class Scale:
    """Subtracts a mean and divides by a scale."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._mean = None if spec["mean"] is None else arrays[spec["mean"]].tolist()
        self._scale = None if spec["scale"] is None else arrays[spec["scale"]].tolist()

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        if self._mean is not None:
            block = [column - mean for column, mean in zip(block, self._mean, strict=True)]
        if self._scale is not None:
            block = [column / scale for column, scale in zip(block, self._scale, strict=True)]
        return block


def _codes(column: Column, table: dict[Any, Any], unknown: Any) -> list[Any]:
    return [table.get(None if value != value else value, unknown) for value in column.tolist()]


class OneHot:
    """One column for each category or group of rare ones."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._parts: list[tuple[dict[Any, int], int, int]] = []
        parts = zip(spec["categories"], spec["codes"], spec["widths"], spec["unknown"], strict=True)
        for categories, codes, width, unknown in parts:
            outputs = range(len(categories)) if codes is None else codes
            self._parts.append((dict(zip(categories, outputs, strict=True)), unknown, width))

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for column, (table, unknown, width) in zip(block, self._parts, strict=True):
            outputs = np.asarray(_codes(column, table, unknown), dtype=np.int64)
            result += [(outputs == output).astype(np.float64) for output in range(width)]
        return result


class Ordinal:
    """A number for each category."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._unknown = np.nan if spec["unknown"] is None else float(spec["unknown"])
        self._tables: list[dict[Any, float]] = []
        for categories, codes in zip(spec["categories"], spec["codes"], strict=True):
            numbers = range(len(categories)) if codes is None else codes
            values = [np.nan if number is None else float(number) for number in numbers]
            self._tables.append(dict(zip(categories, values, strict=True)))

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        return [
            np.asarray(_codes(column, table, self._unknown), dtype=np.float64)
            for column, table in zip(block, self._tables, strict=True)
        ]


class Words:
    """Weights of the words of one text (TF-IDF)."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._find = re.compile(WORD_PATTERN).findall
        self._numbers = {term: i for i, term in enumerate(spec["terms"])}
        self._idf = None if spec["idf"] is None else np.asarray(arrays[spec["idf"]])
        self._lower, self._binary, self._norm = spec["lower"], spec["binary"], spec["norm"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        weights = np.zeros((rows, len(self._numbers)))
        for row, document in enumerate(block[0].tolist()):
            text = document or ""
            for word in self._find(text.lower() if self._lower else text):
                number = self._numbers.get(word)
                if number is not None:
                    weights[row, number] += 1.0
        if self._binary:
            weights[weights > 0.0] = 1.0
        if self._idf is not None:
            weights *= self._idf
        if self._norm and weights.size:
            # accumulate() adds one by one, as scikit-learn does; sum() rounds in another way.
            lengths = np.sqrt(np.add.accumulate(weights * weights, axis=1)[:, -1])
            lengths[lengths == 0.0] = 1.0
            weights /= lengths[:, None]
        return list(weights.T)


class TimeParts:
    """Calendar parts of seconds since 1970, in UTC."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._parts = spec["parts"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for seconds in block:
            # The bounds are the years 1 to 9999; a missing value is outside them.
            known = (seconds >= -62_135_596_800.0) & (seconds < 253_402_300_800.0)
            instants = np.floor(np.where(known, seconds, 0.0)).astype("datetime64[s]")
            days, months = instants.astype("datetime64[D]"), instants.astype("datetime64[M]")
            clock = (instants - days).astype(np.int64)
            years = instants.astype("datetime64[Y]")
            values = {
                "days": seconds / 86400.0,
                "year": years.astype(np.int64) + 1970,
                "month": months.astype(np.int64) % 12 + 1,
                "day": (days - months).astype(np.int64) + 1,
                "weekday": (days.astype(np.int64) + 3) % 7,
                "day_of_year": (days - years).astype(np.int64) + 1,
                "hour": clock // 3600,
                "minute": clock // 60 % 60,
                "second": clock % 60,
            }
            result += [np.where(known, values[part], np.nan) for part in self._parts]
        return result


class Linear:
    """Weighted sums."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._intercept = np.asarray(arrays[spec["intercept"]])
        self._coef = np.asarray(arrays[spec["coef"]]).reshape(len(self._intercept), -1)

    def __call__(self, matrix: Floats) -> Floats:
        result: Floats = matrix @ self._coef.T + self._intercept
        return result


class Constant:
    """The same answer for every row."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = np.asarray(arrays[spec["values"]])

    def __call__(self, matrix: Floats) -> Floats:
        return np.tile(self._values, (len(matrix), 1))


class Trees:
    """Forests and boosted trees; ``plan.kinds`` describes the table of nodes."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._feature = np.asarray(arrays[spec["feature"]]).astype(np.int64)
        self._skip = np.asarray(arrays[spec["skip"]]).astype(np.int64)
        self._number = np.asarray(arrays[spec["number"]]).astype(np.float64)
        self._roots = np.asarray(arrays[spec["roots"]]).astype(np.int64)
        self._outputs: int = spec["outputs"]
        self._single: bool = spec["single"]
        self._mean: bool = spec["mean"]
        self._baseline = None if spec["baseline"] is None else np.asarray(arrays[spec["baseline"]])
        self._values = None
        if spec["values"] is not None:
            self._values = np.asarray(arrays[spec["values"]]).reshape(-1, self._outputs)
        self._masks = None
        if spec["masks"] is not None:
            bits = np.unpackbits(np.asarray(arrays[spec["masks"]]), bitorder="little")
            self._masks = bits.reshape(-1, MASK_BITS).astype(bool)

    def __call__(self, matrix: Floats) -> Floats:
        result = np.zeros((len(matrix), self._outputs))
        if self._baseline is not None:
            result += self._baseline
        size = max(_CELLS // max(len(self._roots), 1), 1)
        for start in range(0, len(matrix), size):
            self._add(matrix[start : start + size], result[start : start + size])
        if self._mean:
            result /= len(self._roots)
        return result

    def _add(self, matrix: Floats, result: Floats) -> None:
        """Add every tree's leaves, in the order of the trees: the order decides the last bit."""
        leaves = self._number[self._walk(matrix)]
        if self._values is not None:
            for rows in leaves.astype(np.int64):
                result += self._values[rows]
        else:
            for number, values in enumerate(leaves):
                result[:, number % self._outputs] += values

    def _walk(self, matrix: Floats) -> NDArray[np.int64]:
        """Return the leaf of each tree and row, shape (trees, rows)."""
        rows, width = matrix.shape
        if self._single:
            with np.errstate(over="ignore"):
                matrix = matrix.astype(np.float32).astype(np.float64)
        # Minus infinity is at most any number, so it goes left; NaN compares false and goes right.
        inputs = np.hstack([matrix, np.where(np.isnan(matrix), -np.inf, matrix)]).ravel()
        codes = None
        if self._masks is not None:
            with np.errstate(invalid="ignore"):
                codes = np.where((matrix >= 0.0) & (matrix < MASK_BITS - 1), matrix, MASK_BITS - 1)
            codes = codes.astype(np.int64).ravel()
        node = np.repeat(self._roots, rows)
        row = np.tile(np.arange(rows), len(self._roots))
        active = np.flatnonzero(self._skip[node])
        while len(active):
            at = node[active]
            feature, number, step = self._feature[at], self._number[at], self._skip[at]
            if self._masks is None or codes is None:
                left = inputs[row[active] * 2 * width + feature] <= number
            else:
                is_set = feature >= 2 * width
                plain = np.where(is_set, 0, feature)
                left = inputs[row[active] * 2 * width + plain] <= number
                code = codes[row[active[is_set]] * width + feature[is_set] - 2 * width]
                left[is_set] = self._masks[number[is_set].astype(np.int64), code]
            at = at + np.where(left, 1, step)
            node[active] = at
            active = active[self._skip[at] > 0]
        return node.reshape(len(self._roots), rows)


def _identity(raw: Floats) -> Floats:
    return raw


def _exponential(raw: Floats) -> Floats:
    with np.errstate(over="ignore"):
        result: Floats = np.exp(raw)
    return result


def _logistic(raw: Floats) -> Floats:
    value = raw[:, 0]
    power = np.exp(-np.abs(value))
    probability = np.where(value >= 0.0, 1.0, power) / (1.0 + power)
    return np.column_stack([1.0 - probability, probability])


def _softmax(raw: Floats) -> Floats:
    power = np.exp(raw - raw.max(axis=1, keepdims=True))
    result: Floats = power / power.sum(axis=1, keepdims=True)
    return result


ENCODERS: dict[str, Callable[[dict[str, Any], Sequence[memoryview]], Step]] = {
    "columns": Columns,
    "impute": Impute,
    "scale": Scale,
    "one-hot": OneHot,
    "ordinal": Ordinal,
    "words": Words,
    "time-parts": TimeParts,
}

ESTIMATORS: dict[str, Callable[[dict[str, Any], Sequence[memoryview]], Estimator]] = {
    "linear": Linear,
    "trees": Trees,
    "constant": Constant,
}

LINKS: dict[str, Callable[[Floats], Floats]] = {
    "identity": _identity,
    "exp": _exponential,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _identity,
}
