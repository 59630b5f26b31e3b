"""What ingesting and training on a file will use and cost, before it is uploaded.

The time of each function is ``base_s`` for each invocation, ``per_mb_s`` for each megabyte of the file and
``per_million_cells_s`` for each million of rows times columns; an invocation that trains reads all of them
that the budget lets it. To these come the fits: each kind of candidate has ``base_s`` and ``per_million_s``
of what :mod:`millrace.features.work` says that a fit goes through, for each fold, and in ``select`` once
more for those that are likely in the model. The rates stand in ``rates.json`` with their date, and ``make
bench NAME=cost`` measures them again and compares estimates with what runs record. Requests are counted
alike. A rate holds for one whole core: a function with less memory than comes with one takes as much longer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from millrace.contracts import REQUESTS, Budget, Column, Layout, PassProgress, Run, Schema, Spec, Usage
from millrace.edge.cost import run_cost, stream_month
from millrace.errors import BadInput
from millrace.features.candidates import candidate
from millrace.features.search import drawn_rows
from millrace.features.work import Fits, final_fits, fold_fits, invocations
from millrace.profile import decide_schema, profile_bytes

__all__ = ["CORE_MB", "FileSize", "estimate", "expected_schema", "fits_s", "measures", "rates"]

CORE_MB = 1769
"""Memory that comes with one core (AWS Lambda developer guide, "Configure Lambda function memory")."""


@dataclass(frozen=True)
class FileSize:
    """What the costs depend on: bytes as read, rows, columns, and into how many chunks it is cut."""

    size_bytes: int
    rows: int
    columns: int
    chunks: int


def measures(function: str, file: FileSize, invocations: int, budget: Budget) -> dict[str, float]:
    """Return what a function's rates are multiplied with, by their names, but for its fits."""
    megabytes, rows, times = file.size_bytes / 1e6, file.rows, 1
    if function in ("train", "select"):  # each reads the blocks, as far as the budget lets it
        megabytes, rows, times = 0.0, min(rows, drawn_rows(budget)), invocations
    return {
        "base": invocations,
        "per_mb": megabytes,
        "per_million_cells": times * rows * file.columns / 1e6,
    }


@functools.cache
def rates() -> dict[str, Any]:
    """Return the table of rates, ``rates.json`` beside this module."""
    text = resources.files("millrace.edge").joinpath("rates.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def expected_schema(head: bytes, layout: Layout, spec: Spec) -> Schema:
    """Return the schema that the beginning of a file lets expect.

    Where nothing can be learned from that alone, as of a file whose first rows are of one class, it is a
    table of numbers and two classes.

    Parameters
    ----------
    head : bytes
        The beginning of the file.
    layout : Layout
        How it is to be read, with its one chunk.
    spec : Spec
        What the user asks for.
    """
    (chunk,) = layout.chunks
    try:
        return decide_schema(profile_bytes(head[chunk.start : chunk.end], layout, chunk)[0], layout, spec)
    except BadInput:
        names = layout.names if len(layout.names) > 1 else ("feature", *layout.names)
        features = tuple(Column(name, i, "number", "feature") for i, name in enumerate(names[:-1]))
        target = Column(names[-1], len(features), "category", "target")
        return Schema((*features, target), target.name, "binary", "roc_auc", ("no", "yes"))


def fits_s(fits: Fits, known: Mapping[str, Any]) -> float:
    """Return how long fits take by known rates, in seconds of one core."""
    each = [(fit, known["fits"][candidate(fit.candidate).kind]) for fit in fits]
    return float(sum(fit.times * (rate["base_s"] + rate["per_million_s"] * fit.work) for fit, rate in each))


def estimate(
    file: FileSize,
    schema: Schema,
    budget: Budget,
    shards: int,
    memory_mb: Mapping[str, int] | None = None,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what :func:`millrace.edge.cost.run_cost` will say of a run over the file, and more.

    Parameters
    ----------
    file : FileSize
        The file.
    schema : Schema
        Its columns and task, as :func:`expected_schema` expects them: what is trained follows from it.
    budget : Budget
        What the run may spend.
    shards : int
        Of the stream; 0 for a stack without one.
    memory_mb : mapping of str to int, optional
        Memory of functions that have other than the template's defaults.
    known : mapping, optional
        Rates; those of :func:`rates` by default.

    Returns
    -------
    dict
        As of ``run_cost``, with ``chunks``, ``rows``, and ``stream_month_usd``, the price a month of all
        shards.
    """
    known = known or rates()
    units = invocations(schema, budget, file.rows)
    fits = {
        "train": fits_s(fold_fits(schema, budget, file.rows), known),
        "select": fits_s(final_fits(schema, budget, file.rows), known),
    }
    used = []
    for name, rate in known["functions"].items():
        each = rate["invoked"]
        count = each.get("run", 0) + each.get("chunk", 0) * file.chunks + each.get("unit", 0) * units
        memory = (memory_mb or {}).get(name, rate["memory_mb"])
        measured = measures(name, file, count, budget) | ({"per_fit": fits[name]} if name in fits else {})
        seconds = sum(rate[f"{of}_s"] * measure for of, measure in measured.items())
        sent = {
            kind: round(rate[kind]["base"] * count + rate[kind]["per_chunk"] * file.chunks)
            for kind in REQUESTS
        }
        used.append(Usage(name, count, round(1000 * seconds * max(1.0, CORE_MB / memory)), memory, **sent))
    done = PassProgress(file.chunks, file.chunks)
    progress = {"profile": done, "convert": done, "train": PassProgress(units, units)}
    run = Run(
        "estimate", "", "", "", "", "", file.size_bytes, "SUCCEEDED", "", "", usage=tuple(used),
        shards=shards, progress=progress,
    )  # fmt: skip
    return run_cost(run) | {
        "chunks": file.chunks,
        "rows": file.rows,
        "stream_month_usd": round(stream_month(shards), 2),
        "rates": known["date"],
    }
