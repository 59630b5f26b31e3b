"""Translates neural networks."""

from __future__ import annotations

from array import array

from millrace.scoring.kernel.program import DENSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["ACTIVATIONS", "KINDS"]

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
"""By the number that ``source/mlp.c`` has for them."""


def _mlp(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Neural networks."""
    *hidden, last = spec["layers"]
    number = ACTIVATIONS.index(spec["activation"])
    for layer in hidden:
        flow = _layer(program, layer, flow, number)
    return _layer(program, last, flow, ACTIVATIONS.index("identity"))


def _layer(program: Program, layer: dict[str, Any], flow: Flow, number: int) -> Flow:
    coef, intercept = program.arrays[layer["coef"]], program.arrays[layer["intercept"]]
    outputs = len(intercept)
    members: dict[str, Any] = {"p": coef, "q": intercept, "i": number, "j": outputs}
    if any(kind != DENSE for kind, *_ in flow):
        inputs = len(coef) // outputs
        members["table"] = by_input = array("d")
        for place in range(inputs):
            by_input.extend(coef[place::inputs])
    return program.step("step_layer", flow, outputs, **members)


KINDS = {"mlp": _mlp}
