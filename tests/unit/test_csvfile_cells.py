"""What the kernel makes of a chunk is what the rules in Python make of its records, to the last bit."""

from __future__ import annotations

import struct
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.contracts import Chunk, Column, Dialect, Layout, Schema
from millrace.csvfile import Record, Reject, kernel, read_records
from millrace.csvfile.cells import Spelled, Wanted, read_cells
from millrace.features.blocks import Converted, convert_chunk, read_blocks, write_block
from millrace.features.columnar import convert_bytes
from millrace.profile import profile_chunk
from millrace.profile.build import profile_bytes
from millrace.profile.statistics import value_hash
from millrace.values import read_number, read_time

STRUCTURE = [",", "\n", "\r\n", "\r", '"', '""', ";", "\\", "'"]
TEXTS = [
    *("a", "bc", " ", "ä", "\ufeff", "\0", "é", '"x, y"', '"\n"', "\u2003", "€ 5", "x y"),
    *(
        "1.5",
        "$2",
        "$1,000",
        "-0",
        "0",
        "1",
        "007",
        "1e5",
        "12E45",
        "1e400",
        "1,5",
        "nan",
        "inf",
        "NA",
        " 12 ",
        "+3.",
    ),
    *("2024-01-31", "2024-02-30 10:00", "2024-01-31T23:59:59.123Z", "31/01/2024", "yes", "No"),
    *("0.1234567890123456", "12345678901234567890", "9007199254740993", "4.35e-320", "1_000", "３"),
    *("a long sentence without digits", "3f2a9c1e-77ab-4c1d-9f00-aabbccddeeff", "no 5 of these words here"),
    *(
        "R100",
        "USD1,250.00",
        "kr5",
        "S01234",
        "AB-12",
        "a@b9.org",
        "x_1=5",
        "Infinity",
        "not missing",
        "Jan-5",
    ),
]
DIALECTS = [
    Dialect(),
    Dialect(delimiter=";"),
    Dialect(quote=""),
    Dialect(escape="\\"),
    Dialect(quote="'", escape="\\"),
    Dialect(encoding="cp1252"),
]
NAMES = ("a", "b", "c")


def chunk_of(data: bytes) -> Chunk:
    return Chunk(3, 100, 100 + len(data), 7, 11)


def layout_of(dialect: Dialect, width: int) -> Layout:
    return Layout("bucket", "key", "", 0, dialect, NAMES[:width], ())


def same_bits(a: float, b: float) -> bool:
    return struct.pack("<d", a) == struct.pack("<d", b)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[bytes, Dialect, int]:
    """Records that are mostly regular, and anything at all."""
    dialect = draw(st.sampled_from(DIALECTS))
    width = draw(st.integers(1, 3))
    if draw(st.booleans()):
        text = "".join(draw(st.lists(st.sampled_from(STRUCTURE + TEXTS), max_size=40)))
    else:
        cell = st.sampled_from(TEXTS) | st.just("")
        rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=12))
        text = "".join(dialect.delimiter.join(row) + "\n" for row in rows)
    data = text.encode(dialect.encoding, "replace")
    if draw(st.integers(0, 9)) == 0:
        data += draw(st.binary(max_size=6))
    return data, dialect, width


def test_a_checkout_has_the_kernel() -> None:
    assert kernel.library() is not None


@settings(deadline=None, max_examples=120)
@given(chunks())
@example((b'a,"b"x"\ny"\nc,d', Dialect(), 2))
@example((b'a,"b""c",\r\n\r\n"', Dialect(), 3))
@example((b"a\\\r\nb,c\n", Dialect(escape="\\"), 2))
@example((b"a,b,\nc,d\n", Dialect(), 2))
def test_rows_and_rejects_are_those_of_the_record_reader(case: tuple[bytes, Dialect, int]) -> None:
    data, dialect, width = case
    items = list(read_records(data, dialect, chunk_of(data), width))
    rows = [item for item in items if isinstance(item, Record)]
    cells = read_cells(
        data, dialect, chunk_of(data), width, [Wanted(index, "text", blanks=False) for index in range(width)]
    )
    if cells is None:  # only for what never closes, is in no encoding, or has delimiters to spare at its end
        spare = dialect.delimiter.encode()
        assert any(isinstance(item, Reject) or item.raw.rstrip().endswith(spare) for item in items)
        return
    assert cells.rejects == [item for item in items if isinstance(item, Reject)]
    assert list(zip(*map(texts_of, cells.columns), strict=True)) == [tuple(row.cells) for row in rows]
    assert cells.number.tolist() == [row.number for row in rows]
    assert cells.lines(list(range(len(rows)))) == [row.line for row in rows]
    assert list(cells.records(range(len(rows)))) == rows


