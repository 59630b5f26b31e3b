from __future__ import annotations

import pytest

from millrace.csvfile import sniff
from millrace.csvfile.dialect import unique_names
from millrace.errors import BadInput, MillraceError, TooLarge
from tests.tables import CsvTable


def rows(delimiter: str, count: int = 20) -> bytes:
    lines = [delimiter.join(("name", "size", "label"))]
    lines += [delimiter.join((f"item {i}", str(i), "yes" if i % 2 else "no")) for i in range(count)]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "pipe"])
def test_the_delimiter_is_the_one_that_makes_records_equal(delimiter: str) -> None:
    sniffed = sniff(rows(delimiter), complete=True)
    assert (sniffed.dialect.delimiter, sniffed.names) == (delimiter, ("name", "size", "label"))
    assert sniffed.notes == ()


def test_decimal_commas_do_not_make_the_comma_the_delimiter() -> None:
    data = b"x;y;z\n" + b"".join(b"%d,5;%d,25;a\n" % (i, i) for i in range(30))
    assert sniff(data, complete=True).dialect.delimiter == ";"


def test_delimiters_inside_quotes_do_not_count() -> None:
    data = b"a;b\n" + b'"one, two, three";"x,y"\n' * 10
    assert sniff(data, complete=True).dialect.delimiter == ";"


def test_one_column_is_read_as_one_column() -> None:
    table = CsvTable.of(b"only\nred\ngreen\n")
    assert (table.layout.names, table.cells) == (("only",), [["red"], ["green"]])


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    table = CsvTable.of(b"\xef\xbb\xbf" + rows(","))
    assert table.layout.names[0] == "name"
    assert table.records[0].offset == 3 + len("name,size,label\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_rewritten(encoding: str) -> None:
    text = "name,size\ncafé,1\n" + "plain,2\n" * 40
    table = CsvTable.of(text.encode(encoding))
    assert (table.layout.names, table.cells[0], len(table.cells)) == (("name", "size"), ["café", "1"], 41)


def test_windows_1252_is_read_and_said() -> None:
    table = CsvTable.of("name,size\nplain,0\ncafé,1\nprice €,2\n".encode("cp1252"))
    assert [cells[0] for cells in table.cells] == ["plain", "café", "price €"]
    assert "Windows-1252" in table.layout.notes[0]
    assert "line 3" in table.layout.notes[0]


def test_windows_1252_behind_a_head_of_ascii_is_decided_on_the_whole_file() -> None:
    data = b"name,size\n" + b"plain,0\n" * 200_000 + "café,1\n".encode("cp1252")
    assert sniff(data[: 1 << 20], complete=False).dialect.encoding == "utf-8"
    table = CsvTable.of(data)
    assert table.layout.dialect.encoding == "cp1252"
    assert table.cells[-1] == ["café", "1"]


def test_a_damaged_character_in_utf8_rejects_its_record_and_no_other() -> None:
    data = "name,size\ncafé,1\nthé,2\nol".encode() + b"\xff" + "é,3\nété,4\n".encode()
    table = CsvTable.of(data)
    assert [cells[0] for cells in table.cells] == ["café", "thé", "été"]
    (reject,) = table.rejects
    assert (reject.line, reject.number) == (4, 2)
    assert "not valid in utf-8" in reject.reason
    assert reject.raw.encode("utf-8", "surrogateescape") == b"ol\xff\xc3\xa9,3\n"
    assert "line 4" in table.layout.notes[0]


@pytest.mark.parametrize("encoding", ["gb18030", "shift_jis", "koi8-r", "big5"])
def test_other_scripts_in_legacy_encodings_are_refused_not_misread(encoding: str) -> None:
    text = {
        "gb18030": "北京城市",
        "shift_jis": "東京都市カタカナ",
        "koi8-r": "Москва город",
        "big5": "臺北城市",
    }[encoding]
    data = ("name,size\n" + f"{text},1\n" * 20).encode(encoding)
    with pytest.raises(BadInput) as caught:
        sniff(data, complete=True)
    assert caught.value.code == "encoding-unknown"
    assert "UTF-8" in caught.value.remedy


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "file-empty"),
        (b"\n\r\n\n", "file-empty"),
        (b"\xef\xbb\xbf", "file-empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "file-binary"),
        (b"PK\x03\x04" + bytes(100), "file-binary"),
        (bytes(range(256)) * 40, "file-binary"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "file-markup"),
        (b'{"rows": [1, 2]}', "file-json"),
        (b'[{"a": 1}, {"a": 2}]', "file-json"),
        (b'"a,b\n1,2\n3,4\n', "quotes-open"),
    ],
    ids=["empty", "newlines", "bom", "png", "zip", "bytes", "html", "json", "json-list", "open-header"],
)
def test_what_is_no_csv_is_refused_with_a_remedy(data: bytes, code: str) -> None:
    with pytest.raises(MillraceError) as caught:
        sniff(data, complete=True)
    assert (caught.value.code, type(caught.value)) == (code, BadInput)
    assert caught.value.remedy


def test_a_header_longer_than_the_head_is_refused() -> None:
    with pytest.raises(TooLarge) as caught:
        sniff(b"x" * (1 << 20), complete=False)
    assert caught.value.code == "header-too-long"


def test_a_header_without_rows_is_refused_when_the_file_is_cut() -> None:
    with pytest.raises(BadInput) as caught:
        CsvTable.of(b"a,b,c\n\n")
    assert caught.value.code == "no-rows"


def test_a_few_nul_bytes_are_data() -> None:
    table = CsvTable.of(b"a,b\nx\x00y,1\n" + b"z,2\n" * 20)
    assert table.cells[0] == ["x\x00y", "1"]


def test_measurements_without_a_header_get_numbered_names() -> None:
    table = CsvTable.of(b"".join(b"%.1f,%d,red\n" % (i * 1.5, i) for i in range(20)))
    assert table.layout.names == ("column_1", "column_2", "column_3")
    assert len(table.cells) == 20
    assert "Add a header" in table.layout.notes[0]


@pytest.mark.parametrize(
    "header",
    [b"year,2019,2020\n", b"name,size,t\n", b",a,b\n"],
    ids=["years", "names", "unnamed-index"],
)
def test_a_header_is_known_as_one(header: bytes) -> None:
    data = header + b"".join(b"%d,%d,%d\n" % (i, i % 7, i % 5) for i in range(20))
    assert sniff(data, complete=True).dialect.header


@pytest.mark.parametrize(
    ("header", "expected", "known"),
    [
        (b"0,1,2,label\n", [], True),
        (b"5,6,7,label\n", [], True),
        (b"0,1,3,label\n", [], False),
        (b"0,1,3,label\n", ["label"], True),
        (b"0,1,3,label\n", ["0", "3", "x"], True),
        (b"0,1,3,label\n", ["0", "x", "y"], False),
    ],
)
def test_a_header_of_numbers_is_known_by_its_count_or_its_names(
    header: bytes, expected: list[str], known: bool
) -> None:
    data = header + b"".join(b"%d,%d,%d,red\n" % (i % 9, i % 8, i % 11) for i in range(40))
    found = sniff(data, complete=True, expected=expected)
    assert found.dialect.header is known
    assert (found.names[3] == "label") is known


def test_duplicate_and_empty_names_are_numbered_and_said() -> None:
    names, notes = unique_names(["a", "", "a", "a_2", "a", " ", "column_2"])
    assert names == ("a", "column_2_", "a_3", "a_2", "a_4", "column_6", "column_2")
    assert len(set(names)) == len(names)
    assert len(notes) == 4
