"""A run's rejected records, page by page, and how to write them into a file that can be uploaded again."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from millrace import keys
from millrace.contracts import Layout, ObjectStore
from millrace.errors import BadInput, NotFound, TooLarge
from millrace.runs.progress import read_layout

__all__ = ["PAGE_BYTES", "RejectsPage", "header_of", "read_rejects"]

PAGE_BYTES = 1 << 20
"""Stored bytes of a page; as an answer it may be three times as long."""
MAX_RECORD_BYTES = 4 << 20
"""Longest record that is shown."""


@dataclass(frozen=True)
class RejectsPage:
    """Some of a run's rejected records.

    Attributes
    ----------
    header : str
        A header for a file of them, in the original dialect, line end included.
    encoding : str
        Of the original file, into which header and records go back. Bytes that are not valid in it are lone
        surrogates (PEP 383).
    rejects : tuple of dict
        ``line``, ``offset``, ``column``, ``reason`` and ``record``, as they came, in file order.
    next : str or None
        Cursor of the next page.
    """

    header: str
    encoding: str
    rejects: tuple[dict[str, Any], ...]
    next: str | None


def read_rejects(run_id: str, artifacts: ObjectStore, cursor: str | None = None) -> RejectsPage:
    """Return a page of a run's rejected records.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts : ObjectStore
        The artifact bucket.
    cursor : str, optional
        ``next`` of the page before.

    Raises
    ------
    NotFound
        The run has not looked at its file yet.
    BadInput
        The cursor is none of ours.
    TooLarge
        A record is longer than can be shown.
    """
    try:
        layout = read_layout(run_id, artifacts)
    except NotFound:
        raise NotFound(
            f"The run {run_id!r:.100} has read no records",
            code="rejects-absent",
            remedy="It is not so far yet, or its file could not be read: the run's error says which.",
        ) from None
    chunk, offset = _place(cursor)
    files = [key for key in artifacts.list(keys.rejects_prefix(run_id)) if key >= keys.rejects(run_id, chunk)]
    if not files:
        return RejectsPage(header_of(layout), layout.dialect.encoding, (), None)
    start = offset if files[0] == keys.rejects(run_id, chunk) else 0
    size = artifacts.head(files[0]).size_bytes
    if start > size or (start and artifacts.get(files[0], start=start - 1, end=start) != b"\n"):
        raise _no_cursor(cursor)  # a page ends where a line does
    text = artifacts.get(files[0], start=start, end=min(size, start + PAGE_BYTES))
    if b"\n" not in text:
        text = artifacts.get(files[0], start=start, end=min(size, start + MAX_RECORD_BYTES))
    end = text.rfind(b"\n") + 1
    if not end and start < size:
        raise TooLarge(
            f"A rejected record is longer than {MAX_RECORD_BYTES >> 20} MiB",
            code="reject-too-long",
            where=f"s3://{artifacts.bucket}/{files[0]}",
            remedy="Read it there.",
        )
    following = None
    if start + end < size:
        following = f"{_number(files[0])}:{start + end}"
    elif len(files) > 1:
        following = f"{_number(files[1])}:0"
    lines = text[:end].splitlines()
    return RejectsPage(
        header_of(layout), layout.dialect.encoding, tuple(json.loads(line) for line in lines), following
    )


def header_of(layout: Layout) -> str:
    """Return the file's header, as the run names its columns, in the file's own dialect."""
    dialect = layout.dialect
    out = io.StringIO()
    csv.writer(
        out,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        escapechar=dialect.escape or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        lineterminator="\n",
    ).writerow(layout.names)
    return out.getvalue()


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    chunk, _, offset = cursor.partition(":")
    if not (chunk.isascii() and chunk.isdecimal() and offset.isascii() and offset.isdecimal()):
        raise _no_cursor(cursor)
    return int(chunk[:9]), int(offset[:18])


def _no_cursor(cursor: str | None) -> BadInput:
    return BadInput(
        f"{cursor!r:.60} is no cursor",
        code="cursor-invalid",
        where="query parameter 'cursor'",
        remedy="Use `next` of the page before, as it is.",
    )


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".jsonl"))
