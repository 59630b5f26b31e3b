"""What a scoring plan answers to rows of a table, and how far off each answer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import DEVIANCES, PINBALL, Schema
from millrace.features.fingerprints import is_word
from millrace.plan import Plan
from millrace.scoring.fastest import BlockScorer, block_scorer
from millrace.training.metrics import log_losses, score

__all__ = ["answers_of", "row_losses"]

Floats = NDArray[np.float64]


def answers_of(
    model: Plan,
    columns: Mapping[str, NDArray[Any]],
    schema: Schema,
    rows: int,
    scorer: BlockScorer | None = None,
) -> Floats:
    """Return a model's answers, probabilities by the schema's classes; a column that it lacks is missing.

    Who asks often makes the ``scorer`` of the model once.
    """
    given: dict[str, NDArray[Any]] = {}
    for field in model.signature.fields:
        values, word = columns.get(field["name"]), is_word(field["type"])
        if values is None or (values.dtype == object) != word:
            values = np.full(rows, None, dtype=object) if word else np.full(rows, np.nan)
        given[field["name"]] = values
    found = (scorer or block_scorer(model)).score(given)
    if not schema.classes:
        return found
    answers = np.zeros((rows, len(schema.classes)))
    for place, name in enumerate(model.classes):
        if name in schema.classes:
            answers[:, schema.classes.index(name)] = found[:, place]
    return answers


def row_losses(metric: str, truth: NDArray[Any], answers: Floats) -> Floats:
    """Return each row's loss: what the metric adds up, or its task's proper loss where it adds nothing."""
    if metric == "brier" or metric in DEVIANCES or metric.startswith(PINBALL):
        return np.array([score(metric, truth[n : n + 1], answers[n : n + 1]) for n in range(len(truth))])
    if answers.ndim == 1:
        off = np.abs(answers - truth)
        off = off**2 if metric in ("rmse", "r2") else off
        return np.asarray(off, dtype=np.float64)
    if metric in ("accuracy", "balanced_accuracy", "f1_macro"):
        return np.asarray(answers.argmax(axis=1) != truth, dtype=np.float64)
    return log_losses(truth, answers)
