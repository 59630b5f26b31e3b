"""Train: one candidate, cross-validated on the rows that are not held out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Budget, Schema
from millrace.errors import BadInput
from millrace.training.frame import to_frame
from millrace.training.limits import LIMITS, fold_count
from millrace.training.metrics import metric_for, score
from millrace.training.pipeline import Learner, predict
from millrace.training.splits import Split, folds, hold_out, sample

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["CandidateResult", "Sides", "failed", "split", "train_candidate"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CandidateResult:
    """How one candidate did, in plain values.

    Attributes
    ----------
    name : str
        The candidate.
    state : {"ok", "failed"}
        A failed one has an ``error`` and no score.
    metric : str
        What ``cv_score`` is; the schema's metric unless that is not defined on these rows.
    cv_score, cv_std : float or None
        Mean and standard deviation over the folds.
    fit_seconds : float
        Wall time of all fits.
    folds, rows : int
        Folds, and rows that they cut.
    rounds : int or None
        Boosting rounds that the folds agreed on.
    error : str or None
        Why it failed.
    notes : tuple of str
        What people should know, as sentences.
    """

    name: str
    state: Literal["ok", "failed"]
    metric: str = ""
    cv_score: float | None = None
    cv_std: float | None = None
    fit_seconds: float = 0.0
    folds: int = 0
    rows: int = 0
    rounds: int | None = None
    error: str | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Sides:
    """Positions of the table's rows, ascending: to train on, and held out until the end."""

    training: NDArray[np.intp]
    held_out: NDArray[np.intp]


def split(table: Table, schema: Schema, *, seed: int) -> Sides:
    """Divide the table's rows, the same way in every function of a run.

    Returns
    -------
    Sides
        Four fifths and one fifth of the rows.

    Raises
    ------
    BadInput
        There are too few rows, no class has two, or the past holds a single class.
    """
    codes = _codes(table.target, schema)
    sides = hold_out(table.record, codes=codes, time=_time(table, schema), seed=seed, every=5)
    if codes is not None and np.unique(codes[sides.training]).size < 2:
        raise BadInput(
            f"The rows to train on all have the class {schema.classes[codes[sides.training[0]]]!r}",
            code="one-class-in-training",
            where=f"column {schema.target!r}",
            remedy="Send rows of other classes; with a time column, earlier ones.",
        )
    return Sides(sides.training, sides.validation)


def train_candidate(
    table: Table, schema: Schema, name: str, *, budget: Budget, seed: int
) -> tuple[CandidateResult, Floats]:
    """Cross-validate one candidate.

    Everything that learns from the data, the features included, is fitted inside the folds.

    Parameters
    ----------
    table : Table
        All rows; those held out are not looked at.
    schema : Schema
        Columns, task and metric.
    name : str
        A key of :data:`millrace.features.candidates.CANDIDATES`.
    budget : Budget
        Bounds of rows, rounds and trees.
    seed : int
        The run's seed.

    Returns
    -------
    result : CandidateResult
        Score and settings.
    predictions : ndarray of shape (training rows, classes) or (training rows,)
        Out-of-fold predictions, aligned with ``split(...).training``; NaN for a row that no fold validated.

    Raises
    ------
    BadInput
        There is no such candidate, the metric does not fit the task, there are too few rows, or the
        predictions are no finite numbers.
    """
    limits = LIMITS[budget]
    training = split(table, schema, seed=seed).training
    chosen = training[
        sample(table.record[training], limits.rows, codes=_codes(table.target[training], schema), seed=seed)
    ]
    frame = to_frame(table, schema).iloc[chosen]
    target, record, times = table.target[chosen], table.record[chosen], _time(table, schema, chosen)
    parts = folds(
        record,
        codes=_codes(target, schema),
        time=times,
        seed=seed,
        count=fold_count(limits, len(chosen)),
    )
    learner = Learner(name, schema, limits, seed)
    width = () if schema.task == "regression" else (len(schema.classes),)
    of_chosen = np.full((len(chosen), *width), np.nan)
    seconds = 0.0
    rounds: list[int] = []
    for part in parts:
        began = time.perf_counter()
        fitted = learner.fit(
            frame.iloc[part.training],
            target[part.training],
            record[part.training],
            time=None if times is None else times[part.training],
        )
        seconds += time.perf_counter() - began
        of_chosen[part.validation] = predict(fitted.pipeline, frame.iloc[part.validation], schema)
        if fitted.rounds is not None:
            rounds.append(fitted.rounds)
    metric, mean, std, notes = _cv_score(schema, target, of_chosen, parts)
    if not np.isfinite(mean):
        raise BadInput(
            f"The predictions of {name} are no finite numbers",
            code="score-not-finite",
            where=f"{metric} in cross-validation",
            remedy="Look for values of extreme size in the number columns.",
        )
    if len(chosen) < len(training):
        notes = (
            *notes,
            f"Candidates learn from {len(chosen)} of {len(training)} training rows, as the budget allows.",
        )
    predictions = np.full((len(training), *width), np.nan)
    predictions[np.searchsorted(training, chosen)] = of_chosen
    result = CandidateResult(
        name=name,
        state="ok",
        metric=metric,
        cv_score=mean,
        cv_std=std,
        fit_seconds=round(seconds, 3),
        folds=len(parts),
        rows=len(chosen),
        rounds=max(1, round(float(np.mean(rounds)))) if rounds else None,
        notes=notes,
    )
    return result, predictions


def failed(name: str, error: BaseException) -> CandidateResult:
    """Return the record of a candidate that raised ``error``."""
    return CandidateResult(name=name, state="failed", error=f"{type(error).__name__}: {error}"[:500])


def _cv_score(
    schema: Schema, target: NDArray[Any], predictions: Floats, parts: tuple[Split, ...]
) -> tuple[str, float, float, tuple[str, ...]]:
    """Return metric, mean and standard deviation over the folds, and what to say about them."""
    validated = np.concatenate([part.validation for part in parts])
    metric = metric_for(schema.task, schema.metric, target[validated])
    notes: tuple[str, ...] = ()
    if metric != schema.metric:
        notes = (
            f"{schema.metric} is not defined on the validated rows, which hold one value of the target; "
            f"{metric} chose the model.",
        )
    scores = np.array([score(metric, target[p.validation], predictions[p.validation]) for p in parts])
    defined = scores[np.isfinite(scores)]
    if defined.size:
        return metric, float(defined.mean()), float(defined.std()), notes
    return metric, score(metric, target[validated], predictions[validated]), 0.0, notes


def _codes(target: NDArray[Any], schema: Schema) -> NDArray[np.int32] | None:
    return None if schema.task == "regression" else target.astype(np.int32)


def _time(table: Table, schema: Schema, rows: NDArray[np.intp] | None = None) -> Floats | None:
    if schema.time_column is None:
        return None
    times: Floats = table.columns[schema.time_column]
    return times if rows is None else times[rows]
