"""What the parser does on a byte range, whatever comes before it.

A range is read from every state in which the parser may enter it. Each way through says in which state the
range is left, how many records begin in it and where: to compose the ways of all ranges in order is to have
parsed the file, and each range can be read by another worker. The states are those of CPython's ``csv``
module (``Modules/_csv.c``), which reads the chunks: a quote within a field that did not begin with one is
text, text behind a closing quote belongs to the field, an escaped line end is text.

The C kernel and the Python here do the same; the kernel is a hundred times as fast.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from millrace.contracts import Dialect
from millrace.csvfile import kernel, records
from millrace.csvfile.encoding import Tally, weigh
from millrace.csvfile.records import count_lines

__all__ = ["CONTEXT_BYTES", "OPEN", "RangeScan", "State", "Way", "entries", "scan_range"]

CONTEXT_BYTES = 3
"""How far a range is looked beyond, on either side: CR and LF, and the bytes of a character."""


class State(IntEnum):
    """What the parser expects next."""

    RECORD = 0
    """A record, or a blank line."""
    FIELD = 1
    """A field, behind a delimiter."""
    TEXT = 2
    """More of a field that is not in quotes, or no longer."""
    QUOTED = 3
    """More of a field in quotes."""
    QUOTE = 4
    """Behind a quote in such a field: a second one, or the field's end."""
    ESCAPE = 5
    """Any byte, behind an escape outside of quotes."""
    QUOTED_ESCAPE = 6
    """Any byte, behind an escape in quotes."""
    ESCAPED_END = 7
    """As TEXT, but a file that ends here ends within a record: in a field behind an escaped line end."""


OPEN = frozenset({State.QUOTED, State.ESCAPE, State.QUOTED_ESCAPE, State.ESCAPED_END})
"""The states in which a file ends within a record."""


@dataclass(frozen=True)
class Way:
    """The way through a range from one state; offsets are the file's, -1 means none.

    Attributes
    ----------
    entry, exit : int
        :class:`State` at the range's begin and at its end.
    records : int
        Records that begin in the range, blank lines not counted.
    first : int
        First place in the range where a record or blank line begins; the range's end, if it begins there.
    first_lines : int
        Lines that end in the range before ``first``.
    last : int
        Last such place.
    last_lines : int
        Lines that end in the range before ``last``.
    overlong : int
        Where the first record begins that is longer than a record may be and ends in the range, too.
    """

    entry: int
    exit: int
    records: int
    first: int
    first_lines: int
    last: int
    last_lines: int
    overlong: int


@dataclass(frozen=True)
class RangeScan:
    """What there is to know of the bytes ``[start, end)`` of a file.

    Attributes
    ----------
    start, end : int
        Byte offsets.
    lines : int
        Lines that end in the range.
    ways : tuple of Way
        By state of entry; only those that were asked for.
    tally : Tally
        What the bytes say about the encoding.
    first_invalid_line : int
        Lines that end in the range before the first byte that is not valid UTF-8.
    """

    start: int
    end: int
    lines: int
    ways: tuple[Way, ...]
    tally: Tally
    first_invalid_line: int

    def way(self, state: int) -> Way | None:
        """Return the way from ``state``; None if it was not asked for."""
        return next((way for way in self.ways if way.entry == state), None)


def entries(dialect: Dialect) -> tuple[State, ...]:
    """Return the states in which a range can be entered."""
    found = [State.RECORD, State.FIELD, State.TEXT]
    if dialect.quote:
        found += [State.QUOTED, State.QUOTE]
    if dialect.escape:
        found += [State.ESCAPE, State.ESCAPED_END]
    if dialect.quote and dialect.escape:
        found.append(State.QUOTED_ESCAPE)
    return tuple(found)


def scan_range(
    data: bytes,
    offset: int,
    start: int,
    end: int,
    dialect: Dialect,
    states: Sequence[int],
) -> RangeScan:
    """Read the bytes ``[start, end)`` of a file from each of some states.

    Parameters
    ----------
    data : bytes
        The range with ``CONTEXT_BYTES`` on either side, as far as the file has them.
    offset : int
        Where in the file ``data`` begins.
    start, end : int
        The range.
    dialect : Dialect
        Delimiter, quote and escape.
    states : sequence of int
        States to begin in.
    """
    found = _ways(data, start - offset, end - offset, dialect, states)
    lines = count_lines(data, start - offset, end - offset)

    @functools.cache
    def lines_before(place: int) -> int:
        if place < 0:
            return 0
        if place <= (start + end) // 2:
            return count_lines(data, start - offset, place - offset)
        return lines - count_lines(data, place - offset, end - offset)

    def there(place: int) -> int:
        return place + offset if place >= 0 else -1

    ways = tuple(
        Way(
            entry,
            way_end,
            records,
            there(first),
            lines_before(there(first)),
            there(last),
            lines_before(there(last)),
            there(overlong),
        )
        for entry, (way_end, records, first, last, overlong) in zip(states, found, strict=True)
    )
    tally = weigh(data, start - offset, end - offset)
    invalid = start + tally.first_invalid if tally.first_invalid >= 0 else -1
    return RangeScan(start, end, lines, ways, tally, lines_before(invalid))


