"""Estimators inside of estimators: what a plan may nest, and how it is refused when it does not fit."""

from __future__ import annotations

import copy
import math
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from millrace import plan
from millrace.errors import BadInput
from millrace.plan.kinds import MAX_DEPTH, texts
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.rows import RowScorer


def linear(first: int, link: str = "identity", **members: Any) -> dict[str, Any]:
    return {"kind": "linear", "coef": first, "intercept": first + 1, "link": link, **members}


def document() -> tuple[dict[str, Any], list[Any]]:
    """Two sums of x and y, and a third over the second of these, the first and x and y; then a mean."""
    inner = linear(4, steps=[predictions([linear(0), linear(2)], take=[[0], None], inputs=True)])
    header = {
        "model": "m",
        "task": "regression",
        "classes": [],
        "signature": [{"name": "x", "type": "number"}, {"name": "y", "type": "number"}],
        "ignored": [],
        "features": [],
        "estimator": {
            "steps": [predictions([inner, linear(6)], take=[None, [-1]])],
            "kind": "mean",
            "outputs": 1,
            "weights": [3, 1.0],
            "link": "identity",
        },
    }
    arrays = [[1.0, 0.0], [0.0], [0.0, 1.0], [1.0], [10.0, 100.0, 0.0, 1000.0], [0.5], [9.0, 9.0], [9.0]]
    return header, [array("d", values) for values in arrays]


def predictions(members: list[Any], *, take: list[Any] | None = None, inputs: bool = False) -> dict[str, Any]:
    return {
        "kind": "predictions",
        "members": members,
        "take": [None] * len(members) if take is None else take,
        "inputs": inputs,
    }


def nested(depth: int) -> tuple[dict[str, Any], list[Any]]:
    header, arrays = document()
    node: dict[str, Any] = linear(0)
    for _ in range(depth):
        node = {"kind": "inputs", "link": "identity", "steps": [predictions([node])]}
    return header | {"estimator": node}, arrays


def test_a_nested_plan_by_hand() -> None:
    read = plan.read(plan.write(*document()))
    expected = (10.0 * 2.0 + 100.0 * (3.0 + 1.0) + 1000.0 * 3.0 + 0.5) * 3.0 / 4.0
    assert RowScorer(read).score([2.0, 3.0]) == (expected, None)
    assert BlockScorer(read).score({"x": np.array([2.0]), "y": np.array([3.0])}).tolist() == [expected]


def test_estimators_may_be_nested_to_a_bound() -> None:
    read = plan.read(plan.write(*nested(MAX_DEPTH - 1)))
    assert RowScorer(read).score([2.0, 3.0]) == (2.0, None)
    for depth in (MAX_DEPTH, 200):
        with pytest.raises(BadInput) as refusal:
            plan.read(plan.write(*nested(depth)))
        assert refusal.value.code in ("plan-dimensions", "plan-header")


Change = Callable[[dict[str, Any]], object]


def at(*path: Any, **changes: Any) -> Change:
    def change(header: dict[str, Any]) -> None:
        place: Any = header["estimator"]
        for part in path:
            place = place[part]
        place.update(changes)

    return change


STEP = ("steps", 0)
MISFITS: dict[str, tuple[Change, str]] = {
    "take-beyond": (at(*STEP, take=[[1], None]), "plan-dimensions"),
    "take-before": (at(*STEP, take=[[-2], None]), "plan-dimensions"),
    "take-of-text": (at(*STEP, take=["0", None]), "plan-dimensions"),
    "take-of-a-truth-value": (at(*STEP, take=[[False], None]), "plan-dimensions"),
    "take-too-short": (at(*STEP, take=[None]), "plan-dimensions"),
    "no-members": (at(*STEP, members=[], take=[]), "plan-dimensions"),
    "members-of-no-node": (at(*STEP, members=[1, 2]), "plan-header"),
    "unknown-member": (at(*STEP, "members", 0, kind="oracle"), "plan-header"),
    "unknown-link-of-a-member": (at(*STEP, "members", 0, link="cauchit"), "plan-header"),
    "member-of-two-outputs": (at(*STEP, "members", 1, link="logistic"), "plan-dimensions"),
    "inputs-of-text": (at(*STEP, inputs="yes"), "plan-dimensions"),
    "array-used-twice": (at(*STEP, "members", 1, coef=0), "plan-dimensions"),
    "weights-too-short": (at(weights=[1.0]), "plan-dimensions"),
    "weights-negative": (at(weights=[1.0, -0.5]), "plan-dimensions"),
    "weights-of-nothing": (at(weights=[0, 0]), "plan-dimensions"),
    "weights-beyond-float": (at(weights=[1e308, 1e308]), "plan-dimensions"),
    "weights-of-text": (at(weights=["1", "2"]), "plan-dimensions"),
    "outputs-that-do-not-divide": (at(outputs=3), "plan-dimensions"),
    "outputs-of-nothing": (at(outputs=0), "plan-dimensions"),
    "probabilities-without-classes": (at(link="probabilities"), "plan-dimensions"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_members_that_do_not_fit_are_refused(name: str) -> None:
    change, expected = MISFITS[name]
    header, arrays = copy.deepcopy(document())
    if name == "member-of-two-outputs":
        header["estimator"]["steps"][0]["take"] = [None, None]
    change(header)
    with pytest.raises(BadInput) as refusal:
        plan.read(plan.write(header, arrays))
    assert refusal.value.code == expected


def test_all_encoders_together_may_not_make_too_many_values() -> None:
    header, arrays = document()
    wide = {"kind": "columns", "branches": [{"inputs": [0] * (1 << 18), "steps": []}]}
    header["features"] = [wide, {"kind": "columns", "branches": [{"inputs": [0, 1], "steps": []}]}]
    assert math.isfinite(RowScorer(plan.read(plan.write(header, arrays))).score([1.0, 2.0])[0])  # type: ignore[arg-type]
    header["features"] = [*[wide] * 16, header["features"][1]]
    with pytest.raises(BadInput, match="Dimensions"):
        plan.read(plan.write(header, arrays))


def test_branches_may_end_in_branches() -> None:
    header, arrays = document()
    inner = {"kind": "columns", "branches": [{"inputs": [1, 0], "steps": []}]}
    header["features"] = [{"kind": "columns", "branches": [{"inputs": [1, 0], "steps": [inner]}]}]
    expected = RowScorer(plan.read(plan.write(*document()))).score([2.0, 3.0])
    assert RowScorer(plan.read(plan.write(header, arrays))).score([2.0, 3.0]) == expected


@pytest.mark.parametrize("width", [True, 0, 8.0, "8"])
def test_a_width_is_a_whole_number_above_zero(width: Any) -> None:
    step = {"kind": "hash", "width": width, "signed": True, "norm": None}
    with pytest.raises(BadInput, match="Dimensions"):
        texts.KINDS["hash"](step, "s", [])
