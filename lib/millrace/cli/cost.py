"""``millrace cost``: what a file will cost to ingest and to train on, before it is uploaded."""

from __future__ import annotations

from pathlib import Path

from millrace import csvfile
from millrace.cli.console import Console, number, table, usd
from millrace.cli.rows import file_blocks
from millrace.cli.train import read_spec
from millrace.contracts import Layout, Schema, Spec
from millrace.edge.estimate import FileSize, estimate, expected_schema
from millrace.features.candidates import candidate_names
from millrace.features.search import training_rows
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
        The spec that would go with it: what is trained depends on its target and budget.
    shards : int
        Of the stack's stream.
    """
    wanted = read_spec(spec, None) or Spec()
    size, schema = measure(file, wanted, shards * WORKERS_A_SHARD)
    found = estimate(size, schema, wanted.budget, shards)
    candidates = len(candidate_names(schema, wanted.budget, training_rows(size.rows, wanted.budget)))
    rows = [[part, usd(price)] for part, price in sorted(found["parts"].items(), key=lambda item: -item[1])]
    text = (
        f"{file.name}: about {number(size.rows)} rows of {size.columns} columns, {size.chunks} "
        f"{'chunk' if size.chunks == 1 else 'chunks'}, "
        f"{candidates} candidates for a {schema.task} ({wanted.budget})\n\n"
        f"{table(['', 'USD'], [*rows, ['together', usd(found['usd'])]])}\n\n"
        f"The stream's {shards} {'shard' if shards == 1 else 'shards'} cost {usd(found['stream_month_usd'])} "
        f"a month besides, used or not. Prices: {found['prices']}; rates: {found['rates']}."
    )
    told = {"budget": wanted.budget, "candidates": candidates, "columns": size.columns, "task": schema.task}
    console.answer(found | told, text)
    return 0


def measure(file: Path, spec: Spec, workers: int) -> tuple[FileSize, Schema]:
    """Return the size of a file once it is unpacked, and its schema; as its first megabyte lets expect.

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
    cut = csvfile.find_chunks(lambda start, end: head[start:end], len(head), sniffed.dialect, size)
    measured = FileSize(
        size_bytes=size,
        rows=cut.records if complete else round(cut.records * size / len(head)),
        columns=len(sniffed.names),
        chunks=-(-size // chunk_bytes(size, workers, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES)),
    )
    layout = Layout("", "", "", len(head), cut.dialect, sniffed.names, cut.chunks)
    return measured, expected_schema(head, layout, spec)
