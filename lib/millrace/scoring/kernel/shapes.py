"""Translates what bends, cuts and combines numbers; the other kinds of it run in Python."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]


def _bins(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """The number of the interval in which a value lies."""
    edges = program.arrays[spec["edges"]]
    result: Flow = []
    start = 0
    for element, count in zip(program.dense(flow), spec["counts"], strict=True):
        result += program.step("step_bins", [element], p=edges[start : start + count], i=count)
        start += count
    return result


KINDS = {"bins": _bins}
