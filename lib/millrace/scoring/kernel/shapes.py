"""Translates what bends, cuts and combines numbers."""

from __future__ import annotations

from array import array

from millrace.plan.kinds import FUNCTIONS, SMALLEST_NORM
from millrace.scoring.rows.shapes import BOUND, CENTRE, MIDDLE, TAIL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]

NORMS = ("l1", "l2", "max")
"""By the number that ``source/shapes.c`` has for them."""


def _bins(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """The number of the interval in which a value lies."""
    edges = program.arrays[spec["edges"]]
    result: Flow = []
    start = 0
    for element, count in zip(program.dense(flow), spec["counts"], strict=True):
        result += program.step("step_bins", [element], p=edges[start : start + count], i=count)
        start += count
    return result


def _power(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Makes a column look more like a normal one."""
    box_cox = int(spec["method"] == "box-cox")
    result: Flow = []
    for element, power in zip(program.dense(flow), program.arrays[spec["lambdas"]], strict=True):
        result += program.step("step_power", [element], a=power, i=box_cox)
    return result


def _interpolate(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """The place of a value among those that training saw."""
    points, values = program.arrays[spec["points"]], program.arrays[spec["values"]]
    size, bound = len(values), 0.0
    members: dict[str, Any] = {}
    if spec["output"] == "normal":
        ranges = (CENTRE, MIDDLE, TAIL)
        table = array("d", [number for pair in ranges for coefficients in pair for number in coefficients])
        bound, members = BOUND, {"table": table}
    result: Flow = []
    for number, element in enumerate(program.dense(flow)):
        own = points[number * size : (number + 1) * size]
        result += program.step("step_interpolate", [element], p=own, q=values, i=size, a=bound, **members)
    return result


def _function(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Applies one function to every value."""
    result: Flow = []
    for element in program.dense(flow):
        result += program.step("step_apply", [element], i=FUNCTIONS.index(spec["name"]))
    return result


def _normalize(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Divides a row by its norm."""
    number = NORMS.index(spec["norm"])
    return program.step("step_norm", program.dense(flow), len(flow), i=number, a=SMALLEST_NORM)


def _products(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Products of values."""
    terms = array("i")
    for term in spec["terms"]:
        terms.extend((len(term), *term))
    outputs = len(spec["terms"])
    return program.step("step_products", program.dense(flow), outputs, table=terms, j=outputs)


KINDS = {
    "power": _power,
    "interpolate": _interpolate,
    "function": _function,
    "normalize": _normalize,
    "bins": _bins,
    "products": _products,
}
