"""Where to cut a file into chunks: at record boundaries as the parser sees them, in one streamed pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from millrace.contracts import Chunk, Dialect
from millrace.csvfile.encoding import Evidence
from millrace.csvfile.records import RawRecord, physical_lines, split_records
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
    seen: list[bytes] = []  # until the header has been read

    def watch() -> Iterator[bytes]:
        for block in blocks:
            evidence.add(block)
            seen.append(block)
            yield block
        evidence.add(b"", final=True)

    watched = watch()
    end, line = dialect.skip_bytes, 1 + dialect.skip_lines
    plain_header = True
    if dialect.header:
        lines = physical_lines(watched, skip_bytes=dialect.skip_bytes)
        for record in split_records(lines, dialect, line=line, offset=end):
            end, line = record.end, record.next_line
            if record.cells != []:
                plain_header = record.raw.isascii()
                break
    chunks: list[Chunk] = []
    notes: list[str] = []
    start, first_line, first_record, count = end, line, 0, 0

    def cut() -> None:
        nonlocal start, first_line, first_record
        chunks.append(Chunk(len(chunks), start, end, first_line, first_record))
        start, first_line, first_record = end, line, count

    for part in _parts(chain(tuple(seen), _forgetting(watched, seen)), dialect, end, line):
        if isinstance(part, bytes):
            done = 0
            while done < len(part):
                if end - start >= target_bytes and count > first_record:
                    cut()
                # To the end of the record in which the chunk gets long enough, or of the part.
                reach = part.find(b"\n", done + max(target_bytes - (end - start), 1) - 1) + 1 or len(part)
                lines_read = part.count(b"\n", done, reach)
                end, line, count, done = end + reach - done, line + lines_read, count + lines_read, reach
            continue
        if part.cells != []:
            if end - start >= target_bytes and count > first_record:
                cut()
            count += 1
            if part.cells is None:
                notes.append(f"Line {part.line} opens a quote that is never closed: the line is rejected.")
        end, line = part.end, part.next_line
    if not count:
        raise BadInput(
            "The file has a header but no rows" if dialect.header else "The file has no rows",
            code="no-rows",
            where=f"line {line}",
            remedy="Upload a file with rows below the header.",
        )
    cut()
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


def _forgetting(watched: Iterator[bytes], seen: list[bytes]) -> Iterator[bytes]:
    for block in watched:
        seen.clear()
        yield block


def _parts(blocks: Iterable[bytes], dialect: Dialect, offset: int, line: int) -> Iterator[bytes | RawRecord]:
    """Yield the records from ``offset`` on; where every line is one, many of them as one piece of the file.

    Such a piece ends with a line feed, and has no quote, no blank line and no carriage return that is not
    part of a line end: no parser could read its lines as anything but one record each. What follows the last
    of them, and everything else, goes through the parser.
    """
    source = _Pieces(blocks, offset)
    while piece := source.next():
        if _is_plain(piece, dialect):
            yield piece
            line += piece.count(b"\n")
            offset += len(piece)
            continue
        for record in split_records(source.lines(piece, line), dialect, line=line, offset=offset):
            yield record
            line, offset = record.next_line, record.end
            if record.cells is None:
                source.parse_on = True  # how many more quotes may stay open, the parser must count itself
            if offset == source.end and not source.parse_on:
                break


def _is_plain(piece: bytes, dialect: Dialect) -> bool:
    return (
        not dialect.escape
        and dialect.quote.encode() not in piece
        and piece.endswith(b"\n")
        and not piece.startswith((b"\n", b"\r"))
        and b"\n\n" not in piece
        and b"\n\r" not in piece
        and piece.count(b"\r") == piece.count(b"\r\n")
    )


class _Pieces:
    """A file in pieces of whole lines.

    Attributes
    ----------
    end : int
        Byte offset behind the last piece.
    parse_on : bool
        Set to let :meth:`lines` go on to the file's end.
    """

    def __init__(self, blocks: Iterable[bytes], offset: int) -> None:
        self._blocks = iter(blocks)
        self._skip = offset
        self._rest = b""
        self.end = offset
        self.parse_on = False

    def next(self) -> bytes:
        """Return the next piece; empty at the end of the file.

        A last line without an end is a piece of its own, and so is a line that is longer than a block: as
        much of it as is there, for the parser to go on with.
        """
        for block in self._blocks:
            if self._skip:
                skipped = min(self._skip, len(block))
                block, self._skip = block[skipped:], self._skip - skipped
            data = self._rest + block
            cut = data.rfind(b"\n") + 1
            if cut:
                self._rest = data[cut:]
                self.end += cut
                return data[:cut]
            self._rest = data
            if len(data) > _LONG_LINE_BYTES:
                break
        piece, self._rest = self._rest, b""
        self.end += len(piece)
        return piece

    def lines(self, piece: bytes, line: int) -> Iterator[bytes]:
        """Yield a piece's physical lines, from number ``line`` on, and those behind it as asked for."""

        def pieces() -> Iterator[bytes]:
            yield piece
            while more := self.next():
                yield more

        return physical_lines(pieces(), line=line)


_LONG_LINE_BYTES = 1 << 20
