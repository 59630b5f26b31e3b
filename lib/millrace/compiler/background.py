"""What a plan tells of its training rows, so that its answers can be explained.

Means of encoded rows for weighted sums, and one typical row for everything else. The typical row is put
together column by column, so it is nobody's row, and the order of the rows does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.compiler.common import Arrays
from millrace.scoring.blocks import steps
from millrace.scoring.explain import weighted_sums

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["add_background", "converted"]

BACKGROUND_ROWS = 10_000
"""Training rows, evenly spread, that means are taken of: encoded, they may be wide."""
TAIL = 0.05
"""Share of a column's values at each end that its typical number does not count."""
_MEANS_ROWS = 1_000


def add_background(header: dict[str, Any], arrays: Arrays, frame: pd.DataFrame) -> None:
    """Add to a plan's header and arrays what explanations count from.

    Parameters
    ----------
    header : dict
        ``typical`` is added, and ``background`` to each weighted sum that can be explained exactly.
    arrays : Arrays
        The plan's.
    frame : DataFrame
        Training rows, as the pipeline takes them.
    """
    signature = header["signature"]
    header["typical"] = [_typical(field, frame[field["name"]].to_numpy()) for field in signature]
    rows = frame.iloc[:: -(-len(frame) // BACKGROUND_ROWS)]
    for spec, encoders in weighted_sums(header["estimator"], header["features"]) or ():
        spec["background"] = arrays.floats(_means(encoders, arrays.items, signature, rows))


def _typical(field: Mapping[str, Any], values: NDArray[Any]) -> float | str | None:
    """Return the value of a typical row; None for a missing one, as of every text."""
    kind = field["type"]
    if kind == "text":
        return None
    column = converted(values, kind)
    if kind in ("category", "boolean"):
        known = column if kind == "category" else column[~np.isnan(column)]
        counts: Counter[str | float | None] = Counter(known.tolist())
        if len(known) < len(column):
            counts[None] = len(column) - len(known)
        # Of equally frequent values one that is there, and of these the first.
        most = max(counts.values())
        return min(
            (value for value, count in counts.items() if count == most),
            key=lambda value: (value is None, value if value is not None else ""),
        )
    known = np.sort(column[~np.isnan(column)])
    if not len(known) or 2 * len(known) < len(column):
        return None
    tail = int(TAIL * len(known))
    middle = known[tail : len(known) - tail]
    # Divided first, so that no sum is too large; a rounded mean may lie outside of equal values.
    mean = float((middle / len(middle)).sum().clip(middle[0], middle[-1]))
    return float(round(mean)) if kind == "time" else mean


def _means(
    encoders: list[dict[str, Any]],
    arrays: Sequence[NDArray[Any]],
    signature: Sequence[Mapping[str, Any]],
    frame: pd.DataFrame,
) -> NDArray[np.float64]:
    """Return the mean of each encoded value, a part of the rows at a time: they may be wide."""
    encode = steps([*encoders], [memoryview(array) for array in arrays])
    total = np.zeros(0)
    for start in range(0, len(frame), _MEANS_ROWS):
        part = frame.iloc[start : start + _MEANS_ROWS]
        block = [converted(part[field["name"]].to_numpy(), field["type"]) for field in signature]
        for step in encode:
            block = step(block, len(part))
        sums = np.asarray([column.sum() for column in block])
        total = sums if start == 0 else total + sums
    return total / len(frame)


def converted(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return a frame's column as rows have it after conversion, by the type of its field."""
    if kind not in ("category", "text"):
        return values.astype(np.float64)
    # Data frames may hold a missing text as NaN; a converted row holds None.
    texts = [value if isinstance(value, str) else None for value in values.tolist()]
    result = np.empty(len(texts), dtype=object)
    result[:] = texts
    return result
