"""What a cell's text means: one reading for training and serving alike.

Only the empty field, blanks aside, is missing everywhere. A word such as ``NA`` is missing only in a column
that is otherwise numbers or times; in a text or category column it is a value like any other.

``predict`` imports this module, so it imports nothing at the top.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = [
    "MISSING_WORDS",
    "NAN",
    "NUMBER_STYLES",
    "is_missing",
    "is_missing_word",
    "is_number_style",
    "parse_boolean",
    "parse_number",
    "parse_time",
    "read_number",
    "read_time",
]

NAN: Final = float("nan")
"""The missing number, boolean and time."""

_GROUPED: Final = {
    "thousands-comma": (",", "."),
    "thousands-point": (".", ","),
    "thousands-space": (" \u00a0\u202f\u2009", "."),
    "thousands-space-decimal-comma": (" \u00a0\u202f\u2009", ","),
    "thousands-apostrophe": ("'\u2019", "."),
}
"""Styles of numbers in groups of three digits: what may stand between the groups, and the decimal mark."""

NUMBER_STYLES: Final = ("", "decimal-comma", *_GROUPED)
"""How a column of numbers is written: ``1234.5``, ``1234,5``, ``1,234.5``, ``1.234,5``, ``1 234.5``,
``1 234,5``, ``1'234.5``. A sign of percent or currency may follow after a blank: ``thousands-comma $`` or,
with the first style, ``%``."""

_SIGN_CHARACTERS: Final = 4
MISSING_WORDS: Final = frozenset(
    (
        "na",
        "n/a",
        "#n/a",
        "nan",
        "-nan",
        "<na>",
        "nat",
        "null",
        "(null)",
        "none",
        "nil",
        "\\n",
        "missing",
        "-",
        "--",
        "?",
        ".",
        "#null!",
        "#value!",
        "#div/0!",
        "#ref!",
        "#num!",
        "#name?",
    )
)
"""Words, in lower case, that stand for a missing value in a column of numbers or times."""

_TRUE: Final = frozenset(("true", "t", "yes", "y", "on", "1"))
_FALSE: Final = frozenset(("false", "f", "no", "n", "off", "0"))
_INFINITY: Final = float("inf")


def is_missing(text: str) -> bool:
    """Return whether the field is empty, blanks aside: missing in a column of any type."""
    return not text or text.isspace()


def is_missing_word(text: str) -> bool:
    """Return whether the field holds a word that is missing in a column of numbers or times."""
    return text.strip().lower() in MISSING_WORDS


def parse_number(text: str, style: str = "") -> float:
    """Read a number.

    Parameters
    ----------
    text : str
        A decimal number in ASCII digits, with or without sign, fraction and exponent; blanks around it
        are skipped.
    style : str
        One of ``NUMBER_STYLES``, with or without a sign.

    Returns
    -------
    float
        The nearest float64; NaN when the field is empty or a missing word.

    Raises
    ------
    ValueError
        The field is no number, or none that float64 can hold: infinity, ``1e400``.
    """
    try:
        value = read_number(text, style)
    except ValueError:
        if is_missing(text) or is_missing_word(text):
            return NAN
        raise
    if value - value != 0.0:
        raise ValueError(f"{text.strip()[:40]!r} is infinite or too large for a 64-bit float")
    return value


def read_number(text: str, style: str = "") -> float:
    """Read a number like :func:`parse_number`, but return infinity where float64 ends, and no NaN.

    Raises
    ------
    ValueError
        The field is no number.
    """
    if style and style != "decimal-comma":
        return _read_styled(text, style)
    if style:
        if "." in text:
            raise ValueError(f"{text.strip()[:40]!r} is not a number with a decimal comma")
        text = text.replace(",", ".", 1)
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text.strip()[:40]!r} is not a number") from None
    # float() also reads 1_000, digits of other scripts, and nan.
    if value != value or "_" in text or not text.strip().isascii():
        raise ValueError(f"{text.strip()[:40]!r} is not a number")
    return value


def is_number_style(style: str) -> bool:
    """Return whether numbers can be written so; see ``NUMBER_STYLES``."""
    base, sign = _split_style(style)
    marked = len(sign) <= _SIGN_CHARACTERS and not any(mark.isdigit() or mark in " .,+-" for mark in sign)
    return base in NUMBER_STYLES and marked


def _split_style(style: str) -> tuple[str, str]:
    if style in NUMBER_STYLES:
        return style, ""
    base, _, sign = style.rpartition(" ")
    return base, sign


def _read_styled(text: str, style: str) -> float:
    """Read a number that is grouped or bears a sign: percent must stand, a currency's sign may.

    Percents stay what they are, ``12%`` is 12. Parentheses are the accountant's minus.
    """
    base, sign = _split_style(style)
    refusal = ValueError(f"{text.strip()[:40]!r} is not a number in the style {style!r}")
    body = text.strip()
    negative = body[:1] == "(" and body[-1:] == ")"
    if negative:
        body = body[1:-1].strip()
    signed = body[:1] in ("+", "-", "\u2212")
    if signed:
        negative ^= body[0] != "+"
        body = body[1:].lstrip()
    if sign:
        if body.startswith(sign):
            body = body[len(sign) :].lstrip()
        elif body.endswith(sign):
            body = body[: -len(sign)].rstrip()
        elif sign == "%":
            raise refusal
        if not signed and body[:1] in ("+", "-", "\u2212"):
            negative ^= body[0] != "+"
            body = body[1:]
    marks, decimal = _GROUPED.get(base, ("", "," if base == "decimal-comma" else "."))
    whole, point, fraction = body.partition(decimal)
    mark = next((mark for mark in marks if mark in whole), "")
    if mark:
        first, *groups = whole.split(mark)
        if not 0 < len(first) < 4 or first[0] == "0" or any(len(group) != 3 for group in groups):
            raise refusal
        whole = first + "".join(groups)
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit() or not whole:
        raise refusal
    value = float(f"{whole}.{fraction}" if point else whole)
    return -value if negative else value


def parse_boolean(text: str) -> float:
    """Read a boolean: true/false, t/f, yes/no, y/n, on/off, 1/0 in any case.

    Returns
    -------
    float
        1.0 or 0.0; NaN when the field is empty.

    Raises
    ------
    ValueError
        The field is none of these words.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return 1.0
    if word in _FALSE:
        return 0.0
    if not word:
        return NAN
    raise ValueError(f"{word[:40]!r} is not a boolean")


