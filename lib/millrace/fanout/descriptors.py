"""Descriptors on the wire, and where on the stream each one goes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from millrace.contracts import Descriptor, decode, encode
from millrace.errors import BadInput

__all__ = ["decode_descriptor", "encode_descriptor", "spread"]

_HASH_KEYS = 2**128
"""Kinesis maps a record to a shard by an integer below 2^128 (API reference, ``PutRecords``)."""


def encode_descriptor(descriptor: Descriptor) -> bytes:
    """Return the descriptor as a stream record's data."""
    return json.dumps(encode(descriptor), separators=(",", ":")).encode()


def decode_descriptor(data: bytes) -> Descriptor:
    """Return the descriptor in a stream record's data.

    Raises
    ------
    BadInput
        The data is no descriptor of ours.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BadInput(
            f"A stream record is no JSON: {error}",
            code="descriptor-invalid",
            remedy="Nothing but fan_out should write to the stream.",
        ) from None
    return decode(Descriptor, value)


def spread(descriptors: Sequence[Descriptor]) -> list[tuple[bytes, str, str]]:
    """Plan the records: data, partition key, explicit hash key.

    The hash keys lie evenly over the whole range, so however many equal shards there are, each gets as
    many records as the next, give or take one. Each has a partition key of its own, because Lambda splits
    a shard's records over its parallel batches, its lanes, by partition key. A ticket that follows another
    has that one's two keys: it comes to the lane that has just become free.
    """
    records = []
    for number, descriptor in enumerate(descriptors):
        if descriptor.tickets:
            places, place = descriptor.tickets, descriptor.chunk % descriptor.tickets
            key = place
        else:
            places, place, key = len(descriptors), number, descriptor.chunk
        step = _HASH_KEYS // places
        records.append(
            (
                encode_descriptor(descriptor),
                f"{descriptor.run_id}/{descriptor.pass_name}/{key}",
                str(place * step + step // 2),
            )
        )
    return records
