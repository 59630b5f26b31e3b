"""What a row must look like, and how its values become what the plan computes with.

A field is a JSON object: ``name``; ``type``, one of ``number``, ``boolean``, ``category``, ``text`` and
``time``; for a category ``categories``; for a time, and a number that is not written as ``1234.5``,
``format``; for a number or a time that training saw ``minimum`` and ``maximum``.

Texts are read as the training file's cells were: what is missing there is missing here.
"""

from __future__ import annotations

from millrace import values
from millrace.errors import Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Notice = tuple[str, str]
    FieldWarning = tuple[str, str, str]
    Converter = Callable[[Any], tuple[float | str | None, Notice | None]]
    Usual = tuple[float, float, frozenset[str], Converter]

__all__ = ["LARGEST", "Signature", "convert", "instant"]

_NAN = values.NAN
_INFINITY = float("inf")
LARGEST = 1.7976931348623157e308
"""The greatest finite float64."""
_NO_NUMBERS = _NAN, _NAN
_NO_TEXTS: frozenset[str] = frozenset()


class Signature:
    """The fields of a row, in the order in which the plan takes them.

    Parameters
    ----------
    fields : sequence of mapping
        As the module describes them.
    ignored : sequence of str
        Columns of the training file that the model does not use: allowed in a row, and not read.

    Attributes
    ----------
    fields : sequence of mapping
        The same.
    """

    __slots__ = ("converters", "fields", "known")

    def __init__(self, fields: Sequence[Mapping[str, Any]], ignored: Sequence[str] = ()) -> None:
        self.fields = fields
        self.converters = [(field["name"], *_converter(field)) for field in fields]
        self.known = frozenset([field["name"] for field in fields]).union(ignored)

    @staticmethod
    def is_field(field: Any) -> bool:
        """Return whether the value is the description of a field."""
        return (
            isinstance(field, dict)
            and isinstance(field.get("name"), str)
            and isinstance(field.get("type"), str)
            and field["type"] in _CONVERTERS
            and isinstance(field.get("categories", []), list)
            and all(isinstance(category, str) for category in field.get("categories", []))
            and isinstance(field.get("format", ""), str)
            and isinstance(field.get("minimum", 0.0), (int, float))
            and isinstance(field.get("maximum", 0.0), (int, float))
        )

    def convert_row(
        self, row: Mapping[str, Any], strict: bool = False
    ) -> tuple[list[float | str | None], list[FieldWarning]]:
        """Convert one row of a request.

        Parameters
        ----------
        row : mapping
            Field name to JSON value.
        strict : bool
            Refuse what would otherwise be a warning.

        Returns
        -------
        values : list
            One for each field, in order: a float (NaN when missing), or a text (None when missing).
        warnings : list of (field, code, message)
            Codes ``missing``, ``unseen``, ``outside`` and ``unknown-field``.

        Raises
        ------
        Unprocessable
            Naming the field in ``where``: ``value-type`` for a value that does not convert without loss, and
            with ``strict`` the code of the first warning.
        """
        converted: list[float | str | None] = []
        warnings: list[FieldWarning] = []
        for name, low, high, known, converter in self.converters:
            value: Any = row.get(name)
            kind = value.__class__
            if not (low <= value <= high if kind is float else kind is str and value in known):
                value, warning = converter(value)
                if warning is not None:
                    warnings.append((name, *warning))
            converted.append(value)
        if not row.keys() <= self.known:
            warnings += [
                (name, "unknown-field", f"The model has no field {name!r:.100}")
                for name in row
                if name not in self.known
            ]
        if strict and warnings:
            name, code, message = warnings[0]
            raise Unprocessable(
                message, code=code, where=f"field {name!r:.100}", remedy="Correct it, or leave out 'strict'."
            )
        return converted, warnings


def convert(field: Mapping[str, Any], value: Any) -> tuple[float | str | None, Notice | None]:
    """Convert one value; see :meth:`Signature.convert_row`.

    Returns
    -------
    value : float, str or None
        What the plan computes with.
    warning : (code, message) or None
        ``missing``, ``unseen`` or ``outside``.

    Raises
    ------
    Unprocessable
        The value does not convert without loss.
    """
    *_, converter = _converter(field)
    return converter(value)


def _converter(field: Mapping[str, Any]) -> Usual:
    """Return between what numbers, and which texts, a value stays as it is, and what converts the others.

    Nearly all values are such; to ask before saves a row a call for each of its fields.
    """
    usual: Usual = _CONVERTERS[field["type"]](field)
    return usual


def _missing(name: str) -> Notice:
    return ("missing", f"The field {name!r:.100} has no value")


def _bounds(field: Mapping[str, Any]) -> tuple[float, float]:
    """Return the least and the greatest value that training saw; infinite where it saw none."""
    return field.get("minimum", -_INFINITY), field.get("maximum", _INFINITY)


