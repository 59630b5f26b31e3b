"""Compiles what becomes of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Step

__all__ = ["ENCODERS"]


def _time_parts(transformer: Any, arrays: Arrays) -> list[Step]:
    from millrace.features.transformers import CYCLES, circle

    parts, cycles = list(transformer.parts), list(transformer.cycles)
    step = {"kind": "time-parts", "parts": parts + cycles}
    if not cycles:
        return [step]
    # A place on a circle is looked up: the same numbers wherever the plan is evaluated.
    first_and_size = [CYCLES[cycle] for cycle in cycles]
    unseen = np.full((1, 2), np.nan)
    values = np.vstack([table for _, size in first_and_size for table in (circle(size), unseen)])
    branches: list[dict[str, Any]] = []
    for start in range(0, transformer.n_features_in_ * len(parts + cycles), len(parts + cycles)):
        end = start + len(parts)
        lookup = {
            "kind": "lookup",
            "categories": [list(range(first, first + size)) for first, size in first_and_size],
            "outputs": 2,
            "values": arrays.floats(values),
        }
        branches.append({"inputs": list(range(start, end)), "steps": []})
        branches.append({"inputs": list(range(end, end + len(cycles))), "steps": [lookup]})
    return [step, {"kind": "columns", "branches": branches}]


def _time_differences(transformer: Any, arrays: Arrays) -> list[Step]:
    """Return a sum of two weighted inputs for each pair: weights of -1 and 1 round nothing but the sum."""
    branches = []
    for pair in transformer.pairs:
        sums = {
            "kind": "linear",
            "coef": arrays.floats(np.array([-1.0, 1.0])),
            "intercept": arrays.floats(np.zeros(1)),
            "link": "identity",
        }
        step = {"kind": "predictions", "members": [sums], "take": [[0]], "inputs": False}
        branches.append({"inputs": list(pair), "steps": [step]})
    return [{"kind": "columns", "branches": branches}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "TimeDifferences": _time_differences,
    "TimeParts": _time_parts,
}
