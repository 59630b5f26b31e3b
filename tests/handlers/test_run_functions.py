"""The handlers of a run, each as Lambda calls it, over S3, DynamoDB and Kinesis on moto."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from millrace import keys
from millrace.aws import clients
from millrace.aws.objects import S3Store
from millrace.aws.runs import INDEX, DynamoRunStore
from millrace.errors import BadInput, NotFound
from tests import plans
from tests.fakes import Context, MemoryExecutions, MemoryTasks
from tests.world import CARS, World

ROOT = Path(__file__).resolve().parents[2]
DATA, ARTIFACTS = "millrace-dev-data-000000000000", "millrace-dev-artifacts-000000000000"
Handler = Callable[[dict[str, Any], Context], Any]


class Cloud:
    """The stack's resources on moto, and its functions."""

    def __init__(self, tasks: MemoryTasks, executions: MemoryExecutions) -> None:
        self.tasks = tasks
        self.executions = executions
        self.data = S3Store(DATA)
        self.artifacts = S3Store(ARTIFACTS)
        self.runs = DynamoRunStore("runs")
        self._handlers: dict[str, Handler] = {}
        self._iterator = ""

    def call(self, function: str, event: dict[str, Any]) -> Any:
        if function not in self._handlers:
            path = ROOT / "functions" / function / "app.py"
            spec = importlib.util.spec_from_file_location(f"app_{function}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self._handlers[function] = module.handler
        return self._handlers[function](event, Context())

    def upload(self, data: bytes, key: str = "datasets/cars/cars.csv") -> dict[str, Any]:
        """Upload and return the event that S3 would send."""
        self.data.put(key, data)
        event = load("ingest.upload")
        event["Records"][0]["s3"]["object"] |= {
            "key": key.replace(" ", "+"),
            "versionId": self.data.head(key).version_id,
        }
        return event

    def take(self) -> dict[str, Any]:
        """Return what is new on the stream as one batch for the workers."""
        kinesis = clients.client("kinesis")
        if not self._iterator:
            (shard,) = kinesis.list_shards(StreamName="chunks")["Shards"]
            self._iterator = kinesis.get_shard_iterator(
                StreamName="chunks", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
        answer = kinesis.get_records(ShardIterator=self._iterator)
        self._iterator = answer["NextShardIterator"]
        template = load("preprocess.profile")["Records"][0]
        return {
            "Records": [
                template
                | {
                    "kinesis": template["kinesis"]
                    | {
                        "data": base64.b64encode(record["Data"]).decode(),
                        "sequenceNumber": record["SequenceNumber"],
                    }
                }
                for record in answer["Records"]
            ]
        }

    def run_pass(self, run_id: str, name: str) -> Any:
        self.call("fan_out", {"run_id": run_id, "pass_name": name, "token": f"token-{name}"})
        return self.call("preprocess", self.take())


def load(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text("utf-8"))
    return event


@pytest.fixture(scope="module", autouse=True)
def own_clients() -> Iterator[None]:
    """Build the clients once for these tests, and for these tests only: building them is what is slow."""
    clients.client.cache_clear()
    yield
    clients.client.cache_clear()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    tasks, executions = MemoryTasks(), MemoryExecutions()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MILLRACE_STAGE": "dev",
        "MILLRACE_TABLE": "runs",
        "MILLRACE_DATA_BUCKET": DATA,
        "MILLRACE_ARTIFACT_BUCKET": ARTIFACTS,
        "MILLRACE_STREAM": "chunks",
        "MILLRACE_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:run",
        "MILLRACE_MAX_FILE_BYTES": "100000",
        "MILLRACE_SHARD_COUNT": "1",
        "MILLRACE_PARALLELIZATION_FACTOR": "3",
        "MILLRACE_GROUP_TICKETS": "90",
        "MILLRACE_CHUNK_MACHINE_ARN": "",
        "MILLRACE_MIN_CHUNK_BYTES": str(len(CARS) // 3 + 1),
        "MILLRACE_MAX_CHUNK_BYTES": "1000000",
        "MILLRACE_HEARTBEAT_S": "60",
        "MILLRACE_MAX_REJECT_SHARE": "0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    # moto's Step Functions hand out no task tokens; the adapter has a suite of its own.
    monkeypatch.setattr("millrace.aws.states.StepFunctionsTasks", lambda: tasks)
    monkeypatch.setattr("millrace.aws.states.StepFunctionsExecutions", lambda _: executions)
    with mock_aws():
        s3 = clients.client("s3")
        for bucket in (DATA, ARTIFACTS):
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        clients.client("kinesis").create_stream(StreamName="chunks", ShardCount=1)
        names = ("pk", "sk", "gsi_pk", "gsi_sk")
        key = [("HASH", "RANGE")] * 2
        clients.client("dynamodb").create_table(
            TableName="runs",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(names[:2], key[0], strict=True)
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": INDEX,
                    "KeySchema": [
                        {"AttributeName": name, "KeyType": kind}
                        for name, kind in zip(names[2:], key[1], strict=True)
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Cloud(tasks, executions)


def test_each_event_twice_walks_up_to_the_candidates(cloud: Cloud) -> None:
    event = cloud.upload(CARS)
    (run_id,) = cloud.call("ingest", event)["runs"]
    assert cloud.call("ingest", event) == {"runs": {run_id: "QUEUED"}}
    (started,) = cloud.executions.started.items()
    assert started == (f"{run_id}-1", {"run_id": run_id, "kind": "train", "size_bytes": len(CARS)})
    for name in ("profile", "convert"):
        start = {"run_id": run_id, "pass_name": name, "token": f"token-{name}"}
        assert cloud.call("fan_out", start) == {"chunks": 3}
        assert cloud.call("fan_out", start) == {"chunks": 3}
        batch = cloud.take()
        assert len(batch["Records"]) >= 12, "two tickets for each chunk, from each call"
        for _ in range(2):
            assert cloud.call("preprocess", batch) == {"batchItemFailures": []}
        assert cloud.tasks.answers[f"token-{name}"][0] == "success"
        if name == "profile":
            answers = [cloud.call("decide", {"run_id": run_id}) for _ in range(2)]
            assert answers == [{"target": "price", "task": "regression", "features": 2}] * 2
    work = [cloud.call("collect", {"run_id": run_id}) for _ in range(2)]
    assert work[0] == work[1]
    assert not work[0]["more"]
    assert len([name for unit in work[0]["units"] for name in unit["candidates"]]) >= 4
    assert cloud.call("collect", {"run_id": run_id, "after": "train"}) == {
        "units": [],
        "more": False,
        "exact": [],
    }
    for _ in range(2):
        assert cloud.call("finish", {"run_id": run_id}) == {"state": "SUCCEEDED"}
    run = cloud.runs.get(run_id)
    assert (run.state, run.rows_read, run.rows_kept) == ("SUCCEEDED", 120, 120)
    assert run.progress["convert"].done == run.progress["convert"].total == 3


def test_a_file_to_score_walks_to_its_result(cloud: Cloud) -> None:
    World(data=cloud.data, artifacts=cloud.artifacts).register(plans.binary())
    event = cloud.upload(b"id,age,city\n1,10,Bern\n2,old,Bern\n3,30,Bern\n", "score/demo/new rows.csv")
    (run_id,) = cloud.call("ingest", event)["runs"]
    (started,) = cloud.executions.started.items()
    assert started == (f"{run_id}-1", {"run_id": run_id, "kind": "score", "size_bytes": 43})
    start = {"run_id": run_id, "pass_name": "score", "token": "token"}
    chunks = cloud.call("fan_out", start)["chunks"]
    batch = cloud.take()
    for _ in range(2):
        assert cloud.call("preprocess", batch) == {"batchItemFailures": []}
        result = cloud.call("assemble", {"run_id": run_id})["result"]
    assert cloud.tasks.answers["token"][0] == "success"
    assert result == f"s3://{DATA}/scored/demo/new rows.csv"
    assert [line[:9] for line in cloud.data.get("scored/demo/new rows.csv").splitlines()] == [
        b"id,age,ci",
        b"1,10,Bern",
        b"3,30,Bern",
    ]
    assert cloud.call("finish", {"run_id": run_id}) == {"state": "SUCCEEDED"}
    run = cloud.runs.get(run_id, full=True)
    assert (run.kind, run.rows_read, run.rows_scored, run.rows_rejected) == ("score", 3, 2, 1)
    assert run.progress["score"].done == chunks
    assert {usage.function for usage in run.usage} >= {"fan_out", "preprocess", "assemble"}


@pytest.mark.parametrize("refused", [0, 60])
def test_a_result_of_several_parts_has_one_header(cloud: Cloud, refused: int) -> None:
    World(data=cloud.data, artifacts=cloud.artifacts).register(plans.binary())
    rows = [b"%d,%s,Bern" % (row, b"old" if row < refused else b"30") for row in range(refused + 60)]
    (run_id,) = cloud.call(
        "ingest", cloud.upload(b"\n".join([b"id,age,city", *rows]), "score/demo/rows.csv")
    )["runs"]
    chunks = cloud.call("fan_out", {"run_id": run_id, "pass_name": "score", "token": "token"})["chunks"]
    assert cloud.call("preprocess", cloud.take()) == {"batchItemFailures": []}
    cloud.call("assemble", {"run_id": run_id})
    head, *lines = cloud.data.get("scored/demo/rows.csv").splitlines()
    assert head == b"id,age,city,prediction,probability:no,probability:yes"
    assert [line.rsplit(b",", 3)[0] for line in lines] == rows[refused:]
    first = b"" if refused else head
    assert cloud.artifacts.get(keys.scored_part(run_id, 0, "csv"))[: len(head)] == first
    assert chunks > 1


def test_what_was_used_stands_on_the_run(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(CARS))["runs"]
    cloud.run_pass(run_id, "profile")
    cloud.call("decide", {"run_id": run_id})
    used = {usage.function: usage for usage in cloud.runs.get(run_id, full=True).usage}
    assert {name: usage.invocations for name, usage in used.items()} == {
        "ingest": 1,
        "fan_out": 1,
        "preprocess": 1,
        "decide": 1,
    }
    assert all(usage.billed_ms >= 1 and usage.memory_mb == 512 for usage in used.values())


def test_the_stages_set_the_runs_state(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(CARS))["runs"]
    cloud.run_pass(run_id, "profile")
    assert cloud.runs.get(run_id).state == "PROFILING"
    cloud.call("decide", {"run_id": run_id})
    assert cloud.runs.get(run_id).state == "DECIDING"
    cloud.run_pass(run_id, "convert")
    assert cloud.runs.get(run_id).state == "CONVERTING"


def test_keys_arrive_encoded(cloud: Cloud) -> None:
    event = cloud.upload(CARS, "datasets/cars/größe und gewicht+2.csv")
    encoded = load("ingest.encoded_key")["Records"][0]["s3"]["object"]["key"]
    event["Records"][0]["s3"]["object"]["key"] = encoded.replace("penguins", "cars")
    (run_id,) = cloud.call("ingest", event)["runs"]
    assert cloud.runs.get(run_id).key == "datasets/cars/größe und gewicht+2.csv"


def test_a_spec_starts_nothing(cloud: Cloud) -> None:
    cloud.data.put("datasets/penguins/spec.json", b"{}")
    assert cloud.call("ingest", load("ingest.spec")) == {"runs": {}}
    assert cloud.executions.started == {}


def test_a_final_error_reaches_the_run_with_code_and_stage(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(b"a,target\n" + b"1,7\n2,7\n" * 30))["runs"]
    cloud.run_pass(run_id, "profile")
    with pytest.raises(BadInput) as caught:
        cloud.call("decide", {"run_id": run_id})
    # What Lambda and Step Functions make of it:
    cause = json.dumps({"errorMessage": str(caught.value), "errorType": "BadInput", "stackTrace": []})
    answer = cloud.call("finish", {"run_id": run_id, "error": {"Error": "BadInput", "Cause": cause}})
    assert answer == {"state": "FAILED", "code": caught.value.code, "stage": "decide"}
    error = cloud.runs.get(run_id).error
    assert error is not None
    assert error.message == str(caught.value)


def test_the_workers_answer_has_the_shape_that_lambda_reads(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(CARS))["runs"]
    cloud.call("fan_out", {"run_id": run_id, "pass_name": "profile", "token": "t"})
    batch = cloud.take()
    poison = load("preprocess.poison")["Records"][0]
    batch["Records"].insert(1, poison)
    number = poison["kinesis"]["sequenceNumber"]
    assert cloud.call("preprocess", batch) == {"batchItemFailures": [{"itemIdentifier": number}]}
    assert cloud.runs.get(run_id).progress["profile"].done == 3, "the others are not held up"


def test_a_batch_that_fails_as_a_whole_is_named_record_by_record(cloud: Cloud) -> None:
    event = load("preprocess.poison")
    number = event["Records"][0]["kinesis"]["sequenceNumber"]
    assert cloud.call("preprocess", event) == {"batchItemFailures": [{"itemIdentifier": number}]}


def test_a_worker_whose_table_is_away_has_its_record_again(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(CARS))["runs"]
    cloud.call("fan_out", {"run_id": run_id, "pass_name": "profile", "token": "t"})
    batch = cloud.take()
    count = cloud.artifacts.get(keys.layout(run_id))
    cloud.artifacts.put(keys.layout(run_id), b"torn")  # nobody foresees this
    answer = cloud.call("preprocess", batch)
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == [
        record["kinesis"]["sequenceNumber"] for record in batch["Records"][:3]
    ], "those that got a chunk"
    cloud.artifacts.put(keys.layout(run_id), count)
    assert cloud.call("preprocess", batch) == {"batchItemFailures": []}


def test_a_discarded_chunk_fails_its_task(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(CARS))["runs"]
    cloud.call("fan_out", {"run_id": run_id, "pass_name": "profile", "token": "t"})
    event = load("chunk_failed.discarded")
    cloud.artifacts.put(
        event["Records"][0]["s3"]["object"]["key"],
        json.dumps(
            {"requestContext": {"condition": "RetryAttemptsExhausted"}, "payload": cloud.take()}
        ).encode(),
    )
    assert cloud.call("chunk_failed", event) == {"chunks": 6}, "two tickets each"
    assert cloud.tasks.answers["t"][:2] == ("failure", "WorkerStopped")
    assert cloud.runs.get(run_id).error is None, "it is finish that records how a run ends"


def test_the_reconciler_takes_its_schedule_and_a_shorter_patience(cloud: Cloud) -> None:
    (run_id,) = cloud.call("ingest", cloud.upload(CARS))["runs"]
    cloud.runs.update(run_id, state="TRAINING")
    cloud.executions.statuses.clear()  # forgotten
    assert cloud.call("reconcile", load("reconcile.schedule")) == {"runs": {}}
    assert cloud.call("reconcile", load("reconcile.at_once")) == {"runs": {run_id: "restarted"}}
    assert cloud.runs.get(run_id).attempt == 2


@pytest.mark.parametrize(
    ("function", "event"),
    [
        ("fan_out", {"run_id": "cars-1", "pass_name": "third", "token": "t"}),
        ("fan_out", {"run_id": "cars-1", "pass_name": "profile"}),
        ("decide", {}),
        ("collect", {"run_id": 3}),
        ("ingest", {"records": []}),
        ("ingest", {"Records": [{"s3": {}}]}),
        ("chunk_failed", {"Records": None}),
    ],
)
def test_an_event_of_another_shape_is_bad_input(cloud: Cloud, function: str, event: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        cloud.call(function, event)
    assert caught.value.code == "event-invalid"


@pytest.mark.parametrize("function", ["decide", "collect", "finish", "fan_out"])
def test_a_run_that_is_not_there_is_not_found(cloud: Cloud, function: str) -> None:
    event = {"run_id": "nobody", "pass_name": "profile", "token": "t"}
    with pytest.raises(NotFound):
        cloud.call(function, event)
