"""What is known of columns, as plain values that add up.

A part is a profile of fewer rows: merging the parts of a file gives the same profile however the file was
cut, to the last bit. So sums are exact, distinct values are counted exactly up to a limit and then
estimated from a sketch that is a function of the set of values alone, and no figure depends on order.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TypeVar

from millrace.errors import BadInput
from millrace.values import NUMBER_STYLES

V = TypeVar("V", float, str)

__all__ = [
    "MAX_DISTINCT",
    "SKETCH_SIZE",
    "ColumnProfile",
    "NumberEvidence",
    "Profile",
    "TimeEvidence",
    "merge",
    "smallest",
    "value_hash",
]

MAX_DISTINCT = 1000
"""Distinct values of a column that are counted one by one; beyond it they are only estimated."""

SKETCH_SIZE = 1024
"""Hashes in a sketch: the standard error of the estimate is 1/sqrt(SKETCH_SIZE - 2), about 3 %."""

_DECIMAL_COMMAS = ("thousands-point", "thousands-space-decimal-comma")
_HASH_BYTES = 6
_ASCII_BLANKS = "\t\n\v\f\r\x1c\x1d\x1e\x1f "
_WORD = 0xFFFFFFFFFFFFFFFF
_FRACTION = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SUM_SHIFT = 1074
"""Every finite float64 is a whole multiple of 2**-1074."""


@dataclass(frozen=True)
class NumberEvidence:
    """The values that are numbers in one style.

    Attributes
    ----------
    count : int
        Cells that read as a number, those too large for float64 included.
    integers : int
        Of them, written without fraction and exponent.
    codes : int
        Of them, those that a number would not preserve: leading zeros, more than 15 digits, ``12E45``.
    grouped : int
        Of the numbers with a comma, those that may be thousands: ``1,234``.
    commas : int
        Numbers with a comma.
    too_large : int
        Infinite as float64.
    minimum, maximum : float or None
        Of the finite ones.
    total : str
        Exact sum of the finite ones times 2**1074, in hexadecimal.
    """

    count: int = 0
    integers: int = 0
    codes: int = 0
    grouped: int = 0
    commas: int = 0
    too_large: int = 0
    minimum: float | None = None
    maximum: float | None = None
    total: str = "0x0"

    @property
    def mean(self) -> float | None:
        """Mean of the finite values, correctly rounded; None if there is none."""
        finite = self.count - self.too_large
        return int(self.total, 16) / (finite << _SUM_SHIFT) if finite else None


@dataclass(frozen=True)
class TimeEvidence:
    """The values that are times in one format: how many, and their range in seconds since 1970 UTC."""

    count: int = 0
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class ColumnProfile:
    """What is known of one column.

    Attributes
    ----------
    name : str
        Its name.
    count : int
        Cells that are not empty.
    missing : int
        Empty cells.
    words : mapping of str to int
        Words that mean missing in a column of numbers or times, as written, with their cells.
    plain, comma : NumberEvidence
        Numbers with a decimal point, and with a decimal comma.
    styles : mapping of str to NumberEvidence
        By style (``values.NUMBER_STYLES``), the numbers that are grouped or bear a sign, as that style reads
        them; see :meth:`numbers`.
    booleans : int
        Cells that read as a boolean.
    times : mapping of str to TimeEvidence
        By format.
    distinct : mapping of str to int, or None
        Cells of each value; None when there are more than ``MAX_DISTINCT``.
    sketch : tuple of int
        The smallest hashes of the values, numbers with a fraction left out; empty unless ``distinct`` is
        None.
    multiword : int
        Cells of more than one word.
    tokens : int
        Words in all cells.
    longest : int
        Characters of the longest cell.
    sequence : int or None
        Value minus record number, when that is the same for every record: the column counts the rows.
    sequential : bool
        Whether that may still hold.
    example : str or None
        The first by code point of the values that are no plain number, cut to 80 characters.
    fingerprint : int
        Sum of :func:`record_mark` of all records, 64 bits: two columns that have the same hold the same.
    """

    name: str
    count: int = 0
    missing: int = 0
    words: Mapping[str, int] = field(default_factory=dict)
    plain: NumberEvidence = NumberEvidence()
    comma: NumberEvidence = NumberEvidence()
    styles: Mapping[str, NumberEvidence] = field(default_factory=dict)
    booleans: int = 0
    times: Mapping[str, TimeEvidence] = field(default_factory=dict)
    distinct: Mapping[str, int] | None = None
    sketch: tuple[int, ...] = ()
    multiword: int = 0
    tokens: int = 0
    longest: int = 0
    sequence: int | None = None
    sequential: bool = True
    example: str | None = None
    fingerprint: int = 0

    def numbers(self, style: str) -> NumberEvidence:
        """Return the cells that are numbers in a style: those without marks among them."""
        if style in ("", "decimal-comma"):
            return self.comma if style else self.plain
        base, _, sign = ("", "", style) if style in NUMBER_STYLES else style.rpartition(" ")
        base = style if style in NUMBER_STYLES else base
        found = self.styles.get(style, NumberEvidence())
        if sign == "%":
            return found
        if base in ("", "decimal-comma"):
            return _merge_numbers(found, self.comma if base else self.plain)
        if style != base:
            return _merge_numbers(found, self.numbers(base))
        return _merge_numbers(found, self.comma if base in _DECIMAL_COMMAS else self.plain)

    @property
    def word_count(self) -> int:
        """Cells that hold a word for missing."""
        return sum(self.words.values())

    @property
    def distinct_count(self) -> int:
        """Distinct values: exact up to ``MAX_DISTINCT``, then estimated (numbers with fractions left out).

        The estimate is that of K. Beyer et al., "On Synopses for Distinct-Value Estimation Under Multiset
        Operations", SIGMOD 2007: (k - 1) / U(k), with U(k) the k-th smallest hash scaled to [0, 1].
        """
        if self.distinct is not None:
            return len(self.distinct)
        if len(self.sketch) < SKETCH_SIZE:
            return max(MAX_DISTINCT + 1, len(self.sketch))
        share = (self.sketch[-1] + 1) / (1 << (8 * _HASH_BYTES))
        return max(MAX_DISTINCT + 1, round((SKETCH_SIZE - 1) / share))


@dataclass(frozen=True)
class Profile:
    """What is known of the records of a file, or of a part of it.

    Attributes
    ----------
    rows : int
        Records with as many fields as there are columns.
    rejects : int
        Other records.
    columns : tuple of ColumnProfile
        In file order.
    """

    rows: int
    rejects: int
    columns: tuple[ColumnProfile, ...]

    @property
    def rows_read(self) -> int:
        """All records."""
        return self.rows + self.rejects


def merge(parts: Iterable[Profile]) -> Profile:
    """Return the profile of all parts together; their order does not matter.

    Raises
    ------
    BadInput
        There is no part, or the parts are of different columns.
    """
    # One after the other: each part of a wide table may hold a thousand values of each column.
    rest = iter(parts)
    first = next(rest, None)
    if first is None:
        raise BadInput("There is no profile to merge", code="no-rows", remedy="Upload a file with rows.")
    return reduce(_merge_two, rest, first)


def value_hash(text: str) -> int:
    """Return the hash of a value, uniform over 48 bits, the same on every machine.

    It is ``csv_hash`` of ``csvfile/kernel/source/cells.c`` without its lowest bits: multiplied and folded
    word by word, then the finaliser of MurmurHash3 (A. Appleby, public domain).
    """
    data = text.encode()
    value = len(data) * 0x9E3779B97F4A7C15 & _WORD
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        value = (value ^ int.from_bytes(data[at : at + 8], "little")) * 0xD6E8FEB86659FD93 & _WORD
        value ^= value >> 32
    value = (value ^ int.from_bytes(data[whole:], "little")) * 0xD6E8FEB86659FD93 & _WORD
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _WORD
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _WORD
    return (value ^ value >> 33) >> (64 - 8 * _HASH_BYTES)


def record_mark(hash: int, record: int) -> int:
    """Return a record's part of a column's fingerprint, from its cell's :func:`value_hash`, 0 if missing.

    It is ``mark_of`` of ``csvfile/kernel/source/cells.c``.
    """
    mark = (hash ^ (record + 1) * 0x9E3779B97F4A7C15) & _WORD
    mark = (mark ^ mark >> 33) * 0xFF51AFD7ED558CCD & _WORD
    return mark ^ mark >> 33


def add_marks(*marks: int) -> int:
    """Return the sum of marks, as a fingerprint keeps it."""
    return sum(marks) & _WORD


def smallest(hashes: Iterable[int]) -> tuple[int, ...]:
    """Return the ``SKETCH_SIZE`` smallest of the distinct hashes, ascending."""
    return tuple(heapq.nsmallest(SKETCH_SIZE, set(hashes)))


def sketch_hashes(values: Iterable[str]) -> set[int]:
    """Return the hashes of the values that a sketch counts."""
    return {value_hash(value) for value in values if not _has_fraction(value)}


def _has_fraction(text: str) -> bool:
    """Return whether a value is a number with a fraction: unique by nature, so no sign of an identifier."""
    return "." in text and _FRACTION.fullmatch(text.strip(_ASCII_BLANKS)) is not None


def scaled(value: float) -> int:
    """Return a finite float times 2**1074, exactly."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_SUM_SHIFT - denominator.bit_length() + 1)


