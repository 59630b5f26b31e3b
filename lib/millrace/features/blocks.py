"""From records to training blocks: typed columns that numpy maps without a copy and without pickle.

A block is an uncompressed ``.npz``. Numbers, booleans and times are float64; a category column is int32
codes into the schema's categories; a text column is its UTF-8 bytes and their offsets. In memory, category
and text columns are object arrays of ``str`` and None.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Column, Layout, Schema
from millrace.csvfile.cells import Spelled
from millrace.csvfile.reader import decode_raw
from millrace.errors import BadInput
from millrace.values import is_missing, parse_boolean, parse_number, parse_time

__all__ = [
    "MAX_CLEARED_LISTED",
    "ClearedCell",
    "Converted",
    "RejectedRecord",
    "Table",
    "by_rule",
    "cleared_jsonl",
    "convert_chunk",
    "read_blocks",
    "read_target",
    "rejects_jsonl",
    "to_parquet",
    "write_block",
]

MAX_CLEARED_LISTED = 1000
"""Cleared cells of a chunk that are listed one by one; all are counted."""

_BATCH_ROWS = 8192


@dataclass(frozen=True)
class Table:
    """Training data.

    Attributes
    ----------
    columns : dict of str to NDArray, shape (n,)
        The columns of ``schema.stored``, in file order. Number, boolean, time: float64, NaN where missing;
        time in seconds since 1970-01-01 UTC. Category, text: object, ``str`` or None.
    target : NDArray, shape (n,)
        Classification: int32 indices into ``schema.classes``. Regression: float64.
    record : NDArray of int64, shape (n,)
        Record numbers in the whole file, ascending.
    """

    columns: dict[str, Any]
    target: NDArray[Any]
    record: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.record)


@dataclass(frozen=True)
class RejectedRecord:
    """A record that is not used: where it stands, why, and its text as it came.

    ``column`` is empty when the fault is the record's own. Bytes of ``record`` that are not valid in the
    file's encoding are lone surrogates (PEP 383).
    """

    line: int
    offset: int
    column: str
    reason: str
    record: str


@dataclass(frozen=True)
class ClearedCell:
    """A cell that does not fit its column's type, and became missing."""

    line: int
    column: str
    value: str


@dataclass(frozen=True)
class Converted:
    """One chunk under the schema.

    Attributes
    ----------
    table : Table
        The rows that are kept; its category and text columns may be as :func:`write_block` writes them.
    rejects : tuple of RejectedRecord
        The others; ``rows_read == len(table) + len(rejects)``.
    cleared : tuple of ClearedCell
        The first ``MAX_CLEARED_LISTED`` cells that were cleared.
    cells_cleared : dict of str to int
        How many were, by column.
    rows_read : int
        Records of the chunk; the kept and the rejected.
    rows_unlabelled : int
        Of the rejects, those whose target is missing: they cannot be trained on, but nothing is wrong.
    """

    table: Table
    rejects: tuple[RejectedRecord, ...]
    cleared: tuple[ClearedCell, ...]
    cells_cleared: dict[str, int]
    rows_read: int
    rows_unlabelled: int


class NoTarget(ValueError):
    """The record's target is missing."""


