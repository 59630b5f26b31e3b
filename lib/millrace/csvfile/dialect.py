"""How the bytes of a file become records, decided from its first megabyte."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from millrace.contracts import Dialect
from millrace.csvfile.encoding import Evidence, byte_order_mark, wide_encoding
from millrace.csvfile.records import RawRecord, physical_lines, split_records
from millrace.errors import BadInput, TooLarge
from millrace.values import is_missing, read_number, read_time

__all__ = ["HEAD_BYTES", "Sniffed", "decode_cell", "sniff", "unique_names"]

HEAD_BYTES = 1 << 20
"""How much of the file :func:`sniff` should be given."""

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 1000
_COUNTED = 3
"""Columns of numbers that a first record must count one by one to be a header: fewer may do so by chance."""
_FORMATS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"ARROW1", "an Arrow file"),
    (b"\x7fELF", "a program"),
)
_HTML = re.compile(rb"\s*(<!doctype|<html|<\?xml)", re.IGNORECASE)
_JSON = re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{]|\[\s*"[^"]*"\s*,\s*\{)')
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MAX_CONTROL_SHARE = 0.05
_MAX_CONTROL = 8
"""Control characters are no part of text; a few may stand in damaged fields, more mean a binary file."""


@dataclass(frozen=True)
class Sniffed:
    """What the beginning of a file says.

    Attributes
    ----------
    dialect : Dialect
        How to read it.
    names : tuple of str
        Column names, unique and not empty.
    notes : tuple of str
        What was decided about the names that people may want to know, as sentences. What there is to
        say about the encoding, the whole file says: see ``find_chunks``.
    """

    dialect: Dialect
    names: tuple[str, ...]
    notes: tuple[str, ...]


def sniff(head: bytes, *, complete: bool, expected: Collection[str] = ()) -> Sniffed:
    """Decide encoding, delimiter, header and column names.

    Parameters
    ----------
    head : bytes
        The first ``HEAD_BYTES`` of the file, inflated and not UTF-16: see ``rewrite``.
    complete : bool
        Whether that is the whole file.
    expected : collection of str
        Names that a header is expected to bear: a first record with most of them is one.

    Raises
    ------
    BadInput
        The file is empty, or it is not a text file with records.
    TooLarge
        The first record is longer than the head.
    """
    _refuse_other_formats(head)
    _, skip_bytes = byte_order_mark(head)
    evidence = Evidence()
    evidence.add(head, final=complete)
    encoding, _ = evidence.decide()
    notes: list[str] = []
    base = Dialect(encoding=encoding, skip_bytes=skip_bytes)
    samples = {d: _sample(head, replace(base, delimiter=d), complete) for d in _DELIMITERS}
    if not any(samples.values()):
        if complete:
            raise BadInput(
                "The file is empty: it has no record",
                code="file-empty",
                remedy="Upload a CSV file with a header and rows.",
            )
        raise TooLarge(
            f"The first record is longer than {HEAD_BYTES >> 20} MiB",
            code="header-too-long",
            where="line 1",
            remedy="Check that the file is a CSV file whose first line names the columns.",
        )
    delimiter = max(_DELIMITERS, key=lambda d: _agreement(samples[d]))
    sample = samples[delimiter]
    first = [decode_cell(cell, encoding, errors="replace") for cell in sample[0]]
    borne = len(set(expected).intersection(first)) > len(set(expected)) / 2
    dialect = replace(base, delimiter=delimiter, header=borne or _has_header(sample))
    if dialect.header:
        names, renamed = unique_names(first)
        notes += renamed
    else:
        names = tuple(f"column_{i}" for i in range(1, len(sample[0]) + 1))
        notes.append(
            f"The first line looks like data, so the columns are called column_1 to column_{len(names)}. "
            "Add a header to name them."
        )
    return Sniffed(dialect, names, tuple(notes))


def unique_names(cells: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the header's names made unique and not empty, and a note on each that changed.

    An empty name becomes ``column_<position>``; the second ``a`` becomes ``a_2``, or the next number that
    no other column bears.
    """
    taken = {cell for cell in cells if not is_missing(cell)}
    seen: set[str] = set()
    names: list[str] = []
    notes: list[str] = []
    for position, cell in enumerate(cells, start=1):
        name = cell
        if is_missing(cell):
            name = _free(f"column_{position}", taken)
            notes.append(f"Column {position} has no name in the header: it is called {name!r}.")
        elif cell in seen:
            count = 2
            while f"{cell}_{count}" in taken:
                count += 1
            name = f"{cell}_{count}"
            notes.append(f"Column {position} bears the name {cell!r} again: it is called {name!r}.")
        seen.add(name)
        taken.add(name)
        names.append(name)
    return tuple(names), notes


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def decode_cell(cell: str, encoding: str, errors: str = "strict") -> str:
    """Return the text of a cell that was parsed as Latin-1.

    Raises
    ------
    UnicodeDecodeError
        The cell's bytes are not valid in the encoding.
    """
    return cell if cell.isascii() else cell.encode("latin-1").decode(encoding, errors)


