"""What AWS's events say, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from millrace.errors import BadInput

__all__ = ["StoredObject", "stored_objects", "text_field"]


class StoredObject(NamedTuple):
    """One object that an S3 event names; ``key`` is decoded."""

    bucket: str
    key: str
    version_id: str | None


def stored_objects(event: Mapping[str, Any]) -> tuple[StoredObject, ...]:
    """Return the objects that an S3 notification names.

    Keys arrive URL-encoded with ``+`` for a space (Amazon S3 user guide, "Event message structure").

    Raises
    ------
    BadInput
        The event is no S3 notification.
    """
    try:
        return tuple(
            StoredObject(
                bucket=record["s3"]["bucket"]["name"],
                key=unquote_plus(record["s3"]["object"]["key"]),
                version_id=record["s3"]["object"].get("versionId"),
            )
            for record in event["Records"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"The event is no S3 notification: {error!r}",
            code="event-invalid",
            remedy="See the files in events/ for the shape.",
        ) from None


def text_field(event: Mapping[str, Any], name: str) -> str:
    """Return a field of a state machine's payload that must be a text.

    Raises
    ------
    BadInput
        It is absent or no text.
    """
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(
            f"The event has no {name!r}",
            code="event-invalid",
            where=name,
            remedy="Pass what the state machine passes; see the files in events/.",
        )
    return value
