"""A row to train on is read by the rule of ``POST /predict``, and written so that training reads the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.plan import Signature, convert
from millrace.streams import Labelled
from millrace.values import NUMBER_STYLES, parse_number

FIELDS: list[dict[str, Any]] = [
    {"name": "age", "type": "number", "minimum": 0.0, "maximum": 90.0},
    {"name": "size", "type": "number", "format": "decimal-comma"},
    {"name": "member", "type": "boolean"},
    {"name": "city", "type": "category", "categories": ["1", "Bern", "true"]},
    {"name": "note", "type": "text"},
    {"name": "seen", "type": "time", "format": "%d.%m.%Y"},
    {"name": "moved", "type": "time", "format": "iso8601"},
]
CLASSES = Labelled(
    Signature(FIELDS, ["key", "label"]), {"name": "label", "type": "category", "categories": ["no", "yes"]}
)
NUMBERS = Labelled(
    Signature(FIELDS, ["label"]), {"name": "label", "type": "number", "format": "decimal-comma"}
)


@pytest.mark.parametrize(
    ("field", "value", "cell"),
    [
        ("age", 3, "3"),
        ("age", 3.25, "3.25"),
        ("age", 400, "400"),
        ("age", " 4e1", " 4e1"),
        ("age", "NA", ""),
        ("age", None, ""),
        ("size", 1.5, "1,5"),
        ("size", 7, "7"),
        ("size", "2,25", "2,25"),
        ("member", True, "true"),
        ("member", 0, "false"),
        ("member", "Yes", "Yes"),
        ("city", 1, "1"),
        ("city", True, "true"),
        ("city", "Ulm", "Ulm"),
        ("city", "  ", ""),
        ("note", 'a "b", c\nd', 'a "b", c\nd'),
        ("seen", "05.11.2026", "05.11.2026"),
        ("seen", "2026-11-05", "05.11.2026"),
        ("moved", "2026-11-05T10:00:00Z", "2026-11-05T10:00:00Z"),
        ("key", 12, "12"),
        ("key", 1.5, "1.5"),
        ("key", False, "false"),
        ("key", "007", "007"),
    ],
)
def test_a_value_is_spelled_as_its_column_has_it(field: str, value: Any, cell: str) -> None:
    cells, wrong = CLASSES.cells(0, {field: value, "label": "yes"})
    assert wrong == []
    assert cells == {"label": "yes"} | ({field: cell} if cell else {})
    described = next((one for one in FIELDS if one["name"] == field), None)
    if described is not None:
        read, said = convert(described, cell)[0], convert(described, value)[0]
        assert read == said or (read != read and said != said)


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"age": "old"}, "value-type", "age"),
        ({"age": 1e999}, "value-type", "age"),
        ({"age": True}, "value-type", "age"),
        ({"size": "1.5"}, "value-type", "size"),
        ({"member": 2}, "value-type", "member"),
        ({"city": 7}, "value-type", "city"),
        ({"note": 7}, "value-type", "note"),
        ({"note": "\x00"}, "value-type", "note"),
        ({"note": "\ud800"}, "value-type", "note"),
        ({"seen": "2026-11-05T10:00:00Z"}, "value-type", "seen"),
        ({"key": []}, "value-type", "key"),
        ({"key": "\x1b"}, "value-type", "key"),
        ({"aeg": 3}, "field-unknown", "aeg"),
        ({"label": None}, "target-missing", "label"),
        ({"label": " "}, "target-missing", "label"),
        ({"label": "maybe"}, "class-unknown", "label"),
        ({"label": 1}, "value-type", "label"),
    ],
)
def test_what_does_not_fit_is_named(row: dict[str, Any], code: str, field: str) -> None:
    _, wrong = CLASSES.cells(4, {"label": "no"} | row)
    assert [(one["row"], one["code"], one["field"]) for one in wrong] == [(4, code, field)]
    assert wrong[0]["message"]


def test_a_number_to_predict_is_spelled_in_the_files_own_style() -> None:
    assert NUMBERS.cells(0, {"label": 2.5})[0] == {"label": "2,5"}
    assert NUMBERS.cells(0, {"label": "2,5"})[0] == {"label": "2,5"}
    assert NUMBERS.cells(0, {})[1][0]["code"] == "target-missing"
    assert NUMBERS.cells(0, {"label": "NA"})[1][0]["code"] == "target-missing"
    assert NUMBERS.cells(0, {"label": "much"})[1][0]["code"] == "value-type"


@pytest.mark.parametrize("style", [*NUMBER_STYLES, "%", "decimal-comma %", "thousands-comma $"])
@given(value=st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_the_same_in_every_style(style: str, value: float) -> None:
    field = {"name": "x", "type": "number", "format": style}
    cells, wrong = Labelled(Signature([field], ["y"]), {"name": "y", "type": "text"}).cells(
        0, {"x": value, "y": "z"}
    )
    assert wrong == []
    assert parse_number(cells["x"], style) == float(value)


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    _, wrong = CLASSES.cells(0, {"age": "old", "member": "perhaps", "x": 1})
    assert [one["field"] for one in wrong] == ["age", "label", "member", "x"]