def texts_of(spelled: Spelled) -> list[str]:
    data, starts = spelled.data.tobytes(), [0, *spelled.ends.tolist()]
    return [data[start:end].decode() for start, end in pairwise(starts)]


@settings(deadline=None, max_examples=120)
@given(chunks())
def test_the_profile_is_that_of_the_records(case: tuple[bytes, Dialect, int]) -> None:
    data, dialect, width = case
    layout = layout_of(dialect, width)
    records = list(read_records(data, dialect, chunk_of(data), width))
    found, rejects = profile_bytes(data, layout, chunk_of(data))
    assert found == profile_chunk(records, layout.names)
    assert rejects == [item for item in records if isinstance(item, Reject)]


PIECES = [
    "a",
    "word",
    " ",
    "  ",
    "\t",
    "\u2003",
    "\u00a0",
    "\u3000",
    "é",
    "…",
    "日本",
    "’",
    "7",
    "$",
    "@",
    "_",
    "𝄞",
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=8, max_size=150).map("".join), max_size=6))
@example(
    ["x" * 63 + "\u2003" + "y" * 64, "word " * 13, "é" * 40 + " 1", "\u3000" * 30 + "a" * 64 + "\u3000" * 30]
)
def test_the_profile_of_long_texts_is_that_of_the_records(texts: list[str]) -> None:
    data = "".join(f"{text}\n" for text in texts).encode()
    records = read_records(data, Dialect(), chunk_of(data), 1)
    assert profile_bytes(data, layout_of(Dialect(), 1), chunk_of(data))[0] == profile_chunk(
        records, NAMES[:1]
    )


@pytest.mark.parametrize("dotted", [False, True])
def test_the_profile_of_many_different_values_is_that_of_the_records(dotted: bool) -> None:
    lines = [
        f"{i * 7919 % 6007}{'.25' if dotted else ''},key-{i % 4001},some words {i % 5003}\n"
        for i in range(6100)
    ]
    data = ("".join(lines) + "no,2024-01-01,\n" * 3).encode()
    records = read_records(data, Dialect(), chunk_of(data), 3)
    assert profile_bytes(data, layout_of(Dialect(), 3), chunk_of(data))[0] == profile_chunk(records, NAMES)


def schema_of(types: dict[str, tuple[str, str]], classes: tuple[str, ...]) -> Schema:
    columns = tuple(
        Column(
            name,
            index,
            type,
            "target" if name == "c" else "feature",
            format=format,  # type: ignore[arg-type]
            categories=("a", "bc", "ä") if type == "category" else (),
        )
        for index, (name, (type, format)) in enumerate(types.items())
    )
    return Schema(
        columns=columns,
        target="c",
        task="regression" if not classes else "multiclass",
        metric="rmse",
        classes=classes,
    )


TYPES = [
    *(
        ("number", ""),
        ("number", "decimal-comma"),
        ("number", "thousands-comma $"),
        ("boolean", ""),
        ("time", "iso8601"),
    ),
    *(("time", "%d/%m/%Y"), ("category", ""), ("text", "")),
]


@settings(deadline=None, max_examples=120)
@given(
    rows=st.lists(st.lists(st.sampled_from(TEXTS) | st.just(""), min_size=3, max_size=3), max_size=12),
    types=st.lists(st.sampled_from(TYPES), min_size=2, max_size=2),
    target=st.sampled_from(
        [("number", ""), ("number", "decimal-comma"), ("number", "$"), ("category", ""), ("classes", "")]
    ),
)
def test_what_is_converted_is_what_the_records_convert_to(
    rows: list[list[str]], types: list[tuple[str, str]], target: tuple[str, str]
) -> None:
    data = "".join(";".join(row) + "\n" for row in rows).encode()
    classes = {"category": ("a", "bc", "yes"), "classes": ("0", "1", "1.5")}.get(target[0], ())
    last = ("number", "") if target[0] == "classes" else target
    schema = schema_of({"a": types[0], "b": types[1], "c": last}, classes)
    layout = layout_of(Dialect(delimiter=";"), 3)
    chunk = chunk_of(data)
    expected = convert_chunk(read_records(data, layout.dialect, chunk, 3), schema, layout)
    found = convert_bytes(data, schema, layout, chunk)
    assert (found.rejects, found.cleared, found.cells_cleared) == (
        expected.rejects,
        expected.cleared,
        expected.cells_cleared,
    )
    assert (found.rows_read, found.rows_unlabelled) == (expected.rows_read, expected.rows_unlabelled)
    assert block_of(found, schema) == block_of(expected, schema)


