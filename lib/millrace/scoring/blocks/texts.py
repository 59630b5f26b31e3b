"""What becomes of columns of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.plan.kinds.texts import with_defaults
from millrace.scoring.blocks import Column, Floats
from millrace.scoring.rows.texts import hashed, tokens

__all__ = ["KINDS"]


def _weighed(counts: Floats, spec: dict[str, Any], idf: Floats | None) -> list[Column]:
    there = counts != 0.0
    if spec.get("sublinear"):
        with np.errstate(all="ignore"):
            np.log(counts, out=counts, where=there)
        counts[there] += 1.0
    if idf is not None:
        counts *= idf
    if spec["norm"] is not None and counts.size:
        # accumulate() adds one by one, as scikit-learn does; sum() rounds in another way.
        sizes = counts * counts if spec["norm"] == "l2" else np.abs(counts)
        lengths = np.add.accumulate(sizes, axis=1)[:, -1]
        lengths = np.sqrt(lengths) if spec["norm"] == "l2" else lengths
        lengths[lengths == 0.0] = 1.0
        counts /= lengths[:, None]
    return list(counts.T)


def _idf(spec: dict[str, Any], arrays: Sequence[memoryview]) -> Floats | None:
    return None if spec["idf"] is None else np.asarray(arrays[spec["idf"]])


class Words:
    """Weights of the terms in documents."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._spec = with_defaults(spec)
        self._tokens = tokens(self._spec)
        self._numbers = {term: i for i, term in enumerate(spec["terms"])}
        self._idf = _idf(spec, arrays)

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        counts = np.zeros((rows, len(self._spec["terms"])))
        for row, document in enumerate(zip(*[column.tolist() for column in block], strict=True)):
            for token in self._tokens(document):
                number = self._numbers.get(token)
                if number is not None:
                    counts[row, number] += 1.0
        if self._spec["binary"]:
            counts[counts > 0.0] = 1.0
        return _weighed(counts, self._spec, self._idf)


class Hash:
    """Counts of documents' tokens, each at its hash."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._spec = spec
        self._tokens = tokens(spec)

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        width, signed, binary = self._spec["width"], self._spec["signed"], self._spec["binary"]
        counts = np.zeros((rows, width))
        for row, document in enumerate(zip(*[column.tolist() for column in block], strict=True)):
            for token in self._tokens(document):
                output, count = hashed(token, width, signed)
                counts[row, output] = 1.0 if binary else counts[row, output] + count
        return _weighed(counts, self._spec, None)


class Weigh:
    """Weights of counts that are there already."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._spec, self._idf = spec, _idf(spec, arrays)

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        counts = np.column_stack(block) if block else np.empty((rows, 0))
        return _weighed(counts.astype(np.float64), self._spec, self._idf)


KINDS = {"words": Words, "hash": Hash, "weigh": Weigh}
