"""Which invocation this is of those that work at one unit, and how much time it has."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job
from millrace.edge.settings import SelectSettings, TrainSettings
from millrace.training.turns import Turn

__all__ = ["turn_of"]


def turn_of(event: dict[str, Any], job: Job[TrainSettings] | Job[SelectSettings]) -> Turn:
    """Return the turn that the event names; the first one when it names none. Import it where it is used."""

    def remaining_s() -> float:
        return float(job.context.get_remaining_time_in_millis()) / 1000.0

    def code() -> str:
        from millrace.registry.register import code_version

        return code_version()

    return Turn(int(event.get("turn", 0)), job.settings.train_seconds, remaining_s, code)
