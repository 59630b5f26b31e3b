"""Translates support vector machines."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]


def _kernel(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Kernel machines."""
    intercept, coef, counts = program.arrays[spec["intercept"]], program.arrays[spec["coef"]], spec["counts"]
    vectors = len(coef) // (1 if counts is None else len(counts) - 1)
    weights = array("d", intercept)
    if counts is None:
        weights.extend(coef)
    else:
        # For each two classes a weight of every vector, 0 for those of the others.
        ends = [sum(counts[: i + 1]) for i in range(len(counts))]
        pairs = [(i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))]
        for i, j in pairs:
            row = array("d", bytes(8 * vectors))
            for of, number in ((i, j - 1), (j, i)):
                for k in range(ends[of] - counts[of], ends[of]):
                    row[k] = coef[number * vectors + k]
            weights.extend(row)
    return program.step(
        f"step_{spec['kernel']}",
        program.dense(flow),
        len(intercept),
        p=program.arrays[spec["vectors"]],
        q=weights,
        table=array("q", [spec["degree"]]),
        i=vectors,
        j=len(intercept),
        a=float(spec["gamma"]),
        b=float(spec["coef0"]),
    )


def _votes(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """One score a class, from decisions between each two."""
    classes = spec["classes"]
    return program.step("step_votes", program.dense(flow), classes, i=classes)


KINDS = {"kernel": _kernel, "votes": _votes}
