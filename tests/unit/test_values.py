from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.values import (
    is_missing,
    is_missing_word,
    is_number_style,
    parse_boolean,
    parse_number,
    parse_time,
    read_number,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12.0), (" -1.5 ", -1.5), ("+3", 3.0), (".5", 0.5), ("5.", 5.0), ("1e5", 1e5), ("1E-3", 1e-3)],
)
def test_numbers_as_programs_write_them(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "  ", "\t", "NA", "n/a", "NaN", "-nan", "None", "null", "?", "#DIV/0!"])
def test_empty_and_missing_words_are_nan(text: str) -> None:
    assert math.isnan(parse_number(text))
    assert is_missing(text) or is_missing_word(text)


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1e400",
        "inf",
        "-Infinity",
        "1_000",
        "1,000",
        "0x1F",
        "１２",
        "12 kg",
        "1.2.3",
        "abc",
        "5%",
        "$5",
    ],
)
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a number|infinite or too large"):
        parse_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_its_text(value: float) -> None:
    assert parse_number(repr(value)) == value
    assert parse_number(repr(value).replace(".", ","), "decimal-comma") == value


@pytest.mark.parametrize("text", ["1.5", "1.234,5", "1,2,3"])
def test_a_decimal_comma_admits_no_point_and_no_second_comma(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_number(text, "decimal-comma")


@pytest.mark.parametrize(
    ("text", "value"),
    [("TRUE", 1.0), ("t", 1.0), ("Yes", 1.0), ("1", 1.0), (" no ", 0.0), ("OFF", 0.0), ("0", 0.0)],
)
def test_booleans(text: str, value: float) -> None:
    assert parse_boolean(text) == value


def test_a_boolean_is_missing_only_when_empty() -> None:
    assert math.isnan(parse_boolean("  "))
    with pytest.raises(ValueError, match="not a boolean"):
        parse_boolean("NA")


@pytest.mark.parametrize(
    ("text", "format", "seconds"),
    [
        ("1970-01-01", "iso8601", 0.0),
        ("1970-01-02 00:00:01", "iso8601", 86401.0),
        ("1970-01-01T01:00:00+01:00", "iso8601", 0.0),
        ("1970-01-01T00:00:00.25Z", "iso8601", 0.25),
        ("31/12/1969", "%d/%m/%Y", -86400.0),
        ("0001-01-01", "iso8601", -62135596800.0),
        ("9999-12-31", "iso8601", 253402214400.0),
    ],
)
def test_times_are_seconds_in_utc(text: str, format: str, seconds: float) -> None:
    assert parse_time(text, format) == seconds


@pytest.mark.parametrize("text", ["", " ", "NA", "NaT", "null"])
def test_times_are_missing_as_numbers_are(text: str) -> None:
    assert math.isnan(parse_time(text, "iso8601"))


@pytest.mark.parametrize("text", ["20240131", "2024-13-01", "2024W05", "yesterday", "10000-01-01"])
def test_what_is_no_iso_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an ISO 8601 time"):
        parse_time(text, "iso8601")


def test_values_imports_nothing_that_costs_a_cold_start() -> None:
    code = "import sys; old = set(sys.modules); import millrace.values; print(sorted(set(sys.modules) - old))"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": _lib()},
    )
    assert loaded.stdout.strip() == "['__future__', 'millrace', 'millrace.values']"


def _lib() -> str:
    import millrace

    return str(next(iter(millrace.__path__)).rsplit("/", 1)[0])


@pytest.mark.parametrize(
    ("text", "style", "value"),
    [
        ("1,234,567.5", "thousands-comma", 1234567.5),
        ("1234.5", "thousands-comma", 1234.5),
        ("-1,234", "thousands-comma", -1234.0),
        ("1.234.567,5", "thousands-point", 1234567.5),
        ("1.234", "thousands-point", 1234.0),
        ("1\u202f234 567", "thousands-space", None),
        ("1\u202f234\u202f567.25", "thousands-space", 1234567.25),
        ("1 234,5", "thousands-space-decimal-comma", 1234.5),
        ("1\u2019234.5", "thousands-apostrophe", 1234.5),
        ("12%", "%", 12.0),
        ("12 %", "%", 12.0),
        ("12", "%", None),
        ("7,5%", "decimal-comma %", 7.5),
        ("$1,234.50", "thousands-comma $", 1234.5),
        ("-$1.5", "$", -1.5),
        ("$-1.5", "$", -1.5),
        ("($1.50)", "$", -1.5),
        ("1.50", "$", 1.5),
        ("1.234,50 \u20ac", "thousands-point \u20ac", 1234.5),
        ("\u22125 EUR", "EUR", -5.0),
        ("$1.5", "\u20ac", None),
        ("0,123", "thousands-comma", None),
        ("12,34", "thousands-comma", None),
        ("1,2345", "thousands-comma", None),
        ("1,234,", "thousands-comma", None),
        ("--5", "$", None),
        ("$", "$", None),
        ("", "$", None),
        ("nan", "$", None),
        ("1_000", "$", None),
        ("\u0663", "$", None),
    ],
)
def test_marked_numbers_are_read_in_their_style(text: str, style: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="is not a number"):
            read_number(text, style)
    else:
        assert read_number(text, style) == value
        assert parse_number(text, style) == value


@given(st.integers(-(10**15), 10**15), st.integers(0, 99))
def test_what_python_groups_is_read_back(number: int, cents: int) -> None:
    text = f"{number:,}.{cents:02}"
    value = float(text.replace(",", ""))
    assert read_number(text, "thousands-comma") == value
    swapped = text.translate(str.maketrans(",.", ".,"))
    assert read_number(swapped, "thousands-point") == value
    assert read_number(f"{swapped} €", "thousands-point €") == value


def test_styles_are_known() -> None:
    assert all(is_number_style(style) for style in ("", "decimal-comma", "%", "thousands-comma $", "EUR"))
    assert not any(is_number_style(style) for style in ("thousands", "x 5", "$ %", "1"))
