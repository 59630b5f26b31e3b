"""What the schema says of each row beside its features: its time, its group and its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Schema
from millrace.errors import BadInput
from millrace.training.pairs import groups

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["group_of", "time_of", "weight_of"]

Floats = NDArray[np.float64]


def time_of(table: Table, schema: Schema) -> Floats | None:
    """Return the rows' times in seconds, NaN where missing; None without a time column."""
    if schema.time_column is None:
        return None
    times: Floats = table.columns[schema.time_column]
    return times


def group_of(table: Table, schema: Schema) -> NDArray[np.int64] | None:
    """Return the number of each row's group, one of its own where it is missing; None without groups."""
    if schema.group_column is None:
        return None
    found = groups(table.columns[schema.group_column])
    return np.where(found > 0, found, -1 - np.arange(len(found)))


def weight_of(table: Table, schema: Schema) -> Floats | None:
    """Return how much each row counts in training, 1 in the mean; None where all count alike.

    A missing weight is 0. With balanced classes each class counts as much as any other.

    Raises
    ------
    BadInput
        No row counts.
    """
    balanced = schema.class_weight == "balanced"
    if schema.weight_column is None and not balanced:
        return None
    weight = np.ones(len(table))
    if schema.weight_column is not None:
        weight = np.nan_to_num(table.columns[schema.weight_column], nan=0.0)
    if balanced:
        codes = table.target.astype(np.intp)
        of_class = np.bincount(codes, weight)
        weight = weight / np.where(of_class > 0.0, of_class, 1.0)[codes]
    if not weight.any():
        raise BadInput(
            "No row that can be trained on has a weight above 0",
            code="weight-column",
            where=f"column {schema.weight_column!r}",
            remedy="Correct the weights, or leave 'weight_column' out of spec.json.",
        )
    return np.asarray(weight / weight.mean())
