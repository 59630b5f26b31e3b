"""The one parser: physical lines to records, for the boundary scan and the chunk readers alike.

Bytes are parsed as Latin-1, in which every byte is one character: delimiters, quotes and line ends are
ASCII in every encoding that reaches this point, so a record begins and ends at the same byte whatever its
text is encoded in, and a damaged character damages its own record only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from millrace.contracts import Dialect
from millrace.csvfile import kernel
from millrace.errors import BadInput, TooLarge

__all__ = ["MAX_RECORD_BYTES", "RawRecord", "count_lines", "physical_lines", "split_records"]

MAX_RECORD_BYTES = 32 << 20
"""Longest record and longest physical line, line breaks included."""

MAX_OPEN_QUOTES = 20
"""Quotes never closed that a file may have. Each costs reading up to ``MAX_RECORD_BYTES`` again, so
without this limit a file made for it could keep a worker busy for hours."""

_END = "\x00end of data\x00"


class RawRecord(NamedTuple):
    """One record as parsed: ``cells`` is None when its quote is never closed.

    ``cells`` are Latin-1 readings of the bytes; ``raw`` the bytes with their line end. A blank line is a
    record of no cells, for its bytes must be counted too.
    """

    line: int
    offset: int
    cells: list[str] | None
    raw: bytes
    next_line: int

    @property
    def end(self) -> int:
        """Byte offset behind the record."""
        return self.offset + len(self.raw)


def physical_lines(blocks: Iterable[bytes], *, skip_bytes: int = 0, line: int = 1) -> Iterator[bytes]:
    """Yield the lines with their ends (LF, CRLF or CR), holding one block and one line at most.

    ``line`` is the number of the first of them, for the error.

    Raises
    ------
    TooLarge
        A line is longer than ``MAX_RECORD_BYTES``.
    """
    rest = b""
    count = 0
    for block in blocks:
        if skip_bytes:
            skipped = min(skip_bytes, len(block))
            block, skip_bytes = block[skipped:], skip_bytes - skipped
        lines = (rest + block).splitlines(keepends=True)
        # A line end CR may be the first half of CRLF.
        held = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(rest) + len(block) > MAX_RECORD_BYTES:
            for number, one in enumerate((*lines, held), start=count + line):
                if len(one) > MAX_RECORD_BYTES:
                    raise TooLarge(
                        f"A line is longer than {MAX_RECORD_BYTES >> 20} MiB",
                        code="record-too-long",
                        where=f"line {number}",
                        remedy="Check that the file is a CSV file with a line for each record.",
                    )
        rest = held
        count += len(lines)
        yield from lines
    if rest:
        yield rest


def count_lines(data: bytes, start: int, end: int) -> int:
    """Return how many lines end in ``data[start:end]``, by LF, CRLF or CR."""
    library = kernel.library()
    if library is not None:
        return int(library.csv_lines(data, len(data), start, end))
    lone = data.count(b"\r", start, end) - data.count(b"\r\n", start, end + 1)
    return data.count(b"\n", start, end) + lone


class _OpenQuote(Exception):
    """The record under way is longer than a record may be."""


def split_records(
    lines: Iterable[bytes], dialect: Dialect, *, line: int = 1, offset: int = 0
) -> Iterator[RawRecord]:
    """Yield every record, blank lines included, so that the ``raw`` of all of them are the whole input.

    A quote that is not closed before the end of the lines, or within ``MAX_RECORD_BYTES``, costs only the
    line on which it opens: parsing goes on with the line after it. The outcome is the same wherever the
    lines are cut between two records.

    Parameters
    ----------
    lines : iterable of bytes
        Physical lines as :func:`physical_lines` yields them.
    dialect : Dialect
        Delimiter, quote and escape.
    line, offset : int
        Physical line (from 1) and byte offset of the first of the lines.

    Raises
    ------
    BadInput
        More than ``MAX_OPEN_QUOTES`` quotes are never closed.
    """
    # A limit of the process, in characters; records are bounded by their bytes below.
    csv.field_size_limit(MAX_RECORD_BYTES + len(_END) + 1)
    source = iter(lines)
    pending: list[bytes] = []
    open_quotes = 0
    ended = False

    def feed() -> Iterator[str]:
        nonlocal ended
        size = 0
        for raw in source:
            pending.append(raw)
            if len(pending) == 1:
                size = 0
            size += len(raw)
            if size > MAX_RECORD_BYTES:
                raise _OpenQuote
            yield raw.decode("latin-1")
        # If a quote is still open then, this line becomes part of the open record and not one of its own.
        ended = True
        yield _END

    while not ended:
        reader = csv.reader(
            feed(),
            delimiter=dialect.delimiter,
            quotechar=dialect.quote or None,
            escapechar=dialect.escape or None,
            skipinitialspace=dialect.skip_space,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        )
        try:
            for cells in reader:
                if ended:
                    break
                if not cells and dialect.blank_lines:
                    cells = [""]
                if len(pending) == 1:
                    raw = pending[0]
                    lines_read = 1
                else:
                    raw = b"".join(pending)
                    lines_read = len(pending)
                pending.clear()
                yield RawRecord(line, offset, cells, raw, line + lines_read)
                line += lines_read
                offset += len(raw)
        except _OpenQuote:
            pass
        if not pending:
            continue
        open_quotes += 1
        if open_quotes > MAX_OPEN_QUOTES:
            raise BadInput(
                f"More than {MAX_OPEN_QUOTES} quotes are opened and never closed",
                code="quotes-open",
                where=f"line {line}",
                remedy=f"Double each {dialect.quote} that is part of a value, and put the value in quotes.",
            )
        first, *others = pending
        pending.clear()
        yield RawRecord(line, offset, None, first, line + 1)
        line += 1
        offset += len(first)
        source = chain(others, source)
        ended = False
