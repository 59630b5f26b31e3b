"""The search as a plan: who is trained on what by which invocation, and who goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts import Budget, Column, Schema
from millrace.features.candidates import CANDIDATES, candidate_names
from millrace.features.limits import LIMITS, fold_count
from millrace.features.search import (
    Unit,
    exact_candidates,
    first_round,
    going_on,
    second_round,
    training_rows,
)

NAMES = tuple(CANDIDATES)


def schema(columns: int) -> Schema:
    features = tuple(Column(f"c{i}", i, "number", "feature") for i in range(columns))
    return Schema(
        (*features, Column("y", columns, "category", "target")), "y", "binary", "roc_auc", ("a", "b")
    )


@pytest.mark.parametrize("budget", get_args(Budget))
@given(rows=st.integers(5, 3_000_000), columns=st.integers(1, 40))
def test_both_rounds_train_every_fold_of_those_that_go_on_once(
    budget: Budget, rows: int, columns: int
) -> None:
    table = schema(columns)
    trained = training_rows(rows, budget)
    names = candidate_names(table, budget, trained)
    folds = set(range(fold_count(LIMITS[budget], trained)))
    first = first_round(table, budget, rows)
    assert set(first.names) == set(names)
    on = going_on(first.names, {name: float(i) for i, name in enumerate(names)}, "roc_auc", budget)
    second = second_round(table, budget, rows, on)
    assert bool(second) == first.more
    units = [*first.units, *second]
    assert [unit.part for unit in units] == list(range(len(units)))
    times = Counter((name, fold) for unit in units for name in unit.candidates for fold in unit.folds)
    assert set(times.values()) == {1}
    for name in on if first.more else names:
        assert {fold for of, fold in times if of == name} == folds


def test_small_tables_share_invocations_and_large_ones_have_one_a_fold() -> None:
    small = first_round(schema(4), "standard", 150)
    assert not small.more
    assert max(len(unit.candidates) for unit in small.units) == 3
    thorough = first_round(schema(4), "thorough", 150)
    assert not thorough.more
    assert {len(unit.candidates) for unit in thorough.units} == {1}, "its fits take longer than a start"
    large = first_round(schema(30), "standard", 200_000)
    assert large.more
    assert {unit.folds for unit in large.units} == {(0,)}
    assert second_round(schema(30), "standard", 200_000, ["linear"]) == (
        Unit(len(large.units), ("linear",), (1,)),
        Unit(len(large.units) + 1, ("linear",), (2,)),
    )


def test_the_best_of_each_family_goes_on_and_then_the_best() -> None:
    names = ("linear", "boosted_trees", "forest", "extra_trees", "boosted_shallow", "boosted_deep", "network")
    scores = {"linear": 0.6, "boosted_trees": 0.93, "forest": 0.7, "extra_trees": 0.71}
    scores |= {"boosted_shallow": 0.92, "boosted_deep": 0.91, "network": 0.5}
    kept = going_on(names, scores, "roc_auc", "standard")
    assert kept == ("linear", "boosted_trees", "extra_trees", "boosted_shallow", "boosted_deep")
    worst = going_on(names, scores, "log_loss", "standard")
    assert worst == ("linear", "forest", "extra_trees", "boosted_deep", "network")


@given(st.lists(st.sampled_from(NAMES), unique=True))
def test_who_goes_on_depends_on_no_order_of_arrival(failed: list[str]) -> None:
    scores = {
        name: None if i % 5 == 0 else float(i % 3) for i, name in enumerate(NAMES) if name not in failed
    }
    turned = dict(reversed(scores.items()))
    on = going_on(NAMES, scores, "rmse", "standard")
    assert on == going_on(NAMES, turned, "rmse", "standard")
    assert not set(on) & set(failed)
    assert len(on) == min(LIMITS["standard"].kept, len(scores))


def test_no_weights_are_summed_over_all_rows_where_rows_are_not_alike() -> None:
    plain = schema(4)
    rows = 3_000_000
    assert exact_candidates(plain, "standard", rows, NAMES)
    assert not exact_candidates(plain, "standard", 150, NAMES)
    for change in (
        {"time_column": "c0"},
        {"group_column": "c0"},
        {"weight_column": "c0"},
        {"class_weight": "balanced"},
        {"task": "regression", "loss": "quantile", "quantile": 0.5},
    ):
        assert exact_candidates(replace(plain, **change), "standard", rows, NAMES) == ()  # type: ignore[arg-type]
