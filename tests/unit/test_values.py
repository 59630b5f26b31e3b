from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.values import is_missing, is_missing_word, parse_boolean, parse_number, parse_time


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
