"""The event source poller of Kinesis: from a stream's records to invocations, as Lambda documents it.

A shard is read in order and split into ``ParallelizationFactor`` lanes by partition key; a lane runs one
batch at a time, so that the records of a key stay in order. A batch leaves when it is full (by number
or at 6 MB), or when its window is over. The checkpoint of a shard is the last record before the first
unfinished one of any lane, and it survives a restart.

When a function fails (https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html,
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html):

* with ``ReportBatchItemFailures``, the records before the lowest reported one are done and the rest is
  tried again; a null, empty or unknown identifier makes it a failure of the whole batch;
* with ``BisectBatchOnFunctionError``, a batch that failed as a whole is split into two, which does not
  count as a retry; neither does a split at a reported record;
* after ``MaximumRetryAttempts`` retries, or when the records are older than
  ``MaximumRecordAgeInSeconds``, the batch goes to the on-failure destination and the lane goes on;
* an invoke that did not take place (a throttle, a service error) is repeated and counts for nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Answer", "Batch", "Mapping", "Poller", "Ports", "Record", "Throttled"]

_log = logging.getLogger(__name__)

PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024 - 16 * 1024
"""Where a batch ends although it is not full; the rest of 6 MB is for what surrounds the records."""

_RECORD_OVERHEAD_BYTES = 600
_READ_LIMIT = 10_000


@dataclass(frozen=True)
class Record:
    """One record of a stream; ``arrived_s`` in seconds since 1970."""

    sequence: str
    partition_key: str
    data: bytes
    arrived_s: float

    @property
    def size_bytes(self) -> int:
        """What the record takes in an event, about."""
        return len(self.data) * 4 // 3 + len(self.partition_key) + _RECORD_OVERHEAD_BYTES


@dataclass(frozen=True)
class Mapping:
    """An event source mapping; limits of ``-1`` mean none."""

    uuid: str
    stream_arn: str
    function_arn: str
    role: str
    region: str
    enabled: bool = True
    batch_size: int = 100
    window_s: float = 0
    parallelization: int = 1
    report_failures: bool = False
    bisect: bool = False
    max_retries: int = -1
    max_age_s: float = -1
    destination: str | None = None

    @classmethod
    def load(cls, data: dict[str, Any], *, role: str, region: str) -> Mapping:
        """Read Lambda's description of a mapping; CloudFormation may have left numbers as text."""
        failure = (data.get("DestinationConfig") or {}).get("OnFailure") or {}
        return cls(
            uuid=data["UUID"],
            stream_arn=data["EventSourceArn"],
            function_arn=data["FunctionArn"],
            role=role,
            region=region,
            enabled=_flag(data.get("Enabled", True)),
            batch_size=int(data.get("BatchSize") or 100),
            window_s=float(data.get("MaximumBatchingWindowInSeconds") or 0),
            parallelization=int(data.get("ParallelizationFactor") or 1),
            report_failures="ReportBatchItemFailures" in (data.get("FunctionResponseTypes") or []),
            bisect=_flag(data.get("BisectBatchOnFunctionError") or False),
            max_retries=_limit(data.get("MaximumRetryAttempts")),
            max_age_s=_limit(data.get("MaximumRecordAgeInSeconds")),
            destination=failure.get("Destination"),
        )


@dataclass(frozen=True)
class Answer:
    """What an invocation came to."""

    payload: Any
    error: str | None
    request_id: str = ""


class Throttled(Exception):
    """The invocation did not take place."""


class Ports(Protocol):
    """What the poller needs of one mapping's surroundings."""

    def read(self, mapping: Mapping, shard: str, after: str, limit: int) -> list[Record]:
        """Return up to ``limit`` records after a sequence number, oldest first; all for ``after=""``."""
        ...

    def invoke(self, mapping: Mapping, event: dict[str, Any]) -> Answer:
        """Run the function; ``Throttled`` when it could not be run."""
        ...

    def deliver(self, mapping: Mapping, key: str, document: dict[str, Any], records: dict[str, Any]) -> None:
        """Write to the on-failure destination; ``key`` and ``records`` are for those that take them."""
        ...


@dataclass
class Batch:
    """Records that are tried together."""

    records: list[Record]
    retries: int = 0
    invocations: int = 0
    request_id: str = ""


