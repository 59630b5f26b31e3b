"""No file makes an encoder fail: whatever its members and arrays are, it is refused or evaluated."""

from __future__ import annotations

import copy
import functools
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from millrace import plan
from millrace.compiler.common import Arrays
from millrace.compiler.encoders import compile_steps
from millrace.errors import BadInput
from millrace.scoring import blocks, rows
from tests import pipelines

CHANGES: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 255, 1 << 40, 10**400, 0.5, -0.0, 1e308, True, False, None),
    *("", "x", "l1", "l2", "words", "nan", [], [0], [[]], {}, [1, 2], {"kind": "scale"}),
)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e308, -1e308, math.inf, -math.inf, math.nan)
TEXTS = ("red", "", "  ", "GRÖSSE one,two", "\ud800", "x" * 40, None)


@functools.cache
def table() -> pd.DataFrame:
    frame = pipelines.table(300, 0)
    return frame.assign(full=pd.Series([note or "" for note in frame["note"]], dtype=object))


@functools.cache
def compiled(name: str) -> tuple[str, list[dict[str, Any]], list[Any]]:
    """Return the flow, the encoders and the arrays of the first case of a class."""
    features = clone(next(iter(pipelines.ENCODERS[name].values())))
    features.fit(table(), pipelines.target(table(), "multiclass"))
    arrays = Arrays()
    steps = compile_steps(features, arrays)
    flow = "".join("s" if table()[c].dtype == object else "n" for c in features.feature_names_in_)
    return flow, steps, arrays.items


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container inside of a value with each of its keys."""
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from places(part)


def evaluate(flow: str, steps: list[dict[str, Any]], arrays: list[Any]) -> bool:
    """Return whether the encoders are accepted, once both paths have evaluated them."""
    fields = [{"name": str(i), "type": "text" if c == "s" else "number"} for i, c in enumerate(flow)]
    header = {
        "model": "m",
        "task": "regression",
        "classes": [],
        "signature": fields,
        "ignored": [],
        "features": steps,
        "estimator": {"kind": "constant", "values": len(arrays), "link": "identity"},
    }
    try:
        read = plan.read(plan.write(header, [*arrays, np.zeros(1)]))
    except BadInput:
        return False
    kinds = {"s": TEXTS, "n": NUMBERS}
    table = [[kinds[c][(i + j) % len(kinds[c])] for j, c in enumerate(flow)] for i in range(11)]
    by_row = []
    made = rows.steps(read.header["features"], read.arrays)
    for row in table:
        for step in made:
            row = step(row)
        by_row.append([float(value) for value in row])
    block: Any = [
        np.asarray(column, dtype=object if letter == "s" else np.float64)
        for column, letter in zip(zip(*table, strict=True), flow, strict=True)
    ]
    with np.errstate(all="ignore"):
        for block_step in blocks.steps(read.header["features"], read.arrays):
            block = block_step(block, len(table))
    by_block = np.column_stack(block).astype(float) if block else np.empty((len(table), 0))
    assert by_block.shape == np.asarray(by_row).shape
    return True


@pytest.mark.parametrize("name", pipelines.ENCODERS)
def test_changed_members_and_arrays_are_refused_or_evaluated(name: str) -> None:
    flow, steps, arrays = compiled(name)
    assert evaluate(flow, steps, arrays)
    chance = random.Random(name)
    for _ in range(40):
        changed, tables = copy.deepcopy(steps), [array.copy() for array in arrays]
        for _ in range(chance.choice([0, 1, 1, 2])):
            container, key = chance.choice(list(places(changed)) or [(changed, 0)])
            container[key] = copy.deepcopy(chance.choice(CHANGES))
        filled = [table for table in tables if table.size and table.dtype == np.float64]
        if filled and chance.random() < 0.7:
            array = chance.choice(filled)
            array[chance.randrange(len(array))] = chance.choice(NUMBERS)
        evaluate(flow, changed, tables)
