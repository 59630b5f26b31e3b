"""What a file's columns hold: what the profile counted, and what a sample of the rows adds.

The sample is the rows whose record numbers have the smallest hashes: it is the same however the file was
cut, and independent of what the rows hold. With all rows in it nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isfinite, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import Column, ColumnType, Schema
from millrace.profile import ColumnProfile, Profile
from millrace.profile.decide import class_counts, listed, short
from millrace.profile.notes import duplicates, imbalance, mostly_missing
from millrace.training.pairs import association, drift
from millrace.training.suspects import Suspicion, sample_rows, target_of

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["CONFIDENCE", "ColumnDescription", "Description", "describe", "moment", "share_error"]

CONFIDENCE = 0.99
"""Of the error that is stated for shares and quantiles."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TOP = 5
"""Most frequent values that are told."""

DRIFT = 0.2
"""Distance of the later rows from the earlier that is told, if it is certain in view of the rows' number."""

_VALUE_CHARACTERS = 80
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class ColumnDescription:
    """One column; figures are exact unless it says otherwise, and None where they have no meaning.

    Attributes
    ----------
    name, type, role, reason
        As in the schema.
    missing : int
        Cells without a value, words for missing in columns of numbers and times among them.
    distinct : int or None
        Different values as written; an estimate with a standard error of 3 % unless ``distinct_exact``.
        None for more than 1000 numbers with fractions.
    distinct_exact : bool
        Whether they were counted.
    minimum, maximum : float or str, optional
        Of a number or, as ISO 8601 in UTC, of a time.
    mean : float, optional
        Of a number.
    quantiles : mapping of str to float or str
        By share of the rows that have a value, values that are there; from the sample.
    std, skew : float, optional
        Standard deviation and skewness of a number, from the sample.
    top : tuple of (str, float)
        Most frequent values, with their share of the rows that have one; from the sample unless
        ``top_exact``.
    top_exact : bool
        Whether they were counted: up to 1000 different values.
    mean_length : float, optional
        Characters of a value of a category or text; from the sample beyond 1000 different values.
    longest : int
        Characters of the longest value.
    mean_words : float, optional
        Words of a value.
    example : str, optional
        A value that is no plain number.
    words : mapping of str to int
        Words that mean missing in a column of numbers or times, with their cells.
    association, association_measure : float and str, optional
        With the target, from the sample; see :func:`millrace.training.pairs.association`.
    alone : float, optional
        Share of the target that the column predicts alone; see :func:`millrace.training.pairs.alone`.
    drift : float, optional
        Distance of the later half of the sample from the earlier; see :func:`millrace.training.pairs.drift`.
    warnings : tuple of str
        What to look at.
    """

    name: str
    type: str
    role: str
    reason: str
    missing: int
    distinct: int | None
    distinct_exact: bool
    minimum: float | str | None
    maximum: float | str | None
    mean: float | None
    longest: int
    mean_words: float | None
    mean_length: float | None
    example: str | None
    words: Mapping[str, int]
    top: tuple[tuple[str, float], ...]
    top_exact: bool
    quantiles: Mapping[str, float | str]
    std: float | None = None
    skew: float | None = None
    association: float | None = None
    association_measure: str | None = None
    alone: float | None = None
    drift: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """All columns of a file.

    Attributes
    ----------
    rows : int
        Records that were profiled.
    sample_rows : int
        Rows of the sample.
    sample_error : float
        Most by which a share, or the share at which a quantile lies, departs from that of all rows, with
        ``confidence``; 0 when the sample is all rows.
    confidence : float
        Of ``sample_error``, for one figure.
    time_column : str or None
        By which rows are earlier or later; None for their order in the file.
    columns : tuple of ColumnDescription
        In file order.
    notes : tuple of str
        Warnings about the pairs with the target, and about drift.
    """

    rows: int
    sample_rows: int
    sample_error: float
    confidence: float
    time_column: str | None
    columns: tuple[ColumnDescription, ...]
    notes: tuple[str, ...]


