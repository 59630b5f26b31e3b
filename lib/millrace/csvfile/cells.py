"""The cells of a chunk, column by column, each as what the caller asks for: numbers, times, codes or texts.

``kernel/source`` cuts the records and reads what is certain: it never decides what a text means. Where a
cell is not plainly what was asked for, its text is handed out, once for each different one, for the rules in
:mod:`millrace.values`. A record that is no row is read again by :func:`millrace.csvfile.read_records`, so
that rejects have one home. Where there is no kernel for the machine, or a chunk has what only the careful
reader can tell, :func:`read_cells` returns None, and the caller reads record by record.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Chunk, Dialect
from millrace.csvfile import kernel
from millrace.csvfile.reader import Record, Reject, expect_whole, read_records
from millrace.csvfile.records import MAX_RECORD_BYTES

__all__ = ["Cells", "Codes", "Measured", "Spelled", "Sums", "Values", "Wanted", "read_cells"]

_KINDS = {
    "number": kernel.NUMBERS,
    "time": kernel.TIMES,
    "code": kernel.CODES,
    "text": kernel.SPANS,
    "profile": kernel.PROFILE,
}
_TEMPLATE_PARTS = ("%Y", "%m", "%d", "%H", "%M", "%S")


@dataclass(frozen=True)
class Wanted:
    """What to make of a column.

    Attributes
    ----------
    column : int
        Its number in the file.
    kind : str
        ``number`` and ``time`` give :class:`Values`, ``code`` gives :class:`Codes`, ``text``
        :class:`Spelled`, ``profile`` :class:`Measured`.
    format : str
        Of ``number``: its decimal point. Of ``time``: as in :func:`millrace.values.parse_time`.
    known : sequence of str
        Of ``code``: the texts of the first codes.
    blanks : bool
        Whether blank cells are missing: code -1, and so marked in a :class:`Spelled`.
    limit, sketch_size : int
        Of ``profile``: how many different texts are counted one by one, and the hashes that are kept of more.
    longest_word : int
        Of ``profile``: characters without digits that may be more than prose; all longer ones are not judged.
    """

    column: int
    kind: Literal["number", "time", "code", "text", "profile"]
    format: str = ""
    known: Sequence[str] = ()
    blanks: bool = True
    limit: int = 0
    sketch_size: int = 0
    longest_word: int = 0


class Values(NamedTuple):
    """Numbers or times: NaN where blank, and where ``texts[kinds[i]]`` stands in row ``rows[i]``."""

    values: NDArray[np.float64]
    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]
    texts: list[str]


class Codes(NamedTuple):
    """Numbers of texts, -1 where blank."""

    codes: NDArray[np.int32]
    texts: list[str]


class Spelled(NamedTuple):
    """Texts in UTF-8, one behind the other; a missing one has no bytes."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]
    missing: NDArray[np.bool_]

    def where(self, kept: NDArray[np.bool_]) -> Spelled:
        """Return the texts of the rows that are kept."""
        sizes = np.diff(self.ends, prepend=0)
        return Spelled(self.data[np.repeat(kept, sizes)], np.cumsum(sizes[kept]), self.missing[kept])


@dataclass(frozen=True)
class Sums:
    """Numbers seen; ``total`` is the exact sum of the finite ones times 2**1074."""

    count: int
    too_large: int
    minimum: float | None
    maximum: float | None
    total: int


@dataclass(frozen=True)
class Measured:
    """What is known of a column's cells without judging them; see ``profile.ColumnProfile``.

    ``dotted`` and ``undotted`` are the plain numbers with and without a decimal point, ``times`` the count
    and range of ISO times, ``distinct`` the cells of each text (None where there are more than the limit),
    ``sketch`` the smallest hashes of the texts without plain fractions, and ``others`` the texts that must be
    judged, with their cells. All other figures leave those out.
    """

    missing: int
    count: int
    booleans: int
    integers: int
    codes: int
    multiword: int
    tokens: int
    longest: int
    sequence: int | None
    sequential: bool
    example: str | None
    dotted: Sums
    undotted: Sums
    times: tuple[int, float, float]
    distinct: dict[str, int] | None
    sketch: tuple[int, ...]
    others: dict[str, int]
    fingerprint: int


