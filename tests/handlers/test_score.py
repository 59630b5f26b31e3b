"""``score`` as Lambda calls it: for the stream, for rows, and for a file that is named."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace import keys
from millrace.edge.predict.score import array_bytes, load
from millrace.errors import BadInput, Misconfigured, NotFound, TransientError
from millrace.registry.reader import Reader
from tests import plans
from tests.fakes import (
    Context,
    MemoryExecutions,
    MemoryLedger,
    MemoryObjectStore,
    MemoryRunStore,
    MemoryStream,
)
from tests.unit.test_reader import Bucket
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
Handler = Callable[[dict[str, Any], Context], Any]


class Cloud:
    """The function over the ports in memory."""

    def __init__(self) -> None:
        self.data, self.artifacts = MemoryObjectStore("data"), MemoryObjectStore("artifacts")
        self.ledger, self.results = MemoryLedger(), MemoryStream()
        self.runs, self.executions = MemoryRunStore(), MemoryExecutions()
        self.bucket = Bucket(demo=plans.binary())
        self.reader = Reader(self.bucket, load, array_bytes=array_bytes, freshness_s=0.0, warn=print)
        self.handler: Handler

    def outcomes(self) -> list[dict[str, Any]]:
        """Return what stands in the bucket, line by line."""
        return [
            json.loads(line)
            for key in self.data.list("streamed/")
            for line in self.data.get(key).splitlines()
        ]

    def sent(self) -> list[dict[str, Any]]:
        """Return what is on the output stream."""
        return [json.loads(data) for data, _, _ in self.results.records]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud()
    for name, value in {
        "MILLRACE_STAGE": "dev",
        "MILLRACE_TABLE": "runs",
        "MILLRACE_DATA_BUCKET": "data",
        "MILLRACE_ARTIFACT_BUCKET": "artifacts",
        "MILLRACE_STATE_MACHINE_ARN": "arn",
        "MILLRACE_MAX_FILE_BYTES": "1000",
        "MILLRACE_FRESHNESS_S": "0",
        "MILLRACE_LEDGER": "ledger",
        "MILLRACE_LEDGER_DAYS": "7",
        "MILLRACE_RESULTS": "scored",
    }.items():
        monkeypatch.setenv(name, value)
    stores = {"data": made.data, "artifacts": made.artifacts}
    monkeypatch.setattr("millrace.aws.objects.S3Store", stores.__getitem__)
    monkeypatch.setattr("millrace.aws.ledger.DynamoLedger", lambda table, keep_s: made.ledger)
    monkeypatch.setattr("millrace.aws.stream.KinesisStream", lambda name: made.results)
    monkeypatch.setattr("millrace.aws.runs.DynamoRunStore", lambda table: made.runs)
    monkeypatch.setattr("millrace.aws.states.StepFunctionsExecutions", lambda arn: made.executions)
    monkeypatch.setattr("millrace.edge.score.read_registry", lambda job: made.reader)
    spec = importlib.util.spec_from_file_location("app_score", ROOT / "functions" / "score" / "app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made.handler = module.handler
    return made


def event(*records: Any, first: int = 1, partition_key: str = "p") -> dict[str, Any]:
    """Return the event of a batch; a record is JSON, or bytes as they are."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": partition_key,
                    "sequenceNumber": str(number),
                    "data": base64.b64encode(
                        record if isinstance(record, bytes) else json.dumps(record).encode()
                    ).decode(),
                    "approximateArrivalTimestamp": 1795168800.123,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000000:{number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn",
            }
            for number, record in enumerate(records, start=first)
        ]
    }


ROW = {"model": "demo", "row": {"age": 10, "city": "Bern"}}
ROWS = {"model": "demo", "id": "r", "rows": [{"age": 10, "city": "Bern"}, {"age": 30, "city": "K\u00f6ln"}]}


