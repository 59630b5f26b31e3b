"""Runs an exported model and its plan on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from millrace import plan
from millrace.compiler.onnx import Difference, encode
from millrace.scoring.blocks import BlockScorer

__all__ = ["compare"]

_ALONE = 50
"""Rows that are scored one by one too: onnxruntime walks trees in another way then."""


def compare(
    plan_bytes: bytes, onnx_bytes: bytes, columns: Mapping[str, NDArray[Any]], limit: float
) -> Difference:
    """Return the difference; see :func:`millrace.compiler.onnx.check`."""
    read = plan.read(plan_bytes)
    known = {field["name"]: _known(columns[field["name"]]) for field in read.signature.fields}
    rows = len(next(iter(known.values()), ()))
    expected = BlockScorer(read).score(known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if [value.name for value in inputs] == ["encoded"] and "encoded" not in known:
        feeds: dict[str, NDArray[Any]] = {"encoded": encode(plan_bytes, known)}
    else:
        feeds = {name: _fed(column) for name, column in known.items()}
    worst, flips, ties = 0.0, 0, 0
    parts = [slice(0, rows), *(slice(i, i + 1) for i in range(min(rows, _ALONE)))]
    for number, part in enumerate(parts):
        answers = session.run(None, {name: value[part] for name, value in feeds.items()})
        found, wanted = np.asarray(answers[-1]), expected[part]
        worst = max(worst, _worst(found.reshape(wanted.shape), wanted))
        if read.classes:
            position = {name: i for i, name in enumerate(read.classes)}
            label = np.asarray([position[name] for name in answers[0].tolist()], dtype=np.int64)
            every = np.arange(len(wanted))
            gap = wanted.max(axis=1, initial=0.0) - wanted[every, label]
            other = label != wanted.argmax(axis=1)
            if number == 0 or other.any():
                flips += int((other & ~(gap <= limit)).sum())
                ties += int((other & (gap <= limit)).sum())
    passed = worst <= limit and flips == 0
    return Difference(rows, worst, flips, ties, limit, passed)


def _known(column: NDArray[Any]) -> NDArray[Any]:
    """Return the column with None for each empty text: the exported model has no other missing text."""
    if column.dtype != object:
        return np.asarray(column, dtype=np.float64)
    result = np.empty(len(column), dtype=object)
    result[:] = [value or None for value in column.tolist()]
    return result


def _fed(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype == object:
        filled = np.empty(len(column), dtype=object)
        filled[:] = [value or "" for value in column.tolist()]
        column = filled
    return column.reshape(-1, 1)


def _worst(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    difference[(found == expected) | (np.isnan(found) & np.isnan(expected))] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max(initial=0.0))
