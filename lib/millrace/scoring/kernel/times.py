"""Translates what becomes of times."""

from __future__ import annotations

from millrace.plan.kinds import TIME_PARTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]


def _time_parts(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Calendar parts of seconds since 1970, in UTC."""
    result: Flow = []
    for element in program.dense(flow):
        for part in spec["parts"]:
            result += program.step("step_time", [element], i=TIME_PARTS.index(part))
    return result


KINDS = {"time-parts": _time_parts}