def test_records_are_scored_into_the_bucket_and_onto_the_stream(cloud: Cloud) -> None:
    assert cloud.handler(event({**ROW, "id": 7}, ROWS, ROW), Context()) == {"batchItemFailures": []}
    single, several, nameless = cloud.outcomes()
    assert single["id"] == "7"
    assert (single["prediction"], single["probabilities"]) == ("no", {"no": 0.5, "yes": 0.5})
    assert (single["model"], single["version"]) == ("demo", 1)
    assert single["source"] == {
        "shard": "shardId-000000000000",
        "sequence": "1",
        "arrived_at": "2026-11-20T10:00:00.123Z",
    }
    assert several["predictions"] == ["no", "yes"]
    assert nameless["id"] == "shardId-000000000000:3"
    assert cloud.sent() == cloud.outcomes()
    (key,) = cloud.data.list("streamed/")
    assert key.startswith("streamed/2026/11/20/10/shardId-000000000000-1-")


def test_a_replay_and_a_duplicate_have_no_second_effect(cloud: Cloud) -> None:
    batch = event({**ROW, "id": "a"}, ROW)
    for _ in range(2):
        cloud.handler(batch, Context())
    cloud.handler(event({**ROW, "id": "a"}, first=9), Context())
    assert len(cloud.outcomes()) == len(cloud.sent()) == 2


@pytest.mark.parametrize(
    ("record", "code"),
    [
        pytest.param(b"\xff", "body-not-json", id="bytes"),
        pytest.param(b"{", "body-not-json", id="no-json"),
        pytest.param([1], "body-not-an-object", id="list"),
        pytest.param({"model": "demo"}, "rows-missing", id="no-rows"),
        pytest.param({**ROW, "id": 1.5}, "id-invalid", id="id"),
        pytest.param({**ROW, "when": 1}, "field-unknown", id="field"),
        pytest.param({**ROW, "model": "nobody"}, "model-unknown", id="model"),
        pytest.param({**ROW, "version": 9}, "version-unknown", id="version"),
        pytest.param({**ROW, "row": {"age": "old"}}, "value-type", id="value"),
    ],
)
def test_a_record_that_is_wrong_is_kept_with_its_reason_and_blocks_nothing(
    cloud: Cloud, record: Any, code: str
) -> None:
    batch = event(record, ROW)
    assert cloud.handler(batch, Context()) == {"batchItemFailures": []}
    wrong, fine = cloud.outcomes()
    assert wrong["error"]["code"] == code
    assert wrong["error"]["message"]
    assert wrong["record"] == batch["Records"][0]["kinesis"]["data"]
    assert fine["prediction"] == "no"
    assert cloud.sent() == [wrong, fine]


