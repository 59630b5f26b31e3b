from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.csvfile import sniff
from millrace.csvfile.header import unique_names
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


@pytest.mark.parametrize("quote", [b"", b'"'], ids=["plain", "quoted"])
def test_a_field_longer_than_the_head_is_read(quote: bytes) -> None:
    field = b"word " * 500_000
    table = CsvTable.of(b"text,size\n" + quote + field + quote + b",1\n" + b"short,2\n" * 20)
    assert (table.layout.names, len(table.cells)) == (("text", "size"), 21)
    assert table.cells[0] == [field.decode(), "1"]


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


HEADER = ("DATE", "QTY", "PRODUCT", "COMMENT")
ROWS = [
    [f"2018-01-{day:02}", str(3 * day % 17), f"item {day % 4}", "fine, thanks" if day % 3 else ""]
    for day in range(1, 25)
]


def written(
    delimiter: str = ",", quote: str = '"', escape: str | None = None, end: str = "\r\n", header: bool = True
) -> str:
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=delimiter,
        quotechar=quote or None,
        escapechar=escape,
        doublequote=escape is None,
        lineterminator=end,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    writer.writerows([HEADER, *ROWS] if header else ROWS)
    return out.getvalue()


CLEAN = written()
LINES = CLEAN.splitlines(keepends=True)


