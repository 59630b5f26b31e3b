"""Train: candidates, cross-validated fold by fold on the rows that are not held out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import Budget, Schema, decode, encode
from millrace.errors import BadInput, MillraceError
from millrace.features.candidates import Family, candidate
from millrace.features.limits import LIMITS, fold_count
from millrace.training.frame import to_frame
from millrace.training.metrics import metric_for, score
from millrace.training.pipeline import Encoded, Learner, Rows, predict
from millrace.training.rows import group_of, time_of, weight_of
from millrace.training.splits import Split, folds, hold_out, sample
from millrace.training.turns import TOO_LONG, Fits, NotDone

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = [
    "CandidateResult",
    "Cut",
    "FoldResult",
    "Sides",
    "cut",
    "fit_whole",
    "put_together",
    "rows_of",
    "split",
    "train_folds",
]

Floats = NDArray[np.float64]

VALIDATED_ROWS = 50_000
"""Most rows that a fold validates: more of them say no better which candidate is better, and a large model
takes as long to answer them as to be fitted."""


@dataclass(frozen=True)
class FoldResult:
    """How one candidate did on one fold, in plain values.

    Attributes
    ----------
    name : str
        The candidate.
    fold : int
        The fold that it validated.
    metric : str
        What ``score`` is.
    score : float or None
        None when the metric is not defined on the fold's rows, or when the fit failed.
    seconds : float
        Wall time of the fit.
    rounds : int or None
        Boosting rounds.
    error : str or None
        Why it failed.
    struck : bool
        Whether a limit of time or memory ended it, which may be otherwise on another machine.
    """

    name: str
    fold: int
    metric: str = ""
    score: float | None = None
    seconds: float = 0.0
    rounds: int | None = None
    error: str | None = None
    struck: bool = False


@dataclass(frozen=True)
class CandidateResult:
    """How one candidate did over the folds, in plain values.

    Attributes
    ----------
    name : str
        The candidate.
    state : {"ok", "stopped", "failed"}
        A stopped one was among the weaker on its first folds; a failed one has an ``error`` and no score.
    metric : str
        What ``cv_score`` is; the schema's metric unless that is not defined on these rows.
    cv_score, cv_std : float or None
        Mean and standard deviation over the folds that were trained.
    fit_seconds : float
        Wall time of all fits.
    folds, rows : int
        Folds, and rows that they cut.
    rounds : int or None
        Boosting rounds that the folds agreed on.
    error : str or None
        Why it failed, or why it was stopped.
    struck : bool
        Whether a limit of time or memory ended it.
    notes : tuple of str
        What people should know, as sentences.
    """

    name: str
    state: Literal["ok", "stopped", "failed"]
    metric: str = ""
    cv_score: float | None = None
    cv_std: float | None = None
    fit_seconds: float = 0.0
    folds: int = 0
    rows: int = 0
    rounds: int | None = None
    error: str | None = None
    struck: bool = False
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
    time, group = time_of(table, schema), group_of(table, schema)
    sides = hold_out(table.record, codes=codes, time=time, group=group, seed=seed, every=5)
    if codes is not None and np.unique(codes[sides.training]).size < 2:
        raise BadInput(
            f"The rows to train on all have the class {schema.classes[codes[sides.training[0]]]!r}",
            code="one-class-in-training",
            where=f"column {schema.target!r}",
            remedy="Send rows of other classes; with a time column, earlier ones.",
        )
    return Sides(sides.training, sides.validation)


@dataclass(frozen=True)
class Cut:
    """The rows that candidates learn from, and their folds: the same in every function of a run.

    Attributes
    ----------
    sides : Sides
        Of all rows.
    chosen : ndarray of shape (n,)
        Positions in the table of the rows that are cut: those to train on, or of very many a sample.
    rows : Rows
        The same, to fit to.
    folds : tuple of Split
        Positions in ``rows``.
    """

    sides: Sides
    chosen: NDArray[np.intp]
    rows: Rows
    folds: tuple[Split, ...]

    @property
    def validated(self) -> NDArray[np.intp]:
        """Positions in ``rows`` that some fold validates."""
        return np.concatenate([part.validation for part in self.folds])

    def note(self) -> tuple[str, ...]:
        """Say that a sample is learned from, if it is one."""
        if len(self.chosen) == len(self.sides.training):
            return ()
        return (
            f"Candidates learn from {len(self.chosen)} of {len(self.sides.training)} training rows, "
            "as the budget allows.",
        )


def cut(table: Table, schema: Schema, *, budget: Budget, seed: int) -> Cut:
    """Return the rows to learn from and their folds.

    Raises
    ------
    BadInput
        See :func:`split`.
    """
    limits = LIMITS[budget]
    sides = split(table, schema, seed=seed)
    training = sides.training
    chosen = training[
        sample(table.record[training], limits.rows, codes=_codes(table.target[training], schema), seed=seed)
    ]
    rows = rows_of(table, schema, to_frame(table, schema), chosen)
    parts = folds(
        rows.record,
        codes=_codes(rows.target, schema),
        time=rows.time,
        group=rows.group,
        seed=seed,
        count=fold_count(limits, len(chosen)),
    )

    def fewer(part: Split) -> Split:
        validation = part.validation
        codes = _codes(rows.target[validation], schema)
        drawn = sample(rows.record[validation], VALIDATED_ROWS, codes=codes, seed=seed)
        return Split(part.training, validation[drawn])

    return Cut(sides, chosen, rows, tuple(map(fewer, parts)))


def rows_of(table: Table, schema: Schema, frame: pd.DataFrame, positions: NDArray[np.intp]) -> Rows:
    """Return the rows of a table, and of the frame made of it, at these positions."""
    every = Rows(
        frame,
        table.target,
        table.record,
        time=time_of(table, schema),
        group=group_of(table, schema),
        weight=weight_of(table, schema),
    )
    return every.take(positions)


def train_folds(
    cut: Cut,
    schema: Schema,
    names: Sequence[str],
    numbers: Sequence[int],
    *,
    budget: Budget,
    seed: int,
    fits: Fits | None = None,
) -> Iterator[tuple[FoldResult, Floats]]:
    """Cross-validate candidates on some of the folds.

    Everything that learns from the data, the features included, is fitted inside the folds; candidates of
    one family share the fitted features of a fold. A candidate that fails does not touch the others.

    Parameters
    ----------
    cut : Cut
        Rows and folds.
    schema : Schema
        Columns, task and metric.
    names : sequence of str
        Keys of :data:`millrace.features.candidates.CANDIDATES`.
    numbers : sequence of int
        The folds to validate; those that there are not are left out.
    budget : Budget
        Bounds of rounds and trees.
    seed : int
        The run's seed.
    fits : Fits, optional
        What earlier invocations did of this, and the time of this one. A fit that would likely not be done in
        an invocation of its own is not begun, and its result says so: the one thing here that depends on the
        machine.

    Yields
    ------
    result : FoldResult
        Score and settings.
    predictions : ndarray of shape (validated rows, classes) or (validated rows,)
        Aligned with the fold's ``validation``; empty for one that failed.

    Raises
    ------
    NotDone
        There is no time left, and the next invocation goes on with ``fits``.
    """
    fits = fits or Fits()
    metric = metric_for(schema.task, schema.metric, cut.rows.target[cut.validated])
    longest: dict[str, float] = {}
    for number in numbers:
        if number >= len(cut.folds):
            continue
        fold: _Fold | None = None
        for name in names:
            place = f"{name}.{number}"
            if place in fits.finished:
                known, predictions = fits.finished[place]
                result = decode(FoldResult, known)
                longest[name] = max(longest.get(name, 0.0), result.seconds)
                yield result, predictions
                continue
            if fits.may_begin(longest.get(name, 0.0)):
                fold = fold or _Fold(cut, number, schema, metric, budget, seed, {})
                result, predictions = fold.result(name, fits, place)
            else:
                result = FoldResult(name, number, error="There was no time left for this fold.", struck=True)
                predictions = _NOTHING
            longest[name] = max(longest.get(name, 0.0), result.seconds)
            fits.note(place, encode(result), predictions)
            yield result, predictions


def fit_whole(
    cut: Cut, schema: Schema, name: str, rounds: int | None, *, budget: Budget, seed: int, fits: Fits
) -> None:
    """Fit a candidate to all rows, for whoever takes over ``fits``.

    Parameters
    ----------
    cut, schema, budget, seed
        As in :func:`train_folds`.
    name : str
        The candidate, and the place of its fit.
    rounds : int, optional
        Boosting rounds.
    fits : Fits
        Where it is held.

    Raises
    ------
    NotDone
        There is no time left, and the next invocation goes on with ``fits``.
    """
    learner = Learner(name, schema, LIMITS[budget], seed)
    encoded = Encoded.of(cut.rows, schema, learner.candidate.family, seed=seed, watched=False)
    learner.fit(encoded, cut.rows.target, rounds=rounds, fits=fits, place=name)


_NOTHING = np.empty(0)


@dataclass(frozen=True)
class _Fold:
    """One fold's rows, and what the features of each family made of them."""

    cut: Cut
    number: int
    schema: Schema
    metric: str
    budget: Budget
    seed: int
    encoded: dict[Family, tuple[Encoded, Any]]

    def result(self, name: str, fits: Fits, place: str) -> tuple[FoldResult, Floats]:
        """Fit a candidate, and score it."""
        began = time.perf_counter()
        seconds = fits.seconds(place)
        part = self.cut.folds[self.number]
        try:
            made, matrix, target = self._encoded(candidate(name).family)
            learner = Learner(name, self.schema, LIMITS[self.budget], self.seed)
            fitted = learner.fit(made, target, fits=fits, place=place)
            seconds += time.perf_counter() - began
            predictions = predict(fitted.estimator, matrix, self.schema)
        except NotDone:
            raise
        except Exception as error:
            if isinstance(error, MillraceError) and error.retry:
                raise
            failure = f"{type(error).__name__}: {error}"[:500]
            late = isinstance(error, MillraceError) and error.code == TOO_LONG
            struck = late or isinstance(error, MemoryError)
            return FoldResult(name, self.number, error=failure, struck=struck), _NOTHING
        if not np.isfinite(predictions).all():
            wild = f"The predictions of {name} are no finite numbers: look for values of extreme size."
            return FoldResult(name, self.number, error=wild), _NOTHING
        found = score(self.metric, self.cut.rows.target[part.validation], predictions)
        defined = found if np.isfinite(found) else None
        result = FoldResult(name, self.number, self.metric, defined, round(seconds, 3), fitted.rounds)
        return result, predictions

    def _encoded(self, family: Family) -> tuple[Encoded, Any, NDArray[Any]]:
        """Return the training rows and the validation rows under the family's features, and the target."""
        part = self.cut.folds[self.number]
        if family not in self.encoded:
            training = self.cut.rows.take(part.training)
            made = Encoded.of(training, self.schema, family, seed=self.seed, watched=True)
            self.encoded[family] = made, made.features.transform(self.cut.rows.frame.iloc[part.validation])
        return *self.encoded[family], self.cut.rows.target[part.training]


