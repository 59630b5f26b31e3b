"""The records of one chunk, numbered as in the whole file; what cannot be a record is a reject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from millrace.contracts import Chunk, Dialect
from millrace.csvfile.dialect import decode_cell
from millrace.csvfile.records import RawRecord, physical_lines, split_records

__all__ = ["Record", "Reject", "decode_raw", "expect_whole", "fault_of", "read_records"]


_BLOCK_BYTES = 1 << 20
"""So that the lines of a chunk do not lie in memory all at once."""


class Record(NamedTuple):
    """One record with as many cells as the file has columns.

    Attributes
    ----------
    number : int
        From 0, in the whole file, rejects counted too.
    line : int
        Physical line, from 1, on which it begins.
    offset : int
        Byte at which it begins.
    cells : list of str
        Its fields.
    raw : bytes
        Its bytes as they came, line end included.
    """

    number: int
    line: int
    offset: int
    cells: list[str]
    raw: bytes


class Reject(NamedTuple):
    """One record that is not used, and why.

    ``column`` is empty when the fault is the record's. ``raw`` is the record as it came; bytes that are
    not valid in the file's encoding are lone surrogates (``surrogateescape``, PEP 383), so nothing is lost.
    """

    number: int
    line: int
    offset: int
    column: str
    reason: str
    raw: str


def read_records(data: bytes, dialect: Dialect, chunk: Chunk, width: int) -> Iterator[Record | Reject]:
    """Yield the chunk's records in order.

    Parameters
    ----------
    data : bytes
        Exactly the bytes ``[chunk.start, chunk.end)``.
    dialect : Dialect
        The layout's.
    chunk : Chunk
        Where the bytes lie.
    width : int
        Number of columns.
    """
    expect_whole(data, chunk)
    number = chunk.first_record
    encoding = dialect.encoding
    plain = data.isascii()
    lines = physical_lines(data[at : at + _BLOCK_BYTES] for at in range(0, len(data), _BLOCK_BYTES))
    for raw in split_records(lines, dialect, line=chunk.first_line, offset=chunk.start):
        cells = raw.cells
        if cells == []:
            continue
        reason = fault_of(raw, dialect, width)
        if cells is None or reason:
            yield _reject(raw, number, encoding, reason)
        else:
            del cells[width:]  # delimiters at the end, with nothing behind them
            try:
                if not plain:
                    cells = [decode_cell(cell, encoding) for cell in cells]
                yield Record(number, raw.line, raw.offset, cells, raw.raw)
            except UnicodeDecodeError as error:
                bad = error.object[error.start : error.end].hex(" ")
                yield _reject(raw, number, encoding, f"the bytes {bad} are not valid in {encoding}")
        number += 1


def fault_of(raw: RawRecord, dialect: Dialect, width: int) -> str:
    """Return why a record is none of the table's, as a sentence without its full stop; empty if it is one.

    Fields beyond the last column with nothing in them are no fault.
    """
    cells = raw.cells
    if cells is None:
        return f"a {dialect.quote} is opened and never closed"
    if dialect.comment and raw.raw.startswith(dialect.comment.encode()):
        return f"a comment: it begins with {dialect.comment}"
    if dialect.footer and raw.offset >= dialect.footer:
        return "it stands behind the table, where totals begin"
    if len(cells) == width or (len(cells) > width and not any(cells[width:])):
        return ""
    few = "too few" if len(cells) < width else "too many"
    return f"{few} fields: {len(cells)} instead of {width}"


def expect_whole(data: bytes, chunk: Chunk) -> None:
    """Raise ValueError when a chunk's bytes are not all there: what is missing would be lost in silence."""
    if len(data) != chunk.end - chunk.start:
        raise ValueError(f"chunk {chunk.number} has {chunk.end - chunk.start} bytes, got {len(data)}")


def decode_raw(raw: bytes, encoding: str) -> str:
    """Return a record's bytes as text without loss; see :class:`Reject`."""
    return raw.decode(encoding, "surrogateescape")


def _reject(raw: RawRecord, number: int, encoding: str, reason: str) -> Reject:
    return Reject(number, raw.line, raw.offset, "", reason, decode_raw(raw.raw, encoding))