def parse_time(text: str, format: str) -> float:
    """Read a point in time.

    Parameters
    ----------
    text : str
        The field.
    format : str
        ``"iso8601"`` or a format of ``datetime.strptime``. A time without a zone is taken as UTC.

    Returns
    -------
    float
        Seconds since 1970-01-01T00:00:00Z; NaN when the field is empty or a missing word.

    Raises
    ------
    ValueError
        The field is no such time.
    """
    try:
        return read_time(text, format)
    except ValueError:
        if is_missing(text) or is_missing_word(text):
            return NAN
        raise


def read_time(text: str, format: str) -> float:
    """Read a time like :func:`parse_time`, but refuse the empty field and the missing words.

    Raises
    ------
    ValueError
        The field is no such time.
    """
    # Imported here: a model without a time column never needs it.
    from datetime import UTC, datetime, timedelta

    text = text.strip()
    if format == "iso8601":
        # fromisoformat also reads 20240131 and 2024W05: those are numbers and codes to people.
        if text[4:5] != "-" or not text.isascii():
            raise ValueError(f"{text[:40]!r} is not an ISO 8601 time")
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not an ISO 8601 time") from None
    else:
        try:
            moment = datetime.strptime(text, format)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a time in the format {format!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is outside the years 1 to 9999") from None
