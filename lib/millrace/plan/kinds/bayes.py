"""Naive Bayes. That over counts is ``linear``.

``gaussian``
    For each class: ``mean`` and ``variance`` (classes x inputs), ``norm`` and ``prior``. The output of a
    class is prior + (norm - s / 2), where s sums (x - mean)^2 / variance over the inputs.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, array, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _gaussian(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    prior = array(arrays, spec["prior"], "d", -1, "gaussian.prior")
    fits(0 < len(prior) <= MAX_WIDTH, "gaussian.prior")
    array(arrays, spec["norm"], "d", len(prior), "gaussian.norm")
    array(arrays, spec["mean"], "d", len(prior) * width, "gaussian.mean")
    variance = array(arrays, spec["variance"], "d", len(prior) * width, "gaussian.variance")
    # Inputs are divided by it.
    fits(all(variance), "gaussian.variance")
    return len(prior)


KINDS = {"gaussian": _gaussian}
