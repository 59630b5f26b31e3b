"""Select: the best candidate, fitted, judged once on the held-out rows, and compiled to a scoring plan."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from millrace import __version__
from millrace.compiler import certified
from millrace.contracts import Budget, Schema
from millrace.errors import BadInput
from millrace.features.blocks import write_block
from millrace.features.candidates import CANDIDATES, candidate_family
from millrace.features.plan import feature_plan
from millrace.training.evaluate import Answer
from millrace.training.frame import to_frame
from millrace.training.intervals import Interval, interval
from millrace.training.judge import judge
from millrace.training.limits import LIMITS
from millrace.training.metrics import best_first
from millrace.training.pipeline import Learner, predict
from millrace.training.splits import sample
from millrace.training.train import CandidateResult, Sides, split

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["Selection", "select"]

BACKGROUND_ROWS = 10_000
"""Training rows, evenly spread, from whose means explanations count."""
HELD_OUT_ROWS = 2_000
"""Held-out rows that stay with the run's files, for whoever compares an export of the model with its plan."""
MOST_CLASS_NOTES = 5
"""Notes about single classes; with more of them one sentence sums them up."""


@dataclass(frozen=True)
class Selection:
    """What ``select`` decided.

    Attributes
    ----------
    plan : bytes
        The scoring plan of the chosen candidate.
    evaluation : Mapping
        Candidates, metrics, baseline, parity, curves, importance and notes, as JSON types.
    held_out : bytes
        A training block of at most ``HELD_OUT_ROWS`` held-out rows.
    """

    plan: bytes
    evaluation: Mapping[str, Any]
    held_out: bytes


@dataclass(frozen=True)
class _Certified:
    """A fitted candidate whose plan agrees with it."""

    result: CandidateResult
    pipeline: Pipeline
    plan: bytes
    interval: Interval | None
    parity: Mapping[str, Any]
    trained: int
    notes: tuple[str, ...]
    refit: Callable[[NDArray[np.intp]], Answer]


def select(
    table: Table,
    schema: Schema,
    results: Sequence[CandidateResult],
    *,
    model: str,
    budget: Budget,
    seed: int,
    out_of_fold: Callable[[str], NDArray[np.float64]],
) -> Selection:
    """Choose, fit, compile and evaluate.

    The candidate with the best cross-validated score is fitted to all training rows and compiled. If it
    cannot be compiled, or its plan departs from scikit-learn on a held-out row, the next one has its turn
    and a note says so. The targets of the held-out rows are looked at once, for the chosen one.

    Parameters
    ----------
    table : Table
        All rows.
    schema : Schema
        Columns, task and metric.
    results : sequence of CandidateResult
        What ``train`` found, failed ones included, in the order of the candidates.
    model : str
        The model's name, written into the plan.
    budget : Budget
        Bounds, as in ``train``.
    seed : int
        The run's seed.
    out_of_fold : callable
        Returns a candidate's out-of-fold predictions, as ``train`` found them.

    Returns
    -------
    Selection
        Plan and evaluation.

    Raises
    ------
    BadInput
        No candidate succeeded, or none can be compiled faithfully.
    """
    sides = split(table, schema, seed=seed)
    frame = to_frame(table, schema)
    best = _first_certified(
        table, schema, frame, sides, results, out_of_fold, model=model, budget=budget, seed=seed
    )
    judged = judge(
        functools.partial(predict, best.pipeline, schema=schema),
        best.refit,
        table,
        schema,
        frame,
        sides,
        metric=best.result.metric,
        around=best.interval,
        seed=seed,
    )
    notes = [*best.result.notes, *best.notes, *_class_notes(table, schema, sides), *judged["notes"]]
    evaluation = {
        "task": schema.task,
        "target": schema.target,
        "target_format": schema.column(schema.target).format,
        "metric": best.result.metric,
        "classes": list(schema.classes),
        "rows": {"trained": best.trained, "holdout": len(sides.held_out)},
        "candidates": [
            {
                "name": result.name,
                "about": CANDIDATES[result.name].about,
                "cv_score": result.cv_score,
                "cv_std": result.cv_std,
                "fit_seconds": result.fit_seconds,
                "state": result.state,
                "error": result.error,
            }
            for result in results
        ],
        "chosen": best.result.name,
        "features": _features(schema, best.result.name),
        "parity": dict(best.parity),
        **judged,
        "notes": list(dict.fromkeys(notes)),
        "libraries": _libraries(),
        "plan_bytes": len(best.plan),
        "seed": seed,
    }
    return Selection(best.plan, evaluation, _held_out(table, schema, sides, seed))


def _held_out(table: Table, schema: Schema, sides: Sides, seed: int) -> bytes:
    """Return held-out rows as a training block."""
    rows = sides.held_out[sample(table.record[sides.held_out], HELD_OUT_ROWS, seed=seed)]
    columns = {name: column[rows] for name, column in table.columns.items()}
    return write_block(schema, columns, table.target[rows], table.record[rows])


