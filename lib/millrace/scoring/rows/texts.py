"""What becomes of the texts of one row."""

from __future__ import annotations

import re
from math import sqrt

from millrace.plan.kinds import WORD_PATTERN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


class Words:
    """Weights of the words of one text (TF-IDF)."""

    __slots__ = ("_binary", "_find", "_idf", "_lower", "_norm", "_numbers")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        # Imported here: a model without text columns never needs it.

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


KINDS = {"words": Words}
