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

Kind = Literal["number", "log", "boolean", "one-hot", "native", "code", "target", "time", "span", "text"]

ONE_HOT_LIMIT = {"linear": 2000, "forest": 12}
"""Categories of a column that become columns of their own. A linear model weighs each category by itself
and its matrix is sparse; a forest's trees lose depth to wide one-hot columns; boosted trees split sets
of categories natively."""
NATIVE_LIMIT = 254
"""Categories that boosted trees split as sets: at most 255 codes a column (``max_bins`` in scikit-learn's
documentation), of which one is left for those that are grouped."""
TARGET_FROM = {"linear": 100, "forest": 30, "boosted": NATIVE_LIMIT + 1}
"""Categories from which the target's mean in each of them is a column too: with fewer, other encodings do as
well; see ``docs/decisions/features.md``."""
TARGET_CLASSES = 10
"""Most classes of the target, each of which would be a column."""
MOST_SPANS = 6
"""Columns of times, the first ones, of which each two have a difference."""
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
    smooth : float
        Of the kind ``target``: rows that the mean of all rows counts for beside those of a category.
    """

    column: str
    kind: Kind
    limit: int
    reason: str
    smooth: float = 0.0


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
    times = [column.name for column in schema.features if column.type == "time"][:MOST_SPANS]
    # A weighted sum finds differences by itself: that of two weights.
    spans = times if len(times) > 1 and family != "linear" else ()
    reason = "The time between each two times is a column too."
    return FeaturePlan(
        family,
        tuple(Encoding(name, "span", 0, reason) for name in spans)
        + tuple(
            encoding
            for column in schema.features
            for encoding in (*_encodings(column, family), *_named(column, family, len(schema.classes)))
        ),
    )


def _named(column: Column, family: Family, classes: int) -> tuple[Encoding, ...]:
    """Return what else a column becomes if its values are names of things that come again.

    Whether they are is seen in the rows to train on: what differs by no more than chance is left out there.
    """
    found: list[Encoding] = []
    if column.type == "text" and family != "linear":
        found.append(Encoding(column.name, "code", 0, "Where the same text comes often, it is numbered too."))
    many = column.type != "category" or len(column.categories) >= TARGET_FROM[family]
    forest_text = column.type == "text" and family == "forest"
    if classes <= TARGET_CLASSES and column.type in _TARGET_REASONS and many and not forest_text:
        found.append(Encoding(column.name, "target", 0, _TARGET_REASONS[column.type]))
    return tuple(found)


_TARGET_REASONS = {
    "category": "Where the target's mean differs between them by more than chance, it is a column too.",
    "text": "Where the same text comes often, the target's mean for it is a column too.",
    "number": "Where they are names rather than sizes, the target's mean for each is a column too.",
}


def _encodings(column: Column, family: Family) -> tuple[Encoding, ...]:
    name = column.name
    if column.type == "number":
        reason = "Numbers stay numbers."
        if family == "linear":
            reason = "Numbers stay numbers, or become their logarithm where that says more of the target."
        return (Encoding(name, "number", 0, reason),)
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
        return (Encoding(name, "one-hot", _binding(count, limit), reason),)
    code = Encoding(
        name,
        "code",
        0,
        f"{count} categories are numbered in their order, so that trees can split each one off.",
    )
    if family == "forest":
        return (code,)
    reason = _grouped(f"{count} categories are split as sets", count, NATIVE_LIMIT)
    native = Encoding(name, "native", _binding(count, NATIVE_LIMIT), reason)
    return (native, code) if count > NATIVE_LIMIT else (native,)


def _binding(count: int, limit: int) -> int:
    """Return the limit where it can bind, 0 else: an encoder without one need not count how often each comes.

    A missing value is one more category.
    """
    return limit if count >= limit else 0


def _grouped(reason: str, count: int, limit: int) -> str:
    return f"{reason}; all but the {limit} commonest share one." if count > limit else f"{reason}."