def _features(schema: Schema, candidate: str) -> dict[str, str]:
    """Return what each feature column became for the candidate, in a sentence or two."""
    became: dict[str, str] = {}
    for encoding in feature_plan(schema, candidate_family(candidate)).encodings:
        before = became.get(encoding.column)
        became[encoding.column] = f"{before} {encoding.reason}" if before else encoding.reason
    return became


def _first_certified(
    table: Table,
    schema: Schema,
    frame: pd.DataFrame,
    sides: Sides,
    results: Sequence[CandidateResult],
    out_of_fold: Callable[[str], NDArray[np.float64]],
    *,
    model: str,
    budget: Budget,
    seed: int,
) -> _Certified:
    """Return the best candidate that compiles faithfully."""
    by_name = {result.name: result for result in results if result.cv_score is not None}
    if not by_name:
        errors = "; ".join(f"{result.name}: {result.error}" for result in results)
        raise BadInput(
            f"No candidate could be trained ({errors or 'there were none'})",
            code="no-candidate",
            remedy="Correct the file; if the candidates ran out of time or memory, give the functions more "
            "memory or the spec the budget 'quick'.",
        )
    limits = LIMITS[budget]
    rows = sides.training[_fitted_rows(table, schema, sides, limits.rows, seed)]
    time = None if schema.time_column is None else table.columns[schema.time_column][rows]
    refused: list[str] = []
    metric = next(iter(by_name.values())).metric
    for name in best_first(metric, {name: _score(result) for name, result in by_name.items()}):
        learner = Learner(name, schema, limits, seed)
        result = by_name[name]
        about = {"candidate": name, "trained_rows": len(rows), "seed": seed}
        around = None
        if schema.task == "regression":
            around = interval(table.target[sides.training], out_of_fold(name))
        try:
            fitted = learner.fit(
                frame.iloc[rows], table.target[rows], table.record[rows], time=time, rounds=result.rounds
            )
            plan, parity = certified(
                fitted.pipeline,
                schema=schema,
                model=model,
                frame=frame.iloc[sides.held_out],
                interval=None if around is None else asdict(around),
                background=frame.iloc[rows[:: -(-len(rows) // BACKGROUND_ROWS)]],
                extra_header=about,
            )
        except (BadInput, ValueError) as error:  # it cannot be fitted or served faithfully; the next one may
            refused.append(f"The candidate {name} was better in cross-validation but is left out: {error}")
            continue
        return _Certified(
            result,
            fitted.pipeline,
            plan,
            around,
            asdict(parity),
            len(rows),
            tuple(refused),
            functools.partial(_refitted, learner, table, schema, frame, result.rounds),
        )
    raise BadInput(
        "No candidate can be compiled to a faithful scoring plan",
        code="no-plan",
        where=" ".join(refused),
        remedy="Report this: candidates are chosen so that they can be compiled.",
    )


def _refitted(
    learner: Learner,
    table: Table,
    schema: Schema,
    frame: pd.DataFrame,
    rounds: int | None,
    rows: NDArray[np.intp],
) -> Answer:
    """Fit the candidate to other rows, and return what then answers."""
    time = None if schema.time_column is None else table.columns[schema.time_column][rows]
    fitted = learner.fit(frame.iloc[rows], table.target[rows], table.record[rows], time=time, rounds=rounds)
    return functools.partial(predict, fitted.pipeline, schema=schema)


def _fitted_rows(table: Table, schema: Schema, sides: Sides, most: int, seed: int) -> NDArray[np.intp]:
    codes = None if schema.task == "regression" else table.target[sides.training].astype(np.int32)
    return sample(table.record[sides.training], most, codes=codes, seed=seed)


def _score(result: CandidateResult) -> float:
    if result.cv_score is None:
        raise ValueError(f"the candidate {result.name} has no score")
    return result.cv_score


def _class_notes(table: Table, schema: Schema, sides: Sides) -> list[str]:
    """Say which classes the evaluation knows nothing of."""
    if schema.task == "regression":
        return []
    count = len(schema.classes)
    trained = np.bincount(table.target[sides.training], minlength=count)
    held = np.bincount(table.target[sides.held_out], minlength=count)
    notes = []
    for code, label in enumerate(schema.classes):
        if trained[code] == 0:
            notes.append(f"The class {label!r} has no row to train on: the model never answers it.")
        elif trained[code] == 1 and held[code] == 0:
            notes.append(f"The class {label!r} has one row: the model knows it, but no score tells how well.")
        elif held[code] == 0:
            notes.append(
                f"The class {label!r} has no held-out row: no hold-out score tells how well it does."
            )
    return notes if len(notes) <= MOST_CLASS_NOTES else [_summary(trained, held)]


def _summary(trained: NDArray[np.int64], held: NDArray[np.int64]) -> str:
    return (
        f"{int((held == 0).sum())} of {len(held)} classes have no held-out row, "
        f"{int((trained == 1).sum())} have one row to train on: no score tells how well they are learned."
    )


def _libraries() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "millrace": __version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
    }
