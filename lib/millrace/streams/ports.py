"""What committing a batch needs of the world, beyond a bucket and a stream."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Ledger"]


class Ledger(Protocol):
    """Which object holds the outcome of each identity; remembers an identity for some days."""

    def claim(self, identity: str, object_key: str) -> str:
        """Give the identity to ``object_key`` unless it has one; return the object that it belongs to."""
        ...

    def move(self, identity: str, source: str, target: str) -> bool:
        """Give the identity to another object; ``False`` when it does not belong to ``source`` any more."""
        ...

    def published(self, object_key: str) -> bool:
        """Tell whether all of the object's outcomes are known to be on the output stream."""
        ...

    def mark_published(self, object_key: str) -> None:
        """Note that all of the object's outcomes are on the output stream."""
        ...
