"""What a plan may compute: the kinds of encoders and estimators, and what each one's members must be.

A row is a list of values, one for each field of the signature, and each encoder makes a list of a list.
``flow`` follows that: a string with one letter for each value, ``n`` for a float (NaN when missing) and
``s`` for a text (None when missing). The check runs once when a plan is read; the evaluators then trust it.

========== ==================================================================================================
encoder    members
========== ==================================================================================================
columns    ``branches``: each with ``inputs`` (indices) and ``steps`` (encoders); results stand side by side
impute     ``fill``: a value for each input, null to leave it out; ``missing``: ``"nan"`` or ``"none"``;
           ``indicators``: inputs that get a column of 0 and 1 at the end
scale      ``mean``, ``scale``: arrays or null
one-hot    for each input ``categories`` (null is missing), ``codes`` (output of each, null when in order),
           ``widths``, ``unknown`` (output of an unseen value, -1 for none)
ordinal    for each input ``categories``, ``codes`` (null when in order, a null in it is NaN); ``unknown``
           (number, or null for NaN)
words      ``terms``; ``idf``: array or null; ``lower``, ``binary``, ``norm``: true or false
time-parts ``parts``: names
========== ==================================================================================================

========== ==================================================================================================
estimator  members, and ``link``: what becomes of the raw outputs
========== ==================================================================================================
linear     ``coef`` (outputs x inputs), ``intercept``
trees      ``roots``, ``feature``, ``skip``, ``number``, ``outputs``, ``values``, ``baseline``, ``masks``,
           ``mean``, ``single``
constant   ``values``
========== ==================================================================================================

Trees are one table of nodes in preorder: the left child of node ``i`` is ``i + 1``, the right one is
``i + skip[i]``, and ``skip`` is 0 for a leaf. A child lies behind its parent, so no walk can loop. For
``w`` inputs, ``feature`` is ``f`` where a missing value goes right, ``w + f`` where it goes left (both
compare with ``number``: at most goes left), and ``2 w + f`` for a set of categories: ``number`` is the
index of a mask of 256 bits whose bit ``code`` sends left; every missing or unknown code is 255. A leaf's
``number`` is its value, added to output ``tree % outputs``; with ``values`` it is the index of a row of
them, added to all outputs. ``mean`` divides by the number of trees; ``single`` rounds the inputs to float32
first, as scikit-learn's forests do.
"""

from __future__ import annotations

from millrace.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["ENCODERS", "ESTIMATORS", "LINKS", "MASK_BITS", "TIME_PARTS", "WORD_PATTERN", "check"]

LINKS = ("identity", "exp", "logistic", "softmax", "probabilities")
"""How raw outputs become the prediction: as they are; e to it; one output to two probabilities; several to
as many; they are probabilities already."""
MASK_BITS = 256
"""Bits of a set of categories; the last one stands for missing and unknown codes."""
TIME_PARTS = ("days", "year", "month", "day", "weekday", "day_of_year", "hour", "minute", "second")
WORD_PATTERN = r"(?u)\b\w\w+\b"
"""A word of a text. The pattern is not read from the file: one could be made that never ends."""
MAX_WIDTH = 1 << 18
"""Most values that a row may become."""


def check(header: dict[str, Any], arrays: Sequence[memoryview]) -> None:
    """Check that the plan's computation fits its signature, its arrays and its classes.

    Raises
    ------
    BadInput
        ``plan-header`` when something is malformed or unknown, ``plan-dimensions`` when it does not fit.
    """
    flow = "".join("s" if field["type"] in ("category", "text") else "n" for field in header["signature"])
    try:
        flow = _steps(header["features"], flow, arrays)
        _estimator(header, flow, arrays)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise BadInput(
            f"The scoring plan's computation is malformed: {type(error).__name__} at {error}"[:200],
            code="plan-header",
            remedy="Train the model again.",
        ) from None


def _fits(holds: bool, where: str) -> None:
    if not holds:
        raise BadInput(
            "Dimensions of the scoring plan do not fit each other",
            code="plan-dimensions",
            where=where,
            remedy="Train the model again.",
        )


