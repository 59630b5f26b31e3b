"""The use case of the report: read what the run found, write the page and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from millrace import keys
from millrace.contracts import ObjectStore, Run, RunStore, encode, read_schema
from millrace.report.page import render

__all__ = ["write_report"]


def write_report(
    run_id: str, artifacts: ObjectStore, runs: RunStore, cost_of: Callable[[Run], Mapping[str, Any]]
) -> str:
    """Write the run's report, note it on the run, and return its URI.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts, runs
        The artifact bucket and the run records.
    cost_of : callable
        Returns what a run used so far and what that costs.

    Raises
    ------
    NotFound
        The run, its schema, its evaluation or the description of its columns is not there.
    """
    run = runs.get(run_id, full=True)
    schema = read_schema(run_id, artifacts)
    evaluation = json.loads(artifacts.get(keys.evaluation(run_id)))
    description = json.loads(artifacts.get(keys.columns(run_id)))
    cost = cost_of(run)
    same = {
        "run": encode(run),
        "schema": encode(schema),
        "evaluation": evaluation,
        "columns": description,
        "cost": cost,
    }
    artifacts.put(
        keys.run_report_json(run_id),
        json.dumps(same, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),
        content_type="application/json",
    )
    key = keys.run_report(run_id)
    page = render(run, evaluation, schema, description, cost)
    artifacts.put(key, page, content_type="text/html; charset=utf-8")
    uri = f"s3://{artifacts.bucket}/{key}"
    runs.update(run_id, report=uri)
    return uri
