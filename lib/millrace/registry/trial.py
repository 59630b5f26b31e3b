"""The trial: challenger and champion answer the same held-out rows, row against row.

The rows are those that the challenger's run held out. The champion may have been trained on some of them,
when the new file has the old one's rows: those are told by their content and left out, for what a model
answers on its own lessons says nothing.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace import plan
from millrace.contracts import LOWER_IS_BETTER, Schema
from millrace.features.blocks import Table
from millrace.features.fingerprints import fingerprints, is_word
from millrace.plan import Plan
from millrace.plan.format import ITEM_BYTES
from millrace.registry.reader import BYTES_AN_OBJECT
from millrace.scoring.rows import RowScorer
from millrace.training.answers import answers_of, row_losses
from millrace.training.metrics import score

__all__ = ["FEWEST_ROWS", "LEVEL", "Footprint", "Slice", "Trial", "measure", "trial", "unseen"]

LEVEL = 0.05
"""Chance at most of calling a model worse that is not: of the overall test, and of all slices together."""
FEWEST_ROWS = 30
"""Fewer rows, overall or in a slice, and no test is made."""
RESAMPLES = 1000
CELLS = 50_000_000
"""Most rows x classes that all resamples go through; of very many classes fewer are drawn."""
MOST_CATEGORIES = 20
"""A column with more categories makes no slices."""
TIMED_ROWS = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Slice:
    """The rows that have one value in one column; ``loss`` is the mean of the rows' losses."""

    column: str
    value: str
    rows: int
    new_loss: float
    old_loss: float
    worse: bool
    """Whether the challenger is worse there, beyond what chance makes of so many slices."""


@dataclass(frozen=True)
class Trial:
    """How both did on the same rows.

    Attributes
    ----------
    metric : str
        What ``new`` and ``old`` are.
    rows : int
        Rows compared, of which neither was trained on any.
    left_out : int
        Held-out rows that the champion was trained on.
    new, old : float
        The challenger's and the champion's score.
    gain : float
        How much better the challenger is, in the metric's unit; below 0 it is worse.
    low, high : float
        Bounds of the gain between which 90 of 100 paired bootstrap samples of the rows lie.
    slices : tuple of Slice
        Those with enough rows.
    """

    metric: str
    rows: int
    left_out: int
    new: float
    old: float
    gain: float
    low: float
    high: float
    slices: tuple[Slice, ...]


def unseen(
    table: Table, schema: Schema, *, trained: NDArray[np.uint64], trained_under: Schema
) -> NDArray[np.intp] | None:
    """Return which held-out rows the champion was not trained on.

    Parameters
    ----------
    table, schema
        The challenger's held-out rows, and what they were converted under.
    trained : ndarray of uint64
        Fingerprints of the rows that the champion was trained on.
    trained_under : Schema
        Their schema.

    Returns
    -------
    ndarray of int or None
        ``None`` when the rows cannot be known again, because a column of theirs is gone or of another kind.
    """
    kinds = {column.name: is_word(column.type) for column in schema.features}
    names = [column.name for column in trained_under.features]
    if any(kinds.get(c.name) != is_word(c.type) for c in trained_under.features):
        return None
    return np.flatnonzero(~np.isin(fingerprints(table, schema, names), trained))


