"""Weighted sums, and constants.

``linear``
    ``coef`` (outputs x inputs), ``intercept``; ``background``: the mean of each input over the training
    rows, which explanations compare a row with. It may be absent or null.
``constant``
    ``values``.
"""

from __future__ import annotations

from millrace.plan.kinds import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _linear(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    intercept = array(arrays, spec["intercept"], "d", -1, "linear.intercept")
    array(arrays, spec["coef"], "d", len(intercept) * width, "linear.coef")
    if spec.get("background") is not None:
        array(arrays, spec["background"], "d", width, "linear.background")
    return len(intercept)


def _constant(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    return len(array(arrays, spec["values"], "d", -1, "constant.values"))


KINDS = {"linear": _linear, "constant": _constant}