def _merge_two(a: Profile, b: Profile) -> Profile:
    if [c.name for c in a.columns] != [c.name for c in b.columns]:
        raise BadInput("The parts of the profile have different columns", code="profile-parts-differ")
    columns = tuple(_merge_columns(x, y) for x, y in zip(a.columns, b.columns, strict=True))
    return Profile(a.rows + b.rows, a.rejects + b.rejects, columns)


def _merge_columns(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    distinct: dict[str, int] | None = None
    sketch: tuple[int, ...] = ()
    if a.distinct is not None and b.distinct is not None:
        distinct = _add(a.distinct, b.distinct)
    if distinct is None or len(distinct) > MAX_DISTINCT:
        sketch = smallest(_hashes(a) | _hashes(b))
        distinct = None
    formats = sorted(a.times.keys() | b.times.keys())
    styles = sorted(a.styles.keys() | b.styles.keys())
    no_numbers = NumberEvidence()
    none = TimeEvidence()
    sequential, sequence = _merge_sequence(a, b)
    return replace(
        a,
        count=a.count + b.count,
        missing=a.missing + b.missing,
        words=_add(a.words, b.words),
        plain=_merge_numbers(a.plain, b.plain),
        comma=_merge_numbers(a.comma, b.comma),
        styles={s: _merge_numbers(a.styles.get(s, no_numbers), b.styles.get(s, no_numbers)) for s in styles},
        booleans=a.booleans + b.booleans,
        times={f: _merge_times(a.times.get(f, none), b.times.get(f, none)) for f in formats},
        distinct=distinct,
        sketch=sketch,
        multiword=a.multiword + b.multiword,
        tokens=a.tokens + b.tokens,
        longest=max(a.longest, b.longest),
        sequence=sequence,
        sequential=sequential,
        example=_least(a.example, b.example),
        fingerprint=add_marks(a.fingerprint, b.fingerprint),
    )


def _hashes(column: ColumnProfile) -> set[int]:
    return set(column.sketch) if column.distinct is None else sketch_hashes(column.distinct)


def _merge_sequence(a: ColumnProfile, b: ColumnProfile) -> tuple[bool, int | None]:
    if not (a.sequential and b.sequential):
        return False, None
    if a.sequence is None or b.sequence is None:
        return True, b.sequence if a.sequence is None else a.sequence
    return (True, a.sequence) if a.sequence == b.sequence else (False, None)


def _merge_numbers(a: NumberEvidence, b: NumberEvidence) -> NumberEvidence:
    return NumberEvidence(
        count=a.count + b.count,
        integers=a.integers + b.integers,
        codes=a.codes + b.codes,
        grouped=a.grouped + b.grouped,
        commas=a.commas + b.commas,
        too_large=a.too_large + b.too_large,
        minimum=_least(a.minimum, b.minimum),
        maximum=_greatest(a.maximum, b.maximum),
        total=hex(int(a.total, 16) + int(b.total, 16)),
    )


def _merge_times(a: TimeEvidence, b: TimeEvidence) -> TimeEvidence:
    return TimeEvidence(a.count + b.count, _least(a.minimum, b.minimum), _greatest(a.maximum, b.maximum))


def _add(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of both, sorted by value so that the encoded profile does not depend on the cut."""
    keys = sorted(a.keys() | b.keys())
    return {key: a.get(key, 0) + b.get(key, 0) for key in keys}


def _least(a: V | None, b: V | None) -> V | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


def _greatest(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)
