"""Scores one row at a time, with the standard library alone, in float64.

For one row this is faster than numpy and needs none of its start-up time: a row of 200 boosted trees takes
less than 0.1 ms, and a plan of a few megabytes is ready in milliseconds.
"""

from __future__ import annotations

from itertools import compress
from math import exp, floor, sqrt
from operator import add, mul, sub, truediv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from millrace.plan import Plan

    Value = float | str | None
    Step = Callable[[Sequence[Any]], list[Any]]
    Estimator = Callable[[list[float]], list[float]]

__all__ = ["ENCODERS", "ESTIMATORS", "LINKS", "RowScorer"]

_INFINITY = float("inf")
_NAN = float("nan")
_LIST_LIMIT = 1 << 18
"""Tables of up to this many nodes become lists, which are quicker to walk. A larger one stays a view into
the file: turning it into lists would take longer than its first rows, and several times its memory."""


class RowScorer:
    """Scores rows of a plan.

    Parameters
    ----------
    plan : Plan
        As ``plan.read`` returns it.
    """

    __slots__ = ("_classes", "_estimator", "_features", "_link")

    def __init__(self, plan: Plan) -> None:
        spec = plan.header["estimator"]
        self._classes = plan.classes
        self._features = _steps(plan.header["features"], plan.arrays)
        self._estimator: Estimator = ESTIMATORS[spec["kind"]](spec, plan.arrays)
        self._link = LINKS[spec["link"]]

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
        result = self._link(self._estimator(row))  # type: ignore[arg-type]
        if not self._classes:
            return result[0], None
        return self._classes[result.index(max(result))], result


def _steps(specs: Sequence[dict[str, Any]], arrays: Sequence[memoryview]) -> list[Step]:
    return [ENCODERS[spec["kind"]](spec, arrays) for spec in specs]