@dataclass
class _Lane:
    """What one key-ordered part of a shard has to do."""

    waiting: deque[Record] = field(default_factory=deque)
    since: float = 0.0
    busy: bool = False


@dataclass
class _Shard:
    name: str
    lanes: list[_Lane]
    checkpoint: str
    read_after: str
    tip: str = ""
    order: deque[str] = field(default_factory=deque)
    done: set[str] = field(default_factory=set)

    def finish(self, records: Iterable[Record]) -> bool:
        """Note records as done; tell whether the checkpoint moved."""
        self.done.update(record.sequence for record in records)
        before = self.checkpoint
        while self.order and self.order[0] in self.done:
            self.checkpoint = self.order.popleft()
            self.done.remove(self.checkpoint)
        return self.checkpoint != before


class Poller:
    """All mappings of the platform.

    Parameters
    ----------
    ports : Ports
        Stream, function and destination.
    positions : Path
        File that keeps the checkpoints.
    clock : callable
        Seconds since 1970.
    backoff_s : float
        Pause before the first retry of a batch; it doubles up to 30 times as much.
    """

    def __init__(
        self,
        ports: Ports,
        positions: Path,
        *,
        clock: Callable[[], float] = time.time,
        backoff_s: float = 0.1,
    ) -> None:
        self._ports = ports
        self._path = positions
        self._clock = clock
        self._backoff_s = backoff_s
        self._workers: dict[str, _Worker] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._positions: dict[str, dict[str, str]] = {}
        if positions.exists():
            self._positions = json.loads(positions.read_text())

    def update(self, mapping: Mapping, start: dict[str, str], tips: dict[str, str]) -> None:
        """Begin to serve a mapping, or take note of its new settings and of new records.

        Parameters
        ----------
        mapping : Mapping
            The mapping as it is now.
        start : dict
            Sequence number after which each shard is read, for shards without a checkpoint.
        tips : dict
            Last sequence number of each shard; empty for a shard without records.
        """
        with self._lock:
            if self._closed:
                return
            known = self._positions.get(mapping.uuid)
            if known is None:
                known = self._positions[mapping.uuid] = dict(start)
                self._write()
            worker = self._workers.get(mapping.uuid)
            if worker is not None and (worker.mapping != mapping):
                worker.stop()
                worker = None
                del self._workers[mapping.uuid]
            if worker is None and mapping.enabled:
                worker = _Worker(mapping, known, self)
                self._workers[mapping.uuid] = worker
        if worker is not None:
            worker.see(tips)

    def retain(self, uuids: Iterable[str]) -> None:
        """Stop serving, and forget, all mappings but these."""
        keep = set(uuids)
        with self._lock:
            for uuid_ in [known for known in self._workers if known not in keep]:
                self._workers.pop(uuid_).stop()
            gone = [known for known in self._positions if known not in keep]
            for uuid_ in gone:
                del self._positions[uuid_]
            if gone:
                self._write()

    def close(self) -> None:
        """Stop; batches that are under way are delivered again after a restart."""
        with self._lock:
            self._closed = True
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.stop()

    def checkpoint(self, mapping: str, shard: str, sequence: str) -> None:
        """Keep a shard's checkpoint on disk."""
        with self._lock:
            if mapping in self._positions and not self._closed:
                self._positions[mapping][shard] = sequence
                self._write()

    def _write(self) -> None:
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self._positions))
        part.replace(self._path)


