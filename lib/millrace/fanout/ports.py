"""What the fan-out needs of the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

__all__ = ["DescriptorStream", "TaskTokens"]


class DescriptorStream(Protocol):
    """A stream with at-least-once delivery."""

    def put(self, records: Iterable[tuple[bytes, str, str]]) -> None:
        """Write records of data, partition key and explicit hash key; ``TransientError`` if refused."""
        ...


class TaskTokens(Protocol):
    """Answers to the state machine's task tokens; ``False`` when nobody waits for the token any more."""

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        """End the task with ``output``."""
        ...

    def fail(self, token: str, error: str, cause: str) -> bool:
        """End the task with an error's name and cause."""
        ...

    def heartbeat(self, token: str) -> bool:
        """Say that the task is still worked on."""
        ...
