"""A run's records, read by its layout and written in one dialect, so that files can be put together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from millrace import csvfile
from millrace.contracts import Layout, ObjectStore

__all__ = ["in_blocks", "records_of", "some_at_once", "to_csv"]

_RECORDS_AT_ONCE = 1000
_BLOCK_BYTES = 1 << 20


def records_of(
    layout: Layout, data: ObjectStore, artifacts: ObjectStore
) -> Iterator[csvfile.Record | csvfile.Reject]:
    """Yield the records of a run's file in their order, those that are rejected among them."""
    source = artifacts if layout.bucket == artifacts.bucket else data
    for chunk in layout.chunks:
        text = source.get(layout.key, version_id=layout.version_id or None, start=chunk.start, end=chunk.end)
        yield from csvfile.read_records(text, layout.dialect, chunk, len(layout.names))


def to_csv(records: Iterable[Sequence[str]]) -> bytes:
    """Return records as RFC 4180 has them, so that no cell can be read as anything else."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(records)
    return out.getvalue().encode(errors="backslashreplace")


def some_at_once(records: Iterator[Sequence[str]]) -> Iterator[bytes]:
    """Yield what :func:`to_csv` returns of them, some records at once."""
    while some := tuple(islice(records, _RECORDS_AT_ONCE)):
        yield to_csv(some)


def in_blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in larger parts."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        if len(waiting) >= _BLOCK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
