from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts import Column, Schema, Spec
from millrace.errors import BadInput
from millrace.features.blocks import (
    MAX_CLEARED_LISTED,
    Converted,
    Table,
    cleared_jsonl,
    convert_chunk,
    read_blocks,
    rejects_jsonl,
    to_parquet,
    write_block,
)
from tests.tables import CsvTable

HEADER = "size,smokes,colour,words,day,y\r\n"


def lines(count: int) -> str:
    colours = ("red", "grün", "")
    return "".join(
        f'{i * 0.25},{("yes", "no", "")[i % 3]},{colours[i % 3]},"note {i}\nof, row",'
        f"2024-01-{1 + i % 28:02d},{i % 2}\r\n"
        for i in range(count)
    )


def convert(table: CsvTable, schema: Schema) -> list[Converted]:
    return [convert_chunk(table.chunk(c.number), schema, table.layout) for c in table.layout.chunks]


def read_back(converted: list[Converted], schema: Schema) -> Table:
    return read_blocks(
        [write_block(schema, c.table.columns, c.table.target, c.table.record) for c in converted], schema
    )


def same(a: Table, b: Table) -> bool:
    if list(a.columns) != list(b.columns) or not np.array_equal(a.record, b.record):
        return False
    columns = all(
        a.columns[name].dtype == b.columns[name].dtype
        and (
            a.columns[name].tolist() == b.columns[name].tolist()
            if a.columns[name].dtype == object
            else np.array_equal(a.columns[name], b.columns[name], equal_nan=True)
        )
        for name in a.columns
    )
    return columns and a.target.dtype == b.target.dtype and np.array_equal(a.target, b.target)


def test_cells_become_typed_values() -> None:
    table = CsvTable.of((HEADER + lines(60)).encode())
    schema = table.schema()
    (converted,) = convert(table, schema)
    columns = converted.table.columns
    assert {name: values.dtype.kind for name, values in columns.items()} == {
        "size": "f",
        "smokes": "f",
        "colour": "O",
        "words": "O",
        "day": "f",
    }
    assert columns["size"][:2].tolist() == [0.0, 0.25]
    assert columns["smokes"][0] == 1.0
    assert np.isnan(columns["smokes"][2])
    assert columns["colour"][:3].tolist() == ["red", "grün", None]
    assert columns["words"][1] == "note 1\nof, row"
    assert columns["day"][0] == 1704067200.0
    assert converted.table.target.dtype == np.int32
    assert converted.table.target[:3].tolist() == [0, 1, 0]
    assert converted.table.record.tolist() == list(range(60))


