"""The profile of one chunk, column by column over batches: each distinct text is looked at once a batch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from millrace.contracts import Chunk, Layout
from millrace.profile.statistics import (
    MAX_DISTINCT,
    SKETCH_SIZE,
    ColumnProfile,
    NumberEvidence,
    Profile,
    TimeEvidence,
    add_marks,
    record_mark,
    scaled,
    sketch_hashes,
    smallest,
    value_hash,
)
from millrace.values import (
    MISSING_WORDS,
    NUMBER_STYLES,
    is_missing,
    parse_boolean,
    read_number,
    read_time,
)

if TYPE_CHECKING:
    from millrace.csvfile import Reject
    from millrace.csvfile.cells import Measured, Sums

__all__ = ["TIME_FORMATS", "profile_bytes", "profile_chunk"]

_BATCH_ROWS = 4096
_LONGEST_WORD = max(len("+infinity"), *map(len, MISSING_WORDS))
"""Of the texts without a digit that are more than prose: numbers, booleans and words for missing."""
_EXAMPLE_CHARACTERS = 80
_NUMBER_STARTS = frozenset("+-.0123456789iInN")
"""Of the texts that ``float`` reads."""
_TIME_MARKS = re.compile("[-/. ]")
"""One of them is in every time."""
_STYLED_CHARACTERS = 40
_DIGITS = re.compile(r"[0-9]+")
_WORD = re.compile(r"[A-Za-z]+")
_EXPONENT_CODE = re.compile(r"[0-9]+E[0-9]+")
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")

_SYMBOL = r"[$€£¥₹₽₩₺₫₴₪฿%]|R\$|US\$|A\$|C\$"
_CODE = r"CHF|EUR|USD|GBP|JPY|CNY|INR|kr|zł|Kč"
_STYLED = re.compile(
    rf"\(?[-+\u2212]? ?(?P<before>{_SYMBOL}|(?:{_CODE})(?=[ \u00a0]))?[ \u00a0]?[-+\u2212]?"
    rf"[0-9][0-9.,'\u2019 \u00a0\u202f\u2009]*(?P<after>{_SYMBOL}|{_CODE})?\)?"
)
"""A number with marks: groups of digits, a sign of percent or currency, an accountant's parentheses.

