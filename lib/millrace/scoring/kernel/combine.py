"""Translates estimators inside of estimators."""

from __future__ import annotations

from array import array

from millrace.scoring.kernel import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]


def _predictions(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """What estimators say of the row, side by side."""
    result: Flow = []
    for member, take in zip(spec["members"], spec["take"], strict=True):
        outputs = node(program, member, flow)
        if take is None:
            result += outputs
            continue
        for i in take:
            result += program.constant([0.0]) if i < 0 else [outputs[i]]
    return result + flow if spec["inputs"] else result


def _inputs(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """The inputs themselves."""
    return program.dense(flow)


def _mean(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """The mean of the members' outputs."""
    outputs, weights = spec["outputs"], spec["weights"]
    total = 0.0
    for weight in weights or ():
        total += weight
    members = {} if weights is None else {"p": array("d", weights)}
    total = float(len(flow) // outputs) if weights is None else total
    return program.step("step_mean", program.dense(flow), outputs, j=outputs, a=total, **members)


KINDS = {"predictions": _predictions, "inputs": _inputs, "mean": _mean}