def block_of(converted: Converted, schema: Schema) -> list[Any]:
    table = converted.table
    block = write_block(schema, table.columns, table.target, table.record)
    read = read_blocks([block], schema)
    columns = [(name, [repr(value) for value in values.tolist()]) for name, values in read.columns.items()]
    return [*columns, read.target.tolist(), read.target.dtype, read.record.tolist()]


NUMBERS = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.from_regex(r"[ ]?[+-]?[0-9]{0,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?[ ]?", fullmatch=True)
)


@settings(deadline=None, max_examples=100)
@given(st.lists(NUMBERS, min_size=1, max_size=20))
@example(["9007199254740993.5", "0.30000000000000004", "123456789012345678e-19", "1e22", "1e23", "5e-324"])
@example(["9007199254740992.5", "9007199254740993", "179769313486231580793e289", "-0.0", "1.", ".5"])
def test_numbers_are_those_of_float(texts: list[str]) -> None:
    data = "".join(f"{text};\n" for text in texts).encode()
    cells = read_cells(data, Dialect(delimiter=";"), chunk_of(data), 2, [Wanted(0, "number")])
    assert cells is not None
    values = cells.columns[0]
    odd = set(values.rows.tolist())
    for row, text in enumerate(texts):
        if not text.strip():
            assert np.isnan(values.values[row])
            continue
        try:
            expected = read_number(text)
        except ValueError:
            assert row in odd
        else:
            assert (row in odd) == np.isinf(expected)
            assert row in odd or same_bits(values.values[row], expected)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
        | st.datetimes(datetime(900, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
        min_size=1,
        max_size=10,
    ),
    st.sampled_from(["iso8601", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%d %b %Y"]),
)
def test_times_are_those_of_datetime(moments: list[Any], format: str) -> None:
    texts = [moment.isoformat() if format == "iso8601" else moment.strftime(format) for moment in moments]
    data = "".join(f"{text};\n" for text in texts).encode()
    cells = read_cells(data, Dialect(delimiter=";"), chunk_of(data), 2, [Wanted(0, "time", format=format)])
    assert cells is not None
    values = cells.columns[0]
    odd = set(values.rows.tolist())
    # strftime writes years before 1000 with fewer digits, which the kernel leaves to the rules.
    assert odd == (
        {*range(len(texts))}
        if "%b" in format
        else {r for r, m in enumerate(moments) if m.year < 1000 and format != "iso8601"}
    )
    for row, text in enumerate(texts):
        if row not in odd:
            assert same_bits(values.values[row], read_time(text, format))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_value_has_the_same_hash_in_both(text: str) -> None:
    data = text.encode()
    assert kernel.library().csv_hash(data, len(data)) >> 16 == value_hash(text)


@pytest.mark.parametrize(
    "dialect",
    [
        Dialect(skip_space=True),
        Dialect(trailing=1),
        Dialect(blank_lines=True),
        Dialect(comment="#"),
        Dialect(footer=110),
    ],
    ids=["blanks", "trailing", "blank-lines", "comment", "footer"],
)
def test_what_the_kernel_does_not_know_of_is_left_to_the_reader(dialect: Dialect) -> None:
    data = b"a,b\n#c,d\ne,f\n"
    assert read_cells(data, dialect, chunk_of(data), 2, [Wanted(0, "text")]) is None


@pytest.mark.parametrize("read", [read_cells, lambda *arguments: list(read_records(*arguments[:4]))])
def test_a_chunk_whose_bytes_are_not_all_there_is_not_read(read: Any) -> None:
    data = b"1,2\n3,4\n"
    with pytest.raises(ValueError, match="chunk 3 has 8 bytes, got 4"):
        read(data[:4], Dialect(), chunk_of(data), 2, [Wanted(0, "text"), Wanted(1, "text")])
