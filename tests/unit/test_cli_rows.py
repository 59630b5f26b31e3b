"""Rows of a file on this computer: read as training reads them, none left out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from millrace.cli.rows import read_rows
from millrace.errors import BadInput


def cells(file: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    names, rows = read_rows(file)
    return names, [cells for _, cells in rows]


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,x\n2,\xc3\xa9\n",
        b"\xef\xbb\xbfa,b\r\n1,x\r\n2,\xc3\xa9\r\n",
        b"a;b\n1;x\n2;\xc3\xa9\n",
        b"a,b\n1,x\n\n2,\xe9\n",
        gzip.compress(b"a\tb\n1\tx\n2\t\xc3\xa9\n"),
        "\ufeffa,b\n1,x\n2,é\n".encode("utf-16-le"),
    ],
    ids=["plain", "bom-crlf", "semicolon", "latin-1-blank-line", "gzip-tab", "utf-16"],
)
def test_reads_what_training_reads(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(data)
    assert cells(file) == (("a", "b"), [["1", "x"], ["2", "é"]])


def test_knows_the_line_of_a_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b'a,b\n1,"two\nlines"\n2,y\n')
    _, rows = read_rows(file)
    assert [line for line, _ in rows] == [2, 4]


@pytest.mark.parametrize(
    ("data", "where"),
    [(b"a,b\n1,2\n3\n", "line 3"), (b'a,b\n1,2\n3,"4\n5,6\n', "line 3")],
    ids=["ragged", "open-quote"],
)
def test_a_record_that_does_not_fit_ends_it(tmp_path: Path, data: bytes, where: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(data)
    _, rows = read_rows(file)
    with pytest.raises(BadInput) as caught:
        list(rows)
    assert where in caught.value.where


def test_an_encoding_that_shows_late_is_used_from_the_start(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    lines = [b"name,n"] + [b"plain,%d" % n for n in range(200_000)] + [b"caf\xe9,1"]
    file.write_bytes(b"\n".join(lines) + b"\n")
    _, rows = read_rows(file)
    *_, last = rows
    assert last == (200_002, ["café", "1"])
