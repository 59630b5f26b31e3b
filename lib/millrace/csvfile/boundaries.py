"""Where to cut a file into chunks: at record boundaries as the parser sees them, in one streamed pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from millrace.contracts import Chunk, Dialect
from millrace.csvfile.encoding import Evidence
from millrace.csvfile.records import physical_lines, split_records
from millrace.errors import BadInput

__all__ = ["Boundaries", "find_chunks"]


@dataclass(frozen=True)
class Boundaries:
    """The chunks of a file, and what only the whole file can tell.

    Attributes
    ----------
    chunks : tuple of Chunk
        At least one; each holds a record at least; together they are the bytes after the header.
    dialect : Dialect
        As given, but with the encoding that the whole file shows when its head was all ASCII.
    records : int
        Records after the header, those that will be rejected included.
    notes : tuple of str
        What people should know, as sentences.
    """

    chunks: tuple[Chunk, ...]
    dialect: Dialect
    records: int
    notes: tuple[str, ...]


def find_chunks(blocks: Iterable[bytes], dialect: Dialect, target_bytes: int) -> Boundaries:
    """Cut a file at the first record boundary after every ``target_bytes``.

    Parameters
    ----------
    blocks : iterable of bytes
        The whole file from byte 0, as it will be read in ranges.
    dialect : Dialect
        As sniffed from its head.
    target_bytes : int
        Size of a chunk; one is longer by less than a record.

    Raises
    ------
    BadInput
        The file has no record after its header, its encoding is unknown, or quotes are never closed.
    TooLarge
        A line is longer than a record may be.
    """
    evidence = Evidence()

    def watched() -> Iterator[bytes]:
        for block in blocks:
            evidence.add(block)
            yield block
        evidence.add(b"", final=True)

    lines = physical_lines(watched(), skip_bytes=dialect.skip_bytes)
    records = split_records(lines, dialect, offset=dialect.skip_bytes)
    end, line = dialect.skip_bytes, 1
    plain_header = True
    if dialect.header:
        for record in records:
            end, line = record.end, record.next_line
            if record.cells != []:
                plain_header = record.raw.isascii()
                break
    chunks: list[Chunk] = []
    notes: list[str] = []
    start, first_line, first_record, count = end, line, 0, 0
    for record in records:
        if record.cells != []:
            if end - start >= target_bytes and count > first_record:
                chunks.append(Chunk(len(chunks), start, end, first_line, first_record))
                start, first_line, first_record = end, line, count
            count += 1
            if record.cells is None:
                notes.append(f"Line {record.line} opens a quote that is never closed: the line is rejected.")
        end, line = record.end, record.next_line
    if not count:
        raise BadInput(
            "The file has a header but no rows" if dialect.header else "The file has no rows",
            code="no-rows",
            where=f"line {line}",
            remedy="Upload a file with rows below the header.",
        )
    chunks.append(Chunk(len(chunks), start, end, first_line, first_record))
    encoding, note = evidence.decide()
    if encoding != dialect.encoding and not plain_header:
        # The names are read already, and the header is the file's word on its encoding.
        encoding = dialect.encoding
        note = (
            f"The header is {encoding}, but {evidence.invalid} bytes (the first in line "
            f"{evidence.first_line}) are not: the records with them are rejected."
        )
    if note:
        notes.append(note)
    return Boundaries(tuple(chunks), replace(dialect, encoding=encoding), count, tuple(notes))
