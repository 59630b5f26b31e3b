"""How the bytes of a file become records, decided from its first megabyte.

Every delimiter that people use, with each way of quoting that the bytes give a sign of, is tried on the
first records; the reading counts in which most records are equally wide, from the first on, and whose cells
hold no other delimiter. What stands before the table is skipped, what stands behind it is rejected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile

from millrace.contracts import Dialect
from millrace.csvfile.encoding import Evidence, byte_order_mark
from millrace.csvfile.formats import refuse_other_formats
from millrace.csvfile.header import has_header, is_second_header, kind_of, unique_names
from millrace.csvfile.records import RawRecord, physical_lines, split_records
from millrace.errors import BadInput, TooLarge
from millrace.values import is_missing

__all__ = ["HEAD_BYTES", "Sniffed", "decode_cell", "sniff"]

HEAD_BYTES = 1 << 20
"""How much of the file :func:`sniff` should be given."""

_DELIMITERS = (",", ";", "\t", "|")
_RARE_DELIMITERS = (" ", ":", "~", "^", "\x01", "\x1f")
"""Tried when none of the usual ones makes columns; the last but one is Hive's, the last is ASCII's own."""
_SAMPLE_RECORDS = 1000
_EVIDENCE_BYTES = 1 << 16
_TRIED_BYTES = 1 << 17
_ENOUGH_RECORDS = 100
"""Records from which a dialect is chosen at least, where there are as many: the first of the bytes tried."""
_SCORED_RECORDS = 100
_NEARLY_ALL = 1.4
"""Score of a reading besides which no rare delimiter is worth a try."""
_MIN_RARE_RECORDS = 3
_LACKING_SHARE = 1 / 3
"""What this share of a table's records lacks is no delimiter of it."""
_SEPARATOR_LINE = re.compile(rb'"?sep=(.)"?(?:\r\n|\r|\n)', re.IGNORECASE)
_COMMENT = "#"
_PLAIN = re.compile(r"[-+]?[0-9](?:[0-9., ']*[0-9])?%?")
"""Numbers however they are written: a comma in them is no sign of another delimiter."""
_COMMENT_SHARE = 0.1
_GROUPED = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
_TOTALS = re.compile(
    r"(grand |sub-?)?totals?|sums?|averages?|mean|(gesamt)?summe|insgesamt|somme|suma|totale?", re.IGNORECASE
)
_FEW = 3
"""Records that a table must have at least to be looked for behind other lines, or to be summed up."""
_SHOWN_LINES = 3
_SHOWN_CHARACTERS = 60


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
        What was decided that people may want to know, as sentences. What there is to say about the
        encoding, the whole file says: see ``find_chunks``.
    """

    dialect: Dialect
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    """The first records as one dialect reads them.

    Attributes
    ----------
    dialect : Dialect
        Delimiter, quote and escape are what it is about.
    records : list of RawRecord
        Without blank lines.
    cells : list of list of str
        Theirs; none where a quote is never closed.
    width : int
        Fields of the table's records.
    first, end : int
        Which records are the table: ``records[first:end]``, some of another width among them.
    score : float
        How well the records are explained: greater is better, at most 1.5.
    """

    dialect: Dialect
    records: list[RawRecord]
    cells: list[list[str]]
    width: int
    first: int
    end: int
    score: float

    @property
    def table(self) -> list[list[str]]:
        """The cells of the table's records that are as wide as it."""
        return [cells for cells in self.cells[self.first : self.end] if len(cells) == self.width]


