"""The feature plan: what each feature column becomes for one family of estimators, and why.

A plan is a frozen value decided from the schema alone, so that it can be printed, compared and tested
without any library. The training room builds transformers from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millrace.contracts import Column, Schema
from millrace.errors import BadInput
from millrace.features.candidates import Family

__all__ = ["Encoding", "FeaturePlan", "Kind", "feature_plan"]

Kind = Literal["number", "boolean", "one-hot", "native", "code", "time", "text"]

ONE_HOT_LIMIT = {"linear": 2000, "forest": 12}
"""Categories of a column that become columns of their own. A linear model weighs each category by itself
and its matrix is sparse; a forest's trees lose depth to wide one-hot columns; boosted trees split sets
of categories natively."""
NATIVE_LIMIT = 254
"""Categories that boosted trees split as sets: at most 255 codes a column (``max_bins`` in scikit-learn's
documentation), of which one is left for those that are grouped."""
TEXT_LIMIT = {"linear": 5000, "forest": 100, "boosted": 100}
"""Words of a text column, the most frequent ones. Trees get a dense matrix, so they get fewer."""


@dataclass(frozen=True)
class Encoding:
    """What one column becomes; a column may have several.

    Attributes
    ----------
    column : str
        Name of the column in the schema.
    kind : Kind
        The encoder.
    limit : int
        Most categories (``one-hot``, ``native``) or words (``text``) that get a place of their own;
        0 where it does not apply.
    reason : str
        Why, as a sentence for the report.
    """

    column: str
    kind: Kind
    limit: int
    reason: str


@dataclass(frozen=True)
class FeaturePlan:
    """What every feature column becomes, in file order, for one family of estimators."""

    family: Family
    encodings: tuple[Encoding, ...]

    def columns(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of the columns that get the encoder ``kind``, in file order."""
        return tuple(e.column for e in self.encodings if e.kind == kind)


def feature_plan(schema: Schema, family: Family) -> FeaturePlan:
    """Decide what each feature column becomes.

    Parameters
    ----------
    schema : Schema
        Columns with types and roles.
    family : Family
        The estimators that the features are for.

    Returns
    -------
    FeaturePlan
        At least one encoding for each column of ``schema.features``.

    Raises
    ------
    BadInput
        The schema has no feature.
    """
    if not schema.features:
        raise BadInput(
            "No column is left to learn from",
            code="no-features",
            remedy="Every column but the target is empty, constant, an identifier or excluded: add one.",
        )
    return FeaturePlan(
        family, tuple(encoding for column in schema.features for encoding in _encodings(column, family))
    )


def _encodings(column: Column, family: Family) -> tuple[Encoding, ...]:
    name = column.name
    if column.type == "number":
        return (Encoding(name, "number", 0, "Numbers stay numbers."),)
    if column.type == "boolean":
        return (Encoding(name, "boolean", 0, "Yes and no become 1 and 0."),)
    if column.type == "time":
        reason = "A time becomes its calendar parts and its place on the time line."
        if family == "linear":
            reason += " Month, weekday and hour become places on a circle too."
        return (Encoding(name, "time", 0, reason),)
    if column.type == "text":
        limit = TEXT_LIMIT[family]
        return (
            Encoding(name, "text", limit, f"Free text becomes the weights of its {limit} commonest words."),
        )
    return _category(column, family)


def _category(column: Column, family: Family) -> tuple[Encoding, ...]:
    name, count = column.name, len(column.categories)
    if family == "linear" or (family == "forest" and count <= ONE_HOT_LIMIT[family]):
        limit = ONE_HOT_LIMIT[family]
        reason = _grouped(f"{count} categories become a column each", count, limit)
        return (Encoding(name, "one-hot", limit, reason),)
    code = Encoding(
        name,
        "code",
        0,
        f"{count} categories are numbered in their order, so that trees can split each one off.",
    )
    if family == "forest":
        return (code,)
    reason = _grouped(f"{count} categories are split as sets", count, NATIVE_LIMIT)
    native = Encoding(name, "native", NATIVE_LIMIT, reason)
    return (native, code) if count > NATIVE_LIMIT else (native,)


def _grouped(reason: str, count: int, limit: int) -> str:
    return f"{reason}; all but the {limit} commonest share one." if count > limit else f"{reason}."
