"""The encoders of a feature plan: what is fitted to the rows at hand, and what is left out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace import plan
from millrace.compiler import certified
from millrace.features.candidates import Family
from millrace.features.limits import LIMITS
from millrace.features.plan import feature_plan
from millrace.scoring.explain import Explainer
from millrace.training.encoders import learnable, log_says_more, smoothing
from millrace.training.frame import to_frame
from millrace.training.pipeline import Learner, Rows
from tests.learning import make_table

ROWS = 3000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def names(codes: NDArray[Any]) -> NDArray[Any]:
    return np.array([f"name {code}" for code in codes], dtype=object)


def test_the_mean_of_a_group_is_shrunk_by_the_variance_within_over_that_between(
    rng: np.random.Generator,
) -> None:
    group = rng.integers(0, 300, 30_000)
    effects = rng.normal(0, 0.5, 300)
    target = effects[group] + rng.normal(0, 2.0, 30_000)
    found = smoothing(names(group), target[:, None], "boosted")
    assert found == pytest.approx(2.0**2 / effects.var(ddof=1), rel=0.15)


def test_groups_that_differ_by_chance_have_no_encoding(rng: np.random.Generator) -> None:
    found = [
        smoothing(names(rng.integers(0, 300, ROWS)), rng.normal(size=(ROWS, 1)), "boosted") for _ in range(20)
    ]
    assert found == [None] * 20
    each = names(np.arange(ROWS))
    assert smoothing(each, rng.normal(size=(ROWS, 1)), "boosted") is None, "no row has another like it"


def test_integers_have_one_where_they_are_names_and_none_where_they_are_sizes(
    rng: np.random.Generator,
) -> None:
    value = rng.integers(0, 500, 20_000)
    effect = rng.normal(size=500)
    as_name, as_size = effect[value], value / 250.0
    noise = rng.normal(size=20_000)
    numbers = np.where(rng.random(20_000) < 0.01, np.nan, value)
    assert smoothing(numbers, (as_name + noise)[:, None], "boosted") is not None
    assert smoothing(numbers, (as_size + noise)[:, None], "boosted") is None
    assert smoothing(numbers + 0.5, (as_name + noise)[:, None], "boosted") is None, "fractions are sizes"
    few = value % 100
    assert smoothing(few.astype(float), (effect[few] + noise)[:, None], "boosted") is None, "trees split them"
    assert smoothing(few.astype(float), (effect[few] + noise)[:, None], "linear") is not None


def test_numbers_with_a_long_tail_become_logarithms_where_these_say_more(rng: np.random.Generator) -> None:
    income = rng.lognormal(10.0, 1.0, ROWS)
    noise = rng.normal(size=ROWS)
    for goal, says_more in (
        (np.log(income) + 0.3 * noise, True),
        (income / income.std() + 0.3 * noise, False),
        (noise, False),
    ):
        assert log_says_more(income, goal[:, None]) is says_more
        holes = np.where(rng.random(ROWS) < 0.1, np.nan, income)
        assert log_says_more(holes, goal[:, None]) is says_more
        assert log_says_more(1e-9 * income - 5.0, goal[:, None]) is says_more, "the unit does not matter"
    classes = np.digitize(np.log(income) + noise, [9.0, 11.0])
    assert log_says_more(income, (classes[:, None] == [0, 1]).astype(float))
    even = rng.uniform(1.0, 2.0, ROWS)
    assert not log_says_more(even, np.log(even)[:, None]), "it has no tail"
    rare = (rng.random(ROWS) < 0.01).astype(float)
    assert not log_says_more(rare, rare[:, None]), "two values stay two under every scale"
    for nothing in (np.full(ROWS, np.nan), np.full(ROWS, 7.0), np.zeros(0)):
        assert not log_says_more(nothing, np.zeros((len(nothing), 1)))


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_logarithms_are_learned_and_served_as_they_are(rng: np.random.Generator, task: Any) -> None:
    income = rng.lognormal(10.0, 1.0, ROWS)
    signal = np.log(income) + 0.3 * rng.normal(size=ROWS)
    target = np.digitize(signal, [9.5, 10.5]) if task == "multiclass" else signal
    holes = np.where(rng.random(ROWS) < 0.05, np.nan, income)
    table, schema = make_table(
        {"income": ("number", holes), "size": ("number", rng.normal(size=ROWS))},
        target,
        task=task,
        classes=("a", "b", "c") if task == "multiclass" else (),
    )
    frame = to_frame(table, schema)
    seen, later = frame.iloc[:2400], frame.iloc[2400:].copy()
    rows = Rows(seen, table.target[:2400], table.record[:2400])
    left = learnable(feature_plan(schema, "linear"), seen, table.target[:2400], len(schema.classes))
    assert (left.columns("log"), left.columns("number")) == (("income",), ("size",))
    assert feature_plan(schema, "boosted").columns("log") == ()
    pipeline = Learner("linear", schema, LIMITS["quick"], 0).pipeline(rows)
    known = later["income"].notna().to_numpy()
    if task == "regression":
        assert np.corrcoef(pipeline.predict(later)[known], target[2400:][known])[0, 1] > 0.9
    # Served rows may lie below all that training saw, where there is no logarithm.
    later.iloc[:3, later.columns.get_loc("income")] = [-1e9, 0.0, 1e12]
    _, parity = certified(pipeline, schema=schema, model="m", frame=later)
    assert parity.rows == 600 and parity.max_difference < 1e-12


@pytest.mark.parametrize("family", ["linear", "forest", "boosted"])
@pytest.mark.parametrize("classes", [0, 3])
def test_what_is_left_of_a_plan_depends_on_the_rows(
    rng: np.random.Generator, family: Family, classes: int
) -> None:
    group, chance = rng.integers(0, 300, ROWS), rng.integers(0, 300, ROWS)
    signal = rng.normal(size=300)[group] + 0.1 * rng.normal(size=ROWS)
    target = np.digitize(signal, [-0.5, 0.5]) if classes else signal
    table, schema = make_table(
        {
            "code": ("number", group.astype(float)),
            "chance": ("category", names(chance)),
            "shop": ("text", names(group)),
            "empty": ("number", np.full(ROWS, np.nan)),
        },
        target,
        task="multiclass" if classes else "regression",
        classes=("a", "b", "c")[:classes],
    )
    left = learnable(feature_plan(schema, family), to_frame(table, schema), target, classes)
    kept = {(e.column, e.kind) for e in left.encodings}
    assert ("code", "target") in kept and ("chance", "target") not in kept
    assert ("shop", "code" if family == "forest" else "target") in kept
    assert not any(column == "empty" for column, _ in kept)
    assert all(e.smooth > 0.0 for e in left.encodings if e.kind == "target")


@pytest.mark.parametrize("name", ["boosted_trees", "forest"])
def test_the_time_between_two_times_is_learned_and_served(rng: np.random.Generator, name: str) -> None:
    begun = rng.uniform(1.5e9, 1.6e9, ROWS).round()
    days = rng.uniform(0.0, 30.0, ROWS)
    done = np.where(rng.random(ROWS) < 0.02, np.nan, begun + 86400.0 * days)
    table, schema = make_table(
        {"begun": ("time", begun), "done": ("time", done), "void": ("time", np.full(ROWS, np.nan))},
        days,
        task="regression",
    )
    assert feature_plan(schema, "forest").columns("span") == ("begun", "done", "void")
    assert feature_plan(schema, "linear").columns("span") == ()
    frame = to_frame(table, schema)
    seen, later = frame.iloc[:2400], frame.iloc[2400:]
    rows = Rows(seen, table.target[:2400], table.record[:2400])
    fitted = Learner(name, schema, LIMITS["quick"], 0).pipeline(rows)
    said = fitted.predict(later)
    known = later["done"].notna().to_numpy()
    assert np.abs(said - days[2400:])[known].mean() < 1.0
    data, parity = certified(fitted, schema=schema, model="m", frame=later)
    assert parity.max_difference < 1e-12
    read = plan.read(data)
    row = [float(later[field["name"]].iloc[0]) for field in read.signature.fields]
    base, parts = Explainer(read).explain(row, 0)
    assert base + sum(parts.values()) == pytest.approx(said[0], rel=1e-9)
    assert parts["begun & done"] != 0.0


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("name", ["linear", "boosted_trees"])
def test_means_of_names_are_learned_and_served_as_they_are(
    rng: np.random.Generator, name: str, task: Any
) -> None:
    group, shop = rng.integers(0, 400, ROWS), rng.integers(0, 400, ROWS)
    effects = rng.normal(size=(2, 400))
    signal = effects[0][group] + effects[1][shop] + 0.3 * rng.normal(size=ROWS)
    target = np.digitize(signal, [-0.7, 0.7]) if task == "multiclass" else signal
    holes = np.where(rng.random(ROWS) < 0.02, np.nan, group)
    table, schema = make_table(
        {"code": ("number", holes), "shop": ("text", names(shop))},
        target,
        task=task,
        classes=("a", "b", "c") if task == "multiclass" else (),
    )
    frame = to_frame(table, schema)
    seen, later = frame.iloc[:2400], frame.iloc[2400:]
    rows = Rows(seen, table.target[:2400], table.record[:2400])
    pipeline = Learner(name, schema, LIMITS["quick"], 0).pipeline(rows)
    said = pipeline.predict(later)
    if task == "regression":
        assert np.corrcoef(said, target[2400:])[0, 1] > 0.75
    else:
        assert np.mean(said == target[2400:]) > 0.6
    _, parity = certified(pipeline, schema=schema, model="m", frame=later)
    assert parity.rows == 600