@pytest.mark.parametrize("kind", [TransientError, Misconfigured])
def test_what_is_no_fault_of_the_record_is_delivered_again(cloud: Cloud, kind: type[Exception]) -> None:
    class Broken(Reader):
        def alias(self, model: str, name: str = "live") -> Any:
            if model == "slow":
                raise kind("not now", code="service-unavailable")  # type: ignore[call-arg]
            return super().alias(model, name)

    cloud.reader.__class__ = Broken
    answer = cloud.handler(event(ROW, {**ROW, "model": "slow"}, ROW), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert len(cloud.outcomes()) == 2
    cloud.reader.__class__ = Reader
    cloud.bucket.objects |= Bucket(slow=plans.binary()).objects
    cloud.handler(event({**ROW, "model": "slow"}, ROW, first=2), Context())
    assert sorted(outcome["source"]["sequence"] for outcome in cloud.outcomes()) == ["1", "2", "3"]
    assert len(cloud.sent()) == 3


def test_a_batch_that_cannot_be_written_is_delivered_again(cloud: Cloud) -> None:
    cloud.results.failures.append(TransientError("full", code="stream-throttled"))
    with pytest.raises(TransientError):
        cloud.handler(event(ROW), Context())
    cloud.handler(event(ROW), Context())
    assert len(cloud.outcomes()) == len(cloud.sent()) == 1


def test_rows_of_a_direct_event_are_answered(cloud: Cloud) -> None:
    answer = cloud.handler({"model": "demo", "rows": ROWS["rows"]}, Context())
    assert answer["predictions"] == ["no", "yes"]
    assert cloud.outcomes() == cloud.sent() == []
    with pytest.raises(NotFound):
        cloud.handler({"model": "nobody", "rows": [{}]}, Context())


def test_a_file_that_is_named_opens_its_run(cloud: Cloud) -> None:
    World(data=cloud.data, artifacts=cloud.artifacts).register(plans.binary())
    cloud.data.add("datasets/demo/old.csv", b"age,city\n1,Bern\n")
    asked = {"model": "demo", "file": "s3://data/datasets/demo/old.csv", "options": {"format": "parquet"}}
    answers = [cloud.handler(asked, Context()) for _ in range(2)]
    assert answers[0] == answers[1]
    run = cloud.runs.get(answers[0]["run"])
    assert (run.state, run.kind, run.model, run.version) == ("QUEUED", "score", "demo", 1)
    assert list(cloud.executions.started) == [f"{run.run_id}-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "data/x.csv"},
        {"file": "s3://data"},
        {"file": None},
        {"model": 3},
        {"options": []},
        {"version_id": 1},
        {"rows": []},
    ],
)
def test_an_event_that_names_no_file_is_refused(cloud: Cloud, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        cloud.handler({"model": "demo", "file": "s3://data/score/demo/x.csv", **changes}, Context())
    assert caught.value.code == "event-invalid"


def test_the_stream_needs_a_stack_that_has_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_LEDGER", "")
    with pytest.raises(Misconfigured):
        cloud.handler(event(ROW), Context())


def test_keys_of_the_stream_lie_where_no_function_listens() -> None:
    name = keys.batch_name("2026/11/20/10", "s", "1", "b")
    assert keys.streamed(name) == "streamed/2026/11/20/10/s-1-b.jsonl"
    for key in (keys.collected_batch("demo", name), keys.collected_rejects("demo", name)):
        assert keys.dataset_of(key) is keys.model_to_score_with(key) is None


# --- rows for datasets --------------------------------------------------------------------------


@pytest.fixture
def dataset(cloud: Cloud) -> Cloud:
    """The dataset demo, whose first version is live."""
    World(artifacts=cloud.artifacts).register(plans.binary())
    return cloud


def collected(cloud: Cloud, kind: str = "batches", name: str = "demo") -> list[dict[str, Any]]:
    """Return the lines of the dataset's batches, or of its rejects."""
    texts = [cloud.data.get(key) for key in cloud.data.list(f"collected/{name}/{kind}/")]
    return [json.loads(line) for text in texts for line in text.splitlines()]


NEW = {"dataset": "demo", "row": {"age": 10, "city": "Bern", "target": "yes"}}


def test_rows_for_a_dataset_are_collected_beside_records_to_score(dataset: Cloud) -> None:
    several = {**NEW, "id": "s", "rows": [NEW["row"], {"target": "no", "id": 7}]}
    del several["row"]
    text = {"dataset": "demo", "csv": 'city,target,age\n"Köln",no,\nBern,yes,1e1\n'}
    batch = event({**NEW, "id": "a"}, ROW, several, text)
    assert dataset.handler(batch, Context()) == {"batchItemFailures": []}
    first, second, third = collected(dataset)
    assert (first["id"], first["dataset"], first["version"]) == ("a", "demo", 1)
    assert first["rows"] == [{"age": "10", "city": "Bern", "target": "yes"}]
    assert second["rows"][1] == {"id": "7", "target": "no"}
    assert third["rows"][0] == {"city": "Köln", "target": "no"}
    assert third["rows"][1] == {"age": "1e1", "city": "Bern", "target": "yes"}
    assert third["id"] == "shardId-000000000000:4"
    (waiting,) = dataset.ledger.pending("demo")
    assert (waiting.rows, waiting.since) == (5, "2026-11-20T10:00:00.123Z")
    assert len(dataset.outcomes()) == len(dataset.sent()) == 1, "only what was scored goes there"


def test_plain_csv_is_collected_under_the_partition_key_of_its_dataset(dataset: Cloud) -> None:
    text = b"\xef\xbb\xbfage,target\r\n3,no\r\n"
    dataset.handler(event(text, partition_key="dataset/demo/file 7/1"), Context())
    dataset.handler(event(text, first=2, partition_key="dataset/demo"), Context())
    first, second = collected(dataset)
    assert (first["id"], second["id"]) == ("file 7/1", "shardId-000000000000:2")
    assert first["rows"] == second["rows"] == [{"age": "3", "target": "no"}]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"row": {"age": "old", "target": "no"}}, "value-type"),
        ({"row": {"age": 1}}, "target-missing"),
        ({"row": {"target": "perhaps"}}, "class-unknown"),
        ({"row": {"target": "no", "aeg": 1}}, "field-unknown"),
        ({"row": [1]}, "row-not-an-object"),
        ({"rows": []}, "rows-missing"),
        ({"row": None, "rows": 5}, "rows-missing"),
        ({"model": "demo"}, "field-unknown"),
        ({"id": 1.5}, "id-invalid"),
        ({"dataset": "nobody"}, "dataset-untrained"),
    ],
)
def test_a_record_that_is_no_row_of_its_dataset_is_listed_and_blocks_nothing(
    dataset: Cloud, changes: dict[str, Any], code: str
) -> None:
    batch = event({**NEW, **changes}, NEW)
    assert dataset.handler(batch, Context()) == {"batchItemFailures": []}
    (reject,) = collected(dataset, "rejects", changes.get("dataset", "demo"))
    assert reject["error"]["code"] == code
    assert reject["error"]["message"]
    assert reject["record"] == batch["Records"][0]["kinesis"]["data"]
    assert reject["partition_key"] == "p"
    assert len(collected(dataset)) == 1
    assert dataset.outcomes() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff", "body-not-json"),
        (b'age,target\n"3,no\n', "body-not-csv"),
        (b"age,target\n", "rows-empty"),
        (b"", "rows-empty"),
        (b"age,target\n1\n", "record-ragged"),
        (b"age,age\n1,2\n", "column-name"),
        (b"age,target\n1,no\nx,no\n", "value-type"),
    ],
)
def test_csv_that_is_wrong_is_listed(dataset: Cloud, data: bytes, code: str) -> None:
    dataset.handler(event(data, partition_key="dataset/demo/x"), Context())
    (reject,) = collected(dataset, "rejects")
    assert reject["error"]["code"] == code
    assert collected(dataset) == []
    if code == "value-type":
        assert reject["error"]["values"][0]["row"] == 1


