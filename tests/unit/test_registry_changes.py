"""What became of a model's fields, and two versions side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millrace.registry.changes import Interface, changes
from millrace.registry.compare import MetricPair, compare
from millrace.registry.versions import Lineage, Updated
from tests.unit.test_registry import draft


def number(name: str, low: float = 0.0, high: float = 10.0, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "number", "minimum": low, "maximum": high, **more}


def category(name: str, *categories: str) -> dict[str, Any]:
    return {"name": name, "type": "category", "categories": list(categories)}


def interface(*fields: dict[str, Any], required: tuple[str, ...] = (), **changes: Any) -> Interface:
    return replace(Interface("species", "binary", fields, ("a", "b"), required), **changes)


def found(old: Interface, new: Interface) -> list[tuple[str, str, bool]]:
    return [(change.kind, change.column, change.rejects) for change in changes(old, new)]


def test_nothing_changed() -> None:
    old = interface(number("mass"), category("island", "x", "y"))
    # Another range, other categories and another order are every day's.
    new = interface(category("island", "y", "z"), number("mass", -5.0, 20.0))
    assert found(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (interface(), interface(number("age")), ("added", "age", False)),
        (interface(), interface(number("age"), required=("age",)), ("added", "age", True)),
        (interface(number("age")), interface(), ("missing", "age", False)),
        (interface(number("age")), interface(category("age", "young")), ("retyped", "age", True)),
        (interface(category("age", "young")), interface(number("age")), ("retyped", "age", True)),
        (
            interface(category("note", "x")),
            interface({"name": "note", "type": "text"}),
            ("retyped", "note", False),
        ),
        (interface(number("Body Mass")), interface(number("body_mass")), ("renamed", "Body Mass", False)),
        (
            interface(number("Body Mass")),
            interface(number("body_mass"), required=("body_mass",)),
            ("renamed", "Body Mass", True),
        ),
        (interface(number("a")), interface(number("b", 0.0, 9.5)), ("renamed", "a", False)),
        (
            interface(category("a", "x", "y", "z")),
            interface(category("b", "x", "y", "z")),
            ("renamed", "a", False),
        ),
        (
            interface({"name": "day", "type": "time", "format": "%d.%m.%Y"}),
            interface({"name": "day", "type": "time", "format": "iso8601"}),
            ("respelled", "day", True),
        ),
        (interface(), interface(classes=("a", "b", "c")), ("class-added", "species", False)),
        (interface(), interface(classes=("a",)), ("class-gone", "species", True)),
        (interface(), interface(target="sex"), ("target", "species", True)),
        (interface(), interface(task="regression", classes=()), ("task", "species", True)),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_each_kind_of_change(old: Interface, new: Interface, expected: tuple[str, str, bool]) -> None:
    assert found(old, new) == [expected]
    (change,) = changes(old, new)
    assert change.says.endswith(".")
    assert change.column in change.says or change.kind.startswith(("class", "target", "task"))


def test_what_is_not_alike_is_not_renamed() -> None:
    old = interface(number("a", 0.0, 1.0), category("b", "x", "y"))
    new = interface(number("c", 50.0, 90.0), category("d", "p", "q"))
    assert found(old, new) == [
        ("missing", "a", False),
        ("missing", "b", False),
        ("added", "c", False),
        ("added", "d", False),
    ]


def test_versions_are_compared_by_metrics_fields_and_what_made_them() -> None:
    lineage = Lineage("s3://data/a.csv", "v1", "e1", 10, {"seed": 0, "budget": "quick"}, "s1", "0.1.0+aa")
    old = draft(version=1, signature=(number("mass"),), lineage=lineage, rows={"trained": 8})
    made = replace(lineage, file_version="v2", spec={"seed": 1, "budget": "quick"})
    new = replace(
        old,
        version=2,
        metrics={"roc_auc": 0.7, "log_loss": 0.5, "f1_macro": 0.4},
        signature=(number("mass"), number("age", 200.0, 300.0)),
        lineage=made,
        rows={"trained": 9},
    )
    comparison = compare(new, old)
    assert comparison.metrics == {
        "roc_auc": MetricPair(0.7, 0.8, 1),
        "log_loss": MetricPair(0.5, 0.5, None),
        "f1_macro": MetricPair(0.4, None, None),
    }
    assert [change.kind for change in comparison.changes] == ["added"]
    assert comparison.differences == {
        "file_version": ("v1", "v2"),
        "spec.seed": (0, 1),
        "rows.trained": (8, 9),
    }
    assert compare(new, replace(new, metrics={"log_loss": 0.6})).metrics["log_loss"].better == 2
    further = replace(new, lineage=replace(made, updated=Updated(2, 50, 1, 2)))
    assert compare(further, new).differences["updated.rows"] == (None, 50)
