"""The table as scikit-learn takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from millrace.contracts import Schema

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["to_frame"]


def to_frame(table: Table, schema: Schema) -> pd.DataFrame:
    """Return the feature columns as a frame, one row a record, in the schema's order.

    Numbers, booleans and times are float64 with NaN for missing. Categories and text are object columns
    of ``str`` and ``None``: pandas 3 would turn them into its own string type, whose missing value the
    encoders, and so the scoring plan, treat differently.
    """
    return pd.DataFrame(
        {
            column.name: pd.Series(
                table.columns[column.name],
                dtype="object" if column.type in ("category", "text") else "float64",
            )
            for column in schema.features
        },
        index=pd.RangeIndex(len(table.record)),
    )
