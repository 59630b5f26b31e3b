"""Small things that several use cases of a run share: the time, its files, the name of its execution."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from millrace import keys
from millrace.contracts import Descriptor, Layout, ObjectStore, Run, Schema, decode, encode, is_there
from millrace.errors import Conflict
from millrace.runs.ports import Executions

__all__ = [
    "execution_name",
    "has_result",
    "read_layout",
    "read_parts",
    "read_ranges",
    "start_execution",
    "told",
    "utc_now",
    "write_json",
]

_AT_ONCE = 16

MAX_WARNING_BYTES = 65_536
"""Of a schema's warnings on the run's record: an item of DynamoDB holds 400 KB, and a table of thousands of
columns may have a warning or two about each."""


def utc_now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def execution_name(run: Run) -> str:
    """Return the name of the run's execution: deterministic, so that a second start is no second run."""
    return f"{run.run_id}-{run.attempt}"


def start_execution(run: Run, executions: Executions) -> bool:
    """Start the run's state machine; ``False`` when that attempt was started before."""
    data = {"run_id": run.run_id, "kind": run.kind, "size_bytes": run.size_bytes}
    return executions.start(execution_name(run), data)


def has_result(descriptor: Descriptor, artifacts: ObjectStore) -> bool:
    """Tell whether the chunk's work is done: its result is what a worker writes last."""
    return is_there(keys.part(descriptor.run_id, descriptor.pass_name, descriptor.chunk), artifacts)


def read_layout(run_id: str, artifacts: ObjectStore) -> Layout:
    """Return where the run's records lie; ``NotFound`` before ``fan_out`` has written it."""
    return decode(Layout, json.loads(artifacts.get(keys.layout(run_id))))


def read_ranges(run_id: str, artifacts: ObjectStore) -> Layout:
    """Return the byte ranges of a large file; ``NotFound`` unless it was looked through in parallel."""
    return decode(Layout, json.loads(artifacts.get(keys.ranges(run_id))))


def told(schema: Schema) -> tuple[str, ...]:
    """Return the schema's warnings as far as the run's record can hold them; its files have all."""
    shown: list[str] = []
    room = MAX_WARNING_BYTES
    for warning in schema.warnings:
        room -= len(warning.encode())
        if room < 0:
            more = len(schema.warnings) - len(shown)
            shown.append(f"{more} more warnings stand in the run's report and in its schema.json.")
            break
        shown.append(warning)
    return tuple(shown)


def write_json(artifacts: ObjectStore, key: str, value: Any, *, only_if_absent: bool = False) -> bool:
    """Write a contract or JSON types; ``False`` when it is to be written once and is there already."""
    data = json.dumps(encode(value), ensure_ascii=False, separators=(",", ":")).encode()
    try:
        artifacts.put(key, data, content_type="application/json", only_if_absent=only_if_absent)
    except Conflict:
        if not only_if_absent:
            raise
        return False
    return True


def rejects_uri(run_id: str, artifacts: ObjectStore, count: int) -> str | None:
    """Return the URI below which the run's ``count`` rejected records lie; None when there are none."""
    return f"s3://{artifacts.bucket}/{keys.rejects_prefix(run_id)}" if count else None


def read_parts(artifacts: ObjectStore, part_keys: Sequence[str]) -> Iterator[bytes]:
    """Yield the objects in order, reading 16 at once: a pass of many chunks has many small results."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(part_keys), _AT_ONCE):
            yield from pool.map(artifacts.get, part_keys[start : start + _AT_ONCE])
