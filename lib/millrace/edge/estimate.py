"""What ingesting and training on a file will use and cost, before it is uploaded.

The time of each function is ``base_s`` for each invocation, ``per_mb_s`` for each megabyte of the file and
``per_million_cells_s`` for each million of rows times columns; the rates stand in ``rates.json`` with their
date, and ``make bench NAME=cost`` measures them again and compares estimates with what runs record. Requests
are counted alike. A rate holds for one whole core: a function with less memory than comes with one takes as
much longer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from millrace.contracts import REQUESTS, PassProgress, Run, Usage
from millrace.edge.cost import run_cost, stream_month

__all__ = ["CORE_MB", "FileSize", "estimate", "invocations", "rates"]

CORE_MB = 1769
"""Memory that comes with one core (AWS Lambda developer guide, "Configure Lambda function memory")."""


@dataclass(frozen=True)
class FileSize:
    """What the costs depend on: bytes as read, rows, columns, and into how many chunks it is cut."""

    size_bytes: int
    rows: int
    columns: int
    chunks: int

    def measures(self, invocations: int) -> dict[str, float]:
        """Return what a rate is multiplied with, by its name."""
        return {
            "base": invocations,
            "per_mb": self.size_bytes / 1e6,
            "per_million_cells": self.rows * self.columns / 1e6,
        }


@functools.cache
def rates() -> dict[str, Any]:
    """Return the table of rates, ``rates.json`` beside this module."""
    text = resources.files("millrace.edge").joinpath("rates.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def invocations(function: str, file: FileSize, candidates: int) -> int:
    """Return how often a run that trains invokes a function."""
    each = rates()["functions"][function]["invoked"]
    return int(
        each.get("run", 0) + each.get("chunk", 0) * file.chunks + each.get("candidate", 0) * candidates
    )


def estimate(
    file: FileSize, candidates: int, shards: int, memory_mb: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return what :func:`millrace.edge.cost.run_cost` will say of a run over the file, and more.

    Parameters
    ----------
    file : FileSize
        The file.
    candidates : int
        Invocations that train; see :func:`millrace.features.search.expected_invocations`.
    shards : int
        Of the stream; 0 for a stack without one.
    memory_mb : mapping of str to int, optional
        Memory of functions that have other than the template's defaults.

    Returns
    -------
    dict
        As of ``run_cost``, with ``chunks``, ``rows``, and ``stream_month_usd``, the price a month of all
        shards.
    """
    used = []
    for name, rate in rates()["functions"].items():
        count = invocations(name, file, candidates)
        measures = file.measures(count)
        memory = (memory_mb or {}).get(name, rate["memory_mb"])
        seconds = sum(rate[f"{of}_s"] * measure for of, measure in measures.items())
        sent = {
            kind: round(rate[kind]["base"] * count + rate[kind]["per_chunk"] * file.chunks)
            for kind in REQUESTS
        }
        used.append(Usage(name, count, round(1000 * seconds * max(1.0, CORE_MB / memory)), memory, **sent))
    done = PassProgress(file.chunks, file.chunks)
    progress = {"profile": done, "convert": done, "train": PassProgress(candidates, candidates)}
    run = Run(
        "estimate", "", "", "", "", "", file.size_bytes, "SUCCEEDED", "", "", usage=tuple(used),
        shards=shards, progress=progress,
    )  # fmt: skip
    return run_cost(run) | {
        "chunks": file.chunks,
        "rows": file.rows,
        "stream_month_usd": round(stream_month(shards), 2),
        "rates": rates()["date"],
    }
