"""The records of one chunk as columns of text, for work that is done column by column.

The rules are those of :func:`millrace.csvfile.read_records`, to the letter. Most chunks are written so
plainly that Arrow's parser, some fifty times as fast, cannot read them otherwise than ours: in UTF-8, with
no quote inside a field that does not begin with one, and every record as wide as the header. Such a chunk is
read by it; any other one, and any one that it complains of, is read record by record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.contracts import Chunk, Dialect
from millrace.csvfile.reader import Record, Reject, read_records
from millrace.csvfile.records import MAX_RECORD_BYTES

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["TextColumns", "read_columns"]

_BATCH_ROWS = 8192


class TextColumns(NamedTuple):
    """A chunk's records, column by column.

    Attributes
    ----------
    columns : list of pyarrow.ChunkedArray of string
        One for each column of the file; a row for each record that is not rejected, in order.
    rejects : list of Reject
        The others.
    records : callable
        Given row numbers, yields their :class:`Record`, in order; it reads the chunk again.
    """

    columns: list[pa.ChunkedArray]
    rejects: list[Reject]
    records: Callable[[Collection[int]], Iterator[Record]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0])


def read_columns(data: bytes, dialect: Dialect, chunk: Chunk, width: int) -> TextColumns:
    """Read a chunk; see :func:`millrace.csvfile.read_records` for the arguments.

    Raises
    ------
    BadInput
        More quotes are never closed than a file may have.
    """

    def again(rows: Collection[int]) -> Iterator[Record]:
        kept = (item for item in read_records(data, dialect, chunk, width) if isinstance(item, Record))
        return (record for row, record in enumerate(kept) if row in rows)

    tail = dialect.footer and chunk.end > dialect.footer
    plain = None if tail else _read_plain(data, dialect, width)
    if plain is not None:
        return TextColumns(plain, [], again)
    columns, rejects = _read_each(read_records(data, dialect, chunk, width), width)
    return TextColumns(columns, rejects, again)


def _read_each(records: Iterator[Record | Reject], width: int) -> tuple[list[pa.ChunkedArray], list[Reject]]:
    import pyarrow as pa

    rejects: list[Reject] = []
    parts: list[list[Any]] = [[] for _ in range(width)]
    batch: list[list[str]] = []

    def flush() -> None:
        # A record's cells take many times the memory of an array's.
        for part, cells in zip(parts, zip(*batch, strict=True), strict=True):
            part.append(pa.array(cells, type=pa.string()))
        batch.clear()

    for record in records:
        if isinstance(record, Reject):
            rejects.append(record)
            continue
        batch.append(record.cells)
        if len(batch) == _BATCH_ROWS:
            flush()
    if batch:
        flush()
    return [pa.chunked_array(part, type=pa.string()) for part in parts], rejects


def _read_plain(data: bytes, dialect: Dialect, width: int) -> list[pa.ChunkedArray] | None:
    """Return the columns of a chunk that cannot be read in two ways, None for any other one."""
    if not _is_plain(data, dialect):
        return None
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import csv

    names = [str(index) for index in range(width + dialect.trailing)]
    quoted = b'"' in data
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if quoted else False,
                double_quote=quoted,
                escape_char=False,
                newlines_in_values=quoted,
                ignore_empty_lines=not dialect.blank_lines,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:  # too few or too many fields, or bytes that are no UTF-8
        return None
    columns = [table.column(name) for name in names]
    if any(column.filter(pc.not_equal(column, "")) for column in columns[width:]):
        return None
    columns = columns[:width]
    if len(data) > MAX_RECORD_BYTES and _longest(columns) > MAX_RECORD_BYTES // 2:
        return None
    return columns


def _is_plain(data: bytes, dialect: Dialect) -> bool:
    if not data or len(data) >= 1 << 31 or dialect.escape or dialect.quote != '"':
        return False
    if dialect.encoding != "utf-8" and not data.isascii():
        return False
    # A byte-order mark at its beginning would be taken off a chunk.
    if b"\0" in data or data.startswith(b"\xef\xbb\xbf"):
        return False
    comment = dialect.comment.encode()
    if dialect.skip_space or (comment and comment in data):
        return False
    return b'"' not in data or _well_quoted(dialect.delimiter).fullmatch(data) is not None


def _well_quoted(delimiter: str) -> re.Pattern[bytes]:
    """Return the pattern of fields without a quote, or in quotes with those inside doubled (RFC 4180)."""
    mark = re.escape(delimiter.encode())
    field = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^"\r\n' + mark + rb"]*+)"
    return re.compile(rb"(?:" + field + rb"(?:" + mark + rb"|\r\n?|\n))*+" + field)


def _longest(columns: list[pa.ChunkedArray]) -> int:
    """Return a bound of the longest record, in bytes of text."""
    import pyarrow.compute as pc

    return sum(pc.max(pc.binary_length(column)).as_py() or 0 for column in columns)