@dataclass(frozen=True)
class Cells:
    """The records of a chunk: rows and rejects.

    Attributes
    ----------
    rows : int
        Records of the right width.
    columns : list
        What was asked for, in the same order.
    rejects : list of Reject
        The other records, in order.
    number : NDArray of int64, shape (rows,)
        The rows' record numbers in the whole file.
    """

    rows: int
    columns: list[Any]
    rejects: list[Reject]
    number: NDArray[np.int64]
    _source: _Source
    _offsets: NDArray[np.uint32]
    _ends: NDArray[np.uint32]
    _lines: NDArray[np.int32]

    def lines(self, rows: NDArray[np.int64] | Sequence[int]) -> list[int]:
        """Return the physical lines, from 1, on which rows begin."""
        return [int(line) + self._source.chunk.first_line for line in self._lines[rows]]

    def records(self, rows: Iterable[int]) -> Iterator[Record]:
        """Yield the records of rows."""
        for row in rows:
            found = self._source.read(
                int(self._offsets[row]), int(self._ends[row]), int(self._lines[row]), int(self.number[row])
            )
            assert isinstance(found, Record)
            yield found


class _Source(NamedTuple):
    """The chunk as it came, and where the kernel saw a byte more than there is."""

    data: bytes
    added: NDArray[np.int64]
    dialect: Dialect
    chunk: Chunk
    width: int

    def read(self, at: int, end: int, line: int, number: int) -> Record | Reject:
        """Read one record by itself; ``line`` counts from the chunk's first, ``number`` in the file."""
        at, end = (place - int(np.searchsorted(self.added, place)) for place in (at, end))
        start, first_line = self.chunk.start + at, self.chunk.first_line + line
        one = Chunk(self.chunk.number, start, self.chunk.start + end, first_line, number)
        return next(read_records(self.data[at:end], self.dialect, one, self.width))


def read_cells(
    data: bytes, dialect: Dialect, chunk: Chunk, width: int, wanted: Sequence[Wanted]
) -> Cells | None:
    """Read the columns of a chunk; see :func:`millrace.csvfile.read_records` for the arguments.

    Returns
    -------
    Cells or None
        None where the chunk must be read record by record.
    """
    expect_whole(data, chunk)
    library = kernel.library()
    ascii_only = data.isascii()
    if library is None or len(data) >= 1 << 31 or (dialect.escape and dialect.escape == dialect.quote):
        return None
    if _needs_care(data, dialect, chunk):
        return None
    text, added = data, np.empty(0, np.int64)
    if not ascii_only and dialect.encoding != "utf-8":
        try:
            text = data.decode(dialect.encoding).encode()
        except UnicodeDecodeError:
            return None
        # A character is one byte of the file, and in UTF-8 what continues it stands behind its first byte.
        added = np.flatnonzero((np.frombuffer(text, np.uint8) & 0xC0) == 0x80)
    if len(text) >= 1 << 31:
        return None
    # The kernel writes a text that is shorter than its bytes over them.
    written = (dialect.quote and dialect.quote.encode() in text) or (
        dialect.escape and dialect.escape.encode() in text
    )
    buffer = np.frombuffer(bytearray(text) if written else text, dtype=np.uint8)
    room = int(library.csv_line_ends(buffer.ctypes.data, len(buffer))) + 1
    source = _Source(data, added, dialect, chunk, width)
    with _Run(library, buffer, source, ascii_only, room, wanted) as run:
        return run.cells() if run.finished else None


def _needs_care(data: bytes, dialect: Dialect, chunk: Chunk) -> bool:
    """Return whether the chunk may hold what the kernel does not know of; see :class:`Dialect`."""
    if dialect.skip_space or dialect.trailing or dialect.blank_lines:
        return True
    if dialect.footer and chunk.end > dialect.footer:
        return True
    return bool(dialect.comment) and dialect.comment.encode() in data


