"""What becomes of categories.

``one-hot``
    For each input ``categories`` (null is missing), ``codes`` (output of each, -1 for none; null when in
    order), ``widths``, ``unknown`` (output of an unseen value, -1 for none).
``ordinal``
    For each input ``categories``, ``codes`` (null when in order, a null in it is NaN); ``unknown`` (number,
    or null for NaN).
``lookup``
    For each input ``categories``; ``outputs``, what each input becomes; ``values``: array, for the inputs in
    turn a row of ``outputs`` numbers for each category and one more for an unseen value.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, array, fits, indices, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _categories(step: dict[str, Any], flow: str, kind: str) -> None:
    fits(len(step["categories"]) == len(flow), f"{kind}.categories")
    for categories, letter in zip(step["categories"], flow, strict=True):
        wanted = str if letter == "s" else (int, float)
        fits(all(c is None or isinstance(c, wanted) for c in categories), f"{kind}.categories")


def _codes(step: dict[str, Any], kind: str) -> None:
    for categories, codes in zip(step["categories"], step["codes"], strict=True):
        fits(codes is None or len(codes) == len(categories), f"{kind}.codes")


def _one_hot(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "one-hot")
    _codes(step, "one-hot")
    fits(len(step["widths"]) == len(flow) == len(step["unknown"]), "one-hot.widths")
    parts = zip(step["categories"], step["codes"], step["widths"], step["unknown"], strict=True)
    for categories, codes, outputs, unknown in parts:
        indices([outputs], MAX_WIDTH, "one-hot.widths")
        indices([unknown], outputs, "one-hot.unknown", -1)
        indices(codes or (), outputs, "one-hot.codes", -1)
        fits(codes is not None or len(categories) <= outputs, "one-hot.codes")
    width: int = sum(step["widths"])
    fits(width <= MAX_WIDTH, "width")
    return "n" * width


def _ordinal(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "ordinal")
    _codes(step, "ordinal")
    numbers = [step["unknown"], *(code for codes in step["codes"] for code in codes or ())]
    fits(all(number is None or is_number(number) for number in numbers), "ordinal.codes")
    return "n" * len(flow)


def _lookup(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "lookup")
    outputs: int = step["outputs"]
    indices([outputs], MAX_WIDTH, "lookup.outputs")
    rows = sum(len(categories) + 1 for categories in step["categories"])
    array(arrays, step["values"], "d", rows * outputs, "lookup.values")
    fits(len(flow) * outputs <= MAX_WIDTH, "width")
    return "n" * (len(flow) * outputs)


KINDS = {"one-hot": _one_hot, "ordinal": _ordinal, "lookup": _lookup}
