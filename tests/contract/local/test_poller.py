"""The poller's rules that the whole platform shows only slowly, or not on purpose."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.local.poller import Answer, Mapping, Poller, Record, Throttled
from tests.contract.local.conftest import eventually

SHARD = "shardId-000000000000"


class World:
    """A stream in memory, a function that is a callable, and a destination that is a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.batches: list[list[str]] = []
        self.delivered: list[tuple[dict[str, Any], list[str]]] = []
        self.function: Callable[[list[str]], Answer] = lambda batch: Answer(None, None)
        self.now = 1_000.0
        self._lock = threading.Lock()

    def put(self, *data: str | bytes, key: str = "k") -> None:
        for one in data:
            number = f"{len(self.records) + 1:030d}"
            self.records.append(
                Record(number, key, one if isinstance(one, bytes) else one.encode(), self.now)
            )

    @property
    def tip(self) -> str:
        return self.records[-1].sequence if self.records else ""

    def read(self, mapping: Mapping, shard: str, after: str, limit: int) -> list[Record]:
        return [record for record in self.records if int(record.sequence) > int(after or 0)][:limit]

    def invoke(self, mapping: Mapping, event: dict[str, Any]) -> Answer:
        batch = names(event)
        with self._lock:
            self.batches.append(batch)
        return self.function(batch)

    def deliver(self, mapping: Mapping, key: str, document: dict[str, Any], records: dict[str, Any]) -> None:
        self.delivered.append((document, names(records)))


def names(event: dict[str, Any]) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"])[:20].decode() for record in event["Records"]]


def mapping(**options: Any) -> Mapping:
    return Mapping(
        uuid="m",
        stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/s",
        function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
        role="arn:aws:iam::000000000000:role/r",
        region="us-east-1",
        **{"destination": "arn:aws:s3:::b", **options},
    )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def serve(world: World, tmp_path: Path) -> Iterator[Callable[..., Poller]]:
    made: list[Poller] = []

    def start(**options: Any) -> Poller:
        poller = Poller(world, tmp_path / "positions.json", clock=lambda: world.now, backoff_s=0.001)
        made.append(poller)
        poller.update(mapping(**options), {SHARD: ""}, {SHARD: world.tip})
        return poller

    yield start
    for poller in made:
        poller.close()


def fails(*bad: str) -> Callable[[list[str]], Answer]:
    return lambda batch: Answer({"errorType": "ValueError"}, "Unhandled" if set(bad) & set(batch) else None)


def positions(path: Path) -> Any:
    return json.loads((path / "positions.json").read_text())["m"][SHARD]


def test_a_throttle_counts_for_nothing(world: World, serve: Callable[..., Poller]) -> None:
    left = [5]

    def throttled(batch: list[str]) -> Answer:
        left[0] -= 1
        if left[0] >= 0:
            raise Throttled("too many")
        return Answer(None, None)

    world.function = throttled
    world.put("a")
    serve(max_retries=0)
    assert eventually(lambda: len(world.batches) == 6)
    assert world.delivered == []


def test_a_batch_ends_at_6_mb(world: World, serve: Callable[..., Poller]) -> None:
    world.put(*(f"{i}".encode().ljust(1 << 20, b" ") for i in range(6)))
    serve(batch_size=100)
    batches = eventually(lambda: sum(map(len, world.batches)) == 6 and world.batches)
    assert [len(batch) for batch in batches] == [4, 2]


def test_bisecting_costs_no_retry(world: World, serve: Callable[..., Poller]) -> None:
    world.function = fails("bad")
    world.put("a", "b", "c", "bad")
    serve(batch_size=4, bisect=True, max_retries=1)
    eventually(lambda: world.delivered)
    assert world.batches == [["a", "b", "c", "bad"], ["a", "b"], ["c", "bad"], ["c"], ["bad"], ["bad"]]
    ((document, records),) = world.delivered
    assert records == ["bad"]
    assert document["requestContext"]["approximateInvokeCount"] == 4
    assert document["KinesisBatchInfo"]["batchSize"] == 1