@pytest.mark.parametrize("name", ["", "a/b", 5, None])
def test_a_record_that_names_no_possible_dataset_is_answered_on_the_stream(dataset: Cloud, name: Any) -> None:
    dataset.handler(event({**NEW, "dataset": name}), Context())
    (outcome,) = dataset.outcomes()
    assert outcome["error"]["code"] == "dataset-name"
    assert not list(dataset.data.list("collected/"))


def test_a_model_from_elsewhere_has_no_dataset(cloud: Cloud) -> None:
    World(artifacts=cloud.artifacts).register(plans.trees(), model="demo")
    cloud.bucket.objects |= Bucket(demo=plans.trees("demo")).objects
    cloud.handler(event(NEW), Context())
    (reject,) = collected(cloud, "rejects")
    assert reject["error"]["code"] == "dataset-untrained"


def test_a_version_is_asked_once_and_a_new_one_counts_at_once(dataset: Cloud) -> None:
    dataset.artifacts.reads.clear()
    dataset.handler(event(NEW, NEW), Context())
    read = [key for key, _, _ in dataset.artifacts.reads if key.endswith("version.json")]
    assert len(read) == 1
    dataset.bucket.objects |= {
        keys.version("demo", 2, "model.plan"): plans.binary(classes=("yes", "maybe")),
        keys.alias("demo"): b'{"version": 2}',
    }
    World(artifacts=dataset.artifacts).register(plans.binary(classes=("yes", "maybe")))
    dataset.handler(event({**NEW, "row": {"target": "maybe"}}, first=3), Context())
    assert [record["version"] for record in collected(dataset)] == [1, 1, 2]


def test_a_batch_of_rows_that_cannot_be_written_is_delivered_again(dataset: Cloud) -> None:
    dataset.data.failures.append(TransientError("slow", code="service-unavailable"))
    with pytest.raises(TransientError):
        dataset.handler(event({**NEW, "id": "a"}), Context())
    for _ in range(2):
        dataset.handler(event({**NEW, "id": "a"}), Context())
    assert [record["id"] for record in collected(dataset)] == ["a"]
    assert [batch.rows for batch in dataset.ledger.pending("demo")] == [1]
