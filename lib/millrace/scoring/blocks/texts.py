"""What becomes of columns of texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.plan.kinds import WORD_PATTERN
from millrace.scoring.blocks import Column

__all__ = ["KINDS"]


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


KINDS = {"words": Words}
