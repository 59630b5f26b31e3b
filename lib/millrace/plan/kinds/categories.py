"""What becomes of categories.

``one-hot``
    For each input ``categories`` (null is missing), ``codes`` (output of each, null when in order),
    ``widths``, ``unknown`` (output of an unseen value, -1 for none).
``ordinal``
    For each input ``categories``, ``codes`` (null when in order, a null in it is NaN); ``unknown`` (number,
    or null for NaN).
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, fits, indices, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _categories(step: dict[str, Any], flow: str, kind: str) -> None:
    fits(len(step["categories"]) == len(flow) == len(step["codes"]), f"{kind}.categories")
    for categories, codes, letter in zip(step["categories"], step["codes"], flow, strict=True):
        wanted = str if letter == "s" else (int, float)
        fits(all(c is None or isinstance(c, wanted) for c in categories), f"{kind}.categories")
        fits(codes is None or len(codes) == len(categories), f"{kind}.codes")


def _one_hot(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "one-hot")
    fits(len(step["widths"]) == len(flow) == len(step["unknown"]), "one-hot.widths")
    parts = zip(step["categories"], step["codes"], step["widths"], step["unknown"], strict=True)
    for categories, codes, outputs, unknown in parts:
        indices([outputs], MAX_WIDTH, "one-hot.widths")
        indices([unknown + 1], outputs + 1, "one-hot.unknown")
        indices(codes or (), outputs, "one-hot.codes")
        fits(codes is not None or len(categories) <= outputs, "one-hot.codes")
    width: int = sum(step["widths"])
    fits(width <= MAX_WIDTH, "width")
    return "n" * width


def _ordinal(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    _categories(step, flow, "ordinal")
    numbers = [step["unknown"], *(code for codes in step["codes"] for code in codes or ())]
    fits(all(number is None or is_number(number) for number in numbers), "ordinal.codes")
    return "n" * len(flow)


KINDS = {"one-hot": _one_hot, "ordinal": _ordinal}