def convert_chunk(records: Iterable[Any], schema: Schema, layout: Layout) -> Converted:
    """Convert the records of a chunk.

    A cell that does not fit its column's type becomes missing and is listed. A record is rejected for a
    structural fault, or for a target that is missing, is no number in regression, or is no class.

    Parameters
    ----------
    records : iterable
        Records and rejects as ``csvfile.read_records`` yields them.
    schema : Schema
        Types and roles.
    layout : Layout
        For the encoding of the records' bytes.
    """
    target = schema.column(schema.target)
    label = label_reader(schema, target)
    encoding = layout.dialect.encoding
    parts: list[Table] = []
    rejects: list[RejectedRecord] = []
    cleared: list[ClearedCell] = []
    counts: dict[str, int] = {}
    rows_read = unlabelled = 0
    source = iter(records)
    # In batches, because a record's cells take many times the memory of its converted values.
    while batch := list(islice(source, _BATCH_ROWS)):
        rows_read += len(batch)
        kept: list[Any] = []
        labels: list[float | int] = []
        for record in batch:
            if not hasattr(record, "cells"):
                rejects.append(
                    RejectedRecord(record.line, record.offset, record.column, record.reason, record.raw)
                )
                continue
            try:
                labels.append(label(record.cells[target.index]))
            except ValueError as error:
                unlabelled += isinstance(error, NoTarget)
                raw = decode_raw(record.raw, encoding)
                rejects.append(RejectedRecord(record.line, record.offset, target.name, str(error), raw))
            else:
                kept.append(record)
        columns: dict[str, NDArray[Any]] = {}
        found: list[tuple[int, ClearedCell]] = []
        for column in schema.stored:
            texts = [record.cells[column.index] for record in kept]
            columns[column.name], misfits = _convert(texts, column)
            if misfits:
                counts[column.name] = counts.get(column.name, 0) + len(misfits)
                found += [(row, ClearedCell(kept[row].line, column.name, texts[row])) for row in misfits]
        found.sort(key=lambda place: place[0])
        cleared += [cell for _, cell in found[: MAX_CLEARED_LISTED - len(cleared)]]
        numbers = np.array([record.number for record in kept], dtype=np.int64)
        parts.append(Table(columns, np.array(labels, dtype=target_type(schema)), numbers))
    return Converted(_joined(parts, schema), tuple(rejects), tuple(cleared), counts, rows_read, unlabelled)


def target_type(schema: Schema) -> type[np.int32] | type[np.float64]:
    """Return the type of the target's values."""
    return np.int32 if schema.classes else np.float64


def _joined(parts: Sequence[Table], schema: Schema) -> Table:
    """Return the tables one below the other; an empty one for none."""
    parts = parts or [_empty(schema)]
    return Table(
        {c.name: np.concatenate([part.columns[c.name] for part in parts]) for c in schema.stored},
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.record for part in parts]),
    )


def label_reader(schema: Schema, target: Column) -> Callable[[str], float | int]:
    """Return the function from a target's text to its code or number; it raises ValueError with a reason."""

    def number(text: str) -> float:
        value = parse_number(text, target.format)
        if value != value:
            raise NoTarget("the target is missing")
        return value

    if not schema.classes:
        return number
    if target.type == "number":
        by_value = {parse_number(name, target.format): code for code, name in enumerate(schema.classes)}

        def of_number(text: str) -> int:
            value = number(text)
            if value not in by_value:
                raise ValueError(f"the target {text[:40]!r} is none of the classes")
            return by_value[value]

        return of_number
    by_name = {name: code for code, name in enumerate(schema.classes)}

    def of_word(text: str) -> int:
        if is_missing(text):
            raise NoTarget("the target is missing")
        if text not in by_name:
            raise ValueError(f"the target {text[:40]!r} is none of the classes")
        return by_name[text]

    return of_word


def _convert(texts: Sequence[str], column: Column) -> tuple[NDArray[Any], list[int]]:
    """Return a column's values, and the rows whose cell did not fit and was cleared."""
    if column.type in ("category", "text"):
        misfits: list[int] = []
        known = {name: name for name in column.categories}
        words = np.empty(len(texts), dtype=object)
        for row, text in enumerate(texts):
            if is_missing(text):
                continue
            if not known:
                words[row] = text
            elif text in known:
                words[row] = known[text]  # one string for all rows, not one for each
            else:
                misfits.append(row)
        return words, misfits
    return by_rule(texts, column)


def by_rule(texts: Sequence[str], column: Column) -> tuple[NDArray[np.float64], list[int]]:
    """Return the value of each text, NaN where it has none, and the places of those that do not fit."""
    values = np.full(len(texts), np.nan)
    misfits: list[int] = []
    read = _reader(column)
    for place, text in enumerate(texts):
        try:
            values[place] = read(text)
        except ValueError:
            misfits.append(place)
    return values, misfits


