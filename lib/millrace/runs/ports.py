"""What the use cases of a run need of the world, beyond the stores in ``contracts``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Executions"]


class Executions(Protocol):
    """Executions of the run's state machine."""

    def start(self, name: str, data: Mapping[str, Any]) -> bool:
        """Start the execution called ``name``; ``False`` when there was one of that name already."""
        ...

    def status(self, name: str) -> str | None:
        """Return ``RUNNING`` or how it ended; ``None`` if there is none of that name."""
        ...