def share_error(rows: int) -> float:
    """Return the bound on the error of a share or of a quantile's place, for a random sample.

    By the inequality of A. Dvoretzky, J. Kiefer and J. Wolfowitz with the constant of P. Massart, 1990; it
    holds for samples without replacement as well.
    """
    return sqrt(log(2.0 / (1.0 - CONFIDENCE)) / (2.0 * rows))


def describe(profile: Profile, suspicion: Suspicion, table: Table, *, seed: int) -> Description:
    """Describe the columns of a file.

    Parameters
    ----------
    profile : Profile
        Of the whole file.
    suspicion : Suspicion
        The schema, and the columns that seem to give the target away.
    table : Table
        The kept rows; or of very many those with the smallest hashes, and perhaps others.
    seed : int
        The run's seed, by which ``table`` was drawn.
    """
    schema = suspicion.schema
    rows = sample_rows(table, seed)
    goal = target_of(table, schema, rows)
    sample = {name: table.columns[name][rows] for name in suspicion.alone}
    time_column, later = _later(schema, sample, table.record[rows])
    columns = []
    for found, column in zip(profile.columns, schema.columns, strict=True):
        described = _counted(found, column)
        if column.name in sample:
            values = sample[column.name]
            described = _sampled(described, column.type, values)
            measure, strength = association(values, column.type, goal)
            described = replace(
                described,
                association=strength,
                association_measure=None if strength is None else measure,
                alone=suspicion.alone[column.name],
                drift=None if column.name == time_column else drift(values, column.type, later),
            )
        elif column.name == schema.target:
            if schema.classes:
                described = replace(described, drift=drift(goal.values, "category", later))
            else:
                described = _sampled(described, "number", goal.values)
                described = replace(described, drift=drift(goal.values, "number", later))
        columns.append(described)
    noted, notes = _noted(profile, suspicion, columns, len(rows), time_column)
    return Description(
        rows=profile.rows,
        sample_rows=len(rows),
        sample_error=0.0 if len(rows) == len(table) or not len(rows) else share_error(len(rows)),
        confidence=CONFIDENCE,
        time_column=time_column,
        columns=noted,
        notes=notes,
    )


def _later(
    schema: Schema, sample: Mapping[str, NDArray[Any]], record: NDArray[np.int64]
) -> tuple[str | None, NDArray[np.bool_]]:
    """Return the column that tells the time, and which rows are in the later half."""
    times = [column.name for column in schema.features if column.type == "time"]
    name = schema.time_column or (times[0] if len(times) == 1 else None)
    order: NDArray[Any] = record if name is None else sample[name]
    known = order[~np.isnan(order)]
    return name, order > np.median(known) if len(known) else np.zeros(len(order), dtype=np.bool_)


def _counted(found: ColumnProfile, column: Column) -> ColumnDescription:
    """Return what the profile knows."""
    low: float | str | None = None
    high: float | str | None = None
    mean = None
    if column.type == "number":
        numbers = found.numbers(column.format)
        low, high, mean = numbers.minimum, numbers.maximum, numbers.mean
    elif column.type == "time" and column.format in found.times:
        times = found.times[column.format]
        if times.minimum is not None and times.maximum is not None:
            low, high = moment(times.minimum), moment(times.maximum)
    fractions = found.distinct is None and found.plain.integers + found.word_count < found.count
    words = column.type in ("category", "text")
    length = None
    top: tuple[tuple[str, float], ...] = ()
    if found.distinct and found.count:
        largest = sorted(found.distinct.items(), key=lambda item: (-item[1], item[0]))[:TOP]
        top = tuple((text[:_VALUE_CHARACTERS], count / found.count) for text, count in largest)
        if words:
            length = sum(len(text) * count for text, count in found.distinct.items()) / found.count
    return ColumnDescription(
        name=column.name,
        type=column.type,
        role=column.role,
        reason=column.reason,
        missing=column.missing,
        distinct=None if column.type == "number" and fractions else found.distinct_count,
        distinct_exact=found.distinct is not None,
        minimum=low,
        maximum=high,
        mean=mean,
        longest=found.longest,
        mean_words=found.tokens / found.count if words and found.count else None,
        mean_length=length,
        example=found.example,
        words=found.words,
        top=top,
        top_exact=found.distinct is not None,
        quantiles={},
    )