def _reader(column: Column) -> Callable[[str], float]:
    """Return the rule by which a cell of a number, time or boolean column is read; it raises ValueError."""
    if column.type == "number":
        return lambda text: parse_number(text, column.format)
    if column.type == "time":
        return lambda text: parse_time(text, column.format)
    return parse_boolean


def write_block(
    schema: Schema,
    columns: Mapping[str, Any],
    target: NDArray[Any],
    record: NDArray[np.int64],
) -> bytes:
    """Return a training block.

    Parameters
    ----------
    columns : mapping of str to NDArray or Spelled
        As in :class:`Table`, or as they are written: a category column as int32 codes, -1 where missing, a
        text column as :class:`millrace.csvfile.cells.Spelled`.
    target, record : NDArray
        As in :class:`Table`.

    Raises
    ------
    ValueError
        A feature is absent, or the arrays differ in length.
    """
    arrays: dict[str, NDArray[Any]] = {"target": target, "record": record}
    for column in schema.stored:
        values = columns[column.name]
        rows = len(values.ends if isinstance(values, Spelled) else values)
        if rows != len(record) or len(target) != len(record):
            raise ValueError(f"column {column.name!r} has {rows} rows, records {len(record)}")
        key = f"c{column.index}"
        if column.type == "text":
            texts = values if isinstance(values, Spelled) else _spelled(values)
            arrays |= {key: texts.data, f"{key}.ends": texts.ends, f"{key}.missing": texts.missing}
        elif column.type == "category":
            arrays[key] = _encode(values, column)
        else:
            arrays[key] = np.asarray(values, dtype=np.float64)
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def _spelled(values: NDArray[Any]) -> Spelled:
    parts = [b"" if value is None else value.encode() for value in values]
    return Spelled(
        np.frombuffer(b"".join(parts), dtype=np.uint8),
        np.cumsum([len(part) for part in parts], dtype=np.int64),
        np.array([value is None for value in values], dtype=np.bool_),
    )


def _encode(values: Any, column: Column) -> NDArray[np.int32]:
    """Return the codes of a category column; -1 where missing."""
    if values.dtype != object:
        return np.asarray(values, dtype=np.int32)
    codes: dict[str | None, int] = {name: code for code, name in enumerate(column.categories)}
    codes[None] = -1
    return np.fromiter((codes[value] for value in values), dtype=np.int32, count=len(values))


RowChoice = Callable[[NDArray[np.int64], NDArray[Any]], NDArray[np.bool_]]
"""Says of a block's record numbers and targets which rows to keep."""


def read_target(block: bytes) -> NDArray[Any]:
    """Return a block's target, and nothing else of it.

    Raises
    ------
    BadInput
        The block is damaged.
    """
    with _opened(block) as arrays:
        target: NDArray[Any] = arrays["target"]
        return target


def read_blocks(blocks: Iterable[bytes], schema: Schema, choose: RowChoice | None = None) -> Table:
    """Return the blocks as one table, in the order of the record numbers.

    Parameters
    ----------
    blocks : iterable of bytes
        As :func:`write_block` made them.
    schema : Schema
        What they were written under.
    choose : callable, optional
        Which rows of a block to keep; all of them when absent. The others are never held.

    Raises
    ------
    BadInput
        A block is damaged, or was written under another schema.
    """
    parts = [_read_block(block, schema, choose) for block in blocks]
    parts.sort(key=lambda part: int(part.record[0]) if len(part.record) else -1)
    table = _joined(parts, schema)
    if np.any(np.diff(table.record) <= 0):
        raise BadInput(
            "Two training blocks hold the same records",
            code="blocks-overlap",
            remedy="Run the dataset again.",
        )
    return table


def _empty(schema: Schema) -> Table:
    columns: dict[str, NDArray[Any]] = {
        c.name: np.empty(0, dtype=object if c.type in ("category", "text") else np.float64)
        for c in schema.stored
    }
    return Table(columns, np.empty(0, dtype=target_type(schema)), np.empty(0, dtype=np.int64))


def _read_block(block: bytes, schema: Schema, choose: RowChoice | None) -> Table:
    with _opened(block) as arrays:
        target, record = arrays["target"], arrays["record"]
        rows: NDArray[np.intp] | slice = slice(None)
        if choose is not None:
            rows = np.flatnonzero(choose(record, target))
        columns = {c.name: _read_column(arrays, c, rows) for c in schema.stored}
        return Table(columns, target[rows], record[rows])


