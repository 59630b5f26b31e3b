"""Translates what is done to numbers."""

from __future__ import annotations

from millrace.scoring.kernel.program import TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Element, Flow, Program

__all__ = ["KINDS"]


def _impute(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Puts a value where none is, and says where with a column of 0 and 1."""
    result: Flow = []
    for element, fill in zip(flow, spec["fill"], strict=True):
        if fill is None:
            continue
        if element[0] == TEXT and spec["missing"] == "none":
            name, before = program.text_of(element)
            result.append(program.text(name, fill if before is None else before))
        elif element[0] != TEXT and spec["missing"] == "nan":
            result += program.step("step_fill", program.dense([element]), a=fill)
        else:
            result.append(element)
    for i in spec["indicators"]:
        if flow[i][0] == TEXT and spec["missing"] == "none":
            result.append(_is_none(program, flow[i]))
        elif flow[i][0] != TEXT and spec["missing"] == "nan":
            result += program.step("step_missing", program.dense([flow[i]]))
        else:
            result += program.constant([0.0])
    return result


def _is_none(program: Program, element: Element) -> Element:
    name, fill = program.text_of(element)
    return program.field(name, lambda value: float(fill is None and value is None))


def _scale(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Subtracts a mean and divides by a scale."""
    mean, scale = (None if spec[name] is None else program.arrays[spec[name]] for name in ("mean", "scale"))
    result: Flow = []
    for i, element in enumerate(program.dense(flow)):
        result += program.step(
            "step_scale",
            [element],
            i=int(mean is not None),
            j=int(scale is not None),
            a=0.0 if mean is None else mean[i],
            b=1.0 if scale is None else scale[i],
        )
    return result


def _affine(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Multiplies by a factor and adds an offset."""
    factor, offset = program.arrays[spec["factor"]], program.arrays[spec["offset"]]
    result: Flow = []
    for i, element in enumerate(program.dense(flow)):
        result += program.step("step_affine", [element], a=factor[i], b=offset[i])
    return result


def _clip(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Keeps numbers within bounds."""
    result: Flow = []
    for element in program.dense(flow):
        result += program.step("step_clip", [element], a=float(spec["low"]), b=float(spec["high"]))
    return result


KINDS = {"impute": _impute, "scale": _scale, "affine": _affine, "clip": _clip}
