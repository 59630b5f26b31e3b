"""What a run cost on AWS, from what its functions used and a price table with dates and sources.

What is measured: invocations, billed milliseconds, memory, and requests to S3 and to the table
(``Run.usage``), hence Lambda, the state transitions and the requests; a request to the table is taken for
one unit, as the items are small. Chunks are counted as puts on the stream, or as transitions of the Map, one
each; what is tried again is not. What is not here: log ingestion and storage. The stream's shards cost by the
hour whether a run uses them or not: the hours that they stood while the run was under way, and the price of a
month, are stated beside the total.
"""

from __future__ import annotations

import functools
import json
from datetime import datetime
from importlib import resources
from typing import Any, get_args

from millrace.contracts import REQUESTS, PassName, Run

STEPS = frozenset(
    {"fan_out", "decide", "collect", "train", "select", "report", "register", "assemble", "finish"}
)
"""Functions that the state machine calls: each invocation is one state transition."""

HOURS_A_MONTH = 730


@functools.cache
def prices() -> dict[str, Any]:
    """Return the price table, ``prices.json`` beside this module."""
    text = resources.files("millrace.edge").joinpath("prices.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def price(name: str) -> float:
    """Return one price in US dollars a unit; ``KeyError`` for an unknown name."""
    return float(prices()["prices"][name]["usd"])


def stream_month(shards: int) -> float:
    """Return what ``shards`` provisioned shards cost a month of 730 hours, in US dollars."""
    return shards * HOURS_A_MONTH * price("kinesis_shard_hour")


def run_cost(run: Run) -> dict[str, Any]:
    """Return what ``run`` used so far and what that costs, in US dollars.

    Returns
    -------
    dict
        ``usd`` (the total), ``parts`` (US dollars by part), ``gb_seconds``, ``invocations``, ``requests``
        (by kind), ``functions`` (what each used), ``estimated`` (the names of the parts that are estimates),
        ``shard_hours`` and ``shard_hours_usd`` (the stream's, from the upload to the end; other runs may use
        the same, so they are not in the total), ``stream_shard_month_usd`` (one shard, for a month) and
        ``prices`` (region and date of the table).
    """
    invocations = sum(usage.invocations for usage in run.usage)
    gb_seconds = sum(usage.billed_ms / 1000 * usage.memory_mb / 1024 for usage in run.usage)
    transitions = sum(usage.invocations for usage in run.usage if usage.function in STEPS)
    requests = {kind: sum(getattr(usage, kind) for usage in run.usage) for kind in REQUESTS}
    passes = [run.progress[name].done for name in get_args(PassName) if name in run.progress]
    # A Map is a state itself, and each of its chunks enters one more.
    mapped = sum(done + 1 for done in passes) if run.shards == 0 else 0
    shard_hours = (run.shards or 0) * _hours(run)
    parts = {
        "lambda_compute": gb_seconds * price("lambda_gb_second"),
        "lambda_requests": invocations * price("lambda_request"),
        # The choice at the start, the Map over what is trained and the choice behind it are states too.
        "state_transitions": (transitions + (transitions > 0) + 2 * ("train" in run.progress) + mapped)
        * price("state_transition"),
        "stream_puts": (0 if run.shards == 0 else sum(passes)) * price("kinesis_put_unit"),
        "s3_requests": requests["s3_writes"] * price("s3_write") + requests["s3_reads"] * price("s3_read"),
        "table_requests": requests["table_writes"] * price("dynamodb_write")
        + requests["table_reads"] * price("dynamodb_read"),
    }
    table = prices()
    return {
        "usd": round(sum(parts.values()), 6),
        "parts": {name: round(usd, 9) for name, usd in parts.items()},
        "gb_seconds": round(gb_seconds, 3),
        "invocations": invocations,
        "requests": requests,
        "functions": {
            usage.function: {
                "invocations": usage.invocations,
                "seconds": usage.billed_ms / 1000,
                "cpu_seconds": usage.cpu_ms / 1000,
                "memory_mb": usage.memory_mb,
                **{kind: getattr(usage, kind) for kind in REQUESTS},
            }
            for usage in run.usage
        },
        "estimated": ["table_requests"],
        "shard_hours": round(shard_hours, 4),
        "shard_hours_usd": round(shard_hours * price("kinesis_shard_hour"), 6),
        "stream_shard_month_usd": round(stream_month(1), 2),
        "prices": f"{table['region']}, {table['date']}",
    }


def _hours(run: Run) -> float:
    """Return how long the run took, or takes by now; 0 of an estimate."""
    if not (run.created_at and run.updated_at):
        return 0.0
    took = datetime.fromisoformat(run.updated_at) - datetime.fromisoformat(run.created_at)
    return max(took.total_seconds(), 0.0) / 3600