class Columns:
    """Branches side by side."""

    __slots__ = ("_branches",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._branches = [(branch["inputs"], _steps(branch["steps"], arrays)) for branch in spec["branches"]]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result: list[Any] = []
        for inputs, steps in self._branches:
            part: Sequence[Any] = [row[i] for i in inputs]
            for step in steps:
                part = step(part)
            result += part
        return result


class Impute:
    """Puts a value where none is, and says where with a column of 0 and 1."""

    __slots__ = ("_fill", "_indicators", "_none")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._fill = [(i, value) for i, value in enumerate(spec["fill"]) if value is not None]
        self._none = spec["missing"] == "none"
        self._indicators = spec["indicators"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        if self._none:
            result = [value if row[i] is None else row[i] for i, value in self._fill]
            return result + [1.0 if row[i] is None else 0.0 for i in self._indicators]
        result = [value if row[i] != row[i] else row[i] for i, value in self._fill]
        return result + [1.0 if row[i] != row[i] else 0.0 for i in self._indicators]


class Scale:
    """Subtracts a mean and divides by a scale."""

    __slots__ = ("_mean", "_scale")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._mean = None if spec["mean"] is None else arrays[spec["mean"]].tolist()
        self._scale = None if spec["scale"] is None else arrays[spec["scale"]].tolist()

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result = list(row)
        if self._mean is not None:
            result = list(map(sub, result, self._mean))
        if self._scale is not None:
            result = list(map(truediv, result, self._scale))
        return result


def _table(categories: Sequence[Any], codes: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(categories, codes, strict=True))


class OneHot:
    """One column for each category or group of rare ones."""

    __slots__ = ("_tables", "_width")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._tables: list[tuple[dict[Any, int], int]] = []
        self._width = 0
        parts = zip(spec["categories"], spec["codes"], spec["widths"], spec["unknown"], strict=True)
        for categories, codes, width, unknown in parts:
            outputs = range(len(categories)) if codes is None else codes
            table = _table(categories, [self._width + output for output in outputs])
            self._tables.append((table, -1 if unknown < 0 else self._width + unknown))
            self._width += width

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result = [0.0] * self._width
        for value, (table, unknown) in zip(row, self._tables, strict=True):
            output = table.get(None if value != value else value, unknown)
            if output >= 0:
                result[output] = 1.0
        return result


class Ordinal:
    """A number for each category."""

    __slots__ = ("_tables", "_unknown")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._unknown = _NAN if spec["unknown"] is None else float(spec["unknown"])
        self._tables: list[dict[Any, float]] = []
        for categories, codes in zip(spec["categories"], spec["codes"], strict=True):
            numbers = range(len(categories)) if codes is None else codes
            self._tables.append(_table(categories, [_NAN if n is None else float(n) for n in numbers]))

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        unknown = self._unknown
        return [
            table.get(None if value != value else value, unknown)
            for value, table in zip(row, self._tables, strict=True)
        ]


class Words:
    """Weights of the words of one text (TF-IDF)."""

    __slots__ = ("_binary", "_find", "_idf", "_lower", "_norm", "_numbers")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        # Imported here: a model without text columns never needs it.
        import re

        from millrace.plan.kinds import WORD_PATTERN

        self._find = re.compile(WORD_PATTERN).findall
        self._numbers = {term: i for i, term in enumerate(spec["terms"])}
        self._idf = None if spec["idf"] is None else arrays[spec["idf"]].tolist()
        self._lower, self._binary, self._norm = spec["lower"], spec["binary"], spec["norm"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        text = row[0] or ""
        result = [0.0] * len(self._numbers)
        found: set[int] = set()
        for word in self._find(text.lower() if self._lower else text):
            number = self._numbers.get(word)
            if number is not None:
                found.add(number)
                result[number] += 1.0
        squares = 0.0
        # In the order of the terms, and not by sum(): a tree may split between two texts whose weights
        # differ in the last bit, so that bit has to be scikit-learn's.
        for number in sorted(found):
            weight = 1.0 if self._binary else result[number]
            if self._idf is not None:
                weight *= self._idf[number]
            result[number] = weight
            squares += weight * weight
        if self._norm and squares:
            length = sqrt(squares)
            for number in found:
                result[number] /= length
        return result


class TimeParts:
    """Calendar parts of seconds since 1970, in UTC."""

    __slots__ = ("_parts",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._parts = spec["parts"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result: list[float] = []
        for seconds in row:
            # The bounds are the years 1 to 9999; a missing value is outside them.
            if not -62_135_596_800.0 <= seconds < 253_402_300_800.0:
                result += [_NAN] * len(self._parts)
                continue
            parts = _calendar(seconds)
            result += [parts[part] for part in self._parts]
        return result


def _calendar(seconds: float) -> dict[str, float]:
    # civil_from_days of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    days, clock = divmod(floor(seconds), 86400)
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_from_march = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_from_march + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (month <= 2)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return {
        "days": seconds / 86400.0,
        "year": float(year),
        "month": float(month),
        "day": float(day_from_march - (153 * month_from_march + 2) // 5 + 1),
        "weekday": float((days + 3) % 7),
        "day_of_year": float(day_from_march - 305 if month <= 2 else day_from_march + 60 + leap),
        "hour": float(clock // 3600),
        "minute": float(clock // 60 % 60),
        "second": float(clock % 60),
    }


class Linear:
    """Weighted sums."""

    __slots__ = ("_rows",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        coef, intercept = arrays[spec["coef"]].tolist(), arrays[spec["intercept"]].tolist()
        width = len(coef) // len(intercept)
        self._rows = [(coef[k * width : (k + 1) * width], bias) for k, bias in enumerate(intercept)]

    def __call__(self, row: list[float]) -> list[float]:
        # One-hot and word columns are mostly zeros, and leaving those out costs less than adding them.
        values = list(filter(None, row))
        return [sum(map(mul, values, compress(weights, row))) + bias for weights, bias in self._rows]


class Constant:
    """The same answer for every row."""

    __slots__ = ("_values",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = arrays[spec["values"]].tolist()

    def __call__(self, row: list[float]) -> list[float]:
        return list(self._values)


class Trees:
    """Forests and boosted trees; ``plan.kinds`` describes the table of nodes."""

    __slots__ = (
        "_baseline",
        "_feature",
        "_masks",
        "_mean",
        "_number",
        "_outputs",
        "_roots",
        "_single",
        "_skip",
        "_values",
    )

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._feature = _quick(arrays[spec["feature"]])
        self._skip = _quick(arrays[spec["skip"]])
        self._number = _quick(arrays[spec["number"]])
        self._roots: list[int] = arrays[spec["roots"]].tolist()
        self._outputs: int = spec["outputs"]
        self._single: bool = spec["single"]
        self._mean = float(len(self._roots)) if spec["mean"] else 0.0
        zeros = [0.0] * self._outputs
        self._baseline = zeros if spec["baseline"] is None else arrays[spec["baseline"]].tolist()
        self._values: list[list[float]] | None = None
        if spec["values"] is not None:
            flat, k = arrays[spec["values"]].tolist(), self._outputs
            self._values = [flat[i : i + k] for i in range(0, len(flat), k)]
        # By float, as the nodes name them; as text, because a text's items are the quickest to look up.
        self._masks: dict[float, str] = {}
        if spec["masks"] is not None:
            masks = bytes(arrays[spec["masks"]])
            for i in range(0, len(masks), 32):
                bits = int.from_bytes(masks[i : i + 32], "little")
                self._masks[i / 32] = f"{bits:0256b}"[::-1]

    def __call__(self, row: list[float]) -> list[float]:
        inputs = self._inputs(row)
        result = list(self._baseline)
        leaves = self._sets(inputs, 2 * len(row)) if self._masks else self._leaves(inputs)
        if self._values is not None:
            for leaf in leaves:
                result = list(map(add, result, self._values[int(leaf)]))
        elif self._outputs == 1:
            # A loop, not sum(): that rounds in another way since Python 3.12.
            total = result[0]
            for leaf in leaves:
                total += leaf
            result[0] = total
        else:
            for number, leaf in enumerate(leaves):
                result[number % self._outputs] += leaf
        return [value / self._mean for value in result] if self._mean else result

    def _inputs(self, row: list[float]) -> list[Any]:
        """Return the row thrice: missing goes right, missing goes left, as codes of categories."""
        if self._single:
            from array import array

            row = array("f", row).tolist()
        # Minus infinity is at most any number, so it goes left; NaN compares false and goes right.
        total = sum(row)
        inputs: list[Any] = row + (row if total == total else [-_INFINITY if v != v else v for v in row])
        if self._masks:
            inputs += [int(v) if 0.0 <= v < 255.0 else 255 for v in row]
        return inputs

    def _leaves(self, inputs: list[Any]) -> list[float]:
        feature, skip, number = self._feature, self._skip, self._number
        leaves = []
        for node in self._roots:
            while step := skip[node]:
                if inputs[feature[node]] <= number[node]:
                    node += 1
                else:
                    node += step
            leaves.append(number[node])
        return leaves

    def _sets(self, inputs: list[Any], first_set: int) -> list[float]:
        feature, skip, number, masks = self._feature, self._skip, self._number, self._masks
        leaves = []
        for node in self._roots:
            while step := skip[node]:
                chosen = feature[node]
                if chosen < first_set:
                    if inputs[chosen] <= number[node]:
                        node += 1
                    else:
                        node += step
                elif masks[number[node]][inputs[chosen]] == "1":
                    node += 1
                else:
                    node += step
            leaves.append(number[node])
        return leaves


def _quick(array: memoryview) -> Any:
    return array.tolist() if len(array) <= _LIST_LIMIT else array


def _identity(raw: list[float]) -> list[float]:
    return raw


def _exp(value: float) -> float:
    try:
        return exp(value)
    except OverflowError:
        return _INFINITY


def _exponential(raw: list[float]) -> list[float]:
    return [_exp(value) for value in raw]


def _logistic(raw: list[float]) -> list[float]:
    value = raw[0]
    if value >= 0.0:
        probability = 1.0 / (1.0 + exp(-value))
    else:
        power = exp(value)
        probability = power / (1.0 + power)
    return [1.0 - probability, probability]


def _softmax(raw: list[float]) -> list[float]:
    highest = max(raw)
    powers = [exp(value - highest) for value in raw]
    total = sum(powers)
    return [power / total for power in powers]


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

LINKS = {
    "identity": _identity,
    "exp": _exponential,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _identity,
}
