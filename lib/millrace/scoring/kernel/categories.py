"""Translates what becomes of categories: texts are looked up in Python, numbers in the kernel."""

from __future__ import annotations

from array import array

from millrace.scoring.kernel.program import ONE_HOT, TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Element, Flow, Program

__all__ = ["KINDS", "looked_up"]

_NAN = float("nan")


class _Table(dict[object, float]):
    """Code by category; NaN among texts is a missing one, and others are unknown."""

    __slots__ = ("unknown",)
    unknown: float

    def __missing__(self, key: object) -> float:
        return self[None] if key != key and key is not None else self.unknown


def looked_up(program: Program, element: Element, table: dict[Any, float], unknown: float) -> Element:
    """Return the column of numbers that a table has for a column's values; None is the missing one."""
    if element[0] == TEXT:
        name, fill = program.text_of(element)
        codes = _Table(table)
        codes.unknown = unknown
        codes[None] = table.get(fill, unknown)
        return program.field(name, codes.__getitem__)
    # A JSON integer that no float64 holds equals no input.
    numbers = {float(key): code for key, code in table.items() if key is not None and float(key) == key}
    keys = sorted(numbers)
    found = program.step(
        "step_lookup",
        program.dense([element]),
        p=array("d", keys),
        q=array("d", [numbers[key] for key in keys]),
        i=len(keys),
        a=table.get(None, unknown),
        b=unknown,
    )
    return found[0]


def _tables(spec: dict[str, Any]) -> list[dict[Any, Any]]:
    return [
        dict(zip(categories, range(len(categories)) if codes is None else codes, strict=True))
        for categories, codes in zip(spec["categories"], spec["codes"], strict=True)
    ]


def _one_hot(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """One column for each category or group of rare ones."""
    result: Flow = []
    parts = zip(flow, _tables(spec), spec["widths"], spec["unknown"], strict=True)
    for element, table, width, unknown in parts:
        codes = {category: float(code) for category, code in table.items()}
        register = looked_up(program, element, codes, float(unknown))[1]
        result += [(ONE_HOT, register, k) for k in range(width)]
    return result


def _ordinal(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """A number for each category."""
    unknown = _number(spec["unknown"])
    return [
        looked_up(program, element, {c: _number(code) for c, code in table.items()}, unknown)
        for element, table in zip(flow, _tables(spec), strict=True)
    ]


def _lookup(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Numbers that training found for each category."""
    values, outputs = program.arrays[spec["values"]].tolist(), spec["outputs"]
    result: Flow = []
    start = 0
    for element, categories in zip(flow, spec["categories"], strict=True):
        end = start + (len(categories) + 1) * outputs
        for k in range(outputs):
            *known, unknown = values[start + k : end : outputs]
            result.append(looked_up(program, element, dict(zip(categories, known, strict=True)), unknown))
        start = end
    return result


def _number(value: float | None) -> float:
    return _NAN if value is None else float(value)


KINDS = {"one-hot": _one_hot, "ordinal": _ordinal, "lookup": _lookup}
