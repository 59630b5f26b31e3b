"""One chunk of a file to score: its records become columns, the columns predictions, and all of it a part.

A record is scored as ``POST /predict`` would score it, or rejected for the reason that ``POST /predict``
would give, or for its structure as in training.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace import keys
from millrace.contracts import Layout, ObjectStore, Run, ScoredChunk, ScoreSpec
from millrace.errors import BadInput, Unprocessable
from millrace.plan import Plan, convert
from millrace.registry.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa  # type: ignore[import-untyped]
    from numpy.typing import NDArray

    from millrace.features.blocks import RejectedRecord
    from millrace.scoring.columns import Words
    from millrace.scoring.fastest import BlockScorer

__all__ = [
    "Part",
    "columns_kept",
    "header",
    "load_version",
    "match_names",
    "result_names",
    "score_chunk",
    "score_columns",
    "write_part",
]

SLICE_ROWS = 1 << 15
"""Rows that are scored at once: bounds the memory of what the features make of them."""


def match_names(
    names: Sequence[str], has_header: bool, fields: Sequence[Mapping[str, Any]], where: str
) -> tuple[str, ...]:
    """Return the names of a file's columns under a model's signature.

    Without a header the columns are the signature's fields in their order, if there are as many.

    Raises
    ------
    BadInput
        A field has no column, or the file has no header and another number of columns.
    """
    wanted = [str(described["name"]) for described in fields]
    if not has_header:
        if len(names) == len(wanted):
            return tuple(wanted)
        raise BadInput(
            f"The file has no header, and {len(names)} columns where the model has {len(wanted)} fields",
            code="header-missing",
            where=where,
            remedy=f"Add a first line that names the columns; the model reads {_listed(wanted)}.",
        )
    missing = [name for name in wanted if name not in names]
    if missing:
        raise BadInput(
            f"The file lacks {len(missing)} of the model's {len(wanted)} columns: {_listed(missing)}",
            code="columns-missing",
            where=where,
            remedy="Name the columns as the file did that the model was trained on; a column may be empty.",
        )
    return tuple(names)


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def columns_kept(names: Sequence[str], spec: ScoreSpec, where: str) -> list[str]:
    """Return the columns of the file that stand in the result, in their order there.

    Raises
    ------
    BadInput
        The spec keeps a column that the file does not have.
    """
    if spec.keep is None:
        return list(names)
    unknown = [name for name in spec.keep if name not in names]
    if unknown:
        raise BadInput(
            f"The file has no column {unknown[0]!r}, which is to be kept",
            code="column-unknown",
            where=where,
            remedy=f"Its columns are {_listed(names)}.",
        )
    return list(spec.keep)


def result_names(kept: Sequence[str], plan: Plan) -> list[str]:
    """Return the result's column names: the kept ones, ``prediction``, and what else the model says of a row.

    That is ``probability:<class>`` for each class, or ``prediction:low`` and ``prediction:high`` where the
    model has prediction intervals. A name that is taken already gets the next free number:
    ``prediction_2``.
    """
    names = list(kept)
    interval = ("prediction:low", "prediction:high") if plan.header.get("interval") else ()
    for name in ("prediction", *(f"probability:{label}" for label in plan.classes), *interval):
        free, count = name, 2
        while free in names:
            free, count = f"{name}_{count}", count + 1
        names.append(free)
    return names


@dataclass
class Part:
    """What came of a chunk's records.

    Attributes
    ----------
    pieces : list of pyarrow.Table
        The scored rows, in order, under :func:`result_names`.
    rejects : list of RejectedRecord
        The others, in order.
    warnings : dict of str to int
        Scored rows with a notice, by ``<code> <field>``.
    rows_read, rows_scored : int
        ``rows_read == rows_scored + len(rejects)``.
    """

    pieces: list[pa.Table] = field(default_factory=list)
    rejects: list[RejectedRecord] = field(default_factory=list)
    warnings: dict[str, int] = field(default_factory=dict)
    rows_read: int = 0
    rows_scored: int = 0


def score_chunk(run: Run, layout: Layout, chunk: int, text: bytes, artifacts: ObjectStore) -> ScoredChunk:
    """Score a chunk and store its part and its rejects.

    Parameters
    ----------
    run : Run
        Whose ``score`` says how, and whose ``version`` says by which version.
    layout : Layout
        Where and how the records lie, its names matched by :func:`match_names`.
    chunk : int
        The chunk's number.
    text : bytes
        Its bytes.
    artifacts : ObjectStore
        The artifact bucket.
    """
    from millrace.features.blocks import rejects_jsonl

    assert run.score is not None and run.model is not None and run.version is not None
    plan, scorer = load_version(run.model, run.version, artifacts)
    part = score_columns(layout, chunk, text, plan, scorer, run.score)
    delimiter = layout.dialect.delimiter
    data = write_part(part.pieces, run.score.format, delimiter)
    columns = tuple(part.pieces[0].column_names) if part.pieces else ()
    # The result begins with the first part, so that has the header: the store joins all parts as they are.
    headed = run.score.format == "csv" and chunk == layout.chunks[0].number and bool(columns)
    if headed:
        data = header(columns, delimiter) + data
    artifacts.put(keys.scored_part(run.run_id, chunk, run.score.format), data)
    if part.rejects:
        key = keys.rejects(run.run_id, chunk)
        artifacts.put(key, rejects_jsonl(part.rejects), content_type="application/jsonl")
    return ScoredChunk(
        chunk=chunk,
        rows_read=part.rows_read,
        rows_scored=part.rows_scored,
        rows_rejected=len(part.rejects),
        part_bytes=len(data),
        columns=columns,
        warnings=part.warnings,
        headed=headed,
    )


def load_version(model: str, version: int, artifacts: ObjectStore) -> tuple[Plan, BlockScorer]:
    """Return a version's plan and what scores with it; a worker keeps the last one for its next chunk.

    Raises
    ------
    NotFound
        There is no such version.
    BadInput
        Its plan is damaged.
    """
    key = keys.version(model, version, "model.plan")
    sha256 = Registry(artifacts).version(model, version).plan_sha256
    if sha256 not in _loaded:
        from millrace import plan
        from millrace.scoring.fastest import block_scorer

        read = plan.read(artifacts.get(key))
        _loaded.clear()
        _loaded[sha256] = read, block_scorer(read)
    return _loaded[sha256]


_loaded: dict[str, tuple[Plan, BlockScorer]] = {}
"""The plan used last, by its checksum: building what scores takes longer than some chunks."""


def score_columns(
    layout: Layout, chunk: int, text: bytes, plan: Plan, scorer: BlockScorer, spec: ScoreSpec
) -> Part:
    """Score the records of a chunk; see :func:`score_chunk`."""
    import numpy as np

    from millrace import csvfile
    from millrace.features.blocks import RejectedRecord

    dialect = layout.dialect
    read = csvfile.read_columns(text, dialect, layout.chunks[chunk], len(layout.names))
    place = {name: number for number, name in enumerate(layout.names)}
    names = columns_kept(layout.names, spec, "")
    kept = [read.columns[place[name]] for name in names]
    part = Part(rows_read=read.rows + len(read.rejects))
    refused: dict[int, tuple[str, str]] = {}
    for start in range(0, read.rows, SLICE_ROWS):
        rows = min(SLICE_ROWS, read.rows - start)
        inputs = {
            described["name"]: read.columns[place[described["name"]]].slice(start, rows)
            for described in plan.signature.fields
        }
        values, wrong = _converted(inputs, plan, spec.strict, rows, part.warnings)
        left = np.flatnonzero(_wanted(rows, wrong))
        if wrong:
            values = {name: column[left] for name, column in values.items()}
        result, failed = _scored(scorer, values, len(left))
        if failed:
            wrong |= {int(left[row]): ("", why) for row, why in failed.items()}
            good = _wanted(len(left), failed)
            left, values = left[good], {name: column[good] for name, column in values.items()}
        refused |= {start + row: why for row, why in wrong.items()}
        if result is not None:
            shown = [column.slice(start, rows) for column in kept]
            if wrong:
                shown = [column.take(left) for column in shown]
            part.pieces.append(_piece(result, plan, names, shown, values, spec, part.warnings))
            part.rows_scored += len(result)
    found = [RejectedRecord(*reject[1:]) for reject in read.rejects]
    if refused:
        for (column, reason), record in zip(
            (refused[row] for row in sorted(refused)), read.records(refused.keys()), strict=True
        ):
            raw = csvfile.decode_raw(record.raw, dialect.encoding)
            found.append(RejectedRecord(record.line, record.offset, column, reason, raw))
    part.rejects = sorted(found, key=lambda reject: reject.offset)
    return part


def _converted(
    inputs: Mapping[str, pa.ChunkedArray], plan: Plan, strict: bool, rows: int, warnings: dict[str, int]
) -> tuple[dict[str, NDArray[np.float64] | Words], dict[int, tuple[str, str]]]:
    """Return the columns' values, and for each row that is not to be scored the column and the reason."""
    import numpy as np

    from millrace.scoring.columns import convert_column

    columns = {
        described["name"]: convert_column(described, inputs[described["name"]])
        for described in plan.signature.fields
    }
    wrong: dict[int, tuple[str, str]] = {}
    for name, column in columns.items():
        for row, reason in column.refused.items():
            wrong.setdefault(row, (name, reason))
    for described in plan.signature.fields if strict else ():
        name = described["name"]
        for rows_noticed in columns[name].noticed.values():
            for row in rows_noticed.tolist():
                if row not in wrong:
                    _, notice = convert(described, inputs[name][row].as_py())
                    wrong[row] = name, notice[1] if notice else ""
    scored = _wanted(rows, wrong)
    for name, column in columns.items():
        for code, rows_noticed in column.noticed.items():
            count = int(np.count_nonzero(scored[rows_noticed]))
            if count:
                warnings[f"{code} {name}"] = warnings.get(f"{code} {name}", 0) + count
    return {name: column.values for name, column in columns.items()}, wrong


