"""What a value of a request becomes, and what is said about it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import Unprocessable
from millrace.plan import Signature, convert

NUMBER = {"name": "age", "type": "number", "minimum": -1500.0, "maximum": 2.0**53}
COMMA = {"name": "price", "type": "number", "format": "decimal-comma"}
FLAG = {"name": "member", "type": "boolean"}
CITY = {"name": "city", "type": "category", "categories": ["Bern", "3", "true", "2.5", " x", "NA"]}
NOTE = {"name": "note", "type": "text"}
WHEN = {"name": "when", "type": "time", "format": "iso8601"}
GERMAN = {"name": "tag", "type": "time", "format": "%d.%m.%Y"}

CONVERTED: list[tuple[dict[str, Any], Any, float | str]] = [
    (NUMBER, 3, 3.0),
    (NUMBER, -2.5, -2.5),
    (NUMBER, "120", 120.0),
    (NUMBER, " -1.5e3 ", -1500.0),
    (NUMBER, 2**53 + 1, 2.0**53),
    (COMMA, "1,5", 1.5),
    (COMMA, 1.5, 1.5),
    (FLAG, True, 1.0),
    (FLAG, False, 0.0),
    (FLAG, 1, 1.0),
    (FLAG, 0.0, 0.0),
    (FLAG, "YES", 1.0),
    (FLAG, "false", 0.0),
    (CITY, "Bern", "Bern"),
    (CITY, 3, "3"),
    (CITY, 2.5, "2.5"),
    (CITY, True, "true"),
    (CITY, " x", " x"),
    (CITY, "NA", "NA"),
    (NOTE, "any words", "any words"),
    (NOTE, "NA", "NA"),
    (WHEN, "1970-01-02", 86400.0),
    (WHEN, "1970-01-01T01:00:00+01:00", 0.0),
    (WHEN, "1970-01-01T00:00:00.5Z", 0.5),
    (GERMAN, "02.01.1970", 86400.0),
    (GERMAN, "1970-01-02", 86400.0),
]

REFUSED: list[tuple[dict[str, Any], Any]] = [
    (NUMBER, True),
    (NUMBER, "abc"),
    (NUMBER, "1,5"),
    (NUMBER, "1_000"),
    (NUMBER, "٣"),
    (NUMBER, "inf"),
    (NUMBER, "1e400"),
    (NUMBER, math.inf),
    (NUMBER, math.nan),
    (NUMBER, 10**400),
    (NUMBER, [1]),
    (NUMBER, {"a": 1}),
    (COMMA, "1.5"),
    (FLAG, 2),
    (FLAG, "perhaps"),
    (FLAG, []),
    (CITY, 4),
    (CITY, 3.0),
    (CITY, False),
    (CITY, 10**5000),
    (CITY, ["Bern"]),
    (NOTE, 5),
    (NOTE, True),
    (NOTE, {}),
    (WHEN, "yesterday"),
    (WHEN, "02.01.1970"),
    (WHEN, 86400),
    (GERMAN, "31.02.1970"),
    (GERMAN, False),
]

MISSING: list[tuple[dict[str, Any], Any]] = [
    (NUMBER, None),
    (NUMBER, ""),
    (NUMBER, "N/A"),
    (FLAG, None),
    (FLAG, " "),
    (CITY, None),
    (CITY, ""),
    (NOTE, None),
    (NOTE, "  "),
    (WHEN, None),
    (WHEN, "nan"),
    (GERMAN, ""),
]


def name(value: Any) -> str:
    return value["name"] if isinstance(value, dict) and "name" in value else f"{str(type(value))[8:-2]}"


@pytest.mark.parametrize(("field", "value", "expected"), CONVERTED, ids=name)
def test_what_converts_without_loss_is_converted(
    field: dict[str, Any], value: Any, expected: float | str
) -> None:
    assert convert(field, value) == (expected, None)
    assert type(convert(field, value)[0]) is type(expected)


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=name)
def test_any_other_type_is_refused_by_field(field: dict[str, Any], value: Any) -> None:
    with pytest.raises(Unprocessable) as refusal:
        convert(field, value)
    assert refusal.value.code == "value-type"
    assert refusal.value.where == f"field '{field['name']}'"
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(("field", "value"), MISSING, ids=name)
def test_what_the_file_calls_missing_is_missing(field: dict[str, Any], value: Any) -> None:
    converted, warning = convert(field, value)
    assert warning == ("missing", f"The field '{field['name']}' has no value")
    if field["type"] in ("category", "text"):
        assert converted is None
    else:
        assert isinstance(converted, float) and math.isnan(converted)


def test_an_unseen_category_is_passed_on_with_a_warning() -> None:
    value, warning = convert(CITY, "Köln")
    assert value == "Köln"
    assert warning == ("unseen", "Training saw no 'Köln' in the field 'city'")


@pytest.mark.parametrize(
    ("field", "inside", "outside", "message"),
    [
        (
            {"name": "age", "type": "number", "minimum": 0, "maximum": 99.5},
            [0, 99.5, "12", None],
            [-0.001, 99.6, "-1", 1e300],
            "lies outside what training saw in 'age': 0 to 99.5",
        ),
        (
            {"name": "when", "type": "time", "minimum": 0.0, "maximum": 86400.0},
            ["1970-01-01", "1970-01-02", ""],
            ["1969-12-31T23:59:59Z", "1970-01-02T00:00:01Z"],
            "in 'when': 1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z",
        ),
        ({"name": "age", "type": "number", "minimum": 0}, [0, 1e300], [-1], "in 'age': 0 to inf"),
        ({"name": "when", "type": "time", "minimum": 1e300}, [None], ["1970-01-01"], "seconds since 1970"),
    ],
)
def test_a_value_outside_what_training_saw_is_passed_on_with_a_warning(
    field: dict[str, Any], inside: list[Any], outside: list[Any], message: str
) -> None:
    for value in inside:
        assert (convert(field, value)[1] or ("missing",))[0] == "missing"
    for value in outside:
        converted, warning = convert(field, value)
        assert isinstance(converted, float)
        assert warning is not None
        assert warning[0] == "outside"
        assert warning[1].endswith(message)


@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_a_bound_that_is_no_number_is_no_field(bound: str) -> None:
    assert Signature.is_field({"name": "age", "type": "number", bound: 1})
    assert not Signature.is_field({"name": "age", "type": "number", bound: "1"})


def signature() -> Signature:
    return Signature([NUMBER, CITY, NOTE], ["id", "target"])


def test_a_row_comes_out_in_the_order_of_the_fields() -> None:
    values, warnings = signature().convert_row({"note": "n", "id": object(), "city": "Bern", "age": "7"})
    assert values == [7.0, "Bern", "n"]
    assert warnings == []


def test_warnings_name_field_and_code() -> None:
    values, warnings = signature().convert_row({"city": "Rom", "note": None, "zip": 1})
    assert math.isnan(values[0])  # type: ignore[arg-type]
    assert values[1:] == ["Rom", None]
    assert [(field, code) for field, code, _ in warnings] == [
        ("age", "missing"),
        ("city", "unseen"),
        ("note", "missing"),
        ("zip", "unknown-field"),
    ]


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"age": None, "city": "Bern", "note": "n"}, "missing", "age"),
        ({"age": 1, "city": "Rom", "note": "n"}, "unseen", "city"),
        ({"age": 1, "city": "Bern", "note": "n", "zip": 1}, "unknown-field", "zip"),
    ],
)
def test_strict_refuses_what_would_be_a_warning(row: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        signature().convert_row(row, strict=True)
    assert (refusal.value.code, refusal.value.where) == (code, f"field '{field}'")


def test_strict_accepts_what_is_right() -> None:
    assert signature().convert_row({"age": 1, "city": "Bern", "note": "n", "id": 5}, strict=True)[1] == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)


@given(st.sampled_from([NUMBER, COMMA, FLAG, CITY, NOTE, WHEN, GERMAN]), json_values)
def test_any_value_is_converted_or_refused(field: dict[str, Any], value: Any) -> None:
    try:
        converted, _ = convert(field, value)
    except Unprocessable as refusal:
        assert refusal.code == "value-type"
        return
    if field["type"] in ("category", "text"):
        assert converted is None or isinstance(converted, str)
    else:
        assert isinstance(converted, float) and not math.isinf(converted)