def sniff(head: bytes, *, complete: bool, expected: Collection[str] = ()) -> Sniffed:
    """Decide encoding, delimiter, quoting, where the table begins, header and column names.

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
    refuse_other_formats(head)
    _, skip_bytes = byte_order_mark(head)
    evidence = Evidence()
    evidence.add(head, final=complete)
    encoding, _ = evidence.decide()
    base = Dialect(encoding=encoding, skip_bytes=skip_bytes)
    given = _SEPARATOR_LINE.match(head, skip_bytes)
    if given:
        base = replace(base, delimiter=given[1].decode("latin-1"), skip_bytes=given.end(), skip_lines=1)
    delimiters = (base.delimiter,) if given else _DELIMITERS
    reading = _best(head[:_TRIED_BYTES], base, complete and len(head) <= _TRIED_BYTES, delimiters)
    if len(head) > _TRIED_BYTES:
        if len(reading.records) < _ENOUGH_RECORDS:
            reading = _best(head, base, complete, delimiters)
        else:
            reading = _read_as_it_stands(head, reading.dialect, complete)
    if not reading.records:
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
    opened = next((record for record in reading.records[: reading.first + 1] if record.cells is None), None)
    if opened is not None:
        raise BadInput(
            "The header opens a quote that is never closed",
            code="quotes-open",
            where=f"line {opened.line}",
            remedy=f"Double each {reading.dialect.quote} that is part of a name, and put the name in quotes.",
        )
    return _named(reading, complete, expected)


def decode_cell(cell: str, encoding: str, errors: str = "strict") -> str:
    """Return the text of a cell that was parsed as Latin-1.

    Raises
    ------
    UnicodeDecodeError
        The cell's bytes are not valid in the encoding.
    """
    return cell if cell.isascii() else cell.encode("latin-1").decode(encoding, errors)


def _best(head: bytes, base: Dialect, complete: bool, delimiters: Sequence[str]) -> _Reading:
    """Return the reading that explains the records best; among equals, the first tried or the widest."""
    found = [
        _read(head, dialect, complete)
        for delimiter in delimiters
        for dialect in _quotings(head, replace(base, delimiter=delimiter))
    ]
    best = max(found, key=_rank)
    if len(delimiters) == 1 or best.score > _NEARLY_ALL:
        return best
    # No usual delimiter explains the records: a rare one must do it without fault, with a typed column.
    rare = [
        reading
        for delimiter in _RARE_DELIMITERS
        if delimiter.encode() in head[:_EVIDENCE_BYTES]
        for dialect in _quotings(head, replace(base, delimiter=delimiter))
        if _is_regular(reading := _read(head, dialect, complete))
    ]
    best = max([best, *rare], key=_rank)
    if best.score:
        return best
    # One column, so no character may delimit: the first that the head does not hold.
    absent = next((d for d in (*_DELIMITERS, *_RARE_DELIMITERS[::-1]) if d.encode() not in head), ",")
    return found[0] if absent == "," else _read(head, replace(base, delimiter=absent), complete)


def _rank(reading: _Reading) -> tuple[float, int]:
    return reading.score, reading.width


def _is_regular(reading: _Reading) -> bool:
    table = reading.table
    return (
        reading.score > 0
        and len(table) == len(reading.records) >= _MIN_RARE_RECORDS
        and not any(map(is_missing, table[0]))
        and any(kind_of(column) for column in zip(*table[1:], strict=True))
    )


def _quotings(head: bytes, dialect: Dialect) -> Iterator[Dialect]:
    """Yield the ways of quoting that there is a sign of, double quotes first."""
    sample = head[dialect.skip_bytes : _EVIDENCE_BYTES]
    mark = re.escape(dialect.delimiter.encode("latin-1"))
    edge = rb"(?:^|[\r\n]|" + mark + rb" *)"
    end = rb"(?=" + mark + rb"|[\r\n]|$)"
    double = b'"' in sample
    quoted = len(re.findall(edge + rb'"[^"\r\n]*"' + end, sample)) if double else 0
    opened = len(re.findall(edge + rb'"', sample)) if double else 0
    unclosed = opened > 1 and not re.search(rb'"' + end, sample)
    if unclosed:
        yield replace(dialect, quote="")  # none is ever closed: inches, perhaps
    yield dialect
    if re.search(rb'[^"\\]\\"(?!["\r\n]|' + mark + rb"|$)", sample):
        yield replace(dialect, escape="\\")
    if quoted:
        return
    if b"\\" + dialect.delimiter.encode("latin-1") in sample:
        yield replace(dialect, quote="", escape="\\")
    if b"'" not in sample:
        single = 0
    else:
        single = len(re.findall(edge + rb"'[^'\r\n]*(?:(?:''|\\')[^'\r\n]*)*'" + end, sample))
    if single > 1 and single >= 0.9 * len(re.findall(edge + rb"'", sample)):
        yield replace(dialect, quote="'", escape="\\" if b"\\'" in sample else "")
    if opened > 1 and not unclosed:
        yield replace(dialect, quote="")


def _read(head: bytes, dialect: Dialect, complete: bool) -> _Reading:
    """Read the first records; blanks behind the delimiters are part of them where all cells begin so, or
    quotes that would else be text."""
    reading = _read_as_it_stands(head, dialect, complete)
    inner = [cell for row in reading.table for cell in row[1:]]
    quotes = dialect.quote and any(
        cell.lstrip(" ").startswith(dialect.quote) for cell in inner if cell[0:1] == " "
    )
    if inner and (quotes or (all(not cell or cell.startswith(" ") for cell in inner) and any(inner))):
        spaced = _read_as_it_stands(head, replace(dialect, skip_space=True), complete)
        if spaced.score >= reading.score:
            return spaced
    return reading


def _read_as_it_stands(head: bytes, dialect: Dialect, complete: bool) -> _Reading:
    records = _sample(head, dialect, complete)
    cells = [record.cells or [] for record in records]
    widths = Counter(len(row) for row in cells if len(row) > 1)
    one_column = _Reading(dialect, records, cells, 1, 0, len(cells), 0.0)
    if not widths:
        return one_column
    width = max(widths, key=lambda w: (widths[w], w == len(cells[0]), w))
    wide = [index for index, row in enumerate(cells) if len(row) == width]
    first = next((index for index in wide if _begins(records, cells, index, width)), wide[0])
    end = wide[-1] + 1
    trailing = _trailing(cells[first:end], width)
    if first and _is_header_of(cells[first - 1], cells[first:end], width, trailing):
        first -= 1
    inside = cells[first:end]
    if sum(len(row) < 2 for row in inside) > _LACKING_SHARE * len(inside) or _are_numbers(records, widths):
        return one_column
    agreeing = widths[width]
    fewest = 2 if agreeing == len(cells) - first else _FEW
    if first and (agreeing < fewest or (2 * agreeing < len(cells) and agreeing < len(inside))):
        return one_column  # few lines, scattered among others: they hold the mark by chance
    score = agreeing / len(cells) + (0.5 if first == 0 else 0.0)
    score *= _cleanness(inside, width, dialect)
    return _Reading(replace(dialect, trailing=trailing), records, cells, width, first, end, score)


def _begins(records: Sequence[RawRecord], cells: Sequence[Sequence[str]], index: int, width: int) -> bool:
    """Return whether the table may begin at a record of its width.

    A title or a comment may be as wide by chance, with the header below it; and spreadsheets fill titles up
    with delimiters.
    """
    below = [row for row in cells[index + 1 :] if len(row) == width]
    if not below:
        return True
    if width > 2 and _filled(cells[index]) < 2:
        below = list(dropwhile(lambda row: _filled(row) < 2, below))
    elif not records[index].raw.startswith(_COMMENT.encode()) and len(cells[index + 1]) > 1:
        return True
    return not (below and is_second_header(below))


def _filled(cells: Sequence[str]) -> int:
    return sum(not is_missing(cell) for cell in cells)


def _trailing(cells: Sequence[Sequence[str]], width: int) -> int:
    """Return how many of the last columns have neither name nor value: every line ends with delimiters."""
    rows = [row for row in cells if len(row) == width]
    return next(
        (count for count in range(width - 1) if any(not is_missing(row[width - 1 - count]) for row in rows)),
        width - 1,
    )


def _is_header_of(header: Sequence[str], table: Sequence[Sequence[str]], width: int, trailing: int) -> bool:
    """Return whether the record above a table is its header, though it is not as wide.

    It has no delimiter at the end where the others have one; or no name for their first column, which
    names the rows (R writes so); or names for more columns than there are.
    """
    if len(header) < 2 or _filled(header) < len(header) or any(map(kind_of, zip(header, strict=True))):
        return False
    rows = [row for row in table if len(row) == width]
    if trailing:
        return len(header) == width - trailing
    return len(header) > width or (len(header) == width - 1 > 1 and not is_second_header(rows))


def _are_numbers(records: Sequence[RawRecord], widths: Counter[int]) -> bool:
    """Return whether every line is one number, and its commas are no delimiters since they differ.

    The name above them has no comma then; without a name, they stand before three digits each.
    """
    if len(widths) == 1 and sum(widths.values()) == len(records):
        return False
    first, *lines = [record.raw.decode("latin-1").strip() for record in records]
    if _GROUPED.fullmatch(first):
        return all(_GROUPED.fullmatch(line) for line in lines)
    return len(records[0].cells or ()) == 1 and all(_PLAIN.fullmatch(line) for line in lines)


def _cleanness(cells: Sequence[Sequence[str]], width: int, dialect: Dialect) -> float:
    """Return 1 minus half the share of cells in which another delimiter stands."""
    others = re.compile("[" + "".join(d for d in _DELIMITERS if d != dialect.delimiter) + "]")
    step = max(1, len(cells) // _SCORED_RECORDS)
    seen = [cell for row in cells[::step] if len(row) == width for cell in row]
    unclean = sum(bool(others.search(cell)) and not _PLAIN.fullmatch(cell.strip()) for cell in seen)
    return 1.0 - 0.5 * unclean / len(seen) if seen else 1.0


def _sample(head: bytes, dialect: Dialect, complete: bool) -> list[RawRecord]:
    """Return the first records, blank lines left out; the last of a cut-off head may be a part: not it."""
    found: list[RawRecord] = []
    lines = physical_lines([head], skip_bytes=dialect.skip_bytes)
    try:
        for record in split_records(lines, dialect, line=1 + dialect.skip_lines, offset=dialect.skip_bytes):
            if len(found) > _SAMPLE_RECORDS:
                break
            if record.cells is None and not complete:
                return found  # the rest of it lies behind the head
            if record.cells != []:
                found.append(record)
    except BadInput:
        # Quotes that never close under this delimiter or in a head that was cut; the scan of the whole
        # file refuses it if they are really there.
        pass
    if not complete and len(found) <= _SAMPLE_RECORDS:
        found = found[:-1]
    return found


def _named(reading: _Reading, complete: bool, expected: Collection[str]) -> Sniffed:
    """Return where the table begins and ends, its header and its names."""
    first = reading.first
    start = reading.records[first]
    dialect, notes = reading.dialect, []
    encoding = dialect.encoding
    cells = [decode_cell(cell, encoding, errors="replace") for cell in reading.cells[first]]
    body = [row for row in reading.cells[first + 1 : reading.end] if len(row) == reading.width]
    borne = len(set(expected).intersection(cells)) > len(set(expected)) / 2
    as_wide = len(cells) == reading.width
    header = borne or not as_wide or has_header([cells, *body])
    if first:
        notes.append(_skipped(reading.records[:first], encoding))
    if header and as_wide and reading.cells[first + 1 : first + 2] == body[:1] and is_second_header(body):
        below = [decode_cell(cell, encoding, errors="replace") for cell in body[0]]
        cells = [f"{a} {b}".strip() if a != b else a for a, b in zip(cells, below, strict=True)]
        first += 1
        start = reading.records[first]
        notes.append("The names of the columns stand in two lines, and are put together.")
    if first:
        dialect = replace(dialect, skip_bytes=start.offset, skip_lines=start.line - 1)
    width = max(reading.width - dialect.trailing, len(cells) if not as_wide else 0)
    if len(cells) < width:
        cells = ["", *cells]
    cells = cells[:width]
    comment = _COMMENT if _has_comments(reading) else ""
    dialect = replace(dialect, header=header, comment=comment, blank_lines=width == 1)
    if header:
        names, renamed = unique_names(cells)
        notes += renamed
    else:
        names = tuple(f"column_{i}" for i in range(1, width + 1))
        notes.append(
            f"The first line looks like data, so the columns are called column_1 to column_{len(names)}. "
            "Add a header to name them."
        )
    whole = complete and len(reading.records) <= _SAMPLE_RECORDS
    total = _total(reading, header) if whole else None
    if total is not None:
        dialect = replace(dialect, footer=total.offset)
        notes.append(f"From line {total.line} on, the file holds totals: these records are rejected.")
    return Sniffed(dialect, names, tuple(notes))


def _skipped(records: Sequence[RawRecord], encoding: str) -> str:
    texts = [decode_cell(record.raw.decode("latin-1"), encoding, "replace").strip() for record in records]
    shown = ", ".join(repr(text[:_SHOWN_CHARACTERS]) for text in texts[:_SHOWN_LINES])
    more = f" and {len(texts) - _SHOWN_LINES} more" if len(texts) > _SHOWN_LINES else ""
    return f"The table begins in line {records[-1].next_line}: what stands above is left out ({shown}{more})."


def _has_comments(reading: _Reading) -> bool:
    """Return whether lines that begin with # are comments: some are no records, and few that are do."""
    mark = _COMMENT.encode()
    begins = [record.raw.startswith(mark) for record in reading.records]
    if reading.width < 2 or begins[reading.first] or not any(begins):
        return False
    alike = [begin for begin, row in zip(begins, reading.cells, strict=True) if len(row) == reading.width]
    return sum(begins) > sum(alike) and sum(alike) < _COMMENT_SHARE * len(alike)


def _total(reading: _Reading, header: bool) -> RawRecord | None:
    """Return the table's last record if it is no row but sums the others up."""
    *others, last = reading.table or [[]]
    others = others[1:] if header else others
    filled = [place for place, cell in enumerate(last) if not is_missing(cell)]
    if len(others) < _FEW or not filled:
        return None
    place = filled[0]
    if not _TOTALS.fullmatch(last[place].strip().rstrip(":")):
        return None
    columns = list(zip(*others, strict=True))
    alone = last[place] not in columns[place] and any(
        is_missing(cell) and _filled(column) == len(column)
        for cell, column in zip(last, columns, strict=True)
    )
    if not (alone or kind_of([cell for cell in columns[place] if not is_missing(cell)])):
        return None
    return reading.records[reading.end - 1]
