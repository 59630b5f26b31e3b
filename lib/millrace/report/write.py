"""The use case of the report: read what the run found, write the page."""

from __future__ import annotations

import json

from millrace import keys
from millrace.contracts import ObjectStore, RunStore, Schema, decode
from millrace.report.page import render


def write_report(run_id: str, artifacts: ObjectStore, runs: RunStore) -> str:
    """Write the run's report, note it on the run, and return its URI.

    Raises
    ------
    NotFound
        The run, its schema, its evaluation or the description of its columns is not there.
    """
    run = runs.get(run_id)
    schema = decode(Schema, json.loads(artifacts.get(keys.schema(run_id))))
    evaluation = json.loads(artifacts.get(keys.evaluation(run_id)))
    description = json.loads(artifacts.get(keys.columns(run_id)))
    key = keys.run_report(run_id)
    artifacts.put(key, render(run, evaluation, schema, description), content_type="text/html; charset=utf-8")
    uri = f"s3://{artifacts.bucket}/{key}"
    runs.update(run_id, report=uri)
    return uri
