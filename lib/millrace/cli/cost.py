"""``millrace cost``: what a file will cost to ingest and to train on, before it is uploaded."""

from __future__ import annotations

from pathlib import Path

from millrace import csvfile
from millrace.cli.console import Console, number, table, usd
from millrace.cli.rows import file_blocks
from millrace.cli.train import read_spec
from millrace.contracts import Spec
from millrace.edge.estimate import FileSize, estimate
from millrace.features.candidates import CANDIDATES
from millrace.features.search import expected_invocations
from millrace.runs.fan_out import chunk_bytes

__all__ = ["cost", "measure"]

WORKERS_A_SHARD, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES = 10, 1 << 20, 64 << 20
"""Defaults of the template's ParallelizationFactor, MinChunkBytes and MaxChunkBytes."""


def cost(console: Console, file: Path, spec: Path | None, shards: int) -> int:
    """Estimate and print; return the exit code.

    Parameters
    ----------
    console : Console
        Where words go.
    file : Path
        The file that would be uploaded.
    spec : Path, optional
        The spec that would go with it: its budget decides how many candidates are trained.
    shards : int
        Of the stack's stream.
    """
    budget = (read_spec(spec, None) or Spec()).budget
    candidates = sum(budget in candidate.budgets for candidate in CANDIDATES.values())
    size = measure(file, shards * WORKERS_A_SHARD)
    found = estimate(size, expected_invocations(budget, size.rows, size.columns), shards)
    rows = [[part, usd(price)] for part, price in sorted(found["parts"].items(), key=lambda item: -item[1])]
    text = (
        f"{file.name}: about {number(size.rows)} rows of {size.columns} columns, {size.chunks} "
        f"{'chunk' if size.chunks == 1 else 'chunks'}, {candidates} candidates ({budget})\n\n"
        f"{table(['', 'USD'], [*rows, ['together', usd(found['usd'])]])}\n\n"
        f"The stream's {shards} {'shard' if shards == 1 else 'shards'} cost {usd(found['stream_month_usd'])} "
        f"a month besides, used or not. Prices: {found['prices']}; rates: {found['rates']}."
    )
    console.answer(found | {"budget": budget, "candidates": candidates, "columns": size.columns}, text)
    return 0


def measure(file: Path, workers: int) -> FileSize:
    """Return the size of a file once it is unpacked; its rows as its first megabyte lets expect.

    Raises
    ------
    BadInput, TooLarge
        The file is none that could be ingested.
    """
    with file.open("rb") as source:
        head = source.read(csvfile.HEAD_BYTES)
    size = file.stat().st_size
    if csvfile.needs_rewrite(head):
        size, head = 0, b""
        for block in csvfile.rewrite(file_blocks(file), max_bytes=1 << 62):
            size += len(block)
            head += block[: csvfile.HEAD_BYTES - len(head)]
    complete = len(head) == size
    sniffed = csvfile.sniff(head, complete=complete)
    seen = csvfile.find_chunks(lambda start, end: head[start:end], len(head), sniffed.dialect, size).records
    return FileSize(
        size_bytes=size,
        rows=seen if complete else round(seen * size / len(head)),
        columns=len(sniffed.names),
        chunks=-(-size // chunk_bytes(size, workers, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES)),
    )