@contextmanager
def _opened(block: bytes) -> Iterator[Mapping[str, NDArray[Any]]]:
    try:
        with np.load(io.BytesIO(block), allow_pickle=False) as arrays:
            yield arrays
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"A training block cannot be read ({error})",
            code="block-damaged",
            remedy="Run the dataset again.",
        ) from error


def _read_column(
    arrays: Mapping[str, NDArray[Any]], column: Column, rows: NDArray[np.intp] | slice
) -> NDArray[Any]:
    key = f"c{column.index}"
    if column.type == "category":
        # Code -1 picks the last entry: None.
        names = np.array([*column.categories, None], dtype=object)
        values: NDArray[Any] = names[arrays[key][rows]]
        return values
    if column.type == "text":
        data = arrays[key].tobytes()
        ends, missing = arrays[f"{key}.ends"], arrays[f"{key}.missing"][rows]
        starts = np.concatenate([np.zeros(1, ends.dtype), ends])[:-1]
        values = np.empty(len(missing), dtype=object)
        for row, (start, end) in enumerate(zip(starts[rows].tolist(), ends[rows].tolist(), strict=True)):
            if not missing[row]:
                values[row] = data[start:end].decode()
        return values
    return arrays[key][rows]


def to_parquet(converted: Converted, schema: Schema) -> bytes:
    """Return the kept rows as a Parquet file: the features and the target in file order.

    Numbers are doubles, booleans booleans, times UTC timestamps in microseconds, categories dictionaries
    of strings. The target of a classification is its class label.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = converted.table
    arrays: dict[str, Any] = {}
    repeated = [schema.target] if schema.classes else []
    for column in schema.columns:
        if column.name == schema.target:
            if schema.classes:
                labels = pa.array(schema.classes, type=pa.string())
                arrays[column.name] = pa.DictionaryArray.from_arrays(pa.array(table.target), labels)
            else:
                arrays[column.name] = pa.array(table.target)
        elif column.name in table.columns:
            arrays[column.name] = _arrow(table.columns[column.name], column)
            if column.type == "category":
                repeated.append(column.name)
    out = io.BytesIO()
    # All else hardly repeats: a dictionary of it costs more time than it saves room.
    pq.write_table(pa.table(arrays), out, compression="zstd", use_dictionary=repeated)
    return out.getvalue()


def _arrow(values: Any, column: Column) -> Any:
    import pyarrow as pa

    if column.type == "category":
        codes = _encode(values, column)
        names = pa.array(column.categories, type=pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), names)
    if isinstance(values, Spelled):
        offsets = np.concatenate(([0], values.ends)).astype(np.int32)
        present = pa.array(~values.missing).buffers()[1]
        texts = pa.py_buffer(values.data)
        return pa.StringArray.from_buffers(len(values.ends), pa.py_buffer(offsets), texts, present)
    if column.type == "text":
        return pa.array(values, type=pa.string())
    missing = np.isnan(values)
    if column.type == "boolean":
        return pa.array(values == 1.0, mask=missing)
    if column.type == "time":
        microseconds = np.where(missing, 0.0, np.round(values * 1e6)).astype(np.int64)
        return pa.array(microseconds, mask=missing).cast(pa.timestamp("us", tz="UTC"))
    return pa.array(values, mask=missing)


def rejects_jsonl(rejects: Iterable[RejectedRecord]) -> bytes:
    """Return the rejected records, one JSON object a line: line, offset, column, reason, record."""
    return _jsonl(rejects)


def cleared_jsonl(converted: Converted) -> bytes:
    """Return the listed cleared cells, one JSON object a line: line, column, value."""
    return _jsonl(converted.cleared)


def _jsonl(items: Iterable[RejectedRecord | ClearedCell]) -> bytes:
    # ASCII, so that lone surrogates survive.
    return "".join(json.dumps(vars(item)) + "\n" for item in items).encode("ascii")
