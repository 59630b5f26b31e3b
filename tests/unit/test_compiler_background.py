"""What a plan tells of its training rows: the typical row, and the means of all weighted sums in a mean."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline

from millrace import compiler, plan
from millrace.contracts import Column, Schema
from millrace.errors import Unprocessable
from millrace.scoring.explain import Explainer
from millrace.scoring.rows import RowScorer
from tests import pipelines

TYPES: dict[str, Any] = {
    **{"amount": "number", "rare": "number", "flag": "boolean", "colour": "category"},
    **{"empty": "category", "note": "text", "at": "time"},
}


def frame(rows: int = 100) -> pd.DataFrame:
    place = np.arange(rows)
    return pd.DataFrame(
        {
            "amount": np.where(place == 0, 1e300, place),
            "rare": np.where(place % 3, np.nan, 7.0),
            "flag": (place % 3 > 0).astype(float),
            "colour": np.array(["red", "green", None], dtype=object)[place % 3],
            "empty": np.array([None, "x", None], dtype=object)[place % 3],
            "note": np.full(rows, "all alike", dtype=object),
            "at": 1e9 + 0.3 * place,
        }
    )


def typical_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return the typical row of a plan whose model uses the numbers alone."""
    columns = tuple(
        Column(name, number, kind, "feature", categories=("green", "red", "x") if kind == "category" else ())
        for number, (name, kind) in enumerate(TYPES.items())
    )
    target = Column("y", len(columns), "number", "target")
    schema = Schema((*columns, target), "y", "regression", "")
    numbers = Pipeline([("features", pipelines._on(["at"], "passthrough")), ("model", Ridge())])
    numbers.fit(table, np.arange(len(table)))
    read = plan.read(compiler.compile(numbers, schema=schema, model="m", background=table))
    return dict(zip(TYPES, read.header["typical"], strict=True))


def test_a_typical_row_has_what_is_usual_in_each_column() -> None:
    assert typical_of(frame()) == {
        "amount": pytest.approx(50.0, abs=0.5),  # the largest and the smallest do not count
        "rare": None,  # as it mostly is
        "flag": 1.0,
        "colour": "red",  # 34 of 100, and green and missing 33
        "empty": None,
        "note": None,
        "at": 1e9 + 15.0,
    }


def test_of_what_is_equally_frequent_the_first_that_is_there_is_typical() -> None:
    assert typical_of(frame(99))["colour"] == "green"


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    table = frame()
    table["amount"] = rng.normal(scale=1e3, size=len(table))
    first = typical_of(table)
    for seed in range(5):
        assert typical_of(table.sample(frac=1.0, random_state=seed)) == first


def test_numbers_whose_sum_is_infinite_have_a_typical_one() -> None:
    table = frame()
    table["amount"] = 1.7e308
    assert typical_of(table)["amount"] == 1.7e308


@pytest.mark.parametrize(
    "typical",
    [
        [],
        {},
        [1.0, "a", "one"],
        [1.0, 2.0, None, None],
        ["1", "a", None, 0.0],
        [True, "a", None, 0.0],
        [10**400, "a", None, 0.0],
        [[1.0], "a", None, 0.0],
    ],
)
def test_a_malformed_typical_row_is_refused(typical: Any) -> None:
    from tests.unit.test_plan_format import code, document

    header, arrays = document()
    good = {**header, "typical": [1, "a", None, None]}
    assert plan.read(plan.write(good, arrays)).header["typical"] == good["typical"]
    assert code(plan.write({**header, "typical": typical}, arrays)) == "plan-header"


def test_a_typical_row_of_many_texts_comes_back() -> None:
    names = [f"c{number}" for number in range(40)]
    typical = [None if number % 7 == 0 else f"t{number % 5}" for number in range(40)]
    header = {
        **{"model": "m", "task": "regression", "classes": [], "ignored": []},
        "signature": [{"name": name, "type": "text"} for name in names],
        "features": [{"kind": "columns", "branches": []}],
        "estimator": {"kind": "constant", "values": 0, "link": "identity"},
        "typical": typical,
    }
    assert plan.read(plan.write(header, [np.zeros(1)])).header["typical"] == typical


def compiled(model: Any, table: pd.DataFrame) -> plan.Plan:
    data = compiler.compile(model, schema=pipelines.schema("regression"), model="m", background=table)
    return plan.read(data)


def members(*estimators: Any) -> tuple[list[Pipeline], pd.DataFrame, Any]:
    table = pipelines.table(120, 0)
    target = pipelines.target(table, "regression")
    mixed = pipelines.ENCODERS["ColumnTransformer"]["mixed"]
    fitted = [Pipeline([("features", mixed), ("model", model)]).fit(table, target) for model in estimators]
    return fitted, table, target


def voting(pipes: list[Pipeline], weights: list[float], table: pd.DataFrame, target: Any) -> VotingRegressor:
    named = [(f"m{number}", pipe) for number, pipe in enumerate(pipes)]
    return VotingRegressor(named, weights=weights).fit(table, target)


def test_a_mean_is_explained_by_the_sum_of_its_members_with_their_weights() -> None:
    pipes, table, target = members(Ridge(), RandomForestRegressor(5, max_depth=4, random_state=0))
    inner = voting(pipes, [1.0, 1.0], table, target)
    whole = compiled(voting([inner, pipes[0]], [3.0, 1.0], table, target), table)
    alone = [Explainer(compiled(pipe, table)) for pipe in pipes]
    shares = [3 / 8 + 1 / 4, 3 / 8]
    explainer, scorer = Explainer(whole), RowScorer(whole)
    _, rows = pipelines.as_json(pipelines.held_out()[:10], whole.signature.fields)
    for row in [whole.signature.convert_row(row)[0] for row in rows]:
        base, contributions = explainer.explain(row, 0)
        parts = [model.explain(row, 0) for model in alone]
        assert base == pytest.approx(sum(s * b for s, (b, _) in zip(shares, parts, strict=True)), rel=1e-12)
        for name, value in contributions.items():
            expected = sum(s * found[name] for s, (_, found) in zip(shares, parts, strict=True))
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert base + sum(contributions.values()) == pytest.approx(scorer.score(row)[0], rel=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_mean_with_another_member_has_a_typical_row_and_no_means() -> None:
    pipes, table, target = members(Ridge(), MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0))
    whole = compiled(voting(pipes, [1.0, 1.0], table, target), table)
    assert "background" not in json.dumps(whole.header["estimator"])
    assert len(whole.header["typical"]) == len(whole.signature.fields)
    with pytest.raises(Unprocessable) as refusal:
        Explainer(whole)
    assert refusal.value.code == "explanation-unavailable"
