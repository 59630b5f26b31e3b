"""Translates estimators inside of estimators."""

from __future__ import annotations

from array import array

from millrace.scoring.kernel import node
from millrace.scoring.rows.combine import EPSILON

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


def _platt(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Lines whose logistic function calibrates."""
    result: Flow = []
    lines = zip(program.dense(flow), program.arrays[spec["a"]], program.arrays[spec["b"]], strict=True)
    for element, a, b in lines:
        result += program.step("step_affine", [element], a=-a, b=-b)
    return result


def _isotonic(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Lines through points."""
    x, y = program.arrays[spec["x"]], program.arrays[spec["y"]]
    result: Flow = []
    first = 0
    for element, size in zip(program.dense(flow), spec["sizes"], strict=True):
        points = slice(first, first + size)
        result += program.step("step_isotonic", [element], p=x[points], q=y[points], i=size)
        first += size
    return result


def _temperature(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Scores, all made smaller or larger."""
    flow = program.dense(flow)
    if len(flow) == 1:
        flow = program.step("step_affine", flow, a=-1.0, b=0.0) + flow
    beta, log = float(spec["beta"]), int(spec["log"])
    return program.step("step_temperature", flow, len(flow), a=beta, i=log, b=EPSILON)


KINDS = {
    "predictions": _predictions,
    "inputs": _inputs,
    "mean": _mean,
    "platt": _platt,
    "isotonic": _isotonic,
    "temperature": _temperature,
}