class _Run:
    """One run of the kernel, and what it holds until it is over."""

    def __init__(
        self,
        library: Any,
        buffer: NDArray[np.uint8],
        source: _Source,
        ascii_only: bool,
        room: int,
        wanted: Sequence[Wanted],
    ) -> None:
        self.library, self.buffer, self.source, self.wanted = library, buffer, source, wanted
        dialect = source.dialect
        self.offsets = np.empty(room, np.uint32)
        self.ends = np.empty(room, np.uint32)
        self.lines = np.empty(room, np.int32)
        self.numbers = np.empty(room, np.int32)
        self.chunk = kernel.ChunkCells(
            data=buffer.ctypes.data,
            size=len(buffer),
            room=room,
            longest=MAX_RECORD_BYTES,
            width=source.width,
            first_record=source.chunk.first_record,
            delimiter=ord(dialect.delimiter),
            quote=ord(dialect.quote) if dialect.quote else 0,
            escape=ord(dialect.escape) if dialect.escape else 0,
            ascii=ascii_only,
            offsets=self.offsets.ctypes.data,
            ends=self.ends.ctypes.data,
            lines=self.lines.ctypes.data,
            numbers=self.numbers.ctypes.data,
        )
        self.jobs = (kernel.Job * len(wanted))()
        self.kept: list[Any] = []
        self.arrays = [self._job(job, one, room) for job, one in zip(self.jobs, wanted, strict=True)]

    def __enter__(self) -> _Run:
        state = self.library.csv_run(self.chunk, self.jobs, len(self.jobs))
        if state == kernel.NO_MEMORY:
            self.library.csv_done(self.chunk, self.jobs, len(self.jobs))
            raise MemoryError
        self.finished = state == kernel.FINISHED
        return self

    def __exit__(self, *_: object) -> None:
        self.library.csv_done(self.chunk, self.jobs, len(self.jobs))

    def _job(self, job: kernel.Job, wanted: Wanted, room: int) -> tuple[NDArray[Any], ...]:
        job.column, job.kind, job.blanks = wanted.column, _KINDS[wanted.kind], wanted.blanks
        if wanted.kind == "number":
            job.point = ord(wanted.format or ".")
        elif wanted.kind == "time":
            job.format = wanted.format.encode()
            if not _is_template(wanted.format):
                job.format = b"%"  # what no text fits: the rules in Python read every one
        if wanted.kind in ("number", "time"):
            values = np.empty(room, np.float64)
            job.values = values.ctypes.data
            return (values,)
        if wanted.kind == "code":
            codes = np.empty(room, np.int32)
            job.codes = codes.ctypes.data
            for text in wanted.known:
                known = np.frombuffer(text.encode() or b"\0", dtype=np.uint8)
                self.kept.append(known)
                if self.library.csv_number(job, known.ctypes.data, len(known) if text else 0) < 0:
                    raise MemoryError
            return (codes,)
        if wanted.kind == "text":
            starts, sizes = np.empty(room, np.uint32), np.empty(room, np.int32)
            job.starts, job.sizes = starts.ctypes.data, sizes.ctypes.data
            return starts, sizes
        profile = kernel.Profile(
            sequential=1,
            exact=1,
            limit=wanted.limit,
            sketch_size=wanted.sketch_size,
            longest_word=wanted.longest_word,
        )
        self.kept.append(profile)
        job.profile = ctypes.pointer(profile)
        return ()

    def cells(self) -> Cells | None:
        """Return the results; None where a record turned out to be one."""
        rows = self.chunk.rows
        rejects: list[Reject] = []
        first = self.source.chunk.first_record
        for at, end, line, number in _items(self.chunk.irregular).reshape(-1, 4).tolist():
            found = self.source.read(at, end, line, first + number)
            if isinstance(found, Record):
                return None
            rejects.append(found)
        columns = [
            self._result(job, one, arrays, rows)
            for job, one, arrays in zip(self.jobs, self.wanted, self.arrays, strict=True)
        ]
        numbers = self.numbers[:rows] + np.int64(first)
        places = self.offsets[:rows], self.ends[:rows], self.lines[:rows]
        return Cells(rows, columns, rejects, numbers, self.source, *places)

    def _result(self, job: kernel.Job, wanted: Wanted, arrays: tuple[NDArray[Any], ...], rows: int) -> Any:
        if wanted.kind in ("number", "time"):
            return Values(arrays[0][:rows], _items(job.odd_rows), _items(job.odd_texts), _texts(job.texts))
        if wanted.kind == "code":
            return Codes(arrays[0][:rows], _texts(job.texts))
        if wanted.kind == "text":
            starts, sizes = arrays[0][:rows], arrays[1][:rows]
            missing = sizes < 0
            data = np.empty(int(sizes.sum(dtype=np.int64)) + int(np.count_nonzero(missing)), np.uint8)
            ends = np.empty(rows, np.int64)
            self.library.csv_gather(
                *(array.ctypes.data for array in (self.buffer, starts, sizes)),
                rows,
                data.ctypes.data,
                ends.ctypes.data,
            )
            return Spelled(data, ends, missing)
        return _measured(job.profile.contents)


