"""A chunk converted column by column, as :func:`millrace.features.blocks.convert_chunk` does its records.

The rules are those of :mod:`millrace.values`; each is asked once for each different text that is not plainly
what its column holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Chunk, Column, Layout, Schema
from millrace.csvfile.cells import Cells, Codes, Spelled, Values, Wanted, read_cells
from millrace.csvfile.reader import decode_raw, read_records
from millrace.features.blocks import (
    MAX_CLEARED_LISTED,
    ClearedCell,
    Converted,
    NoTarget,
    RejectedRecord,
    Table,
    by_rule,
    convert_chunk,
    label_reader,
    target_type,
)

__all__ = ["convert_bytes"]

_POINTS = {"": ".", "decimal-comma": ","}
"""Styles of numbers that the kernel reads, and their decimal points."""


class _Column(NamedTuple):
    """A column's values, and where a cell did not fit: its row, and what it holds."""

    values: Any
    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]
    texts: Sequence[str]


def convert_bytes(data: bytes, schema: Schema, layout: Layout, chunk: Chunk) -> Converted:
    """Convert a chunk.

    Parameters
    ----------
    data : bytes
        Exactly the bytes ``[chunk.start, chunk.end)``.
    schema : Schema
        Types and roles.
    layout : Layout
        How the bytes are to be read.
    chunk : Chunk
        Where they lie.
    """
    target = schema.column(schema.target)
    stored = schema.stored
    wanted = [_wanted(target, schema), *(_wanted(column, None) for column in stored)]
    cells = read_cells(data, layout.dialect, chunk, len(layout.names), wanted)
    if cells is None:
        return convert_chunk(read_records(data, layout.dialect, chunk, len(layout.names)), schema, layout)
    labels, reasons, unlabelled = _labels(cells.columns[0], schema, target)
    kept = np.ones(cells.rows, dtype=np.bool_)
    kept[list(reasons)] = False
    columns: dict[str, Any] = {}
    counts: dict[str, int] = {}
    misfits: list[tuple[int, int, str]] = []
    for place, (column, found) in enumerate(zip(stored, cells.columns[1:], strict=True)):
        read = _read(found, column)
        columns[column.name] = read.values if not reasons else _kept(read.values, kept)
        inside = kept[read.rows]
        rows, kinds = read.rows[inside].tolist(), read.kinds[inside].tolist()
        if rows:
            counts[column.name] = len(rows)
            misfits += [
                (row, place, read.texts[kind])
                for row, kind in zip(rows[:MAX_CLEARED_LISTED], kinds, strict=False)
            ]
    misfits.sort()
    del misfits[MAX_CLEARED_LISTED:]
    cleared = [
        ClearedCell(line, stored[place].name, text)
        for line, (_, place, text) in zip(cells.lines([row for row, _, _ in misfits]), misfits, strict=True)
    ]
    return Converted(
        Table(columns, labels[kept] if reasons else labels, cells.number[kept] if reasons else cells.number),
        _rejects(cells, reasons, target, layout),
        tuple(cleared),
        counts,
        cells.rows + len(cells.rejects),
        unlabelled,
    )


def _wanted(column: Column, schema: Schema | None) -> Wanted:
    """Return how a column is read; the target where its schema is given."""
    if schema is not None:
        # A class is looked up by its text: what is blank has its own reason.
        regression = not schema.classes and column.format in _POINTS
        if not regression:
            return Wanted(column.index, "code", blanks=False)
        return Wanted(column.index, "number", format=_POINTS[column.format], blanks=False)
    if column.type == "number" and column.format in _POINTS:
        return Wanted(column.index, "number", format=_POINTS[column.format])
    if column.type == "time":
        return Wanted(column.index, "time", format=column.format)
    if column.type == "text" or (column.type == "category" and not column.categories):
        return Wanted(column.index, "text")
    return Wanted(column.index, "code", known=column.categories)


def _labels(
    found: Values | Codes, schema: Schema, target: Column
) -> tuple[NDArray[Any], dict[int, str], int]:
    """Return the rows' labels, for each row without one the reason, and in how many of them it is missing."""
    label = label_reader(schema, target)
    answers: list[float | int] = []
    refusals: dict[int, ValueError] = {}
    for kind, text in enumerate(found.texts):
        try:
            answers.append(label(text))
        except ValueError as error:
            answers.append(-1)
            refusals[kind] = error
    if isinstance(found, Codes):
        rows = np.arange(len(found.codes))
        kinds: NDArray[Any] = found.codes
        table = np.array(answers, dtype=target_type(schema))
        values = table[kinds] if answers else np.empty(0, dtype=target_type(schema))
    else:
        rows, kinds, values = found.rows, found.kinds, found.values
        values[rows] = np.array(answers, dtype=np.float64)[kinds]
    if not refusals:
        return values, {}, 0
    wrong = np.isin(kinds, np.fromiter(refusals, np.int64, len(refusals)))
    refused = {
        row: refusals[kind] for row, kind in zip(rows[wrong].tolist(), kinds[wrong].tolist(), strict=True)
    }
    reasons = {row: str(error) for row, error in refused.items()}
    return values, reasons, sum(isinstance(error, NoTarget) for error in refused.values())


def _read(found: Values | Codes | Spelled, column: Column) -> _Column:
    """Return a column's values, by the rules where the kernel is not certain."""
    none = np.empty(0, np.int64)
    if isinstance(found, Spelled):
        return _Column(found, none, none, ())
    if isinstance(found, Codes):
        if column.type == "category":
            rows = np.flatnonzero(found.codes >= len(column.categories))
            kinds = found.codes[rows].astype(np.int64)
            found.codes[rows] = -1
            return _Column(found.codes, rows, kinds, found.texts)
        values, misfits = by_rule(found.texts, column)
        rows = np.flatnonzero(np.isin(found.codes, misfits)) if misfits else none
        # Code -1, a blank cell, picks the last entry.
        return _Column(
            np.append(values, np.nan)[found.codes], rows, found.codes[rows].astype(np.int64), found.texts
        )
    values, misfits = by_rule(found.texts, column)
    found.values[found.rows] = values[found.kinds]
    wrong = np.isin(found.kinds, misfits)
    return _Column(found.values, found.rows[wrong], found.kinds[wrong], found.texts)


def _kept(values: Any, kept: NDArray[np.bool_]) -> Any:
    return values.where(kept) if isinstance(values, Spelled) else values[kept]


def _rejects(
    cells: Cells, reasons: dict[int, str], target: Column, layout: Layout
) -> tuple[RejectedRecord, ...]:
    encoding = layout.dialect.encoding
    found = [
        RejectedRecord(reject.line, reject.offset, reject.column, reject.reason, reject.raw)
        for reject in cells.rejects
    ]
    for record, (_, reason) in zip(cells.records(sorted(reasons)), sorted(reasons.items()), strict=True):
        raw = decode_raw(record.raw, encoding)
        found.append(RejectedRecord(record.line, record.offset, target.name, reason, raw))
    return tuple(sorted(found, key=lambda reject: reject.offset))
