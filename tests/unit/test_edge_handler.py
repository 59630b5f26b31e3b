"""The decorator around a use case: settings and ports once, state, usage, the fate of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace.contracts import RunError, Usage
from millrace.edge.events import StoredObject, stored_objects
from millrace.edge.handler import Job, Ports, stage
from millrace.edge.settings import DecideSettings, IngestSettings
from millrace.errors import BadInput, Misconfigured, NotFound, TransientError
from tests.fakes import Context, MemoryRunStore
from tests.world import CARS, World

Handler = Callable[[dict[str, Any], Context], Any]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STAGE", "dev")
    monkeypatch.setenv("MILLRACE_TABLE", "runs")
    monkeypatch.setenv("MILLRACE_ARTIFACT_BUCKET", "artifacts")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> MemoryRunStore:
    store = MemoryRunStore()
    monkeypatch.setattr("millrace.aws.runs.DynamoRunStore", lambda table: store)
    return store


@pytest.fixture
def run_id(runs: MemoryRunStore) -> str:
    return World(runs=runs).upload(CARS).run_id


def failing(error: Exception, **options: Any) -> Handler:
    @stage("decide", DecideSettings, **options)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        raise error

    return handler


def test_the_use_case_gets_its_run_and_its_settings(run_id: str) -> None:
    @stage("decide", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> tuple[str, str, int]:
        return job.run_id, job.settings.artifact_bucket, event["more"]

    assert handler({"run_id": run_id, "more": 3}, Context()) == (run_id, "artifacts", 3)


def test_nothing_is_read_before_the_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_TABLE")
    handler = failing(ZeroDivisionError())
    with pytest.raises(Misconfigured, match="MILLRACE_TABLE"):
        handler({"run_id": "r"}, Context())


def test_ports_are_built_once_for_each_process(run_id: str) -> None:
    seen: list[object] = []

    @stage("decide", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        seen.append(job.ports)
        seen.append(job.ports.artifacts)

    handler({"run_id": run_id}, Context())
    handler({"run_id": run_id}, Context())
    assert seen[0] is seen[2]
    assert seen[1] is seen[3]


def test_the_stage_sets_the_runs_state_before_the_work(run_id: str, runs: MemoryRunStore) -> None:
    @stage("decide", DecideSettings, state="DECIDING")
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> str:
        return job.ports.runs.get(job.run_id).state

    assert handler({"run_id": run_id}, Context()) == "DECIDING"


def test_an_event_without_a_run_is_bad_input_where_one_is_needed(runs: MemoryRunStore) -> None:
    @stage("decide", DecideSettings, state="DECIDING")
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        raise AssertionError("must not be reached")

    with pytest.raises(BadInput) as caught:
        handler({}, Context())
    assert caught.value.code == "event-invalid"


def test_each_invocation_is_added_to_what_the_run_used(run_id: str, runs: MemoryRunStore) -> None:
    @stage("decide", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        if event.get("fail"):
            raise ZeroDivisionError

    handler({"run_id": run_id}, Context(memory_limit_in_mb=256))
    with pytest.raises(ZeroDivisionError):
        handler({"run_id": run_id, "fail": True}, Context(memory_limit_in_mb=256))
    (usage,) = runs.get(run_id, full=True).usage
    assert (usage.function, usage.invocations, usage.memory_mb) == ("decide", 2, 256)
    assert usage.billed_ms >= 2, "each is rounded up"
    assert usage.cpu_ms >= 2


def test_runs_of_one_batch_share_what_it_used(runs: MemoryRunStore) -> None:
    world = World(runs=runs)
    ids = [world.upload(CARS, f"datasets/{name}/x.csv").run_id for name in ("cars", "boats")]

    @stage("preprocess", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        for run_id in [*ids, ids[0]]:
            job.concerns(run_id)

    handler({}, Context())
    for run_id in ids:
        (used,) = runs.get(run_id, full=True).usage
        assert (used.invocations, used.table_writes) == (1, 1)  # the write that notes it


def test_work_does_not_fail_because_its_cost_cannot_be_noted(
    run_id: str, runs: MemoryRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run_id: str, usage: Usage) -> None:
        raise TransientError("throttled", code="service-unavailable")

    monkeypatch.setattr(runs, "add_usage", refuse)

    @stage("decide", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> str:
        return "done"

    assert handler({"run_id": run_id}, Context()) == "done"


def test_a_final_error_is_noted_and_raised_as_it_is(run_id: str, runs: MemoryRunStore) -> None:
    error = BadInput("The target is constant", code="target-constant", remedy="Name another.")
    with pytest.raises(BadInput) as caught:
        failing(error)({"run_id": run_id}, Context())
    assert caught.value is error
    noted = runs.get(run_id).error
    assert noted == RunError("BadInput", "target-constant", "The target is constant. Name another.", "decide")


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (TransientError("busy", code="busy"), {}),
        (ZeroDivisionError(), {}),
        (BadInput("no", code="no"), {"sinks_run": False}),
    ],
    ids=["transient", "unforeseen", "a candidate's"],
)
def test_what_does_not_sink_the_run_yet_is_not_noted_on_it(
    run_id: str, runs: MemoryRunStore, error: Exception, options: dict[str, Any]
) -> None:
    with pytest.raises(type(error)):
        failing(error, **options)({"run_id": run_id}, Context())
    assert runs.get(run_id).error is None


def test_an_error_about_a_run_that_is_not_there_is_still_raised(runs: MemoryRunStore) -> None:
    with pytest.raises(NotFound, match="first"):
        failing(NotFound("first", code="x"))({"run_id": "nobody"}, Context())


def test_the_log_names_run_and_code(
    run_id: str, runs: MemoryRunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    # A name of its own: the log of a service keeps the standard output that it first saw.
    @stage("loud", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        raise BadInput("What", code="the-code")

    with pytest.raises(BadInput):
        handler({"run_id": run_id}, Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [line for line in lines if line["level"] == "ERROR"]
    assert (line["run_id"], line["code"], line["service"]) == (run_id, "the-code", "loud")


def test_what_a_job_counts_is_written_as_metrics(
    run_id: str, runs: MemoryRunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    @stage("counting", DecideSettings)
    def handler(event: dict[str, Any], job: Job[DecideSettings]) -> None:
        for _ in range(event["count"]):
            job.count("RunsFailed")

    for count in (2, 0):
        handler({"run_id": run_id, "count": count}, Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metrics,) = [line for line in lines if "_aws" in line]
    assert (metrics["RunsFailed"], metrics["service"], metrics["stage"]) == ([2.0], "counting", "dev")
    (directive,) = metrics["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Millrace"
    assert directive["Metrics"] == [{"Name": "RunsFailed", "Unit": "Count"}]
    assert [line["cold_start"] for line in lines if "cold_start" in line][-1] is False


def test_a_port_without_its_setting_is_misconfigured() -> None:
    import os

    ports = Ports(DecideSettings.load(os.environ))
    for name in ("data", "stream", "executions"):
        with pytest.raises(Misconfigured) as caught:
            getattr(ports, name)
        assert caught.value.code == "port-not-configured"
    ingest = Ports(IngestSettings("artifacts", "runs", "dev", "data", "arn", 1))
    assert ingest.data.bucket == "data"


def test_s3_events_are_decoded() -> None:
    record = {"s3": {"bucket": {"name": "b"}, "object": {"key": "a+%C3%A4%2Bb", "versionId": "v"}}}
    plain = {"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}
    assert stored_objects({"Records": [record, plain]}) == (
        StoredObject("b", "a ä+b", "v"),
        StoredObject("b", "k", None),
    )