def put_together(
    cut: Cut,
    schema: Schema,
    names: Sequence[str],
    found: Mapping[tuple[str, int], tuple[FoldResult, Floats]],
    *,
    stopped: Sequence[str] = (),
) -> tuple[list[CandidateResult], dict[str, Floats]]:
    """Return how each candidate did, and the out-of-fold predictions of those that validated every fold.

    Parameters
    ----------
    cut, schema
        As in :func:`train_folds`.
    names : sequence of str
        The run's candidates.
    found : mapping
        By name and fold, what :func:`train_folds` yielded.
    stopped : sequence of str
        Candidates that were not to go on after their first folds.

    Returns
    -------
    results : list of CandidateResult
        In the order of ``names``.
    predictions : dict of str to ndarray
        By name: shape (n, classes) or (n,), aligned with ``cut.rows``; NaN for a row that no fold validated.
    """
    results: list[CandidateResult] = []
    out_of_fold: dict[str, Floats] = {}
    width = () if schema.task == "regression" else (len(schema.classes),)
    for name in names:
        mine = {number: found[name, number] for number in range(len(cut.folds)) if (name, number) in found}
        errors = [result for result, _ in mine.values() if result.error is not None]
        seconds = round(sum(result.seconds for result, _ in mine.values()), 3)
        if errors:
            results.append(
                CandidateResult(
                    name, "failed", fit_seconds=seconds, error=errors[0].error, struck=errors[0].struck
                )
            )
            continue
        if not mine or (len(mine) < len(cut.folds) and name not in stopped):
            error = "It left no result: it ran out of time or memory, or could not start."
            results.append(CandidateResult(name, "failed", fit_seconds=seconds, error=error, struck=True))
            continue
        predictions = np.full((len(cut.chosen), *width), np.nan)
        for number, (_, of_fold) in mine.items():
            predictions[cut.folds[number].validation] = of_fold
        metric, mean, std, notes = cv_score(schema, cut, predictions, tuple(mine))
        rounds = [result.rounds for result, _ in mine.values() if result.rounds is not None]
        whole = len(mine) == len(cut.folds)
        results.append(
            CandidateResult(
                name=name,
                state="ok" if whole else "stopped",
                metric=metric,
                cv_score=mean,
                cv_std=std,
                fit_seconds=seconds,
                folds=len(mine),
                rows=len(cut.chosen),
                rounds=max(1, round(float(np.mean(rounds)))) if rounds else None,
                error=None if whole else "It was among the weaker ones on its first fold and was stopped.",
                notes=(*notes, *cut.note()),
            )
        )
        if whole:
            out_of_fold[name] = predictions
    return results, out_of_fold


def cv_score(
    schema: Schema, cut: Cut, predictions: Floats, numbers: Sequence[int]
) -> tuple[str, float, float, tuple[str, ...]]:
    """Return metric, mean and standard deviation over folds, and what to say about them."""
    target = cut.rows.target
    parts = [cut.folds[number] for number in numbers]
    metric = metric_for(schema.task, schema.metric, target[cut.validated])
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
    validated = np.concatenate([part.validation for part in parts])
    return metric, score(metric, target[validated], predictions[validated]), 0.0, notes


def _codes(target: NDArray[Any], schema: Schema) -> NDArray[np.int32] | None:
    return None if schema.task == "regression" else target.astype(np.int32)
