"""The records of one chunk as columns of text, for work that is done column by column.

The rules are those of :func:`millrace.csvfile.read_records`, to the letter; the kernel reads where it can
(:mod:`millrace.csvfile.cells`), and any other chunk is read record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.contracts import Chunk, Dialect
from millrace.csvfile.reader import Record, Reject, read_records

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

    from millrace.csvfile.cells import Spelled

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
        Given row numbers, yields their :class:`Record`, in order.
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
    from millrace.csvfile.cells import Wanted, read_cells

    wanted = [Wanted(index, "text", blanks=False) for index in range(width)]
    cells = read_cells(data, dialect, chunk, width, wanted)
    if cells is not None:
        found = [_arrow(column) for column in cells.columns]
        return TextColumns(found, cells.rejects, lambda rows: cells.records(sorted(rows)))

    def again(rows: Collection[int]) -> Iterator[Record]:
        kept = (item for item in read_records(data, dialect, chunk, width) if isinstance(item, Record))
        return (record for row, record in enumerate(kept) if row in rows)

    columns, rejects = _read_each(read_records(data, dialect, chunk, width), width)
    return TextColumns(columns, rejects, again)


def _arrow(texts: Spelled) -> pa.ChunkedArray:
    import numpy as np
    import pyarrow as pa

    offsets = np.concatenate(([0], texts.ends)).astype(np.int32)
    array = pa.StringArray.from_buffers(len(texts.ends), pa.py_buffer(offsets), pa.py_buffer(texts.data))
    return pa.chunked_array([array])


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
