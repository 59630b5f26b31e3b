"""Where to cut a file into chunks: at record boundaries as the parser sees them.

The file is read in ranges, each for itself (:mod:`millrace.csvfile.scan`): by workers in parallel, or as a
compressed file is inflated, or one after the other. What they found is composed here, in order. Only where
that shows a quote that is never closed, a few ranges are read again: the line on which it opens is rejected,
and what follows is read as if it had not been there, as :func:`millrace.csvfile.records.split_records` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from millrace.contracts import Chunk, Dialect
from millrace.csvfile import records
from millrace.csvfile.encoding import Evidence, weigh
from millrace.csvfile.records import count_lines, physical_lines, split_records
from millrace.csvfile.scan import CONTEXT_BYTES, OPEN, RangeScan, State, Way, scan_range
from millrace.errors import BadInput

__all__ = [
    "Body",
    "Boundaries",
    "RangeReader",
    "StreamScan",
    "body_of",
    "compose",
    "find_chunks",
    "ranges_of",
]

_STEP_BYTES = 8 << 20
_GRAIN = 256
"""A stream's ranges are at most this part of what came before, so that their number stays small."""


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


@dataclass(frozen=True)
class Body:
    """Where the records begin: byte offset, and line from 1.

    ``plain_header`` says whether the header is ASCII, so that the whole file may still decide its encoding.
    """

    start: int
    line: int
    plain_header: bool


RangeReader = Callable[[int, int], bytes]
"""Returns the file's bytes ``[start, end)``, fewer where the file ends."""


def body_of(head: bytes, dialect: Dialect) -> Body:
    """Return where the records begin, behind the header.

    Parameters
    ----------
    head : bytes
        What the dialect was sniffed from: the header is whole in it.
    dialect : Dialect
        As sniffed.
    """
    start, line = dialect.skip_bytes, 1 + dialect.skip_lines
    if dialect.header:
        for record in split_records(
            physical_lines([head], skip_bytes=start), dialect, line=line, offset=start
        ):
            start, line = record.end, record.next_line
            if record.cells != []:
                return Body(start, line, record.raw.isascii())
    return Body(start, line, True)


