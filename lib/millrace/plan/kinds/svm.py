"""Support vector machines.

``kernel``
    ``vectors`` (n x inputs) and ``kernel``, a function of an input x and a vector v: ``rbf``, e^(-gamma
    |x - v|^2); ``poly``, (gamma x·v + coef0)^degree; ``sigmoid``, tanh(gamma x·v + coef0). ``gamma``,
    ``coef0``, ``degree``: numbers, the last one whole. ``intercept``; ``coef`` (rows x n); ``counts``: null,
    when there is one output, the sum over the vectors of ``coef`` times the kernel; or, for k classes, the
    number of each one's vectors, which follow each other, while ``coef`` has k - 1 rows: the output of the
    classes i < j, of k (k - 1) / 2 in order, sums row j - 1 over the vectors of i and row i over those of j.
``votes``
    ``classes``: the inputs are decisions between each two of that many classes, i < j in order, positive
    for i. The output of a class is the number of its wins, plus s / (3 (|s| + 1)) of the sum s of the
    decisions for it.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, array, fits, indices, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _kernel(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    fits(spec["kernel"] in ("rbf", "poly", "sigmoid"), "kernel.kernel")
    fits(is_number(spec["gamma"]) and spec["gamma"] >= 0 and is_number(spec["coef0"]), "kernel.gamma")
    indices([spec["degree"]], 1 << 16, "kernel.degree")
    coef, counts = array(arrays, spec["coef"], "d", -1, "kernel.coef"), spec["counts"]
    rows = 1 if counts is None else len(counts) - 1
    fits(0 < rows <= MAX_WIDTH and len(coef) % rows == 0, "kernel.coef")
    vectors = len(coef) // rows
    fits(vectors > 0, "kernel.coef")
    array(arrays, spec["vectors"], "d", vectors * width, "kernel.vectors")
    outputs = 1
    if counts is not None:
        indices(counts, vectors + 1, "kernel.counts")
        outputs = len(counts) * rows // 2
        fits(sum(counts) == vectors and outputs <= MAX_WIDTH, "kernel.counts")
    array(arrays, spec["intercept"], "d", outputs, "kernel.intercept")
    return outputs


def _votes(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    classes = spec["classes"]
    indices([classes], MAX_WIDTH, "votes.classes")
    fits(classes > 1 and width == classes * (classes - 1) // 2, "votes.classes")
    return int(classes)


KINDS = {"kernel": _kernel, "votes": _votes}
