"""How runs end: finish, chunks that exhaust their retries, and executions that are gone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace import errors, keys
from millrace.contracts import Descriptor, RunError, RunState
from millrace.errors import BadInput, MillraceError, Misconfigured, TransientError
from millrace.fanout import encode_descriptor
from millrace.runs.chunk_failed import chunk_failed
from millrace.runs.failure import explain, run_error, stage_of
from millrace.runs.finish import finish
from millrace.runs.reconcile import MAX_ATTEMPTS, reconcile
from tests.fakes import MemoryExecutions, MemoryObjectStore, MemoryRunStore, MemoryStream, MemoryTasks
from tests.world import CARS, World

# --- finish ------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    return World()


def running(world: World, state: RunState = "TRAINING") -> str:
    run_id = world.upload(CARS).run_id
    world.runs.update(run_id, state=state)
    return run_id


def cause(kind: str, message: str, **more: str) -> str:
    return json.dumps({"errorType": kind, "errorMessage": message, "stackTrace": []} | more)


def test_a_success_is_what_the_next_upload_is_compared_with(world: World) -> None:
    run_id = running(world)
    world.runs.update(run_id, error=RunError("BadInput", "c", "noted by a stage that was repeated"))
    assert finish(run_id, None, runs=world.runs) is None
    run = world.runs.get(run_id)
    assert (run.state, run.error) == ("SUCCEEDED", None)
    last = world.runs.last_success("cars")
    assert last is not None
    assert last.run_id == run_id


def test_an_error_of_ours_stays_as_it_is_with_its_code_and_stage(world: World) -> None:
    run_id = running(world, "DECIDING")
    error = BadInput("The target is constant", code="target-constant", remedy="Name another.")
    world.runs.update(run_id, error=run_error(error, "decide"))
    finish(run_id, {"Error": "BadInput", "Cause": cause("BadInput", str(error))}, runs=world.runs)
    run = world.runs.get(run_id)
    assert run.state == "FAILED"
    assert run.error == RunError(
        "BadInput", "target-constant", "The target is constant. Name another.", "decide"
    )
    assert world.runs.last_success("cars") is None


def test_a_workers_error_brings_its_code_along(world: World) -> None:
    run_id = running(world, "CONVERTING")
    said = cause("BadInput", "A quote is never closed.", code="quotes-open", stage="convert")
    error = finish(run_id, {"Error": "BadInput", "Cause": said}, runs=world.runs)
    assert error == RunError("BadInput", "quotes-open", "A quote is never closed.", "convert")


def test_an_older_noted_error_is_not_mistaken_for_the_cause(world: World) -> None:
    run_id = running(world, "SELECTING")
    world.runs.update(run_id, error=RunError("BadInput", "old", "Old.", "decide"))
    error = finish(run_id, {"Error": "BadInput", "Cause": cause("BadInput", "New.")}, runs=world.runs)
    assert error == RunError("BadInput", "unspecified", "New.", "select")


def test_finishing_twice_changes_nothing(world: World) -> None:
    run_id = running(world)
    first = finish(run_id, {"Error": "BadInput", "Cause": cause("BadInput", "Why.")}, runs=world.runs)
    again = finish(run_id, {"Error": "States.Timeout", "Cause": ""}, runs=world.runs)
    assert again == first == world.runs.get(run_id).error


def test_a_registered_run_is_not_failed_afterwards(world: World) -> None:
    run_id = running(world)
    finish(run_id, None, runs=world.runs)
    assert finish(run_id, {"Error": "States.Timeout", "Cause": ""}, runs=world.runs) is None
    assert world.runs.get(run_id).state == "SUCCEEDED"


@pytest.mark.parametrize(
    ("error", "said", "code", "says"),
    [
        ("States.Timeout", "", "out-of-time", "time limit"),
        ("States.HeartbeatTimeout", "", "workers-silent", "fell silent"),
        (
            "Sandbox.Timedout",
            cause("Sandbox.Timedout", "Task timed out after 3.00 seconds"),
            "out-of-time",
            "time",
        ),
        ("States.TaskFailed", "2026 4f Task timed out after 3.00 seconds", "out-of-time", "time"),
        ("Runtime.ExitError", cause("Runtime.ExitError", "Runtime exited"), "out-of-memory", "memory"),
        (
            "Lambda.Unknown",
            cause("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed"),
            "out-of-memory",
            "memory",
        ),
        (
            "Lambda.Unknown",
            "The cause could not be determined because Lambda did not return an error type. "
            'Returned payload: {"errorMessage":"2026-11-20 4f Task timed out after 900.00 seconds"}',
            "out-of-time",
            "time",
        ),
        ("MemoryError", cause("MemoryError", ""), "out-of-memory", "memory"),
        ("ZeroDivisionError", cause("ZeroDivisionError", "division by zero"), "internal", "division by zero"),
        ("States.Runtime", "no JSON here", "internal", "no JSON here"),
        (
            "TransientError",
            cause("TransientError", "S3 is slow. Try again."),
            "service-unavailable",
            "S3 is slow",
        ),
        ("", "", "internal", "unexpectedly"),
    ],
)
def test_foreign_errors_become_sentences(error: str, said: str, code: str, says: str) -> None:
    found = explain(error, said, "train")
    assert found.code == code
    assert says in found.message
    assert found.stage == "train"
    assert found.message.endswith("."), "a sentence with a remedy"


LEAVES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MillraceError)
]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_passed_on_in_its_own_words(kind: type[MillraceError]) -> None:
    error = kind("What", code="code", where="where", remedy="Remedy.")
    found = explain(kind.__name__, cause(kind.__name__, str(error)), "decide")
    assert (found.type, found.message) == (kind.__name__, "What (where). Remedy.")


def test_every_running_state_is_a_stage() -> None:
    states: tuple[RunState, ...] = (
        "QUEUED",
        "PROFILING",
        "DECIDING",
        "CONVERTING",
        "TRAINING",
        "SELECTING",
        "REPORTING",
        "REGISTERING",
    )
    assert all(stage_of(state) for state in states)
    assert stage_of("SUCCEEDED") == ""


# --- chunk_failed ------------------------------------------------------------------------------


def batch(*records: bytes, condition: str = "RetryAttemptsExhausted", text: bool = False) -> bytes:
    payload: Any = {
        "Records": [
            {
                "eventSource": "aws:kinesis",
                "kinesis": {"data": base64.b64encode(record).decode(), "sequenceNumber": str(number)},
            }
            for number, record in enumerate(records)
        ]
    }
    return json.dumps(
        {
            "requestContext": {"condition": condition, "approximateInvokeCount": 4},
            "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
            "version": "1.0",
            "KinesisBatchInfo": {"shardId": "shardId-000000000000", "batchSize": len(records)},
            "payload": json.dumps(payload) if text else payload,
        }
    ).encode()


KEY = "aws/lambda/mapping/shardId-000000000000/2026/11/20/2026-11-20T10.00.00-uuid"


@pytest.mark.parametrize("text", [False, True], ids=["payload as an object", "payload as text"])
def test_a_discarded_chunk_fails_its_task_with_the_workers_error(text: bool) -> None:
    store, tasks = MemoryObjectStore("artifacts"), MemoryTasks()
    descriptor = Descriptor("cars-1", "convert", 3, "token")
    stored = RunError("ZeroDivisionError", "internal", "Chunk 3 failed unexpectedly.", "convert")
    store.add(keys.chunk_error("cars-1", "convert", 3), json.dumps(vars(stored)).encode())
    store.add(KEY, batch(encode_descriptor(descriptor), text=text))
    assert chunk_failed(KEY, artifacts=store, runs=MemoryRunStore(), stream=MemoryStream(), tasks=tasks) == (
        descriptor,
    )
    kind, error, said = tasks.answers["token"]
    assert (kind, error) == ("failure", "ZeroDivisionError")
    assert json.loads(said)["errorMessage"] == "Chunk 3 failed unexpectedly."
    chunk_failed(KEY, artifacts=store, runs=MemoryRunStore(), stream=MemoryStream(), tasks=tasks)
    assert tasks.late == ["token"], "a repeated event finds nobody waiting"


@pytest.mark.parametrize(
    ("condition", "code"),
    [("RetryAttemptsExhausted", "worker-stopped"), ("RecordAgeExceeded", "workers-behind")],
)
def test_a_worker_that_could_not_store_its_error_is_explained(condition: str, code: str) -> None:
    store, tasks = MemoryObjectStore("artifacts"), MemoryTasks()
    store.add(KEY, batch(encode_descriptor(Descriptor("cars-1", "profile", 0, "t")), condition=condition))
    chunk_failed(KEY, artifacts=store, runs=MemoryRunStore(), stream=MemoryStream(), tasks=tasks)
    said = json.loads(tasks.answers["t"][2])
    assert said["code"] == code
    error = explain(tasks.answers["t"][1], tasks.answers["t"][2], "profile")
    assert (error.code, error.message) == (code, said["errorMessage"])


def test_a_foreign_record_does_not_hold_up_the_others() -> None:
    store, tasks = MemoryObjectStore("artifacts"), MemoryTasks()
    store.add(KEY, batch(b"poison", encode_descriptor(Descriptor("cars-1", "profile", 0, "t"))))
    with pytest.raises(BadInput, match="no JSON"):
        chunk_failed(KEY, artifacts=store, runs=MemoryRunStore(), stream=MemoryStream(), tasks=tasks)
    assert tasks.answers["t"][0] == "failure"


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"payload": "{}"}', b"no json"])
def test_an_object_that_is_no_batch_is_refused(data: bytes) -> None:
    store = MemoryObjectStore("artifacts")
    store.add(KEY, data)
    with pytest.raises(BadInput) as caught:
        chunk_failed(KEY, artifacts=store, runs=MemoryRunStore(), stream=MemoryStream(), tasks=MemoryTasks())
    assert caught.value.code == "batch-invalid"


def test_a_chunk_whose_workers_died_before_they_could_report_is_reported(world: World) -> None:
    run_id = world.upload(CARS).run_id
    world.fan_out(run_id, "profile", "t1")
    assert isinstance(world.stream, MemoryStream)
    assert isinstance(world.artifacts, MemoryObjectStore)
    (record,) = world.stream.take()
    tasks = world.tasks

    class Away(MemoryTasks):
        def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
            raise TransientError("Step Functions does not answer", code="service-unavailable")

    world.tasks = Away()
    with pytest.raises(TransientError):
        world.work(record)
    world.artifacts.add(KEY, batch(record))
    assert (
        chunk_failed(KEY, artifacts=world.artifacts, runs=world.runs, stream=world.stream, tasks=tasks) == ()
    )
    assert tasks.answers["t1"][0] == "success"


def test_a_chunk_that_is_given_up_though_it_is_done_lets_the_next_one_follow(world: World) -> None:
    world.width, world.tickets = 6, 2
    run_id = world.upload(CARS).run_id
    world.fan_out(run_id, "profile", "t1")
    assert isinstance(world.stream, MemoryStream)
    assert isinstance(world.artifacts, MemoryObjectStore)
    assert isinstance(world.runs, MemoryRunStore)
    first, second = world.stream.take()
    world.runs.failures = [TransientError("DynamoDB does not answer", code="service-unavailable")]
    with pytest.raises(TransientError):
        world.work(first)
    world.stream.take()  # what it released is lost, too
    world.artifacts.add(KEY, batch(first))
    ports = {"artifacts": world.artifacts, "runs": world.runs, "stream": world.stream, "tasks": world.tasks}
    assert chunk_failed(KEY, **ports) == ()  # type: ignore[arg-type]
    world.work(second)
    world.work_all()
    assert world.tasks.answers["t1"][0] == "success"


def test_a_chunk_given_up_is_no_matter_once_its_pass_was_begun_again(world: World) -> None:
    run_id = world.upload(CARS).run_id
    world.fan_out(run_id, "profile", "t1")
    assert isinstance(world.stream, MemoryStream)
    assert isinstance(world.artifacts, MemoryObjectStore)
    (record,) = world.stream.take()
    world.fan_out(run_id, "profile", "t2")
    world.artifacts.add(KEY, batch(record))
    ports = {"artifacts": world.artifacts, "runs": world.runs, "stream": world.stream, "tasks": world.tasks}
    assert chunk_failed(KEY, **ports) == ()  # type: ignore[arg-type]
    assert world.tasks.answers == {}
    world.work_all()
    assert world.tasks.answers["t2"][0] == "success"


def tickets_of(world: World, tickets: int = 2, group_tickets: int = 0) -> list[bytes]:
    """Begin a pass of six chunks, and return its tickets."""
    world.width, world.tickets, world.group_tickets = 6, tickets, group_tickets
    world.fan_out(world.upload(CARS).run_id, "profile", "t1")
    assert isinstance(world.stream, MemoryStream)
    return world.stream.take()


def given_up(world: World, record: bytes) -> tuple[Descriptor, ...]:
    assert isinstance(world.artifacts, MemoryObjectStore)
    world.artifacts.add(KEY, batch(record))
    return chunk_failed(
        KEY, artifacts=world.artifacts, runs=world.runs, stream=world.stream, tasks=world.tasks
    )


class Poisoned(MemoryObjectStore):
    """Nothing can be read from it."""

    def get(self, *_: object, **__: object) -> bytes:
        raise RecursionError("too deep")


def test_a_ticket_that_is_given_up_fails_the_pass_with_the_error_of_its_chunk(world: World) -> None:
    _, second = tickets_of(world)
    world.data = Poisoned("data")
    with pytest.raises(RecursionError):
        world.work(second)
    assert [failed.chunk for failed in given_up(world, second)] == [0], "it was the first to claim one"
    assert "Chunk 0 failed unexpectedly: RecursionError" in world.tasks.answers["t1"][2]


def test_a_ticket_that_is_given_up_before_it_had_a_chunk_fails_the_pass_with_its_own_error(
    world: World,
) -> None:
    first, second = tickets_of(world)

    class Away(MemoryRunStore):
        def claim_part(self, *_: object, **__: object) -> int | None:
            raise TransientError("DynamoDB does not answer", code="service-unavailable")

    working, world.runs = world.runs, Away()
    world.runs.__dict__.update(vars(working))
    with pytest.raises(TransientError):
        world.work(second)
    world.runs = working
    assert [failed.chunk for failed in given_up(world, second)] == [1]
    assert "DynamoDB does not answer" in world.tasks.answers["t1"][2]
    assert world.work(first) == "unwanted"


def test_a_ticket_that_is_given_up_when_no_chunk_is_left_fails_nothing(world: World) -> None:
    first, second = tickets_of(world)
    assert world.work(first) == "done"
    world.work_all()
    assert world.tasks.answers["t1"][0] == "success"
    del world.tasks.answers["t1"]  # whoever did the last chunk died before it could report
    assert given_up(world, second) == ()
    assert world.tasks.answers["t1"][0] == "success"


def test_a_ticket_that_is_given_up_is_looked_for_in_its_group(world: World) -> None:
    first, second, third, fourth = tickets_of(world, 4, group_tickets=2)
    assert world.work(first) == "done"
    world.work_all()
    assert given_up(world, third) == (), "no chunk is left in its group, and nothing is lost"
    assert world.tasks.answers == {}, "the other group is not done"
    assert world.work(second) == "done"
    world.work_all()
    assert world.tasks.answers["t1"][0] == "success"
    del world.tasks.answers["t1"]  # whoever did the last chunk died before it could report
    assert given_up(world, fourth) == ()
    assert world.tasks.answers["t1"][0] == "success"


def test_a_ticket_of_a_group_that_is_given_up_fails_the_pass_with_the_error_of_its_chunk(
    world: World,
) -> None:
    _, _, _, fourth = tickets_of(world, 4, group_tickets=2)
    world.data = Poisoned("data")
    with pytest.raises(RecursionError):
        world.work(fourth)
    assert [failed.chunk for failed in given_up(world, fourth)] == [1], "the first of the second group"
    assert "Chunk 1 failed unexpectedly: RecursionError" in world.tasks.answers["t1"][2]


def test_poison_goes_from_the_worker_to_the_runs_error(world: World) -> None:
    run_id = world.upload(CARS).run_id
    world.fan_out(run_id, "profile", "t1")
    assert isinstance(world.stream, MemoryStream)
    assert isinstance(world.artifacts, MemoryObjectStore)
    (record,) = world.stream.take()

    class Poisoned(MemoryObjectStore):
        def get(self, *_: object, **__: object) -> bytes:
            raise RecursionError("too deep")

    world.data = Poisoned("data")
    for _ in range(4):  # as often as the event source tries
        with pytest.raises(RecursionError):
            world.work(record)
    world.artifacts.add(KEY, batch(record))
    chunk_failed(KEY, artifacts=world.artifacts, runs=world.runs, stream=world.stream, tasks=world.tasks)
    _, error, said = world.tasks.answers["t1"]
    finish(run_id, {"Error": error, "Cause": said}, runs=world.runs)
    run = world.runs.get(run_id)
    assert run.state == "FAILED"
    assert run.error is not None
    assert (run.error.code, run.error.stage) == ("internal", "profile")
    assert "Chunk 0 failed unexpectedly: RecursionError: too deep" in run.error.message


# --- reconcile ---------------------------------------------------------------------------------

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def stamp(ago: timedelta) -> str:
    return (NOW - ago).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Lost:
    """A run of a given state and age, and its execution."""

    def __init__(
        self,
        state: RunState = "TRAINING",
        status: str | None = None,
        *,
        ago: timedelta = timedelta(hours=1),
        attempt: int = 1,
    ) -> None:
        world = World()
        run = world.upload(CARS)
        assert isinstance(world.runs, MemoryRunStore)
        self.runs = world.runs
        self.run_id = run.run_id
        self.runs.runs[run.run_id] = replace(
            self.runs.runs[run.run_id],
            state=state,
            attempt=attempt,
            created_at=stamp(ago),
            updated_at=stamp(ago),
        )
        self.executions = MemoryExecutions()
        if status:
            name = f"{run.run_id}-{attempt}"
            self.executions.started[name] = {}
            self.executions.statuses[name] = status

    def reconcile(self) -> str | None:
        return reconcile(runs=self.runs, executions=self.executions, now=NOW).get(self.run_id)

    @property
    def started(self) -> list[str]:
        return [name.removeprefix(self.run_id) for name in self.executions.started]


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "UNCHANGED"])
def test_a_run_that_is_over_is_left_alone(state: RunState) -> None:
    lost = Lost(state)
    assert lost.reconcile() is None
    assert lost.started == []


def test_a_run_with_a_live_execution_is_left_alone() -> None:
    lost = Lost(status="RUNNING")
    assert lost.reconcile() is None
    assert lost.started == ["-1"]


def test_a_run_that_changed_just_now_is_left_alone() -> None:
    assert Lost(ago=timedelta(minutes=2)).reconcile() is None


def test_a_run_of_last_week_is_left_alone() -> None:
    assert Lost(ago=timedelta(days=7)).reconcile() is None


def test_a_run_whose_execution_was_never_started_is_started() -> None:
    lost = Lost("QUEUED")
    assert lost.reconcile() == "restarted"
    assert lost.started == ["-1"]
    assert lost.runs.get(lost.run_id).attempt == 1


@pytest.mark.parametrize("status", [None, "FAILED", "SUCCEEDED"])
def test_a_lost_execution_is_started_again_as_the_next_attempt(status: str | None) -> None:
    lost = Lost(status=status)
    assert lost.reconcile() == "restarted"
    assert lost.started[-1] == "-2"
    assert lost.runs.get(lost.run_id).attempt == 2
    started = lost.executions.started[f"{lost.run_id}-2"]
    assert (started["run_id"], started["kind"]) == (lost.run_id, "train")


def test_two_looks_at_the_same_time_begin_one_attempt() -> None:
    lost = Lost()

    class Slow(MemoryExecutions):
        def status(self, name: str) -> str | None:
            assert lost.reconcile() == "restarted", "the other look, between this one's list and its record"
            return "FAILED"

    slow = Slow()
    assert reconcile(runs=lost.runs, executions=slow, now=NOW) == {}
    assert lost.runs.get(lost.run_id).attempt == 2
    assert not slow.started


def test_a_reconciler_that_died_after_the_start_notes_it_the_next_time() -> None:
    lost = Lost()
    lost.executions.start(f"{lost.run_id}-2", {"run_id": lost.run_id})
    assert lost.reconcile() == "restarted"
    assert lost.started == ["-2"]
    assert lost.runs.get(lost.run_id).attempt == 2


def test_an_execution_that_is_lost_again_and_again_fails_the_run() -> None:
    lost = Lost(attempt=MAX_ATTEMPTS)
    assert lost.reconcile() == "failed"
    run = lost.runs.get(lost.run_id)
    assert run.state == "FAILED"
    assert run.error is not None
    assert (run.error.code, run.error.stage) == ("execution-lost", "train")
    assert lost.started == []


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        ("ABORTED", "execution-aborted", "was stopped"),
        ("TIMED_OUT", "execution-timed-out", "ran out of time"),
    ],
)
def test_a_stopped_execution_is_not_started_again(status: str, code: str, says: str) -> None:
    lost = Lost(status=status)
    assert lost.reconcile() == "failed"
    error = lost.runs.get(lost.run_id).error
    assert error is not None
    assert error.code == code
    assert says in error.message
    assert lost.started == ["-1"]


def test_the_reconciler_reads_every_page() -> None:
    lost = Lost(ago=timedelta(hours=2))
    for number in range(250):
        run = replace(
            lost.runs.get(lost.run_id),
            run_id=f"done-{number}",
            state="SUCCEEDED",
            created_at=stamp(timedelta(hours=1)),
        )
        lost.runs.open(run)
    assert lost.reconcile() == "restarted"


def test_what_reconciling_cannot_do_is_raised() -> None:
    lost = Lost()
    lost.executions.failures.append(Misconfigured("no access", code="aws-refused"))
    with pytest.raises(Misconfigured):
        lost.reconcile()
    assert lost.runs.get(lost.run_id).attempt == 1