def _refuse_other_formats(head: bytes) -> None:
    remedy = "Save the table as CSV in UTF-8 and upload that."
    for magic, name in _FORMATS:
        if head.startswith(magic):
            raise BadInput(f"The file is not CSV but {name}", code="file-binary", remedy=remedy)
    if wide_encoding(head):
        raise ValueError("UTF-16 and UTF-32 go through rewrite() first")
    if len(_CONTROL.findall(head)) > max(_MAX_CONTROL, _MAX_CONTROL_SHARE * len(head)):
        raise BadInput("The file is binary, not text", code="file-binary", remedy=remedy)
    if _HTML.match(head):
        raise BadInput("The file is not CSV but HTML or XML", code="file-markup", remedy=remedy)
    if _JSON.match(head):
        raise BadInput("The file is not CSV but JSON", code="file-json", remedy=remedy)


def _sample(head: bytes, dialect: Dialect, complete: bool) -> list[list[str]]:
    """Return the first records, blank lines left out; the last of a cut-off head may be a part: not it."""
    found: list[RawRecord] = []
    try:
        for record in split_records(physical_lines([head], skip_bytes=dialect.skip_bytes), dialect):
            if len(found) > _SAMPLE_RECORDS or (record.cells is None and not complete):
                break
            if record.cells != []:
                found.append(record)
    except BadInput:
        # Quotes that never close under this delimiter or in a head that was cut; the scan of the whole
        # file refuses it if they are really there.
        pass
    if not complete and len(found) <= _SAMPLE_RECORDS:
        found = found[:-1]
    if found and found[0].cells is None:
        raise BadInput(
            "The header opens a quote that is never closed",
            code="quotes-open",
            where=f"line {found[0].line}",
            remedy=f"Double each {dialect.quote} that is part of a name, and put the name in quotes.",
        )
    return [record.cells for record in found if record.cells is not None]


def _agreement(sample: list[list[str]]) -> tuple[float, int]:
    """Return how well a delimiter explains the sample: greater is better."""
    if not sample:
        return 0.0, 0
    width, count = Counter(map(len, sample)).most_common(1)[0]
    if width < 2:
        return 0.0, 1
    return count / len(sample) + (0.5 if len(sample[0]) == width else 0.0), width


def _has_header(sample: list[list[str]]) -> bool:
    """Return whether the first record names the columns.

    It does not when every typed column's first cell is of the column's own type and, for numbers, in or
    near the range of the others: a table of measurements without a header, while a header of years or
    plate positions is far off, and one of 0, 1, 2 only counts the columns. With no typed column there is
    nothing to tell by, and a header is the rule.
    """
    first, *rest = sample
    typed = 0
    offsets: list[float] = []
    for index, name in enumerate(first):
        values = [row[index] for row in rest if len(row) == len(first) and not is_missing(row[index])]
        kind = _kind(values)
        if not kind:
            continue
        typed += 1
        if _kind([name]) != kind:
            return True
        if kind == "number":
            numbers = [read_number(value) for value in values]
            margin = 0.1 * (max(numbers) - min(numbers))
            if not min(numbers) - margin <= read_number(name) <= max(numbers) + margin:
                return True
            offsets.append(read_number(name) - index)
    return not typed or (len(offsets) >= _COUNTED and len(set(offsets)) == 1)


def _kind(values: list[str]) -> str:
    """Return ``number`` or ``time`` when all values are that, else the empty string."""
    if not values:
        return ""
    for kind, read in (
        ("number", read_number),
        ("time", lambda text: read_time(text, "iso8601")),
    ):
        try:
            for value in values:
                read(value)
        except ValueError:
            continue
        return kind
    return ""
