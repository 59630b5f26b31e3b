"""Converts many rows of a request column by column: what ``Signature.convert_row`` does to each, and quicker.

A column whose values are all of the usual types is checked as a whole, and each different text is converted
once. Imported when a block of rows comes.
"""

from __future__ import annotations

from array import array
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from millrace.plan.signature import Converter, Signature

    Warning = tuple[int, str, str, str]
    Notices = list[tuple[int, str, str]]

__all__ = ["convert_columns", "convert_rows"]

_INFINITY = float("inf")
_NONE = type(None)
_NUMBERS = frozenset((float, int, _NONE))
_ALIKE = frozenset((str, bool, _NONE))
"""Types of which equal values are the same one. (1, 1.0 and True are equal too.)"""


def convert_rows(
    signature: Signature, rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Sequence[Any]], list[Warning]]:
    """Convert rows that came as objects; see :func:`convert_columns`."""
    known = signature.known
    if known.issuperset(rows[0]) and set(map(len, rows)) == {len(rows[0])}:
        try:
            given = {name: list(map(itemgetter(name), rows)) for name in rows[0]}
        except KeyError:  # a row has other names
            pass
        else:
            return convert_columns(signature, given, len(rows))
    columns = {field["name"]: [row.get(field["name"]) for row in rows] for field in signature.fields}
    strays = [
        (number, name)
        for number, row in enumerate(rows)
        if not row.keys() <= known
        for name in row
        if name not in known
    ]
    return _converted(signature, columns, len(rows), strays)


def convert_columns(
    signature: Signature, columns: Mapping[str, Sequence[Any]], rows: int
) -> tuple[dict[str, Sequence[Any]], list[Warning]]:
    """Convert rows that came as columns.

    Parameters
    ----------
    signature : Signature
        What a row must look like.
    columns : mapping
        Field name to ``rows`` JSON values, or to a memoryview of numbers or booleans, where NaN is missing.
    rows : int
        Rows.

    Returns
    -------
    columns : dict
        By field name, in the signature's order: float64 (NaN when missing), or ``str`` and None.
    warnings : list of (row, field, code, message)
        Row by row, and in each as ``Signature.convert_row`` has them.

    Raises
    ------
    Unprocessable
        For some value that does not convert, not always the first one.
    """
    unknown = [name for name in columns if name not in signature.known]
    strays = [(number, name) for number in range(rows) for name in unknown] if unknown else []
    return _converted(signature, columns, rows, strays)


def _converted(
    signature: Signature, columns: Mapping[str, Sequence[Any]], rows: int, strays: list[tuple[int, str]]
) -> tuple[dict[str, Sequence[Any]], list[Warning]]:
    converted: dict[str, Sequence[Any]] = {}
    found: list[tuple[int, int, str, str, str]] = []
    for place, (field, (name, *_, converter)) in enumerate(
        zip(signature.fields, signature.converters, strict=True)
    ):
        values = columns.get(name)
        if values is None:
            values = (None,) * rows
        converted[name], notices = _column(field, converter, values)
        found += [(row, place, name, code, message) for row, code, message in notices]
    place = len(signature.fields)
    found += [
        (row, place + number, name, "unknown-field", f"The model has no field {name!r:.100}")
        for number, (row, name) in enumerate(strays)
    ]
    found.sort(key=lambda notice: notice[:2])
    return converted, [(row, name, code, message) for row, _, name, code, message in found]


def _column(
    field: Mapping[str, Any], converter: Converter, values: Sequence[Any]
) -> tuple[Sequence[Any], Notices]:
    if isinstance(values, memoryview):
        if field["type"] == "number" and values.format != "?":
            numbers = _numbers(field, converter, values, values.format in ("d", "f"))
            if numbers is not None:
                return numbers
        values = [None if value != value else value for value in values]
    kinds = set(map(type, values))
    if kinds <= _ALIKE:
        return _by_spelling(converter, values)
    if field["type"] == "number" and kinds <= _NUMBERS:
        numbers = _numbers(field, converter, values, _NONE in kinds)
        if numbers is not None:
            return numbers
    made = [converter(value) for value in values]
    notices = [(row, *notice) for row, (_, notice) in enumerate(made) if notice is not None]
    return [value for value, _ in made], notices


def _by_spelling(converter: Converter, values: Sequence[Any]) -> tuple[Sequence[Any], Notices]:
    """Convert each different value once."""
    made = {value: converter(value) for value in set(values)}
    noticed = {value: notice for value, (_, notice) in made.items() if notice is not None}
    notices: Notices = []
    if noticed:
        notices = [(row, *noticed[value]) for row, value in enumerate(values) if value in noticed]
    if all(value is new for value, (new, _) in made.items()):
        return values, notices
    plain = {value: new for value, (new, _) in made.items()}
    return [plain[value] for value in values], notices


def _numbers(
    field: Mapping[str, Any], converter: Converter, values: Sequence[Any], some_missing: bool
) -> tuple[Sequence[Any], Notices] | None:
    """Convert numbers and missing ones; None when there is something else to say of them."""
    notices: Notices = []
    absent: list[int] = []
    numbers: array[Any]
    plain: Sequence[Any]
    if isinstance(values, memoryview):
        plain = numbers = array("d", values)
        if some_missing and sum(numbers) != sum(numbers):
            absent = [row for row, number in enumerate(numbers) if number != number]
            for row in absent:
                numbers[row] = 0.0
    else:
        if some_missing:
            absent = [row for row, value in enumerate(values) if value is None]
            values = [0.0 if value is None else value for value in values]
        try:
            numbers = array("d", values)
        except OverflowError:
            return None
        plain = values  # its floats are there already
    total = sum(plain)
    if total - total != 0.0:
        return None
    low, high = field.get("minimum", -_INFINITY), field.get("maximum", _INFINITY)
    gone = set(absent)
    if min(plain) < low or max(plain) > high:
        for row, number in enumerate(numbers):
            if not low <= number <= high and row not in gone:
                notice = converter(values[row])[1]
                if notice is not None:
                    notices.append((row, *notice))
    if absent:
        missing: Any
        missing, notice = converter(None)
        for row in absent:
            numbers[row] = missing
        if notice is not None:
            notices += [(row, *notice) for row in absent]
    return numbers, notices