class _Worker:
    """The thread that reads one mapping's shards, and the threads that run its batches."""

    def __init__(self, mapping: Mapping, positions: dict[str, str], poller: Poller) -> None:
        self.mapping = mapping
        self._positions = dict(positions)
        self._poller = poller
        self._ports = poller._ports
        self._shards: dict[str, _Shard] = {}
        self._wake = threading.Condition()
        self._stopped = threading.Event()
        self._batches = ThreadPoolExecutor(max_workers=256, thread_name_prefix=f"batch-{mapping.uuid[:8]}")
        self._thread = threading.Thread(target=self._run, name=f"poller-{mapping.uuid[:8]}", daemon=True)
        self._thread.start()

    def see(self, tips: dict[str, str]) -> None:
        """Take note of how far the shards go."""
        with self._wake:
            for name, tip in tips.items():
                shard = self._shards.get(name)
                if shard is None:
                    after = self._positions.get(name, "")
                    lanes = [_Lane() for _ in range(self.mapping.parallelization)]
                    shard = self._shards[name] = _Shard(name, lanes, after, after)
                shard.tip = tip
            self._wake.notify()

    def stop(self) -> None:
        """Stop without waiting for batches."""
        self._stopped.set()
        with self._wake:
            self._wake.notify()
        self._batches.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopped.is_set():
            for shard in list(self._shards.values()):
                if self._behind(shard):
                    self._read(shard)
            with self._wake:
                pause = self._dispatch()
                if any(self._behind(shard) for shard in self._shards.values()):
                    continue
                if not self._stopped.is_set():
                    self._wake.wait(pause)

    def _behind(self, shard: _Shard) -> bool:
        """Whether there are records to read and room for them."""
        room = len(shard.order) < 4 * self.mapping.batch_size * self.mapping.parallelization
        return room and bool(shard.tip) and int(shard.tip) > int(shard.read_after or 0)

    def _read(self, shard: _Shard) -> None:
        limit = min(4 * self.mapping.batch_size * self.mapping.parallelization, _READ_LIMIT)
        try:
            records = self._ports.read(self.mapping, shard.name, shard.read_after, limit)
        except Throttled as error:
            _log.warning("Reading %s of %s: %s", shard.name, self.mapping.stream_arn, error)
            self._stopped.wait(1.0)
            return
        with self._wake:
            if not records:
                # What the tip promised has expired in the meantime.
                shard.read_after = shard.tip
                return
            now = time.monotonic()
            for record in records:
                lane = shard.lanes[_hash(record.partition_key) % len(shard.lanes)]
                if not lane.waiting:
                    lane.since = now
                lane.waiting.append(record)
                shard.order.append(record.sequence)
            shard.read_after = records[-1].sequence

    def _dispatch(self) -> float | None:
        """Send off the batches that are ready; return seconds until the next window ends."""
        pause: float | None = None
        for shard in self._shards.values():
            for lane in shard.lanes:
                if lane.busy or not lane.waiting:
                    continue
                records = self._batch(lane)
                left = lane.since + self.mapping.window_s - time.monotonic()
                full = len(records) >= self.mapping.batch_size or len(records) < len(lane.waiting)
                if full or left <= 0:
                    for _ in records:
                        lane.waiting.popleft()
                    lane.since = time.monotonic()
                    lane.busy = True
                    if not self._stopped.is_set():
                        self._batches.submit(self._work, shard, lane, records)
                else:
                    pause = left if pause is None else min(pause, left)
        return pause

    def _batch(self, lane: _Lane) -> list[Record]:
        records: list[Record] = []
        size = 0
        for record in lane.waiting:
            size += record.size_bytes
            if len(records) == self.mapping.batch_size or (records and size > PAYLOAD_LIMIT_BYTES):
                break
            records.append(record)
        return records

    def _work(self, shard: _Shard, lane: _Lane, records: list[Record]) -> None:
        todo = deque([Batch(records)])
        while todo and not self._stopped.is_set():
            batch = todo.popleft()
            todo.extendleft(reversed(self._try(shard, batch)))
        with self._wake:
            lane.busy = bool(todo)
            self._wake.notify()

    def _try(self, shard: _Shard, batch: Batch) -> list[Batch]:
        """Invoke once; return what is left to do, in order."""
        batch = self._drop_expired(shard, batch)
        if not batch.records:
            return []
        try:
            answer = self._ports.invoke(self.mapping, _event(self.mapping, shard.name, batch.records))
        except Throttled as error:
            _log.warning("Invoking %s: %s", self.mapping.function_arn, error)
            self._pause(batch.invocations + 1)
            return [batch]
        batch.invocations += 1
        batch.request_id = answer.request_id
        failed = self._first_failure(batch.records, answer)
        if failed is None:
            self._finish(shard, batch.records)
            return []
        if failed > 0:
            self._finish(shard, batch.records[:failed])
            rest = Batch(batch.records[failed:], batch.retries, batch.invocations, batch.request_id)
            return [rest] if self.mapping.bisect else self._again(shard, rest)
        if self.mapping.bisect and len(batch.records) > 1:
            middle = len(batch.records) // 2
            halves = batch.records[:middle], batch.records[middle:]
            return [Batch(half, batch.retries, batch.invocations, batch.request_id) for half in halves]
        return self._again(shard, batch)

    def _again(self, shard: _Shard, batch: Batch) -> list[Batch]:
        """Count a retry: wait for it, or give the batch up."""
        if 0 <= self.mapping.max_retries <= batch.retries:
            self._discard(shard, batch, "RetryAttemptsExhausted")
            return []
        batch.retries += 1
        self._pause(batch.retries)
        return [batch]

    def _pause(self, attempt: int) -> None:
        self._stopped.wait(self._poller._backoff_s * min(2 ** (attempt - 1), 30))

    def _drop_expired(self, shard: _Shard, batch: Batch) -> Batch:
        """Give up the records that are too old; they are the first ones."""
        if self.mapping.max_age_s < 0:
            return batch
        oldest = self._poller._clock() - self.mapping.max_age_s
        fresh = next(
            (i for i, record in enumerate(batch.records) if record.arrived_s >= oldest), len(batch.records)
        )
        if not fresh:
            return batch
        old = Batch(batch.records[:fresh], batch.retries, batch.invocations, batch.request_id)
        self._discard(shard, old, "RecordAgeExceeded")
        batch.records = batch.records[fresh:]
        return batch

    def _first_failure(self, records: list[Record], answer: Answer) -> int | None:
        """Return the index of the first record that is not done; ``None`` when all are."""
        if answer.error is not None:
            return 0
        if not self.mapping.report_failures or not isinstance(answer.payload, dict):
            return None
        failures = answer.payload.get("batchItemFailures")
        if not failures:
            return None
        index = {record.sequence: i for i, record in enumerate(records)}
        places = [
            index.get(item.get("itemIdentifier") or "") if isinstance(item, dict) else None
            for item in failures
        ]
        known = [place for place in places if place is not None]
        return min(known) if len(known) == len(places) else 0

    def _finish(self, shard: _Shard, records: list[Record]) -> None:
        with self._wake:
            moved = shard.finish(records)
            checkpoint = shard.checkpoint
            self._wake.notify()
        if moved and not self._stopped.is_set():
            self._poller.checkpoint(self.mapping.uuid, shard.name, checkpoint)

    def _discard(self, shard: _Shard, batch: Batch, condition: str) -> None:
        if self.mapping.destination is not None:
            now = datetime.fromtimestamp(self._poller._clock(), UTC)
            key = (
                f"aws/lambda/{self.mapping.uuid}/{shard.name}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
            )
            event = _event(self.mapping, shard.name, batch.records)
            self._ports.deliver(
                self.mapping, key, _document(self.mapping, shard.name, batch, condition, now), event
            )
        self._finish(shard, batch.records)


