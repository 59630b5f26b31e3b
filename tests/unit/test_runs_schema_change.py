"""A new file for a known dataset: what it changes for callers is told and noted."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from millrace import keys
from millrace.registry.registry import Registry
from tests.fakes import MemoryTasks
from tests.unit.test_registry import PLAN, draft
from tests.world import CARS, World

FIELDS: list[dict[str, Any]] = [
    {"name": "colour", "type": "category", "categories": ["blue", "green", "red"]},
    {"name": "doors", "type": "number", "minimum": 2.0, "maximum": 5.0},
]


def warnings_of(data: bytes, spec: bytes = b"{}", *, live: bool = True) -> tuple[World, str, tuple[str, ...]]:
    """Take a file as far as its schema, in the place of a model of colour and doors."""
    world = World()
    world.data.put("datasets/cars/spec.json", spec)
    registry = Registry(world.artifacts)
    version = registry.register(
        draft("cars-1", model="cars", task="regression", target="price", signature=tuple(FIELDS)), PLAN
    )
    if live:
        registry.promote("cars", version.version, by="me", why="")
    run_id = world.prepare(data)
    return world, run_id, world.runs.get(run_id).warnings


def table(header: str, *columns: list[Any]) -> bytes:
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([header, *lines, ""]).encode()


COLOURS = list(itertools.islice(itertools.cycle(["red", "green", "blue"]), 120))
DOORS = [2 + n % 4 for n in range(120)]
PRICES = [1000 + 37 * n for n in range(120)]
HELD = "will not go live by itself"


def test_nothing_is_said_of_a_file_like_the_last_one_nor_of_a_first_one() -> None:
    for live in (True, False):
        world, run_id, warnings = warnings_of(CARS, live=live)
        assert not any("column" in text and ("new" in text or "missing" in text) for text in warnings)
        assert not any(HELD in text for text in warnings)
        noted = list(world.artifacts.list(keys.schema_change(run_id)))
        assert noted == ([keys.schema_change(run_id)] if live else [])


@pytest.mark.parametrize(
    ("data", "kinds", "word", "held"),
    [
        (
            table("colour,doors,age,price", COLOURS, DOORS, [n % 90 for n in range(120)], PRICES),
            [("added", "age")],
            "'age' is new and never empty",
            True,
        ),
        (
            table("colour,doors,age,price", COLOURS, DOORS, ["" if n % 5 else n for n in range(120)], PRICES),
            [("added", "age")],
            "a request may do without",
            False,
        ),
        (table("colour,price", COLOURS, PRICES), [("missing", "doors")], "'doors' is missing", False),
        (
            table("colour,Doors,price", COLOURS, DOORS, PRICES),
            [("renamed", "doors")],
            "probably called 'Doors' now",
            True,
        ),
        (
            table("colour,doors,price", COLOURS, [["two", "four"][n % 2] for n in range(120)], PRICES),
            [("retyped", "doors")],
            "'doors' is category and was number",
            True,
        ),
    ],
    ids=["added, never empty", "added, often empty", "missing", "renamed", "retyped"],
)
def test_the_run_says_what_changed(data: bytes, kinds: list[tuple[str, str]], word: str, held: bool) -> None:
    world, run_id, warnings = warnings_of(data)
    assert any(word in text for text in warnings)
    assert any(HELD in text for text in warnings) is held
    noted = json.loads(world.artifacts.get(keys.schema_change(run_id)))
    assert [(change["kind"], change["column"]) for change in noted] == kinds
    assert [change["rejects"] for change in noted] == [held]
    assert world.runs.get(run_id).target == "price", "it trains all the same"
    # The schema itself does not depend on what is live.
    other, other_run, _ = warnings_of(data, live=False)
    assert other.artifacts.get(keys.schema(other_run)) == world.artifacts.get(keys.schema(run_id))


def test_the_spec_may_allow_it() -> None:
    data = table("colour,doors,price", COLOURS, [["two", "four"][n % 2] for n in range(120)], PRICES)
    _, _, warnings = warnings_of(data, b'{"allow_schema_change": true}')
    assert any("'doors' is category" in text for text in warnings)
    assert not any(HELD in text for text in warnings)


def test_of_very_many_changes_the_rest_is_counted() -> None:
    columns = [[(n + k) % 7 for n in range(120)] for k in range(30)]
    header = ",".join(["colour", "doors", *(f"x{k}" for k in range(30)), "price"])
    world, run_id, warnings = warnings_of(table(header, COLOURS, DOORS, *columns, PRICES))
    assert any("10 more changes stand in schema_change.json" in text for text in warnings)
    assert len(json.loads(world.artifacts.get(keys.schema_change(run_id)))) == 30


def test_a_column_that_the_last_file_had_and_its_model_did_without_is_not_new() -> None:
    """As one that gave the target away, which training left out."""
    world, _, _ = warnings_of(CARS)
    header, ages = "colour,doors,age,price", [n % 90 for n in range(120)]
    data = table(header, COLOURS, DOORS, ages, PRICES)
    world.tasks = MemoryTasks()
    first = world.prepare(data, "datasets/cars/a.csv")
    assert json.loads(world.artifacts.get(keys.schema_change(first)))[0]["column"] == "age"
    schema = world.artifacts.get(keys.schema(first))
    world.artifacts.put(keys.version("cars", 1, "schema.json"), schema)
    world.tasks = MemoryTasks()
    second = world.prepare(data, "datasets/cars/b.csv")
    assert json.loads(world.artifacts.get(keys.schema_change(second))) == []