def _outside(field: Mapping[str, Any], value: Any) -> Notice:
    low, high = _bounds(field)
    seen = f"{low!r} to {high!r}"
    if field["type"] == "time":
        seen = " to ".join([instant(at) for at in (low, high)])
    return ("outside", f"{_spelling(value)} lies outside what training saw in {field['name']!r:.100}: {seen}")


def instant(seconds: float) -> str:
    """Return seconds since 1970 in ISO 8601, without fractions."""
    import time

    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # no year of the calendar
        return f"{seconds!r} seconds since 1970"


def _refusal(field: Mapping[str, Any], value: Any, wanted: str) -> Unprocessable:
    return Unprocessable(
        f"{_spelling(value)} is not {wanted}",
        code="value-type",
        where=f"field {field['name']!r:.100}",
        remedy=f"Send {wanted}, or null when it is not known.",
    )


def _spelling(value: Any) -> str:
    """Return how JSON spells a value, shortened."""
    if isinstance(value, dict):
        return "An object"
    if isinstance(value, (list, tuple)):
        return "A list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:
        return "A very large integer"
    return f"{value!r:.60}"


def _number(field: Mapping[str, Any]) -> Usual:
    missing, style = (_NAN, _missing(field["name"])), field.get("format", "")
    style = style if values.is_number_style(style) else ""
    low, high = _bounds(field)
    low, high = max(low, -LARGEST), min(high, LARGEST)  # neither NaN nor infinite

    def converter(value: Any) -> tuple[float, Notice | None]:
        kind = value.__class__
        if value is None:
            return missing
        try:
            if kind is float or kind is int:
                number = float(value)
            elif kind is str:
                number = values.parse_number(value, style)
                if number != number:
                    return missing
            else:
                raise ValueError
            if number - number != 0.0:
                raise ValueError
        except (ValueError, OverflowError):
            raise _refusal(field, value, "a finite number") from None
        return number, None if low <= number <= high else _outside(field, value)

    return low, high, _NO_TEXTS, converter


def _boolean(field: Mapping[str, Any]) -> Usual:
    missing = (_NAN, _missing(field["name"]))

    def converter(value: Any) -> tuple[float, Notice | None]:
        if value is None:
            return missing
        kind = value.__class__
        if kind is bool or ((kind is int or kind is float) and (value == 0 or value == 1)):
            return float(value), None
        try:
            if kind is not str:
                raise ValueError
            number = values.parse_boolean(value)
        except ValueError:
            raise _refusal(field, value, "true or false") from None
        return missing if number != number else (number, None)

    return *_NO_NUMBERS, _NO_TEXTS, converter


def _time(field: Mapping[str, Any]) -> Usual:
    missing, style = (_NAN, _missing(field["name"])), field.get("format") or "iso8601"
    low, high = _bounds(field)

    def converter(value: Any) -> tuple[float, Notice | None]:
        if value is None:
            return missing
        try:
            if value.__class__ is not str:
                raise ValueError
            try:
                seconds = values.parse_time(value, style)
            except ValueError:
                seconds = values.parse_time(value, "iso8601")
        except ValueError:
            wanted = "a time in ISO 8601" + (f" or as {style!r:.60}" if style != "iso8601" else "")
            raise _refusal(field, value, wanted) from None
        if seconds != seconds:
            return missing
        return seconds, None if low <= seconds <= high else _outside(field, value)

    return *_NO_NUMBERS, _NO_TEXTS, converter


def _category(field: Mapping[str, Any]) -> Usual:
    missing, known = (None, _missing(field["name"])), frozenset(field.get("categories", ()))

    def converter(value: Any) -> tuple[str | None, Notice | None]:
        if value.__class__ is not str:
            if value is None:
                return missing
            if not isinstance(value, (bool, int, float)) or (spelling := _json(value)) not in known:
                raise _refusal(field, value, "a text")
            return spelling, None
        if value in known:
            return value, None
        if values.is_missing(value):
            return missing
        message = f"Training saw no {value!r:.60} in the field {field['name']!r:.100}"
        return value, ("unseen", message)

    return *_NO_NUMBERS, known, converter


def _text(field: Mapping[str, Any]) -> Usual:
    missing = (None, _missing(field["name"]))

    def converter(value: Any) -> tuple[str | None, Notice | None]:
        if value is None:
            return missing
        if value.__class__ is not str:
            raise _refusal(field, value, "a text")
        return missing if values.is_missing(value) else (value, None)

    return *_NO_NUMBERS, _NO_TEXTS, converter


def _json(value: bool | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:
        return ""
    return repr(value)


_CONVERTERS: dict[str, Callable[[Mapping[str, Any]], Usual]] = {
    "number": _number,
    "boolean": _boolean,
    "category": _category,
    "text": _text,
    "time": _time,
}