def ranges_of(body: Body, size_bytes: int, range_bytes: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of ``range_bytes`` that a file is read in; none when there is nothing to read."""
    starts = range(body.start, size_bytes, max(1, range_bytes))
    return tuple((start, min(start + range_bytes, size_bytes)) for start in starts)


def find_chunks(read: RangeReader, size_bytes: int, dialect: Dialect, target_bytes: int) -> Boundaries:
    """Cut a file by reading it once from begin to end, a few megabytes at a time.

    Parameters
    ----------
    read : callable
        Reads a range of the file.
    size_bytes : int
        The file's size.
    dialect : Dialect
        As sniffed from its head.
    target_bytes : int
        Size of a chunk.

    Raises
    ------
    BadInput, TooLarge
        As :func:`compose` does.
    """
    head = read(0, min(size_bytes, 1 << 20))
    body = body_of(head, dialect)
    ranges = ranges_of(body, size_bytes, min(target_bytes, _STEP_BYTES))
    return compose(ranges, {}, head, body, dialect, target_bytes, read)


class StreamScan:
    """Reads a file as it comes, without knowing how long it will be.

    Parameters
    ----------
    dialect : Dialect
        As sniffed from its head.
    body : Body
        Where its records begin.
    range_bytes : int
        Length of the first ranges; later ones are longer.
    """

    def __init__(self, dialect: Dialect, body: Body, range_bytes: int) -> None:
        self.scans: list[RangeScan] = []
        self._dialect = dialect
        self._least = range_bytes
        self._state: int = State.RECORD
        self._at = body.start
        self._offset = 0
        self._held = bytearray()

    def feed(self, block: bytes) -> None:
        """Take the next block of the file, from its first byte on."""
        self._held += block
        while len(self._held) + self._offset >= self._end() + CONTEXT_BYTES:
            self._scan(self._end())

    def finish(self) -> int:
        """Read what is left; return the file's size."""
        size = self._offset + len(self._held)
        while self._at < size:
            self._scan(min(self._end(), size))
        return size

    def _end(self) -> int:
        return self._at + max(self._least, min(self._at // _GRAIN, _STEP_BYTES))

    def _scan(self, end: int) -> None:
        data = bytes(memoryview(self._held)[: end + CONTEXT_BYTES - self._offset])
        scan = scan_range(data, self._offset, self._at, end, self._dialect, (self._state,))
        self._state = scan.ways[0].exit
        self.scans.append(scan)
        self._at = end
        keep = max(end - CONTEXT_BYTES, 0)
        del self._held[: keep - self._offset]
        self._offset = keep


def compose(
    ranges: Sequence[tuple[int, int]],
    scans: Mapping[int, RangeScan],
    head: bytes,
    body: Body,
    dialect: Dialect,
    target_bytes: int,
    read: RangeReader,
) -> Boundaries:
    """Cut a file at the first record boundary in the first range after every ``target_bytes``.

    Parameters
    ----------
    ranges : sequence of (int, int)
        Begin and end of each range, from the body's start to the file's end.
    scans : mapping of int to RangeScan
        What is known of the ranges, by number; what is not is read.
    head : bytes
        The file's first bytes, the header at least.
    body : Body
        Where the records begin.
    dialect : Dialect
        As sniffed from the head.
    target_bytes : int
        Size of a chunk.
    read : callable
        Reads a range of the file.

    Raises
    ------
    BadInput
        The file has no record after its header, its encoding is unknown, or quotes are never closed.
    TooLarge
        A line is longer than a record may be.
    """
    return _Composer(ranges, scans, body, dialect, target_bytes, read).run(head)


@dataclass(frozen=True)
class _Place:
    """A place between two records: byte offset, line from 1, and records before it."""

    offset: int
    line: int
    record: int


class _Composer:
    """Follows the one way through the ranges that the parser takes."""

    def __init__(
        self,
        ranges: Sequence[tuple[int, int]],
        scans: Mapping[int, RangeScan],
        body: Body,
        dialect: Dialect,
        target_bytes: int,
        read: RangeReader,
    ) -> None:
        self._ranges = ranges
        self._scans = scans
        self._dialect = dialect
        self._target = max(1, target_bytes)
        self._read = read
        self._limit = records.MAX_RECORD_BYTES
        self._here = _Place(body.start, body.line, 0)
        """The range's begin; what is counted is what came before."""
        self._opened = self._here
        """Where the record begins that is under way."""
        self._state: int = State.RECORD
        self._cuts = [self._here]
        self._next_cut = body.start + self._target
        self._evidence = Evidence()
        self._weighed = 0
        self._line = body.line
        self._plain_header = body.plain_header
        self._notes: list[str] = []

    def run(self, head: bytes) -> Boundaries:
        start = self._here.offset
        tally = weigh(head, 0, start)
        self._evidence.add_tally(tally, 1 + count_lines(head, 0, max(tally.first_invalid, 0)))
        number = 0
        while number < len(self._ranges):
            begin, end = self._ranges[number]
            scan, way = self._scan(number, max(begin, self._here.offset), end)
            self._weigh(number, scan)
            culprit = self._open_record(way, end, last=number + 1 == len(self._ranges))
            if culprit is None:
                self._pass(begin, scan, way)
                number += 1
            else:
                self._reject(culprit)
                number = self._number_at(self._here.offset)
        self._weigh(number - 1, None)
        return self._boundaries()

    def _weigh(self, number: int, scan: RangeScan | None) -> None:
        """Take the ranges up to ``number``, which is ``scan`` or a part of it, into account once."""
        for known in range(self._weighed, number + 1):
            begin, end = self._ranges[known]
            if scan is None or scan.start != begin:
                scan = self._scans.get(known) or self._read_range(begin, end, State.RECORD)
            self._evidence.add_tally(scan.tally, self._line + scan.first_invalid_line)
            self._line += scan.lines
            self._weighed = known + 1

    def _scan(self, number: int, start: int, end: int) -> tuple[RangeScan, Way]:
        """Return what the range is, read from the present state on."""
        known = self._scans.get(number)
        if known is not None and known.start == start:
            way = known.way(self._state)
            if way is not None:
                return known, way
        scan = self._read_range(start, end, self._state)
        return scan, scan.ways[0]

    def _read_range(self, start: int, end: int, state: int) -> RangeScan:
        offset = max(start - CONTEXT_BYTES, 0)
        data = self._read(offset, end + CONTEXT_BYTES)
        return scan_range(data, offset, start, end, self._dialect, (state,))

    def _open_record(self, way: Way, end: int, *, last: bool) -> _Place | None:
        """Return where a record begins that ends too far away, or never; None if there is none."""
        ended = way.first if way.first >= 0 else end
        if ended - self._opened.offset > self._limit:
            return self._opened
        if way.overlong >= 0:
            before = self._read_range(self._here.offset, way.overlong, self._state)
            return _Place(
                way.overlong, self._here.line + before.lines, self._here.record + before.ways[0].records
            )
        opened = self._opened_after(way)
        if last and (way.exit in OPEN or end - opened.offset > self._limit):
            return opened
        return None

    def _opened_after(self, way: Way) -> _Place:
        if way.last < 0:
            return self._opened
        begun = self._here.record + way.records - (way.exit != State.RECORD)
        return _Place(way.last, self._here.line + way.last_lines, begun)

    def _pass(self, begin: int, scan: RangeScan, way: Way) -> None:
        """Go on behind the range."""
        here = self._here
        if begin >= self._next_cut and begin <= way.first < scan.end and here.record > self._cuts[-1].record:
            self._cuts.append(_Place(way.first, here.line + way.first_lines, here.record))
            self._next_cut += self._target * (1 + (begin - self._next_cut) // self._target)
        self._opened = self._opened_after(way)
        self._here = _Place(scan.end, here.line + scan.lines, here.record + way.records)
        self._state = way.exit

    def _reject(self, opened: _Place) -> None:
        """Go on behind the line on which a record begins that has no end."""
        end = self._end_of_line(opened)
        self._notes.append(f"Line {opened.line} opens a quote that is never closed: the line is rejected.")
        if len(self._notes) > records.MAX_OPEN_QUOTES:
            raise BadInput(
                f"More than {records.MAX_OPEN_QUOTES} quotes are opened and never closed",
                code="quotes-open",
                where=f"line {opened.line}",
                remedy=f"Double each {self._dialect.quote} that is part of a value, and put it in quotes.",
            )
        self._here = self._opened = _Place(end, opened.line + 1, opened.record + 1)
        self._state = State.RECORD

    def _end_of_line(self, place: _Place) -> int:
        def blocks() -> Iterator[bytes]:
            at = place.offset
            while block := self._read(at, at + (1 << 20)):
                yield block
                at += len(block)

        return place.offset + len(next(physical_lines(blocks(), line=place.line)))

    def _number_at(self, offset: int) -> int:
        return next((k for k, (_, end) in enumerate(self._ranges) if offset < end), len(self._ranges))

    def _boundaries(self) -> Boundaries:
        end = self._here
        if not end.record:
            header = self._dialect.header
            raise BadInput(
                "The file has a header but no rows" if header else "The file has no rows",
                code="no-rows",
                where=f"line {end.line}",
                remedy="Upload a file with rows below the header.",
            )
        cuts = self._cuts
        if cuts[-1].record == end.record:  # nothing but blank lines behind it
            cuts.pop()
        ends = [*(cut.offset for cut in cuts[1:]), end.offset]
        chunks = tuple(
            Chunk(number, cut.offset, stop, cut.line, cut.record)
            for number, (cut, stop) in enumerate(zip(cuts, ends, strict=True))
        )
        encoding, note = self._evidence.decide()
        if encoding != self._dialect.encoding and not self._plain_header:
            # The names are read already, and the header is the file's word on its encoding.
            encoding = self._dialect.encoding
            note = (
                f"The header is {encoding}, but {self._evidence.invalid} bytes (the first in line "
                f"{self._evidence.first_line}) are not: the records with them are rejected."
            )
        notes = (*self._notes, note) if note else tuple(self._notes)
        return Boundaries(chunks, replace(self._dialect, encoding=encoding), end.record, notes)
