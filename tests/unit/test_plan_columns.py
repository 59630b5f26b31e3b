"""Columns are converted as rows are: the same values, the same warnings, the same refusals."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millrace.errors import Unprocessable
from millrace.plan import Signature
from millrace.plan.columns import convert_columns, convert_rows

FIELDS: list[dict[str, Any]] = [
    {"name": "n", "type": "number", "minimum": -5.0, "maximum": 5.0},
    {"name": "comma", "type": "number", "format": "decimal-comma"},
    {"name": "b", "type": "boolean"},
    {"name": "c", "type": "category", "categories": ["red", "1", "1.0", "true", ""]},
    {"name": "t", "type": "time", "minimum": 0.0, "maximum": 1e9},
    {"name": "text", "type": "text"},
]
SIGNATURE = Signature(FIELDS, ["id"])

usual = {
    "n": st.floats(-9, 9) | st.integers(-9, 9),
    "comma": st.floats(-9, 9) | st.just("1,5"),
    "b": st.booleans() | st.sampled_from(["yes", 0, 1.0]),
    "c": st.sampled_from(["red", "blue", "", " ", "true"]),
    "t": st.sampled_from(["2001-02-03", "1960-01-01T00:00:00Z", "", "NA"]),
    "text": st.text(max_size=4),
}
strange = st.sampled_from(
    [1, 1.0, True, False, 0, "1", "1e3", "", "NA", "x", 10**400, 1e308, -1e308, [1], {}, float("nan"), -0.0]
)
names = [*usual, "id", "more", "another"]


@st.composite
def requests(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of a request: most ones usual, in a few each cell may be anything and any field absent."""
    odd = draw(st.sampled_from(["nothing", "nulls", "cells", "shapes"]))

    def cell(name: str) -> st.SearchStrategy[Any]:
        values = usual.get(name, st.just(1))
        return values if odd == "nothing" else values | st.none() if odd == "nulls" else values | strange

    row = st.fixed_dictionaries(
        {name: cell(name) for name in draw(st.sampled_from([names, names[:6], names[2:]]))}
    )
    if odd == "shapes":
        row = st.dictionaries(st.sampled_from(names), strange | st.none() | st.text(max_size=2), max_size=5)
    return draw(st.lists(row, min_size=1, max_size=12))


def by_row(rows: list[dict[str, Any]]) -> Any:
    try:
        made = [SIGNATURE.convert_row(row) for row in rows]
    except Unprocessable:
        return "refused"
    return [values for values, _ in made], [(i, *w) for i, (_, warnings) in enumerate(made) for w in warnings]


def by_column(convert: Any, *given_: Any) -> Any:
    try:
        columns, warnings = convert(SIGNATURE, *given_)
    except Unprocessable:
        return "refused"
    assert list(columns) == [field["name"] for field in FIELDS]
    return [list(values) for values in zip(*columns.values(), strict=True)], warnings


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(rows=requests())
@example(rows=[{}])
@example(rows=[{"n": 1e308}, {"n": 1e308}])
def test_columns_are_converted_as_rows_are(rows: list[dict[str, Any]]) -> None:
    expected = by_row(rows)
    # Spelled out, because NaN is in no order, and 1, 1.0 and True are equal.
    assert repr(by_column(convert_rows, rows)) == repr(expected)
    if all(list(row) == list(rows[0]) for row in rows):
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        assert repr(by_column(convert_columns, columns, len(rows))) == repr(expected)


def test_a_refusal_names_the_value() -> None:
    with pytest.raises(Unprocessable, match="'x' is not a finite number"):
        convert_rows(SIGNATURE, [{"n": 1.0}, {"n": "x"}])


NUMBERS = st.lists(st.floats(width=32) | st.floats(0, 50, width=32), min_size=2, max_size=20)


@given(NUMBERS, st.sampled_from(["d", "f"]))
def test_a_view_of_numbers_is_converted_as_its_values_are(values: list[float], code: Any) -> None:
    """NaN is missing there, and infinity refused as everywhere."""
    signature = Signature(
        [
            {"name": "bounded", "type": "number", "minimum": -5.0, "maximum": 40.0},
            {"name": "free", "type": "number"},
            {"name": "flag", "type": "boolean"},
        ]
    )
    view = memoryview(array(code, values))
    plain = [None if value != value else value for value in values]
    for step in (1, 2):  # a column of a two-dimensional tensor is no block of memory
        for name in ("bounded", "free", "flag"):
            part = view[::step]
            outcomes = []
            for column in (part, plain[::step]):
                try:
                    columns, warnings = convert_columns(signature, {name: column}, len(part))
                except Unprocessable:
                    outcomes.append("refused")
                else:
                    outcomes.append(repr((list(columns[name]), warnings)))
            assert outcomes[0] == outcomes[1]


def test_a_view_of_whole_numbers_and_of_booleans() -> None:
    signature = Signature([{"name": "count", "type": "number"}, {"name": "flag", "type": "boolean"}])
    counts, flags = memoryview(array("q", [1, -(2**60)])), memoryview(b"\x01\x00").cast("?")
    columns, warnings = convert_columns(signature, {"count": counts, "flag": flags}, 2)
    assert (list(columns["count"]), list(columns["flag"])) == ([1.0, -(2.0**60)], [1.0, 0.0])
    assert warnings == []
    with pytest.raises(Unprocessable):
        convert_columns(signature, {"count": flags}, 2)