def trial(
    table: Table,
    schema: Schema,
    rows: NDArray[np.intp],
    *,
    challenger: Plan,
    champion: Plan,
    metric: str,
    left_out: int,
    seed: int,
) -> Trial | None:
    """Let both answer the rows; ``None`` when the metric is not defined on them, or they are too few.

    The gain's bounds are percentiles of paired bootstrap samples (Efron and Tibshirani, 1993, chapter 13):
    each draws rows once for both models, so that what makes a row hard for both cancels. Rows of one group
    are drawn together.
    """
    if len(rows) < FEWEST_ROWS:
        return None
    part = {name: values[rows] for name, values in table.columns.items()}
    truth = table.target[rows]
    new, old = (answers_of(model, part, schema, len(rows)) for model in (challenger, champion))
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0

    def gain(at: NDArray[np.intp]) -> float:
        return sign * (score(metric, truth[at], new[at]) - score(metric, truth[at], old[at]))

    everything = np.arange(len(rows))
    if not math.isfinite(gain(everything)):
        return None
    draws = max(100, min(RESAMPLES, CELLS // new.size))
    random = np.random.default_rng(seed)
    groups = _groups(part.get(schema.group_column or ""))
    gains = np.array([gain(_drawn(len(rows), groups, random)) for _ in range(draws)])
    low, high = np.quantile(gains[np.isfinite(gains)], (LEVEL, 1.0 - LEVEL))
    return Trial(
        metric,
        len(rows),
        left_out,
        score(metric, truth, new),
        score(metric, truth, old),
        gain(everything),
        float(low),
        float(high),
        _slices(part, schema, row_losses(metric, truth, new), row_losses(metric, truth, old)),
    )


@dataclass(frozen=True)
class Footprint:
    """What answering with a plan takes: milliseconds for a row, the median of many, and bytes of memory."""

    row_ms: float
    memory_bytes: int


def measure(data: bytes, table: Table, *, rows: int = TIMED_ROWS) -> Footprint:
    """Load a plan and answer rows one by one, here and now, as ``predict`` does.

    Raises
    ------
    BadInput
        The plan is broken.
    """
    objects = sys.getallocatedblocks()
    read = plan.read(data)
    scorer = RowScorer(read)
    arrays = sum(ITEM_BYTES[code] * n for code, n in map(read.arrays.declared, range(len(read.arrays))))
    names = [field["name"] for field in read.signature.fields]
    found = [[table.columns[name][row] for name in names] for row in range(min(rows, len(table)))]
    plain = [[v if v is None or isinstance(v, str) else float(v) for v in row] for row in found]
    took = []
    for row in plain:
        began = time.perf_counter()
        scorer.score(row)
        took.append(1e3 * (time.perf_counter() - began))
    objects = max(0, sys.getallocatedblocks() - objects)
    return Footprint(median(took) if took else 0.0, len(data) + arrays + BYTES_AN_OBJECT * objects)


def _groups(values: NDArray[Any] | None) -> list[NDArray[np.intp]]:
    """Return the rows of each group; none where there are no groups."""
    if values is None:
        return []
    keys = values.astype(str)  # a group may be a number, a text, or missing
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1)


def _drawn(rows: int, groups: Sequence[NDArray[np.intp]], random: np.random.Generator) -> NDArray[np.intp]:
    if not groups:
        return random.integers(0, rows, rows)
    return np.concatenate([groups[n] for n in random.integers(0, len(groups), len(groups))])


def _slices(
    columns: Mapping[str, NDArray[Any]], schema: Schema, new: Floats, old: Floats
) -> tuple[Slice, ...]:
    """Return the slices that have enough rows, each tested at a share of the level (Bonferroni)."""
    found: list[tuple[str, str, NDArray[np.bool_]]] = []
    for column in schema.features:
        values = columns[column.name]
        if column.type == "boolean":
            kinds: Sequence[tuple[str, Any]] = (("false", 0.0), ("true", 1.0))
        elif column.type == "category" and len(column.categories) <= MOST_CATEGORIES:
            kinds = [(name, name) for name in column.categories]
        else:
            continue
        found += [(column.name, shown, values == value) for shown, value in kinds]
    found = [one for one in found if FEWEST_ROWS <= int(one[2].sum()) < len(new)]
    limit = NormalDist().inv_cdf(1.0 - LEVEL / max(1, len(found)))
    slices = []
    for column_name, shown, mask in found:
        more = (new - old)[mask]
        error = float(more.std(ddof=1)) / math.sqrt(len(more))
        worse = bool(more.mean() > limit * error)  # a loss that grew alike in all rows has no error
        slices.append(
            Slice(column_name, shown, len(more), float(new[mask].mean()), float(old[mask].mean()), worse)
        )
    return tuple(slices)