The kernel takes a word that begins with a letter and holds a digit for prose, unless a dollar is in it."""
_UNGROUPED = {
    "thousands-point": "decimal-comma",
    "thousands-space-decimal-comma": "decimal-comma",
}

TIME_FORMATS = (
    "iso8601",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d/%m/%y %H:%M",
    "%m/%d/%y %H:%M",
    "%Y.%m.%d",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d-%m-%Y %H:%M",
    "%m-%d-%Y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%m-%d-%Y %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%d.%m.%y",
    "%d-%b-%y",
    "%d/%b/%Y",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z",
)
"""Formats that are tried on a column, the preferred first where two explain it equally well."""


def _shape(text: str) -> str:
    """Return the text with every run of digits as 9 and of letters as a."""
    return _WORD.sub("a", _DIGITS.sub("9", text))


def _shapes() -> dict[str, tuple[str, ...]]:
    """Return the formats that a text of each shape may be in: strptime is slow, a shape is not."""
    example = {"%b": "Jan", "%B": "January", "%p": "AM", "%a": "Mon", "%z": "+0000"}
    shapes: dict[str, tuple[str, ...]] = {}
    for name in TIME_FORMATS:
        if name != "iso8601":
            shape = _shape(re.sub("%[A-Za-z]", lambda match: example.get(match[0], "1"), name))
            shapes[shape] = (*shapes.get(shape, ()), name)
    return shapes


_FORMATS_OF_SHAPE = _shapes()


def profile_chunk(records: Iterable[Any], names: Sequence[str]) -> Profile:
    """Profile the records of a chunk.

    Parameters
    ----------
    records : iterable
        Records of the right width (``number`` and ``cells``) and rejects (no ``cells``), as
        ``csvfile.read_records`` yields them.
    names : sequence of str
        Column names; a record has as many cells.
    """
    builders = [_ColumnBuilder(name) for name in names]
    rows = rejects = 0
    source = iter(records)
    while batch := list(islice(source, _BATCH_ROWS)):
        kept = [record for record in batch if hasattr(record, "cells")]
        rows += len(kept)
        rejects += len(batch) - len(kept)
        numbers = [record.number for record in kept]
        columns = zip(*(record.cells for record in kept), strict=True)
        for builder, cells in zip(builders, columns, strict=False):
            builder.add(cells, numbers)
    return Profile(rows, rejects, tuple(builder.build() for builder in builders))


def profile_bytes(data: bytes, layout: Layout, chunk: Chunk) -> tuple[Profile, list[Reject]]:
    """Profile a chunk: :func:`profile_chunk` of its records, but column by column where that is possible.

    Parameters
    ----------
    data : bytes
        Exactly the bytes ``[chunk.start, chunk.end)``.
    layout : Layout
        How they are to be read.
    chunk : Chunk
        Where they lie.
    """
    from millrace.csvfile import Reject, read_records
    from millrace.csvfile.cells import Wanted, read_cells

    names = layout.names
    wanted = [
        Wanted(*(index, "profile"), limit=MAX_DISTINCT, sketch_size=SKETCH_SIZE, longest_word=_LONGEST_WORD)
        for index in range(len(names))
    ]
    cells = read_cells(data, layout.dialect, chunk, len(names), wanted)
    if cells is not None:
        columns = [_ColumnBuilder(name) for name in names]
        for builder, measured in zip(columns, cells.columns, strict=True):
            builder.take(measured)
        rejects = cells.rejects
        return Profile(cells.rows, len(rejects), tuple(builder.build() for builder in columns)), rejects
    rejects = []

    def noting() -> Iterator[Any]:
        for record in read_records(data, layout.dialect, chunk, len(names)):
            if isinstance(record, Reject):
                rejects.append(record)
            yield record

    return profile_chunk(noting(), names), rejects


class _Numbers:
    """Mutable :class:`NumberEvidence`."""

    __slots__ = (
        "codes",
        "commas",
        "count",
        "grouped",
        "integers",
        "maximum",
        "minimum",
        "too_large",
        "total",
    )

    def __init__(self) -> None:
        self.count = self.integers = self.codes = self.grouped = self.commas = self.too_large = 0
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.total = 0

    def add(self, value: float, times: int) -> None:
        self.count += times
        if value - value != 0.0:
            self.too_large += times
            return
        value += 0.0  # no negative zero: which of the two is the least would depend on their order
        self.total += scaled(value) * times
        if self.minimum is None or value < self.minimum:
            self.minimum = value
        if self.maximum is None or value > self.maximum:
            self.maximum = value

    def take(self, sums: Sums) -> None:
        """Take numbers into account that were summed already."""
        self.count += sums.count
        self.too_large += sums.too_large
        self.total += sums.total
        if sums.minimum is not None and sums.maximum is not None:
            self.minimum = sums.minimum if self.minimum is None else min(self.minimum, sums.minimum)
            self.maximum = sums.maximum if self.maximum is None else max(self.maximum, sums.maximum)

    def build(self) -> NumberEvidence:
        return NumberEvidence(
            count=self.count,
            integers=self.integers,
            codes=self.codes,
            grouped=self.grouped,
            commas=self.commas,
            too_large=self.too_large,
            minimum=self.minimum,
            maximum=self.maximum,
            total=hex(self.total),
        )


class _ColumnBuilder:
    """Mutable :class:`ColumnProfile`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = self.missing = self.booleans = self.multiword = self.tokens = self.longest = 0
        self.words: Counter[str] = Counter()
        self.plain = _Numbers()
        self.comma = _Numbers()
        self.styles: dict[str, _Numbers] = {}
        self.times: dict[str, TimeEvidence] = {}
        self.distinct: dict[str, int] | None = {}
        self.hashes: set[int] = set()
        self.sequence: int | None = None
        self.sequential = True
        self.example: str | None = None
        self.fingerprint = 0

    def add(self, cells: Sequence[str], numbers: Sequence[int]) -> None:
        """Take a batch of cells into account; ``numbers`` are their records'."""
        if self.sequential:
            self._follow(cells, numbers)
        counts = Counter(cells)
        hashes = {text: 0 if is_missing(text) else value_hash(text) for text in counts}
        marks = (record_mark(hashes[text], number) for text, number in zip(cells, numbers, strict=True))
        self.fingerprint = add_marks(self.fingerprint, *marks)
        for blank in [text for text in counts if not text or text.isspace()]:
            self.missing += counts.pop(blank)
        self._count_distinct(counts)
        self._weigh_all(counts)

    def take(self, cells: Measured) -> None:
        """Take the cells of a chunk into account that were measured in columns."""
        self.missing, self.count, self.booleans = cells.missing, cells.count, cells.booleans
        self.multiword, self.tokens, self.longest = cells.multiword, cells.tokens, cells.longest
        self.sequence, self.sequential = cells.sequence, cells.sequential
        self.distinct, self.hashes = cells.distinct, set(cells.sketch)
        self.example, self.fingerprint = cells.example, cells.fingerprint
        self.plain.integers, self.plain.codes = cells.integers, cells.codes
        self.plain.take(cells.dotted)
        for numbers in (self.plain, self.comma):
            numbers.take(cells.undotted)
        count, first, last = cells.times
        if count:
            self.times["iso8601"] = TimeEvidence(count, first, last)
        self._weigh_all(cells.others)

    def _weigh_all(self, counts: Mapping[str, int]) -> None:
        for text, times in counts.items():
            self.count += times
            self._weigh(text, times)

    def _follow(self, cells: Sequence[str], numbers: Sequence[int]) -> None:
        for text, number in zip(cells, numbers, strict=True):
            step = int(text) - number if text.isascii() and text.isdecimal() and len(text) < 16 else None
            if self.sequence is None:
                self.sequence = step
            if step is None or step != self.sequence:
                self.sequential, self.sequence = False, None
                return

    def _count_distinct(self, counts: Counter[str]) -> None:
        if self.distinct is not None:
            distinct = self.distinct
            for text, times in counts.items():
                distinct[text] = distinct.get(text, 0) + times
            if len(distinct) <= MAX_DISTINCT:
                return
            self.hashes = sketch_hashes(distinct)
            self.distinct = None
        else:
            self.hashes |= sketch_hashes(counts)
        if len(self.hashes) > 4 * SKETCH_SIZE:
            self.hashes = set(smallest(self.hashes))

    def _weigh(self, text: str, times: int) -> None:
        if len(text) > self.longest:
            self.longest = len(text)
        words = len(text.split())
        self.tokens += words * times
        if words > 1:
            self.multiword += times
        word = text.strip()
        if word[0] not in _NUMBER_STARTS:  # most texts: an exception takes longer than a look
            self._weigh_word(word, times)
            return
        try:
            value = read_number(text)
        except ValueError:
            self._weigh_word(word, times)
            return
        self.plain.add(value, times)
        digits = text.strip().lstrip("+-")
        if digits.isdecimal():
            code = (len(digits) > 1 and digits[0] == "0") or len(digits) > 15
            self.plain.integers += times
            self.plain.codes += times * code
            if digits in ("0", "1"):
                self.booleans += times
        elif _EXPONENT_CODE.fullmatch(digits) and value - value == 0.0:
            # Programs write 1e+05, 1.0E5 or 1e5: 12E45 is the name of something.
            self.plain.codes += times
        if "." not in text:
            self.comma.add(value, times)

    def _weigh_word(self, text: str, times: int) -> None:
        """Weigh a text that is no plain number."""
        word = text.lower()
        if word in MISSING_WORDS:
            self.words[text] += times
            return
        if self.example is None or text[:_EXAMPLE_CHARACTERS] < self.example:
            self.example = text[:_EXAMPLE_CHARACTERS]
        if len(word) <= 5 and _is_boolean(word):
            self.booleans += times
        if not _DIGITS.search(text):
            return
        if "," in text:
            self._weigh_comma(text, times)
        if len(text) <= _STYLED_CHARACTERS:
            self._weigh_styled(text, times)
        for name in self._formats(text):
            try:
                moment = read_time(text, name)
            except ValueError:
                continue
            seen = self.times.get(name)
            if seen is None:
                self.times[name] = TimeEvidence(times, moment, moment)
            else:
                low, high = seen.minimum, seen.maximum
                self.times[name] = TimeEvidence(
                    seen.count + times,
                    moment if low is None or moment < low else low,
                    moment if high is None or moment > high else high,
                )

    def _weigh_comma(self, text: str, times: int) -> None:
        try:
            value = read_number(text, "decimal-comma")
        except ValueError:
            return
        self.comma.add(value, times)
        self.comma.commas += times
        if _GROUPED.fullmatch(text):
            self.comma.grouped += times

    def _weigh_styled(self, text: str, times: int) -> None:
        match = _STYLED.fullmatch(text)
        if match is None or (match["before"] and match["after"]):
            return
        sign = match["before"] or match["after"] or ""
        for base in NUMBER_STYLES:
            style = f"{base} {sign}".strip()
            if not sign and (base in ("", "decimal-comma") or _reads(text, _UNGROUPED.get(base, ""))):
                continue  # it is a number without marks, and counted as one
            try:
                value = read_number(text, style)
            except ValueError:
                continue
            self.styles.setdefault(style, _Numbers()).add(value, times)

    @staticmethod
    def _formats(text: str) -> tuple[str, ...]:
        if len(text) > 40 or not _TIME_MARKS.search(text):
            return ()
        if text[4:5] == "-":
            return ("iso8601",)
        return _FORMATS_OF_SHAPE.get(_shape(text), ())

    def build(self) -> ColumnProfile:
        """Return what was learned; everything in an order that does not depend on the rows' order."""
        return ColumnProfile(
            name=self.name,
            count=self.count,
            missing=self.missing,
            words={word: self.words[word] for word in sorted(self.words)},
            plain=self.plain.build(),
            comma=self.comma.build(),
            styles={style: self.styles[style].build() for style in sorted(self.styles)},
            booleans=self.booleans,
            times={name: self.times[name] for name in sorted(self.times)},
            distinct=(
                None
                if self.distinct is None
                else {text: self.distinct[text] for text in sorted(self.distinct)}
            ),
            sketch=() if self.distinct is not None else smallest(self.hashes),
            multiword=self.multiword,
            tokens=self.tokens,
            longest=self.longest,
            sequence=self.sequence,
            sequential=self.sequential,
            example=self.example,
            fingerprint=self.fingerprint,
        )


def _reads(text: str, style: str) -> bool:
    try:
        read_number(text, style)
    except ValueError:
        return False
    return True


def _is_boolean(word: str) -> bool:
    try:
        parse_boolean(word)
    except ValueError:
        return False
    return True