@pytest.mark.parametrize("pieces", [1, 2, 7, 64])
def test_the_table_does_not_depend_on_the_cut(pieces: int) -> None:
    data = (HEADER + lines(300)).encode()
    whole = CsvTable.of(data)
    cut = CsvTable.of(data, target_bytes=len(data) // pieces, block_bytes=313)
    schema = cut.schema()
    assert schema == whole.schema()
    expected = convert(whole, schema)[0].table
    found = convert(cut, schema)
    assert len(found) >= min(pieces, 2)
    assert same(read_back(found, schema), expected)
    assert same(read_back(found[::-1], schema), expected)


def test_misfits_become_missing_and_are_listed() -> None:
    rows = [f"{i * 0.5},{i % 2}" for i in range(1000)]
    rows[3], rows[7] = "abc,1", "1e400,0"
    table = CsvTable.of(("v,y\n" + "\n".join(rows) + "\n").encode())
    (converted,) = convert(table, table.schema())
    assert converted.rows_read == len(converted.table) == 1000
    assert converted.cells_cleared == {"v": 2}
    assert np.flatnonzero(np.isnan(converted.table.columns["v"])).tolist() == [3, 7]
    assert [json.loads(line) for line in cleared_jsonl(converted).splitlines()] == [
        {"line": 5, "column": "v", "value": "abc"},
        {"line": 9, "column": "v", "value": "1e400"},
    ]


def test_the_list_of_misfits_is_capped_and_their_number_is_not() -> None:
    table = CsvTable.of(b"v,y\n" + b"".join(b"%d.5,%d\n" % (i, i % 2) for i in range(3000)))
    schema = table.schema()
    columns = tuple(replace(c, type="boolean") if c.name == "v" else c for c in schema.columns)
    (converted,) = convert(table, replace(schema, columns=columns))
    assert len(converted.cleared) == MAX_CLEARED_LISTED
    assert converted.cells_cleared == {"v": 3000}


def test_missing_words_are_missing_and_no_misfits() -> None:
    table = CsvTable.of(
        b"v,y\n" + b"".join(b"%s,%d\n" % (b"NA" if i % 5 == 0 else b"%d.5" % i, i % 2) for i in range(50))
    )
    (converted,) = convert(table, table.schema())
    assert converted.cells_cleared == {}
    assert np.isnan(converted.table.columns["v"]).sum() == 10


def test_every_record_is_kept_or_rejected_with_its_line_and_reason() -> None:
    good = "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(40))
    data = ("v,y\n" + good + "1.5,\n7\n8.5,a,b\n").encode() + b"9\xff.5,a\n" + b'2.5,"b\n'
    table = CsvTable.of("é,y\n".encode() + data[4:])
    schema = table.schema()
    (converted,) = convert(table, schema)
    assert converted.rows_read == 45 == len(converted.table) + len(converted.rejects)
    assert converted.rows_unlabelled == 1
    found = [json.loads(line) for line in rejects_jsonl(converted.rejects).splitlines()]
    assert [(r["line"], r["column"], r["reason"]) for r in found] == [
        (42, "y", "the target is missing"),
        (43, "", "too few fields: 1 instead of 2"),
        (44, "", "too many fields: 3 instead of 2"),
        (45, "", "the bytes ff are not valid in utf-8"),
        (46, "", 'a " is opened and never closed'),
    ]
    assert found[3]["record"].encode("utf-8", "surrogateescape") == b"9\xff.5,a\n"
    for reject in found:
        raw = reject["record"].encode("utf-8", "surrogateescape")
        assert table.data[reject["offset"] : reject["offset"] + len(raw)] == raw


def test_a_regression_target_that_is_no_number_rejects_its_record() -> None:
    rows = [f"{i * 0.5},{i * 0.25}" for i in range(1000)]
    rows[4], rows[5], rows[6] = "1.5,abc", "1.5,1e999", "1.5,NA"
    table = CsvTable.of(("v,y\n" + "\n".join(rows) + "\n").encode())
    schema = table.schema()
    assert schema.task == "regression"
    (converted,) = convert(table, schema)
    assert [reject.line for reject in converted.rejects] == [6, 7, 8]
    assert [reject.column for reject in converted.rejects] == ["y"] * 3
    assert "'abc' is not a number" in converted.rejects[0].reason
    assert converted.rows_unlabelled == 1
    assert np.isfinite(converted.table.target).all()


def test_spellings_of_a_number_are_one_class() -> None:
    table = CsvTable.of(
        b"v,y\n" + b"".join(b"%d.5,%s\n" % (i, (b"1", b"0", b"1.0", b" 0")[i % 4]) for i in range(40))
    )
    (converted,) = convert(table, table.schema())
    assert converted.table.target[:4].tolist() == [1, 0, 1, 0]


VALUE = st.one_of(st.none(), st.text(min_size=1, max_size=5).filter(lambda text: not text.isspace()))
WORDS = ("", "a", "é€𝄞", "\x00", "x y")[1:]


@given(
    st.lists(
        st.tuples(
            st.floats(),
            st.sampled_from([*WORDS, None]),
            st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.none(),
            st.integers(0, 2),
        ),
        max_size=30,
    )
)
@settings(max_examples=100, deadline=None)
def test_blocks_give_back_what_was_written(rows: list[tuple[float, str | None, str | None, int]]) -> None:
    schema = Schema(
        columns=(
            Column("n", 0, "number", "feature"),
            Column("left out", 1, "text", "identifier"),
            Column("c / ü", 2, "category", "feature", categories=tuple(sorted(WORDS))),
            Column("target", 3, "text", "feature"),
            Column("y", 4, "category", "target"),
        ),
        target="y",
        task="multiclass",
        metric="log_loss",
        classes=("p", "q", "r"),
    )
    words = np.empty(len(rows), dtype=object)
    texts = np.empty(len(rows), dtype=object)
    for i, (_, word, text, _) in enumerate(rows):
        words[i], texts[i] = word, text
    table = Table(
        {"n": np.array([row[0] for row in rows], dtype=np.float64), "c / ü": words, "target": texts},
        np.array([row[3] for row in rows], dtype=np.int32),
        np.arange(7, 7 + len(rows), dtype=np.int64),
    )
    block = write_block(schema, table.columns, table.target, table.record)
    assert same(read_blocks([block], schema), table)


def test_no_blocks_are_an_empty_table() -> None:
    table = CsvTable.of((HEADER + lines(60)).encode())
    found = read_blocks([], table.schema())
    assert (len(found), found.target.dtype, list(found.columns)) == (
        0,
        np.int32,
        ["size", "smokes", "colour", "words", "day"],
    )


def test_damaged_and_repeated_blocks_are_refused() -> None:
    table = CsvTable.of((HEADER + lines(60)).encode())
    schema = table.schema()
    made = convert(table, schema)[0].table
    block = write_block(schema, made.columns, made.target, made.record)
    for damaged in (b"", b"no block", block[: len(block) // 2]):
        with pytest.raises(BadInput) as caught:
            read_blocks([damaged], schema)
        assert caught.value.code == "block-damaged"
    with pytest.raises(BadInput) as caught:
        read_blocks([block, block], schema)
    assert caught.value.code == "blocks-overlap"


def test_arrays_of_different_length_are_refused() -> None:
    table = CsvTable.of((HEADER + lines(60)).encode())
    schema = table.schema()
    made = convert(table, schema)[0].table
    with pytest.raises(ValueError, match="has 60 rows, records 59"):
        write_block(schema, made.columns, made.target, made.record[1:])


def test_parquet_holds_the_typed_rows() -> None:
    table = CsvTable.of((HEADER + lines(60)).encode())
    schema = table.schema()
    (converted,) = convert(table, schema)
    found = pq.read_table(io.BytesIO(to_parquet(converted, schema)))
    assert found.column_names == ["size", "smokes", "colour", "words", "day", "y"]
    assert [str(field.type) for field in found.schema] == [
        "double",
        "bool",
        "dictionary<values=string, indices=int32, ordered=0>",
        "string",
        "timestamp[us, tz=UTC]",
        "dictionary<values=string, indices=int32, ordered=0>",
    ]
    first, _, third = found.slice(0, 3).to_pylist()
    assert (first["smokes"], first["colour"], first["y"]) == (True, "red", "0")
    assert first["day"].isoformat() == "2024-01-01T00:00:00+00:00"
    assert (third["smokes"], third["colour"]) == (None, None)


def test_parquet_of_a_regression_has_a_numeric_target() -> None:
    table = CsvTable.of(b"v,y\n" + b"".join(b"%d.5,%d.25\n" % (i * i, i) for i in range(40)))
    schema = table.schema(Spec(target="y"))
    found = pq.read_table(io.BytesIO(to_parquet(convert(table, schema)[0], schema)))
    assert found.schema.field("y").type == pa.float64()
    assert found["y"].to_pylist()[:2] == [0.25, 1.25]
