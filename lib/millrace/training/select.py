"""Select: the best candidate, fitted, judged once on the held-out rows, and compiled to a scoring plan."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from millrace.contracts import Budget, Schema
from millrace.errors import BadInput
from millrace.training.evaluate import curves, importance, naive_prediction
from millrace.training.frame import to_frame
from millrace.training.limits import LIMITS
from millrace.training.metrics import best_first, evaluate, metric_for
from millrace.training.pipeline import Learner, predict
from millrace.training.splits import sample
from millrace.training.train import CandidateResult, Sides, split

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["Selection", "select"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """What ``select`` decided.

    Attributes
    ----------
    plan : bytes
        The scoring plan of the chosen candidate.
    evaluation : Mapping
        Candidates, metrics, baseline, parity, curves, importance and notes, as JSON types; see the
        reference of ``evaluation.json``.
    """

    plan: bytes
    evaluation: Mapping[str, Any]


@dataclass(frozen=True)
class _Certified:
    name: str
    pipeline: Pipeline
    plan: bytes
    parity: Mapping[str, Any]
    trained: int


def select(
    table: Table,
    schema: Schema,
    results: Sequence[CandidateResult],
    *,
    model: str,
    budget: Budget,
    seed: int,
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
    notes = [*_class_notes(table, schema, sides)]
    best, others = _certified(
        table, schema, results, frame, sides, notes, model=model, budget=budget, seed=seed
    )
    held = sides.held_out
    held_frame, truth, record = frame.iloc[held], table.target[held], table.record[held]
    prediction = predict(best.pipeline, held_frame, schema)
    naive = naive_prediction(schema, table.target[sides.training], len(held))
    metric = next(result.metric for result in results if result.name == best.name)
    metrics = evaluate(schema.task, truth, prediction)
    notes += [
        f"{name} is not defined on the held-out rows and is left out."
        for name, value in metrics.items()
        if value is None
    ]
    ranked_by = metric_for(schema.task, metric, truth)
    columns = importance(best.pipeline, held_frame, truth, record, schema, metric=ranked_by, seed=seed)
    if not columns:
        notes.append("The table is too wide to measure the importance of each column within the bound.")
    evaluation = {
        "task": schema.task,
        "target": schema.target,
        "metric": metric,
        "classes": list(schema.classes),
        "rows": {"trained": best.trained, "holdout": len(held)},
        "candidates": [
            {
                "name": result.name,
                "cv_score": result.cv_score,
                "cv_std": result.cv_std,
                "fit_seconds": result.fit_seconds,
                "state": result.state,
                "error": result.error,
            }
            for result in results
        ],
        "chosen": best.name,
        "metrics": _defined(metrics),
        "baseline": _defined(evaluate(schema.task, truth, naive)),
        "parity": dict(best.parity),
        "curves": curves(schema, truth, prediction, record, seed=seed),
        "importance": columns,
        "notes": list(dict.fromkeys(notes + others)),
        "libraries": _libraries(),
        "plan_bytes": len(best.plan),
        "seed": seed,
    }
    return Selection(best.plan, evaluation)
