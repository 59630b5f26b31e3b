"""Whether a table's first records name its columns, and the names."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.values import is_missing, is_missing_word, read_number, read_time

__all__ = ["has_header", "is_second_header", "kind_of", "unique_names"]

_COUNTED = 3
"""Columns of numbers that a first record must count one by one to be a header: fewer may do so by chance."""


def has_header(sample: Sequence[Sequence[str]]) -> bool:
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
        values = _column(rest, index, len(first))
        kind = kind_of(values)
        if not kind:
            continue
        typed += 1
        if kind_of([name]) != kind:
            return True
        if kind == "number":
            numbers = [read_number(value) for value in values]
            margin = 0.1 * (max(numbers) - min(numbers))
            if not min(numbers) - margin <= read_number(name) <= max(numbers) + margin:
                return True
            offsets.append(read_number(name) - index)
    return not typed or (len(offsets) >= _COUNTED and len(set(offsets)) == 1)


def is_second_header(sample: Sequence[Sequence[str]]) -> bool:
    """Return whether the first of the records below a header goes on with it: units, or names in two lines.

    Only columns of numbers and times can tell: each of them has a word there, or nothing, and one a word.
    """
    if len(sample) < 3:
        return False
    first, *rest = sample
    words = 0
    for index, cell in enumerate(first):
        if not kind_of(_column(rest, index, len(first))) or is_missing(cell):
            continue
        if kind_of([cell]) or is_missing_word(cell) or not any(map(str.isalpha, cell)):
            return False
        words += 1
    return words > 0 and not any(kind_of([cell]) for cell in first if not is_missing(cell))


def _column(records: Sequence[Sequence[str]], index: int, width: int) -> list[str]:
    return [row[index] for row in records if len(row) == width and not is_missing(row[index])]


def kind_of(values: Sequence[str]) -> str:
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
