"""report, the real handler, on moto, after the real select."""

from __future__ import annotations

import json

import pytest

from millrace import keys
from millrace.errors import NotFound
from tests.fakes import Context
from tests.handlers.test_manage import aws, load
from tests.handlers.test_train import EVENTS, LINEAR, prepared

__all__ = ["aws"]

EVENT = json.loads((EVENTS / "report.run.json").read_text("utf-8"))


@pytest.mark.usefixtures("aws")
def test_report_writes_a_page_of_what_select_found() -> None:
    world, run_id = prepared()
    load("train").handler({"run_id": run_id, "unit": LINEAR}, Context())
    load("select").handler({"run_id": run_id}, Context())
    handler = load("report").handler
    answer = handler(EVENT | {"run_id": run_id}, Context())
    assert answer == handler(EVENT | {"run_id": run_id}, Context())
    page = world.artifacts.get(keys.run_report(run_id)).decode()
    run = world.runs.get(run_id)
    assert answer["report"] == run.report == f"s3://{world.artifacts.bucket}/{keys.run_report(run_id)}"
    assert run.state == "REPORTING"
    assert page.startswith("<!DOCTYPE html>")
    assert "<b>linear</b> was chosen" in page
    assert "scikit-learn" in page


@pytest.mark.usefixtures("aws")
def test_without_an_evaluation_the_run_notes_why() -> None:
    world, run_id = prepared()
    with pytest.raises(NotFound):
        load("report").handler(EVENT | {"run_id": run_id}, Context())
    error = world.runs.get(run_id).error
    assert error is not None
    assert (error.code, error.stage) == ("not-found", "report")