def _is_template(format: str) -> bool:
    rest = format
    for part in _TEMPLATE_PARTS:
        rest = rest.replace(part, "")
    return format == "iso8601" or (
        all(part in format for part in ("%Y", "%m", "%d")) and "%" not in rest and rest.isascii()
    )


def _items(items: kernel.List) -> NDArray[np.int64]:
    if not items.count:
        return np.empty(0, np.int64)
    raw = ctypes.string_at(items.items, 8 * items.count)
    return np.frombuffer(raw, dtype=np.int64)


def _entries(texts: kernel.Texts) -> tuple[list[str], list[int]]:
    """Return the texts, and how often each came."""
    if not texts.count:
        return [], []
    raw = np.frombuffer(ctypes.string_at(texts.entries, 32 * texts.count), np.int64).reshape(-1, 4)
    string_at = ctypes.string_at
    places = zip(raw[:, 0].tolist(), raw[:, 3].tolist(), strict=True)
    return [string_at(place, size).decode() if size else "" for place, size in places], raw[:, 2].tolist()


def _texts(texts: kernel.Texts) -> list[str]:
    return _entries(texts)[0]


def _counts(texts: kernel.Texts) -> dict[str, int]:
    return dict(zip(*_entries(texts), strict=True))


def _sums(evidence: kernel.Evidence) -> Sums:
    if not evidence.sums:
        return Sums(evidence.count, evidence.too_large, None, None, 0)
    raw = np.frombuffer(ctypes.string_at(evidence.sums, 2048 * 16), dtype=np.int64).reshape(-1, 2)
    total = 0
    for power in np.flatnonzero(raw.any(axis=1)).tolist():
        low, high = int(raw[power, 0]) & 0xFFFFFFFFFFFFFFFF, int(raw[power, 1])
        # Power 1 stands for the smallest normal numbers and the subnormal ones: multiples of 2**-1074.
        total += (high << 64 | low) << (power - 1)
    return Sums(evidence.count, evidence.too_large, evidence.minimum, evidence.maximum, total)


def _measured(found: kernel.Profile) -> Measured:
    example = None
    if found.example:
        example = ctypes.string_at(found.example, found.example_size).decode()
    sketch: tuple[int, ...] = ()
    if not found.exact:
        raw = np.frombuffer(ctypes.string_at(found.sketch, 8 * found.sketched), dtype=np.uint64)
        sketch = tuple(item - 1 for item in raw.tolist())
    return Measured(
        missing=found.missing,
        count=found.count,
        booleans=found.booleans,
        integers=found.integers,
        codes=found.codes,
        multiword=found.multiword,
        tokens=found.tokens,
        longest=found.longest,
        sequence=found.sequence if found.sequenced else None,
        sequential=bool(found.sequential),
        example=example,
        dotted=_sums(found.dotted),
        undotted=_sums(found.undotted),
        times=(found.times, found.earliest, found.latest),
        distinct=_counts(found.distinct) if found.exact else None,
        sketch=sketch,
        others=_counts(found.others),
        fingerprint=found.fingerprint,
    )
