"""Shapley values against a typical row: by their definition, by what must hold, and by their stated error."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.scoring import typical as module
from millrace.scoring.typical import BLOCK_ROWS, EVALUATIONS, EXACT_FIELDS, FEWEST_PAIRS, shapley

Row = Sequence[Any]


class Model:
    """A function of a row that counts what it is asked for."""

    def __init__(self, worth: Callable[[Row], float]) -> None:
        self.worth = worth
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        assert 0 < len(rows) <= BLOCK_ROWS
        self.asked += map(tuple, rows)
        return [self.worth(row) for row in rows]


def random_game(seed: int, typical: Row) -> Callable[[Row], float]:
    """Return a function that is another random number for every set of fields that differ."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=1 << len(typical)).tolist()

    def worth(row: Row) -> float:
        known = [value != usual and value == value for value, usual in zip(row, typical, strict=True)]
        return float(numbers[sum(1 << place for place, differs in enumerate(known) if differs)])

    return worth


def by_definition(row: Row, typical: Row, worth: Callable[[Row], float]) -> list[float]:
    """Return the mean over all orders of what each field adds, the fields that do not differ among them."""
    totals = [0.0] * len(row)
    orders = list(itertools.permutations(range(len(row))))
    for order in orders:
        mixed = list(typical)
        for field in order:
            before = worth(mixed)
            mixed[field] = row[field]
            totals[field] += worth(mixed) - before
    return [total / len(orders) for total in totals]


cells = st.sampled_from([0.0, 1.0, 2.5, math.nan, None, "", "Köln"])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_few_fields_give_the_values_of_the_definition(seed: int, fields: list[tuple[Any, Any]]) -> None:
    row, typical = zip(*fields, strict=True)
    model = Model(random_game(seed, typical))
    found = shapley(row, typical, model)
    assert found.errors is None
    assert found.base == model.worth(typical)
    expected = by_definition(row, typical, model.worth)
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-12, atol=1e-12)
    assert found.base + sum(found.contributions) == pytest.approx(model.worth(row), rel=1e-12, abs=1e-12)
    differing = sum(repr(value) != repr(usual) for value, usual in fields)
    assert len(model.asked) == 1 << differing  # every coalition once


@pytest.mark.parametrize("fields", [0, 1, EXACT_FIELDS, EXACT_FIELDS + 1, 40, 300])
def test_the_answers_that_are_asked_for_are_bounded(fields: int) -> None:
    row, typical = [*([1.0] * fields), "same", math.nan], [*([0.0] * fields), "same", math.nan]
    model = Model(lambda row: math.fsum(row[:fields]) ** 2)
    found = shapley(row, typical, model)
    assert len(model.asked) <= max(EVALUATIONS, 2 * FEWEST_PAIRS * fields)
    assert len(set(map(repr, model.asked))) == len(model.asked)
    assert (found.errors is None) == (fields <= EXACT_FIELDS)
    assert found.contributions[fields:] == [0.0, 0.0]
    # All fields are alike, so they share the answer.
    assert found.contributions[:fields] == pytest.approx([float(fields)] * fields, rel=1e-9)


def three_by_three(seed: int, fields: int) -> tuple[Callable[[Row], float], list[float]]:
    """Return a sum of products of three fields, and its Shapley values: a third to each of the three."""
    rng = np.random.default_rng(seed)
    terms = [(rng.choice(fields, 3, replace=False).tolist(), float(rng.normal())) for _ in range(4 * fields)]
    values = [0.0] * fields
    for chosen, weight in terms:
        for field in chosen:
            values[field] += weight / 3.0
    return (
        lambda row: sum(weight * row[a] * row[b] * row[c] for (a, b, c), weight in terms),
        values,
    )


@pytest.mark.parametrize("fields", [EXACT_FIELDS + 1, 30])
def test_sampled_values_are_within_their_stated_error_and_add_up(fields: int) -> None:
    scores: list[float] = []
    for seed in range(12):
        worth, expected = three_by_three(seed, fields)
        found = shapley([1.0] * fields, [0.0] * fields, Model(worth))
        assert found.errors is not None
        scores += [
            (value - true) / error
            for value, true, error in zip(found.contributions, expected, found.errors, strict=True)
        ]
        assert sum(found.contributions) == pytest.approx(worth([1.0] * fields), abs=1e-12)
        assert max(found.errors) < max(map(abs, expected))
    # Errors in units of the standard error: as Student's distribution with at least 16 degrees has them.
    assert max(map(abs, scores)) < 5.0
    assert 0.7 < float(np.std(scores)) < 1.5


def test_sampled_values_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    typical = [0.0] * 8
    model = Model(random_game(3, typical))
    exact = shapley([1.0] * 8, typical, model)
    monkeypatch.setattr(module, "EXACT_FIELDS", 4)
    sampled = shapley([1.0] * 8, typical, model)
    assert sampled.base == exact.base
    assert sampled.errors is not None
    for value, true, error in zip(sampled.contributions, exact.contributions, sampled.errors, strict=True):
        assert abs(value - true) <= 4.0 * error


def test_a_row_is_explained_alike_every_time() -> None:
    worth, _ = three_by_three(1, 25)
    one, two = (shapley([1.0] * 25, [0.0] * 25, Model(worth)) for _ in range(2))
    assert (one.contributions, one.errors) == (two.contributions, two.errors)


@pytest.mark.parametrize("answer", [math.inf, -math.inf, math.nan, 1e308])
def test_answers_that_are_no_finite_numbers_explain_nothing(answer: float) -> None:
    found = shapley([1.0, 1.0], [0.0, 0.0], Model(lambda row: answer if row[0] else -1e308))
    assert math.isnan(found.base)
    assert all(map(math.isnan, found.contributions))