def _wanted(rows: int, wrong: Mapping[int, Any]) -> NDArray[np.bool_]:
    """Return which rows are to be scored."""
    import numpy as np

    scored = np.ones(rows, dtype=np.bool_)
    scored[list(wrong)] = False
    return scored


def _scored(
    scorer: BlockScorer, values: Mapping[str, NDArray[np.float64] | Words], rows: int
) -> tuple[NDArray[np.float64] | None, dict[int, str]]:
    """Return the scores, and for each row that the model refuses why; these have no score.

    Only a model from elsewhere refuses values that its signature took, and says so of a block as a whole.
    """
    import numpy as np

    if not rows:
        return None, {}
    try:
        return scorer.score(values), {}
    except Unprocessable as error:
        if rows == 1:
            return None, {0: error.what}
    pieces: list[NDArray[np.float64]] = []
    failed: dict[int, str] = {}
    for start, end in ((0, rows // 2), (rows // 2, rows)):
        half = {name: column[start:end] for name, column in values.items()}
        found, why = _scored(scorer, half, end - start)
        failed |= {start + row: reason for row, reason in why.items()}
        if found is not None:
            pieces.append(found)
    return np.concatenate(pieces) if pieces else None, failed


def _piece(
    result: NDArray[np.float64],
    plan: Plan,
    names: Sequence[str],
    shown: Sequence[pa.ChunkedArray],
    values: Mapping[str, NDArray[np.float64] | Words],
    spec: ScoreSpec,
    warnings: dict[str, int],
) -> pa.Table:
    """Lay scored rows out as they stand in the result."""
    import numpy as np
    import pyarrow as pa

    sums = result.sum(axis=1) if plan.classes else result
    finite = np.isfinite(sums)
    odd = len(finite) - int(np.count_nonzero(finite))
    if odd:  # the row lies too far outside of what training saw; POST /predict answers null
        warnings["not-finite"] = warnings.get("not-finite", 0) + odd
    if plan.classes:
        labels = pa.array(plan.classes, type=pa.string())
        best = pa.array(result.argmax(axis=1).astype(np.int32), mask=~finite)
        answers = [labels.take(best), *(pa.array(shares, mask=~finite) for shares in result.T.copy())]
    else:
        answers = [pa.array(result, mask=~finite)]
        interval = plan.header.get("interval")
        if interval:
            answers += [pa.array(result + interval[side], mask=~finite) for side in ("below", "above")]
    fields = {described["name"]: described for described in plan.signature.fields}
    cells = [
        _typed(fields[name], column, values[name]) if spec.format == "parquet" and name in fields else column
        for name, column in zip(names, shown, strict=True)
    ]
    return pa.table([*cells, *answers], names=result_names(names, plan))


def _typed(described: Mapping[str, Any], cells: pa.ChunkedArray, values: Any) -> Any:
    """Return a column as the model read it; keys and other columns stay as they are spelled."""
    import numpy as np
    import pyarrow as pa

    if described["type"] in ("category", "text"):
        return pa.array(values.tolist(), type=pa.string())
    missing = np.isnan(values)
    if described["type"] == "boolean":
        return pa.array(values == 1.0, mask=missing)
    if described["type"] == "time":
        microseconds = np.where(missing, 0.0, np.round(values * 1e6)).astype(np.int64)
        return pa.array(microseconds, mask=missing).cast(pa.timestamp("us", tz="UTC"))
    return pa.array(values, mask=missing)


def write_part(pieces: Sequence[pa.Table], format: str, delimiter: str) -> bytes:
    """Return the scored rows as CSV without a header, or as a Parquet file."""
    if format == "csv":
        return b"".join(_csv(piece, delimiter) for piece in pieces)
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    if not pieces:
        return b""
    out = io.BytesIO()
    pq.write_table(pa.concat_tables(pieces), out, compression="zstd")
    return out.getvalue()


def header(names: Sequence[str], delimiter: str) -> bytes:
    """Return the first line of a CSV result."""
    import pyarrow as pa

    return _csv(pa.table([pa.array([name]) for name in names], names=list(names)), delimiter)


def _csv(table: pa.Table, delimiter: str) -> bytes:
    """Return the rows in UTF-8; a cell is quoted where it must be, a missing one is empty.

    Numbers have the digits of ``POST /predict``.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    from millrace.scoring.fastest import lines

    if not table.num_rows:
        return b""
    cells = [_quoted(column, delimiter) for column in table.columns if pa.types.is_string(column.type)]
    numbers = [column.to_numpy() for column in table.columns[len(cells) :]]  # they stand behind the texts
    options = {"null_handling": "replace", "null_replacement": ""}
    if numbers:
        text, offsets = lines(np.column_stack(numbers), delimiter)
        if not cells:
            return text.tobytes()
        cells.append(pa.StringArray.from_buffers(table.num_rows, pa.py_buffer(offsets), pa.py_buffer(text)))
    else:
        cells[-1] = pc.binary_join_element_wise(cells[-1], "", "\n", **options)
    rows = pc.binary_join_element_wise(*cells, delimiter, **options)
    return b"".join(map(_bytes, rows.chunks)) if isinstance(rows, pa.ChunkedArray) else _bytes(rows)


def _bytes(texts: pa.StringArray) -> bytes:
    """Return the texts one behind the other, as they lie in memory."""
    import numpy as np

    _, offsets, data = texts.buffers()
    if data is None:  # none of them has a character
        return b""
    ends = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[ends[0] : ends[-1]].tobytes()


def _quoted(column: pa.ChunkedArray, delimiter: str) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    special = '"\r\n' + delimiter
    texts = b"".join(_bytes(part) for part in column.chunks)  # a look at all of them at once is cheap
    if not any(mark.encode() in texts for mark in special):
        return column
    needed = functools.reduce(pc.or_, (pc.match_substring(column, mark) for mark in special))
    doubled = pc.replace_substring(column, '"', '""')
    quoted = pc.binary_join_element_wise(pa.scalar('"'), doubled, pa.scalar('"'), "")
    return pc.if_else(needed, quoted, column)
