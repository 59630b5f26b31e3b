from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts import Dialect
from millrace.csvfile import Boundaries, read_records
from millrace.csvfile import find_chunks as find_chunks_in
from millrace.csvfile import records as records_module
from millrace.csvfile.records import physical_lines, split_records
from millrace.errors import BadInput, TooLarge
from tests.tables import CsvTable

FIELD = st.text(alphabet=st.sampled_from(list('ab,";\n\r\té€𝄞 \u2028\x0b\x85')), max_size=6)
RAW = st.lists(
    st.sampled_from(
        [b"a", b"b,", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\xc3\xa9", b"\xffa", b"x,y\n", b" "]
    ),
    max_size=60,
).map(b"".join)


def find_chunks(data: bytes, dialect: Dialect, target_bytes: int) -> Boundaries:
    return find_chunks_in(lambda start, end: data[start:end], len(data), dialect, target_bytes)


@given(
    st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=30),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(max_examples=150, deadline=None)
def test_what_csv_writes_is_read_back_however_it_is_cut(
    rows: list[tuple[str, str, str]], line_end: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(["first", "second", "third"])
    writer.writerows(rows)
    data = out.getvalue().encode()
    dialect = Dialect()
    whole = find_chunks(data, dialect, len(data) + 1)
    assert len(whole.chunks) == 1
    for pieces in (1, 2, 7, 64):
        found = find_chunks(data, dialect, max(1, len(data) // pieces))
        records = [
            record
            for chunk in found.chunks
            for record in read_records(data[chunk.start : chunk.end], dialect, chunk, 3)
        ]
        assert [tuple(record.cells) for record in records] == rows  # type: ignore[union-attr]
        assert [record.number for record in records] == list(range(len(rows)))
        assert found.records == len(rows)


@given(RAW)
@settings(max_examples=200, deadline=None)
def test_damaged_files_read_the_same_however_they_are_cut(body: bytes) -> None:
    # As many valid characters as there can be damaged ones: UTF-8 without doubt.
    header = ("é" * 60 + ",two\n").encode()
    data = header + body + b"x,y\n"
    dialect = Dialect()

    def read(target_bytes: int) -> list[object]:
        found = find_chunks(data, dialect, target_bytes)
        assert found.chunks[0].start == len(header)
        assert found.chunks[-1].end == len(data)
        assert all(a.end == b.start for a, b in zip(found.chunks, found.chunks[1:], strict=False))
        return [
            record
            for chunk in found.chunks
            for record in read_records(data[chunk.start : chunk.end], dialect, chunk, 2)
        ]

    whole = read(len(data) + 1)
    for target_bytes in (1, 2, 3, 7, 20):
        assert read(target_bytes) == whole


@given(RAW)
@settings(max_examples=200, deadline=None)
def test_records_are_the_whole_input_and_lines_are_counted(body: bytes) -> None:
    found = list(split_records(physical_lines([body]), Dialect()))
    assert b"".join(record.raw for record in found) == body
    offset, line = 0, 1
    for record in found:
        assert (record.offset, record.line) == (offset, line)
        offset += len(record.raw)
        line += len(record.raw.splitlines())
        assert (record.end, record.next_line) == (offset, line)


def test_lines_and_offsets_are_those_of_the_file() -> None:
    data = b'a,b\n1,"x\ny"\n\n2,z\n3\n4,5,6\n'
    table = CsvTable.of(data, target_bytes=1)
    assert [(r.number, r.line, r.offset) for r in table.records] == [
        (0, 2, 4),
        (1, 5, 13),
        (2, 6, 17),
        (3, 7, 19),
    ]
    assert [chunk.first_line for chunk in table.layout.chunks] == [2, 4, 6, 7]
    assert [(r.reason, r.raw) for r in table.rejects] == [
        ("too few fields: 1 instead of 2", "3\n"),
        ("too many fields: 3 instead of 2", "4,5,6\n"),
    ]


def test_a_quote_never_closed_costs_its_own_line_only() -> None:
    data = b'a,b\n1,x\n2,"y\n3,z\n4,w\n'
    table = CsvTable.of(data)
    assert table.cells == [["1", "x"], ["3", "z"], ["4", "w"]]
    (reject,) = table.rejects
    assert (reject.line, reject.raw) == (3, '2,"y\n')
    assert any("Line 3" in note for note in table.layout.notes)


def test_a_quote_closed_only_beyond_the_limit_costs_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_RECORD_BYTES", 40)
    data = b'a,b\n1,"x\n' + b"2,y\n" * 20 + b'3,"z"\n'
    for target_bytes in (1, 10, 1000):
        table = CsvTable.of(data, target_bytes=target_bytes)
        assert len(table.cells) == 21
        assert [reject.line for reject in table.rejects] == [2]


def test_a_file_of_open_quotes_is_refused_before_it_takes_for_ever() -> None:
    data = b"a,b\n" + b'a","b\n' * 5000
    with pytest.raises(BadInput) as caught:
        find_chunks(data, Dialect(), 1 << 20)
    assert caught.value.code == "quotes-open"


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(TooLarge) as caught:
        find_chunks(b"a,b\n" + b"x" * 9900, Dialect(), 1 << 20)
    assert (caught.value.code, caught.value.where) == ("record-too-long", "line 2")


def test_a_field_longer_than_the_csv_module_s_own_limit_is_read() -> None:
    table = CsvTable.of(b"a,b\n" + b"x" * 200_000 + b",1\n")
    assert len(table.cells[0][0]) == 200_000


def test_a_chunk_of_another_length_is_a_fault_of_the_caller() -> None:
    table = CsvTable.of(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match="has 4 bytes, got 3"):
        list(read_records(b"1,2", table.layout.dialect, table.layout.chunks[0], 2))
