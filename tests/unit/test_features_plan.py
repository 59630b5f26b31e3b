"""The candidates and the feature plan: decided from the schema alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from millrace.contracts import Column, Schema
from millrace.errors import BadInput
from millrace.features.candidates import CANDIDATES, candidate, candidate_names
from millrace.features.plan import NATIVE_LIMIT, Encoding, feature_plan


def schema(*columns: Column) -> Schema:
    target = Column("y", len(columns), "category", "target")
    return Schema((*columns, target), "y", "binary", "roc_auc", ("a", "b"))


def categories(name: str, count: int) -> Column:
    return Column(name, 0, "category", "feature", categories=tuple(f"c{i:04d}" for i in range(count)))


ALL_TYPES = schema(
    Column("n", 0, "number", "feature"),
    Column("b", 1, "boolean", "feature"),
    categories("few", 3),
    Column("t", 3, "time", "feature"),
    Column("x", 4, "text", "feature"),
    Column("id", 5, "number", "identifier", "every row has its own"),
)


TARGET = Column("y", 6, "number", "target", minimum=0.0, maximum=9.0)


def kinds(family: str, table: Schema = ALL_TYPES) -> list[tuple[str, str]]:
    encodings = feature_plan(table, family).encodings  # type: ignore[arg-type]
    return [(e.column, e.kind) for e in encodings if e.kind != "target"]


def test_each_type_has_its_encoder_and_only_features_are_encoded() -> None:
    one_hot = [("n", "number"), ("b", "boolean"), ("few", "one-hot"), ("t", "time"), ("x", "text")]
    native = [(name, "native" if kind == "one-hot" else kind) for name, kind in one_hot]
    assert kinds("linear") == one_hot
    assert kinds("forest") == [*one_hot, ("x", "code")]
    assert kinds("boosted") == [*native, ("x", "code")]


def test_what_may_be_a_name_of_many_things_may_become_the_mean_of_the_target() -> None:
    table = replace(ALL_TYPES, columns=(*ALL_TYPES.columns, categories("many", 300), categories("some", 40)))
    assert feature_plan(table, "linear").columns("target") == ("n", "x", "many")
    assert feature_plan(table, "forest").columns("target") == ("n", "many", "some")
    assert feature_plan(table, "boosted").columns("target") == ("n", "x", "many")
    wide = replace(table, classes=tuple(f"c{i:02d}" for i in range(11)))
    assert feature_plan(wide, "linear").columns("target") == ()


@pytest.mark.parametrize(
    ("family", "count", "expected"),
    [
        ("linear", 5000, ["one-hot"]),
        ("forest", 12, ["one-hot"]),
        ("forest", 13, ["code"]),
        ("boosted", NATIVE_LIMIT, ["native"]),
        ("boosted", NATIVE_LIMIT + 1, ["native", "code"]),
    ],
)
def test_many_categories_change_the_encoder(family: str, count: int, expected: list[str]) -> None:
    assert [kind for _, kind in kinds(family, schema(categories("many", count)))] == expected


def test_every_choice_has_a_reason_that_says_what_is_grouped() -> None:
    plan = feature_plan(schema(categories("many", 300)), "boosted")
    assert plan.encodings[0] == Encoding(
        "many", "native", 254, "300 categories are split as sets; all but the 254 commonest share one."
    )
    assert all(e.reason.endswith(".") for e in feature_plan(ALL_TYPES, "linear").encodings)


def test_a_plan_is_a_frozen_value() -> None:
    plan = feature_plan(ALL_TYPES, "linear")
    assert plan == feature_plan(ALL_TYPES, "linear")
    with pytest.raises(FrozenInstanceError):
        plan.encodings[0].kind = "text"  # type: ignore[misc]


def test_without_features_there_is_nothing_to_learn_from() -> None:
    empty = replace(ALL_TYPES, columns=ALL_TYPES.columns[5:])
    with pytest.raises(BadInput) as caught:
        feature_plan(empty, "linear")
    assert caught.value.code == "no-features"


def test_every_budget_trains_linear_boosting_a_forest_and_one_more() -> None:
    for budget in ("quick", "standard", "thorough"):
        names = candidate_names(ALL_TYPES, budget, 500)
        assert names[:4] == ("linear", "boosted_trees", "forest", "extra_trees")
        assert set(names) <= set(CANDIDATES)
        assert len(set(names)) == len(names)
    counts = [len(candidate_names(ALL_TYPES, budget, 500)) for budget in ("quick", "standard", "thorough")]
    assert counts[0] < counts[1] < counts[2]
    short = replace(ALL_TYPES, columns=tuple(c for c in ALL_TYPES.columns if c.type != "text"))
    assert "support_vectors" in candidate_names(short, "standard", 3_000)
    assert "support_vectors" not in candidate_names(short, "standard", 3_001)
    assert "support_vectors" not in candidate_names(ALL_TYPES, "standard", 500), "words are many columns"
    numbers = replace(ALL_TYPES, columns=(*ALL_TYPES.columns[:-1], TARGET), task="regression")
    assert "log_linear" in candidate_names(numbers, "standard", 500)
    below = replace(numbers, columns=(*ALL_TYPES.columns[:-1], replace(TARGET, minimum=-0.5)))
    assert "log_linear" not in candidate_names(below, "standard", 500)


def test_an_unknown_candidate_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"no candidate called 'oracle'.*linear"):
        candidate("oracle")


def test_deciding_needs_the_standard_library_alone() -> None:
    script = (
        "import sys; import millrace.features.plan, millrace.features.candidates;"
        "print([n for n in ('numpy', 'pandas', 'sklearn', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
