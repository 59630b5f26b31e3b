"""Kinesis as a stream to write to: chunk descriptors, or scored rows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import translated
from millrace.errors import TransientError

__all__ = ["KinesisStream"]

BATCH_RECORDS = 500
"""The most records that one ``PutRecords`` takes."""
BATCH_BYTES = 4 << 20
"""And the most bytes, below the 5 MiB that one request may have."""
TRIES = 8
"""How often a record is sent before we give up."""


class KinesisStream:
    """One stream.

    Parameters
    ----------
    name : str
        The stream's name.
    kinesis : botocore client, optional
        Built on first use when absent.
    sleep : callable
        How to wait, in seconds; a test passes its own.
    """

    def __init__(self, name: str, kinesis: Any = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._name = name
        self._given = kinesis
        self._sleep = sleep

    def put(self, records: Iterable[tuple[bytes, str, str]]) -> None:
        """Write records of data, partition key and explicit hash key.

        ``PutRecords`` succeeds in part: only what failed is sent again, after a random wait of up to
        0.1, 0.2, 0.4 … 5 seconds ("full jitter").

        Raises
        ------
        TransientError
            Some records are still refused after 8 tries. What was written stays written: readers must
            take a record twice, as with any stream.
        """
        for batch in _batches(records):
            self._put_batch(batch)

    def _put_batch(self, batch: Sequence[tuple[bytes, str, str]]) -> None:
        kinesis = self._given if self._given is not None else client("kinesis")
        waiting = [
            {"Data": data, "PartitionKey": partition_key, "ExplicitHashKey": hash_key}
            for data, partition_key, hash_key in batch
        ]
        for attempt in range(TRIES):
            if attempt:
                self._sleep(random.uniform(0, min(5.0, 0.1 * 2 ** (attempt - 1))))
            with translated(f"stream {self._name}"):
                answer = kinesis.put_records(StreamName=self._name, Records=waiting)
            waiting = [
                record
                for record, result in zip(waiting, answer["Records"], strict=True)
                if result.get("ErrorCode")
            ]
            if not waiting:
                return
        raise TransientError(
            f"The stream refuses {len(waiting)} records after {TRIES} tries",
            code="stream-throttled",
            where=f"stream {self._name}",
            remedy="Try again; if it lasts, raise the stack's shard count.",
        )


def _batches(records: Iterable[tuple[bytes, str, str]]) -> Iterator[list[tuple[bytes, str, str]]]:
    batch: list[tuple[bytes, str, str]] = []
    size = 0
    for record in records:
        length = len(record[0]) + len(record[1])
        if batch and (len(batch) == BATCH_RECORDS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch
