"""What becomes of times.

``time-parts``
    ``parts``: names.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, TIME_PARTS, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _time_parts(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow and all(part in TIME_PARTS for part in step["parts"]), "time-parts.parts")
    fits(len(flow) * len(step["parts"]) <= MAX_WIDTH, "width")
    return flow * len(step["parts"])


KINDS = {"time-parts": _time_parts}