def _event(mapping: Mapping, shard: str, records: list[Record]) -> dict[str, Any]:
    """Return the event that a function gets."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": record.sequence,
                    "data": base64.b64encode(record.data).decode(),
                    "approximateArrivalTimestamp": record.arrived_s,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard}:{record.sequence}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": mapping.role,
                "awsRegion": mapping.region,
                "eventSourceARN": mapping.stream_arn,
            }
            for record in records
        ]
    }


def _document(mapping: Mapping, shard: str, batch: Batch, condition: str, now: datetime) -> dict[str, Any]:
    """Return what a destination is told: where the records are, not what they are."""
    document: dict[str, Any] = {
        "requestContext": {
            "requestId": batch.request_id or str(uuid.uuid4()),
            "functionArn": mapping.function_arn,
            "condition": condition,
            "approximateInvokeCount": batch.invocations,
        },
        "version": "1.0",
        "timestamp": _stamp(now),
        "KinesisBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": batch.records[0].sequence,
            "endSequenceNumber": batch.records[-1].sequence,
            "approximateArrivalOfFirstRecord": _stamp(
                datetime.fromtimestamp(batch.records[0].arrived_s, UTC)
            ),
            "approximateArrivalOfLastRecord": _stamp(
                datetime.fromtimestamp(batch.records[-1].arrived_s, UTC)
            ),
            "batchSize": len(batch.records),
            "streamArn": mapping.stream_arn,
        },
    }
    if batch.invocations:
        document["responseContext"] = {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
    return document


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _limit(value: object) -> int:
    return -1 if value is None else int(str(value))