_Found = tuple[int, int, int, int, int]
"""Exit, records, first, last, overlong."""


def _ways(data: bytes, start: int, end: int, dialect: Dialect, states: Sequence[int]) -> list[_Found]:
    library = kernel.library()
    if library is None:
        automaton = _Automaton(data, start, end, dialect)
        return [automaton.run(state) for state in states]
    numbers = (_number(mark) for mark in (dialect.delimiter, dialect.quote, dialect.escape))
    switches = (int(dialect.skip_space), int(dialect.blank_lines))
    rules = kernel.Dialect(*numbers, *switches, records.MAX_RECORD_BYTES)
    ways = (kernel.Way * len(states))(*(kernel.Way(state=state) for state in states))
    library.csv_scan(data, len(data), start, end, ctypes.byref(rules), ways, len(states))
    return [(way.state, way.records, way.first, way.last, way.overlong) for way in ways]


def _number(mark: str) -> int:
    return ord(mark) if mark else -1


class _Automaton:
    """The states, byte by byte, as the reader's source has them; see ``source/scan.c``."""

    def __init__(self, data: bytes, start: int, end: int, dialect: Dialect) -> None:
        self._data = data
        self._start = start
        self._end = end
        self._limit = records.MAX_RECORD_BYTES
        self._delimiter = _number(dialect.delimiter)
        self._quote = _number(dialect.quote)
        self._escape = _number(dialect.escape)
        self._skip_space = dialect.skip_space
        self._blank_lines = dialect.blank_lines

    def run(self, entry: int) -> _Found:
        """Return exit, records, first, last and overlong."""
        data, state = self._data, State(entry)
        records, first, last, overlong = 0, -1, -1, -1
        for at in range(self._start, self._end):
            byte = data[at]
            broken = byte == _LF and at > 0 and data[at - 1] == _CR  # the second half of CRLF
            if state == State.RECORD and first < 0 and at == self._start and not broken:
                first = last = at
            if byte == _CR and data[at + 1 : at + 2] == b"\n" and state in _WAITING:
                if state in (State.FIELD, State.QUOTE):
                    state = State.TEXT
                continue
            ended, begun, state = self._next(state, byte)
            records += begun
            if ended:
                place = at + 1
                if first < 0:
                    first = place
                if last >= 0 and overlong < 0 and place - last > self._limit:
                    overlong = last
                last = place
        return int(state), records, first, last, overlong

    def _next(self, state: State, byte: int) -> tuple[bool, bool, State]:
        """Return whether the record ends with the byte, whether one begins with it, and the next state."""
        line_end = byte in (_CR, _LF)
        if state == State.QUOTED:
            if byte == self._escape:
                return False, False, State.QUOTED_ESCAPE
            return False, False, State.QUOTE if byte == self._quote else State.QUOTED
        if state == State.QUOTED_ESCAPE:
            return False, False, State.QUOTED
        if state == State.ESCAPE:
            return False, False, State.ESCAPED_END if line_end else State.TEXT
        if line_end:
            return True, self._blank_lines and state == State.RECORD, State.RECORD
        begun = state == State.RECORD
        if state == State.QUOTE:
            if byte == self._quote:
                return False, False, State.QUOTED
            return False, False, State.FIELD if byte == self._delimiter else State.TEXT
        if state in (State.RECORD, State.FIELD) and byte == self._quote:
            return False, begun, State.QUOTED
        if byte == self._escape:
            return False, begun, State.ESCAPE
        if state in (State.RECORD, State.FIELD) and byte == _SPACE and self._skip_space:
            return False, begun, State.FIELD
        if byte == self._delimiter:
            return False, begun, State.FIELD
        return False, begun, State.ESCAPED_END if state == State.ESCAPED_END else State.TEXT


_CR, _LF, _SPACE = 0x0D, 0x0A, 0x20
_WAITING = frozenset({State.RECORD, State.FIELD, State.TEXT, State.QUOTE, State.ESCAPED_END})
"""States that leave CRLF to its second half."""
