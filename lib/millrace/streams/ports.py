"""What committing a batch needs of the world, beyond a bucket and a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Batch", "Ledger", "PendingRows"]


@dataclass(frozen=True)
class Batch:
    """An object of rows that a stream brought for a dataset.

    Attributes
    ----------
    key, dataset : str
        Where it lies, and for which dataset.
    rows : int
        How many it has.
    since : str
        When the first of its records arrived, UTC, ISO 8601 with milliseconds.
    size_bytes : int
        Of its lines.
    """

    key: str
    dataset: str
    rows: int
    since: str
    size_bytes: int


class Ledger(Protocol):
    """Which object holds the outcome of each identity; remembers an identity for some days."""

    def claim(self, identity: str, object_key: str) -> str:
        """Give the identity to ``object_key`` unless it has one; return the object that it belongs to."""
        ...

    def move(self, identity: str, source: str, target: str) -> bool:
        """Give the identity to another object; ``False`` when it belongs to neither of the two any more."""
        ...

    def published(self, object_key: str) -> bool:
        """Tell whether all of the object's outcomes are known to be on the output stream."""
        ...

    def mark_published(self, object_key: str) -> None:
        """Note that all of the object's outcomes are on the output stream."""
        ...

    def mark_pending(self, batch: Batch) -> None:
        """Note that the object's rows wait for a training; published from now on, and counted once."""
        ...


class PendingRows(Protocol):
    """Which batches of rows no training has had yet; the same ledger, as those who train see it."""

    def pending(self, dataset: str) -> list[Batch]:
        """Return the dataset's batches that wait, those that arrived first at the beginning."""
        ...

    def take(self, object_key: str) -> None:
        """Note that the object's rows wait no more."""
        ...

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Let ``holder`` alone do what ``name`` says for so long; ``False`` while another one does."""
        ...

    def release(self, name: str, holder: str) -> None:
        """Give the lease back before its time."""
        ...