def test_with_both_a_batch_is_split_at_the_reported_record(
    world: World, serve: Callable[..., Poller]
) -> None:
    def report(batch: list[str]) -> Answer:
        bad = [record.sequence for record in world.records if record.data == b"bad"]
        return Answer({"batchItemFailures": [{"itemIdentifier": bad[0]}] if "bad" in batch else []}, None)

    world.function = report
    world.put("a", "b", "bad", "d")
    serve(batch_size=4, bisect=True, report_failures=True, max_retries=0)
    eventually(lambda: ["d"] in world.batches)
    assert world.batches == [["a", "b", "bad", "d"], ["bad", "d"], ["bad"], ["d"]]
    assert [records for _, records in world.delivered] == [["bad"]]


@pytest.mark.parametrize(
    "response", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, "text"], ids=repr
)
def test_these_responses_are_full_successes(
    world: World, serve: Callable[..., Poller], response: Any
) -> None:
    world.function = lambda batch: Answer(response, None)
    world.put("a", "b")
    serve(batch_size=1, report_failures=True)
    assert eventually(lambda: len(world.batches) == 2 and world.batches) == [["a"], ["b"]]


def test_reports_count_only_when_the_mapping_asks_for_them(
    world: World, serve: Callable[..., Poller]
) -> None:
    world.function = lambda batch: Answer({"batchItemFailures": [{"itemIdentifier": ""}]}, None)
    world.put("a", "b")
    serve(batch_size=1)
    assert eventually(lambda: len(world.batches) == 2 and world.batches) == [["a"], ["b"]]


def test_records_that_are_too_old_are_given_up_without_an_invoke(
    world: World, serve: Callable[..., Poller]
) -> None:
    world.put("old", "older")
    world.now += 100
    world.put("new")
    serve(batch_size=10, max_age_s=60)
    eventually(lambda: world.batches)
    assert world.batches == [["new"]]
    ((document, records),) = world.delivered
    assert records == ["old", "older"]
    assert document["requestContext"]["condition"] == "RecordAgeExceeded"
    assert "responseContext" not in document


def test_the_checkpoint_waits_for_the_slowest_lane(
    world: World, serve: Callable[..., Poller], tmp_path: Path
) -> None:
    gate = threading.Event()

    def slow(batch: list[str]) -> Answer:
        if batch == ["slow"]:
            gate.wait(20)
        return Answer(None, None)

    world.function = slow
    world.put("first", key="d")
    world.put("slow", key="a")
    world.put("last", key="d")
    serve(batch_size=1, parallelization=3)
    eventually(lambda: ["last"] in world.batches)
    eventually(lambda: positions(tmp_path) == world.records[0].sequence)
    gate.set()
    eventually(lambda: positions(tmp_path) == world.records[2].sequence)


def test_a_new_poller_goes_on_after_the_checkpoint(
    world: World, serve: Callable[..., Poller], tmp_path: Path
) -> None:
    world.put("a")
    first = serve(batch_size=1)
    eventually(lambda: positions(tmp_path) == world.tip)
    first.close()
    world.put("b")
    serve(batch_size=1)
    assert eventually(lambda: len(world.batches) == 2 and world.batches) == [["a"], ["b"]]


def test_a_forgotten_mapping_begins_anew(world: World, serve: Callable[..., Poller], tmp_path: Path) -> None:
    world.put("a")
    poller = serve(batch_size=1)
    eventually(lambda: positions(tmp_path) == world.tip)
    poller.retain([])
    poller.update(mapping(batch_size=1), {SHARD: ""}, {SHARD: world.tip})
    assert eventually(lambda: len(world.batches) == 2 and world.batches) == [["a"], ["a"]]


def test_a_mapping_is_read_as_cloudformation_leaves_it() -> None:
    described = {
        "UUID": "u",
        "EventSourceArn": "arn:s",
        "FunctionArn": "arn:f",
        "BatchSize": "5",
        "Enabled": "true",
        "BisectBatchOnFunctionError": "true",
        "MaximumRetryAttempts": "0",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::b"}},
    }
    read = Mapping.load(described, role="arn:r", region="eu-west-1")
    assert read == Mapping(
        uuid="u",
        stream_arn="arn:s",
        function_arn="arn:f",
        role="arn:r",
        region="eu-west-1",
        batch_size=5,
        report_failures=True,
        bisect=True,
        max_retries=0,
        destination="arn:aws:s3:::b",
    )
