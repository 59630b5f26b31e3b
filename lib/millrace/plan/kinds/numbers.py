"""What is done to numbers.

``impute``
    ``fill``: a value for each input, null to leave it out; ``missing``: ``"nan"`` or ``"none"``;
    ``indicators``: inputs that get a column of 0 and 1 at the end.
``scale``
    ``mean``, ``scale``: arrays or null. What is subtracted from each input, and what then divides it.
``affine``
    ``factor``, ``offset``: arrays. What multiplies each input, and what is then added.
``clip``
    ``low``, ``high``: numbers that no input is below or above; a missing one stays missing.
"""

from __future__ import annotations

from millrace.plan.kinds import array, fits, indices, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _impute(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fill = step["fill"]
    fits(len(fill) == len(flow) and step["missing"] in ("nan", "none"), "impute.fill")
    indices(step["indicators"], len(flow), "impute.indicators")
    for value, letter in zip(fill, flow, strict=True):
        fits(value is None or isinstance(value, str) == (letter == "s"), "impute.fill")
        fits(value is None or isinstance(value, str) or is_number(value), "impute.fill")
    kept = "".join(letter for value, letter in zip(fill, flow, strict=True) if value is not None)
    return kept + "n" * len(step["indicators"])


def _scale(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow, "scale")
    for member in ("mean", "scale"):
        if step[member] is not None:
            divisors = array(arrays, step[member], "d", len(flow), f"scale.{member}")
            fits(member == "mean" or 0.0 not in divisors.tolist(), "scale.scale")
    return flow


def _affine(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow, "affine")
    for member in ("factor", "offset"):
        array(arrays, step[member], "d", len(flow), f"affine.{member}")
    return flow


def _clip(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow and is_number(step["low"]) and is_number(step["high"]), "clip")
    fits(step["low"] <= step["high"], "clip")
    return flow


KINDS = {"impute": _impute, "scale": _scale, "affine": _affine, "clip": _clip}
