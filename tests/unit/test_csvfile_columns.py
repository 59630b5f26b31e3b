"""Columns hold what records hold: the quick reader and the careful one must not differ in anything."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.contracts import Chunk, Dialect
from millrace.csvfile import Record, read_columns, read_records

PIECES = [
    ",",
    ";",
    "\n",
    "\r\n",
    "\r",
    '"',
    '""',
    "a",
    "bc",
    " ",
    "1.5",
    "ä",
    "\ufeff",
    "\0",
    "é,",
    '"x, y"',
    '"\n"',
]


def read(data: bytes, dialect: Dialect, width: int) -> tuple[list[list[str]], list[tuple[int, str]]]:
    chunk = Chunk(0, 0, len(data), 1, 0)
    records = list(read_records(data, dialect, chunk, width))
    rows = [list(item.cells) for item in records if isinstance(item, Record)]
    return rows, [(item.line, item.reason) for item in records if not isinstance(item, Record)]


def columns(data: bytes, dialect: Dialect, width: int) -> tuple[list[list[str]], list[tuple[int, str]]]:
    found = read_columns(data, dialect, Chunk(0, 0, len(data), 1, 0), width)
    rows = [list(row) for row in zip(*(column.to_pylist() for column in found.columns), strict=True)]
    return rows, [(reject.line, reject.reason) for reject in found.rejects]


@settings(deadline=None)
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=40),
    delimiter=st.sampled_from([",", ";"]),
    encoding=st.sampled_from(["utf-8", "cp1252"]),
    width=st.integers(1, 3),
)
@example(pieces=["a", "\r", "\n", "b"], delimiter=",", encoding="utf-8", width=1)
@example(pieces=['"\n"', "\n", "\n", '""', "\n"], delimiter=",", encoding="utf-8", width=1)
def test_columns_hold_what_records_hold(pieces: list[str], delimiter: str, encoding: str, width: int) -> None:
    data = "".join(pieces).encode(encoding, "replace")
    dialect = Dialect(encoding=encoding, delimiter=delimiter)
    assert columns(data, dialect, width) == read(data, dialect, width)


@settings(deadline=None)
@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('a1 ,"\r\nä'), max_size=5), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_quoted_by_the_rules_is_read_back(rows: list[list[str]], end: str) -> None:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') or not text else text

    data = "".join(",".join(map(cell, row)) + end for row in rows).encode()
    assert columns(data, Dialect(), 2) == (rows, [])


def test_records_are_found_again_by_their_rows() -> None:
    data = b'a,1\n\n"b\nc",2\nonly\nd,3\n'
    found = read_columns(data, Dialect(), Chunk(0, 0, len(data), 10, 0), 2)
    assert [reject.line for reject in found.rejects] == [14]
    again = list(found.records({1, 2}))
    assert [(record.line, record.offset, record.raw) for record in again] == [
        (12, 5, b'"b\nc",2\n'),
        (15, 18, b"d,3\n"),
    ]