@pytest.mark.parametrize(
    "text",
    {
        "clean": CLEAN,
        "semicolon": written(";"),
        "tab": written("\t"),
        "pipe": written("|"),
        "blank": written(" "),
        "colon": written(":"),
        "tilde": written("~"),
        "hive": written("\x01"),
        "comma-and-blank": "\r\n".join(
            ", ".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in [HEADER, *ROWS]
        ),
        "single-quotes": written(quote="'"),
        "escaped-delimiters": written(quote="", escape="\\"),
        "lf": written(end="\n"),
        "cr": written(end="\r"),
        "no-final-line-end": CLEAN.rstrip(),
        "two-final-line-ends": CLEAN + "\r\n\r\n",
        "blank-lines": CLEAN.replace("\r\n", "\r\n\r\n"),
        "mixed-line-ends": "".join(
            line.rstrip() + ("\n", "\r", "\r\n")[n % 3] for n, line in enumerate(LINES)
        ),
        "preamble": "Sales of the year\r\nmade on 2018-02-01, at noon\r\n\r\n" + CLEAN,
        "preamble-filled-up": "Sales of the year,,,\r\n,,,\r\n" + CLEAN,
        "comments": "# sales\r\n#\r\n" + CLEAN,
        "comments-as-wide": "# sales, of, the, year\r\n" + CLEAN,
        "separator-line": "sep=;\r\n" + written(";"),
        "byte-order-mark": "\ufeff" + CLEAN,
        "trailing-delimiters": CLEAN.replace("\r\n", ",\r\n"),
        "trailing-delimiters-below-the-header": LINES[0] + "".join(LINES[1:]).replace("\r\n", ",\r\n"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_table_is_found_however_it_is_written(text: tuple[str, str]) -> None:
    table = CsvTable.of(text[1].encode(), target_bytes=200)
    assert table.layout.names == HEADER
    assert table.cells == ROWS
    assert table.rejects == []
    first = table.records[0]
    assert first.raw.lstrip(b"'").startswith(b"2018-01-01")
    assert text[1].encode()[first.offset :].startswith(first.raw)
    assert first.line == 1 + len(text[1].encode()[: first.offset].splitlines())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2018-01-30,4,item", "too few fields: 3 instead of 4"),
        ("2018-01-30,4,item,a,b", "too many fields: 5 instead of 4"),
        ("2018-01-30;4;item;a", "too few fields: 1 instead of 4"),
        ('2018-01-30,4,item,"a', 'a " is opened and never closed'),
        ("Total of all: 200", "too few fields: 1 instead of 4"),
    ],
    ids=["short", "long", "delimiter", "quote", "footer"],
)
def test_a_record_that_is_unlike_the_others_is_rejected_alone(line: str, reason: str) -> None:
    table = CsvTable.of((CLEAN + line + "\r\n").encode())
    assert table.cells == ROWS
    (reject,) = table.rejects
    assert (reject.line, reject.reason, reject.raw) == (26, reason, line + "\r\n")


def test_the_lines_above_a_table_are_told_of() -> None:
    table = CsvTable.of(("Sales\r\nof the year\r\n" + CLEAN).encode())
    assert table.layout.notes == (
        "The table begins in line 3: what stands above is left out ('Sales', 'of the year').",
    )
    assert table.records[0].line == 4


def test_a_table_without_a_header_keeps_every_record() -> None:
    table = CsvTable.of(b"".join(b"2018-01-%02d,%d,x\n" % (day, day) for day in range(1, 20)))
    assert (len(table.cells), table.layout.names) == (19, ("column_1", "column_2", "column_3"))


def test_names_in_two_lines_are_put_together() -> None:
    table = CsvTable.of(
        b"name,weight,size\n,kg,cm\n" + b"".join(b"n%d,%d,%d\n" % (i, i, i) for i in range(9))
    )
    assert table.layout.names == ("name", "weight kg", "size cm")
    assert (len(table.cells), table.records[0].line) == (9, 3)


def test_a_header_that_does_not_name_the_rows_names_the_others() -> None:
    table = CsvTable.of(b"mpg,cyl\n" + b"".join(b"car %d,%d,%d\n" % (i, 20 + i, i % 8) for i in range(9)))
    assert table.layout.names == ("column_1", "mpg", "cyl")
    assert len(table.cells) == 9


def test_a_line_of_totals_as_wide_as_the_table_is_rejected_not_learned_from() -> None:
    table = CsvTable.of((CLEAN + "Total,194,,\r\n").encode())
    assert table.cells == ROWS
    assert [reject.line for reject in table.rejects] == [26]
    assert "From line 26 on" in table.layout.notes[0]
    # A category called so is none.
    assert not CsvTable.of(b"size,kind\n1,Total\n2,part\n3,Total\n4,part\n5,Total\n").rejects


def test_comments_among_the_records_are_rejected_as_such() -> None:
    data = "".join([*LINES[:5], "# checked so far\r\n", "#2018-01-05,1,x,y\r\n", *LINES[5:]])
    table = CsvTable.of(data.encode())
    assert table.cells == ROWS
    assert [reject.reason for reject in table.rejects] == ["a comment: it begins with #"] * 2


def test_quotes_escaped_by_a_backslash_are_part_of_the_value() -> None:
    data = b"".join(b'%d,"a \\"good\\" one, no %d"\n' % (i, i) for i in range(20))
    table = CsvTable.of(b"number,text\n" + data)
    assert table.layout.dialect.escape == "\\"
    assert table.cells[3] == ["3", 'a "good" one, no 3']


def test_a_folder_of_windows_is_no_escape() -> None:
    table = CsvTable.of(b'path,size\n"C:\\data\\",1\n"D:\\",2\n')
    assert table.cells == [["C:\\data\\", "1"], ["D:\\", "2"]]


def test_quotes_that_mean_inches_are_text() -> None:
    table = CsvTable.of(b"part,size\n" + b'"5 inch pipe,1\n"6 inch pipe,2\n' * 20)
    assert table.cells[:2] == [['"5 inch pipe', "1"], ['"6 inch pipe', "2"]]
    assert len(table.cells) == 40


def test_a_blank_line_of_a_single_column_is_its_missing_value() -> None:
    assert CsvTable.of(b"size\n1\n\n3\n").cells == [["1"], [""], ["3"]]
    assert CsvTable.of(b"size,name\n1,a\n\n3,b\n").cells == [["1", "a"], ["3", "b"]]


def test_numbers_with_commas_do_not_make_a_table() -> None:
    assert CsvTable.of(b"price\n12,5\n145,00\n5\n").cells == [["12,5"], ["145,00"], ["5"]]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.sampled_from(
            [
                *",;\t| :~\x01\"'\\#\n\r",
                "\r\n",
                "a",
                "1",
                "1.5",
                "12,5",
                "$3",
                "Total",
                "é",
                "\n\n",
                ",,",
                "sep=;",
            ]
        ),
        max_size=60,
    )
)
def test_whatever_comes_is_read_or_refused_and_no_record_lost(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    try:
        table = CsvTable.of(data, target_bytes=16)
    except BadInput as error:
        assert error.remedy
        return
    assert [record.number for record in table.records] == list(range(len(table.records)))
    assert all(len(cells) == len(table.layout.names) for cells in table.cells)
    shortest = min(record.offset for record in table.records)
    assert table.layout.dialect.skip_bytes <= shortest
    at = shortest
    for record in table.records:
        raw = record.raw if isinstance(record.raw, bytes) else record.raw.encode("utf-8", "surrogateescape")
        assert data[at : record.offset].strip(b"\r\n") == b""
        assert data[record.offset :].startswith(raw)
        at = record.offset + len(raw)
    assert data[at:].strip(b"\r\n") == b""