def _unknown(kind: object) -> BadInput:
    return BadInput(
        f"The scoring plan uses {kind!r:.60}, which this release does not know",
        code="plan-header",
        remedy="Upgrade Millrace, or train the model again with this release.",
    )


def _array(arrays: Sequence[memoryview], index: object, codes: str, size: int, where: str) -> memoryview:
    _fits(type(index) is int and 0 <= index < len(arrays), where)
    array = arrays[index]  # type: ignore[call-overload]
    _fits(array.format in codes and (size < 0 or len(array) == size), where)
    return array  # type: ignore[no-any-return]


def _indices(values: Sequence[Any], limit: int, where: str) -> None:
    _fits(all(type(value) is int and 0 <= value < limit for value in values), where)


def _steps(steps: Sequence[Any], flow: str, arrays: Sequence[memoryview]) -> str:
    for step in steps:
        encoder = ENCODERS.get(step["kind"])
        if encoder is None:
            raise _unknown(step["kind"])
        flow = encoder(step, flow, arrays)
        _fits(len(flow) <= MAX_WIDTH, "width")
    return flow


def _columns(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    result = ""
    for branch in step["branches"]:
        _indices(branch["inputs"], len(flow), "columns.inputs")
        result += _steps(branch["steps"], "".join(flow[i] for i in branch["inputs"]), arrays)
        _fits(len(result) <= MAX_WIDTH, "width")
    return result


def _impute(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fill = step["fill"]
    _fits(len(fill) == len(flow) and step["missing"] in ("nan", "none"), "impute.fill")
    _indices(step["indicators"], len(flow), "impute.indicators")
    for value, letter in zip(fill, flow, strict=True):
        _fits(value is None or isinstance(value, str) == (letter == "s"), "impute.fill")
        _fits(value is None or isinstance(value, str) or _is_number(value), "impute.fill")
    kept = "".join(letter for value, letter in zip(fill, flow, strict=True) if value is not None)
    return kept + "n" * len(step["indicators"])


def _scale(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _fits("s" not in flow, "scale")
    for member in ("mean", "scale"):
        if step[member] is not None:
            divisors = _array(arrays, step[member], "d", len(flow), f"scale.{member}")
            _fits(member == "mean" or 0.0 not in divisors.tolist(), "scale.scale")
    return flow


def _categories(step: dict[str, Any], flow: str, kind: str) -> None:
    _fits(len(step["categories"]) == len(flow) == len(step["codes"]), f"{kind}.categories")
    for categories, codes, letter in zip(step["categories"], step["codes"], flow, strict=True):
        wanted = str if letter == "s" else (int, float)
        _fits(all(c is None or isinstance(c, wanted) for c in categories), f"{kind}.categories")
        _fits(codes is None or len(codes) == len(categories), f"{kind}.codes")


def _one_hot(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "one-hot")
    _fits(len(step["widths"]) == len(flow) == len(step["unknown"]), "one-hot.widths")
    parts = zip(step["categories"], step["codes"], step["widths"], step["unknown"], strict=True)
    for categories, codes, outputs, unknown in parts:
        _indices([outputs], MAX_WIDTH, "one-hot.widths")
        _indices([unknown + 1], outputs + 1, "one-hot.unknown")
        _indices(codes or (), outputs, "one-hot.codes")
        _fits(codes is not None or len(categories) <= outputs, "one-hot.codes")
    width: int = sum(step["widths"])
    _fits(width <= MAX_WIDTH, "width")
    return "n" * width


def _ordinal(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "ordinal")
    numbers = [step["unknown"], *(code for codes in step["codes"] for code in codes or ())]
    _fits(all(number is None or _is_number(number) for number in numbers), "ordinal.codes")
    return "n" * len(flow)


def _words(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _fits(flow == "s" and all(isinstance(term, str) for term in step["terms"]), "words.terms")
    _fits(all(type(step[name]) is bool for name in ("lower", "binary", "norm")), "words")
    if step["idf"] is not None:
        _array(arrays, step["idf"], "d", len(step["terms"]), "words.idf")
    return "n" * len(step["terms"])


def _time_parts(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _fits("s" not in flow and all(part in TIME_PARTS for part in step["parts"]), "time-parts.parts")
    _fits(len(flow) * len(step["parts"]) <= MAX_WIDTH, "width")
    return flow * len(step["parts"])


def _estimator(header: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> None:
    spec, classes = header["estimator"], len(header["classes"])
    estimator = ESTIMATORS.get(spec["kind"])
    if estimator is None:
        raise _unknown(spec["kind"])
    if spec["link"] not in LINKS:
        raise _unknown(spec["link"])
    _fits("s" not in flow, "estimator")
    outputs = estimator(spec, len(flow), arrays)
    if spec["link"] in ("identity", "exp"):
        _fits(outputs == 1 and classes == 0, "estimator.link")
    elif spec["link"] == "logistic":
        _fits(outputs == 1 and classes == 2, "estimator.link")
    else:
        _fits(outputs == classes > 0, "estimator.link")


def _linear(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    intercept = _array(arrays, spec["intercept"], "d", -1, "linear.intercept")
    _array(arrays, spec["coef"], "d", len(intercept) * width, "linear.coef")
    return len(intercept)


def _constant(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    return len(_array(arrays, spec["values"], "d", -1, "constant.values"))


def _trees(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    outputs: int = spec["outputs"]
    _fits(type(outputs) is int and 0 < outputs <= MAX_WIDTH, "trees.outputs")
    _fits(type(spec["mean"]) is bool and type(spec["single"]) is bool, "trees.mean")
    skip = _array(arrays, spec["skip"], "BHi", -1, "trees.skip")
    nodes = len(skip)
    feature = _array(arrays, spec["feature"], "BHi", nodes, "trees.feature")
    number = _array(arrays, spec["number"], "df", nodes, "trees.number")
    roots = _array(arrays, spec["roots"], "i", -1, "trees.roots")
    highest = 0
    if nodes:
        # Only a node nearer to the end than the longest step can point beyond it.
        near = max(nodes - max(skip), 0)
        _fits(_not_negative(skip) and skip[-1] == 0, "trees.skip")
        _fits(all(i + step < nodes for i, step in enumerate(skip[near:].tolist(), near)), "trees.skip")
        highest = max(feature)
        _fits(_not_negative(feature) and highest < 3 * width, "trees.feature")
    _fits(len(roots) == 0 or (min(roots) >= 0 and max(roots) < nodes), "trees.roots")
    _fits(len(roots) > 0 or not spec["mean"], "trees.roots")
    if spec["baseline"] is not None:
        _array(arrays, spec["baseline"], "d", outputs, "trees.baseline")
    if spec["values"] is not None:
        values = _array(arrays, spec["values"], "d", -1, "trees.values")
        _fits(len(values) % outputs == 0, "trees.values")
        leaves = [leaf for leaf, step in zip(number, skip, strict=True) if not step]
        _fits(_below(leaves, len(values) // outputs), "trees.number")
    masks = 0
    if spec["masks"] is not None:
        masks = len(_array(arrays, spec["masks"], "B", -1, "trees.masks")) * 8 // MASK_BITS
    if nodes and highest >= 2 * width:
        splits = zip(feature, number, skip, strict=True)
        chosen = [value for f, value, step in splits if f >= 2 * width and step]
        _fits(_below(chosen, masks) and all(map(float.is_integer, chosen)), "trees.masks")
    return outputs


def _is_number(value: object) -> bool:
    # float() raises OverflowError for an integer that no float can hold.
    return isinstance(value, (int, float)) and float(value) == value


def _not_negative(array: memoryview) -> bool:
    return array.format != "i" or min(array) >= 0


def _below(values: Sequence[float], limit: int) -> bool:
    # A NaN anywhere makes the sum one; and no loop in Python, for a forest may have a million leaves.
    return not values or (min(values) >= 0 and max(values) < limit and sum(values) >= 0)


ENCODERS = {
    "columns": _columns,
    "impute": _impute,
    "scale": _scale,
    "one-hot": _one_hot,
    "ordinal": _ordinal,
    "words": _words,
    "time-parts": _time_parts,
}
"""The check of each kind of encoder: ``(step, flow, arrays) -> flow``."""

ESTIMATORS = {"linear": _linear, "trees": _trees, "constant": _constant}
"""The check of each kind of estimator: ``(spec, width, arrays) -> number of raw outputs``."""
