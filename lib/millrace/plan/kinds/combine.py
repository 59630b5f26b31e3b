"""Estimators inside of estimators.

``predictions`` (an encoder)
    ``members``: nodes, which all get the same values; their outputs stand side by side. ``take``: for each
    member which of its outputs, a list of indices in which -1 stands for a 0, or null for all. ``inputs``:
    whether the values follow behind.
``inputs``
    No members: the inputs are the outputs.
``mean``
    ``outputs``: the inputs are that many of each member, side by side; ``weights``: one for each member, or
    null. Each output is the sum over the members, in their order, divided by the sum of the weights.
``platt``
    ``a``, ``b``: a number for each input; its output is -(a x + b). Behind it stands ``logistic`` or
    ``one-vs-rest`` (J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999).
``isotonic``
    ``sizes``: for each input the number of its points in ``x`` and ``y``, which hold one input's points
    after the other's, ``x`` rising. An input's output is what lies on the line through its points; before
    the first and behind the last it is theirs.
``temperature``
    ``beta``; ``log``: whether the inputs are probabilities, of which log(p + 1e-12) is taken. One input x
    stands for two, -x and x. The outputs are ``beta`` times the inputs.
"""

from __future__ import annotations

from operator import lt

from millrace.plan.kinds import MAX_WIDTH, array, fits, indices, is_number, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _predictions(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits(len(step["members"]) == len(step["take"]) > 0, "predictions.take")
    fits(type(step["inputs"]) is bool, "predictions.inputs")
    width = 0
    for member, take in zip(step["members"], step["take"], strict=True):
        outputs = node(member, flow, arrays)
        if take is not None:
            indices(take, outputs, "predictions.take", -1)
        width += outputs if take is None else len(take)
        fits(width <= MAX_WIDTH, "width")
    return "n" * width + (flow if step["inputs"] else "")


def _inputs(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    return width


def _mean(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    outputs, weights = spec["outputs"], spec["weights"]
    fits(type(outputs) is int and outputs > 0 and width > 0 and width % outputs == 0, "mean.outputs")
    if weights is not None:
        fits(len(weights) == width // outputs, "mean.weights")
        fits(all(is_number(weight) and weight >= 0 for weight in weights), "mean.weights")
        fits(0 < sum(weights) < float("inf"), "mean.weights")
    return int(outputs)


def _platt(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    array(arrays, spec["a"], "d", width, "platt.a")
    array(arrays, spec["b"], "d", width, "platt.b")
    return width


def _isotonic(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    sizes, x = spec["sizes"], array(arrays, spec["x"], "d", -1, "isotonic.x")
    array(arrays, spec["y"], "d", len(x), "isotonic.y")
    indices(sizes, len(x) + 1, "isotonic.sizes")
    fits(len(sizes) == width and all(sizes) and sum(sizes) == len(x), "isotonic.sizes")
    first = 0
    for size in sizes:
        points = x[first : first + size]
        fits(all(map(lt, points, points[1:])) and points[0] == points[0], "isotonic.x")
        first += size
    return width


def _temperature(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    fits(is_number(spec["beta"]) and type(spec["log"]) is bool, "temperature.beta")
    return 2 if width == 1 else width


KINDS = {
    "predictions": _predictions,
    "inputs": _inputs,
    "mean": _mean,
    "platt": _platt,
    "isotonic": _isotonic,
    "temperature": _temperature,
}