def _sampled(described: ColumnDescription, kind: ColumnType, values: NDArray[Any]) -> ColumnDescription:
    """Add what the sample knows."""
    if kind in ("category", "text"):
        texts = [text for text in values if text is not None]
        if described.top_exact or not texts:
            return described
        return replace(
            described,
            mean_length=sum(map(len, texts)) / len(texts),
            top=_top(pd.Series(texts, dtype="object")),
        )
    known = values[~np.isnan(values)]
    if not len(known) or kind == "boolean":
        return described
    at = np.quantile(known, QUANTILES, method="inverted_cdf").tolist()
    described = replace(
        described,
        quantiles={
            f"{share:g}": moment(value) if kind == "time" else value
            for share, value in zip(QUANTILES, at, strict=True)
        },
    )
    if kind == "time":
        return described
    std, skew = _moments(known)
    return replace(
        described, std=std, skew=skew, top=described.top if described.top_exact else _top(pd.Series(known))
    )


def _top(values: Any) -> tuple[tuple[str, float], ...]:
    """Return the most frequent values of those that come more than once."""
    counts = values.value_counts()
    # Whichever of two comes first must not depend on the order of the rows.
    last = counts.iloc[min(TOP, len(counts)) - 1]
    kept = {value: int(count) for value, count in counts[counts >= max(2, last)].items()}
    largest = sorted(kept.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return tuple(
        (
            value[:_VALUE_CHARACTERS] if isinstance(value, str) else f"{value:.15g}",
            count / len(values),
        )
        for value, count in largest
    )


def _moments(known: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the standard deviation and the skewness (Fisher's g1)."""
    largest = float(np.abs(known).max())
    if len(known) < 2 or largest == 0.0:
        return (0.0, None) if len(known) > 1 else (None, None)
    scaled = known / largest  # their cubes might not be finite
    spread = scaled - scaled.mean()
    variance = float(np.mean(spread**2))
    std = sqrt(variance * len(known) / (len(known) - 1)) * largest
    skew = float(np.mean(spread**3)) / variance**1.5 if variance > 1e-24 else None
    return _finite(std), skew


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def moment(seconds: float) -> str:
    """Write seconds since 1970 as ISO 8601 in UTC."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(sep=" ", timespec="seconds")


def _noted(
    profile: Profile,
    suspicion: Suspicion,
    columns: list[ColumnDescription],
    rows: int,
    time_column: str | None,
) -> tuple[tuple[ColumnDescription, ...], tuple[str, ...]]:
    """Return the columns with their warnings, and what the run is to say of them all."""
    schema = suspicion.schema
    warnings: dict[str, list[str]] = {column.name: [] for column in columns}
    for names in duplicates(profile.columns, schema.columns):
        for name in names[1:]:
            warnings[name].append(f"holds the same as {short(names[0])}")
    for name, share in mostly_missing(schema.columns, profile.rows):
        warnings[name].append(f"{share:.0%} missing")
    target = schema.column(schema.target)
    counts = class_counts(profile.columns[target.index], target) if schema.classes else None
    rarest = imbalance(counts, schema.classes, sum(counts.values())) if counts else None
    if rarest is not None:
        warnings[target.name].append(f"{rarest[0]!r} has {100 * rarest[1]:.2g}%")
    notes = list(suspicion.notes)
    for name, why in suspicion.why.items():
        warnings[name].append(f"leakage suspect: {why}")
    if time_column is not None and rows:
        certain = DRIFT + 2.0 * share_error(max(1, rows // 2))
        drifting = [c for c in columns if c.drift is not None and c.drift > certain]
        for column in drifting:
            warnings[column.name].append("drifts with time")
        if drifting:
            told = [f"{short(c.name)} ({c.drift:.2f})" for c in drifting]
            notes.append(
                f"With the time in {short(time_column)} these columns drift (distance of the later half from "
                f"the earlier, 0 to 1): {listed(told)}."
            )
    noted = tuple(replace(c, warnings=tuple(warnings[c.name])) if warnings[c.name] else c for c in columns)
    return noted, tuple(notes)
