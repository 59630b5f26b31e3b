"""Translates weighted sums, and constants."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]


def _linear(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Weighted sums."""
    coef, intercept = program.arrays[spec["coef"]], program.arrays[spec["intercept"]]
    outputs = len(intercept)
    return program.step("step_linear", flow, outputs, p=coef, q=intercept, i=len(flow), j=outputs)


def _constant(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """The same answer for every row."""
    return program.constant(program.arrays[spec["values"]])


KINDS = {"linear": _linear, "constant": _constant}
