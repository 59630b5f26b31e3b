"""What came of one record: predictions or a reason, under an identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.errors import BadInput

__all__ = ["MAX_ID", "Outcome", "Source", "identity_of"]

MAX_ID = 256
"""Characters of an identity that a producer gives."""


@dataclass(frozen=True)
class Source:
    """Where on the stream a record stood."""

    shard: str
    sequence: str
    arrived_at: str
    """UTC, ISO 8601 with milliseconds."""


@dataclass(frozen=True)
class Outcome:
    """One record's result.

    Attributes
    ----------
    identity : str
        By which it is committed once.
    content : mapping
        What the output says: ``id``, ``source``, and either what ``POST /predict`` answers or ``error`` with
        ``code`` and ``message`` and the record itself.
    """

    identity: str
    content: Mapping[str, Any]


def identity_of(model: Any, given: Any, source: Source) -> tuple[str, str]:
    """Return a record's id as the output shows it, and its identity in the ledger.

    A producer's ids count within the model; without one, the record's place on the stream is its id.

    Raises
    ------
    BadInput
        The id is no text or integer, or too long.
    """
    if given is None:
        shown = f"{source.shard}:{source.sequence}"
        return shown, hashlib.sha256(f"place\n{shown}".encode()).hexdigest()
    if isinstance(given, bool) or not isinstance(given, (str, int)) or not 0 < len(str(given)) <= MAX_ID:
        raise BadInput(
            f"A record's id is a text of 1 to {MAX_ID} characters, or an integer",
            code="id-invalid",
            where="field 'id'",
            remedy="Leave it out to let the record's place on the stream be its identity.",
        )
    return str(given), hashlib.sha256(f"id\n{model}\n{given}".encode("utf-8", "replace")).hexdigest()
