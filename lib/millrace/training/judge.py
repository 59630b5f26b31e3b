"""Judge: everything that the held-out rows say of the chosen model. They are looked at here, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contracts import Schema
from millrace.errors import BadInput
from millrace.training.baselines import naive_prediction, single_column
from millrace.training.bootstrap import confidence
from millrace.training.evaluate import Answer, curves, dependence, importance, share_interval
from millrace.training.intervals import Interval
from millrace.training.learning import learning_curve
from millrace.training.metrics import evaluate, metric_for
from millrace.training.rows import group_of, time_of
from millrace.training.slices import slices
from millrace.training.thresholds import thresholds

if TYPE_CHECKING:
    from millrace.features.blocks import Table
    from millrace.training.train import Sides

__all__ = ["judge"]

Floats = NDArray[np.float64]

MOST_SLICE_NOTES = 5
"""Notes about single slices; the report has them all."""


def judge(
    answer: Answer,
    refit: Callable[[NDArray[np.intp]], Answer] | None,
    heaviest: str,
    table: Table,
    schema: Schema,
    frame: pd.DataFrame,
    sides: Sides,
    *,
    metric: str,
    around: Interval | None,
    seed: int,
) -> dict[str, Any]:
    """Score the model on the held-out rows, beside baselines, and say where it does badly.

    Parameters
    ----------
    answer : callable
        What the fitted model says of rows.
    refit : callable, optional
        Fits a candidate to the rows at these positions, and returns what then answers. Without it there is
        no learning curve.
    heaviest : str
        That candidate: the chosen one, or of an ensemble the one with the most weight.
    table, schema, frame : Table, Schema, DataFrame
        All rows.
    sides : Sides
        Which of them are held out.
    metric : str
        What the model was chosen by.
    around : Interval, optional
        Of a regression.
    seed : int
        The run's seed.

    Returns
    -------
    dict
        ``metrics``, ``baseline``, ``single_column``, ``confidence``, ``interval``, ``curves``,
        ``thresholds``, ``slices``, ``importance``, ``dependence``, ``learning_curve`` and ``notes``, as JSON
        types; see ``docs/reference/evaluation.md``.
    """
    held = frame.iloc[sides.held_out]
    truth, record = table.target[sides.held_out], table.record[sides.held_out]
    prediction = answer(held)
    metrics = evaluate(schema.task, truth, prediction, metric)
    metric = metric_for(schema.task, metric, truth)
    naive = naive_prediction(schema, table.target[sides.training], len(held))
    alone = single_column(
        schema,
        frame.iloc[sides.training],
        table.target[sides.training],
        table.record[sides.training],
        held,
        metric=metric_for(schema.task, metric, table.target[sides.training]),
        seed=seed,
    )
    others = {"baseline": naive} | ({} if alone is None else {"single_column": alone.prediction})
    columns = importance(answer, held, truth, record, schema, metric=metric, seed=seed)
    first = [entry["column"] for entry in columns]
    within = None if around is None else around.holds(truth, prediction)
    by_slice = slices(
        schema,
        held,
        truth,
        prediction,
        naive,
        record,
        metric=metric,
        first=first,
        within=within,
        level=around.level if around else 0.0,
        seed=seed,
    )
    notes = [
        f"{name} is not defined on the held-out rows and is left out."
        for name, value in metrics.items()
        if value is None
    ]
    if not columns:
        notes.append("The table is too wide to measure each column's importance within its bound.")
    group = group_of(table, schema)
    learned, why = None, ["There is no learning curve of an update."]
    if refit is not None:
        learned, why = _learning_curve(refit, table, schema, frame, sides, metric=metric, seed=seed)
    return {
        "metrics": _defined(metrics),
        "baseline": _defined(evaluate(schema.task, truth, naive, metric)),
        "single_column": None
        if alone is None
        else {
            "column": alone.column,
            "metrics": _defined(evaluate(schema.task, truth, alone.prediction, metric)),
        },
        "confidence": confidence(
            schema.task,
            truth,
            prediction,
            others,
            metric=metric,
            seed=seed,
            group=None if group is None else group[sides.held_out],
        ),
        "interval": None if around is None or within is None else _covered(around, within),
        "curves": curves(schema, truth, prediction, record, seed=seed),
        "thresholds": _thresholds(schema, truth, prediction, record, seed),
        "slices": by_slice,
        "importance": columns,
        "dependence": dependence(answer, held, schema, first, record, seed=seed),
        "learning_curve": None if learned is None else {"candidate": heaviest, **learned},
        "notes": [*notes, *why, *_slice_notes(by_slice, around)],
    }


def _thresholds(
    schema: Schema, truth: NDArray[Any], prediction: Floats, record: NDArray[np.int64], seed: int
) -> dict[str, Any] | None:
    if schema.task != "binary":
        return None
    code = schema.classes.index(schema.positive_class) if schema.positive_class else 1
    found = thresholds(truth == code, prediction[:, code], record, schema.costs, seed=seed)
    return {"class": schema.classes[code], **found}


def _covered(around: Interval, within: NDArray[np.bool_]) -> dict[str, float]:
    """Return the interval, the share of the held-out values that it holds, and how sure that is."""
    coverage = float(within.mean())
    low, high = share_interval(np.array([coverage]), np.array([len(within)]))
    ends = {"coverage_low": float(low[0]), "coverage_high": float(high[0])}
    return {**asdict(around), "coverage": coverage, **ends}


def _learning_curve(
    refit: Callable[[NDArray[np.intp]], Answer],
    table: Table,
    schema: Schema,
    frame: pd.DataFrame,
    sides: Sides,
    *,
    metric: str,
    seed: int,
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the learning curve, or why there is none: a picture is no reason to lose a model."""
    try:
        found = learning_curve(
            refit,
            schema,
            frame,
            table.target,
            table.record,
            sides.training,
            time=time_of(table, schema),
            group=group_of(table, schema),
            metric=metric,
            seed=seed,
        )
    except (BadInput, ValueError) as error:  # parts of a small table may not be learned from
        return None, [f"There is no learning curve: {error}"]
    return found, []


def _slice_notes(found: Mapping[str, Any], around: Interval | None) -> list[str]:
    """Say which slices do much worse, the worst first."""
    worse = sorted(
        (line for line in found["slices"] if line["worse"]), key=lambda line: line["others"] - line["loss"]
    )
    notes = [
        f"Much worse where {line['column']!r} is {line['value']!r}: {found['loss']} {line['loss']:.3g} on "
        f"{line['rows']} held-out rows, {line['others']:.3g} on the others."
        for line in worse[:MOST_SLICE_NOTES]
    ]
    if len(worse) > MOST_SLICE_NOTES:
        notes.append(f"{len(worse) - MOST_SLICE_NOTES} more slices are much worse: the report lists them.")
    uncovered = [line for line in found["slices"] if line.get("uncovered")]
    if around is not None and uncovered:
        least = min(uncovered, key=lambda line: float(line["coverage"]))
        notes.append(
            f"Prediction intervals hold fewer values than the {around.level:.0%} they are meant to in "
            f"{len(uncovered)} {'slice' if len(uncovered) == 1 else 'slices'}; the fewest, "
            f"{least['coverage']:.0%}, where {least['column']!r} is {least['value']!r}."
        )
    return notes


def _defined(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None}
